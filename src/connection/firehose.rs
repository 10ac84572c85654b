//! What a connection tells of its publishes and gets while its virtual host is traced.

use super::routes::Route;
use super::session::Session;
use crate::message::trace::Event;
use crate::message::{Message, MessageView};
use crate::queue::{Outlet, Queue};

impl Session {
    /// Tells of a publish and the queues that it goes to. A delayed one goes to none yet.
    pub(super) fn tell_publish(&self, channel: u16, message: MessageView<'_>, route: &Route) {
        let named = route.queues.iter().filter(|queue| queue.spec.delays_for.is_none());
        let routed: Vec<&str> = named.map(|queue| &*queue.spec.name).collect();
        self.tell(channel, message, Event::Publish { routed: &routed });
    }

    /// Tells of a message that was got.
    pub(super) fn tell_got(&self, channel: u16, message: &Message, queue: &Queue, redelivered: bool) {
        self.tell(channel, message.view(), Event::Deliver { queue: &queue.spec.name, redelivered });
    }

    fn tell(&self, channel: u16, message: MessageView<'_>, event: Event<'_>) {
        self.vhost.tell(&self.broker, message, event, &self.outbox.owner(), channel);
    }
}
