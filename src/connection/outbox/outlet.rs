//! What queues see of an outbox: deliveries are written straight into its buffer, under its lock, by whoever has them.

use std::sync::atomic::Ordering;

use amq_protocol::protocol::AMQPClass;
use amq_protocol::protocol::basic::{self, AMQPMethod};

use super::{HIGH_WATER, Outbox, READ_LIMIT, shown, with_properties};
use crate::frames::write;
use crate::message::{LARGE_BODY, MessageView};
use crate::queue::engine::Delivery;
use crate::queue::local::Subscriber;
use crate::queue::watched::Owner;
use crate::queue::{Accept, ConsumerKey, Outlet};
use crate::stats::Kind;

impl Outlet for Outbox {
    #[inline]
    fn deliver(&self, to: &Subscriber, consumer: ConsumerKey, delivery: Delivery<'_>) -> (Accept, bool) {
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
        if inner.closed {
            return (Accept::Refused, false);
        }
        let full = inner.queued + inner.in_flight >= HIGH_WATER;
        let Some(out) = inner.channels.get_mut(&to.channel) else { return (Accept::Refused, false) };
        if full {
            inner.stalled.push((to.channel, to.slot));
            return (Accept::Refused, false);
        }
        if !delivery.no_ack && out.is_at_limit() {
            out.stalled.push(to.slot);
            return (Accept::Refused, false);
        }
        debug_assert!(
            out.slots.get(to.slot as usize).is_some_and(|s| s.as_ref().is_some_and(|s| s.consumer == Some(consumer)))
        );
        let tag = out.ledger.next_tag();
        if delivery.no_ack {
            out.delivering.no_ack += 1;
        } else {
            out.note(delivery.position, to.slot, self.clock.load(Ordering::Relaxed), true);
        }
        if delivery.redelivered {
            out.delivering.redelivered += 1;
        }
        if out.counts_apart() {
            out.count_apart(to.slot, if delivery.no_ack { Kind::DeliverNoAck } else { Kind::Deliver });
            if delivery.redelivered {
                out.count_apart(to.slot, Kind::Redeliver);
            }
        }
        let before = inner.queued;
        let shown = shown(delivery.message, delivery.returned);
        let view = with_properties(delivery.message, shown.as_deref());
        if view.body.len() >= LARGE_BODY {
            write::deliver(&mut inner.buffer, to.channel, &to.tag, tag, delivery.redelivered, view.route);
            inner.content(to.channel, view, delivery.held);
            inner.recount();
        } else {
            let length = inner.buffer.len();
            if length == 0 {
                inner.buffer.reserve(inner.usual_length.min(HIGH_WATER));
            }
            if view.body.len() <= write::max_payload(inner.frame_max) {
                let content = (view.route, view.properties, view.body);
                let numbers = (tag, delivery.redelivered);
                write::small_delivery(&mut inner.buffer, to.channel, &to.tag, numbers, content);
            } else {
                write::deliver(&mut inner.buffer, to.channel, &to.tag, tag, delivery.redelivered, view.route);
                write::header(&mut inner.buffer, to.channel, view.body.len() as u64, view.properties);
                write::body(&mut inner.buffer, to.channel, view.body, inner.frame_max);
            }
            inner.queued += inner.buffer.len() - length;
        }
        let added = inner.queued - before;
        let wake = !std::mem::replace(&mut inner.awake, true);
        drop(guard);
        self.memory.add(added);
        (Accept::Taken, wake)
    }

    fn cancelled(&self, subscriber: &Subscriber, queue: u64) {
        let mut writing = self.lock();
        let cancel_notify = writing.cancel_notify;
        if writing.closed {
            return;
        }
        let Some(out) = writing.channel(subscriber.channel) else { return };
        // The client may have used the tag again meanwhile, for another queue.
        let is_same = out.consumers.get(&subscriber.tag) == Some(&subscriber.slot)
            && out.slot_mut(subscriber.slot).is_some_and(|slot| slot.queue.id == queue);
        if !is_same {
            return;
        }
        out.end_consumer(&subscriber.tag);
        let gone = (subscriber.channel, subscriber.slot);
        writing.stalled.retain(|stalled| *stalled != gone);
        if cancel_notify {
            let consumer_tag = String::from_utf8_lossy(&subscriber.tag).into_owned().into();
            let cancel = AMQPMethod::Cancel(basic::Cancel { consumer_tag, nowait: true });
            writing.send(subscriber.channel, &AMQPClass::Basic(cancel));
        }
        let wake = !std::mem::replace(&mut writing.awake, true);
        drop(writing);
        if wake {
            self.waker.wake();
        }
    }

    fn deliver_reply(&self, channel: u16, consumer_tag: &[u8], message: MessageView<'_>) -> bool {
        let shown = shown(message, None);
        let message = with_properties(message, shown.as_deref());
        let mut writing = self.lock();
        // Replies are sent at most once: a requester that does not read loses them, and not the node its memory.
        if writing.closed || writing.queued + writing.in_flight >= READ_LIMIT {
            return false;
        }
        let Some(out) = writing.channel(channel) else { return false };
        let tag = out.ledger.next_tag();
        out.delivering.no_ack += 1;
        write::deliver(writing.buffer(), channel, consumer_tag, tag, false, message.route);
        writing.content(channel, message, None);
        let wake = !std::mem::replace(&mut writing.awake, true);
        drop(writing);
        if wake {
            self.waker.wake();
        }
        true
    }

    fn wake(&self) {
        self.waker.wake();
    }

    fn owner(&self) -> Owner {
        self.owner.get().cloned().unwrap_or_default()
    }
}
