//! A client's socket, plain or with TLS, as [`super::wire`] uses it: attempts that do not wait, and readiness.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::net::TcpStream;
use tokio_rustls::rustls::ServerConnection;

use crate::tls::stream::{PLAINTEXT_AT_A_TIME, Raw, Stream};

/// A connection's socket.
pub enum Socket {
    Plain(Arc<TcpStream>),
    Tls(Box<Stream<TcpStream>>),
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Self::Plain(Arc::new(stream))
    }
}

impl Raw for TcpStream {
    fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        Self::try_read(self, into)
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        Self::try_write(self, bytes)
    }

    fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Self::try_write_vectored(self, slices)
    }
}

impl Socket {
    /// A socket whose TLS handshake is done.
    pub fn with_tls(stream: TcpStream, tls: ServerConnection) -> Self {
        Self::Tls(Box::new(Stream::new(stream, tls.into())))
    }

    /// # Errors
    /// `WouldBlock` when nothing is there, or what is wrong with the socket.
    #[inline]
    pub fn try_read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.try_read(into),
            Self::Tls(socket) => socket.try_read(into),
        }
    }

    /// Reads behind what `into` holds, into the room that it has.
    ///
    /// # Errors
    /// As [`Socket::try_read`].
    pub fn try_read_behind(&mut self, into: &mut Vec<u8>, room: usize) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => {
                into.reserve(room);
                stream.try_read_buf(into)
            }
            Self::Tls(socket) => {
                let before = into.len();
                into.reserve(room);
                into.resize(before + PLAINTEXT_AT_A_TIME, 0);
                let result = socket.try_read(into.get_mut(before..).unwrap_or_default());
                into.truncate(before + *result.as_ref().unwrap_or(&0));
                result
            }
        }
    }

    /// # Errors
    /// As [`Socket::try_read`].
    #[inline]
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.try_write(bytes),
            Self::Tls(socket) => socket.try_write(&[IoSlice::new(bytes)]),
        }
    }

    /// # Errors
    /// As [`Socket::try_read`].
    pub fn try_write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.try_write_vectored(slices),
            Self::Tls(socket) => socket.try_write(slices),
        }
    }

    /// Writes what was taken before and is not out yet. True when nothing is left.
    ///
    /// # Errors
    /// What is wrong with the socket.
    #[inline]
    pub fn drain(&mut self) -> io::Result<bool> {
        match self {
            Self::Plain(_) => Ok(true),
            Self::Tls(socket) => socket.drain(),
        }
    }

    /// Says that nothing more comes, where that has to be said. Whether the client hears it is of no interest.
    pub fn say_goodbye(&mut self) {
        if let Self::Tls(socket) = self {
            socket.say_goodbye();
        }
    }

    #[inline]
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => stream.poll_read_ready(cx),
            Self::Tls(socket) if socket.may_hold_plaintext() => Poll::Ready(Ok(())),
            Self::Tls(socket) => socket.raw().poll_read_ready(cx),
        }
    }

    #[inline]
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => stream.poll_write_ready(cx),
            Self::Tls(socket) => socket.raw().poll_write_ready(cx),
        }
    }
}
