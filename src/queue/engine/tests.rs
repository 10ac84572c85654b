//! The engine against a naive model, over thousands of random schedules.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::message::memory::MemoryAccount;
use crate::message::{Incoming, Keeps, Message, Traits};

/// Consumers are numbered by the test; the outlet of each is that number.
#[derive(Default)]
struct Recorder {
    /// (consumer, position, redelivered) in order of delivery.
    log: Vec<(usize, u64, bool)>,
    /// Consumers that refuse everything until they are resumed.
    full: BTreeSet<usize>,
    /// Deliveries after which a consumer says that it is full.
    room: BTreeMap<usize, usize>,
}

impl Outlets<usize> for Recorder {
    fn deliver(&mut self, _: ConsumerKey, outlet: &usize, delivery: Delivery<'_>) -> Accept {
        if self.full.contains(outlet) {
            return Accept::Refused;
        }
        self.log.push((*outlet, delivery.position, delivery.redelivered));
        match self.room.get_mut(outlet) {
            Some(0) | None => Accept::Taken,
            Some(1) => {
                self.room.remove(outlet);
                self.full.insert(*outlet);
                Accept::TakenAndFull
            }
            Some(n) => {
                *n -= 1;
                Accept::Taken
            }
        }
    }
}

fn message(account: &'static MemoryAccount) -> Incoming<'static> {
    Incoming::Held(Message::from_parts(&[0, 0], &[0, 0], Vec::new(), Traits::default(), account))
}

#[derive(Clone, Debug)]
enum Step {
    Publish(u8),
    Subscribe {
        prefetch: u32,
        no_ack: bool,
        priority: i64,
    },
    Cancel(usize),
    /// Settle the n-th outstanding message.
    Settle(usize, u8),
    Get {
        no_ack: bool,
    },
    Fill {
        consumer: usize,
        room: usize,
    },
    Resume(usize),
    Purge,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u8..5).prop_map(Step::Publish),
        2 => (0u32..4, any::<bool>(), 0i64..3).prop_map(|(prefetch, no_ack, priority)| Step::Subscribe { prefetch, no_ack, priority }),
        1 => any::<usize>().prop_map(Step::Cancel),
        5 => (any::<usize>(), 0u8..3).prop_map(|(n, how)| Step::Settle(n, how)),
        1 => any::<bool>().prop_map(|no_ack| Step::Get { no_ack }),
        1 => (any::<usize>(), 0usize..3).prop_map(|(consumer, room)| Step::Fill { consumer, room }),
        2 => any::<usize>().prop_map(Step::Resume),
        1 => Just(Step::Purge),
    ]
}

#[derive(Clone, Debug)]
struct ModelConsumer {
    key: ConsumerKey,
    terms: Terms,
    unacked: u32,
}

/// What a queue is, in the plainest words: a sorted set of ready positions, and who holds which.
#[derive(Default)]
struct Model {
    published: u64,
    ready: BTreeMap<u64, bool>,
    held: BTreeMap<u64, Option<usize>>,
    gone: BTreeSet<u64>,
    consumers: BTreeMap<usize, ModelConsumer>,
    next_consumer: usize,
    line: Vec<usize>,
}

impl Model {
    fn can_take(&self, id: usize, recorder: &Recorder, paused: &BTreeSet<usize>, single: bool) -> bool {
        let Some(c) = self.consumers.get(&id) else { return false };
        let credit = c.terms.no_ack || c.terms.prefetch == 0 || c.unacked < c.terms.prefetch;
        credit && !paused.contains(&id) && !recorder.full.contains(&id) && (!single || self.line.first() == Some(&id))
    }

    /// Books a delivery and checks that it was allowed.
    fn deliver(&mut self, id: usize, position: u64, redelivered: bool) {
        let (&first, &was_returned) = self.ready.first_key_value().expect("something is ready");
        assert_eq!(position, first, "the first ready message goes first");
        assert_eq!(redelivered, was_returned, "redelivered is set exactly after a requeue");
        self.ready.remove(&position);
        let c = self.consumers.get_mut(&id).expect("a living consumer");
        if c.terms.no_ack {
            assert!(self.gone.insert(position), "delivered once");
        } else {
            c.unacked += 1;
            assert!(c.terms.prefetch == 0 || c.unacked <= c.terms.prefetch, "prefetch is never exceeded");
            self.held.insert(position, Some(id));
        }
    }
}

fn run(steps: Vec<Step>, single_active: bool) {
    let account = MemoryAccount::new(u64::MAX);
    let mut engine = Engine::<usize>::new(single_active, Keeps::Nothing);
    let mut recorder = Recorder::default();
    let mut model = Model::default();
    // Consumers that have said "full" and have not been resumed.
    let mut paused = BTreeSet::new();
    for step in steps {
        match step {
            Step::Publish(n) => {
                for _ in 0..n {
                    model.ready.insert(model.published, false);
                    model.published += 1;
                    engine.publish(&mut message(account), &mut recorder);
                }
            }
            Step::Subscribe { prefetch, no_ack, priority } => {
                let terms = Terms { no_ack, prefetch, priority, exclusive: false };
                let id = model.next_consumer;
                let key = engine.subscribe(id, terms).unwrap();
                model.next_consumer += 1;
                model.line.push(id);
                model.consumers.insert(id, ModelConsumer { key, terms, unacked: 0 });
                engine.pump(&mut recorder);
            }
            Step::Cancel(n) if !model.consumers.is_empty() => {
                let id = *model.consumers.keys().nth(n % model.consumers.len()).unwrap();
                let c = model.consumers.remove(&id).unwrap();
                model.line.retain(|other| *other != id);
                assert_eq!(engine.cancel(c.key), Some(id));
                assert_eq!(engine.cancel(c.key), None);
                engine.pump(&mut recorder);
            }
            Step::Settle(n, how) if !model.held.is_empty() => {
                let position = *model.held.keys().nth(n % model.held.len()).unwrap();
                let holder = model.held.remove(&position).unwrap();
                if let Some(c) = holder.and_then(|id| model.consumers.get_mut(&id)) {
                    c.unacked -= 1;
                }
                let how = [Settlement::Ack, Settlement::Discard, Settlement::Requeue][how as usize];
                if how == Settlement::Requeue {
                    model.ready.insert(position, true);
                } else {
                    assert!(model.gone.insert(position), "settled once");
                }
                assert!(engine.settle(position, how).is_some());
                engine.pump(&mut recorder);
            }
            Step::Get { no_ack } => {
                let expected = model.ready.first_key_value().map(|(p, r)| (*p, *r));
                let got = engine.get(no_ack).unwrap();
                assert_eq!(got.as_ref().map(|g| (g.position, g.redelivered)), expected);
                if let Some((position, _)) = expected {
                    model.ready.remove(&position);
                    assert_eq!(got.unwrap().left, model.ready.len());
                    if no_ack {
                        model.gone.insert(position);
                    } else {
                        model.held.insert(position, None);
                    }
                }
            }
            Step::Fill { consumer, room } if !model.consumers.is_empty() => {
                let id = *model.consumers.keys().nth(consumer % model.consumers.len()).unwrap();
                if room == 0 {
                    recorder.full.insert(id);
                } else {
                    recorder.room.insert(id, room);
                }
            }
            Step::Resume(n) if !model.consumers.is_empty() => {
                let (&id, c) = model.consumers.iter().nth(n % model.consumers.len()).unwrap();
                recorder.full.remove(&id);
                recorder.room.remove(&id);
                paused.remove(&id);
                engine.resume(c.key);
                engine.pump(&mut recorder);
            }
            Step::Purge => {
                assert_eq!(engine.purge().count(), model.ready.len());
                model.gone.extend(std::mem::take(&mut model.ready).into_keys());
            }
            _ => {}
        }
        for (id, position, redelivered) in std::mem::take(&mut recorder.log) {
            model.deliver(id, position, redelivered);
            if recorder.full.contains(&id) {
                paused.insert(id);
            }
        }
        assert_eq!(engine.ready_count(), model.ready.len());
        assert_eq!(engine.unacked_count(), model.held.len());
        assert_eq!(engine.consumer_count(), model.consumers.len());
        if !model.ready.is_empty() {
            let idle = model.consumers.keys().find(|id| model.can_take(**id, &recorder, &paused, single_active));
            assert_eq!(idle, None, "no message waits while a consumer could take it");
        }
    }
    let all: BTreeSet<u64> = model.ready.keys().chain(model.held.keys()).chain(&model.gone).copied().collect();
    assert_eq!(all.len() as u64, model.published, "every message is somewhere");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_engine_does_what_a_naive_queue_does(steps in prop::collection::vec(any_step(), 1..60)) {
        run(steps, false);
    }

    #[test]
    fn with_a_single_active_consumer_too(steps in prop::collection::vec(any_step(), 1..60)) {
        run(steps, true);
    }
}

fn engine_with(consumers: &[(u32, i64)]) -> Engine<usize> {
    let mut engine = Engine::new(false, Keeps::Nothing);
    for (id, (prefetch, priority)) in consumers.iter().enumerate() {
        let terms = Terms { no_ack: *prefetch == 0, prefetch: *prefetch, priority: *priority, exclusive: false };
        engine.subscribe(id, terms).unwrap();
    }
    engine
}

fn receivers(engine: &mut Engine<usize>, messages: usize) -> Vec<usize> {
    let account = MemoryAccount::new(u64::MAX);
    let mut recorder = Recorder::default();
    for _ in 0..messages {
        engine.publish(&mut message(account), &mut recorder);
    }
    recorder.log.into_iter().map(|(id, ..)| id).collect()
}

#[test]
fn equal_consumers_take_turns() {
    assert_eq!(receivers(&mut engine_with(&[(0, 0), (0, 0), (0, 0)]), 7), [0, 1, 2, 0, 1, 2, 0]);
}

#[test]
fn higher_priority_is_served_until_its_credit_is_used_up() {
    assert_eq!(receivers(&mut engine_with(&[(5, 0), (2, 10)]), 4), [1, 1, 0, 0]);
}

#[test]
fn an_exclusive_consumer_is_alone() {
    let exclusive = Terms { exclusive: true, ..Terms::default() };
    let mut engine = engine_with(&[(0, 0)]);
    assert_eq!(engine.subscribe(9, exclusive), Err(SubscribeError::InExclusiveUse));
    let mut engine = Engine::new(false, Keeps::Nothing);
    let key = engine.subscribe(0, exclusive).unwrap();
    assert_eq!(engine.subscribe(1, Terms::default()), Err(SubscribeError::InExclusiveUse));
    engine.cancel(key);
    assert!(engine.subscribe(1, Terms::default()).is_ok());
}
