//! A catalog for tests: it can become full, shows what was written, and a broker can be started again with what it holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::Mutex;

use super::broker::{Broker, StartError};
use crate::config::Config;
use crate::frames::Table;
use crate::message::memory::MemoryAccount;
use crate::persist::catalog::{Catalog, CatalogError};
use crate::persist::record::BindingRecord;
use crate::persist::{Change, Record};

/// What is left when the broker is gone.
#[derive(Clone, Default)]
pub struct TestCatalog(Arc<Shared>);

#[derive(Default)]
struct Shared {
    is_full: AtomicBool,
    writes: Mutex<Vec<Vec<Change>>>,
    records: Mutex<BTreeMap<Vec<u8>, Record>>,
}

impl TestCatalog {
    pub fn with_broker() -> (Arc<Broker>, Self) {
        let catalog = Self::default();
        (catalog.start().unwrap(), catalog)
    }

    /// A broker that begins with what is here.
    pub fn start(&self) -> Result<Arc<Broker>, StartError> {
        self.start_with(Config::default())
    }

    pub fn start_with(&self, config: Config) -> Result<Arc<Broker>, StartError> {
        Broker::start(config, Box::new(self.clone()), MemoryAccount::new(1 << 30), None)
    }

    pub fn set_full(&self, is_full: bool) {
        self.0.is_full.store(is_full, Relaxed);
    }

    pub fn writes(&self) -> Vec<Vec<Change>> {
        self.0.writes.lock().clone()
    }
}

impl Catalog for TestCatalog {
    fn load(&self) -> Result<Vec<Record>, CatalogError> {
        Ok(self.0.records.lock().values().cloned().collect())
    }

    fn write(&self, changes: &[Change]) -> Result<(), CatalogError> {
        if self.0.is_full.load(Relaxed) {
            return Err(CatalogError::Write("no space".to_owned()));
        }
        self.0.writes.lock().push(changes.to_vec());
        let mut records = self.0.records.lock();
        for change in changes {
            match change {
                Change::Put(record) => drop(records.insert(record.key(), record.clone())),
                Change::Delete(record) => drop(records.remove(&record.key())),
            }
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), CatalogError> {
        Ok(())
    }
}

/// A binding without key and arguments in the default virtual host.
pub fn binding(source: &str, destination: &str, to_exchange: bool) -> BindingRecord {
    BindingRecord {
        vhost: "/".to_owned(),
        source: source.to_owned(),
        destination: destination.to_owned(),
        to_exchange,
        key: String::new(),
        arguments: Table::default(),
    }
}
