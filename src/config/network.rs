//! Listeners and sockets of AMQP.

use std::net::SocketAddr;
use std::time::Duration;

/// Listeners and the options of their sockets.
#[derive(Clone, Debug, PartialEq)]
pub struct Tcp {
    /// Empty when AMQP is switched off with `listeners.tcp = none`.
    pub listeners: Vec<Listener>,
    /// Connections begin with a PROXY protocol header that says where the client really is.
    pub proxy_protocol: bool,
    /// Longest time from accepting a connection to connection.open; none waits forever.
    pub handshake_timeout: Option<Duration>,
    /// Connections that may wait to be accepted.
    pub backlog: u32,
    pub nodelay: bool,
    pub keepalive: bool,
    /// Bytes; none leaves it to the system.
    pub sndbuf: Option<usize>,
    /// Bytes; none leaves it to the system.
    pub recbuf: Option<usize>,
    /// How long a closed socket tries to send what is left; none leaves it to the system.
    pub linger: Option<Duration>,
}

/// One `listeners.tcp.$name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    pub name: String,
    pub address: ListenAddress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// This port on all interfaces, IPv4 and IPv6. Port 0 takes any free one.
    AnyInterface(u16),
    Socket(SocketAddr),
}

impl Default for Tcp {
    fn default() -> Self {
        Self {
            listeners: vec![Listener { name: "default".to_owned(), address: ListenAddress::AnyInterface(5672) }],
            proxy_protocol: false,
            handshake_timeout: Some(Duration::from_millis(10_000)),
            backlog: 128,
            nodelay: true,
            keepalive: false,
            sndbuf: None,
            recbuf: None,
            linger: None,
        }
    }
}
