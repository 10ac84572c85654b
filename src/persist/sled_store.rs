//! The catalog in sled.
//!
//! One tree. Keys are [`Record::key`]; a value is a format byte and the record in postcard's encoding. Loading order is
//! key order, because keys begin with the kind.
//!
//! sled's own flush on Linux ends in `sync_file_range`, which neither writes metadata nor empties the disk's cache. So the
//! file is synced here, after sled has written to it.

use std::fs::File;
use std::path::Path;

use super::catalog::{Catalog, CatalogError, Change};
use super::record::Record;

const FORMAT: u8 = 1;

/// A catalog in a directory of its own, locked to this process.
pub struct SledCatalog {
    db: sled::Db,
    /// sled's log, for syncing it.
    file: File,
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
        let file = File::open(path.join("db")).map_err(|e| failed(e.to_string()))?;
        // The names of new files have to last too.
        File::open(path).and_then(|dir| dir.sync_all()).map_err(|e| failed(e.to_string()))?;
        Ok(Self { db, file })
    }
}

impl Catalog for SledCatalog {
    fn load(&self) -> Result<Vec<Record>, CatalogError> {
        self.db.iter().map(|entry| decode(&entry.map_err(|e| CatalogError::Read(e.to_string()))?.1)).collect()
    }

    fn write(&self, changes: &[Change]) -> Result<(), CatalogError> {
        let mut batch = sled::Batch::default();
        for change in changes {
            match change {
                Change::Put(record) => batch.insert(record.key(), encode(record)?),
                Change::Delete(record) => batch.remove(record.key()),
            }
        }
        self.db.apply_batch(batch).map_err(|e| CatalogError::Write(e.to_string()))
    }

    fn flush(&self) -> Result<(), CatalogError> {
        self.db.flush().map_err(|e| CatalogError::Write(e.to_string()))?;
        self.file.sync_data().map_err(|e| CatalogError::Write(e.to_string()))
    }
}

fn encode(record: &Record) -> Result<Vec<u8>, CatalogError> {
    postcard::to_extend(record, vec![FORMAT]).map_err(|e| CatalogError::Write(e.to_string()))
}

fn decode(value: &[u8]) -> Result<Record, CatalogError> {
    match value.split_first() {
        Some((&FORMAT, bytes)) => postcard::from_bytes(bytes).map_err(|e| CatalogError::Read(e.to_string())),
        Some((&newer, _)) => Err(CatalogError::Newer(newer)),
        None => Err(CatalogError::Read("an empty record".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{ExchangeRecord, VhostRecord};
    use super::*;
    use crate::frames::{Table, Value};

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
        let _ = Table::default();
    }

    #[test]
    fn a_directory_belongs_to_one_process() {
        let dir = tempfile::tempdir().unwrap();
        let _first = SledCatalog::open(dir.path()).unwrap();
        let error = SledCatalog::open(dir.path()).err().unwrap();
        assert!(error.to_string().ends_with("another process uses it"), "{error}");
    }

    #[test]
    fn a_record_of_a_newer_format_is_refused() {
        assert!(matches!(decode(&[9, 1]), Err(CatalogError::Newer(9))));
        assert!(matches!(decode(&[]), Err(CatalogError::Read(_))));
    }
}
