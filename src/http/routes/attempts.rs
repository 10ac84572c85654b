//! How many logins were tried.

use serde_json::json;

use crate::http::route::Outcome;
use crate::http::{Access, Answer, ApiError, Call, Route, Work};
use crate::stats::Churn;

pub const ROUTES: &[Route] = &[
    Route::get("/api/auth/attempts/{node}", Access::Monitoring, "Logins that were tried.", Work::Quick(attempts)),
    Route::get(
        "/api/auth/attempts/{node}/source",
        Access::Monitoring,
        "The same by address and user: not kept, as by default in RabbitMQ. The audit log has them.",
        Work::Quick(by_source),
    ),
    Route::delete("/api/auth/attempts/{node}", Access::Administrator, "Count logins anew.", Work::Quick(forget)),
    Route::delete(
        "/api/auth/attempts/{node}/source",
        Access::Administrator,
        "The same: nothing is kept by address.",
        Work::Quick(forget),
    ),
];

/// There is one node.
fn check(call: &Call) -> Result<(), ApiError> {
    if call.path("node") == call.http.node_name() { Ok(()) } else { Err(ApiError::not_found()) }
}

fn attempts(call: &Call) -> Outcome {
    check(call)?;
    let churn = &call.broker().churn;
    let (succeeded, failed) = (churn.get(Churn::LoginSucceeded), churn.get(Churn::LoginFailed));
    Answer::json(&json!([{
        "protocol": "amqp091",
        "auth_attempts": succeeded + failed,
        "auth_attempts_succeeded": succeeded,
        "auth_attempts_failed": failed,
    }]))
}

fn by_source(call: &Call) -> Outcome {
    check(call)?;
    Answer::json(&json!([]))
}

fn forget(call: &Call) -> Outcome {
    check(call)?;
    for what in [Churn::LoginSucceeded, Churn::LoginFailed] {
        call.broker().churn.reset(what);
    }
    Ok(Answer::done())
}
