//! The configuration: a `rabbit.conf` in RabbitMQ's format becomes one typed [`Config`].
//!
//! [`parse`] cuts the text into settings with their lines; [`keys`] is the table of all keys, each with its help, its
//! default and the function that reads its value (with [`value`]) into a [`draft::Draft`]; and the draft, once all
//! settings are in, becomes the `Config`. All errors of a file are collected and reported at once, each with its line,
//! key and what was expected. Only [`Config::load`] reads a file; the rest is pure.
//!
//! `rabbit.conf.example` is [`example`]'s output, kept equal by a test.

mod draft;
pub mod effective;
mod error;
mod example;
pub(crate) mod keys;
mod logging;
mod logins;
mod network;
mod parse;
mod rabbitmq;
mod sources;
#[cfg(test)]
mod tests;
mod tls;
mod value;
mod web;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use draft::Draft;
pub use effective::{Changes, Effective};
pub use error::{ConfigError, ConfigErrors, Origin, Problem};
pub use example::example;
pub use logging::{
    Log, LogExchange, LogFormat, LogLevel, Rotation, RotationTime, Syslog, SyslogProtocol, SyslogTransport,
};
pub use logins::{Auth, AuthBackend, AuthCache, AuthHttp, Backend, CertLogin, CertName, HttpMethod, OAuth2, SanType};
pub use network::{ListenAddress, Listener, Tcp};
pub use parse::Setting;
pub use sources::Sources;
pub use tls::{Secret, Tls, TlsOptions, TlsVersion};
pub use value::memory;
pub use web::{HttpTls, Management, Prometheus, RatesMode};

/// Everything that an operator can set.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub tcp: Tcp,
    pub tls: Tls,
    pub auth: Auth,
    pub management: Management,
    pub prometheus: Prometheus,
    pub definitions: Definitions,
    pub statistics: Statistics,
    pub defaults: Defaults,
    pub limits: Limits,
    pub memory: Memory,
    pub storage: Storage,
    pub log: Log,
    pub identity: Identity,
    pub events: Events,
    /// Where messages and metadata are kept.
    pub data_dir: PathBuf,
    /// What was accepted but has no effect, to be logged at the start.
    pub warnings: Vec<String>,
    /// What was set, each key once.
    pub settings: Vec<Setting>,
    /// Where it was read from, to read it again.
    pub sources: Sources,
}

/// Definitions that are loaded at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definitions {
    /// Files, and directories whose `.json` files are loaded in the order of their names. With one of them there is no default
    /// user.
    pub load: Vec<PathBuf>,
    /// Nothing is loaded when the files are what they were.
    pub skip_if_unchanged: bool,
    /// None: an operator's import is refused, and at the start the object stays as it is.
    pub on_conflict: Option<OnConflict>,
    /// Bytes.
    pub max_size: u64,
}

/// What becomes of definitions of which some are there already, and cannot be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnConflict {
    /// Nothing is imported.
    Refuse,
    /// They stay as they are.
    Skip,
}

impl Default for Definitions {
    fn default() -> Self {
        Self { load: Vec::new(), skip_if_unchanged: false, on_conflict: None, max_size: 128 << 20 }
    }
}

/// What is measured, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// `collect_statistics_interval`.
    pub interval: Duration,
}

impl Default for Statistics {
    fn default() -> Self {
        Self { interval: Duration::from_secs(5) }
    }
}

/// What is made at the first start, and with each new vhost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    pub vhost: String,
    pub user: String,
    pub pass: Secret,
    pub user_tags: Vec<String>,
    /// Regular expressions, of the default user in the default vhost.
    pub configure: String,
    pub read: String,
    pub write: String,
    /// Users that are made with each vhost that they match, by name.
    pub users: Vec<DefaultUser>,
    /// The type of queues that name none.
    pub queue_type: QueueType,
    /// Limits of new vhosts, by id.
    pub vhost_limits: Vec<VhostLimits>,
    /// Operator policies that are made with each vhost that they match, by id.
    pub operator_policies: Vec<DefaultPolicy>,
}

/// One `default_policies.operator.$id`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DefaultPolicy {
    pub id: String,
    /// The vhosts that get it, a regular expression; none means all.
    pub vhost_pattern: Option<String>,
    /// The queues that it applies to, a regular expression; none means all.
    pub queue_pattern: Option<String>,
    /// The policy's keys and their values.
    pub definition: BTreeMap<&'static str, serde_json::Value>,
}

impl DefaultPolicy {
    pub fn set(&mut self, key: &'static str, value: impl Into<serde_json::Value>) {
        self.definition.insert(key, value.into());
    }

    /// What it sets, as JSON.
    pub fn definition_text(&self) -> String {
        serde_json::json!(self.definition).to_string()
    }
}

/// One `default_users.$name`. What is none was not given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DefaultUser {
    pub name: String,
    pub password: Option<Secret>,
    pub tags: Vec<String>,
    pub configure: Option<String>,
    pub write: Option<String>,
    pub read: Option<String>,
    /// The vhosts that it gets permissions in, a regular expression.
    pub vhost_pattern: Option<String>,
}

/// One `default_limits.vhosts.$id`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VhostLimits {
    pub id: String,
    /// The vhosts that get these limits, a regular expression; none means all.
    pub pattern: Option<String>,
    pub max_connections: Option<u64>,
    pub max_queues: Option<u64>,
}

/// The kinds of queue that a client can ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueType {
    #[default]
    Classic,
    Quorum,
    Stream,
}

impl QueueType {
    /// The value of `x-queue-type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
            Self::Stream => "stream",
        }
    }
}

/// Bounds of connections, channels and messages. None is no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Proposed to clients, in seconds; 0 proposes none.
    pub heartbeat: u16,
    /// Largest frame, in bytes; at least 4096.
    pub frame_max: u32,
    /// Most channels of a connection; 0 is no limit.
    pub channel_max: u16,
    pub connection_max: Option<u64>,
    pub vhost_max: Option<u64>,
    /// Largest message body, in bytes; at most 512 MiB.
    pub max_message_size: u64,
    pub consumer_max_per_channel: Option<u64>,
    pub channel_max_per_node: Option<u64>,
    /// `cluster_queue_limit`.
    pub queue_max: Option<u64>,
    /// `cluster_exchange_limit`.
    pub exchange_max: Option<u64>,
    /// Longest time that a delivery may stay without acknowledgement.
    pub consumer_timeout: Option<Duration>,
    /// A quorum queue may be declared again as a classic one.
    pub relaxed_redeclaration: bool,
    /// What RabbitMQ's quorum queues cannot do is refused, although ours could.
    pub refuse_unsupported: bool,
    /// The header `x-death` that a client publishes is counted on.
    pub count_client_deaths: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Memory {
    /// From where on publishers are blocked.
    pub watermark: Watermark,
    /// Bytes that count as the machine's memory; none asks the system.
    pub total_override: Option<u64>,
    /// Share of the watermark at which backlogs leave memory; from 1 on they do not because of it.
    pub paging_ratio: f64,
}

/// How messages are kept on disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Storage {
    /// When a commit counts as done.
    pub sync: Sync,
    /// Time between two syncs, where a commit does not wait for its own.
    pub sync_interval: Duration,
    /// Bytes of free disk below which publishers are blocked.
    pub disk_free_limit: DiskFreeLimit,
    /// Bytes of a journal file.
    pub journal_file_size: u64,
    /// Full journal files that are left alone.
    pub journal_keep: usize,
    /// Bytes of a segment.
    pub segment_size: u64,
}

/// When a message that has to survive is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// After `fdatasync`.
    Fsync,
    /// After the write; the disk is synced from time to time.
    Interval,
    /// After the write; the system decides when the disk is written.
    Os,
}

/// How much of a disk must stay free.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DiskFreeLimit {
    /// Bytes.
    Absolute(u64),
    /// Share of the machine's memory.
    Relative(f64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Watermark {
    /// Share of the machine's memory, 0 to 1.
    Relative(f64),
    /// Bytes.
    Absolute(u64),
}

/// What the node says about itself in server-properties. None leaves it to the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The node that the data directory must belong to.
    pub node_name: Option<String>,
    pub cluster_name: Option<String>,
    pub product_name: Option<String>,
    pub product_version: Option<String>,
}

/// The exchange `amq.rabbitmq.event`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Events {
    pub on: bool,
    /// The virtual host that has it.
    pub vhost: String,
}

impl Default for Events {
    fn default() -> Self {
        Self { on: false, vhost: "/".to_owned() }
    }
}

impl Config {
    /// Reads a file, if one is given, and then the overrides, (key, value) pairs that win over the file.
    ///
    /// # Errors
    /// All that is wrong, at once.
    pub fn load(file: Option<&Path>, overrides: &[(String, String)]) -> Result<Self, ConfigErrors> {
        let mut sources = Sources { files: file.map(Path::to_owned).into_iter().collect(), ..Sources::default() };
        overrides.iter().for_each(|(key, value)| sources.set(key, value));
        sources.load()
    }

    /// The same from a text; `name` stands in error messages.
    ///
    /// # Errors
    /// All that is wrong, at once.
    pub fn parse(text: &str, name: &str, overrides: &[(String, String)]) -> Result<Self, ConfigErrors> {
        let (mut settings, errors) = parse::settings(text, name);
        let over = |(key, value): &(String, String)| Setting::new(Origin::Override, key.clone(), value.clone());
        settings.extend(overrides.iter().map(over));
        Self::from_settings(settings, errors, None).outcome()
    }

    /// Reads the values of all settings; what is wrong is added to the errors that there are.
    fn from_settings(settings: Vec<Setting>, mut errors: Vec<ConfigError>, strictness: Option<Strictness>) -> Examined {
        let mut draft = Draft::default();
        let settings = last_of_each(settings);
        for setting in &settings {
            errors.extend(keys::apply(&mut draft, setting).err());
        }
        draft.doubt_idle_backends(&settings);
        errors.extend(draft.judge_old_versions(&settings));
        let strictness = strictness.unwrap_or(draft.strictness);
        for doubt in std::mem::take(&mut draft.doubts) {
            if strictness.refuses(&doubt.problem) { errors.push(doubt) } else { draft.warn(doubt.to_string()) }
        }
        let mut config = draft.finish();
        let warnings = config.warnings.clone();
        config.settings = settings;
        errors.extend(network::port_taken_twice(&config));
        Examined { config, errors, warnings }
    }
}

/// What came of reading a configuration.
#[derive(Debug)]
pub struct Examined {
    /// What is right, the rest as it is by default.
    pub config: Config,
    pub errors: Vec<ConfigError>,
    /// What was accepted but has no effect, also beside errors.
    pub warnings: Vec<String>,
}

impl Examined {
    /// The configuration, if nothing is wrong.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn outcome(self) -> Result<Config, ConfigErrors> {
        if self.errors.is_empty() { Ok(self.config) } else { Err(ConfigErrors(self.errors)) }
    }
}

/// Whether keys that mean nothing are errors or warnings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// All are warnings.
    None,
    /// Keys that nobody knows are errors, keys of RabbitMQ that have no effect here are warnings.
    #[default]
    Unknown,
    /// All are errors.
    All,
}

impl Strictness {
    fn refuses(self, problem: &Problem) -> bool {
        match self {
            Self::None => false,
            Self::Unknown => matches!(problem, Problem::UnknownKey { .. }),
            Self::All => true,
        }
    }
}

/// Of a key that is set several times, the last one counts.
fn last_of_each(settings: Vec<Setting>) -> Vec<Setting> {
    let mut seen = std::collections::HashSet::new();
    let mut kept: Vec<_> = settings.into_iter().rev().filter(|setting| seen.insert(setting.key.clone())).collect();
    kept.reverse();
    kept
}

impl Default for Config {
    fn default() -> Self {
        Self {
            tcp: Tcp::default(),
            tls: Tls::default(),
            auth: Auth::default(),
            management: Management::default(),
            prometheus: Prometheus::default(),
            definitions: Definitions::default(),
            statistics: Statistics::default(),
            defaults: Defaults::default(),
            limits: Limits::default(),
            memory: Memory { watermark: Watermark::Relative(0.4), total_override: None, paging_ratio: 0.5 },
            storage: Storage::default(),
            log: Log::default(),
            identity: Identity::default(),
            events: Events::default(),
            data_dir: PathBuf::from("data"),
            warnings: Vec::new(),
            settings: Vec::new(),
            sources: Sources::default(),
        }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            sync: Sync::Fsync,
            sync_interval: Duration::from_millis(200),
            disk_free_limit: DiskFreeLimit::Absolute(50_000_000),
            journal_file_size: 16 << 20,
            journal_keep: 2,
            segment_size: 16 << 20,
        }
    }
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            vhost: "/".to_owned(),
            user: "guest".to_owned(),
            pass: Secret::new("guest"),
            user_tags: vec!["administrator".to_owned()],
            configure: ".*".to_owned(),
            read: ".*".to_owned(),
            write: ".*".to_owned(),
            users: Vec::new(),
            queue_type: QueueType::Classic,
            vhost_limits: Vec::new(),
            operator_policies: Vec::new(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            heartbeat: 60,
            frame_max: 131_072,
            channel_max: 2047,
            connection_max: None,
            vhost_max: None,
            max_message_size: 16 << 20,
            consumer_max_per_channel: None,
            channel_max_per_node: None,
            queue_max: None,
            exchange_max: None,
            consumer_timeout: Some(Duration::from_millis(1_800_000)),
            relaxed_redeclaration: false,
            refuse_unsupported: true,
            count_client_deaths: true,
        }
    }
}
