//! Samples of single objects, such as queues or channels: of those that move or that somebody looks at, within bounds.
//!
//! An object gets a [`History`] when it first moves, as long as there is room, or when somebody asks how it was. At most
//! [`MOST`] objects of a kind have one. Where there is no room, what has neither moved nor been looked at for [`RESTING`]
//! makes place; for what somebody looks at, if need be, the one that has rested longest. Without either for an hour an object
//! loses its history: all of its samples would be the same.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::history::{History, Sample};

/// Objects of a kind that have histories.
const MOST: usize = 250;
/// When an object may lose its place to one that moves, in milliseconds.
const RESTING: u64 = 600_000;
/// When it loses it anyway: that far back the samples of one object reach.
const FORGOTTEN: u64 = 3_660_000;

/// Which samples are asked for: at `until`, `until - step`, ... and not older than `age`; in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub until: u64,
    pub age: u64,
    pub step: u64,
}

/// Histories of the objects `K`, whose samples are `T`.
#[derive(Debug)]
pub struct Album<K, T> {
    pages: Mutex<Pages<K, T>>,
}

#[derive(Debug)]
struct Pages<K, T> {
    /// Objects that may have one.
    most: usize,
    /// By the object's address, which is its own as long as its page is here.
    by_address: HashMap<usize, Page<K, T>>,
    /// None was used before: the search for one that rests is spared whoever would not find one. Many objects may move and
    /// have no place.
    used_since: u64,
}

#[derive(Debug)]
struct Page<K, T> {
    of: Weak<K>,
    history: History<T>,
    /// When it last moved or was looked at.
    used: u64,
}

impl<K, T> Default for Album<K, T> {
    fn default() -> Self {
        Self::of(MOST)
    }
}

impl<K, T> Album<K, T> {
    /// One that keeps nothing.
    pub fn closed() -> Self {
        Self::of(0)
    }

    fn of(most: usize) -> Self {
        Self { pages: Mutex::new(Pages { most, by_address: HashMap::new(), used_since: 0 }) }
    }
}

impl<K, T: Copy + PartialEq> Album<K, T> {
    /// Takes a sample of an object, which has moved since the last one or not.
    pub fn note(&self, of: &Arc<K>, now: u64, value: T, moved: bool) {
        let mut pages = self.pages.lock();
        let key = Arc::as_ptr(of).addr();
        let may_join = |pages: &mut Pages<K, T>| moved && pages.has_room(now.saturating_sub(RESTING));
        if !pages.by_address.contains_key(&key) && !may_join(&mut pages) {
            return;
        }
        let page = pages.by_address.entry(key).or_insert_with(|| Page::new(of, now));
        page.history.add(now, value);
        if moved {
            page.used = now;
        }
    }

    /// The objects that have histories.
    pub fn objects(&self) -> Vec<Arc<K>> {
        self.pages.lock().by_address.values().filter_map(|page| page.of.upgrade()).collect()
    }

    /// Forgets objects that are gone, or rest for long.
    pub fn sweep(&self, now: u64) {
        let is_used = |page: &Page<K, T>| page.of.strong_count() > 0 && now.saturating_sub(page.used) < FORGOTTEN;
        self.pages.lock().by_address.retain(|_, page| is_used(page));
    }

    /// How an object was; newest first. The first look at one begins its history with how it is.
    pub fn look(&self, of: &Arc<K>, now: u64, value: T, span: Span) -> Vec<Sample<T>> {
        let mut pages = self.pages.lock();
        let key = Arc::as_ptr(of).addr();
        if !pages.by_address.contains_key(&key) && !pages.has_room(u64::MAX) {
            return Vec::new();
        }
        let page = pages.by_address.entry(key).or_insert_with(|| {
            let mut page = Page::new(of, now);
            page.history.add(now, value);
            page
        });
        page.used = now;
        page.history.between(span.until, span.age, span.step)
    }
}

impl<K, T: Copy + PartialEq> Page<K, T> {
    fn new(of: &Arc<K>, now: u64) -> Self {
        Self { of: Arc::downgrade(of), history: History::short(), used: now }
    }
}

impl<K, T> Pages<K, T> {
    /// Whether there is room for one more, if need be in the place of the one that was used least lately, before
    /// `unused_since`.
    fn has_room(&mut self, unused_since: u64) -> bool {
        if self.by_address.len() < self.most {
            return true;
        }
        if self.used_since >= unused_since {
            return false;
        }
        let Some((used, key)) = self.by_address.iter().map(|(key, page)| (page.used, *key)).min() else { return false };
        self.used_since = used;
        used < unused_since && self.by_address.remove(&key).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Span = Span { until: 1_000_000, age: 60_000, step: 5_000 };

    fn album(n: usize) -> (Album<u32, u64>, Vec<Arc<u32>>) {
        let album = Album::default();
        let objects: Vec<_> = (0..n).map(|_| Arc::new(0)).collect();
        objects.iter().for_each(|object| album.note(object, 1_000_000, 1, true));
        (album, objects)
    }

    #[test]
    fn who_moves_is_kept_and_who_is_gone_is_not() {
        let (album, mut objects) = album(2);
        let still = Arc::new(0);
        album.note(&still, 1_000_000, 1, false);
        assert_eq!(album.objects().len(), 2, "what does not move has no samples");
        album.note(&objects[0], 1_005_000, 2, true);
        let span = Span { until: 1_005_000, ..MINUTE };
        let values: Vec<_> = album.look(&objects[0], 1_005_000, 9, span).iter().map(|s| s.value).collect();
        assert_eq!(values, [2, 1], "as it was, newest first");
        objects.pop();
        album.sweep(1_005_000);
        assert_eq!(album.objects().len(), 1);
        album.sweep(1_005_000 + FORGOTTEN);
        assert_eq!(album.objects().len(), 0, "an hour without anything");
    }

    #[test]
    fn there_is_room_for_so_many_and_a_look_makes_room() {
        let (album, objects) = album(MOST);
        let late = Arc::new(0);
        album.note(&late, 1_000_001, 1, true);
        assert_eq!(album.objects().len(), MOST);
        assert!(!album.objects().iter().any(|object| Arc::ptr_eq(object, &late)), "no room");
        album.look(&objects[0], 1_000_002, 1, MINUTE);
        let values = album.look(&late, 1_000_003, 7, Span { until: 1_000_003, ..MINUTE });
        assert_eq!(values, [Sample { at: 1_000_003, value: 7 }], "a look begins with how it is");
        assert_eq!(album.objects().len(), MOST, "another one has lost its place");
        assert!(
            album.objects().iter().any(|object| Arc::ptr_eq(object, &objects[0])),
            "not the one that was looked at"
        );
        let later = Arc::new(0);
        album.note(&later, 1_000_002 + RESTING, 1, true);
        assert!(album.objects().iter().any(|object| Arc::ptr_eq(object, &later)), "a resting one makes place");
    }
}
