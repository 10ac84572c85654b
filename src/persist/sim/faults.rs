//! What the simulated disk is told to do wrong, and the count of what was asked of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// Kinds of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Of a file that exists; also asking for its length.
    Open,
    /// Of a file or a directory.
    Create,
    Read,
    Write,
    /// Of one file.
    Sync,
    SyncDir,
    SyncAll,
    SetLen,
    /// Of a file or a directory.
    Remove,
    Rename,
    List,
}

impl Kind {
    /// Everything after which the disk is not as before.
    pub const CHANGES: [Self; 8] =
        [Self::Create, Self::Write, Self::Sync, Self::SyncDir, Self::SyncAll, Self::SetLen, Self::Remove, Self::Rename];
    pub const SYNCS: [Self; 3] = [Self::Sync, Self::SyncDir, Self::SyncAll];
}

/// A failure to come: the next call of these kinds, once, unless more is said.
#[derive(Clone, Debug)]
pub struct Fault {
    kinds: Vec<Kind>,
    under: PathBuf,
    after: u64,
    lasting: bool,
    errno: Errno,
}

impl Fault {
    /// The device fails: `EIO`.
    pub fn io(kinds: &[Kind]) -> Self {
        Self { kinds: kinds.to_vec(), under: PathBuf::new(), after: 0, lasting: false, errno: Errno::IO }
    }

    /// The disk is full: `ENOSPC`.
    pub fn no_space(kinds: &[Kind]) -> Self {
        Self { errno: Errno::NOSPC, ..Self::io(kinds) }
    }

    /// Only at this path and below it.
    #[must_use]
    pub fn under(mut self, path: impl AsRef<Path>) -> Self {
        path.as_ref().clone_into(&mut self.under);
        self
    }

    /// So many calls succeed before.
    #[must_use]
    pub fn after(mut self, calls: u64) -> Self {
        self.after = calls;
        self
    }

    /// Not only once, but until [`super::SimDisk::heal`].
    #[must_use]
    pub fn lasting(mut self) -> Self {
        self.lasting = true;
        self
    }
}

/// Calls that do not return.
pub struct Stall {
    pub kinds: Vec<Kind>,
    pub under: PathBuf,
}

/// How often was asked for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub opens: u64,
    pub creates: u64,
    pub reads: u64,
    pub writes: u64,
    pub syncs: u64,
    pub sync_dirs: u64,
    pub sync_alls: u64,
    pub set_lens: u64,
    pub removes: u64,
    pub renames: u64,
    pub lists: u64,
    pub bytes_written: u64,
}

impl Counters {
    fn of(&mut self, kind: Kind) -> &mut u64 {
        match kind {
            Kind::Open => &mut self.opens,
            Kind::Create => &mut self.creates,
            Kind::Read => &mut self.reads,
            Kind::Write => &mut self.writes,
            Kind::Sync => &mut self.syncs,
            Kind::SyncDir => &mut self.sync_dirs,
            Kind::SyncAll => &mut self.sync_alls,
            Kind::SetLen => &mut self.set_lens,
            Kind::Remove => &mut self.removes,
            Kind::Rename => &mut self.renames,
            Kind::List => &mut self.lists,
        }
    }

    fn add(&mut self, other: &Self) {
        self.opens += other.opens;
        self.creates += other.creates;
        self.reads += other.reads;
        self.writes += other.writes;
        self.syncs += other.syncs;
        self.sync_dirs += other.sync_dirs;
        self.sync_alls += other.sync_alls;
        self.set_lens += other.set_lens;
        self.removes += other.removes;
        self.renames += other.renames;
        self.lists += other.lists;
        self.bytes_written += other.bytes_written;
    }
}

#[derive(Default)]
pub struct Faults {
    pub injected: Vec<Fault>,
    pub stalls: Vec<Stall>,
    /// Calls that wait for the end of a stall.
    pub stalled: usize,
    pub dead: bool,
    /// The number of changes after which the disk dies.
    pub dies_at: Option<u64>,
    pub changes: u64,
    counters: BTreeMap<PathBuf, Counters>,
}

impl Faults {
    pub fn count(&mut self, kind: Kind, path: &Path) {
        *self.counters_at(path).of(kind) += 1;
    }

    pub fn count_bytes(&mut self, path: &Path, bytes: u64) {
        self.counters_at(path).bytes_written += bytes;
    }

    fn counters_at(&mut self, path: &Path) -> &mut Counters {
        self.counters.entry(path.to_owned()).or_default()
    }

    pub fn counters(&self, under: &Path) -> Counters {
        let mut sum = Counters::default();
        self.counters.iter().filter(|(path, _)| path.starts_with(under)).for_each(|(_, counters)| sum.add(counters));
        sum
    }

    pub fn is_stalled(&self, kind: Kind, path: &Path) -> bool {
        self.stalls.iter().any(|stall| stall.kinds.contains(&kind) && path.starts_with(&stall.under))
    }

    /// Whether a call goes through.
    pub fn decide(&mut self, kind: Kind, path: &Path) -> Result<(), Errno> {
        if self.dead {
            return Err(Errno::IO);
        }
        if Kind::CHANGES.contains(&kind) {
            self.dead = self.dies_at.is_some_and(|end| self.changes >= end);
            if self.dead {
                return Err(Errno::IO);
            }
            self.changes += 1;
        }
        let Some(at) = self.next_due(kind, path) else { return Ok(()) };
        let Some(fault) = self.injected.get(at) else { return Ok(()) };
        let (errno, lasting) = (fault.errno, fault.lasting);
        if !lasting {
            self.injected.remove(at);
        }
        Err(errno)
    }

    /// The first fault that strikes now; those that strike later have one call less to wait.
    fn next_due(&mut self, kind: Kind, path: &Path) -> Option<usize> {
        let mut due = None;
        for (at, fault) in self.injected.iter_mut().enumerate() {
            if !fault.kinds.contains(&kind) || !path.starts_with(&fault.under) {
                continue;
            }
            match fault.after.checked_sub(1) {
                Some(less) => fault.after = less,
                None => due = due.or(Some(at)),
            }
        }
        due
    }
}
