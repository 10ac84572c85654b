//! A manifest made of the segments that are there, when both copies of it are lost.
//!
//! What only the manifest knew is which messages of the segments had been settled: those whose acknowledgements are not
//! in the journal any more come again. Everything that the journal still holds is read.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use super::ToolError;
use super::walk::{Seen, walk};
use crate::persist::disk::{Disk, Open};
use crate::persist::index::{self, Indexed};
use crate::persist::journal::replay::scan;
use crate::persist::manifest::{Content, Loaded, Manifest, newest};
use crate::persist::ranges::Ranges;
use crate::persist::record::QueueRecord;
use crate::persist::segment::{HEADER, SegmentId, Span, number_of, path, queue_dir};
use crate::persist::shelf::{Segment, Shelf};
use crate::persist::state::QueueState;

/// What a manifest would say of what is there. `dir` is the store's directory.
pub fn content(disk: &dyn Disk, dir: &Path, id: u64, declared: &[QueueRecord]) -> Result<Content, ToolError> {
    let queues_dir = dir.join("queues");
    let mut queues = HashMap::new();
    for record in declared {
        let shelf = shelf(disk, &queues_dir, id, record.id)?;
        let state = QueueState {
            vhost: &record.vhost,
            name: &record.name,
            next_position: shelf.flushed(),
            // What of it has been delivered is not known.
            horizon: shelf.flushed(),
            returns: Default::default(),
            held_back: Default::default(),
            damage: vec!["both copies of the manifest were lost".to_owned()],
        };
        queues.insert(record.id, state.encode(&shelf).into());
    }
    let first_block = scan(disk, &dir.join("journal"), id)?.oldest();
    Ok(Content { queues, first_block, synced: 0 })
}

/// Writes it.
pub fn write(disk: std::sync::Arc<dyn Disk>, dir: &Path, id: u64, content: Content) -> Result<(), ToolError> {
    let dir = dir.join("manifest");
    let generation = newest(&*disk, &dir).map_err(ToolError::io(&dir))?;
    let loaded = Loaded { content, generation, ..Loaded::default() };
    let written = Manifest::begin(disk, &dir, id, loaded);
    written.map(drop).map_err(|error| ToolError::Refused(format!("{} cannot be written: {error:?}", dir.display())))
}

/// A segment as it was found, and the positions of the messages in it.
struct FoundSegment {
    segment: Segment,
    living: Ranges,
}

fn shelf(disk: &dyn Disk, queues_dir: &Path, store: u64, queue: u64) -> Result<Shelf, ToolError> {
    let dir = queue_dir(queues_dir, queue);
    let names = match disk.list(&dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        names => names.map_err(ToolError::io(&dir))?,
    };
    let mut found = Vec::new();
    for number in names.iter().filter_map(|name| number_of(name)) {
        let id = SegmentId { store, queue, number };
        found.extend(read(disk, &dir, id).map_err(ToolError::io(&dir))?);
    }
    found.sort_by_key(|f| (f.segment.first, f.segment.number));
    let next_segment = found.iter().map(|f| f.segment.number + 1).max().unwrap_or(0);
    // One that lies within those before it has been rewritten, and a crash has kept it from being removed.
    let mut end = 0;
    found.retain(|f| {
        let is_next = f.segment.first >= end;
        if is_next {
            end = f.segment.last + 1;
        }
        is_next
    });
    let mut dead = Ranges::new();
    let mut from = 0;
    for range in found.iter().flat_map(|f| f.living.iter()) {
        dead.insert_range(from..range.start);
        from = range.end;
    }
    dead.insert_range(from..end);
    Ok(Shelf::rebuilt(queues_dir, store, queue, found.into_iter().map(|f| f.segment), dead, next_segment))
}

/// `None` when there is no message in it.
fn read(disk: &dyn Disk, dir: &Path, id: SegmentId) -> io::Result<Option<FoundSegment>> {
    let path = path(dir, id.number);
    let end = disk.open(&path, Open::Read)?.len()?;
    let span = Span { path, id, offset: HEADER as u64, end, old: true };
    let (mut count, mut living, mut bounds) = (0, Ranges::new(), None);
    let (mut bodies, mut index_end) = (0, 0);
    walk(disk, &span, 0..=u64::MAX - 1, |seen| {
        if let Seen::Record(record) = seen {
            count += 1;
            if !record.transient {
                living.insert(record.position);
                bodies += record.parts.body.len() as u64;
            }
            if Indexed::Due.wants(record.traits) {
                index_end = index::UNKNOWN;
            }
            bounds = Some((bounds.map_or(record.position, |(first, _)| first), record.position));
        }
    })?;
    let Some((first, last)) = bounds.filter(|_| !living.is_empty()) else { return Ok(None) };
    let live = living.count();
    let number = id.number;
    let found = Segment { number, first, last, count, bytes: end, live, bodies, index_end, ..Segment::default() };
    let segment = Segment { old: true, ..found };
    Ok(Some(FoundSegment { segment, living }))
}
