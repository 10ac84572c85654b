//! Whether a node could start with a configuration: its parts are made as for a start, and nothing is bound, written or kept.
//!
//! The broker is a real one with a catalog that remembers nothing, so that users, policies, services for logins and
//! definitions go the way that they go at a start, and what is wrong with them is said in the same words. What a start
//! would log as a warning is a warning here. One fault does not hide another: what is at fault is left out of the rest.

use std::sync::Arc;

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::{NodeError, memory_limit, sync_mode, warn_without_users};
use crate::backends::Backends;
use crate::config::{Auth, AuthBackend, Backend, Config, TlsOptions};
use crate::definitions;
use crate::logs;
use crate::message::memory::MemoryAccount;
use crate::persist::catalog::NoCatalog;
use crate::persist::disk::RealDisk;
use crate::persist::{DataDir, DataDirError};
use crate::tls::{Purpose, TlsError, faults};
use crate::vhost::Broker;

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rehearsal {
    /// For each of these a node does not start.
    pub errors: Vec<String>,
    pub warnings: Vec<String>,
}

/// Makes the parts of a node. The data directory is looked at when `with_data`; whether it is in use does not matter.
pub fn rehearse(config: &Config, with_data: bool) -> Rehearsal {
    let heard = Heard::default();
    let subscriber = tracing_subscriber::registry().with(heard.clone());
    let mut done = tracing::subscriber::with_default(subscriber, || parts(config, with_data));
    done.warnings.append(&mut heard.0.lock());
    done
}

fn parts(config: &Config, with_data: bool) -> Rehearsal {
    let mut done = Rehearsal::default();
    done.errors.extend(logs::rehearse(&config.log).iter().map(ToString::to_string));
    if with_data {
        data_dir(config, &mut done);
    }
    sync_mode(config);
    let (mut config, mut errors) = (config.clone(), backends(&config.auth));
    if !errors.is_empty() {
        // The rest is tried without them.
        config.auth.backends = Auth::default().backends;
    }
    let (load, unreadable) = definitions::readable(&config.definitions);
    config.definitions.load = load;
    errors.extend(unreadable.into_iter().map(NodeError::Definitions));
    errors.extend(broker(&config).err());
    errors.extend(tls(&config).map(NodeError::Tls));
    for text in errors.iter().map(ToString::to_string) {
        // A file may be named for two purposes.
        if !done.errors.contains(&text) {
            done.errors.push(text);
        }
    }
    done
}

/// What is wrong with each backend of logins.
fn backends(auth: &Auth) -> Vec<NodeError> {
    let is_named = |kind| auth.backends.iter().any(|backend| backend.authn == kind || backend.authz == kind);
    let alone = |kind| Auth { backends: vec![AuthBackend::both(kind)], ..auth.clone() };
    let errors = [Backend::Http, Backend::OAuth2].into_iter().filter(|kind| is_named(*kind));
    errors.filter_map(|kind| Backends::new(&alone(kind)).err()).map(|e| NodeError::Start(e.into())).collect()
}

fn data_dir(config: &Config, done: &mut Rehearsal) {
    match DataDir::rehearse(&RealDisk, &config.data_dir, config.identity.node_name.as_deref()) {
        Ok(()) => {}
        // An administrator looks at what another user will run.
        Err(error @ DataDirError::Owner { .. }) if rustix::process::geteuid().is_root() => {
            done.warnings.push(error.to_string());
        }
        Err(error) => done.errors.push(error.to_string()),
    }
}

/// A broker that is gone again.
fn broker(config: &Config) -> Result<(), NodeError> {
    let memory = MemoryAccount::new(memory_limit(config));
    let broker = Broker::start(config.clone(), Box::new(NoCatalog), memory, None)?;
    let loaded = definitions::load(&broker);
    if loaded.is_ok() && !config.definitions.load.is_empty() {
        warn_without_users(&broker);
    }
    broker.close();
    loaded.map(drop).map_err(NodeError::Definitions)
}

/// What is wrong with the TLS of listeners.
fn tls(config: &Config) -> impl Iterator<Item = TlsError> {
    let (web, metrics) = (&config.management.ssl, &config.prometheus.ssl);
    let listeners: [(bool, &TlsOptions, Purpose); 3] = [
        (!config.tls.listeners.is_empty(), &config.tls.options, Purpose::AMQP),
        (web.listener.is_some(), &web.tls, Purpose::MANAGEMENT),
        (metrics.listener.is_some(), &metrics.tls, Purpose::PROMETHEUS),
    ];
    listeners.into_iter().filter(|(is_there, ..)| *is_there).flat_map(|(_, options, purpose)| faults(options, purpose))
}

/// Hears what would be logged as a warning or an error.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Heard {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() <= Level::WARN {
            let mut text = Text(String::new());
            event.record(&mut text);
            self.0.lock().push(text.0);
        }
    }
}

/// The text of an event.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
