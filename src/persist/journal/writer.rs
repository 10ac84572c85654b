//! The writer: takes a gathered commit, seals it, writes it, syncs it, tells those who wait.
//!
//! A commit that nobody waits for (acks, publishes without confirms) is written at once and synced with the next one that
//! somebody waits for, or when it is old ([`UNAWAITED`]) or much has come together ([`UNAWAITED_BYTES`]): consumers' acks cost
//! no syncs of their own, and no publisher waits for the end of one. Until then it does not count as done.
//!
//! A write that fails (no room, a disk that errs) is tried again at the same place until it succeeds or the journal is
//! closed; publishers are blocked meanwhile and nothing is confirmed. A sync that fails ends the journal: the page cache
//! cannot be believed any more.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::block::{BlockId, FRONT, SECTOR, seal};
use super::files::{self, FIRST, Slot};
use super::item::tidy;
use super::{Journal, PENDING_LIMIT, SyncMode, Waiter};
use crate::persist::disk::{DiskFile, Open};
use crate::persist::points;

/// How long to wait before a failed write is tried again.
const RETRY: Duration = Duration::from_millis(100);
/// The longest that a commit for which nobody waits is left unsynced.
const UNAWAITED: Duration = Duration::from_millis(10);
/// Most bytes of such commits that are left unsynced.
const UNAWAITED_BYTES: u64 = 1 << 20;
/// A buffer that has grown beyond this is not kept.
const LARGE_BUFFER: usize = 2 * PENDING_LIMIT;
/// Name of the file that says how far the journal has been synced.
pub const MARKER: &str = "synced";

/// The writer's own state.
pub struct Writer {
    journal: Arc<Journal>,
    current: Option<(Slot, u64)>,
    next_block: u64,
    marker: Box<dyn DiskFile>,
    buffer: Vec<u8>,
    waiters: Vec<Arc<dyn Waiter>>,
    last_sync: Instant,
    /// The last block that has been synced.
    synced: u64,
    /// The last commit that has been written.
    written: u64,
    unsynced: Option<Unsynced>,
    /// The marker does not say yet how far the journal has been synced.
    mark_is_old: bool,
}

/// What has been written and not synced.
struct Unsynced {
    since: Instant,
    bytes: u64,
}

/// Why the writer stops.
enum Stop {
    Closed,
    Failed,
}

impl Writer {
    /// A writer that goes on with this block.
    ///
    /// # Errors
    /// When the marker cannot be opened.
    pub fn new(journal: Arc<Journal>, next_block: u64) -> io::Result<Self> {
        let marker = journal.disk.open(&journal.settings.dir.join(MARKER), Open::Create)?;
        Ok(Self {
            journal,
            current: None,
            next_block,
            marker,
            buffer: vec![0; FRONT],
            waiters: Vec::new(),
            last_sync: Instant::now(),
            synced: next_block.saturating_sub(1),
            written: 0,
            unsynced: None,
            mark_is_old: false,
        })
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has none to give.
    pub fn spawn(self) -> io::Result<thread::JoinHandle<()>> {
        thread::Builder::new().name("journal".into()).spawn(move || self.run())
    }

    fn run(mut self) {
        let journal = Arc::clone(&self.journal);
        let _until_the_end = journal.pulse.until_dropped();
        while let Some(commit) = self.gather() {
            let taken = Instant::now();
            journal.pulse.works(taken);
            match self.commit(commit) {
                Ok(true) => self.journal.latency.note(taken.elapsed()),
                Ok(false) => {}
                Err(Stop::Closed | Stop::Failed) => return,
            }
        }
        if self.unsynced.is_some() && self.check().is_ok() {
            self.sync_all();
        }
    }

    /// Waits for work and takes it. `None` when the journal is closed and everything is written.
    fn gather(&mut self) -> Option<u64> {
        let journal = Arc::clone(&self.journal);
        let mut pending = journal.pending.lock();
        while pending.is_empty() {
            if pending.closing || self.check().is_err() {
                return None;
            }
            journal.pulse.rests();
            match self.time_to_sync() {
                None => journal.work.wait(&mut pending),
                Some(wait) if wait.is_zero() => {
                    journal.pulse.works(Instant::now());
                    parking_lot::MutexGuard::unlocked(&mut pending, || self.sync_now());
                }
                Some(wait) => {
                    journal.work.wait_for(&mut pending, wait);
                }
            }
        }
        std::mem::swap(&mut pending.bytes, &mut self.buffer);
        std::mem::swap(&mut pending.waiters, &mut self.waiters);
        let commit = journal.gathering.fetch_add(1, Ordering::Release);
        drop(pending);
        if journal.is_congested() {
            journal.relieve();
        }
        Some(commit)
    }

    /// How long what has been written may stay unsynced, if it is to be synced without being asked for.
    fn time_to_sync(&self) -> Option<Duration> {
        let unsynced = self.unsynced.as_ref()?;
        match self.journal.settings.mode {
            SyncMode::Fsync => Some(UNAWAITED.saturating_sub(unsynced.since.elapsed())),
            SyncMode::Interval(interval) => Some(interval.saturating_sub(self.last_sync.elapsed())),
            SyncMode::Os => None,
        }
    }

    /// Whether what has been written is to be synced now, before more is taken.
    fn must_sync(&self) -> bool {
        let Some(unsynced) = &self.unsynced else { return false };
        match self.journal.settings.mode {
            SyncMode::Fsync => {
                !self.waiters.is_empty() || unsynced.bytes >= UNAWAITED_BYTES || unsynced.since.elapsed() >= UNAWAITED
            }
            SyncMode::Interval(interval) => self.last_sync.elapsed() >= interval,
            SyncMode::Os => false,
        }
    }

    /// The last sync. Earlier files may not have been synced either, if that is left to the system.
    fn sync_all(&mut self) {
        if self.journal.settings.mode != SyncMode::Os {
            return self.sync_now();
        }
        match self.journal.disk.sync_all(&self.journal.settings.dir) {
            Ok(()) => {
                self.synced_now();
                self.mark();
            }
            Err(error) => self.journal.fail(format!("the journal cannot be synced: {error}")),
        }
    }

    fn synced_now(&mut self) {
        self.unsynced = None;
        self.synced = self.next_block.saturating_sub(1);
        self.journal.synced.store(self.synced, Ordering::Release);
        self.last_sync = Instant::now();
        self.mark_is_old = true;
    }

    /// Syncs what nobody has waited for.
    fn sync_now(&mut self) {
        // A failure has been noted; the next commit finds it.
        if self.sync().is_ok() {
            self.journal.committed.store(self.written, Ordering::Release);
            self.mark();
        }
    }

    /// True when the commit is done; otherwise it is when it has been synced.
    fn commit(&mut self, commit: u64) -> Result<bool, Stop> {
        self.check()?;
        self.write_commit(commit)?;
        if self.must_sync() {
            self.sync()?;
            points::reach("journal-after-sync");
        }
        self.check()?;
        let is_done = self.unsynced.is_none() || self.journal.settings.mode != SyncMode::Fsync;
        if is_done {
            self.journal.committed.store(commit, Ordering::Release);
        }
        self.tell(commit);
        self.mark();
        if self.buffer.capacity() > LARGE_BUFFER {
            self.buffer = Vec::new();
        }
        self.buffer.truncate(FRONT);
        self.buffer.resize(FRONT, 0);
        Ok(is_done)
    }

    fn write_commit(&mut self, commit: u64) -> Result<(), Stop> {
        self.written = commit;
        let directory = tidy(&mut self.buffer, FRONT);
        if directory.is_empty() {
            return Ok(());
        }
        let store = self.journal.settings.store;
        let id = BlockId { number: self.next_block, store, synced: self.synced };
        let range = seal(&mut self.buffer, id, &directory);
        let bytes = range.len() as u64;
        points::reach("journal-before-write");
        self.write(range)?;
        points::reach("journal-after-write");
        self.next_block += 1;
        self.journal.files.note(commit, self.next_block, &directory);
        self.unsynced.get_or_insert_with(|| Unsynced { since: Instant::now(), bytes: 0 }).bytes += bytes;
        self.journal.latency.bytes.add(self.buffer.len() as u64);
        Ok(())
    }

    /// Calls those who have waited for a commit.
    fn tell(&mut self, commit: u64) {
        if let [waiter] = &*self.waiters {
            waiter.wake_alone(commit);
            self.waiters.clear();
        }
        for waiter in self.waiters.drain(..) {
            waiter.wake();
        }
    }

    /// Somebody else may have found that the disk cannot be believed.
    fn check(&self) -> Result<(), Stop> {
        if self.journal.failed.load(Ordering::Relaxed) { Err(Stop::Failed) } else { Ok(()) }
    }

    /// Writes a block to the current file, or to the next one when it does not fit.
    fn write(&mut self, range: std::ops::Range<usize>) -> Result<(), Stop> {
        let length = range.len() as u64;
        if self.current.as_ref().is_none_or(|(slot, at)| at + length > slot.size) {
            self.next_file(length)?;
        }
        let Some((slot, at)) = &mut self.current else { return Err(Stop::Closed) };
        let bytes = self.buffer.get(range).unwrap_or_default();
        let mut failed = false;
        while let Err(error) = slot.file.write_at(bytes, *at) {
            failed = true;
            let path = files::path(&self.journal.settings.dir, slot.number);
            self.journal.in_trouble(format!("{} cannot be written: {error}", path.display()));
            if self.journal.pause_or_closing() {
                return Err(Stop::Closed);
            }
        }
        if failed {
            self.journal.out_of_trouble();
        }
        *at += length;
        Ok(())
    }

    fn next_file(&mut self, length: u64) -> Result<(), Stop> {
        let size = (length + FIRST).next_multiple_of(SECTOR as u64);
        if self.unsynced.is_some() && self.journal.settings.mode != SyncMode::Os {
            // The syncs to come are of the next file.
            self.sync()?;
        }
        let slot = if size > self.journal.settings.file_size {
            self.made_to_measure(size)?
        } else {
            let journal = &self.journal;
            let wait = || {
                journal.pulse.rests();
                tracing::debug!(target: "leveret::store", "the journal waits for a file");
            };
            let next = journal.files.next(self.next_block, wait);
            journal.pulse.works(Instant::now());
            match next {
                Some(next) => {
                    journal.on_full();
                    next
                }
                // Nobody makes spare files any more, and what has gathered is to be written before the end.
                None => self.made_to_measure(journal.settings.file_size)?,
            }
        };
        self.current = Some((slot, FIRST));
        Ok(())
    }

    fn made_to_measure(&self, size: u64) -> Result<Slot, Stop> {
        let journal = &self.journal;
        let mut failed = false;
        loop {
            match files::create(&*journal.disk, &journal.settings, journal.files.new_number(), size) {
                Ok(slot) => {
                    if failed {
                        journal.out_of_trouble();
                    }
                    journal.files.take(slot.clone(), self.next_block);
                    journal.on_full();
                    return Ok(slot);
                }
                Err(error) => {
                    failed = true;
                    journal.in_trouble(format!("a journal file of {size} bytes cannot be made: {error}"));
                    if journal.pause_or_closing() {
                        return Err(Stop::Closed);
                    }
                }
            }
        }
    }

    fn sync(&mut self) -> Result<(), Stop> {
        let Some((slot, _)) = &self.current else { return Ok(()) };
        if let Err(error) = slot.file.sync_data() {
            let path = files::path(&self.journal.settings.dir, slot.number);
            self.journal.fail(format!("{} cannot be synced: {error}", path.display()));
            return Err(Stop::Failed);
        }
        self.journal.latency.syncs.add(1);
        self.synced_now();
        Ok(())
    }

    /// Notes how far the journal has been synced, so that damage to its end is not taken for a torn write. The note itself
    /// is not synced: when it is lost, only that distinction is.
    fn mark(&mut self) {
        if !std::mem::take(&mut self.mark_is_old) {
            return;
        }
        let bytes = super::replay::encode_marker(self.journal.settings.store, self.synced);
        let place = if self.synced.is_multiple_of(2) { 0 } else { SECTOR as u64 };
        if let Err(error) = self.marker.write_at(&bytes, place) {
            tracing::debug!(target: "leveret::store", "the journal's marker cannot be written: {error}");
        }
    }
}

impl Journal {
    fn in_trouble(&self, why: String) {
        let mut trouble = self.trouble.lock();
        if trouble.as_ref() != Some(&why) {
            tracing::error!(target: "leveret::store", "{why}. Publishers wait; it is tried again.");
        }
        *trouble = Some(why);
    }

    fn out_of_trouble(&self) {
        if self.trouble.lock().take().is_some() {
            tracing::info!(target: "leveret::store", "the journal can be written again");
        }
    }

    /// Waits before the next try; true when the journal is to be closed.
    fn pause_or_closing(&self) -> bool {
        let mut pending = self.pending.lock();
        if !pending.closing {
            self.work.wait_for(&mut pending, RETRY);
        }
        self.pulse.works(Instant::now());
        pending.closing
    }

    /// A file has become full: somebody may have to be held.
    fn on_full(&self) {
        if self.files.is_behind(self.settings.keep) {
            self.congested.store(true, Ordering::Relaxed);
        }
        self.settings.keeper.ring();
    }
}
