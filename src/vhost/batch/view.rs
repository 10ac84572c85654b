//! What a broker would be like after the commands so far, as far as the next one asks.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Effect, Objection, Step};
use crate::auth::{Pattern, Permissions, Rules, TopicPermission};
use crate::exchange::{Bindings, Matching, Settings};
use crate::frames::{Refusal, Table};
use crate::persist::record::{
    BindingRecord, ExchangeRecord, PermissionRecord, PolicyRecord, QueueRecord, TopicPermissionRecord,
    VhostLimitsRecord, VhostRecord,
};
use crate::queue::arguments;
use crate::vhost::apply::{NewVhost, check_deletion};
use crate::vhost::bindings::{check_local, is_durable};
use crate::vhost::broker::Broker;
use crate::vhost::command::{Command, DeleteQueue};
use crate::vhost::declare::{self, Room};
use crate::vhost::names::{exchange_text, queue_text};
use crate::vhost::policies::Policy;
use crate::vhost::topology::{Destination, Exchange, Vhost};
use crate::vhost::{limits, parameters};

/// A broker and the commands so far.
pub struct View<'a> {
    broker: &'a Broker,
    /// Those that commands have spoken of; `None` is one that is gone.
    vhosts: HashMap<String, Option<VhostView>>,
    new_vhosts: usize,
    new_queues: usize,
    new_exchanges: usize,
    users: HashSet<String>,
    gone_users: HashSet<String>,
    /// By user and virtual host.
    permissions: HashMap<(String, String), Permissions>,
    /// By user, virtual host and exchange.
    topics: HashMap<(String, String, String), TopicPermission>,
}

/// A virtual host.
struct VhostView {
    /// `None` for a new one.
    existing: Option<Arc<Vhost>>,
    /// New ones by name; `None` is one that is gone.
    exchanges: HashMap<String, Option<End>>,
    queues: HashMap<String, Option<End>>,
    /// What it may have.
    max_queues: Option<u64>,
    queue_count: usize,
}

/// What of an exchange or queue counts for its bindings.
#[derive(Clone)]
struct End {
    is_durable: bool,
    /// Of an exchange.
    matching: Option<Matching>,
    /// Of a queue.
    arguments: Table,
}

type Stepped = Result<(Effect, Step), Refused>;

/// A refusal, and whether it is a conflict.
struct Refused(Refusal, bool);

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self(refusal, false)
    }
}

/// Both ends of a binding, when they are there.
pub fn ends(broker: &Broker, record: &BindingRecord) -> Option<(Arc<Vhost>, Arc<Exchange>, Destination)> {
    let vhost = broker.vhost(&record.vhost)?;
    let source = vhost.exchange(&record.source)?;
    let destination = match record.to_exchange {
        true => Destination::Exchange(vhost.exchange(&record.destination)?),
        false => Destination::Queue(vhost.queue(&record.destination)?),
    };
    Some((vhost, source, destination))
}

fn put<T: PartialEq>(old: Option<&T>, new: &T) -> Effect {
    match old {
        None => Effect::Create,
        Some(old) if old == new => Effect::Same,
        Some(_) => Effect::Change,
    }
}

fn stepped(effect: Effect, step: impl FnOnce() -> Step) -> Stepped {
    Ok((effect, if effect == Effect::Same { Step::Nothing } else { step() }))
}

impl<'a> View<'a> {
    pub fn new(broker: &'a Broker) -> Self {
        let permissions = broker.directory.permissions().into_iter();
        let topics = broker.directory.topic_permissions().into_iter();
        Self {
            broker,
            vhosts: HashMap::new(),
            new_vhosts: 0,
            new_queues: 0,
            new_exchanges: 0,
            users: HashSet::new(),
            gone_users: HashSet::new(),
            permissions: permissions.map(|(user, vhost, p)| ((user, vhost), p)).collect(),
            topics: topics.map(|(user, vhost, t)| ((user, vhost, t.exchange.clone()), t)).collect(),
        }
    }

    /// What the next command does.
    pub fn step(&mut self, index: usize, command: &Command) -> Result<(Effect, Step), Objection> {
        self.check(command).map_err(|Refused(refusal, is_conflict)| Objection { index, refusal, is_conflict })
    }

    fn check(&mut self, command: &Command) -> Stepped {
        match command {
            Command::PutVhost(record) => self.put_vhost(record),
            Command::DeleteVhost { name, even_protected } => {
                let vhost = self.broker.vhost(name);
                vhost.iter().try_for_each(|vhost| check_deletion(vhost, *even_protected))?;
                self.vhosts.insert(name.clone(), None);
                Ok((Effect::Delete, vhost.map_or(Step::Nothing, Step::DropVhost)))
            }
            Command::PutUser(user) => {
                let old = self.broker.directory.user(&user.name);
                self.users.insert(user.name.clone());
                stepped(put(old.as_deref(), user), || Step::User(user.clone()))
            }
            Command::DeleteUser { name } => {
                self.users.remove(name);
                self.gone_users.insert(name.clone());
                Ok((Effect::Delete, Step::DropUser(name.clone())))
            }
            Command::SetPermissions(record) => self.set_permissions(record),
            Command::ClearPermissions { user, vhost } => {
                let found = self.permissions.remove(&(user.clone(), vhost.clone()));
                let record =
                    found.map(|permissions| PermissionRecord { user: user.clone(), vhost: vhost.clone(), permissions });
                Ok((Effect::Delete, record.map_or(Step::Nothing, Step::DropPermission)))
            }
            Command::SetTopicPermissions(record) => self.set_topic_permissions(record),
            Command::ClearTopicPermissions { user, vhost, exchange: Some(exchange) } => {
                let found = self.topics.remove(&(user.clone(), vhost.clone(), exchange.clone()));
                let record = found.map(|permission| TopicPermissionRecord {
                    user: user.clone(),
                    vhost: vhost.clone(),
                    permission,
                });
                Ok((Effect::Delete, record.map_or(Step::Nothing, Step::DropTopicPermission)))
            }
            Command::SetVhostLimits(record) => self.set_limits(record),
            Command::ClearVhostLimits { vhost } => {
                let record = VhostLimitsRecord { vhost: vhost.clone(), ..VhostLimitsRecord::default() };
                Ok((Effect::Delete, Step::DropLimits(record)))
            }
            Command::SetPolicy(record) => self.set_policy(record),
            Command::ClearPolicy { vhost, name, operator } => {
                let found = self.broker.vhost(vhost).and_then(|v| v.policies.read().get(*operator, name).cloned());
                Ok((Effect::Delete, found.map_or(Step::Nothing, |policy| Step::DropPolicy(policy.record.clone()))))
            }
            Command::SetParameter(record) => {
                parameters::check(record)?;
                let old = self.vhost(&record.vhost)?.existing.as_ref();
                let old = old.and_then(|vhost| vhost.parameter(&record.component, &record.name));
                stepped(put(old.as_ref(), record), || Step::Parameter(record.clone()))
            }
            Command::ClearParameter { vhost, component, name } => {
                let found = self.broker.vhost(vhost).and_then(|v| v.parameter(component, name));
                Ok((Effect::Delete, found.map_or(Step::Nothing, Step::DropParameter)))
            }
            Command::SetGlobalParameter(record) => {
                parameters::check_global(record)?;
                let old = self.broker.global_parameter(&record.name);
                stepped(put(old.as_ref(), record), || Step::GlobalParameter(record.clone()))
            }
            Command::ClearGlobalParameter { name } => {
                let found = self.broker.global_parameter(name);
                Ok((Effect::Delete, found.map_or(Step::Nothing, Step::DropGlobalParameter)))
            }
            Command::DeclareExchange(record) => self.declare_exchange(record),
            Command::DeleteExchange { vhost, name, .. } => self.delete_exchange(vhost, name),
            Command::DeclareQueue { record, exclusive_owner: None } => self.declare_queue(record),
            Command::DeleteQueue(DeleteQueue { vhost, name, .. }) => self.delete_queue(vhost, name),
            Command::Bind { record, .. } => self.bind(record),
            Command::Unbind { record, .. } => {
                let found = ends(self.broker, record);
                let step = found.map_or(Step::Nothing, |(_, source, destination)| Step::Unbind {
                    record: record.clone(),
                    is_durable: is_durable(&source, &destination),
                });
                Ok((Effect::Delete, step))
            }
            Command::ClearTopicPermissions { exchange: None, .. }
            | Command::ProtectVhost { .. }
            | Command::DeclareQueue { .. }
            | Command::SetUserLimits { .. }
            | Command::ClearUserLimits { .. } => {
                Err(Refusal::not_implemented("this change cannot be made together with others").into())
            }
        }
    }

    /// The virtual host of a command.
    fn vhost(&mut self, name: &str) -> Result<&mut VhostView, Refusal> {
        let broker = self.broker;
        let view = self.vhosts.entry(name.to_owned()).or_insert_with(|| broker.vhost(name).map(VhostView::of));
        view.as_mut().ok_or_else(|| Refusal::not_allowed(format!("vhost {name} not found")))
    }

    fn put_vhost(&mut self, record: &VhostRecord) -> Stepped {
        let name = &record.name;
        if let Some(vhost) = self.broker.vhost(name) {
            return stepped(put(Some(&*vhost.record()), record), || Step::Vhost(vhost, record.clone()));
        }
        let others = self.broker.vhosts().len() + self.new_vhosts;
        let new = NewVhost::check(self.broker, record.clone(), others)?;
        self.new_vhosts += 1;
        self.vhosts.insert(name.clone(), Some(VhostView::new(self.broker, name)));
        Ok((Effect::Create, Step::NewVhost(Box::new(new))))
    }

    fn check_user(&self, name: &str) -> Result<(), Refusal> {
        let is_there = self.users.contains(name)
            || (!self.gone_users.contains(name) && self.broker.directory.user(name).is_some());
        if is_there { Ok(()) } else { Err(Refusal::not_found(format!("user '{name}' does not exist"))) }
    }

    fn set_permissions(&mut self, record: &PermissionRecord) -> Stepped {
        self.vhost(&record.vhost)?;
        self.check_user(&record.user)?;
        let PermissionRecord { user, vhost, permissions } = record;
        for (field, pattern) in
            [("configure", &permissions.configure), ("write", &permissions.write), ("read", &permissions.read)]
        {
            Pattern::new(pattern).map_err(|e| Refusal::precondition_failed(format!("{field}: {e}")))?;
        }
        let old = self.permissions.insert((user.clone(), vhost.clone()), permissions.clone());
        stepped(put(old.as_ref(), permissions), || Step::Permission(record.clone()))
    }

    fn set_topic_permissions(&mut self, record: &TopicPermissionRecord) -> Stepped {
        self.vhost(&record.vhost)?;
        self.check_user(&record.user)?;
        let TopicPermissionRecord { user, vhost, permission } = record;
        Rules::compile(user, vhost, &Permissions::all(), [permission])
            .map_err(|e| Refusal::precondition_failed(e.to_string()))?;
        let key = (user.clone(), vhost.clone(), permission.exchange.clone());
        let old = self.topics.insert(key, permission.clone());
        stepped(put(old.as_ref(), permission), || Step::TopicPermission(record.clone()))
    }

    fn set_limits(&mut self, record: &VhostLimitsRecord) -> Stepped {
        let vhost = self.vhost(&record.vhost)?;
        let old = vhost.existing.as_ref().map(|v| v.limits.set());
        let old = old.filter(|limits| limits.max_queues.is_some() || limits.max_connections.is_some());
        vhost.max_queues = limits::effective(record.max_queues, vhost.max_queues);
        stepped(put(old.as_ref(), record), || Step::Limits(record.clone()))
    }

    fn set_policy(&mut self, record: &PolicyRecord) -> Stepped {
        let old = self.vhost(&record.vhost)?.existing.clone();
        let old = old.and_then(|v| v.policies.read().get(record.operator, &record.name).cloned());
        let policy = Policy::new(record.clone()).map_err(Refusal::precondition_failed)?;
        stepped(put(old.as_ref().map(|p| &p.record), record), || Step::Policy(Arc::new(policy)))
    }

    fn declare_exchange(&mut self, record: &ExchangeRecord) -> Stepped {
        let kind = declare::exchange_type(&record.kind)?;
        let (broker, new_exchanges) = (self.broker, self.new_exchanges);
        let vhost = self.vhost(&record.vhost)?;
        if let Some(existing) = vhost.existing.as_ref().and_then(|v| v.exchange(&record.name)) {
            declare::check_exchange_equivalent(&existing.record, record).map_err(|e| Refused(e, true))?;
            return Ok((Effect::Same, Step::Nothing));
        }
        let (settings, record) = declare::check_new_exchange(broker, kind, record.clone(), new_exchanges)?;
        vhost.exchanges.insert(record.name.clone(), Some(End::of_exchange(&record, &settings)));
        self.new_exchanges += 1;
        Ok((Effect::Create, Step::Exchange(Box::new(settings), record)))
    }

    fn delete_exchange(&mut self, vhost: &str, name: &str) -> Stepped {
        let vhost = self.vhost(vhost)?;
        if name.is_empty() || name.starts_with("amq.") {
            let vhost = vhost.existing.as_ref().map_or("", |v| &v.name);
            let text = format!("deletion of system {} not allowed", exchange_text(vhost, name));
            return Err(Refusal::access_refused(text).into());
        }
        vhost.exchanges.insert(name.to_owned(), None);
        let found = vhost.existing.as_ref().and_then(|v| Some((Arc::clone(v), v.exchange(name)?)));
        Ok((Effect::Delete, found.map_or(Step::Nothing, |(vhost, exchange)| Step::DropExchange(vhost, exchange))))
    }

    fn declare_queue(&mut self, record: &QueueRecord) -> Stepped {
        let text = queue_text(&record.vhost, &record.name);
        let kind = arguments::check(&text, &record.arguments).map_err(Refusal::precondition_failed)?;
        let (broker, others) = (self.broker, self.new_queues);
        let vhost = self.vhost(&record.vhost)?;
        if let Some(existing) = vhost.existing.as_ref().and_then(|v| v.queue(&record.name)) {
            let is_relaxed = broker.limits().relaxed_redeclaration;
            declare::check_queue_equivalent(&existing, record, None, is_relaxed).map_err(|e| Refused(e, true))?;
            return Ok((Effect::Same, Step::Nothing));
        }
        let room = Room { limit: vhost.max_queues, queues: vhost.queue_count, others };
        let record = declare::check_new_queue(broker, kind, record.clone(), None, room)?;
        vhost.queue_count += 1;
        vhost.queues.insert(record.name.clone(), Some(End::of_queue(&record)));
        self.new_queues += 1;
        Ok((Effect::Create, Step::Queue(record)))
    }

    fn delete_queue(&mut self, vhost: &str, name: &str) -> Stepped {
        let vhost = self.vhost(vhost)?;
        vhost.queues.insert(name.to_owned(), None);
        let Some((vhost, queue)) = vhost.existing.as_ref().and_then(|v| Some((Arc::clone(v), v.queue(name)?))) else {
            return Ok((Effect::Delete, Step::Nothing));
        };
        declare::check_exclusive_access(&queue, None, false)?;
        Ok((Effect::Delete, Step::DropQueue(vhost, queue)))
    }

    fn bind(&mut self, record: &BindingRecord) -> Stepped {
        let broker = self.broker;
        let vhost = self.vhost(&record.vhost)?;
        let missing = |text| Refusal::not_found(format!("no {text}"));
        let exchange = |name: &str| vhost.exchange(name).ok_or_else(|| missing(exchange_text(&record.vhost, name)));
        let source = exchange(&record.source)?;
        let destination = if record.to_exchange {
            exchange(&record.destination)?
        } else {
            let queue = vhost.queue(&record.destination);
            queue.ok_or_else(|| missing(queue_text(&record.vhost, &record.destination)))?
        };
        if let Some(matching) = &source.matching {
            Bindings::<Destination>::check(matching, &record.key, &record.arguments)
                .map_err(|e| Refusal::precondition_failed(e.to_string()))?;
            if *matching == Matching::LocalRandom {
                if record.to_exchange {
                    return Err(Refusal::precondition_failed("Destination not found").into());
                }
                check_local(&destination.arguments)?;
            }
        }
        if let Some((_, source, destination)) = ends(broker, record) {
            if let Destination::Queue(queue) = &destination {
                declare::check_exclusive_access(queue, None, false)?;
            }
            if source.bindings.read().contains(&record.key, &record.arguments, &destination) {
                return Ok((Effect::Same, Step::Nothing));
            }
        }
        let is_durable = source.is_durable && destination.is_durable;
        Ok((Effect::Create, Step::Bind { record: record.clone(), is_durable }))
    }
}

impl VhostView {
    fn of(vhost: Arc<Vhost>) -> Self {
        let queue_count = vhost.topology.read().queues.len();
        let max_queues = vhost.limits.max_queues();
        let (exchanges, queues) = (HashMap::new(), HashMap::new());
        Self { existing: Some(vhost), exchanges, queues, max_queues, queue_count }
    }

    fn new(broker: &Broker, name: &str) -> Self {
        let predeclared = crate::vhost::apply::predeclared(broker, name).map(|(settings, record)| {
            let end = End::of_exchange(&record, &settings);
            (record.name, Some(end))
        });
        let max_queues = limits::configured(&broker.config, name).max_queues();
        Self { existing: None, exchanges: predeclared.collect(), queues: HashMap::new(), max_queues, queue_count: 0 }
    }

    fn exchange(&self, name: &str) -> Option<End> {
        match self.exchanges.get(name) {
            Some(end) => end.clone(),
            None => {
                let exchange = self.existing.as_ref()?.exchange(name)?;
                Some(End::of_exchange(&exchange.record, &exchange.settings))
            }
        }
    }

    fn queue(&self, name: &str) -> Option<End> {
        match self.queues.get(name) {
            Some(end) => end.clone(),
            None => {
                let queue = self.existing.as_ref()?.queue(name)?;
                Some(End { is_durable: queue.spec.durable, matching: None, arguments: queue.spec.arguments.clone() })
            }
        }
    }
}

impl End {
    fn of_exchange(record: &ExchangeRecord, settings: &Settings) -> Self {
        let matching = Some(settings.matching.clone());
        Self { is_durable: record.durable, matching, arguments: Table::default() }
    }

    fn of_queue(record: &QueueRecord) -> Self {
        Self { is_durable: record.durable, matching: None, arguments: record.arguments.clone() }
    }
}
