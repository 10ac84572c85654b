//! Reading and replacing small files as a whole.

use std::io;
use std::path::{Path, PathBuf};

use super::disk::{Disk, Open};

/// The name under which the new content of a file is written before it takes the old one's place. What lies there at a
/// start is what a crash left, and of no use.
pub fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// The content of a file.
///
/// # Errors
/// As the disk says.
pub fn read(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, Open::Read)?;
    let length = usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; length];
    let count = file.read_at(&mut bytes, 0)?;
    bytes.truncate(count);
    Ok(bytes)
}

/// Gives a file new content: after a crash it has the old one or the new one, and after this has returned the new one.
///
/// # Errors
/// As the disk says; the file has its old content then, unless only the last sync has failed.
pub fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = unfinished(path);
    let file = disk.open(&new, Open::Create)?;
    file.set_len(0)?;
    file.write_at(bytes, 0)?;
    file.sync_data()?;
    drop(file);
    disk.rename(&new, path)?;
    disk.sync_dir(path.parent().unwrap_or(Path::new(".")))
}
