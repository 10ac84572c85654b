//! Which events are wanted: a level for each category, which can be changed at any time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use tracing::Level;
use tracing::level_filters::LevelFilter;

use super::losses::{Losses, Output};
use crate::config::{Log, LogLevel};

/// A category that has a level of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    Default,
    Connection,
    Channel,
    Queue,
}

impl Category {
    pub const ALL: [Self; 4] = [Self::Default, Self::Connection, Self::Channel, Self::Queue];

    /// RabbitMQ's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Connection => "connection",
            Self::Channel => "channel",
            Self::Queue => "queue",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|category| category.name() == name)
    }
}

/// Where entries go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sink {
    Console,
    File,
    Syslog,
    Exchange,
}

/// What a target of `tracing` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// Ours, with the name that lines show.
    Ours(Category, &'a str),
    Audit,
    /// A library's.
    Foreign,
}

impl<'a> Target<'a> {
    pub fn of(target: &'a str) -> Self {
        match target.strip_prefix("leveret") {
            Some("") => Self::Ours(Category::Default, "default"),
            Some("::audit") => Self::Audit,
            Some(rest) => {
                let name = rest.trim_start_matches("::").split("::").next().unwrap_or_default();
                Self::Ours(Category::parse(name).unwrap_or(Category::Default), name)
            }
            None => Self::Foreign,
        }
    }
}

/// The levels in force.
#[derive(Debug, Default)]
pub struct Levels {
    categories: [AtomicU8; 4],
    sinks: [AtomicU8; 4],
    audit: bool,
    /// Entries that found no room since they were told of last.
    dropped: AtomicU64,
    pub losses: Arc<Losses>,
}

impl Levels {
    pub fn new(log: &Log) -> Self {
        let levels = Self { audit: log.audit.is_some(), ..Self::default() };
        levels.load(log);
        levels
    }

    /// Takes over what the configuration says.
    pub fn load(&self, log: &Log) {
        let of = |level: Option<LogLevel>| level.unwrap_or(log.default_level) as u8;
        let categories = [None, log.connection_level, log.channel_level, log.queue_level].map(of);
        self.categories.iter().zip(categories).for_each(|(level, new)| level.store(new, Relaxed));
        let least = |level: Option<LogLevel>| level.unwrap_or(LogLevel::Debug) as u8;
        let sinks = [log.console_level, log.file_level, log.syslog.level, log.exchange.level].map(least);
        self.sinks.iter().zip(sinks).for_each(|(level, new)| level.store(new, Relaxed));
    }

    /// Changes one category, or all.
    pub fn set(&self, category: Option<Category>, level: LogLevel) {
        let of_it = Category::ALL.into_iter().zip(&self.categories);
        of_it
            .filter(|(it, _)| category.is_none_or(|only| only == *it))
            .for_each(|(_, at)| at.store(level as u8, Relaxed));
    }

    pub fn of(&self, category: Category) -> LogLevel {
        named(self.number(category))
    }

    fn number(&self, category: Category) -> u8 {
        self.categories.get(category as usize).map_or(LogLevel::Info as u8, |level| level.load(Relaxed))
    }

    /// Whether an event is wanted at all. Of libraries, only what is wrong.
    pub fn wants(&self, target: &str, level: Level) -> bool {
        let level = of_tracing(level) as u8;
        match Target::of(target) {
            Target::Ours(category, _) => level >= self.number(category),
            Target::Audit => self.audit,
            Target::Foreign => level >= self.number(Category::Default).max(LogLevel::Warning as u8),
        }
    }

    /// Counts an entry that found no room.
    pub fn dropped(&self) {
        self.dropped.fetch_add(1, Relaxed);
        self.losses.add(Output::All, 1);
    }

    pub fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Relaxed)
    }

    /// Whether a sink gets an entry of that level.
    pub fn reaches(&self, sink: Sink, level: LogLevel) -> bool {
        self.sinks.get(sink as usize).is_none_or(|least| level as u8 >= least.load(Relaxed))
    }

    /// The least important level that any category wants.
    pub fn widest(&self) -> LevelFilter {
        let least = self.categories.iter().map(|level| level.load(Relaxed)).min().unwrap_or_default();
        let of_lines = match named(least) {
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Info | LogLevel::Notice => LevelFilter::INFO,
            LogLevel::Warning => LevelFilter::WARN,
            LogLevel::None => LevelFilter::OFF,
            _ => LevelFilter::ERROR,
        };
        if self.audit { of_lines.max(LevelFilter::INFO) } else { of_lines }
    }
}

/// RabbitMQ has more levels than events have.
pub fn of_tracing(level: Level) -> LogLevel {
    match level {
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warning,
        Level::INFO => LogLevel::Info,
        _ => LogLevel::Debug,
    }
}

fn named(number: u8) -> LogLevel {
    LogLevel::NAMES.iter().map(|(_, level)| *level).find(|level| *level as u8 == number).unwrap_or(LogLevel::None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_have_levels_of_their_own_and_can_be_changed() {
        let log = Log { default_level: LogLevel::Notice, connection_level: Some(LogLevel::Debug), ..Log::default() };
        let levels = Levels::new(&log);
        assert!(levels.wants("leveret::connection", Level::DEBUG));
        assert!(!levels.wants("leveret::store", Level::INFO), "notice is more than info");
        assert!(levels.wants("leveret", Level::WARN) && levels.wants("hyper", Level::WARN));
        assert!(!levels.wants("hyper::client", Level::INFO) && !levels.wants("leveret::audit", Level::INFO));
        assert_eq!(levels.widest(), LevelFilter::DEBUG);
        levels.set(Some(Category::Connection), LogLevel::Error);
        assert!(!levels.wants("leveret::connection", Level::WARN) && levels.wants("leveret::queue", Level::WARN));
        assert_eq!(levels.widest(), LevelFilter::INFO);
        levels.set(None, LogLevel::None);
        assert!(!levels.wants("leveret", Level::ERROR));
        assert_eq!((levels.of(Category::Queue), levels.widest()), (LogLevel::None, LevelFilter::OFF));
    }
}
