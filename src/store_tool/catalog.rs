//! What the catalog says, and its export, without changing either.

use std::path::Path;

use super::ToolError;
use super::finding::{Effect, Finding};
use crate::persist::disk::{Disk, Open};
use crate::persist::export::read_file;
use crate::persist::record::{QueueRecord, Record};

/// The queues that are declared, and what was found on the way.
pub struct Declared {
    pub queues: Vec<QueueRecord>,
    /// False when nothing says what was declared.
    pub is_known: bool,
    pub lines: Vec<(&'static str, String)>,
    pub findings: Vec<Finding>,
}

/// Of a directory whose first start has not come to that.
pub fn none_yet() -> Declared {
    let mut declared = Declared { queues: Vec::new(), is_known: true, lines: Vec::new(), findings: Vec::new() };
    declared.line("catalog", "none yet".to_owned());
    declared
}

/// Reads the catalog and its export.
pub fn read(disk: &dyn Disk, dir: &Path) -> Result<Declared, ToolError> {
    let export = dir.join("definitions.json");
    let stored = stored(disk, dir)?;
    let exported = read_file(disk, &export).map_err(|error| error.to_string());
    let mut declared = Declared { queues: Vec::new(), is_known: true, lines: Vec::new(), findings: Vec::new() };
    let path = dir.join(FILE);
    let records = match (stored, &exported) {
        (Ok(records), exported) => {
            declared.line("catalog", format!("whole: {}", objects(&records)));
            match exported {
                Ok((_, written)) => declared.line("export", format!("whole: written at {written}")),
                Err(_) if !disk_has(disk, &export) => declared.line("export", "none yet".to_owned()),
                Err(why) => {
                    declared.line("export", "damaged".to_owned());
                    declared.find(&export, why.clone(), Effect::Mended("it is written anew at the next start"));
                }
            }
            records
        }
        (Err(why), Ok((records, written))) => {
            declared.line("catalog", "damaged".to_owned());
            declared.line("export", format!("whole: {}, written at {written}", objects(records)));
            let how = "the catalog is rebuilt from definitions.json at the next start; what was declared or deleted after \
                       that file was written has to be done again";
            declared.find(&path, why, Effect::Mended(how));
            records.clone()
        }
        (Err(why), Err(why_not)) => {
            declared.is_known = false;
            declared.line("catalog", "damaged".to_owned());
            declared.line("export", "damaged".to_owned());
            declared.find(&path, why, Effect::Fatal);
            declared.find(&export, why_not.clone(), Effect::Fatal);
            Vec::new()
        }
    };
    let queues = records.into_iter().filter_map(|record| match record {
        Record::Queue(queue) if queue.durable && queue.id != 0 => Some(queue),
        _ => None,
    });
    declared.queues = queues.collect();
    Ok(declared)
}

impl Declared {
    fn line(&mut self, kind: &'static str, text: String) {
        self.lines.push((kind, text));
    }

    fn find(&mut self, file: &Path, what: String, effect: Effect) {
        self.findings.push(Finding { file: file.to_owned(), offset: None, what, effect });
    }
}

fn objects(records: &[Record]) -> String {
    let queues = records.iter().filter(|record| matches!(record, Record::Queue(_))).count();
    format!("{} objects, {queues} of them queues", records.len())
}

fn disk_has(disk: &dyn Disk, path: &Path) -> bool {
    disk.open(path, Open::Read).is_ok()
}

#[cfg(not(feature = "sled-catalog"))]
const FILE: &str = "catalog.redb";
#[cfg(feature = "sled-catalog")]
const FILE: &str = "catalog";

/// The records of the catalog, or why it is of no use.
#[cfg(not(feature = "sled-catalog"))]
fn stored(disk: &dyn Disk, dir: &Path) -> Result<Result<Vec<Record>, String>, ToolError> {
    use super::memory_file::MemoryFile;
    use crate::persist::redb_store::RedbCatalog;
    use crate::persist::{Catalog, CatalogError};
    let path = dir.join(FILE);
    let bytes = match super::walk::read_file(disk, &path, u64::MAX) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(Err("the file is missing".to_owned())),
        Err(error) => return Err(ToolError::io(&path)(error)),
    };
    if bytes.is_empty() {
        return Ok(Err("the file is empty".to_owned()));
    }
    // It is opened as for a node, which may write to it.
    match RedbCatalog::on(Box::new(MemoryFile::new(bytes))).and_then(|catalog| catalog.load()) {
        Ok(records) => Ok(Ok(records)),
        Err(CatalogError::Damaged(why)) => Ok(Err(why)),
        Err(other) => Err(ToolError::Refused(format!("{}: {other}", path.display()))),
    }
}

/// sled writes wherever it reads: its export has to do.
#[cfg(feature = "sled-catalog")]
fn stored(disk: &dyn Disk, dir: &Path) -> Result<Result<Vec<Record>, String>, ToolError> {
    let path = dir.join("definitions.json");
    let exported = read_file(disk, &path).map_err(|error| error.to_string());
    Ok(exported.map(|(records, _)| records))
}
