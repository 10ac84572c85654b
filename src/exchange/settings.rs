//! What an exchange does, read from its declaration: its type, and what the type's own arguments say.

use super::ExchangeType;
use super::headers::printed;
use crate::dedup::{self, Deduplication};
use crate::frames::{Table, Value};

/// The argument by which any exchange leaves out repetitions.
const DEDUPLICATION: &str = "x-message-deduplication";
const CACHE_SIZE: &str = "x-cache-size";
const CACHE_TTL: &str = "x-cache-ttl";
/// Messages that an `x-recent-history` exchange keeps where nothing is said.
const DEFAULT_HISTORY: usize = 20;

/// The message property that decides in an exchange that hashes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashProperty {
    MessageId,
    CorrelationId,
    Timestamp,
}

impl HashProperty {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "message_id" => Some(Self::MessageId),
            "correlation_id" => Some(Self::CorrelationId),
            "timestamp" => Some(Self::Timestamp),
            _ => None,
        }
    }
}

/// What of a message an `x-consistent-hash` exchange hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HashOn {
    #[default]
    RoutingKey,
    Header(Box<[u8]>),
    Property(HashProperty),
}

/// How an exchange finds the bindings that a message matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matching {
    Direct,
    Fanout,
    Topic,
    Headers,
    ConsistentHash(HashOn),
    ModulusHash,
    Random,
    LocalRandom,
}

impl Matching {
    /// The type that does this and nothing else.
    pub fn kind(&self) -> ExchangeType {
        match self {
            Self::Direct => ExchangeType::Direct,
            Self::Fanout => ExchangeType::Fanout,
            Self::Topic => ExchangeType::Topic,
            Self::Headers => ExchangeType::Headers,
            Self::ConsistentHash(_) => ExchangeType::ConsistentHash,
            Self::ModulusHash => ExchangeType::ModulusHash,
            Self::Random => ExchangeType::Random,
            Self::LocalRandom => ExchangeType::LocalRandom,
        }
    }

    /// True when routing keys and bindings alone decide.
    fn is_by_key(&self) -> bool {
        match self {
            Self::Direct | Self::Fanout | Self::Topic | Self::ModulusHash => true,
            Self::ConsistentHash(on) => *on == HashOn::RoutingKey,
            Self::Headers | Self::Random | Self::LocalRandom => false,
        }
    }
}

/// A declared exchange's behaviour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The type as declared.
    pub kind: ExchangeType,
    /// Of the type that a delayed exchange names, where it is one.
    pub matching: Matching,
    /// How many messages are kept for those who are bound later; `None` where none are.
    pub history: Option<usize>,
    pub deduplication: Option<Deduplication>,
}

/// Why a declaration is refused. The texts are RabbitMQ's, for a channel error 406.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SettingsError {
    #[error("hash-header and hash-property are mutually exclusive")]
    HeaderAndProperty,
    #[error("Unsupported property: {0}")]
    Property(String),
    #[error("Invalid argument, 'x-delayed-type' must be an existing exchange type")]
    DelayedType,
    #[error("Invalid argument {}, 'x-recent-history-length' must be a positive integer", printed(.0))]
    HistoryLength(Value),
    #[error("Missing or invalid argument, 'x-cache-size' must be an integer greater than 0")]
    MissingCacheSize,
    #[error("Invalid argument, 'x-cache-ttl' must be an integer greater than 0")]
    CacheTtl,
    #[error("invalid type '{kind}' for arg '{key}'")]
    Type { key: &'static str, kind: &'static str },
}

impl From<Matching> for Settings {
    /// Of an exchange that does nothing else.
    fn from(matching: Matching) -> Self {
        Self { kind: matching.kind(), matching, history: None, deduplication: None }
    }
}

impl Settings {
    /// Reads a declaration.
    ///
    /// # Errors
    /// An argument that the type does not allow.
    pub fn parse(kind: ExchangeType, arguments: &Table) -> Result<Self, SettingsError> {
        let settings = match kind {
            ExchangeType::Direct => Matching::Direct.into(),
            ExchangeType::Fanout => Matching::Fanout.into(),
            ExchangeType::Topic => Matching::Topic.into(),
            ExchangeType::Headers => Matching::Headers.into(),
            ExchangeType::ConsistentHash => Matching::ConsistentHash(hash_on(arguments)?).into(),
            ExchangeType::ModulusHash => Matching::ModulusHash.into(),
            ExchangeType::Random => Matching::Random.into(),
            ExchangeType::LocalRandom => Matching::LocalRandom.into(),
            ExchangeType::Delayed => Self { kind, ..Self::parse(delayed_type(arguments)?, arguments)? },
            ExchangeType::RecentHistory => {
                Self { kind, history: Some(history_length(arguments)?), ..Matching::Fanout.into() }
            }
            ExchangeType::Deduplication => {
                let size = number(arguments, CACHE_SIZE).flatten().ok_or(SettingsError::MissingCacheSize)?;
                Self { kind, deduplication: Some(deduplication(arguments, size)?), ..Matching::Fanout.into() }
            }
        };
        settings.or_deduplicating(arguments)
    }

    /// Any exchange leaves out repetitions when an argument asks for it.
    fn or_deduplicating(self, arguments: &Table) -> Result<Self, SettingsError> {
        let asked = match arguments.get(DEDUPLICATION) {
            None => false,
            Some(Value::Bool(asked)) => *asked,
            Some(other) => return Err(SettingsError::Type { key: DEDUPLICATION, kind: other.type_name() }),
        };
        if !asked || self.deduplication.is_some() {
            return Ok(self);
        }
        let size = match number(arguments, CACHE_SIZE) {
            None => dedup::DEFAULT_SIZE as u64,
            Some(size) => size.ok_or(SettingsError::MissingCacheSize)?,
        };
        Ok(Self { deduplication: Some(deduplication(arguments, size)?), ..self })
    }

    /// True when messages may have to wait here before they are routed.
    pub fn delays(&self) -> bool {
        self.kind == ExchangeType::Delayed
    }

    /// True when routing keys and bindings alone decide where a message goes, so that the next one with the same key
    /// goes the same way.
    pub fn routes_by_key(&self) -> bool {
        self.matching.is_by_key() && !self.delays() && self.history.is_none() && self.deduplication.is_none()
    }
}

/// A positive number, which may be a text of digits; `Some(None)` is something else.
fn number(arguments: &Table, key: &str) -> Option<Option<u64>> {
    let value = arguments.get(key)?;
    let number = match value.as_text() {
        Some(text) => text.parse().ok(),
        None => value.as_int().and_then(|n| u64::try_from(n).ok()),
    };
    Some(number.filter(|n| *n > 0))
}

fn history_length(arguments: &Table) -> Result<usize, SettingsError> {
    let Some(value) = arguments.get("x-recent-history-length") else { return Ok(DEFAULT_HISTORY) };
    let length = value.as_int().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    length.ok_or_else(|| SettingsError::HistoryLength(value.clone()))
}

fn deduplication(arguments: &Table, size: u64) -> Result<Deduplication, SettingsError> {
    let ttl = match number(arguments, CACHE_TTL) {
        None => None,
        Some(ttl) => Some(ttl.ok_or(SettingsError::CacheTtl)?),
    };
    let header = text(arguments, dedup::HEADER)?.map(String::from_utf8_lossy);
    Ok(Deduplication {
        size: usize::try_from(size).unwrap_or(usize::MAX),
        ttl,
        header: header.unwrap_or(dedup::HEADER.into()).into(),
        while_kept: false,
    })
}

/// The type as which a delayed exchange routes.
fn delayed_type(arguments: &Table) -> Result<ExchangeType, SettingsError> {
    let named = arguments.get("x-delayed-type").and_then(Value::as_text);
    let kind = named.and_then(|name| ExchangeType::parse(&name));
    kind.filter(|kind| *kind != ExchangeType::Delayed).ok_or(SettingsError::DelayedType)
}

fn hash_on(arguments: &Table) -> Result<HashOn, SettingsError> {
    match (text(arguments, "hash-header")?, text(arguments, "hash-property")?) {
        (None, None) => Ok(HashOn::RoutingKey),
        (Some(header), None) => Ok(HashOn::Header(header.into())),
        (None, Some(property)) => {
            let name = String::from_utf8_lossy(property);
            let known = HashProperty::parse(&name).map(HashOn::Property);
            known.ok_or_else(|| SettingsError::Property(name.into_owned()))
        }
        (Some(_), Some(_)) => Err(SettingsError::HeaderAndProperty),
    }
}

fn text<'a>(arguments: &'a Table, key: &'static str) -> Result<Option<&'a [u8]>, SettingsError> {
    match arguments.get(key) {
        None => Ok(None),
        Some(Value::LongStr(text)) => Ok(Some(text)),
        Some(other) => Err(SettingsError::Type { key, kind: other.type_name() }),
    }
}

#[cfg(test)]
mod tests;
