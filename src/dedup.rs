//! Repetitions: which messages were published before.
//!
//! A [`Window`] remembers the identifiers of the last messages, up to a number, and each up to a time. It has no clock and
//! does no I/O: time is a parameter, in milliseconds since 1970, and the answers depend on nothing but what came in.
//!
//! Not the identifiers are kept but 128 bits of SipHash of each, with a key of the window's own: an identifier costs about 45
//! bytes whatever its length, and nobody can make two that are taken for one another.
//!
//! **Bytes.** [`Window::encode`] writes a whole window: `1` (the form), 16 bytes of key, then its entries, oldest first.
//! [`Window::encode_one`] writes a window of one of them. [`join`] puts what came later behind what came before. An entry is
//! 16 bytes of hash and the time it expires, little-endian.

pub mod seen;

use std::collections::VecDeque;
use std::hash::Hasher;
use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::frames::table::{self, ValueRef};

/// The header that has a message's identifier, where nothing else is said.
pub const HEADER: &str = "x-deduplication-header";
/// The header by which a message says for how many milliseconds its identifier is remembered.
pub const TTL_HEADER: &[u8] = b"x-cache-ttl";
/// The number of identifiers that are remembered, where nothing is said.
pub const DEFAULT_SIZE: usize = 128;
/// Most identifiers of messages that are in a queue; with more, the oldest are forgotten.
pub const MOST_KEPT: usize = 1 << 20;

/// Most identifiers of a window; places are counted in 32 bits.
const LARGEST: usize = 1 << 30;
/// When an entry expires that never does.
const NEVER: u64 = u64::MAX;
/// When an entry expires that another one has replaced.
const REPLACED: u64 = 0;
/// Replaced entries that may lie about before they are cleared away.
const FEW: usize = 16;

const FORM: u8 = 1;
const KEY: usize = 16;
const ENTRY: usize = 24;

/// Which messages a queue or an exchange takes for repetitions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Deduplication {
    /// Most identifiers that are remembered.
    pub size: usize,
    /// Milliseconds that one is remembered; `None` until it makes room.
    pub ttl: Option<u64>,
    /// The header that has the identifier.
    pub header: Arc<str>,
    /// Of a queue: an identifier is remembered as long as its message is there, however long that is.
    pub while_kept: bool,
}

impl Deduplication {
    /// The identifier that a message with these headers (the inside of their table) has.
    pub fn id<'a>(&self, headers: &'a [u8]) -> Option<ValueRef<'a>> {
        table::find(headers, self.header.as_bytes())
    }

    /// For how long it is remembered: what the message says, or else what is said for all.
    pub fn ttl_of(&self, headers: &[u8]) -> Option<u64> {
        let said = table::find(headers, TTL_HEADER).and_then(|value| value.to_owned().ok()?.as_int());
        said.and_then(|ms| u64::try_from(ms).ok()).or(self.ttl)
    }
}

/// Bytes that are no window, or no entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes of a deduplication window are damaged")]
pub struct Damaged;

#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: [u64; 2],
    expires: u64,
}

/// The identifiers of the last messages.
#[derive(Clone, Debug)]
pub struct Window {
    key: [u8; KEY],
    size: usize,
    /// Oldest first, with those that others have replaced.
    entries: VecDeque<Entry>,
    /// The number of the first of `entries`; numbers rise and are never used again.
    first: u64,
    /// The lower half of the numbers of those entries that count.
    known: HashTable<u32>,
}

impl Window {
    /// An empty window for so many identifiers. The key should be random.
    pub fn new(size: usize, key: [u8; KEY]) -> Self {
        let size = size.clamp(1, LARGEST);
        Self { key, size, entries: VecDeque::new(), first: 0, known: HashTable::new() }
    }

    /// Remembers an identifier for `ttl` milliseconds; false when it is a repetition, which changes nothing.
    pub fn insert(&mut self, id: ValueRef<'_>, ttl: Option<u64>, now: u64) -> bool {
        self.forget_expired(now);
        let hash = self.hash(id);
        if self.find(hash).is_some_and(|entry| entry.expires > now) {
            return false;
        }
        let expires = ttl.map_or(NEVER, |ttl| now.saturating_add(ttl)).max(REPLACED + 1);
        self.push(Entry { hash, expires });
        true
    }

    /// Forgets an identifier: its message was refused, and the next attempt is no repetition.
    pub fn forget(&mut self, id: ValueRef<'_>) {
        let hash = self.hash(id);
        if let Some(entry) = self.find_mut(hash) {
            entry.expires = REPLACED;
        }
        self.take_known(hash);
    }

    /// Number of identifiers that are remembered; some may have expired.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory in use.
    pub fn memory(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.known.allocation_size()
    }

    /// The number that the next entry gets.
    fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Appends the window, with those entries of whose hashes `counts` says so.
    pub fn encode(&self, counts: impl Fn([u64; 2]) -> bool, out: &mut Vec<u8>) {
        out.push(FORM);
        out.extend(self.key);
        let entries = self.entries.iter().filter(|entry| entry.expires != REPLACED && counts(entry.hash));
        entries.for_each(|entry| entry.encode(out));
    }

    /// Reads what [`Self::encode`] has written, and [`join`] put together. When fewer identifiers are to be remembered now, it
    /// keeps the latest of those that have not expired.
    ///
    /// # Errors
    /// The bytes are something else.
    pub fn decode(bytes: &[u8], size: usize, now: u64) -> Result<Self, Damaged> {
        let (form, rest) = bytes.split_first().ok_or(Damaged)?;
        let (key, entries) = rest.split_first_chunk().ok_or(Damaged)?;
        if *form != FORM {
            return Err(Damaged);
        }
        let mut window = Self::new(LARGEST, *key);
        window.replay(entries)?;
        window.shrink(size.clamp(1, LARGEST), now);
        Ok(window)
    }

    fn shrink(&mut self, size: usize, now: u64) {
        self.entries.iter_mut().filter(|entry| entry.expires <= now).for_each(|entry| entry.expires = REPLACED);
        self.clear_away();
        self.size = size;
        while self.known.len() > size {
            self.drop_oldest();
        }
    }

    /// Appends a window with the identifier of that hash alone. False, and nothing is written, when it is not known.
    pub fn encode_one(&self, hash: [u64; 2], out: &mut Vec<u8>) -> bool {
        let Some(entry) = self.find(hash) else { return false };
        out.push(FORM);
        out.extend(self.key);
        entry.encode(out);
        true
    }

    /// Adds entries, the latest last. Adding the last ones twice makes no difference.
    fn replay(&mut self, bytes: &[u8]) -> Result<(), Damaged> {
        let (entries, rest) = bytes.as_chunks::<ENTRY>();
        if !rest.is_empty() {
            return Err(Damaged);
        }
        entries.iter().map(Entry::decode).filter(|entry| entry.expires != REPLACED).for_each(|entry| self.push(entry));
        Ok(())
    }

    pub(super) fn hash(&self, id: ValueRef<'_>) -> [u64; 2] {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        let (letter, bytes) = id.identity();
        hasher.write(&[letter]);
        hasher.write(&bytes);
        let hash = hasher.finish128();
        [hash.h1, hash.h2]
    }

    fn find(&self, hash: [u64; 2]) -> Option<&Entry> {
        let number = self.known.find(hash[0], |number| self.has(*number, hash))?;
        self.entries.get(self.place(*number))
    }

    fn find_mut(&mut self, hash: [u64; 2]) -> Option<&mut Entry> {
        let place = self.known.find(hash[0], |number| self.has(*number, hash)).map(|number| self.place(*number))?;
        self.entries.get_mut(place)
    }

    fn has(&self, number: u32, hash: [u64; 2]) -> bool {
        self.entries.get(self.place(number)).is_some_and(|entry| entry.hash == hash)
    }

    /// Where in `entries` the entry of that number is.
    fn place(&self, number: u32) -> usize {
        number.wrapping_sub(lower(self.first)) as usize
    }

    fn take_known(&mut self, hash: [u64; 2]) {
        let (entries, first) = (&self.entries, lower(self.first));
        let is_it = |number: &u32| entries.get(number.wrapping_sub(first) as usize).is_some_and(|e| e.hash == hash);
        if let Ok(found) = self.known.find_entry(hash[0], is_it) {
            found.remove();
        }
    }

    /// Makes an entry the latest one.
    fn push(&mut self, entry: Entry) {
        if let Some(replaced) = self.find_mut(entry.hash) {
            replaced.expires = REPLACED;
        }
        let number = lower(self.next());
        self.entries.push_back(entry);
        let (entries, first) = (&self.entries, lower(self.first));
        let at = |number: u32| entries.get(number.wrapping_sub(first) as usize);
        let is_it = |number: &u32| at(*number).is_some_and(|e| e.hash == entry.hash);
        match self.known.entry(entry.hash[0], is_it, |number| at(*number).map_or(0, |e| e.hash[0])) {
            Place::Occupied(mut known) => *known.get_mut() = number,
            Place::Vacant(place) => {
                place.insert(number);
            }
        }
        while self.known.len() > self.size {
            self.drop_oldest();
        }
        if self.entries.len() > 2 * self.known.len() + FEW {
            self.clear_away();
        }
    }

    fn forget_expired(&mut self, now: u64) {
        while self.entries.front().is_some_and(|entry| entry.expires <= now) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.entries.front() else { return };
        if oldest.expires != REPLACED {
            self.take_known(oldest.hash);
        }
        self.entries.pop_front();
        self.first += 1;
    }

    /// Lets go of replaced entries. The others get new numbers.
    fn clear_away(&mut self) {
        self.first = self.next();
        self.entries.retain(|entry| entry.expires != REPLACED);
        self.known.clear();
        let (entries, first) = (&self.entries, lower(self.first));
        let hash_at = |number: u32| entries.get(number.wrapping_sub(first) as usize).map_or(0, |e| e.hash[0]);
        for (place, entry) in (0_u32..).zip(entries) {
            self.known.insert_unique(entry.hash[0], first.wrapping_add(place), |number| hash_at(*number));
        }
    }
}

impl Entry {
    fn encode(&self, out: &mut Vec<u8>) {
        [self.hash[0], self.hash[1], self.expires].iter().for_each(|part| out.extend(part.to_le_bytes()));
    }

    fn decode(bytes: &[u8; ENTRY]) -> Self {
        let part =
            |at: usize| bytes.get(at..at + 8).and_then(|part| part.try_into().ok()).map_or(0, u64::from_le_bytes);
        Self { hash: [part(0), part(8)], expires: part(16) }
    }
}

/// Puts the entries of a window (or a piece of one) behind those of an earlier one of the same owner. One with another key
/// takes its place: the owner has begun anew.
pub fn join(earlier: &mut Vec<u8>, later: &[u8]) {
    match later.get(1 + KEY..) {
        Some(entries) if earlier.get(..1 + KEY) == later.get(..1 + KEY) => earlier.extend_from_slice(entries),
        _ => {
            earlier.clear();
            earlier.extend_from_slice(later);
        }
    }
}

/// The lower half of a number.
fn lower(number: u64) -> u32 {
    (number & u64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests;
