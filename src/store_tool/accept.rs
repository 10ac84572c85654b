//! Gives up what is damaged, so that the queues are served again with everything that is whole.
//!
//! Damaged segments are written anew without what is damaged in them; the store is opened as a node opens it, everything
//! that the journal has is moved to segments, and one checkpoint of the manifest says all of that at once: the damaged
//! blocks are behind, the notes of damage are gone. Until that checkpoint nothing is changed that anybody reads, so this
//! may be interrupted at any time and begun again.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::inspect::{Inspection, read_segment};
use super::walk::{Seen, walk};
use super::{ToolError, print, rebuild};
use crate::frames::Table;
use crate::message::memory::MemoryAccount;
use crate::persist::DataDir;
use crate::persist::disk::{Disk, Open};
use crate::persist::index;
use crate::persist::journal::SyncMode;
use crate::persist::recovery::FoundQueue;
use crate::persist::segment::{SegmentId, encode_header, path, put_record};
use crate::persist::shelf::{Rewrite, Segment, Shelf, Written};
use crate::persist::store::{LOOK_AT_SEGMENTS, Opened, Settings, Store};
use crate::queue::local::Shared;
use crate::queue::{Queue, QueueSpec};

/// Bytes of a journal file where there is none to go by.
const JOURNAL_FILE: u64 = 32 << 20;
const SEGMENT: u64 = 16 << 20;

/// Says what is lost and, when that is wanted, gives it up. True when everything is whole afterwards.
pub fn accept(disk: &Arc<dyn Disk>, dir: &Path, yes: bool) -> Result<bool, ToolError> {
    let (looked, wrong) = DataDir::look(&**disk, dir)?;
    let inspection = inspect(&**disk, &looked, &wrong)?;
    if inspection.is_hopeless() || !inspection.has_losses() {
        print::everything(&inspection);
        print::advice(&inspection);
        return Ok(inspection.findings.is_empty());
    }
    print::losses(&inspection);
    if !yes {
        println!("\nNothing has been changed. To give this up, run the same command with --yes.");
        return Ok(false);
    }
    drop(looked);
    let data_dir = DataDir::open(&**disk, dir, None)?;
    give_up(disk, &data_dir)?;
    let inspection = inspect(&**disk, &data_dir, &[])?;
    if inspection.has_losses() {
        print::everything(&inspection);
        return Err(ToolError::Refused("there is damage that could not be cleared, see above".to_owned()));
    }
    print::served_again(&inspection);
    Ok(true)
}

fn inspect(disk: &dyn Disk, data_dir: &DataDir, wrong: &[&str]) -> Result<Inspection, ToolError> {
    let mut inspection = Inspection::read(disk, data_dir, wrong)?;
    inspection.read_segments(disk)?;
    Ok(inspection)
}

fn give_up(disk: &Arc<dyn Disk>, data_dir: &DataDir) -> Result<(), ToolError> {
    let inspection = Inspection::read(&**disk, data_dir, &[])?;
    let (dir, id) = (data_dir.path().join("store"), data_dir.identity().number());
    if inspection.lost_manifest {
        let content = rebuild::content(&**disk, &dir, id, &inspection.declared)?;
        rebuild::write(Arc::clone(disk), &dir, id, content)?;
    }
    let settings = Settings {
        dir: dir.clone(),
        mode: SyncMode::Fsync,
        journal_file: most_common(&inspection.file_sizes).unwrap_or(JOURNAL_FILE),
        journal_keep: 2,
        segment: SEGMENT,
        disk_limit: 0,
        paging_ratio: 1.0,
        look_at_segments: LOOK_AT_SEGMENTS,
    };
    let Opened { store, queues, .. } = Store::open(Arc::clone(disk), settings, id, MemoryAccount::new(u64::MAX))?;
    let names = |id: u64, found: &FoundQueue| {
        let declared = inspection.declared.iter().find(|record| record.id == id);
        let declared = declared.map(|record| (record.vhost.clone(), record.name.clone()));
        declared.or_else(|| found.names.clone()).unwrap_or_default()
    };
    let mut residents = Vec::new();
    // Also those that are not declared: a catalog that is rebuilt may lack queues.
    for (store_id, mut found) in queues {
        mend(&**disk, &mut found.shelf, id).map_err(ToolError::io(&found.shelf.dir()))?;
        found.damage.clear();
        let (vhost, name) = names(store_id, &found);
        residents.push(Queue::new(
            store_id,
            spec(&vhost, &name, store_id),
            &Arc::default(),
            Shared::alone(Some(Arc::clone(&store))),
            Some(found),
        ));
    }
    let done = store.leave_journal().map_err(ToolError::io(&dir));
    store.close();
    done
}

/// The size that most files have.
fn most_common(sizes: &[u64]) -> Option<u64> {
    sizes.iter().copied().max_by_key(|size| sizes.iter().filter(|other| *other == size).count())
}

/// A queue of which only the messages matter.
fn spec(vhost: &str, name: &str, store_id: u64) -> QueueSpec {
    QueueSpec {
        vhost: vhost.into(),
        name: name.into(),
        durable: true,
        auto_delete: false,
        exclusive_owner: None,
        arguments: Table::default(),
        store_id,
        ..QueueSpec::default()
    }
}

/// Replaces the segments that are damaged.
fn mend(disk: &dyn Disk, shelf: &mut Shelf, store: u64) -> io::Result<()> {
    let segments: Vec<Segment> = shelf.segments().cloned().collect();
    for segment in segments {
        if !read_segment(disk, shelf, &segment)?.is_as_expected(&segment) {
            rewrite(disk, shelf, store, &segment)?;
        }
    }
    Ok(())
}

/// Writes what is whole of a segment, and lives, to a new one.
fn rewrite(disk: &dyn Disk, shelf: &mut Shelf, store: u64, segment: &Segment) -> io::Result<()> {
    let Some(span) = shelf.plan_read(segment.first) else { return Ok(()) };
    let number = shelf.next_segment();
    let mut bytes = encode_header(SegmentId { store, queue: shelf.queue, number });
    let mut written = Written::new(number, segment.indexed, 0);
    walk(disk, &span, segment.first..=segment.last, |seen| {
        if let Seen::Record(record) = seen
            && !record.transient
            && !shelf.is_dead(record.position)
        {
            written.note(bytes.len() as u64, record.position, false, record.traits, record.parts.body.len());
            put_record(&mut bytes, record.position, false, record.traits, record.parts);
        }
    })?;
    if !written.records.is_empty() {
        let dir = shelf.dir();
        disk.create_dir(&dir)?;
        let file = disk.open(&path(&dir, number), Open::Create)?;
        file.set_len(0)?;
        file.write_at(&bytes, 0)?;
        file.sync_data()?;
        let id = SegmentId { store, queue: shelf.queue, number };
        if let Some((file, end)) = index::append(disk, &dir, id, 0, &written.entries)? {
            file.sync_data()?;
            written.index_end = end;
        }
        disk.sync_dir(&dir)?;
        written.end = bytes.len() as u64;
    }
    shelf.replace(&Rewrite { spans: vec![span], number, indexed: segment.indexed }, &written);
    Ok(())
}
