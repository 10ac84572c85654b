//! Listeners and sockets of AMQP.

use std::net::SocketAddr;
use std::time::Duration;

use super::Config;
use super::error::{ConfigError, Origin, Problem};

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

impl ListenAddress {
    pub fn port(self) -> u16 {
        match self {
            Self::AnyInterface(port) => port,
            Self::Socket(address) => address.port(),
        }
    }

    /// Whether only one of the two can be listened on.
    fn excludes(self, other: Self) -> bool {
        let is_same_place = match (self, other) {
            (Self::AnyInterface(_), _) | (_, Self::AnyInterface(_)) => true,
            (Self::Socket(one), Self::Socket(other)) => {
                let takes_all = |address: SocketAddr| address.ip().is_unspecified();
                let is_same_family = one.is_ipv4() == other.is_ipv4();
                one.ip() == other.ip()
                    || [one, other].into_iter().any(|a| takes_all(a) && (a.is_ipv6() || is_same_family))
            }
        };
        self.port() != 0 && self.port() == other.port() && is_same_place
    }
}

/// Every listener with the key that says where it is.
fn listeners(config: &Config) -> Vec<(String, ListenAddress)> {
    let named = |beginning: &'static str, listeners: &[Listener]| {
        let of = |listener: &Listener| (format!("{beginning}.{}", listener.name), listener.address);
        listeners.iter().map(of).collect::<Vec<_>>()
    };
    let web = [
        ("management.tcp.port", config.management.listener),
        ("management.ssl.port", config.management.ssl.listener),
        ("prometheus.tcp.port", config.prometheus.listener),
        ("prometheus.ssl.port", config.prometheus.ssl.listener),
    ];
    let web = web.into_iter().filter_map(|(key, address)| Some((key.to_owned(), address?)));
    let mut all = named("listeners.tcp", &config.tcp.listeners);
    all.extend(named("listeners.ssl", &config.tls.listeners));
    all.extend(web);
    all
}

/// Listeners that want the place of another one.
pub fn port_taken_twice(config: &Config) -> Vec<ConfigError> {
    let mut taken: Vec<(String, ListenAddress)> = Vec::new();
    let mut errors = Vec::new();
    for (key, address) in listeners(config) {
        if let Some((other, _)) = taken.iter().find(|(_, other)| address.excludes(*other)) {
            // The one that somebody has written is at fault; the other may be there by default.
            let origin_of = |key: &str| config.settings.iter().find(|s| s.key == key).map(|s| s.origin.clone());
            let (key, other, origin) = match (origin_of(&key), origin_of(other)) {
                (Some(origin), _) => (key.clone(), other.clone(), origin),
                (None, Some(origin)) => (other.clone(), key.clone(), origin),
                (None, None) => (key.clone(), other.clone(), Origin::Default),
            };
            errors.push(ConfigError { origin, problem: Problem::PortTaken { key, port: address.port(), other } });
        }
        taken.push((key, address));
    }
    errors
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
