//! The HTTP API and the metrics.

use std::time::Duration;

use super::{ListenAddress, TlsOptions};

/// The HTTP API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Management {
    /// None when it is switched off with `management.tcp = none`; the local socket is served all the same.
    pub listener: Option<ListenAddress>,
    pub ssl: HttpTls,
    /// Before `/api`; empty, or with a slash before it and none behind.
    pub path_prefix: String,
    /// Objects are shown without figures.
    pub disable_stats: bool,
    /// The same, and how they were is not kept.
    pub disable_collector: bool,
    pub rates_mode: RatesMode,
    /// Origins whose pages may call it from a browser; `*` is every origin.
    pub cors_origins: Vec<String>,
    /// How long a browser may remember the answer to that question.
    pub cors_max_age: Option<Duration>,
    /// Largest body of a request, in bytes.
    pub max_body: usize,
    /// Users without a token are refused.
    pub disable_basic_auth: bool,
    /// Headers that every answer carries, name and value.
    pub headers: Vec<(&'static str, String)>,
}

/// An HTTP listener with TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpTls {
    /// None when there is none.
    pub listener: Option<ListenAddress>,
    pub tls: TlsOptions,
}

/// Of what rates are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RatesMode {
    None,
    #[default]
    Basic,
    Detailed,
}

/// Metrics in Prometheus's format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prometheus {
    /// None when they are switched off with `prometheus.tcp = none`.
    pub listener: Option<ListenAddress>,
    pub ssl: HttpTls,
    /// Where they are, without the `/` at the end.
    pub path: String,
    /// `/metrics` has a line for each queue, connection and channel.
    pub return_per_object_metrics: bool,
}

impl Default for Management {
    fn default() -> Self {
        Self {
            listener: Some(ListenAddress::AnyInterface(15672)),
            ssl: HttpTls::default(),
            path_prefix: String::new(),
            disable_stats: false,
            disable_collector: false,
            rates_mode: RatesMode::Basic,
            cors_origins: Vec::new(),
            cors_max_age: Some(Duration::from_secs(1800)),
            max_body: 20_000_000,
            disable_basic_auth: false,
            headers: Vec::new(),
        }
    }
}

impl Default for Prometheus {
    fn default() -> Self {
        Self {
            listener: Some(ListenAddress::AnyInterface(15692)),
            ssl: HttpTls::default(),
            path: "/metrics".to_owned(),
            return_per_object_metrics: false,
        }
    }
}
