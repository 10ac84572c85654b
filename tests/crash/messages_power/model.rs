//! What must, may and must not be in a queue, as far as its users have been told.

use std::collections::{BTreeMap, BTreeSet};

/// How sure it is that a message has left its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gone {
    No,
    /// Settled; in which commit at the latest is not known yet.
    Told,
    /// For good, once this commit is done.
    By(u64),
    /// Settled, and perhaps nobody will remember.
    Perhaps,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    persistent: bool,
    /// The commit that it was published with; `None` when it is of an earlier life and perhaps lost.
    commit: Option<u64>,
    gone: Gone,
    /// Somebody may have seen it.
    delivered: bool,
    /// Somebody may have seen it in an earlier life.
    delivered_before: bool,
}

/// A message as it was found in a queue.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub position: u64,
    pub number: u64,
    pub redelivered: bool,
}

/// A message that was published.
pub struct Published {
    pub position: u64,
    pub number: u64,
    pub persistent: bool,
    pub commit: u64,
    /// A consumer without acks has taken it at once.
    pub consumed: bool,
}

/// One queue.
#[derive(Debug, Default)]
pub struct Model {
    entries: BTreeMap<u64, Entry>,
    unacked: BTreeSet<u64>,
    /// The highest position that was delivered for the first time.
    last_new: Option<u64>,
    told: Vec<u64>,
    /// What is not to come back, for the report of a failure.
    past: BTreeMap<u64, Entry>,
}

impl Model {
    pub fn published(&mut self, message: Published) {
        let Published { position, number, persistent, commit, consumed } = message;
        // What was consumed on the way in was never stored.
        let gone = if consumed { Gone::By(0) } else { Gone::No };
        let entry =
            Entry { number, persistent, commit: Some(commit), gone, delivered: consumed, delivered_before: false };
        if let Some(before) = self.entries.insert(position, entry) {
            let was_lost = before.commit.is_none() || before.gone == Gone::Perhaps;
            assert!(was_lost, "LOST: the position of {before:?} is used again");
        }
    }

    /// A delivery. `told` says that its settlement, with `no_ack`, has been handed to the journal.
    pub fn delivered(&mut self, seen: Seen, no_ack: bool, told: bool) {
        let Seen { position, number, redelivered } = seen;
        let entry = self.entries.get_mut(&position).unwrap_or_else(|| panic!("UNEXPECTED delivery: {seen:?}"));
        assert_eq!(entry.number, number, "another message at its position: {seen:?}");
        if entry.gone == Gone::By(0) && no_ack {
            return;
        }
        assert!(matches!(entry.gone, Gone::No | Gone::Perhaps), "delivered after it was settled: {entry:?}");
        assert!(redelivered || !entry.delivered, "WITHOUT flag: {entry:?}");
        entry.delivered = true;
        entry.commit = entry.commit.or(Some(0));
        entry.gone = Gone::No;
        if !no_ack {
            self.unacked.insert(position);
        } else if told {
            entry.gone = Gone::Told;
            self.told.push(position);
        } else {
            entry.gone = Gone::Perhaps;
        }
    }

    /// A delivery to a consumer, in the order of deliveries.
    pub fn consumed(&mut self, seen: Seen, no_ack: bool, told: bool) {
        if !seen.redelivered {
            let last = self.last_new.replace(seen.position);
            assert!(last.is_none_or(|last| last < seen.position), "REORDERED: {seen:?} after {last:?}");
        }
        self.delivered(seen, no_ack, told);
    }

    pub fn unacked(&self) -> impl ExactSizeIterator<Item = u64> {
        self.unacked.iter().copied()
    }

    /// An unacked message has been settled, or returned.
    pub fn settled(&mut self, position: u64, for_good: bool) {
        self.unacked.remove(&position);
        if for_good && let Some(entry) = self.entries.get_mut(&position) {
            entry.gone = Gone::Told;
            self.told.push(position);
        }
    }

    /// Everything but what is unacked has been removed.
    pub fn purged(&mut self) {
        let (unacked, told) = (&self.unacked, &mut self.told);
        for (position, entry) in self.entries.iter_mut().filter(|(position, _)| !unacked.contains(position)) {
            if matches!(entry.gone, Gone::No | Gone::Perhaps) {
                entry.gone = Gone::Told;
                told.push(*position);
            }
        }
    }

    /// Everything that was settled so far is in this commit, or one before it.
    pub fn told_by(&mut self, commit: u64) {
        for position in self.told.drain(..) {
            if let Some(entry) = self.entries.get_mut(&position)
                && entry.gone == Gone::Told
            {
                entry.gone = Gone::By(commit);
            }
        }
    }

    /// The broker has ended when these commits were done. `flags` says that it must know what it has delivered.
    pub fn ended(&mut self, committed: u64, flags: bool) {
        let past = self.entries.extract_if(.., |_, entry| {
            let is_gone = matches!(entry.gone, Gone::By(commit) if commit <= committed);
            !entry.persistent || is_gone
        });
        self.past.extend(past);
        self.entries.retain(|_, entry| {
            entry.commit = entry.commit.filter(|commit| *commit <= committed).map(|_| 0);
            if entry.gone != Gone::No {
                entry.gone = Gone::Perhaps;
            }
            if flags {
                entry.delivered_before = entry.delivered;
            } else {
                entry.delivered = entry.delivered_before;
            }
            true
        });
        self.unacked.clear();
        self.told.clear();
        self.last_new = None;
    }

    /// All that is in the queue after a restart, now unacked.
    pub fn found(&mut self, all: &[Seen]) {
        let mut last = None;
        for seen in all {
            assert!(last.is_none_or(|last| last < seen.position), "REORDERED: {seen:?} after {last:?}");
            last = Some(seen.position);
            let entry = self.entries.get(&seen.position);
            let entry = entry.unwrap_or_else(|| panic!("UNEXPECTED: {seen:?} {:?}", self.past.get(&seen.position)));
            assert_eq!(entry.number, seen.number, "another message at its position: {seen:?}");
            assert!(seen.redelivered || !entry.delivered, "WITHOUT flag: {entry:?}");
        }
        let mut there = all.iter().peekable();
        let missing = self.entries.extract_if(.., |position, entry| {
            let is_there = there.next_if(|seen| seen.position == *position).is_some();
            let must = entry.commit.is_some() && entry.gone == Gone::No;
            assert!(is_there || !must, "LOST: {entry:?} at {position}");
            !is_there
        });
        self.past.extend(missing);
        for seen in all {
            self.delivered(Seen { redelivered: true, ..*seen }, false, false);
        }
    }

    /// Nothing of it is on disk: it must not have held anything for sure.
    pub fn not_found(&mut self) {
        self.found(&[]);
    }
}
