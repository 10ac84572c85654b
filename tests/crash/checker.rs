//! What a broker promised, and whether it kept it. Pure: it is told what happened and counts what should not have.
//!
//! A *run* is the life of one broker process; [`Checker::restarted`] begins the next. Within a run, [`Checker::published`],
//! [`Checker::acked`] and [`Checker::requeued`] are called before the bytes are sent, [`Checker::confirmed`] and
//! [`Checker::delivered`] after they were received, so what a client has seen is never ahead of what it has caused.
//! [`Checker::inspected`] is told everything that a queue holds while nobody else uses it.
//!
//! An ack has no answer. That it was stored is certain only after something that the broker answered later, and then
//! [`Checker::certain`] is called; until then the message may come back after a restart, flagged as redelivered.
//!
//! Messages that move by themselves, dead letters and delayed ones, have a checker of their own, the letters' ledger.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

#[cfg(test)]
mod tests;

pub type Queue = &'static str;

/// One consumer on one channel, from its consume to its end.
pub type Consumer = u64;

/// Publishers have numbers that rise from run to run, and number their messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    pub publisher: u32,
    pub sequence: u32,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.publisher, self.sequence)
    }
}

/// How many of what. The second half should be zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub published: u64,
    pub confirmed: u64,
    pub nacked: u64,
    pub delivered: u64,
    /// Delivered before, and flagged so.
    pub redelivered: u64,
    /// On their way to a consumer without acks when the broker was killed.
    pub in_flight: u64,
    /// Promised, not acked, and not there.
    pub lost: u64,
    /// Delivered before, and not flagged so.
    pub unflagged: u64,
    pub reordered: u64,
    /// Should not be there: acked, purged, transient, damaged, delivered to two at a time, or never published.
    pub unexpected: u64,
}

/// A message in one queue.
#[derive(Clone, Copy, Debug)]
struct Entry {
    published_in: u32,
    /// It survives in this queue.
    persistent: bool,
    /// The broker has promised to keep it, or has shown that it did over a restart.
    safe: bool,
    was_delivered: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the queue, or on its way there.
    Ready,
    /// Delivered and not settled.
    Out,
    /// An ack or a purge was sent in that run; nobody knows what became of it.
    Acked { run: u32 },
    /// May not come any more.
    Gone,
}

#[derive(Default)]
struct Log {
    entries: BTreeMap<Id, Entry>,
    /// Those that are not gone.
    open: BTreeSet<Id>,
    /// Its only consumer does not ack.
    is_auto: bool,
    /// Transient messages survive, too.
    keeps_all: bool,
    /// By publisher, the last message that was received in each run.
    last_received: HashMap<(u32, u32), u32>,
}

#[derive(Default)]
pub struct Checker {
    run: u32,
    queues: BTreeMap<Queue, Log>,
    counts: Counts,
    faults: Vec<String>,
    /// The last first delivery of a publisher's messages to a consumer.
    last: HashMap<(Consumer, u32), Id>,
}

/// More faults of a kind are only counted.
const FAULTS: u64 = 15;

impl Checker {
    pub fn new() -> Self {
        Self { run: 1, ..Self::default() }
    }

    /// The only consumer of this queue takes messages without acks: those on their way when the broker dies are gone.
    pub fn expect_auto_acks(&mut self, queue: Queue) {
        self.queues.entry(queue).or_default().is_auto = true;
    }

    /// All messages of this queue survive.
    pub fn expect_all_kept(&mut self, queue: Queue) {
        self.queues.entry(queue).or_default().keeps_all = true;
    }

    pub fn run(&self) -> u32 {
        self.run
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// What went wrong, in words.
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    /// About how many messages are in a queue.
    pub fn depth(&self, queue: Queue) -> usize {
        self.queues.get(queue).map_or(0, |log| log.open.len())
    }

    pub fn published(&mut self, id: Id, queues: &[Queue], persistent: bool) {
        self.counts.published += 1;
        let published_in = self.run;
        let entry = Entry { published_in, persistent, safe: false, was_delivered: false, state: State::Ready };
        for queue in queues {
            let log = self.queues.entry(queue).or_default();
            log.entries.insert(id, Entry { persistent: persistent || log.keeps_all, ..entry });
            log.open.insert(id);
        }
    }

    pub fn confirmed(&mut self, id: Id, queues: &[Queue]) {
        self.counts.confirmed += 1;
        for queue in queues {
            if let Some(entry) = self.entry(queue, id) {
                entry.safe = true;
            }
        }
    }

    pub fn nacked(&mut self, _id: Id) {
        self.counts.nacked += 1;
    }

    pub fn delivered(&mut self, queue: Queue, consumer: Consumer, id: Id, redelivered: bool) {
        self.received(queue, id, redelivered);
        if !redelivered
            && let Some(before) = self.last.insert((consumer, id.publisher), id)
            && before >= id
        {
            self.fault(|c| &mut c.reordered, format!("{queue}: {id} was delivered after {before}"));
        }
    }

    fn received(&mut self, queue: Queue, id: Id, redelivered: bool) {
        self.counts.delivered += 1;
        let run = self.run;
        let Some(log) = self.queues.get_mut(queue) else { return self.never_published(queue, id) };
        let Some(entry) = log.entries.get_mut(&id) else { return self.never_published(queue, id) };
        let was = *entry;
        let is_new = was.published_in == run;
        *entry = Entry { was_delivered: true, safe: was.safe || !is_new, state: State::Out, ..was };
        log.open.insert(id);
        log.last_received.insert((id.publisher, run), id.sequence);
        let wrong = match was.state {
            _ if !was.persistent && !is_new => Some("is transient and came back after a restart"),
            State::Gone => Some("came back although it was certainly gone"),
            State::Acked { run: acked_in } if acked_in == run => Some("came back although it was acked in this run"),
            State::Out => Some("was delivered to two at a time"),
            State::Ready | State::Acked { .. } => None,
        };
        if let Some(wrong) = wrong {
            self.fault(|c| &mut c.unexpected, format!("{queue}: {id} {wrong}: run {run}, {was:?}"));
        }
        match (was.was_delivered, redelivered) {
            (true, true) => self.counts.redelivered += 1,
            (true, false) => {
                let text = format!("{queue}: {id} was delivered again without the flag: run {run}, {was:?}");
                self.fault(|c| &mut c.unflagged, text);
            }
            (false, _) => {}
        }
    }

    fn never_published(&mut self, queue: Queue, id: Id) {
        self.fault(|c| &mut c.unexpected, format!("{queue}: {id} was never published there"));
    }

    /// A message came whose body or properties are not what was published.
    pub fn damaged(&mut self, queue: Queue, what: &str) {
        self.fault(|c| &mut c.unexpected, format!("{queue}: {what}"));
    }

    pub fn acked(&mut self, queue: Queue, id: Id) {
        self.set_state(queue, id, State::Acked { run: self.run });
    }

    pub fn requeued(&mut self, queue: Queue, id: Id) {
        self.set_state(queue, id, State::Ready);
    }

    fn set_state(&mut self, queue: Queue, id: Id, state: State) {
        if let Some(entry) = self.entry(queue, id) {
            entry.state = state;
        }
    }

    /// What was acked or purged is so for good.
    pub fn certain(&mut self, queue: Queue, id: Id) {
        if let Some(log) = self.queues.get_mut(queue)
            && let Some(entry) = log.entries.get_mut(&id)
            && matches!(entry.state, State::Acked { .. })
        {
            entry.state = State::Gone;
            log.open.remove(&id);
        }
    }

    /// The queue is about to be purged, or deleted when nothing of it is out. Returns what goes with it.
    pub fn emptied(&mut self, queue: Queue) -> Vec<Id> {
        let run = self.run;
        let Some(log) = self.queues.get_mut(queue) else { return vec![] };
        let mut emptied = vec![];
        for id in &log.open {
            if let Some(entry) = log.entries.get_mut(id)
                && entry.state != State::Out
            {
                entry.state = State::Acked { run };
                emptied.push(*id);
            }
        }
        emptied
    }

    /// The broker has ended, in whatever way, and the next one begins.
    pub fn restarted(&mut self) {
        self.run += 1;
        self.last.clear();
        for log in self.queues.values_mut() {
            let Log { entries, open, .. } = log;
            open.retain(|id| {
                let Some(entry) = entries.get_mut(id) else { return false };
                if entry.state == State::Out {
                    entry.state = State::Ready;
                }
                entry.persistent
            });
        }
    }

    /// This is all that the queue holds, in this order, and nobody else uses it. What was found counts as delivered.
    pub fn inspected(&mut self, queue: Queue, found: &[(Id, bool)]) {
        for (id, redelivered) in found {
            self.received(queue, *id, *redelivered);
        }
        self.check_order(queue, found.iter().map(|(id, _)| *id));
        let found: BTreeSet<Id> = found.iter().map(|(id, _)| *id).collect();
        let missing = self.queues.get(queue).into_iter().flat_map(|log| &log.open);
        let missing: Vec<Id> = missing.filter(|id| !found.contains(id)).copied().collect();
        missing.into_iter().for_each(|id| self.missed(queue, id));
    }

    /// Messages of one publisher stand in the order in which it sent them, those of an earlier run before those of a
    /// later one.
    fn check_order(&mut self, queue: Queue, ids: impl Iterator<Item = Id>) {
        let mut last: HashMap<u32, Id> = HashMap::new();
        let mut latest = (0, Id { publisher: 0, sequence: 0 });
        for id in ids {
            let run = self.entry(queue, id).map_or(0, |entry| entry.published_in);
            if run < latest.0 {
                let text = format!("{queue}: {id} of run {run} stands behind {} of run {}", latest.1, latest.0);
                self.fault(|c| &mut c.reordered, text);
            }
            latest = latest.max((run, id));
            if let Some(before) = last.insert(id.publisher, id)
                && before >= id
            {
                self.fault(|c| &mut c.reordered, format!("{queue}: {id} stands behind {before}"));
            }
        }
    }

    /// An inspection has not found it.
    fn missed(&mut self, queue: Queue, id: Id) {
        let run = self.run;
        let Some(log) = self.queues.get_mut(queue) else { return };
        let was_in_flight = log.is_auto && log.may_have_been_in_flight(id, run);
        let Some(entry) = log.entries.get_mut(&id) else { return };
        let was = *entry;
        let is_acked = matches!(was.state, State::Acked { .. });
        // What happened in this run may be undone by the next.
        if was.state == (State::Acked { run }) || (!was.safe && was.published_in == run) {
            return;
        }
        entry.state = State::Gone;
        log.open.remove(&id);
        if !was.safe || is_acked {
            return;
        }
        if was_in_flight {
            self.counts.in_flight += 1;
        } else {
            self.fault(|c| &mut c.lost, format!("{queue}: {id} is lost: run {run}, {was:?}"));
        }
    }

    fn entry(&mut self, queue: Queue, id: Id) -> Option<&mut Entry> {
        self.queues.get_mut(queue)?.entries.get_mut(&id)
    }

    fn fault(&mut self, count: impl FnOnce(&mut Counts) -> &mut u64, text: String) {
        let n = count(&mut self.counts);
        *n += 1;
        if *n <= FAULTS {
            self.faults.push(text);
        }
    }
}

impl Log {
    /// Whether the only consumer may have been on the way of getting it when a run ended, the first one or, where it came
    /// back, a later one: it had not got anything of that publisher that comes later, since deliveries do not overtake one
    /// another.
    fn may_have_been_in_flight(&self, id: Id, run: u32) -> bool {
        let Some(entry) = self.entries.get(&id) else { return false };
        let first = entry.published_in;
        let is_later = |run: u32| self.last_received.get(&(id.publisher, run)).is_some_and(|last| *last > id.sequence);
        (first..run).any(|run| !is_later(run))
    }
}

impl Counts {
    pub fn is_flawless(&self) -> bool {
        (self.lost, self.unflagged, self.reordered, self.unexpected) == (0, 0, 0, 0)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = [
            ("published", self.published),
            ("confirmed", self.confirmed),
            ("nacked", self.nacked),
            ("delivered", self.delivered),
            ("again, with the flag", self.redelivered),
            ("in flight to auto-ack", self.in_flight),
            ("LOST", self.lost),
            ("again, WITHOUT the flag", self.unflagged),
            ("REORDERED", self.reordered),
            ("UNEXPECTED", self.unexpected),
        ];
        lines.iter().try_for_each(|(name, n)| writeln!(f, "{name:<24} {n:>10}"))
    }
}
