//! Reading the journal when the node starts, or when somebody looks at a directory that no node uses.
//!
//! [`scan`] finds every block in every file; [`Scan::run`] puts them in order from a given block on. Blocks that were
//! known to be synced (a later block says so, or the marker, or the caller) must be whole: where one is not, that is
//! damage, with the queues concerned if its directory can still be read. What comes behind was perhaps never written
//! whole: the first block that is not good ends the journal, a torn tail that is cut off. Nothing here panics, whatever
//! the files hold, and memory is bounded by the size of a file.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use super::block::{BadHeader, BlockHeader, FileHeader, SECTOR};
use super::files::path;
use super::item::{Entry, Item, Items};
use super::writer::MARKER;
use crate::persist::disk::{Disk, DiskFile, Open};
use crate::persist::encoding::Cursor;

const MARKER_MAGIC: &[u8; 8] = b"LEVSYNC1";

/// The marker's sector: magic, store, the last synced block, CRC32C of these.
pub fn encode_marker(store: u64, block: u64) -> [u8; SECTOR] {
    let mut sector = [0; SECTOR];
    let mut bytes = MARKER_MAGIC.to_vec();
    bytes.extend_from_slice(&store.to_le_bytes());
    bytes.extend_from_slice(&block.to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    for (to, from) in sector.iter_mut().zip(bytes) {
        *to = from;
    }
    sector
}

fn decode_marker(sector: &[u8], store: u64) -> Option<u64> {
    let mut cursor = Cursor(sector);
    let whole = cursor.bytes(8)? == MARKER_MAGIC;
    let (of_store, block) = (cursor.u64()?, cursor.u64()?);
    let crc = crc32c::crc32c(sector.get(..24)?);
    (whole && of_store == store && crc == cursor.u32()?).then_some(block)
}

/// The last block that the marker says is synced, and whether a part of the marker is damaged.
fn read_marker(disk: &dyn Disk, dir: &Path, store: u64) -> io::Result<(u64, bool)> {
    let file = match disk.open(&dir.join(MARKER), Open::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((0, false)),
        file => file?,
    };
    let mut bytes = [0; 2 * SECTOR];
    file.read_at(&mut bytes, 0)?;
    let mut best = 0;
    let mut damaged = false;
    for sector in bytes.chunks(SECTOR) {
        match decode_marker(sector, store) {
            Some(block) => best = best.max(block),
            None => damaged |= sector.iter().any(|b| *b != 0),
        }
    }
    Ok((best, damaged))
}

/// A block as it was found.
#[derive(Clone, Debug)]
struct Found {
    file: usize,
    offset: u64,
    header: BlockHeader,
    whole: bool,
}

/// A journal file as it was found.
pub struct ScannedFile {
    pub number: u32,
    pub file: Box<dyn DiskFile>,
    pub size: u64,
    header: Result<FileHeader, BadHeader>,
}

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub file: PathBuf,
    pub offset: u64,
    pub what: String,
    /// The queues concerned and how many of their messages were there; `None` when it could be any queue.
    pub queues: Option<Vec<Entry>>,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at byte {}: {}", self.file.display(), self.offset, self.what)
    }
}

/// Why the journal cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    #[error("{path} cannot be read: {error}")]
    Io { path: PathBuf, error: io::Error },
    #[error("{path} was written by a newer version of Leveret (journal format {format}): start that version")]
    Newer { path: PathBuf, format: u32 },
}

/// All blocks of a journal.
pub struct Scan {
    dir: PathBuf,
    pub files: Vec<ScannedFile>,
    blocks: BTreeMap<u64, Found>,
    /// Blocks up to this one were synced.
    synced: u64,
    /// Things that were found broken and do no harm, for the log.
    pub notices: Vec<String>,
}

/// Finds the blocks of the journal in `dir`.
///
/// # Errors
/// When a file cannot be read or is of a later format.
pub fn scan(disk: &dyn Disk, dir: &Path, store: u64) -> Result<Scan, ScanError> {
    let io = |path: &Path| {
        let path = path.to_path_buf();
        move |error| ScanError::Io { path, error }
    };
    let (synced, marker_damaged) = read_marker(disk, dir, store).map_err(io(&dir.join(MARKER)))?;
    let mut scan =
        Scan { dir: dir.to_path_buf(), files: Vec::new(), blocks: BTreeMap::new(), synced, notices: Vec::new() };
    if marker_damaged {
        let what = if synced > 0 { "damaged in part; the rest serves" } else { "damaged; nothing of it serves" };
        scan.notices.push(format!("{} is {what}", dir.join(MARKER).display()));
    }
    let names = match disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        names => names.map_err(io(dir))?,
    };
    let mut numbers: Vec<u32> = names.iter().filter_map(|name| name.strip_suffix(".journal")?.parse().ok()).collect();
    numbers.sort_unstable();
    for number in numbers {
        scan.read_file(disk, number, store)?;
    }
    Ok(scan)
}

impl Scan {
    fn read_file(&mut self, disk: &dyn Disk, number: u32, store: u64) -> Result<(), ScanError> {
        let path = path(&self.dir, number);
        let io = |error| ScanError::Io { path: path.clone(), error };
        let file = disk.open(&path, Open::Read).map_err(io)?;
        let size = file.len().map_err(io)?;
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        let length = file.read_at(&mut bytes, 0).map_err(io)?;
        bytes.truncate(length);
        let header = FileHeader::decode(&bytes);
        if let Err(BadHeader::Newer(format)) = header {
            return Err(ScanError::Newer { path, format });
        }
        self.find_blocks(&bytes, store);
        self.files.push(ScannedFile { number, file, size, header });
        Ok(())
    }

    fn find_blocks(&mut self, bytes: &[u8], store: u64) {
        let mut at = SECTOR;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let Some(header) = BlockHeader::decode(rest, store) else {
                at += SECTOR;
                continue;
            };
            let whole = header.items(rest).is_some();
            let (number, length, synced) = (header.number, header.length, header.synced);
            let found = Found { file: self.files.len(), offset: at as u64, header, whole };
            if whole {
                self.synced = self.synced.max(synced);
            }
            if whole || !self.blocks.get(&number).is_some_and(|other| other.whole) {
                self.blocks.insert(number, found);
            }
            at += if whole { length } else { SECTOR };
        }
    }

    /// The first of the blocks that follow one another up to the last; 1 when there are none.
    pub fn oldest(&self) -> u64 {
        let mut oldest = self.blocks.last_key_value().map_or(1, |(number, _)| *number);
        while self.blocks.contains_key(&oldest.wrapping_sub(1)) {
            oldest -= 1;
        }
        oldest
    }

    /// How many blocks from this one on can be read.
    pub fn count_from(&self, first: u64) -> usize {
        self.blocks.range(first..).filter(|(_, found)| found.whole).count()
    }

    fn path(&self, file: usize) -> PathBuf {
        self.files.get(file).map_or_else(PathBuf::new, |f| path(&self.dir, f.number))
    }

    /// Reads the blocks in order, from the block `from` on, and hands the items of each to `apply`. `known` is the last
    /// block that the caller knows to have been synced.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn run(mut self, from: u64, known: u64, mut apply: impl FnMut(u64, Item<'_>)) -> Result<Replayed, ScanError> {
        let synced = self.synced.max(known);
        let blocks = self.blocks.split_off(&from);
        let last = blocks.last_key_value().map_or(0, |(n, _)| *n).max(synced);
        let mut damage: Vec<Damage> = Vec::new();
        let mut used: BTreeMap<usize, (u64, HashSet<u64>)> = BTreeMap::new();
        let mut next = from;
        while next <= last {
            let found = blocks.get(&next);
            let good = found.is_some_and(|f| f.whole);
            if !good && next > synced {
                break;
            }
            match found {
                Some(found) => {
                    let entry = used.entry(found.file).or_insert_with(|| (next, HashSet::new()));
                    entry.1.extend(found.header.directory.iter().map(|e| e.queue));
                    if !good || !self.apply_block(found, &mut apply)? {
                        damage.push(Damage {
                            file: self.path(found.file),
                            offset: found.offset,
                            what: format!("block {next} is damaged"),
                            queues: Some(found.header.directory.clone()),
                        });
                    }
                    next += 1;
                }
                None => {
                    // A gap may be long: it is one piece of damage.
                    let end = blocks.range(next..).next().map_or(last + 1, |(n, _)| (*n).min(synced + 1));
                    let (file, offset) = self.place_after(&blocks, next);
                    damage.push(Damage { file, offset, what: gap_text(next, end - 1), queues: None });
                    next = end;
                }
            }
        }
        let torn = blocks.range(next..).map(|(_, f)| (f.file, f.offset)).collect();
        Ok(Replayed { next_block: next.max(1), files: self.files, used, damage, torn, notices: self.notices })
    }

    /// Where a block that is not there should have been: behind the one before it.
    fn place_after(&self, blocks: &BTreeMap<u64, Found>, number: u64) -> (PathBuf, u64) {
        let before =
            blocks.range(..number).next_back().map(|(_, f)| (self.path(f.file), f.offset + f.header.length as u64));
        before.unwrap_or_else(|| (self.dir.clone(), 0))
    }

    /// True when every item could be read.
    fn apply_block(&self, found: &Found, apply: &mut impl FnMut(u64, Item<'_>)) -> Result<bool, ScanError> {
        let Some(file) = self.files.get(found.file) else { return Ok(false) };
        let mut bytes = vec![0; found.header.length];
        let io = |error| ScanError::Io { path: self.path(found.file), error };
        file.file.read_at(&mut bytes, found.offset).map_err(io)?;
        let Some(items) = found.header.items(&bytes) else { return Ok(false) };
        for item in Items::new(items) {
            match item {
                Ok(item) => apply(found.header.number, item),
                Err(_) => return Ok(false),
            }
        }
        Ok(true)
    }
}

fn gap_text(first: u64, last: u64) -> String {
    if first == last { format!("block {first} is missing") } else { format!("blocks {first} to {last} are missing") }
}

/// What a replay has found.
pub struct Replayed {
    /// Number for the next block.
    pub next_block: u64,
    pub files: Vec<ScannedFile>,
    /// Files with blocks that were read: the first block and the queues in it.
    pub used: BTreeMap<usize, (u64, HashSet<u64>)>,
    pub damage: Vec<Damage>,
    /// Blocks behind the end: file and offset.
    pub torn: Vec<(usize, u64)>,
    pub notices: Vec<String>,
}

impl ScannedFile {
    /// The header has to be written (again).
    pub fn has_bad_header(&self) -> bool {
        !matches!(self.header, Ok(header) if header.size == self.size && header.slot == self.number)
    }
}
