//! What is looked at before anything of a data directory is changed: whether the store can be read, and is there.

use super::*;
use crate::persist::disk::Open;
use crate::persist::journal::block::SECTOR;

/// Bytes that a start may need on a full disk.
const TO_START: u64 = 8 << 20;
/// Room that is kept for a disk that is full.
pub(super) const BALLAST_FILE: &str = "ballast";

/// Looks at the store in a directory, if there is one: that it can be read, is of this data directory and of no later
/// version.
///
/// # Errors
/// Why it could not be opened.
pub fn look(disk: &dyn Disk, dir: &Path, id: u64) -> Result<(), StoreError> {
    let journal = dir.join("journal");
    for path in [dir, &journal, &dir.join("manifest"), &dir.join("queues")] {
        list(disk, path)?;
    }
    load_manifest(disk, dir, id)?;
    for path in journal_files(disk, &journal)? {
        let opened = disk.open(&path, Open::Write);
        drop(opened.map_err(|error| StoreError::Io { path, error })?);
    }
    Ok(())
}

/// What lacks of a store in which something has been kept: its directory, or its journal. `None` when neither does.
///
/// # Errors
/// When it cannot be read.
pub fn missing(disk: &dyn Disk, dir: &Path) -> Result<Option<PathBuf>, StoreError> {
    let journal = dir.join("journal");
    for path in journal_files(disk, &journal)? {
        let mut header = [0; SECTOR];
        let read = disk.open(&path, Open::Read).and_then(|file| file.read_at(&mut header, 0));
        // A file of a later version is one, too.
        if read.map_err(|error| StoreError::Io { path, error })? > 0 && header.iter().any(|byte| *byte != 0) {
            return Ok(None);
        }
    }
    let has_more = ["manifest", "queues"].iter().map(|name| list(disk, &dir.join(name)));
    let has_more = has_more.collect::<Result<Vec<_>, _>>()?.iter().any(|names| !names.is_empty());
    Ok(Some(if has_more { journal } else { dir.to_path_buf() }))
}

/// Removes the room that is kept for a full disk where a start needs it. The keeper makes it anew once it can.
pub fn give_up_ballast(disk: &dyn Disk, dir: &Path) {
    let is_full = disk.space(dir).is_ok_and(|space| space.free < TO_START);
    if is_full && disk.remove(&dir.join(BALLAST_FILE)).is_ok() {
        tracing::warn!(target: "leveret::store", "the disk is full: room that was kept for this is used");
    }
}

/// The names in a directory; none where there is no directory.
fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<String>, StoreError> {
    match disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        names => names.map_err(|error| StoreError::Io { path: dir.to_path_buf(), error }),
    }
}

fn journal_files(disk: &dyn Disk, journal: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let names = list(disk, journal)?;
    Ok(names.iter().filter(|name| name.ends_with(".journal")).map(|name| journal.join(name)).collect())
}
