//! Where `tracing` hands over its events.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::entry::{Entry, cut};
use super::levels::{Levels, Target, of_tracing};
use super::writer::Order;

/// Milliseconds for which a change waits until the audit log has room: thousands may come at once, and none should be missing.
const AUDIT_PATIENCE: u32 = 200;

/// Makes entries of events and hands them to the writer.
pub struct Collector {
    levels: Arc<Levels>,
    writer: SyncSender<Order>,
}

impl Collector {
    pub fn new(levels: Arc<Levels>, writer: SyncSender<Order>) -> Self {
        Self { levels, writer }
    }
}

impl<S: Subscriber> Layer<S> for Collector {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.levels.wants(metadata.target(), *metadata.level())
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.levels.widest())
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let target = Target::of(metadata.target());
        let category = match target {
            Target::Ours(_, name) => name,
            Target::Audit => "audit",
            Target::Foreign => metadata.target(),
        };
        let mut entry = Entry {
            at: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros() as u64),
            level: of_tracing(*metadata.level()),
            category: category.to_owned(),
            is_audit: target == Target::Audit,
            text: String::new(),
            fields: Vec::new(),
        };
        event.record(&mut Fields(&mut entry));
        let patience = if entry.is_audit { AUDIT_PATIENCE } else { 0 };
        if !self.hand_over(Order::Write(entry), patience) {
            self.levels.dropped();
        }
    }
}

impl Collector {
    /// False when there is no room for it, also not after that many milliseconds.
    fn hand_over(&self, mut order: Order, patience: u32) -> bool {
        for _ in 0..patience {
            match self.writer.try_send(order) {
                Err(TrySendError::Full(back)) => order = back,
                sent => return sent.is_ok(),
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.writer.try_send(order).is_ok()
    }
}

/// Gathers what an event says.
struct Fields<'a>(&'a mut Entry);

impl Fields<'_> {
    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.0.text = cut(text),
            (name, value) => self.0.fields.push((name, value)),
        }
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, cut(format!("{value:?}")).into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, cut(value.to_owned()).into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }
}
