//! The read buffer of one connection.

use std::io::{self, Read};

/// Room for two of the largest frames that are ever negotiated: an unfinished one never fills it.
const CAPACITY: usize = 256 * 1024;
/// The largest frame that is agreed to.
pub const FRAME_MAX: u32 = 128 * 1024;

pub struct Inbox {
    bytes: Vec<u8>,
    /// `0 <= start <= end <= bytes.len()`; between them lies what was read and not yet used.
    start: usize,
    end: usize,
}

impl Inbox {
    pub fn new() -> Self {
        Self { bytes: vec![0; CAPACITY], start: 0, end: 0 }
    }

    pub fn unread(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    pub fn used(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
    }

    /// One read of as much as there is room for. 0 is the end of the stream.
    pub fn fill(&mut self, from: &mut impl Read) -> io::Result<usize> {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let n = from.read(self.bytes.get_mut(self.end..).unwrap_or_default())?;
        self.end += n;
        Ok(n)
    }
}
