//! The layer between the message store and the operating system.
//!
//! Everything that the store reads and writes goes through [`Disk`] and [`DiskFile`], so that tests can put a simulated
//! disk ([`super::sim`]) in the place of the real one: one that loses what was not synced, fails, stalls, or flips a bit.
//! Writes are plain positioned writes. What has been written is certain to survive a power cut only after
//! [`DiskFile::sync_data`] (for the file), [`Disk::sync_dir`] (for names in a directory) or [`Disk::sync_all`] (for
//! everything below a directory) has returned without an error.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// Must exist; is only read.
    Read,
    /// Must exist; is read and written.
    Write,
    /// Is made when it does not exist; is read and written.
    Create,
}

/// Free and total bytes of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub free: u64,
    pub total: u64,
}

/// A file system. Calls block.
pub trait Disk: Send + Sync {
    /// Opens a file.
    ///
    /// # Errors
    /// As the system says.
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>>;

    /// Makes a directory and those above it; one that exists is no error.
    ///
    /// # Errors
    /// As the system says.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory, files and directories, in no particular order.
    ///
    /// # Errors
    /// As the system says; `NotFound` when the directory does not exist.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Removes a file.
    ///
    /// # Errors
    /// As the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory with everything in it.
    ///
    /// # Errors
    /// As the system says.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Renames a file, over one that may exist.
    ///
    /// # Errors
    /// As the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes names in a directory durable: files that were made, renamed or removed there.
    ///
    /// # Errors
    /// As the system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes everything durable that was written to the file system on which `dir` lies.
    ///
    /// # Errors
    /// As the system says.
    fn sync_all(&self, dir: &Path) -> io::Result<()>;

    /// Room on the file system on which `dir` lies.
    ///
    /// # Errors
    /// As the system says.
    fn space(&self, dir: &Path) -> io::Result<Space>;
}

/// An open file. Calls block.
#[expect(clippy::len_without_is_empty, reason = "nobody asks")]
pub trait DiskFile: Send + Sync {
    /// Reads at an offset; fewer bytes only at the end of the file.
    ///
    /// # Errors
    /// As the system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// The same, if the system has these bytes in memory; `None` when it would have to wait for them, or cannot say.
    ///
    /// # Errors
    /// As the system says.
    fn read_now(&self, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        self.read_at(buffer, offset).map(Some)
    }

    /// These bytes are read soon: a disk that can do several things at a time may begin. Does not wait for it.
    fn will_read(&self, _offset: u64, _length: u64) {}

    /// Writes all bytes at an offset. After an error any part of them may have been written.
    ///
    /// # Errors
    /// As the system says.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Returns when everything written to this file, and its length, survives a power cut.
    ///
    /// # Errors
    /// As the system says. Nothing is known then of what was written since the last success, and a later success says
    /// nothing about it either.
    fn sync_data(&self) -> io::Result<()>;

    /// Cuts the file or fills it up with zeros.
    ///
    /// # Errors
    /// As the system says.
    fn set_len(&self, length: u64) -> io::Result<()>;

    /// Length in bytes.
    ///
    /// # Errors
    /// As the system says.
    fn len(&self) -> io::Result<u64>;
}

/// What a person can do about an error of the system.
pub fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => ": give Leveret's user access to the data directory and all that is in it",
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            ": a file stands where a directory belongs, move it away"
        }
        io::ErrorKind::IsADirectory => ": a directory stands where a file belongs, move it away",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ": make room on the disk",
        io::ErrorKind::ReadOnlyFilesystem => ": mount it read-write",
        _ => "",
    }
}

/// The machine's own file systems.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(how != Open::Read).create(how == Open::Create);
        Ok(Box::new(RealFile(options.open(path)?)))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn sync_all(&self, dir: &Path) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(dir)?)?)
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(dir)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok(Space { free: bytes(stat.f_bavail), total: bytes(stat.f_blocks) })
    }
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn read_now(&self, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        // Systems and file systems that know no such reading are asked to read as they can.
        #[cfg(target_os = "linux")]
        {
            use rustix::io::{Errno, ReadWriteFlags, preadv2};
            let wanted = buffer.len();
            let parts = &mut [io::IoSliceMut::new(buffer)];
            match preadv2(&self.0, parts, offset, ReadWriteFlags::NOWAIT) {
                // Less may be all that is in memory.
                Ok(read) => Ok(Some(read).filter(|read| *read == wanted)),
                Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INTR) => Ok(None),
                Err(error) => Err(error.into()),
            }
        }
        #[cfg(not(target_os = "linux"))]
        Ok(None)
    }

    fn will_read(&self, offset: u64, length: u64) {
        // A system that does not take the advice reads as well without it.
        let _ = rustix::fs::fadvise(&self.0, offset, NonZeroU64::new(length), rustix::fs::Advice::WillNeed);
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}
