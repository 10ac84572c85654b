//! The windows of deduplication that outlive the process: one small file, replaced as a whole, and what the journal adds.
//!
//! ```text
//! LVRTSEEN   8 bytes
//! version    u32, 1
//! then for each window: its owner's number in the catalog (u64), a length (u32), and as many bytes
//! CRC32C     u32, of everything before
//! ```
//!
//! All numbers are little-endian. The bytes of a window are those of [`crate::dedup::Window::encode`]. A file that is damaged
//! or of another version is worth as much as none: what is not known to have been seen is let through.
//!
//! An identifier of a message that is kept goes to the journal with its message, as one item ([`Notes`]). Before the keeper
//! gives up a file of the journal with such items, it takes a picture of all windows ([`Windows::take_picture`]), and writes
//! it once it may be ([`Windows::write_picture`]): an identifier that is saved must not outlive a message that is not. So the
//! picture waits until every batch that was on its way to the journal when it was taken has got there, and until all of that
//! is committed. Nobody is held up meanwhile.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::disk::{Disk, advice};
use super::encoding::Cursor;
use super::journal::Journal;
use super::journal::files::Used;
use super::journal::item::ItemWriter;
use super::points;
use super::replace::{read, replace};
use crate::dedup;
use crate::dedup::seen::Seen;

const MAGIC: &[u8; 8] = b"LVRTSEEN";
const VERSION: u32 = 1;

/// An exchange or a queue with a window that outlives the process.
pub trait Remembering: Send + Sync {
    /// What has to be saved; `None` when there is nothing, or not any more.
    fn window(&self) -> Option<Vec<u8>>;
}

/// What a batch has added to windows. It has to live until the batch has been handed to the journal, with the items.
#[derive(Debug, Default)]
pub struct Notes {
    pub items: Vec<u8>,
    /// Shared by all batches that may be in the next picture.
    batches: Option<Arc<()>>,
}

impl Notes {
    /// Takes up what another part of the batch has added.
    pub fn add(&mut self, mut other: Self) {
        self.items.append(&mut other.items);
        // The one that came first: the next picture but one is not taken before it has gone.
        self.batches = self.batches.take().or(other.batches);
    }
}

/// A picture of all windows that may not be written yet.
struct Picture {
    windows: Vec<(u64, Vec<u8>)>,
    /// What was handed to the journal in earlier commits is in the picture.
    reaches: u64,
    /// What may be in the picture and has not been handed to the journal.
    batches: Weak<()>,
    /// The last commit of which something is in the picture, once there is nothing of the kind any more.
    safe_after: Option<u64>,
}

/// All windows that outlive the process.
pub struct Windows {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// What was found at start and nobody has asked for yet.
    found: Mutex<HashMap<u64, Vec<u8>>>,
    owners: Mutex<HashMap<u64, Weak<dyn Remembering>>>,
    batches: Mutex<Arc<()>>,
    picture: Mutex<Option<Picture>>,
    saved: Mutex<Saved>,
    /// Something has been seen since the last picture that the journal does not say.
    is_behind: AtomicBool,
}

/// What the file says.
struct Saved {
    exists: bool,
    /// All that was handed to the journal in earlier commits.
    reaches: u64,
}

impl Windows {
    /// Reads the file; without one there are no windows but those of the journal.
    pub fn open(disk: Arc<dyn Disk>, path: PathBuf, in_journal: HashMap<u64, Vec<u8>>) -> Self {
        let (mut found, exists) = match load(&*disk, &path) {
            Ok(saved) => {
                let exists = saved.is_some();
                (saved.unwrap_or_default(), exists)
            }
            Err(error) => {
                tracing::warn!(
                    target: "leveret::store",
                    "{} {error}. What was published before is not known, repetitions of it are let through.",
                    path.display()
                );
                (HashMap::new(), matches!(error, LoadError::Damaged))
            }
        };
        for (owner, later) in in_journal {
            dedup::join(found.entry(owner).or_default(), &later);
        }
        Self {
            disk,
            path,
            found: Mutex::new(found),
            owners: Mutex::default(),
            batches: Mutex::default(),
            picture: Mutex::default(),
            saved: Mutex::new(Saved { exists, reaches: 0 }),
            is_behind: AtomicBool::new(false),
        }
    }

    /// What was found of a window.
    pub fn take(&self, owner: u64) -> Option<Vec<u8>> {
        self.found.lock().remove(&owner)
    }

    /// All owners have been there: what was found of others is of no use.
    pub fn forget_found(&self) {
        self.found.lock().clear();
    }

    /// From now on an owner is asked for its window.
    pub fn register(&self, owner: u64, who: Weak<dyn Remembering>) {
        self.owners.lock().insert(owner, who);
    }

    /// A message has been taken: has the journal know its identifier, if the message itself is `kept` there. To be called under
    /// the lock under which `seen` is asked for its window.
    pub fn note(&self, owner: u64, seen: &Seen, headers: &[u8], kept: bool, notes: &mut Notes) {
        if !kept {
            let has_id = seen.rule().id(headers).is_some();
            self.is_behind.fetch_or(has_id, Ordering::Relaxed);
            return;
        }
        let mut piece = Vec::new();
        if seen.encode_one(headers, &mut piece) {
            ItemWriter(&mut notes.items).seen(owner, |out| out.extend(piece));
            notes.batches.get_or_insert_with(|| Arc::clone(&self.batches.lock()));
        }
    }

    /// Whether a file of the journal can be given up without a window losing something.
    pub fn reach(&self, used: &Used) -> bool {
        let mut owners = self.owners.lock();
        owners.retain(|_, who| who.strong_count() > 0);
        !owners.keys().any(|owner| used.queues.contains(owner)) || self.saved.lock().reaches > used.last_commit
    }

    /// Whether something has been seen that neither the journal nor the last picture says.
    pub fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Relaxed)
    }

    /// Whether there is a picture to be written.
    pub fn has_picture(&self) -> bool {
        self.picture.lock().is_some()
    }

    /// Takes a picture, unless there is one that has not been written.
    pub fn take_picture(&self, journal: &Journal) {
        let mut picture = self.picture.lock();
        if picture.is_some() {
            return;
        }
        self.is_behind.store(false, Ordering::Relaxed);
        let reaches = journal.gathering();
        let windows = self.all();
        // Whoever begins from here on is not in it.
        let batches = Arc::downgrade(&std::mem::take(&mut *self.batches.lock()));
        *picture = Some(Picture { windows, reaches, batches, safe_after: None });
    }

    /// Writes the picture if it may be written by now.
    ///
    /// # Errors
    /// As the disk says; it is kept then.
    pub fn write_picture(&self, journal: &Journal) -> io::Result<()> {
        let mut picture = self.picture.lock();
        let Some(waiting) = &mut *picture else { return Ok(()) };
        if waiting.batches.strong_count() > 0 {
            return Ok(());
        }
        let safe_after = *waiting.safe_after.get_or_insert_with(|| journal.gathering());
        if journal.has_done(safe_after) {
            self.write(&waiting.windows, waiting.reaches)?;
            *picture = None;
        }
        Ok(())
    }

    /// Writes all windows as they are, those that nobody has asked for included: the journal is written to its end, and
    /// nothing more comes.
    ///
    /// # Errors
    /// As the disk says.
    pub fn write_last(&self) -> io::Result<()> {
        let mut windows: HashMap<_, _> = self.found.lock().clone();
        windows.extend(self.all());
        let mut windows: Vec<_> = windows.into_iter().collect();
        windows.sort_unstable_by_key(|(owner, _)| *owner);
        self.write(&windows, 0)
    }

    fn all(&self) -> Vec<(u64, Vec<u8>)> {
        let owners: Vec<_> = self.owners.lock().iter().filter_map(|(id, who)| Some((*id, who.upgrade()?))).collect();
        let mut windows: Vec<_> = owners.into_iter().filter_map(|(id, who)| Some((id, who.window()?))).collect();
        windows.sort_unstable_by_key(|(owner, _)| *owner);
        windows
    }

    fn write(&self, windows: &[(u64, Vec<u8>)], reaches: u64) -> io::Result<()> {
        let mut saved = self.saved.lock();
        if saved.exists || !windows.is_empty() {
            points::reach("windows-before-write");
            replace(&*self.disk, &self.path, &encode(windows)).map_err(|error| {
                let text = format!("{} cannot be written ({error}){}", self.path.display(), advice(&error));
                io::Error::new(error.kind(), text)
            })?;
            points::reach("windows-after-write");
            saved.exists = true;
        }
        saved.reaches = saved.reaches.max(reaches);
        Ok(())
    }
}

/// Why what is saved of the windows is of no use.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot be read ({0}){advice}", advice = advice(.0))]
    Unreadable(io::Error),
    #[error("is damaged")]
    Damaged,
}

/// What is saved of each window; `None` when nothing ever was.
///
/// # Errors
/// When the file is of no use.
pub fn load(disk: &dyn Disk, path: &Path) -> Result<Option<HashMap<u64, Vec<u8>>>, LoadError> {
    match read(disk, path) {
        Ok(bytes) => decode(&bytes).map(Some).ok_or(LoadError::Damaged),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LoadError::Unreadable(error)),
    }
}

fn encode(windows: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend(VERSION.to_le_bytes());
    for (owner, bytes) in windows {
        // A window of more than 4 GiB cannot be: it has at most 2^30 entries, and memory ends before.
        let Ok(length) = u32::try_from(bytes.len()) else { continue };
        out.extend(owner.to_le_bytes());
        out.extend(length.to_le_bytes());
        out.extend(bytes);
    }
    let crc = crc32c::crc32c(&out);
    out.extend(crc.to_le_bytes());
    out
}

fn decode(bytes: &[u8]) -> Option<HashMap<u64, Vec<u8>>> {
    let (content, crc) = bytes.split_last_chunk::<4>()?;
    let mut cursor = Cursor(content);
    let is_whole = crc32c::crc32c(content) == u32::from_le_bytes(*crc);
    if !is_whole || cursor.bytes(MAGIC.len())? != MAGIC || cursor.u32()? != VERSION {
        return None;
    }
    let mut windows = HashMap::new();
    while !cursor.is_empty() {
        let (owner, length) = (cursor.u64()?, cursor.u32()?);
        windows.insert(owner, cursor.bytes(usize::try_from(length).ok()?)?.to_vec());
    }
    Some(windows)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::dedup::Deduplication;
    use crate::frames::{Table, Value};
    use crate::persist::disk::{DiskFile, RealDisk};
    use crate::persist::journal::files::{Files, Slot};
    use crate::persist::journal::{Settings, SyncMode};

    const OWNER: u64 = 7;

    /// An exchange that has seen something.
    struct Exchange(Mutex<Seen>);

    impl Remembering for Exchange {
        fn window(&self) -> Option<Vec<u8>> {
            let mut bytes = Vec::new();
            self.0.lock().encode(&mut bytes);
            Some(bytes)
        }
    }

    fn seen(saved: Option<&[u8]>) -> Seen {
        let rule = Deduplication { size: 9, ttl: None, header: "id".into(), while_kept: false };
        Seen::new(rule, saved, 0, None)
    }

    fn headers(id: i64) -> Vec<u8> {
        let mut out = Vec::new();
        Table::from_iter([("id", Value::I64(id))]).encode(&mut out);
        out.split_off(4)
    }

    /// A journal whose commits are gathered and never written, and the windows beside it.
    fn begin(dir: &Path) -> (Journal, Windows, Arc<Exchange>) {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let settings = Settings {
            dir: dir.to_path_buf(),
            store: 1,
            file_size: 1 << 20,
            keep: 1,
            mode: SyncMode::Fsync,
            keeper: Arc::default(),
        };
        let windows = Windows::open(Arc::clone(&disk), dir.join("seen"), HashMap::new());
        let exchange = Arc::new(Exchange(Mutex::new(seen(None))));
        let me: Weak<Exchange> = Arc::downgrade(&exchange);
        windows.register(OWNER, me);
        (Journal::new(disk, settings, Files::default()), windows, exchange)
    }

    fn publish(windows: &Windows, exchange: &Exchange, id: i64, persistent: bool) -> Notes {
        let mut notes = Notes::default();
        let mut seen = exchange.0.lock();
        assert!(seen.remember(&headers(id), 0));
        windows.note(OWNER, &seen, &headers(id), persistent, &mut notes);
        notes
    }

    #[test]
    fn a_picture_waits_for_what_is_on_its_way_to_the_journal_and_for_its_commit() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, windows, exchange) = begin(dir.path());
        let first = publish(&windows, &exchange, 1, true);
        windows.take_picture(&journal);
        let second = publish(&windows, &exchange, 2, true);
        windows.write_picture(&journal).unwrap();
        assert!(windows.has_picture(), "a batch has not got to the journal");
        journal.append(&first.items, None);
        drop(first);
        windows.write_picture(&journal).unwrap();
        assert!(windows.has_picture(), "its commit is not done");
        assert!(!dir.path().join("seen").exists());
        drop(second);
    }

    #[test]
    fn what_is_saved_and_what_the_journal_says_is_known_again() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, windows, exchange) = begin(dir.path());
        drop(publish(&windows, &exchange, 1, false));
        assert!(windows.is_behind());
        windows.take_picture(&journal);
        assert!(!windows.is_behind());
        let later = publish(&windows, &exchange, 2, true);
        publish(&windows, &exchange, 3, false);
        windows.write_picture(&journal).unwrap();
        assert!(!windows.has_picture(), "nothing of it is on its way, and nothing has to be committed");
        let item = crate::persist::journal::item::Items::new(&later.items).next();
        let Some(Ok(crate::persist::journal::item::Item::Seen { owner: OWNER, window })) = item else {
            panic!("{item:?}")
        };
        let in_journal = HashMap::from([(OWNER, window.to_vec())]);
        let again = Windows::open(Arc::new(RealDisk), dir.path().join("seen"), in_journal);
        let mut found = seen(again.take(OWNER).as_deref());
        assert!(!found.remember(&headers(1), 0) && !found.remember(&headers(2), 0));
        assert!(found.remember(&headers(3), 0), "nobody has saved it");
    }

    #[test]
    fn a_file_of_the_journal_is_given_up_when_a_picture_was_taken_after_its_last_commit() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, windows, exchange) = begin(dir.path());
        let file: Arc<dyn DiskFile> =
            RealDisk.open(&dir.path().join("file"), crate::persist::disk::Open::Create).unwrap().into();
        let used = |last_commit, queue| Used {
            slot: Slot { number: 0, file: Arc::clone(&file), size: 0 },
            first_block: 1,
            last_commit,
            queues: HashSet::from([queue]),
        };
        assert!(windows.reach(&used(5, OWNER + 1)), "no window is concerned");
        assert!(!windows.reach(&used(0, OWNER)));
        windows.take_picture(&journal);
        assert!(!windows.reach(&used(0, OWNER)), "it is not written");
        windows.write_picture(&journal).unwrap();
        assert!(windows.reach(&used(0, OWNER)), "all of an earlier run");
        assert!(!windows.reach(&used(1, OWNER)), "the commit was gathering still");
        drop(exchange);
        assert!(windows.reach(&used(1, OWNER)), "there is nobody who would have to know");
    }

    #[test]
    fn what_is_saved_is_found_again_and_damage_is_noticed() {
        let windows = vec![(7, b"seven".to_vec()), (1 << 63, Vec::new())];
        let bytes = encode(&windows);
        assert_eq!(decode(&bytes), Some(windows.into_iter().collect()));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(decode(&damaged), None, "byte {at}");
            assert_eq!(decode(&bytes[..at]), None, "cut at {at}");
        }
    }
}
