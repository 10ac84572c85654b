//! Permissions, and topic permissions.

use super::users;
use crate::auth::{Permissions, TopicPermission};
use crate::http::fields::Fields;
use crate::http::listing::{self, Listed};
use crate::http::route::Outcome;
use crate::http::{Access, Answer, ApiError, Call, Route, Work};
use crate::persist::record::{PermissionRecord, TopicPermissionRecord};
use crate::vhost::Command;

pub const ROUTES: &[Route] = &[
    Route::get("/api/permissions", Access::Administrator, "All permissions.", Work::Blocking(list)),
    Route::get(
        "/api/permissions/{vhost}/{user}",
        Access::Administrator,
        "A user's permissions in a virtual host.",
        Work::Blocking(one),
    ),
    Route::put(
        "/api/permissions/{vhost}/{user}",
        Access::Administrator,
        "Set a user's permissions in a virtual host.",
        Work::Blocking(put),
    ),
    Route::delete(
        "/api/permissions/{vhost}/{user}",
        Access::Administrator,
        "Take a user's permissions in a virtual host away.",
        Work::Blocking(delete),
    ),
    Route::get("/api/topic-permissions", Access::Administrator, "All topic permissions.", Work::Blocking(list_topics)),
    Route::get(
        "/api/topic-permissions/{vhost}/{user}",
        Access::Administrator,
        "A user's topic permissions in a virtual host.",
        Work::Blocking(topics),
    ),
    Route::put(
        "/api/topic-permissions/{vhost}/{user}",
        Access::Administrator,
        "Set a user's topic permission for an exchange.",
        Work::Blocking(put_topic),
    ),
    Route::delete(
        "/api/topic-permissions/{vhost}/{user}",
        Access::Administrator,
        "Remove a user's topic permissions in a virtual host.",
        Work::Blocking(delete_topics),
    ),
    Route::delete(
        "/api/topic-permissions/{vhost}/{user}/{exchange}",
        Access::Administrator,
        "Remove a user's topic permission for one exchange.",
        Work::Blocking(delete_topics),
    ),
];

/// User, virtual host, and what is set.
type Granted<P> = (String, String, P);

struct All;

impl Listed for All {
    type Item = Granted<Permissions>;

    fn name<'a>(&self, item: &'a Self::Item) -> &'a str {
        &item.0
    }

    fn fill(&self, (user, vhost, permissions): &Self::Item, fields: &mut Fields<'_>) {
        fields.put("user", || user.as_str());
        fields.put("vhost", || vhost.as_str());
        fields.put("configure", || permissions.configure.as_str());
        fields.put("write", || permissions.write.as_str());
        fields.put("read", || permissions.read.as_str());
    }
}

struct AllTopics;

impl Listed for AllTopics {
    type Item = Granted<TopicPermission>;

    fn name<'a>(&self, item: &'a Self::Item) -> &'a str {
        &item.0
    }

    fn fill(&self, (user, vhost, topic): &Self::Item, fields: &mut Fields<'_>) {
        fields.put("user", || user.as_str());
        fields.put("vhost", || vhost.as_str());
        fields.put("exchange", || topic.exchange.as_str());
        fields.put("write", || topic.write.as_str());
        fields.put("read", || topic.read.as_str());
    }
}

fn show(call: &Call, which: impl Fn(&str, &str) -> bool) -> Outcome {
    let mut all = call.broker().directory.permissions();
    all.retain(|(user, vhost, _)| which(user, vhost));
    listing::answer(call, All, all)
}

fn show_topics(call: &Call, which: impl Fn(&str, &str) -> bool) -> Outcome {
    let mut all = call.broker().directory.topic_permissions();
    all.retain(|(user, vhost, _)| which(user, vhost));
    listing::answer(call, AllTopics, all)
}

fn list(call: &Call) -> Outcome {
    show(call, |_, _| true)
}

fn list_topics(call: &Call) -> Outcome {
    show_topics(call, |_, _| true)
}

pub fn of_vhost(call: &Call) -> Outcome {
    let name = call.vhost()?.name.clone();
    show(call, |_, vhost| *vhost == *name)
}

pub fn topics_of_vhost(call: &Call) -> Outcome {
    let name = call.vhost()?.name.clone();
    show_topics(call, |_, vhost| *vhost == *name)
}

pub fn of_user(call: &Call) -> Outcome {
    let found = users::user(call)?;
    show(call, |user, _| *user == found.name)
}

pub fn topics_of_user(call: &Call) -> Outcome {
    let found = users::user(call)?;
    show_topics(call, |user, _| *user == found.name)
}

fn found(call: &Call) -> Result<Granted<Permissions>, ApiError> {
    let (user, vhost) = (call.path("user"), call.path("vhost"));
    let all = call.broker().directory.permissions();
    all.into_iter().find(|(u, v, _)| u == user && v == vhost).ok_or_else(ApiError::not_found)
}

fn one(call: &Call) -> Outcome {
    listing::one(call, &All, &found(call)?)
}

/// User and virtual host of the path.
fn ends(call: &Call) -> Result<(String, String), ApiError> {
    let (user, vhost) = (call.path("user"), call.path("vhost"));
    if call.broker().directory.user(user).is_none() || call.broker().vhost(vhost).is_none() {
        return Err(ApiError::bad_request("vhost_or_user_not_found"));
    }
    Ok((user.to_owned(), vhost.to_owned()))
}

fn put(call: &Call) -> Outcome {
    let (user, vhost) = ends(call)?;
    let fields = call.fields(&["user", "username", "vhost", "configure", "write", "read"])?;
    let text = |name| fields.needed_text(name).map(str::to_owned);
    let permissions = Permissions { configure: text("configure")?, write: text("write")?, read: text("read")? };
    let is_new = found(call).is_err();
    let applied = call.apply(Command::SetPermissions(PermissionRecord { user, vhost, permissions }))?;
    Ok(Answer::put(is_new).after(&applied))
}

fn delete(call: &Call) -> Outcome {
    let (user, vhost, _) = found(call)?;
    let applied = call.apply(Command::ClearPermissions { user, vhost })?;
    Ok(Answer::done().after(&applied))
}

fn topics_found(call: &Call) -> Vec<Granted<TopicPermission>> {
    let (user, vhost, exchange) = (call.path("user"), call.path("vhost"), exchange(call));
    let mut all = call.broker().directory.topic_permissions();
    all.retain(|(u, v, topic)| u == user && v == vhost && exchange.is_none_or(|name| name == topic.exchange));
    all
}

/// The exchange of the path, where it has one.
fn exchange(call: &Call) -> Option<&str> {
    call.path.iter().any(|(name, _)| name == "exchange").then(|| call.path("exchange"))
}

fn topics(call: &Call) -> Outcome {
    let found = topics_found(call);
    if found.is_empty() {
        return Err(ApiError::not_found());
    }
    listing::answer(call, AllTopics, found)
}

fn put_topic(call: &Call) -> Outcome {
    let (user, vhost) = ends(call)?;
    let fields = call.fields(&["user", "vhost", "exchange", "write", "read"])?;
    let text = |name| fields.needed_text(name).map(str::to_owned);
    let permission = TopicPermission { exchange: text("exchange")?, write: text("write")?, read: text("read")? };
    let is_new = topics_found(call).is_empty();
    let applied = call.apply(Command::SetTopicPermissions(TopicPermissionRecord { user, vhost, permission }))?;
    Ok(Answer::put(is_new).after(&applied))
}

fn delete_topics(call: &Call) -> Outcome {
    if topics_found(call).is_empty() {
        return Err(ApiError::not_found());
    }
    let (user, vhost) = (call.path("user").to_owned(), call.path("vhost").to_owned());
    let exchange = exchange(call).map(str::to_owned);
    let applied = call.apply(Command::ClearTopicPermissions { user, vhost, exchange })?;
    Ok(Answer::done().after(&applied))
}
