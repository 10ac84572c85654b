//! What a message's body says: who sent it, as which of its messages, and when.
//!
//! ```text
//! 0  producer    2 bytes
//! 2  sequence    6 bytes, from 0
//! 8  sent at     8 bytes, nanoseconds since 1970; only in bodies of 16 bytes and more
//! 16 filler      bytes that any receiver can compute, see [`filler`]
//! ```
//! All big-endian. Sixteen bytes are the smallest message that measures everything.

pub const MIN_SIZE: usize = 8;
/// From this size on a body carries the time at which it was sent.
pub const STAMPED_SIZE: usize = 16;
/// Sequence numbers have 48 bits.
pub const SEQ_END: u64 = 1 << 48;

/// A message's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id {
    pub producer: u16,
    pub seq: u64,
}

impl Id {
    #[inline]
    pub fn encode(self) -> [u8; 8] {
        ((u64::from(self.producer) << 48) | (self.seq % SEQ_END)).to_be_bytes()
    }

    #[inline]
    pub fn decode(bytes: [u8; 8]) -> Self {
        let [p0, p1, ..] = bytes;
        Self { producer: u16::from_be_bytes([p0, p1]), seq: u64::from_be_bytes(bytes) % SEQ_END }
    }
}

/// The filler of a body of `size` bytes: what follows the first sixteen.
pub fn filler(size: usize) -> Vec<u8> {
    (STAMPED_SIZE..size).map(|at| b' ' + u8::try_from(at % 89).unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_layout_is_as_drawn() {
        assert_eq!(Id { producer: 0x0102, seq: 0x0304_0506_0708 }.encode(), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!((filler(16).len(), filler(8).len(), filler(20).len()), (0, 0, 4));
    }

    proptest! {
        #[test]
        fn an_id_survives(producer in any::<u16>(), seq in 0..SEQ_END) {
            let id = Id { producer, seq };
            prop_assert_eq!(Id::decode(id.encode()), id);
        }
    }
}
