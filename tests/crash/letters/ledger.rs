//! Where messages are that move by themselves: dead letters and delayed messages. Pure: it is told what happened.
//!
//! A message is published to a *source* and moves to a *target*: from a queue to that of its dead letters, or out of a
//! delayed exchange to the queue that it is for. The move is one commit. So however the broker dies, a confirmed message
//! is in the source or in the target, never in neither and never in both. What is allowed: a message whose reject or ack
//! nobody knows to be stored is in the source again, redelivered; and one that was received from the target is in the
//! source again when the move itself was not stored, and comes to the target once more.
//!
//! As with the other checker, what is settled is told before it is sent, what is received after it has come, and
//! [`Ledger::certain`] when the broker has answered something later.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use leveret::frames::{Table, Value};

use super::super::checker::Id;

#[cfg(test)]
mod tests;

/// How a message was published, which says how it moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// To a queue with a time-out.
    Timed,
    /// To a queue whose consumers reject.
    Rejected,
    /// To a queue that is too short.
    Full,
    Delayed {
        ms: u64,
    },
}

impl Route {
    /// The queue that it goes to first, and the reason for which it dies there.
    pub fn source(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Timed => Some(("timed", "expired")),
            Self::Rejected => Some(("rejected", "rejected")),
            Self::Full => Some(("full", "maxlen")),
            Self::Delayed { .. } => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Source,
    Target,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Ack,
    Reject,
    Requeue,
}

/// What became of a message in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There, or not, or not any more.
    Open,
    Out,
    /// Acked, or rejected, in that run; nobody knows whether that was stored.
    Settled {
        run: u32,
        how: How,
    },
    /// The same, and stored.
    Gone {
        how: How,
    },
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    route: Route,
    sent: Instant,
    published_in: u32,
    /// The broker has promised to keep it, or shown that it did.
    safe: bool,
    was_rejected: bool,
    source: State,
    target: State,
    /// When it was last received there.
    seen_at_source: Option<u32>,
    seen_at_target: Option<u32>,
    /// Nothing is left of it that could come.
    finished: bool,
}

pub struct Ledger {
    run: u32,
    entries: BTreeMap<Id, Entry>,
    faults: Vec<String>,
    pub moved: u64,
    pub confirmed: u64,
}

impl Ledger {
    pub fn new() -> Self {
        Self { run: 1, entries: BTreeMap::new(), faults: vec![], moved: 0, confirmed: 0 }
    }

    pub fn run(&self) -> u32 {
        self.run
    }

    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    pub fn fault(&mut self, text: String) {
        self.faults.push(text);
    }

    pub fn published(&mut self, id: Id, route: Route, sent: Instant) {
        let (published_in, safe, was_rejected, finished) = (self.run, false, false, false);
        let (source, target) = (State::Open, State::Open);
        let (seen_at_source, seen_at_target) = (None, None);
        let entry = Entry {
            route,
            sent,
            published_in,
            safe,
            was_rejected,
            source,
            target,
            seen_at_source,
            seen_at_target,
            finished,
        };
        self.entries.insert(id, entry);
    }

    pub fn confirmed(&mut self, id: Id) {
        self.confirmed += 1;
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.safe = true;
        }
    }

    /// It came out of a queue.
    pub fn received(&mut self, place: Place, id: Id, redelivered: bool, headers: &Table, now: Instant) {
        let run = self.run;
        let Some(entry) = self.entries.get_mut(&id) else { return self.fault(format!("{id} was never published")) };
        let was = *entry;
        entry.safe |= was.published_in != run;
        let mut wrong = was.wrong_to_receive(place, run, redelivered);
        match place {
            Place::Source => {
                (entry.source, entry.seen_at_source) = (State::Out, Some(run));
            }
            Place::Target => {
                (entry.target, entry.seen_at_target) = (State::Out, Some(run));
                self.moved += 1;
                wrong = wrong.or(was.wrong_with_letter(headers, now));
            }
        }
        if was.finished {
            wrong = wrong.or(Some("was missing before".to_owned()));
        }
        if let Some(wrong) = wrong {
            self.fault(format!("{id} {wrong}: at the {place:?} in run {run}, {was:?}"));
        }
    }

    pub fn settled(&mut self, place: Place, id: Id, how: How) {
        let run = self.run;
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let state = if how == How::Requeue { State::Open } else { State::Settled { run, how } };
        entry.was_rejected |= place == Place::Source && how == How::Reject;
        *entry.at(place) = state;
    }

    /// What was settled there is so for good.
    pub fn certain(&mut self, place: Place, id: Id) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if let State::Settled { how, .. } = *entry.at(place) {
            *entry.at(place) = State::Gone { how };
        }
    }

    /// The broker was killed, and the next one begins.
    pub fn restarted(&mut self) {
        self.run += 1;
        for entry in self.entries.values_mut() {
            for place in [Place::Source, Place::Target] {
                if *entry.at(place) == State::Out {
                    *entry.at(place) = State::Open;
                }
            }
        }
    }

    /// What must be somewhere.
    pub fn expected(&self) -> BTreeSet<Id> {
        self.entries.iter().filter(|(_, entry)| entry.must_be_there()).map(|(id, _)| *id).collect()
    }

    /// All queues were looked into while nobody else used them, and this is all that was found.
    pub fn inspected(&mut self, found: &BTreeSet<Id>) {
        let run = self.run;
        let mut lost = vec![];
        for (id, entry) in self.entries.iter_mut().filter(|(id, entry)| !entry.finished && !found.contains(id)) {
            // One that was never confirmed may be there all the same, and not be due yet.
            entry.finished = entry.safe || !matches!(entry.route, Route::Delayed { .. });
            if entry.must_be_there_at_all() {
                lost.push(format!("{id} is lost: run {run}, {entry:?}"));
            }
        }
        self.faults.extend(lost);
    }
}

impl Entry {
    fn at(&mut self, place: Place) -> &mut State {
        match place {
            Place::Source => &mut self.source,
            Place::Target => &mut self.target,
        }
    }

    /// Promised, and nobody has acked it. A reject only moves it.
    fn must_be_there_at_all(&self) -> bool {
        let acked = |state| matches!(state, State::Settled { how: How::Ack, .. } | State::Gone { how: How::Ack });
        self.safe && !acked(self.source) && !acked(self.target)
    }

    fn must_be_there(&self) -> bool {
        !self.finished && self.must_be_there_at_all()
    }

    fn wrong_to_receive(&self, place: Place, run: u32, redelivered: bool) -> Option<String> {
        let (here, other, seen) = match place {
            Place::Source => (self.source, self.target, self.seen_at_source),
            Place::Target => (self.target, self.source, self.seen_at_target),
        };
        let settled_now = |state| matches!(state, State::Settled { run: at, .. } if at == run);
        let wrong = match place {
            _ if here == State::Out => "was delivered to two at a time",
            _ if matches!(here, State::Gone { .. }) => "came back although it was certainly settled there",
            _ if settled_now(here) => "came back although it was settled there in this run",
            _ if other == State::Out => "is in both places",
            Place::Source if matches!(other, State::Gone { .. }) => "came back although it had certainly moved on",
            Place::Source if settled_now(other) => "came back although it had moved on in this run",
            Place::Target if matches!(other, State::Gone { how: How::Ack }) => "moved although it was certainly acked",
            Place::Target if matches!(other, State::Settled { run: at, how: How::Ack } if at == run) => {
                "moved although it was acked in this run"
            }
            Place::Target if self.route == Route::Rejected && !self.was_rejected => "moved and nobody had rejected it",
            // That the move was stored when it was received in an earlier run, nobody knows.
            Place::Target if seen == Some(run) && !redelivered => "came again without the flag",
            Place::Source if seen.is_some() && !redelivered => "came again without the flag",
            _ => return None,
        };
        Some(wrong.to_owned())
    }

    /// What its headers say, and when it comes.
    fn wrong_with_letter(&self, headers: &Table, now: Instant) -> Option<String> {
        if let Route::Delayed { ms } = self.route {
            let delay = headers.get("x-delay").and_then(Value::as_int);
            let waited = now.duration_since(self.sent);
            return match () {
                () if waited < Duration::from_millis(ms) => Some(format!("came after {waited:?}")),
                () if delay.map(i64::wrapping_neg) != i64::try_from(ms).ok() => {
                    Some(format!("has the delay {delay:?}"))
                }
                () => None,
            };
        }
        let (queue, reason) = self.route.source()?;
        let Some(Value::Array(deaths)) = headers.get("x-death") else { return Some("has no x-death".to_owned()) };
        let [Value::Table(death)] = &deaths[..] else { return Some(format!("has died of {deaths:?}")) };
        let expected = [("queue", Value::text(queue)), ("reason", Value::text(reason)), ("count", Value::I64(1))];
        let is_so = expected.iter().all(|(key, value)| death.get(key) == Some(value));
        (!is_so).then(|| format!("has died of {death:?}"))
    }
}
