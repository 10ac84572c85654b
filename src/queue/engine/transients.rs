//! How many messages of a durable queue survive, and the bytes of their bodies: all that wait or are unacked, but the
//! transient ones.
//!
//! Nearly all messages of durable queues are persistent, so what is counted is the others; a queue that keeps them, too, has
//! nothing to count. A message counts from when it is
//! taken in until it is settled or leaves, in memory or cold, waiting or unacked; while it is held back or on its way to
//! somewhere else, it counts nowhere. What a cold message is that leaves by itself is known once it has been read.

use super::Engine;
use crate::message::{Keeps, Message};
use crate::queue::rare::{Absent, Rare};

/// Messages that do not survive, and the bytes of their bodies.
pub(super) struct Transients {
    messages: u64,
    bytes: u64,
}

impl Absent for Transients {
    const ABSENT: Self = Self { messages: 0, bytes: 0 };

    fn absent() -> &'static Self {
        static NONE: Transients = Transients::ABSENT;
        &NONE
    }
}

impl<C> Engine<C> {
    /// Messages that survive, of those that wait or are unacked, and the bytes of their bodies; those of cold ones about.
    pub fn persistent(&self) -> (u64, u64) {
        if !self.keeps.is_durable() {
            return (0, 0);
        }
        let messages = (self.ready_count() + self.unacked_count()) as u64;
        let bytes = self.ready_bytes() + self.unacked_bytes;
        (messages.saturating_sub(self.transients.messages), bytes.saturating_sub(self.transients.bytes))
    }

    /// A message is here that was not.
    #[inline]
    pub(super) fn comes(&mut self, message: &Message) {
        if self.keeps == Keeps::Persistent && !message.is_persistent() {
            self.transients.messages += 1;
            self.transients.bytes += size(message);
        }
    }

    /// A message is not here any more.
    #[inline]
    pub(super) fn goes(&mut self, message: &Message) {
        if self.keeps == Keeps::Persistent && !message.is_persistent() {
            self.transients.messages = self.transients.messages.saturating_sub(1);
            self.transients.bytes = self.transients.bytes.saturating_sub(size(message));
        }
    }

    /// Nothing is here any more but what is unacked.
    pub(super) fn recount_transients(&mut self) {
        if self.transients.as_ref().is_none() {
            return;
        }
        let unacked = self.unacked.values().map(|unacked| &unacked.message).filter(|message| !message.is_persistent());
        let (messages, bytes) =
            unacked.fold((0, 0), |(messages, bytes), message| (messages + 1, bytes + size(message)));
        self.transients = Rare::default();
        if messages > 0 {
            *self.transients = Transients { messages, bytes };
        }
    }
}

fn size(message: &Message) -> u64 {
    message.view().body.len() as u64
}
