//! Segment files: the messages of one queue that have left the journal, in order of their positions.
//!
//! ```text
//! header (64 bytes)                       record
//!  0 magic "LEVSEGM1"                      0 length of what follows the CRC, u32
//!  8 format u32 (2)                        4 CRC32C u32 of the length and of what follows
//! 12 number of the segment u32             8 position u64
//! 16 store u64                            16 flags u8: 1 transient, gone after a restart; 2 due; 4 priority;
//! 24 queue u64                               8 time; 16 persistent, in a queue that is not durable; 32 hidden:
//! 32 CRC32C u32 of bytes 0 to 32             it has a header BCC
//! 36 zeros                                17 length of the route u16
//!                                         19 length of the properties u32
//!                                         23 with their flags: when it was published u64, when it is due u64, priority u8
//!                                            route, properties, body
//! ```
//!
//! Files of format 1 have no flags but the first; they are read, and not written any more.
//!
//! How many bytes of a file count is in the manifest; what lies behind them is from a flush that was not finished.

use std::io;
use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, DiskFile, Open};
use super::encoding::Cursor;
use super::index::Entry;
use super::journal::item::Parts;
use crate::message::Traits;

const MAGIC: &[u8; 8] = b"LEVSEGM1";
const FORMAT: u32 = 2;
/// Formats that are read: what an earlier one lacks is not there.
const OLDEST_FORMAT: u32 = 1;
/// Bytes before the first record.
pub const HEADER: usize = 64;
/// Bytes of a record before its payload.
const RECORD_HEADER: usize = 8;
/// Bytes of a single record that are read before it is known how long it is.
const READ_AT_ONCE: usize = 1024;
/// Bytes of a record's payload before route, properties and body.
const FIXED: usize = 15;
const TRANSIENT: u8 = 1;
const DUE: u8 = 2;
const PRIORITY: u8 = 4;
const AT: u8 = 8;
const PERSISTENT: u8 = 16;
const HIDDEN: u8 = 32;

/// Names a segment of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentId {
    pub store: u64,
    pub queue: u64,
    pub number: u32,
}

/// The directory of a queue's segments.
pub fn queue_dir(root: &Path, queue: u64) -> PathBuf {
    root.join(format!("{queue:016x}"))
}

/// The file of a segment.
pub fn path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:08}.segment"))
}

/// The number in a segment file's name.
pub fn number_of(name: &str) -> Option<u32> {
    name.strip_suffix(".segment")?.parse().ok()
}

/// Why a segment cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadSegment {
    Damaged,
    /// Of another queue, another data directory, or another place in the queue.
    Foreign,
    Newer(u32),
}

/// The first bytes of a segment file.
pub fn encode_header(id: SegmentId) -> Vec<u8> {
    header(id, FORMAT)
}

fn header(id: SegmentId, format: u32) -> Vec<u8> {
    file_header(MAGIC, format, id)
}

/// The first bytes of a file that belongs to a segment.
pub fn file_header(magic: &[u8; 8], format: u32, id: SegmentId) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER);
    bytes.extend_from_slice(magic);
    bytes.extend_from_slice(&format.to_le_bytes());
    bytes.extend_from_slice(&id.number.to_le_bytes());
    bytes.extend_from_slice(&id.store.to_le_bytes());
    bytes.extend_from_slice(&id.queue.to_le_bytes());
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.resize(HEADER, 0);
    bytes
}

/// Checks the first bytes of a segment file.
///
/// # Errors
/// When they are not what was written for this segment, or of a later format.
pub fn check_header(bytes: &[u8], id: SegmentId) -> Result<(), BadSegment> {
    check_file_header(bytes, MAGIC, OLDEST_FORMAT..=FORMAT, id)
}

/// The same for any file that belongs to a segment; `formats` are those that are read.
///
/// # Errors
/// See [`check_header`].
pub fn check_file_header(
    bytes: &[u8],
    magic: &[u8; 8],
    formats: RangeInclusive<u32>,
    id: SegmentId,
) -> Result<(), BadSegment> {
    let format = Cursor(bytes.get(8..).unwrap_or_default()).u32();
    let known = format.filter(|format| formats.contains(format));
    let expected = file_header(magic, known.unwrap_or(*formats.end()), id);
    if bytes.get(..HEADER) == Some(&*expected) {
        return Ok(());
    }
    let whole = bytes.get(..8) == Some(magic)
        && bytes.get(32..).and_then(|rest| Cursor(rest).u32()) == bytes.get(..32).map(crc32c::crc32c);
    match format {
        Some(format) if whole && known.is_none() => Err(BadSegment::Newer(format)),
        _ if whole && bytes.get(..32) != expected.get(..32) => Err(BadSegment::Foreign),
        _ => Err(BadSegment::Damaged),
    }
}

/// Appends a record; says how long it is. `transient`: it is gone after a restart, though its message may be persistent.
#[inline]
pub fn put_record(out: &mut Vec<u8>, position: u64, transient: bool, traits: Traits, parts: Parts<'_>) -> usize {
    let content = parts.route.len() + parts.properties.len() + parts.body.len();
    let start = out.len();
    out.reserve(RECORD_HEADER + FIXED + OPTIONAL + content);
    out.extend_from_slice(&[0; RECORD_HEADER]);
    out.extend_from_slice(&position.to_le_bytes());
    out.push(flags(transient, traits));
    out.extend_from_slice(&u16::try_from(parts.route.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(&u32::try_from(parts.properties.len()).unwrap_or(u32::MAX).to_le_bytes());
    if traits.at > 0 {
        out.extend_from_slice(&traits.at.to_le_bytes());
    }
    if let Some(due) = traits.due {
        out.extend_from_slice(&due.get().to_le_bytes());
    }
    if traits.priority > 0 {
        out.push(traits.priority);
    }
    out.extend_from_slice(parts.route);
    out.extend_from_slice(parts.properties);
    out.extend_from_slice(parts.body);
    let length = u32::try_from(out.len() - start - RECORD_HEADER).unwrap_or(u32::MAX).to_le_bytes();
    let crc = out.get(start + RECORD_HEADER..).map_or(0, |rest| crc32c::crc32c_append(crc32c::crc32c(&length), rest));
    if let Some((place, _)) = out.get_mut(start..).and_then(|record| record.split_first_chunk_mut::<4>()) {
        *place = length;
    }
    if let Some(place) = out.get_mut(start + 4..start + RECORD_HEADER) {
        place.copy_from_slice(&crc.to_le_bytes());
    }
    out.len() - start
}

/// Bytes that the traits of a message take at most.
const OPTIONAL: usize = 17;

fn flags(transient: bool, traits: Traits) -> u8 {
    let flag = |flag, is_set| if is_set { flag } else { 0 };
    flag(TRANSIENT, transient)
        | flag(DUE, traits.due.is_some())
        | flag(PRIORITY, traits.priority > 0)
        | flag(AT, traits.at > 0)
        | flag(PERSISTENT, transient && traits.persistent)
        | flag(HIDDEN, traits.hidden)
}

/// A record, in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub position: u64,
    /// Gone after a restart.
    pub transient: bool,
    pub traits: Traits,
    pub parts: Parts<'a>,
    /// The parts in one piece.
    pub content: &'a [u8],
    /// Bytes of the record.
    pub length: usize,
}

impl Record<'_> {
    /// What an index says of it when it begins at `offset`.
    pub fn entry(&self, offset: u64) -> Entry {
        let Traits { due, priority, .. } = self.traits;
        Entry { position: self.position, offset, due, priority, transient: self.transient }
    }
}

/// What stands at the beginning of some bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read<'a> {
    Record(Record<'a>),
    /// So many bytes are needed to read the record.
    Needs(usize),
    Damaged,
}

/// Reads the record at the beginning of `bytes`.
#[inline]
pub fn read_record(bytes: &[u8]) -> Read<'_> {
    let mut cursor = Cursor(bytes);
    let (Some(length), Some(crc)) = (cursor.u32(), cursor.u32()) else { return Read::Needs(RECORD_HEADER) };
    let length = length as usize;
    if length < FIXED {
        return Read::Damaged;
    }
    let Some(payload) = cursor.bytes(length) else { return Read::Needs(RECORD_HEADER + length) };
    let of_length = bytes.get(..4).map_or(0, crc32c::crc32c);
    if crc32c::crc32c_append(of_length, payload) != crc {
        return Read::Damaged;
    }
    parse(payload).map_or(Read::Damaged, Read::Record)
}

#[inline]
fn parse(payload: &[u8]) -> Option<Record<'_>> {
    let mut cursor = Cursor(payload);
    let position = cursor.u64()?;
    let flags = cursor.u8()?;
    (flags & !(TRANSIENT | DUE | PRIORITY | AT | PERSISTENT | HIDDEN) == 0).then_some(())?;
    let transient = flags & TRANSIENT != 0;
    let route = usize::from(u16::from_le_bytes(*cursor.bytes(2)?.first_chunk()?));
    let properties = usize::try_from(cursor.u32()?).ok()?;
    let at = if flags & AT != 0 { cursor.u64()? } else { 0 };
    let due = if flags & DUE != 0 { Some(NonZeroU64::new(cursor.u64()?)?) } else { None };
    let priority = if flags & PRIORITY != 0 { cursor.u8()? } else { 0 };
    let persistent = !transient || flags & PERSISTENT != 0;
    let traits = Traits { at, due, priority, persistent, hidden: flags & HIDDEN != 0 };
    let content = cursor.0;
    let parts = Parts { route: cursor.bytes(route)?, properties: cursor.bytes(properties)?, body: cursor.0 };
    Some(Record { position, transient, traits, parts, content, length: RECORD_HEADER + payload.len() })
}

/// A part of a segment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub path: PathBuf,
    pub id: SegmentId,
    /// Where to begin: [`HEADER`] or the end of a record.
    pub offset: u64,
    /// Bytes of the file that count.
    pub end: u64,
    /// Transient records in it are from an earlier run and count for nothing.
    pub old: bool,
}

/// Why messages cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("{path} at byte {offset}: {what}", path = .path.display())]
    Damaged { path: PathBuf, offset: u64, what: String },
    #[error("{path} cannot be read: {error}", path = .path.display())]
    Io { path: PathBuf, error: io::Error },
}

/// Reads records from a span, about `most` bytes of them and at least one, and hands each to `each` until it says
/// `false`. Returns where to go on: the span's end when everything has been read.
///
/// # Errors
/// When the file cannot be read, or is damaged.
pub fn read_span(
    disk: &dyn Disk,
    span: &Span,
    most: usize,
    buffer: &mut Vec<u8>,
    mut each: impl FnMut(Record<'_>) -> bool,
) -> Result<u64, ReadError> {
    let io = |error| ReadError::Io { path: span.path.clone(), error };
    let damaged = |offset, what: &str| ReadError::Damaged { path: span.path.clone(), offset, what: what.to_owned() };
    let file = open(disk, &span.path)?;
    if span.offset <= HEADER as u64 {
        check_file(&*file, &span.path, span.id)?;
    }
    let mut offset = span.offset.max(HEADER as u64);
    let mut wanted = most.max(RECORD_HEADER);
    let mut read_any = false;
    while offset < span.end {
        let length = usize::try_from(span.end - offset).unwrap_or(usize::MAX).min(wanted);
        fill(&*file, buffer, offset, length).map_err(io)?;
        let mut at = 0;
        loop {
            match read_record(buffer.get(at..).unwrap_or_default()) {
                Read::Record(record) => {
                    at += record.length;
                    read_any = true;
                    if !each(record) {
                        return Ok(offset + at as u64);
                    }
                }
                Read::Damaged => return Err(damaged(offset + at as u64, "a record is damaged")),
                Read::Needs(bytes) => {
                    if offset + (at + bytes) as u64 > span.end && offset + (at as u64) < span.end {
                        return Err(damaged(offset + at as u64, "a record is cut off"));
                    }
                    wanted = bytes.max(wanted);
                    break;
                }
            }
        }
        if buffer.len() < length {
            return Err(damaged(offset + buffer.len() as u64, "the file is too short"));
        }
        offset += at as u64;
        if read_any {
            break;
        }
    }
    Ok(offset)
}

/// Where one message is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The directory of its queue.
    pub dir: Arc<Path>,
    pub id: SegmentId,
    pub position: u64,
    /// Where its record begins.
    pub offset: u64,
    /// Bytes of the file that count.
    pub end: u64,
}

/// Reads records one by one. Those of one segment that are asked for one after the other are read from one open file.
pub struct OneByOne<'d> {
    disk: &'d dyn Disk,
    file: OpenFile,
    buffer: Vec<u8>,
}

/// A segment's file, while one is open.
type OpenFile = Option<(SegmentId, Box<dyn DiskFile>)>;

impl<'d> OneByOne<'d> {
    pub fn new(disk: &'d dyn Disk) -> Self {
        Self { disk, file: None, buffer: Vec::new() }
    }

    /// Reads one record if it need not be waited for. Otherwise the disk begins with it, which may be reading others at the
    /// same time, and `None` says that it is to be read later.
    ///
    /// # Errors
    /// See [`OneByOne::read`].
    pub fn read_now(&mut self, place: &Place) -> Result<Option<Record<'_>>, ReadError> {
        let Self { disk, file, buffer } = self;
        let file = go_to(*disk, file, place)?;
        buffer.resize(place.rest().min(READ_AT_ONCE), 0);
        let read = if buffer.is_empty() { None } else { file.read_now(buffer, place.offset).map_err(place.io())? };
        buffer.truncate(read.unwrap_or_default());
        match read_record(buffer) {
            Read::Needs(bytes) => {
                // What is wrong with the file is said to whoever reads it.
                file.will_read(place.offset, bytes.max(READ_AT_ONCE) as u64);
                Ok(None)
            }
            found => place.check(found).map(Some),
        }
    }

    /// Reads one record.
    ///
    /// # Errors
    /// When the file cannot be read, or another record or none is found there.
    pub fn read(&mut self, place: &Place) -> Result<Record<'_>, ReadError> {
        let Self { disk, file, buffer } = self;
        let file = go_to(*disk, file, place)?;
        let rest = place.rest();
        fill(file, buffer, place.offset, rest.min(READ_AT_ONCE)).map_err(place.io())?;
        if let Read::Needs(bytes) = read_record(buffer) {
            if bytes > rest {
                return Err(place.damaged("a record is cut off"));
            }
            fill(file, buffer, place.offset, bytes).map_err(place.io())?;
        }
        place.check(read_record(buffer))
    }
}

impl Place {
    fn path(&self) -> PathBuf {
        path(&self.dir, self.id.number)
    }

    fn io(&self) -> impl Fn(io::Error) -> ReadError {
        |error| ReadError::Io { path: self.path(), error }
    }

    fn damaged(&self, what: &str) -> ReadError {
        ReadError::Damaged { path: self.path(), offset: self.offset, what: what.to_owned() }
    }

    /// Bytes of the file from here on.
    fn rest(&self) -> usize {
        usize::try_from(self.end.saturating_sub(self.offset)).unwrap_or(usize::MAX)
    }

    /// What was found here, if it is what should be.
    fn check<'b>(&self, found: Read<'b>) -> Result<Record<'b>, ReadError> {
        match found {
            Read::Record(record) if record.position == self.position => Ok(record),
            Read::Record(_) => Err(self.damaged("a record is not in its place")),
            Read::Damaged => Err(self.damaged("a record is damaged")),
            Read::Needs(_) => Err(self.damaged("the file is too short for the record")),
        }
    }
}

/// The file of a place, opened when it is not the one that is open.
fn go_to<'f>(disk: &dyn Disk, file: &'f mut OpenFile, place: &Place) -> Result<&'f dyn DiskFile, ReadError> {
    let (_, file) = match file.take().filter(|(id, _)| *id == place.id) {
        Some(same) => file.insert(same),
        None => {
            let path = place.path();
            let opened = open(disk, &path)?;
            check_file(&*opened, &path, place.id)?;
            file.insert((place.id, opened))
        }
    };
    Ok(&**file)
}

fn open(disk: &dyn Disk, path: &Path) -> Result<Box<dyn DiskFile>, ReadError> {
    disk.open(path, Open::Read).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            ReadError::Damaged { path: path.to_path_buf(), offset: 0, what: "the file is missing".to_owned() }
        }
        _ => ReadError::Io { path: path.to_path_buf(), error },
    })
}

fn check_file(file: &dyn DiskFile, path: &Path, id: SegmentId) -> Result<(), ReadError> {
    let mut header = [0; HEADER];
    file.read_at(&mut header, 0).map_err(|error| ReadError::Io { path: path.to_path_buf(), error })?;
    let what = "the header is damaged".to_owned();
    check_header(&header, id).map_err(|_| ReadError::Damaged { path: path.to_path_buf(), offset: 0, what })
}

fn fill(file: &dyn DiskFile, buffer: &mut Vec<u8>, offset: u64, length: usize) -> io::Result<()> {
    buffer.resize(length, 0);
    let read = file.read_at(buffer, offset)?;
    buffer.truncate(read);
    Ok(())
}

#[cfg(test)]
mod tests;
