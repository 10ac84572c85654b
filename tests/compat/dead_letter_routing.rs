//! E-8: where dead letters go, and where they do not; and E-6, item 97: their new address.

use leveret::frames::Value;

use super::harness::letters::*;
use super::harness::*;

/// Queues bound to a direct exchange by their own names.
fn bound_queues<const N: usize>(channel: &Channel, exchange: &str, keys: [&str; N]) -> [String; N] {
    keys.map(|key| {
        let queue = channel.temporary_queue();
        channel.call(queue_bind(&queue, exchange, key));
        queue
    })
}

#[test]
fn e105_without_a_key_of_its_own_all_keys_of_the_message_count() {
    let letters = Letters::new();
    let channel = &letters.channel;
    let dlx = exchange(channel, "direct");
    let (source, cc, bcc) = (unique("source"), unique("cc"), unique("bcc"));
    channel.declare(queue_declare(&source).exclusive().arg("x-dead-letter-exchange", &dlx));
    let copies = bound_queues(channel, &dlx, [&source, &cc, &bcc]);
    let lists = props().header("CC", [&*cc]).header("BCC", [&*bcc]);
    channel.publish_with("", &source, lists, "m");
    reject_next(channel, &source);
    for queue in copies {
        let letter = reject_when_there(channel, &queue);
        assert_eq!((&*letter.exchange, &*letter.routing_key), (&*dlx, &*source));
        let headers = letter.props.headers();
        assert_eq!(headers.get("CC"), Some(&Value::Array(vec![Value::text(&cc)])));
        assert_eq!(headers.get("BCC"), None);
        letters.expect_deaths(&letter, &[death(1, "rejected", &source, "", &[&source, &cc])]);
    }
}

/// Also item 97: the letter's address is the new one.
#[test]
fn e105_with_a_key_of_its_own_the_message_s_do_not_count() {
    let letters = Letters::new();
    let channel = &letters.channel;
    let dlx = exchange(channel, "direct");
    let (source, cc) = (unique("source"), unique("cc"));
    let declare = queue_declare(&source).exclusive().arg("x-dead-letter-exchange", &dlx);
    channel.declare(declare.arg("x-dead-letter-routing-key", "new"));
    let [old_key, copy, new_key] = bound_queues(channel, &dlx, [&source, &cc, "new"]);
    channel.publish_with("", &source, props().header("CC", [&*cc]), "m");
    reject_next(channel, &source);
    let letter = reject_when_there(channel, &new_key);
    assert_eq!((&*letter.exchange, &*letter.routing_key), (&*dlx, "new"));
    letters.expect_deaths(&letter, &[death(1, "rejected", &source, "", &[&source, &cc])]);
    assert_eq!((channel.ready(&old_key), channel.ready(&copy)), (0, 0));
    if Broker::newer_than_3_10("3.10 removes the CC header then").is_some() {
        assert_eq!(letter.props.headers().get("CC"), Some(&Value::Array(vec![Value::text(&cc)])));
    }
}

#[test]
fn e105_every_type_of_exchange_takes_dead_letters() {
    let letters = Letters::new();
    let channel = &letters.channel;
    for kind in ["direct", "fanout", "topic", "headers"] {
        let dlx = exchange(channel, kind);
        let bind = queue_bind(&letters.queue, &dlx, "k");
        channel.call(if kind == "headers" { bind.arg("mine", "yes") } else { bind });
        let declare = queue_declare("").exclusive().arg("x-dead-letter-exchange", &dlx);
        let queue = channel.declare(declare.arg("x-dead-letter-routing-key", "k")).queue.to_string();
        channel.publish_with("", &queue, props().header("mine", "yes"), kind);
        reject_next(channel, &queue);
        let letter = letters.next();
        assert_eq!((letter.text(), &*letter.exchange, &*letter.routing_key), (kind, &*dlx, "k"));
    }
}

#[test]
fn e106_letters_to_a_missing_exchange_are_dropped() {
    let letters = Letters::new();
    let channel = &letters.channel;
    let declare = queue_declare("").exclusive().arg("x-dead-letter-exchange", unique("missing").as_str());
    let queue = channel.declare(declare).queue.to_string();
    channel.publish("", &queue, "m");
    reject_next(channel, &queue);
    channel.expect_nothing_more();
    assert_eq!(channel.ready(&queue), 0);
}

/// The exchange is looked up when a message dies, not when the queue is declared.
#[test]
fn e106_the_exchange_may_come_later() {
    let letters = Letters::new();
    let channel = &letters.channel;
    let dlx = unique("later");
    let declare = queue_declare("").exclusive().arg("x-dead-letter-exchange", &dlx);
    let queue = channel.declare(declare).queue.to_string();
    channel.publish("", &queue, "m");
    channel.call(exchange_declare(&dlx, "fanout").auto_delete());
    channel.call(queue_bind(&letters.queue, &dlx, ""));
    reject_next(channel, &queue);
    assert_eq!(letters.next().text(), "m");
}

#[test]
fn e106_unroutable_letters_are_dropped_and_not_returned() {
    let letters = Letters::new();
    let channel = &letters.channel;
    let (dlx, source) = (exchange(channel, "direct"), exchange(channel, "fanout"));
    channel.call(queue_bind(&letters.queue, &dlx, "known"));
    let queue = channel.declare(queue_declare("").exclusive().arg("x-dead-letter-exchange", &dlx)).queue.to_string();
    channel.call(queue_bind(&queue, &source, ""));
    for key in ["unknown", "known"] {
        channel.send_message(basic_publish(&source, key).mandatory(), &props(), key.as_bytes());
        reject_next(channel, &queue);
    }
    assert_eq!(letters.next().text(), "known");
    channel.expect_nothing_more();
    assert_eq!(channel.ready(&queue), 0);
}

#[test]
fn e107_a_cycle_without_a_rejection_ends() {
    let letters = Letters::new();
    let channel = &letters.channel;
    let dlx = exchange(channel, "fanout");
    let queue = channel.declare(queue_declare("").exclusive().arg("x-dead-letter-exchange", &dlx)).queue.to_string();
    channel.call(queue_bind(&queue, &dlx, ""));
    channel.call(queue_bind(&letters.queue, &dlx, ""));
    channel.publish_with("", &queue, props().expiration("1"), "m");
    // Another queue gets it all the same.
    assert_eq!(letters.next().text(), "m");
    assert_eq!(channel.ready(&queue), 0);
}

/// A rejection further back, before the message was there first, does not help.
#[test]
fn e107_an_older_rejection_does_not_excuse_a_cycle() {
    let Some(broker) = Broker::newer_than_3_10("older deaths are in no certain order in 3.10") else { return };
    let letters = Letters::on(broker);
    let channel = &letters.channel;
    let (full, fuller) = (unique("full"), unique("fuller"));
    let dlx = exchange(channel, "fanout");
    let declare = |queue: &str, dlx: &str, key: &str| {
        let declare = queue_declare(queue).exclusive().arg("x-dead-letter-exchange", dlx);
        channel.declare(declare.arg("x-dead-letter-routing-key", key).arg("x-max-length", 0));
    };
    declare(&full, "", &fuller);
    declare(&fuller, &dlx, "");
    channel.call(queue_bind(&full, &dlx, ""));
    channel.call(queue_bind(&letters.queue, &dlx, ""));
    let source = unique("source");
    let declare = queue_declare(&source).exclusive().arg("x-dead-letter-exchange", "");
    channel.declare(declare.arg("x-dead-letter-routing-key", &full));
    for body in ["one", "two"] {
        channel.publish("", &source, body);
        reject_next(channel, &source);
        let letter = letters.next();
        assert_eq!(letter.text(), body, "and not the one before once more");
        let dead = |reason, queue: &str| death(1, reason, queue, "", &[queue]);
        letters.expect_deaths(&letter, &[dead("maxlen", &fuller), dead("maxlen", &full), dead("rejected", &source)]);
    }
}

#[test]
fn e107_a_cycle_with_a_rejection_goes_on() {
    let letters = Letters::new();
    let channel = &letters.channel;
    let (work, wait) = (unique("work"), unique("wait"));
    let declare = |queue: &str, other: &str| {
        let declare = queue_declare(queue).exclusive().arg("x-dead-letter-exchange", "");
        declare.arg("x-dead-letter-routing-key", other)
    };
    channel.declare(declare(&work, &wait));
    channel.declare(declare(&wait, &work).arg("x-message-ttl", 1));
    channel.publish("", &work, "m");
    reject_when_there(channel, &work);
    for count in 1..=3 {
        let message = reject_when_there(channel, &work);
        let expected = [death(count, "expired", &wait, "", &[&wait]), death(count, "rejected", &work, "", &[&work])];
        letters.expect_deaths(&message, &expected);
    }
}
