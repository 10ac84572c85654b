//! The keeper: a thread that keeps the journal short, memory and disk within their limits, and the files in order.
//!
//! Every turn it does what there is to do: makes a spare journal file, empties the oldest full ones into segments, pages
//! queues out when memory is short, removes files that nobody needs, rewrites a segment that is mostly dead, looks at the
//! room on the disk. What fails for lack of room, or because the disk errs, is tried again with the next turn; publishers
//! wait meanwhile.

use std::sync::Weak;
use std::time::Instant;

use super::look::BALLAST_FILE;
use super::segment_writer::{CHUNK, FEW_FILES, SegmentWriter, Touched};
use super::*;
use crate::message::memory::resident_bytes;
use crate::persist::disk::Open;
use crate::persist::index;
use crate::persist::points;
use crate::persist::resident::{Extent, Flush, Plan};
use crate::persist::segment::{ReadError, SegmentId, encode_header, path, put_record, read_span};
use crate::persist::shelf::Written;

/// Bytes of the ballast.
const BALLAST: u64 = 32 << 20;
/// How often the room on the disk is looked at.
const LOOK_AT_DISK: Duration = Duration::from_millis(100);
/// How often windows of deduplication are saved for what the journal does not say of them.
const SAVE_WINDOWS: Duration = Duration::from_secs(3);
/// How long the keeper sleeps while a picture of the windows waits for a commit.
const SOON: Duration = Duration::from_millis(2);

pub(super) struct Keeper {
    store: Weak<Store>,
    bell: Arc<Signal>,
    looked_at_disk: Option<Instant>,
    looked_at_segments: Instant,
    saved_windows: Instant,
    /// Something will be possible in a moment.
    is_waiting: bool,
    has_ballast: bool,
}

impl Keeper {
    pub(super) fn new(store: &Arc<Store>) -> Self {
        Self {
            store: Arc::downgrade(store),
            bell: Arc::clone(&store.bell),
            looked_at_disk: None,
            looked_at_segments: Instant::now(),
            saved_windows: Instant::now(),
            is_waiting: false,
            has_ballast: store.disk.open(&store.ballast(), Open::Read).is_ok(),
        }
    }

    pub(super) fn run(mut self) {
        loop {
            self.bell.wait(if self.is_waiting { SOON } else { KEEPER_TICK });
            let Some(store) = self.store.upgrade() else { return };
            if store.is_at_rest() {
                store.at_end();
                return;
            }
            self.turn(&store);
        }
    }

    fn turn(&mut self, store: &Store) {
        store.memory.note_resident(resident_bytes());
        if store.windows.is_behind() && self.saved_windows.elapsed() >= SAVE_WINDOWS {
            self.saved_windows = Instant::now();
            store.windows.take_picture(&store.journal);
        }
        let worked = store.turn();
        self.is_waiting = store.windows.has_picture() || matches!(worked, Ok(false));
        if worked.as_ref().is_err_and(is_full) {
            self.give_up_ballast(store);
        }
        store.note_trouble(worked.err());
        if self.looked_at_segments.elapsed() >= store.settings.look_at_segments {
            self.looked_at_segments = Instant::now();
            store.rewrite_segments();
        }
        if self.looked_at_disk.is_none_or(|last| last.elapsed() >= LOOK_AT_DISK) {
            self.looked_at_disk = Some(Instant::now());
            self.look_at_disk(store);
        }
    }

    fn look_at_disk(&mut self, store: &Store) {
        let Ok(space) = store.space() else { return };
        let limit = store.disk_limit();
        if !self.has_ballast && space.free > limit + 2 * BALLAST && store.trouble().is_none() {
            self.has_ballast = store.make_ballast().is_ok();
        }
        store.judge_disk(space);
    }

    /// Makes room for what has to be written before anything can be removed.
    fn give_up_ballast(&mut self, store: &Store) {
        if std::mem::take(&mut self.has_ballast) {
            tracing::warn!(target: "leveret::store", "the disk is full: room that was kept for this is used");
            // When it cannot be removed, the next turn fails as this one did.
            let _ = store.disk.remove(&store.ballast());
        }
    }
}

/// Whether room on the disk would help.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl Store {
    /// Sets or clears the alarm of the disk.
    pub(super) fn judge_disk(&self, space: Space) {
        let on = space.free < self.disk_limit() || self.trouble().is_some();
        if self.disk_alarm.swap(on, Ordering::Relaxed) == on {
            return;
        }
        let (free, limit) = (space.free / 1_000_000, self.disk_limit() / 1_000_000);
        if on {
            tracing::warn!(
                target: "leveret",
                "{free} MB are free on the disk, the limit is {limit} MB: publishers wait until there is room"
            );
        } else {
            tracing::info!(target: "leveret", "{free} MB are free on the disk again: publishers go on");
        }
    }

    fn ballast(&self) -> PathBuf {
        self.settings.dir.join(BALLAST_FILE)
    }

    fn make_ballast(&self) -> io::Result<()> {
        let size = BALLAST.min(self.settings.journal_file);
        let file = self.disk.open(&self.ballast(), Open::Create)?;
        if file.len()? >= size {
            return Ok(());
        }
        let zeros = vec![0; CHUNK];
        let mut at = 0;
        while at < size {
            file.write_at(&zeros, at)?;
            at += CHUNK as u64;
        }
        file.sync_data()
    }

    /// Does what there is to do; false when more can be done in a moment.
    fn turn(&self) -> io::Result<bool> {
        // First what gives room, then what needs it; each is tried, whatever becomes of the others.
        let tidied = self.tidy();
        let saved = self.windows.write_picture(&self.journal);
        let spare = self.provide_spare();
        let emptied = self.empty_journal(spare.is_ok());
        let paged = self.page_out();
        let spare = spare.or_else(|_| self.provide_spare());
        let (is_all, last) = emptied.map_or_else(|error| (false, Some(error)), |is_all| (is_all, None));
        let mut failed: Vec<_> =
            [tidied, saved, paged, spare].into_iter().filter_map(Result::err).chain(last).collect();
        // There is a help against a full disk.
        failed.sort_by_key(|error| !is_full(error));
        failed.into_iter().next().map_or(Ok(is_all), Err)
    }

    /// Makes a spare journal file, where the disk has room for it and a little more.
    fn provide_spare(&self) -> io::Result<()> {
        if self.journal.files().has_spare() {
            return Ok(());
        }
        if self.space()?.free < self.settings.journal_file + (1 << 20) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.journal.provide_spare()
    }

    /// The last turn: whatever is said now stands in the files that the next start reads.
    fn at_end(&self) {
        let known = self.manifest.lock().content().queues.keys().copied().collect::<Vec<_>>();
        self.changed.lock().extend(known.into_iter().chain(self.shelves.lock().iter().copied()));
        if let Err(error) = self.tidy() {
            tracing::debug!(target: "leveret::store", "files that are not needed stay until the next start: {error}");
        }
    }

    /// The last word on what has been seen, after the journal's.
    pub(super) fn save_windows_at_end(&self) {
        if self.failure().borrow().is_some() {
            return;
        }
        if let Err(error) = self.windows.write_last() {
            tracing::warn!(
                target: "leveret::store",
                "what exchanges and queues have seen cannot be saved: {error}. A restart may let repetitions of transient \
                 messages through."
            );
        }
    }

    fn note_trouble(&self, error: Option<io::Error>) {
        let mut trouble = self.trouble.lock();
        match error {
            Some(error) => {
                if trouble.is_none() {
                    tracing::error!(target: "leveret::store", "messages cannot be moved out of the journal: {error}. Publishers wait, and it is tried again.");
                    self.disk_alarm.store(true, Ordering::Relaxed);
                }
                *trouble = Some(error.to_string());
            }
            None => {
                if trouble.take().is_some() {
                    tracing::info!(target: "leveret::store", "messages are moved out of the journal again");
                }
            }
        }
    }

    /// Moves everything that queues have in the journal to segments, so that nothing of the journal is needed any more.
    /// For whoever gives up what is damaged there: no keeper may run.
    ///
    /// # Errors
    /// As the disk says; nothing has been given up then.
    pub fn leave_journal(&self) -> io::Result<()> {
        let residents: Vec<_> = self.residents.iter().filter_map(|e| Some((*e.key(), e.value().upgrade()?))).collect();
        let queues: Vec<_> = residents.iter().map(|(_, queue)| Arc::clone(queue)).collect();
        self.flush(&queues, Extent::All)?;
        self.windows.write_last()?;
        self.checkpoint(&residents, self.journal.files().next_block())
    }

    /// Moves what lives in the oldest full files to segments, and lets the files be used again; false when some of it is in a
    /// commit that is not done. Without a spare file, those that are kept otherwise are used; and while the writer waits for one,
    /// its commit is not waited for.
    fn empty_journal(&self, has_spare: bool) -> io::Result<bool> {
        let keep = if has_spare { self.settings.journal_keep } else { 0 };
        while let Some(used) = self.journal.files().oldest(keep) {
            let is_saved = self.windows.reach(&used);
            if !is_saved {
                self.windows.take_picture(&self.journal);
            }
            let residents: Vec<_> = used.queues.iter().filter_map(|id| Some((*id, self.resident(*id)?))).collect();
            let queues: Vec<_> = residents.iter().map(|(_, queue)| Arc::clone(queue)).collect();
            let extent = if self.journal.files().is_awaited() { Extent::UpToAtOnce } else { Extent::UpTo };
            let is_all = self.flush(&queues, extent(used.last_commit))?;
            if !is_saved {
                self.windows.write_picture(&self.journal)?;
                if !self.windows.reach(&used) {
                    // With one of the next turns.
                    return Ok(is_all);
                }
            }
            if !is_all {
                return Ok(false);
            }
            let first_block = self.journal.files().second_block();
            self.checkpoint(&residents, first_block)?;
            self.journal.release_oldest();
            points::reach("journal-file-recycled");
        }
        Ok(true)
    }

    /// Writes messages of queues to segments; true when nothing is left to be written.
    fn flush(&self, queues: &[Arc<dyn Resident>], extent: Extent) -> io::Result<bool> {
        points::reach("flush-before-segments");
        let mut touched = Touched::default();
        let mut done = Vec::new();
        let (mut failed, mut is_all) = (None, true);
        for queue in queues {
            let flush = match queue.plan_flush(extent) {
                Plan::Nothing => continue,
                Plan::NotYet => {
                    is_all = false;
                    continue;
                }
                Plan::Write(flush) => flush,
            };
            match self.write_segments(&flush, &mut touched) {
                Ok(written) => done.push((queue, flush.upto, written)),
                Err(error) => {
                    queue.abandon_flush();
                    failed = Some(error);
                    break;
                }
            }
        }
        points::reach("flush-after-segments");
        if let Err(error) = self.sync_touched(touched) {
            done.iter().for_each(|(queue, ..)| queue.abandon_flush());
            return Err(error);
        }
        points::reach("flush-after-sync");
        for (queue, upto, written) in done {
            queue.finish_flush(upto, &written);
        }
        failed.map_or(Ok(is_all), Err)
    }

    fn write_segments(&self, flush: &Flush, touched: &mut Touched) -> io::Result<Vec<Written>> {
        let root = if flush.keeps.is_durable() { self.queues_dir() } else { self.transient_dir() };
        let mut out = SegmentWriter::new(self, flush, root);
        for (position, message) in &flush.messages {
            let transient = !flush.keeps.keeps(message.is_persistent());
            out.put(*position, transient, message)?;
        }
        out.finish(touched)
    }

    fn sync_touched(&self, touched: Touched) -> io::Result<()> {
        let failed = |error: io::Error| {
            self.journal.fail(format!("segments cannot be synced: {error}"));
            error
        };
        if touched.count > FEW_FILES {
            return self.disk.sync_all(&self.settings.dir).map_err(failed);
        }
        for file in &touched.files {
            file.sync_data().map_err(failed)?;
        }
        for dir in &touched.dirs {
            self.disk.sync_dir(dir).map_err(failed)?;
        }
        Ok(())
    }

    /// Writes the states of queues to the manifest, then removes the files that it no longer names.
    fn checkpoint(&self, residents: &[(u64, Arc<dyn Resident>)], first_block: u64) -> io::Result<()> {
        let forgotten = std::mem::take(&mut *self.forgotten.lock());
        let mut gone = Vec::new();
        let mut states: Vec<(u64, Option<Vec<u8>>)> = Vec::new();
        let mut manifest = self.manifest.lock();
        for (id, queue) in residents.iter().filter(|(_, queue)| queue.is_durable()) {
            let (state, files) = queue.state();
            states.extend(state.map(|state| (*id, Some(state))));
            gone.extend(files);
        }
        for (id, durable, _) in &forgotten {
            if *durable && manifest.content().queues.contains_key(id) {
                states.retain(|(other, _)| other != id);
                states.push((*id, None));
            }
        }
        let synced = self.journal.synced().max(manifest.content().synced);
        let first_block = first_block.max(manifest.content().first_block);
        if !states.is_empty() || first_block != manifest.content().first_block {
            let written = manifest.checkpoint(states, first_block, synced);
            if let Err(error) = written.map_err(|e| checkpoint_failed(&self.journal, e)) {
                self.forgotten.lock().extend(forgotten);
                self.ungone.lock().extend(gone);
                return Err(error);
            }
        }
        drop(manifest);
        // Their queues' states are newer now than when they were given up.
        gone.extend(std::mem::take(&mut *self.ungone.lock()));
        for file in gone {
            self.remove(&file);
        }
        for dir in forgotten.into_iter().filter_map(|(_, _, dir)| dir) {
            self.remove_queue_dir(&dir);
        }
        Ok(())
    }

    fn remove(&self, file: &Path) {
        match self.disk.remove(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(target: "leveret::store", "{} stays: {error}", file.display());
            }
            _ => points::reach("segment-removed"),
        }
    }

    fn remove_queue_dir(&self, dir: &Path) {
        match self.disk.remove_dir(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(target: "leveret::store", "{} stays: {error}", dir.display());
            }
            _ => points::reach("segment-removed"),
        }
    }

    /// Brings the manifest up to date where files wait for being removed or something else has to be known.
    pub(super) fn tidy(&self) -> io::Result<()> {
        let mut ids = std::mem::take(&mut *self.changed.lock());
        let transient: Vec<_> = self.having_gone(&mut ids);
        for queue in transient {
            for file in queue.state().1 {
                self.remove(&file);
            }
        }
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() && self.forgotten.lock().is_empty() {
            return Ok(());
        }
        let residents: Vec<_> = ids.iter().filter_map(|id| Some((*id, self.resident(*id)?))).collect();
        let first_block = self.manifest.lock().content().first_block;
        let done = self.checkpoint(&residents, first_block);
        if done.is_err() {
            self.changed.lock().extend(ids);
        }
        done
    }

    /// Adds the queues that survive and have files to remove to `ids`; gives back the others of that kind.
    fn having_gone(&self, ids: &mut Vec<u64>) -> Vec<Arc<dyn Resident>> {
        let mut transient = Vec::new();
        for (id, queue) in self.shelved() {
            if queue.is_changed() {
                if queue.is_durable() { ids.push(id) } else { transient.push(queue) }
            }
        }
        transient
    }

    /// Queues that have segments.
    fn shelved(&self) -> Vec<(u64, Arc<dyn Resident>)> {
        let all = self.shelves.lock();
        all.iter().filter_map(|id| Some((*id, self.resident(*id)?))).collect()
    }

    /// Lets backlogs leave memory, the largest first, until messages take no more than their share.
    fn page_out(&self) -> io::Result<()> {
        let most = (self.memory.limit() as f64 * self.paging_ratio()) as u64;
        if self.memory.pressure() < most || self.paging_ratio() >= 1.0 {
            return Ok(());
        }
        let mut queues: Vec<_> = self
            .residents
            .iter()
            .filter_map(|entry| entry.value().upgrade())
            .map(|queue| (queue.held_bytes(), queue))
            .filter(|(bytes, _)| *bytes > 0)
            .collect();
        queues.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        for (_, queue) in queues {
            if self.memory.pressure() < most {
                break;
            }
            self.flush(std::slice::from_ref(&queue), Extent::All)?;
            queue.evict(0);
        }
        Ok(())
    }

    fn rewrite_segments(&self) {
        for (id, queue) in self.shelved() {
            while let Some(rewrite) = queue.plan_rewrite() {
                points::reach("compaction-before");
                match self.rewrite(id, &queue, &rewrite) {
                    Ok(()) => points::reach("compaction-after"),
                    Err(error) => {
                        tracing::warn!(target: "leveret::store", "a segment cannot be rewritten: {error}");
                        break;
                    }
                }
            }
        }
        self.forget_empty_shelves();
    }

    fn forget_empty_shelves(&self) {
        self.shelves.lock().retain(|id| self.residents.contains_key(id));
    }

    fn rewrite(&self, id: u64, queue: &Arc<dyn Resident>, rewrite: &crate::persist::shelf::Rewrite) -> io::Result<()> {
        let Some(dir) = rewrite.spans.first().and_then(|span| span.path.parent()) else { return Ok(()) };
        let header = encode_header(SegmentId { store: self.id, queue: id, number: rewrite.number });
        let file = self.disk.open(&path(dir, rewrite.number), Open::Create)?;
        let mut out = header;
        let mut written = Written::new(rewrite.number, rewrite.indexed, 0);
        let mut at = 0_u64;
        let mut buffer = Vec::new();
        for span in &rewrite.spans {
            let mut span = span.clone();
            while span.offset < span.end {
                let next = read_span(&*self.disk, &span, CHUNK, &mut buffer, |record| {
                    let is_old = span.old && record.transient;
                    if !is_old && !queue.is_dead(record.position) {
                        let (position, transient, traits) = (record.position, record.transient, record.traits);
                        written.note(at + out.len() as u64, position, transient, traits, record.parts.body.len());
                        put_record(&mut out, position, transient, traits, record.parts);
                    }
                    true
                });
                match next {
                    Ok(next) => span.offset = next,
                    Err(error @ ReadError::Damaged { .. }) => {
                        queue.damaged(&error.to_string());
                        return Err(io::Error::other(error.to_string()));
                    }
                    Err(ReadError::Io { error, .. }) => return Err(error),
                }
                file.write_at(&out, at)?;
                at += out.len() as u64;
                out.clear();
            }
        }
        file.set_len(at)?;
        written.end = at;
        let mut touched = Touched::default();
        touched.add(file, dir.to_path_buf());
        let id = SegmentId { store: self.id, queue: id, number: rewrite.number };
        if let Some((file, end)) = index::append(&*self.disk, dir, id, 0, &written.entries)? {
            written.index_end = end;
            touched.add(file, dir.to_path_buf());
        }
        if queue.is_durable() {
            self.sync_touched(touched)?;
        }
        queue.finish_rewrite(rewrite, &written);
        Ok(())
    }
}
