//! What a connection and its channels count.
//!
//! A channel counts in two places: what comes from the client is written by the connection's task ([`Publishing`]), what goes
//! to it under the outbox's lock ([`Delivering`]), where the delivery tags count most of it anyway. Publishes of a read are
//! gathered in a [`Tally`] first.

use std::sync::Arc;

use parking_lot::Mutex;

use super::deliveries::{ChannelOut, Slot};
use super::session::{Mode, Session};
use crate::queue::Queue;
use crate::stats::apart::Rows;
use crate::stats::{Counted, Counter, ExchangeCounts, KINDS, Kind, Rates, Sizes};

/// Most deliveries of a channel that are looked at for the oldest of each queue.
const LOOKED_AT: usize = 1_000;

/// What a connection counts. Written by its task; what is sent also in place of it, while it sleeps.
#[derive(Debug, Default)]
pub struct ConnectionCounts {
    /// Bytes, and the reads and writes that brought them.
    pub received: Counter,
    pub reads: Counter,
    pub sent: Counter,
    pub writes: Counter,
    /// Queues that publishes were routed to.
    pub routed: Counter,
    /// 1 while its publishes wait for memory or disk.
    pub blocked: Counter,
    /// Published messages by size, and their bytes.
    classes: [Counter; 9],
    published_bytes: Counter,
}

impl ConnectionCounts {
    fn note_sizes(&self, size: u64, messages: u64) {
        if let Some(class) = self.classes.get(Sizes::class(size)) {
            class.add(messages);
        }
        self.published_bytes.add(size.wrapping_mul(messages));
    }

    /// Received and sent.
    pub fn bytes(&self) -> [u64; 2] {
        [self.received.get(), self.sent.get()]
    }

    pub fn sizes(&self) -> Sizes {
        let mut sizes = Sizes { bytes: self.published_bytes.get(), ..Sizes::default() };
        for (size, class) in sizes.classes.iter_mut().zip(&self.classes) {
            *size = class.get();
        }
        sizes
    }

    /// What it has counted beside its channels.
    pub fn counted(&self) -> Counted {
        let mut counted = Counted::default();
        counted.add(Kind::Route, self.routed.get());
        counted
    }
}

/// What a channel counts of what comes from the client, and how it stands. Written by the connection's task.
#[derive(Debug, Default)]
pub struct Publishing {
    pub publish: Counter,
    pub publish_confirm: Counter,
    pub confirm: Counter,
    pub refuse: Counter,
    pub returned: Counter,
    pub dropped: Counter,
    /// Publishes and acks of the open transaction.
    pub uncommitted: Counter,
    pub acks_uncommitted: Counter,
    /// Prefetch of consumers that are still to come.
    pub prefetch: Counter,
    pub is_confirming: Counter,
    pub is_transactional: Counter,
    /// By exchange, where that is wanted.
    pub apart: Mutex<Rows<ExchangeCounts, KINDS>>,
}

impl Publishing {
    /// Publishes that have not been answered.
    pub fn unconfirmed(&self) -> u64 {
        let answered = self.confirm.get().wrapping_add(self.refuse.get());
        self.publish_confirm.get().saturating_sub(answered)
    }
}

/// What a channel counts of what goes to the client, as far as delivery tags do not say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delivering {
    pub no_ack: u64,
    pub got: u64,
    pub got_no_ack: u64,
    pub get_empty: u64,
    pub redelivered: u64,
    pub acked: u64,
}

impl ChannelOut {
    /// Its consumers, with their tags.
    pub fn consumers(&self) -> impl Iterator<Item = (&[u8], &Slot)> {
        let slot = |slot: u32| self.slots.get(slot as usize)?.as_ref();
        self.consumers.iter().filter_map(move |(tag, number)| Some((&**tag, slot(*number)?)))
    }

    pub fn consumer_count(&self) -> usize {
        self.consumers.len()
    }

    /// Deliveries that wait for an ack.
    pub fn unacked(&self) -> usize {
        self.ledger.outstanding()
    }

    /// The limit that all its consumers share; 0 is none.
    pub fn global_prefetch(&self) -> u32 {
        self.global_prefetch
    }

    /// The queues of its deliveries, each with when the one came that has waited longest, in seconds of the node's clock. Only
    /// the first deliveries are looked at.
    pub fn oldest_by_queue(&self, mut each: impl FnMut(&Arc<Queue>, u32)) {
        let mut seen: Vec<u32> = Vec::new();
        let slots = self.slots.iter().flatten().filter(|slot| slot.outstanding > 0).count();
        for unacked in self.ledger.waiting().take(LOOKED_AT) {
            if seen.contains(&unacked.slot) {
                continue;
            }
            seen.push(unacked.slot);
            if let Some(Some(slot)) = self.slots.get(unacked.slot as usize) {
                each(&slot.queue, unacked.at);
            }
            if seen.len() >= slots {
                return;
            }
        }
    }

    /// Takes a sample, `seconds` after the last one; what that was, and whether anything has moved since the last one.
    pub fn sample(&mut self, seconds: f64, now_ms: u64) -> (Counted, bool) {
        let counted = self.counted();
        if let Some(apart) = &mut self.apart {
            apart.sample(seconds);
            self.publishing.apart.lock().sample(seconds);
        }
        if self.sampled.is_none() && counted.is_zero() {
            return (counted, false);
        }
        let sampled = self.sampled.get_or_insert_default();
        let moved = sampled.rates.sample(&counted.0, seconds);
        if moved {
            sampled.moved_at = now_ms;
        }
        (counted, moved)
    }

    /// Rates as of the last sample, and when one found that something had moved, in milliseconds since 1970.
    pub fn sampled(&self) -> Sampled {
        self.sampled.as_deref().copied().unwrap_or_default()
    }

    /// Everything that the channel has counted.
    pub fn counted(&self) -> Counted {
        let (from, to) = (&self.publishing, &self.delivering);
        let others = to.no_ack + to.got + to.got_no_ack;
        let mut counted = Counted::default();
        for (kind, n) in [
            (Kind::Publish, from.publish.get()),
            (Kind::PublishConfirm, from.publish_confirm.get()),
            (Kind::Confirm, from.confirm.get()),
            (Kind::Refuse, from.refuse.get()),
            (Kind::ReturnUnroutable, from.returned.get()),
            (Kind::DropUnroutable, from.dropped.get()),
            (Kind::Deliver, self.ledger.last_tag().saturating_sub(others)),
            (Kind::DeliverNoAck, to.no_ack),
            (Kind::Get, to.got),
            (Kind::GetNoAck, to.got_no_ack),
            (Kind::GetEmpty, to.get_empty),
            (Kind::Redeliver, to.redelivered),
            (Kind::Ack, to.acked),
        ] {
            counted.add(kind, n);
        }
        counted
    }
}

/// How fast a channel counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sampled {
    pub rates: Rates<KINDS>,
    pub moved_at: u64,
}

/// Publishes of the current read that have not been written to the counters.
#[derive(Debug, Default)]
pub struct Tally {
    channel: u16,
    publishes: u64,
    size: u64,
    of_size: u64,
}

impl Session {
    /// Counts a publish.
    #[inline]
    pub(super) fn count_publish(&mut self, number: u16, size: u64) {
        if self.tally.channel != number {
            self.count_channel_publishes();
            self.tally.channel = number;
        }
        self.tally.publishes += 1;
        if self.tally.size != size {
            self.count_sizes();
            self.tally.size = size;
        }
        self.tally.of_size += 1;
    }

    /// Writes what has gathered to the counters.
    #[inline]
    pub(super) fn count_all(&mut self) {
        if self.tally.publishes > 0 {
            self.count_channel_publishes();
            self.count_sizes();
        }
    }

    fn count_channel_publishes(&mut self) {
        let n = std::mem::take(&mut self.tally.publishes);
        if let Some(state) = self.channels.get(&self.tally.channel).filter(|_| n > 0) {
            state.publishing.publish.add(n);
            if matches!(state.mode, Mode::Confirm(_)) {
                state.publishing.publish_confirm.add(n);
            }
        }
    }

    fn count_sizes(&mut self) {
        let n = std::mem::take(&mut self.tally.of_size);
        if n > 0 {
            self.outbox.counts.note_sizes(self.tally.size, n);
        }
    }
}
