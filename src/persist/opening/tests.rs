use std::collections::BTreeMap;

use super::super::export::write_file;
use super::super::record::{QueueRecord, VhostRecord};
use super::super::replace::{read, replace};
use super::super::sim::SimDisk;
use super::*;
use crate::frames::{Table, Value};

const DIR: &str = "/data";

fn records() -> Vec<Record> {
    let (vhost, name) = ("/".to_owned(), "q".to_owned());
    let arguments: Table = [("x-max-length", Value::U16(3))].into_iter().collect();
    vec![
        Record::Vhost(VhostRecord {
            name: "/".into(),
            description: "d".into(),
            tags: vec![],
            default_queue_type: None,
            protected: None,
        }),
        Record::Queue(QueueRecord { vhost, name, durable: true, auto_delete: false, arguments, id: 0xfeed }),
    ]
}

fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

fn open(disk: &SimDisk) -> Result<Box<dyn Catalog>, CatalogError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    open_catalog(&disk, Path::new(DIR))
}

fn new_disk(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    disk.create_dir(Path::new(DIR)).unwrap();
    disk.sync_all(Path::new(DIR)).unwrap();
    disk
}

/// A disk on which a node has run and was stopped.
fn used_disk(seed: u64) -> SimDisk {
    let disk = new_disk(seed);
    let catalog = open(&disk).unwrap();
    catalog.write(&records().into_iter().map(Change::Put).collect::<Vec<_>>()).unwrap();
    catalog.flush().unwrap();
    drop(catalog);
    disk
}

fn damage(disk: &SimDisk, name: &str) {
    let file = disk.open(&path(name), Open::Write).unwrap();
    file.write_at(&[0xa5; 4096], 0).unwrap();
    file.sync_data().unwrap();
}

fn content(disk: &SimDisk) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    disk.files(DIR).into_iter().map(|file| (file.clone(), disk.contents(&file))).collect()
}

#[test]
fn what_was_written_is_there_again() {
    let disk = used_disk(1);
    assert_eq!(open(&disk).unwrap().load().unwrap(), records());
}

#[test]
fn a_stopped_catalog_has_left_its_definitions() {
    let disk = used_disk(1);
    assert_eq!(read_file(&disk, &path(EXPORT)).unwrap().0, records());
}

#[test]
fn a_damaged_catalog_is_rebuilt_and_kept() {
    let disk = used_disk(1);
    for n in 1..4 {
        damage(&disk, REDB);
        let damaged = read(&disk, &path(REDB)).unwrap();
        assert_eq!(open(&disk).unwrap().load().unwrap(), records());
        assert_eq!(read(&disk, &path(&format!("catalog.damaged-{n}"))).unwrap(), damaged);
    }
    assert_eq!(open(&disk).unwrap().load().unwrap(), records());
}

#[test]
fn a_catalog_that_is_gone_is_rebuilt() {
    let disk = used_disk(1);
    disk.remove(&path(REDB)).unwrap();
    assert_eq!(open(&disk).unwrap().load().unwrap(), records());
}

#[test]
fn an_emptied_catalog_is_not_taken_for_a_new_one() {
    let disk = used_disk(1);
    replace(&disk, &path(REDB), b"").unwrap();
    let catalog = open(&disk).unwrap();
    assert_eq!(catalog.load().unwrap(), records());
    assert!(catalog.is_rebuilt());
    drop(catalog);
    replace(&disk, &path(REDB), b"").unwrap();
    disk.remove(&path(EXPORT)).unwrap();
    let before = content(&disk);
    let sentence = open(&disk).err().expect("it is refused").to_string();
    assert!(sentence.contains("catalog.redb is damaged (the file is empty)"), "{sentence}");
    assert_eq!(content(&disk), before);
}

#[test]
fn a_rebuilt_catalog_is_known_as_such_until_it_is_settled() {
    let disk = used_disk(1);
    assert!(!open(&disk).unwrap().is_rebuilt());
    damage(&disk, REDB);
    assert!(open(&disk).unwrap().is_rebuilt());
    let catalog = open(&disk).unwrap();
    assert!(catalog.is_rebuilt());
    catalog.settle().unwrap();
    assert!(!catalog.is_rebuilt());
    drop(catalog);
    assert!(!open(&disk.power_cut(1)).unwrap().is_rebuilt());
}

#[test]
fn without_a_usable_export_nothing_is_touched() {
    type Spoil = fn(&SimDisk);
    let ways: [(&str, Spoil); 3] = [
        ("checksum", |disk| {
            let mut bytes = read(disk, &path(EXPORT)).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            replace(disk, &path(EXPORT), &bytes).unwrap();
        }),
        ("first line", |disk| replace(disk, &path(EXPORT), b"{}").unwrap()),
        ("cannot be read", |disk| disk.remove(&path(EXPORT)).unwrap()),
    ];
    for (reason, spoil) in ways {
        let disk = used_disk(1);
        damage(&disk, REDB);
        spoil(&disk);
        let before = content(&disk);
        let sentence = open(&disk).err().expect("it is refused").to_string();
        for words in ["catalog.redb is damaged", "definitions.json", reason, "backup", "begin afresh"] {
            assert!(sentence.contains(words), "{words:?} is missing in: {sentence}");
        }
        assert_eq!(content(&disk), before);
    }
}

#[test]
fn a_directory_with_data_and_without_a_catalog_is_not_taken_for_a_new_one() {
    let disk = new_disk(1);
    replace(&disk, &path("messages"), b"precious").unwrap();
    let sentence = open(&disk).err().expect("it is refused").to_string();
    assert!(sentence.contains("catalog.redb is missing"), "{sentence}");
}

/// Runs `work` until it gets through, with the disk dying ever later; after each death and cut of power, `check` sees
/// what the next process finds.
fn die_everywhere(start: fn(u64) -> SimDisk, work: impl Fn(&SimDisk) -> bool, check: impl Fn(&SimDisk)) {
    for calls in 0.. {
        let disk = start(calls);
        disk.die_after(calls);
        let is_through = work(&disk);
        check(&disk.power_cut(calls));
        if is_through {
            assert!(calls > 5, "the disk was hardly used");
            return;
        }
    }
}

#[test]
fn a_cut_of_power_at_the_first_start_does_no_harm() {
    die_everywhere(new_disk, |disk| open(disk).is_ok(), |disk| assert_eq!(open(disk).unwrap().load().unwrap(), []));
}

#[test]
fn a_cut_of_power_while_a_catalog_is_rebuilt_does_no_harm() {
    die_everywhere(
        |seed| {
            let disk = used_disk(seed);
            damage(&disk, REDB);
            disk
        },
        |disk| open(disk).is_ok(),
        |disk| {
            let catalog = open(disk).unwrap();
            assert_eq!(catalog.load().unwrap(), records());
            assert!(catalog.is_rebuilt());
        },
    );
}

#[test]
fn a_cut_of_power_during_an_export_leaves_the_old_one_or_the_new_one() {
    die_everywhere(
        used_disk,
        |disk| write_file(disk, &path(EXPORT), records()[..1].to_vec()).is_ok(),
        |disk| {
            let (found, _) = read_file(disk, &path(EXPORT)).unwrap();
            assert!(found == records() || found == records()[..1]);
        },
    );
}
