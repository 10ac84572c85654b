//! What leaves by itself, against a plain list of messages: times, limits, priorities, returns, and messages that are cold
//! when their time comes; and messages that an operator looks at, throws away and moves.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;

use proptest::prelude::*;

use super::*;
use crate::message::Keeps;
use crate::message::memory::MemoryAccount;
use crate::queue::engine::{Accept, ConsumerKey, Delivery, Outlets, Placed};
use crate::queue::settings::{DeadLettering, Retry};

/// Nobody consumes: messages are got.
struct Nobody;

impl Outlets<()> for Nobody {
    fn deliver(&mut self, _: ConsumerKey, _: &(), _: Delivery<'_>) -> Accept {
        Accept::Refused
    }
}

#[derive(Clone, Debug)]
enum Step {
    Publish { priority: u8, after: Option<u64>, size: u8, persistent: bool },
    Get,
    Settle(usize, u8),
    Wait(u64),
    Evict(usize),
    Purge,
    Change(Box<Settings>),
    Arrive(usize),
    Look { from: u64, most: usize },
    ThrowAway(u64),
    Lift(u64),
    Stay(usize),
}

fn any_settings() -> impl Strategy<Value = Settings> {
    let limits = (prop::option::of(0..60_u64), prop::option::of(0..8_u64), prop::option::of(0..60_u64), 0..3_u8);
    let retry = prop::option::of((0..3_u8, 1..30_u64, prop::option::of(1..80_u64), any::<bool>()));
    (limits, any::<bool>(), prop::option::of(0..3_u32), retry).prop_map(
        |(limits, has_letters, delivery_limit, retry)| {
            let (message_ttl, max_length, max_bytes, overflow) = limits;
            let dead_letters =
                has_letters.then(|| DeadLettering { exchange: "x".into(), key: None, at_least_once: false });
            let retry = retry.map(|(of, min, max, exponential)| Retry {
                of: [RetryOf::All, RetryOf::Failed, RetryOf::Returned][usize::from(of)],
                min,
                max,
                exponential,
            });
            let overflow = [Overflow::DropHead, Overflow::DropHead, Overflow::RejectPublish][usize::from(overflow)];
            let limits = Settings { message_ttl, max_length, max_bytes, overflow, ..Settings::default() };
            Settings { dead_letters, delivery_limit, retry, ..limits }
        },
    )
}

fn any_step() -> impl Strategy<Value = Step> {
    let publish = (0..4_u8, prop::option::weighted(0.4, 0..50_u64), 0..20_u8, any::<bool>());
    prop_oneof![
        8 => publish.prop_map(|(priority, after, size, persistent)| Step::Publish { priority, after, size, persistent }),
        5 => Just(Step::Get),
        5 => (any::<usize>(), 0..4_u8).prop_map(|(n, how)| Step::Settle(n, how)),
        4 => (0..25_u64).prop_map(Step::Wait),
        3 => (0..3_usize).prop_map(|n| Step::Evict(n * 150)),
        1 => Just(Step::Purge),
        2 => any_settings().prop_map(|settings| Step::Change(Box::new(settings))),
        3 => any::<usize>().prop_map(Step::Arrive),
        3 => (0..40_u64, 0..8_usize).prop_map(|(from, most)| Step::Look { from, most }),
        2 => any::<u64>().prop_map(Step::ThrowAway),
        2 => any::<u64>().prop_map(Step::Lift),
        2 => any::<usize>().prop_map(Step::Stay),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Waiting,
    Unacked,
    HeldBack(u64),
    Transit,
}

#[derive(Clone, Copy, Debug)]
struct Plain {
    priority: u8,
    size: u64,
    at: u64,
    due: Option<u64>,
    persistent: bool,
    returned: u32,
    state: State,
}

/// The queue in the plainest words.
#[derive(Default)]
struct Model {
    messages: BTreeMap<u64, Plain>,
    settings: Settings,
    now: u64,
    left: Vec<(u64, Reason)>,
    /// Those in transit that were taken out by hand.
    lifted: BTreeSet<u64>,
}

impl Model {
    fn waits(&self, position: u64) -> bool {
        self.messages.get(&position).is_some_and(|m| m.state == State::Waiting)
    }

    fn waiting(&self) -> impl Iterator<Item = (u64, Plain)> {
        self.messages.iter().filter(|(_, m)| m.state == State::Waiting).map(|(p, m)| (*p, *m))
    }

    fn first(&self) -> Option<u64> {
        self.waiting().min_by_key(|(p, m)| (std::cmp::Reverse(m.priority), *p)).map(|(p, _)| p)
    }

    fn drops_when_full(&self) -> bool {
        self.settings.overflow == Overflow::DropHead
    }

    fn is_over(&self, count: usize, bytes: u64) -> bool {
        self.settings.max_length.is_some_and(|most| count as u64 > most)
            || self.settings.max_bytes.is_some_and(|most| bytes > most)
    }

    fn sums(&self) -> (usize, u64) {
        (self.waiting().count(), self.waiting().map(|(_, m)| m.size).sum())
    }

    fn leave(&mut self, position: u64, reason: Reason) {
        self.left.push((position, reason));
        if self.settings.dead_letters.is_some() {
            self.messages.get_mut(&position).unwrap().state = State::Transit;
        } else {
            self.messages.remove(&position);
        }
    }

    fn has_expired(&self, m: Plain) -> bool {
        m.due.is_some_and(|due| due <= self.now) || self.settings.message_ttl.is_some_and(|ttl| m.at + ttl <= self.now)
    }

    fn pass_time(&mut self) {
        for m in self.messages.values_mut() {
            if matches!(m.state, State::HeldBack(until) if until <= self.now) {
                m.state = State::Waiting;
            }
        }
        let expired: Vec<u64> = self.waiting().filter(|(_, m)| self.has_expired(*m)).map(|(p, _)| p).collect();
        expired.into_iter().for_each(|position| self.leave(position, Reason::Expired));
        loop {
            let (count, bytes) = self.sums();
            let Some(first) = self.first().filter(|_| self.drops_when_full() && self.is_over(count, bytes)) else {
                break;
            };
            self.leave(first, Reason::MaxLen);
        }
    }

    fn settle(&mut self, position: u64, how: Settlement) {
        if how == Settlement::Ack {
            self.messages.remove(&position);
            return;
        }
        if how == Settlement::Discard {
            if self.settings.dead_letters.is_some() {
                self.leave(position, Reason::Rejected);
            } else {
                self.messages.remove(&position);
            }
            return;
        }
        let m = self.messages.get_mut(&position).unwrap();
        m.returned += 1;
        let m = *m;
        if self.settings.delivery_limit.is_some_and(|most| m.returned > most) {
            return self.leave(position, Reason::DeliveryLimit);
        }
        if self.has_expired(m) {
            return self.leave(position, Reason::Expired);
        }
        let delay = self.settings.retry.as_ref().and_then(|retry| {
            let applies = match retry.of {
                RetryOf::All => true,
                RetryOf::Failed => how == Settlement::Fail,
                RetryOf::Returned => how == Settlement::Requeue,
            };
            applies.then(|| retry.delay(m.returned))
        });
        let state = delay.map_or(State::Waiting, |delay| State::HeldBack(self.now + delay));
        self.messages.get_mut(&position).unwrap().state = state;
    }
}

struct Test {
    engine: Engine<()>,
    model: Model,
    account: &'static MemoryAccount,
    /// What has been written: all but the newest messages.
    disk: BTreeMap<u64, Message>,
    dead: BTreeSet<u64>,
    left: Vec<(u64, Reason)>,
    highest: u8,
}

impl Test {
    fn new(highest: u8) -> Self {
        let mut engine = Engine::new(false, Keeps::Persistent).with_priorities(highest);
        engine.set_horizon(u64::MAX);
        let (model, account) = (Model { now: 1000, ..Model::default() }, MemoryAccount::new(u64::MAX));
        Self { engine, model, account, disk: BTreeMap::new(), dead: BTreeSet::new(), left: Vec::new(), highest }
    }

    /// What the shell around the engine does after each call.
    fn settle_down(&mut self) {
        loop {
            self.engine.set_now(self.model.now);
            if self.engine.is_due() {
                let dead = &self.dead;
                self.engine.tick(usize::MAX, |position| dead.contains(&position));
            }
            self.engine.pump(&mut Nobody);
            let unread = self.engine.take_unread(2);
            let went_on = !unread.is_empty() || (self.engine.has_cold() && self.engine.needs_first());
            for position in unread {
                self.engine.take_unread_up(position, self.disk[&position].clone());
            }
            for letter in self.engine.take_letters(usize::MAX) {
                self.left.push((letter.position, letter.reason));
            }
            for (position, _) in self.engine.take_dropped() {
                self.dead.insert(position);
            }
            if self.engine.has_cold() && self.engine.needs_first() {
                self.load();
            }
            if !went_on && !self.engine.has_departures() && !self.engine.is_due() {
                return;
            }
        }
    }

    fn load(&mut self) {
        if self.engine.has_priorities() {
            for position in self.engine.wanted(3) {
                self.engine.bring_back(position, self.disk[&position].clone());
            }
            return;
        }
        let from = self.engine.cold().from;
        let next = self.disk.range(from..).nth(3).map_or(u64::MAX, |(position, _)| *position);
        let read = self.disk.range(from..next).filter(|(position, _)| !self.dead.contains(position));
        let read: Vec<_> = read.map(|(position, message)| (*position, message.clone())).collect();
        self.engine.refill(from, read.into_iter(), next);
    }

    fn step(&mut self, step: Step) {
        let now = self.model.now;
        match step {
            Step::Publish { priority, after, size, persistent } => {
                self.publish(priority, after.map(|ms| now + ms), size.into(), persistent);
            }
            Step::Get => {
                let got = loop {
                    match self.engine.get(false) {
                        Ok(got) => break got,
                        Err(_) => self.load(),
                    }
                };
                let first = self.model.first();
                assert_eq!(got.as_ref().map(|got| got.position), first);
                if let Some(position) = first {
                    let m = self.model.messages.get_mut(&position).unwrap();
                    m.state = State::Unacked;
                    assert!(got.unwrap().redelivered || m.returned == 0);
                }
            }
            Step::Settle(n, how) => {
                let unacked: Vec<u64> =
                    self.model.messages.iter().filter(|(_, m)| m.state == State::Unacked).map(|(p, _)| *p).collect();
                let Some(position) = (!unacked.is_empty()).then(|| unacked[n % unacked.len()]) else { return };
                let how =
                    [Settlement::Ack, Settlement::Discard, Settlement::Requeue, Settlement::Fail][usize::from(how)];
                if let Some(Settled::Gone(_)) = self.engine.settle(position, how) {
                    self.dead.insert(position);
                }
                self.model.settle(position, how);
            }
            Step::Wait(ms) => self.model.now += ms,
            // How many bytes cold messages have is known about only.
            Step::Evict(_) if self.model.settings.max_bytes.is_some() => {}
            Step::Evict(keep) => {
                let all = self.engine.messages_within(0..u64::MAX);
                self.disk.extend(all);
                self.engine.evict(self.engine.next_position(), keep);
            }
            Step::Purge => {
                self.engine.purge().forget();
                let gone =
                    self.model.messages.extract_if(.., |_, m| !matches!(m.state, State::Unacked | State::Transit));
                self.dead.extend(gone.map(|(position, _)| position));
            }
            Step::Change(mut settings) => {
                settings.max_bytes = settings.max_bytes.filter(|_| !self.engine.has_cold());
                self.engine.set_settings(Arc::new((*settings).clone()));
                self.model.settings = *settings;
            }
            Step::Arrive(n) => {
                let transit: Vec<u64> =
                    self.model.messages.iter().filter(|(_, m)| m.state == State::Transit).map(|(p, _)| *p).collect();
                let Some(position) = (!transit.is_empty()).then(|| transit[n % transit.len()]) else { return };
                assert!(self.engine.arrived(position).is_some());
                self.model.messages.remove(&position);
                self.model.lifted.remove(&position);
                self.dead.insert(position);
            }
            Step::Look { from, most } => self.look(from, most),
            Step::ThrowAway(n) => {
                let Some((position, read)) = self.read(n) else { return };
                let dead = &self.dead;
                let thrown = self.engine.throw_away(position, read, |position| dead.contains(&position));
                assert_eq!(thrown, self.model.waits(position));
                if thrown {
                    self.model.messages.remove(&position);
                }
            }
            Step::Lift(n) => {
                let Some((position, read)) = self.read(n) else { return };
                let dead = &self.dead;
                let lifted = self.engine.lift(position, read, |position| dead.contains(&position));
                assert_eq!(lifted, self.model.waits(position));
                if lifted {
                    self.model.messages.get_mut(&position).unwrap().state = State::Transit;
                    self.model.lifted.insert(position);
                }
            }
            Step::Stay(n) => {
                let lifted = &mut self.model.lifted;
                let Some(position) = lifted.iter().nth(n % lifted.len().max(1)).copied() else { return };
                lifted.remove(&position);
                self.engine.stay(position);
                self.model.messages.get_mut(&position).unwrap().state = State::Waiting;
            }
        }
    }

    /// Where there are messages, or have been some that are on disk: an operator asks for nothing else.
    fn known(&self) -> BTreeSet<u64> {
        self.disk.keys().chain(self.model.messages.keys()).copied().collect()
    }

    /// Some position, and what an operator has read there before: what was on disk, or else anything.
    fn read(&self, n: u64) -> Option<(u64, Message)> {
        let known: Vec<u64> = self.known().into_iter().collect();
        let position = *known.get(usize::try_from(n.checked_rem(known.len() as u64)?).unwrap())?;
        let anything = || Message::from_parts(&[0, 0], &[0, 0], vec![0; 1000], Traits::default(), self.account);
        Some((position, self.disk.get(&position).cloned().unwrap_or_else(anything)))
    }

    /// Every page is a part of the list of all that waits, but for what is cold where nothing else is kept of it.
    fn look(&self, from: u64, most: usize) {
        let positions = |from, most| -> Vec<u64> {
            let page = self.engine.page(from, most);
            for one in &page {
                let size = one.message.as_ref().map(|message| message.view().body.len() as u64);
                assert!(size.is_none_or(|size| self.model.messages.get(&one.position).is_some_and(|m| m.size == size)));
            }
            page.into_iter().map(|one| one.position).collect()
        };
        let all = positions(0, usize::MAX);
        assert!(all.is_sorted_by(|a, b| a < b) && all.iter().all(|position| self.model.waits(*position)));
        let cold = usize::try_from(self.engine.cold().count).unwrap();
        assert_eq!(all.len() + cold, self.model.sums().0);
        let expected: Vec<u64> = all.into_iter().filter(|position| *position >= from).take(most).collect();
        assert_eq!(positions(from, most), expected);
        for position in self.known() {
            let waits = self.engine.waits(position, |position| self.dead.contains(&position));
            assert_eq!(waits, self.model.waits(position), "position {position}");
        }
    }

    fn publish(&mut self, priority: u8, due: Option<u64>, size: u64, persistent: bool) {
        let at = self.model.now;
        let traits = Traits { at, due: due.and_then(NonZeroU64::new), priority, persistent, hidden: false };
        let body = vec![0; usize::try_from(size).unwrap()];
        let message = Message::from_parts(&[0, 0], &[0, 0], body, traits, self.account);
        let position = self.engine.next_position();
        let (waiting, bytes) = self.model.sums();
        let count = waiting + self.model.messages.values().filter(|m| m.state == State::Transit).count();
        let refused = self.model.settings.overflow != Overflow::DropHead && self.model.is_over(count + 1, bytes + size);
        let placed = self.engine.publish(&mut Incoming::Held(message), &mut Nobody);
        assert_eq!(placed, if refused { Placed::Refused } else { Placed::Waiting });
        if !refused {
            let (priority, state) = (priority.min(self.highest), State::Waiting);
            self.model.messages.insert(position, Plain { priority, size, at, due, persistent, returned: 0, state });
        }
    }

    fn check(&mut self) {
        self.model.pass_time();
        self.settle_down();
        if self.model.settings.dead_letters.is_some() {
            // Those that leave at the same time do so in no particular order.
            let mut expected = std::mem::take(&mut self.model.left);
            expected.sort_unstable_by_key(|(position, _)| *position);
            self.left.sort_unstable_by_key(|(position, _)| *position);
            assert_eq!(self.left, expected);
        }
        self.model.left.clear();
        self.left.clear();
        assert_eq!(self.engine.ready_count(), self.model.sums().0);
        let held_back = self.model.messages.values().filter(|m| matches!(m.state, State::HeldBack(_))).count();
        assert_eq!(self.engine.held_back_count(), held_back);
        let here = self.model.messages.values().filter(|m| matches!(m.state, State::Waiting | State::Unacked));
        let surviving: Vec<u64> = here.filter(|m| m.persistent).map(|m| m.size).collect();
        let (count, bytes) = self.engine.persistent();
        assert_eq!(count, surviving.len() as u64);
        if !self.engine.has_cold() {
            assert_eq!(self.engine.ready_bytes(), self.model.sums().1);
            assert_eq!(bytes, surviving.iter().sum::<u64>());
        }
        let living: Vec<bool> = self.engine.living(self.model.messages.keys().copied());
        let in_memory = living.iter().filter(|lives| **lives).count();
        let cold = usize::try_from(self.engine.cold().count).unwrap();
        assert_eq!(in_memory + cold, self.model.messages.len(), "every message is somewhere, once");
    }
}

fn run(highest: u8, steps: Vec<Step>) {
    let mut test = Test::new(highest);
    for step in steps {
        test.step(step);
        test.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 400 } else { 20_000 }))]

    #[test]
    fn messages_leave_as_a_plain_list_of_them_says(steps in prop::collection::vec(any_step(), 1..80)) {
        run(0, steps);
    }

    #[test]
    fn with_priorities_too(steps in prop::collection::vec(any_step(), 1..80)) {
        run(2, steps);
    }
}

/// A queue of a delayed exchange: nothing is delivered, and everything leaves at its time.
#[test]
fn what_is_delayed_leaves_when_it_is_due_and_in_that_order() {
    let mut engine: Engine<()> = Engine::new(false, Keeps::Nothing).delaying();
    let account = MemoryAccount::new(u64::MAX);
    for due in [300, 100, 200] {
        let traits = Traits { due: NonZeroU64::new(due), ..Traits::default() };
        let message = Message::from_parts(&[0, 0], &[0, 0], Vec::new(), traits, account);
        engine.publish(&mut Incoming::Held(message), &mut Nobody);
    }
    assert_eq!(engine.next_tick(), Some(100));
    engine.set_now(250);
    engine.tick(10, |_| false);
    let letters: Vec<_> =
        engine.take_letters(usize::MAX).iter().map(|letter| (letter.position, letter.reason)).collect();
    assert_eq!(letters, [(1, Reason::Due), (2, Reason::Due)]);
    assert_eq!((engine.ready_count(), engine.next_tick()), (1, Some(300)));
}
