//! The journal's entries for what is published in one go: by a client's read, or by letters that move.
//!
//! One [`Entries`] gathers the runs: for each run, where its messages landed in each durable queue, then the
//! messages themselves, once whatever the fan-out. All of it goes to the journal in one piece, and each message is told
//! where its record lies, so that it can be taken back while it is not written.

use std::cell::Cell;
use std::sync::Arc;

use super::local::{Landed, Wakes};
use crate::message::{Incoming, Keeps, Message, Ticket};
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
        if landed.keeps.is_durable() {
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

    /// Writes the messages of the run that some queue still has and keeps: persistent ones, and in quorum queues the others,
    /// too. True when there are any.
    #[inline]
    pub fn end(&mut self, run: &mut [Incoming<'_>]) -> bool {
        if self.landed.is_empty() {
            return false;
        }
        let before = self.written.len();
        let delivered = self.landed.iter().any(|(_, landed)| landed.delivered);
        let (some_keep_all, all_keep_all) = self.keep_all();
        let (mut route_of, mut some_consumed) = (None, Vec::new());
        for (index, incoming) in run.iter_mut().enumerate() {
            let traits = incoming.traits();
            if !traits.persistent && !some_keep_all {
                continue;
            }
            // Where all keep it, it goes the way of persistent ones.
            let persistent = traits.persistent || all_keep_all;
            let (kept, consumed) = keepers(&self.landed, persistent).fold((0, 0), |(kept, consumed), (_, landed)| {
                (kept + 1, consumed + usize::from(landed.consumed.binary_search(&index).is_ok()))
            });
            let holders: usize = kept - consumed;
            if holders == 0 {
                continue;
            }
            let mut writer = ItemWriter(&mut self.items);
            if route_of != Some((traits.at, persistent)) {
                route_of = Some((traits.at, persistent));
                let keepers = keepers(&self.landed, persistent);
                writer.route(traits.at, keepers.map(|(queue, landed)| (*queue, landed.first)));
            }
            let view = incoming.view();
            let parts = Parts { route: view.route, properties: view.properties, body: view.body };
            let at = writer.message(index as u64, delivered, traits, parts);
            let place = u32::try_from(at).unwrap_or(u32::MAX);
            self.written.push((incoming.hold(), place, u32::try_from(holders).unwrap_or(u32::MAX)));
            if consumed > 0 {
                some_consumed.push((index, persistent));
            }
        }
        self.ack(&some_consumed);
        self.written.len() > before
    }

    /// Whether some of the queues of the run keep all messages, and whether all of them do.
    #[inline]
    fn keep_all(&self) -> (bool, bool) {
        self.landed.iter().fold((false, true), |(some, all), (_, landed)| {
            let keeps_all = landed.keeps == Keeps::Everything;
            (some || keeps_all, all && keeps_all)
        })
    }

    /// Messages that some queues still have are acked in those that have not: a consumer without acks has taken them, or they
    /// were refused.
    fn ack(&mut self, some_consumed: &[(usize, bool)]) {
        for (index, persistent) in some_consumed {
            let keepers = keepers(&self.landed, *persistent);
            for (queue, landed) in keepers.filter(|(_, landed)| landed.consumed.binary_search(index).is_ok()) {
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

/// Of the queues of a run those in which a message survives.
#[inline]
fn keepers(landed: &[(u64, Landed)], persistent: bool) -> impl Iterator<Item = &(u64, Landed)> {
    landed.iter().filter(move |(_, landed)| landed.keeps.keeps(persistent))
}
