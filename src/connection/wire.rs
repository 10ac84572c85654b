//! A connection's socket: reading into a thread's own buffer, writing what the outbox holds, waiting for either.
//!
//! Bytes are read into a buffer that belongs to the thread, so a silent connection holds none. What is left of an
//! unfinished frame is kept in `tail` and put before the next read.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::Poll;

use super::outbox::{Outbox, Segment};
use super::socket::Socket;

/// Bytes that one read can bring.
const READ_SIZE: usize = 64 * 1024;
/// Unfinished frames up to this size are put before the next read; behind longer ones the next read is put.
const LONG_TAIL: usize = 16 * 1024;
/// Most writes in a row: then input and the timer get their turn.
const WRITES_AT_A_TIME: usize = 16;
/// Most slices that one write is given.
const MOST_SLICES: usize = 64;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What a read came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// So many bytes were there.
    Some(usize),
    /// Nothing now.
    Nothing,
    /// The client has closed its side.
    End,
}

/// The socket and what is on its way.
pub struct Wire {
    stream: Socket,
    pub outbox: Arc<Outbox>,
    /// Bytes of an unfinished frame, or bytes that must wait.
    pub tail: Vec<u8>,
    /// Taken from the outbox and not written yet; of the first segment, `offset` bytes are out.
    pending: VecDeque<Segment>,
    offset: usize,
}

impl Wire {
    pub fn new(stream: Socket, outbox: Arc<Outbox>) -> Self {
        if let Socket::Plain(stream) = &stream {
            outbox.set_socket(stream);
        }
        Self { stream, outbox, tail: Vec::new(), pending: VecDeque::new(), offset: 0 }
    }

    /// Reads once and hands `process` everything that has not been consumed: the tail and what came. `process` says how
    /// much of it is done.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn read(&mut self, process: impl FnOnce(&[u8]) -> usize) -> io::Result<Read> {
        let kept = self.tail.len();
        if kept > LONG_TAIL {
            return self.read_behind_tail(process);
        }
        let mut scratch = SCRATCH.take();
        if scratch.is_empty() {
            scratch.resize(LONG_TAIL + READ_SIZE, 0);
        }
        let result = self.read_into(&mut scratch, kept, process);
        SCRATCH.set(scratch);
        result
    }

    /// A large frame is on its way: what follows is read to where its beginning lies already.
    fn read_behind_tail(&mut self, process: impl FnOnce(&[u8]) -> usize) -> io::Result<Read> {
        let room = self.tail.len() + READ_SIZE;
        match self.stream.try_read_behind(&mut self.tail, room) {
            Ok(0) => Ok(Read::End),
            Ok(count) => {
                self.count_read(count);
                self.reprocess(process);
                Ok(Read::Some(count))
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(Read::Nothing),
            Err(e) => Err(e),
        }
    }

    fn read_into(&mut self, scratch: &mut [u8], kept: usize, process: impl FnOnce(&[u8]) -> usize) -> io::Result<Read> {
        let Some((front, room)) = scratch.split_at_mut_checked(kept) else { return Ok(Read::Nothing) };
        let count = match self.stream.try_read(room) {
            Ok(0) => return Ok(Read::End),
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(Read::Nothing),
            Err(e) => return Err(e),
        };
        self.count_read(count);
        front.copy_from_slice(&self.tail);
        let bytes = scratch.get(..kept + count).unwrap_or_default();
        let consumed = process(bytes);
        self.keep(bytes.get(consumed..).unwrap_or_default());
        Ok(Read::Some(count))
    }

    fn count_read(&self, bytes: usize) {
        self.outbox.counts.received.add(bytes as u64);
        self.outbox.counts.reads.add(1);
    }

    /// Hands the tail over again, without reading.
    pub fn reprocess(&mut self, process: impl FnOnce(&[u8]) -> usize) {
        let mut bytes = std::mem::take(&mut self.tail);
        let consumed = process(&bytes);
        let rest = bytes.get(consumed..).unwrap_or_default();
        if rest.len() > LONG_TAIL {
            bytes.drain(..consumed);
            self.tail = bytes;
        } else {
            self.keep(rest);
        }
    }

    fn keep(&mut self, rest: &[u8]) {
        // No more memory than there are bytes: the connection may be silent from now on.
        self.tail = rest.to_vec();
    }

    /// Writes what the socket takes, within a turn's share. True when nothing is left.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn flush(&mut self) -> io::Result<bool> {
        for _ in 0..WRITES_AT_A_TIME {
            if self.pending.is_empty() {
                self.outbox.take(&mut self.pending);
                if self.pending.is_empty() {
                    return self.stream.drain();
                }
            }
            match self.write_some() {
                Ok(count) => self.advance(count),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        Ok(false)
    }

    fn write_some(&mut self) -> io::Result<usize> {
        let first = self.pending.front().map(|s| s.bytes().get(self.offset..).unwrap_or_default()).unwrap_or_default();
        if self.pending.len() == 1 {
            return self.stream.try_write(first);
        }
        let others = self.pending.iter().skip(1).take(MOST_SLICES - 1).map(|s| IoSlice::new(s.bytes()));
        let slices: Vec<IoSlice<'_>> = std::iter::once(IoSlice::new(first)).chain(others).collect();
        self.stream.try_write_vectored(&slices)
    }

    /// The connection ends in order.
    pub fn say_goodbye(&mut self) {
        self.stream.say_goodbye();
    }

    /// Drops what has been written and lets stalled consumers go on.
    fn advance(&mut self, mut count: usize) {
        let written = count;
        while let Some(first) = self.pending.front() {
            let left = first.bytes().len().saturating_sub(self.offset);
            if count < left {
                self.offset += count;
                break;
            }
            count -= left;
            self.offset = 0;
            self.pending.pop_front();
        }
        if self.pending.is_empty() && self.pending.capacity() > 256 {
            self.pending = VecDeque::new();
        }
        self.outbox.counts.sent.add(written as u64);
        self.outbox.counts.writes.add(1);
        let resumed = self.outbox.written(written);
        if !resumed.is_empty() {
            let mut wakes = crate::queue::Wakes::default();
            for (queue, consumer) in resumed {
                queue.resume(consumer, &mut wakes);
            }
            wakes.run();
        }
    }

    /// Waits until there is something to write, the socket can be read (when `may_read`), it can be written again (when
    /// `must_write`), or `other` is done.
    pub async fn wait<T>(
        &self,
        may_read: bool,
        must_write: bool,
        mut other: impl FnMut(&mut std::task::Context<'_>) -> Poll<T>,
    ) -> io::Result<Event<T>> {
        poll_fn(|cx| {
            if let Poll::Ready(done) = other(cx) {
                return Poll::Ready(Ok(Event::Other(done)));
            }
            if may_read && let Poll::Ready(ready) = self.stream.poll_read_ready(cx) {
                return Poll::Ready(ready.map(|()| Event::Read));
            }
            let has_output = !self.outbox.sleep(cx.waker());
            if must_write {
                if let Poll::Ready(ready) = self.stream.poll_write_ready(cx) {
                    return Poll::Ready(ready.map(|()| Event::Write));
                }
                // New output has to wait for the old: only requests from outside count.
                if self.outbox.has_close_request() {
                    return Poll::Ready(Ok(Event::Write));
                }
            } else if has_output {
                return Poll::Ready(Ok(Event::Write));
            }
            Poll::Pending
        })
        .await
        .inspect(|_| self.outbox.awake())
    }
}

/// Why a wait has ended.
#[derive(Debug)]
pub enum Event<T> {
    Read,
    Write,
    Other(T),
}
