//! Lines sent to a syslog server, by UDP or TCP.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use super::entry::Entry;
use super::lookup::Lookup;
use super::time::stamp;
use crate::config::{LogFormat, LogLevel, Syslog, SyslogProtocol, SyslogTransport};

/// How long a server may take. Other sinks wait meanwhile, so it is short.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Seconds for which a server that has failed is left alone.
const REST: u64 = 30;

enum Link {
    Udp(UdpSocket, SocketAddr),
    Tcp(TcpStream),
}

/// The way to the server.
pub struct SyslogSink {
    config: Syslog,
    lookup: Lookup,
    link: Option<Link>,
    /// When it is tried again, in seconds since 1970.
    retry: u64,
}

impl SyslogSink {
    pub fn new(config: Syslog) -> Self {
        let lookup = Lookup::new(&config.host, config.port);
        Self { config, lookup, link: None, retry: 0 }
    }

    /// Sends an entry; `now` is in seconds since 1970. False when it could not.
    pub fn send(&mut self, entry: &Entry, now: u64) -> bool {
        if self.link.is_none() {
            if now < self.retry {
                return false;
            }
            self.link = self.connect().ok();
        }
        let sent = self.deliver(&frame(&self.config, entry));
        if sent.is_err() {
            (self.link, self.retry) = (None, now + REST);
        }
        sent.is_ok()
    }

    /// Connects to the first of the server's addresses that takes it.
    fn connect(&mut self) -> io::Result<Link> {
        let mut failure = io::ErrorKind::AddrNotAvailable.into();
        for address in self.lookup.find(TIMEOUT)? {
            match link(address, self.config.transport) {
                Ok(link) => return Ok(link),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn deliver(&mut self, frame: &str) -> io::Result<()> {
        match &mut self.link {
            None => Err(io::ErrorKind::NotConnected.into()),
            Some(Link::Udp(socket, address)) => socket.send_to(frame.as_bytes(), *address).map(drop),
            // The length before each frame says where it ends.
            Some(Link::Tcp(stream)) => stream.write_all(format!("{} {frame}", frame.len()).as_bytes()),
        }
    }
}

fn link(address: SocketAddr, transport: SyslogTransport) -> io::Result<Link> {
    if transport == SyslogTransport::Udp {
        let any: SocketAddr = if address.is_ipv6() { ([0; 8], 0).into() } else { ([0; 4], 0).into() };
        return Ok(Link::Udp(UdpSocket::bind(any)?, address));
    }
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(Link::Tcp(stream))
}

/// One line in the protocol's form.
fn frame(config: &Syslog, entry: &Entry) -> String {
    let severity = match entry.level {
        LogLevel::Debug => 7,
        LogLevel::Info => 6,
        LogLevel::Notice => 5,
        LogLevel::Warning => 4,
        LogLevel::Error => 3,
        LogLevel::Critical => 2,
        LogLevel::Alert => 1,
        LogLevel::Emergency | LogLevel::None => 0,
    };
    let priority = u32::from(config.facility) * 8 + severity;
    let (identity, process) = (&config.identity, std::process::id());
    let text = match config.format {
        LogFormat::Json => entry.json(),
        LogFormat::Plain => entry.plain(),
    };
    let time = stamp(entry.at);
    match config.protocol {
        SyslogProtocol::Rfc5424 => {
            format!("<{priority}>1 {} - {identity} {process} {} - {text}", time.replacen(' ', "T", 1), entry.category)
        }
        SyslogProtocol::Rfc3164 => format!("<{priority}>{} localhost {identity}[{process}]: {text}", short(&time)),
    }
}

/// `Nov 22 13:00:00` of `2026-11-22 13:00:00...`.
fn short(time: &str) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let part = |from: usize, to: usize| time.get(from..to).unwrap_or_default();
    let month = part(5, 7).parse().ok().and_then(|n: usize| MONTHS.get(n.wrapping_sub(1))).unwrap_or(&"Jan");
    let day = part(8, 10).trim_start_matches('0');
    format!("{month} {day:>2} {}", part(11, 19))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::*;

    fn entry() -> Entry {
        Entry {
            at: 1_700_000_000_000_000,
            level: LogLevel::Error,
            category: "queue".to_owned(),
            is_audit: false,
            is_apart: false,
            text: "text".to_owned(),
            fields: Vec::new(),
        }
    }

    #[test]
    fn lines_arrive_by_udp_and_tcp() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let port = server.local_addr().unwrap().port();
        let config = Syslog { on: true, host: "127.0.0.1".to_owned(), port, ..Syslog::default() };
        assert!(SyslogSink::new(config.clone()).send(&entry(), 0));
        let mut buffer = [0; 1000];
        let length = server.recv(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        assert!(text.starts_with("<27>Nov 14 22:13:20 localhost leveret["), "{text}");
        assert!(text.ends_with("[error] <queue> text"), "{text}");

        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let (transport, protocol) = (SyslogTransport::Tcp, SyslogProtocol::Rfc5424);
        let mut sink = SyslogSink::new(Syslog { port, transport, protocol, ..config });
        assert!(sink.send(&entry(), 0));
        drop(sink);
        let mut text = String::new();
        server.accept().unwrap().0.read_to_string(&mut text).unwrap();
        let (length, frame) = text.split_once(' ').unwrap();
        assert_eq!(length.parse(), Ok(frame.len()));
        assert!(frame.starts_with("<27>1 2023-11-14T22:13:20.000000+00:00 - leveret "), "{frame}");
    }

    #[test]
    fn a_server_that_is_not_there_is_left_alone_for_a_while() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config =
            Syslog { host: "127.0.0.1".to_owned(), port, transport: SyslogTransport::Tcp, ..Syslog::default() };
        let mut sink = SyslogSink::new(config);
        assert!(!sink.send(&entry(), 100));
        assert_eq!(sink.retry, 100 + REST);
        assert!(!sink.send(&entry(), 101));
    }
}
