//! What a queue counts, and how the sums of its virtual host learn of it.
//!
//! The numbers are plain and under the queue's lock; a queue that has never been used has none. Whenever something has
//! changed, the queue enters itself in the list of those that have [`Moved`], once until the next sample. So sums over all
//! queues ([`Lengths`]) and rates cost what moves, not what there is.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::engine::{Delivery, Got, Stall};
use super::local::{Queue, State};
use crate::frames::content::Properties;
use crate::stats::rates::{change, rounded};
use crate::stats::{Counted, Kind, QUEUE_KINDS, QueueCounted, Rates};

/// Messages of many queues. Right as of the last time that those which have moved were asked.
#[derive(Debug, Default)]
pub struct Lengths {
    ready: AtomicI64,
    unacked: AtomicI64,
    /// Messages that the queues have read from the disk, and that were written to it.
    disk_reads: AtomicU64,
    disk_writes: AtomicU64,
}

impl Lengths {
    fn change(&self, from: (u64, u64), to: (u64, u64)) {
        let change = |n: &AtomicI64, from: u64, to: u64| {
            if from != to {
                n.fetch_add(to.cast_signed().wrapping_sub(from.cast_signed()), Relaxed);
            }
        };
        change(&self.ready, from.0, to.0);
        change(&self.unacked, from.1, to.1);
    }

    /// Adds messages read from the disk, and written to it.
    fn add_disk(&self, [reads, writes]: [u64; 2]) {
        for (sum, n) in [(&self.disk_reads, reads), (&self.disk_writes, writes)] {
            if n > 0 {
                sum.fetch_add(n, Relaxed);
            }
        }
    }

    /// Puts messages read from the disk and written to it among what else is counted.
    pub fn put_disk(&self, counted: &mut Counted) {
        counted.add(Kind::DiskReads, self.disk_reads.load(Relaxed));
        counted.add(Kind::DiskWrites, self.disk_writes.load(Relaxed));
    }

    pub fn ready(&self) -> u64 {
        self.ready.load(Relaxed).try_into().unwrap_or(0)
    }

    pub fn unacked(&self) -> u64 {
        self.unacked.load(Relaxed).try_into().unwrap_or(0)
    }
}

/// Queues that have changed since the last sample, each once.
#[derive(Default)]
pub struct Moved(Mutex<Vec<Weak<Queue>>>);

impl Moved {
    /// Takes a sample of every queue that has moved since the last one or the one before, `seconds` after the last one.
    /// Those that rest leave the list; their rates are 0 from then on. `each` gets those that have moved.
    pub fn sample(&self, seconds: f64, now_ms: u64, mut each: impl FnMut(&Arc<Queue>)) {
        let listed = std::mem::take(&mut *self.0.lock());
        let mut still = Vec::new();
        for weak in listed {
            let Some(queue) = weak.upgrade() else { continue };
            let (moved, look_again) = queue.sample(seconds, now_ms);
            if moved {
                each(&queue);
            }
            if look_again {
                still.push(weak);
            }
        }
        self.0.lock().append(&mut still);
    }

    /// Brings the sums up to date.
    pub fn count_lengths(&self) {
        let moved: Vec<_> = self.0.lock().iter().filter_map(Weak::upgrade).collect();
        moved.iter().for_each(|queue| queue.tell_lengths(&mut queue.state.lock()));
    }
}

/// What has been delivered in one go.
#[derive(Clone, Copy, Debug, Default)]
pub struct Handed {
    acked: u64,
    no_ack: u64,
    redelivered: u64,
}

impl Handed {
    #[inline]
    pub fn note(&mut self, delivery: &Delivery<'_>) {
        if delivery.no_ack {
            self.no_ack += 1;
        } else {
            self.acked += 1;
        }
        if delivery.redelivered {
            self.redelivered += 1;
        }
    }

    fn is_none(self) -> bool {
        self.acked + self.no_ack == 0
    }
}

/// What a queue has counted, and what is known of it elsewhere.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    counted: QueueCounted,
    rates: Rates<QUEUE_KINDS>,
    /// Ready and unacked messages as the sums know them.
    told: (u64, u64),
    /// The same of messages read from the disk, and written to it.
    told_disk: [u64; 2],
    /// The same as of the last sample, and how fast they changed before it.
    lengths: (u64, u64),
    length_rates: [f32; 2],
    /// It is in the list.
    listed: bool,
    /// When the last sample was that found something moved, in milliseconds since 1970; 0 for never.
    moved_at: u64,
    /// Share of the samples, the recent ones more, that found nothing waiting for its consumers.
    capacity: f32,
}

/// What is to be known of a queue's numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueueNumbers {
    pub counted: QueueCounted,
    pub rates: Rates<QUEUE_KINDS>,
    /// How fast ready and unacked messages become more, or less.
    pub length_rates: [f64; 2],
    /// When it moved last, in milliseconds since 1970.
    pub moved_at: u64,
    /// Share of the time that its consumers keep up, about; none without consumers.
    pub capacity: Option<f64>,
}

/// A sample of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueSample {
    pub counted: QueueCounted,
    pub ready: u64,
    pub unacked: u64,
}

/// How a queue stands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing {
    pub ready: u64,
    pub unacked: u64,
    pub consumers: u64,
    /// Bytes of bodies; of messages that are not in memory, about.
    pub ready_bytes: u64,
    pub unacked_bytes: u64,
    /// Of both, those that survive a restart: messages, and bytes of bodies.
    pub persistent: u64,
    pub persistent_bytes: u64,
    /// Ready messages that are not in memory.
    pub cold: u64,
    /// Bytes that ready messages hold in memory.
    pub held_bytes: u64,
    /// When the message that is next came, in milliseconds since 1970; none when none waits or it is not in memory.
    pub first_came_at: Option<u64>,
    /// The timestamp that its publisher has given that message, in seconds since 1970.
    pub head_timestamp: Option<u64>,
    /// Bytes on disk that nothing needs any more, about.
    pub reclaimable: u64,
    pub numbers: QueueNumbers,
}

impl State {
    fn lengths(&self) -> (u64, u64) {
        (self.engine.ready_count() as u64, self.engine.unacked_count() as u64)
    }

    pub(super) fn count(&mut self, kind: Kind, n: u64) {
        self.numbers.get_or_insert_default().counted.add(kind, n);
    }
}

impl Queue {
    /// Counts what a run of messages has done.
    #[inline]
    pub(super) fn count_run(&self, state: &mut State, published: u64, handed: Handed) {
        let numbers = state.numbers.get_or_insert_default();
        numbers.counted.add(Kind::Publish, published);
        numbers.counted.add(Kind::Deliver, handed.acked);
        numbers.counted.add(Kind::DeliverNoAck, handed.no_ack);
        numbers.counted.add(Kind::Redeliver, handed.redelivered);
        if !numbers.listed {
            self.list(state);
        }
    }

    /// Counts deliveries, and notes that messages have come or gone.
    #[inline]
    pub(super) fn count_handed(&self, state: &mut State, handed: Handed) {
        if !handed.is_none() {
            return self.count_run(state, 0, handed);
        }
        match &state.numbers {
            Some(numbers) if numbers.listed => {}
            numbers => {
                if state.lengths() != numbers.as_ref().map_or((0, 0), |numbers| numbers.told) {
                    self.list(state);
                }
            }
        }
    }

    /// Counts what `basic.get` has come to.
    pub(super) fn count_get(&self, state: &mut State, no_ack: bool, got: &Result<Option<Got>, Stall>) {
        match got {
            Ok(Some(got)) => {
                state.count(if no_ack { Kind::GetNoAck } else { Kind::Get }, 1);
                state.count(Kind::Redeliver, u64::from(got.redelivered));
            }
            Ok(None) => state.count(Kind::GetEmpty, 1),
            Err(_stall) => return,
        }
        self.count_run(state, 0, Handed::default());
    }

    #[cold]
    pub(super) fn list(&self, state: &mut State) {
        state.numbers.get_or_insert_default().listed = true;
        self.shared.moved.0.lock().push(self.me.clone());
    }

    fn tell_lengths(&self, state: &mut State) {
        let lengths = if state.deleted { (0, 0) } else { state.lengths() };
        if let Some(numbers) = &mut state.numbers {
            self.spec.lengths.change(numbers.told, lengths);
            numbers.told = lengths;
            let (reads, writes) = (numbers.counted.get(Kind::DiskReads), numbers.counted.get(Kind::DiskWrites));
            let [told_reads, told_writes] = std::mem::replace(&mut numbers.told_disk, [reads, writes]);
            self.spec.lengths.add_disk([reads.wrapping_sub(told_reads), writes.wrapping_sub(told_writes)]);
        }
    }

    /// The queue is deleted: it counts in no sum any more.
    pub(super) fn leave_sums(&self, state: &mut State) {
        self.tell_lengths(state);
    }

    /// Whether it has moved, and whether it has to be looked at again with the next sample.
    fn sample(&self, seconds: f64, now_ms: u64) -> (bool, bool) {
        let mut state = self.state.lock();
        self.tell_lengths(&mut state);
        let (keeps_up, has_consumers) = (state.engine.ready_count() == 0, state.engine.consumer_count() > 0);
        let deleted = state.deleted;
        let Some(numbers) = &mut state.numbers else { return (false, false) };
        let (before, now) = (std::mem::replace(&mut numbers.lengths, numbers.told), numbers.told);
        numbers.length_rates = [change(before.0, now.0, seconds), change(before.1, now.1, seconds)];
        let moved = numbers.rates.sample(&numbers.counted.0, seconds) | (before != now);
        if moved || numbers.moved_at == 0 {
            numbers.moved_at = now_ms;
        }
        numbers.capacity += (if keeps_up { 1.0 } else { 0.0 } - numbers.capacity) * 0.3;
        numbers.listed = !deleted && (moved || (has_consumers && !keeps_up));
        (moved, numbers.listed)
    }

    /// As it is now, for a sample.
    pub fn sample_now(&self) -> QueueSample {
        let state = self.state.lock();
        let (ready, unacked) = state.lengths();
        QueueSample { counted: state.numbers.as_ref().map(|n| n.counted).unwrap_or_default(), ready, unacked }
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        let state = self.state.lock();
        let engine = &state.engine;
        let (persistent, persistent_bytes) = engine.persistent();
        let first = engine.first_message().cloned();
        let standing = Standing {
            ready: engine.ready_count() as u64,
            unacked: engine.unacked_count() as u64,
            consumers: engine.consumer_count() as u64,
            ready_bytes: engine.ready_bytes(),
            unacked_bytes: engine.unacked_bytes(),
            cold: engine.cold().count,
            held_bytes: engine.held_bytes() as u64,
            persistent,
            persistent_bytes,
            first_came_at: first.as_ref().map(|first| first.traits().at),
            head_timestamp: None,
            reclaimable: state.shelf.as_ref().map_or(0, |shelf| shelf.reclaimable()),
            numbers: state.numbers_now(),
        };
        drop(state);
        let head_timestamp = first.and_then(|first| Properties::parse(first.view().properties).ok()?.timestamp);
        Standing { head_timestamp, ..standing }
    }

    /// What it has counted.
    pub fn numbers(&self) -> QueueNumbers {
        self.state.lock().numbers_now()
    }
}

impl State {
    fn numbers_now(&self) -> QueueNumbers {
        let state = self;
        let has_consumers = state.engine.consumer_count() > 0;
        match &state.numbers {
            None => QueueNumbers {
                moved_at: state.unused_since,
                capacity: has_consumers.then_some(1.0),
                ..QueueNumbers::default()
            },
            Some(numbers) => QueueNumbers {
                counted: numbers.counted,
                rates: numbers.rates,
                length_rates: numbers.length_rates.map(rounded),
                moved_at: numbers.moved_at.max(state.unused_since),
                capacity: has_consumers.then_some(f64::from(numbers.capacity)),
            },
        }
    }
}

/// The sums of a virtual host: its queues, and what its delayed exchanges keep.
#[derive(Clone, Debug, Default)]
pub struct Sums {
    pub queues: Arc<Lengths>,
    pub delayed: Arc<Lengths>,
}
