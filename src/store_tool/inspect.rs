//! Reads everything in a data directory as a node does at start, and every record of every segment, and changes nothing.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;

use super::ToolError;
use super::catalog;
use super::finding::{Effect, Finding, Names};
use super::rebuild;
use super::walk::{Seen, walk};
use crate::message::memory::MemoryAccount;
use crate::persist::DataDir;
use crate::persist::disk::Disk;
use crate::persist::index;
use crate::persist::journal::block::SECTOR;
use crate::persist::journal::files;
use crate::persist::journal::replay::{Damage, Replayed, ScannedFile, scan};
use crate::persist::manifest::ManifestError;
use crate::persist::record::QueueRecord;
use crate::persist::recovery::FoundQueue;
use crate::persist::reindex;
use crate::persist::shelf::{Segment, Shelf};
use crate::persist::store::{load_manifest, missing, recover};
use crate::persist::windows;

/// Everything that was found.
pub struct Inspection {
    /// Kind of file, and what is to be said of it.
    pub lines: Vec<(&'static str, String)>,
    pub findings: Vec<Finding>,
    /// Durable queues as they are declared.
    pub declared: Vec<QueueRecord>,
    /// False when nothing says what was declared.
    pub is_declared_known: bool,
    pub names: Names,
    pub found: HashMap<u64, FoundQueue>,
    /// Both copies of the manifest are of no use; what was found is found without it.
    pub lost_manifest: bool,
    /// Bytes of the journal's files.
    pub file_sizes: Vec<u64>,
}

/// What was seen of one segment.
#[derive(Default)]
pub struct SegmentState {
    /// Records that were read.
    pub count: u64,
    /// Messages that live among them.
    pub living: u64,
    pub damage: Vec<(u64, &'static str)>,
    /// Entries of its index, if it has one and both are whole.
    pub indexed: Option<usize>,
}

impl SegmentState {
    /// Whether it holds what the manifest says.
    pub fn is_as_expected(&self, segment: &Segment) -> bool {
        self.damage.is_empty() && self.count == segment.count && self.living == segment.live
    }
}

/// Reads a segment of a shelf whole.
///
/// # Errors
/// When the file cannot be read.
pub fn read_segment(disk: &dyn Disk, shelf: &Shelf, segment: &Segment) -> io::Result<SegmentState> {
    let mut state = SegmentState::default();
    let Some(span) = shelf.plan_read(segment.first) else { return Ok(state) };
    walk(disk, &span, segment.first..=segment.last, |seen| match seen {
        Seen::Record(record) => {
            state.count += 1;
            state.living += u64::from(!record.transient && !shelf.is_dead(record.position));
        }
        Seen::Damage { offset, what } => state.damage.push((offset, what)),
    })?;
    if state.damage.is_empty() && has_index(segment) {
        state.indexed = read_index(disk, shelf, segment)?;
    }
    Ok(state)
}

fn has_index(segment: &Segment) -> bool {
    segment.index_end > 0 && segment.index_end != index::UNKNOWN
}

/// How many entries an index has; `None` when it is not whole, or does not say what its segment does.
fn read_index(disk: &dyn Disk, shelf: &Shelf, segment: &Segment) -> io::Result<Option<usize>> {
    let Ok(expected) = reindex::entries(disk, shelf, segment) else { return Ok(None) };
    let (mut entries, mut buffer) = (Vec::new(), Vec::new());
    let path = index::path(&shelf.dir(), segment.number);
    let Some(bytes) = index::load(disk, &path, segment.index_end, &mut buffer)? else { return Ok(None) };
    let whole = index::read(bytes, shelf.segment_id(segment.number), |entry| entries.push(entry)).is_ok();
    Ok((whole && entries == expected).then_some(entries.len()))
}

impl Inspection {
    /// Reads everything but the segments. `wrong` are the copies of the identity that are not in order.
    pub fn read(disk: &dyn Disk, data_dir: &DataDir, wrong: &[&str]) -> Result<Self, ToolError> {
        let (dir, identity) = (data_dir.path(), data_dir.identity());
        let is_new = is_new(disk, dir).map_err(ToolError::io(dir))?;
        let declared = if is_new { catalog::none_yet() } else { catalog::read(disk, dir)? };
        let mut inspection = Self {
            lines: Vec::new(),
            findings: Vec::new(),
            names: declared.queues.iter().map(|q| (q.id, (q.vhost.clone(), q.name.clone()))).collect(),
            is_declared_known: declared.is_known,
            declared: declared.queues,
            found: HashMap::new(),
            lost_manifest: false,
            file_sizes: Vec::new(),
        };
        let wrong = if is_new { &[] } else { wrong };
        let state = if wrong.is_empty() { "whole" } else { "damaged" };
        inspection.line("identity", format!("{state}: data directory {}, made at {}", identity.id, identity.created));
        for name in wrong {
            let how = Effect::Mended("it is written anew from the other copy at the next start");
            inspection.find(&dir.join(name), None, "damaged or missing".to_owned(), how);
        }
        inspection.lines.extend(declared.lines);
        inspection.findings.extend(declared.findings);
        inspection.read_store(disk, &dir.join("store"), identity.number())?;
        Ok(inspection)
    }

    fn line(&mut self, kind: &'static str, text: String) {
        self.lines.push((kind, text));
    }

    fn find(&mut self, file: &Path, offset: Option<u64>, what: String, effect: Effect) {
        self.findings.push(Finding { file: file.to_owned(), offset, what, effect });
    }

    fn read_store(&mut self, disk: &dyn Disk, dir: &Path, id: u64) -> Result<(), ToolError> {
        let missing = missing(disk, dir).map_err(|error| ToolError::Refused(error.to_string()))?;
        if let (Some(path), false) = (&missing, self.declared.is_empty()) {
            let count = self.declared.len();
            let what = format!("missing or empty, though declared queues ({count}) keep their messages there");
            self.find(path, None, what, Effect::AnyQueue);
        }
        if missing.is_some_and(|path| path == dir) {
            self.line("messages", "none".to_owned());
            return Ok(());
        }
        let manifest_dir = dir.join("manifest");
        let content = match load_manifest(disk, dir, id) {
            Ok(loaded) => {
                let state = if loaded.repaired.is_empty() { "whole" } else { "damaged in one copy" };
                let torn = if loaded.unfinished { ", one copy torn at the end (as a crash leaves it)" } else { "" };
                self.line("manifest", format!("{state}: {} queues{torn}", loaded.content.queues.len()));
                for text in loaded.repaired {
                    let how = Effect::Mended("both copies are written anew at the next start");
                    self.find(&manifest_dir, None, text, how);
                }
                loaded.content
            }
            Err(ManifestError::Lost { .. }) => {
                self.lost_manifest = true;
                self.line("manifest", "both copies are damaged or missing: no node can start with this".to_owned());
                let what = "both copies are damaged or missing; what follows was found without them, and messages that \
                            were acknowledged are among it";
                self.find(&manifest_dir, None, what.to_owned(), Effect::AnyQueue);
                rebuild::content(disk, dir, id, &self.declared)?
            }
            Err(error) => return Err(error.into()),
        };
        let blocks = scan(disk, &dir.join("journal"), id)?.count_from(content.first_block.max(1));
        let (replayed, found) = recover(disk, dir, id, MemoryAccount::new(u64::MAX), &content)?;
        self.found = found.queues;
        for (id, found) in &self.found {
            if let (false, Some(names)) = (self.is_declared_known, &found.names) {
                self.names.insert(*id, names.clone());
            }
        }
        self.take_journal(&dir.join("journal"), &replayed, blocks)?;
        self.take_notes(&manifest_dir);
        self.take_seen(disk, &dir.join("seen"));
        Ok(())
    }

    fn take_seen(&mut self, disk: &dyn Disk, path: &Path) {
        match windows::load(disk, path) {
            Ok(None) => {}
            Ok(Some(windows)) => self.line("seen", format!("whole: {} exchanges and queues", windows.len())),
            Err(error) => {
                self.line("seen", "damaged".to_owned());
                self.find(path, None, format!("it {error}"), Effect::Repetitions);
            }
        }
    }

    fn take_journal(&mut self, dir: &Path, replayed: &Replayed, blocks: usize) -> Result<(), ToolError> {
        self.file_sizes = replayed.files.iter().map(|file| file.size).collect();
        let state = if replayed.damage.is_empty() { "whole" } else { "DAMAGED" };
        let torn = match replayed.torn.len() {
            0 => String::new(),
            n => format!(", {n} torn at the end (as a crash leaves them)"),
        };
        self.line("journal", format!("{state}: {} files, {blocks} blocks that count{torn}", replayed.files.len()));
        for file in replayed.files.iter().filter(|file| file.has_bad_header()) {
            let path = files::path(dir, file.number);
            if !is_unfinished(file).map_err(ToolError::io(&path))? {
                let how = Effect::Mended("the header is written anew at the next start");
                self.find(&path, Some(0), "the file's header is damaged".to_owned(), how);
            }
        }
        for notice in &replayed.notices {
            let how = Effect::Mended("it is written anew with the next commit");
            self.find(&dir.join("synced"), None, notice.clone(), how);
        }
        for damage in &replayed.damage {
            let effect = match &damage.queues {
                None => Effect::AnyQueue,
                Some(entries) => Effect::Queues(entries.iter().map(|e| (e.queue, Some(e.messages.into()))).collect()),
            };
            self.find(&damage.file, Some(damage.offset), damage.what.clone(), effect);
        }
        let journal: Vec<String> = replayed.damage.iter().map(Damage::to_string).collect();
        self.forget_known_notes(&journal);
        Ok(())
    }

    /// Leaves of the damage that queues carry only what is not shown already.
    fn forget_known_notes(&mut self, shown: &[String]) {
        for queue in self.found.values_mut() {
            queue.damage.retain(|note| !shown.iter().any(|text| note.contains(text)));
        }
    }

    /// Damage that was found while the node ran, or in files that have been used again since.
    fn take_notes(&mut self, manifest: &Path) {
        let notes: HashSet<(u64, String)> =
            self.found.iter().flat_map(|(id, queue)| queue.damage.iter().map(|note| (*id, note.clone()))).collect();
        let mut notes: Vec<_> = notes.into_iter().filter(|(id, _)| self.names.contains_key(id)).collect();
        notes.sort();
        for (id, note) in notes {
            let what = format!("noted by the node: {note}");
            self.find(manifest, None, what, Effect::Queues(vec![(id, None)]));
        }
    }

    /// Reads every record of every segment.
    pub fn read_segments(&mut self, disk: &dyn Disk) -> Result<(), ToolError> {
        let mut findings = Vec::new();
        let (mut files, mut records, mut bytes) = (0, 0, 0);
        let (mut indexes, mut entries, mut bad_indexes) = (0, 0, Vec::new());
        let mut ids: Vec<_> = self.found.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            let Some(queue) = self.found.get(&id) else { continue };
            for segment in queue.shelf.segments() {
                let path = crate::persist::segment::path(&queue.shelf.dir(), segment.number);
                let state = read_segment(disk, &queue.shelf, segment).map_err(ToolError::io(&path))?;
                files += 1;
                records += state.count;
                bytes += segment.bytes;
                findings.extend(segment_findings(&path, id, segment, &state));
                indexes += usize::from(has_index(segment));
                entries += state.indexed.unwrap_or(0);
                // When the segment is damaged too, that says it all.
                if has_index(segment) && state.indexed.is_none() && state.damage.is_empty() {
                    bad_indexes.push(index::path(&queue.shelf.dir(), segment.number));
                }
            }
        }
        let state = if findings.is_empty() { "whole" } else { "DAMAGED" };
        self.line("segments", format!("{state}: {files} files, {records} records, {bytes} bytes"));
        let state = if bad_indexes.is_empty() { "whole" } else { "DAMAGED" };
        self.line("indexes", format!("{state}: {indexes} files, {entries} entries"));
        for path in bad_indexes {
            let how = Effect::Mended("it is made anew of its segment at the next start");
            self.find(&path, None, "damaged or missing".to_owned(), how);
        }
        // What the node noted of these is said again here, in full.
        let shown: Vec<String> = findings.iter().map(|f: &Finding| f.file.display().to_string()).collect();
        self.findings.retain(|f| !(f.what.starts_with("noted") && shown.iter().any(|path| f.what.contains(path))));
        self.findings.extend(findings);
        Ok(())
    }

    /// True when something is lost that can be given up.
    pub fn has_losses(&self) -> bool {
        self.findings.iter().any(Finding::loses)
    }

    /// True when no node can start and the tool cannot help.
    pub fn is_hopeless(&self) -> bool {
        self.findings.iter().any(|finding| finding.effect == Effect::Fatal)
    }

    /// The queue of this name.
    pub fn queue(&self, vhost: &str, name: &str) -> Option<u64> {
        self.names.iter().find(|(_, (v, n))| v == vhost && n == name).map(|(id, _)| *id)
    }
}

/// True for a directory whose first start ended before anything was kept in it.
fn is_new(disk: &dyn Disk, dir: &Path) -> io::Result<bool> {
    // As the start judges it.
    const FIRST: [&str; 4] = ["lock", "identity", "identity.copy", "lost+found"];
    Ok(disk.list(dir)?.iter().all(|name| FIRST.contains(&name.as_str()) || name.ends_with(".new")))
}

fn segment_findings(path: &Path, id: u64, segment: &Segment, state: &SegmentState) -> Vec<Finding> {
    let missing = segment.live.saturating_sub(state.living);
    let finding = |offset: u64, what: String, missing: u64| Finding {
        file: path.to_owned(),
        offset: Some(offset),
        what,
        effect: Effect::Queues(vec![(id, Some(missing))]),
    };
    if state.damage.is_empty() && !state.is_as_expected(segment) {
        let (count, living) = (state.count, state.living);
        let what = format!(
            "there are {count} records, {living} of them of messages that live, and the manifest says {} and {}",
            segment.count, segment.live
        );
        return vec![finding(0, what, missing)];
    }
    // The loss of a file is said once.
    let mut missing = Some(missing);
    state.damage.iter().map(|(at, what)| finding(*at, (*what).to_owned(), missing.take().unwrap_or(0))).collect()
}

/// True for a file whose making a crash has interrupted: it has no header yet.
fn is_unfinished(file: &ScannedFile) -> io::Result<bool> {
    let mut header = [0; SECTOR];
    file.file.read_at(&mut header, 0)?;
    Ok(header.iter().all(|b| *b == 0))
}
