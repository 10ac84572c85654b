use std::collections::BTreeMap;
use std::num::NonZeroU64;

use proptest::prelude::*;

use super::*;
use crate::message::Traits;

fn shelf() -> Shelf {
    Shelf::new(Path::new("/queues"), 1, 2)
}

/// The bytes of every body in the tests, but those that say otherwise.
const BODY: u64 = 10;

/// Records of so many bytes; each is in the index.
fn written(segment: u32, records: &[(u64, bool)], end: u64) -> Written {
    let mut written = Written { end, ..Written::new(segment, Indexed::All, 0) };
    for (position, transient) in records {
        written.note(position * 100, *position, *transient, Traits::default(), BODY as usize);
    }
    written.index_end = 64 + 26 * records.len() as u64;
    written
}

#[test]
fn a_segment_in_which_nothing_lives_goes() {
    let mut shelf = shelf();
    shelf.add(10, &[written(0, &[(2, false), (5, true)], 100), written(1, &[(8, false)], 50)], &[true; 3]);
    assert_eq!((shelf.live(), shelf.flushed()), (3, 10));
    assert!(shelf.is_dead(3) && !shelf.is_dead(5));
    shelf.settle(5, false, Some(BODY));
    shelf.settle(2, true, Some(BODY));
    shelf.settle(2, true, Some(BODY));
    assert_eq!(shelf.live(), 1);
    let files = ["00000000.segment", "00000000.index"].map(|name| Path::new("/queues/0000000000000002").join(name));
    assert_eq!(shelf.take_gone(), files);
    assert_eq!(shelf.plan_read(0).unwrap().id.number, 1);
}

#[test]
fn a_segment_that_is_being_written_stays_though_all_in_it_dies() {
    let mut shelf = shelf();
    shelf.add(10, &[written(0, &[(2, false), (5, false)], 100)], &[true; 2]);
    assert_eq!(shelf.append_at(1000), (0, 100));
    shelf.begin_writing(0);
    shelf.settle(2, true, Some(BODY));
    shelf.settle(5, true, Some(BODY));
    assert!(shelf.take_gone().is_empty());
    shelf.add(20, &[written(0, &[(12, false)], 150)], &[true]);
    assert!(shelf.take_gone().is_empty());
    assert!(shelf.is_dead(2) && shelf.is_dead(5), "their records are still in the file");
    assert_eq!(shelf.plan_read(0).unwrap().end, 150);

    shelf.begin_writing(0);
    shelf.settle(12, true, Some(BODY));
    shelf.abandon_writing();
    assert_eq!(shelf.take_gone().len(), 2);
}

#[test]
fn transient_messages_are_gone_after_a_restart() {
    let mut shelf = shelf();
    shelf.add(10, &[written(0, &[(2, false), (5, true)], 100), written(1, &[(8, true)], 50)], &[true; 3]);
    let mut bytes = Vec::new();
    shelf.encode(&mut bytes);
    let read = Shelf::decode(Path::new("/queues"), 1, 2, 2, &mut Cursor(&bytes)).unwrap();
    assert_eq!(read.live(), 1);
    assert!(read.plan_read(0).unwrap().old);
    assert_eq!(read.append_at(1000), (2, 0), "nothing is added to old segments");
    for end in 0..bytes.len() {
        assert!(Shelf::decode(Path::new("/queues"), 1, 2, 2, &mut Cursor(&bytes[..end])).is_none());
    }
}

#[test]
fn a_purge_keeps_what_waits_for_its_ack() {
    let mut shelf = shelf();
    let records: Vec<_> = (0..10).map(|p| (p, false)).collect();
    shelf.add(10, &[written(0, &records[..5], 100), written(1, &records[5..], 100)], &[true; 10]);
    shelf.purge(10, &Ranges::from_iter([7]), &Ranges::new());
    assert_eq!((shelf.live(), shelf.segments().count()), (1, 1));
    shelf.settle(7, true, Some(BODY));
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
        shelf.settle(position, true, Some(BODY));
    }
    let rewrite = shelf.rewritable(1000).unwrap();
    assert_eq!(rewrite.spans.iter().map(|s| s.id.number).collect::<Vec<_>>(), [0, 1, 2]);
    shelf.settle(14, true, Some(BODY));
    shelf.replace(&rewrite, &written(rewrite.number, &[(4, false), (14, false), (24, false)], 200));
    assert_eq!(shelf.live(), 12);
    let order: Vec<_> = shelf.segments().map(|s| (s.number, s.live)).collect();
    assert_eq!(order, [(4, 2), (3, 10)]);
    assert_eq!(shelf.take_gone().len(), 6);
}

#[test]
fn what_died_with_its_segment_while_it_was_rewritten_stays_dead() {
    let mut shelf = shelf();
    for n in 0..3_u32 {
        let records: Vec<_> = (0..10).map(|p| (u64::from(n) * 10 + p, false)).collect();
        shelf.add(u64::from(n + 1) * 10, &[written(n, &records, 1000)], &[true; 10]);
    }
    (0..20).filter(|p| p % 10 != 4).for_each(|position| shelf.settle(position, true, Some(BODY)));
    let rewrite = shelf.rewritable(1000).unwrap();
    shelf.settle(4, true, Some(BODY));
    shelf.replace(&rewrite, &written(rewrite.number, &[(4, false), (14, false)], 200));
    assert!(shelf.is_dead(4) && !shelf.is_dead(14));
    assert_eq!((shelf.live(), shelf.live_content()), (11, 11 * BODY));
    assert_eq!((shelf.place(4), shelf.place(14).unwrap().id.number), (None, rewrite.number));
}

#[test]
fn acks_that_are_read_again_after_a_rewrite_take_nothing_with_them() {
    let mut shelf = shelf();
    for n in 0..3_u32 {
        let records: Vec<_> = (0..10).map(|p| (u64::from(n) * 10 + p, false)).collect();
        shelf.add(u64::from(n + 1) * 10, &[written(n, &records, 1000)], &[true; 10]);
    }
    (0..20).filter(|p| p % 10 != 4).for_each(|position| shelf.settle(position, true, Some(BODY)));
    let rewrite = shelf.rewritable(1000).unwrap();
    shelf.settle(4, true, Some(BODY));
    shelf.replace(&rewrite, &written(rewrite.number, &[(4, false), (14, false)], 200));
    let mut bytes = Vec::new();
    shelf.encode(&mut bytes);
    let mut read = Shelf::decode(Path::new("/queues"), 1, 2, 2, &mut Cursor(&bytes)).unwrap();
    read.settle_range(0..14);
    read.settle_range(15..20);
    assert!(read.holds(14));
    assert_eq!(read.live(), 11);
}

#[test]
fn a_rewrite_of_which_nothing_is_left_leaves_no_files() {
    let mut shelf = shelf();
    let records: Vec<_> = (0..10).map(|p| (p, false)).collect();
    shelf.add(10, &[written(0, &records, 1000)], &[true; 10]);
    shelf.add(20, &[written(1, &[(10, false)], 1000)], &[true]);
    (0..9).for_each(|position| shelf.settle(position, true, None));
    let rewrite = shelf.rewritable(1000).unwrap();
    shelf.settle(9, true, None);
    shelf.replace(&rewrite, &written(rewrite.number, &[], 64));
    let numbers = [0, rewrite.number];
    let files = numbers.iter().flat_map(|n| [format!("{n:08}.segment"), format!("{n:08}.index")]);
    assert!(shelf.take_gone().into_iter().eq(files.map(|name| shelf.dir().join(name))));
}

#[test]
fn places_are_of_living_messages_with_entries() {
    let mut shelf = shelf();
    let mut some = Written { end: 500, ..Written::new(3, Indexed::Due, 0) };
    for position in [2, 4, 5, 7] {
        let traits = Traits { due: NonZeroU64::new(position % 2), ..Traits::default() };
        some.note(position * 10, position, false, traits, 1);
    }
    some.index_end = 200;
    shelf.add(10, &[some], &[true, true, true, false]);
    assert_eq!((shelf.place(2), shelf.place(3), shelf.place(7), shelf.place(100)), (None, None, None, None));
    let place = shelf.place(5).unwrap();
    assert_eq!((place.position, place.offset, place.end, place.id.number), (5, 50, 500, 3));
    assert_eq!((shelf.index_end(3), shelf.index_end(4)), (200, 0));
    assert!(shelf.has_place(&place));
    shelf.settle(5, true, None);
    assert_eq!(shelf.place(5), None);
    [2, 4].iter().for_each(|position| shelf.settle(*position, true, None));
    assert!(!shelf.has_place(&place));
}

#[test]
fn bytes_of_bodies_are_exact_where_sizes_are_known_and_fair_where_not() {
    let mut shelf = shelf();
    let mut sizes = Written { end: 500, ..Written::new(0, Indexed::Due, 0) };
    for (position, size) in [(0, 10), (1, 20), (2, 30), (3, 40)] {
        sizes.note(0, position, position == 3, Traits::default(), size);
    }
    shelf.add(10, &[sizes], &[true, true, true, true]);
    assert_eq!(shelf.live_content(), 100);
    shelf.settle(1, true, Some(20));
    assert_eq!(shelf.live_content(), 80);
    shelf.settle(2, true, None);
    assert_eq!(shelf.live_content(), 60, "half of what the two have");
    shelf.settle(3, false, None);
    assert_eq!(shelf.live_content(), 20);
    shelf.settle(0, true, Some(10));
    assert_eq!(shelf.live_content(), 0);
}

#[test]
fn a_shelf_of_version_1_is_read() {
    // Flushed, next segment, one segment: number, first, last minus first, records, bytes, living. No dead ranges.
    let bytes = [12, 6, 1, 5, 2, 8, 4, 100, 2, 0];
    let shelf = Shelf::decode(Path::new("/queues"), 1, 2, 1, &mut Cursor(&bytes)).unwrap();
    let segment = shelf.segments().next().unwrap();
    assert_eq!((segment.number, segment.first, segment.last, segment.index_end), (5, 2, 10, 0));
    assert_eq!((shelf.live(), shelf.live_content()), (2, 50), "the size of bodies is a guess");
}

/// What is done to a shelf.
#[derive(Clone, Debug)]
enum Step {
    /// Messages: whether each is written, is transient, lives.
    Flush(Vec<(bool, bool, bool)>),
    Settle(u64),
    /// Segments are rewritten, and after each of them is copied so many messages are settled.
    Rewrite(Vec<Vec<u64>>),
}

fn step() -> impl Strategy<Value = Step> {
    let messages = proptest::collection::vec((any::<bool>(), any::<bool>(), any::<bool>()), 1..12);
    let positions = proptest::collection::vec(0_u64..70, 0..4);
    prop_oneof![
        2 => messages.prop_map(Step::Flush),
        8 => (0_u64..70).prop_map(Step::Settle),
        1 => proptest::collection::vec(positions, 1..4).prop_map(Step::Rewrite),
    ]
}

/// A shelf, its files, and what lives.
struct Room {
    shelf: Shelf,
    files: BTreeMap<u32, Vec<(u64, bool)>>,
    living: BTreeMap<u64, bool>,
    next: u64,
}

impl Room {
    fn take(&mut self, step: Step) {
        match step {
            Step::Flush(messages) => self.flush(messages),
            Step::Settle(position) => self.settle(position),
            Step::Rewrite(settles) => self.rewrite(settles),
        }
    }

    fn flush(&mut self, messages: Vec<(bool, bool, bool)>) {
        let (mut records, mut lives) = (Vec::new(), Vec::new());
        for (position, (is_written, transient, alive)) in (self.next..).zip(messages.iter().copied()) {
            if is_written {
                records.push((position, transient));
                lives.push(alive);
                if alive {
                    self.living.insert(position, transient);
                }
            }
        }
        self.next += messages.len() as u64;
        let (segment, at) = self.shelf.append_at(300);
        let end = at + records.len() as u64 * 100;
        self.shelf.add(self.next, &[written(segment, &records, end)], &lives);
        let file = self.files.entry(segment).or_default();
        if at == 0 {
            file.clear();
        }
        file.extend(records);
    }

    fn settle(&mut self, position: u64) {
        if let Some(transient) = self.living.remove(&position) {
            self.shelf.settle(position, !transient, Some(BODY));
        }
    }

    fn rewrite(&mut self, settles: Vec<Vec<u64>>) {
        let Some(rewrite) = self.shelf.rewritable(300) else { return };
        let mut settles = settles.into_iter();
        let mut copied = Vec::new();
        for span in &rewrite.spans {
            let records = &self.files[&span.id.number];
            copied.extend(records.iter().filter(|(position, _)| !self.shelf.is_dead(*position)));
            settles.next().into_iter().flatten().for_each(|position| self.settle(position));
        }
        let end = copied.len() as u64 * 100 + 64;
        self.shelf.replace(&rewrite, &written(rewrite.number, &copied, end));
        self.files.insert(rewrite.number, copied);
    }
}

proptest! {
    /// Whatever is flushed, settled and rewritten in whatever order, the shelf counts what lives as a map does, also after it
    /// was written and read back, and after all acks were read again.
    #[test]
    fn a_shelf_counts_as_a_map_does(
        steps in proptest::collection::vec(step(), 0..60),
        kept in proptest::option::of(proptest::collection::btree_set(0_u64..70, 0..9)),
    ) {
        let (files, living) = (BTreeMap::new(), BTreeMap::new());
        let mut room = Room { shelf: shelf(), files, living, next: 0 };
        for step in steps {
            room.take(step);
            prop_assert_eq!(room.shelf.live(), room.living.len() as u64);
            prop_assert!(room.living.keys().all(|p| room.shelf.holds(*p)));
        }
        let Room { mut shelf, files, living: mut model, next } = room;
        if let Some(kept) = kept {
            model.retain(|p, _| kept.contains(p));
            let of = |transient| model.iter().filter(|(_, t)| **t == transient).map(|(p, _)| *p).collect::<Ranges>();
            for _ in 0..2 {
                shelf.purge(next, &of(false), &of(true));
            }
        }
        prop_assert_eq!(shelf.live(), model.len() as u64);
        prop_assert_eq!(shelf.live_content(), model.len() as u64 * BODY);
        let in_files = shelf.segments().flat_map(|s| &files[&s.number]).filter(|(p, _)| !shelf.is_dead(*p));
        prop_assert!(in_files.eq(model.iter().map(|(p, t)| (*p, *t)).collect::<Vec<_>>().iter()), "what a reader finds");
        prop_assert!((0..next).all(|p| shelf.place(p).map(|place| place.offset) == model.get(&p).map(|_| p * 100)));
        let mut bytes = Vec::new();
        shelf.encode(&mut bytes);
        let mut read = Shelf::decode(Path::new("/queues"), 1, 2, 2, &mut Cursor(&bytes)).unwrap();
        let persistent = model.values().filter(|transient| !**transient).count() as u64;
        prop_assert_eq!((read.live(), read.live_content()), (persistent, persistent * BODY));
        // What is acked, or was never written, is settled once more.
        (0..next).filter(|p| !model.contains_key(p)).for_each(|p| read.settle_range(p..p + 1));
        prop_assert_eq!(read.live(), persistent);
        prop_assert!(model.iter().all(|(p, transient)| *transient || read.holds(*p)));
    }
}
