//! Threads that bring cold messages back, and deliver what a written horizon allows: work for which neither the journal's
//! writer nor a connection's task has time. A queue has at most one request of each kind waiting.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

use crate::persist::resident::Resident;

/// Threads that read: one that waits for a slow disk does not keep the others' messages away.
const THREADS: usize = 2;
/// How long to wait before a failed read is tried again.
const RETRY: Duration = Duration::from_millis(200);

enum Job {
    Load(Weak<dyn Resident>),
    LoadLater(Weak<dyn Resident>),
    Horizon(Weak<dyn Resident>),
    End,
}

/// The way to the readers.
pub struct Readers {
    jobs: Sender<Job>,
    /// Nothing of this waits for a disk.
    calls: Sender<Job>,
    closing: AtomicBool,
}

impl Readers {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system has none to give.
    pub fn start() -> std::io::Result<(Self, Vec<JoinHandle<()>>)> {
        let (jobs, loads) = channel();
        let (calls, horizons) = channel();
        let (loads, horizons) = (Arc::new(Mutex::new(loads)), Arc::new(Mutex::new(horizons)));
        let threads = (0..=THREADS).map(|n| {
            let receiver = Arc::clone(if n < THREADS { &loads } else { &horizons });
            std::thread::Builder::new().name("reader".into()).spawn(move || work(&receiver))
        });
        let threads = threads.collect::<Result<_, _>>()?;
        Ok((Self { jobs, calls, closing: AtomicBool::new(false) }, threads))
    }

    pub fn load(&self, queue: Weak<dyn Resident>) {
        self.send(&self.jobs, Job::Load(queue));
    }

    pub fn load_later(&self, queue: Weak<dyn Resident>) {
        self.send(&self.jobs, Job::LoadLater(queue));
    }

    pub fn call(&self, queue: Weak<dyn Resident>) {
        self.send(&self.calls, Job::Horizon(queue));
    }

    fn send(&self, to: &Sender<Job>, job: Job) {
        if !self.closing.load(Ordering::Relaxed) {
            // The threads have ended when there is no receiver; nobody misses their work then.
            let _ = to.send(job);
        }
    }

    /// Has the threads end after what they have begun.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
        for _ in 0..THREADS {
            let _ = self.jobs.send(Job::End);
        }
        let _ = self.calls.send(Job::End);
    }
}

fn work(receiver: &Mutex<Receiver<Job>>) {
    loop {
        let job = receiver.lock().recv();
        match job {
            Ok(Job::Load(queue)) => {
                if let Some(queue) = queue.upgrade() {
                    queue.load();
                }
            }
            Ok(Job::LoadLater(queue)) => {
                std::thread::sleep(RETRY);
                if let Some(queue) = queue.upgrade() {
                    queue.load();
                }
            }
            Ok(Job::Horizon(queue)) => {
                if let Some(queue) = queue.upgrade() {
                    queue.horizon_is_written();
                }
            }
            Ok(Job::End) | Err(_) => return,
        }
    }
}
