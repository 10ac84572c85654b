//! Pages of a queue that is partly on disk, and single messages taken out of it, against a list.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Sender, channel};

use proptest::prelude::*;
use proptest::sample::Index;
use tempfile::TempDir;

use super::super::engine::Settlement;
use super::super::entries::Entries;
use super::super::local::{GetError, QueueSpec, Shared};
use super::super::settings::Settings;
use super::*;
use crate::message::memory::MemoryAccount;
use crate::message::{Incoming, Traits};
use crate::persist::disk::RealDisk;
use crate::persist::journal::SyncMode;
use crate::persist::resident::Resident;
use crate::persist::store::{Settings as StoreSettings, Store};

const QUEUE: u64 = 7;

#[derive(Clone, Debug)]
enum Step {
    Publish {
        count: u64,
        size: usize,
        persistent: bool,
    },
    /// Everything is in segments afterwards, and nothing in memory.
    ToDisk,
    Get,
    Settle(Index, Settlement),
    /// One that waits, and one that may or may not.
    Discard(Index, u64),
    Lift(Index),
    /// Something that was lifted has arrived elsewhere, or stays.
    Land(Index, bool),
    Pages {
        from: u64,
        most: usize,
        bytes: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let how = prop_oneof![Just(Settlement::Ack), Just(Settlement::Requeue)];
    let publish = (1..30_u64, 0..600_usize, any::<bool>());
    let pages = (0..400_u64, 1..20_usize, 0..9000_usize);
    prop_oneof![
        4 => publish.prop_map(|(count, size, persistent)| Step::Publish { count, size, persistent }),
        2 => Just(Step::ToDisk),
        3 => Just(Step::Get),
        2 => (any::<Index>(), how).prop_map(|(index, how)| Step::Settle(index, how)),
        3 => (any::<Index>(), 0..300_u64).prop_map(|(index, other)| Step::Discard(index, other)),
        3 => any::<Index>().prop_map(Step::Lift),
        2 => (any::<Index>(), any::<bool>()).prop_map(|(index, arrived)| Step::Land(index, arrived)),
        5 => pages.prop_map(|(from, most, bytes)| Step::Pages { from, most, bytes }),
    ]
}

/// Wakes whoever waits for the other end.
struct Bell(Mutex<Sender<()>>);

impl Waiter for Bell {
    fn wake(&self) {
        // Nobody may wait any more.
        let _ = self.0.lock().send(());
    }
}

struct House {
    _dir: TempDir,
    store: Arc<Store>,
    queue: Arc<Queue>,
    published: u64,
    /// What waits: position and body.
    waiting: BTreeMap<u64, Vec<u8>>,
    unacked: BTreeMap<u64, Vec<u8>>,
    lifted: BTreeMap<u64, Vec<u8>>,
}

impl House {
    fn new() -> Self {
        Self::with(&Arc::new(Settings::default()))
    }

    fn with_priorities(highest: u8) -> Self {
        Self::with(&Arc::new(Settings { max_priority: Some(highest), ..Settings::default() }))
    }

    fn with(settings_of_queue: &Arc<Settings>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = StoreSettings {
            dir: dir.path().join("store"),
            mode: SyncMode::Os,
            // No keeper runs that would empty a file.
            journal_file: 4 << 20,
            journal_keep: 1,
            segment: 8 << 10,
            disk_limit: 0,
            paging_ratio: 1.0,
            look_at_segments: Duration::from_secs(1),
        };
        let memory = MemoryAccount::new(u64::MAX);
        let store = Store::open(Arc::new(RealDisk), settings, 1, memory).unwrap().store;
        let spec = QueueSpec { durable: true, store_id: QUEUE, ..QueueSpec::default() };
        let shared = Shared::alone(Some(Arc::clone(&store)));
        let queue = Queue::new(1, spec, settings_of_queue, shared, None);
        let (waiting, unacked, lifted) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { _dir: dir, store, queue, published: 0, waiting, unacked, lifted }
    }

    fn publish(&mut self, count: u64, size: usize, persistent: bool) {
        let numbers = self.published..self.published + count;
        self.published += count;
        let bodies: Vec<_> = numbers.map(|n| [&n.to_be_bytes()[..], &vec![n as u8; size]].concat()).collect();
        let traits = Traits::plain(1, persistent);
        let first = self.send(bodies.iter().map(|body| (body.clone(), traits)));
        self.waiting.extend((first..).zip(bodies));
    }

    /// One message of each priority, in this order.
    fn publish_with(&self, priorities: &[u8]) {
        let traits = |priority: &u8| Traits { priority: *priority, ..Traits::plain(1, true) };
        self.send(priorities.iter().map(|priority| (vec![*priority; 300], traits(priority))));
    }

    /// Publishes; says the first position.
    fn send(&self, messages: impl Iterator<Item = (Vec<u8>, Traits)>) -> u64 {
        let message = |(body, traits)| Message::from_parts(&[0, 0], &[0, 0], body, traits, self.store.memory());
        let mut run: Vec<_> = messages.map(message).map(Incoming::Held).collect();
        let (mut entries, mut wakes) = (Entries::default(), Wakes::default());
        entries.begin();
        let landed = self.queue.publish(run.iter_mut(), &mut wakes).unwrap();
        let first = landed.first;
        entries.landed(QUEUE, landed);
        entries.end(&mut run);
        entries.append(&self.store.journal, None, &mut wakes);
        wakes.run();
        first
    }

    /// Takes the next message.
    fn take(&self) -> Option<(u64, Vec<u8>)> {
        let mut got = None;
        while let Err(error) = self.queue.get(false, |found| got = found) {
            assert_eq!(error, GetError::NotYet);
            let (bell, woken) = channel();
            self.queue.wait(Arc::new(Bell(Mutex::new(bell))));
            woken.recv().unwrap();
        }
        got.map(|got| (got.position, got.message.view().body.to_vec()))
    }

    fn get(&mut self) {
        let (got, expected) = (self.take(), self.waiting.pop_first());
        assert_eq!(got, expected);
        self.unacked.extend(expected);
    }

    fn discard(&mut self, positions: &[u64]) {
        let known: BTreeSet<_> = positions.iter().filter(|position| self.waiting.contains_key(position)).collect();
        assert_eq!(self.queue.discard(positions).unwrap(), known.len());
        self.waiting.retain(|position, _| !known.contains(position));
    }

    fn lift(&mut self, position: u64) {
        let listed = self.queue.look_at(position).unwrap();
        // Whoever takes a message twice gets it once.
        let lifted = self.queue.lift(listed.iter().chain(&listed).cloned().collect());
        let lifted: Vec<_> = lifted.iter().map(|one| (one.position, one.message.view().body.to_vec())).collect();
        assert_eq!(lifted, self.waiting.remove_entry(&position).into_iter().collect::<Vec<_>>());
        self.lifted.extend(lifted);
    }

    /// All pages from a position on.
    fn look(&self, from: u64, most: usize, bytes: usize) {
        let (mut found, mut next) = (Vec::new(), Some(from));
        while let Some(from) = next {
            let page = self.queue.peek(Page { from, most, bytes }).unwrap();
            assert!(page.messages.len() <= most, "{} messages", page.messages.len());
            let size: usize = page.messages.iter().skip(1).map(|one| one.message.charged_bytes()).sum();
            assert!(size <= bytes, "{size} bytes behind the first one");
            assert!(page.next.is_none_or(|next| next > from), "the next page of {from} is {:?}", page.next);
            found.extend(page.messages.iter().map(|one| (one.position, one.message.view().body.to_vec())));
            next = page.next;
        }
        let expected: Vec<_> = self.waiting.range(from..).map(|(at, body)| (*at, body.clone())).collect();
        assert_eq!(found, expected);
    }

    fn step(&mut self, step: Step) {
        let nth = |map: &BTreeMap<u64, Vec<u8>>, index: Index| {
            (!map.is_empty()).then(|| *map.keys().nth(index.index(map.len())).unwrap())
        };
        match step {
            Step::Publish { count, size, persistent } => self.publish(count, size, persistent),
            Step::ToDisk => {
                self.store.leave_journal().unwrap();
                self.queue.evict(0);
            }
            Step::Get => self.get(),
            Step::Settle(index, how) => {
                let Some(position) = nth(&self.unacked, index) else { return };
                let mut wakes = Wakes::default();
                self.queue.settle(std::iter::once(position), how, &mut wakes);
                wakes.run();
                let settled = self.unacked.remove_entry(&position);
                self.waiting.extend(settled.filter(|_| how == Settlement::Requeue));
            }
            Step::Discard(index, other) => {
                let positions: Vec<_> = nth(&self.waiting, index).into_iter().chain([other, u64::MAX]).collect();
                self.discard(&positions);
            }
            Step::Lift(index) => {
                if let Some(position) = nth(&self.waiting, index) {
                    self.lift(position);
                }
            }
            Step::Land(index, arrived) => {
                let Some(position) = nth(&self.lifted, index) else { return };
                let landed = self.lifted.remove_entry(&position);
                if arrived {
                    self.queue.note_arrival(std::iter::once(position));
                } else {
                    self.queue.keep_lifted(position);
                    self.waiting.extend(landed);
                }
            }
            Step::Pages { from, most, bytes } => self.look(from, most, bytes),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_queue_shows_and_gives_what_a_list_would(steps in prop::collection::vec(step(), 1..60)) {
        let mut house = House::new();
        for step in steps {
            house.step(step);
        }
        house.look(0, 7, 3000);
        house.look(0, MOST, usize::MAX);
        let all: Vec<_> = house.waiting.keys().copied().collect();
        house.discard(&all);
        house.look(0, MOST, usize::MAX);
        house.store.close();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn a_queue_with_priorities_is_shown_as_it_is_delivered(
        priorities in prop::collection::vec(0..6_u8, 1..80),
        gets in 0..20_usize,
        to_disk in any::<bool>(),
        most in 1..15_usize,
        bytes in prop_oneof![Just(usize::MAX), 0..4000_usize],
    ) {
        let house = House::with_priorities(5);
        house.publish_with(&priorities);
        if to_disk {
            house.store.leave_journal().unwrap();
            house.queue.evict(0);
        }
        // Some are taken and come back.
        let mut taken = Vec::new();
        for _ in 0..gets {
            taken.extend(house.take().map(|(position, _)| position));
        }
        let mut wakes = Wakes::default();
        house.queue.settle(taken.iter().copied().step_by(2), Settlement::Requeue, &mut wakes);
        wakes.run();
        let (mut shown, mut next) = (Vec::new(), Some(0));
        while let Some(from) = next {
            let page = house.queue.peek_in_order(Page { from, most, bytes }).unwrap();
            prop_assert!(page.messages.len() <= most && page.next.is_none_or(|next| next > from));
            shown.extend(page.messages.iter().map(|one| one.position));
            next = page.next;
        }
        let mut delivered = Vec::new();
        while let Some((position, _)) = house.take() {
            delivered.push(position);
        }
        prop_assert_eq!(shown, delivered);
        house.store.close();
    }
}
