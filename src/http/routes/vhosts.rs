//! Virtual hosts.

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::{Value as Json, json};

use super::permissions;
use crate::auth::Permissions;
use crate::config::QueueType;
use crate::connection::census::Standing;
use crate::http::fields::Fields;
use crate::http::figures;
use crate::http::listing::{self, Listed};
use crate::http::route::Outcome;
use crate::http::samples::Over;
use crate::http::{Access, Answer, ApiError, Call, Http, Route, Work};
use crate::persist::record::{PermissionRecord, VhostRecord};
use crate::vhost::{Command, Vhost};

pub const ROUTES: &[Route] = &[
    Route::get("/api/vhosts", Access::Login, "All virtual hosts that the user may see.", Work::Blocking(list)),
    Route::get("/api/vhosts/{vhost}", Access::VisibleVhost, "One virtual host.", Work::Blocking(one)),
    Route::put("/api/vhosts/{vhost}", Access::Administrator, "Make or change a virtual host.", Work::Blocking(put)),
    Route::delete("/api/vhosts/{vhost}", Access::Administrator, "Delete a virtual host.", Work::Blocking(delete)),
    Route::post(
        "/api/vhosts/{vhost}/deletion/protection",
        Access::Administrator,
        "Protect a virtual host from deletion.",
        Work::Blocking(protect),
    ),
    Route::delete(
        "/api/vhosts/{vhost}/deletion/protection",
        Access::Administrator,
        "The end of that.",
        Work::Blocking(unprotect),
    ),
    Route::post(
        "/api/vhosts/{vhost}/start/{node}",
        Access::Administrator,
        "A virtual host always runs: nothing is done.",
        Work::Quick(start),
    ),
    Route::get(
        "/api/vhosts/{vhost}/permissions",
        Access::VisibleVhost,
        "The permissions of all users in a virtual host.",
        Work::Blocking(permissions::of_vhost),
    ),
    Route::get(
        "/api/vhosts/{vhost}/topic-permissions",
        Access::VisibleVhost,
        "The topic permissions of all users in a virtual host.",
        Work::Blocking(permissions::topics_of_vhost),
    ),
];

const FIELDS: [&str; 8] = [
    "name",
    "description",
    "tags",
    "tracing",
    "default_queue_type",
    "defaultqueuetype",
    "metadata",
    "protected_from_deletion",
];

/// What is shown of virtual hosts.
pub struct Vhosts {
    http: Arc<Http>,
    over: Over<Standing>,
}

impl Vhosts {
    pub fn of(call: &Call) -> Self {
        Self { http: Arc::clone(&call.http), over: Over::default() }
    }
}

impl Listed for Vhosts {
    type Item = Arc<Vhost>;

    fn name<'a>(&self, vhost: &'a Arc<Vhost>) -> &'a str {
        &vhost.name
    }

    fn fill(&self, vhost: &Arc<Vhost>, fields: &mut Fields<'_>) {
        let record = vhost.record();
        let default_type = || record.default_queue_type.clone().unwrap_or_else(|| "classic".to_owned());
        fields.put("name", || &*vhost.name);
        fields.put("description", || record.description.as_str());
        fields.put("tags", || record.tags.clone());
        fields.put("default_queue_type", default_type);
        fields.put("protected_from_deletion", || record.is_protected());
        fields.put("metadata", || {
            let mut metadata = json!({
                "description": record.description,
                "tags": record.tags,
                "default_queue_type": default_type(),
            });
            if let (Some(protected), Some(metadata)) = (record.protected, metadata.as_object_mut()) {
                metadata.insert("protected_from_deletion".to_owned(), protected.into());
            }
            metadata
        });
        fields.put("tracing", || vhost.is_traced());
        figures::put_vhost(&self.http, vhost, &self.over, fields);
        fields.put("cluster_state", || json!({ self.http.node_name(): "running" }));
    }
}

fn list(call: &Call) -> Outcome {
    let mut vhosts = call.broker().vhosts();
    vhosts.retain(|vhost| call.caller.is_monitor() || call.caller.may_enter(call.broker(), &vhost.name));
    listing::answer(call, Vhosts::of(call), vhosts)
}

fn one(call: &Call) -> Outcome {
    let (vhost, shared) = (call.vhost()?, &call.http.shared);
    let (now, album) = (call.broker().clock.now_ms(), &shared.census.albums.vhosts);
    let over = Over::asked(call, |span| album.look(&vhost, now, shared.census.standing_of(shared, &vhost), span));
    listing::one(call, &Vhosts { over, ..Vhosts::of(call) }, &vhost)
}

fn put(call: &Call) -> Outcome {
    let name = call.path("vhost");
    let fields = call.fields(&FIELDS)?;
    let metadata = crate::http::body::Fields::known(
        fields.object("metadata")?,
        &["description", "tags", "default_queue_type", "protected_from_deletion"],
    )?;
    let old = call.broker().vhost(name);
    let is_new = old.is_none();
    let record = old.as_ref().map(|vhost| vhost.record());
    let kept = |get: fn(&VhostRecord) -> String| record.as_deref().map(get).unwrap_or_default();
    let description = fields.text("description")?.or(metadata.text("description")?).map(str::to_owned);
    let tags = fields.words("tags")?.or(metadata.words("tags")?);
    let default_type = fields.text("default_queue_type")?.or(fields.text("defaultqueuetype")?);
    let default_type = match default_type.or(metadata.text("default_queue_type")?) {
        None | Some("" | "undefined") => record.as_ref().and_then(|record| record.default_queue_type.clone()),
        Some(kind) => Some(known_type(kind)?),
    };
    let protected = fields.flag("protected_from_deletion")?.or(metadata.flag("protected_from_deletion")?);
    let record = VhostRecord {
        name: name.to_owned(),
        description: description.unwrap_or_else(|| kept(|record| record.description.clone())),
        tags: tags.unwrap_or_else(|| record.as_ref().map(|record| record.tags.clone()).unwrap_or_default()),
        default_queue_type: default_type,
        protected: protected.or_else(|| record.as_ref().and_then(|record| record.protected)),
    };
    let tracing = fields.flag("tracing")?;
    let mut answer = Answer::put(is_new).after(&call.apply(Command::PutVhost(record))?);
    if let Some(user) = call.caller.user.as_ref().filter(|_| is_new && call.caller.is_internal()) {
        // Who makes a virtual host may use it, as in RabbitMQ.
        let (user, vhost, permissions) = (user.name.clone(), name.to_owned(), Permissions::all());
        let permission = PermissionRecord { user, vhost, permissions };
        answer = answer.after(&call.apply(Command::SetPermissions(permission))?);
    }
    if let (Some(on), Some(vhost)) = (tracing, call.broker().vhost(name)) {
        vhost.set_tracing(on);
    }
    Ok(answer)
}

fn known_type(kind: &str) -> Result<String, ApiError> {
    let known = [QueueType::Classic, QueueType::Quorum, QueueType::Stream].map(QueueType::name);
    if known.contains(&kind) {
        return Ok(kind.to_owned());
    }
    let known = known.join(", ");
    Err(ApiError::bad_request(format!("field 'default_queue_type' should be one of {known}, but is '{kind}'")))
}

fn delete(call: &Call) -> Outcome {
    let vhost = call.vhost()?;
    let delete = Command::DeleteVhost { name: vhost.name.to_string(), even_protected: false };
    let applied = call.apply(delete).map_err(|error| match vhost.record().is_protected() {
        true => ApiError::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", error.reason),
        false => error,
    })?;
    Ok(Answer::done().after(&applied))
}

fn protect(call: &Call) -> Outcome {
    set_protection(call, true)
}

fn unprotect(call: &Call) -> Outcome {
    set_protection(call, false)
}

fn set_protection(call: &Call, on: bool) -> Outcome {
    let name = call.vhost()?.name.to_string();
    Ok(Answer::done().after(&call.apply(Command::ProtectVhost { name, on })?))
}

fn start(call: &Call) -> Outcome {
    call.vhost()?;
    match call.path("node") == call.http.node_name() {
        true => Ok(Answer::done()),
        false => Err(ApiError::bad_request(format!("there is no node '{}'", call.path("node")))),
    }
}

/// Limits and the like of one virtual host, as an object of a list.
pub fn with_vhost(vhost: &str, value: Json) -> Json {
    json!({ "vhost": vhost, "value": value })
}
