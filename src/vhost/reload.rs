//! The configuration read again while the broker runs: limits come into force at once, others are told by hooks.
//!
//! [`Broker::reload`] reads what the broker was started with, finds what is different, and calls whoever has asked for it with
//! [`Broker::on_reload`]. A configuration with errors changes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::{Mutex, RwLock};

use super::broker::Broker;
use crate::config::{Changes, Config, ConfigErrors, Limits};

/// Takes over its part of a newer configuration, or says why it could not and goes on with the older one. It is called also
/// when no key has changed: files that keys name may have.
type Hook = Box<dyn Fn(&Config, &Changes) -> Result<(), String> + Send + Sync>;

/// What of the configuration can change.
pub struct Live {
    limits: RwLock<Arc<Limits>>,
    /// Of the limits, the one that every publish is held against.
    max_message_size: AtomicU64,
    /// As it was read last.
    newest: Mutex<Config>,
    hooks: Mutex<Vec<Hook>>,
}

/// What has come of reading the configuration again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    pub changes: Changes,
    /// What could not be taken over, and why.
    pub failures: Vec<String>,
    /// Keys without effect.
    pub warnings: Vec<String>,
}

impl Live {
    pub fn new(config: &Config) -> Self {
        Self {
            limits: RwLock::new(Arc::new(config.limits.clone())),
            max_message_size: AtomicU64::new(config.limits.max_message_size),
            newest: Mutex::new(config.clone()),
            hooks: Mutex::default(),
        }
    }
}

impl Broker {
    /// The limits in force.
    pub fn limits(&self) -> Arc<Limits> {
        Arc::clone(&self.live.limits.read())
    }

    /// Largest body of a message, in bytes.
    #[inline]
    pub fn max_message_size(&self) -> u64 {
        self.live.max_message_size.load(Relaxed)
    }

    /// Changes limits until the next start.
    pub fn change_limits(&self, change: impl FnOnce(&mut Limits)) {
        let mut limits = self.live.limits.write();
        let mut changed = (**limits).clone();
        change(&mut changed);
        self.live.max_message_size.store(changed.max_message_size, Relaxed);
        *limits = Arc::new(changed);
    }

    /// The configuration as it was read last.
    pub fn newest_config(&self) -> Config {
        self.live.newest.lock().clone()
    }

    /// Has something told of each configuration that is read from now on.
    pub fn on_reload(&self, hook: impl Fn(&Config, &Changes) -> Result<(), String> + Send + Sync + 'static) {
        self.live.hooks.lock().push(Box::new(hook));
    }

    /// Reads the configuration again. Blocks on the disk.
    ///
    /// # Errors
    /// All that is wrong in it; nothing has changed then.
    pub fn reload(&self) -> Result<Reloaded, ConfigErrors> {
        let mut newest = self.live.newest.lock();
        let newer = newest.sources.load()?;
        // A key that waits for a restart is named each time.
        let mut changes = newest.changes(&newer);
        changes.at_restart = self.config.changes(&newer).at_restart;
        if newest.limits != newer.limits {
            self.change_limits(|limits| *limits = newer.limits.clone());
            if newest.limits.channel_max != newer.limits.channel_max {
                self.channel_max.store(newer.limits.channel_max, Relaxed);
            }
        }
        if newest.auth.track_source != newer.auth.track_source {
            self.logins.track(newer.auth.track_source);
        }
        let hooks = self.live.hooks.lock();
        let failures: Vec<_> = hooks.iter().filter_map(|hook| hook(&newer, &changes).err()).collect();
        let warnings = newer.warnings.clone();
        *newest = newer;
        log(&changes, &failures);
        Ok(Reloaded { changes, failures, warnings })
    }
}

fn log(changes: &Changes, failures: &[String]) {
    let listed = |keys: &[String]| if keys.is_empty() { "none".to_owned() } else { keys.join(", ") };
    tracing::info!(
        target: "leveret::config",
        "the configuration was read again; in force now: {}; from the next start on: {}",
        listed(&changes.applied),
        listed(&changes.at_restart)
    );
    failures.iter().for_each(|failure| tracing::error!(target: "leveret::config", "not taken over: {failure}"));
}
