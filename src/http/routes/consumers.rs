//! Consumers: who takes messages from which queue, and how.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::apart::channel_summary;
use super::connections;
use crate::connection::deliveries::Wanted;
use crate::connection::registry::Registered;
use crate::http::fields::Fields;
use crate::http::listing::{self, Listed};
use crate::http::route::Outcome;
use crate::http::{Access, Call, Http, Route, Work};
use crate::persist::definitions::table_to_json;
use crate::queue::{ConsumerKey, Queue};

pub const ROUTES: &[Route] = &[
    Route::get("/api/consumers", Access::Login, "All consumers.", Work::Blocking(list)),
    Route::get("/api/consumers/{vhost}", Access::Vhost, "Those of a virtual host.", Work::Blocking(list)),
];

/// A consumer, as it was when it was looked at.
pub struct Consumer {
    pub queue: Arc<Queue>,
    pub channel: u16,
    connection: Registered,
    tag: String,
    key: Option<ConsumerKey>,
    wanted: Wanted,
}

/// The consumers of a connection.
pub fn of_connection(connection: &Registered) -> Vec<Consumer> {
    let mut consumers = Vec::new();
    connection.outbox.each_channel(|number, channel| {
        consumers.extend(channel.consumers().map(|(tag, slot)| Consumer {
            queue: Arc::clone(&slot.queue),
            channel: number,
            connection: connection.clone(),
            tag: String::from_utf8_lossy(tag).into_owned(),
            key: slot.consumer,
            wanted: slot.wanted.as_deref().cloned().unwrap_or_default(),
        }));
    });
    consumers.sort_by(|a, b| (a.channel, &a.tag).cmp(&(b.channel, &b.tag)));
    consumers
}

/// The consumers of a queue, as its own page shows them.
pub fn of_queue(http: &Http, queue: &Arc<Queue>) -> Vec<Json> {
    let all = http.shared.registry.all();
    let all = all.iter().filter(|connection| connection.vhost == queue.spec.vhost).flat_map(of_connection);
    all.filter(|consumer| consumer.queue.id == queue.id).map(|consumer| consumer.show(http.node_name())).collect()
}

impl Consumer {
    pub fn show(&self, node: &str) -> Json {
        let columns = crate::http::fields::Columns::all();
        let mut fields = Fields::new(&columns);
        self.fill(node, &mut fields);
        fields.finish()
    }

    fn fill(&self, node: &str, fields: &mut Fields<'_>) {
        let (spec, terms) = (&self.queue.spec, self.wanted.terms);
        let is_active = self.key.is_some_and(|key| self.queue.is_active(key));
        fields.put("queue", || json!({ "name": &*spec.name, "vhost": &*spec.vhost }));
        fields.put("consumer_tag", || self.tag.as_str());
        fields.put("channel_details", || {
            let mut details = channel_summary(&self.connection, self.channel);
            details.insert("node".to_owned(), node.into());
            Json::Object(details)
        });
        fields.put("ack_required", || !terms.no_ack);
        fields.put("prefetch_count", || terms.prefetch);
        fields.put("exclusive", || terms.exclusive);
        fields.put("active", || is_active);
        fields.put("activity_status", || if is_active { "up" } else { "waiting" });
        fields.put("arguments", || table_to_json(&self.wanted.arguments));
    }
}

/// What is shown of consumers.
struct Consumers(Arc<Http>);

impl Listed for Consumers {
    type Item = Consumer;

    fn name<'a>(&self, consumer: &'a Consumer) -> &'a str {
        &consumer.tag
    }

    fn fill(&self, consumer: &Consumer, fields: &mut Fields<'_>) {
        consumer.fill(self.0.node_name(), fields);
    }
}

fn list(call: &Call) -> Outcome {
    let consumers = connections::visible(call)?.iter().flat_map(of_connection).collect();
    listing::answer(call, Consumers(Arc::clone(&call.http)), consumers)
}
