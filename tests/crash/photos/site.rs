//! A broker on a simulated disk, and who works there: publishers and consumers without connections.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use leveret::config::Config;
use leveret::frames::{Table, Value};
use leveret::message::memory::MemoryAccount;
use leveret::message::{Incoming, Message, MessageView, Traits};
use leveret::persist::catalog::{Catalog, CatalogError, Change};
use leveret::persist::disk::Disk;
use leveret::persist::journal::item::Item;
use leveret::persist::journal::replay::scan;
use leveret::persist::journal::{SyncMode, Waiter};
use leveret::persist::record::QueueRecord;
use leveret::persist::recovery::FoundQueue;
use leveret::persist::segment::{HEADER, read_span};
use leveret::persist::sim::{Random, SimDisk};
use leveret::persist::store::{Settings, load_manifest, recover};
use leveret::persist::{Record, Store};
use leveret::queue::engine::{Delivery, Terms};
use leveret::queue::entries::Entries;
use leveret::queue::local::Subscriber;
use leveret::queue::watched::Owner;
use leveret::queue::{Accept, ConsumerKey, Outlet, Queue, Settlement, Wakes};
use leveret::vhost::{Broker, Command};
use parking_lot::Mutex;

use super::ledger::Ledger;

const STORE: u64 = 77;
const DEAD: &str = "dead";
const SOURCES: [&str; 3] = ["full", "rejected", "timed"];
/// Most publishes of one thread that wait for their confirm.
const WINDOW: usize = 64;
/// So many messages are enough.
const MANY: usize = 400;

/// What nobody needs to find again after a power cut, but the next broker.
#[derive(Clone, Default)]
pub struct MemoryCatalog(Arc<Mutex<Vec<Record>>>);

impl Catalog for MemoryCatalog {
    fn load(&self) -> Result<Vec<Record>, CatalogError> {
        Ok(self.0.lock().clone())
    }

    fn write(&self, changes: &[Change]) -> Result<(), CatalogError> {
        self.0.lock().extend(changes.iter().map(|change| match change {
            Change::Put(record) => record.clone(),
            Change::Delete(record) => panic!("nobody deletes {record:?}"),
        }));
        Ok(())
    }

    fn flush(&self) -> Result<(), CatalogError> {
        Ok(())
    }
}

fn settings() -> Settings {
    Settings {
        dir: "data/store".into(),
        mode: SyncMode::Fsync,
        journal_file: 64 << 10,
        journal_keep: 1,
        segment: 32 << 10,
        disk_limit: 0,
        paging_ratio: 0.5,
        look_at_segments: Duration::from_millis(20),
    }
}

/// The node's directory on an empty disk.
pub fn prepare(disk: &SimDisk) {
    disk.create_dir("data".as_ref()).and_then(|()| disk.sync_all("data".as_ref())).expect("a disk in order");
}

/// A broker that runs.
pub struct Site {
    broker: Arc<Broker>,
    store: Arc<Store>,
    memory: &'static MemoryAccount,
    sources: Vec<Arc<Queue>>,
    dead: Arc<Queue>,
}

impl Site {
    /// A broker with much memory or little, so that what waits long leaves it.
    pub fn open(disk: &SimDisk, catalog: MemoryCatalog, has_memory: bool) -> Self {
        let memory = MemoryAccount::new(if has_memory { u64::MAX } else { 100_000 });
        let opened = Store::open(Arc::new(disk.clone()), settings(), STORE, memory).expect("a store in order");
        let store = Arc::clone(&opened.store);
        let broker = Broker::start(Config::default(), Box::new(catalog), memory, Some(opened)).expect("a broker");
        let dead = declare(&broker, DEAD, 1, Table::default());
        let sources = SOURCES.iter().zip(2..).map(|(name, id)| declare(&broker, name, id, arguments(name)));
        let sources = sources.collect();
        Self { broker, store, memory, sources, dead }
    }

    /// The broker ends; its disk is dead.
    pub fn end(self) {
        self.broker.close();
    }
}

fn arguments(queue: &str) -> Table {
    let mut arguments = Table::default();
    arguments.insert("x-dead-letter-exchange", Value::text(""));
    arguments.insert("x-dead-letter-routing-key", Value::text(DEAD));
    match queue {
        "full" => arguments.insert("x-max-length", Value::I64(20)),
        "timed" => arguments.insert("x-message-ttl", Value::I64(30)),
        "rejected" => arguments.insert("x-max-priority", Value::I64(3)),
        _ => {}
    };
    arguments
}

fn declare(broker: &Broker, name: &str, id: u64, arguments: Table) -> Arc<Queue> {
    if let Some(queue) = broker.vhost("/").and_then(|vhost| vhost.queue(name)) {
        return queue;
    }
    let (vhost, name) = ("/".to_owned(), name.to_owned());
    let record = QueueRecord { vhost, name, durable: true, auto_delete: false, arguments, id };
    let applied = broker.apply(Command::DeclareQueue { record, exclusive_owner: None }).expect("a queue");
    applied.queue.expect("it has been declared")
}

/// Something that was delivered.
struct Delivered {
    source: Option<usize>,
    position: u64,
    id: u64,
}

#[derive(Default)]
struct Inbox(Mutex<VecDeque<Delivered>>);

impl Outlet for Inbox {
    fn deliver(&self, to: &Subscriber, _: ConsumerKey, delivery: Delivery<'_>) -> (Accept, bool) {
        let source = (to.slot as usize).checked_sub(1);
        let delivered = Delivered { source, position: delivery.position, id: id_of(delivery.message.body) };
        self.0.lock().push_back(delivered);
        (Accept::Taken, false)
    }

    fn deliver_reply(&self, _: u16, _: &[u8], _: MessageView<'_>) -> bool {
        false
    }

    fn cancelled(&self, _: &Subscriber, _: u64) {}

    fn wake(&self) {}

    fn owner(&self) -> Owner {
        Owner::default()
    }
}

struct Nobody;

impl Waiter for Nobody {
    fn wake(&self) {}
}

fn id_of(body: &[u8]) -> u64 {
    u64::from_le_bytes(*body.first_chunk().expect("eight bytes"))
}

/// One who publishes and settles.
pub struct Hands<'a> {
    site: &'a Site,
    ledger: &'a Ledger,
    random: Random,
    inbox: Arc<Inbox>,
    held: VecDeque<Delivered>,
    waiter: Arc<dyn Waiter>,
    /// Commits and messages.
    unconfirmed: VecDeque<(u64, u64)>,
    /// Settled since the last publish: queue and position.
    settled: Vec<(u64, u64)>,
    /// What was settled before the publishes of a commit.
    to_be_gone: VecDeque<(u64, Vec<(u64, u64)>)>,
}

impl<'a> Hands<'a> {
    pub fn new(site: &'a Site, ledger: &'a Ledger, seed: u64) -> Self {
        let (inbox, held, unconfirmed) = (Arc::<Inbox>::default(), VecDeque::new(), VecDeque::new());
        let (random, waiter) = (Random::new(seed), Arc::new(Nobody));
        let (settled, to_be_gone) = (Vec::new(), VecDeque::new());
        let hands = Self { site, ledger, random, inbox, held, waiter, unconfirmed, settled, to_be_gone };
        hands.subscribe(&site.dead, 0);
        hands.subscribe(&site.sources[1], 2);
        hands
    }

    fn subscribe(&self, queue: &Queue, slot: u32) {
        let outlet = Arc::clone(&self.inbox) as Arc<dyn Outlet>;
        let subscriber = Subscriber { outlet, channel: 1, slot, tag: b"c".as_slice().into() };
        let terms = Terms { prefetch: 20, ..Terms::default() };
        let mut wakes = Wakes::default();
        queue.subscribe(subscriber, terms, |_| (), &mut wakes).expect("a queue in order");
        wakes.run();
    }

    pub fn work(mut self, goes_on: impl Fn() -> bool) {
        while goes_on() {
            self.take_in();
            if !self.site.store.journal.is_congested() && self.unconfirmed.len() < WINDOW {
                self.turn();
            } else {
                std::thread::yield_now();
            }
        }
    }

    fn take_in(&mut self) {
        let come: Vec<_> = self.inbox.0.lock().drain(..).collect();
        for one in come {
            if one.source.is_none() {
                self.ledger.move_on();
            }
            self.ledger.note(one.id, &format!("came at {:?} {}", one.source, one.position));
            self.held.push_back(one);
        }
        let committed = self.site.store.journal.committed();
        while self.unconfirmed.front().is_some_and(|(commit, _)| *commit <= committed) {
            let (_, id) = self.unconfirmed.pop_front().expect("it is there");
            self.ledger.confirm(id);
        }
        while self.to_be_gone.front().is_some_and(|(commit, _)| *commit <= committed) {
            let (_, settled) = self.to_be_gone.pop_front().expect("it is there");
            settled.into_iter().for_each(|(queue, position)| self.ledger.is_gone(queue, position));
        }
    }

    /// As a connection carries out what one read has brought: publishes, then settlements, then the journal.
    fn turn(&mut self) {
        let mut wakes = Wakes::default();
        let mut entries = Entries::default();
        let mut ids = Vec::new();
        let room = if self.ledger.count() < MANY { 4 } else { 1 };
        for _ in 0..self.random.below(room) {
            let source = self.random.below(SOURCES.len() as u64) as usize;
            let queue = &self.site.sources[source];
            let mut run = Vec::new();
            let first = ids.len();
            for _ in 0..=self.random.below(10) {
                let id = self.ledger.new_id();
                ids.push(id);
                run.push(Incoming::Held(self.message(id)));
            }
            entries.begin();
            let landed = queue.publish(run.iter_mut(), &mut wakes).expect("a queue in order");
            for (id, at) in ids[first..].iter().zip(landed.first..) {
                self.ledger.note(*id, &format!("to {source} {at}"));
            }
            entries.landed(queue.spec.store_id, landed);
            entries.end(&mut run);
        }
        for _ in 0..self.random.below(20) {
            self.settle_one(&mut wakes);
        }
        wakes.send_letters();
        let commit = entries.append(&self.site.store.journal, Some(&self.waiter), &mut wakes);
        if let Some(commit) = commit.filter(|_| !ids.is_empty()) {
            self.to_be_gone.push_back((commit, std::mem::take(&mut self.settled)));
        }
        for id in ids {
            self.ledger.note(id, &format!("in commit {commit:?}"));
            self.unconfirmed.push_back((commit.expect("it is persistent"), id));
        }
        wakes.run();
    }

    fn message(&mut self, id: u64) -> Message {
        let mut body = id.to_le_bytes().to_vec();
        let most = [100, 100, 100, 2000, 9000][self.random.below(5) as usize];
        body.resize(8 + self.random.below(most) as usize, id as u8);
        let priority = self.random.below(5) as u8;
        let traits = Traits { priority, ..Traits::plain(self.site.broker.clock.now_ms(), true) };
        Message::from_parts(b"\0\x01q", &[0, 0], body, traits, self.site.memory)
    }

    fn settle_one(&mut self, wakes: &mut Wakes) {
        let Some(Delivered { source, position, id }) = self.held.pop_front() else { return };
        let queue = source.map_or(&self.site.dead, |source| &self.site.sources[source]);
        let how = match (source, self.random.below(10)) {
            (_, 0) => Settlement::Requeue,
            (Some(_), 1..8) => Settlement::Discard,
            _ => Settlement::Ack,
        };
        if how == Settlement::Ack {
            self.ledger.ack(id);
        }
        self.ledger.note(id, &format!("{how:?}"));
        if how != Settlement::Requeue {
            self.settled.push((queue.spec.store_id, position));
        }
        queue.settle(std::iter::once(position), how, wakes);
    }
}

/// All messages that a broker would find on a disk, and where.
pub fn found_in(disk: &SimDisk) -> BTreeMap<u64, Vec<(u64, u64)>> {
    let dir = settings().dir;
    let manifest = load_manifest(disk, &dir, STORE).expect("a manifest").content;
    let (replayed, found) = recover(disk, &dir, STORE, MemoryAccount::new(u64::MAX), &manifest).expect("a journal");
    assert!(replayed.damage.is_empty(), "{:?}", replayed.damage);
    let mut all: BTreeMap<u64, Vec<_>> = BTreeMap::new();
    for (queue, found) in found.queues {
        for (position, message) in &found.messages {
            all.entry(id_of(message.view().body)).or_default().push((queue, *position));
        }
        let mut buffer = Vec::new();
        for segment in found.shelf.segments() {
            let mut span = found.shelf.span(segment, HEADER as u64);
            while span.offset < span.end {
                span.offset = read_span(disk, &span, 1 << 20, &mut buffer, |record| {
                    if !found.shelf.is_dead(record.position) {
                        all.entry(id_of(record.parts.body)).or_default().push((queue, record.position));
                    }
                    true
                })
                .expect("a whole segment");
            }
        }
    }
    all
}

/// Says what is on a disk.
pub fn report(disk: &SimDisk) {
    let dir = settings().dir;
    let manifest = load_manifest(disk, &dir, STORE).expect("a manifest").content;
    eprintln!("first block {}, synced {}", manifest.first_block, manifest.synced);
    let (_, found) = recover(disk, &dir, STORE, MemoryAccount::new(u64::MAX), &manifest).expect("a journal");
    for (queue, FoundQueue { shelf, next_position, messages, .. }) in &found.queues {
        let segments: Vec<_> = shelf.segments().map(|s| (s.number, s.first, s.last, s.live)).collect();
        let (flushed, in_journal, dead) = (shelf.flushed(), messages.len(), shelf.dead());
        eprintln!("queue {queue}: next {next_position}, flushed {flushed}, {in_journal} in the journal");
        eprintln!("  dead {dead:?}, segments {segments:?}");
    }
    let scan = scan(disk, &dir.join("journal"), STORE).expect("a journal");
    let oldest = scan.oldest();
    let show = |block, item: Item<'_>| {
        let item: String = format!("{item:?}").chars().take(300).collect();
        eprintln!("block {block}: {item}");
    };
    scan.run(oldest, 0, show).expect("a journal");
}
