//! Power cuts: the store and its queues on a simulated disk that loses any part of what was not synced.
//!
//! A schedule is a few lives of one store, each of which ends at any moment: power is cut, the process is killed, or the
//! store is closed and then power is cut. What was committed by then must be there afterwards, once and in order, and what
//! was settled must not.

mod house;
mod model;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use leveret::message::memory::MemoryAccount;
use leveret::persist::disk::Disk as _;
use leveret::persist::journal::SyncMode;
use leveret::persist::resident::{Extent, Plan, Resident as _};
use leveret::persist::sim::{Random, SimDisk};
use leveret::persist::store::Settings;
use leveret::queue::engine::Terms;
use leveret::queue::{ConsumerKey, Queue, Settlement, Wakes};

use super::harness::{count, random};
use house::{House, body, keeps_all};
use model::{Model, Published};

#[test]
fn nothing_committed_is_lost_when_the_power_is_cut() {
    run(count(20));
}

#[test]
#[ignore = "long"]
fn ten_thousand_schedules_with_power_cuts() {
    run(count(10_000));
}

/// The commit may hold more: that the message has left another queue.
#[test]
fn a_message_is_in_no_segment_before_its_commit_is_done() {
    let mut figures = Figures::default();
    let schedule = Schedule::new(1, &mut figures);
    let (house, _) = House::open(&schedule.disk, schedule.settings.clone(), schedule.memory).expect("an empty store");
    // It keeps transient messages, too.
    assert!(keeps_all(7));
    let queue = house.queue(1, 7, None);
    let plan = |extent| {
        let plan = queue.plan_flush(extent);
        queue.abandon_flush();
        match plan {
            Plan::Nothing => "nothing",
            Plan::NotYet => "not yet",
            Plan::Write(_) => "write",
        }
    };
    let all_kinds = [Extent::UpTo(100), Extent::All, Extent::UpToAtOnce(100)];
    let begin = std::slice::from_ref(&queue);
    let (_, commit) = house.publish(begin, vec![(body(1, 100), true)], |_| {
        assert_eq!(all_kinds.map(plan), ["not yet", "nothing", "write"]);
    });
    assert!(house.wait(commit));
    assert_eq!(all_kinds.map(plan), ["write"; 3]);
    house.publish(begin, vec![(body(2, 100), false)], |_| {
        assert_eq!(all_kinds.map(plan), ["not yet", "write", "write"]);
    });
    house.store.close();
}

fn run(schedules: u64) {
    let mut random = random();
    let mut figures = Figures::default();
    for _ in 0..schedules {
        Schedule::new(random.next(), &mut figures).run();
    }
    let Figures { lives, cut_while_starting, published, found } = figures;
    eprintln!(
        "{schedules} schedules, {lives} lives and {cut_while_starting} cut short while starting: {published} messages \
         published to queues, {found} found again, no fault"
    );
}

#[derive(Default)]
struct Figures {
    lives: u64,
    cut_while_starting: u64,
    published: u64,
    found: u64,
}

/// A queue over all lives.
struct Place {
    store_id: u64,
    model: Model,
    deleted: bool,
}

/// A queue in one life.
struct Live {
    queue: Arc<Queue>,
    consumers: Vec<ConsumerKey>,
}

struct Schedule<'f> {
    random: Random,
    disk: SimDisk,
    settings: Settings,
    memory: &'static MemoryAccount,
    places: Vec<Place>,
    next_message: u64,
    /// What has happened, for the report of a failure.
    history: Vec<String>,
    figures: &'f mut Figures,
}

impl Drop for Schedule<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{:#?} with {:?}", self.history, self.settings);
        }
    }
}

const QUEUES: usize = 4;

impl<'f> Schedule<'f> {
    fn new(seed: u64, figures: &'f mut Figures) -> Self {
        let mut random = Random::new(seed);
        // The other modes promise nothing over a power cut.
        let mode = SyncMode::Fsync;
        let settings = Settings {
            dir: "data/store".into(),
            mode,
            journal_file: 64 << 10,
            journal_keep: random.below(2) as usize,
            segment: 64 << 10,
            disk_limit: u64::MAX / 2,
            paging_ratio: 0.5,
            look_at_segments: Duration::ZERO,
        };
        let memory = MemoryAccount::new(if random.chance(1, 2) { 200_000 } else { u64::MAX });
        let disk = SimDisk::new(random.next());
        // As the node has it, whose directory it is.
        disk.create_dir("data".as_ref()).and_then(|()| disk.sync_all("data".as_ref())).expect("a disk in order");
        let mut schedule =
            Self { random, disk, settings, memory, places: Vec::new(), next_message: 0, history: Vec::new(), figures };
        (0..QUEUES).for_each(|_| schedule.new_place());
        schedule
    }

    fn new_place(&mut self) {
        let store_id = self.random.next() | 1;
        self.places.push(Place { store_id, model: Model::default(), deleted: false });
    }

    fn run(mut self) {
        for _ in 0..1 + self.random.below(6) {
            self.life();
        }
        let (house, queues) = self.start();
        self.look(&house, &queues, true);
        drop(queues);
        house.store.close();
    }

    /// Starts a store on the disk, perhaps after attempts during which power was cut again.
    fn start(&mut self) -> (House, Vec<Option<Live>>) {
        loop {
            let dies = self.random.chance(1, 4);
            if dies {
                self.disk.die_after(self.random.below(40));
            }
            match House::open(&self.disk, self.settings.clone(), self.memory) {
                Ok((house, mut found)) if !dies => {
                    let live = self.take_over(&house, &mut found);
                    house.store.start_keeper().expect("a thread");
                    return (house, live);
                }
                Ok((house, found)) => {
                    drop(found);
                    self.cut();
                    house.store.close();
                }
                Err(error) => {
                    assert!(dies, "the store cannot be opened: {error}");
                    self.cut();
                }
            }
            self.figures.cut_while_starting += 1;
        }
    }

    fn take_over(
        &mut self,
        house: &House,
        found: &mut HashMap<u64, leveret::persist::recovery::FoundQueue>,
    ) -> Vec<Option<Live>> {
        for queue in found.values() {
            assert!(queue.damage.is_empty(), "FALSE DAMAGE: {:?}", queue.damage);
            assert!(queue.rebuilt.is_empty(), "an index was not safe with its segment: {:?}", queue.rebuilt);
            house.check_index(queue);
        }
        let mut live = Vec::new();
        for (number, place) in self.places.iter_mut().enumerate() {
            let found = found.remove(&place.store_id);
            if place.deleted {
                live.push(None);
                continue;
            }
            if found.is_none() {
                place.model.not_found();
            }
            let queue = house.queue(number as u64, place.store_id, found);
            live.push(Some(Live { queue, consumers: Vec::new() }));
        }
        assert!(found.is_empty(), "UNEXPECTED queues");
        live
    }

    fn cut(&mut self) {
        // What was found of a process that was killed is safe only after the start, if nothing was synced for its commits.
        let kill = self.settings.mode != SyncMode::Fsync || self.random.chance(1, 8);
        self.history.push(format!("start cut short, killed: {kill}"));
        self.disk = if kill { self.disk.kill() } else { self.disk.power_cut(self.random.next()) };
    }

    /// Looks at all that is there, and leaves some of it.
    fn look(&mut self, house: &House, queues: &[Option<Live>], ack: bool) {
        let mut wakes = Wakes::default();
        for (place, live) in self.places.iter_mut().zip(queues) {
            let Some(live) = live else { continue };
            let all = house.take_all(&live.queue);
            self.figures.found += all.len() as u64;
            self.history.push(format!("{}: {} found", live.queue.spec.name, all.len()));
            place.model.found(&all);
            let how = if ack || self.random.chance(1, 3) { Settlement::Ack } else { Settlement::Requeue };
            let some = if ack { all.len() } else { self.random.below(all.len() as u64 + 1) as usize };
            let positions: Vec<u64> = all.iter().take(some).map(|seen| seen.position).collect();
            positions.iter().for_each(|p| place.model.settled(*p, how == Settlement::Ack));
            live.queue.settle(positions.into_iter(), how, &mut wakes);
        }
        wakes.run();
    }

    fn life(&mut self) {
        self.figures.lives += 1;
        let (house, mut queues) = self.start();
        if self.random.chance(1, 2) {
            self.look(&house, &queues, false);
        }
        if self.random.chance(1, 3) {
            self.disk.die_after(self.random.below(200));
        }
        let mut goes_on = true;
        for _ in 0..self.random.below(120) {
            goes_on = goes_on && self.act(&house, &mut queues);
        }
        self.end(&house, queues);
    }

    fn end(&mut self, house: &House, queues: Vec<Option<Live>>) {
        let why = house.store.trouble().or_else(|| house.store.failure().borrow().clone());
        let (mut committed, mut flags) = (house.store.journal.committed(), true);
        let how = self.random.below(8);
        match how {
            0 if house.store.trouble().is_none() && house.store.failure().borrow().is_none() => {
                house.store.close();
                self.note(house);
                // With a disk that dies meanwhile, all this is not said.
                if house.store.failure().borrow().is_none() && self.disk_lives() {
                    committed = u64::MAX;
                    self.places.iter_mut().for_each(|place| place.model.told_by(0));
                } else if self.settings.mode != SyncMode::Fsync {
                    (committed, flags) = (0, false);
                }
                self.disk = self.disk.power_cut(self.random.next());
            }
            1 => self.disk = self.disk.kill(),
            _ => {
                self.disk = self.disk.power_cut(self.random.next());
                if self.settings.mode != SyncMode::Fsync {
                    (committed, flags) = (0, false);
                }
            }
        }
        self.note(house);
        drop(queues);
        house.store.close();
        self.note(house);
        self.history.push(format!("end {how}: committed {committed}, flags {flags}, trouble {why:?}"));
        for place in &mut self.places {
            place.model.ended(committed, flags);
        }
    }

    fn disk_lives(&self) -> bool {
        self.disk.list("data".as_ref()).is_ok()
    }

    /// Takes up what consumers have got.
    fn note(&mut self, house: &House) {
        let me = std::thread::current().id();
        for delivered in house.sink.take() {
            let place = &mut self.places[delivered.queue as usize];
            if !place.deleted {
                place.model.consumed(delivered.seen, delivered.no_ack, delivered.thread == me);
            }
        }
    }

    /// Something happens. False when the disk is dead.
    fn act(&mut self, house: &House, queues: &mut Vec<Option<Live>>) -> bool {
        self.note(house);
        let live: Vec<usize> = (0..queues.len()).filter(|i| queues[*i].is_some()).collect();
        let one = live[self.random.below(live.len() as u64) as usize];
        match self.random.below(100) {
            0..45 => self.publish(house, queues, &live),
            45..65 => self.settle(queues, one),
            65..75 => self.get(queues, one),
            75..82 => self.subscribe(house, queues, one),
            82..85 => {
                let Some(live) = &mut queues[one] else { return true };
                let mut wakes = Wakes::default();
                if let Some(key) = live.consumers.pop() {
                    live.queue.cancel(key, || {}, &mut wakes);
                }
                wakes.run();
            }
            85..87 => {
                let Some(live) = &queues[one] else { return true };
                live.queue.purge();
                self.note(house);
                self.places[one].model.purged();
            }
            87 => {
                let Some(Live { queue, .. }) = queues[one].take() else { return true };
                assert!(queue.delete(|_| false).is_ok());
                self.note(house);
                self.places[one].deleted = true;
                self.new_place();
                let number = self.places.len() - 1;
                let queue = house.queue(number as u64, self.places[number].store_id, None);
                queues.push(Some(Live { queue, consumers: Vec::new() }));
            }
            _ => return self.mark(house),
        }
        true
    }

    /// Notes in which commit everything is so far, and mostly waits for it.
    fn mark(&mut self, house: &House) -> bool {
        self.note(house);
        let commit = house.mark();
        self.places.iter_mut().for_each(|place| place.model.told_by(commit));
        self.random.chance(1, 4) || house.wait(commit)
    }

    fn publish(&mut self, house: &House, queues: &[Option<Live>], live: &[usize]) {
        // Mostly all are persistent, sometimes none, sometimes some.
        let kind = self.random.below(8);
        let first = self.random.below(live.len() as u64) as usize;
        let fan_out = if self.random.chance(1, 3) { 1 + self.random.below(live.len() as u64) as usize } else { 1 };
        let to: Vec<usize> = live.iter().cycle().skip(first).take(fan_out).copied().collect();
        let most = if self.random.chance(1, 60) { 100_000 } else { 6_000 };
        let (first, count) = (self.next_message, 1 + self.random.below(8));
        self.next_message += count;
        let is_persistent = |_| if kind < 2 { kind == 1 && self.random.chance(1, 2) } else { true };
        let kinds: Vec<bool> = (0..count).map(is_persistent).collect();
        let body = |(number, kind): (u64, &bool)| (body(number, self.random.below(most) as usize), *kind);
        let messages = (first..).zip(&kinds).map(body).collect();
        let targets: Vec<Arc<Queue>> =
            to.iter().filter_map(|i| Some(Arc::clone(&queues[*i].as_ref()?.queue))).collect();
        // What a client has acked in one go with its publishes is of the same commit.
        let settles = self.random.chance(1, 4).then(|| live[self.random.below(live.len() as u64) as usize]);
        let mut settled = None;
        let (puts, commit) = house.publish(&targets, messages, |wakes| {
            settled = settles.and_then(|at| self.settle_some(queues, at, wakes));
        });
        for ((put, number), persistent) in puts.into_iter().zip(first..).zip(kinds) {
            for (index, position, consumed) in put.places {
                let place = &mut self.places[to[index]];
                let persistent = persistent || keeps_all(place.store_id);
                place.model.published(Published { position, number, persistent, commit, consumed });
                self.figures.published += 1;
            }
        }
    }

    fn settle(&mut self, queues: &[Option<Live>], at: usize) {
        let mut wakes = Wakes::default();
        self.settle_some(queues, at, &mut wakes);
        wakes.run();
    }

    fn settle_some(&mut self, queues: &[Option<Live>], at: usize, wakes: &mut Wakes) -> Option<()> {
        let how = match self.random.below(6) {
            0 => Settlement::Requeue,
            1 => Settlement::Discard,
            _ => Settlement::Ack,
        };
        let model = &mut self.places[at].model;
        let unacked = model.unacked();
        let (skip, some) = (self.random.below(3), self.random.below(unacked.len() as u64 + 1));
        let positions: Vec<u64> = unacked.skip(skip as usize).take(some as usize).collect();
        positions.iter().for_each(|p| model.settled(*p, how != Settlement::Requeue));
        queues[at].as_ref()?.queue.settle(positions.into_iter(), how, wakes);
        Some(())
    }

    fn get(&mut self, queues: &[Option<Live>], at: usize) {
        let Some(live) = &queues[at] else { return };
        let no_ack = self.random.chance(1, 3);
        // What cannot be had at once is asked for another time.
        if let Ok(Some(seen)) = House::get(&live.queue, no_ack) {
            self.places[at].model.delivered(seen, no_ack, true);
        }
    }

    fn subscribe(&mut self, house: &House, queues: &mut [Option<Live>], at: usize) {
        let Some(live) = &mut queues[at] else { return };
        if live.consumers.len() < 2 {
            let no_ack = self.random.chance(1, 3);
            let prefetch = [0, 1, 10, 50][self.random.below(4) as usize];
            live.consumers.push(house.subscribe(
                &live.queue,
                at as u32,
                Terms { no_ack, prefetch, ..Terms::default() },
            ));
        }
    }
}
