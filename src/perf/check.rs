//! Was every message delivered exactly once, and in order?
//!
//! Each consumer has a [`Tracker`], its own, which folds what one read brought into runs of consecutive numbers. After
//! the read the runs go to the queue's [`Ledger`], which all consumers of that queue share, and which remembers every
//! number that was seen. Order is judged per consumer (between two consumers of one queue there is none); once-only
//! per queue. At the end [`Ledger::settle`] compares with what the producers say they sent.

use std::collections::BTreeMap;
use std::ops::Range;

use super::body::Id;
use super::seqset::SeqSet;

/// How far ahead of the lowest missing number a message may be: limits what a wrong number can make the bitmap take.
const WINDOW: u64 = 1 << 33;

/// What went wrong, in messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    pub lost: u64,
    /// Seen again without the redelivered flag.
    pub duplicated: u64,
    /// Arrived at a consumer after a later one, without the redelivered flag.
    pub out_of_order: u64,
    /// With the redelivered flag: allowed, but worth knowing.
    pub redelivered: u64,
    /// In a queue to which their producer's messages are not routed.
    pub misrouted: u64,
    /// Of a wrong length or content, or with numbers that nobody sent.
    pub corrupt: u64,
}

impl Faults {
    pub fn add(&mut self, other: &Self) {
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.out_of_order += other.out_of_order;
        self.redelivered += other.redelivered;
        self.misrouted += other.misrouted;
        self.corrupt += other.corrupt;
    }

    pub fn any(&self) -> bool {
        self.lost + self.duplicated + self.out_of_order + self.misrouted + self.corrupt > 0
    }
}

/// Consecutive messages of one producer, all new in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    producer: u16,
    seqs: Range<u64>,
    late: bool,
    redelivered: bool,
}

/// One consumer's view: the highest number of each producer, and the runs since the last report.
#[derive(Debug, Default)]
pub struct Tracker {
    /// By producer: one more than the highest number seen.
    next: Vec<u64>,
    runs: Vec<Run>,
}

impl Tracker {
    #[inline]
    pub fn saw(&mut self, id: Id, redelivered: bool) {
        if let (Some(next), Some(run)) = (self.next.get_mut(usize::from(id.producer)), self.runs.last_mut()) {
            let follows = run.producer == id.producer && run.seqs.end == id.seq;
            if follows && *next == id.seq && !run.late && !redelivered && !run.redelivered {
                *next += 1;
                run.seqs.end += 1;
                return;
            }
        }
        self.start_run(id, redelivered);
    }

    fn start_run(&mut self, id: Id, redelivered: bool) {
        let at = usize::from(id.producer);
        if self.next.len() <= at {
            self.next.resize(at + 1, 0);
        }
        let mut late = false;
        if let Some(next) = self.next.get_mut(at) {
            late = id.seq < *next;
            // A redelivered message says nothing about where the consumer stands.
            if !late && !redelivered {
                *next = id.seq + 1;
            }
        }
        self.runs.push(Run { producer: id.producer, seqs: id.seq..id.seq + 1, late, redelivered });
    }

    /// Hands the runs to the queue's ledger; returns how many messages that queue had not had before.
    pub fn report(&mut self, ledger: &mut Ledger) -> u64 {
        self.runs.drain(..).map(|run| ledger.enter(&run)).sum()
    }
}

/// What one queue has delivered, to whichever of its consumers.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By producer.
    seen: Vec<SeqSet>,
    pub faults: Faults,
}

/// What a producer says at the end about its messages.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// Numbers `0..published` were sent.
    pub published: u64,
    /// Of these the broker has not promised to keep: refused, returned, or not confirmed when the run ended.
    pub not_promised: SeqSet,
}

impl Ledger {
    fn enter(&mut self, run: &Run) -> u64 {
        let at = usize::from(run.producer);
        if self.seen.len() <= at {
            self.seen.resize(at + 1, SeqSet::default());
        }
        let Some(seen) = self.seen.get_mut(at) else { return 0 };
        let count = run.seqs.end - run.seqs.start;
        if run.seqs.end > seen.floor().saturating_add(WINDOW) {
            self.faults.corrupt += count;
            return 0;
        }
        let new = seen.insert_run(run.seqs.clone());
        if run.redelivered {
            self.faults.redelivered += count;
        } else {
            self.faults.duplicated += count - new;
            self.faults.out_of_order += if run.late { new } else { 0 };
        }
        new
    }

    /// The whole judgement, given what each producer that is routed to this queue has sent.
    pub fn settle(&self, expected: &BTreeMap<u16, &Sent>) -> Faults {
        let mut faults = self.faults;
        let nothing = SeqSet::default();
        for (producer, sent) in expected {
            let seen = self.seen.get(usize::from(*producer)).unwrap_or(&nothing);
            faults.lost += lost(seen, sent);
            faults.corrupt += count_from(seen, sent.published);
        }
        for (producer, seen) in (0..=u16::MAX).zip(&self.seen) {
            if !expected.contains_key(&producer) {
                faults.misrouted += count_from(seen, 0);
            }
        }
        faults
    }

    /// The judgement when the producers are unknown, as when an older backlog is drained: every producer's numbers must
    /// be without a gap, from 0 to the highest.
    pub fn settle_alone(&self) -> Faults {
        let gaps = |seen: &SeqSet| seen.missing(seen.end()).into_iter().map(|gap| gap.end - gap.start).sum::<u64>();
        Faults { lost: self.seen.iter().map(gaps).sum(), ..self.faults }
    }
}

/// Missing and promised.
fn lost(seen: &SeqSet, sent: &Sent) -> u64 {
    let mut lost = 0;
    let mut excused = sent.not_promised.clone();
    for gap in seen.missing(sent.published) {
        // What is new to the set of excuses has no excuse.
        lost += excused.insert_run(gap);
    }
    lost
}

/// How many numbers from `start` on are in the set.
fn count_from(seen: &SeqSet, start: u64) -> u64 {
    let end = seen.end();
    let missing = |end| seen.missing(end).into_iter().map(|gap| gap.end - gap.start).sum::<u64>();
    if end <= start { 0 } else { (end - missing(end)) - (start - missing(start)) }
}

#[cfg(test)]
mod tests;
