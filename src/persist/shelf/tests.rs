use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn shelf() -> Shelf {
    Shelf::new(Path::new("/queues"), 1, 2)
}

fn written(segment: u32, records: &[(u64, bool)], end: u64) -> Written {
    Written { segment, records: records.to_vec(), end }
}

#[test]
fn a_segment_in_which_nothing_lives_goes() {
    let mut shelf = shelf();
    shelf.add(10, &[written(0, &[(2, false), (5, true)], 100), written(1, &[(8, false)], 50)], &[true; 3]);
    assert_eq!((shelf.live(), shelf.flushed()), (3, 10));
    assert!(shelf.is_dead(3) && !shelf.is_dead(5));
    shelf.settle(5, false);
    shelf.settle(2, true);
    shelf.settle(2, true);
    assert_eq!(shelf.live(), 1);
    assert_eq!(shelf.take_gone(), [Path::new("/queues/0000000000000002/00000000.segment")]);
    assert_eq!(shelf.plan_read(0).unwrap().id.number, 1);
}

#[test]
fn a_segment_that_is_being_written_stays_though_all_in_it_dies() {
    let mut shelf = shelf();
    shelf.add(10, &[written(0, &[(2, false), (5, false)], 100)], &[true; 2]);
    assert_eq!(shelf.append_at(1000), (0, 100));
    shelf.begin_writing(0);
    shelf.settle(2, true);
    shelf.settle(5, true);
    assert!(shelf.take_gone().is_empty());
    shelf.add(20, &[written(0, &[(12, false)], 150)], &[true]);
    assert!(shelf.take_gone().is_empty());
    assert!(shelf.is_dead(2) && shelf.is_dead(5), "their records are still in the file");
    assert_eq!(shelf.plan_read(0).unwrap().end, 150);

    shelf.begin_writing(0);
    shelf.settle(12, true);
    shelf.abandon_writing();
    assert_eq!(shelf.take_gone().len(), 1);
}

#[test]
fn transient_messages_are_gone_after_a_restart() {
    let mut shelf = shelf();
    shelf.add(10, &[written(0, &[(2, false), (5, true)], 100), written(1, &[(8, true)], 50)], &[true; 3]);
    let mut bytes = Vec::new();
    shelf.encode(&mut bytes);
    let read = Shelf::decode(Path::new("/queues"), 1, 2, &mut Cursor(&bytes)).unwrap();
    assert_eq!(read.live(), 1);
    assert!(read.plan_read(0).unwrap().old);
    assert_eq!(read.append_at(1000), (2, 0), "nothing is added to old segments");
    for end in 0..bytes.len() {
        assert!(Shelf::decode(Path::new("/queues"), 1, 2, &mut Cursor(&bytes[..end])).is_none());
    }
}

#[test]
fn a_purge_keeps_what_waits_for_its_ack() {
    let mut shelf = shelf();
    let records: Vec<_> = (0..10).map(|p| (p, false)).collect();
    shelf.add(10, &[written(0, &records[..5], 100), written(1, &records[5..], 100)], &[true; 10]);
    shelf.purge(10, &Ranges::from_iter([7]), &Ranges::new());
    assert_eq!((shelf.live(), shelf.segments().count()), (1, 1));
    shelf.settle(7, true);
    assert!(shelf.is_empty());
}

#[test]
fn mostly_dead_segments_are_rewritten_together() {
    let mut shelf = shelf();
    for n in 0..4_u32 {
        let records: Vec<_> = (0..10).map(|p| (u64::from(n) * 10 + p, false)).collect();
        shelf.add(u64::from(n + 1) * 10, &[written(n, &records, 1000)], &[true; 10]);
    }
    assert!(shelf.rewritable(1000).is_none());
    for position in (0..30).filter(|p| p % 10 != 4) {
        shelf.settle(position, true);
    }
    let rewrite = shelf.rewritable(1000).unwrap();
    assert_eq!(rewrite.spans.iter().map(|s| s.id.number).collect::<Vec<_>>(), [0, 1, 2]);
    shelf.settle(14, true);
    shelf.replace(&rewrite, &written(rewrite.number, &[(4, false), (14, false), (24, false)], 200));
    assert_eq!(shelf.live(), 12);
    let order: Vec<_> = shelf.segments().map(|s| (s.number, s.live)).collect();
    assert_eq!(order, [(4, 2), (3, 10)]);
    assert_eq!(shelf.take_gone().len(), 3);
}

#[test]
fn what_died_with_its_segment_while_it_was_rewritten_stays_dead() {
    let mut shelf = shelf();
    for n in 0..3_u32 {
        let records: Vec<_> = (0..10).map(|p| (u64::from(n) * 10 + p, false)).collect();
        shelf.add(u64::from(n + 1) * 10, &[written(n, &records, 1000)], &[true; 10]);
    }
    (0..20).filter(|p| p % 10 != 4).for_each(|position| shelf.settle(position, true));
    let rewrite = shelf.rewritable(1000).unwrap();
    shelf.settle(4, true);
    shelf.replace(&rewrite, &written(rewrite.number, &[(4, false), (14, false)], 200));
    assert!(shelf.is_dead(4) && !shelf.is_dead(14));
    assert_eq!(shelf.live(), 11);
}

proptest! {
    /// Whatever is flushed and settled in whatever order, the shelf counts what lives as a map does, also after it was
    /// written and read back.
    #[test]
    fn a_shelf_counts_as_a_map_does(
        flushes in proptest::collection::vec(proptest::collection::vec((any::<bool>(), any::<bool>(), any::<bool>()), 1..12), 1..6),
        settles in proptest::collection::vec(0_u64..70, 0..70),
        kept in proptest::option::of(proptest::collection::btree_set(0_u64..70, 0..9)),
    ) {
        let mut shelf = shelf();
        let mut model: BTreeMap<u64, bool> = BTreeMap::new();
        let mut position = 0;
        for messages in flushes {
            let (mut records, mut lives) = (Vec::new(), Vec::new());
            for (is_written, transient, alive) in messages {
                if is_written {
                    records.push((position, transient));
                    lives.push(alive);
                    if alive {
                        model.insert(position, transient);
                    }
                }
                position += 1;
            }
            let (segment, at) = shelf.append_at(300);
            let end = at + records.len() as u64 * 100;
            shelf.add(position, &[written(segment, &records, end)], &lives);
        }
        for position in settles {
            if let Some(transient) = model.remove(&position) {
                shelf.settle(position, !transient);
            }
        }
        if let Some(kept) = kept {
            model.retain(|p, _| kept.contains(p));
            let of = |transient| model.iter().filter(|(_, t)| **t == transient).map(|(p, _)| *p).collect::<Ranges>();
            for _ in 0..2 {
                shelf.purge(position, &of(false), &of(true));
            }
        }
        prop_assert_eq!(shelf.live(), model.len() as u64);
        prop_assert!(model.keys().all(|p| !shelf.is_dead(*p)));
        let mut bytes = Vec::new();
        shelf.encode(&mut bytes);
        let read = Shelf::decode(Path::new("/queues"), 1, 2, &mut Cursor(&bytes)).unwrap();
        prop_assert_eq!(read.live(), model.values().filter(|transient| !**transient).count() as u64);
    }
}
