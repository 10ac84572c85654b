//! Hashes of passwords, for definitions that are written by hand.

use serde_json::json;

use crate::auth::{Hashing, password};
use crate::http::route::Outcome;
use crate::http::{Access, Answer, ApiError, Call, Route, Work};

pub const ROUTES: &[Route] = &[Route::get(
    "/api/auth/hash_password/{password}",
    Access::Login,
    "The hash of a password, with a new salt.",
    Work::Quick(hash),
)];

fn hash(call: &Call) -> Outcome {
    let hashing = Hashing::parse(&call.broker().config.auth.password_hashing).unwrap_or_default();
    let hash = password::hash(call.path("password").as_bytes(), hashing);
    let hash = hash.map_err(|e| ApiError::internal(e.to_string()))?;
    Answer::json(&json!({ "ok": hash }))
}
