//! What is logged, where to, and in what form.

use std::path::PathBuf;

/// What is logged, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    pub console: bool,
    /// To the standard error instead of the standard output.
    pub console_stderr: bool,
    /// Nothing below this is written, whatever its category; none writes all that the categories let through.
    pub console_level: Option<LogLevel>,
    pub console_format: LogFormat,
    /// A name in `dir`, or a path; none writes no file.
    pub file: Option<PathBuf>,
    /// Where log files are whose names are no paths.
    pub dir: PathBuf,
    pub file_level: Option<LogLevel>,
    pub file_format: LogFormat,
    pub rotation: Rotation,
    pub syslog: Syslog,
    pub exchange: LogExchange,
    /// Changes of metadata and logins, each a line of JSON: a name in `dir`, or a path; none writes none.
    pub audit: Option<PathBuf>,
    /// Of categories without a level of their own.
    pub default_level: LogLevel,
    pub connection_level: Option<LogLevel>,
    pub channel_level: Option<LogLevel>,
    pub queue_level: Option<LogLevel>,
}

/// When a new log file is begun.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes; 0 is no limit.
    pub size: u64,
    pub time: Option<RotationTime>,
    /// Old files that are kept; the oldest are removed.
    pub count: u32,
}

/// A time that comes again and again, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotationTime {
    /// At this minute of each hour.
    Hourly { minute: u8 },
    /// At this hour of each day.
    Daily { hour: u8 },
    /// On this day, 0 being Sunday.
    Weekly { day: u8, hour: u8 },
    /// On this day, from 1; a month that has fewer days begins on its last.
    Monthly { day: u8, hour: u8 },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    #[default]
    Plain,
    Json,
}

/// Lines sent to a syslog server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syslog {
    pub on: bool,
    pub level: Option<LogLevel>,
    pub format: LogFormat,
    /// A name or an address.
    pub host: String,
    pub port: u16,
    pub transport: SyslogTransport,
    pub protocol: SyslogProtocol,
    /// What lines say that they come from.
    pub identity: String,
    /// Its number in the protocol.
    pub facility: u8,
}

/// Lines published to the exchange `amq.rabbitmq.log` of the default virtual host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogExchange {
    pub on: bool,
    pub level: Option<LogLevel>,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyslogTransport {
    #[default]
    Udp,
    Tcp,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyslogProtocol {
    #[default]
    Rfc3164,
    Rfc5424,
}

/// RabbitMQ's levels, the least important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Debug,
    Info,
    Notice,
    Warning,
    Error,
    Critical,
    Alert,
    Emergency,
    /// Nothing at all.
    None,
}

impl LogLevel {
    /// All levels, by RabbitMQ's names.
    pub const NAMES: [(&'static str, Self); 9] = [
        ("debug", Self::Debug),
        ("info", Self::Info),
        ("notice", Self::Notice),
        ("warning", Self::Warning),
        ("error", Self::Error),
        ("critical", Self::Critical),
        ("alert", Self::Alert),
        ("emergency", Self::Emergency),
        ("none", Self::None),
    ];

    /// RabbitMQ's name.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, level)| *level == self).map_or("none", |(name, _)| name)
    }

    /// The level of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, level)| *level)
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            console: true,
            console_stderr: false,
            console_level: None,
            console_format: LogFormat::Plain,
            file: None,
            dir: PathBuf::from("log"),
            file_level: None,
            file_format: LogFormat::Plain,
            rotation: Rotation { size: 0, time: None, count: 10 },
            syslog: Syslog::default(),
            exchange: LogExchange::default(),
            audit: None,
            default_level: LogLevel::Info,
            connection_level: None,
            channel_level: None,
            queue_level: None,
        }
    }
}

impl Default for Syslog {
    fn default() -> Self {
        Self {
            on: false,
            level: None,
            format: LogFormat::Plain,
            host: "localhost".to_owned(),
            port: 514,
            transport: SyslogTransport::Udp,
            protocol: SyslogProtocol::Rfc3164,
            identity: "leveret".to_owned(),
            facility: 3,
        }
    }
}
