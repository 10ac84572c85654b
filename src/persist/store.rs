//! The message store of a node: what queues use to survive, and to have a backlog larger than memory.
//!
//! [`Store::open`] recovers what is on disk and gives out the state of every queue. From then on queues append to the
//! [`Journal`], the [`keeper`] (one thread) moves what stays long from the journal to the queues' segments and takes care
//! of space, and [`readers`] bring cold messages back. The store knows queues only as [`Resident`]s.
//!
//! ```text
//! <data_dir>/store/journal/    the journal's files, and how far they are synced
//! <data_dir>/store/manifest/   what is in segments
//! <data_dir>/store/queues/     a directory of segments for each queue
//! <data_dir>/store/transient/  the same for messages that do not survive; emptied at start
//! <data_dir>/store/seen        what queues and exchanges with deduplication have seen
//! <data_dir>/store/ballast     room that is given up when the disk is full, so that it can be emptied
//! ```

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::disk::{Disk, Space, advice};
use super::journal::replay::{ScanError, scan};
use super::journal::writer::Writer;
use super::journal::{Journal, Settings as JournalSettings, SyncMode, files};
use super::manifest::{self, CheckpointError, Manifest, ManifestError};
use super::recovery::{Found, FoundQueue, Recovery};
use super::resident::Resident;
use super::shelf::Shelf;
use super::signal::Signal;
use super::windows::Windows;
use crate::message::Message;
use crate::message::memory::MemoryAccount;

mod keeper;
mod look;
mod open;
mod readers;
mod reading;
mod segment_writer;

pub use look::{give_up_ballast, look, missing};
pub use open::{load_manifest, recover};
use readers::Readers;
pub use reading::Reading;

/// Where and how the store keeps things.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The store's directory.
    pub dir: PathBuf,
    pub mode: SyncMode,
    pub journal_file: u64,
    pub journal_keep: usize,
    pub segment: u64,
    /// Bytes of disk at which publishers wait.
    pub disk_limit: u64,
    /// Share of the memory watermark at which backlogs leave memory.
    pub paging_ratio: f64,
    /// How often segments are looked at for rewriting.
    pub look_at_segments: Duration,
}

/// How often segments are looked at, unless somebody is in a hurry.
pub const LOOK_AT_SEGMENTS: Duration = Duration::from_secs(1);

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{path} cannot be used: {error}{advice}", path = .path.display(), advice = advice(.error))]
    Io { path: PathBuf, error: io::Error },
    #[error(
        "{path} is missing or holds nothing, though declared queues ({queues}) keep their messages there: mount or put \
         back what belongs there, or have `leveret store accept-loss` begin without those messages",
        path = .path.display()
    )]
    Missing { path: PathBuf, queues: usize },
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Journal(#[from] ScanError),
    #[error("the store's threads cannot be started: {0}")]
    Thread(io::Error),
}

/// The message store of a node.
pub struct Store {
    pub journal: Arc<Journal>,
    /// What queues and exchanges with deduplication have seen.
    pub windows: Windows,
    pub reading: Reading,
    disk: Arc<dyn Disk>,
    settings: Settings,
    id: u64,
    memory: &'static MemoryAccount,
    residents: DashMap<u64, std::sync::Weak<dyn Resident>>,
    /// Queues that have, or had, segments.
    shelves: Mutex<HashSet<u64>>,
    readers: Readers,
    manifest: Mutex<Manifest>,
    bell: Arc<Signal>,
    /// Queues whose state the manifest should have soon.
    changed: Mutex<Vec<u64>>,
    /// Files that nobody needs, once the manifest has been written again.
    ungone: Mutex<Vec<PathBuf>>,
    /// Deleted queues, and their directories.
    forgotten: Mutex<Vec<(u64, bool, Option<PathBuf>)>>,
    /// Why publishers have to wait for the disk, if they have to.
    disk_alarm: AtomicBool,
    /// An operator makes publishers wait, whatever room there is.
    disk_alarm_by_hand: AtomicBool,
    trouble: Mutex<Option<String>>,
    disk_limit: AtomicU64,
    /// Share of the memory watermark at which backlogs leave memory, in thousandths.
    paging: AtomicU64,
    closing: AtomicBool,
    /// All queues have said what has been delivered: what the keeper writes now is the last word.
    at_rest: AtomicBool,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What was found on disk at start.
pub struct Opened {
    pub store: Arc<Store>,
    pub queues: HashMap<u64, FoundQueue>,
    /// What may have been lost of queues that were not found.
    pub of_any: Option<Arc<str>>,
}

impl Store {
    pub fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    pub fn memory(&self) -> &'static MemoryAccount {
        self.memory
    }

    pub fn segment_size(&self) -> u64 {
        self.settings.segment
    }

    fn queues_dir(&self) -> PathBuf {
        self.settings.dir.join("queues")
    }

    fn transient_dir(&self) -> PathBuf {
        self.settings.dir.join("transient")
    }

    /// The shelf of a new queue that survives.
    pub fn new_shelf(&self, queue: u64) -> Shelf {
        Shelf::new(&self.queues_dir(), self.id, queue)
    }

    /// The shelf of a queue that does not survive.
    pub fn new_transient_shelf(&self, queue: u64) -> Shelf {
        Shelf::new(&self.transient_dir(), self.id, queue)
    }

    /// Lets the keeper find a queue.
    pub fn register(&self, id: u64, queue: std::sync::Weak<dyn Resident>) {
        self.residents.insert(id, queue);
    }

    fn note_shelf(&self, id: u64) {
        self.shelves.lock().insert(id);
    }

    fn resident(&self, id: u64) -> Option<Arc<dyn Resident>> {
        self.residents.get(&id).and_then(|weak| weak.upgrade())
    }

    /// A queue has been deleted: its state and its files go.
    pub fn forget(&self, id: u64, durable: bool, dir: Option<PathBuf>) {
        self.residents.remove(&id);
        self.forgotten.lock().push((id, durable, dir));
        self.bell.ring();
    }

    /// The manifest should have the state of this queue soon.
    pub fn note_changed(&self, id: u64) {
        self.changed.lock().push(id);
        self.bell.ring();
    }

    /// Has a reader call [`Resident::load`].
    pub fn load_soon(&self, queue: std::sync::Weak<dyn Resident>) {
        self.readers.load(queue);
    }

    /// The same, after a while.
    pub fn load_later(&self, queue: std::sync::Weak<dyn Resident>) {
        self.readers.load_later(queue);
    }

    /// Has a reader call [`Resident::horizon_is_written`].
    pub fn call_soon(&self, queue: std::sync::Weak<dyn Resident>) {
        self.readers.call(queue);
    }

    /// Takes messages that were settled out of the journal where they have not been written; gives back the positions of
    /// the others.
    pub fn take_back(&self, settled: Vec<(u64, Message)>) -> Vec<u64> {
        let (mut written, mut unwritten) = (Vec::with_capacity(settled.len()), Vec::new());
        for (position, message) in &settled {
            match message.ticket() {
                Some(ticket) if self.journal.is_gathering(ticket) && message.release_holder() => {
                    unwritten.push((*position, ticket));
                }
                _ => written.push(*position),
            }
        }
        if !unwritten.is_empty() {
            let too_late = self.journal.void(unwritten.iter().map(|(_, ticket)| *ticket));
            written.extend(too_late.into_iter().filter_map(|i| unwritten.get(i)).map(|(position, _)| *position));
        }
        written
    }

    /// True while publishers have to wait for the disk.
    pub fn disk_alarm(&self) -> bool {
        self.disk_alarm.load(Ordering::Relaxed) || self.is_alarm_by_hand()
    }

    /// Makes publishers wait, whatever room there is, or ends that.
    pub fn set_alarm_by_hand(&self, on: bool) {
        self.disk_alarm_by_hand.store(on, Ordering::Relaxed);
    }

    /// Whether an operator makes publishers wait.
    pub fn is_alarm_by_hand(&self) -> bool {
        self.disk_alarm_by_hand.load(Ordering::Relaxed)
    }

    /// What is wrong with the disk at the moment.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone().or_else(|| self.journal.trouble())
    }

    /// Tells of the failure after which the node must stop.
    pub fn failure(&self) -> watch::Receiver<Option<String>> {
        self.journal.failure()
    }

    /// Room on the disk.
    ///
    /// # Errors
    /// As the system says.
    pub fn space(&self) -> io::Result<Space> {
        self.disk.space(&self.settings.dir)
    }

    /// Bytes of disk at which publishers wait.
    pub fn disk_limit(&self) -> u64 {
        self.disk_limit.load(Ordering::Relaxed)
    }

    /// Changes that limit. It counts when this returns.
    pub fn set_disk_limit(&self, bytes: u64) {
        self.disk_limit.store(bytes, Ordering::Relaxed);
        if let Ok(space) = self.space() {
            self.judge_disk(space);
        }
        self.bell.ring();
    }

    /// Share of the memory watermark at which backlogs leave memory.
    pub fn paging_ratio(&self) -> f64 {
        self.paging.load(Ordering::Relaxed) as f64 / 1000.0
    }

    /// Changes that share.
    pub fn set_paging_ratio(&self, ratio: f64) {
        self.paging.store((ratio * 1000.0) as u64, Ordering::Relaxed);
        self.bell.ring();
    }

    /// Writes what is in memory and in the journal, and ends all threads. Called once, when nobody uses it any more.
    pub fn close(&self) {
        if self.end() {
            self.save_windows_at_end();
        }
    }

    /// True when it has not been called before.
    fn end(&self) -> bool {
        if self.closing.swap(true, Ordering::AcqRel) {
            return false;
        }
        self.readers.close();
        let mut items = Vec::new();
        let residents: Vec<_> = self.residents.iter().filter_map(|e| Some((*e.key(), e.value().upgrade()?))).collect();
        for (_, queue) in &residents {
            queue.rest(&mut items);
        }
        if !items.is_empty() {
            self.journal.append(&items, None);
        }
        self.journal.close();
        self.at_rest.store(true, Ordering::Release);
        self.bell.ring();
        let threads = std::mem::take(&mut *self.threads.lock());
        let me = std::thread::current().id();
        for thread in threads.into_iter().filter(|thread| thread.thread().id() != me) {
            if thread.join().is_err() {
                tracing::error!(target: "leveret::store", "a thread of the store has panicked");
            }
        }
        true
    }

    fn is_at_rest(&self) -> bool {
        self.at_rest.load(Ordering::Acquire)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Those who remember have gone before: the journal has to say what they have seen.
        self.end();
    }
}

/// How long the keeper sleeps when nothing rings.
const KEEPER_TICK: Duration = Duration::from_millis(50);

/// Directories of queues that nobody knows any more.
fn orphans(disk: &dyn Disk, dir: &Path, known: impl Fn(u64) -> bool) -> Vec<PathBuf> {
    let names = disk.list(dir).unwrap_or_default();
    let unknown = names.into_iter().filter(|n| u64::from_str_radix(n, 16).is_ok_and(|id| !known(id)));
    unknown.map(|name| dir.join(name)).collect()
}

fn checkpoint_failed(journal: &Journal, error: CheckpointError) -> io::Error {
    match error {
        CheckpointError::Write(error) => error,
        CheckpointError::Sync(error) => {
            journal.fail(format!("the manifest cannot be synced: {error}"));
            error
        }
    }
}
