//! Where `tracing` hands over its events.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::audit_file::Waiting;
use super::entry::{Entry, cut};
use super::feed;
use super::levels::{Levels, Target, of_tracing};
use super::writer::Order;

/// Makes entries of events and hands them to the writers. It never waits for them.
pub struct Collector {
    levels: Arc<Levels>,
    writer: SyncSender<Order>,
    audit: Option<Arc<Waiting>>,
}

impl Collector {
    pub fn new(levels: Arc<Levels>, writer: SyncSender<Order>, audit: Option<Arc<Waiting>>) -> Self {
        Self { levels, writer, audit }
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
            category: category.to_owned(),
            is_audit: target == Target::Audit,
            is_apart: feed::is_apart(),
            ..Entry::now(of_tracing(*metadata.level()), String::new())
        };
        event.record(&mut Fields(&mut entry));
        let has_room = match &self.audit {
            Some(audit) if entry.is_audit => return audit.push(entry.json()),
            _ => self.writer.try_send(Order::Write(entry)).is_ok(),
        };
        if !has_room {
            self.levels.dropped();
        }
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
