//! The trait behind which the catalog's store sits.

use super::record::Record;

/// One change of the stored catalog.
#[derive(Clone, Debug)]
pub enum Change {
    Put(Record),
    /// Deletes the object that has this record's key.
    Delete(Record),
}

/// Why the catalog cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    #[error("the catalog in {path} cannot be opened: {reason}")]
    Open { path: String, reason: String },
    #[error(
        "the catalog {path} is {state} and cannot be rebuilt from {export} ({reason}): put one of the two back from a \
         backup, or move the whole data directory away to begin afresh"
    )]
    Lost { path: String, state: String, export: String, reason: String },
    #[error("the catalog is damaged: {0}")]
    Damaged(String),
    #[error("the catalog cannot be read: {0}")]
    Read(String),
    #[error("the catalog cannot be written: {0}")]
    Write(String),
    #[error("the catalog was written by a newer version of Leveret (format {0})")]
    Newer(u8),
}

/// A store of records. Calls may block on the disk.
pub trait Catalog: Send + Sync {
    /// Everything that is stored, in loading order.
    ///
    /// # Errors
    /// When a record cannot be read: nothing is skipped.
    fn load(&self) -> Result<Vec<Record>, CatalogError>;

    /// Writes changes as one: all or none survive.
    ///
    /// # Errors
    /// When nothing has been written.
    fn write(&self, changes: &[Change]) -> Result<(), CatalogError>;

    /// Returns when everything written so far is on disk.
    ///
    /// # Errors
    /// When that cannot be said.
    fn flush(&self) -> Result<(), CatalogError>;

    /// Whether it was made anew from an older copy of itself, so that it may lack what came later.
    fn is_rebuilt(&self) -> bool {
        false
    }

    /// What it may have lacked has been looked for elsewhere and written: makes that durable and is whole again.
    ///
    /// # Errors
    /// When it is not durable; it still counts as rebuilt then, at the next start too.
    fn settle(&self) -> Result<(), CatalogError> {
        self.flush()
    }
}

/// Remembers nothing: for a node without a data directory.
pub struct NoCatalog;

impl Catalog for NoCatalog {
    fn load(&self) -> Result<Vec<Record>, CatalogError> {
        Ok(Vec::new())
    }

    fn write(&self, _: &[Change]) -> Result<(), CatalogError> {
        Ok(())
    }

    fn flush(&self) -> Result<(), CatalogError> {
        Ok(())
    }
}
