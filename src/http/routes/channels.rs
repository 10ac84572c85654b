//! Channels: how they stand.

use std::sync::Arc;

use serde_json::Value as Json;

use super::consumers::{self, Consumer};
use super::{apart, connections};
use crate::connection::counting::{Publishing, Sampled};
use crate::connection::registry::Registered;
use crate::http::fields::{Columns, Fields};
use crate::http::listing::{self, Listed};
use crate::http::route::Outcome;
use crate::http::samples::Over;
use crate::http::{Access, Answer, ApiError, Call, Http, Route, Work, figures, pid};
use crate::stats::Counted;

pub const ROUTES: &[Route] = &[
    Route::get("/api/channels", Access::Login, "All channels.", Work::Blocking(list)),
    Route::get("/api/channels/{channel}", Access::Login, "One channel.", Work::Blocking(one)),
    Route::get("/api/vhosts/{vhost}/channels", Access::Vhost, "Those of a virtual host.", Work::Blocking(list)),
    Route::get(
        "/api/connections/{connection}/channels",
        Access::Login,
        "Those of a connection.",
        Work::Blocking(of_one),
    ),
];

/// A channel, as it was when it was looked at.
pub struct Channel {
    connection: Registered,
    publishing: Arc<Publishing>,
    number: u16,
    name: String,
    counted: Counted,
    sampled: Sampled,
    consumers: usize,
    unacked: usize,
    unconfirmed: u64,
    uncommitted: u64,
    acks_uncommitted: u64,
    prefetch: u64,
    global_prefetch: u32,
    is_confirming: bool,
    is_transactional: bool,
}

/// The channels of a connection.
fn channels_of(connection: &Registered) -> Vec<Channel> {
    let mut channels = Vec::new();
    connection.outbox.each_channel(|number, channel| {
        let publishing = &channel.publishing;
        channels.push(Channel {
            connection: connection.clone(),
            publishing: Arc::clone(publishing),
            number,
            name: format!("{} ({number})", connection.name),
            counted: channel.counted(),
            sampled: channel.sampled(),
            consumers: channel.consumer_count(),
            unacked: channel.unacked(),
            unconfirmed: publishing.unconfirmed(),
            uncommitted: publishing.uncommitted.get(),
            acks_uncommitted: publishing.acks_uncommitted.get(),
            prefetch: publishing.prefetch.get(),
            global_prefetch: channel.global_prefetch(),
            is_confirming: publishing.is_confirming.get() > 0,
            is_transactional: publishing.is_transactional.get() > 0,
        });
    });
    channels.sort_by_key(|channel| channel.number);
    channels
}

/// What is shown of channels.
struct Channels {
    http: Arc<Http>,
    over: Over<Counted>,
}

impl Channels {
    fn of(call: &Call) -> Self {
        Self { http: Arc::clone(&call.http), over: Over::default() }
    }
}

impl Listed for Channels {
    type Item = Channel;

    fn name<'a>(&self, channel: &'a Channel) -> &'a str {
        &channel.name
    }

    fn fill(&self, channel: &Channel, fields: &mut Fields<'_>) {
        let connection = &channel.connection;
        fields.put("name", || channel.name.as_str());
        fields.put("number", || channel.number);
        fields.put("node", || self.http.node_name());
        fields.put("pid", || pid::of_channel(self.http.node_name(), connection.outbox.connection, channel.number));
        fields.put("user", || &*connection.user);
        fields.put("user_who_performed_action", || &*connection.user);
        fields.put("vhost", || &*connection.vhost);
        fields.put("connection_details", || Json::Object(connections::summary(connection)));
        fields.put("state", || "running");
        fields.put("confirm", || channel.is_confirming);
        fields.put("transactional", || channel.is_transactional);
        fields.put("consumer_count", || channel.consumers);
        fields.put("messages_unacknowledged", || channel.unacked);
        fields.put("messages_unconfirmed", || channel.unconfirmed);
        fields.put("messages_uncommitted", || channel.uncommitted);
        fields.put("acks_uncommitted", || channel.acks_uncommitted);
        fields.put("prefetch_count", || channel.prefetch);
        fields.put("global_prefetch_count", || channel.global_prefetch);
        fields.put("pending_raft_commands", || 0);
        if channel.sampled.rates.are_zero() {
            let since = channel.sampled.moved_at.max(connection.about.connected_at);
            fields.put("idle_since", || figures::time(since));
        }
        if !channel.counted.is_zero() {
            let stats =
                || Json::Object(figures::of_channel(&channel.counted, &channel.sampled.rates, &self.over.msg_rates));
            fields.put("message_stats", stats);
        }
    }
}

fn list(call: &Call) -> Outcome {
    let channels = connections::visible(call)?.iter().flat_map(channels_of).collect();
    listing::answer(call, Channels::of(call), channels)
}

fn of_one(call: &Call) -> Outcome {
    let channels = channels_of(&connections::connection(call)?);
    listing::answer(call, Channels::of(call), channels)
}

fn one(call: &Call) -> Outcome {
    let wanted = call.path("channel");
    let (connection, number) = wanted.strip_suffix(')').and_then(|name| name.rsplit_once(" (")).unwrap_or_default();
    let number: u16 = number.parse().map_err(|_| ApiError::not_found())?;
    let all = call.http.shared.registry.all();
    let connection = all.into_iter().find(|open| *open.name == *connection && connections::may_see(call, open));
    let connection = connection.ok_or_else(ApiError::not_found)?;
    let channel = channels_of(&connection).into_iter().find(|channel| channel.number == number);
    let channel = channel.ok_or_else(ApiError::not_found)?;
    let columns = Columns::of(call);
    let mut fields = Fields::new(&columns);
    let (now, album) = (call.broker().clock.now_ms(), &call.http.shared.census.albums.channels);
    let over = Over::asked(call, |span| album.look(&channel.publishing, now, channel.counted, span));
    Channels { over, ..Channels::of(call) }.fill(&channel, &mut fields);
    fields.put("consumer_details", || {
        let consumers = consumers::of_connection(&connection);
        let here = consumers.iter().filter(|consumer| consumer.channel == number);
        here.map(|consumer| Consumer::show(consumer, call.http.node_name())).collect::<Vec<_>>()
    });
    if (fields.wants("publishes") || fields.wants("deliveries"))
        && let Some(vhost) = call.broker().vhost(&connection.vhost)
    {
        let (publishes, deliveries) = apart::of_channel(&vhost, &connection, number);
        fields.put("publishes", || publishes);
        fields.put("deliveries", || deliveries);
    }
    Answer::json(&fields.finish())
}
