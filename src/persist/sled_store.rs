//! The catalog in sled, with the feature `sled-catalog`. It is kept for comparison; redb is the default.
//!
//! One tree, with the keys and values of [`super::redb_store`]. Values of the first format are rewritten when it is opened.
//!
//! sled's own flush on Linux ends in `sync_file_range`, which neither writes metadata nor empties the disk's cache. So the
//! file is synced here, after sled has written to it. Its lock is released by a thread of its own some time after the
//! last handle is gone. So dropping waits for that.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::catalog::{Catalog, CatalogError, Change};
use super::codec;
use super::record::Record;

/// How long dropping waits for sled to let go of its file.
const RELEASE_WAIT: Duration = Duration::from_secs(10);

/// A catalog in a directory of its own, locked to this process.
pub struct SledCatalog {
    /// `None` only while it is dropped.
    db: Option<sled::Db>,
    /// sled's log, for syncing it.
    file: File,
    log: PathBuf,
}

impl SledCatalog {
    /// Opens or creates the store.
    ///
    /// # Errors
    /// When the directory cannot be used, or another process has it open.
    pub fn open(path: &Path) -> Result<Self, CatalogError> {
        let db = sled::Config::new().path(path).flush_every_ms(None).cache_capacity(8 * 1024 * 1024).open();
        let failed = |reason: String| CatalogError::Open { path: path.display().to_string(), reason };
        let db = db.map_err(|e| match e.to_string() {
            text if text.contains("could not acquire lock") => failed("another process uses it".to_owned()),
            text => failed(text),
        })?;
        let log = path.join("db");
        let file = File::open(&log).map_err(|e| failed(e.to_string()))?;
        // The names of new files have to last too.
        File::open(path).and_then(|dir| dir.sync_all()).map_err(|e| failed(e.to_string()))?;
        let store = Self { db: Some(db), file, log };
        store.upgrade()?;
        Ok(store)
    }

    fn db(&self) -> Result<&sled::Db, CatalogError> {
        self.db.as_ref().ok_or_else(|| CatalogError::Read("the catalog is closed".to_owned()))
    }

    /// All records; the flag says that one is of an older format.
    fn stored(&self) -> Result<Vec<(Record, bool)>, CatalogError> {
        let decode = |(key, value): (sled::IVec, sled::IVec)| codec::decode_any(&key, &value);
        self.db()?.iter().map(|entry| decode(entry.map_err(|e| CatalogError::Read(e.to_string()))?)).collect()
    }

    fn upgrade(&self) -> Result<(), CatalogError> {
        let outdated = self.stored()?.into_iter().filter(|(_, outdated)| *outdated);
        let changes: Vec<_> = outdated.map(|(record, _)| Change::Put(record)).collect();
        if changes.is_empty() {
            return Ok(());
        }
        self.write(&changes)?;
        self.flush()
    }
}

impl Catalog for SledCatalog {
    fn load(&self) -> Result<Vec<Record>, CatalogError> {
        Ok(self.stored()?.into_iter().map(|(record, _)| record).collect())
    }

    fn write(&self, changes: &[Change]) -> Result<(), CatalogError> {
        let mut batch = sled::Batch::default();
        for change in changes {
            match change {
                Change::Put(record) => {
                    let key = record.key();
                    let value = codec::encode(&key, record)?;
                    batch.insert(key, value);
                }
                Change::Delete(record) => batch.remove(record.key()),
            }
        }
        self.db()?.apply_batch(batch).map_err(|e| CatalogError::Write(e.to_string()))
    }

    fn flush(&self) -> Result<(), CatalogError> {
        self.db()?.flush().map_err(|e| CatalogError::Write(e.to_string()))?;
        self.file.sync_data().map_err(|e| CatalogError::Write(e.to_string()))
    }
}

impl Drop for SledCatalog {
    fn drop(&mut self) {
        self.db = None;
        let until = Instant::now() + RELEASE_WAIT;
        let is_released = || File::open(&self.log).is_ok_and(|file| file.try_lock().is_ok());
        while !is_released() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{ExchangeRecord, VhostRecord};
    use super::*;
    use crate::frames::Value;

    fn exchange(name: &str) -> Record {
        let arguments = [("x", Value::F64(f64::NEG_INFINITY)), ("t", Value::Timestamp(7))].into_iter().collect();
        Record::Exchange(ExchangeRecord {
            vhost: "/".into(),
            name: name.into(),
            kind: "topic".into(),
            durable: true,
            auto_delete: false,
            internal: true,
            arguments,
            id: 0,
        })
    }

    #[test]
    fn what_is_written_is_there_after_opening_again() {
        let dir = tempfile::tempdir().unwrap();
        let vhost = Record::Vhost(VhostRecord {
            name: "/".into(),
            description: String::new(),
            tags: vec![],
            default_queue_type: None,
            protected: None,
        });
        {
            let store = SledCatalog::open(dir.path()).unwrap();
            let changes = [exchange("a"), exchange("b"), vhost.clone()].map(Change::Put);
            store.write(&changes).unwrap();
            store.write(&[Change::Delete(exchange("a"))]).unwrap();
            store.flush().unwrap();
        }
        let store = SledCatalog::open(dir.path()).unwrap();
        assert_eq!(store.load().unwrap(), [vhost, exchange("b")]);
    }

    #[test]
    fn a_directory_belongs_to_one_process() {
        let dir = tempfile::tempdir().unwrap();
        let _first = SledCatalog::open(dir.path()).unwrap();
        let error = SledCatalog::open(dir.path()).err().unwrap();
        assert!(error.to_string().ends_with("another process uses it"), "{error}");
    }
}
