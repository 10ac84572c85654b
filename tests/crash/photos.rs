//! Dead letters in photographs: at every moment the disk has each confirmed message, in one place.
//!
//! A broker runs on a simulated disk, with threads that publish, reject, requeue and ack as connections do, and queues whose
//! messages die. Meanwhile the disk is copied again and again: each copy is what a process would find that was started after a
//! kill at that moment. Whatever was confirmed before the copy was begun, and not acked before it was done, must be in it; what
//! was settled before a publish that has been confirmed must not be where it was; and nothing is in two queues.
//! Kills of real processes say the same ([`super::letters`]), about once a second; here it is hundreds of times.

mod ledger;
mod site;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use leveret::persist::disk::Disk as _;
use leveret::persist::sim::{Kind, Random, SimDisk};

use super::broker::PATIENCE;
use super::harness::{count, random};
use ledger::Ledger;
use site::{Hands, Site, found_in};

/// Threads that publish and settle.
const HANDS: u64 = 3;
/// After how many moves a life ends, at most.
const LIFE: u64 = 3000;

#[test]
fn every_moment_has_each_confirmed_message_on_disk_once() {
    photograph(count(8));
}

#[test]
#[ignore = "long"]
fn a_thousand_lives_in_photographs() {
    photograph(count(1000));
}

fn photograph(lives: u64) {
    let mut random = random();
    let mut disk = SimDisk::new(random.next());
    site::prepare(&disk);
    let (catalog, ledger) = (site::MemoryCatalog::default(), Ledger::default());
    let mut photos = 0;
    for life in 0..lives {
        let site = Site::open(&disk, catalog.clone(), random.chance(1, 2));
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let _over = OverWhenDropped(&is_over, &disk);
            for _ in 0..HANDS {
                let (site, ledger, is_over, seed) = (&site, &ledger, &is_over, random.next());
                scope.spawn(move || Hands::new(site, ledger, seed).work(|| !is_over.load(Ordering::Relaxed)));
            }
            let (stalled, flag, seed) = (&disk, &is_over, random.next());
            scope.spawn(move || slow_down(stalled, flag, seed));
            let (enough, end) = (ledger.moved() + random.below(LIFE), Instant::now() + PATIENCE);
            while ledger.moved() < enough {
                assert!(Instant::now() < end, "nothing moves");
                std::thread::park_timeout(Duration::from_micros(random.below(3000)));
                photos += 1;
                look(&ledger, &disk, life);
            }
        });
        look(&ledger, &disk, life);
        disk = disk.kill();
        site.end();
    }
    eprintln!("{lives} lives, {photos} photographs, {} confirmed, {} moved", ledger.confirmed(), ledger.moved());
}

/// Takes a photograph and looks whether everything is in it.
fn look(ledger: &Ledger, disk: &SimDisk, life: u64) {
    let (before, gone) = (ledger.safe(), ledger.gone());
    // A kill loses nothing of what was written; files that are gone need not be in the picture.
    disk.sync_all("data".as_ref()).expect("a disk in order");
    let photo = disk.copy();
    let found = found_in(&photo);
    let missing = ledger.missing(before.into_iter().filter(|id| !found.contains_key(id)));
    let come_back = found.iter().filter(|(_, places)| places.iter().any(|place| gone.contains(place)));
    let in_two = found.iter().filter(|(_, places)| places.len() > 1);
    let wrong: Vec<_> = come_back.chain(in_two).map(|(id, places)| (id, places, ledger.notes(*id))).collect();
    if !missing.is_empty() || !wrong.is_empty() {
        site::report(&photo);
        panic!("life {life}: missing {missing:?}, in the wrong place {wrong:?}");
    }
}

/// Makes syncs slow for a moment, now and then, as they are on a disk: only then do others come meanwhile.
fn slow_down(disk: &SimDisk, is_over: &AtomicBool, seed: u64) {
    let mut random = Random::new(seed);
    while !is_over.load(Ordering::Relaxed) {
        disk.stall(&[Kind::Sync], "data/store");
        std::thread::park_timeout(Duration::from_micros(random.below(4000)));
        disk.release();
        std::thread::park_timeout(Duration::from_micros(random.below(1000)));
    }
    disk.release();
}

struct OverWhenDropped<'a>(&'a AtomicBool, &'a SimDisk);

impl Drop for OverWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.release();
    }
}
