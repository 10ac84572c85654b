//! The journal's files: one that is written, full ones that may still hold what lives, and spare ones.
//!
//! Files have numbers (slots) as names and are used again in place, because writing over blocks that a file has already
//! costs half of growing it. A file for one commit that is larger than a file is made to measure, and removed afterwards.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::Settings;
use super::block::{FileHeader, SECTOR};
use super::item::Entry;
use crate::persist::disk::{Disk, DiskFile, Open};

/// Full files, beyond those that are kept anyway, at which publishers wait.
const MOST_BEHIND: usize = 3;
/// Zeros are written in pieces of this size.
const FILL: usize = 1 << 20;

/// A file of the journal.
#[derive(Clone)]
pub struct Slot {
    pub number: u32,
    pub file: Arc<dyn DiskFile>,
    pub size: u64,
}

/// A file that is full, or the one that is written.
#[derive(Clone)]
pub struct Used {
    pub slot: Slot,
    /// Number of its first block.
    pub first_block: u64,
    /// The last commit in it.
    pub last_commit: u64,
    /// Queues that its blocks are about.
    pub queues: HashSet<u64>,
}

#[derive(Default)]
struct State {
    current: Option<Used>,
    full: VecDeque<Used>,
    spare: Vec<Slot>,
    next_number: u32,
    /// The block that will be written next.
    next_block: u64,
    /// The writer waits for a spare file.
    is_awaited: bool,
    closing: bool,
}

/// The files of a journal.
#[derive(Default)]
pub struct Files {
    state: Mutex<State>,
    /// There is a spare file again, or the journal closes.
    has_spare: Condvar,
}

impl Files {
    /// The files found at start: full ones in order, and those that hold nothing any more.
    pub fn new(full: VecDeque<Used>, spare: Vec<Slot>, next_block: u64) -> Self {
        let numbers = full.iter().map(|u| u.slot.number).chain(spare.iter().map(|s| s.number));
        let next_number = numbers.max().map_or(0, |n| n + 1);
        let state = State { full, spare, next_number, next_block, ..State::default() };
        Self { state: Mutex::new(state), has_spare: Condvar::new() }
    }

    /// Notes a block that has been written to the current file.
    pub(super) fn note(&self, commit: u64, next_block: u64, directory: &[Entry]) {
        let mut state = self.state.lock();
        state.next_block = next_block;
        if let Some(current) = &mut state.current {
            current.last_commit = commit;
            current.queues.extend(directory.iter().map(|e| e.queue));
        }
    }

    /// Puts the current file among the full ones and takes a spare one, waiting for it. `None` when the journal closes.
    pub(super) fn next(&self, first_block: u64, waiting: impl Fn()) -> Option<Slot> {
        let mut state = self.state.lock();
        let full = state.current.take();
        state.full.extend(full);
        loop {
            if let Some(slot) = state.spare.pop() {
                Self::begin(&mut state, slot.clone(), first_block);
                return Some(slot);
            }
            if state.closing {
                return None;
            }
            waiting();
            state.is_awaited = true;
            self.has_spare.wait(&mut state);
            state.is_awaited = false;
        }
    }

    /// Takes a file made to measure into use.
    pub(super) fn take(&self, slot: Slot, first_block: u64) {
        let mut state = self.state.lock();
        let full = state.current.take();
        state.full.extend(full);
        Self::begin(&mut state, slot, first_block);
    }

    fn begin(state: &mut State, slot: Slot, first_block: u64) {
        state.current = Some(Used { slot, first_block, last_commit: 0, queues: HashSet::new() });
    }

    pub(super) fn new_number(&self) -> u32 {
        let mut state = self.state.lock();
        state.next_number += 1;
        state.next_number - 1
    }

    /// Makes a spare file if there is none.
    ///
    /// # Errors
    /// When the disk does not give one.
    pub(super) fn provide_spare(&self, disk: &dyn Disk, settings: &Settings) -> io::Result<()> {
        if !self.state.lock().spare.is_empty() {
            return Ok(());
        }
        let slot = create(disk, settings, self.new_number(), settings.file_size)?;
        self.state.lock().spare.push(slot);
        self.has_spare.notify_all();
        Ok(())
    }

    /// True while the writer waits for a spare file: no commit is done before it has one.
    pub fn is_awaited(&self) -> bool {
        let state = self.state.lock();
        state.is_awaited && state.spare.is_empty()
    }

    pub fn has_spare(&self) -> bool {
        !self.state.lock().spare.is_empty()
    }

    /// The oldest full file, if there are more than `keep`.
    pub fn oldest(&self, keep: usize) -> Option<Used> {
        let state = self.state.lock();
        if state.full.len() > keep { state.full.front().cloned() } else { None }
    }

    /// The block from which a recovery has to read once the oldest full file is gone.
    pub fn second_block(&self) -> u64 {
        let state = self.state.lock();
        let second = state.full.get(1).or(state.current.as_ref());
        second.map_or(state.next_block, |used| used.first_block)
    }

    /// The block that will be written next.
    pub fn next_block(&self) -> u64 {
        self.state.lock().next_block
    }

    /// The oldest full file is used again, or removed when it is of an odd size or there are spare ones enough.
    pub(super) fn release_oldest(&self, disk: &dyn Disk, settings: &Settings) {
        let mut state = self.state.lock();
        let Some(used) = state.full.pop_front() else { return };
        if used.slot.size == settings.file_size && state.spare.len() <= MOST_BEHIND {
            state.spare.push(used.slot);
            drop(state);
            self.has_spare.notify_all();
            return;
        }
        drop(state);
        let path = path(&settings.dir, used.slot.number);
        if let Err(error) = disk.remove(&path) {
            tracing::warn!(target: "leveret::store", "{} stays: {error}", path.display());
        }
    }

    /// True when so many files are full that publishers have to wait.
    pub fn is_behind(&self, keep: usize) -> bool {
        self.state.lock().full.len() > keep + MOST_BEHIND
    }

    pub fn full_count(&self) -> usize {
        self.state.lock().full.len()
    }

    pub(super) fn wake(&self) {
        self.state.lock().closing = true;
        self.has_spare.notify_all();
    }
}

/// The path of a file.
pub fn path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:08}.journal"))
}

/// Makes a file: its header, and zeros, so that later writes need no room.
pub(super) fn create(disk: &dyn Disk, settings: &Settings, number: u32, size: u64) -> io::Result<Slot> {
    let path = path(&settings.dir, number);
    let file = disk.open(&path, Open::Create)?;
    let filled = fill(&*file, settings, number, size).and_then(|()| disk.sync_dir(&settings.dir));
    if let Err(error) = filled {
        // Half a file holds room that others need; it is removed at the next start if this fails too.
        let _ = disk.remove(&path);
        return Err(error);
    }
    Ok(Slot { number, file: file.into(), size })
}

fn fill(file: &dyn DiskFile, settings: &Settings, number: u32, size: u64) -> io::Result<()> {
    let zeros = vec![0; FILL];
    let mut at = 0;
    while at < size {
        let piece = usize::try_from(size - at).unwrap_or(FILL).min(FILL);
        file.write_at(zeros.get(..piece).unwrap_or_default(), at)?;
        at += piece as u64;
    }
    file.write_at(&FileHeader { slot: number, store: settings.store, size }.encode(), 0)?;
    file.sync_data()
}

/// Where blocks begin in a file.
pub const FIRST: u64 = SECTOR as u64;
