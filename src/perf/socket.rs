//! The socket of one connection to the broker, plain or with TLS.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection};

use super::failure::Failure;
use crate::tls::stream::{Raw, Stream};

pub enum Socket {
    Plain(TcpStream),
    Tls(Box<Stream<TcpStream>>),
}

impl Raw for TcpStream {
    fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        (&mut &*self).read(into)
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        (&mut &*self).write(bytes)
    }

    fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        (&mut &*self).write_vectored(slices)
    }
}

impl Socket {
    /// The handshake is done by what is read and written.
    pub fn with_tls(stream: TcpStream, host: &str, config: &Arc<ClientConfig>) -> Result<Self, Failure> {
        let name =
            ServerName::try_from(host.to_owned()).map_err(|e| Failure::Options(format!("--uri: {host}: {e}")))?;
        let tls = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        Ok(Self::Tls(Box::new(Stream::new(stream, tls.into()))))
    }

    /// What can be waited for.
    pub fn raw(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.raw(),
        }
    }

    /// Something that was written is not out yet.
    pub fn wants_write(&self) -> bool {
        matches!(self, Self::Tls(stream) if stream.wants_write())
    }

    /// Goes on with writing that.
    pub fn drain(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(stream) => stream.drain().map(drop),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let stream = match self {
            Self::Plain(stream) => return stream.read(into),
            Self::Tls(stream) => stream,
        };
        // What comes need not be anything for us. Pumps have sockets that do not block, and set no time for it.
        let Some(patience) = stream.raw().read_timeout()? else { return stream.try_read(into) };
        let start = Instant::now();
        loop {
            match stream.try_read(into) {
                Err(e) if e.kind() == ErrorKind::WouldBlock && start.elapsed() < patience => {}
                result => return result,
            }
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.try_write(&[IoSlice::new(bytes)]),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
