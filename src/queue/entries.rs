//! The journal's entries for what is published in one go: by a client's read, or by letters that move.
//!
//! One [`Entries`] gathers the runs: for each run, where its messages landed in each durable queue, then the
//! messages themselves, once whatever the fan-out. All of it goes to the journal in one piece, and each message is told
//! where its record lies, so that it can be taken back while it is not written.

use std::cell::Cell;
use std::sync::Arc;

use super::local::{Landed, Wakes};
use crate::message::{Incoming, Message, Ticket};
use crate::persist::journal::item::{ItemWriter, Parts};
use crate::persist::journal::{Journal, Waiter};
use crate::persist::windows::Notes;

/// A buffer of up to this many bytes is kept for the next read.
const KEPT: usize = 1 << 20;

thread_local! {
    /// Buffers of the thread, so that a read does not have to grow its own.
    static SCRATCH: Cell<(Vec<u8>, Vec<Written>)> = const { Cell::new((Vec::new(), Vec::new())) };
}

/// A message that was written, where, and in how many queues it is.
type Written = (Message, u32, u32);

/// What the journal gets in one go.
pub struct Entries {
    items: Vec<u8>,
    written: Vec<Written>,
    /// Some queue has not taken its messages.
    pub refused: bool,
    /// Where the messages of the current run have landed, by queue.
    landed: Vec<(u64, Landed)>,
    /// What exchanges and queues with deduplication have seen.
    notes: Notes,
}

impl Default for Entries {
    fn default() -> Self {
        let (items, written) = SCRATCH.take();
        Self { items, written, refused: false, landed: Vec::new(), notes: Notes::default() }
    }
}

impl Drop for Entries {
    fn drop(&mut self) {
        let (mut items, mut written) = (std::mem::take(&mut self.items), std::mem::take(&mut self.written));
        if items.capacity() <= KEPT {
            items.clear();
            written.clear();
            SCRATCH.set((items, written));
        }
    }
}

impl Entries {
    /// A run of messages follows.
    #[inline]
    pub fn begin(&mut self) {
        self.landed.clear();
    }

    /// The messages of the run are in a durable queue.
    #[inline]
    pub fn landed(&mut self, queue: u64, mut landed: Landed) {
        if landed.durable {
            if let Some(notes) = landed.notes.take() {
                self.notes.add(*notes);
            }
            if let Some(position) = landed.repetition {
                // Something has to be in the commit that is being gathered, so that it is waited for.
                ItemWriter(&mut self.items).ack(queue, std::iter::once(position..position + 1));
            }
            self.landed.push((queue, landed));
        }
    }

    /// What exchanges have seen.
    pub fn notes(&mut self) -> &mut Notes {
        &mut self.notes
    }

    /// Other items of the same commit.
    pub fn items(&mut self) -> &mut Vec<u8> {
        &mut self.items
    }

    /// Writes the persistent messages of the run that some queue still has.
    #[inline]
    pub fn end(&mut self, run: &mut [Incoming<'_>]) {
        if self.landed.is_empty() {
            return;
        }
        let delivered = self.landed.iter().any(|(_, landed)| landed.delivered);
        let (mut route_of, mut some_consumed) = (None, Vec::new());
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
            let traits = incoming.traits();
            if route_of != Some(traits.at) {
                route_of = Some(traits.at);
                writer.route(traits.at, self.landed.iter().map(|(queue, landed)| (*queue, landed.first)));
            }
            let view = incoming.view();
            let parts = Parts { route: view.route, properties: view.properties, body: view.body };
            let at = writer.message(index as u64, delivered, traits, parts);
            let place = u32::try_from(at).unwrap_or(u32::MAX);
            self.written.push((incoming.hold(), place, u32::try_from(holders).unwrap_or(u32::MAX)));
            if consumed > 0 {
                some_consumed.push(index);
            }
        }
        self.ack(&some_consumed);
    }

    /// Messages that some queues still have are acked in those that have not: a consumer without acks has taken them, or they
    /// were refused.
    fn ack(&mut self, some_consumed: &[usize]) {
        for index in some_consumed {
            for (queue, landed) in self.landed.iter().filter(|(_, l)| l.consumed.binary_search(index).is_ok()) {
                let position = landed.first + *index as u64;
                ItemWriter(&mut self.items).ack(*queue, std::iter::once(position..position + 1));
            }
        }
    }

    /// Hands everything to the journal, with what `wakes` has for it; `waiter` is woken when it is safe. Returns the number
    /// of the commit, if messages are in it.
    pub fn append(mut self, journal: &Journal, waiter: Option<&Arc<dyn Waiter>>, wakes: &mut Wakes) -> Option<u64> {
        self.items.append(&mut self.notes.items);
        if self.items.is_empty() {
            return None;
        }
        self.items.append(&mut wakes.take_items());
        let ticket = journal.append(&self.items, waiter);
        for (message, place, holders) in self.written.drain(..) {
            let offset = ticket.offset.and_then(|offset| offset.checked_add(place));
            message.set_ticket(Ticket { commit: ticket.commit, offset }, holders);
        }
        Some(ticket.commit)
    }
}
