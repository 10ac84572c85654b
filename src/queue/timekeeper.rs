//! The thread that tells queues when their time has come.
//!
//! Every queue knows itself what is due in it and when ([`super::engine::Engine::next_tick`]); here stands only the next
//! time of each, so that a million messages with a time cost one entry. A queue that moves its time forward is entered
//! again; the entry that has become wrong wakes it once in vain.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
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

#[derive(Default)]
struct State {
    entries: BinaryHeap<Reverse<Entry>>,
    closing: bool,
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

    /// Has [`Queue::tick`] called at that time, in milliseconds since 1970, or a little later.
    pub fn wake(&self, at: u64, queue: Weak<Queue>) {
        let mut state = self.state.lock();
        let is_first = state.entries.peek().is_none_or(|Reverse(first)| at < first.at);
        state.entries.push(Reverse(Entry { at, queue }));
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
    fn next(&self) -> Option<Weak<Queue>> {
        let mut state = self.state.lock();
        let now = self.clock.now_ms();
        let wait = match state.entries.peek() {
            Some(Reverse(first)) if first.at <= now => return state.entries.pop().map(|Reverse(entry)| entry.queue),
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
        if let Some(queue) = keeper.next().and_then(|queue| queue.upgrade()) {
            queue.tick();
        }
    }
}
