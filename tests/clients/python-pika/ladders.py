"""What people build from time-outs, limits, dead letters, delays and priorities."""

import random
import time

import pika
from pika.exceptions import NackError

from harness import case, expect, unique
from scratch import Scratch, drain, wait_for


def to_dead_letters(queue, **arguments):
    """Arguments of a queue whose dead letters go straight to another queue."""
    return {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue, **arguments}


def deaths(properties, queue, reason):
    """How often the message died of this reason in this queue."""
    entries = (properties.headers or {}).get("x-death", [])
    return sum(entry["count"] for entry in entries if (entry["queue"], entry["reason"]) == (queue, reason))


def expect_timed_out(properties, queue, expiration=None):
    death, = properties.headers["x-death"]
    expect((death["reason"], death["queue"], death["exchange"], death["routing-keys"], death["count"]),
           ("expired", queue, "", [queue], 1), "x-death")
    expect(death.get("original-expiration"), expiration, "original-expiration")
    expect(properties.expiration, None, "expiration of a dead letter")
    expect(properties.headers["x-first-death-reason"], "expired", "x-first-death-reason")


@case("order-time-out-of-a-queue")
def order_time_out_of_a_queue():
    with Scratch() as s:
        channel = s.channel()
        cancelled = s.queue(channel)
        unpaid = s.queue(channel, durable=True, arguments=to_dead_letters(cancelled, **{"x-message-ttl": 300}))
        channel.confirm_delivery()
        start = time.monotonic()
        for number in range(3):
            channel.basic_publish("", unpaid, str(number).encode())
        # One is paid in time.
        method, _, body = channel.basic_get(unpaid, auto_ack=True)
        expect(body, b"0", "the order that is paid")
        letters = drain(channel, cancelled, 2)
        expect(time.monotonic() - start >= 0.3, True, "not before their time")
        expect([body for _, _, body in letters], [b"1", b"2"], "orders that timed out")
        for method, properties, _ in letters:
            expect((method.exchange, method.routing_key), ("", cancelled), "address of the dead letter")
            expect_timed_out(properties, unpaid)
        expect(channel.queue_declare(unpaid, passive=True).method.message_count, 0, "orders left")


@case("order-time-out-of-a-message")
def order_time_out_of_a_message():
    with Scratch() as s:
        channel = s.channel()
        cancelled = s.queue(channel)
        unpaid = s.queue(channel, arguments=to_dead_letters(cancelled))
        start = time.monotonic()
        channel.basic_publish("", unpaid, b"order", pika.BasicProperties(expiration="300", message_id="m1"))
        (_, properties, body), = drain(channel, cancelled, 1)
        expect(time.monotonic() - start >= 0.3, True, "not before its time")
        expect((body, properties.message_id), (b"order", "m1"), "order")
        expect_timed_out(properties, unpaid, expiration="300")


@case("order-time-out-behind-a-longer-one")
def order_time_out_behind_a_longer_one():
    """RabbitMQ keeps the second message until the first is gone."""
    with Scratch() as s:
        channel = s.channel()
        cancelled = s.queue(channel)
        unpaid = s.queue(channel, arguments=to_dead_letters(cancelled))
        for expiration in ("60000", "400", "100"):
            channel.basic_publish("", unpaid, expiration.encode(), pika.BasicProperties(expiration=expiration))
        letters = drain(channel, cancelled, 2)
        expect([body for _, _, body in letters], [b"100", b"400"], "orders in the order of their time-outs")
        expect(channel.queue_declare(unpaid, passive=True).method.message_count, 1, "orders left")


@case("retry-three-times-then-park")
def retry_three_times_then_park():
    with Scratch() as s:
        connection = s.connection()
        channel = connection.channel()
        parked, work, wait = s.queue(channel), unique("work"), unique("wait")
        s.queues += [work, wait]
        channel.queue_declare(work, arguments=to_dead_letters(wait))
        channel.queue_declare(wait, arguments=to_dead_letters(work, **{"x-message-ttl": 50}))
        attempts = {b"hopeless": [], b"needs two": []}

        def worker(ch, method, properties, body):
            before = deaths(properties, work, "rejected")
            attempts[body].append(before)
            if body == b"needs two" and before == 1:
                ch.basic_ack(method.delivery_tag)
            elif before < 3:
                ch.basic_reject(method.delivery_tag, requeue=False)
            else:
                ch.basic_publish("", parked, body, properties)
                ch.basic_ack(method.delivery_tag)

        channel.basic_consume(work, worker)
        for body in attempts:
            channel.basic_publish("", work, body)
        (_, properties, body), = drain(connection.channel(), parked, 1)
        expect(body, b"hopeless", "parked message")
        expect(attempts, {b"hopeless": [0, 1, 2, 3], b"needs two": [0, 1]}, "deaths that the worker has read")
        expect(deaths(properties, wait, "expired"), 3, "times that it has waited")
        newest = properties.headers["x-death"][0]
        expect((newest["queue"], newest["reason"]), (wait, "expired"), "newest death")
        for queue in (work, wait):
            expect(channel.queue_declare(queue, passive=True).method.message_count, 0, "messages left")


@case("retry-until-the-delivery-limit")
def retry_until_the_delivery_limit():
    with Scratch() as s:
        connection = s.connection()
        channel = connection.channel()
        parked = s.queue(channel)
        arguments = to_dead_letters(parked, **{"x-queue-type": "quorum", "x-delivery-limit": 3})
        work = s.queue(channel, durable=True, arguments=arguments)
        counts = []

        def worker(ch, method, properties, body):
            counts.append(((properties.headers or {}).get("x-delivery-count", 0), method.redelivered))
            ch.basic_nack(method.delivery_tag, requeue=True)

        channel.basic_qos(prefetch_count=1)
        channel.basic_consume(work, worker)
        channel.basic_publish("", work, b"poison")
        (_, properties, body), = drain(connection.channel(), parked, 1)
        expect(body, b"poison", "parked message")
        expect(counts, [(0, False), (1, True), (2, True), (3, True)], "x-delivery-count and redelivered")
        death, = properties.headers["x-death"]
        expect((death["queue"], death["reason"], death["count"]), (work, "delivery_limit", 1), "x-death")


@case("delayed-exchange")
def delayed_exchange():
    with Scratch() as s:
        channel = s.channel()
        exchange = s.exchange(channel, "x-delayed-message", arguments={"x-delayed-type": "topic"})
        queue = s.queue(channel)
        channel.queue_bind(queue, exchange, "reminder.*")
        channel.confirm_delivery()
        start = time.monotonic()
        for delay in (600, 200, 400):
            # Confirmed now, delivered later.
            channel.basic_publish(exchange, f"reminder.{delay}", str(delay).encode(),
                                  pika.BasicProperties(headers={"x-delay": delay}))
        channel.basic_publish(exchange, "reminder.now", b"now")
        messages = []
        for method, properties, body in channel.consume(queue, auto_ack=True, inactivity_timeout=15):
            expect(method is not None, True, "a message in time")
            messages.append((body, (properties.headers or {}).get("x-delay")))
            expect(body == b"now" or time.monotonic() - start >= int(body) / 1000, True, "not before its time")
            if len(messages) == 4:
                break
        expect(messages, [(b"now", None), (b"200", -200), (b"400", -400), (b"600", -600)], "messages and x-delay")


@case("priorities-under-load")
def priorities_under_load():
    with Scratch() as s:
        connection = s.connection()
        publisher, consumer = connection.channel(), connection.channel()
        queue = s.queue(publisher, arguments={"x-max-priority": 10})
        publisher.confirm_delivery()

        def publish(priority, body):
            publisher.basic_publish("", queue, body, pika.BasicProperties(priority=priority))

        chance = random.Random(1)
        backlog = [(chance.randrange(10), f"{number}".encode()) for number in range(300)]
        for priority, body in backlog:
            publish(priority, body)
        received = []

        def worker(ch, method, properties, body):
            received.append((properties.priority, body))
            ch.basic_ack(method.delivery_tag)

        consumer.basic_qos(prefetch_count=1)
        consumer.basic_consume(queue, worker)
        wait_for(connection, lambda: len(received) >= 100, "a part of the backlog")
        publish(10, b"urgent")
        before = len(received)
        wait_for(connection, lambda: len(received) == 301, "all messages")
        at = received.index((10, b"urgent"))
        expect(at <= before + 1, True, f"urgent was number {at} when {before} had been received")
        del received[at]
        expect(received, sorted(backlog, key=lambda message: -message[0]), "high priorities first, then by age")


@case("reject-publish")
def reject_publish():
    with Scratch() as s:
        channel = s.channel()
        queue = s.queue(channel, arguments={"x-max-length": 2, "x-overflow": "reject-publish"})
        channel.confirm_delivery()
        channel.basic_publish("", queue, b"one")
        channel.basic_publish("", queue, b"two")
        for _ in range(2):
            try:
                channel.basic_publish("", queue, b"refused")
            except NackError:
                pass
            else:
                raise AssertionError("a full queue took a message")
        expect(channel.basic_get(queue, auto_ack=True)[2], b"one", "oldest message")
        channel.basic_publish("", queue, b"three")
        expect([body for _, _, body in drain(channel, queue, 2)], [b"two", b"three"], "messages that were kept")
