//! Writes the messages of a flush to segments of their queue, and to the indexes of those.

use super::*;
use crate::persist::disk::{DiskFile, Open};
use crate::persist::index;
use crate::persist::journal::item::Parts;
use crate::persist::resident::Flush;
use crate::persist::segment::{HEADER, SegmentId, encode_header, path, put_record};
use crate::persist::shelf::Written;

/// Files that are synced one by one; more are synced with everything else on the disk, which costs less.
pub(super) const FEW_FILES: usize = 8;
/// Bytes that are gathered before they are written.
pub(super) const CHUNK: usize = 1 << 20;

/// Files that have to be synced before what is in them counts.
#[derive(Default)]
pub(super) struct Touched {
    pub(super) files: Vec<Box<dyn DiskFile>>,
    pub(super) dirs: HashSet<PathBuf>,
    pub(super) count: usize,
}

impl Touched {
    pub(super) fn add(&mut self, file: Box<dyn DiskFile>, dir: PathBuf) {
        self.count += 1;
        if self.count <= FEW_FILES {
            self.files.push(file);
            self.dirs.insert(dir);
        } else {
            self.files.clear();
            self.dirs.clear();
        }
    }
}

/// Writes the messages of a flush, over as many segments as they need.
pub(super) struct SegmentWriter<'a> {
    store: &'a Store,
    flush: &'a Flush,
    root: PathBuf,
    buffer: Vec<u8>,
    file: Option<Box<dyn DiskFile>>,
    /// Segments that are written; the last one is open.
    written: Vec<Written>,
    files: Vec<Box<dyn DiskFile>>,
    /// The number of the next new segment.
    next: u32,
    /// Where the buffer goes.
    at: u64,
}

impl<'a> SegmentWriter<'a> {
    pub(super) fn new(store: &'a Store, flush: &'a Flush, root: PathBuf) -> Self {
        let (buffer, written, files) = (Vec::new(), Vec::new(), Vec::new());
        Self { store, flush, root, buffer, file: None, written, files, next: flush.next_segment, at: flush.offset }
    }

    pub(super) fn put(&mut self, position: u64, transient: bool, message: &Message) -> io::Result<()> {
        let full = self.at + self.buffer.len() as u64 >= self.store.settings.segment;
        let number = match self.written.last() {
            None => Some(self.flush.segment),
            Some(last) if full && !last.records.is_empty() => {
                self.next += 1;
                Some(self.next - 1)
            }
            Some(_) => None,
        };
        if let Some(number) = number {
            self.open(number)?;
        }
        let view = message.view();
        let parts = Parts { route: view.route, properties: view.properties, body: view.body };
        if let Some(last) = self.written.last_mut() {
            let offset = self.at + self.buffer.len() as u64;
            last.note(offset, position, transient, message.traits(), parts.body.len());
        }
        put_record(&mut self.buffer, position, transient, message.traits(), parts);
        if self.buffer.len() >= CHUNK { self.write() } else { Ok(()) }
    }

    fn open(&mut self, number: u32) -> io::Result<()> {
        let is_first = self.written.is_empty();
        self.close()?;
        let is_new = !is_first || self.flush.offset == 0;
        if is_new {
            self.store.disk.create_dir(&self.flush.dir)?;
        }
        self.file = Some(self.store.disk.open(&path(&self.flush.dir, number), Open::Create)?);
        self.at = if is_new { 0 } else { self.flush.offset };
        if is_new {
            self.buffer.extend_from_slice(&encode_header(self.id(number)));
            debug_assert_eq!(self.buffer.len(), HEADER);
        }
        let index_end = if is_new { 0 } else { self.flush.index_end };
        self.written.push(Written::new(number, self.flush.indexed, index_end));
        Ok(())
    }

    fn id(&self, number: u32) -> SegmentId {
        SegmentId { store: self.store.id, queue: self.flush.queue, number }
    }

    fn write(&mut self) -> io::Result<()> {
        if let Some(file) = &self.file {
            file.write_at(&self.buffer, self.at)?;
            self.at += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        self.write()?;
        let Some(file) = self.file.take() else { return Ok(()) };
        self.files.push(file);
        let Some(id) = self.written.last().map(|last| self.id(last.segment)) else { return Ok(()) };
        let Some(last) = self.written.last_mut() else { return Ok(()) };
        last.end = self.at;
        let disk = &*self.store.disk;
        if let Some((file, end)) = index::append(disk, &self.flush.dir, id, last.index_end, &last.entries)? {
            last.index_end = end;
            self.files.push(file);
        }
        Ok(())
    }

    pub(super) fn finish(mut self, touched: &mut Touched) -> io::Result<Vec<Written>> {
        self.close()?;
        self.store.note_shelf(self.flush.queue);
        if self.flush.keeps.is_durable() {
            for file in self.files {
                touched.add(file, self.flush.dir.clone());
            }
            if touched.count <= FEW_FILES {
                touched.dirs.insert(self.root);
            }
        }
        Ok(self.written)
    }
}
