//! From an exchange and routing keys to the set of queues.
//!
//! Exchange-to-exchange bindings are followed with a set of exchanges already seen, so each counts once and cycles end.
//! An exchange's alternate exchange is consulted only when the exchange itself yields nothing. A repetition ends at the
//! exchange that has seen it before, without asking the alternate exchange. A message that asks for a delay ends, for the
//! time being, at each delayed exchange that it comes to, on whatever way: it goes on from there when it is due.

use std::num::NonZeroU64;
use std::sync::Arc;

use super::recall::Follower;
use super::topology::{Destination, Exchange, Topology, Vhost};
use crate::exchange::RouteInput;
use crate::message::delay;
use crate::queue::Queue;

/// The queues of one message, each once.
#[derive(Debug, Default)]
pub struct Routed {
    pub queues: Vec<Arc<Queue>>,
    /// True when only exchange and routing key decided, so that the next such message goes the same way.
    pub by_key_only: bool,
    /// Exchanges that remember the message and must hear what becomes of it.
    pub followers: Vec<Follower>,
    /// Where it has to wait first.
    pub delayed: Option<Delayed>,
}

/// What becomes of a message in delayed exchanges.
#[derive(Clone, Debug)]
pub struct Delayed {
    pub due: NonZeroU64,
    /// The queues in which it waits, one for each exchange.
    pub queues: Vec<Arc<Queue>>,
    /// It would have a queue now.
    pub is_routable: bool,
}

impl Vhost {
    /// The queues of a message. `exchange` is `None` for the default exchange.
    pub fn route(&self, exchange: Option<&Arc<Exchange>>, input: &RouteInput<'_>) -> Routed {
        self.route_from(exchange, input, false)
    }

    /// The queues of a message that has waited in its exchange: it has been looked at there when it came.
    pub(super) fn route_due(&self, exchange: &Arc<Exchange>, input: &RouteInput<'_>) -> Routed {
        self.route_from(Some(exchange), input, true)
    }

    fn route_from(&self, exchange: Option<&Arc<Exchange>>, input: &RouteInput<'_>, has_waited: bool) -> Routed {
        let topology = self.topology.read();
        let mut routed = Routed { by_key_only: true, ..Routed::default() };
        match exchange {
            None => routed.queues.extend(input.keys.iter().filter_map(|key| named_queue(&topology, key))),
            Some(exchange) => walk(&topology, exchange, input, has_waited, &mut routed),
        }
        if routed.queues.len() > 1 {
            routed.queues.sort_unstable_by_key(|q| q.id);
            routed.queues.dedup_by_key(|q| q.id);
        }
        routed
    }
}

fn named_queue(topology: &Topology, key: &[u8]) -> Option<Arc<Queue>> {
    topology.queues.get(std::str::from_utf8(key).ok()?).cloned()
}

fn walk(topology: &Topology, first: &Arc<Exchange>, input: &RouteInput<'_>, has_waited: bool, routed: &mut Routed) {
    let mut to_do = vec![Arc::clone(first)];
    let mut seen = vec![first.id];
    let mut found = Vec::new();
    let (mut waits_in, mut due) = (Vec::new(), None);
    while let Some(exchange) = to_do.pop() {
        routed.by_key_only &= exchange.settings.routes_by_key() && exchange.delays.is_none();
        if !(has_waited && exchange.id == first.id) {
            let is_repetition = !exchange.recall().is_new(input);
            if exchange.recall().follows() {
                routed.followers.push(Follower { exchange: Arc::clone(&exchange), is_repetition });
            }
            if is_repetition {
                continue;
            }
            if exchange.delays.is_some() {
                // The clock shows whole milliseconds, and no message may come before its time.
                due = delay::due(input.properties.headers.unwrap_or_default(), input.now + 1);
                if due.is_some() {
                    waits_in.push(exchange);
                    continue;
                }
            }
        }
        next(topology, &exchange, input, &mut found);
        for destination in found.drain(..) {
            match destination {
                Destination::Queue(queue) => routed.queues.push(queue),
                Destination::Exchange(next) if !seen.contains(&next.id) => {
                    seen.push(next.id);
                    to_do.push(next);
                }
                Destination::Exchange(_) => {}
            }
        }
    }
    routed.delayed = due.filter(|_| !waits_in.is_empty()).map(|due| Delayed {
        due,
        queues: waits_in.iter().filter_map(|exchange| exchange.delays.clone()).collect(),
        is_routable: leads_to_queues(topology, waits_in, input),
    });
}

/// Where a message goes from one exchange.
fn next(topology: &Topology, exchange: &Exchange, input: &RouteInput<'_>, found: &mut Vec<Destination>) {
    exchange.bindings.read().route(input, found);
    if found.is_empty()
        && let Some(alternate) = &exchange.in_force().alternate
    {
        if alternate.is_empty() {
            found.extend(input.keys.iter().filter_map(|key| named_queue(topology, key)).map(Destination::Queue));
        } else {
            found.extend(topology.exchanges.get(alternate).cloned().map(Destination::Exchange));
        }
    }
}

/// Whether a message that waits would have a queue now. Nobody remembers it for this.
fn leads_to_queues(topology: &Topology, from: Vec<Arc<Exchange>>, input: &RouteInput<'_>) -> bool {
    let mut seen: Vec<u64> = from.iter().map(|exchange| exchange.id).collect();
    let (mut to_do, mut found) = (from, Vec::new());
    while let Some(exchange) = to_do.pop() {
        next(topology, &exchange, input, &mut found);
        for destination in found.drain(..) {
            match destination {
                Destination::Queue(_) => return true,
                Destination::Exchange(next) if !seen.contains(&next.id) => {
                    seen.push(next.id);
                    to_do.push(next);
                }
                Destination::Exchange(_) => {}
            }
        }
    }
    false
}
