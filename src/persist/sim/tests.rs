use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::thread;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

/// A disk with a durable directory `/d`.
fn disk() -> SimDisk {
    let disk = SimDisk::new(1);
    disk.create_dir(Path::new("/d")).unwrap();
    disk.sync_all(Path::new("/d")).unwrap();
    disk
}

fn create(disk: &SimDisk, path: &str) -> Box<dyn DiskFile> {
    disk.open(Path::new(path), Open::Create).unwrap()
}

/// A file with this content, durable in every respect.
fn durable(disk: &SimDisk, path: &str, bytes: &[u8]) -> Box<dyn DiskFile> {
    let file = create(disk, path);
    file.write_at(bytes, 0).unwrap();
    disk.sync_all(Path::new("/d")).unwrap();
    file
}

/// What is found after many cuts of power, each from the same state.
fn found<T: Ord>(disk: &SimDisk, look: impl Fn(&SimDisk) -> T) -> BTreeSet<T> {
    (0..400).map(|seed| look(&disk.copy().power_cut(seed))).collect()
}

/// The value of each sector of a file all of whose sectors have one value.
fn sectors(disk: &SimDisk, path: &str) -> Vec<u8> {
    let bytes = disk.contents(path).unwrap_or_default();
    let value = |sector: &[u8]| {
        assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector in two minds");
        sector[0]
    };
    bytes.chunks(512).map(value).collect()
}

fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw_os_error)
}

#[test]
fn a_process_reads_what_it_wrote() {
    let disk = disk();
    let file = create(&disk, "/d/f");
    file.write_at(b"hello", 3).unwrap();
    file.write_at(b"L", 6).unwrap();
    let mut buffer = [9; 10];
    assert_eq!(file.read_at(&mut buffer, 1).unwrap(), 7);
    assert_eq!(&buffer, b"\0\0helLo\x09\x09\x09");
    assert_eq!(file.read_at(&mut buffer, 8).unwrap(), 0);
    assert_eq!(file.read_at(&mut buffer, 900).unwrap(), 0);
    assert_eq!(file.len().unwrap(), 8);
    file.set_len(5).unwrap();
    file.set_len(7).unwrap();
    assert_eq!(disk.contents("/d/f").unwrap(), b"\0\0\0he\0\0");
}

#[test]
fn names_are_as_on_a_real_disk() {
    let disk = disk();
    let (sub, there) = (Path::new("/d/sub/deep"), Path::new("/d/sub/deep/f"));
    let error = disk.open(there, Open::Create).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    disk.create_dir(sub).unwrap();
    disk.create_dir(sub).unwrap();
    assert_eq!(disk.open(there, Open::Write).err().unwrap().kind(), ErrorKind::NotFound);
    let file = disk.open(there, Open::Create).unwrap();
    assert_eq!(disk.list(Path::new("/d/sub")).unwrap(), ["deep"]);
    assert_eq!(disk.list(sub).unwrap(), ["f"]);
    disk.rename(there, Path::new("/d/g")).unwrap();
    file.write_at(b"x", 0).unwrap();
    assert_eq!(disk.contents("/d/g").unwrap(), b"x");
    assert_eq!(disk.files("/d"), [Path::new("/d/g")]);
    disk.remove_dir(Path::new("/d/sub")).unwrap();
    assert_eq!(disk.list(sub).unwrap_err().kind(), ErrorKind::NotFound);
    disk.remove(Path::new("/d/g")).unwrap();
    assert_eq!(disk.remove(Path::new("/d/g")).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(file.len().unwrap(), 1, "an open file lives on without a name");
    let reader = disk.open(Path::new("/d/g"), Open::Create).and_then(|_| disk.open(Path::new("/d/g"), Open::Read));
    assert_eq!(errno(&reader.unwrap().write_at(b"x", 0).unwrap_err()), Some(Errno::BADF));
}

#[test]
fn what_was_synced_survives_and_what_was_not_may_not() {
    let disk = disk();
    let file = durable(&disk, "/d/f", &[1; 1024]);
    file.write_at(&[2; 512], 0).unwrap();
    file.sync_data().unwrap();
    file.write_at(&[3; 512], 512).unwrap();
    assert_eq!(found(&disk, |disk| sectors(disk, "/d/f")), BTreeSet::from([vec![2, 1], vec![2, 3]]));
}

#[test]
fn each_sector_is_lost_on_its_own_and_may_be_of_any_age() {
    let disk = disk();
    let file = durable(&disk, "/d/f", &[0; 1536]);
    file.write_at(&[1; 1024], 0).unwrap();
    file.write_at(&[2; 1024], 512).unwrap();
    let all = found(&disk, |disk| sectors(disk, "/d/f"));
    let expected: BTreeSet<_> = [0, 1]
        .iter()
        .flat_map(|a| [0, 1, 2].map(|b| (a, b)))
        .flat_map(|(a, b)| [0, 2].map(|c| vec![*a, b, c]))
        .collect();
    assert_eq!(all, expected);
}

#[test]
fn lengths_are_old_or_new() {
    let disk = disk();
    let file = durable(&disk, "/d/f", &[1; 512]);
    file.set_len(1536).unwrap();
    file.write_at(&[2; 512], 1024).unwrap();
    let all = found(&disk, |disk| sectors(disk, "/d/f"));
    assert_eq!(all, BTreeSet::from([vec![1], vec![1, 0, 0], vec![1, 0, 2]]));

    file.sync_data().unwrap();
    file.set_len(512).unwrap();
    let all = found(&disk, |disk| sectors(disk, "/d/f"));
    assert_eq!(all, BTreeSet::from([vec![1, 0, 2], vec![1]]));
}

#[test]
fn what_was_cut_off_does_not_come_back_with_the_length() {
    let disk = disk();
    let file = durable(&disk, "/d/f", &[1; 1024]);
    file.set_len(512).unwrap();
    file.set_len(1024).unwrap();
    file.write_at(&[2; 512], 512).unwrap();
    let all = found(&disk, |disk| sectors(disk, "/d/f"));
    assert_eq!(all, BTreeSet::from([vec![1, 1], vec![1], vec![1, 0], vec![1, 2]]));
}

#[test]
fn a_new_file_is_certain_only_after_its_directory_was_synced() {
    let disk = disk();
    let file = create(&disk, "/d/f");
    file.write_at(&[1; 512], 0).unwrap();
    file.sync_data().unwrap();
    let contents = |disk: &SimDisk| disk.contents("/d/f");
    assert_eq!(found(&disk, contents), BTreeSet::from([None, Some(vec![1; 512])]));
    disk.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(found(&disk, contents), BTreeSet::from([Some(vec![1; 512])]));
}

#[test]
fn a_directory_is_certain_only_after_the_one_above_was_synced() {
    let disk = disk();
    disk.create_dir(Path::new("/d/sub")).unwrap();
    create(&disk, "/d/sub/f");
    disk.sync_dir(Path::new("/d/sub")).unwrap();
    let names = |disk: &SimDisk| disk.files("/").len();
    assert_eq!(found(&disk, names), BTreeSet::from([0, 1]));
    disk.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(found(&disk, names), BTreeSet::from([1]));
}

#[test]
fn a_rename_happens_as_a_whole_or_not() {
    let disk = disk();
    durable(&disk, "/d/new", b"new");
    durable(&disk, "/d/f", b"old");
    disk.rename(Path::new("/d/new"), Path::new("/d/f")).unwrap();
    let both = |disk: &SimDisk| (disk.contents("/d/new"), disk.contents("/d/f"));
    let (old, new) = (Some(b"old".to_vec()), Some(b"new".to_vec()));
    assert_eq!(found(&disk, both), BTreeSet::from([(new.clone(), old), (None, new.clone())]));
    disk.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(found(&disk, both), BTreeSet::from([(None, new)]));
}

#[test]
fn a_removed_file_may_come_back_until_its_directory_is_synced() {
    let disk = disk();
    durable(&disk, "/d/f", b"f");
    disk.create_dir(Path::new("/d/sub")).unwrap();
    durable(&disk, "/d/sub/g", b"g");
    disk.remove(Path::new("/d/f")).unwrap();
    disk.remove_dir(Path::new("/d/sub")).unwrap();
    let names = |disk: &SimDisk| disk.files("/");
    assert_eq!(found(&disk, names).len(), 4);
    disk.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(found(&disk, names), BTreeSet::from([vec![]]));
}

#[test]
fn a_name_used_again_does_not_mix_two_files() {
    let disk = disk();
    durable(&disk, "/d/f", b"old");
    disk.remove(Path::new("/d/f")).unwrap();
    let file = create(&disk, "/d/f");
    file.write_at(b"new", 0).unwrap();
    file.sync_data().unwrap();
    let contents = |disk: &SimDisk| disk.contents("/d/f");
    assert_eq!(found(&disk, contents), BTreeSet::from([None, Some(b"old".to_vec()), Some(b"new".to_vec())]));
}

#[test]
fn a_killed_process_loses_nothing_that_the_kernel_has() {
    let disk = disk();
    let file = durable(&disk, "/d/f", &[1; 512]);
    file.write_at(&[2; 512], 0).unwrap();
    let next = disk.kill();
    assert_eq!(sectors(&next, "/d/f"), [2]);
    assert_eq!(errno(&file.write_at(&[3; 512], 0).unwrap_err()), Some(Errno::IO));
    assert_eq!(errno(&disk.open(Path::new("/d/f"), Open::Read).err().unwrap()), Some(Errno::IO));
    let found = found(&next, |disk| sectors(disk, "/d/f"));
    assert_eq!(found, BTreeSet::from([vec![1], vec![2]]), "it is still not synced");
}

#[test]
fn a_failed_sync_may_lose_what_a_later_one_does_not_bring_back() {
    let mut left = BTreeSet::new();
    for seed in 0..40 {
        let disk = SimDisk::new(seed);
        disk.create_dir(Path::new("/d")).unwrap();
        let file = durable(&disk, "/d/f", &[1; 1024]);
        file.write_at(&[2; 512], 0).unwrap();
        disk.inject(Fault::io(&[Kind::Sync]));
        assert_eq!(errno(&file.sync_data().unwrap_err()), Some(Errno::IO));
        assert_eq!(sectors(&disk, "/d/f"), [2, 1], "the process sees it nevertheless");
        file.write_at(&[3; 512], 512).unwrap();
        file.sync_data().unwrap();
        left.insert(sectors(&disk.power_cut(1), "/d/f"));
    }
    assert_eq!(left, BTreeSet::from([vec![1, 3], vec![2, 3]]));
}

#[test]
fn a_fault_strikes_where_and_when_it_was_told() {
    let disk = disk();
    let (journal, other) = (create(&disk, "/d/journal"), create(&disk, "/d/other"));
    disk.inject(Fault::no_space(&[Kind::Write]).under("/d/journal").after(1).lasting());
    other.write_at(b"x", 0).unwrap();
    journal.write_at(b"x", 0).unwrap();
    for _ in 0..3 {
        assert_eq!(errno(&journal.write_at(b"xx", 0).unwrap_err()), Some(Errno::NOSPC));
    }
    other.write_at(b"x", 0).unwrap();
    disk.heal();
    journal.write_at(b"xx", 0).unwrap();

    disk.inject(Fault::io(&[Kind::SetLen, Kind::Read]));
    journal.set_len(9).unwrap_err();
    journal.set_len(9).unwrap();
    journal.read_at(&mut [0], 0).unwrap();
}

#[test]
fn a_failed_write_may_leave_a_part_of_itself() {
    let disk = disk();
    let mut left = BTreeSet::new();
    for n in 0..60 {
        let file = create(&disk, &format!("/d/{n}"));
        disk.inject(Fault::io(&[Kind::Write]));
        file.write_at(b"abc", 0).unwrap_err();
        left.insert(disk.contents(format!("/d/{n}")).unwrap());
    }
    assert_eq!(left, BTreeSet::from([b"".to_vec(), b"a".to_vec(), b"ab".to_vec(), b"abc".to_vec()]));
}

#[test]
fn a_full_disk_refuses_growth_but_not_what_has_room() {
    let disk = disk();
    disk.set_capacity(5 * 4096);
    let file = create(&disk, "/d/f");
    file.set_len(4 * 4096).unwrap();
    assert_eq!(disk.space(Path::new("/d")).unwrap(), Space { free: 4096, total: 5 * 4096 });
    let other = create(&disk, "/d/other");
    assert_eq!(errno(&other.write_at(&[1; 9000], 0).unwrap_err()), Some(Errno::NOSPC));
    assert!(other.len().unwrap() <= 4096);
    other.write_at(&[1], 0).unwrap();
    assert_eq!(errno(&file.set_len(4 * 4096 + 1).unwrap_err()), Some(Errno::NOSPC));
    file.write_at(&[1; 4096], 3 * 4096).unwrap();
    disk.remove(Path::new("/d/f")).unwrap();
    assert_eq!(disk.space(Path::new("/d")).unwrap().free, 0, "still open");
    drop(file);
    assert_eq!(disk.space(Path::new("/d")).unwrap().free, 4 * 4096);
}

#[test]
fn a_stalled_call_waits_for_its_release() {
    let disk = disk();
    let file = create(&disk, "/d/f");
    disk.stall(&[Kind::Sync], "/d/f");
    thread::scope(|scope| {
        let sync = scope.spawn(|| file.sync_data());
        assert!(disk.wait_for_stalled(PATIENCE));
        file.write_at(b"others go on", 0).unwrap();
        assert!(!sync.is_finished());
        disk.release();
        sync.join().unwrap().unwrap();
    });
}

#[test]
fn death_ends_a_stall() {
    let disk = disk();
    let file = create(&disk, "/d/f");
    disk.stall(&Kind::SYNCS, "");
    thread::scope(|scope| {
        let sync = scope.spawn(|| file.sync_data());
        assert!(disk.wait_for_stalled(PATIENCE));
        let next = disk.kill();
        sync.join().unwrap().unwrap_err();
        create(&next, "/d/g").sync_data().unwrap();
    });
}

#[test]
fn a_disk_dies_before_the_change_it_was_told() {
    let disk = disk();
    let file = create(&disk, "/d/f");
    disk.die_after(2);
    file.write_at(b"a", 0).unwrap();
    file.read_at(&mut [0], 0).unwrap();
    file.sync_data().unwrap();
    file.write_at(b"b", 0).unwrap_err();
    file.read_at(&mut [0], 0).unwrap_err();
    disk.sync_all(Path::new("/d")).unwrap_err();
    let next = disk.kill();
    assert_eq!(next.contents("/d/f").unwrap(), b"a");
    assert_eq!(next.changes(), 0);
    next.sync_all(Path::new("/d")).unwrap();
}

#[test]
fn a_flipped_bit_stays_flipped() {
    let disk = disk();
    durable(&disk, "/d/f", &[0, 0]);
    assert!(disk.flip_bit("/d/f", 1, 7));
    assert!(!disk.flip_bit("/d/f", 2, 0));
    assert!(!disk.flip_bit("/d/g", 0, 0));
    assert_eq!(disk.contents("/d/f").unwrap(), [0, 128]);
    assert_eq!(disk.power_cut(1).contents("/d/f").unwrap(), [0, 128]);
}

#[test]
fn torn_sectors_hold_garbage_only_where_something_was_being_written() {
    let disk = disk();
    let file = durable(&disk, "/d/f", &[1; 1536]);
    file.write_at(&[2; 512], 512).unwrap();
    let torn = |disk: &SimDisk| {
        let bytes = disk.contents("/d/f").unwrap();
        assert!([&bytes[..512], &bytes[1024..]].iter().all(|sector| **sector == [1; 512]));
        bytes[512..1024] != [1; 512] && bytes[512..1024] != [2; 512]
    };
    assert_eq!(found(&disk, torn), BTreeSet::from([false]));
    disk.set_torn_sectors(true);
    assert_eq!(found(&disk, torn), BTreeSet::from([false, true]));
}

#[test]
fn calls_and_bytes_are_counted_by_path() {
    let disk = disk();
    let (a, b) = (create(&disk, "/d/a"), create(&disk, "/d/b"));
    a.write_at(&[1; 100], 0).unwrap();
    a.write_at(&[1; 10], 0).unwrap();
    a.sync_data().unwrap();
    b.write_at(&[1; 1], 0).unwrap();
    let expected = Counters { creates: 1, writes: 2, syncs: 1, bytes_written: 110, ..Counters::default() };
    assert_eq!(disk.counters("/d/a"), expected);
    assert_eq!(disk.counters("/d").bytes_written, 111);
    assert_eq!(disk.counters("").sync_alls, 1);
}

#[test]
fn the_same_seeds_and_calls_give_the_same_outcome() {
    let run = || {
        let disk = disk();
        let file = durable(&disk, "/d/f", &[0; 8192]);
        (1..9).for_each(|n| file.write_at(&[n; 4096], u64::from(n) * 512).unwrap());
        disk.inject(Fault::io(&[Kind::Write]));
        file.write_at(&[9; 4096], 0).unwrap_err();
        create(&disk, "/d/g");
        let next = disk.power_cut(7);
        (next.contents("/d/f"), next.files(""))
    };
    assert_eq!(run(), run());
}

#[test]
fn a_copy_goes_its_own_way() {
    let disk = disk();
    let file = create(&disk, "/d/f");
    let copy = disk.copy();
    disk.inject(Fault::io(&[Kind::Create]));
    file.write_at(b"x", 0).unwrap();
    assert_eq!(copy.contents("/d/f").unwrap(), b"");
    create(&copy, "/d/g");
}
