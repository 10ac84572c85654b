//! Looking into queues without touching them, and moving, deleting or cancelling what is in them. Beyond RabbitMQ's.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::exchanges::is_topic;
use super::queues::queue_for;
use crate::auth::Access as Permission;
use crate::http::filter::Filter;
use crate::http::message::Shown;
use crate::http::route::Outcome;
use crate::http::{Access, Answer, ApiError, Call, Route, Work};
use crate::queue::Queue;
use crate::queue::inventory::{Listed, Page, PeekError};
use crate::vhost::moving::Target;
use crate::vhost::names::{exchange_text, queue_text};

pub const ROUTES: &[Route] = &[
    Route::get(
        "/api/queues/{vhost}/{queue}/messages",
        Access::Vhost,
        "Look at the messages of a queue, page by page, without any effect on them.",
        Work::Blocking(look),
    ),
    Route::delete(
        "/api/queues/{vhost}/{queue}/messages",
        Access::Vhost,
        "Delete the messages of a queue that a filter takes.",
        Work::Blocking(discard),
    ),
    Route::post(
        "/api/queues/{vhost}/{queue}/messages/move",
        Access::Vhost,
        "Move messages to another queue, or publish them anew to an exchange.",
        Work::Blocking(move_on),
    ),
    Route::get(
        "/api/exchanges/{vhost}/{exchange}/delayed",
        Access::Vhost,
        "Look at the messages that wait in a delayed exchange.",
        Work::Blocking(look_at_delayed),
    ),
    Route::delete(
        "/api/exchanges/{vhost}/{exchange}/delayed",
        Access::Vhost,
        "Cancel the delayed messages that a filter takes, such as message_id.",
        Work::Blocking(cancel),
    ),
];

/// Messages on a page, unless another number is asked for.
const USUAL: usize = 100;
/// Most messages of an answer, or of one change.
const MOST: usize = 1000;
/// Bytes of messages of an answer, about.
const MOST_BYTES: usize = 16 << 20;
/// Most pages of a queue that one request looks at.
const MOST_PAGES: usize = 50;
/// Bytes of a payload that are shown, unless another number is asked for.
const USUAL_TRUNCATE: i64 = 50_000;

/// A request's part of a queue.
struct Found {
    messages: Vec<Listed>,
    /// Where it goes on.
    next: Option<u64>,
}

fn number<T: std::str::FromStr>(call: &Call, name: &str) -> Result<Option<T>, ApiError> {
    let bad = |_| ApiError::bad_request(format!("'{name}' should be a whole number"));
    call.query.get(name).map(|text| text.parse().map_err(bad)).transpose()
}

fn unreadable(error: PeekError) -> ApiError {
    ApiError::internal(error.to_string())
}

/// The messages from `from` on that the filter takes, up to `count`; fewer when many had to be looked at.
fn find(call: &Call, queue: &Queue, filter: &Filter) -> Result<Found, ApiError> {
    find_by(call, queue, filter, false)
}

/// The same in the order of delivery where `in_order`: `from` and `next` count the messages before it then.
fn find_by(call: &Call, queue: &Queue, filter: &Filter, in_order: bool) -> Result<Found, ApiError> {
    let count = number(call, "count")?.unwrap_or(USUAL);
    if count == 0 || count > MOST {
        return Err(ApiError::bad_request(format!("'count' should be from 1 to {MOST}, but is {count}")));
    }
    let now = call.broker().clock.now_ms();
    let (mut messages, mut bytes) = (Vec::new(), 0);
    let mut next = Some(number(call, "from")?.unwrap_or(0));
    for _ in 0..MOST_PAGES {
        let Some(from) = next else { break };
        let page = Page { from, most: MOST, bytes: MOST_BYTES };
        let page = if in_order { queue.peek_in_order(page) } else { queue.peek(page) }.map_err(unreadable)?;
        next = page.next;
        for (rank, listed) in (from..).zip(page.messages) {
            if messages.len() == count || bytes > MOST_BYTES {
                return Ok(Found { messages, next: Some(if in_order { rank } else { listed.position }) });
            }
            if filter.takes(&listed, now) {
                bytes += listed.message.view().body.len() + listed.message.view().properties.len();
                messages.push(listed);
            }
        }
    }
    Ok(Found { messages, next })
}

fn show(call: &Call, queue: &Queue) -> Outcome {
    let filter = Filter::parse(&call.query)?;
    let truncate = number(call, "truncate")?.unwrap_or(USUAL_TRUNCATE);
    let shown = Shown::new(call.query.get("encoding").unwrap_or("auto"), Some(truncate))?;
    // A queue with priorities is shown as consumers will see it.
    let found = find_by(call, queue, &filter, queue.has_priorities())?;
    let now = call.broker().clock.now_ms();
    let delays = queue.spec.delays_for.is_some();
    let message = |listed: &Listed| {
        let traits = listed.message.traits();
        let mut message = shown.message(listed.message.view(), &listed.properties());
        let mut more = vec![
            ("position", json!(listed.position)),
            ("redelivered", listed.redelivered.into()),
            ("published", traits.at.into()),
            ("age", (now.saturating_sub(traits.at) as f64 / 1000.0).into()),
        ];
        if let Some(due) = traits.due {
            more.push((if delays { "due" } else { "expires" }, due.get().into()));
        }
        message.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
        Json::Object(message)
    };
    let messages: Vec<_> = found.messages.iter().map(message).collect();
    Answer::json(&json!({ "messages": messages, "next": found.next }))
}

fn look(call: &Call) -> Outcome {
    let (_, queue) = queue_for(call, Permission::Read)?;
    show(call, &queue)
}

/// Deletes what the filter takes. There must be one: everything is another request's.
fn throw_away(call: &Call, queue: &Queue, instead: &str) -> Outcome {
    let filter = Filter::parse(&call.query)?;
    if filter.is_empty() {
        let text =
            format!("a filter is missing: key, exchange, header, message_id, min_age, max_age or position{instead}");
        return Err(ApiError::bad_request(text));
    }
    let found = find(call, queue, &filter)?;
    let positions: Vec<_> = found.messages.iter().map(|listed| listed.position).collect();
    let deleted = queue.discard(&positions).map_err(unreadable)?;
    if deleted > 0 {
        call.tell("messages.delete", &format!("{deleted} of {}", queue_text(&queue.spec.vhost, &queue.spec.name)));
    }
    Answer::json(&json!({ "deleted": deleted, "next": found.next }))
}

fn discard(call: &Call) -> Outcome {
    let (_, queue) = queue_for(call, Permission::Read)?;
    throw_away(call, &queue, "; DELETE .../contents removes all messages")
}

fn move_on(call: &Call) -> Outcome {
    let (vhost, queue) = queue_for(call, Permission::Read)?;
    let fields = call.fields(&["queue", "exchange", "routing_key"])?;
    let key = fields.text("routing_key")?;
    let filter = Filter::parse(&call.query)?;
    let (to_queue, to_exchange);
    let target = match (fields.text("queue")?, fields.text("exchange")?) {
        (Some(name), None) => {
            call.check_permission(Permission::Write, "", &exchange_text(&vhost.name, ""))?;
            let missing = || ApiError::missing(format!("no {}", queue_text(&vhost.name, name)));
            to_queue = vhost.queue(name).ok_or_else(missing)?;
            if to_queue.id == queue.id {
                return Err(ApiError::bad_request("field 'queue': the messages are in this queue already"));
            }
            Target::Queue(&to_queue)
        }
        (None, Some(name)) => {
            let text = exchange_text(&vhost.name, name);
            call.check_permission(Permission::Write, name, &text)?;
            to_exchange = vhost.exchange(name).ok_or_else(|| ApiError::missing(format!("no {text}")))?;
            if to_exchange.record.internal {
                return Err(ApiError::not_authorised(format!("cannot publish to internal {text}")));
            }
            if is_topic(&to_exchange) {
                check_topic(call, name, key)?;
            }
            Target::Exchange { vhost: &vhost, exchange: &to_exchange, key }
        }
        _ => return Err(ApiError::bad_request("one of the fields 'queue' and 'exchange' must be given")),
    };
    let found = find(call, &queue, &filter)?;
    let positions: Vec<_> = found.messages.iter().map(|listed| listed.position).collect();
    let moved = call.broker().move_messages(&queue, &positions, target).map_err(unreadable)?;
    let stayed = positions.len() - moved;
    if moved > 0 {
        let to = match (fields.text("queue")?, fields.text("exchange")?) {
            (Some(queue), _) => queue_text(&vhost.name, queue),
            (None, exchange) => exchange_text(&vhost.name, exchange.unwrap_or_default()),
        };
        call.tell("messages.move", &format!("{moved} of {} to {to}", queue_text(&vhost.name, &queue.spec.name)));
    }
    Answer::json(&json!({ "moved": moved, "stayed": stayed, "next": found.next }))
}

/// Who may use some routing keys only has to name one.
fn check_topic(call: &Call, exchange: &str, key: Option<&str>) -> Result<(), ApiError> {
    if call.caller.user.is_none() {
        return Ok(());
    }
    let is_allowed = match (call.caller.permit(call.broker(), call.path("vhost")), key) {
        (Some(permit), _) if permit.ignores_topics() => true,
        (Some(permit), Some(key)) => {
            permit.topic_allows(Permission::Write, exchange, key, call.broker().clock.now_ms())
        }
        _ => false,
    };
    let refused =
        || ApiError::not_authorised(format!("write access to topics of '{exchange}' refused; is 'routing_key' given?"));
    is_allowed.then_some(()).ok_or_else(refused)
}

/// Where a delayed exchange keeps its messages.
fn delays(call: &Call, permission: Permission) -> Result<Arc<Queue>, ApiError> {
    let (vhost, exchange) = super::exchanges::exchange(call)?;
    let name = call.exchange_name("exchange");
    let text = exchange_text(&vhost.name, name);
    call.check_permission(permission, name, &text)?;
    let delays = exchange.and_then(|exchange| exchange.delays.clone());
    delays.ok_or_else(|| ApiError::bad_request(format!("{text} delays no messages")))
}

fn look_at_delayed(call: &Call) -> Outcome {
    show(call, &*delays(call, Permission::Read)?)
}

fn cancel(call: &Call) -> Outcome {
    let queue = delays(call, Permission::Write)?;
    throw_away(call, &queue, "")
}
