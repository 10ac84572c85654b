//! The store and its queues as a node has them, without connections: publishes and settlements go to them as from there.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use leveret::frames::Value;
use leveret::message::memory::MemoryAccount;
use leveret::message::{Incoming, Message, MessageView, Traits};
use leveret::persist::disk::Disk;
use leveret::persist::journal::Waiter;
use leveret::persist::recovery::FoundQueue;
use leveret::persist::reindex;
use leveret::persist::segment::OneByOne;
use leveret::persist::sim::SimDisk;
use leveret::persist::store::{Opened, Settings, Store, StoreError};
use leveret::queue::engine::{Delivery, Terms};
use leveret::queue::entries::Entries;
use leveret::queue::local::{GetError, Shared, Subscriber};
use leveret::queue::watched::Owner;
use leveret::queue::{Accept, ConsumerKey, Outlet, Queue, QueueSpec, Wakes};
use parking_lot::{Condvar, Mutex};

use super::model::Seen;
use crate::crash::broker::PATIENCE;

const STORE: u64 = 77;

/// A delivery to a consumer.
pub struct Delivered {
    /// The queue's place among those of the schedule.
    pub queue: u32,
    pub seen: Seen,
    pub no_ack: bool,
    pub thread: ThreadId,
}

/// All consumers' outlet.
#[derive(Default)]
pub struct Sink(Mutex<Vec<Delivered>>);

impl Sink {
    pub fn take(&self) -> Vec<Delivered> {
        std::mem::take(&mut *self.0.lock())
    }
}

impl Outlet for Sink {
    fn deliver(&self, to: &Subscriber, _: ConsumerKey, delivery: Delivery<'_>) -> (Accept, bool) {
        let Delivery { message, position, redelivered, no_ack, .. } = delivery;
        let seen = Seen { position, number: number(&message), redelivered };
        let thread = std::thread::current().id();
        self.0.lock().push(Delivered { queue: to.slot, seen, no_ack, thread });
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

/// Something to wait for.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Waiter for Bell {
    fn wake(&self) {
        *self.rung.lock() = true;
        self.changed.notify_all();
    }
}

impl Bell {
    /// Waits for the bell or a moment.
    fn wait(&self) {
        let mut rung = self.rung.lock();
        if !*rung {
            self.changed.wait_for(&mut rung, Duration::from_millis(5));
        }
        *rung = false;
    }
}

/// The body of a message: its number, its length, and the number again and again.
pub fn body(number: u64, length: usize) -> Vec<u8> {
    let mut body = number.to_le_bytes().to_vec();
    let length = length.max(16);
    body.extend((length as u64).to_le_bytes());
    body.resize(length, number as u8);
    body
}

/// What is kept of a message beside its bytes, but whether it is persistent. Nothing is due within the test.
fn traits(number: u64) -> Traits {
    let due = NonZeroU64::new(if number.is_multiple_of(3) { (1 << 60) + number } else { 0 });
    Traits { at: AT, due, priority: (number % 5) as u8, persistent: false, hidden: number.is_multiple_of(7) }
}

/// When messages are published.
const AT: u64 = 1_700_000_000_000;

/// The number of a message that is whole.
fn number(message: &MessageView<'_>) -> u64 {
    let word = |at: usize| u64::from_le_bytes(message.body[at..at + 8].try_into().expect("eight bytes"));
    let number = word(0);
    let is_whole = word(8) == message.body.len() as u64 && message.body[16..].iter().all(|b| *b == number as u8);
    assert!(is_whole, "message {number} is not as it was published");
    number
}

/// Whether a queue is a quorum queue, which keeps transient messages, too.
pub fn keeps_all(store_id: u64) -> bool {
    store_id & 2 != 0
}

/// A message that has been put into queues.
pub struct Put {
    /// Index of the queue among those that were given, and the position there.
    pub places: Vec<(usize, u64, bool)>,
}

/// A store that runs.
pub struct House {
    pub store: Arc<Store>,
    pub sink: Arc<Sink>,
    memory: &'static MemoryAccount,
    bell: Arc<Bell>,
}

impl House {
    /// Opens the store; what was found of the queues is given back.
    pub fn open(
        disk: &SimDisk,
        settings: Settings,
        memory: &'static MemoryAccount,
    ) -> Result<(Self, std::collections::HashMap<u64, FoundQueue>), StoreError> {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let Opened { store, queues, .. } = Store::open(disk, settings, STORE, memory)?;
        Ok((Self { store, sink: Arc::default(), memory, bell: Arc::default() }, queues))
    }

    /// What was found of a queue has in its index what its segments have, and all of it is found at its place.
    pub fn check_index(&self, found: &FoundQueue) {
        let (shelf, mut expected) = (&found.shelf, Vec::new());
        for segment in shelf.segments() {
            let entries = reindex::entries(self.store.disk(), shelf, segment).expect("a whole segment");
            let due = entries.iter().filter(|e| e.due.is_some() && !e.transient && !shelf.is_dead(e.position));
            expected.extend(due.map(|e| (e.position, e.due, e.priority)));
        }
        let indexed: Vec<_> = found.indexed.iter().map(|m| (m.position, m.due, m.priority)).collect();
        assert_eq!(indexed, expected, "the index is not as the segments are");
        let mut reader = OneByOne::new(self.store.disk());
        for (position, due, _) in indexed {
            let place = shelf.place(position).expect("a place for what is in the index");
            let record = reader.read(&place).expect("a record");
            let view = MessageView { route: &[], properties: &[], body: record.parts.body, hidden: false };
            assert_eq!((record.traits.due, due), (due, traits(number(&view)).due));
        }
    }

    pub fn queue(&self, number: u64, store_id: u64, found: Option<FoundQueue>) -> Arc<Queue> {
        let kind = keeps_all(store_id).then(|| ("x-queue-type", Value::text("quorum")));
        let spec = QueueSpec {
            vhost: "/".into(),
            name: format!("q{number}").into(),
            durable: store_id != 0,
            auto_delete: false,
            exclusive_owner: None,
            arguments: kind.into_iter().collect(),
            store_id,
            ..QueueSpec::default()
        };
        Queue::new(number, spec, &Arc::default(), Shared::alone(Some(Arc::clone(&self.store))), found)
    }

    pub fn subscribe(&self, queue: &Queue, slot: u32, terms: Terms) -> ConsumerKey {
        let outlet = Arc::clone(&self.sink) as Arc<dyn Outlet>;
        let subscriber = Subscriber { outlet, channel: 1, slot, tag: b"c".as_slice().into() };
        let (mut key, mut wakes) = (None, Wakes::default());
        queue.subscribe(subscriber, terms, |k| key = Some(k), &mut wakes).expect("a queue in order");
        wakes.run();
        key.expect("it has been announced")
    }

    /// Publishes a run of messages, some of them persistent, to all these queues and hands the journal what has gathered, also in `wakes`. Says where
    /// each message is, and in which commit.
    pub fn publish(
        &self,
        queues: &[Arc<Queue>],
        messages: Vec<(Vec<u8>, bool)>,
        also: impl FnOnce(&mut Wakes),
    ) -> (Vec<Put>, u64) {
        let message = |(body, persistent): (Vec<u8>, bool)| {
            let view = MessageView { route: &[], properties: &[], body: &body, hidden: false };
            let traits = Traits { persistent, ..traits(number(&view)) };
            Message::from_parts(b"\0\x01q", &[0, 0], body, traits, self.memory)
        };
        let mut run: Vec<Incoming<'_>> = messages.into_iter().map(|it| Incoming::Held(message(it))).collect();
        let (mut wakes, mut entries) = (Wakes::default(), Entries::default());
        let mut puts: Vec<Put> = run.iter().map(|_| Put { places: Vec::new() }).collect();
        entries.begin();
        for (queue_index, queue) in queues.iter().enumerate() {
            let landed = queue.publish(run.iter_mut(), &mut wakes).expect("a queue in order");
            for (index, put) in puts.iter_mut().enumerate().filter(|_| landed.keeps.is_durable()) {
                put.places.push((queue_index, landed.first + index as u64, landed.consumed.contains(&index)));
            }
            entries.landed(queue.spec.store_id, landed);
        }
        entries.end(&mut run);
        also(&mut wakes);
        let commit = entries.append(&self.store.journal, None, &mut wakes).unwrap_or(0);
        wakes.run();
        (puts, commit)
    }

    /// The number of a commit in which, or before which, everything is that was said so far.
    pub fn mark(&self) -> u64 {
        // An item that is not written.
        let waiter = Arc::clone(&self.bell) as Arc<dyn Waiter>;
        self.store.journal.append(&[0; 5], Some(&waiter)).commit
    }

    /// Waits until a commit is done; false when that is not to be expected any more.
    pub fn wait(&self, commit: u64) -> bool {
        let end = Instant::now() + PATIENCE;
        while self.store.journal.committed() < commit {
            if self.store.trouble().is_some() || self.store.failure().borrow().is_some() {
                return false;
            }
            assert!(Instant::now() < end, "commit {commit} does not get done");
            self.bell.wait();
        }
        true
    }

    /// One message, if there is one and it can be had at once.
    pub fn get(queue: &Queue, no_ack: bool) -> Result<Option<Seen>, GetError> {
        let mut got = None;
        queue.get(no_ack, |message| got = message)?;
        Ok(got.map(|got| {
            let number = number(&got.message.view());
            let kept = Traits { persistent: false, ..got.message.traits() };
            assert_eq!(kept, traits(number), "message {number} has other traits than when it was published");
            Seen { position: got.position, number, redelivered: got.redelivered }
        }))
    }

    /// All messages of a queue without consumers. They are unacked afterwards.
    pub fn take_all(&self, queue: &Queue) -> Vec<Seen> {
        let end = Instant::now() + PATIENCE;
        let mut all = Vec::new();
        loop {
            match Self::get(queue, false) {
                Ok(Some(seen)) => all.push(seen),
                Ok(None) => return all,
                Err(GetError::NotYet) => {
                    assert!(Instant::now() < end, "a message cannot be had: {:?}", self.store.trouble());
                    queue.wait(Arc::clone(&self.bell) as Arc<dyn Waiter>);
                    self.bell.wait();
                }
                Err(error) => panic!("FALSE DAMAGE: {error:?}"),
            }
        }
    }
}
