//! Moving single messages from one queue to another, as operators do.
//!
//! What is moved is in transit in its old queue until the journal has it in the new one; both are one entry, so that after a
//! crash it is in one of the two.

use std::sync::Arc;

use super::broker::Broker;
use super::post::{Arrival, Fate, Forwarded, put};
use super::topology::{Exchange, Vhost};
use crate::exchange::RouteInput;
use crate::frames::method::split_route;
use crate::frames::{Properties, write};
use crate::message::{Message, Traits};
use crate::persist::journal::Waiter;
use crate::persist::journal::item::ItemWriter;
use crate::queue::entries::Entries;
use crate::queue::inventory::{Listed, PeekError};
use crate::queue::local::runs;
use crate::queue::{Queue, Wakes};

/// Messages that are moved with one entry of the journal.
const TOGETHER: usize = 64;

/// Where messages are moved to.
#[derive(Clone, Copy)]
pub enum Target<'a> {
    Queue(&'a Arc<Queue>),
    /// As if they were published anew, with their own routing key or another.
    Exchange {
        vhost: &'a Vhost,
        exchange: &'a Arc<Exchange>,
        key: Option<&'a str>,
    },
}

impl Target<'_> {
    /// A message as it goes there.
    fn forwarded(self, broker: &Broker, message: &Message, traits: Traits) -> Option<Forwarded> {
        let view = message.view();
        let copy =
            |route: &[u8]| Message::from_parts(route, view.properties, view.body.to_vec(), traits, broker.memory);
        let (vhost, exchange, key) = match self {
            Target::Queue(queue) => {
                let (message, targets) = (copy(view.route), vec![Arc::clone(queue)]);
                return Some(Forwarded { message, targets, waiting: None, followers: Vec::new() });
            }
            Target::Exchange { vhost, exchange, key } => (vhost, exchange, key),
        };
        let key = key.map_or_else(|| split_route(view.route).1, str::as_bytes);
        let properties = Properties::parse(view.properties).ok()?;
        let now = broker.clock.now_ms();
        let routed = vhost.route(Some(exchange), &RouteInput { keys: &[key], properties: &properties, now });
        let mut route = Vec::new();
        write::short(&mut route, exchange.record.name.as_bytes());
        write::short(&mut route, key);
        let message = copy(&route);
        let waiting =
            routed.delayed.map(|delayed| (message.with_due(Some(delayed.due), broker.memory), delayed.queues));
        Some(Forwarded { message, targets: routed.queues, waiting, followers: routed.followers })
    }
}

impl Broker {
    /// Moves the messages at these positions that wait; says how many. What nobody takes stays. Blocks on the disk.
    ///
    /// # Errors
    /// When what is on disk is damaged or cannot be read; what came before has been moved.
    pub fn move_messages(&self, from: &Arc<Queue>, positions: &[u64], to: Target<'_>) -> Result<usize, PeekError> {
        let mut count = 0;
        for some in positions.chunks(TOGETHER) {
            let mut listed = Vec::new();
            for position in some {
                listed.extend(from.look_at(*position)?);
            }
            count += self.move_some(from, listed, to);
        }
        Ok(count)
    }

    fn move_some(&self, from: &Arc<Queue>, listed: Vec<Listed>, to: Target<'_>) -> usize {
        let (mut entries, mut wakes) = (Entries::default(), Wakes::default());
        let (mut arrived, mut acked, mut stay) = (Vec::new(), Vec::new(), Vec::new());
        for Listed { position, message, .. } in from.lift(listed) {
            let traits = message.traits();
            // When it was due in a delayed exchange says nothing elsewhere.
            let due = traits.due.filter(|_| from.spec.delays_for.is_none());
            let persistent = from.was_persistent(&message);
            let forwarded = to.forwarded(self, &message, Traits { due, persistent, ..traits });
            let fate = forwarded.map_or(Fate::Nowhere, |it| put(it, &mut Vec::new(), &mut entries, &mut wakes));
            if fate != Fate::Arrived {
                stay.push(position);
                continue;
            }
            arrived.push(position);
            if from.keeps(&message) {
                acked.push(position);
            }
        }
        let count = arrived.len();
        if !acked.is_empty() {
            ItemWriter(entries.items()).ack(from.spec.store_id, runs(acked).into_iter());
        }
        let arrival: Arc<dyn Waiter> = Arc::new(Arrival { from: Arc::clone(from), positions: arrived });
        let commit = self.store.as_ref().and_then(|store| entries.append(&store.journal, Some(&arrival), &mut wakes));
        if commit.is_none() {
            arrival.wake();
        }
        wakes.run();
        stay.into_iter().for_each(|position| from.keep_lifted(position));
        count
    }
}
