//! Opening the catalog of a data directory, and rebuilding one that is lost.
//!
//! A catalog that is damaged or missing is made anew from its export ([`super::export`]). Everything that is new gets its
//! name only when it is whole, so that a crash at any time leaves something that opens.

#[cfg(test)]
#[cfg(not(feature = "sled-catalog"))]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::catalog::{Catalog, CatalogError, Change};
use super::disk::{Disk, Open, advice};
use super::export::{Exported, read_file};
use super::record::Record;
use super::replace::{replace, unfinished};

const REDB: &str = "catalog.redb";
const SLED: &str = "catalog";
/// What this build keeps its catalog in, and what it does not.
const CATALOG: &str = if cfg!(feature = "sled-catalog") { SLED } else { REDB };
const OTHER: &str = if cfg!(feature = "sled-catalog") { REDB } else { SLED };
const EXPORT: &str = "definitions.json";
const DAMAGED: &str = "catalog.damaged-";
/// Is there from before a catalog is rebuilt until what it may lack was looked for in the message store.
const REBUILT: &str = "catalog.rebuilt";
/// What is there before there is a catalog.
const BEFORE: [&str; 4] = ["lock", "identity", "identity.copy", "lost+found"];

/// Whether there is a catalog, of whatever build, among the names in a directory.
pub fn has_catalog(names: &[String]) -> bool {
    names.iter().any(|name| name == REDB || name == SLED)
}

/// Whether a name is one that the catalog or the directory's identity uses.
pub fn is_ours(name: &str) -> bool {
    let name = name.strip_suffix(".new").unwrap_or(name);
    [REDB, SLED, EXPORT, REBUILT].contains(&name) || BEFORE.contains(&name) || name.starts_with(DAMAGED)
}

/// Refuses a directory whose catalog is of a build with the other store, with the sentence that says so.
///
/// # Errors
/// That sentence.
pub fn check_kind(data_dir: &Path, names: &[String]) -> Result<(), String> {
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    if !has(OTHER) || has(CATALOG) {
        return Ok(());
    }
    let path = data_dir.join(OTHER);
    let with = if cfg!(feature = "sled-catalog") { "without" } else { "with" };
    Err(format!(
        "the catalog {} was made by a Leveret that was built {with} the feature sled-catalog: start and stop such a build \
         once, which writes {EXPORT}, then move {OTHER} away and start this one, which rebuilds the catalog from that",
        path.display()
    ))
}

/// Opens the catalog of a data directory, makes an empty one in an empty directory, or rebuilds one that is lost.
///
/// # Errors
/// When the catalog cannot be read, or is lost and cannot be rebuilt. Nothing has been changed then.
pub fn open_catalog(disk: &Arc<dyn Disk>, data_dir: &Path) -> Result<Box<dyn Catalog>, CatalogError> {
    let place = Place { disk: disk.as_ref(), dir: data_dir, path: data_dir.join(CATALOG) };
    let names = disk.list(data_dir).map_err(|e| place.unusable(&e))?;
    place.remove_unfinished(&names).map_err(|e| place.unusable(&e))?;
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    let is_new = names.iter().all(|name| BEFORE.contains(&name.as_str()) || name.ends_with(".new"));
    let store = if has(CATALOG) && place.is_empty().map_err(|e| place.unusable(&e))? {
        // A new catalog gets its name only when it is whole: this one has been emptied.
        place.rebuild(&names, "damaged (the file is empty)")?
    } else if has(CATALOG) {
        match open_store(disk.as_ref(), &place.path) {
            Err(CatalogError::Damaged(reason)) => place.rebuild(&names, &format!("damaged ({reason})"))?,
            other => other?,
        }
    } else if is_new {
        place.make(&[])?
    } else {
        place.rebuild(&names, "missing")?
    };
    let exported = Exported::start(store, Arc::clone(disk), data_dir.join(EXPORT), data_dir.join(REBUILT));
    Ok(Box::new(exported.map_err(|e| place.unusable(&e))?))
}

#[cfg(not(feature = "sled-catalog"))]
fn open_store(disk: &dyn Disk, path: &Path) -> Result<Box<dyn Catalog>, CatalogError> {
    Ok(Box::new(super::redb_store::RedbCatalog::open(disk, path)?))
}

#[cfg(feature = "sled-catalog")]
fn open_store(_: &dyn Disk, path: &Path) -> Result<Box<dyn Catalog>, CatalogError> {
    Ok(Box::new(super::sled_store::SledCatalog::open(path)?))
}

/// Where the catalog is.
struct Place<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    path: PathBuf,
}

impl Place<'_> {
    fn unusable(&self, error: &io::Error) -> CatalogError {
        CatalogError::Open { path: self.path.display().to_string(), reason: format!("{error}{}", advice(error)) }
    }

    /// Whether the catalog's file holds nothing. A directory is for its store to judge.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(!cfg!(feature = "sled-catalog") && self.disk.open(&self.path, Open::Read)?.len()? == 0)
    }

    /// What a crash has left of a catalog that was being made.
    fn remove_unfinished(&self, names: &[String]) -> io::Result<()> {
        let unfinished = unfinished(&self.path);
        if !names.iter().any(|name| unfinished.file_name().is_some_and(|u| u == name.as_str())) {
            return Ok(());
        }
        if cfg!(feature = "sled-catalog") { self.disk.remove_dir(&unfinished) } else { self.disk.remove(&unfinished) }
    }

    /// Makes a catalog of these records and gives it its name.
    fn make(&self, records: &[Record]) -> Result<Box<dyn Catalog>, CatalogError> {
        let new = unfinished(&self.path);
        let store = open_store(self.disk, &new)?;
        let changes: Vec<_> = records.iter().cloned().map(Change::Put).collect();
        store.write(&changes)?;
        store.flush()?;
        drop(store);
        let renamed = self.disk.rename(&new, &self.path).and_then(|()| self.disk.sync_dir(self.dir));
        renamed.map_err(|e| self.unusable(&e))?;
        open_store(self.disk, &self.path)
    }

    /// Makes the catalog anew from its export, and keeps the old one under another name.
    fn rebuild(&self, names: &[String], state: &str) -> Result<Box<dyn Catalog>, CatalogError> {
        let (path, export) = (self.path.display().to_string(), self.dir.join(EXPORT));
        let (records, written) = read_file(self.disk, &export).map_err(|e| {
            let (path, state, reason) = (path.clone(), state.to_owned(), e.to_string());
            CatalogError::Lost { path, state, export: export.display().to_string(), reason }
        })?;
        let mark = b"The catalog was rebuilt. Queues that it lacks are looked for at the next start.\n";
        replace(self.disk, &self.dir.join(REBUILT), mark).map_err(|e| self.unusable(&e))?;
        let mut kept = String::new();
        if names.iter().any(|name| name == CATALOG) {
            let is_free = |name: &String| !names.contains(name);
            kept = (1..).map(|n| format!("{DAMAGED}{n}")).find(is_free).unwrap_or_default();
            self.disk.rename(&self.path, &self.dir.join(&kept)).map_err(|e| self.unusable(&e))?;
            kept.insert_str(0, "; it is kept as ");
        }
        let store = self.make(&records)?;
        let queues = records.iter().filter(|record| matches!(record, Record::Queue(_))).count();
        tracing::error!(
            target: "leveret::catalog",
            "THE CATALOG {path} WAS {state}{kept}. It has been rebuilt from {EXPORT}, written at {written}: {} objects, \
             {queues} of them queues. What was declared, changed or deleted after that time must be done again.",
            records.len()
        );
        Ok(store)
    }
}
