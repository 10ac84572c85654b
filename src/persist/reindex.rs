//! Reads the indexes of a queue at start, and makes those anew that are missing or damaged.
//!
//! Every living message with an entry gets its place in the [`Shelf`], and is listed in order. What cannot be read is made
//! of its segment: everything in an index is there too. Only when the segment is damaged as well is something lost.

use std::io;
use std::iter::Peekable;
use std::num::NonZeroU64;
use std::ops::Range;

use super::disk::Disk;
use super::index::{self, Entry, Places};
use super::segment::{HEADER, ReadError, Record, read_span};
use super::shelf::{Segment, Shelf};

/// A cold message that lives and can be found by its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexedMessage {
    pub position: u64,
    pub due: Option<NonZeroU64>,
    pub priority: u8,
}

/// What reading the indexes of a queue has brought.
#[derive(Debug, Default)]
pub struct Reindexed {
    pub messages: Vec<IndexedMessage>,
    /// Indexes that were made anew, and why.
    pub rebuilt: Vec<String>,
    /// Segments that could not be read when their indexes had to be made anew.
    pub damage: Vec<String>,
}

/// Bytes of a segment that are read at a time.
const READ: usize = 1 << 20;

/// Positions that rise, and which of them are dead.
struct Living<'a, I: Iterator<Item = Range<u64>>> {
    dead: Peekable<I>,
    messages: &'a mut Vec<IndexedMessage>,
}

impl<I: Iterator<Item = Range<u64>>> Living<'_, I> {
    /// Takes an entry of an earlier run; true when its message lives.
    #[inline]
    fn take(&mut self, entry: &Entry) -> bool {
        while self.dead.next_if(|range| range.end <= entry.position).is_some() {}
        let is_dead = self.dead.peek().is_some_and(|range| range.start <= entry.position);
        if entry.transient || is_dead {
            return false;
        }
        let Entry { position, due, priority, .. } = *entry;
        self.messages.push(IndexedMessage { position, due, priority });
        true
    }
}

/// Reads all indexes of a shelf that was just found.
///
/// # Errors
/// When a file cannot be read, for other reasons than damage.
pub fn reindex(disk: &dyn Disk, shelf: &mut Shelf) -> io::Result<Reindexed> {
    let mut found = Reindexed::default();
    let ends: u64 = shelf.segments().map(|s| s.index_end).sum();
    found.messages.reserve(usize::try_from(ends).unwrap_or(0) / index::ENTRY);
    let mut buffer = Vec::new();
    let numbers: Vec<u32> = shelf.segments().filter(|s| s.index_end > 0).map(|s| s.number).collect();
    for number in numbers {
        let Some(segment) = shelf.segments().find(|s| s.number == number) else { continue };
        let known = found.messages.len();
        let (places, end) = match read_index(disk, shelf, segment, &mut buffer, &mut found.messages)? {
            Some(places) => (places, segment.index_end),
            None => {
                found.messages.truncate(known);
                rebuild(disk, shelf, segment, &mut found)?
            }
        };
        shelf.set_index(number, places, end);
    }
    Ok(found)
}

/// `None` when it is missing or damaged.
fn read_index(
    disk: &dyn Disk,
    shelf: &Shelf,
    segment: &Segment,
    buffer: &mut Vec<u8>,
    messages: &mut Vec<IndexedMessage>,
) -> io::Result<Option<Places>> {
    let path = index::path(&shelf.dir(), segment.number);
    let Some(bytes) = index::load(disk, &path, segment.index_end, buffer)? else { return Ok(None) };
    let mut places = Places::default();
    let mut living = Living { dead: shelf.dead().iter_from(segment.first).peekable(), messages };
    let read = index::read(bytes, shelf.segment_id(segment.number), |entry| {
        if living.take(&entry) {
            places.push(entry.position, entry.offset);
        }
    });
    places.shrink();
    Ok(read.is_ok().then_some(places))
}

/// Makes an index anew of its segment. Its places, and the bytes of it that count.
fn rebuild(disk: &dyn Disk, shelf: &Shelf, segment: &Segment, found: &mut Reindexed) -> io::Result<(Places, u64)> {
    let path = index::path(&shelf.dir(), segment.number);
    let entries = match entries(disk, shelf, segment) {
        Ok(entries) => entries,
        Err(error @ ReadError::Damaged { .. }) => {
            found.damage.push(format!("{} is damaged or missing, and {error}", path.display()));
            return Ok((Places::default(), segment.index_end));
        }
        Err(ReadError::Io { error, .. }) => return Err(error),
    };
    let mut places = Places::default();
    let mut living = Living { dead: shelf.dead().iter_from(segment.first).peekable(), messages: &mut found.messages };
    for entry in &entries {
        if living.take(entry) {
            places.push(entry.position, entry.offset);
        }
    }
    places.shrink();
    let why = if segment.index_end == index::UNKNOWN { "is not there yet" } else { "is damaged or missing" };
    let text = |what: &str| format!("{} {why}; {what}", path.display());
    let end = match write(disk, shelf, segment, &entries) {
        Ok(end) => {
            found.rebuilt.push(text("it is made anew of its segment"));
            end
        }
        Err(error) => {
            found.rebuilt.push(text(&format!("it cannot be written anew ({error}), and the next start tries again")));
            index::UNKNOWN
        }
    };
    Ok((places, end))
}

/// What the index of a segment has to say.
///
/// # Errors
/// When the segment cannot be read, or is damaged.
pub fn entries(disk: &dyn Disk, shelf: &Shelf, segment: &Segment) -> Result<Vec<Entry>, ReadError> {
    let mut span = shelf.span(segment, HEADER as u64);
    let (mut entries, mut buffer) = (Vec::new(), Vec::new());
    while span.offset < span.end {
        let mut offset = span.offset;
        span.offset = read_span(disk, &span, READ, &mut buffer, |record| {
            if segment.indexed.wants(record.traits) {
                entries.push(record.entry(offset));
            }
            offset += record.length as u64;
            true
        })?;
    }
    Ok(entries)
}

/// Reads every message in the segments of a shelf that was just found, in order.
///
/// # Errors
/// When a segment cannot be read, or is damaged.
pub fn each_living(disk: &dyn Disk, shelf: &Shelf, mut each: impl FnMut(Record<'_>)) -> Result<(), ReadError> {
    let mut buffer = Vec::new();
    for segment in shelf.segments() {
        let mut span = shelf.span(segment, HEADER as u64);
        while span.offset < span.end {
            span.offset = read_span(disk, &span, READ, &mut buffer, |record| {
                if !record.transient && !shelf.is_dead(record.position) {
                    each(record);
                }
                true
            })?;
        }
    }
    Ok(())
}

fn write(disk: &dyn Disk, shelf: &Shelf, segment: &Segment, entries: &[Entry]) -> io::Result<u64> {
    let (dir, id) = (shelf.dir(), shelf.segment_id(segment.number));
    let Some((file, end)) = index::append(disk, &dir, id, 0, entries)? else { return Ok(0) };
    file.sync_data()?;
    disk.sync_dir(&dir)?;
    Ok(end)
}

#[cfg(test)]
mod tests;
