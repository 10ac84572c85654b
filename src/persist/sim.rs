//! A simulated disk for tests: a file system in memory that loses what was not synced, fails, stalls and decays.
//!
//! Two images are kept apart. The *live* one is what a process sees. The *durable* one is what is certain to survive a
//! cut of power: [`DiskFile::sync_data`] brings a file's writes and length into it, [`Disk::sync_dir`] the names that were
//! made, renamed or removed in a directory, [`Disk::sync_all`] everything. Nothing else does: a new file that was synced,
//! but whose directory was not, may be gone.
//!
//! - [`SimDisk::power_cut`] hands back the disk as it may be found afterwards: the durable image, and any part of what was
//!   not synced. Each sector of 512 bytes has its old content or that of any later write; lengths, names and renames are
//!   old or new, each as a whole.
//! - [`SimDisk::kill`] is the end of the process only: the live image stays, and what was not synced still is not.
//! - After either, the old disk and the files open on it answer `EIO`, so that threads of the old process do no harm.
//! - [`SimDisk::inject`], [`SimDisk::stall`], [`SimDisk::set_capacity`], [`SimDisk::die_after`] and
//!   [`SimDisk::flip_bit`] are what goes wrong with disks.
//!
//! A sync that fails loses what it should have saved, or a part of it, for good: later reads still show it, and a later
//! sync that succeeds does not bring it back. That is how Linux behaves.
//!
//! The same seeds and calls give the same outcome.

mod content;
mod faults;
mod images;
mod names;
mod random;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, MappedMutexGuard, Mutex, MutexGuard};
use rustix::io::Errno;

use super::disk::{Disk, DiskFile, Open, Space};
use content::Content;
pub use faults::{Counters, Fault, Kind};
use faults::{Faults, Stall};
use images::{BLOCK, Images, Number};
pub use random::Random;

/// Shared by all its clones.
#[derive(Clone)]
pub struct SimDisk(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// A stall began or ended, or the disk died.
    changed: Condvar,
}

struct State {
    images: Images,
    faults: Faults,
    capacity: u64,
    torn_sectors: bool,
    /// Decides what is left after calls that fail.
    random: Random,
}

/// What a disk holds if nobody says otherwise.
const CAPACITY: u64 = 1 << 40;

impl SimDisk {
    /// An empty disk.
    pub fn new(seed: u64) -> Self {
        let random = Random::new(seed);
        Self::of(State {
            images: Images::default(),
            faults: Faults::default(),
            capacity: CAPACITY,
            torn_sectors: false,
            random,
        })
    }

    fn of(state: State) -> Self {
        Self(Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() }))
    }

    /// Cuts the power. Returns the disk as the next process finds it; the seed decides which of the possible ways.
    #[must_use]
    pub fn power_cut(&self, seed: u64) -> Self {
        let mut next = self.take();
        next.images.cut(&mut Random::new(seed), next.torn_sectors);
        Self::of(next)
    }

    /// Kills the process that uses the disk. Returns the disk as the next process finds it.
    #[must_use]
    pub fn kill(&self) -> Self {
        let mut next = self.take();
        next.images.close_all();
        Self::of(next)
    }

    /// A disk of its own with the same content, synced and not, and without faults. This one goes on.
    #[must_use]
    pub fn copy(&self) -> Self {
        let mut state = self.0.state.lock();
        let mut images = state.images.clone();
        images.close_all();
        let random = Random::new(state.random.next());
        Self::of(State { images, faults: Faults::default(), random, ..*state })
    }

    /// What the disk holds goes to the next one; this one is dead.
    fn take(&self) -> State {
        let mut state = self.0.state.lock();
        state.faults.dead = true;
        self.0.changed.notify_all();
        let images = std::mem::take(&mut state.images);
        let random = Random::new(state.random.next());
        State { images, faults: Faults::default(), random, ..*state }
    }

    /// Lets calls fail.
    pub fn inject(&self, fault: Fault) {
        self.0.state.lock().faults.injected.push(fault);
    }

    /// Takes back all faults that were injected.
    pub fn heal(&self) {
        self.0.state.lock().faults.injected.clear();
    }

    /// After so many more calls that change or sync something, every call fails with `EIO` and changes nothing. What was
    /// there before is then to be had by [`Self::power_cut`] or [`Self::kill`].
    pub fn die_after(&self, calls: u64) {
        let mut state = self.0.state.lock();
        state.faults.dies_at = Some(state.faults.changes.saturating_add(calls));
    }

    /// How many calls have changed or synced something so far.
    pub fn changes(&self) -> u64 {
        self.0.state.lock().faults.changes
    }

    /// Calls of these kinds below a path block, before they do anything, until [`Self::release`].
    pub fn stall(&self, kinds: &[Kind], under: impl AsRef<Path>) {
        let stall = Stall { kinds: kinds.to_vec(), under: under.as_ref().to_owned() };
        self.0.state.lock().faults.stalls.push(stall);
    }

    /// Ends all stalls.
    pub fn release(&self) {
        self.0.state.lock().faults.stalls.clear();
        self.0.changed.notify_all();
    }

    /// Waits until a call is blocked by a stall; false when that does not happen in time.
    #[must_use]
    pub fn wait_for_stalled(&self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        let mut state = self.0.state.lock();
        while state.faults.stalled == 0 {
            if self.0.changed.wait_until(&mut state, end).timed_out() {
                return state.faults.stalled > 0;
            }
        }
        true
    }

    /// The size of the disk. Bytes that lie within a file's length take no more room when they are written again.
    pub fn set_capacity(&self, bytes: u64) {
        self.0.state.lock().capacity = bytes;
    }

    /// From now on a sector that was being overwritten when the power was cut may be found with garbage.
    pub fn set_torn_sectors(&self, on: bool) {
        self.0.state.lock().torn_sectors = on;
    }

    /// Flips one bit of a file, on the disk and in memory. False when there is no such byte.
    #[must_use]
    pub fn flip_bit(&self, path: impl AsRef<Path>, offset: u64, bit: u8) -> bool {
        self.0.state.lock().images.flip_bit(path.as_ref(), offset, bit)
    }

    /// What was asked of the disk so far at a path and below it.
    pub fn counters(&self, under: impl AsRef<Path>) -> Counters {
        self.0.state.lock().faults.counters(under.as_ref())
    }

    /// A file as the process sees it.
    pub fn contents(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        self.0.state.lock().images.contents(path.as_ref()).map(<[u8]>::to_vec)
    }

    /// All files that the process sees at a path and below it, in order.
    pub fn files(&self, under: impl AsRef<Path>) -> Vec<PathBuf> {
        self.0.state.lock().images.files_under(under.as_ref())
    }

    /// The beginning of every call: it is counted, may have to wait, and may fail.
    fn enter(&self, kind: Kind, path: &Path) -> Result<MutexGuard<'_, State>, Failed<'_>> {
        let mut state = self.0.state.lock();
        state.faults.count(kind, path);
        while !state.faults.dead && state.faults.is_stalled(kind, path) {
            state.faults.stalled += 1;
            self.0.changed.notify_all();
            self.0.changed.wait(&mut state);
            state.faults.stalled -= 1;
        }
        match state.faults.decide(kind, path) {
            Ok(()) => Ok(state),
            Err(errno) => Err(Failed { errno, state }),
        }
    }
}

/// A call that fails, and may have done a part of its work.
struct Failed<'a> {
    errno: Errno,
    state: MutexGuard<'a, State>,
}

impl Failed<'_> {
    /// Leaves what a call that failed may have left; a dead disk changes no more.
    fn leaving(mut self, traces: impl FnOnce(&mut State)) -> io::Error {
        if !self.state.faults.dead {
            traces(&mut self.state);
        }
        self.errno.into()
    }
}

impl From<Failed<'_>> for io::Error {
    fn from(failed: Failed<'_>) -> Self {
        failed.errno.into()
    }
}

impl State {
    fn free(&self) -> u64 {
        self.capacity.saturating_sub(self.images.allocated())
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>> {
        let exists = self.0.state.lock().images.has_file(path);
        let kind = if how == Open::Create && !exists { Kind::Create } else { Kind::Open };
        let mut state = self.enter(kind, path)?;
        let number = state.images.open(path, how)?;
        drop(state);
        Ok(Box::new(SimFile { disk: self.clone(), number, writes: how != Open::Read }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.enter(Kind::Create, path)?.images.create_dir(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.enter(Kind::List, dir)?.images.list(dir)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.enter(Kind::Remove, path)?.images.remove(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.enter(Kind::Remove, path)?.images.remove_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.enter(Kind::Rename, from)?.images.rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.enter(Kind::SyncDir, dir)?.images.sync_dir(dir)
    }

    fn sync_all(&self, dir: &Path) -> io::Result<()> {
        let lose = |state: &mut State| state.images.lose_all(&mut state.random);
        self.enter(Kind::SyncAll, dir).map_err(|failed| failed.leaving(lose))?.images.sync_all();
        Ok(())
    }

    fn space(&self, _dir: &Path) -> io::Result<Space> {
        let state = self.0.state.lock();
        Ok(Space { free: state.free(), total: state.capacity })
    }
}

struct SimFile {
    disk: SimDisk,
    number: Number,
    writes: bool,
}

impl SimFile {
    fn enter(&self, kind: Kind) -> Result<MutexGuard<'_, State>, Failed<'_>> {
        let path = self.disk.0.state.lock().images.path_of(self.number);
        self.disk.enter(kind, &path)
    }

    fn enter_to_write(&self, kind: Kind) -> Result<MutexGuard<'_, State>, Failed<'_>> {
        let state = self.enter(kind)?;
        if self.writes { Ok(state) } else { Err(Failed { errno: Errno::BADF, state }) }
    }
}

fn file(state: MutexGuard<'_, State>, number: Number) -> io::Result<MappedMutexGuard<'_, Content>> {
    MutexGuard::try_map(state, |state| state.images.file(number)).map_err(|_| Errno::IO.into())
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(file(self.enter(Kind::Read)?, self.number)?.read(buffer, offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let some_of_it = |state: &mut State| {
            let part = state.random.below(bytes.len() as u64 + 1);
            state.write(self.number, bytes, offset, part);
        };
        let failed = |failed: Failed<'_>| failed.leaving(some_of_it);
        let mut state = self.enter_to_write(Kind::Write).map_err(failed)?;
        let whole = bytes.len() as u64;
        let written = state.write(self.number, bytes, offset, whole);
        if written < whole { Err(Errno::NOSPC.into()) } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        let lose = |state: &mut State| state.images.lose(self.number, &mut state.random);
        let state = self.enter(Kind::Sync).map_err(|failed| failed.leaving(lose))?;
        file(state, self.number)?.sync();
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.enter_to_write(Kind::SetLen)?;
        if state.images.growth(self.number, length) > state.free() {
            return Err(Errno::NOSPC.into());
        }
        state.images.file(self.number).ok_or(Errno::IO)?.set_len(length);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(file(self.enter(Kind::Open)?, self.number)?.len())
    }
}

impl State {
    /// Writes the first `part` bytes, or those for which there is room; returns how many.
    fn write(&mut self, number: Number, bytes: &[u8], offset: u64, part: u64) -> u64 {
        let mut part = part;
        let free = self.free();
        while part > 0 && self.images.growth(number, offset.saturating_add(part)) > free {
            part = part.saturating_sub(BLOCK);
        }
        let bytes = usize::try_from(part).ok().and_then(|part| bytes.get(..part)).unwrap_or_default();
        if let Some(file) = self.images.file(number) {
            self.faults.count_bytes(&file.path, part);
            file.write(bytes, offset);
        }
        part
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.disk.0.state.lock().images.close(self.number);
    }
}
