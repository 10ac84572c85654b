"""The cases for aio-pika."""

import asyncio
import functools
import logging

import aio_pika
from aio_pika import DeliveryMode, ExchangeType, Message
from aio_pika.exceptions import (AMQPConnectionError, AMQPError, ChannelClosed, ChannelNotFoundEntity,
                                 ChannelPreconditionFailed, DeliveryError)
from aiormq.exceptions import ChannelLockedResource

from harness import HOST, PASSWORD, PORT, USER, VHOST, broker, case, expect, main, unique

DEADLINE = 15  # for messages and events to come in


def async_case(name, timeout=60):
    def register(function):
        @case(name, timeout)
        @functools.wraps(function)
        def run():
            async def body():
                async with Scratch() as s:
                    await function(s)
            asyncio.run(body())
        return function
    return register


class Scratch:
    """The connections, queues and exchanges of one case, which are gone at its end."""

    async def __aenter__(self):
        self.connections, self.queues, self.exchanges = [], [], []
        return self

    async def __aexit__(self, failure, *_):
        try:
            await asyncio.wait_for(self.clean_up(), 20)
        except (AMQPError, OSError, TimeoutError):
            if not failure:  # the failure itself says more than what it led to
                raise

    async def clean_up(self):
        for connection in self.connections:
            await connection.close()
        if self.queues or self.exchanges:
            async with await connect() as connection:
                channel = await connection.channel()
                for name in self.queues:
                    await channel.queue_delete(name)
                for name in self.exchanges:
                    await channel.exchange_delete(name)

    async def connection(self, connector=aio_pika.connect, **options):
        connection = await connect(connector, **options)
        self.connections.append(connection)
        return connection

    async def channel(self, **options):
        return await (await self.connection()).channel(**options)

    async def queue(self, channel, **options):
        queue = await channel.declare_queue(unique("queue"), **options)
        if not options.get("exclusive"):
            self.queues.append(queue.name)
        return queue

    async def exchange(self, channel, kind, **options):
        exchange = await channel.declare_exchange(unique(str(kind)), kind, **options)
        self.exchanges.append(exchange.name)
        return exchange


async def connect(connector=aio_pika.connect, **options):
    return await connector(host=HOST, port=PORT, login=USER, password=PASSWORD, virtualhost=VHOST, **options)


async def send(channel, queue, *bodies, **properties):
    for body in bodies:
        await channel.default_exchange.publish(Message(body, **properties), queue.name)


async def take(queue, count):
    """Consumes this many messages and acknowledges them."""
    messages = []
    async with asyncio.timeout(DEADLINE), queue.iterator() as incoming:
        async for message in incoming:
            await message.ack()
            messages.append(message)
            if len(messages) == count:
                break
    return messages


async def bodies(queue, count):
    return [message.body for message in await take(queue, count)]


async def message_count(channel, queue):
    return (await channel.declare_queue(queue.name, passive=True)).declaration_result.message_count


async def eventually(condition, what, timeout=DEADLINE):
    try:
        async with asyncio.timeout(timeout):
            while not condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"waited {timeout} s for {what}") from None


async def reconnected(s, timeout=30):
    """A new connection, as soon as the broker takes one."""
    async with asyncio.timeout(timeout):
        while True:
            try:
                return await s.connection(timeout=5)
            except (AMQPConnectionError, OSError):
                await asyncio.sleep(0.1)


async def channel_error(action, error_class, text, whole=True):
    """The action must make the broker close its channel with this error."""
    try:
        await action
    except ChannelClosed as error:
        expect(type(error), error_class, "error")
        expect(str(error) if whole else str(error)[:len(text)], text, "reply text")
    else:
        raise AssertionError(f"no {error_class.__name__}")


@async_case("tutorial-1-hello-world")
async def hello_world(s):
    channel = await s.channel()
    queue = await s.queue(channel)
    await send(channel, queue, b"Hello World!")
    received = asyncio.Queue()
    await queue.consume(received.put, no_ack=True)
    message = await asyncio.wait_for(received.get(), DEADLINE)
    expect(message.body, b"Hello World!", "received")


@async_case("tutorial-2-work-queues")
async def work_queues(s):
    channel = await s.channel()
    queue = await s.queue(channel, durable=True)
    tasks = [f"task {i}".encode() for i in range(6)]
    await send(channel, queue, *tasks, delivery_mode=DeliveryMode.PERSISTENT)

    # A worker that dies with a task in hand has had just that one ...
    dying = await s.connection()
    worker = await dying.channel()
    await worker.set_qos(prefetch_count=1)
    in_hand = []
    await (await worker.get_queue(queue.name)).consume(in_hand.append)
    await eventually(lambda: in_hand, "the first task")
    expect(await message_count(channel, queue), 5, "tasks left in the queue")
    await dying.close()
    expect([m.body for m in in_hand], tasks[:1], "tasks of the first worker")
    expect(in_hand[0].delivery_mode, DeliveryMode.PERSISTENT, "delivery mode")

    # ... which goes to the next worker.
    worker = await s.channel()
    await worker.set_qos(prefetch_count=1)
    done = await take(await worker.get_queue(queue.name), 6)
    expect([m.body for m in done], tasks, "tasks of the second worker")
    expect([m.redelivered for m in done], [True] + [False] * 5, "redelivered")
    await worker.close()
    expect(await message_count(channel, queue), 0, "tasks left at the end")


@async_case("tutorial-3-publish-subscribe")
async def publish_subscribe(s):
    channel = await s.channel()
    logs = await s.exchange(channel, ExchangeType.FANOUT)
    queues = [await channel.declare_queue(exclusive=True) for _ in range(2)]  # the client makes up a name
    queues.append(await channel.declare_queue("", exclusive=True))
    for queue in queues:
        await queue.bind(logs)
    for text in (b"one", b"two"):
        await logs.publish(Message(text), "")
    for queue in queues:
        expect(await bodies(queue, 2), [b"one", b"two"], "log lines")

    declared = await (await channel.get_underlay_channel()).queue_declare("", exclusive=True)
    expect(declared.queue.startswith("amq.gen-"), True, f"the name {declared.queue} begins with amq.gen-")


async def routed(s, kind, bindings, keys, expected):
    """Binds queues, publishes each key as a message and compares what every queue gets."""
    channel = await s.channel()
    exchange = await s.exchange(channel, kind)
    queues = []
    for patterns in bindings:
        queue = await s.queue(channel, exclusive=True)
        for pattern in patterns:
            await queue.bind(exchange, pattern)
        queues.append(queue)
    for key in keys:
        await exchange.publish(Message(key.encode()), key, mandatory=False)
    for queue, wanted in zip(queues, expected):
        got = [(message.routing_key, message.body.decode()) for message in await take(queue, len(wanted))]
        expect(got, [(key, key) for key in wanted], "routed messages")
        expect(await message_count(channel, queue), 0, "further messages")


@async_case("tutorial-4-routing")
async def routing(s):
    await routed(s, ExchangeType.DIRECT,
                 bindings=[["error"], ["info", "warning", "error"]],
                 keys=["info", "error", "debug", "warning", "error"],
                 expected=[["error", "error"], ["info", "error", "warning", "error"]])


@async_case("tutorial-5-topics")
async def topics(s):
    keys = ["quick.orange.rabbit", "lazy.orange.elephant", "quick.orange.fox", "lazy.brown.fox",
            "lazy.pink.rabbit", "quick.brown.fox", "orange", "quick.orange.new.rabbit",
            "lazy.orange.new.rabbit", "lazy"]
    await routed(s, ExchangeType.TOPIC,
                 bindings=[["*.orange.*"], ["*.*.rabbit", "lazy.#"], ["#"]],
                 keys=keys,
                 expected=[["quick.orange.rabbit", "lazy.orange.elephant", "quick.orange.fox"],
                           ["quick.orange.rabbit", "lazy.orange.elephant", "lazy.brown.fox", "lazy.pink.rabbit",
                            "lazy.orange.new.rabbit", "lazy"],
                           keys])


@async_case("tutorial-6-rpc")
async def rpc(s):
    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    server = await s.channel()
    rpc_queue = await s.queue(server)
    reply_tos = []

    async def on_request(message):
        async with message.process():
            reply_tos.append(message.reply_to)
            answer = Message(str(fib(int(message.body))).encode(), correlation_id=message.correlation_id)
            await server.default_exchange.publish(answer, message.reply_to)

    await server.set_qos(prefetch_count=1)
    await rpc_queue.consume(on_request)

    async def calls(client, callback_queue, no_ack):
        replies = {}

        async def on_reply(message):
            replies[message.correlation_id] = message.body
            if not no_ack:
                await message.ack()

        await callback_queue.consume(on_reply, no_ack=no_ack)
        for n in (5, 10):
            await send(client, rpc_queue, str(n).encode(), reply_to=callback_queue.name, correlation_id=f"call-{n}")
            await eventually(lambda: f"call-{n}" in replies, "the reply")
            expect(replies[f"call-{n}"], str(fib(n)).encode(), f"fib({n})")
        expect(sorted(replies), ["call-10", "call-5"], "correlation ids")
        return reply_tos.pop()

    client = await s.channel()
    own = await client.declare_queue("", exclusive=True)
    expect(await calls(client, own, no_ack=False), own.name, "reply_to")

    client = await s.channel()
    direct = await client.get_queue("amq.rabbitmq.reply-to")
    address = await calls(client, direct, no_ack=True)
    expect(address.startswith("amq.rabbitmq.reply-to."), True, f"reply_to {address} begins with amq.rabbitmq.reply-to.")


@async_case("tutorial-7-confirms-one-by-one")
async def confirms_one_by_one(s):
    channel = await s.channel()
    queue = await s.queue(channel)
    for i in range(50):
        confirmation = await channel.default_exchange.publish(Message(str(i).encode()), queue.name)
        expect(confirmation.name, "Basic.Ack", "confirmation")
        expect(await message_count(channel, queue), i + 1, "messages after the confirm")


@async_case("tutorial-7-confirms-batch")
async def confirms_batch(s):
    channel = await s.channel()
    queue = await s.queue(channel)
    for batch in range(5):
        async with asyncio.timeout(DEADLINE):
            confirmations = await asyncio.gather(*(
                channel.default_exchange.publish(Message(str(batch * 100 + i).encode()), queue.name)
                for i in range(100)))
        expect([c.name for c in confirmations], ["Basic.Ack"] * 100, "confirmations")
        expect(await message_count(channel, queue), (batch + 1) * 100, "messages after the batch")
    expect(await bodies(queue, 500), [str(i).encode() for i in range(500)], "messages in the queue")


@async_case("tutorial-7-confirms-asynchronous")
async def confirms_asynchronous(s):
    channel = await s.channel()
    queue = await s.queue(channel)
    confirmed = set()

    def on_confirm(number, publishing):
        if publishing.exception() is None and publishing.result().name == "Basic.Ack":
            confirmed.add(number)

    for number in range(1000):
        publishing = asyncio.create_task(
            channel.default_exchange.publish(Message(str(number).encode()), queue.name))
        publishing.add_done_callback(functools.partial(on_confirm, number))
    await eventually(lambda: len(confirmed) == 1000, "all messages to be confirmed")
    expect(await message_count(channel, queue), 1000, "messages in the queue")


@async_case("mandatory-return")
async def mandatory_return(s):
    nowhere = unique("nowhere")
    lost = Message(b"lost", message_id="m1")

    # Either publishing raises an error, or the return callback is called.
    channel = await s.channel(on_return_raises=True)
    queue = await s.queue(channel)
    try:
        await channel.default_exchange.publish(lost, nowhere, mandatory=True)
    except DeliveryError as error:
        returned = error.message
        expect((returned.delivery.reply_code, returned.delivery.reply_text), (312, "NO_ROUTE"), "return")
        expect((returned.delivery.exchange, returned.delivery.routing_key), ("", nowhere), "address")
        expect((returned.body, returned.header.properties.message_id), (b"lost", "m1"), "message")
    else:
        raise AssertionError("a message to nowhere was not returned")

    silent = await s.channel(on_return_raises=False)
    returns = []
    silent.return_callbacks.add(lambda _, message: returns.append(message))
    await silent.default_exchange.publish(Message(b"dropped"), nowhere, mandatory=False)
    await silent.default_exchange.publish(Message(b"kept"), queue.name, mandatory=True)
    await silent.default_exchange.publish(lost, nowhere, mandatory=True)
    await eventually(lambda: returns, "the return")
    expect([message.body for message in returns], [b"lost"], "returned messages")
    expect(await bodies(queue, 1), [b"kept"], "routed message")


@async_case("nack-requeue")
async def nack_requeue(s):
    channel = await s.channel()
    queue = await s.queue(channel)
    await send(channel, queue, b"a", b"b", b"c", b"d")
    first, second = await queue.get(), await queue.get()
    expect([(m.body, m.redelivered) for m in (first, second)], [(b"a", False), (b"b", False)], "first messages")
    await second.nack(multiple=True, requeue=True)
    seen = []
    for _ in range(4):
        message = await queue.get()
        seen.append((message.body, message.redelivered))
        if message.body == b"c":
            await message.nack(requeue=False)
        else:
            await message.ack()
    expect(seen, [(b"a", True), (b"b", True), (b"c", False), (b"d", False)], "messages after the requeue")
    expect(await queue.get(fail=False), None, "the queue at the end")


@async_case("prefetch-fairness")
async def prefetch_fairness(s):
    connection = await s.connection()
    slow, fast = await connection.channel(), await connection.channel()
    queue = await s.queue(slow)
    at_slow, at_fast = [], []

    async def on_fast(message):
        at_fast.append(message)
        await message.ack()

    await slow.set_qos(prefetch_count=1)
    await fast.set_qos(prefetch_count=1)
    await (await slow.get_queue(queue.name)).consume(at_slow.append)
    await (await fast.get_queue(queue.name)).consume(on_fast)
    await send(slow, queue, *(str(i).encode() for i in range(20)))
    # The slow consumer acknowledges nothing, so all but its one message are for the fast one.
    await eventually(lambda: at_slow and len(at_fast) >= 19, "19 messages at the fast consumer")
    expect(len(at_slow), 1, "messages at the slow consumer")
    await at_slow[0].ack()
    await send(slow, queue, b"more", b"more")
    await eventually(lambda: len(at_slow) + len(at_fast) >= 22, "two more messages")
    expect(len(at_slow), 2, "messages at the slow consumer after its ack")


@async_case("exclusive-queue")
async def exclusive_queue(s):
    owner = await s.connection()
    channel = await owner.channel()
    queue = await s.queue(channel, exclusive=True)
    locked = f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{queue.name}' in vhost '{VHOST}'"
    stranger = await s.connection()
    for options in ({"exclusive": True}, {"passive": True}):
        other = await stranger.channel()
        await channel_error(other.declare_queue(queue.name, **options), ChannelLockedResource, locked, whole=False)
    other = await stranger.channel()
    foreign = await other.get_queue(queue.name, ensure=False)
    await channel_error(foreign.consume(print), ChannelLockedResource, locked, whole=False)

    await send(channel, queue, b"mine")
    expect(await bodies(queue, 1), [b"mine"], "message for the owner")
    await owner.close()
    other = await stranger.channel()
    await channel_error(other.declare_queue(queue.name, passive=True), ChannelNotFoundEntity,
                        f"NOT_FOUND - no queue '{queue.name}' in vhost '{VHOST}'")


@async_case("auto-delete-queue")
async def auto_delete_queue(s):
    connection = await s.connection()
    channel = await connection.channel()
    queue = await s.queue(channel, auto_delete=True)
    tags = [await queue.consume(print) for _ in range(2)]
    await queue.cancel(tags[0])
    left = (await channel.declare_queue(queue.name, passive=True)).declaration_result.consumer_count
    expect(left, 1, "consumers left")
    await queue.cancel(tags[1])
    async with asyncio.timeout(5):
        while True:
            other = await connection.channel()
            try:
                await other.declare_queue(queue.name, passive=True)
            except ChannelNotFoundEntity as error:
                expect(str(error), f"NOT_FOUND - no queue '{queue.name}' in vhost '{VHOST}'", "reply text")
                return


@async_case("redeclare-errors")
async def redeclare_errors(s):
    connection = await s.connection()
    channel = await connection.channel()
    limit = {"x-max-length": 10}
    queue = (await s.queue(channel, durable=True, arguments=limit)).name
    exchange = (await s.exchange(channel, ExchangeType.FANOUT)).name

    async def queue_error(error_class, text, name=queue, **options):
        other = await connection.channel()
        await channel_error(other.declare_queue(name, **options), error_class, text, whole=not text.endswith("type"))

    async def exchange_error(error_class, text, name=exchange, **options):
        other = await connection.channel()
        await channel_error(other.declare_exchange(name, **options), error_class, text)

    def inequivalent(arg, what, detail):
        return f"PRECONDITION_FAILED - inequivalent arg '{arg}' for {what} in vhost '{VHOST}': {detail}"

    await (await connection.channel()).declare_queue(queue, durable=True, arguments=limit)
    await queue_error(
        ChannelPreconditionFailed, durable=False, arguments=limit,
        text=inequivalent("durable", f"queue '{queue}'", "received 'false' but current is 'true'"))
    await queue_error(
        ChannelPreconditionFailed, durable=True, auto_delete=True, arguments=limit,
        text=inequivalent("auto_delete", f"queue '{queue}'", "received 'true' but current is 'false'"))
    await queue_error(
        ChannelPreconditionFailed, durable=True, arguments={"x-max-length": 20},
        text=inequivalent("x-max-length", f"queue '{queue}'", "received '20' but current is '10'"))
    await queue_error(
        ChannelPreconditionFailed, durable=True,
        text=inequivalent("x-max-length", f"queue '{queue}'", "received none but current is the value '10' of type"))
    await exchange_error(
        ChannelPreconditionFailed, type=ExchangeType.DIRECT,
        text=inequivalent("type", f"exchange '{exchange}'", "received 'direct' but current is 'fanout'"))
    missing = unique("missing")
    await queue_error(ChannelNotFoundEntity, f"NOT_FOUND - no queue '{missing}' in vhost '{VHOST}'",
                      name=missing, passive=True)
    await exchange_error(ChannelNotFoundEntity, f"NOT_FOUND - no exchange '{missing}' in vhost '{VHOST}'",
                         name=missing, passive=True)


@async_case("reconnect-after-restart", timeout=150)
async def reconnect_after_restart(s):
    plain, robust = await s.connection(), await s.connection(aio_pika.connect_robust, reconnect_interval=0.2)
    closed, recovered = asyncio.Queue(), asyncio.Event()
    plain.close_callbacks.add(lambda _, error: closed.put_nowait(error))
    robust.reconnect_callbacks.add(lambda _: recovered.set())

    channel = await plain.channel()
    queue = await s.queue(channel, durable=True)
    exchange = await s.exchange(channel, ExchangeType.DIRECT, durable=True)
    await queue.bind(exchange, "key")
    received = asyncio.Queue()
    consumer = await (await robust.channel()).get_queue(queue.name)
    await consumer.consume(received.put)

    await asyncio.to_thread(broker, "restart")
    error = await asyncio.wait_for(closed.get(), DEADLINE)
    expect(error.args[0], 320, "reply code")
    expect(error.args[1].split(" ")[0], "CONNECTION_FORCED", "reply text")

    # The topology is there for a new connection, and the robust one consumes again by itself.
    channel = await (await reconnected(s)).channel()
    await channel.declare_queue(queue.name, passive=True)
    exchange = await channel.declare_exchange(exchange.name, passive=True)
    await asyncio.wait_for(recovered.wait(), 30)
    await exchange.publish(Message(b"through the binding"), "key")
    message = await asyncio.wait_for(received.get(), DEADLINE)
    expect(message.body, b"through the binding", "message")
    await message.ack()


@async_case("body-10-mib")
async def body_10_mib(s):
    channel = await s.channel()
    queue = await s.queue(channel)
    body = bytes((i * 31 + (i >> 8) * 7) & 0xFF for i in range(1 << 20)) * 10
    await send(channel, queue, body)
    received, = await bodies(queue, 1)
    expect(len(received), len(body), "length of the body")
    expect(received == body, True, "the body came back the same")


@async_case("channels-2000", timeout=180)
async def channels_2000(s):
    connection = await s.connection()
    channels = [await connection.channel() for _ in range(2000)]
    queue = await s.queue(channels[0])
    for number, channel in enumerate(channels):
        await send(channel, queue, str(number).encode())
    received = set(await bodies(await channels[-1].get_queue(queue.name), 2000))
    expect(received, {str(number).encode() for number in range(2000)}, "messages of the channels")
    expect(any(channel.is_closed for channel in channels), False, "a channel is closed")


@async_case("heartbeat-timeout", timeout=90)
async def heartbeat_timeout(s):
    connection = await s.connection(heartbeat=1)
    closed = asyncio.Queue()
    connection.close_callbacks.add(lambda _, error: closed.put_nowait(error))
    await asyncio.to_thread(broker, "pause")
    try:
        error = await asyncio.wait_for(closed.get(), 30)
    finally:
        await asyncio.to_thread(broker, "resume")
    expect(error is not None, True, "the connection was closed for an error")
    channel = await (await reconnected(s)).channel()
    queue = await s.queue(channel)
    await send(channel, queue, b"alive")
    expect(await bodies(queue, 1), [b"alive"], "message after the pause")


if __name__ == "__main__":
    for library in ("aio_pika", "aiormq"):  # lost connections are part of the cases
        logging.getLogger(library).setLevel(logging.CRITICAL)
    main("aio-pika", aio_pika.__version__)
