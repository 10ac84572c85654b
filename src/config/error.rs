//! What is wrong with a configuration, and where.

use std::fmt;

/// Where a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A line of a file, counted from 1.
    Line { file: String, line: usize },
    /// The file as a whole.
    File(String),
    /// A variable of the environment.
    Environment(String),
    /// The command line.
    Override,
    /// Nobody has set it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { file, line } => write!(f, "{file}:{line}"),
            Self::File(text) | Self::Environment(text) => f.write_str(text),
            Self::Override => f.write_str("override"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {problem}")]
pub struct ConfigError {
    pub origin: Origin,
    pub problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// `found` is the line up to its `=`: the rest may be a password.
    #[error("cannot read {found:?}; expected {expected}")]
    Syntax { found: String, expected: &'static str },
    #[error("{key}: byte {column} of the line is not UTF-8")]
    NotUtf8 { key: String, column: usize },
    #[error("{0} is a key of RabbitMQ that has no effect here")]
    NoMeaning(String),
    #[error("{0} is accepted and has no effect")]
    NoEffect(String),
    #[error("{key} has no effect: no auth_backends.$n names {backend}")]
    IdleBackend { key: String, backend: &'static str },
    #[error("unknown key {key}; the nearest known one is {nearest}")]
    UnknownKey { key: String, nearest: String },
    #[error("{key} = {value} has no effect: TLS 1.2 and 1.3 are served, and nothing older")]
    OldVersion { key: String, value: String },
    #[error(
        "{key} = {value} is not supported, and no other version is named: name tlsv1.2 or tlsv1.3, or none, which is both"
    )]
    OldVersions { key: String, value: String },
    #[error("{key}: port {port} is {other}'s already")]
    PortTaken { key: String, port: u16, other: String },
    #[error("{key} = {value}: expected {expected}")]
    Value { key: String, value: String, expected: String },
}

impl ConfigError {
    pub(super) fn unreadable(file: &str, error: &std::io::Error) -> Self {
        Self { origin: Origin::File(file.to_owned()), problem: Problem::Unreadable(error.to_string()) }
    }
}

/// All errors of a configuration, one to a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().map(ConfigError::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for ConfigErrors {}
