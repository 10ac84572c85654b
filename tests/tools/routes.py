"""Each route of the HTTP API, asked with curl: our answers have the status and the shape of RabbitMQ's.

    routes.py BROKER            compares a broker of ours with what RabbitMQ answered (routes.json)
    routes.py BROKER --record   asks RabbitMQ first, and writes that file anew

`routes.transcript` is what is asked. A shape is the JSON of an answer with its values replaced by their types; those that
follow from what was asked (names, arguments, numbers of messages) stay. `routes.differences` lists the differences that
are meant, each with its reason; one that does not occur any more is an error, too.
"""

import argparse
import fnmatch
import json
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

import pika

from brokers import Leveret, RabbitMQ

HERE = Path(__file__).resolve().parent
RECORDED = HERE / "routes.json"
SETTLE_TIMEOUT = 60

# Values that follow from what was asked.
KEPT = set("""
    name vhost type durable auto_delete exclusive internal source destination destination_type routing_key properties_key
    pattern apply-to priority user configure write read tags component error reason status routed key ack_required
    messages messages_ready messages_unacknowledged consumers message_bytes message_bytes_ready message_count
    message_bytes_unacknowledged publish ack deliver deliver_get deliver_no_ack get get_no_ack get_empty confirm redeliver
    publish_in publish_out return_unroutable drop_unroutable number prefetch_count consumer_count messages_unconfirmed
    messages_uncommitted acks_uncommitted global_prefetch_count transactional consumer_tag active activity_status policy
    operator_policy protocol state auth_mechanism ssl channel_max user_provided_name channels connections page page_size
    page_count total_count filtered_count item_count payload payload_bytes payload_encoding redelivered exchange
    description tracing node running disable_stats enable_queue_totals delivery_mode message_id correlation_id reply_to
    expiration app_id content_type queue_name max-length max-queues missing kind alternate-exchange
    user_who_performed_action default_queue_type
""".split())
# Lists of what a broker has of its own: what matters is what is said of an item.
OWN = {"applications", "exchange_types", "auth_mechanisms", "contexts", "listeners"}
# All that is in these is kept.
WHOLE = {"arguments", "definition", "effective_policy_definition", "value", "headers"}
# What an item of a list is called by.
IDENTITY = ["vhost", "component", "source", "destination", "destination_type", "routing_key", "queue_name", "name", "user",
            "number", "consumer_tag", "exchange"]


def shape(value, keep=False, inside=False):
    """The shape of a JSON value: types in place of values, lists by what their items are called."""
    if isinstance(value, dict):
        return {key: together(item) if key in OWN else
                shape(item, key in KEPT or inside or key in WHOLE, inside or key in WHOLE) for key, item in value.items()}
    if isinstance(value, list):
        return of_list(value, keep, inside)
    if keep:
        return "=" + json.dumps(value)
    return {bool: "boolean", int: "number", float: "number", str: "string", type(None): "null"}[type(value)]


def together(items):
    """All items as one, which has the fields of all."""
    fields = {key: value for item in items for key, value in item.items()}
    return {"[any]": {key: "string" if isinstance(value, str) else shape(value) for key, value in fields.items()}}


def of_list(items, keep, inside):
    if not items or not all(isinstance(item, dict) for item in items):
        return [shape(item, keep, inside) for item in items] if keep else ["string"] * bool(items)
    if "stability" in items[0] or "javascript" in items[0]:
        return together(items)
    named = {}
    for item in items:
        called = item.get("queue", item) if isinstance(item.get("queue"), dict) else item
        name = "|".join(str(called[part]) for part in IDENTITY if isinstance(called.get(part), (str, int))) or "*"
        if isinstance(item.get("exchange"), dict):
            name += "|" + item["exchange"].get("name", "")
        named.setdefault(f"[{name}]", []).append(shape(item, False, inside))
    return {name: shapes[0] for name, shapes in named.items()}


def differences(ours, theirs, path=""):
    """Where the shapes differ: the way there, and how."""
    if [] in (ours, theirs):
        if isinstance(ours, list) and isinstance(theirs, list) and not all(item.startswith("=") for item in ours + theirs):
            return
        ours, theirs = ours or {}, theirs or {}
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted({**ours, **theirs}):
            way = f"{path}{key}" if key.startswith("[") or not path else f"{path}.{key}"
            if key not in ours:
                yield way, f"missing, theirs is {brief(theirs[key])}"
            elif key not in theirs:
                # A field more does no harm; an item more does.
                if key.startswith("["):
                    yield way, f"additional: {brief(ours[key])}"
            else:
                yield from differences(ours[key], theirs[key], way)
    elif ours != theirs:
        yield path or "*", f"{brief(ours)}, theirs is {brief(theirs)}"


def brief(value):
    text = json.dumps(value) if not isinstance(value, str) else value
    return text if len(text) < 160 else text[:157] + "..."


class Client:
    """What the AMQP client does, and what only the broker knows."""

    def __init__(self, broker):
        self.broker, self.open = broker, []
        self.names = {"node": broker.must("GET", "overview")["node"]}
        # RabbitMQ's own figures come a while after it has begun.
        deadline = time.monotonic() + SETTLE_TIMEOUT
        while "mem_used" not in broker.must("GET", "nodes")[0] and time.monotonic() < deadline:
            time.sleep(0.5)

    def begin(self):
        """Forty messages in `jobs`: twenty confirmed, four acked, three unacked at a consumer; a queue of its own."""
        parameters = pika.ConnectionParameters(
            "127.0.0.1", self.broker.amqp, "team", pika.PlainCredentials("guest", "guest"),
            client_properties={"connection_name": "the client"})
        connection = pika.BlockingConnection(parameters)
        self.open.append(connection)
        channel = connection.channel()
        channel.confirm_delivery()
        for n in range(20):
            channel.basic_publish("events", "jobs.a", b"0123456789", pika.BasicProperties(delivery_mode=2))
        other = connection.channel()
        other.queue_declare("locked", exclusive=True)
        for n in range(20):
            other.basic_publish("events", "jobs.b", b"0123456789")
        other.basic_publish("amq.direct", "nobody", b"lost")
        for _ in range(4):
            method, _, _ = self.get(other, "jobs")
            other.basic_ack(method.delivery_tag)
        third = connection.channel(7)
        third.basic_qos(prefetch_count=3)
        third.basic_consume("jobs", lambda *_: None, consumer_tag="taker", arguments={"x-priority": 2})
        connection.process_data_events(0.5)

    @staticmethod
    def get(channel, queue):
        while True:
            got = channel.basic_get(queue)
            if got[0]:
                return got

    def settle(self, slack):
        """Until the queue's figures and those of the channels are there."""
        deadline = time.monotonic() + SETTLE_TIMEOUT
        while True:
            for connection in self.open:
                connection.process_data_events(0.2)
            queue = self.broker.must("GET", "queues/team/jobs")
            channels = self.broker.must("GET", "channels")
            stats = queue.get("message_stats", {})
            acked = sum(channel.get("message_stats", {}).get("ack", 0) for channel in channels)
            if (queue.get("messages"), queue.get("messages_unacknowledged"), acked) == (36, 3, 4) and \
                    stats.get("publish") == 42 and len(channels) == 3 and queue.get("consumer_details"):
                break
            assert time.monotonic() < deadline, f"the statistics do not come: {queue} {channels}"
        # RabbitMQ's come from many places, each in its own time.
        until = time.monotonic() + slack
        while time.monotonic() < until:
            for connection in self.open:
                connection.process_data_events(0.2)
        self.names["connection"] = self.broker.must("GET", "connections")[0]["name"]
        self.names["channel"] = next(c["name"] for c in self.broker.must("GET", "channels") if c["number"] == 1)

    def do(self, words):
        getattr(self, words)()

    def expand(self, path):
        if "{binding}" in path:
            all = self.broker.must("GET", "bindings/team/e/amq.headers/q/jobs")
            self.names.setdefault("binding", all[0]["properties_key"])
        for name, value in self.names.items():
            path = path.replace("{%s}" % name, urllib.parse.quote(value, safe=""))
        return path

    def close(self):
        for connection in self.open:
            try:
                connection.close()
            except (pika.exceptions.AMQPError, OSError):
                pass


def curl(broker, login, method, path, body):
    command = ["curl", "-sS", "-g", "-u", login, "-X", method, "-w", "\n%{http_code}",
               f"http://127.0.0.1:{broker.web}/api{path.replace('|', '%7C').replace('^', '%5E')}"]
    if body:
        command += ["-H", "content-type: application/json", "-d", body]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    text, _, status = done.stdout.rpartition("\n")
    try:
        return int(status), json.loads(text) if text else None
    except ValueError:
        return int(status), {"text": text[:40]}


def plain(value, names):
    """With the broker's own names replaced."""
    text = json.dumps(value)
    for name in ("channel", "connection", "node"):
        if name in names:
            text = text.replace(json.dumps(names[name])[1:-1], "{%s}" % name)
    return json.loads(text)


def transcript(broker, slack):
    """Question to status and shape of the answer."""
    answers, client = {}, Client(broker)
    try:
        for line in (HERE / "routes.transcript").read_text().splitlines():
            words = line.split(" ", 1)
            if not line or words[0] == "#":
                continue
            if words[0] == "amqp":
                client.do(words[1])
            elif words[0] == "settle":
                client.settle(slack)
            else:
                login, request = words if ":" in words[0] else ("guest:guest", line)
                method, path, body = (request.split(" ", 2) + [""])[:3]
                status, body = curl(broker, login, method, client.expand(path), body)
                question = line
                while question in answers:
                    question += " (again)"
                answer = {"status": "=" + str(status)}
                answers[question] = answer if body is None else {**answer, "body": shape(plain(body, client.names))}
    finally:
        client.close()
    return answers


def allowed():
    """Rows of `routes.differences`: line, question, way, and whether it may be missing."""
    rows, reason = [], None
    for number, line in enumerate((HERE / "routes.differences").read_text().splitlines(), 1):
        if line.startswith("# "):
            reason = line[2:]
        elif line.strip():
            question, way = line.removeprefix("? ").rsplit(" @ ", 1)
            assert reason, f"routes.differences:{number} has no reason"
            rows.append((number, question, way, line.startswith("? ")))
    return rows


def matches(text, pattern):
    """Brackets are no character classes here."""
    return fnmatch.fnmatchcase(text, pattern.replace("[", "[[]"))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("broker")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--ours", help="also write our answers to this file")
    options = parser.parse_args()
    if options.record:
        with RabbitMQ() as rabbit:
            answers = transcript(rabbit, slack=12)
        text = ",\n".join(f"{json.dumps(q)}: {json.dumps(a, sort_keys=True)}" for q, a in answers.items())
        RECORDED.write_text("{\n" + text + "\n}\n")
    theirs = json.loads(RECORDED.read_text())
    with Leveret(options.broker) as leveret:
        ours = transcript(leveret, slack=0)
    if options.ours:
        Path(options.ours).write_text(json.dumps(ours, indent=1))
    assert list(ours) == list(theirs), "routes.transcript has changed: record it again with --record"
    rows, used, found = allowed(), set(), 0
    for question, answer in ours.items():
        for way, how in differences(answer, theirs[question]):
            rules = [number for number, q, w, _ in rows if matches(question, q) and matches(way, w)]
            used.update(rules[:1])
            if not rules:
                found += 1
                print(f"{question} @ {way}: {how}")
    for number, question, way, comes_and_goes in rows:
        if number not in used and not comes_and_goes:
            found += 1
            print(f"routes.differences:{number}: {question} @ {way}: there is no such difference (any more)")
    print(f"{len(ours)} questions, {found} differences that are not meant")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
