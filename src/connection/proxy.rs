//! The PROXY protocol, versions 1 and 2: what a load balancer says of a client before the client's own first byte.
//!
//! [`parse`] is the pure core: the bytes that are there to a [`Header`], to "more is needed", or to the reason why they are
//! none. [`read`] takes a header from a socket and not a byte more: what follows is AMQP, or a TLS handshake.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::tls::Secured;

/// How long a header may take to come.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest header of version 1, with its end.
const LONGEST_LINE: usize = 107;
/// Longest header of version 2: addresses take up to 216 bytes, and what is said of TLS a few hundred.
const LONGEST: usize = 4096;
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of version 2 before the addresses.
const FIXED: usize = 16;

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Header {
    /// The proxy connects on its own account, or does not say for whom: the socket's addresses count.
    Local,
    Proxied(Proxied),
}

/// For whom a proxy connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxied {
    pub source: SocketAddr,
    pub destination: SocketAddr,
    /// How the client's connection to the proxy is secured, if it is. It names no user: whose certificate it was is not
    /// taken from a header.
    pub secured: Option<Secured>,
}

/// Why a connection has no usable header.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error("it does not begin with a PROXY protocol header, as proxy_protocol = true expects of all clients")]
    Missing,
    #[error("its PROXY protocol header is malformed: {0}")]
    Malformed(&'static str),
    #[error("its PROXY protocol header took longer than {} seconds", PATIENCE.as_secs())]
    TooLong,
    /// Health checks connect and leave.
    #[error("it left before its PROXY protocol header was complete: {0}")]
    Gone(#[from] io::Error),
}

/// How a header goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// At least so many bytes more belong to it.
    Needs(usize),
    /// It is complete, and so long.
    Done(Header, usize),
}

/// Reads a header from a connection that has just been accepted.
///
/// # Errors
/// Why there is none.
pub async fn read(stream: &mut TcpStream) -> Result<Header, ProxyError> {
    match tokio::time::timeout(PATIENCE, read_header(stream)).await {
        Ok(read) => read,
        Err(_) => Err(ProxyError::TooLong),
    }
}

async fn read_header(stream: &mut TcpStream) -> Result<Header, ProxyError> {
    let mut bytes = Vec::new();
    loop {
        match parse(&bytes)? {
            Parsed::Done(header, _) => return Ok(header),
            Parsed::Needs(more) => {
                let wanted = bytes.len() + more;
                // Never more than the header has, and checked as it comes: who speaks first is told apart at once.
                let mut rest = (&mut *stream).take(more as u64);
                bytes.reserve_exact(wanted - bytes.len());
                if rest.read_buf(&mut bytes).await? == 0 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
            }
        }
    }
}

/// Looks for a header at the beginning of these bytes.
///
/// # Errors
/// When they do not begin with one, or with one that makes no sense.
pub fn parse(bytes: &[u8]) -> Result<Parsed, ProxyError> {
    if bytes.is_empty() {
        // What the second byte may be depends on the first.
        return Ok(Parsed::Needs(1));
    }
    let begins = |with: &[u8]| bytes.iter().zip(with).all(|(a, b)| a == b);
    if begins(SIGNATURE) {
        binary(bytes)
    } else if begins(b"PROXY ") {
        line(bytes)
    } else {
        Err(ProxyError::Missing)
    }
}

/// Version 1: a line of text.
fn line(bytes: &[u8]) -> Result<Parsed, ProxyError> {
    const SHORTEST: usize = "PROXY UNKNOWN\r\n".len();
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        return match bytes.len() {
            LONGEST_LINE.. => Err(ProxyError::Malformed("its line has no end")),
            length if length < SHORTEST => Ok(Parsed::Needs(SHORTEST - length)),
            _ => Ok(Parsed::Needs(1)),
        };
    };
    let text = bytes.get(..end).and_then(|line| line.strip_suffix(b"\r")).and_then(|line| str::from_utf8(line).ok());
    let text = text.ok_or(ProxyError::Malformed("its line is no line of text"))?;
    let mut words = text.split(' ').skip(1);
    let mut next = || words.next().ok_or(ProxyError::Malformed("a part of its line is missing"));
    let header = match next()? {
        "UNKNOWN" => Header::Local,
        family @ ("TCP4" | "TCP6") => {
            let (source, destination) = (address(family, next()?)?, address(family, next()?)?);
            let (from, to) = (port(next()?)?, port(next()?)?);
            if words.next().is_some() {
                return Err(ProxyError::Malformed("its line has too many parts"));
            }
            let (source, destination) = (SocketAddr::new(source, from), SocketAddr::new(destination, to));
            Header::Proxied(Proxied { source, destination, secured: None })
        }
        _ => return Err(ProxyError::Malformed("its protocol is neither TCP4 nor TCP6 nor UNKNOWN")),
    };
    Ok(Parsed::Done(header, end + 1))
}

fn address(family: &str, text: &str) -> Result<IpAddr, ProxyError> {
    let address = match family {
        "TCP4" => text.parse().map(IpAddr::V4),
        _ => text.parse().map(IpAddr::V6),
    };
    address.map_err(|_| ProxyError::Malformed("it has an address that is none"))
}

fn port(text: &str) -> Result<u16, ProxyError> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain).ok_or(ProxyError::Malformed("it has a port that is none"))
}

/// Version 2: fixed fields, addresses, and then fields that have a type and a length.
fn binary(bytes: &[u8]) -> Result<Parsed, ProxyError> {
    let Some(&[command, family, high, low]) = bytes.get(SIGNATURE.len()..FIXED) else {
        return Ok(Parsed::Needs(FIXED - bytes.len()));
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST {
        return Err(ProxyError::Malformed("it is longer than 4096 bytes"));
    }
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(ProxyError::Malformed("its version or command is unknown")),
    };
    let Some(rest) = bytes.get(FIXED..FIXED + length) else {
        return Ok(Parsed::Needs(FIXED + length - bytes.len()));
    };
    let addresses = if is_local { None } else { addresses(family, rest)? };
    let header = match addresses {
        None => Header::Local,
        Some((source, destination, fields)) => {
            Header::Proxied(Proxied { source, destination, secured: secured(fields) })
        }
    };
    Ok(Parsed::Done(header, FIXED + length))
}

/// Source, destination, and what comes after them.
type Addressed<'a> = (SocketAddr, SocketAddr, &'a [u8]);

/// The addresses. None where they are of no network.
fn addresses(family: u8, bytes: &[u8]) -> Result<Option<Addressed<'_>>, ProxyError> {
    let short = ProxyError::Malformed("it is too short for its addresses");
    let mut fields = Fields(bytes);
    match family >> 4 {
        1 => {
            let both = (fields.array::<4>(), fields.array::<4>());
            let (Some(source), Some(destination)) = both else { return Err(short) };
            let (source, destination) = (Ipv4Addr::from(source).into(), Ipv4Addr::from(destination).into());
            fields.ports(source, destination).map(Some).ok_or(short)
        }
        2 => {
            let both = (fields.array::<16>(), fields.array::<16>());
            let (Some(source), Some(destination)) = both else { return Err(short) };
            let (source, destination) = (Ipv6Addr::from(source).into(), Ipv6Addr::from(destination).into());
            fields.ports(source, destination).map(Some).ok_or(short)
        }
        // Unix sockets, or unspecified.
        _ => Ok(None),
    }
}

/// What a proxy says of the client's TLS, if anything.
fn secured(bytes: &[u8]) -> Option<Secured> {
    const SSL: u8 = 0x20;
    const VERSION: u8 = 0x21;
    const CIPHER: u8 = 0x23;
    let mut ssl = Fields(Fields(bytes).find(SSL)?);
    let [flags, ..] = ssl.array::<5>()?;
    if flags & 1 == 0 {
        return None;
    }
    let text = |kind| Fields(ssl.0).find(kind).map(|text| String::from_utf8_lossy(text).into_owned());
    let protocol = text(VERSION).unwrap_or_default().to_ascii_lowercase();
    Some(Secured { protocol, cipher: text(CIPHER).unwrap_or_default(), names: None })
}

/// What is left of a header.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn ports(mut self, source: IpAddr, destination: IpAddr) -> Option<Addressed<'a>> {
        let (from, to) = (u16::from_be_bytes(self.array()?), u16::from_be_bytes(self.array()?));
        Some((SocketAddr::new(source, from), SocketAddr::new(destination, to), self.0))
    }

    /// The value of the first field of a type.
    fn find(mut self, kind: u8) -> Option<&'a [u8]> {
        loop {
            let [found, high, low] = self.array()?;
            let (value, rest) = self.0.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
            if found == kind {
                return Some(value);
            }
            self.0 = rest;
        }
    }
}

#[cfg(test)]
mod tests;
