//! The whole file system, live and durable, and what a power cut makes of the two.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::content::Content;
use super::names::{Change, Names};
use super::random::Random;
use crate::persist::disk::Open;

/// What the file system hands out.
pub const BLOCK: u64 = 4096;

/// Names a file for as long as it has a name or is open.
pub type Number = u64;

#[derive(Clone, Debug, Default)]
pub struct Images {
    files: BTreeMap<Number, Content>,
    live: Names,
    durable: Names,
    /// What turns the durable names into the live ones, in order.
    unsynced: Vec<Change>,
    next: Number,
}

// Names.
impl Images {
    pub fn open(&mut self, path: &Path, how: Open) -> io::Result<Number> {
        if self.live.has_dir(path) {
            return Err(Errno::ISDIR.into());
        }
        let number = match self.live.files.get(path) {
            Some(number) => *number,
            None if how == Open::Create => self.create(path)?,
            None => return Err(Errno::NOENT.into()),
        };
        self.file(number).ok_or(Errno::IO)?.handles += 1;
        Ok(number)
    }

    fn create(&mut self, path: &Path) -> io::Result<Number> {
        self.require_parent(path)?;
        let number = self.next;
        self.next += 1;
        self.files.insert(number, Content::at(path));
        self.change(Change::Link { path: path.to_owned(), file: number });
        Ok(number)
    }

    pub fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        let mut missing: Vec<&Path> = path.ancestors().filter(|dir| !self.live.has_dir(dir)).collect();
        if missing.iter().any(|path| self.live.files.contains_key(*path)) {
            return Err(Errno::EXIST.into());
        }
        while let Some(dir) = missing.pop() {
            self.change(Change::MakeDir(dir.to_owned()));
        }
        Ok(())
    }

    pub fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.require(dir)?;
        let names = self.live.children(dir).filter_map(|path| path.file_name());
        Ok(names.map(|name| name.to_string_lossy().into_owned()).collect())
    }

    pub fn remove(&mut self, path: &Path) -> io::Result<()> {
        let file = *self.live.files.get(path).ok_or(Errno::NOENT)?;
        self.change(Change::Unlink { path: path.to_owned(), file });
        self.forget_unused();
        Ok(())
    }

    /// Each file and directory on its own, as there is no other way.
    pub fn remove_dir(&mut self, dir: &Path) -> io::Result<()> {
        self.require(dir)?;
        let below = |path: &Path| path.starts_with(dir);
        let files = self.live.files.iter().filter(|(path, _)| below(path));
        let files = files.map(|(path, file)| Change::Unlink { path: path.clone(), file: *file });
        let dirs = self.live.dirs.iter().rev().filter(|path| below(path));
        let dirs = dirs.map(|path| Change::RemoveDir(path.clone()));
        let changes: Vec<Change> = files.chain(dirs).collect();
        changes.into_iter().for_each(|change| self.change(change));
        self.forget_unused();
        Ok(())
    }

    pub fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let file = *self.live.files.get(from).ok_or(Errno::NOENT)?;
        self.require_parent(to)?;
        if self.live.has_dir(to) {
            return Err(Errno::ISDIR.into());
        }
        if from == to {
            return Ok(());
        }
        if let Some(content) = self.file(file) {
            to.clone_into(&mut content.path);
        }
        self.change(Change::Rename { from: from.to_owned(), to: to.to_owned(), file });
        self.forget_unused();
        Ok(())
    }

    fn change(&mut self, change: Change) {
        self.live.apply(&change);
        self.unsynced.push(change);
    }

    fn require(&self, dir: &Path) -> io::Result<()> {
        if self.live.has_dir(dir) { Ok(()) } else { Err(Errno::NOENT.into()) }
    }

    fn require_parent(&self, path: &Path) -> io::Result<()> {
        self.require(path.parent().ok_or(Errno::ISDIR)?)
    }

    pub fn has_file(&self, path: &Path) -> bool {
        self.live.files.contains_key(path)
    }

    pub fn files_under(&self, under: &Path) -> Vec<PathBuf> {
        self.live.files.keys().filter(|path| path.starts_with(under)).cloned().collect()
    }
}

// Content.
impl Images {
    pub fn file(&mut self, number: Number) -> Option<&mut Content> {
        self.files.get_mut(&number)
    }

    pub fn path_of(&self, number: Number) -> PathBuf {
        self.files.get(&number).map(|file| file.path.clone()).unwrap_or_default()
    }

    pub fn contents(&self, path: &Path) -> Option<&[u8]> {
        Some(self.files.get(self.live.files.get(path)?)?.live())
    }

    pub fn flip_bit(&mut self, path: &Path, offset: u64, bit: u8) -> bool {
        let number = self.live.files.get(path);
        number.and_then(|number| self.files.get_mut(number)).is_some_and(|file| file.flip_bit(offset, bit))
    }

    /// What the files take that have a name or are open; whether that is durable makes no difference.
    pub fn allocated(&self) -> u64 {
        let named: BTreeSet<&Number> = self.live.files.values().collect();
        let used = self.files.iter().filter(|(number, file)| file.handles > 0 || named.contains(number));
        used.map(|(_, file)| blocks(file.len())).sum()
    }

    /// How much more room a file takes when it is as long as this.
    pub fn growth(&self, number: Number, length: u64) -> u64 {
        self.files.get(&number).map_or(0, |file| blocks(length).saturating_sub(blocks(file.len())))
    }

    pub fn close(&mut self, number: Number) {
        if let Some(file) = self.files.get_mut(&number) {
            file.handles = file.handles.saturating_sub(1);
            self.forget_unused();
        }
    }

    pub fn close_all(&mut self) {
        self.files.values_mut().for_each(|file| file.handles = 0);
        self.forget_unused();
    }

    /// Files that have neither name nor handle are gone.
    fn forget_unused(&mut self) {
        let named = self.live.files.values().chain(self.durable.files.values()).copied();
        let used: BTreeSet<Number> = named.chain(self.unsynced.iter().filter_map(Change::file)).collect();
        self.files.retain(|number, file| file.handles > 0 || used.contains(number));
    }
}

// Syncing, and what happens without.
impl Images {
    pub fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        self.require(dir)?;
        // A directory cannot be gone before what was in it.
        let removed: Vec<PathBuf> = self.unsynced.iter().filter_map(|change| change.removed_dir_in(dir)).collect();
        let is_synced = |c: &Change| c.is_in(dir) || removed.iter().any(|removed| c.is_below(removed));
        let (synced, unsynced) = std::mem::take(&mut self.unsynced).into_iter().partition(is_synced);
        self.unsynced = unsynced;
        self.settle(synced);
        Ok(())
    }

    pub fn sync_all(&mut self) {
        let all = std::mem::take(&mut self.unsynced);
        self.settle(all);
        self.files.values_mut().for_each(Content::sync);
    }

    fn settle(&mut self, changes: Vec<Change>) {
        changes.iter().for_each(|change| self.durable.apply(change));
        self.forget_unused();
    }

    pub fn lose(&mut self, number: Number, random: &mut Random) {
        if let Some(file) = self.files.get_mut(&number) {
            file.lose(random);
        }
    }

    pub fn lose_all(&mut self, random: &mut Random) {
        self.files.values_mut().for_each(|file| file.lose(random));
    }

    pub fn cut(&mut self, random: &mut Random, torn: bool) {
        let changes = std::mem::take(&mut self.unsynced);
        // A file system with one journal loses the last changes only; others may lose any.
        let (first, times) = match random.below(3) {
            0 => (random.below(changes.len() as u64 + 1), 0),
            1 => (0, 8),
            _ => (0, 1 + random.below(15)),
        };
        for (at, change) in changes.iter().enumerate() {
            if (at as u64) < first || random.chance(times, 16) {
                self.durable.apply(change);
            }
        }
        self.durable.drop_unreachable();
        self.live = self.durable.clone();
        self.files.values_mut().for_each(|file| file.cut(random, torn));
        self.forget_unused();
        for (path, number) in &self.live.files {
            if let Some(file) = self.files.get_mut(number) {
                file.path.clone_from(path);
            }
        }
    }
}

fn blocks(length: u64) -> u64 {
    length.checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX)
}
