//! How many logins were tried.

use serde_json::{Value as Json, json};

use crate::auth::{Protocol, Tried};
use crate::http::route::Outcome;
use crate::http::{Access, Answer, ApiError, Call, Route, Work};

pub const ROUTES: &[Route] = &[
    Route::get("/api/auth/attempts/{node}", Access::Monitoring, "Logins that were tried.", Work::Quick(attempts)),
    Route::get(
        "/api/auth/attempts/{node}/source",
        Access::Monitoring,
        "The same by address and user, where track_auth_attempt_source is on.",
        Work::Blocking(by_source),
    ),
    Route::delete("/api/auth/attempts/{node}", Access::Administrator, "Count logins anew.", Work::Quick(forget)),
    Route::delete("/api/auth/attempts/{node}/source", Access::Administrator, "The same.", Work::Quick(forget)),
];

/// There is one node.
fn check(call: &Call) -> Result<(), ApiError> {
    if call.path("node") == call.http.node_name() { Ok(()) } else { Err(ApiError::not_found()) }
}

fn attempts(call: &Call) -> Outcome {
    check(call)?;
    let logins = &call.broker().logins;
    Answer::json(&Protocol::ALL.map(|protocol| shown(json!({ "protocol": protocol.name() }), logins.of(protocol))))
}

fn by_source(call: &Call) -> Outcome {
    check(call)?;
    let rows = call.broker().logins.by_source().into_iter().map(|(source, tried)| {
        let who = json!({
            "remote_address": source.address,
            "username": source.user,
            "protocol": source.protocol.name(),
        });
        shown(who, tried)
    });
    Answer::json(&rows.collect::<Vec<_>>())
}

/// The counts beside what they are of.
fn shown(mut of: Json, tried: Tried) -> Json {
    let counts = [
        ("auth_attempts", tried.total()),
        ("auth_attempts_failed", tried.failed),
        ("auth_attempts_succeeded", tried.succeeded),
    ];
    if let Some(fields) = of.as_object_mut() {
        fields.extend(counts.map(|(name, count)| (name.to_owned(), count.into())));
    }
    of
}

fn forget(call: &Call) -> Outcome {
    check(call)?;
    call.broker().logins.forget();
    Ok(Answer::done())
}
