//! Limits of virtual hosts and users.

use parking_lot::Mutex;
use serde_json::{Map, Value as Json};

use super::users::{user, with_user};
use super::vhosts::with_vhost;
use crate::auth::User;
use crate::http::body::missing;
use crate::http::route::Outcome;
use crate::http::{Access, Answer, ApiError, Call, Route, Work};
use crate::persist::record::VhostLimitsRecord;
use crate::vhost::throttles::{self, Of};
use crate::vhost::{Broker, Command, Vhost};

pub const ROUTES: &[Route] = &[
    Route::get("/api/vhost-limits", Access::Login, "Limits of all virtual hosts.", Work::Blocking(of_vhosts)),
    Route::get(
        "/api/vhost-limits/{vhost}",
        Access::VisibleVhost,
        "Limits of a virtual host.",
        Work::Blocking(of_one_vhost),
    ),
    Route::put(
        "/api/vhost-limits/{vhost}/{name}",
        Access::Administrator,
        "Set max-connections, max-queues, max-publish-rate, max-publish-bytes-rate or max-stored-bytes of a virtual host.",
        Work::Blocking(set_of_vhost),
    ),
    Route::delete(
        "/api/vhost-limits/{vhost}/{name}",
        Access::Administrator,
        "Remove a limit of a virtual host.",
        Work::Blocking(clear_of_vhost),
    ),
    Route::get(
        "/api/user-limits",
        Access::Login,
        "Limits of all users; others than administrators see their own.",
        Work::Blocking(of_users),
    ),
    Route::get("/api/user-limits/{user}", Access::Login, "Limits of a user.", Work::Blocking(of_one_user)),
    Route::put(
        "/api/user-limits/{user}/{name}",
        Access::Administrator,
        "Set max-connections, max-channels, max-publish-rate, max-publish-bytes-rate or max-stored-bytes of a user.",
        Work::Blocking(set_of_user),
    ),
    Route::delete(
        "/api/user-limits/{user}/{name}",
        Access::Administrator,
        "Remove a limit of a user.",
        Work::Blocking(clear_of_user),
    ),
];

fn object<const N: usize>(limits: [(&str, Option<i64>); N]) -> Json {
    let set = limits.into_iter().filter_map(|(name, limit)| Some((name.to_owned(), limit?.into())));
    Json::Object(set.collect::<Map<_, _>>())
}

pub fn of_user(user: &User) -> Json {
    object([("max-connections", user.max_connections), ("max-channels", user.max_channels)])
}

/// Limits and rates together.
fn with_rates(limits: Json, rates: Map<String, Json>) -> Json {
    match limits {
        Json::Object(mut limits) => {
            limits.extend(rates);
            Json::Object(limits)
        }
        other => other,
    }
}

fn of_vhost(broker: &Broker, vhost: &Vhost) -> Option<Json> {
    let set = vhost.limits.set();
    let limits = object([("max-connections", set.max_connections), ("max-queues", set.max_queues)]);
    let limits = with_rates(limits, broker.rates(Of::Vhost(&vhost.name)));
    limits.as_object().is_some_and(|limits| !limits.is_empty()).then(|| with_vhost(&vhost.name, limits))
}

fn of_vhosts(call: &Call) -> Outcome {
    let shown: Vec<_> = call.vhosts()?.iter().filter_map(|vhost| of_vhost(call.broker(), vhost)).collect();
    Answer::json(&shown)
}

fn of_one_vhost(call: &Call) -> Outcome {
    Answer::json(&of_vhost(call.broker(), &*call.vhost()?).into_iter().collect::<Vec<_>>())
}

/// The value of the body.
fn value(call: &Call) -> Result<i64, ApiError> {
    let fields = call.fields(&["value", "vhost", "user", "name"])?;
    fields.int("value")?.ok_or_else(|| missing("value"))
}

fn unknown(name: &str, known: &str) -> ApiError {
    ApiError::bad_request(format!(
        "Unrecognised terms [{{<<\"{name}\">>,..}}]: there is no limit '{name}', only {known}"
    ))
}

/// The limits of one owner are stored together: whoever changes one of them must not write over a change of another.
static CHANGING: Mutex<()> = Mutex::new(());

/// Sets or removes one limit of a virtual host.
fn change_of_vhost(call: &Call, limit: Option<i64>) -> Outcome {
    let _one_at_a_time = CHANGING.lock();
    let vhost = call.vhost()?;
    let mut record = VhostLimitsRecord { vhost: vhost.name.to_string(), ..vhost.limits.set() };
    match call.path("name") {
        "max-connections" => record.max_connections = limit,
        "max-queues" => record.max_queues = limit,
        rate if throttles::NAMES.contains(&rate) => {
            let command = call.broker().change_rate(Of::Vhost(&vhost.name), rate, limit);
            return Ok(Answer::done().after(&call.apply(command)?));
        }
        other => {
            return Err(unknown(
                other,
                "max-connections, max-queues, max-publish-rate, max-publish-bytes-rate and max-stored-bytes",
            ));
        }
    }
    let is_nothing = record.max_connections.is_none() && record.max_queues.is_none();
    let applied = match is_nothing {
        true => call.apply(Command::ClearVhostLimits { vhost: record.vhost })?,
        false => call.apply(Command::SetVhostLimits(record))?,
    };
    Ok(Answer::done().after(&applied))
}

fn set_of_vhost(call: &Call) -> Outcome {
    change_of_vhost(call, Some(value(call)?))
}

fn clear_of_vhost(call: &Call) -> Outcome {
    change_of_vhost(call, None)
}

fn shown_of_user(broker: &Broker, user: &User) -> Option<Json> {
    let limits = with_rates(of_user(user), broker.rates(Of::User(&user.name)));
    limits.as_object().is_some_and(|limits| !limits.is_empty()).then(|| with_user(&user.name, limits))
}

fn of_users(call: &Call) -> Outcome {
    let mut users = call.broker().directory.users();
    users.retain(|user| call.caller.is_administrator() || user.name == call.caller.name());
    Answer::json(&users.iter().filter_map(|user| shown_of_user(call.broker(), user)).collect::<Vec<_>>())
}

fn of_one_user(call: &Call) -> Outcome {
    let is_visible = call.caller.is_administrator() || call.path("user") == call.caller.name();
    let shown = if is_visible { shown_of_user(call.broker(), &*user(call)?) } else { None };
    Answer::json(&shown.into_iter().collect::<Vec<_>>())
}

fn change_of_user(call: &Call, limit: Option<i64>) -> Outcome {
    let _one_at_a_time = CHANGING.lock();
    let found = user(call)?;
    let (mut max_connections, mut max_channels) = (found.max_connections, found.max_channels);
    match call.path("name") {
        "max-connections" => max_connections = limit,
        "max-channels" => max_channels = limit,
        rate if throttles::NAMES.contains(&rate) => {
            let command = call.broker().change_rate(Of::User(&found.name), rate, limit);
            return Ok(Answer::done().after(&call.apply(command)?));
        }
        other => {
            return Err(unknown(
                other,
                "max-connections, max-channels, max-publish-rate, max-publish-bytes-rate and max-stored-bytes",
            ));
        }
    }
    let user = found.name.clone();
    let applied = call.apply(Command::SetUserLimits { user, max_connections, max_channels })?;
    Ok(Answer::done().after(&applied))
}

fn set_of_user(call: &Call) -> Outcome {
    change_of_user(call, Some(value(call)?))
}

fn clear_of_user(call: &Call) -> Outcome {
    change_of_user(call, None)
}
