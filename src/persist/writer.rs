//! Group commit for the catalog.
//!
//! A change is written to the store at once, in order, and numbered. A thread of its own flushes whenever something
//! has been written; a flush covers everything written before it began. Whoever must not answer before a change is on
//! disk awaits its number.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use parking_lot::{Condvar, Mutex, RwLock};
use tokio::sync::watch;

use super::catalog::{Catalog, CatalogError, Change};

/// How far the flushes have come.
#[derive(Clone, Debug, Default)]
struct Progress {
    flushed: u64,
    failure: Option<String>,
}

struct Shared {
    /// `None` after [`CatalogWriter::close`].
    store: RwLock<Option<Box<dyn Catalog>>>,
    written: AtomicU64,
    /// Wakes the flusher; the flag says that the writer is gone.
    closing: Mutex<bool>,
    work: Condvar,
    progress: watch::Sender<Progress>,
}

/// Writes changes and lets callers wait until they are durable.
pub struct CatalogWriter {
    shared: Arc<Shared>,
    flusher: Mutex<Option<thread::JoinHandle<()>>>,
}

impl CatalogWriter {
    /// Starts the flushing thread.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn new(store: Box<dyn Catalog>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            store: RwLock::new(Some(store)),
            written: AtomicU64::new(0),
            closing: Mutex::new(false),
            work: Condvar::new(),
            progress: watch::Sender::new(Progress::default()),
        });
        let for_thread = Arc::clone(&shared);
        let flusher = thread::Builder::new().name("catalog".into()).spawn(move || flush_loop(&for_thread))?;
        Ok(Self { shared, flusher: Mutex::new(Some(flusher)) })
    }

    /// Everything in the store.
    ///
    /// # Errors
    /// When it cannot be read whole.
    pub fn load(&self) -> Result<Vec<super::Record>, CatalogError> {
        self.shared.store.read().as_ref().ok_or_else(closed)?.load()
    }

    /// Whether the store may lack what was declared last: see [`Catalog::is_rebuilt`].
    pub fn is_rebuilt(&self) -> bool {
        self.shared.store.read().as_ref().is_some_and(|store| store.is_rebuilt())
    }

    /// What it may have lacked is written: see [`Catalog::settle`].
    ///
    /// # Errors
    /// When that is not on disk.
    pub fn settle(&self) -> Result<(), CatalogError> {
        self.shared.store.read().as_ref().ok_or_else(closed)?.settle()
    }

    /// Writes changes as one. They are durable when [`CatalogWriter::flushed`] returns for the number.
    ///
    /// # Errors
    /// When nothing has been written, or an earlier flush has failed: then nothing can be promised any more.
    pub fn write(&self, changes: &[Change]) -> Result<u64, CatalogError> {
        if let Some(failure) = &self.shared.progress.borrow().failure {
            return Err(CatalogError::Write(failure.clone()));
        }
        let store = self.shared.store.read();
        store.as_ref().ok_or_else(closed)?.write(changes)?;
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
        let now = progress.wait_for(|p| p.flushed >= number || p.failure.is_some()).await.map_err(|_| closed())?;
        match (&now.failure, now.flushed >= number) {
            (Some(failure), false) => Err(CatalogError::Write(failure.clone())),
            _ => Ok(()),
        }
    }

    /// Flushes what has been written and closes the store, whoever else still holds this writer: when this returns,
    /// the store's files and locks are free. Every later change is refused.
    pub fn close(&self) {
        *self.shared.closing.lock() = true;
        self.shared.work.notify_one();
        if let Some(flusher) = self.flusher.lock().take() {
            // The thread does not panic; if it did, its message is on standard error already.
            let _ = flusher.join();
        }
        let store = self.shared.store.write().take();
        // A last change may have come in after the thread had ended.
        if let Some(store) = &store {
            self.shared.flush(store.as_ref());
        }
        drop(store);
        self.shared.progress.send_modify(|p| p.failure = p.failure.take().or_else(|| Some(CLOSED.to_owned())));
    }
}

const CLOSED: &str = "it is closed";

fn closed() -> CatalogError {
    CatalogError::Write(CLOSED.to_owned())
}

impl Shared {
    /// Flushes everything written so far; false when that has failed, now or before.
    fn flush(&self, store: &dyn Catalog) -> bool {
        let number = self.written.load(Ordering::Relaxed);
        if self.progress.borrow().failure.is_some() {
            return false;
        }
        if let Err(error) = store.flush() {
            tracing::error!(target: "leveret::catalog", "{error}. Durable declarations are refused from now on.");
            self.progress.send_modify(|p| p.failure = Some(error.to_string()));
            return false;
        }
        self.progress.send_modify(|p| p.flushed = number);
        true
    }
}

fn flush_loop(shared: &Shared) {
    loop {
        {
            let mut closing = shared.closing.lock();
            while shared.written.load(Ordering::Relaxed) == shared.progress.borrow().flushed {
                if *closing {
                    return;
                }
                shared.work.wait(&mut closing);
            }
        }
        let store = shared.store.read();
        if !store.as_ref().is_some_and(|store| shared.flush(store.as_ref())) {
            return;
        }
    }
}

impl Drop for CatalogWriter {
    fn drop(&mut self) {
        self.close();
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

    #[tokio::test]
    async fn closing_lets_go_of_the_store_and_refuses_what_comes_later() {
        struct Held(#[expect(dead_code, reason = "held, not read")] Arc<()>);
        impl Catalog for Held {
            fn load(&self) -> Result<Vec<super::super::Record>, CatalogError> {
                Ok(vec![])
            }
            fn write(&self, _: &[Change]) -> Result<(), CatalogError> {
                Ok(())
            }
            fn flush(&self) -> Result<(), CatalogError> {
                Ok(())
            }
        }
        let file = Arc::new(());
        let writer = CatalogWriter::new(Box::new(Held(Arc::clone(&file)))).unwrap();
        let number = writer.write(&[]).unwrap();
        writer.close();
        assert_eq!(Arc::strong_count(&file), 1);
        writer.flushed(number).await.unwrap();
        assert!(writer.write(&[]).is_err());
        assert!(writer.flushed(number + 1).await.is_err());
    }
}
