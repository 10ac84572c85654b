//! Moving single messages from one queue to another, as operators do.
//!
//! What is moved is in transit in its old queue until the journal has it in the new one; both are one entry, so that after a
//! crash it is in one of the two.

use std::sync::Arc;

use super::broker::Broker;
use super::post::{Arrival, Fate, Forwarded, put};
use crate::message::{Message, Traits};
use crate::persist::journal::Waiter;
use crate::persist::journal::item::ItemWriter;
use crate::queue::entries::Entries;
use crate::queue::inventory::{Listed, PeekError};
use crate::queue::local::runs;
use crate::queue::{Queue, Wakes};

/// Messages that are moved with one entry of the journal.
const TOGETHER: usize = 64;

impl Broker {
    /// Moves the messages at these positions that wait; says how many. What the other queue refuses stays. Blocks on the disk.
    ///
    /// # Errors
    /// When what is on disk is damaged or cannot be read; what came before has been moved.
    pub fn move_messages(&self, from: &Arc<Queue>, positions: &[u64], to: &Arc<Queue>) -> Result<usize, PeekError> {
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

    fn move_some(&self, from: &Arc<Queue>, listed: Vec<Listed>, to: &Arc<Queue>) -> usize {
        let (mut entries, mut wakes) = (Entries::default(), Wakes::default());
        let (mut arrived, mut acked, mut stay) = (Vec::new(), Vec::new(), Vec::new());
        for Listed { position, message, .. } in from.lift(listed) {
            let (view, traits) = (message.view(), message.traits());
            // When it was due in a delayed exchange says nothing elsewhere.
            let due = traits.due.filter(|_| from.spec.delays_for.is_none());
            let traits = Traits { due, ..traits };
            let copy = Message::from_parts(view.route, view.properties, view.body.to_vec(), traits, self.memory);
            let forwarded =
                Forwarded { message: copy, targets: vec![Arc::clone(to)], waiting: None, followers: Vec::new() };
            if put(forwarded, &mut Vec::new(), &mut entries, &mut wakes) != Fate::Arrived {
                stay.push(position);
                continue;
            }
            arrived.push(position);
            if from.is_durable() && message.is_persistent() {
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
