//! Queues.

use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::{apart, bindings, connections, consumers};
use crate::auth::Access as Permission;
use crate::config::QueueType;
use crate::http::body;
use crate::http::fields::{Columns, Fields};
use crate::http::figures;
use crate::http::listing::{self, Listed};
use crate::http::route::Outcome;
use crate::http::samples::Over;
use crate::http::{Access, Answer, ApiError, Call, Http, Route, Work, pid};
use crate::persist::definitions::table_to_json;
use crate::persist::record::QueueRecord;
use crate::queue::Queue;
use crate::queue::arguments::type_of;
use crate::queue::counting::QueueSample;
use crate::vhost::command::DeleteQueue;
use crate::vhost::names::queue_text;
use crate::vhost::{Command, Vhost};

pub const ROUTES: &[Route] = &[
    Route::get("/api/queues", Access::Login, "All queues.", Work::Blocking(list)),
    Route::get("/api/queues/detailed", Access::Login, "The same.", Work::Blocking(list)),
    Route::get("/api/queues/{vhost}", Access::Vhost, "The queues of a virtual host.", Work::Blocking(list)),
    Route::get("/api/queues/{vhost}/{queue}", Access::Vhost, "One queue.", Work::Blocking(one)),
    Route::put("/api/queues/{vhost}/{queue}", Access::Vhost, "Declare a queue.", Work::Blocking(put)),
    Route::delete("/api/queues/{vhost}/{queue}", Access::Vhost, "Delete a queue.", Work::Blocking(delete)),
    Route::delete(
        "/api/queues/{vhost}/{queue}/contents",
        Access::Vhost,
        "Remove all ready messages of a queue.",
        Work::Blocking(purge),
    ),
    Route::get(
        "/api/queues/{vhost}/{queue}/bindings",
        Access::Vhost,
        "The bindings to a queue.",
        Work::Blocking(bindings::to_queue),
    ),
    Route::post(
        "/api/queues/{vhost}/{queue}/actions",
        Access::Administrator,
        "Actions of mirrored queues: there is nothing to do on one node.",
        Work::Quick(act),
    ),
];

/// A queue and where it is.
pub type Item = (Arc<Vhost>, Arc<Queue>);

/// What is shown of queues.
pub struct Queues {
    http: Arc<Http>,
    over: Over<QueueSample>,
}

impl Queues {
    pub fn of(call: &Call) -> Self {
        Self { http: Arc::clone(&call.http), over: Over::default() }
    }
}

impl Listed for Queues {
    type Item = Item;

    fn name<'a>(&self, item: &'a Item) -> &'a str {
        &item.1.spec.name
    }

    fn fill(&self, (vhost, queue): &Item, fields: &mut Fields<'_>) {
        let spec = &queue.spec;
        fields.put("name", || &*spec.name);
        fields.put("vhost", || &*spec.vhost);
        fields.put("type", || type_of(&spec.arguments).name());
        fields.put("durable", || spec.durable);
        fields.put("auto_delete", || spec.auto_delete);
        fields.put("exclusive", || spec.exclusive_owner.is_some());
        if let Some(owner) = spec.exclusive_owner {
            fields.put("owner_pid_details", || owner_details(&self.http, owner));
        }
        fields.put("arguments", || table_to_json(&spec.arguments));
        fields.put("node", || self.http.node_name());
        fields.put("state", || if queue.damage().is_some() { "crashed" } else { "running" });
        if type_of(&spec.arguments) == QueueType::Quorum {
            fields.put("leader", || self.http.node_name());
            fields.put("members", || json!([self.http.node_name()]));
            fields.put("online", || json!([self.http.node_name()]));
        }
        figures::put_queue(queue, &self.over, fields);
        if fields.wants("policy") || fields.wants("operator_policy") || fields.wants("effective_policy_definition") {
            let policy = vhost.effective_policy(queue);
            fields.put("policy", || policy.policy.as_deref().map_or(Json::Null, Json::from));
            fields.put("operator_policy", || policy.operator_policy.as_deref().map_or(Json::Null, Json::from));
            fields.put("effective_policy_definition", || policy.definition);
        }
    }
}

/// The connection that an exclusive queue belongs to.
fn owner_details(http: &Http, owner: u64) -> Json {
    let owner = http.shared.registry.get(owner);
    owner.map_or(Json::Null, |owner| {
        let mut details = connections::summary(&owner);
        details.insert("pid".to_owned(), pid::of_connection(http.node_name(), owner.outbox.connection).into());
        Json::Object(details)
    })
}

fn list(call: &Call) -> Outcome {
    let mut shown: Vec<Item> = Vec::new();
    for vhost in call.vhosts()? {
        shown.extend(vhost.queues_by_name().iter().map(|queue| (Arc::clone(&vhost), Arc::clone(queue))));
    }
    listing::answer(call, Queues::of(call), shown)
}

/// The queue of the path.
///
/// # Errors
/// 404 when there is none.
pub fn queue(call: &Call) -> Result<Item, ApiError> {
    let vhost = call.vhost()?;
    let queue = vhost.queue(call.path("queue")).ok_or_else(ApiError::not_found)?;
    Ok((vhost, queue))
}

/// The same, when the caller may do this with it.
///
/// # Errors
/// 404 when there is none, 401 when the permission is missing, 400 for one that belongs to a connection.
pub fn queue_for(call: &Call, permission: Permission) -> Result<Item, ApiError> {
    let (vhost, queue) = queue(call)?;
    let name = &queue.spec.name;
    call.check_permission(permission, name, &queue_text(&vhost.name, name))?;
    crate::vhost::declare::check_exclusive_access(&queue, None, false)?;
    Ok((vhost, queue))
}

fn one(call: &Call) -> Outcome {
    let item = queue(call)?;
    let columns = Columns::of(call);
    let mut fields = Fields::new(&columns);
    let (now, album) = (call.broker().clock.now_ms(), &call.http.shared.census.albums.queues);
    let over = Over::asked(call, |span| album.look(&item.1, now, item.1.sample_now(), span));
    Queues { over, ..Queues::of(call) }.fill(&item, &mut fields);
    let consumers = consumers::of_queue(&call.http, &item.1);
    let tag = |only: &str| {
        let only = consumers.iter().find(|consumer| consumer[only] == true);
        only.map_or(Json::Null, |consumer| consumer["consumer_tag"].clone())
    };
    fields.put("exclusive_consumer_tag", || tag("exclusive"));
    fields.put("single_active_consumer_tag", || if item.1.is_single_active() { tag("active") } else { Json::Null });
    fields.put("consumer_details", || consumers);
    fields.put("incoming", || apart::into_queue(&item.0, &item.1));
    fields.put("deliveries", || apart::out_of_queue(&call.http, &item.0, &item.1));
    Answer::json(&fields.finish())
}

fn put(call: &Call) -> Outcome {
    let (vhost, name) = (call.vhost()?, call.path("queue"));
    let fields = call.fields(&["name", "vhost", "node", "type", "durable", "auto_delete", "exclusive", "arguments"])?;
    if name.is_empty() || name.len() > 255 {
        return Err(ApiError::bad_request(format!("the queue's name has {} bytes, 1 to 255 are allowed", name.len())));
    }
    if fields.flag("exclusive")? == Some(true) {
        return Err(ApiError::bad_request("field 'exclusive': an exclusive queue belongs to a connection"));
    }
    let arguments = with_type(&vhost, fields.object("arguments")?, fields.text("type")?);
    let arguments = body::table("arguments", &arguments)?;
    let record = QueueRecord {
        vhost: vhost.name.to_string(),
        name: name.to_owned(),
        // Queues of the other types are always durable.
        durable: fields.flag("durable")?.unwrap_or(type_of(&arguments) != QueueType::Classic),
        auto_delete: fields.flag("auto_delete")?.unwrap_or(false),
        arguments,
        id: 0,
    };
    call.check_permission(Permission::Configure, name, &queue_text(&vhost.name, name))?;
    check_dead_letters(call, &vhost, &record)?;
    let old = vhost.queue(name);
    if old.is_none() {
        crate::vhost::names::check_not_reserved("queue", name)?;
    }
    let applied = call.apply(Command::DeclareQueue { record, exclusive_owner: None })?;
    Ok(Answer::put(old.is_none()).after(&applied))
}

/// A queue's type may be given beside its arguments, and is the virtual host's otherwise.
fn with_type(vhost: &Vhost, mut arguments: Map<String, Json>, kind: Option<&str>) -> Map<String, Json> {
    let record = vhost.record();
    let kind = kind.or(record.default_queue_type.as_deref()).filter(|kind| *kind != "default");
    if let Some(kind) = kind {
        arguments.entry(crate::queue::arguments::QUEUE_TYPE).or_insert_with(|| kind.into());
    }
    arguments
}

/// Who makes a queue with dead letters must be able to read it and write to their exchange, as by AMQP.
fn check_dead_letters(call: &Call, vhost: &Vhost, record: &QueueRecord) -> Result<(), ApiError> {
    let Some(to) = record.arguments.get("x-dead-letter-exchange").and_then(crate::frames::Value::as_text) else {
        return Ok(());
    };
    call.check_permission(Permission::Read, &record.name, &queue_text(&vhost.name, &record.name))?;
    call.check_permission(Permission::Write, &to, &crate::vhost::names::exchange_text(&vhost.name, &to))
}

fn delete(call: &Call) -> Outcome {
    let (vhost, queue) = queue_for(call, Permission::Configure)?;
    let delete = DeleteQueue {
        vhost: vhost.name.to_string(),
        name: queue.spec.name.to_string(),
        if_unused: call.query.is_true("if-unused"),
        if_empty: call.query.is_true("if-empty"),
        ..DeleteQueue::default()
    };
    let counts = queue.counts();
    let applied = call.apply(Command::DeleteQueue(delete))?;
    // A client's own deletion is a line for debugging; who deletes from outside should find it again.
    let (name, had) = (queue_text(&vhost.name, &queue.spec.name), counts.ready + counts.unacked);
    tracing::info!(target: "leveret::queue", "queue.delete by {}: {name}, which had {had} messages", call.caller.name());
    Ok(Answer::done().after(&applied))
}

fn purge(call: &Call) -> Outcome {
    let (vhost, queue) = queue_for(call, Permission::Read)?;
    let purged = queue.purge();
    call.tell("queue.purge", &format!("{purged} messages of {}", queue_text(&vhost.name, &queue.spec.name)));
    Ok(Answer::done())
}

fn act(call: &Call) -> Outcome {
    queue(call)?;
    let fields = call.fields(&["action", "name", "vhost", "mode"])?;
    match fields.needed_text("action")? {
        "sync" | "cancel_sync" => Ok(Answer::done()),
        other => Err(ApiError::bad_request(format!("unknown action '{other}'; known ones are sync, cancel_sync"))),
    }
}
