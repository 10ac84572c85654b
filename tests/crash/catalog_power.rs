//! Power cuts: the catalog on a simulated disk that loses any part of what was not synced.

use leveret::persist::redb_store::RedbCatalog;
use leveret::persist::sim::SimDisk;
use leveret::persist::{Catalog as _, Change};

use super::catalog::Model;
use super::harness::{count, random};

const PATH: &str = "catalog.redb";

/// A disk on which the file has a name that lasts.
fn disk(seed: u64) -> SimDisk {
    use leveret::persist::disk::Disk as _;
    let disk = SimDisk::new(seed);
    drop(RedbCatalog::open(&disk, PATH.as_ref()).expect("a new catalog"));
    disk.sync_all("".as_ref()).expect("a disk in order");
    disk
}

/// What has to change in the store to get from one state to the next.
fn difference(old: &Model, new: &Model) -> Vec<Change> {
    let (old, new) = (old.records(), new.records());
    let gone = old.iter().filter(|(key, _)| !new.contains_key(*key)).map(|(_, r)| Change::Delete(r.clone()));
    let put = new.iter().filter(|(key, record)| old.get(*key) != Some(record)).map(|(_, r)| Change::Put(r.clone()));
    gone.chain(put).collect()
}

/// After each cut the catalog opens and has every flushed change, and of the others the first so many, none half.
fn cut(times: u64) {
    let mut random = random();
    let mut disk = disk(random.next());
    // The states that the store may be in: all since the last flush.
    let mut possible = vec![Model::default()];
    let mut changes = 0u64;
    for cut in 0..times {
        disk.die_after(random.below(60));
        if let Ok(store) = RedbCatalog::open(&disk, PATH.as_ref()) {
            let found = Model::stored(&store.load().expect("what opens can be read"), "");
            assert!(possible.contains(&found), "after cut {cut}:\n{found:?}\nis none of\n{possible:?}");
            possible = vec![found];
            loop {
                let now = possible.last().expect("there is always one").clone();
                let next = now.after(&now.random_change_of_any("", &mut random));
                if store.write(&difference(&now, &next)).is_err() {
                    break;
                }
                changes += 1;
                possible.push(next);
                if random.chance(1, 3) {
                    if store.flush().is_err() {
                        break;
                    }
                    possible.drain(..possible.len() - 1);
                }
            }
        }
        disk = disk.power_cut(random.next());
    }
    let store = RedbCatalog::open(&disk, PATH.as_ref()).expect("it opens after the last cut");
    let found = Model::stored(&store.load().expect("what opens can be read"), "");
    assert!(possible.contains(&found), "after the last cut:\n{found:?}\nis none of\n{possible:?}");
    eprintln!("{times} cuts of power, {changes} changes, none lost");
}

#[test]
fn no_flushed_change_is_lost_when_the_power_is_cut() {
    cut(count(150));
}

#[test]
#[ignore = "long"]
fn ten_thousand_cuts_of_power() {
    cut(count(10_000));
}
