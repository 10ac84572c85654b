use std::path::Path;

use super::*;
use crate::message::Traits;
use crate::persist::disk::{Open, RealDisk};
use crate::persist::encoding::Cursor;
use crate::persist::index::Indexed;
use crate::persist::journal::item::Parts;
use crate::persist::segment::{self, OneByOne, encode_header, put_record};
use crate::persist::shelf::Written;

const COUNT: u64 = 40;

fn traits(position: u64) -> Traits {
    let due = NonZeroU64::new(if position.is_multiple_of(3) { 1000 + position } else { 0 });
    Traits { at: 7, due, priority: (position % 4) as u8, persistent: true, hidden: false }
}

/// Writes two segments with their indexes: every fifth record is transient, every fourth message is dead.
fn make(root: &Path, indexed: Indexed) -> Shelf {
    let mut shelf = Shelf::new(root, 1, 2);
    std::fs::create_dir_all(shelf.dir()).unwrap();
    for number in 0..2 {
        let id = shelf.segment_id(number);
        let (mut bytes, mut written) = (encode_header(id), Written::new(number, indexed, 0));
        let first = u64::from(number) * COUNT;
        for position in first..first + COUNT {
            let body = format!("body {position}");
            let parts = Parts { route: &[0, 0], properties: &[0, 0], body: body.as_bytes() };
            let transient = position % 5 == 0;
            written.note(bytes.len() as u64, position, transient, traits(position), body.len());
            put_record(&mut bytes, position, transient, traits(position), parts);
        }
        std::fs::write(segment::path(&shelf.dir(), number), &bytes).unwrap();
        // In two chunks, as two flushes write them.
        let (one, two) = written.entries.split_at(5);
        for entries in [one, two] {
            let (_, end) = index::append(&RealDisk, &shelf.dir(), id, written.index_end, entries).unwrap().unwrap();
            written.index_end = end;
        }
        written.end = bytes.len() as u64;
        shelf.add(first + COUNT, &[written], &[true; COUNT as usize]);
    }
    (0..2 * COUNT).filter(|p| p % 4 == 2).for_each(|position| shelf.settle(position, position % 5 != 0, None));
    shelf
}

/// The shelf as the next start finds it.
fn restarted(root: &Path, shelf: &Shelf) -> Shelf {
    let mut bytes = Vec::new();
    shelf.encode(&mut bytes);
    Shelf::decode(root, 1, 2, 2, &mut Cursor(&bytes)).unwrap()
}

fn expected(indexed: Indexed) -> Vec<IndexedMessage> {
    let lives = |p: &u64| !p.is_multiple_of(5) && p % 4 != 2 && indexed.wants(traits(*p));
    let message = |position| {
        let Traits { due, priority, .. } = traits(position);
        IndexedMessage { position, due, priority }
    };
    (0..2 * COUNT).filter(lives).map(message).collect()
}

/// Every message that lives and is indexed, and no other, is found at its place.
fn check(shelf: &Shelf, found: &Reindexed, indexed: Indexed) {
    assert_eq!(found.messages, expected(indexed));
    let mut reader = OneByOne::new(&RealDisk);
    for position in 0..3 * COUNT {
        let place = shelf.place(position);
        assert_eq!(place.is_some(), found.messages.iter().any(|m| m.position == position), "{position}");
        let Some(place) = place else { continue };
        let record = reader.read(&place).unwrap();
        assert_eq!((record.parts.body, record.traits), (format!("body {position}").as_bytes(), traits(position)));
    }
}

#[test]
fn what_was_written_is_found() {
    for indexed in [Indexed::Due, Indexed::All] {
        let dir = tempfile::tempdir().unwrap();
        let mut shelf = restarted(dir.path(), &make(dir.path(), indexed));
        let found = reindex(&RealDisk, &mut shelf).unwrap();
        assert!(found.rebuilt.is_empty() && found.damage.is_empty(), "{found:?}");
        check(&shelf, &found, indexed);
    }
}

#[test]
fn an_index_that_is_missing_or_damaged_is_made_anew() {
    for (damage, indexed) in [(0, Indexed::Due), (1, Indexed::All), (2, Indexed::Due), (3, Indexed::All)] {
        let dir = tempfile::tempdir().unwrap();
        let mut shelf = restarted(dir.path(), &make(dir.path(), indexed));
        let path = index::path(&shelf.dir(), 1);
        let mut bytes = std::fs::read(&path).unwrap();
        match damage {
            0 => std::fs::remove_file(&path).unwrap(),
            1 => std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap(),
            n => {
                bytes[if n == 2 { 70 } else { 300 }] ^= 1;
                std::fs::write(&path, &bytes).unwrap();
            }
        }
        let found = reindex(&RealDisk, &mut shelf).unwrap();
        assert_eq!((found.rebuilt.len(), found.damage.len()), (1, 0), "{found:?}");
        assert!(found.rebuilt[0].contains("00000001.index is damaged or missing; it is made anew"), "{found:?}");
        check(&shelf, &found, indexed);
        // It is there at the next start, if the manifest knows of it, and is made again if not.
        let mut known = restarted(dir.path(), &shelf);
        let found = reindex(&RealDisk, &mut known).unwrap();
        assert!(found.rebuilt.is_empty(), "{found:?}");
        check(&known, &found, indexed);
    }
}

#[test]
fn without_index_and_segment_something_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut shelf = restarted(dir.path(), &make(dir.path(), Indexed::Due));
    std::fs::remove_file(index::path(&shelf.dir(), 0)).unwrap();
    let segment = RealDisk.open(&segment::path(&shelf.dir(), 0), Open::Write).unwrap();
    segment.write_at(&[0xff], 100).unwrap();
    let found = reindex(&RealDisk, &mut shelf).unwrap();
    assert_eq!((found.rebuilt.len(), found.damage.len()), (0, 1), "{found:?}");
    assert!(found.damage[0].contains("00000000.segment at byte"), "{found:?}");
    let others: Vec<_> = expected(Indexed::Due).into_iter().filter(|m| m.position >= COUNT).collect();
    assert_eq!(found.messages, others);
}

#[test]
fn segments_from_before_a_queue_wanted_all_are_indexed_then() {
    let dir = tempfile::tempdir().unwrap();
    let mut shelf = restarted(dir.path(), &make(dir.path(), Indexed::Due));
    assert!(shelf.want_indexes(Indexed::All));
    let found = reindex(&RealDisk, &mut shelf).unwrap();
    assert_eq!(found.rebuilt.len(), 2);
    assert!(found.rebuilt[0].contains("is not there yet"), "{found:?}");
    check(&shelf, &found, Indexed::All);
    assert!(!shelf.want_indexes(Indexed::All));
}
