//! How many connections and queues a virtual host may have, and how many connections and channels a user: set at run time,
//! before what the configuration says.

use parking_lot::RwLock;

use super::apply::{persist, vhost_of};
use super::broker::Broker;
use super::command::Applied;
use super::events::told;
use crate::auth::{Pattern, User};
use crate::config::{Config, VhostLimits};
use crate::frames::Refusal;
use crate::persist::record::VhostLimitsRecord;
use crate::persist::{Change, Record};

/// The limits of a virtual host.
#[derive(Debug, Default)]
pub struct Limits {
    /// From the configuration.
    max_connections: Option<u64>,
    max_queues: Option<u64>,
    set: RwLock<VhostLimitsRecord>,
}

impl Limits {
    /// `configured` are those whose patterns match the virtual host's name; the first that sets one counts.
    pub fn new<'a>(configured: impl Iterator<Item = &'a VhostLimits> + Clone) -> Self {
        Self {
            max_connections: configured.clone().find_map(|l| l.max_connections),
            max_queues: configured.clone().find_map(|l| l.max_queues),
            set: RwLock::default(),
        }
    }

    pub fn max_connections(&self) -> Option<u64> {
        effective(self.set.read().max_connections, self.max_connections)
    }

    pub fn max_queues(&self) -> Option<u64> {
        effective(self.set.read().max_queues, self.max_queues)
    }

    /// Sets them.
    pub(super) fn put(&self, record: VhostLimitsRecord) {
        *self.set.write() = record;
    }

    /// What has been set at run time.
    pub fn set(&self) -> VhostLimitsRecord {
        self.set.read().clone()
    }
}

/// What the configuration gives a virtual host of that name.
pub(super) fn configured(config: &Config, name: &str) -> Limits {
    Limits::new(config.defaults.vhost_limits.iter().filter(|limits| match &limits.pattern {
        None => true,
        Some(pattern) => Pattern::new(pattern).is_ok_and(|p| p.matches(name)),
    }))
}

/// A negative limit is none.
pub(super) fn effective(set: Option<i64>, configured: Option<u64>) -> Option<u64> {
    match set {
        Some(limit) => u64::try_from(limit).ok(),
        None => configured,
    }
}

pub(super) fn set_of_vhost(broker: &Broker, record: VhostLimitsRecord) -> Result<Applied, Refusal> {
    let vhost = vhost_of(broker, &record.vhost)?;
    let applied = persist(broker, &[Change::Put(Record::VhostLimits(record.clone()))])?;
    broker.note_event(|| told::vhost_limits_set(&record));
    vhost.limits.put(record);
    Ok(applied)
}

pub(super) fn clear_of_vhost(broker: &Broker, vhost: String) -> Result<Applied, Refusal> {
    let found = vhost_of(broker, &vhost)?;
    let record = VhostLimitsRecord { vhost, ..VhostLimitsRecord::default() };
    let applied = persist(broker, &[Change::Delete(Record::VhostLimits(record.clone()))])?;
    broker.note_event(|| told::vhost_limits_cleared(&record.vhost));
    found.limits.put(record);
    Ok(applied)
}

pub(super) fn set_of_user(
    broker: &Broker,
    name: &str,
    max_connections: Option<i64>,
    max_channels: Option<i64>,
) -> Result<Applied, Refusal> {
    let missing = || Refusal::not_found(format!("user '{name}' does not exist"));
    let user = broker.directory.user(name).ok_or_else(missing)?;
    let user = User { max_connections, max_channels, ..User::clone(&user) };
    let applied = persist(broker, &[Change::Put(Record::User(user.clone()))])?;
    broker.note_event(|| told::user_limits(&user));
    broker.directory.put_user(user);
    Ok(applied)
}

pub(super) fn restore(broker: &Broker, record: VhostLimitsRecord) -> Result<(), (String, String)> {
    let what = format!("limits of vhost '{}'", record.vhost);
    let vhost = vhost_of(broker, &record.vhost).map_err(|e| (what, e.text))?;
    vhost.limits.put(record);
    Ok(())
}
