//! Publishing and getting messages, and the test that does both.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};
use tokio::sync::Notify;

use super::exchanges::{exchange, is_topic};
use super::health::alarmed;
use super::queues::queue_for;
use crate::auth::Access as Permission;
use crate::connection::publish::check_expiration;
use crate::frames::Properties;
use crate::http::body::missing;
use crate::http::message::{Shown, properties_from_json};
use crate::http::route::{Later, Outcome};
use crate::http::{Access, Answer, ApiError, Call, Route, Work};
use crate::message::headers;
use crate::persist::journal::Waiter;
use crate::persist::record::QueueRecord;
use crate::queue::local::GetError;
use crate::queue::{Queue, Settlement, Wakes};
use crate::stats::{Counted, Kind, Sizes};
use crate::vhost::names::{exchange_text, queue_text};
use crate::vhost::submit::{Submission, Submitted};
use crate::vhost::{Command, Exchange, Vhost};

pub const ROUTES: &[Route] = &[
    Route::post(
        "/api/exchanges/{vhost}/{exchange}/publish",
        Access::Vhost,
        "Publish a message; the answer says whether it was routed, once it is safe.",
        Work::Awaiting(publish),
    ),
    Route::post(
        "/api/queues/{vhost}/{queue}/get",
        Access::Vhost,
        "Take messages out of a queue, perhaps to put them back.",
        Work::Blocking(get),
    ),
    Route::get(
        "/api/aliveness-test/{vhost}",
        Access::Vhost,
        "Publish a message to the queue aliveness-test and get it.",
        Work::Awaiting(alive),
    ),
];

/// Most messages of one request.
const MOST: i64 = 10_000;
/// Bytes of messages after which no further one is taken.
const MOST_BYTES: usize = 64 << 20;
/// Bytes of a header frame beside the properties.
const HEADER_FRAME: usize = 22;
/// Longest wait for what has to be read from the disk.
const READ_TIME: Duration = Duration::from_secs(30);

fn publish(call: Call) -> Later {
    Box::pin(async move {
        let (vhost, exchange) = exchange(&call)?;
        // What the web console and rabbitmqadmin send beside the four that count.
        let fields = call.fields(&[
            "routing_key",
            "properties",
            "payload",
            "payload_encoding",
            "vhost",
            "name",
            "delivery_mode",
            "headers",
            "props",
        ])?;
        let key = fields.needed_text("routing_key")?;
        if key.len() > 255 {
            return Err(ApiError::bad_request(format!("field 'routing_key' has {} bytes, 255 are allowed", key.len())));
        }
        if fields.get("properties").is_none() {
            return Err(missing("properties"));
        }
        let properties = properties_from_json(&fields.object("properties")?)?;
        let payload = fields.needed_text("payload")?;
        let body = match fields.needed_text("payload_encoding")? {
            "string" => payload.as_bytes().to_vec(),
            "base64" => STANDARD
                .decode(payload)
                .map_err(|e| ApiError::bad_request(format!("field 'payload' is not base64: {e}")))?,
            other => return Err(ApiError::bad_request(format!("unsupported_encoding: '{other}'"))),
        };
        check(&call, exchange.as_ref(), key, &properties, body.len())?;
        let message = Submission { exchange: exchange.as_ref(), key, properties: &properties, body };
        let routed = submit(&call, &vhost, message).await?;
        Answer::json(&json!({ "routed": routed }))
    })
}

/// What is checked of a publish, as by AMQP.
fn check(
    call: &Call,
    exchange: Option<&Arc<Exchange>>,
    key: &str,
    properties: &[u8],
    size: usize,
) -> Result<(), ApiError> {
    let name = exchange.map_or("", |exchange| exchange.record.name.as_str());
    let text = exchange_text(call.path("vhost"), name);
    call.check_permission(Permission::Write, name, &text)?;
    if exchange.is_some_and(|exchange| exchange.record.internal) {
        return Err(ApiError::not_authorised(format!("cannot publish to internal {text}")));
    }
    let most = call.broker().max_message_size();
    if size as u64 > most {
        return Err(ApiError::bad_request(format!("message size {size} is larger than configured max size {most}")));
    }
    // A header frame cannot be cut: with a larger one no consumer could take the message.
    let most = (call.broker().limits().frame_max as usize).saturating_sub(HEADER_FRAME);
    if properties.len() > most {
        let text = format!("field 'properties' has {} bytes, {most} fit into a frame", properties.len());
        return Err(ApiError::bad_request(text));
    }
    let found = Properties::parse(properties).map_err(|e| ApiError::bad_request(e.to_string()))?;
    if let Some(expiration) = found.expiration {
        check_expiration(expiration)?;
    }
    let Some(user) = &call.caller.user else { return Ok(()) };
    if let Some(claimed) = found.user_id.filter(|id| *id != user.name.as_bytes() && !user.has_tag("impersonator")) {
        let claimed = String::from_utf8_lossy(claimed);
        let text = format!("user_id property set to '{claimed}' but authenticated user was '{}'", user.name);
        return Err(ApiError::bad_request(text));
    }
    let (permit, now) = (call.caller.permit(call.broker(), call.path("vhost")), call.broker().clock.now_ms());
    let mut keys = vec![key];
    for header in [&b"CC"[..], b"BCC"] {
        let more = headers::routing_keys(found.headers.unwrap_or_default(), header);
        keys.extend(more.map_err(|_| ApiError::bad_request("CC and BCC must be lists of strings"))?);
    }
    let is_allowed = |key: &&str| permit.as_ref().is_some_and(|p| p.topic_allows(Permission::Write, name, key, now));
    match keys.iter().find(|key| exchange.is_some_and(|exchange| is_topic(exchange)) && !is_allowed(key)) {
        None => Ok(()),
        Some(key) => Err(ApiError::not_authorised(format!(
            "write access to topic '{key}' in {text} refused for user '{}'",
            user.name
        ))),
    }
}

/// Wakes a request when the journal has what it waits for.
struct Told(Notify);

impl Waiter for Told {
    fn wake(&self) {
        self.0.notify_one();
    }
}

/// Publishes, and waits until the message is safe; says whether it has a queue.
async fn submit(call: &Call, vhost: &Vhost, message: Submission<'_>) -> Result<bool, ApiError> {
    if let Some(resource) = alarmed(&call.http).first() {
        return Err(ApiError::unavailable(format!("{resource} alarm: publishers wait")));
    }
    let told = Arc::new(Told(Notify::new()));
    let waiter: Arc<dyn Waiter> = Arc::clone(&told) as Arc<dyn Waiter>;
    let commit = match call.broker().submit(vhost, message, Some(&waiter)) {
        Submitted::Unroutable => return Ok(false),
        Submitted::Taken(commit) => commit,
        Submitted::Refused => {
            return Err(ApiError::bad_request("rejected Unable to publish message. Check queue limits."));
        }
        Submitted::Damaged => return Err(ApiError::internal("a queue is damaged on disk: see the log")),
    };
    let (Some(commit), Some(store)) = (commit, &call.broker().store) else { return Ok(true) };
    let mut failure = store.failure();
    while store.journal.committed() < commit {
        tokio::select! {
            () = told.0.notified() => {}
            _ = failure.wait_for(Option::is_some) => {
                return Err(ApiError::unavailable("the disk has failed: the message may be lost"));
            }
        }
    }
    Ok(true)
}

/// How messages are taken, and what becomes of them afterwards.
fn ack_mode(mode: &str) -> Result<(bool, Option<Settlement>), ApiError> {
    match mode {
        "ack_requeue_false" => Ok((true, None)),
        "ack_requeue_true" => Ok((false, Some(Settlement::Requeue))),
        "reject_requeue_true" => Ok((false, Some(Settlement::Fail))),
        "reject_requeue_false" => Ok((false, Some(Settlement::Discard))),
        other => Err(ApiError::bad_request(format!(
            "field 'ackmode' should be one of ack_requeue_true, ack_requeue_false, reject_requeue_true, \
             reject_requeue_false, but is '{other}'"
        ))),
    }
}

fn get(call: &Call) -> Outcome {
    let vhost = call.vhost()?;
    if vhost.queue(call.path("queue")).is_none() {
        return Err(ApiError::missing(format!("NOT_FOUND - no {}", queue_text(&vhost.name, call.path("queue")))));
    }
    let (vhost, queue) = queue_for(call, Permission::Read)?;
    let fields = call.fields(&["count", "ackmode", "encoding", "truncate", "requeue", "vhost", "name"])?;
    let (no_ack, settlement) = ack_mode(fields.needed_text("ackmode")?)?;
    let count = fields.int("count")?.ok_or_else(|| missing("count"))?;
    if !(0..=MOST).contains(&count) {
        return Err(ApiError::bad_request(format!("field 'count' should be from 0 to {MOST}, but is {count}")));
    }
    let shown = Shown::new(fields.needed_text("encoding")?, fields.int("truncate")?)?;
    if queue.is_single_active() {
        let text = queue_text(&vhost.name, &queue.spec.name);
        return Err(ApiError::bad_request(format!("{text} has a single active consumer: it cannot be read")));
    }
    let (mut taken, mut bytes) = (Taken { queue, settlement, positions: Vec::new() }, 0);
    let (mut messages, mut counted) = (Vec::new(), Counted::default());
    for _ in 0..count {
        let (message, size) = match taken.one(no_ack, shown) {
            Ok(Some(one)) => one,
            Ok(None) => {
                counted.add(Kind::GetEmpty, 1);
                break;
            }
            // What has been taken out for good is nowhere but here.
            Err(error) if no_ack && !messages.is_empty() => {
                tracing::warn!(target: "leveret::http", "fewer messages than asked for were taken: {}", error.reason);
                break;
            }
            Err(error) => return Err(error),
        };
        counted.add(if no_ack { Kind::GetNoAck } else { Kind::Get }, 1);
        counted.add(Kind::Redeliver, u64::from(message.get("redelivered").is_some_and(|is| *is == true)));
        messages.push(message);
        bytes += size;
        if bytes > MOST_BYTES {
            break;
        }
    }
    call.broker().count_apart(&vhost, &counted, &Sizes::default());
    Answer::json(&messages)
}

/// What has been taken and has to be given back, whatever happens in between.
struct Taken {
    queue: Arc<Queue>,
    settlement: Option<Settlement>,
    positions: Vec<u64>,
}

impl Taken {
    /// Takes one message: how it is shown, and how many bytes of it. None when there is none.
    fn one(&mut self, no_ack: bool, shown: Shown) -> Result<Option<(Json, usize)>, ApiError> {
        loop {
            let mut found = None;
            match self.queue.get(no_ack, |got| found = got) {
                Ok(()) => {}
                Err(GetError::Damaged(damage)) => {
                    return Err(ApiError::internal(format!("the queue is damaged and not served: {damage}")));
                }
                Err(GetError::NotYet) => {
                    self.wait()?;
                    continue;
                }
            }
            let Some(got) = found else { return Ok(None) };
            if !no_ack {
                self.positions.push(got.position);
            }
            let view = got.message.view();
            let visible = if view.hidden { headers::visible(view.properties).into() } else { view.properties.into() };
            let visible: std::borrow::Cow<'_, [u8]> = visible;
            let mut message = shown.message(view, &visible);
            message.insert("redelivered".to_owned(), got.redelivered.into());
            message.insert("message_count".to_owned(), got.left.into());
            let size = view.body.len().min(shown.most).saturating_add(view.properties.len());
            return Ok(Some((Json::Object(message), size)));
        }
    }

    /// Waits until more has been read from the disk.
    fn wait(&self) -> Result<(), ApiError> {
        struct Ready(mpsc::SyncSender<()>);
        impl Waiter for Ready {
            fn wake(&self) {
                // Told already is told enough.
                let _ = self.0.try_send(());
            }
        }
        let (ready, is_ready) = mpsc::sync_channel(1);
        self.queue.wait(Arc::new(Ready(ready)));
        is_ready.recv_timeout(READ_TIME).map_err(|_| ApiError::unavailable("the disk does not answer"))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let (Some(settlement), false) = (self.settlement, self.positions.is_empty()) {
            let mut wakes = Wakes::default();
            self.queue.settle(self.positions.drain(..), settlement, &mut wakes);
            wakes.run();
        }
    }
}

const ALIVENESS: &str = "aliveness-test";

/// RabbitMQ's old check: it needs permission for a queue of that name.
fn alive(call: Call) -> Later {
    Box::pin(async move {
        let vhost = call.vhost()?;
        let text = queue_text(&vhost.name, ALIVENESS);
        for permission in [Permission::Configure, Permission::Read] {
            call.check_permission(permission, ALIVENESS, &text)?;
        }
        call.check_permission(Permission::Write, "", &exchange_text(&vhost.name, ""))?;
        let record = QueueRecord {
            vhost: vhost.name.to_string(),
            name: ALIVENESS.to_owned(),
            durable: false,
            auto_delete: false,
            arguments: crate::frames::Table::default(),
            id: 0,
        };
        let applied = call.apply(Command::DeclareQueue { record, exclusive_owner: None })?;
        let queue = applied.queue.ok_or_else(ApiError::not_found)?;
        let body = b"test_message".to_vec();
        let message = Submission { exchange: None, key: ALIVENESS, properties: &[0, 0], body };
        submit(&call, &vhost, message).await?;
        let mut has_come = false;
        let got = queue.get(true, |got| has_come = got.is_some());
        let mut counted = Counted::default();
        counted.add(if has_come { Kind::GetNoAck } else { Kind::GetEmpty }, 1);
        call.broker().count_apart(&vhost, &counted, &Sizes::default());
        match got.is_ok() && has_come {
            true => Answer::json(&json!({ "status": "ok" })),
            false => Err(ApiError::internal("the message of the test did not come back")),
        }
    })
}
