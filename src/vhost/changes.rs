//! What a change says of itself: a line in the log for what operators change, and one in the audit log for everything.
//!
//! Passwords, hashes, and values of parameters (addresses of shovels hold passwords) are in neither.

use tracing::Level;

use super::broker::Broker;
use super::command::Command;
use super::names::{exchange_text, queue_text};
use crate::frames::Refusal;
use crate::logs::audit;

/// A command that is about to be carried out.
pub struct Report {
    action: &'static str,
    what: String,
    /// Queues, exchanges and bindings come and go with clients.
    is_operators: bool,
    /// What has to be there, or must not be there, afterwards for it to be a change.
    counts: Counts,
}

enum Counts {
    Always,
    /// A declaration of what is there already.
    Never,
    /// A deletion: only once it is gone.
    WhenGone {
        vhost: String,
        name: String,
    },
}

/// A limit as people read it.
fn limit(limit: Option<i64>) -> String {
    limit.map_or_else(|| "none".to_owned(), |n| n.to_string())
}

impl Report {
    /// None when nobody wants to know.
    pub fn of(broker: &Broker, command: &Command) -> Option<Self> {
        let is_wanted = audit::is_on() || tracing::enabled!(target: "leveret::catalog", Level::INFO);
        let (action, what, is_operators) = is_wanted.then(|| describe(command))?;
        let wants_all = || audit::is_on() || tracing::enabled!(target: "leveret::catalog", Level::DEBUG);
        (is_operators || wants_all()).then(|| Self { action, what, is_operators, counts: Counts::of(broker, command) })
    }

    /// Tells what has become of it.
    pub fn tell(&self, broker: &Broker, user: &str, refused: Option<&Refusal>) {
        let (action, what) = (self.action, &*self.what);
        if let Some(refusal) = refused {
            return audit::refused(user, action, what, &refusal.text);
        }
        let counts = match &self.counts {
            Counts::Always => true,
            Counts::Never => false,
            Counts::WhenGone { vhost, name } => broker.vhost(vhost).and_then(|vhost| vhost.queue(name)).is_none(),
        };
        if !counts {
            return;
        }
        audit::change(user, action, what);
        if self.is_operators {
            tracing::info!(target: "leveret::catalog", "{action} by {user}: {what}");
        } else {
            tracing::debug!(target: "leveret::catalog", "{action} by {user}: {what}");
        }
    }
}

impl Counts {
    fn of(broker: &Broker, command: &Command) -> Self {
        let has_queue = |vhost: &str, name: &str| broker.vhost(vhost).is_some_and(|v| v.queue(name).is_some());
        let is_new = |is_there: bool| if is_there { Self::Never } else { Self::Always };
        match command {
            Command::DeclareQueue { record, .. } => is_new(has_queue(&record.vhost, &record.name)),
            Command::DeclareExchange(record) => {
                is_new(broker.vhost(&record.vhost).is_some_and(|v| v.exchange(&record.name).is_some()))
            }
            Command::DeleteQueue(delete) if !has_queue(&delete.vhost, &delete.name) => Self::Never,
            Command::DeleteQueue(d) => Self::WhenGone { vhost: d.vhost.clone(), name: d.name.clone() },
            Command::DeleteExchange { vhost, name, .. } => {
                is_new(broker.vhost(vhost).is_none_or(|v| v.exchange(name).is_none()))
            }
            _ => Self::Always,
        }
    }
}

/// Action, object, and whether it is an operator's.
fn describe(command: &Command) -> (&'static str, String, bool) {
    let operators = |action, what| (action, what, true);
    let clients = |action, what| (action, what, false);
    match command {
        Command::PutVhost(v) => operators("vhost.put", format!("vhost '{}'", v.name)),
        Command::ProtectVhost { name, on } => operators("vhost.protect", format!("vhost '{name}', {on}")),
        Command::DeleteVhost { name, .. } => operators("vhost.delete", format!("vhost '{name}'")),
        Command::PutUser(u) => operators("user.put", format!("user '{}', tags [{}]", u.name, u.tags.join(", "))),
        Command::DeleteUser { name } => operators("user.delete", format!("user '{name}'")),
        Command::SetPermissions(p) => operators(
            "permissions.set",
            format!(
                "user '{}' in vhost '{}': configure '{}', write '{}', read '{}'",
                p.user, p.vhost, p.permissions.configure, p.permissions.write, p.permissions.read
            ),
        ),
        Command::ClearPermissions { user, vhost } => {
            operators("permissions.clear", format!("user '{user}' in vhost '{vhost}'"))
        }
        Command::SetTopicPermissions(p) => {
            operators("topic_permissions.set", format!("user '{}' in vhost '{}': {:?}", p.user, p.vhost, p.permission))
        }
        Command::ClearTopicPermissions { user, vhost, .. } => {
            operators("topic_permissions.clear", format!("user '{user}' in vhost '{vhost}'"))
        }
        Command::SetVhostLimits(l) => operators(
            "vhost_limits.set",
            format!(
                "vhost '{}': max-connections {}, max-queues {}",
                l.vhost,
                limit(l.max_connections),
                limit(l.max_queues)
            ),
        ),
        Command::ClearVhostLimits { vhost } => operators("vhost_limits.clear", format!("vhost '{vhost}'")),
        Command::SetUserLimits { user, max_connections, max_channels } => operators(
            "user_limits.set",
            format!(
                "user '{user}': max-connections {}, max-channels {}",
                limit(*max_connections),
                limit(*max_channels)
            ),
        ),
        Command::ClearUserLimits { user } => operators("user_limits.clear", format!("user '{user}'")),
        Command::SetPolicy(p) => operators(
            policy(p.operator, "policy.set", "operator_policy.set"),
            format!(
                "policy '{}' in vhost '{}': pattern '{}', {}, priority {}, {}",
                p.name,
                p.vhost,
                p.pattern,
                p.apply_to.name(),
                p.priority,
                p.definition
            ),
        ),
        Command::ClearPolicy { vhost, name, operator } => operators(
            policy(*operator, "policy.clear", "operator_policy.clear"),
            format!("policy '{name}' in vhost '{vhost}'"),
        ),
        Command::SetParameter(p) => {
            operators("parameter.set", format!("{} '{}' in vhost '{}'", p.component, p.name, p.vhost))
        }
        Command::ClearParameter { vhost, component, name } => {
            operators("parameter.clear", format!("{component} '{name}' in vhost '{vhost}'"))
        }
        Command::SetGlobalParameter(p) => operators("global_parameter.set", format!("'{}'", p.name)),
        Command::ClearGlobalParameter { name } => operators("global_parameter.clear", format!("'{name}'")),
        Command::DeclareExchange(e) => {
            clients("exchange.declare", format!("{}, type {}", exchange_text(&e.vhost, &e.name), e.kind))
        }
        Command::DeleteExchange { vhost, name, .. } => clients("exchange.delete", exchange_text(vhost, name)),
        Command::DeclareQueue { record, .. } => clients("queue.declare", queue_text(&record.vhost, &record.name)),
        Command::DeleteQueue(delete) => clients("queue.delete", queue_text(&delete.vhost, &delete.name)),
        Command::Bind { record, .. } => clients("bind", binding(record)),
        Command::Unbind { record, .. } => clients("unbind", binding(record)),
    }
}

fn policy(is_operators: bool, plain: &'static str, operators: &'static str) -> &'static str {
    if is_operators { operators } else { plain }
}

fn binding(b: &crate::persist::record::BindingRecord) -> String {
    let destination = if b.to_exchange { "exchange" } else { "queue" };
    format!("exchange '{}' to {destination} '{}' with '{}' in vhost '{}'", b.source, b.destination, b.key, b.vhost)
}
