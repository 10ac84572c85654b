//! Reading a segment from its first byte to its last, beyond what is damaged.

use std::io;
use std::ops::RangeInclusive;
use std::path::Path;

use crate::persist::disk::{Disk, Open};
use crate::persist::encoding::Cursor;
use crate::persist::segment::{BadSegment, HEADER, Read, Record, Span, check_header, read_record};

/// What is found on the way.
pub enum Seen<'a> {
    Record(Record<'a>),
    Damage { offset: u64, what: &'static str },
}

/// The content of a file, at most so many bytes; `None` when there is none.
pub fn read_file(disk: &dyn Disk, path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(path, Open::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let length = usize::try_from(file.len()?.min(most)).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; length];
    let count = file.read_at(&mut bytes, 0)?;
    bytes.truncate(count);
    Ok(Some(bytes))
}

/// Hands every record whose position is within `positions` to `each`, in order, and every damage.
///
/// # Errors
/// When the file cannot be read.
pub fn walk(
    disk: &dyn Disk,
    span: &Span,
    positions: RangeInclusive<u64>,
    mut each: impl FnMut(Seen<'_>),
) -> io::Result<()> {
    let Some(bytes) = read_file(disk, &span.path, span.end)? else {
        each(Seen::Damage { offset: 0, what: "the file is missing" });
        return Ok(());
    };
    match check_header(&bytes, span.id) {
        Ok(()) => {}
        Err(BadSegment::Newer(_)) => {
            each(Seen::Damage { offset: 0, what: "it was written by a newer version of Leveret" });
            return Ok(());
        }
        Err(BadSegment::Damaged) => each(Seen::Damage { offset: 0, what: "the header is damaged" }),
        Err(BadSegment::Foreign) => {
            each(Seen::Damage { offset: 0, what: "it is another queue's or another data directory's segment" });
            return Ok(());
        }
    }
    let (mut from, last) = positions.into_inner();
    let mut at = HEADER;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        match read_record(rest) {
            Read::Record(record) if record.position >= from && record.position <= last => {
                from = record.position.saturating_add(1);
                at += record.length;
                each(Seen::Record(record));
            }
            Read::Record(record) => {
                each(Seen::Damage { offset: at as u64, what: "a record is not in its place" });
                at += record.length;
            }
            Read::Damaged | Read::Needs(_) => {
                each(Seen::Damage { offset: at as u64, what: "a record is damaged" });
                at = next_record(&bytes, at, from..=last);
            }
        }
    }
    if (bytes.len() as u64) < span.end {
        each(Seen::Damage { offset: bytes.len() as u64, what: "the file is too short" });
    }
    Ok(())
}

/// Where the next whole record begins behind a damaged one; the end when there is none.
fn next_record(bytes: &[u8], damaged: usize, positions: RangeInclusive<u64>) -> usize {
    let is_record = |at: &usize| {
        let rest = bytes.get(*at..).unwrap_or_default();
        // Positions come before checksums: they cost nothing to look at.
        let position = Cursor(rest.get(8..).unwrap_or_default()).u64();
        position.is_some_and(|position| positions.contains(&position)) && matches!(read_record(rest), Read::Record(_))
    };
    // Its length is right more often than not; and a body may hold what looks like a record.
    let length = bytes.get(damaged..).and_then(|rest| Cursor(rest).u32()).map_or(0, |length| length as usize);
    let behind = damaged.saturating_add(8).saturating_add(length);
    if behind == bytes.len() || is_record(&behind) {
        return behind;
    }
    (damaged + 1..bytes.len()).find(is_record).unwrap_or(bytes.len())
}
