//! E-8: dead letters and what their headers say. Where they go is in `dead_letter_routing.rs`.

use leveret::frames::Value;
use leveret::frames::content::Property;

use super::harness::letters::*;
use super::harness::*;

#[test]
fn e101_a_rejected_message() {
    let letters = Letters::new();
    let (queue, from) = (letters.plain_source(), exchange(&letters.channel, "topic"));
    letters.channel.call(queue_bind(&queue, &from, "a.*"));
    letters.channel.publish_with(&from, "a.b", props().header("mine", 1), "m");
    reject_next(&letters.channel, &queue);
    let letter = letters.next();
    assert_eq!(letter.text(), "m");
    assert_eq!(letter.props.headers().get("mine"), Some(&Value::I32(1)));
    letters.expect_deaths(&letter, &[death(1, "rejected", &queue, &from, &["a.b"])]);
}

#[test]
fn e101_a_message_of_which_the_queue_s_time_is_over() {
    let letters = Letters::new();
    let queue = letters.source(queue_declare("").arg("x-message-ttl", 10));
    letters.channel.publish("", &queue, "m");
    let letter = letters.next();
    assert_eq!(letter.text(), "m");
    letters.expect_deaths(&letter, &[death(1, "expired", &queue, "", &[&queue])]);
}

#[test]
fn e101_a_message_that_makes_room() {
    let letters = Letters::new();
    let queue = letters.source(queue_declare("").arg("x-max-length", 1));
    letters.channel.publish_confirmed("", &queue, &["old", "new"]);
    let letter = letters.next();
    assert_eq!(letter.text(), "old");
    letters.expect_deaths(&letter, &[death(1, "maxlen", &queue, "", &[&queue])]);
    assert_eq!(letters.channel.drain(&queue), ["new"]);
}

/// Two queues that send each other what is rejected.
fn back_and_forth(channel: &Channel) -> (String, String) {
    let (one, two) = (unique("one"), unique("two"));
    for (queue, other) in [(&one, &two), (&two, &one)] {
        let declare = queue_declare(queue).exclusive().arg("x-dead-letter-exchange", "");
        channel.declare(declare.arg("x-dead-letter-routing-key", other));
    }
    (one, two)
}

#[test]
fn e102_a_repeated_death_is_counted_and_comes_first() {
    let letters = Letters::new();
    let channel = &letters.channel;
    let (one, two) = back_and_forth(channel);
    channel.publish("", &one, "m");
    let at_one = |count| death(count, "rejected", &one, "", &[&one]);
    let at_two = |count| death(count, "rejected", &two, "", &[&two]);
    reject_when_there(channel, &one);
    letters.expect_deaths(&reject_when_there(channel, &two), &[at_one(1)]);
    letters.expect_deaths(&reject_when_there(channel, &one), &[at_two(1), at_one(1)]);
    letters.expect_deaths(&reject_when_there(channel, &two), &[at_one(2), at_two(1)]);
    letters.expect_deaths(&reject_when_there(channel, &one), &[at_two(2), at_one(2)]);
}

#[test]
fn e102_every_reason_of_a_queue_has_its_entry() {
    let letters = Letters::new();
    let channel = &letters.channel;
    let (one, two) = back_and_forth(channel);
    channel.publish_with("", &one, props().expiration("1"), "m");
    reject_when_there(channel, &two);
    reject_when_there(channel, &one);
    let letter = reject_when_there(channel, &two);
    let first = death_with_expiration("1", &death(1, "expired", &one, "", &[&one]));
    let rejected = |queue: &str| death(1, "rejected", queue, "", &[queue]);
    letters.expect_deaths(&letter, &[rejected(&one), rejected(&two), first]);
}

#[test]
fn e102_the_time_is_that_of_the_first_death() {
    let channel = channel();
    let (one, two) = back_and_forth(&channel);
    channel.publish("", &one, "m");
    reject_when_there(&channel, &one);
    let time = |message: &Message| deaths(message).last().and_then(|death| death.get("time").cloned());
    let first = reject_when_there(&channel, &two);
    let second = unix_seconds();
    eventually("another second", || unix_seconds() > second);
    reject_when_there(&channel, &one);
    let third = reject_when_there(&channel, &two);
    assert_eq!(deaths(&third).first().and_then(|death| death.get("count")), Some(&Value::I64(2)));
    let of_queue_one = deaths(&third).first().and_then(|death| death.get("time").cloned());
    assert_eq!(of_queue_one, time(&first));
}

#[test]
fn e103_the_first_and_the_last_death_have_headers() {
    let letters = Letters::new();
    let channel = &letters.channel;
    let (one, two) = back_and_forth(channel);
    let from = exchange(channel, "fanout");
    channel.call(queue_bind(&one, &from, ""));
    channel.publish_with(&from, "", props().expiration("1"), "m");
    let which = |message: &Message, which: &str| {
        ["reason", "queue", "exchange"].map(|what| text_header(message, &format!("x-{which}-death-{what}")))
    };
    let first = ["expired".to_owned(), one.clone(), from];
    let message = reject_when_there(channel, &two);
    assert_eq!(which(&message, "first"), first);
    let again = reject_when_there(channel, &one);
    assert_eq!(which(&again, "first"), first);
    if Broker::newer_than_3_10("3.10 does not tell the last death").is_none() {
        return;
    }
    assert_eq!(which(&message, "last"), first);
    assert_eq!(which(&again, "last"), ["rejected".to_owned(), two, String::new()]);
}

#[test]
fn e104_a_dead_letter_does_not_expire_again() {
    let letters = Letters::new();
    let channel = &letters.channel;
    let (one, two) = back_and_forth(channel);
    channel.publish_with("", &one, props().expiration("10").persistent(), "m");
    let letter = reject_when_there(channel, &two);
    assert_eq!(letter.props.get(Property::Expiration), "");
    let first = death_with_expiration("10", &death(1, "expired", &one, "", &[&one]));
    letters.expect_deaths(&letter, std::slice::from_ref(&first));
    let again = reject_when_there(channel, &one);
    let second = death(1, "rejected", &two, "", &[&two]);
    letters.expect_deaths(&again, &[second, first]);
}

#[test]
fn e104_a_rejected_message_loses_its_expiration_too() {
    let letters = Letters::new();
    let queue = letters.plain_source();
    letters.channel.publish_with("", &queue, props().expiration("60000"), "m");
    reject_next(&letters.channel, &queue);
    let letter = letters.next();
    assert_eq!(letter.props.get(Property::Expiration), "");
    let expected = death(1, "rejected", &queue, "", &[&queue]);
    letters.expect_deaths(&letter, &[death_with_expiration("60000", &expected)]);
}

/// As 3.13.3 and all before 3.13: who publishes what came with its headers goes on counting.
#[test]
fn e108_deaths_that_a_client_publishes_are_counted_on() {
    let letters = Letters::new();
    let channel = &letters.channel;
    let queue = letters.plain_source();
    channel.publish("", &queue, "m");
    for count in 1..=3 {
        reject_next(channel, &queue);
        let letter = letters.next();
        letters.expect_deaths(&letter, &[death(count, "rejected", &queue, "", &[&queue])]);
        channel.publish_with("", &queue, letter.props.clone(), "m");
    }
}

/// As since 4.0, where that is wanted: consumers get the header as it was published, and the first death begins a new list.
#[test]
fn e108_deaths_that_a_client_publishes_can_be_left_uncounted() {
    let Some(broker) = Broker::start_with(&[("dead_letter.count_client_x_death", "false")]) else { return };
    let letters = Letters::on(&broker);
    let channel = &letters.channel;
    let queue = letters.plain_source();
    channel.publish("", &queue, "m");
    reject_next(channel, &queue);
    let letter = letters.next();
    letters.expect_deaths(&letter, &[death(1, "rejected", &queue, "", &[&queue])]);
    for _ in 0..2 {
        channel.publish_with("", &queue, letter.props.clone(), "m");
        let got = channel.expect_get(&queue);
        assert_eq!(got.props.headers(), letter.props.headers(), "a consumer sees what was published");
        channel.send(basic_reject(got.delivery_tag));
        letters.expect_deaths(&letters.next(), &[death(1, "rejected", &queue, "", &[&queue])]);
    }
    // What happens to it inside the broker is counted all the same.
    let (one, two) = back_and_forth(channel);
    channel.publish_with("", &one, letter.props.clone(), "m");
    reject_when_there(channel, &one);
    reject_when_there(channel, &two);
    let again = reject_when_there(channel, &one);
    assert_eq!(deaths(&again).len(), 2);
    let last = channel.expect_get_eventually(&two);
    assert_eq!(deaths(&last)[0].get("count"), Some(&Value::I64(2)));
}

/// What a client makes up and is no list of deaths does no harm.
#[test]
fn e108_nonsense_in_x_death_does_no_harm() {
    let Some(broker) = Broker::newer_than_3_10("nonsense ends 3.10's channels and queues") else { return };
    let letters = Letters::on(broker);
    let queue = letters.plain_source();
    let expected = death(1, "rejected", &queue, "", &[&queue]);
    let wrong_count =
        [("queue", Value::text(&queue)), ("reason", Value::text("rejected")), ("count", Value::text("x"))];
    for nonsense in [
        Value::text("nonsense"),
        Value::Array(vec![Value::I32(1), Value::Table([("queue", Value::I32(1))].into_iter().collect())]),
        Value::Array(vec![Value::Table(wrong_count.into_iter().collect())]),
    ] {
        letters.channel.publish_with("", &queue, props().header("x-death", nonsense), "m");
        reject_next(&letters.channel, &queue);
        let newest = deaths(&letters.next()).first().cloned();
        for key in ["queue", "reason", "count"] {
            assert_eq!(newest.as_ref().and_then(|death| death.get(key)), expected.get(key));
        }
    }
}

#[test]
fn e109_a_nack_of_many_keeps_their_order() {
    let letters = Letters::new();
    let channel = &letters.channel;
    let queue = letters.plain_source();
    let bodies: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    bodies.iter().for_each(|body| channel.publish("", &queue, body));
    channel.consume(basic_consume(&queue, ""));
    channel.expect_bodies(50);
    channel.send(basic_nack(50).multiple());
    assert_eq!(letters.next_bodies(50), bodies);
}

#[test]
fn e109_a_requeued_message_is_no_dead_letter() {
    let letters = Letters::new();
    let channel = &letters.channel;
    let queue = letters.plain_source();
    for body in ["first", "second"] {
        channel.publish("", &queue, body);
    }
    let first = channel.expect_get(&queue);
    channel.send(basic_nack(first.delivery_tag).requeue());
    let first = channel.expect_get(&queue);
    assert_eq!((first.text(), first.redelivered), ("first", true));
    assert_eq!(first.props.headers().get("x-death"), None);
    let second = channel.expect_get(&queue);
    channel.send(basic_reject(second.delivery_tag));
    assert_eq!(letters.next().text(), "second");
    channel.send(basic_ack(first.delivery_tag));
}

#[test]
fn e109_a_full_queue_s_refused_messages() {
    let letters = Letters::new();
    let channel = &letters.channel;
    let declare = queue_declare("").arg("x-max-length", 1).arg("x-overflow", "reject-publish-dlx");
    let queue = letters.source(declare);
    channel.call(confirm_select());
    for body in ["kept", "refused"] {
        channel.publish("", &queue, body);
    }
    assert_eq!(channel.expect_confirms(2), [2]);
    let letter = letters.next();
    assert_eq!(letter.text(), "refused");
    letters.expect_deaths(&letter, &[death(1, "maxlen", &queue, "", &[&queue])]);
    assert_eq!(channel.drain(&queue), ["kept"]);
}

#[test]
fn e109_a_refused_message_is_no_dead_letter_without_dlx_in_the_overflow() {
    let letters = Letters::new();
    let channel = &letters.channel;
    let queue = letters.source(queue_declare("").arg("x-max-length", 1).arg("x-overflow", "reject-publish"));
    channel.call(confirm_select());
    for body in ["kept", "refused"] {
        channel.publish("", &queue, body);
    }
    assert_eq!(channel.expect_confirms(2), [2]);
    reject_next(channel, &queue);
    assert_eq!(letters.next().text(), "kept");
}

#[test]
fn e109_purged_and_deleted_messages_are_no_dead_letters() {
    let letters = Letters::new();
    let channel = &letters.channel;
    let (purged, deleted, control) = (letters.plain_source(), letters.plain_source(), letters.plain_source());
    for queue in [&purged, &deleted, &control] {
        channel.publish("", queue, queue);
    }
    assert_eq!(channel.purge(&purged), 1);
    assert_eq!(channel.delete(queue_delete(&deleted)), 1);
    reject_next(channel, &control);
    assert_eq!(letters.next().text(), control);
    letters.incoming.expect_nothing_more();
}

#[test]
fn e109_the_messages_of_a_queue_that_expires_are_no_dead_letters() {
    let letters = Letters::new();
    let channel = &letters.channel;
    let expiring = letters.source(queue_declare("").arg("x-expires", 50));
    channel.publish("", &expiring, "m");
    let control = letters.source(queue_declare("").arg("x-message-ttl", 200));
    eventually("the queue has expired", || {
        channel.send_message(basic_publish("", &expiring).mandatory(), &props(), b"probe");
        channel.delivered_so_far().iter().any(|incoming| matches!(incoming, Incoming::Message(_)))
    });
    channel.publish("", &control, "control");
    assert_eq!(letters.next().text(), "control");
}

#[test]
fn e109_a_rejection_in_a_transaction_counts_at_its_commit() {
    let letters = Letters::new();
    let channel = &letters.channel;
    let (queue, control) = (letters.plain_source(), letters.plain_source());
    channel.publish("", &queue, "in a transaction");
    letters.incoming.publish("", &control, "control");
    channel.call(tx_select());
    let message = channel.expect_get(&queue);
    channel.send(basic_reject(message.delivery_tag));
    reject_next(&letters.incoming, &control);
    assert_eq!(letters.next().text(), "control");
    channel.call(tx_commit());
    assert_eq!(letters.next().text(), "in a transaction");
}

#[test]
fn e111_dead_letters_need_no_permission() {
    let broker = Broker::start();
    if !broker.can_be_administered() {
        return;
    }
    let letters = Letters::new();
    let (user, dlx) = (unique("user"), exchange(&letters.channel, "fanout"));
    letters.channel.call(queue_bind(&letters.queue, &dlx, ""));
    broker.add_user(&user, &user);
    broker.set_permissions(&user, "/", ".*", ".*", ".*");
    let channel = broker.connect_with(|options| options.log_in_as(&user)).channel();
    let queue = channel.declare(queue_declare("").exclusive().arg("x-dead-letter-exchange", &dlx)).queue.to_string();
    broker.set_permissions(&user, "/", "", "^(amq\\.default|)$", ".*");
    letters.channel.publish("", &queue, "m");
    reject_when_there(&channel, &queue);
    assert_eq!(letters.next().text(), "m");
}

#[test]
fn e111_the_publisher_is_confirmed_once() {
    let letters = Letters::new();
    let channel = &letters.channel;
    let queue = letters.source(queue_declare("").arg("x-message-ttl", 1));
    channel.publish_confirmed("", &queue, &["one", "two"]);
    assert_eq!(letters.next_bodies(2), ["one", "two"]);
    channel.expect_nothing_more();
}

#[test]
fn e112_everything_else_stays() {
    let letters = Letters::new();
    let queue = letters.plain_source();
    let sent = [
        (Property::ContentType, "text/plain"),
        (Property::ContentEncoding, "utf-8"),
        (Property::CorrelationId, "correlation"),
        (Property::ReplyTo, "reply"),
        (Property::MessageId, "id"),
        (Property::Type, "type"),
        (Property::UserId, "guest"),
        (Property::AppId, "app"),
    ];
    let sent = sent.into_iter().fold(props(), |props, (property, text)| props.text(property, text));
    let sent = sent.persistent().octet(Property::Priority, 7).timestamp(12_345).header("mine", "yes");
    letters.channel.publish_with("", &queue, sent.clone(), "m");
    reject_next(&letters.channel, &queue);
    let letter = letters.next();
    let added = ["x-death", "x-first-death-", "x-last-death-"];
    let headers = letter.props.headers();
    let kept = headers.iter().filter(|(key, _)| !added.iter().any(|added| key.starts_with(added)));
    let kept = kept
        .fold(letter.props.clone().without(Property::Headers), |props, (key, value)| props.header(key, value.clone()));
    assert_eq!(kept, sent);
}

/// Deaths, and what is yet to die, outlive the broker.
#[test]
fn dead_letters_survive_a_restart() {
    let Some(mut broker) = Broker::start_with(&[]) else { return };
    let channel = broker.connect().channel();
    let declare = |queue: &str| queue_declare(queue).durable();
    let to_dead =
        |queue: &str| declare(queue).arg("x-dead-letter-exchange", "").arg("x-dead-letter-routing-key", "dead");
    let declare_all = |channel: &Channel| {
        channel.declare(declare("dead"));
        channel.declare(to_dead("rejected"));
        channel.declare(to_dead("waiting").arg("x-message-ttl", 1000));
    };
    declare_all(&channel);
    channel.call(confirm_select());
    for queue in ["rejected", "waiting"] {
        channel.publish_with("", queue, props().persistent(), queue);
    }
    channel.expect_confirms(2);
    reject_next(&channel, "rejected");
    eventually("the dead letter", || channel.ready("dead") == 1);
    channel.call(channel_close());
    drop(channel);

    broker.restart();
    let channel = broker.connect().channel();
    declare_all(&channel);
    let letter = channel.expect_get("dead");
    assert_eq!((letter.text(), text_header(&letter, "x-first-death-reason")), ("rejected", "rejected".into()));
    channel.send(basic_ack(letter.delivery_tag));
    channel.consume(basic_consume("dead", "").no_ack());
    let letter = channel.expect_deliver();
    assert_eq!((letter.text(), text_header(&letter, "x-first-death-reason")), ("waiting", "expired".into()));
    assert_eq!((channel.ready("rejected"), channel.ready("waiting")), (0, 0));
}
