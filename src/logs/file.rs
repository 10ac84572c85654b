//! A log file that is begun anew when it is large or old enough: `name` becomes `name.0`, that `name.1`, and so on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::LogError;
use super::time::next;
use crate::config::Rotation;

/// Seconds after which a file that could not be written is tried again.
const TRY_AGAIN: u64 = 5;

/// One file that is appended to.
pub struct LogFile {
    path: PathBuf,
    /// None while it cannot be written.
    file: Option<BufWriter<File>>,
    size: u64,
    rotation: Rotation,
    /// When it is begun anew, in seconds since 1970; known from the first line on.
    due: Option<u64>,
    /// When it is tried again.
    retry: u64,
    /// Lines that did not reach the system, since that was asked for last.
    lost: u64,
}

impl LogFile {
    pub fn open(path: PathBuf, rotation: &Rotation) -> Result<Self, LogError> {
        let mut file = Self { path, file: None, size: 0, rotation: rotation.clone(), due: None, retry: 0, lost: 0 };
        file.reopen()?;
        Ok(file)
    }

    /// Whether a file could be opened, or made with the directories above it.
    pub fn rehearse(path: &Path) -> Result<(), LogError> {
        let there = path.ancestors().find(|above| above.as_os_str().is_empty() || above.exists());
        let there = there.filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let failed = |error| LogError::File { path: path.display().to_string(), error };
        match there.is_dir() {
            true if there == path => return Err(failed(io::ErrorKind::IsADirectory.into())),
            false if there != path => return Err(failed(io::ErrorKind::NotADirectory.into())),
            _ => {}
        }
        rustix::fs::access(there, rustix::fs::Access::WRITE_OK).map_err(|error| failed(error.into()))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it, or what is now at its path.
    pub fn reopen(&mut self) -> Result<(), LogError> {
        self.flush();
        let opened = append_to(&self.path).map_err(|error| self.error(error));
        let (file, size) = opened.inspect_err(|_| self.file = None)?;
        (self.file, self.size) = (Some(BufWriter::new(file)), size);
        Ok(())
    }

    fn error(&self, error: io::Error) -> LogError {
        LogError::File { path: self.path.display().to_string(), error }
    }

    /// Writes a line; `now` is in seconds since 1970.
    pub fn write(&mut self, line: &str, now: u64) {
        if self.file.is_none() && now >= self.retry {
            self.retry = now + TRY_AGAIN;
            // It is tried again.
            let _ = self.reopen();
        }
        if self.is_due(line, now) {
            // Without a new file the old one grows.
            let _ = self.rotate();
        }
        let Some(file) = &mut self.file else {
            self.lost += 1;
            return;
        };
        let written = file.write_all(line.as_bytes()).and_then(|()| file.write_all(b"\n"));
        self.size += line.len() as u64 + 1;
        if written.is_err() {
            self.lost += 1;
            self.give_up();
            self.retry = now + TRY_AGAIN;
        }
    }

    /// What has been written goes to the system.
    pub fn flush(&mut self) {
        if self.file.as_mut().is_some_and(|file| file.flush().is_err()) {
            self.give_up();
        }
    }

    /// How many lines are missing in it since this was asked last.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Closes a file that cannot be written. Whole lines that were gathered for it are lost.
    fn give_up(&mut self) {
        let Some(file) = self.file.take() else { return };
        self.lost += file.buffer().iter().filter(|byte| **byte == b'\n').count() as u64;
        // Not dropped as it is: it would try to write once more.
        drop(file.into_parts());
    }

    fn is_due(&mut self, line: &str, now: u64) -> bool {
        let time = self.rotation.time;
        let is_old = self.due.is_some_and(|due| now >= due);
        if is_old || self.due.is_none() {
            self.due = time.map(|time| next(time, now));
        }
        let most = self.rotation.size;
        let is_large = most > 0 && self.size > 0 && self.size + line.len() as u64 + 1 > most;
        is_old || is_large
    }

    /// Begins a new file.
    pub fn rotate(&mut self) -> Result<(), LogError> {
        self.flush();
        self.file = None;
        let moved = self.move_away();
        // The file is needed whether or not the old one could be moved.
        self.reopen()?;
        moved.map_err(|error| self.error(error))
    }

    fn move_away(&self) -> io::Result<()> {
        let numbered = |n: u32| PathBuf::from(format!("{}.{n}", self.path.display()));
        if self.rotation.count == 0 {
            return fs::remove_file(&self.path);
        }
        for n in (1..self.rotation.count).rev() {
            match fs::rename(numbered(n - 1), numbered(n)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, numbered(0))
    }
}

fn append_to(path: &Path) -> io::Result<(File, u64)> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RotationTime;

    fn read(dir: &Path, name: &str) -> String {
        fs::read_to_string(dir.join(name)).unwrap_or_default()
    }

    #[test]
    fn a_file_that_is_large_enough_is_begun_anew_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let rotation = Rotation { size: 10, time: None, count: 2 };
        let mut file = LogFile::open(dir.path().join("sub/l.log"), &rotation).unwrap();
        for n in 0..5 {
            file.write(&format!("line-{n}"), 0);
        }
        file.flush();
        let sub = dir.path().join("sub");
        assert_eq!(["l.log", "l.log.0", "l.log.1"].map(|name| read(&sub, name)), ["line-4\n", "line-3\n", "line-2\n"]);
        assert_eq!(fs::read_dir(&sub).unwrap().count(), 3);
        file.rotate().unwrap();
        assert_eq!(read(&sub, "l.log.0"), "line-4\n");
    }

    #[test]
    fn a_file_that_is_old_enough_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let rotation = Rotation { size: 0, time: Some(RotationTime::Daily { hour: 0 }), count: 1 };
        let mut file = LogFile::open(dir.path().join("l.log"), &rotation).unwrap();
        [("a", 100), ("b", 86_399), ("c", 86_400), ("d", 86_401)].iter().for_each(|(line, now)| {
            file.write(line, *now);
        });
        file.flush();
        assert_eq!(
            (read(dir.path(), "l.log.0"), read(dir.path(), "l.log")),
            ("a\nb\n".to_owned(), "c\nd\n".to_owned())
        );
    }

    #[test]
    fn what_does_not_reach_a_full_disk_is_counted() {
        let mut file = LogFile::open(PathBuf::from("/dev/full"), &Rotation::default()).unwrap();
        (0..3).for_each(|_| file.write("line", 0));
        file.flush();
        assert_eq!((file.take_lost(), file.take_lost()), (3, 0));
        (0..3000).for_each(|_| file.write("line", 0));
        file.flush();
        assert_eq!(file.take_lost(), 3000);
    }

    #[test]
    fn a_file_that_was_moved_away_is_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = LogFile::open(dir.path().join("l.log"), &Rotation::default()).unwrap();
        file.write("a", 0);
        fs::rename(dir.path().join("l.log"), dir.path().join("old")).unwrap();
        file.reopen().unwrap();
        file.write("b", 0);
        file.flush();
        assert_eq!((read(dir.path(), "old"), read(dir.path(), "l.log")), ("a\n".to_owned(), "b\n".to_owned()));
        let error = LogFile::open(dir.path().join("old/l.log"), &Rotation::default()).err().unwrap().to_string();
        assert!(error.contains("old/l.log cannot be opened"), "{error}");
    }
}
