//! The engine with a disk under it, against what it promises: whatever leaves memory and comes back, in whatever order
//! that happens, each message is with one consumer at a time, the first ready one goes first, and none is missing.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::message::memory::MemoryAccount;
use crate::message::{Incoming, Keeps, Message, Traits};

/// Books deliveries, and takes as many as it is told.
#[derive(Default)]
struct Consumers {
    out: BTreeSet<u64>,
    ready: BTreeSet<u64>,
    seen: BTreeSet<u64>,
    room: usize,
}

impl Outlets<()> for Consumers {
    fn deliver(&mut self, _: ConsumerKey, (): &(), delivery: Delivery<'_>) -> Accept {
        if self.room == 0 {
            return Accept::Refused;
        }
        self.room -= 1;
        self.take(delivery.position, delivery.redelivered);
        Accept::Taken
    }
}

impl Consumers {
    fn take(&mut self, position: u64, redelivered: bool) {
        // A message that is just being published is not among the ready ones yet.
        let first = self.ready.first().copied().unwrap_or(position);
        assert_eq!(position, first, "the first ready message goes first");
        self.ready.remove(&position);
        assert!(self.out.insert(position), "{position} is with two consumers");
        assert!(redelivered || !self.seen.contains(&position), "{position} comes again and does not say so");
        self.seen.insert(position);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Publish(u8, bool),
    /// Consumers have room for so many more.
    Room(usize),
    Ack(usize),
    Requeue(usize),
    Get,
    /// Everything goes to disk, and all but so many bytes leave memory.
    Evict(usize),
    /// So many messages are read from where the cold ones begin; they are taken up by the next `Refill`.
    Read(usize),
    Refill,
    Purge,
    Horizon,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u8..6, any::<bool>()).prop_map(|(count, persistent)| Step::Publish(count, persistent)),
        4 => (1usize..6).prop_map(Step::Room),
        4 => any::<usize>().prop_map(Step::Ack),
        4 => any::<usize>().prop_map(Step::Requeue),
        1 => Just(Step::Get),
        3 => (0usize..1200).prop_map(Step::Evict),
        4 => (1usize..6).prop_map(Step::Read),
        4 => Just(Step::Refill),
        1 => Just(Step::Purge),
        2 => Just(Step::Horizon),
    ]
}

/// What was read, from where, up to where.
type Reading = (u64, Vec<(u64, Message)>, u64);

struct Queue {
    engine: Engine<()>,
    key: ConsumerKey,
    consumers: Consumers,
    disk: BTreeMap<u64, Message>,
    reading: Option<Reading>,
    transient: BTreeSet<u64>,
    account: &'static MemoryAccount,
}

impl Queue {
    fn new(keeps: Keeps) -> Self {
        let mut engine = Engine::new(false, keeps);
        let key = engine.subscribe((), Terms::default()).unwrap();
        let (consumers, disk) = (Consumers::default(), BTreeMap::new());
        Self {
            engine,
            key,
            consumers,
            disk,
            reading: None,
            transient: BTreeSet::new(),
            account: MemoryAccount::new(u64::MAX),
        }
    }

    fn step(&mut self, step: Step) {
        let pick = |set: &BTreeSet<u64>, n: usize| set.iter().nth(n % set.len().max(1)).copied();
        match step {
            Step::Publish(count, persistent) => {
                for _ in 0..count {
                    let message =
                        Message::from_parts(&[0, 0], &[0, 0], Vec::new(), Traits::plain(0, persistent), self.account);
                    let position = self.engine.next_position();
                    self.transient.extend((!self.engine.keeps.keeps(persistent)).then_some(position));
                    let placed = self.engine.publish(&mut Incoming::Held(message), &mut self.consumers);
                    if placed == Placed::Waiting {
                        self.consumers.ready.insert(position);
                    }
                }
            }
            Step::Room(room) => {
                self.consumers.room = room;
                self.engine.resume(self.key);
            }
            Step::Ack(_) | Step::Requeue(_) if self.consumers.out.is_empty() => {}
            Step::Ack(n) => {
                let position = pick(&self.consumers.out, n).unwrap();
                self.consumers.out.remove(&position);
                self.disk.remove(&position);
                assert!(self.engine.settle(position, Settlement::Ack).is_some());
            }
            Step::Requeue(n) => {
                let position = pick(&self.consumers.out, n).unwrap();
                self.consumers.out.remove(&position);
                self.consumers.ready.insert(position);
                assert!(self.engine.settle(position, Settlement::Requeue).is_some());
            }
            Step::Get => {
                if let Ok(Some(got)) = self.engine.get(false) {
                    self.consumers.take(got.position, got.redelivered);
                }
            }
            Step::Evict(keep) => {
                let upto = self.engine.next_position();
                let from = self.disk.keys().next_back().map_or(0, |p| p + 1);
                self.disk.extend(self.engine.messages_within(from..upto));
                self.engine.evict(upto, keep);
            }
            Step::Read(count) => {
                let from = self.engine.cold().from;
                let read: Vec<_> = self.disk.range(from..).take(count).map(|(p, m)| (*p, m.clone())).collect();
                let next = read.last().map_or(from, |(p, _)| p + 1);
                self.reading = Some((from, read, next));
            }
            Step::Refill => {
                if let Some((from, read, next)) = self.reading.take() {
                    let living: Vec<_> = read.into_iter().filter(|(p, _)| self.disk.contains_key(p)).collect();
                    self.engine.refill(from, living.into_iter(), next);
                }
            }
            Step::Purge => {
                self.engine.purge();
                self.consumers.ready.clear();
                let out = &self.consumers.out;
                self.disk.retain(|position, _| out.contains(position));
            }
            Step::Horizon => {
                let next = self.engine.next_horizon();
                self.engine.set_horizon(next);
            }
        }
        self.engine.pump(&mut self.consumers);
        assert_eq!(self.engine.ready_count(), self.consumers.ready.len(), "messages are counted");
        let here = self.consumers.ready.union(&self.consumers.out);
        let surviving = here.filter(|position| !self.transient.contains(position)).count();
        assert_eq!(self.engine.persistent().0, surviving as u64, "persistent ones, too");
    }

    /// With room for all, all that is ready is delivered.
    fn drain(mut self) {
        while !self.consumers.ready.is_empty() {
            let before = (self.engine.cold(), self.consumers.ready.len());
            for step in [Step::Horizon, Step::Read(3), Step::Refill, Step::Room(usize::MAX)] {
                self.step(step);
            }
            assert_ne!((self.engine.cold(), self.consumers.ready.len()), before, "nothing moves any more");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn messages_leave_memory_and_come_back_in_order(
        keeps in prop_oneof![Just(Keeps::Persistent), Just(Keeps::Everything)],
        steps in proptest::collection::vec(any_step(), 1..80),
    ) {
        let mut queue = Queue::new(keeps);
        for step in steps {
            queue.step(step);
        }
        queue.drain();
    }
}
