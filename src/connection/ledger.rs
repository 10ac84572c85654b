//! The unacked deliveries of one channel: delivery tags, and what they stand for.
//!
//! Tags rise by one with every delivery, also with those that need no ack. Entries are kept in tag order; an ack in the
//! middle leaves a hole that is closed when the front catches up or when holes outnumber entries.

use std::collections::VecDeque;

/// One delivery that waits for its ack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unacked {
    pub tag: u64,
    /// Position of the message in its queue.
    pub position: u64,
    /// The channel's number for the consumer (or the queue, after a get).
    pub slot: u32,
    /// When it was delivered, in seconds of the node's coarse clock.
    pub at: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    unacked: Unacked,
    settled: bool,
}

/// The tag is not (or no longer) outstanding on this channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownTag(pub u64);

/// Delivery tags and unacked deliveries of a channel.
#[derive(Debug, Default)]
pub struct Ledger {
    last_tag: u64,
    entries: VecDeque<Entry>,
    outstanding: usize,
}

impl Ledger {
    /// The tag of the next delivery.
    #[inline]
    pub fn next_tag(&mut self) -> u64 {
        self.last_tag += 1;
        self.last_tag
    }

    /// The tag given out last: how many deliveries there have been.
    pub fn last_tag(&self) -> u64 {
        self.last_tag
    }

    /// Notes a delivery that needs an ack. Its tag is the one given out last.
    #[inline]
    pub fn note(&mut self, position: u64, slot: u32, at: u32) {
        self.entries.push_back(Entry { unacked: Unacked { tag: self.last_tag, position, slot, at }, settled: false });
        self.outstanding += 1;
    }

    /// Number of deliveries that wait for an ack.
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Deliveries that wait, oldest first.
    pub fn waiting(&self) -> impl Iterator<Item = Unacked> {
        self.entries.iter().filter(|entry| !entry.settled).map(|entry| entry.unacked)
    }

    /// Settles one tag, or with `multiple` all up to it (0: all there are), in tag order.
    ///
    /// # Errors
    /// When the tag is not outstanding; nothing is settled then.
    pub fn settle(&mut self, tag: u64, multiple: bool, mut each: impl FnMut(Unacked)) -> Result<(), UnknownTag> {
        if multiple && tag == 0 {
            self.drain(each);
            return Ok(());
        }
        let at = self.entries.binary_search_by(|e| e.unacked.tag.cmp(&tag)).map_err(|_| UnknownTag(tag))?;
        match self.entries.get_mut(at) {
            Some(entry) if !entry.settled => {
                if !multiple {
                    entry.settled = true;
                    self.outstanding -= 1;
                    each(entry.unacked);
                    self.close_holes();
                    return Ok(());
                }
            }
            _ => return Err(UnknownTag(tag)),
        }
        for entry in self.entries.drain(..=at).filter(|e| !e.settled) {
            self.outstanding -= 1;
            each(entry.unacked);
        }
        self.close_holes();
        Ok(())
    }

    /// Settles everything, in tag order.
    pub fn drain(&mut self, mut each: impl FnMut(Unacked)) {
        for entry in std::mem::take(&mut self.entries) {
            if !entry.settled {
                each(entry.unacked);
            }
        }
        self.outstanding = 0;
    }

    /// Puts deliveries back that were settled in a transaction that is rolled back.
    pub fn restore(&mut self, returned: impl IntoIterator<Item = Unacked>) {
        for unacked in returned {
            let at = self.entries.partition_point(|e| e.unacked.tag < unacked.tag);
            match self.entries.get_mut(at) {
                Some(entry) if entry.unacked.tag == unacked.tag => entry.settled = false,
                _ => self.entries.insert(at, Entry { unacked, settled: false }),
            }
            self.outstanding += 1;
        }
    }

    fn close_holes(&mut self) {
        while self.entries.front().is_some_and(|e| e.settled) {
            self.entries.pop_front();
        }
        let holes = self.entries.len() - self.outstanding;
        if holes > 64 && holes > self.outstanding {
            self.entries.retain(|e| !e.settled);
        }
        if self.entries.is_empty() && self.entries.capacity() > 4096 {
            self.entries = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests;
