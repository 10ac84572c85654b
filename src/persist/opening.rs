//! Opening the catalog of a data directory.

use std::path::Path;

use super::catalog::{Catalog, CatalogError};

/// Opens the catalog of a data directory, or makes an empty one.
///
/// # Errors
/// When it cannot be read whole.
pub fn open_catalog(data_dir: &Path) -> Result<Box<dyn Catalog>, CatalogError> {
    #[cfg(feature = "sled-catalog")]
    let catalog = super::sled_store::SledCatalog::open(&data_dir.join("catalog"))?;
    #[cfg(not(feature = "sled-catalog"))]
    let catalog = super::redb_store::RedbCatalog::open(&super::disk::RealDisk, &data_dir.join("catalog.redb"))?;
    Ok(Box::new(catalog))
}
