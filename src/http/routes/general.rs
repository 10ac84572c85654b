//! Who one is, whether the node serves, and a page for people.

use axum::http::StatusCode;
use serde_json::json;

use crate::http::route::Outcome;
use crate::http::{Access, Answer, Call, Route, Work};

pub const ROUTES: &[Route] = &[
    Route::get("/", Access::Open, "A page that says what this is.", Work::Quick(index)),
    Route::get("/api", Access::Open, "The same.", Work::Quick(index)),
    Route::get("/api/index.html", Access::Open, "The same.", Work::Quick(index)),
    Route::get("/healthz", Access::Open, "200 while the process answers.", Work::Quick(alive)),
    Route::get("/readyz", Access::Open, "200 while clients can connect and publish, else 503.", Work::Quick(ready)),
    Route::get("/api/whoami", Access::Login, "The user who calls, and the tags.", Work::Quick(whoami)),
];

fn index(_: &Call) -> Outcome {
    Ok(Answer::html(include_str!("index.html")))
}

fn alive(_: &Call) -> Outcome {
    Ok(Answer::text("ok\n"))
}

fn ready(call: &Call) -> Outcome {
    match not_ready(call) {
        None => Ok(Answer::text("ok\n")),
        Some(why) => Ok(Answer::text_with(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"))),
    }
}

/// Why clients had better not come now.
fn not_ready(call: &Call) -> Option<&'static str> {
    let broker = call.broker();
    let disk = broker.store.as_ref();
    if disk.is_some_and(|store| store.failure().borrow().is_some()) {
        return Some("the disk has failed");
    }
    if !call.http.node.listeners().iter().any(|listener| listener.protocol == "amqp") {
        return Some("AMQP is not served");
    }
    if broker.memory.is_over() {
        return Some("memory alarm: publishers wait");
    }
    disk.is_some_and(|store| store.disk_alarm()).then_some("disk alarm: publishers wait")
}

fn whoami(call: &Call) -> Outcome {
    let tags = match &call.caller.user {
        Some(user) => user.tags.clone(),
        None => vec!["administrator".to_owned()],
    };
    Answer::json(&json!({ "name": call.caller.name(), "tags": tags }))
}
