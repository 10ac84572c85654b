//! What outlives the process: the catalog, the record of everything that was declared, and the messages.
//!
//! [`record::Record`] is one durable object of the catalog, with the key under which it is kept. [`catalog::Catalog`]
//! is the narrow trait behind which a store sits: [`redb_store::RedbCatalog`] on disk (or sled, with the feature
//! `sled-catalog`), [`catalog::NoCatalog`] for a node without one. [`codec`] makes records into bytes and back.
//! [`writer::CatalogWriter`] makes changes durable in groups: any number of declarations wait for one flush.
//! [`export::Exported`] keeps a definitions file beside the store, from which [`opening`] rebuilds a store that is lost.
//! [`data_dir::DataDir`] is the directory of all this, locked to one process.
//!
//! Messages are the [`store`]'s: what happens to them is appended to the [`journal`], one for the whole node; what stays
//! long moves on to [`segment`]s of each queue, which a [`shelf`] keeps the books of and the [`manifest`] names.
//! [`recovery`] puts all of it together at start. Everything that these read and write goes through [`disk`].

pub mod catalog;
pub mod codec;
pub mod data_dir;
pub mod definitions;
pub mod disk;
#[cfg(test)]
mod drawings;
pub mod encoding;
pub mod export;
pub mod index;
pub mod journal;
pub mod manifest;
pub mod opening;
pub mod points;
pub mod ranges;
pub mod record;
pub mod recovery;
pub mod redb_store;
pub mod reindex;
mod replace;
pub mod resident;
pub mod segment;
pub mod shelf;
pub mod signal;
pub mod sim;
#[cfg(feature = "sled-catalog")]
pub mod sled_store;
pub mod state;
pub mod store;
pub mod windows;
pub mod writer;

pub use catalog::{Catalog, CatalogError, Change};
pub use data_dir::{DataDir, DataDirError};
pub use opening::open_catalog;
pub use record::Record;
pub use store::Store;
pub use writer::CatalogWriter;
