//! Users.

use std::sync::Arc;

use serde_json::json;

use super::permissions;
use crate::auth::{Hashing, User, password};
use crate::http::body::{Fields as Body, missing};
use crate::http::fields::Fields;
use crate::http::listing::{self, Listed};
use crate::http::route::Outcome;
use crate::http::{Access, Answer, ApiError, Call, Route, Work};
use crate::vhost::Command;

pub const ROUTES: &[Route] = &[
    Route::get("/api/users", Access::Administrator, "All users.", Work::Blocking(list)),
    Route::get(
        "/api/users/without-permissions",
        Access::Administrator,
        "Users who may enter no virtual host.",
        Work::Blocking(list_without_permissions),
    ),
    Route::post("/api/users/bulk-delete", Access::Administrator, "Delete several users.", Work::Blocking(delete_many)),
    Route::get("/api/users/{user}", Access::Administrator, "One user.", Work::Blocking(one)),
    Route::put("/api/users/{user}", Access::Administrator, "Make or change a user.", Work::Blocking(put)),
    Route::delete("/api/users/{user}", Access::Administrator, "Delete a user.", Work::Blocking(delete)),
    Route::get(
        "/api/users/{user}/permissions",
        Access::Administrator,
        "The permissions of a user in all virtual hosts.",
        Work::Blocking(permissions::of_user),
    ),
    Route::get(
        "/api/users/{user}/topic-permissions",
        Access::Administrator,
        "The topic permissions of a user in all virtual hosts.",
        Work::Blocking(permissions::topics_of_user),
    ),
];

/// Most users that are deleted in one request.
const MOST: usize = 10_000;

struct Users;

impl Listed for Users {
    type Item = Arc<User>;

    fn name<'a>(&self, user: &'a Arc<User>) -> &'a str {
        &user.name
    }

    fn fill(&self, user: &Arc<User>, fields: &mut Fields<'_>) {
        fields.put("name", || user.name.as_str());
        fields.put("password_hash", || user.password_hash.as_deref().unwrap_or_default());
        fields.put("hashing_algorithm", || user.hashing.name());
        fields.put("tags", || user.tags.clone());
        fields.put("limits", || super::limits::of_user(user));
    }
}

/// The user of the path.
///
/// # Errors
/// 404 when there is none.
pub fn user(call: &Call) -> Result<Arc<User>, ApiError> {
    call.broker().directory.user(call.path("user")).ok_or_else(ApiError::not_found)
}

fn list(call: &Call) -> Outcome {
    listing::answer(call, Users, call.broker().directory.users())
}

fn list_without_permissions(call: &Call) -> Outcome {
    let directory = &call.broker().directory;
    let with: std::collections::HashSet<_> = directory.permissions().into_iter().map(|(user, ..)| user).collect();
    let mut users = directory.users();
    users.retain(|user| !with.contains(&user.name));
    listing::answer(call, Users, users)
}

fn one(call: &Call) -> Outcome {
    listing::one(call, &Users, &user(call)?)
}

fn put(call: &Call) -> Outcome {
    let name = call.path("user");
    let fields =
        call.fields(&["name", "password", "password_hash", "hashing_algorithm", "tags", "administrator", "limits"])?;
    let old = call.broker().directory.user(name);
    let (password_hash, hashing) = secret(call, &fields)?;
    let tags = match (fields.words("tags")?, fields.flag("administrator")?) {
        (Some(tags), _) => tags,
        (None, Some(true)) => vec!["administrator".to_owned()],
        (None, Some(false)) => Vec::new(),
        (None, None) => return Err(missing("tags")),
    };
    let (mut max_connections, mut max_channels) =
        old.as_ref().map(|user| (user.max_connections, user.max_channels)).unwrap_or_default();
    if fields.get("limits").is_some() {
        let limits = Body::known(fields.object("limits")?, &["max-connections", "max-channels"])?;
        (max_connections, max_channels) = (limits.int("max-connections")?, limits.int("max-channels")?);
    }
    let user = User { name: name.to_owned(), password_hash, hashing, tags, max_connections, max_channels };
    let applied = call.apply(Command::PutUser(user))?;
    Ok(Answer::put(old.is_none()).after(&applied))
}

/// The password hash that is set; none for a user who cannot log in by password.
fn secret(call: &Call, fields: &Body) -> Result<(Option<String>, Hashing), ApiError> {
    let usual = Hashing::parse(&call.broker().config.auth.password_hashing).unwrap_or_default();
    let hashing = match fields.text("hashing_algorithm")? {
        None => usual,
        Some(name) => Hashing::parse(name).ok_or_else(|| {
            let known = Hashing::ALL.map(Hashing::name).join(", ");
            ApiError::bad_request(format!("field 'hashing_algorithm' should be one of {known}, but is '{name}'"))
        })?,
    };
    match (fields.text("password")?, fields.text("password_hash")?) {
        (Some(_), Some(_)) => {
            Err(ApiError::bad_request("both 'password' and 'password_hash' are given: only one of them may be"))
        }
        (Some(password), None) => {
            let hash = password::hash(password.as_bytes(), hashing).map_err(|e| ApiError::internal(e.to_string()))?;
            Ok((Some(hash), hashing))
        }
        (None, Some("") | None) => Ok((None, hashing)),
        (None, Some(hash)) => {
            password::check(hash, hashing).map_err(|e| ApiError::bad_request(format!("field 'password_hash': {e}")))?;
            Ok((Some(hash.to_owned()), hashing))
        }
    }
}

fn delete(call: &Call) -> Outcome {
    let name = user(call)?.name.clone();
    let applied = call.apply(Command::DeleteUser { name })?;
    Ok(Answer::done().after(&applied))
}

/// Users who are not there count as deleted.
fn delete_many(call: &Call) -> Outcome {
    let names = call.fields(&["users"])?.words("users")?.ok_or_else(|| missing("users"))?;
    if names.len() > MOST {
        return Err(ApiError::bad_request(format!("field 'users' may have {MOST} names, but has {}", names.len())));
    }
    let mut answer = Answer::done();
    for name in names {
        if call.broker().directory.user(&name).is_some() {
            answer = answer.after(&call.apply(Command::DeleteUser { name })?);
        }
    }
    Ok(answer)
}

/// What a user is shown as beside something that belongs to it.
pub fn with_user(user: &str, value: serde_json::Value) -> serde_json::Value {
    json!({ "user": user, "value": value })
}
