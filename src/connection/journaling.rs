//! The journal's entries for what one read has published.
//!
//! One [`Entries`] gathers the runs of a read: for each run, where its messages landed in each durable queue, then the
//! messages themselves, once whatever the fan-out. All of it goes to the journal in one piece, and each message is told
//! where its record lies, so that it can be taken back while it is not written.

use std::sync::Arc;

use super::outbox::Outbox;
use crate::message::{Incoming, Message, Ticket};
use crate::persist::journal::item::{ItemWriter, Parts};
use crate::persist::journal::{Journal, Waiter};
use crate::queue::local::Landed;

/// What the journal gets of one read.
#[derive(Default)]
pub struct Entries {
    items: Vec<u8>,
    /// Messages that were written, where, and in how many queues they are.
    written: Vec<(Message, u32, u32)>,
    /// Where the messages of the current run have landed, by queue.
    landed: Vec<(u64, Landed)>,
}

impl Entries {
    /// A run of messages follows.
    #[inline]
    pub fn begin(&mut self) {
        self.landed.clear();
    }

    /// The messages of the run are in a durable queue.
    #[inline]
    pub fn landed(&mut self, queue: u64, landed: Landed) {
        self.landed.push((queue, landed));
    }

    /// Writes the persistent messages of the run that some queue still has.
    #[inline]
    pub fn end(&mut self, run: &mut [Incoming<'_>]) {
        if self.landed.is_empty() {
            return;
        }
        let delivered = self.landed.iter().any(|(_, landed)| landed.delivered);
        let mut has_route = false;
        for (index, incoming) in run.iter_mut().enumerate() {
            if !incoming.is_persistent() {
                continue;
            }
            let consumed = self.landed.iter().filter(|(_, l)| l.consumed.binary_search(&index).is_ok()).count();
            let holders = self.landed.len() - consumed;
            if holders == 0 {
                continue;
            }
            let mut writer = ItemWriter(&mut self.items);
            if !has_route {
                has_route = true;
                writer.route(self.landed.iter().map(|(queue, landed)| (*queue, landed.first)));
            }
            let view = incoming.view();
            let parts = Parts { route: view.route, properties: view.properties, body: view.body };
            let at = writer.message(index as u64, delivered, parts);
            if consumed > 0 {
                for (queue, landed) in self.landed.iter().filter(|(_, l)| l.consumed.binary_search(&index).is_ok()) {
                    let position = landed.first + index as u64;
                    ItemWriter(&mut self.items).ack(*queue, std::iter::once(position..position + 1));
                }
            }
            let place = u32::try_from(at).unwrap_or(u32::MAX);
            self.written.push((incoming.hold(), place, u32::try_from(holders).unwrap_or(u32::MAX)));
        }
    }

    /// Hands everything to the journal; `waiter` is woken when it is safe. Returns the number of the commit, if there was
    /// anything to write.
    pub fn append(self, journal: &Journal, waiter: &Arc<Outbox>) -> Option<u64> {
        if self.items.is_empty() {
            return None;
        }
        let waiter: Arc<dyn Waiter> = Arc::clone(waiter) as Arc<dyn Waiter>;
        let ticket = journal.append(&self.items, Some(&waiter));
        for (message, place, holders) in self.written {
            let offset = ticket.offset.and_then(|offset| offset.checked_add(place));
            message.set_ticket(Ticket { commit: ticket.commit, offset }, holders);
        }
        Some(ticket.commit)
    }
}
