//! A catalog that keeps a copy of itself as a definitions file beside it.
//!
//! A thread writes the file some time after a change and when the catalog is closed, never more often than every few
//! seconds, and the more seldom the longer it takes. The catalog is rebuilt from it when it is lost ([`super::opening`]);
//! an operator can read it, and RabbitMQ import it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::catalog::{Catalog, CatalogError, Change};
use super::definitions::{self, DefinitionsError};
use super::disk::{Disk, Open};
use super::record::Record;
use super::replace::{read, replace};

/// Shortest time from one export to the next.
const PAUSE: Duration = Duration::from_secs(3);
/// An export that takes long is followed by a pause of so many times that.
const SHARE: u32 = 20;

/// A catalog with its export.
pub struct Exported {
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
}

struct Shared {
    catalog: Box<dyn Catalog>,
    disk: Arc<dyn Disk>,
    file: PathBuf,
    /// Is there as long as a rebuilt catalog is not settled.
    mark: PathBuf,
    state: Mutex<State>,
    /// Something has been changed, or the catalog is closed.
    news: Condvar,
}

#[derive(Default)]
struct State {
    changed: bool,
    closing: bool,
}

impl Exported {
    /// Starts the thread, which begins with an export.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        catalog: Box<dyn Catalog>,
        disk: Arc<dyn Disk>,
        file: PathBuf,
        mark: PathBuf,
    ) -> std::io::Result<Self> {
        let state = Mutex::new(State { changed: true, closing: false });
        let shared = Arc::new(Shared { catalog, disk, file, mark, state, news: Condvar::new() });
        let for_thread = Arc::clone(&shared);
        let thread = thread::Builder::new().name("export".into()).spawn(move || for_thread.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }
}

impl Catalog for Exported {
    fn load(&self) -> Result<Vec<Record>, CatalogError> {
        self.shared.catalog.load()
    }

    fn write(&self, changes: &[Change]) -> Result<(), CatalogError> {
        self.shared.catalog.write(changes)
    }

    fn flush(&self) -> Result<(), CatalogError> {
        self.shared.catalog.flush()?;
        let mut state = self.shared.state.lock();
        if !state.changed {
            state.changed = true;
            self.shared.news.notify_one();
        }
        Ok(())
    }

    fn is_rebuilt(&self) -> bool {
        self.shared.disk.open(&self.shared.mark, Open::Read).is_ok()
    }

    fn settle(&self) -> Result<(), CatalogError> {
        self.flush()?;
        let (disk, mark) = (&self.shared.disk, &self.shared.mark);
        let removed = disk.remove(mark).and_then(|()| disk.sync_dir(mark.parent().unwrap_or(Path::new("."))));
        removed.map_err(|e| CatalogError::Write(e.to_string()))
    }
}

impl Drop for Exported {
    fn drop(&mut self) {
        self.shared.state.lock().closing = true;
        self.shared.news.notify_one();
        if let Some(thread) = self.thread.take() {
            // The thread does not panic; if it did, its message is on standard error already.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self) {
        let mut state = self.state.lock();
        loop {
            while !state.changed && !state.closing {
                self.news.wait(&mut state);
            }
            if !std::mem::take(&mut state.changed) {
                return;
            }
            drop(state);
            let begun = Instant::now();
            let is_written = self.export();
            let pause = PAUSE.max(begun.elapsed() * SHARE);
            state = self.state.lock();
            if !is_written && state.closing {
                return;
            }
            state.changed |= !is_written;
            while !state.closing && begun.elapsed() < pause {
                self.news.wait_until(&mut state, begun + pause);
            }
        }
    }

    /// False when it has failed; the log says why.
    fn export(&self) -> bool {
        let failed = |error: &dyn std::fmt::Display| {
            let file = self.file.display();
            tracing::warn!(target: "leveret::catalog", "the definitions cannot be saved in {file}: {error}");
        };
        match self.catalog.load() {
            // Before the first objects are made there is nothing to save.
            Ok(records) if records.is_empty() => true,
            Ok(records) => write_file(self.disk.as_ref(), &self.file, records).inspect_err(|e| failed(e)).is_ok(),
            Err(error) => {
                failed(&error);
                false
            }
        }
    }
}

/// Writes these records as a definitions file.
///
/// # Errors
/// When that fails; an older file stays as it was.
pub fn write_file(disk: &dyn Disk, file: &Path, records: Vec<Record>) -> Result<(), DefinitionsError> {
    replace(disk, file, &definitions::write(records)?).map_err(DefinitionsError::Write)
}

/// The records of a definitions file and when it was written.
///
/// # Errors
/// When it is missing, damaged or not ours.
pub fn read_file(disk: &dyn Disk, file: &Path) -> Result<(Vec<Record>, String), DefinitionsError> {
    definitions::read(&read(disk, file).map_err(DefinitionsError::Read)?)
}
