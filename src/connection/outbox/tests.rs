//! What the outbox books: memory, and deliveries of channels.

use super::*;
use crate::frames::Table;
use crate::message::{Incoming, Traits};
use crate::queue::Wakes;
use crate::queue::engine::Terms;
use crate::queue::local::{QueueSpec, Shared, Subscriber};

fn outbox(memory: &'static MemoryAccount) -> Arc<Outbox> {
    Outbox::new(1, Arc::default(), memory)
}

fn queue() -> Arc<Queue> {
    let spec = QueueSpec {
        vhost: "/".into(),
        name: "q".into(),
        durable: false,
        auto_delete: false,
        exclusive_owner: None,
        arguments: Table::default(),
        store_id: 0,
        ..QueueSpec::default()
    };
    Queue::new(1, spec, &Arc::default(), Shared::alone(None), None)
}

fn message(memory: &'static MemoryAccount) -> Incoming<'static> {
    Incoming::Held(Message::from_parts(b"\0\x01q", &[0, 0], b"body".to_vec(), Traits::default(), memory))
}

#[test]
fn bytes_that_are_written_after_the_end_are_given_back_once() {
    let memory = MemoryAccount::new(u64::MAX);
    memory.add(1000);
    let outbox = outbox(memory);
    outbox.blocked(None);
    let mut segments = VecDeque::new();
    outbox.take(&mut segments);
    let length: usize = segments.iter().map(|s| s.bytes().len()).sum();
    outbox.written(1);
    assert_eq!(memory.used(), 1000 + length as u64 - 1);
    outbox.close();
    outbox.written(length - 1);
    assert_eq!(memory.used(), 1000);
}

#[test]
fn a_connection_that_is_to_end_at_once_is_not_given_time_again() {
    let outbox = outbox(MemoryAccount::new(u64::MAX));
    outbox.request_close(Refusal::not_found("first"));
    outbox.request_end();
    outbox.request_close(Refusal::not_found("later"));
    assert!(matches!(outbox.close_requested(), Some(CloseRequest::End)));
    assert!(outbox.close_requested().is_none());
    outbox.request_close(Refusal::not_found("again"));
    assert!(matches!(outbox.close_requested(), Some(CloseRequest::Close(_))));
}

/// Only deliveries to consumers count towards the shared limit, also when a consumer of the same queue has just gone.
#[test]
fn a_message_that_was_got_does_not_count_as_a_cancelled_consumers() {
    let memory = MemoryAccount::new(u64::MAX);
    let (outbox, queue, mut wakes) = (outbox(memory), queue(), Wakes::default());
    outbox.open_channel(1, Arc::default(), false);
    let slot = outbox.add_consumer(1, b"tag", &queue).unwrap();
    let subscriber = Subscriber { outlet: Arc::clone(&outbox) as _, channel: 1, slot, tag: b"tag"[..].into() };
    let mut consumer = None;
    let started = |key| {
        consumer = Some(key);
        outbox.consumer_started(1, slot, key, None);
    };
    queue.subscribe(subscriber, Terms::default(), started, &mut wakes).unwrap();
    queue.publish([message(memory)].iter_mut(), &mut wakes).unwrap();
    queue.cancel(consumer.unwrap(), || outbox.remove_consumer(1, b"tag"), &mut wakes);
    queue.publish([message(memory)].iter_mut(), &mut wakes).unwrap();
    queue.get(false, |got| outbox.got(1, &queue, &got.unwrap(), false)).unwrap();
    let consumed = |outbox: &Outbox| outbox.lock().channel(1).unwrap().consumed;
    assert_eq!(consumed(&outbox), 1);
    let mut settled = Settled::default();
    outbox.settle(1, 2, false, Settlement::Ack, &mut settled).unwrap();
    assert_eq!(consumed(&outbox), 1);
    outbox.settle(1, 1, false, Settlement::Ack, &mut settled).unwrap();
    assert_eq!(consumed(&outbox), 0);
}
