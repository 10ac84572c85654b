//! The manifest: what each queue has in segments, and from which block on the journal has to be read.
//!
//! A log of records. A *checkpoint* is the records of the queues that have changed and a last one that completes it; what
//! follows the last complete checkpoint counts for nothing. Two copies are written, one after the other, so that damage
//! to one is repaired from the other. Once a copy has grown much beyond what it says, a new pair is begun.
//!
//! ```text
//! record   length u32 of what follows the CRC, CRC32C u32 of the length and of what follows, number u64, kind u8, payload
//! 0 begin       format u32 (2), store u64
//! 1 queue       queue u64, state (see Shelf and QueueState)
//! 2 gone        queue u64: it has been deleted
//! 3 complete    first block to read u64, last synced block u64
//! ```
//!
//! In format 1, states did not begin with their version. It is read, and format 2 written at every start.
//!
//! Records are numbered from 0 in each file. The files are `manifest-N.a` and `manifest-N.b`; the highest complete N counts.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, DiskFile, Open};
use super::encoding::Cursor;
use super::points;
use super::state::VERSION_1;

const FORMAT: u32 = 2;
const OLDEST_FORMAT: u32 = 1;
const BEGIN: u8 = 0;
const QUEUE: u8 = 1;
const GONE: u8 = 2;
const COMPLETE: u8 = 3;
/// Bytes of a record before its payload.
const HEADER: usize = 17;
/// Bytes at which a new pair of files is begun, if the old one says much less.
const LARGE: u64 = 4 << 20;
/// The first is written first.
const COPIES: [&str; 2] = ["a", "b"];
/// What a disk writes as a whole.
const SECTOR: usize = 512;

/// Why the manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("{path} cannot be used: {error}")]
    Io { path: PathBuf, error: io::Error },
    #[error("{path} was written by a newer version of Leveret (manifest format {format}): start that version")]
    Newer { path: PathBuf, format: u32 },
    #[error("{path} belongs to another data directory: put back the files that belong together")]
    Foreign { path: PathBuf },
    #[error(
        "both copies of the manifest in {dir} are damaged or missing: restore the data directory from a copy, or have \
         `leveret store accept-loss` make a new one of the messages that are still there"
    )]
    Lost { dir: PathBuf },
}

/// What the last complete checkpoint says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Encoded state of each queue.
    pub queues: HashMap<u64, Arc<[u8]>>,
    /// The first block of the journal that is not in segments.
    pub first_block: u64,
    /// A block of the journal that was synced when this was written.
    pub synced: u64,
}

/// What was read, and what has been noticed.
#[derive(Debug, Default)]
pub struct Loaded {
    pub content: Content,
    /// Highest number of a file pair.
    pub generation: u64,
    /// One copy is damaged; the other was whole.
    pub repaired: Vec<String>,
    /// The second copy of the last checkpoint was being written when the node ended.
    pub unfinished: bool,
}

/// One copy, as far as it can be read.
struct Copy {
    path: PathBuf,
    bytes: Vec<u8>,
    content: Content,
    /// Complete checkpoints.
    complete: u64,
    /// Where the last one of them begins and ends.
    last: Range<usize>,
    /// Why reading stopped before the end of the file.
    broken_at: Option<u64>,
}

impl Copy {
    /// True when `second`, the content of the second copy, is what is there while the last checkpoint of this one is being
    /// written to it too: a part of that, and nothing behind. A cut of power may have kept its length and not its content,
    /// which is zeros then. Anything else may be damage.
    fn is_ahead_of(&self, second: &[u8], has_older: bool) -> bool {
        // Older files are removed when both copies of a new pair are on disk.
        if self.last.start == 0 && !has_older && self.content != Content::default() {
            return false;
        }
        let whole = self.bytes.get(..self.last.end).unwrap_or_default();
        if second.len() < self.last.start || second.len() > whole.len() {
            return false;
        }
        let same = second.iter().zip(whole).take_while(|(a, b)| a == b).count();
        let sector = (same - same % SECTOR).max(self.last.start);
        same >= self.last.start
            && (same == second.len() || second.get(sector..).is_some_and(|rest| rest.iter().all(|b| *b == 0)))
    }
}

/// Reads the manifest in a directory; an empty one when there is none.
///
/// # Errors
/// When it cannot be read, is of another format or store, or nothing of it is whole.
pub fn load(disk: &dyn Disk, dir: &Path, store: u64) -> Result<Loaded, ManifestError> {
    let names = match disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Loaded::default()),
        names => names.map_err(|error| ManifestError::Io { path: dir.to_path_buf(), error })?,
    };
    let mut generations: Vec<u64> = names.iter().filter_map(|n| generation_of(n)).collect();
    generations.sort_unstable();
    generations.dedup();
    let newest = generations.last().copied().unwrap_or(0);
    let oldest = generations.first().copied().unwrap_or(0);
    for generation in generations.into_iter().rev() {
        let mut copies = Vec::new();
        for copy in COPIES {
            copies.extend(read_copy(disk, file(dir, generation, copy), store)?);
        }
        let missing = copies.len() < COPIES.len();
        // No crash leaves two broken copies: one is written when the other is on disk. What they say may be long past.
        if !missing && copies.iter().all(|c| c.broken_at.is_some()) && copies.iter().any(|c| c.complete > 0) {
            return Err(ManifestError::Lost { dir: dir.to_path_buf() });
        }
        // The first one is written first: of two that say different things, the one that says more is newer.
        let Some(best) = copies.iter().rev().max_by_key(|copy| copy.complete).filter(|c| c.complete > 0) else {
            continue;
        };
        let mut loaded = Loaded { content: best.content.clone(), generation: newest, ..Loaded::default() };
        for name in COPIES {
            let path = file(dir, generation, name);
            let copy = copies.iter().find(|copy| copy.path == path);
            if copy.is_some_and(|copy| copy.complete == best.complete) {
                continue;
            }
            let has_older = oldest < generation;
            let written = copy.map_or(&[][..], |copy| &copy.bytes);
            if name == COPIES[1] && best.is_ahead_of(written, has_older) {
                loaded.unfinished = true;
                continue;
            }
            let what = match copy {
                Some(copy) => {
                    format!("damaged at byte {}", copy.broken_at.unwrap_or(copy.bytes.len() as u64))
                }
                None => "missing".to_owned(),
            };
            loaded.repaired.push(format!("{} is {what}; its other copy is used", path.display()));
        }
        return Ok(loaded);
    }
    if newest > 0 { Err(ManifestError::Lost { dir: dir.to_path_buf() }) } else { Ok(Loaded::default()) }
}

/// Sees to it that what [`load`] has read is on the disk, and not only in the system's memory: before this, nothing may be
/// given up that only an earlier checkpoint needs.
///
/// # Errors
/// As the disk says.
pub fn sync(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    for name in disk.list(dir)?.iter().filter(|name| generation_of(name).is_some()) {
        disk.open(&dir.join(name), Open::Write)?.sync_data()?;
    }
    disk.sync_dir(dir)
}

/// The highest number of a file pair.
///
/// # Errors
/// When the directory cannot be read.
pub fn newest(disk: &dyn Disk, dir: &Path) -> io::Result<u64> {
    Ok(disk.list(dir)?.iter().filter_map(|n| generation_of(n)).max().unwrap_or(0))
}

fn file(dir: &Path, generation: u64, copy: &str) -> PathBuf {
    dir.join(format!("manifest-{generation}.{copy}"))
}

fn generation_of(name: &str) -> Option<u64> {
    let (generation, copy) = name.strip_prefix("manifest-")?.split_once('.')?;
    COPIES.contains(&copy).then(|| generation.parse().ok())?
}

fn read_copy(disk: &dyn Disk, path: PathBuf, store: u64) -> Result<Option<Copy>, ManifestError> {
    let io = |error| ManifestError::Io { path: path.clone(), error };
    let file = match disk.open(&path, Open::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(io)?,
    };
    let length = file.len().map_err(io)?;
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    let read = file.read_at(&mut bytes, 0).map_err(io)?;
    bytes.truncate(read);
    let (path, content) = (path.clone(), Content::default());
    let mut copy = Copy { path, bytes, content, complete: 0, last: 0..0, broken_at: None };
    let mut building = Content::default();
    let mut at = 0;
    let (mut number, mut format) = (0, FORMAT);
    while at < copy.bytes.len() {
        let Some((kind, payload, length)) = copy.bytes.get(at..).and_then(|rest| read_record(rest, number)) else {
            copy.broken_at = Some(at as u64);
            break;
        };
        let mut cursor = Cursor(payload);
        let understood = match kind {
            BEGIN => begin(&mut cursor, &copy.path, store)?.map(|of| format = of),
            _ => take(kind, format, &mut cursor, &mut building),
        };
        if understood.is_none() {
            copy.broken_at = Some(at as u64);
            break;
        }
        if kind == COMPLETE {
            copy.content = building.clone();
            copy.complete += 1;
            copy.last = copy.last.end..at + length;
        }
        at += length;
        number += 1;
    }
    Ok(Some(copy))
}

/// Reads the format.
fn begin(cursor: &mut Cursor<'_>, path: &Path, store: u64) -> Result<Option<u32>, ManifestError> {
    match (cursor.u32(), cursor.u64()) {
        (Some(format @ OLDEST_FORMAT..=FORMAT), Some(of)) if of == store => Ok(Some(format)),
        (Some(OLDEST_FORMAT..=FORMAT), Some(_)) => Err(ManifestError::Foreign { path: path.to_path_buf() }),
        (Some(format), _) if format > FORMAT => Err(ManifestError::Newer { path: path.to_path_buf(), format }),
        _ => Ok(None),
    }
}

fn take(kind: u8, format: u32, cursor: &mut Cursor<'_>, content: &mut Content) -> Option<()> {
    match kind {
        QUEUE => {
            let queue = cursor.u64()?;
            let version: &[u8] = if format == OLDEST_FORMAT { &[VERSION_1] } else { &[] };
            content.queues.insert(queue, [version, cursor.0].concat().into());
        }
        GONE => {
            content.queues.remove(&cursor.u64()?);
        }
        COMPLETE => {
            content.first_block = cursor.u64()?;
            content.synced = cursor.u64()?;
        }
        _ => return None,
    }
    Some(())
}

/// Kind, payload and length of the record at the beginning of `bytes`.
fn read_record(bytes: &[u8], number: u64) -> Option<(u8, &[u8], usize)> {
    let mut cursor = Cursor(bytes);
    let length = usize::try_from(cursor.u32()?).ok()?;
    let crc = cursor.u32()?;
    let rest = cursor.bytes(length)?;
    let of_length = crc32c::crc32c(bytes.get(..4)?);
    if crc32c::crc32c_append(of_length, rest) != crc {
        return None;
    }
    let mut cursor = Cursor(rest);
    (cursor.u64()? == number).then_some(())?;
    Some((cursor.u8()?, cursor.0, 8 + length))
}

fn put_record(out: &mut Vec<u8>, number: u64, kind: u8, payload: &[&[u8]]) {
    let length: usize = payload.iter().map(|p| p.len()).sum::<usize>() + HEADER - 8;
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let mut rest = number.to_le_bytes().to_vec();
    rest.push(kind);
    payload.iter().for_each(|p| rest.extend_from_slice(p));
    out.extend_from_slice(&length);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&length), &rest);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&rest);
}

/// Why a checkpoint is not on disk.
#[derive(Debug)]
pub enum CheckpointError {
    /// Not written: it can be tried again.
    Write(io::Error),
    /// Written, and perhaps not on disk: nothing can be believed any more.
    Sync(io::Error),
}

/// The manifest, open for writing.
pub struct Manifest {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    store: u64,
    generation: u64,
    content: Content,
    /// The two copies, and how long they are.
    files: Vec<Box<dyn DiskFile>>,
    length: u64,
    number: u64,
    /// Bytes that the content takes when it is written anew, about.
    size: u64,
    /// A checkpoint was not written whole: what lies behind the end has to go before the next one.
    has_rest: bool,
}

impl Manifest {
    /// Begins a new pair of files with what was loaded.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(disk: Arc<dyn Disk>, dir: &Path, store: u64, loaded: Loaded) -> Result<Self, CheckpointError> {
        let Loaded { content, generation, unfinished, .. } = loaded;
        if unfinished {
            tracing::info!(
                target: "leveret::store",
                "the second copy of the manifest was being written when the node ended; it is written anew"
            );
        }
        let dir = dir.to_path_buf();
        let files = Vec::new();
        let (length, number, size, has_rest) = (0, 0, 0, false);
        let mut manifest = Self { disk, dir, store, generation, content, files, length, number, size, has_rest };
        manifest.renew()?;
        Ok(manifest)
    }

    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Writes a checkpoint: the new states of queues (`None`: deleted), and how far the journal is not needed any more.
    /// When it returns without an error, it is on disk.
    ///
    /// # Errors
    /// See [`CheckpointError`]. Nothing has changed in this manifest then; the same checkpoint may be tried again.
    pub fn checkpoint(
        &mut self,
        queues: Vec<(u64, Option<Vec<u8>>)>,
        first_block: u64,
        synced: u64,
    ) -> Result<(), CheckpointError> {
        points::reach("manifest-before-write");
        let mut bytes = Vec::new();
        let mut number = self.number;
        for (queue, state) in &queues {
            match state {
                Some(state) => put_record(&mut bytes, number, QUEUE, &[&queue.to_le_bytes(), state]),
                None => put_record(&mut bytes, number, GONE, &[&queue.to_le_bytes()]),
            }
            number += 1;
        }
        put_record(&mut bytes, number, COMPLETE, &[&first_block.to_le_bytes(), &synced.to_le_bytes()]);
        number += 1;
        if self.has_rest {
            // The second copy first: there is always one that ends well.
            for file in self.files.iter().rev() {
                file.set_len(self.length).map_err(CheckpointError::Write)?;
                file.sync_data().map_err(CheckpointError::Sync)?;
            }
        }
        self.has_rest = true;
        for file in &self.files {
            file.write_at(&bytes, self.length).map_err(CheckpointError::Write)?;
            file.sync_data().map_err(CheckpointError::Sync)?;
        }
        self.has_rest = false;
        points::reach("manifest-after-sync");
        self.length += bytes.len() as u64;
        self.number = number;
        self.content.first_block = first_block;
        self.content.synced = synced;
        for (queue, state) in queues {
            match state {
                Some(state) => self.content.queues.insert(queue, state.into()),
                None => self.content.queues.remove(&queue),
            };
        }
        if self.length > LARGE + 4 * self.size
            && let Err(CheckpointError::Sync(error)) = self.renew()
        {
            return Err(CheckpointError::Sync(error));
        }
        Ok(())
    }

    /// Begins a new pair of files, then removes the old ones.
    fn renew(&mut self) -> Result<(), CheckpointError> {
        let made = self.make_pair(self.generation + 1);
        if let Err(CheckpointError::Write(_)) = made {
            // A first copy that is whole would count for more than what the old pair says from now on.
            self.remove_pair(self.generation + 1).map_err(CheckpointError::Sync)?;
        }
        made
    }

    fn remove_pair(&self, generation: u64) -> io::Result<()> {
        for copy in COPIES {
            match self.disk.remove(&file(&self.dir, generation, copy)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.disk.sync_dir(&self.dir)
    }

    fn make_pair(&mut self, generation: u64) -> Result<(), CheckpointError> {
        let mut bytes = Vec::new();
        put_record(&mut bytes, 0, BEGIN, &[&FORMAT.to_le_bytes(), &self.store.to_le_bytes()]);
        let mut number = 1;
        for (queue, state) in &self.content.queues {
            put_record(&mut bytes, number, QUEUE, &[&queue.to_le_bytes(), state]);
            number += 1;
        }
        let (first, synced) = (self.content.first_block.to_le_bytes(), self.content.synced.to_le_bytes());
        put_record(&mut bytes, number, COMPLETE, &[&first, &synced]);
        let mut files = Vec::new();
        for copy in COPIES {
            let file =
                self.disk.open(&file(&self.dir, generation, copy), Open::Create).map_err(CheckpointError::Write)?;
            file.set_len(0).and_then(|()| file.write_at(&bytes, 0)).map_err(CheckpointError::Write)?;
            file.sync_data().map_err(CheckpointError::Sync)?;
            files.push(file);
        }
        self.disk.sync_dir(&self.dir).map_err(CheckpointError::Sync)?;
        self.files = files;
        self.generation = generation;
        self.number = number + 1;
        self.length = bytes.len() as u64;
        self.size = self.length;
        self.remove_older();
        Ok(())
    }

    fn remove_older(&self) {
        for name in self.disk.list(&self.dir).unwrap_or_default() {
            if generation_of(&name).is_some_and(|g| g < self.generation) {
                // One that stays is older, and counts for nothing.
                let _ = self.disk.remove(&self.dir.join(name));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persist::disk::RealDisk;
    use crate::persist::sim::{Fault, Kind, SimDisk};

    fn open(dir: &Path) -> Manifest {
        let loaded = load(&RealDisk, dir, 9).unwrap();
        Manifest::begin(Arc::new(RealDisk), dir, 9, loaded).unwrap()
    }

    fn written(dir: &Path) -> Content {
        let mut manifest = open(dir);
        manifest.checkpoint(vec![(1, Some(b"one".to_vec())), (2, Some(b"two".to_vec()))], 5, 4).unwrap();
        manifest.checkpoint(vec![(1, None), (2, Some(b"more".to_vec()))], 8, 9).unwrap();
        manifest.content().clone()
    }

    #[test]
    fn a_manifest_is_read_as_written() {
        let dir = tempfile::tempdir().unwrap();
        let content = written(dir.path());
        let loaded = load(&RealDisk, dir.path(), 9).unwrap();
        assert_eq!((&loaded.content, loaded.repaired.len()), (&content, 0));
        assert_eq!((content.first_block, content.synced, content.queues.len()), (8, 9, 1));
        drop(open(dir.path()));
        assert_eq!(load(&RealDisk, dir.path(), 9).unwrap().content, content);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "older files are removed");
        assert!(matches!(load(&RealDisk, dir.path(), 8), Err(ManifestError::Foreign { .. })));
    }

    #[test]
    fn a_manifest_of_format_1_is_read_and_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = Vec::new();
        put_record(&mut bytes, 0, BEGIN, &[&1_u32.to_le_bytes(), &9_u64.to_le_bytes()]);
        put_record(&mut bytes, 1, QUEUE, &[&7_u64.to_le_bytes(), b"state"]);
        put_record(&mut bytes, 2, COMPLETE, &[&5_u64.to_le_bytes(), &4_u64.to_le_bytes()]);
        COPIES.iter().for_each(|copy| std::fs::write(file(dir.path(), 1, copy), &bytes).unwrap());
        let content = load(&RealDisk, dir.path(), 9).unwrap().content;
        assert_eq!((&*content.queues[&7], content.first_block), (&b"\x01state"[..], 5));
        drop(open(dir.path()));
        let loaded = load(&RealDisk, dir.path(), 9).unwrap();
        assert_eq!((loaded.content, loaded.generation), (content, 2));
    }

    #[test]
    fn every_flipped_bit_is_repaired_from_the_other_copy() {
        for copy in COPIES {
            let dir = tempfile::tempdir().unwrap();
            let content = written(dir.path());
            let path = file(dir.path(), 1, copy);
            let whole = std::fs::read(&path).unwrap();
            for bit in 0..whole.len() * 8 {
                let mut bytes = whole.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                std::fs::write(&path, &bytes).unwrap();
                let loaded = load(&RealDisk, dir.path(), 9).unwrap();
                assert_eq!((&loaded.content, loaded.repaired.len()), (&content, 1), "bit {bit} of {copy}");
            }
            std::fs::remove_file(&path).unwrap();
            let repaired = load(&RealDisk, dir.path(), 9).unwrap().repaired;
            assert_eq!(repaired, [format!("{} is missing; its other copy is used", path.display())]);
        }
    }

    #[test]
    fn a_second_copy_that_was_being_written_is_no_damage() {
        let dir = tempfile::tempdir().unwrap();
        let mut manifest = open(dir.path());
        manifest.checkpoint(vec![(1, Some(vec![7; 2000]))], 5, 4).unwrap();
        let start = manifest.length as usize;
        manifest.checkpoint(vec![(1, Some(vec![8; 3000]))], 8, 9).unwrap();
        let whole = std::fs::read(file(dir.path(), 1, "a")).unwrap();
        let load_with = |copy, bytes: &[u8]| {
            COPIES.iter().for_each(|copy| std::fs::write(file(dir.path(), 1, copy), &whole).unwrap());
            std::fs::write(file(dir.path(), 1, copy), bytes).unwrap();
            let loaded = load(&RealDisk, dir.path(), 9).unwrap();
            assert_eq!(&loaded.content, manifest.content());
            (loaded.repaired.len(), loaded.unfinished)
        };
        for end in 0..whole.len() {
            let expected = if end < start { (1, false) } else { (0, true) };
            assert_eq!(load_with("b", &whole[..end]), expected, "cut at byte {end}");
            assert_eq!(load_with("a", &whole[..end]), (1, false), "the first copy cut at byte {end}");
        }
        let page = start.next_multiple_of(SECTOR);
        let mut bytes = whole.clone();
        bytes[page..].fill(0);
        assert_eq!(load_with("b", &bytes), (0, true), "the length was on disk and the content was not");
        bytes[page + 700] = 1;
        assert_eq!(load_with("b", &bytes), (1, false), "something stands behind the zeros");
        bytes.clone_from(&whole);
        bytes[start + 5..].fill(0);
        bytes[start - 5] ^= 1;
        assert_eq!(load_with("b", &bytes), (1, false), "a byte before it has changed");
    }

    #[test]
    fn a_new_pair_of_which_the_second_was_not_made_is_no_damage() {
        let dir = tempfile::tempdir().unwrap();
        let second = |generation| file(dir.path(), generation, "b");
        drop(open(dir.path()));
        std::fs::remove_file(second(1)).unwrap();
        let loaded = load(&RealDisk, dir.path(), 9).unwrap();
        assert_eq!((loaded.repaired.len(), loaded.unfinished), (0, true), "the node ended in its first start");
        let content = written(dir.path());
        let older = COPIES.map(|copy| file(dir.path(), 2, copy));
        let kept = older.each_ref().map(|path| std::fs::read(path).unwrap());
        drop(open(dir.path()));
        older.iter().zip(&kept).for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
        let whole = std::fs::read(second(3)).unwrap();
        for end in 0..whole.len() {
            std::fs::write(second(3), &whole[..end]).unwrap();
            let loaded = load(&RealDisk, dir.path(), 9).unwrap();
            assert_eq!((loaded.content, loaded.repaired.len(), loaded.unfinished), (content.clone(), 0, true), "{end}");
        }
        std::fs::remove_file(second(3)).unwrap();
        assert!(load(&RealDisk, dir.path(), 9).unwrap().repaired.is_empty());
        older.iter().for_each(|path| std::fs::remove_file(path).unwrap());
        let repaired = load(&RealDisk, dir.path(), 9).unwrap().repaired;
        assert_eq!(repaired.len(), 1, "older files are removed when both of a pair are there");
    }

    #[test]
    fn a_new_pair_that_could_not_be_made_counts_for_nothing() {
        let sim = SimDisk::new(1);
        let dir = Path::new("/m");
        sim.create_dir(dir).unwrap();
        sim.sync_all(Path::new("/")).unwrap();
        let disk: Arc<dyn Disk> = Arc::new(sim.clone());
        let mut manifest = Manifest::begin(disk, dir, 9, Loaded::default()).unwrap();
        let state = |n: u8| vec![(1, Some(vec![n; 1 << 20]))];
        sim.inject(Fault::no_space(&[Kind::Write]).under("/m/manifest-2.b").lasting());
        (1..8).for_each(|n| manifest.checkpoint(state(n), n.into(), 0).unwrap());
        assert!(sim.counters("/m/manifest-2.a").writes > 0, "the first copy was made");
        // From here on not even a beginning of a new pair succeeds.
        sim.inject(Fault::no_space(&[Kind::Create, Kind::SetLen]).under("/m/manifest-2.a").lasting());
        manifest.checkpoint(state(8), 8, 0).unwrap();
        for disk in [sim.copy(), sim.power_cut(1)] {
            disk.heal();
            assert_eq!(load(&disk, dir, 9).unwrap().content.first_block, 8);
        }
    }

    #[test]
    fn a_checkpoint_counts_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let content = written(dir.path());
        let whole = std::fs::read(file(dir.path(), 1, "a")).unwrap();
        for end in 0..=whole.len() {
            for copy in COPIES {
                std::fs::write(file(dir.path(), 1, copy), &whole[..end]).unwrap();
            }
            match load(&RealDisk, dir.path(), 9) {
                Ok(loaded) if end == whole.len() => assert_eq!(loaded.content, content),
                Ok(loaded) => assert!([0, 5].contains(&loaded.content.first_block), "{end}"),
                Err(error) => assert!(matches!(error, ManifestError::Lost { .. }), "{end}"),
            }
        }
    }
}
