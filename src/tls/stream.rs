//! TLS over a socket that does not wait: rustls' own machine between the two, without a task or a queue of its own.
//!
//! A read brings up to [`CIPHERTEXT`] bytes into a buffer of the thread and hands on all that they hold. A write takes
//! plaintext only when all that was encrypted before is out, and at most [`PLAINTEXT_AT_A_TIME`] of it, so that a slow peer
//! is as slow as it is without TLS and no more is in flight.

use std::cell::Cell;
use std::io::{self, IoSlice, Read, Write};

use tokio_rustls::rustls::Connection;

/// Bytes that one read takes from the socket: with the longest record that may be unfinished they still fit into
/// [`PLAINTEXT_AT_A_TIME`], so that nothing stays behind in rustls where so much room is given.
const CIPHERTEXT: usize = 40 * 1024;
/// Most plaintext that is encrypted before it is written, and the room that a read should have.
pub const PLAINTEXT_AT_A_TIME: usize = 64 * 1024;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A socket whose attempts answer `WouldBlock`.
pub trait Raw {
    /// # Errors
    /// `WouldBlock`, or what is wrong with the socket.
    fn try_read(&self, into: &mut [u8]) -> io::Result<usize>;

    /// # Errors
    /// As [`Raw::try_read`].
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// # Errors
    /// As [`Raw::try_read`].
    fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;
}

/// A socket with TLS.
pub struct Stream<S> {
    raw: S,
    tls: Connection,
    /// Plaintext may have been left in `tls`: it is read before the socket.
    may_hold_plaintext: bool,
}

impl<S: Raw> Stream<S> {
    /// A socket whose handshake is done, or will be done with what is read and written.
    pub fn new(raw: S, mut tls: Connection) -> Self {
        tls.set_buffer_limit(Some(PLAINTEXT_AT_A_TIME));
        Self { raw, tls, may_hold_plaintext: true }
    }

    /// The socket below.
    pub fn raw(&self) -> &S {
        &self.raw
    }

    /// There may be something to read that the socket does not know of.
    pub fn may_hold_plaintext(&self) -> bool {
        self.may_hold_plaintext
    }

    /// There is something to write that has been taken already.
    pub fn wants_write(&self) -> bool {
        self.tls.wants_write()
    }

    /// Says that nothing more comes. Whether the peer hears it is of no interest.
    pub fn say_goodbye(&mut self) {
        self.tls.send_close_notify();
        let _ = self.drain();
    }

    /// # Errors
    /// `WouldBlock` when nothing is there, or what is wrong with the socket or what came.
    pub fn try_read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.may_hold_plaintext {
            match self.plaintext(into) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
        let mut scratch = SCRATCH.take();
        if scratch.is_empty() {
            scratch.resize(CIPHERTEXT, 0);
        }
        let result = self.read_from_socket(&mut scratch, into);
        SCRATCH.set(scratch);
        result
    }

    fn read_from_socket(&mut self, scratch: &mut [u8], into: &mut [u8]) -> io::Result<usize> {
        let count = self.raw.try_read(scratch)?;
        let mut rest = scratch.get(..count).unwrap_or_default();
        let mut filled = 0;
        // Without bytes, rustls has to hear that there will be no more.
        loop {
            let taken = self.tls.read_tls(&mut rest)?;
            if let Err(error) = self.tls.process_new_packets() {
                // The alert that says why.
                let _ = self.drain();
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
            if self.tls.wants_write() {
                self.drain()?;
            }
            match self.plaintext(into.get_mut(filled..).unwrap_or_default()) {
                Ok(0) if filled == 0 => return Ok(0),
                // The client has said goodbye behind this: the next read says so.
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
            if rest.is_empty() || taken == 0 {
                break;
            }
        }
        if filled == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(filled) }
    }

    /// Moves on what is decrypted: 0 bytes when the client has ended the stream, in order or not.
    fn plaintext(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(room) = into.get_mut(filled..).filter(|room| !room.is_empty()) {
            match self.tls.reader().read(room) {
                Ok(0) => {
                    self.may_hold_plaintext = true;
                    return Ok(filled);
                }
                Ok(count) => filled += count,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.may_hold_plaintext = false;
                    return if filled == 0 { Err(e) } else { Ok(filled) };
                }
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(filled),
                Err(e) => return Err(e),
            }
        }
        self.may_hold_plaintext = true;
        Ok(filled)
    }

    /// # Errors
    /// As [`Stream::try_read`].
    pub fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if !self.drain()? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = self.tls.writer().write_vectored(slices)?;
        self.drain()?;
        Ok(taken)
    }

    /// Writes what was taken before and is not out yet. True when nothing is left.
    ///
    /// # Errors
    /// What is wrong with the socket.
    pub fn drain(&mut self) -> io::Result<bool> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut Direct(&self.raw)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }
}

/// The socket as rustls writes to it.
struct Direct<'a, S>(&'a S);

impl<S: Raw> Write for Direct<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
