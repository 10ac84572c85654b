//! The thread that tells queues when their time has come.
//!
//! Every queue knows itself what is due in it and when ([`super::engine::Engine::next_tick`]); here stands only the next
//! time of each, so that a million messages with a time cost one entry. A queue that moves its time forward is entered
//! again: of its entries the last one counts, and it pays no heed when one that has become wrong wakes it. When many
//! entries have come, those that are of no use are thrown out: a deleted queue is not kept in memory by what was due in it
//! in a year.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::local::Queue;
use crate::clock::Clock;

/// Longest sleep: the system's clock may be set.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);

struct Entry {
    at: u64,
    /// It came after those with lower numbers.
    number: u64,
    queue: Weak<Queue>,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

/// Fewer entries than this are not looked through.
const FEW: usize = 1024;

#[derive(Default)]
struct State {
    entries: BinaryHeap<Reverse<Entry>>,
    /// Number of entries that were left when they were last looked through.
    useful: usize,
    /// Number of the next entry.
    next: u64,
    closing: bool,
}

impl State {
    fn add(&mut self, at: u64, queue: Weak<Queue>) {
        self.entries.push(Reverse(Entry { at, number: self.next, queue }));
        self.next += 1;
        if self.entries.len() > FEW.max(2 * self.useful) {
            self.throw_out();
        }
    }

    /// Keeps the last entry of each queue that is there.
    fn throw_out(&mut self) {
        let mut entries = std::mem::take(&mut self.entries).into_vec();
        entries.retain(|Reverse(entry)| entry.queue.strong_count() > 0);
        let mut last = HashMap::with_capacity(entries.len());
        for Reverse(entry) in &entries {
            let number: &mut u64 = last.entry(entry.queue.as_ptr()).or_default();
            *number = entry.number.max(*number);
        }
        entries.retain(|Reverse(entry)| last.get(&entry.queue.as_ptr()) == Some(&entry.number));
        self.useful = entries.len();
        self.entries = entries.into();
    }
}

/// Wakes queues.
pub struct Timekeeper {
    clock: Arc<Clock>,
    state: Mutex<State>,
    bell: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Timekeeper {
    /// One that wakes nobody.
    pub fn asleep(clock: Arc<Clock>) -> Arc<Self> {
        let (state, bell, thread) = (Mutex::default(), Condvar::new(), Mutex::new(None));
        Arc::new(Self { clock, state, bell, thread })
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has none to give.
    pub fn start(clock: Arc<Clock>) -> std::io::Result<Arc<Self>> {
        let keeper = Self::asleep(clock);
        let me = Arc::downgrade(&keeper);
        let thread = std::thread::Builder::new().name("timekeeper".into()).spawn(move || run(&me))?;
        *keeper.thread.lock() = Some(thread);
        Ok(keeper)
    }

    /// Has [`Queue::tick`] called at that time, in milliseconds since 1970, or a little later. Earlier calls for the same
    /// queue whose time has not come count no more.
    pub fn wake(&self, at: u64, queue: Weak<Queue>) {
        let mut state = self.state.lock();
        let is_first = state.entries.peek().is_none_or(|Reverse(first)| at < first.at);
        state.add(at, queue);
        drop(state);
        if is_first {
            self.bell.notify_one();
        }
    }

    /// Looks at the clock again, which has been moved.
    pub fn look(&self) {
        self.bell.notify_one();
    }

    /// Ends the thread; no queue is called any more when this returns.
    pub fn close(&self) {
        self.state.lock().closing = true;
        self.bell.notify_one();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != std::thread::current().id())
            && thread.join().is_err()
        {
            tracing::error!(target: "leveret::queue", "the timekeeper's thread has panicked");
        }
    }

    /// Waits for the next entry that is due; `None` when there was none for a while.
    fn next(&self) -> Option<Entry> {
        let mut state = self.state.lock();
        let now = self.clock.now_ms();
        let wait = match state.entries.peek() {
            Some(Reverse(first)) if first.at <= now => return state.entries.pop().map(|Reverse(entry)| entry),
            Some(Reverse(first)) => Duration::from_millis(first.at - now).min(LONGEST_SLEEP),
            None => LONGEST_SLEEP,
        };
        if !state.closing {
            self.bell.wait_for(&mut state, wait);
        }
        None
    }

    fn is_closing(&self) -> bool {
        self.state.lock().closing
    }
}

fn run(keeper: &Weak<Timekeeper>) {
    while let Some(keeper) = keeper.upgrade() {
        if keeper.is_closing() {
            return;
        }
        if let Some(Entry { at, queue, .. }) = keeper.next()
            && let Some(queue) = queue.upgrade()
        {
            queue.tick(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::local::{QueueSpec, Shared};
    use super::super::settings::Settings;
    use super::*;
    use crate::message::memory::MemoryAccount;
    use crate::message::{Incoming, Message, Traits};
    use crate::queue::Wakes;

    fn queue(id: u64) -> Arc<Queue> {
        Queue::new(id, QueueSpec::default(), &Arc::new(Settings::default()), Shared::alone(None), None)
    }

    /// The times at which that queue is woken, in order.
    fn times(keeper: &Timekeeper, queue: &Arc<Queue>) -> Vec<u64> {
        let state = keeper.state.lock();
        let of_queue = state.entries.iter().filter(|Reverse(e)| e.queue.as_ptr() == Arc::as_ptr(queue));
        let mut times: Vec<_> = of_queue.map(|Reverse(entry)| entry.at).collect();
        times.sort_unstable();
        times
    }

    #[test]
    fn a_queue_pays_no_heed_to_times_that_do_not_count_any_more() {
        let shared = Shared::alone(None);
        let queue = Queue::new(1, QueueSpec::default(), &Arc::new(Settings::default()), Arc::clone(&shared), None);
        let now = 1_000_000;
        shared.clock.set(now);
        let publish = |due: u64| {
            let traits = Traits { due: std::num::NonZeroU64::new(due), ..Traits::default() };
            let message = Message::from_parts(&[0, 0], &[0, 0], Vec::new(), traits, MemoryAccount::new(u64::MAX));
            let landed = queue.publish([Incoming::Held(message)].iter_mut(), &mut Wakes::default());
            assert!(landed.unwrap().refused.is_empty());
        };
        let due: Vec<u64> = (1..=100).rev().map(|n| now + n * 100).collect();
        due.iter().for_each(|due| publish(*due));
        let mut expected: Vec<u64> = due.iter().copied().rev().collect();
        assert_eq!(times(&shared.timekeeper, &queue), expected);
        shared.clock.set(now + 250);
        queue.tick(now + 300);
        assert_eq!((times(&shared.timekeeper, &queue), queue.counts().ready), (expected.clone(), 100));
        // The one that counts brings the next one, and no other does.
        queue.tick(now + 100);
        assert_eq!(queue.counts().ready, 98);
        due.iter().filter(|due| **due > now + 300).for_each(|due| queue.tick(*due));
        expected.push(now + 300);
        expected.sort_unstable();
        assert_eq!(times(&shared.timekeeper, &queue), expected);
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nobody_waiting() {
        let shared = Shared::alone(None);
        let spec = QueueSpec::default();
        let settings = Arc::new(Settings { message_ttl: Some(1000), ..Settings::default() });
        let queue = Queue::new(1, spec, &settings, Arc::clone(&shared), None);
        let publish = || {
            let traits = Traits { at: shared.clock.now_ms(), ..Traits::default() };
            let message = Message::from_parts(&[0, 0], &[0, 0], Vec::new(), traits, MemoryAccount::new(u64::MAX));
            queue.publish([Incoming::Held(message)].iter_mut(), &mut Wakes::default()).unwrap();
        };
        shared.clock.set(5_000_000);
        publish();
        shared.clock.set(5_001_000);
        queue.tick(5_001_000);
        assert_eq!(queue.counts().ready, 0);
        shared.clock.set(1_000_000);
        publish();
        assert_eq!(times(&shared.timekeeper, &queue).first(), Some(&1_001_000));
    }

    #[test]
    fn queues_that_are_gone_leave_nothing_behind() {
        let keeper = Timekeeper::asleep(Arc::new(Clock::system()));
        let stays = queue(0);
        keeper.wake(7, Arc::downgrade(&stays));
        for id in 1..=20_000 {
            keeper.wake(u64::MAX - id, Arc::downgrade(&queue(id)));
        }
        assert!(keeper.state.lock().entries.len() <= FEW);
        assert_eq!(times(&keeper, &stays), [7]);
    }

    #[test]
    fn of_a_queue_that_comes_again_and_again_the_last_time_counts() {
        let keeper = Timekeeper::asleep(Arc::new(Clock::system()));
        let queues: Vec<_> = (0..600).map(queue).collect();
        for at in (1..=10_000).rev() {
            keeper.wake(at, Arc::downgrade(&queues[0]));
        }
        for (id, queue) in (0..).zip(&queues).skip(1) {
            keeper.wake(200_000 + id, Arc::downgrade(queue));
            keeper.wake(100_000 + id, Arc::downgrade(queue));
        }
        assert!(keeper.state.lock().entries.len() <= 2 * FEW);
        keeper.wake(300_000, Arc::downgrade(&queues[1]));
        keeper.state.lock().throw_out();
        assert_eq!((times(&keeper, &queues[0]), times(&keeper, &queues[1])), (vec![1], vec![300_000]));
        for (id, queue) in (0..).zip(&queues).skip(2) {
            assert_eq!(times(&keeper, queue), [100_000 + id], "queue {id}");
        }
    }
}
