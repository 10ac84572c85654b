"""The cases for pika: its blocking adapter, and SelectConnection for streaming confirms."""

import os

import pika
from pika.exceptions import (AMQPConnectionError, AMQPHeartbeatTimeout, ChannelClosedByBroker,
                             ConnectionClosedByBroker, UnroutableError)

from harness import VHOST, broker, case, expect, main, retry, unique
from scratch import PERSISTENT, Scratch, drain, parameters, wait_for


def channel_error(action, code, text, whole=True):
    """The action must make the broker close its channel with this code and text."""
    try:
        action()
    except ChannelClosedByBroker as error:
        expect(error.reply_code, code, "reply code")
        expect(error.reply_text if whole else error.reply_text[:len(text)], text, "reply text")
    else:
        raise AssertionError(f"no error {code}")


@case("tutorial-1-hello-world")
def hello_world():
    with Scratch() as s:
        channel = s.channel()
        queue = s.queue(channel)
        channel.basic_publish("", queue, b"Hello World!")
        received = []

        def callback(ch, method, properties, body):
            received.append(body)
            ch.stop_consuming()

        channel.basic_consume(queue, callback, auto_ack=True)
        channel.start_consuming()
        expect(received, [b"Hello World!"], "received")


@case("tutorial-2-work-queues")
def work_queues():
    with Scratch() as s:
        channel = s.channel()
        queue = s.queue(channel, durable=True)
        tasks = [f"task {i}".encode() for i in range(6)]
        for task in tasks:
            channel.basic_publish("", queue, task, PERSISTENT)

        # A worker that dies with a task in hand has had just that one ...
        dying = s.connection()
        worker = dying.channel()
        worker.basic_qos(prefetch_count=1)
        in_hand = []
        worker.basic_consume(queue, lambda ch, method, properties, body: in_hand.append((body, properties)))
        wait_for(dying, lambda: in_hand, "the first task")
        expect(channel.queue_declare(queue, passive=True).method.message_count, 5, "tasks left in the queue")
        dying.close()
        expect([body for body, _ in in_hand], tasks[:1], "tasks of the first worker")
        expect(in_hand[0][1].delivery_mode, 2, "delivery mode")

        # ... which goes to the next worker.
        worker = s.channel()
        worker.basic_qos(prefetch_count=1)
        done = drain(worker, queue, 6)
        expect([body for _, _, body in done], tasks, "tasks of the second worker")
        expect([method.redelivered for method, _, _ in done], [True] + [False] * 5, "redelivered")
        worker.close()
        expect(channel.queue_declare(queue, passive=True).method.message_count, 0, "tasks left at the end")


@case("tutorial-3-publish-subscribe")
def publish_subscribe():
    with Scratch() as s:
        channel = s.channel()
        logs = s.exchange(channel, "fanout")
        queues = [channel.queue_declare("", exclusive=True).method.queue for _ in range(2)]
        for queue in queues:
            expect(queue.startswith("amq.gen-"), True, f"the name {queue} begins with amq.gen-")
            channel.queue_bind(queue, logs)
        for text in (b"one", b"two"):
            channel.basic_publish(logs, "", text)
        for queue in queues:
            expect([body for _, _, body in drain(channel, queue, 2)], [b"one", b"two"], "log lines")


def routed(kind, bindings, keys, expected):
    """Binds queues, publishes each key as a message and compares what every queue gets."""
    with Scratch() as s:
        channel = s.channel()
        exchange = s.exchange(channel, kind)
        queues = []
        for patterns in bindings:
            queue = s.queue(channel, exclusive=True)
            for pattern in patterns:
                channel.queue_bind(queue, exchange, pattern)
            queues.append(queue)
        for key in keys:
            channel.basic_publish(exchange, key, key.encode())
        for queue, wanted in zip(queues, expected):
            got = [(method.routing_key, body.decode()) for method, _, body in drain(channel, queue, len(wanted))]
            expect(got, [(key, key) for key in wanted], "routed messages")
            expect(channel.queue_declare(queue, passive=True).method.message_count, 0, "further messages")


@case("tutorial-4-routing")
def routing():
    routed("direct",
           bindings=[["error"], ["info", "warning", "error"]],
           keys=["info", "error", "debug", "warning", "error"],
           expected=[["error", "error"], ["info", "error", "warning", "error"]])


@case("tutorial-5-topics")
def topics():
    routed("topic",
           bindings=[["*.orange.*"], ["*.*.rabbit", "lazy.#"], ["#"]],
           keys=["quick.orange.rabbit", "lazy.orange.elephant", "quick.orange.fox", "lazy.brown.fox",
                 "lazy.pink.rabbit", "quick.brown.fox", "orange", "quick.orange.new.rabbit",
                 "lazy.orange.new.rabbit", "lazy"],
           expected=[["quick.orange.rabbit", "lazy.orange.elephant", "quick.orange.fox"],
                     ["quick.orange.rabbit", "lazy.orange.elephant", "lazy.brown.fox", "lazy.pink.rabbit",
                      "lazy.orange.new.rabbit", "lazy"],
                     ["quick.orange.rabbit", "lazy.orange.elephant", "quick.orange.fox", "lazy.brown.fox",
                      "lazy.pink.rabbit", "quick.brown.fox", "orange", "quick.orange.new.rabbit",
                      "lazy.orange.new.rabbit", "lazy"]])


@case("tutorial-6-rpc")
def rpc():
    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    with Scratch() as s:
        server_connection = s.connection()
        server = server_connection.channel()
        rpc_queue = s.queue(server)
        reply_tos = []

        def on_request(ch, method, properties, body):
            reply_tos.append(properties.reply_to)
            ch.basic_publish("", properties.reply_to, str(fib(int(body))).encode(),
                             pika.BasicProperties(correlation_id=properties.correlation_id))
            ch.basic_ack(method.delivery_tag)

        server.basic_qos(prefetch_count=1)
        server.basic_consume(rpc_queue, on_request)

        def calls(callback_queue, auto_ack):
            client_connection = s.connection()
            client = client_connection.channel()
            if callback_queue is None:
                callback_queue = client.queue_declare("", exclusive=True).method.queue
            replies = {}
            client.basic_consume(
                callback_queue, auto_ack=auto_ack,
                on_message_callback=lambda ch, m, properties, body: replies.update({properties.correlation_id: body}))
            for n in (5, 10):
                client.basic_publish("", rpc_queue, str(n).encode(),
                                     pika.BasicProperties(reply_to=callback_queue, correlation_id=f"call-{n}"))
                wait_for(server_connection, lambda: reply_tos, "the request")
                wait_for(client_connection, lambda: f"call-{n}" in replies, "the reply")
                expect(replies[f"call-{n}"], str(fib(n)).encode(), f"fib({n})")
                address = reply_tos.pop()
            expect(sorted(replies), ["call-10", "call-5"], "correlation ids")
            return callback_queue, address

        queue, address = calls(None, auto_ack=False)
        expect(address, queue, "reply_to")
        _, address = calls("amq.rabbitmq.reply-to", auto_ack=True)
        expect(address.startswith("amq.rabbitmq.reply-to."), True, f"reply_to {address} begins with amq.rabbitmq.reply-to.")


@case("tutorial-7-confirms-one-by-one")
def confirms_one_by_one():
    with Scratch() as s:
        channel = s.channel()
        queue = s.queue(channel)
        channel.confirm_delivery()
        for i in range(50):
            channel.basic_publish("", queue, str(i).encode())  # returns once it is confirmed
            expect(channel.queue_declare(queue, passive=True).method.message_count, i + 1, "messages after the confirm")


class StreamingPublisher:
    """Publishes without waiting, at most `window` unconfirmed messages at a time (SelectConnection)."""

    def __init__(self, queue, count, window):
        self.queue, self.count, self.window = queue, count, window
        self.published, self.outstanding, self.nacked, self.error = 0, set(), 0, None
        self.connection = pika.SelectConnection(
            parameters(),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self.on_channel),
            on_close_callback=self.on_closed,
            on_open_error_callback=self.on_closed)

    def run(self):
        self.connection.ioloop.start()
        if self.error:
            raise self.error
        expect((self.published, len(self.outstanding), self.nacked), (self.count, 0, 0),
               "published, unconfirmed and nacked messages")

    def on_closed(self, connection, error):
        if not isinstance(error, pika.exceptions.ConnectionClosedByClient):
            self.error = error
        connection.ioloop.stop()

    def on_channel(self, channel):
        self.channel = channel
        channel.confirm_delivery(self.on_confirm, callback=lambda frame: self.publish())

    def publish(self):
        while self.published < self.count and len(self.outstanding) < self.window:
            self.published += 1
            self.outstanding.add(self.published)
            self.channel.basic_publish("", self.queue, str(self.published).encode())

    def on_confirm(self, frame):
        tag = frame.method.delivery_tag
        confirmed = {t for t in self.outstanding if t <= tag} if frame.method.multiple else {tag}
        if not confirmed <= self.outstanding:
            self.error = AssertionError(f"a confirm for {tag}, which is not outstanding")
            self.connection.ioloop.stop()
        if isinstance(frame.method, pika.spec.Basic.Nack):
            self.nacked += len(confirmed)
        self.outstanding -= confirmed
        if self.published == self.count and not self.outstanding:
            self.connection.close()
        elif self.ready_for_more():
            self.publish()

    def ready_for_more(self):
        return True


class BatchPublisher(StreamingPublisher):
    """Waits until a whole batch is confirmed before it publishes the next one."""

    def ready_for_more(self):
        return not self.outstanding


def confirms_streaming(publisher_class, count, window):
    with Scratch() as s:
        channel = s.channel()
        queue = s.queue(channel)
        publisher_class(queue, count, window).run()
        got = [body for _, _, body in drain(channel, queue, count)]
        expect(got, [str(i).encode() for i in range(1, count + 1)], "messages in the queue")


@case("tutorial-7-confirms-batch")
def confirms_batch():
    confirms_streaming(BatchPublisher, count=500, window=100)


@case("tutorial-7-confirms-asynchronous")
def confirms_asynchronous():
    confirms_streaming(StreamingPublisher, count=2000, window=2000)


@case("mandatory-return")
def mandatory_return():
    with Scratch() as s:
        channel = s.channel()
        queue = s.queue(channel)
        nowhere = unique("nowhere")
        channel.confirm_delivery()
        try:
            channel.basic_publish("", nowhere, b"lost", pika.BasicProperties(message_id="m1"), mandatory=True)
        except UnroutableError as error:
            message, = error.messages
            expect((message.method.reply_code, message.method.reply_text), (312, "NO_ROUTE"), "return")
            expect((message.method.exchange, message.method.routing_key), ("", nowhere), "address")
            expect((message.body, message.properties.message_id), (b"lost", "m1"), "message")
        else:
            raise AssertionError("a message to nowhere was not returned")
        channel.basic_publish("", queue, b"kept", mandatory=True)
        channel.basic_publish("", nowhere, b"dropped")
        expect([body for _, _, body in drain(channel, queue, 1)], [b"kept"], "routed message")


@case("nack-requeue")
def nack_requeue():
    with Scratch() as s:
        channel = s.channel()
        queue = s.queue(channel)
        for text in (b"a", b"b", b"c", b"d"):
            channel.basic_publish("", queue, text)

        def get():
            method, _, body = channel.basic_get(queue)
            return method, body and body.decode()

        first, body = get()
        expect((body, first.redelivered), ("a", False), "first message")
        second, body = get()
        expect((body, second.redelivered), ("b", False), "second message")
        channel.basic_nack(second.delivery_tag, multiple=True, requeue=True)
        seen = []
        for _ in range(4):
            method, body = get()
            seen.append((body, method and method.redelivered))
            if body == "c":
                channel.basic_nack(method.delivery_tag, requeue=False)
            elif method:
                channel.basic_ack(method.delivery_tag)
        expect(seen, [("a", True), ("b", True), ("c", False), ("d", False)], "messages after the requeue")
        expect(get(), (None, None), "the queue at the end")


@case("prefetch-fairness")
def prefetch_fairness():
    with Scratch() as s:
        connection = s.connection()
        slow, fast = connection.channel(), connection.channel()
        queue = s.queue(slow)
        at_slow, at_fast = [], []

        def on_fast(ch, method, properties, body):
            at_fast.append(body)
            ch.basic_ack(method.delivery_tag)

        slow.basic_qos(prefetch_count=1)
        fast.basic_qos(prefetch_count=1)
        slow.basic_consume(queue, lambda ch, method, properties, body: at_slow.append((body, method.delivery_tag)))
        fast.basic_consume(queue, on_fast)
        for i in range(20):
            slow.basic_publish("", queue, str(i).encode())
        # The slow consumer acknowledges nothing, so all but its one message are for the fast one.
        wait_for(connection, lambda: at_slow and len(at_fast) >= 19, "19 messages at the fast consumer")
        expect(len(at_slow), 1, "messages at the slow consumer")
        slow.basic_ack(at_slow[0][1])
        slow.basic_publish("", queue, b"more")
        slow.basic_publish("", queue, b"more")
        wait_for(connection, lambda: len(at_slow) + len(at_fast) >= 22, "two more messages")
        expect(len(at_slow), 2, "messages at the slow consumer after its ack")


@case("exclusive-queue")
def exclusive_queue():
    with Scratch() as s:
        owner = s.connection()
        channel = owner.channel()
        queue = s.queue(channel, exclusive=True)
        locked = f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{queue}' in vhost '{VHOST}'"
        stranger = s.connection()
        for action in (lambda: stranger.channel().queue_declare(queue, exclusive=True),
                       lambda: stranger.channel().queue_declare(queue, passive=True),
                       lambda: stranger.channel().basic_consume(queue, print),
                       lambda: stranger.channel().queue_delete(queue)):
            channel_error(action, 405, locked, whole=False)
        channel.basic_publish("", queue, b"mine")
        expect([body for _, _, body in drain(channel, queue, 1)], [b"mine"], "message for the owner")
        owner.close()
        channel_error(lambda: stranger.channel().queue_declare(queue, passive=True),
                      404, f"NOT_FOUND - no queue '{queue}' in vhost '{VHOST}'")


@case("auto-delete-queue")
def auto_delete_queue():
    with Scratch() as s:
        connection = s.connection()
        channel = connection.channel()
        queue = s.queue(channel, auto_delete=True)
        tags = [channel.basic_consume(queue, print) for _ in range(2)]
        channel.basic_cancel(tags[0])
        expect(channel.queue_declare(queue, passive=True).method.consumer_count, 1, "consumers left")
        channel.basic_cancel(tags[1])

        def gone():
            channel_error(lambda: connection.channel().queue_declare(queue, passive=True),
                          404, f"NOT_FOUND - no queue '{queue}' in vhost '{VHOST}'")
        retry(gone, AssertionError, timeout=5)


@case("redeclare-errors")
def redeclare_errors():
    with Scratch() as s:
        connection = s.connection()
        channel = connection.channel()
        queue = s.queue(channel, durable=True, arguments={"x-max-length": 10})
        exchange = s.exchange(channel, "fanout")

        def inequivalent(action, arg, what, detail, whole=True):
            text = f"PRECONDITION_FAILED - inequivalent arg '{arg}' for {what} in vhost '{VHOST}': {detail}"
            channel_error(action, 406, text, whole)

        def declare(**options):
            connection.channel().queue_declare(queue, **options)

        limit = {"x-max-length": 10}
        declare(durable=True, arguments=limit)
        inequivalent(lambda: declare(durable=False, arguments=limit), "durable", f"queue '{queue}'",
                     "received 'false' but current is 'true'")
        inequivalent(lambda: declare(durable=True, auto_delete=True, arguments=limit), "auto_delete",
                     f"queue '{queue}'", "received 'true' but current is 'false'")
        inequivalent(lambda: declare(durable=True, arguments={"x-max-length": 20}), "x-max-length",
                     f"queue '{queue}'", "received '20' but current is '10'")
        inequivalent(lambda: declare(durable=True), "x-max-length", f"queue '{queue}'",
                     "received none but current is the value '10' of type", whole=False)
        inequivalent(lambda: connection.channel().exchange_declare(exchange, "direct"), "type",
                     f"exchange '{exchange}'", "received 'direct' but current is 'fanout'")
        missing = unique("missing")
        channel_error(lambda: connection.channel().queue_declare(missing, passive=True),
                      404, f"NOT_FOUND - no queue '{missing}' in vhost '{VHOST}'")
        channel_error(lambda: connection.channel().exchange_declare(missing, passive=True),
                      404, f"NOT_FOUND - no exchange '{missing}' in vhost '{VHOST}'")


@case("reconnect-after-restart", timeout=150)
def reconnect_after_restart():
    with Scratch() as s:
        connection = s.connection()
        channel = connection.channel()
        queue = s.queue(channel, durable=True)
        exchange = s.exchange(channel, "direct", durable=True)
        channel.queue_bind(queue, exchange, "key")
        channel.basic_consume(queue, print)
        broker("restart")
        try:
            wait_for(connection, lambda: False, "the connection to be closed")
        except ConnectionClosedByBroker as error:
            expect(error.reply_code, 320, "reply code")
            expect(error.reply_text.split(" ")[0], "CONNECTION_FORCED", "reply text")

        channel = retry(s.channel, AMQPConnectionError)
        channel.exchange_declare(exchange, passive=True)
        channel.queue_declare(queue, passive=True)
        channel.basic_publish(exchange, "key", b"through the binding")
        expect([body for _, _, body in drain(channel, queue, 1)], [b"through the binding"], "message")


@case("body-10-mib")
def body_10_mib():
    with Scratch() as s:
        channel = s.channel()
        queue = s.queue(channel)
        body = bytes((i * 31 + (i >> 8) * 7) & 0xFF for i in range(1 << 20)) * 10
        channel.basic_publish("", queue, body)
        (_, _, received), = drain(channel, queue, 1)
        expect(len(received), len(body), "length of the body")
        expect(received == body, True, "the body came back the same")


@case("channels-2000", timeout=180)
def channels_2000():
    with Scratch() as s:
        connection = s.connection()
        channels = [connection.channel() for _ in range(2000)]
        queue = s.queue(channels[0])
        for number, channel in enumerate(channels):
            channel.basic_publish("", queue, str(number).encode())
        bodies = {body for _, _, body in drain(channels[-1], queue, 2000)}
        expect(bodies, {str(number).encode() for number in range(2000)}, "messages of the channels")
        expect(all(channel.is_open for channel in channels), True, "all channels are open")
        connection.close()


@case("heartbeat-timeout", timeout=90)
def heartbeat_timeout():
    with Scratch() as s:
        connection = s.connection(heartbeat=2)
        connection.channel()
        broker("pause")
        try:
            wait_for(connection, lambda: False, "the heartbeats to be missed", timeout=30)
        except AMQPHeartbeatTimeout:
            pass
        finally:
            broker("resume")
        channel = retry(s.channel, AMQPConnectionError)
        queue = s.queue(channel)
        channel.basic_publish("", queue, b"alive")
        expect([body for _, _, body in drain(channel, queue, 1)], [b"alive"], "message after the pause")


if __name__ == "__main__":
    if os.environ.get("LADDERS") == "1":
        import ladders  # noqa: F401 - it registers its cases
    main("pika", pika.__version__)
