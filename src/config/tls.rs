//! TLS as RabbitMQ's `ssl_options` describe it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::{Config, Listener};

/// AMQP over TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Empty unless some are named.
    pub listeners: Vec<Listener>,
    pub options: TlsOptions,
    /// Longest time for the negotiation.
    pub handshake_timeout: Duration,
}

/// One side's certificate, and what it asks of the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsOptions {
    /// PEM; the certificate first, then those that sign it.
    pub certfile: Option<PathBuf>,
    pub keyfile: Option<PathBuf>,
    /// The authorities whose certificates are trusted.
    pub cacertfile: Option<PathBuf>,
    /// Of an encrypted key.
    pub password: Option<Secret>,
    /// Whether the other side's certificate is checked: `verify_peer`.
    pub verify_peer: bool,
    /// Whether a client without a certificate is refused; counts with `verify_peer` only.
    pub fail_if_no_peer_cert: bool,
    /// Most certificates between the other side's and the authority's.
    pub depth: u8,
    /// Empty is TLS 1.2 and 1.3.
    pub versions: Vec<TlsVersion>,
    /// Names of cipher suites, the preferred first; empty is the library's choice.
    pub ciphers: Vec<String>,
    /// Whether the server's order of ciphers counts.
    pub honor_cipher_order: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    V12,
    V13,
}

/// A text that no log and no message may show.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl TlsOptions {
    /// What a client does unless told otherwise: it wants to know who the server is.
    pub fn of_client() -> Self {
        Self { verify_peer: true, ..Self::default() }
    }
}

impl Config {
    /// The options of the listeners whose keys begin so.
    pub(super) fn listening_with(&self, prefix: &str) -> Option<&TlsOptions> {
        match prefix {
            "ssl_options" => Some(&self.tls.options),
            "management.ssl" => Some(&self.management.ssl.tls),
            "prometheus.ssl" => Some(&self.prometheus.ssl.tls),
            _ => None,
        }
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self { listeners: Vec::new(), options: TlsOptions::default(), handshake_timeout: Duration::from_secs(5) }
    }
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            certfile: None,
            keyfile: None,
            cacertfile: None,
            password: None,
            verify_peer: false,
            fail_if_no_peer_cert: false,
            depth: 10,
            versions: Vec::new(),
            ciphers: Vec::new(),
            honor_cipher_order: true,
        }
    }
}
