//! A configuration while its settings come in: what needs several settings, or knows only at the end whether a default
//! stands, is gathered here.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::error::{ConfigError, Problem};
use super::keys::tls;
use super::parse::Setting;
use super::rabbitmq;
use super::{
    AuthBackend, Backend, Config, DefaultPolicy, DefaultUser, ListenAddress, Listener, Strictness, VhostLimits,
    Watermark,
};

/// Settings gathered so far. The `Option`s tell "not set" from "set to nothing".
#[derive(Debug, Default)]
pub struct Draft {
    pub config: Config,
    pub listeners: Option<Vec<Listener>>,
    /// `listeners.tcp = none`.
    pub no_listeners: bool,
    pub loopback_users: Option<Vec<String>>,
    /// `loopback_users = none`.
    pub no_loopback_users: bool,
    pub user_tags: Option<Vec<String>>,
    /// By the number or word after `auth_mechanisms.`.
    pub mechanisms: BTreeMap<(u64, String), String>,
    /// Likewise.
    pub backends: BTreeMap<(u64, String), BackendDraft>,
    /// `auth_cache.cached_backend`.
    pub behind_cache: BackendDraft,
    /// By the number after `auth_oauth2.scope_aliases.`: the alias, and what it stands for.
    pub numbered_aliases: BTreeMap<(u64, String), (String, Vec<String>)>,
    /// By the number or word after `auth_oauth2.preferred_username_claims.`.
    pub username_claims: BTreeMap<(u64, String), String>,
    /// Likewise.
    pub algorithms: BTreeMap<(u64, String), String>,
    /// Likewise.
    pub cors_origins: BTreeMap<(u64, String), String>,
    pub tls_listeners: Vec<Listener>,
    /// `listeners.ssl = none`.
    pub no_tls_listeners: bool,
    pub management: Endpoint,
    pub management_tls: Endpoint,
    pub prometheus: Endpoint,
    pub prometheus_tls: Endpoint,
    /// Settings that may be errors or warnings.
    pub doubts: Vec<ConfigError>,
    pub strictness: Strictness,
    pub linger_on: bool,
    /// Seconds.
    pub linger_timeout: u64,
    pub relative_watermark: Option<f64>,
    pub absolute_watermark: Option<u64>,
    pub users: BTreeMap<String, DefaultUser>,
    pub vhost_limits: BTreeMap<String, VhostLimits>,
    pub operator_policies: BTreeMap<String, DefaultPolicy>,
}

/// Whom a setting names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    Backend(Backend),
    /// The one of `auth_cache.cached_backend`.
    Cache,
}

/// One `auth_backends.$n`, or `auth_cache.cached_backend`.
#[derive(Debug, Default)]
pub struct BackendDraft {
    pub both: Option<Named>,
    pub authn: Option<Named>,
    pub authz: Option<Named>,
}

impl BackendDraft {
    /// Where only one of the two is named, it does both.
    fn finish(&self, behind_cache: &Self) -> AuthBackend {
        let authn = self.authn.or(self.both).or(self.authz).unwrap_or(Named::Backend(Backend::Internal));
        let authz = self.authz.or(self.both).unwrap_or(authn);
        let resolved = |named, behind: fn(&Self) -> Option<Named>| match named {
            Named::Backend(backend) => backend,
            Named::Cache => match behind(behind_cache).or(behind_cache.both) {
                Some(Named::Backend(backend)) => backend,
                Some(Named::Cache) | None => Backend::Internal,
            },
        };
        let cached = authn == Named::Cache || authz == Named::Cache;
        AuthBackend { authn: resolved(authn, |b| b.authn), authz: resolved(authz, |b| b.authz), cached }
    }
}

/// Port and address of an HTTP listener, which come as two keys.
#[derive(Debug, Default)]
pub struct Endpoint {
    pub off: bool,
    pub port: Option<u16>,
    pub ip: Option<IpAddr>,
}

impl Endpoint {
    /// The port that it has without being named: none where only one with TLS is, as with RabbitMQ.
    fn usual(&self, port: u16, tls: &Self) -> Option<u16> {
        (tls.port.is_none() || self.ip.is_some()).then_some(port)
    }

    /// None when it is switched off, or when there is no port.
    fn address(&self, default_port: Option<u16>) -> Option<ListenAddress> {
        let port = self.port.or(default_port).filter(|_| !self.off)?;
        Some(match self.ip {
            Some(ip) => ListenAddress::Socket(SocketAddr::new(ip, port)),
            None => ListenAddress::AnyInterface(port),
        })
    }
}

impl Draft {
    pub fn warn(&mut self, warning: String) {
        self.config.warnings.push(warning);
    }

    pub fn user(&mut self, name: &str) -> &mut DefaultUser {
        self.users
            .entry(name.to_owned())
            .or_insert_with(|| DefaultUser { name: name.to_owned(), ..DefaultUser::default() })
    }

    pub fn limits_of_vhosts(&mut self, id: &str) -> &mut VhostLimits {
        self.vhost_limits
            .entry(id.to_owned())
            .or_insert_with(|| VhostLimits { id: id.to_owned(), ..VhostLimits::default() })
    }

    pub fn operator_policy(&mut self, id: &str) -> &mut DefaultPolicy {
        self.operator_policies
            .entry(id.to_owned())
            .or_insert_with(|| DefaultPolicy { id: id.to_owned(), ..DefaultPolicy::default() })
    }

    /// Puts what was gathered into the configuration.
    pub fn finish(mut self) -> Config {
        self.finish_listeners();
        self.finish_web();
        self.finish_logins();
        self.finish_watermark();
        self.finish_operator_policies();
        if self.linger_on {
            self.config.tcp.linger = Some(Duration::from_secs(self.linger_timeout));
        }
        self.config.defaults.users = self.users.into_values().collect();
        self.config.defaults.vhost_limits = self.vhost_limits.into_values().collect();
        self.config
    }

    /// One that sets nothing is none.
    fn finish_operator_policies(&mut self) {
        for policy in std::mem::take(&mut self.operator_policies).into_values() {
            if policy.definition.is_empty() {
                self.warn(format!("default_policies.operator.{} sets nothing and is left out", policy.id));
            } else {
                self.config.defaults.operator_policies.push(policy);
            }
        }
    }

    /// Listeners that are named replace the default one.
    fn finish_listeners(&mut self) {
        if self.no_listeners {
            self.config.tcp.listeners.clear();
        } else if let Some(listeners) = self.listeners.take() {
            self.config.tcp.listeners = listeners;
        }
        if !self.no_tls_listeners {
            self.config.tls.listeners = std::mem::take(&mut self.tls_listeners);
        }
    }

    fn finish_web(&mut self) {
        self.config.management.listener = self.management.address(self.management.usual(15672, &self.management_tls));
        self.config.management.ssl.listener = self.management_tls.address(None);
        self.config.management.cors_origins = std::mem::take(&mut self.cors_origins).into_values().collect();
        self.config.prometheus.listener = self.prometheus.address(self.prometheus.usual(15692, &self.prometheus_tls));
        self.config.prometheus.ssl.listener = self.prometheus_tls.address(None);
    }

    fn finish_logins(&mut self) {
        if self.no_loopback_users {
            self.config.auth.loopback_users.clear();
        } else if let Some(users) = self.loopback_users.take() {
            self.config.auth.loopback_users = users;
        }
        if let Some(tags) = self.user_tags.take() {
            self.config.defaults.user_tags = tags;
        }
        let mechanisms: Vec<_> = std::mem::take(&mut self.mechanisms).into_values().collect();
        if !mechanisms.is_empty() {
            self.config.auth.mechanisms = mechanisms;
        }
        if !self.backends.is_empty() {
            self.config.auth.backends =
                self.backends.values().map(|backend| backend.finish(&self.behind_cache)).collect();
        }
        self.config.auth.oauth2.preferred_username_claims =
            std::mem::take(&mut self.username_claims).into_values().collect();
        for (alias, scopes) in std::mem::take(&mut self.numbered_aliases).into_values() {
            self.config.auth.oauth2.scope_aliases.insert(alias, scopes);
        }
        self.config.auth.oauth2.algorithms = std::mem::take(&mut self.algorithms).into_values().collect();
    }

    /// Settings of a backend that nobody asks are reported.
    pub fn doubt_idle_backends(&mut self, settings: &[Setting]) {
        let asked: Vec<_> = self.backends.values().map(|backend| backend.finish(&self.behind_cache)).collect();
        let asks = |backend| asked.iter().any(|asked| asked.authn == backend || asked.authz == backend);
        let (http, oauth2) = (asks(Backend::Http), asks(Backend::OAuth2));
        let cache = http || asked.iter().any(|asked| asked.cached);
        let families =
            [("auth_http.", http, "http"), ("auth_oauth2.", oauth2, "oauth2"), ("auth_cache.", cache, "http")];
        for setting in settings {
            let idle = families.iter().find(|(prefix, asked, _)| !asked && setting.key.starts_with(prefix));
            let Some((_, _, backend)) = idle.filter(|_| !rabbitmq::knows(&setting.key)) else { continue };
            let problem = Problem::IdleBackend { key: setting.key.clone(), backend };
            self.doubts.push(ConfigError { origin: setting.origin.clone(), problem });
        }
    }

    /// Versions of TLS that are too old are let pass beside newer ones, and reported; alone they are refused.
    pub fn judge_old_versions(&mut self, settings: &[Setting]) -> Vec<ConfigError> {
        let mut refused = Vec::new();
        for setting in settings.iter().filter(|setting| tls::is_old_version(&setting.value)) {
            let Some((prefix, _)) = setting.key.split_once(".versions.") else { continue };
            let Some(options) = self.config.listening_with(prefix) else { continue };
            let (key, value, origin) = (setting.key.clone(), setting.value.clone(), setting.origin.clone());
            if options.versions.is_empty() {
                refused.push(ConfigError { origin, problem: Problem::OldVersions { key, value } });
            } else {
                self.doubts.push(ConfigError { origin, problem: Problem::OldVersion { key, value } });
            }
        }
        refused
    }

    fn finish_watermark(&mut self) {
        match (self.absolute_watermark, self.relative_watermark) {
            (Some(bytes), relative) => {
                if relative.is_some() {
                    self.warn("vm_memory_high_watermark.relative has no effect beside .absolute".to_owned());
                }
                self.config.memory.watermark = Watermark::Absolute(bytes);
            }
            (None, Some(share)) => self.config.memory.watermark = Watermark::Relative(share),
            (None, None) => {}
        }
    }
}
