use proptest::prelude::*;

use super::*;

fn window(size: usize) -> Window {
    Window::new(size, *b"the window's key")
}

fn id(n: u8) -> ValueRef<'static> {
    ValueRef::U8(n)
}

#[test]
fn what_comes_again_is_a_repetition() {
    let mut window = window(10);
    assert!(window.insert(ValueRef::LongStr(b"a"), None, 0));
    assert!(!window.insert(ValueRef::LongStr(b"a"), None, u64::MAX - 1));
    assert!(window.insert(ValueRef::LongStr(b"b"), None, 0));
    // One number is one identifier, whatever its type; a text of its digits is another.
    assert!(window.insert(ValueRef::I64(1), None, 0));
    assert!(!window.insert(ValueRef::U8(1), None, 0));
    assert!(window.insert(ValueRef::LongStr(b"1"), None, 0));
    assert!(window.insert(ValueRef::Void, None, 0));
    assert!(window.insert(ValueRef::LongStr(b""), None, 0));
}

#[test]
fn the_oldest_make_room() {
    let mut window = window(3);
    assert!((0..4).all(|n| window.insert(id(n), None, 0)));
    assert_eq!(window.len(), 3);
    assert!(!window.insert(id(1), None, 0));
    assert!(window.insert(id(0), None, 0));
    assert!(window.insert(id(1), None, 0));
}

#[test]
fn what_has_expired_is_new_again() {
    let mut window = window(3);
    assert!(window.insert(id(1), None, 100));
    assert!(window.insert(id(2), Some(50), 100));
    assert!(!window.insert(id(2), Some(50), 149));
    assert!(window.insert(id(2), Some(50), 150));
    assert!(!window.insert(id(2), None, 199));
    assert!(window.insert(id(3), Some(0), 150));
    assert!(window.insert(id(3), Some(0), 150));
    assert!(!window.insert(id(1), None, 200));
}

#[test]
fn what_is_forgotten_is_new_again() {
    let mut window = window(3);
    assert!(window.insert(id(1), None, 0));
    window.forget(id(1));
    window.forget(id(7));
    assert!(window.is_empty());
    assert!(window.insert(id(1), None, 0));
}

/// Messages that are new again and again must not pile up.
#[test]
fn memory_is_bounded_and_small() {
    let mut window = window(100_000);
    (0..300_000).for_each(|n| assert!(window.insert(ValueRef::I64(n), None, 0)));
    assert!(window.memory() < 100_000 * 60, "{} bytes", window.memory());
    let mut few = Window::new(1000, [0; 16]);
    few.insert(id(255), None, 0);
    for now in 0..100_000 {
        few.insert(id((now % 10) as u8), Some(1), now);
    }
    assert!(few.memory() < 10_000, "{} bytes", few.memory());
    assert!(!few.insert(id(255), None, 100_000));
}

#[test]
fn a_message_may_say_how_long_it_is_remembered() {
    let rule = Deduplication { size: 1, ttl: Some(7), header: HEADER.into(), while_kept: false };
    let headers = |entries: &[(&str, crate::frames::Value)]| {
        let mut out = Vec::new();
        crate::frames::Table::from_iter(entries.iter().cloned()).encode(&mut out);
        out.split_off(4)
    };
    let said = headers(&[("x-cache-ttl", crate::frames::Value::I32(9)), (HEADER, crate::frames::Value::text("id"))]);
    assert_eq!((rule.ttl_of(&said), rule.id(&said)), (Some(9), Some(ValueRef::LongStr(b"id"))));
    assert_eq!((rule.ttl_of(&[]), rule.id(&[])), (Some(7), None));
    assert_eq!(rule.ttl_of(&headers(&[("x-cache-ttl", crate::frames::Value::text("9"))])), Some(7));
    assert_eq!(rule.ttl_of(&headers(&[("x-cache-ttl", crate::frames::Value::I32(-9))])), Some(7));
}

#[test]
fn bytes_that_are_no_window_are_refused() {
    let mut bytes = Vec::new();
    let mut one = window(3);
    one.insert(id(1), None, 0);
    one.encode(|_| true, &mut bytes);
    assert!(Window::decode(&bytes, 3, 0).is_ok());
    assert_eq!(Window::decode(&[], 3, 0).unwrap_err(), Damaged);
    assert_eq!(Window::decode(&bytes[..10], 3, 0).unwrap_err(), Damaged);
    assert_eq!(Window::decode(&bytes[..bytes.len() - 1], 3, 0).unwrap_err(), Damaged);
    assert_eq!(Window::decode(&[&[2], &bytes[1..]].concat(), 3, 0).unwrap_err(), Damaged);
    assert_eq!(one.replay(&[0; 23]).unwrap_err(), Damaged);
}

/// Identifiers with their time, oldest first.
#[derive(Default)]
struct Model(Vec<(u8, u64)>);

impl Model {
    fn insert(&mut self, size: usize, id: u8, ttl: Option<u64>, now: u64) -> bool {
        if self.0.iter().any(|(known, expires)| *known == id && *expires > now) {
            return false;
        }
        self.0.retain(|(known, _)| *known != id);
        self.0.push((id, ttl.map_or(u64::MAX, |ttl| now + ttl)));
        if self.0.len() > size {
            self.0.remove(0);
        }
        true
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u8, Option<u64>),
    /// The message is refused after all.
    Refuse(u8),
    Later(u64),
    /// The window is written whole.
    Picture,
    /// So much of what was noted before the picture is given up.
    Retire(usize),
    /// Only what was written is left.
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (0..12_u8, prop::option::of(0..30_u64)).prop_map(|(id, ttl)| Step::Insert(id, ttl)),
        2 => (0..12_u8).prop_map(Step::Refuse),
        6 => (1..15_u64).prop_map(Step::Later),
        2 => Just(Step::Picture),
        2 => (0..20_usize).prop_map(Step::Retire),
        2 => Just(Step::Crash),
    ]
}

/// What a crash leaves of a window.
#[derive(Default)]
struct Disk {
    picture: Vec<u8>,
    /// Pieces, oldest first.
    journal: Vec<Vec<u8>>,
    /// How many of them are older than the picture.
    covered: usize,
}

impl Disk {
    fn save(&mut self, window: &Window) {
        self.picture.clear();
        window.encode(|_| true, &mut self.picture);
        self.covered = self.journal.len();
    }

    fn window(&self, size: usize, now: u64) -> Window {
        let mut bytes = self.picture.clone();
        self.journal.iter().for_each(|piece| join(&mut bytes, piece));
        Window::decode(&bytes, size, now).unwrap()
    }
}

#[test]
fn a_piece_with_another_key_begins_the_window_anew() {
    let (mut one, mut other) = (window(3), Window::new(3, [7; 16]));
    one.insert(id(1), None, 0);
    other.insert(id(2), None, 0);
    let (mut bytes, mut piece) = (Vec::new(), Vec::new());
    one.encode(|_| true, &mut bytes);
    assert!(other.encode_one(other.hash(id(2)), &mut piece));
    assert!(!other.encode_one(other.hash(id(1)), &mut piece));
    join(&mut bytes, &piece);
    let mut found = Window::decode(&bytes, 3, 0).unwrap();
    assert!(found.insert(id(1), None, 0) && !found.insert(id(2), None, 0));
}

proptest! {
    #[test]
    fn acts_as_a_plain_list_and_survives(size in 1..9_usize, steps in prop::collection::vec(step(), 1..300)) {
        let (mut window, mut model, mut now) = (window(size), Model::default(), 1000);
        let mut disk = Disk::default();
        disk.save(&window);
        for step in steps {
            match step {
                Step::Insert(n, ttl) => {
                    let is_new = window.insert(id(n), ttl, now);
                    prop_assert_eq!(is_new, model.insert(size, n, ttl, now));
                    if is_new {
                        let mut piece = Vec::new();
                        prop_assert!(window.encode_one(window.hash(id(n)), &mut piece));
                        disk.journal.push(piece);
                    }
                }
                Step::Refuse(n) => {
                    if model.insert(size, n, None, now) {
                        prop_assert!(window.insert(id(n), None, now));
                        model.0.retain(|(known, _)| *known != n);
                        window.forget(id(n));
                    }
                }
                Step::Later(ms) => now += ms,
                Step::Picture => disk.save(&window),
                Step::Retire(some) => {
                    let some = some.min(disk.covered);
                    disk.journal.drain(..some);
                    disk.covered -= some;
                }
                Step::Crash => {
                    let found = disk.window(size, now);
                    for (known, _) in model.0.iter().filter(|(_, expires)| *expires > now) {
                        prop_assert!(!found.clone().insert(id(*known), None, now), "{} is forgotten", known);
                    }
                    // Refused messages may have taken the place of others, which count again now.
                    disk.save(&found);
                    model.0 = (0..12).filter(|n| found.find(found.hash(id(*n))).is_some()).map(|n| {
                        let hash = found.hash(id(n));
                        let place = found.entries.iter().position(|e| e.hash == hash && e.expires != REPLACED).unwrap();
                        (place, (n, found.entries[place].expires))
                    }).collect::<std::collections::BTreeMap<_, _>>().into_values().collect();
                    window = found;
                }
            }
            prop_assert!(window.len() <= size);
        }
    }
}
