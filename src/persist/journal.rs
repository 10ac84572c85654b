//! The journal: one append-only log for all queues of the node, with group commit.
//!
//! Whoever has something to make durable encodes it as [`item`]s and calls [`Journal::append`], which copies the bytes
//! into the commit that is being gathered and says its number. The writer, a thread of its own ([`writer`]), takes
//! whatever has gathered the moment the last commit is done, seals it as one [`block`], writes it, syncs it, and calls
//! everyone who waits for it: one sync serves all queues and connections. [`files`] are written one after the other and
//! used again once nothing that lives is in them any more. [`replay`] reads them when the node starts.
//!
//! A message that is settled before its commit is taken is not written ([`Journal::void`]).

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use crate::message::Ticket;
use crate::stats::Counter;

use self::block::FRONT;
use self::files::Files;
use self::pulse::Pulse;
use super::disk::Disk;
use super::signal::Signal;

pub mod block;
pub mod files;
pub mod item;
pub mod pulse;
pub mod replay;
pub mod writer;

/// Bytes of a gathering commit at which publishers are held until it is taken.
const PENDING_LIMIT: usize = 4 << 20;
/// Bytes at which nothing leaves a queue by itself: dead letters and delayed messages come before what publishers bring.
const CROWDED: usize = 2 * PENDING_LIMIT;
/// Bytes at which clients are not read at all, acks included: the disk has been stuck for long.
const STUFFED: usize = 16 * PENDING_LIMIT;

/// When a commit counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncMode {
    /// After `fdatasync`: it survives a power cut.
    Fsync,
    /// After the write; the disk is synced this often. A power cut loses at most that much time.
    Interval(Duration),
    /// After the write; the system decides when the disk is written. It survives the process, not a power cut.
    Os,
}

/// Where and how a journal is kept.
#[derive(Clone, Debug)]
pub struct Settings {
    pub dir: PathBuf,
    /// The store's number.
    pub store: u64,
    /// Bytes of a file.
    pub file_size: u64,
    /// Full files that are left alone: what is in them is mostly consumed before they have to be emptied.
    pub keep: usize,
    pub mode: SyncMode,
    /// Rung when a file is full.
    pub keeper: Arc<Signal>,
}

/// Upper bounds of [`Latency`]'s classes, in microseconds; the last class has none.
pub const LATENCY_BOUNDS: [u64; 10] = [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000];

/// How long commits took, from when they were taken until they were done. The writer writes it.
#[derive(Debug, Default)]
pub struct Latency {
    classes: [Counter; LATENCY_BOUNDS.len() + 1],
    micros: Counter,
    syncs: Counter,
    pub bytes: Counter,
}

impl Latency {
    fn note(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let class = LATENCY_BOUNDS.iter().position(|bound| micros <= *bound).unwrap_or(LATENCY_BOUNDS.len());
        if let Some(class) = self.classes.get(class) {
            class.add(1);
        }
        self.micros.add(micros);
    }

    /// Commits by class, and the time of all in seconds.
    pub fn classes(&self) -> ([u64; LATENCY_BOUNDS.len() + 1], f64) {
        (self.classes.each_ref().map(Counter::get), self.micros.get() as f64 / 1e6)
    }

    /// How often a file was synced.
    pub fn syncs(&self) -> u64 {
        self.syncs.get()
    }
}

/// Somebody who waits for a commit, or for room.
pub trait Waiter: Send + Sync {
    /// Called without locks; must be quick.
    fn wake(&self);

    /// As [`Waiter::wake`], when everything up to this commit is done and nobody else has waited for it: the writer has the
    /// time for what would otherwise be left to a task.
    fn wake_alone(&self, _committed: u64) {
        self.wake();
    }
}

/// The commit that is being gathered.
struct Pending {
    bytes: Vec<u8>,
    waiters: Vec<Arc<dyn Waiter>>,
    closing: bool,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.bytes.len() <= FRONT
    }
}

/// The journal of a node.
pub struct Journal {
    disk: Arc<dyn Disk>,
    settings: Settings,
    pending: Mutex<Pending>,
    work: Condvar,
    /// Number of the commit that is being gathered.
    gathering: AtomicU64,
    committed: AtomicU64,
    /// Number of the last block that has been synced.
    synced: AtomicU64,
    files: Files,
    /// Those whose publishes wait for room.
    held: Mutex<Vec<Arc<dyn Waiter>>>,
    congested: AtomicBool,
    crowded: AtomicBool,
    stuffed: AtomicBool,
    /// Why writing does not get on at the moment; publishers are blocked meanwhile.
    trouble: Mutex<Option<String>>,
    failed: AtomicBool,
    /// Why the journal has ended for good.
    failure: watch::Sender<Option<String>>,
    pub latency: Latency,
    pulse: Pulse,
}

impl Journal {
    pub fn new(disk: Arc<dyn Disk>, settings: Settings, files: Files) -> Self {
        let pending = Pending { bytes: vec![0; FRONT], waiters: Vec::new(), closing: false };
        Self {
            disk,
            settings,
            pending: Mutex::new(pending),
            work: Condvar::new(),
            gathering: AtomicU64::new(1),
            committed: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            files,
            held: Mutex::new(Vec::new()),
            congested: AtomicBool::new(false),
            crowded: AtomicBool::new(false),
            stuffed: AtomicBool::new(false),
            trouble: Mutex::new(None),
            failed: AtomicBool::new(false),
            failure: watch::Sender::new(None),
            latency: Latency::default(),
            pulse: Pulse::default(),
        }
    }

    /// Adds items to the commit that is being gathered; says where the first one stands. `waiter` is woken when the
    /// commit is done.
    pub fn append(&self, items: &[u8], waiter: Option<&Arc<dyn Waiter>>) -> Ticket {
        let mut pending = self.pending.lock();
        let was_empty = pending.is_empty();
        if self.failed.load(Ordering::Relaxed) {
            // Nothing will be written; it must not pile up until the process has ended.
            return Ticket::NEVER;
        }
        let offset = u32::try_from(pending.bytes.len()).ok();
        let commit = self.gathering.load(Ordering::Relaxed);
        pending.bytes.extend_from_slice(items);
        if let Some(waiter) = waiter
            && pending.waiters.last().is_none_or(|last| !Arc::ptr_eq(last, waiter))
        {
            pending.waiters.push(Arc::clone(waiter));
        }
        if pending.bytes.len() > PENDING_LIMIT {
            self.congested.store(true, Ordering::Relaxed);
            if pending.bytes.len() > CROWDED {
                self.crowded.store(true, Ordering::Relaxed);
            }
            if pending.bytes.len() > STUFFED {
                self.stuffed.store(true, Ordering::Relaxed);
            }
        }
        drop(pending);
        if was_empty {
            self.work.notify_one();
        }
        Ticket { commit, offset }
    }

    /// Takes messages out of the commit that is being gathered, for which nobody needs them any more. Gives back the
    /// indexes of those that have been written already.
    pub fn void(&self, tickets: impl Iterator<Item = Ticket>) -> Vec<usize> {
        let mut too_late = Vec::new();
        let mut pending = self.pending.lock();
        let gathering = self.gathering.load(Ordering::Relaxed);
        for (index, ticket) in tickets.enumerate() {
            let place = ticket.offset.filter(|_| ticket.commit == gathering).map(|o| o as usize);
            match place.and_then(|at| pending.bytes.get_mut(at)) {
                Some(kind) => *kind = item::VOID,
                None => too_late.push(index),
            }
        }
        too_late
    }

    /// Whether a message with this ticket may still be taken back by [`Journal::void`].
    #[inline]
    pub fn is_gathering(&self, ticket: Ticket) -> bool {
        ticket.commit == self.gathering.load(Ordering::Relaxed)
    }

    /// Number of the commit that is being gathered: nothing of it has been written.
    pub fn gathering(&self) -> u64 {
        self.gathering.load(Ordering::Acquire)
    }

    /// Number of the last commit that is done.
    #[inline]
    pub fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// Whether all that was handed over before `commit` began to be written, or with it, is done.
    pub fn has_done(&self, commit: u64) -> bool {
        if self.committed() >= commit {
            return true;
        }
        let pending = self.pending.lock();
        let is_idle = pending.is_empty() && self.gathering.load(Ordering::Relaxed) == commit;
        is_idle && self.committed() + 1 == commit
    }

    /// Number of the last block that is known to be synced; 0 when none is in this run.
    pub fn synced(&self) -> u64 {
        self.synced.load(Ordering::Acquire)
    }

    /// True, and the waiter will be woken, while publishers must wait for the writer to catch up.
    pub fn hold(&self, waiter: &Arc<dyn Waiter>) -> bool {
        if !self.is_congested() {
            return false;
        }
        let mut held = self.held.lock();
        if !held.iter().any(|h| Arc::ptr_eq(h, waiter)) {
            held.push(Arc::clone(waiter));
        }
        drop(held);
        // It may have got better just before the waiter was noted.
        self.is_congested()
    }

    #[inline]
    pub fn is_congested(&self) -> bool {
        self.congested.load(Ordering::Relaxed)
    }

    /// True while nothing should leave a queue by itself.
    #[inline]
    pub fn is_crowded(&self) -> bool {
        self.crowded.load(Ordering::Relaxed)
    }

    /// True while nothing more should be read from clients.
    #[inline]
    pub fn is_stuffed(&self) -> bool {
        self.stuffed.load(Ordering::Relaxed)
    }

    /// Looks whether there is room again.
    fn relieve(&self) {
        let pending = self.pending.lock().bytes.len();
        self.stuffed.store(pending > STUFFED, Ordering::Relaxed);
        self.crowded.store(pending > CROWDED, Ordering::Relaxed);
        let much =
            self.failed.load(Ordering::Relaxed) || pending > PENDING_LIMIT || self.files.is_behind(self.settings.keep);
        self.congested.store(much, Ordering::Relaxed);
        if !much {
            let held = std::mem::take(&mut *self.held.lock());
            for waiter in held {
                waiter.wake();
            }
        }
    }

    /// Why writing does not get on at the moment.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    /// Tells of the failure after which nothing can be promised any more.
    pub fn failure(&self) -> watch::Receiver<Option<String>> {
        self.failure.subscribe()
    }

    /// Why the writer does not get on any more, when it has been at the same piece of work for longer than this or has ended.
    /// After a failure, or when the journal is closed, it has nothing to get on with.
    pub fn standstill(&self, patience: Duration) -> Option<String> {
        if self.failed.load(Ordering::Relaxed) {
            return None;
        }
        if self.pulse.has_ended() {
            let closing = self.pending.lock().closing;
            return (!closing).then(|| "the journal's writer has ended".to_owned());
        }
        let standstill = self.pulse.standstill(Instant::now());
        let seconds = standstill.as_secs();
        (standstill > patience).then(|| format!("the journal's writer waits for the disk since {seconds} s"))
    }

    pub(super) fn fail(&self, why: String) {
        tracing::error!(target: "leveret::store", "{why}. Nothing is confirmed any more.");
        self.failed.store(true, Ordering::Relaxed);
        self.congested.store(true, Ordering::Relaxed);
        self.failure.send_modify(|failure| {
            failure.get_or_insert(why);
        });
    }

    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Makes spare files until there is one.
    ///
    /// # Errors
    /// When the disk does not give one.
    pub fn provide_spare(&self) -> std::io::Result<()> {
        self.files.provide_spare(&*self.disk, &self.settings)
    }

    /// The oldest full file may be used again.
    pub fn release_oldest(&self) {
        self.files.release_oldest(&*self.disk, &self.settings);
        self.relieve();
    }

    /// Has the writer end once everything is written.
    pub fn close(&self) {
        self.pending.lock().closing = true;
        self.work.notify_one();
        self.files.wake();
    }
}
