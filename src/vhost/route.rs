//! From an exchange and routing keys to the set of queues.
//!
//! Exchange-to-exchange bindings are followed with a set of exchanges already seen, so each counts once and cycles end.
//! An exchange's alternate exchange is consulted only when the exchange itself yields nothing. A repetition ends at the
//! exchange that has seen it before, without asking the alternate exchange.

use std::sync::Arc;

use super::topology::{Destination, Exchange, Topology, Vhost};
use crate::exchange::RouteInput;
use crate::queue::Queue;

/// The queues of one message, each once.
#[derive(Debug, Default)]
pub struct Routed {
    pub queues: Vec<Arc<Queue>>,
    /// True when only exchange and routing key decided, so that the next such message goes the same way.
    pub by_key_only: bool,
    /// Exchanges that remember the message and must hear what becomes of it.
    pub followers: Vec<Arc<Exchange>>,
    /// The exchange that it was published to has seen it before.
    pub is_repetition: bool,
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
    while let Some(exchange) = to_do.pop() {
        routed.by_key_only &= exchange.settings.routes_by_key();
        if !(has_waited && exchange.id == first.id) {
            if !exchange.recall().is_new(input) {
                routed.is_repetition |= exchange.id == first.id;
                continue;
            }
            if exchange.recall().follows() {
                routed.followers.push(Arc::clone(&exchange));
            }
        }
        exchange.bindings.read().route(input, &mut found);
        if found.is_empty()
            && let Some(alternate) = &exchange.in_force().alternate
        {
            if alternate.is_empty() {
                found.extend(input.keys.iter().filter_map(|key| named_queue(topology, key)).map(Destination::Queue));
            } else {
                found.extend(topology.exchanges.get(alternate).cloned().map(Destination::Exchange));
            }
        }
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
}
