//! A segment as its queue knows it: what lives in it, how much that is, and where it lies; and what is written to one.

use crate::message::Traits;
use crate::persist::index::{Entry, Indexed, Places};
use crate::persist::ranges::Ranges;

/// A segment as the queue knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    pub number: u32,
    pub first: u64,
    pub last: u64,
    /// Records in it.
    pub count: u64,
    /// Bytes that count.
    pub bytes: u64,
    /// Persistent messages in it that live.
    pub live: u64,
    /// Transient messages in it that live.
    pub transient: u64,
    /// Bytes of the bodies of the persistent messages in it that live. Where one has died of an unknown size, about.
    pub bodies: u64,
    /// The same of the transient ones.
    pub transient_bodies: u64,
    /// Which of its records have entries in its index.
    pub indexed: Indexed,
    /// Bytes of its index that count, 0 when there is none, [`index::UNKNOWN`] when it is to be made.
    pub index_end: u64,
    /// Where the messages with entries lie: all that live, and some that do not.
    pub places: Places,
    /// From an earlier run: nothing is added, and its transient records count for nothing.
    pub old: bool,
}

impl Segment {
    pub(super) fn is_dead(&self) -> bool {
        self.live == 0 && self.transient == 0
    }

    /// A message dies.
    pub(super) fn lose(&mut self, persistent: bool, body: Option<u64>) {
        let (count, bodies) = if persistent {
            (&mut self.live, &mut self.bodies)
        } else {
            (&mut self.transient, &mut self.transient_bodies)
        };
        let body = body.unwrap_or(*bodies / (*count).max(1));
        *count = count.saturating_sub(1);
        *bodies = if *count == 0 { 0 } else { bodies.saturating_sub(body) };
    }

    /// A message that has been written lives.
    pub(super) fn gain(&mut self, record: &WrittenRecord) {
        let (count, bodies) = if record.transient {
            (&mut self.transient, &mut self.transient_bodies)
        } else {
            (&mut self.live, &mut self.bodies)
        };
        *count += 1;
        *bodies += u64::from(record.body);
    }

    /// Takes up what has been written to the index. Positions from `settled_from` on are dead, and those in `dead`.
    pub(super) fn index(&mut self, written: &Written, settled_from: u64, dead: &Ranges) {
        self.indexed = self.indexed.max(written.indexed);
        self.index_end = written.index_end;
        for entry in written.entries.iter().filter(|e| e.position < settled_from && !dead.contains(e.position)) {
            self.places.push(entry.position, entry.offset);
        }
    }

    /// Only so many messages live on.
    pub(super) fn keep(&mut self, live: u64, transient: u64) {
        let share = |bodies: u64, of: u64, all: u64| {
            (u128::from(bodies) * u128::from(of) / u128::from(all.max(1))).min(bodies.into()) as u64
        };
        self.bodies = share(self.bodies, live, self.live);
        self.transient_bodies = share(self.transient_bodies, transient, self.transient);
        (self.live, self.transient) = (live, transient);
    }

    /// Bytes that living messages take, about.
    pub(super) fn live_bytes(&self) -> u64 {
        (u128::from(self.bytes) * u128::from(self.live + self.transient) / u128::from(self.count.max(1))) as u64
    }
}

/// Records that a flush has written to one segment.
#[derive(Clone, Debug, Default)]
pub struct Written {
    pub segment: u32,
    pub records: Vec<WrittenRecord>,
    /// Bytes of the file that count now.
    pub end: u64,
    /// Which records have entries.
    pub indexed: Indexed,
    pub entries: Vec<Entry>,
    /// Bytes of the index that count now.
    pub index_end: u64,
}

/// A record that has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenRecord {
    pub position: u64,
    /// Bytes of the body.
    pub body: u32,
    pub transient: bool,
}

impl Written {
    pub fn new(segment: u32, indexed: Indexed, index_end: u64) -> Self {
        Self { segment, indexed, index_end, ..Self::default() }
    }

    /// Notes a record that begins at `offset`.
    pub fn note(&mut self, offset: u64, position: u64, transient: bool, traits: Traits, body: usize) {
        let body = u32::try_from(body).unwrap_or(u32::MAX);
        self.records.push(WrittenRecord { position, body, transient });
        if self.indexed.wants(traits) {
            let Traits { due, priority, .. } = traits;
            self.entries.push(Entry { position, offset, due, priority, transient });
        }
    }
}
