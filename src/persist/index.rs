//! Index files: where in a segment the messages lie that are looked for by their positions, and what has to be known of
//! them while they are cold. Beside `N.segment` there is `N.index` when any record of the segment has an entry: those that
//! are due at some time, and in queues with priorities all ([`Indexed`]).
//!
//! ```text
//! header (64 bytes)                       chunk
//!  0 magic "LEVINDX1"                      0 entries in it u32
//!  8 format u32 (1)                        4 CRC32C u32 of the number of entries and of what follows
//! 12 number of the segment u32             8 entries, in order of their positions
//! 16 store u64
//! 24 queue u64                            entry (26 bytes)
//! 32 CRC32C u32 of bytes 0 to 32           0 position u64
//! 36 zeros                                 8 where the record begins in the segment u64
//!                                         16 when it is due u64, 0 for never
//!                                         24 priority u8
//!                                         25 flags u8: 1 transient, gone after a restart
//! ```
//!
//! A flush writes a chunk for each segment that it writes to, and both are synced together. How many bytes of the file
//! count is in the manifest; what lies behind them is from a flush that was not finished. Everything in an index is also
//! in its segment: one that is missing or damaged is made anew at start.
//!
//! In memory an entry is [`Places`]' eight bytes.

use std::io;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use super::disk::{Disk, DiskFile, Open};
use super::encoding::Cursor;
use super::segment::{BadSegment, HEADER, SegmentId, check_file_header, file_header};
use crate::message::Traits;

const MAGIC: &[u8; 8] = b"LEVINDX1";
const FORMAT: u32 = 1;
/// Bytes of a chunk before its entries.
const CHUNK_HEADER: usize = 8;
/// Bytes of an entry.
pub const ENTRY: usize = 26;
const TRANSIENT: u8 = 1;
/// The end of an index that has to be made of its segment: shorter than any.
pub const UNKNOWN: u64 = 1;

/// Which records of a queue's segments have entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Indexed {
    /// Those that are due at some time.
    #[default]
    Due,
    All,
}

impl Indexed {
    #[inline]
    pub fn wants(self, traits: Traits) -> bool {
        self == Self::All || traits.due.is_some()
    }
}

/// What an index says of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub position: u64,
    /// Where the record begins in the segment.
    pub offset: u64,
    pub due: Option<NonZeroU64>,
    pub priority: u8,
    pub transient: bool,
}

/// The index file of a segment.
pub fn path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:08}.index"))
}

/// What is appended to an index that has `end` bytes. Nothing when there are no entries.
pub fn encode(id: SegmentId, end: u64, entries: &[Entry]) -> Vec<u8> {
    if entries.is_empty() {
        return Vec::new();
    }
    let mut out = if end == 0 { file_header(MAGIC, FORMAT, id) } else { Vec::new() };
    out.reserve(CHUNK_HEADER + ENTRY * entries.len());
    let count = u32::try_from(entries.len()).unwrap_or(u32::MAX).to_le_bytes();
    out.extend_from_slice(&count);
    let place = out.len();
    out.extend_from_slice(&[0; 4]);
    for entry in entries {
        out.extend_from_slice(&entry.position.to_le_bytes());
        out.extend_from_slice(&entry.offset.to_le_bytes());
        out.extend_from_slice(&entry.due.map_or(0, NonZeroU64::get).to_le_bytes());
        out.extend_from_slice(&[entry.priority, if entry.transient { TRANSIENT } else { 0 }]);
    }
    let crc = out.get(place + 4..).map_or(0, |rest| crc32c::crc32c_append(crc32c::crc32c(&count), rest));
    if let Some(place) = out.get_mut(place..place + 4) {
        place.copy_from_slice(&crc.to_le_bytes());
    }
    out
}

/// A file that was written, and has to be synced, with the bytes of it that count.
type Appended = (Box<dyn DiskFile>, u64);

/// Appends entries to an index that has `end` bytes. `None` when there are none.
///
/// # Errors
/// As the disk says.
pub fn append(disk: &dyn Disk, dir: &Path, id: SegmentId, end: u64, entries: &[Entry]) -> io::Result<Option<Appended>> {
    let bytes = encode(id, end, entries);
    if bytes.is_empty() {
        return Ok(None);
    }
    let file = disk.open(&path(dir, id.number), Open::Create)?;
    file.write_at(&bytes, end)?;
    Ok(Some((file, end + bytes.len() as u64)))
}

/// The bytes of an index that count; `None` when there are fewer.
///
/// # Errors
/// When the file cannot be read; that it is not there is no error.
pub fn load<'b>(disk: &dyn Disk, path: &Path, end: u64, buffer: &'b mut Vec<u8>) -> io::Result<Option<&'b [u8]>> {
    let file = match disk.open(path, Open::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    if file.len()? < end {
        return Ok(None);
    }
    buffer.resize(usize::try_from(end).map_err(|_| io::ErrorKind::FileTooLarge)?, 0);
    let read = file.read_at(buffer, 0)?;
    Ok(Some(&**buffer).filter(|bytes| bytes.len() == read))
}

/// Hands the entries of an index to `each`, in order, up to the first damage.
///
/// # Errors
/// When the bytes are not what was written for this segment; what was handed out counts for nothing then.
pub fn read(bytes: &[u8], id: SegmentId, mut each: impl FnMut(Entry)) -> Result<(), BadSegment> {
    check_file_header(bytes, MAGIC, FORMAT..=FORMAT, id)?;
    let mut cursor = Cursor(bytes.get(HEADER..).unwrap_or_default());
    let mut from = 0;
    while !cursor.is_empty() {
        let entries = chunk(&mut cursor).ok_or(BadSegment::Damaged)?;
        for entry in entries.chunks_exact(ENTRY) {
            let entry = parse(entry).filter(|entry| entry.position >= from).ok_or(BadSegment::Damaged)?;
            from = entry.position.checked_add(1).ok_or(BadSegment::Damaged)?;
            each(entry);
        }
    }
    Ok(())
}

/// The entries of the next chunk, if it is whole.
fn chunk<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    let count = cursor.u32()?;
    let crc = cursor.u32()?;
    let entries = cursor.bytes(usize::try_from(count).ok()?.checked_mul(ENTRY)?)?;
    let whole = crc32c::crc32c_append(crc32c::crc32c(&count.to_le_bytes()), entries) == crc;
    whole.then_some(entries)
}

#[inline]
fn parse(bytes: &[u8]) -> Option<Entry> {
    let mut cursor = Cursor(bytes);
    let (position, offset, due) = (cursor.u64()?, cursor.u64()?, cursor.u64()?);
    let (priority, flags) = (cursor.u8()?, cursor.u8()?);
    Some(Entry { position, offset, due: NonZeroU64::new(due), priority, transient: flags & TRANSIENT != 0 })
}

/// Where the messages of a segment lie: eight bytes for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places(Vec<Run>);

/// Positions and offsets beyond these by no more than four bytes can say.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    position: u64,
    offset: u64,
    beyond: Vec<(u32, u32)>,
}

impl Run {
    fn beyond(&self, position: u64, offset: u64) -> Option<(u32, u32)> {
        let position = u32::try_from(position.checked_sub(self.position)?).ok()?;
        Some((position, u32::try_from(offset.checked_sub(self.offset)?).ok()?))
    }
}

impl Places {
    /// Number of messages.
    pub fn len(&self) -> usize {
        self.0.iter().map(|run| run.beyond.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a message behind those that are there.
    pub fn push(&mut self, position: u64, offset: u64) {
        if let Some(run) = self.0.last_mut()
            && let Some(beyond) = run.beyond(position, offset)
        {
            return run.beyond.push(beyond);
        }
        self.0.push(Run { position, offset, beyond: vec![(0, 0)] });
    }

    /// Where the record of a message begins.
    pub fn get(&self, position: u64) -> Option<u64> {
        let run = self.0.get(self.0.partition_point(|run| run.position <= position).checked_sub(1)?)?;
        let (wanted, _) = run.beyond(position, run.offset)?;
        // Where every message has an entry, its position says which one it is.
        let guess = run.beyond.get(wanted as usize).filter(|(position, _)| *position == wanted);
        let searched = || run.beyond.get(run.beyond.binary_search_by_key(&wanted, |(position, _)| *position).ok()?);
        guess.or_else(searched).map(|(_, offset)| run.offset + u64::from(*offset))
    }

    /// Nothing is added any more.
    pub fn shrink(&mut self) {
        self.0.shrink_to_fit();
        self.0.iter_mut().for_each(|run| run.beyond.shrink_to_fit());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const ID: SegmentId = SegmentId { store: 1, queue: 2, number: 3 };

    fn entry(n: u64) -> Entry {
        let (position, offset, due) = (n * 3, 64 + n * 40, NonZeroU64::new((n % 2) * n));
        Entry { position, offset, due, priority: n as u8, transient: n % 5 == 4 }
    }

    /// An index in two chunks.
    fn written(entries: &[Entry]) -> Vec<u8> {
        let (first, second) = entries.split_at(entries.len() / 2);
        let mut bytes = encode(ID, 0, first);
        let end = bytes.len() as u64;
        bytes.extend_from_slice(&encode(ID, end, second));
        bytes
    }

    fn read_all(bytes: &[u8]) -> Result<Vec<Entry>, BadSegment> {
        let mut all = Vec::new();
        read(bytes, ID, |entry| all.push(entry)).map(|()| all)
    }

    #[test]
    fn entries_are_read_as_written() {
        let entries: Vec<_> = (0..9).map(entry).collect();
        assert_eq!(read_all(&written(&entries)).unwrap(), entries);
        assert!(encode(ID, 0, &[]).is_empty());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_but_between_chunks_is_noticed() {
        let entries: Vec<_> = (0..4).map(entry).collect();
        let bytes = written(&entries);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(read_all(&damaged).is_err(), "bit {bit}");
        }
        let between = [HEADER, HEADER + CHUNK_HEADER + 2 * ENTRY];
        for end in (0..bytes.len()).filter(|end| !between.contains(end)) {
            assert!(read_all(&bytes[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn entries_out_of_order_are_damage() {
        assert_eq!(read_all(&encode(ID, 0, &[entry(3), entry(2)])), Err(BadSegment::Damaged));
        assert_eq!(read_all(&encode(ID, 0, &[entry(3), entry(3)])), Err(BadSegment::Damaged));
    }

    proptest! {
        #[test]
        fn places_are_a_map(steps in proptest::collection::vec((1_u64..1 << 33, 1_u64..1 << 33), 0..50), near: bool) {
            let (mut places, mut model) = (Places::default(), BTreeMap::new());
            let (mut position, mut offset) = (0, 0);
            for (further, longer) in steps {
                position += if near { further % 5 + 1 } else { further };
                offset += if near { longer % 500 + 1 } else { longer };
                places.push(position, offset);
                model.insert(position, offset);
            }
            prop_assert_eq!(places.len(), model.len());
            let wanted = model.keys().flat_map(|p| [p - 1, *p, p + 1]).chain([0, u64::MAX]);
            for position in wanted {
                prop_assert_eq!(places.get(position), model.get(&position).copied());
            }
        }
    }
}
