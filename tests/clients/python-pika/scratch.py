"""What a case opens and declares, and how it receives."""

import time

import pika

from harness import HOST, PASSWORD, PORT, USER, VHOST, unique

PERSISTENT = pika.BasicProperties(delivery_mode=2)
DEADLINE = 15  # for messages to come in


def parameters(**options):
    return pika.ConnectionParameters(
        host=HOST, port=PORT, virtual_host=VHOST, credentials=pika.PlainCredentials(USER, PASSWORD), **options)


class Scratch:
    """The connections, queues and exchanges of one case, which are gone at its end."""

    def __enter__(self):
        self.connections, self.queues, self.exchanges = [], [], []
        return self

    def __exit__(self, failure, *_):
        try:
            self.clean_up()
        except pika.exceptions.AMQPError:
            if not failure:  # the failure itself says more than what it led to
                raise

    def clean_up(self):
        for connection in self.connections:
            if connection.is_open:
                connection.close()
        if self.queues or self.exchanges:
            with pika.BlockingConnection(parameters()) as connection:
                channel = connection.channel()
                for queue in self.queues:
                    channel.queue_delete(queue)
                for exchange in self.exchanges:
                    channel.exchange_delete(exchange)

    def connection(self, **options):
        connection = pika.BlockingConnection(parameters(**options))
        self.connections.append(connection)
        return connection

    def channel(self):
        return self.connection().channel()

    def queue(self, channel, **options):
        name = unique("queue")
        channel.queue_declare(name, **options)
        if not options.get("exclusive"):
            self.queues.append(name)
        return name

    def exchange(self, channel, kind, **options):
        name = unique(kind)
        channel.exchange_declare(name, kind, **options)
        self.exchanges.append(name)
        return name


def drain(channel, queue, count):
    """Consumes this many messages and acknowledges them; gives (method, properties, body) of each."""
    messages = []
    for method, properties, body in channel.consume(queue, inactivity_timeout=DEADLINE):
        if method is None:
            raise AssertionError(f"{len(messages)} messages came instead of {count}")
        channel.basic_ack(method.delivery_tag)
        messages.append((method, properties, body))
        if len(messages) == count:
            break
    channel.cancel()
    return messages


def wait_for(connection, condition, what, timeout=DEADLINE):
    """Lets the connection work until the condition holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout} s for {what}")
        connection.process_data_events(time_limit=0.1)
