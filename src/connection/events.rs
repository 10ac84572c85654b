//! What is told of connections, channels, consumers and logins to `amq.rabbitmq.event`, by RabbitMQ's names.
//!
//! Addresses are written as addresses, where RabbitMQ writes the terms of its language.

use amq_protocol::protocol::basic::Consume;
use amq_protocol::protocol::connection::StartOk;

use super::entrance::Client;
use super::login::LoginFailure;
use super::machine::Machine;
use super::session::Session;
use crate::auth::Mechanism;
use crate::frames::Table;
use crate::queue::Queue;
use crate::queue::engine::Terms;
use crate::vhost::Broker;
use crate::vhost::events::{Event, INTERNAL};

/// What is known of a connection when it opens, for its events.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    mechanism: String,
    client_properties: Table,
}

impl Opened {
    /// Kept only where events are published.
    pub fn note(broker: &Broker, start_ok: &StartOk) -> Option<Box<Self>> {
        broker.tells_events().then(|| {
            let mechanism = start_ok.mechanism.as_str().to_owned();
            Box::new(Self { mechanism, client_properties: Table::from(&start_ok.client_properties) })
        })
    }
}

/// The end of a login.
pub fn login(broker: &Broker, start_ok: &StartOk, name: &str, client: &Client, failure: Option<&LoginFailure>) {
    broker.tell_event(|| {
        let mechanism = start_ok.mechanism.as_str();
        let claimed = Mechanism::parse(mechanism).and_then(|m| m.credentials(start_ok.response.as_bytes()).ok());
        let key = if failure.is_some() { "user.authentication.failure" } else { "user.authentication.success" };
        let event = Event::new(key)
            .text("name", claimed.map(|credentials| credentials.username).unwrap_or_default())
            .text("auth_mechanism", mechanism)
            .text("connection_type", "network")
            .text("connection_name", name);
        let event = with_peer(event, client);
        match failure {
            Some(LoginFailure::Refused { reason, .. } | LoginFailure::Unusable(reason)) => event.text("error", reason),
            None => event,
        }
    });
}

fn with_peer(event: Event, client: &Client) -> Event {
    let event = event
        .text("peer_host", client.peer.ip().to_canonical().to_string())
        .number("peer_port", client.peer.port())
        .flag("ssl", client.secured.is_some())
        .text("protocol", "{0,9,1}");
    let Some(secured) = &client.secured else { return event };
    let event = event.text("ssl_protocol", &secured.protocol).text("ssl_cipher", &secured.cipher);
    match &secured.names {
        Some(names) => event.text("peer_cert_subject", &names.subject),
        None => event,
    }
}

impl Machine {
    pub(super) fn tell_opened(&self, session: &Session) {
        let broker = &session.broker;
        broker.tell_event(|| {
            let at = i64::try_from(broker.clock.now_ms()).unwrap_or(i64::MAX);
            let event = self.about(Event::new("connection.created"), session.id(), broker);
            let tuning = self.tuning();
            let event = with_peer(event, self.client())
                .text("user", &session.user.name)
                .text("vhost", &*session.vhost.name)
                .text("type", "network")
                .number("timeout", tuning.heartbeat)
                .number("frame_max", tuning.frame_max)
                .number("channel_max", tuning.channel_max)
                .number("connected_at", at)
                .text("user_who_performed_action", &session.user.name);
            match self.opened() {
                Some(opened) => event.text("auth_mechanism", &opened.mechanism),
                None => event,
            }
        });
    }

    pub(super) fn tell_closed(&self, broker: &Broker) {
        broker.tell_event(|| self.about(Event::new("connection.closed"), self.outbox.connection, broker));
    }

    fn about(&self, event: Event, number: u64, broker: &Broker) -> Event {
        let event =
            event.text("pid", broker.connection_pid(number)).text("name", self.name()).text("node", broker.node_name());
        let Some(opened) = self.opened() else { return event };
        let event = event.arguments("client_properties", &opened.client_properties);
        match opened.client_properties.get("connection_name").and_then(crate::frames::Value::as_text) {
            Some(name) => event.text("user_provided_name", &*name),
            None => event,
        }
    }
}

impl Session {
    pub(super) fn tell_channel_opened(&self, number: u16) {
        let broker = &self.broker;
        broker.tell_event(|| {
            Event::new("channel.created")
                .text("pid", broker.channel_pid(self.id(), number))
                .text("name", format!("{} ({number})", self.outbox.name()))
                .text("connection", broker.connection_pid(self.id()))
                .number("number", number)
                .text("user", &self.user.name)
                .text("vhost", &*self.vhost.name)
                .text("user_who_performed_action", &self.user.name)
        });
    }

    pub(super) fn tell_channel_closed(&self, number: u16) {
        self.broker.tell_event(|| {
            Event::new("channel.closed")
                .text("pid", self.broker.channel_pid(self.id(), number))
                .text("user_who_performed_action", &self.user.name)
        });
    }

    pub(super) fn tell_consumer(&self, number: u16, queue: &Queue, tag: &str, terms: &Terms, consume: &Consume) {
        self.broker.tell_event(|| {
            let event = self.about_consumer("consumer.created", number, queue, tag.as_bytes());
            event
                .flag("exclusive", consume.exclusive)
                .flag("ack_required", !terms.no_ack)
                .number("prefetch_count", terms.prefetch)
                .arguments("arguments", &Table::from(&consume.arguments))
                .text("user_who_performed_action", &self.user.name)
        });
    }

    /// A consumer has been cancelled by its client.
    pub(super) fn tell_cancelled(&self, number: u16, queue: &Queue, tag: &[u8]) {
        self.broker.tell_event(|| {
            self.about_consumer("consumer.deleted", number, queue, tag)
                .text("user_who_performed_action", &self.user.name)
        });
    }

    /// A channel ends: so do its consumers.
    pub(super) fn tell_consumers_end(&self, number: u16) {
        if !self.broker.tells_events() {
            return;
        }
        for (tag, queue) in self.outbox.consumers_of(number) {
            self.broker.tell_event(|| {
                self.about_consumer("consumer.deleted", number, &queue, &tag)
                    .text("user_who_performed_action", INTERNAL)
            });
        }
    }

    fn about_consumer(&self, key: &'static str, number: u16, queue: &Queue, tag: &[u8]) -> Event {
        Event::new(key)
            .text("consumer_tag", tag)
            .text("channel", self.broker.channel_pid(self.id(), number))
            .text("queue", &*queue.spec.name)
            .text("vhost", &*self.vhost.name)
    }
}
