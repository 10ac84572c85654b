//! Every change of metadata, as a value.

use std::sync::Arc;

use super::policies::Spread;
use super::recall::Past;
use crate::auth::User;
use crate::persist::record::{
    BindingRecord, ExchangeRecord, GlobalParameterRecord, ParameterRecord, PermissionRecord, PolicyRecord, QueueRecord,
    TopicPermissionRecord, VhostLimitsRecord, VhostRecord,
};
use crate::queue::Queue;

/// One change of the catalog. All ways to change metadata end here: AMQP methods, definitions, the operator.
#[derive(Clone, Debug)]
pub enum Command {
    PutVhost(VhostRecord),
    /// Protects a virtual host from being deleted, or no longer.
    ProtectVhost {
        name: String,
        on: bool,
    },
    DeleteVhost {
        name: String,
        /// Whatever protects it.
        even_protected: bool,
    },
    PutUser(User),
    DeleteUser {
        name: String,
    },
    SetPermissions(PermissionRecord),
    ClearPermissions {
        user: String,
        vhost: String,
    },
    SetTopicPermissions(TopicPermissionRecord),
    ClearTopicPermissions {
        user: String,
        vhost: String,
        /// Only the one for this exchange.
        exchange: Option<String>,
    },
    SetVhostLimits(VhostLimitsRecord),
    ClearVhostLimits {
        vhost: String,
    },
    SetUserLimits {
        user: String,
        max_connections: Option<i64>,
        max_channels: Option<i64>,
    },
    ClearUserLimits {
        user: String,
    },
    /// Comes into force for every queue and exchange before the answer: with very many of them it takes a while.
    SetPolicy(PolicyRecord),
    ClearPolicy {
        vhost: String,
        name: String,
        operator: bool,
    },
    SetParameter(ParameterRecord),
    ClearParameter {
        vhost: String,
        component: String,
        name: String,
    },
    SetGlobalParameter(GlobalParameterRecord),
    ClearGlobalParameter {
        name: String,
    },
    DeclareExchange(ExchangeRecord),
    DeleteExchange {
        vhost: String,
        name: String,
        if_unused: bool,
    },
    DeclareQueue {
        record: QueueRecord,
        exclusive_owner: Option<u64>,
    },
    DeleteQueue(DeleteQueue),
    Bind {
        record: BindingRecord,
        connection: Option<u64>,
    },
    Unbind {
        record: BindingRecord,
        connection: Option<u64>,
    },
}

/// Deletes a queue, under conditions.
#[derive(Clone, Debug, Default)]
pub struct DeleteQueue {
    pub vhost: String,
    pub name: String,
    pub if_unused: bool,
    pub if_empty: bool,
    /// The connection that asks; another one's exclusive queue is refused.
    pub connection: Option<u64>,
    /// Only the queue of this number, not another one that has the name now.
    pub only: Option<u64>,
    /// Only while it is abandoned: an auto-delete queue whose last consumer has gone. It is no error when it is not.
    pub if_abandoned: bool,
    /// Only when it has been unused for as long as it may be. It is no error when it has not.
    pub if_expired: bool,
}

/// What a command has done.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// The catalog's number of the change. It is durable when the catalog has flushed that number; nothing may be
    /// answered before. `None` when nothing durable is involved.
    pub durable_at: Option<u64>,
    /// The queue that was declared.
    pub queue: Option<Arc<Queue>>,
    /// Ready messages that were deleted.
    pub messages: usize,
    /// Messages that the new binding's destination gets, to be published by who has asked for the binding.
    pub history: Option<Past>,
    /// A change of policies that queues and exchanges have to hear of.
    pub(super) spread: Option<Spread>,
}
