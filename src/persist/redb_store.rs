//! The catalog in redb, a B-tree in one file.
//!
//! One table. Keys are [`Record::key`], values are [`codec`]'s; loading order is key order, because keys begin with the
//! kind. Changes are gathered in memory and go to the file with the next flush, in one transaction that is synced: all of
//! them survive, or none. redb keeps the previous state until the new one is synced, and falls back to it.
//!
//! The file is reached through [`DiskFile`], so that tests can cut the power. Opening reads all of it and compares every
//! checksum.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use parking_lot::Mutex;
use redb::{Builder, Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};

use super::catalog::{Catalog, CatalogError, Change};
use super::codec;
use super::disk::{Disk, DiskFile, Open, advice};
use super::record::Record;

const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
const CACHE: usize = 8 * 1024 * 1024;

/// A key and its new value, or `None` when it is deleted.
type Entry = (Vec<u8>, Option<Vec<u8>>);

/// A catalog in one file. That no other process has it open is for the data directory's lock to see to.
pub struct RedbCatalog {
    db: Database,
    /// Changes that no flush has taken yet.
    gathered: Mutex<Vec<Entry>>,
    /// Held while a transaction is made, so that they follow one another in the order of the changes. After a failure
    /// nothing can be promised any more.
    failure: Mutex<Option<String>>,
}

impl RedbCatalog {
    /// Opens a file, or makes an empty catalog of an empty one, and checks it whole.
    ///
    /// # Errors
    /// [`CatalogError::Damaged`] when the file is no catalog or a broken one, and others when it cannot be read now.
    pub fn open(disk: &dyn Disk, path: &Path) -> Result<Self, CatalogError> {
        let reason = |e: &io::Error| format!("{e}{}", advice(e));
        let unusable = |e: io::Error| CatalogError::Open { path: path.display().to_string(), reason: reason(&e) };
        Self::on(disk.open(path, Open::Create).map_err(unusable)?).map_err(|error| match error {
            CatalogError::Read(reason) => CatalogError::Open { path: path.display().to_string(), reason },
            other => other,
        })
    }

    /// The same on a file that is open.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn on(file: Box<dyn DiskFile>) -> Result<Self, CatalogError> {
        // redb holds that its own files are in order and may panic where one is not; nothing of it is used afterwards.
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let catalog = Self::open_unguarded(file)?;
            catalog.stored()?;
            Ok(catalog)
        }));
        opened.unwrap_or_else(|_| Err(CatalogError::Damaged("the file is not in order".to_owned())))
    }

    fn open_unguarded(file: Box<dyn DiskFile>) -> Result<Self, CatalogError> {
        let is_new = file.len().map_err(|e| CatalogError::Read(e.to_string()))? == 0;
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
        let db = builder.create_with_backend(Backend(file)).map_err(|e| cannot_read(e.into()))?;
        let catalog = Self { db, gathered: Mutex::default(), failure: Mutex::default() };
        if is_new {
            // Makes the table.
            catalog.commit(&[]).map_err(CatalogError::Write)?;
        }
        Ok(catalog)
    }

    /// Everything in the file, checked.
    fn stored(&self) -> Result<Vec<Record>, CatalogError> {
        let read = self.db.begin_read().map_err(|e| cannot_read(e.into()))?;
        let table = read.open_table(RECORDS).map_err(|e| cannot_read(e.into()))?;
        let mut records = Vec::new();
        for entry in table.iter().map_err(|e| cannot_read(e.into()))? {
            let (key, value) = entry.map_err(|e| cannot_read(e.into()))?;
            records.push(codec::decode(key.value(), value.value())?);
        }
        Ok(records)
    }

    fn commit(&self, changes: &[Entry]) -> Result<(), String> {
        let commit = || -> Result<(), redb::Error> {
            let write = self.db.begin_write()?;
            {
                let mut table = write.open_table(RECORDS)?;
                for (key, value) in changes {
                    match value {
                        Some(value) => drop(table.insert(key.as_slice(), value.as_slice())?),
                        None => drop(table.remove(key.as_slice())?),
                    }
                }
            }
            Ok(write.commit()?)
        };
        commit().map_err(|e| e.to_string())
    }
}

impl Catalog for RedbCatalog {
    fn load(&self) -> Result<Vec<Record>, CatalogError> {
        self.flush()?;
        self.stored()
    }

    fn write(&self, changes: &[Change]) -> Result<(), CatalogError> {
        let encoded = changes.iter().map(|change| match change {
            Change::Put(record) => {
                let key = record.key();
                let value = codec::encode(&key, record)?;
                Ok((key, Some(value)))
            }
            Change::Delete(record) => Ok((record.key(), None)),
        });
        let encoded = encoded.collect::<Result<Vec<_>, CatalogError>>()?;
        self.gathered.lock().extend(encoded);
        Ok(())
    }

    fn flush(&self) -> Result<(), CatalogError> {
        let mut failure = self.failure.lock();
        if let Some(failure) = &*failure {
            return Err(CatalogError::Write(failure.clone()));
        }
        let changes = std::mem::take(&mut *self.gathered.lock());
        if changes.is_empty() {
            return Ok(());
        }
        self.commit(&changes).map_err(|reason| CatalogError::Write(failure.insert(reason).clone()))
    }
}

/// Damage is told from a disk that cannot be read at the moment: the one is repaired, the other waits for an operator.
fn cannot_read(error: redb::Error) -> CatalogError {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    match error {
        redb::Error::Io(e) if !matches!(e.kind(), InvalidData | InvalidInput | UnexpectedEof) => {
            CatalogError::Read(e.to_string())
        }
        redb::Error::PreviousIo | redb::Error::DatabaseClosed | redb::Error::LockPoisoned(_) => {
            CatalogError::Read(error.to_string())
        }
        damage => CatalogError::Damaged(damage.to_string()),
    }
}

/// A file as redb wants it.
struct Backend(Box<dyn DiskFile>);

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("catalog")
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.0.read_at(out, offset)? < out.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(data, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::RealDisk;
    use super::super::record::{ExchangeRecord, VhostRecord};
    use super::super::sim::{Random, SimDisk};
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

    fn vhost() -> Record {
        let (name, description) = ("/".to_owned(), String::new());
        Record::Vhost(VhostRecord { name, description, tags: vec![], default_queue_type: None, protected: None })
    }

    #[test]
    fn what_is_flushed_is_there_after_opening_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalog.redb");
        let store = RedbCatalog::open(&RealDisk, &path).unwrap();
        store.write(&[exchange("a"), exchange("b"), vhost()].map(Change::Put)).unwrap();
        store.write(&[Change::Delete(exchange("a"))]).unwrap();
        store.flush().unwrap();
        store.write(&[Change::Delete(exchange("b"))]).unwrap();
        drop(store);
        let store = RedbCatalog::open(&RealDisk, &path).unwrap();
        assert_eq!(store.load().unwrap(), [vhost(), exchange("b")]);
    }

    #[test]
    fn loading_shows_what_was_written_and_not_flushed_yet() {
        let dir = tempfile::tempdir().unwrap();
        let store = RedbCatalog::open(&RealDisk, &dir.path().join("catalog.redb")).unwrap();
        store.write(&[Change::Put(vhost())]).unwrap();
        assert_eq!(store.load().unwrap(), [vhost()]);
    }

    #[test]
    fn a_file_that_is_no_catalog_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalog.redb");
        for bytes in [b"hello".to_vec(), vec![0; 8192], vec![7; 1 << 20]] {
            std::fs::write(&path, bytes).unwrap();
            assert!(matches!(RedbCatalog::open(&RealDisk, &path), Err(CatalogError::Damaged(_))));
        }
    }

    /// Of a flipped bit, either nothing is to be seen, or the catalog is damaged.
    #[test]
    fn no_flipped_bit_changes_what_is_loaded() {
        let disk = SimDisk::new(1);
        let path = Path::new("catalog.redb");
        let names: Vec<_> = (0..200).map(|n| Change::Put(exchange(&format!("e{n}")))).collect();
        let store = RedbCatalog::open(&disk, path).unwrap();
        store.write(&names).unwrap();
        store.flush().unwrap();
        let records = store.load().unwrap();
        drop(store);
        let length = disk.open(path, Open::Read).unwrap().len().unwrap();
        let mut random = Random::new(7);
        let mut damaged = 0;
        for _ in 0..300 {
            let disk = disk.copy();
            let (offset, bit) = (random.below(length), random.below(8) as u8);
            assert!(disk.flip_bit(path, offset, bit));
            match RedbCatalog::open(&disk, path).and_then(|store| store.load()) {
                Ok(found) => assert_eq!(found, records, "bit {bit} of byte {offset}"),
                Err(CatalogError::Damaged(_)) => damaged += 1,
                Err(other) => panic!("bit {bit} of byte {offset}: {other}"),
            }
        }
        assert!(damaged > 0);
    }
}
