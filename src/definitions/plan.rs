//! The difference between a file and a broker, and the commands that make it go away.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::LOADED;
use super::changes::{FieldChange, changes};
use super::existing::existing;
use super::problem::{Problem, Problems, item};
use super::read::{Definitions, comparable};
use crate::auth::password;
use crate::persist::Record;
use crate::persist::record::{GlobalParameterRecord, VhostRecord};
use crate::queue::Queue;
use crate::vhost::command::DeleteQueue;
use crate::vhost::{Applied, Broker, Command, Effect, Objection};

/// What a plan is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mode {
    /// What is there and not in the file shall go.
    pub prune: bool,
    /// What conflicts is left as it is instead of stopping everything.
    pub skip_conflicts: bool,
}

/// What is to be done with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Create,
    Change,
    Delete,
    /// There is one of that name that cannot be changed into this.
    Conflict,
    /// It cannot be made.
    Invalid,
    /// It is there and not in the file, and stays.
    Extra,
}

/// One difference.
#[derive(Clone, Debug)]
pub struct Difference {
    pub action: Action,
    pub record: Record,
    /// Of a change.
    pub fields: Vec<FieldChange>,
    /// Of a conflict, and of what is invalid.
    pub reason: Option<String>,
    /// Messages that go with it: those of a queue, or of all queues of a virtual host.
    pub messages: u64,
}

/// How a broker becomes what a file says.
#[derive(Debug, Default)]
pub struct Plan {
    pub differences: Vec<Difference>,
    /// Objects that are as the file says.
    pub same: usize,
    pub warnings: Vec<String>,
    mode: Mode,
    commands: Vec<Command>,
    /// The item that each command is about.
    items: Vec<String>,
}

impl Plan {
    /// Compares. What the broker is told meanwhile may make the plan outdated; carrying it out checks everything again.
    pub fn new(broker: &Broker, definitions: Definitions, mode: Mode) -> Self {
        let Definitions { records, passwords, without_limits, sections, vhost, warnings } = definitions;
        let mut plan = Self { warnings, mode, ..Self::default() };
        let current = existing(broker, vhost.as_deref());
        let by_key: HashMap<_, _> = current.iter().map(|record| (comparable(record).key(), record)).collect();
        let wanted: Vec<Record> = records
            .into_iter()
            .filter(|record| plan.can_be_here(broker, record))
            .map(|record| completed(record, &passwords, &without_limits, |key| by_key.get(key).copied()))
            .collect();
        let commands: Vec<_> = wanted.iter().cloned().map(into_being).collect();
        let effects = broker.examine(&commands);
        for ((record, command), effect) in wanted.iter().zip(commands).zip(effects) {
            let old = || by_key.get(&comparable(record).key()).copied();
            plan.add(record, command, effect, old);
        }
        let extra = extra(&current, &wanted, &sections);
        for record in extra {
            plan.add_extra(broker, record);
        }
        plan
    }

    /// Exchanges that only RabbitMQ's plugins declare are not there: their bindings are left out.
    fn can_be_here(&mut self, broker: &Broker, record: &Record) -> bool {
        let Record::Binding(binding) = record else { return true };
        let is_foreign = |name: &str| {
            let vhost = broker.vhost(&binding.vhost);
            name.starts_with("amq.rabbitmq.") && vhost.is_some_and(|vhost| vhost.exchange(name).is_none())
        };
        if !is_foreign(&binding.source) {
            return true;
        }
        self.warnings.push(format!("{} is left out: there is no such exchange here", item(record)));
        false
    }

    fn add<'a>(
        &mut self,
        record: &Record,
        command: Command,
        effect: Result<Effect, Objection>,
        old: impl FnOnce() -> Option<&'a Record>,
    ) {
        let (action, fields, reason) = match effect {
            Ok(Effect::Same) => {
                self.same += 1;
                return;
            }
            Ok(Effect::Change) => (Action::Change, old().map(|old| changes(old, record)).unwrap_or_default(), None),
            Ok(_) => (Action::Create, Vec::new(), None),
            Err(Objection { refusal, is_conflict, .. }) => {
                let action = if is_conflict { Action::Conflict } else { Action::Invalid };
                (action, Vec::new(), Some(refusal.text.trim_end().to_owned()))
            }
        };
        if reason.is_none() {
            self.push(record, command);
        }
        self.differences.push(Difference { action, record: record.clone(), fields, reason, messages: 0 });
    }

    fn add_extra(&mut self, broker: &Broker, record: &Record) {
        let action = if self.mode.prune { Action::Delete } else { Action::Extra };
        if self.mode.prune {
            self.push(record, out_of_being(record));
        }
        let messages = if self.mode.prune { messages_of(broker, record) } else { 0 };
        let record = record.clone();
        self.differences.push(Difference { action, record, fields: Vec::new(), reason: None, messages });
    }

    fn push(&mut self, record: &Record, command: Command) {
        self.items.push(item(record));
        self.commands.push(command);
    }

    /// Notes which file this is of, for [`loaded`], together with everything else.
    pub fn remember(&mut self, hash: &str) {
        let value = serde_json::Value::from(hash).to_string();
        let parameter = GlobalParameterRecord { name: LOADED.to_owned(), value };
        self.push(&Record::GlobalParameter(parameter.clone()), Command::SetGlobalParameter(parameter));
    }

    pub fn count(&self, action: Action) -> usize {
        self.differences.iter().filter(|difference| difference.action == action).count()
    }

    /// What stops it from being carried out.
    pub fn problems(&self) -> Vec<Problem> {
        let stops = |d: &&Difference| match d.action {
            Action::Invalid => true,
            Action::Conflict => !self.mode.skip_conflicts,
            _ => false,
        };
        let problem = |d: &Difference| {
            let reason = d.reason.clone().unwrap_or_default();
            Problem { item: item(&d.record), field: None, reason }
        };
        self.differences.iter().filter(stops).map(problem).collect()
    }

    /// Has the broker do it, all or nothing; `user` is whose doing it is.
    ///
    /// # Errors
    /// What stops it. Nothing has been changed then.
    pub fn carry_out(&self, broker: &Broker, user: &str) -> Result<Applied, Problems> {
        let problems = self.problems();
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        if self.commands.is_empty() {
            return Ok(Applied::default());
        }
        broker.apply_all(&self.commands, user).map_err(|objections| {
            let problem = |objection: Objection| {
                let item = self.items.get(objection.index).cloned().unwrap_or_default();
                Problem { item, field: None, reason: objection.refusal.text }
            };
            Problems(objections.into_iter().map(problem).collect())
        })
    }
}

/// Messages that are lost with a queue or a virtual host.
fn messages_of(broker: &Broker, record: &Record) -> u64 {
    let of_queue = |queue: &Queue| {
        let counts = queue.counts();
        (counts.ready + counts.unacked) as u64
    };
    match record {
        Record::Queue(q) => {
            broker.vhost(&q.vhost).and_then(|vhost| vhost.queue(&q.name)).map_or(0, |queue| of_queue(&queue))
        }
        Record::Vhost(v) => {
            let Some(vhost) = broker.vhost(&v.name) else { return 0 };
            let queues: Vec<_> = vhost.topology.read().queues.values().cloned().collect();
            queues.iter().map(|queue| of_queue(queue)).sum()
        }
        Record::Exchange(e) => {
            let exchange = broker.vhost(&e.vhost).and_then(|vhost| vhost.exchange(&e.name));
            exchange.and_then(|exchange| exchange.delays.clone()).map_or(0, |delays| of_queue(&delays))
        }
        _ => 0,
    }
}

/// What the file leaves open stays as it is: the hash of a password that has not changed, what is not said of a virtual host or
/// of a user's limits.
fn completed<'a>(
    record: Record,
    passwords: &HashMap<String, String>,
    without_limits: &HashSet<String>,
    old: impl Fn(&[u8]) -> Option<&'a Record>,
) -> Record {
    match record {
        Record::User(mut user) => {
            let Some(Record::User(now)) = old(&Record::User(user.clone()).key()) else { return Record::User(user) };
            if let (Some(plain), Some(hash)) = (passwords.get(&user.name), &now.password_hash)
                && password::verify(plain.as_bytes(), hash, now.hashing)
            {
                (user.password_hash, user.hashing) = (Some(hash.clone()), now.hashing);
            }
            if without_limits.contains(&user.name) {
                (user.max_connections, user.max_channels) = (now.max_connections, now.max_channels);
            }
            Record::User(user)
        }
        Record::Vhost(new) => {
            let key = Record::Vhost(new.clone()).key();
            let Some(Record::Vhost(now)) = old(&key) else { return Record::Vhost(new) };
            let VhostRecord { name, description, tags, default_queue_type, protected } = new;
            let description = if description.is_empty() { now.description.clone() } else { description };
            let tags = if tags.is_empty() { now.tags.clone() } else { tags };
            let default_queue_type = default_queue_type.or_else(|| now.default_queue_type.clone());
            let protected = protected.or(now.protected);
            Record::Vhost(VhostRecord { name, description, tags, default_queue_type, protected })
        }
        other => other,
    }
}

/// What is there and not in the file, of the sections that the file has and the virtual hosts that it speaks of: whoever has
/// no section `queues` has not asked for an end of all queues. Last things first, as they have to go.
fn extra<'a>(current: &'a [Record], wanted: &[Record], sections: &BTreeSet<&'static str>) -> Vec<&'a Record> {
    let keys: BTreeSet<_> = wanted.iter().map(|record| comparable(record).key()).collect();
    let spoken_of: BTreeSet<_> = wanted.iter().filter_map(Record::vhost).collect();
    let is_extra = |record: &&Record| {
        let is_spoken_of = matches!(record, Record::Vhost(_))
            || record.vhost().is_none_or(|vhost| spoken_of.contains(vhost) || sections.contains("vhosts"));
        sections.contains(section(record))
            && is_spoken_of
            && !is_broker_s_own(record)
            && !keys.contains(&comparable(record).key())
    };
    let extra: Vec<_> = current.iter().filter(is_extra).collect();
    let (mut vhosts, mut users, mut ends) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for record in &extra {
        match record {
            Record::Vhost(v) => drop(vhosts.insert(v.name.as_str())),
            Record::User(u) => drop(users.insert(u.name.as_str())),
            Record::Exchange(e) => drop(ends.insert((e.vhost.as_str(), true, e.name.as_str()))),
            Record::Queue(q) => drop(ends.insert((q.vhost.as_str(), false, q.name.as_str()))),
            _ => {}
        }
    }
    // What goes with something else needs no word of its own.
    let follows = |record: &Record| match record {
        Record::Vhost(_) | Record::User(_) => false,
        Record::Binding(b) => {
            vhosts.contains(b.vhost.as_str())
                || ends.contains(&(b.vhost.as_str(), true, b.source.as_str()))
                || ends.contains(&(b.vhost.as_str(), b.to_exchange, b.destination.as_str()))
        }
        other => {
            other.vhost().is_some_and(|vhost| vhosts.contains(vhost))
                || other.user().is_some_and(|user| users.contains(user))
        }
    };
    let mut extra: Vec<_> = extra.iter().copied().filter(|record| !follows(record)).collect();
    extra.reverse();
    extra
}

/// What nobody declares and nobody should delete.
fn is_broker_s_own(record: &Record) -> bool {
    match record {
        Record::Exchange(e) => e.name.is_empty() || e.name.starts_with("amq."),
        Record::Queue(q) => q.name.starts_with("amq."),
        Record::Binding(b) => !b.to_exchange && b.destination.starts_with("amq."),
        Record::GlobalParameter(p) => ["internal_cluster_id", "cluster_name"].contains(&p.name.as_str()),
        _ => false,
    }
}

/// The section in which a record stands.
fn section(record: &Record) -> &'static str {
    match record {
        Record::Vhost(_) => "vhosts",
        Record::User(_) => "users",
        Record::Permission(_) => "permissions",
        Record::TopicPermission(_) => "topic_permissions",
        Record::Policy(policy) if !policy.operator => "policies",
        Record::Policy(_) | Record::VhostLimits(_) | Record::Parameter(_) => "parameters",
        Record::GlobalParameter(_) => "global_parameters",
        Record::Exchange(_) => "exchanges",
        Record::Queue(_) => "queues",
        Record::Binding(_) => "bindings",
    }
}

/// The command that makes it.
fn into_being(record: Record) -> Command {
    match record {
        Record::Vhost(record) => Command::PutVhost(record),
        Record::User(user) => Command::PutUser(user),
        Record::Permission(record) => Command::SetPermissions(record),
        Record::TopicPermission(record) => Command::SetTopicPermissions(record),
        Record::VhostLimits(record) => Command::SetVhostLimits(record),
        Record::Policy(record) => Command::SetPolicy(record),
        Record::Parameter(record) => Command::SetParameter(record),
        Record::GlobalParameter(record) => Command::SetGlobalParameter(record),
        Record::Exchange(record) => Command::DeclareExchange(record),
        Record::Queue(record) => Command::DeclareQueue { record, exclusive_owner: None },
        Record::Binding(record) => Command::Bind { record, connection: None },
    }
}

/// The command that ends it.
fn out_of_being(record: &Record) -> Command {
    match record.clone() {
        Record::Vhost(v) => Command::DeleteVhost { name: v.name, even_protected: false },
        Record::User(u) => Command::DeleteUser { name: u.name },
        Record::Permission(p) => Command::ClearPermissions { user: p.user, vhost: p.vhost },
        Record::TopicPermission(p) => {
            Command::ClearTopicPermissions { user: p.user, vhost: p.vhost, exchange: Some(p.permission.exchange) }
        }
        Record::VhostLimits(l) => Command::ClearVhostLimits { vhost: l.vhost },
        Record::Policy(p) => Command::ClearPolicy { vhost: p.vhost, name: p.name, operator: p.operator },
        Record::Parameter(p) => Command::ClearParameter { vhost: p.vhost, component: p.component, name: p.name },
        Record::GlobalParameter(p) => Command::ClearGlobalParameter { name: p.name },
        Record::Exchange(e) => Command::DeleteExchange { vhost: e.vhost, name: e.name, if_unused: false },
        Record::Queue(q) => {
            Command::DeleteQueue(DeleteQueue { vhost: q.vhost, name: q.name, ..DeleteQueue::default() })
        }
        Record::Binding(record) => Command::Unbind { record, connection: None },
    }
}
