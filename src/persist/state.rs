//! A queue's state as the manifest keeps it.
//!
//! ```text
//! version          u8 (2)
//! vhost, name      each with its length before it (varint)
//! next position, horizon                    varints
//! returned         count, then for each: position, times                  varints
//! held back        count, then for each: position, until                  varints
//! damage           count, then each text with its length before it
//! shelf            flushed, next segment, count of segments, then for each: number, first, last minus first, records,
//!                  bytes, living, bytes of living bodies, indexed (0 what is due, 1 all), bytes of its index; dead ranges
//! ```
//!
//! "Living" counts persistent messages. Version 1 has nothing held back, and of a segment nothing behind "living"; it is
//! read, and not written any more.

use std::collections::BTreeMap;
use std::path::Path;

use super::encoding::{Cursor, put_varint};
use super::shelf::Shelf;

/// How a state is written now.
const VERSION: u8 = 2;
/// How states were written before they said so; the manifest puts it before them.
pub const VERSION_1: u8 = 1;

/// What is kept of a queue beside its shelf.
pub struct QueueState<'a> {
    pub vhost: &'a str,
    pub name: &'a str,
    pub next_position: u64,
    /// Messages below may have been delivered.
    pub horizon: u64,
    /// How often messages in segments have been returned.
    pub returns: BTreeMap<u64, u32>,
    /// Until when such messages are held back, in milliseconds since 1970.
    pub held_back: BTreeMap<u64, u64>,
    /// Why the queue is not served.
    pub damage: Vec<String>,
}

impl<'a> QueueState<'a> {
    pub fn encode(&self, shelf: &Shelf) -> Vec<u8> {
        let mut out = vec![VERSION];
        let put_text = |out: &mut Vec<u8>, text: &str| {
            put_varint(out, text.len() as u64);
            out.extend_from_slice(text.as_bytes());
        };
        put_text(&mut out, self.vhost);
        put_text(&mut out, self.name);
        put_varint(&mut out, self.next_position);
        put_varint(&mut out, self.horizon);
        put_varint(&mut out, self.returns.len() as u64);
        for (position, times) in &self.returns {
            put_varint(&mut out, *position);
            put_varint(&mut out, (*times).into());
        }
        put_varint(&mut out, self.held_back.len() as u64);
        for (position, until) in &self.held_back {
            put_varint(&mut out, *position);
            put_varint(&mut out, *until);
        }
        put_varint(&mut out, self.damage.len() as u64);
        self.damage.iter().for_each(|text| put_text(&mut out, text));
        shelf.encode(&mut out);
        out
    }

    /// Reads what [`QueueState::encode`] wrote. `root` is where all queues keep their directories.
    pub fn decode(bytes: &'a [u8], root: &Path, store: u64, queue: u64) -> Option<(Self, Shelf)> {
        let mut cursor = Cursor(bytes);
        let version = cursor.u8().filter(|version| (VERSION_1..=VERSION).contains(version))?;
        let vhost = std::str::from_utf8(cursor.counted()?).ok()?;
        let name = std::str::from_utf8(cursor.counted()?).ok()?;
        let (next_position, horizon) = (cursor.varint()?, cursor.varint()?);
        let mut returns = BTreeMap::new();
        for _ in 0..cursor.varint()? {
            returns.insert(cursor.varint()?, u32::try_from(cursor.varint()?).ok()?);
        }
        let mut held_back = BTreeMap::new();
        if version > VERSION_1 {
            for _ in 0..cursor.varint()? {
                held_back.insert(cursor.varint()?, cursor.varint()?);
            }
        }
        let mut damage = Vec::new();
        for _ in 0..cursor.varint()? {
            damage.push(std::str::from_utf8(cursor.counted()?).ok()?.to_owned());
        }
        let shelf = Shelf::decode(root, store, queue, version, &mut cursor)?;
        Some((Self { vhost, name, next_position, horizon, returns, held_back, damage }, shelf))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_as_written() {
        let root = Path::new("/queues");
        let state = QueueState {
            vhost: "/",
            name: "hare",
            next_position: 12,
            horizon: 9,
            returns: BTreeMap::from([(3, 2)]),
            held_back: BTreeMap::from([(3, u64::MAX)]),
            damage: vec!["a file".into()],
        };
        let bytes = state.encode(&Shelf::new(root, 1, 7));
        let (read, shelf) = QueueState::decode(&bytes, root, 1, 7).unwrap();
        assert_eq!((read.name, read.next_position, read.horizon, shelf.queue), ("hare", 12, 9, 7));
        assert_eq!((read.returns, read.held_back, read.damage), (state.returns, state.held_back, state.damage));
        assert!((0..bytes.len()).all(|end| QueueState::decode(&bytes[..end], root, 1, 7).is_none()));
    }

    #[test]
    fn a_state_of_version_1_is_read() {
        // vhost, name, next position, horizon, a message returned twice, no damage; an empty shelf.
        let bytes = [&[VERSION_1, 1][..], b"/\x04hare", &[12, 9, 1, 3, 2, 0], &[5, 0, 0, 0]].concat();
        let (read, shelf) = QueueState::decode(&bytes, Path::new("/queues"), 1, 7).unwrap();
        assert_eq!((read.vhost, read.name, read.next_position, read.horizon), ("/", "hare", 12, 9));
        assert_eq!((read.returns, read.held_back.len(), shelf.flushed()), (BTreeMap::from([(3, 2)]), 0, 5));
        assert!(QueueState::decode(&[VERSION + 1], Path::new("/queues"), 1, 7).is_none());
    }
}
