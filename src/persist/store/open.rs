//! Opening the store: read the manifest, replay the journal, start the threads.

use std::collections::{HashMap, VecDeque};

use super::*;
use crate::persist::disk::Open;
use crate::persist::journal::block::FileHeader;
use crate::persist::journal::files::{Files, Slot, Used};
use crate::persist::journal::replay::{Replayed, ScannedFile};

impl Store {
    /// Recovers what is in the directory, or makes a new store there. `id` is the data directory's number.
    ///
    /// # Errors
    /// When it cannot be read or written, or was written by a later version.
    pub fn open(
        disk: Arc<dyn Disk>,
        settings: Settings,
        id: u64,
        memory: &'static MemoryAccount,
    ) -> Result<Opened, StoreError> {
        let at = |path: &Path| {
            let path = path.to_path_buf();
            move |error| StoreError::Io { path, error }
        };
        let dir = |name: &str| settings.dir.join(name);
        let (journal_dir, manifest_dir, queues_dir) = (dir("journal"), dir("manifest"), dir("queues"));
        for path in [&journal_dir, &manifest_dir, &queues_dir] {
            disk.create_dir(path).map_err(at(path))?;
        }
        let transient = dir("transient");
        if disk.list(&transient).is_ok() {
            disk.remove_dir(&transient).map_err(at(&transient))?;
        }
        disk.create_dir(&transient).map_err(at(&transient))?;
        disk.sync_dir(&settings.dir).map_err(at(&settings.dir))?;
        if let Some(parent) = settings.dir.parent() {
            disk.sync_dir(parent).map_err(at(parent))?;
        }
        let loaded = load_manifest(&*disk, &settings.dir, id)?;
        loaded.repaired.iter().for_each(|text| tracing::warn!(target: "leveret::store", "{text}"));
        let (replayed, found) = recover(&*disk, &settings.dir, id, memory, &loaded.content)?;
        for text in replayed.notices.iter().cloned().chain(replayed.damage.iter().map(ToString::to_string)) {
            tracing::error!(target: "leveret::store", "{text}");
        }
        let Found { mut queues, of_any, windows } = found;
        let reindexed = read_indexes(&*disk, &mut queues)?;
        // After a kill, what was read may not have reached the disk; a power cut from here on must not take it back.
        manifest::sync(&*disk, &manifest_dir).map_err(at(&manifest_dir))?;
        cut_tail(&*disk, &journal_dir, &replayed).map_err(at(&journal_dir))?;

        let shelves =
            queues.iter().filter(|(_, q)| !q.shelf.is_empty() || q.shelf.has_gone()).map(|(id, _)| *id).collect();
        let bell = Arc::new(Signal::default());
        let journal_settings = JournalSettings {
            dir: journal_dir.clone(),
            store: id,
            file_size: settings.journal_file,
            keep: settings.journal_keep,
            mode: settings.mode,
            keeper: Arc::clone(&bell),
        };
        let next_block = replayed.next_block;
        let files = take_over(&*disk, &journal_settings, replayed).map_err(at(&journal_dir))?;
        let journal = Arc::new(Journal::new(Arc::clone(&disk), journal_settings, files));
        let manifest = Manifest::begin(Arc::clone(&disk), &manifest_dir, id, loaded)
            .map_err(|e| at(&manifest_dir)(checkpoint_failed(&journal, e)))?;
        match journal.provide_spare() {
            // The keeper goes on trying, and publishers wait for it.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                tracing::warn!(target: "leveret::store", "there is no room for another journal file");
            }
            made => made.map_err(at(&journal_dir))?,
        }
        let writer = Writer::new(Arc::clone(&journal), next_block).map_err(at(&journal_dir))?;
        let (readers, mut threads) = Readers::start().map_err(StoreError::Thread)?;
        threads.push(writer.spawn().map_err(StoreError::Thread)?);
        let store = Arc::new(Self {
            journal,
            reading: Reading::default(),
            windows: Windows::open(Arc::clone(&disk), settings.dir.join("seen"), windows),
            disk,
            disk_limit: AtomicU64::new(settings.disk_limit),
            paging: AtomicU64::new((settings.paging_ratio * 1000.0) as u64),
            settings,
            id,
            memory,
            residents: DashMap::new(),
            shelves: Mutex::new(shelves),
            readers,
            manifest: Mutex::new(manifest),
            bell,
            changed: Mutex::new(reindexed),
            ungone: Mutex::new(Vec::new()),
            forgotten: Mutex::new(Vec::new()),
            disk_alarm: AtomicBool::new(false),
            disk_alarm_by_hand: AtomicBool::new(false),
            trouble: Mutex::new(None),
            closing: AtomicBool::new(false),
            at_rest: AtomicBool::new(false),
            threads: Mutex::new(threads),
        });
        Ok(Opened { store, queues, of_any })
    }

    /// Begins to move messages out of the journal. Called when every queue that was found has been registered or
    /// forgotten: what is not known by then has its files removed.
    ///
    /// # Errors
    /// When the manifest cannot be written or no thread be started.
    pub fn start_keeper(self: &Arc<Self>) -> Result<(), StoreError> {
        self.remove_orphans();
        self.windows.forget_found();
        // Damage that was found in the journal has to be known when the damaged file is used again.
        self.tidy().map_err(|error| StoreError::Io { path: self.settings.dir.clone(), error })?;
        let keeper = keeper::Keeper::new(self);
        let thread = std::thread::Builder::new().name("keeper".into()).spawn(move || keeper.run());
        self.threads.lock().push(thread.map_err(StoreError::Thread)?);
        Ok(())
    }

    fn remove_orphans(&self) {
        let known = |id: u64| self.residents.contains_key(&id);
        let in_manifest: Vec<u64> =
            self.manifest.lock().content().queues.keys().copied().filter(|id| !known(*id)).collect();
        let mut forgotten = self.forgotten.lock();
        let dirs = orphans(&*self.disk, &self.queues_dir(), known);
        forgotten.extend(dirs.into_iter().map(|dir| (0, true, Some(dir))));
        forgotten.extend(in_manifest.into_iter().map(|id| (id, true, None)));
    }
}

/// Replays the journal on what the manifest says. Changes nothing. `dir` is the store's directory.
///
/// # Errors
/// When the journal cannot be read or is of a later version.
pub fn recover(
    disk: &dyn Disk,
    dir: &Path,
    id: u64,
    memory: &'static MemoryAccount,
    content: &manifest::Content,
) -> Result<(Replayed, Found), ScanError> {
    let queues_dir = dir.join("queues");
    let mut recovery = Recovery::new(&queues_dir, id, memory, &content.queues);
    let (first, synced) = (content.first_block.max(1), content.synced);
    let replayed = scan(disk, &dir.join("journal"), id)?.run(first, synced, |_, item| recovery.apply(item))?;
    recovery.note_damage(&replayed.damage);
    Ok((replayed, recovery.finish()))
}

/// Reads the indexes of all queues; gives back those whose indexes had to be made anew.
fn read_indexes(disk: &dyn Disk, queues: &mut HashMap<u64, FoundQueue>) -> Result<Vec<u64>, StoreError> {
    let mut changed = Vec::new();
    for (id, queue) in queues {
        queue.read_indexes(disk).map_err(|error| StoreError::Io { path: queue.shelf.dir(), error })?;
        if !queue.rebuilt.is_empty() {
            changed.push(*id);
        }
        queue.rebuilt.iter().for_each(|text| tracing::warn!(target: "leveret::store", "{text}"));
    }
    Ok(changed)
}

/// The manifest; a node that died while it made its very first one has none, and nothing in its journal. `dir` is the
/// store's directory.
///
/// # Errors
/// See [`manifest::load`].
pub fn load_manifest(disk: &dyn Disk, dir: &Path, store: u64) -> Result<manifest::Loaded, ManifestError> {
    let is_first = disk.list(&dir.join("journal")).map_or(true, |names| names.is_empty());
    let dir = dir.join("manifest");
    match manifest::load(disk, &dir, store) {
        Err(ManifestError::Lost { .. }) if is_first => Ok(manifest::Loaded::default()),
        Ok(loaded) if loaded.generation == 0 && !is_first => Err(ManifestError::Lost { dir }),
        loaded => loaded,
    }
}

/// Takes away the beginnings of blocks behind the end, whose numbers will be used again.
fn cut_tail(disk: &dyn Disk, dir: &Path, replayed: &Replayed) -> io::Result<()> {
    for (file, offset) in &replayed.torn {
        let Some(scanned) = replayed.files.get(*file) else { continue };
        let path = files::path(dir, scanned.number);
        tracing::info!(target: "leveret::store", "{} at byte {offset}: a torn write is cut off", path.display());
        let file = disk.open(&path, Open::Write)?;
        file.write_at(&[0; 512], *offset)?;
        file.sync_data()?;
    }
    Ok(())
}

/// The journal's files as they go on: those with blocks that are still needed are full, the others spare.
fn take_over(disk: &dyn Disk, settings: &JournalSettings, replayed: Replayed) -> io::Result<Files> {
    let Replayed { files: scanned, used, next_block, .. } = replayed;
    let (mut full, mut spare) = (Vec::new(), Vec::new());
    let mut used: HashMap<_, _> = used.into_iter().collect();
    for (index, file) in scanned.into_iter().enumerate() {
        let uses = used.remove(&index);
        let path = files::path(&settings.dir, file.number);
        let odd = file.size != settings.file_size;
        if uses.is_none() && (odd || file.has_bad_header()) {
            // Not finished when it was made, or of another size than is wanted now.
            tracing::info!(target: "leveret::store", "{} holds nothing and is not as it should be: removed", path.display());
            disk.remove(&path)?;
            continue;
        }
        let slot = reopen(disk, &path, settings, &file)?;
        match uses {
            Some((first_block, queues)) => full.push(Used { slot, first_block, last_commit: 0, queues }),
            None => spare.push(slot),
        }
    }
    // A file that was made just before a kill may not be in the directory on disk yet, and is written from now on.
    disk.sync_dir(&settings.dir)?;
    full.sort_by_key(|used| used.first_block);
    Ok(Files::new(VecDeque::from(full), spare, next_block))
}

fn reopen(disk: &dyn Disk, path: &Path, settings: &JournalSettings, scanned: &ScannedFile) -> io::Result<Slot> {
    let file = disk.open(path, Open::Write)?;
    if scanned.has_bad_header() {
        tracing::error!(target: "leveret::store", "{}: the header is damaged; it is written again", path.display());
        let header = FileHeader { slot: scanned.number, store: settings.store, size: scanned.size };
        file.write_at(&header.encode(), 0)?;
        file.sync_data()?;
    }
    // What was read may be in the system's memory only, and counts as synced from now on.
    file.sync_data()?;
    Ok(Slot { number: scanned.number, file: file.into(), size: scanned.size })
}
