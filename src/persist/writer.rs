//! Group commit for the catalog.
//!
//! A change is written to the store at once, in order, and numbered. A thread of its own flushes whenever something
//! has been written; a flush covers everything written before it began. Whoever must not answer before a change is on
//! disk awaits its number.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use super::catalog::{Catalog, CatalogError, Change};

/// How far the flushes have come.
#[derive(Clone, Debug, Default)]
struct Progress {
    flushed: u64,
    failure: Option<String>,
}

struct Shared {
    store: Box<dyn Catalog>,
    written: AtomicU64,
    /// Wakes the flusher; the flag says that the writer is gone.
    closing: Mutex<bool>,
    work: Condvar,
    progress: watch::Sender<Progress>,
}

/// Writes changes and lets callers wait until they are durable.
pub struct CatalogWriter {
    shared: Arc<Shared>,
    flusher: Option<thread::JoinHandle<()>>,
}

impl CatalogWriter {
    /// Starts the flushing thread.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn new(store: Box<dyn Catalog>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            store,
            written: AtomicU64::new(0),
            closing: Mutex::new(false),
            work: Condvar::new(),
            progress: watch::Sender::new(Progress::default()),
        });
        let for_thread = Arc::clone(&shared);
        let flusher = thread::Builder::new().name("catalog".into()).spawn(move || flush_loop(&for_thread))?;
        Ok(Self { shared, flusher: Some(flusher) })
    }

    /// Everything in the store.
    ///
    /// # Errors
    /// When it cannot be read whole.
    pub fn load(&self) -> Result<Vec<super::Record>, CatalogError> {
        self.shared.store.load()
    }

    /// Writes changes as one. They are durable when [`CatalogWriter::flushed`] returns for the number.
    ///
    /// # Errors
    /// When nothing has been written, or an earlier flush has failed: then nothing can be promised any more.
    pub fn write(&self, changes: &[Change]) -> Result<u64, CatalogError> {
        if let Some(failure) = &self.shared.progress.borrow().failure {
            return Err(CatalogError::Write(failure.clone()));
        }
        self.shared.store.write(changes)?;
        let closing = self.shared.closing.lock();
        let number = self.shared.written.fetch_add(1, Ordering::Relaxed) + 1;
        self.shared.work.notify_one();
        drop(closing);
        Ok(number)
    }

    /// The number of the last change, for those who depend on earlier ones.
    pub fn last_written(&self) -> u64 {
        self.shared.written.load(Ordering::Relaxed)
    }

    /// True when that change is durable already.
    pub fn is_flushed(&self, number: u64) -> bool {
        self.shared.progress.borrow().flushed >= number
    }

    /// Waits until that change is durable.
    ///
    /// # Errors
    /// When flushing has failed.
    pub async fn flushed(&self, number: u64) -> Result<(), CatalogError> {
        let mut progress = self.shared.progress.subscribe();
        let closed = || CatalogError::Write("the catalog is closed".to_owned());
        let now = progress.wait_for(|p| p.flushed >= number || p.failure.is_some()).await.map_err(|_| closed())?;
        match (&now.failure, now.flushed >= number) {
            (Some(failure), false) => Err(CatalogError::Write(failure.clone())),
            _ => Ok(()),
        }
    }
}

fn flush_loop(shared: &Shared) {
    loop {
        let number = {
            let mut closing = shared.closing.lock();
            loop {
                let written = shared.written.load(Ordering::Relaxed);
                if written > shared.progress.borrow().flushed {
                    break written;
                }
                if *closing {
                    return;
                }
                shared.work.wait(&mut closing);
            }
        };
        if let Err(error) = shared.store.flush() {
            tracing::error!(target: "leveret::catalog", "{error}. Durable declarations are refused from now on.");
            shared.progress.send_modify(|p| p.failure = Some(error.to_string()));
            return;
        }
        shared.progress.send_modify(|p| p.flushed = number);
    }
}

impl Drop for CatalogWriter {
    fn drop(&mut self) {
        *self.shared.closing.lock() = true;
        self.shared.work.notify_one();
        if let Some(flusher) = self.flusher.take() {
            // The thread does not panic; if it did, its message is on standard error already.
            let _ = flusher.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalog::NoCatalog;
    use super::*;

    struct FailingFlush;

    impl Catalog for FailingFlush {
        fn load(&self) -> Result<Vec<super::super::Record>, CatalogError> {
            Ok(vec![])
        }
        fn write(&self, _: &[Change]) -> Result<(), CatalogError> {
            Ok(())
        }
        fn flush(&self) -> Result<(), CatalogError> {
            Err(CatalogError::Write("no space".into()))
        }
    }

    #[tokio::test]
    async fn a_change_is_durable_after_its_flush() {
        let writer = CatalogWriter::new(Box::new(NoCatalog)).unwrap();
        let number = writer.write(&[]).unwrap();
        writer.flushed(number).await.unwrap();
        assert!(writer.is_flushed(number));
    }

    #[tokio::test]
    async fn after_a_failed_flush_nothing_is_promised() {
        let writer = CatalogWriter::new(Box::new(FailingFlush)).unwrap();
        let number = writer.write(&[]).unwrap();
        assert!(writer.flushed(number).await.is_err());
        assert!(writer.write(&[]).is_err());
    }
}
