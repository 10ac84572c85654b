//! Counting what happens, without slowing it down.
//!
//! Every number has one writer: the task of a connection, or whoever holds the lock of a queue or an outbox. Those under a
//! lock are plain ([`Counts`]), the others are atomics that are loaded and stored, never added to ([`Counter`]); both are
//! written once for a run of messages. What a node or a virtual host adds up to is summed when somebody asks, with what
//! channels that have ended have left behind ([`Totals`]). [`rates`] makes rates of numbers, [`history`] keeps how they were,
//! [`album`] the histories of many objects within bounds, and [`apart`] what one has counted apart by others.

pub mod album;
pub mod apart;
pub mod history;
pub mod process;
pub mod rates;
mod sizes;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

pub use rates::Rates;
pub use sizes::{SIZE_BOUNDS, Sizes};

/// What is counted. The first [`QUEUE_KINDS`] are what a queue counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Publish,
    /// To a consumer that acknowledges.
    Deliver,
    DeliverNoAck,
    Get,
    GetNoAck,
    GetEmpty,
    Redeliver,
    Ack,
    DiskReads,
    DiskWrites,
    Confirm,
    ReturnUnroutable,
    DropUnroutable,
    /// Publishes that are to be confirmed.
    PublishConfirm,
    /// Publishes that were answered with a nack.
    Refuse,
    /// Queues that publishes were routed to.
    Route,
}

/// How many kinds a queue counts.
pub const QUEUE_KINDS: usize = 10;
/// How many kinds there are.
pub const KINDS: usize = 16;

/// Numbers by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts<const N: usize>(pub [u64; N]);

/// What a queue counts.
pub type QueueCounted = Counts<QUEUE_KINDS>;
/// What channels count, and what they add up to.
pub type Counted = Counts<KINDS>;

impl<const N: usize> Default for Counts<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> Counts<N> {
    #[inline]
    pub fn add(&mut self, kind: Kind, n: u64) {
        if let Some(count) = self.0.get_mut(kind as usize) {
            *count = count.wrapping_add(n);
        }
    }

    /// The number of a kind; 0 for what is not counted here.
    #[inline]
    pub fn get(&self, kind: Kind) -> u64 {
        self.0.get(kind as usize).copied().unwrap_or(0)
    }

    /// All that was handed to clients.
    pub fn delivered(&self) -> u64 {
        [Kind::Deliver, Kind::DeliverNoAck, Kind::Get, Kind::GetNoAck].iter().map(|kind| self.get(*kind)).sum()
    }

    pub fn is_zero(&self) -> bool {
        self.0.iter().all(|n| *n == 0)
    }

    /// Raises each number that is less than another's.
    pub fn raise_to(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine = theirs.max(*mine);
        }
    }

    /// Adds another's numbers, kind by kind.
    pub fn add_all<const M: usize>(&mut self, other: &Counts<M>) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine = mine.wrapping_add(theirs);
        }
    }
}

/// A number that one task writes and others read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Only for the one writer.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }
}

/// What is left of channels and connections that have ended.
#[derive(Debug, Default)]
pub struct Totals(Mutex<Left>);

/// Numbers that only rise.
#[derive(Clone, Copy, Debug, Default)]
pub struct Left {
    pub counted: Counted,
    pub sizes: Sizes,
}

impl Totals {
    /// A channel or connection has ended.
    pub fn leave(&self, counted: &Counted, sizes: &Sizes) {
        if counted.is_zero() && sizes.count() == 0 {
            return;
        }
        let mut left = self.0.lock();
        left.counted.add_all(counted);
        left.sizes.add_all(sizes);
    }

    pub fn left(&self) -> Left {
        *self.0.lock()
    }
}

/// What comes and goes. Rare enough to be added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Churn {
    ConnectionCreated,
    ConnectionClosed,
    ChannelCreated,
    ChannelClosed,
    QueueDeclared,
    QueueCreated,
    QueueDeleted,
}

/// How many kinds of coming and going there are.
pub const CHURN_KINDS: usize = 7;

/// How often what has come and gone.
#[derive(Debug, Default)]
pub struct ChurnCounts([AtomicU64; CHURN_KINDS]);

impl ChurnCounts {
    pub fn note(&self, what: Churn) {
        if let Some(count) = self.0.get(what as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    pub fn get(&self, what: Churn) -> u64 {
        self.0.get(what as usize).map_or(0, |count| count.load(Relaxed))
    }

    /// All of them, by kind.
    pub fn all(&self) -> [u64; CHURN_KINDS] {
        let mut all = [0; CHURN_KINDS];
        for (one, count) in all.iter_mut().zip(&self.0) {
            *one = count.load(Relaxed);
        }
        all
    }
}

/// What an exchange counts. Every connection that publishes to it writes, once for a run of messages.
#[derive(Debug, Default)]
pub struct ExchangeCounts {
    published: AtomicU64,
    routed: AtomicU64,
    /// Publishes that are confirmed, now or once they are safe.
    confirmed: AtomicU64,
    returned: AtomicU64,
    dropped: AtomicU64,
    /// What was handed on at the last sample, with the rates since the one before. None before the first.
    rates: Mutex<Option<Box<Rates<2>>>>,
}

impl ExchangeCounts {
    /// Messages have been published, to so many queues each.
    #[inline]
    pub fn publish(&self, messages: u64, queues: u64) {
        self.published.fetch_add(messages, Relaxed);
        if queues > 0 {
            self.routed.fetch_add(messages.wrapping_mul(queues), Relaxed);
        }
    }

    /// So many of them are confirmed, now or once they are safe.
    #[inline]
    pub fn confirm(&self, messages: u64) {
        self.confirmed.fetch_add(messages, Relaxed);
    }

    pub fn confirmed(&self) -> u64 {
        self.confirmed.load(Relaxed)
    }

    /// A message had no route.
    pub fn unroutable(&self, is_returned: bool) {
        if is_returned { &self.returned } else { &self.dropped }.fetch_add(1, Relaxed);
    }

    /// Messages published to it, and those handed on, each queue counting.
    pub fn flow(&self) -> [u64; 2] {
        [self.published.load(Relaxed), self.routed.load(Relaxed)]
    }

    pub fn returned(&self) -> u64 {
        self.returned.load(Relaxed)
    }

    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Takes a sample, `seconds` after the last one. True when messages have passed since.
    pub fn sample(&self, seconds: f64) -> bool {
        let flow = self.flow();
        let mut rates = self.rates.lock();
        (rates.is_some() || flow != [0, 0]) && rates.get_or_insert_default().sample(&flow, seconds)
    }

    /// Messages per second in and out.
    pub fn rates(&self) -> [f64; 2] {
        self.rates.lock().as_ref().map_or([0.0; 2], |rates| rates.all())
    }
}
