//! The catalog's files do not grow with the number of changes.

use std::path::Path;

use leveret::persist::Catalog;
use leveret::persist::Change;

use super::catalog::Model;
use super::harness::{count, random};

/// Bytes that a catalog of a few dozen objects may take, whatever has happened to them.
const MOST: u64 = 4 << 20;

pub fn open(dir: &Path) -> Box<dyn Catalog> {
    #[cfg(feature = "sled-catalog")]
    let catalog = leveret::persist::sled_store::SledCatalog::open(&dir.join("catalog"));
    #[cfg(not(feature = "sled-catalog"))]
    let catalog =
        leveret::persist::redb_store::RedbCatalog::open(&leveret::persist::disk::RealDisk, &dir.join("catalog.redb"));
    Box::new(catalog.expect("the catalog opens"))
}

fn size(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry"));
    entries
        .map(|entry| {
            let metadata = entry.metadata().expect("metadata");
            if metadata.is_dir() { size(&entry.path()) } else { metadata.len() }
        })
        .sum()
}

fn change(times: u64) {
    let mut random = random();
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let mut model = Model::default();
    let mut largest = 0;
    for _ in 0..times {
        let next = model.after(&model.random_change_of_any("", &mut random));
        let (old, new) = (model.records(), next.records());
        let gone = old.values().filter(|r| !new.contains_key(&r.key())).cloned().map(Change::Delete);
        let put = new.values().filter(|r| old.get(&r.key()) != Some(r)).cloned().map(Change::Put);
        store.write(&gone.chain(put).collect::<Vec<_>>()).expect("it is written");
        store.flush().expect("it is flushed");
        largest = largest.max(size(dir.path()));
        model = next;
    }
    drop(store);
    let objects = model.records().len();
    eprintln!("{times} changes, {objects} objects left: {largest} bytes at most, {} when closed", size(dir.path()));
    assert!(largest <= MOST, "{largest} bytes for {objects} objects");
    assert_eq!(Model::stored(&open(dir.path()).load().expect("it can be read"), ""), model);
}

#[test]
fn files_do_not_grow_with_the_number_of_changes() {
    change(count(500));
}

#[test]
#[ignore = "long"]
fn ten_thousand_changes() {
    change(count(10_000));
}
