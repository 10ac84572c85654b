//! What outlives the process. So far: the catalog, the record of everything that was declared.
//!
//! [`record::Record`] is one durable object of the catalog, with the key under which it is kept. [`catalog::Catalog`]
//! is the narrow trait behind which a store sits: [`redb_store::RedbCatalog`] on disk (or sled, with the feature
//! `sled-catalog`), [`catalog::NoCatalog`] for a node without one. [`codec`] makes records into bytes and back.
//! [`writer::CatalogWriter`] makes changes durable in groups: any number of declarations wait for one flush.
//! [`export::Exported`] keeps a definitions file beside the store, from which [`opening`] rebuilds a store that is lost.
//! [`data_dir::DataDir`] is the directory of all this, locked to one process.

pub mod catalog;
pub mod codec;
pub mod data_dir;
pub mod definitions;
pub mod disk;
pub mod export;
pub mod opening;
pub mod points;
pub mod record;
pub mod redb_store;
mod replace;
pub mod sim;
#[cfg(feature = "sled-catalog")]
pub mod sled_store;
pub mod writer;

pub use catalog::{Catalog, CatalogError, Change};
pub use data_dir::{DataDir, DataDirError};
pub use opening::open_catalog;
pub use record::Record;
pub use writer::CatalogWriter;
