//! What an operator does with the node itself: its phases, alarms, watermarks. These routes are not RabbitMQ's.

use std::sync::atomic::Ordering;

use serde_json::{Map, Value as Json, json};

use crate::backends::Claim;
use crate::definitions;
use crate::http::access::Peer;
use crate::http::route::{Later, Outcome};
use crate::http::{Access, Answer, ApiError, Call, Phase, Route, Work};
use crate::logs::losses::Output;
use crate::logs::{self, Logs};
use crate::persist::Store;
use crate::vhost::command::Command;

pub const ROUTES: &[Route] = &[
    Route::get("/api/leveret/node/status", Access::Monitoring, "The node: name, phase, files.", Work::Blocking(status)),
    Route::post("/api/leveret/node/start_app", ADMIN, "Clients are served again.", Work::Blocking(start_app)),
    Route::post("/api/leveret/node/stop_app", ADMIN, "Connections and listeners are closed.", Work::Blocking(stop_app)),
    Route::post("/api/leveret/node/reset", ADMIN, "Everything is removed; only while stopped.", Work::Blocking(reset)),
    Route::post("/api/leveret/node/stop", ADMIN, "The process stops.", Work::Quick(stop)),
    Route::post("/api/leveret/node/suspend_listeners", ADMIN, "No new connections.", Work::Blocking(suspend)),
    Route::post("/api/leveret/node/resume_listeners", ADMIN, "New connections again.", Work::Blocking(resume)),
    Route::post("/api/leveret/node/drain", ADMIN, "Maintenance: connections are closed.", Work::Blocking(drain)),
    Route::post("/api/leveret/node/revive", ADMIN, "The end of maintenance.", Work::Blocking(revive)),
    Route::put(
        "/api/leveret/node/env/{key}",
        ADMIN,
        "channel_max, loopback_users or track_auth_attempt_source.",
        Work::Blocking(set_env),
    ),
    Route::put("/api/leveret/memory/watermark", ADMIN, "The memory watermark.", Work::Blocking(set_watermark)),
    Route::put("/api/leveret/disk/limit", ADMIN, "The limit of free disk space.", Work::Blocking(set_disk_limit)),
    Route::get("/api/leveret/config", ADMIN, "Every setting that is in force; no secrets.", Work::Blocking(config)),
    Route::post("/api/leveret/config/reload", ADMIN, "The configuration is read again.", Work::Blocking(reload)),
    Route::get("/api/leveret/alarms", Access::Monitoring, "The alarms that are on.", Work::Quick(alarms)),
    Route::put(
        "/api/leveret/alarms/{resource}",
        ADMIN,
        "Publishers wait until told otherwise.",
        Work::Quick(set_alarm),
    ),
    Route::delete("/api/leveret/alarms/{resource}", ADMIN, "The end of that.", Work::Quick(clear_alarm)),
    Route::post("/api/leveret/auth/check", ADMIN, "Whether a user's password is right.", Work::Awaiting(check_login)),
];

const ADMIN: Access = Access::Administrator;

fn status(call: &Call) -> Outcome {
    let (broker, phase) = (call.broker(), call.http.node.phase());
    let uptime = call.http.started.elapsed().unwrap_or_default().as_millis() as u64;
    let console = broker.config.log.console.then(|| "<stdout>".into());
    let files = logs::handle().into_iter().flat_map(Logs::files).map(|file| file.to_string_lossy());
    let log_files: Vec<_> = console.into_iter().chain(files).collect();
    let lost = Output::ALL.map(|output| (output.name().to_owned(), logs::lost(output).into()));
    let lost: Map<String, Json> = lost.into_iter().collect();
    let config_files: Vec<_> = broker.config.sources.files.iter().map(|file| file.to_string_lossy()).collect();
    let data_dir = std::path::absolute(&broker.config.data_dir).unwrap_or_else(|_| broker.config.data_dir.clone());
    Answer::json(&json!({
        "name": call.http.node_name(),
        "running": phase != Phase::Stopped,
        "listening": phase == Phase::Running,
        "under_maintenance": phase == Phase::Drained,
        "pid": std::process::id(),
        "uptime": uptime,
        "data_dir": data_dir.to_string_lossy(),
        "config_files": config_files,
        "log_files": log_files,
        "log_entries_lost": lost,
    }))
}

fn config(call: &Call) -> Outcome {
    let shown = call.broker().config.effective().into_iter().map(|setting| {
        let source = setting.origin.map_or_else(|| "default".to_owned(), |origin| origin.to_string());
        json!({ "key": setting.key, "value": setting.value, "source": source })
    });
    Answer::json(&shown.collect::<Vec<_>>())
}

/// Errors in it are the caller's to mend; what could not be taken over stands in `failures`.
fn reload(call: &Call) -> Outcome {
    tracing::info!(target: "leveret::config", "'{}' has the configuration read again", call.caller.name());
    let reloaded = call.broker().reload().map_err(|errors| ApiError::bad_request(errors.to_string()))?;
    Answer::json(&json!({
        "changed": reloaded.changes.applied,
        "needs_restart": reloaded.changes.at_restart,
        "failures": reloaded.failures,
        "warnings": reloaded.warnings,
    }))
}

fn enter(call: &Call, phase: Phase) -> Outcome {
    call.http.node.enter(phase).map_err(ApiError::bad_request)?;
    Ok(Answer::done())
}

/// From one phase to another; in a third it is refused, in the other one it is done.
fn leave(call: &Call, from: Phase, to: Phase) -> Outcome {
    match call.http.node.phase() {
        phase if phase == from || phase == to => enter(call, to),
        phase => Err(ApiError::bad_request(format!("the node is in another state: {}", phase.told()))),
    }
}

fn start_app(call: &Call) -> Outcome {
    leave(call, Phase::Stopped, Phase::Running)
}

fn stop_app(call: &Call) -> Outcome {
    enter(call, Phase::Stopped)
}

fn suspend(call: &Call) -> Outcome {
    leave(call, Phase::Running, Phase::Suspended)
}

fn resume(call: &Call) -> Outcome {
    leave(call, Phase::Suspended, Phase::Running)
}

fn drain(call: &Call) -> Outcome {
    match call.http.node.phase() {
        Phase::Stopped => leave(call, Phase::Drained, Phase::Drained),
        _ => enter(call, Phase::Drained),
    }
}

fn revive(call: &Call) -> Outcome {
    leave(call, Phase::Drained, Phase::Running)
}

fn stop(call: &Call) -> Outcome {
    call.http.node.stop();
    Ok(Answer::done())
}

/// Removes everything, and makes what a new node begins with.
fn reset(call: &Call) -> Outcome {
    if call.http.node.phase() != Phase::Stopped {
        return Err(ApiError::bad_request("a node is reset only after stop_app"));
    }
    let broker = call.broker();
    let vhosts = broker.vhosts().into_iter().map(|vhost| vhost.name.to_string());
    let vhosts = vhosts.map(|name| Command::DeleteVhost { name, even_protected: true });
    let users = broker.directory.users().into_iter().map(|user| Command::DeleteUser { name: user.name.clone() });
    let parameters = broker.global_parameters().into_iter().map(|p| Command::ClearGlobalParameter { name: p.name });
    let mut answer = Answer::done();
    for command in vhosts.chain(users).chain(parameters).collect::<Vec<_>>() {
        answer = answer.after(&call.apply(command)?);
    }
    // A node with definitions begins with these, and not with a user whose password everybody knows.
    if broker.config.definitions.load.is_empty() {
        broker.make_defaults().map_err(|error| ApiError::internal(error.to_string()))?;
    } else {
        let loaded = definitions::load(broker).map_err(|error| ApiError::internal(error.to_string()))?;
        answer = answer.after(&loaded);
    }
    tracing::warn!(target: "leveret", "'{}' has reset the node: everything in it has been removed", call.caller.name());
    Ok(answer)
}

/// What test suites change by Erlang's application environment.
fn set_env(call: &Call) -> Outcome {
    let object = call.object()?;
    let value = object.get("value").and_then(Json::as_str).unwrap_or_default();
    let wrong = || ApiError::bad_request(format!("'{value}' is no value for {}", call.path("key")));
    match call.path("key") {
        "channel_max" => {
            let most = value.parse().map_err(|_| wrong())?;
            call.broker().channel_max.store(most, Ordering::Relaxed);
        }
        "loopback_users" => {
            let inside = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).ok_or_else(wrong)?;
            let words = inside.split(',').map(|word| word.trim_matches(['<', '>', '"', ' ']));
            let users = words.filter(|word| !word.is_empty()).map(str::to_owned).collect();
            call.broker().directory.set_loopback_users(users);
        }
        "track_auth_attempt_source" => call.broker().logins.track(value.parse().map_err(|_| wrong())?),
        other => return Err(ApiError::missing(format!("there is no setting '{other}' to change"))),
    }
    tracing::warn!(target: "leveret", "'{}' has {} set to {value}", call.caller.name(), call.path("key"));
    Ok(Answer::done())
}

fn set_watermark(call: &Call) -> Outcome {
    let object = call.object()?;
    let total = call.http.node.total_memory();
    let share = share(&object, "relative").filter(|share| *share <= 1.0);
    let bytes = match amount(&object)? {
        Some(bytes) => bytes,
        None => share.map(|share| (total as f64 * share) as u64).ok_or_else(|| {
            ApiError::bad_request("the watermark is {\"relative\": a share from 0 to 1} or {\"absolute\": \"2GB\"}")
        })?,
    };
    call.broker().memory.set_limit(bytes);
    tracing::warn!(target: "leveret", "'{}' has the memory watermark set to {bytes} bytes", call.caller.name());
    Ok(Answer::done())
}

fn set_disk_limit(call: &Call) -> Outcome {
    let object = call.object()?;
    let total = call.http.node.total_memory();
    let bytes = match amount(&object)? {
        Some(bytes) => bytes,
        None => share(&object, "mem_relative")
            .map(|share| (total as f64 * share) as u64)
            .ok_or_else(|| ApiError::bad_request("the limit is {\"mem_relative\": 1.5} or {\"absolute\": \"2GB\"}"))?,
    };
    store(call)?.set_disk_limit(bytes);
    tracing::warn!(target: "leveret", "'{}' has the limit of free disk set to {bytes} bytes", call.caller.name());
    Ok(Answer::done())
}

fn share(object: &Map<String, Json>, field: &str) -> Option<f64> {
    object.get(field)?.as_f64().filter(|share| share.is_finite() && *share >= 0.0)
}

/// A number of bytes, as a number or with a unit.
fn amount(object: &Map<String, Json>) -> Result<Option<u64>, ApiError> {
    match object.get("absolute") {
        None => Ok(None),
        Some(Json::Number(number)) if number.as_u64().is_some() => Ok(number.as_u64()),
        Some(Json::String(text)) => crate::config::memory(text)
            .map(Some)
            .map_err(|expected| ApiError::bad_request(format!("'{text}' is no amount of memory: expected {expected}"))),
        Some(other) => Err(ApiError::bad_request(format!("{other} is no amount of memory"))),
    }
}

fn store(call: &Call) -> Result<&Store, ApiError> {
    call.broker().store.as_deref().ok_or_else(|| ApiError::bad_request("this node has no disk"))
}

fn alarms(call: &Call) -> Outcome {
    let (broker, node) = (call.broker(), call.http.node_name());
    let alarm = |resource: &str, by_hand: bool| json!({ "resource": resource, "node": node, "set_by_hand": by_hand });
    let mut alarms = Vec::new();
    if broker.memory.is_over() {
        alarms.push(alarm("memory", broker.memory.is_by_hand()));
    }
    if let Some(store) = broker.store.as_ref().filter(|store| store.disk_alarm()) {
        alarms.push(alarm("disk", store.is_alarm_by_hand()));
    }
    Answer::json(&json!({ "alarms": alarms }))
}

fn set_alarm(call: &Call) -> Outcome {
    switch_alarm(call, true)
}

fn clear_alarm(call: &Call) -> Outcome {
    switch_alarm(call, false)
}

fn switch_alarm(call: &Call, on: bool) -> Outcome {
    match call.path("resource") {
        "memory" => call.broker().memory.set_by_hand(on),
        "disk" => store(call)?.set_alarm_by_hand(on),
        other => return Err(ApiError::missing(format!("there is no alarm '{other}': memory or disk"))),
    }
    let (resource, caller) = (call.path("resource"), call.caller.name());
    let done = if on { "set: publishers wait" } else { "cleared" };
    tracing::warn!(target: "leveret", "'{caller}' has the {resource} alarm {done}");
    Ok(Answer::done())
}

/// Says whether a password is right, as for a client of AMQP.
fn check_login(call: Call) -> Later {
    Box::pin(async move { check_password(&call).await })
}

async fn check_password(call: &Call) -> Outcome {
    let object = call.object()?;
    let text = |field: &str| object.get(field).and_then(Json::as_str);
    let (Some(name), Some(password)) = (text("username"), text("password")) else {
        return Err(ApiError::bad_request("username and password are needed, as strings"));
    };
    let peer = match call.caller.peer {
        Peer::Network(address) => address,
        Peer::Local => std::net::Ipv4Addr::LOCALHOST.into(),
    };
    let (broker, password) = (call.broker(), Some(password.as_bytes().to_vec()));
    let claim = Claim { name: name.to_owned(), password, peer };
    match broker.backends.log_in(&broker.directory, &broker.clock, &claim).await {
        Ok(login) => Answer::json(&json!({ "accepted": true, "name": login.user.name, "tags": login.user.tags })),
        Err(reason) => Answer::json(&json!({ "accepted": false, "reason": reason })),
    }
}
