//! The windows of deduplication that outlive the process: one small file, replaced as a whole.
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

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::Disk;
use super::encoding::Cursor;
use super::replace::{read, replace};

const MAGIC: &[u8; 8] = b"LVRTSEEN";
const VERSION: u32 = 1;

/// The file with the windows.
pub struct Windows {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// What was found at start and nobody has asked for yet.
    found: Mutex<HashMap<u64, Vec<u8>>>,
    /// What the file says.
    written: Mutex<Option<Vec<u8>>>,
}

impl Windows {
    /// Reads the file; without one there are no windows.
    pub fn open(disk: Arc<dyn Disk>, path: PathBuf) -> Self {
        let bytes = match read(&*disk, &path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(target: "leveret::store", "{} cannot be read: {error}", path.display());
                None
            }
        };
        let found = bytes.as_deref().and_then(decode);
        if bytes.is_some() && found.is_none() {
            tracing::warn!(
                target: "leveret::store",
                "{} is damaged: what was published before is not known, repetitions of it are let through",
                path.display()
            );
        }
        Self { disk, path, found: Mutex::new(found.unwrap_or_default()), written: Mutex::new(bytes) }
    }

    /// What was saved of a window.
    pub fn take(&self, owner: u64) -> Option<Vec<u8>> {
        self.found.lock().remove(&owner)
    }

    /// Saves all windows, unless they are as they were.
    ///
    /// # Errors
    /// As the disk says.
    pub fn save(&self, windows: &[(u64, Vec<u8>)]) -> io::Result<()> {
        let mut written = self.written.lock();
        if windows.is_empty() && written.is_none() {
            return Ok(());
        }
        let bytes = encode(windows);
        if written.as_ref() != Some(&bytes) {
            replace(&*self.disk, &self.path, &bytes)?;
            *written = Some(bytes);
        }
        Ok(())
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
    use super::*;

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
