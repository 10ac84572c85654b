//! Deliveries of several queues on one channel, and how long each may wait.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::frames::Table;
use crate::message::memory::MemoryAccount;
use crate::message::{Incoming, Message, Traits};
use crate::queue::engine::Terms;
use crate::queue::local::{QueueSpec, Shared, Subscriber};
use crate::queue::settings::Settings;
use crate::queue::{ConsumerKey, Outlet, Wakes};

struct Test {
    outbox: Arc<Outbox>,
    clock: Arc<AtomicU32>,
    memory: &'static MemoryAccount,
}

impl Test {
    fn new() -> Self {
        let (clock, memory) = (Arc::<AtomicU32>::default(), MemoryAccount::new(u64::MAX));
        let outbox = Outbox::new(1, Arc::clone(&clock), memory);
        outbox.open_channel(1, Arc::default(), false);
        Self { outbox, clock, memory }
    }

    /// A consumer of a queue that has a time of its own, or none.
    fn consume(&self, tag: &[u8], seconds: Option<u64>) -> Arc<Queue> {
        let settings = Settings { consumer_timeout: seconds.map(|s| s * 1000), ..Settings::default() };
        let spec = QueueSpec { name: "q".into(), arguments: Table::default(), ..QueueSpec::default() };
        let queue = Queue::new(1, spec, &Arc::new(settings), Shared::alone(None), None);
        let slot = self.outbox.add_consumer(1, tag, &queue).unwrap();
        let outlet = Arc::clone(&self.outbox) as Arc<dyn Outlet>;
        let subscriber = Subscriber { outlet, channel: 1, slot, tag: tag.into() };
        let started = |key: ConsumerKey| self.outbox.consumer_started(1, slot, key, None);
        queue.subscribe(subscriber, Terms::default(), started, &mut Wakes::default()).unwrap();
        queue
    }

    fn deliver(&self, queue: &Queue, at: u32) {
        self.clock.store(at, Ordering::Relaxed);
        let message = Message::from_parts(b"\0\x01q", &[0, 0], b"body".to_vec(), Traits::default(), self.memory);
        queue.publish(std::iter::once(&mut Incoming::Held(message)), &mut Wakes::default()).unwrap();
    }
}

#[test]
fn the_queue_s_own_time_counts_and_not_only_of_the_oldest_delivery() {
    let test = Test::new();
    let seconds = Duration::from_secs;
    let (patient, hasty, plain) =
        (test.consume(b"patient", Some(1000)), test.consume(b"hasty", Some(20)), test.consume(b"plain", None));
    test.deliver(&patient, 0);
    test.deliver(&plain, 1);
    test.deliver(&hasty, 2);
    let timeouts = Timeouts::of(&test.outbox, Some(seconds(100)));
    assert_eq!(timeouts.shortest(), Some(seconds(20)));
    let at = |now| (timeouts.overdue(&test.outbox, now), timeouts.near(&test.outbox, now));
    assert_eq!(at(17), (None, 0));
    assert_eq!(at(18), (None, 1));
    assert_eq!(at(22), (None, 1));
    assert_eq!(at(23), (Some((1, seconds(20))), 1));

    let mut settled = crate::connection::deliveries::Settled::default();
    test.outbox.settle(1, 3, false, crate::queue::Settlement::Ack, &mut settled).unwrap();
    assert_eq!(at(101), (None, 1));
    assert_eq!(at(102), (Some((1, seconds(100))), 1));

    // Nothing is said of the node: what the queue says still counts.
    let timeouts = Timeouts::of(&test.outbox, None);
    assert_eq!(timeouts.overdue(&test.outbox, 1000), None);
    assert_eq!(timeouts.overdue(&test.outbox, 1001), Some((1, seconds(1000))));
}
