//! What outlives the process. So far: the catalog, the record of everything that was declared.
//!
//! [`record::Record`] is one durable object of the catalog, with the key under which it is kept. [`catalog::Catalog`]
//! is the narrow trait behind which a store sits: [`sled_store::SledCatalog`] on disk, [`catalog::NoCatalog`] for a node
//! without one. [`writer::CatalogWriter`] makes changes durable in groups: any number of declarations wait for one
//! flush.

pub mod catalog;
pub mod disk;
pub mod points;
pub mod record;
pub mod sim;
pub mod sled_store;
pub mod writer;

pub use catalog::{Catalog, CatalogError, Change};
pub use record::Record;
pub use writer::CatalogWriter;
