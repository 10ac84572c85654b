"""Metrics as Prometheus sees them: promtool's check, the public alert rules, and what the public Grafana dashboard asks.

    metrics.py BROKER            checks a broker of ours
    metrics.py BROKER --rabbitmq prints what promtool says of RabbitMQ's own metrics

Prometheus scrapes the broker while a client publishes and consumes; every rule is evaluated, the one about unroutable
messages fires and no other does, and every query of the dashboard gives the value that the traffic makes.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pika

from brokers import Leveret, RabbitMQ, free_ports

FAMILIES = ["queue_coarse_metrics", "queue_consumer_count", "queue_metrics", "queue_delivery_metrics", "exchange_metrics",
            "channel_metrics", "channel_exchange_metrics", "channel_queue_metrics", "channel_queue_exchange_metrics",
            "connection_coarse_metrics", "connection_metrics", "connection_churn_metrics", "node_coarse_metrics",
            "node_metrics", "node_persister_metrics", "ra_metrics", "auth_attempt_metrics", "vhost_status",
            "exchange_names", "exchange_bindings"]
PAGES = ["", "/per-object", "/detailed?" + "&".join(f"family={family}" for family in FAMILIES), "/memory-breakdown"]
# What promtool does not like and must stay: names are RabbitMQ's (this one's since 3.13), and rules ask for them. Of 3.10's
# own metrics it complains of more (`--rabbitmq`).
KNOWN = {
    'rabbitmq_unreachable_cluster_peers_count non-histogram and non-summary metrics should not have "_count" suffix',
}
READY, UNACKED, DROPPED, RETURNED = 30, 5, 4, 3
QUEUES, CONSUMERS, CHANNELS = 3, 1, 2
PROMETHEUS_TIMEOUT = 90


def joined(metric, *more):
    """A metric with the labels that say whose it is, as dashboards and rules join them."""
    labels = ", ".join(["rabbitmq_cluster", *more])
    return (f"{metric} * on(instance) group_left({labels}) "
            f"max by (instance, {labels}) (rabbitmq_identity_info{{rabbitmq_cluster=\"hares\"}})")


def total(metric):
    return f"sum({joined(metric)})"


def per_second(metric):
    return total(f"rate({metric}[60s])")


def of_cluster(metric):
    return f"sum by (rabbitmq_cluster) ({joined(metric)})"


def highest(alarm):
    return f"max by (rabbitmq_cluster) ({joined(f'max_over_time(rabbitmq_alarms_{alarm}[5m])')}) > 0"


def of_node(metric):
    return f"sum by (rabbitmq_cluster, rabbitmq_node) ({joined(metric, 'rabbitmq_node')})"


# What the public rules ask, by the alert's name.
OPEN, CONNECTIONS = "rabbitmq_connections_opened_total", of_cluster("rabbitmq_connections")
RULES = {
    "UnroutableMessages":
        f"{of_cluster('increase(rabbitmq_channel_messages_unroutable_dropped_total[5m])')} >= 1 or "
        f"{of_cluster('increase(rabbitmq_channel_messages_unroutable_returned_total[5m])')} >= 1",
    "MemoryAlarm": highest("memory_used_watermark"),
    "DiskAlarm": highest("free_disk_space_watermark"),
    "FileDescriptorAlarm": highest("file_descriptor_limit"),
    "FileDescriptorsNearLimit":
        f"{of_node('max_over_time(rabbitmq_process_open_fds[5m])')} / {of_node('rabbitmq_process_max_fds')} > 0.8",
    "TcpSocketsNearLimit":
        f"{of_node('max_over_time(rabbitmq_process_open_tcp_sockets[5m])')} / "
        f"{of_node('rabbitmq_process_max_tcp_sockets')} > 0.8",
    "HighConnectionChurn":
        f"({of_cluster('rate(rabbitmq_connections_closed_total[5m])')} + {of_cluster(f'rate({OPEN}[5m])')}) / "
        f"{CONNECTIONS} > 0.1 unless {CONNECTIONS} < 100",
    "LowDiskWatermarkPredicted":
        f"({joined('predict_linear(rabbitmq_disk_space_available_bytes[24h], 86400)', 'rabbitmq_node')} < "
        f"{joined('rabbitmq_disk_space_available_limit_bytes', 'rabbitmq_node')}) and "
        f"({joined('count_over_time(rabbitmq_disk_space_available_limit_bytes[2h] offset 22h)', 'rabbitmq_node')} > 0)",
    "InsufficientEstablishedErlangDistributionLinks":
        f"count by (rabbitmq_cluster) ({joined('erlang_vm_dist_node_state')} == 3) < "
        f"count by (rabbitmq_cluster) ({joined('rabbitmq_build_info')}) * "
        f"(count by (rabbitmq_cluster) ({joined('rabbitmq_build_info')}) - 1)",
    "QueueHasNoConsumers":
        "((sum by (vhost, queue) (rabbitmq_detailed_queue_messages) * on(vhost, queue) group_left() "
        "(rabbitmq_detailed_queue_consumers == bool 0)) > 1000)",
    "QueueIsGrowing": "sum by (vhost, queue) (rate(rabbitmq_detailed_queue_messages[2m])) > 1000",
    "QuorumQueueWithoutLeader": f"{of_cluster('rabbitmq_raft_term_total')} < 0",
}
FIRING = {"UnroutableMessages"}

# What the overview dashboard asks, and what must come of it: a number, or True for one above 0.
GAUGES = {
    total("rabbitmq_queue_messages_ready"): READY,
    total("rabbitmq_queue_messages_unacked"): UNACKED,
    total("rabbitmq_queue_messages"): READY + UNACKED,
    total("rabbitmq_connections"): 1,
    total("rabbitmq_channels"): CHANNELS,
    total("rabbitmq_channel_consumers"): CONSUMERS,
    total("rabbitmq_consumers"): CONSUMERS,
    total("rabbitmq_queues"): QUEUES,
    total("rabbitmq_global_publishers"): 1,
    total("rabbitmq_global_consumers"): CONSUMERS,
    total("rabbitmq_queues_declared_total"): True,
    total("rabbitmq_queues_created_total"): QUEUES,
    total("rabbitmq_queues_deleted_total"): 0,
    total("rabbitmq_channels_opened_total"): CHANNELS,
    total("rabbitmq_channels_closed_total"): 0,
    total(OPEN): 1,
    total("rabbitmq_connections_closed_total"): 0,
    f"count({joined('rabbitmq_build_info')})": 1,
    total("rabbitmq_global_messages_unroutable_dropped_total"): DROPPED,
    total("rabbitmq_global_messages_unroutable_returned_total"): RETURNED,
    total("rabbitmq_channel_messages_unroutable_dropped_total"): DROPPED,
    total("rabbitmq_channel_messages_unroutable_returned_total"): RETURNED,
    "max(rabbitmq_message_size_bytes_count)": True,
    "sum(rabbitmq_detailed_queue_messages)": READY + UNACKED,
    "sum(rabbitmq_detailed_queue_consumers)": CONSUMERS,
    joined("rabbitmq_resident_memory_limit_bytes", "rabbitmq_node") + " - " +
    joined("rabbitmq_process_resident_memory_bytes", "rabbitmq_node"): True,
    joined("rabbitmq_disk_space_available_bytes", "rabbitmq_node"): True,
    joined("rabbitmq_process_max_fds", "rabbitmq_node") + " - " +
    joined("rabbitmq_process_open_fds", "rabbitmq_node"): True,
    joined("rabbitmq_process_max_tcp_sockets", "rabbitmq_node") + " - " +
    joined("rabbitmq_process_open_tcp_sockets", "rabbitmq_node"): True,
    joined("rabbitmq_erlang_uptime_seconds", "rabbitmq_node"): True,
}
RATES = [
    "rabbitmq_channel_messages_published_total", "rabbitmq_channel_messages_confirmed_total",
    "rabbitmq_channel_messages_delivered_total", "rabbitmq_channel_messages_delivered_ack_total",
    "rabbitmq_channel_messages_acked_total", "rabbitmq_channel_messages_redelivered_total",
    "rabbitmq_channel_get_total", "rabbitmq_channel_get_ack_total", "rabbitmq_channel_get_empty_total",
    "rabbitmq_queue_messages_published_total", "rabbitmq_global_messages_received_total",
    "rabbitmq_global_messages_received_confirm_total", "rabbitmq_global_messages_routed_total",
    "rabbitmq_global_messages_confirmed_total", "rabbitmq_global_messages_delivered_total",
    "rabbitmq_global_messages_delivered_consume_auto_ack_total",
    "rabbitmq_global_messages_delivered_consume_manual_ack_total",
    "rabbitmq_global_messages_delivered_get_auto_ack_total", "rabbitmq_global_messages_delivered_get_manual_ack_total",
    "rabbitmq_global_messages_get_empty_total", "rabbitmq_global_messages_redelivered_total",
    "rabbitmq_global_messages_acknowledged_total",
]


class Load(threading.Thread):
    """A client that leaves a known state behind and keeps everything that is counted moving."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port))
        self.channel, other = self.connection.channel(), self.connection.channel()
        self.channel.confirm_delivery()
        for queue in ("ready", "held", "moving"):
            self.channel.queue_declare(queue, durable=True)
        for _ in range(READY):
            self.publish("ready")
        for _ in range(UNACKED):
            self.publish("held")
        other.basic_qos(prefetch_count=UNACKED)
        other.basic_consume("held", lambda *_: None)
        self.connection.process_data_events(0.5)
        self.ended, self.loses = threading.Event(), threading.Event()

    def publish(self, queue):
        self.channel.basic_publish("", queue, b"0123456789", pika.BasicProperties(delivery_mode=2))

    def lose(self):
        """Publishes where there is no queue."""
        for _ in range(DROPPED):
            self.publish("nobody")
        for _ in range(RETURNED):
            try:
                self.channel.basic_publish("", "nobody", b"x", mandatory=True)
            except pika.exceptions.UnroutableError:
                pass

    def taken(self, auto_ack):
        """By a consumer that takes one message."""
        for method, _, _ in self.channel.consume("moving", auto_ack=auto_ack):
            return method

    def run(self):
        while not self.ended.is_set():
            if self.loses.is_set():
                self.loses.clear()
                self.lose()
            for _ in range(4):
                self.publish("moving")
            self.channel.basic_get("moving", auto_ack=True)
            method, _, _ = self.channel.basic_get("moving")
            self.channel.basic_reject(method.delivery_tag, requeue=True)
            method, _, _ = self.channel.basic_get("moving")
            self.channel.basic_ack(method.delivery_tag)
            self.channel.basic_ack(self.taken(auto_ack=False).delivery_tag)
            self.channel.cancel()
            self.taken(auto_ack=True)
            self.channel.cancel()
            while self.channel.basic_get("moving", auto_ack=True)[0]:
                pass
            self.connection.sleep(0.3)
        self.connection.close()


def page(broker, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{broker.metrics}/metrics{path}", timeout=30) as answer:
        return answer.read()


def complaints(broker):
    """What promtool says of each page."""
    found = set()
    for path in PAGES:
        if path == "/memory-breakdown" and isinstance(broker, RabbitMQ):
            continue  # 3.10 does not have it.
        done = subprocess.run(["promtool", "check", "metrics"], input=page(broker, path), capture_output=True, timeout=60)
        lines = (done.stdout + done.stderr).decode().splitlines()
        found.update(line for line in lines if line)
        assert done.returncode == 0 or lines, f"promtool fails on {path}"
    return found


class Prometheus:
    def __init__(self, broker):
        self.directory = tempfile.TemporaryDirectory(prefix="tools-")
        self.port, = free_ports(1)
        path = Path(self.directory.name)
        rules = [{"alert": name, "expr": expression} for name, expression in RULES.items()]
        (path / "rules.yml").write_text(json.dumps({"groups": [{"name": "rabbitmq", "rules": rules}]}))
        target = {"static_configs": [{"targets": [f"127.0.0.1:{broker.metrics}"]}]}
        jobs = [{"job_name": "rabbitmq", **target},
                {"job_name": "detailed", "metrics_path": "/metrics/detailed", **target,
                 "params": {"family": ["queue_coarse_metrics", "queue_consumer_count"]},
                 # The identity of the first one is enough: two would make joins ambiguous.
                 "metric_relabel_configs": [{"source_labels": ["__name__"], "regex": "rabbitmq_(identity|build)_info",
                                             "action": "drop"}]}]
        config = {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": ["rules.yml"],
                  "scrape_configs": jobs}
        (path / "prometheus.yml").write_text(json.dumps(config))
        subprocess.run(["promtool", "check", "config", str(path / "prometheus.yml")], check=True, capture_output=True)
        self.log = open(path / "log", "wb")
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={path}/prometheus.yml", f"--storage.tsdb.path={path}/data",
             f"--web.listen-address=127.0.0.1:{self.port}"], stdout=self.log, stderr=self.log)

    def get(self, path, **query):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)["data"]

    def value(self, expression):
        result = self.get("query", query=expression)["result"]
        return float(result[0]["value"][1]) if result else None

    def rules(self):
        groups = self.get("rules")["groups"]
        return {rule["name"]: rule for group in groups for rule in group["rules"]}

    def close(self):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()
        self.directory.cleanup()


def until(what, check):
    """Waits until nothing is missing any more; what is missing at the end is said."""
    deadline = time.monotonic() + PROMETHEUS_TIMEOUT
    while True:
        try:
            missing = check()
        except OSError as error:
            missing = error
        if not missing:
            return
        assert time.monotonic() < deadline, f"{what}: {missing}"
        time.sleep(0.5)


def wrong_values(prometheus):
    found = {expression: prometheus.value(expression) for expression in GAUGES}
    return {expression: value for expression, value in found.items()
            if value is None or (value <= 0 if GAUGES[expression] is True else value != GAUGES[expression])}


def still(prometheus):
    return [metric for metric in RATES if not prometheus.value(per_second(metric))]


def alerts(prometheus):
    rules = prometheus.rules()
    missing = set(RULES) - set(rules)
    errors = {name: rule["lastError"] for name, rule in rules.items() if rule.get("lastError")}
    unknown = [name for name, rule in rules.items() if rule["health"] != "ok"]
    firing = {name for name, rule in rules.items() if rule["state"] == "firing"}
    return (missing or errors or unknown or firing != FIRING) and (missing, errors, unknown, firing)


def main():
    if "--rabbitmq" in sys.argv:
        with RabbitMQ() as rabbit:
            load = Load(rabbit.amqp)
            print("\n".join(sorted(complaints(rabbit))))
            load.connection.close()
        return
    with Leveret(sys.argv[1], ["cluster_name=hares"]) as broker:
        load = Load(broker.amqp)
        load.start()
        prometheus = Prometheus(broker)
        try:
            found = complaints(broker) - KNOWN
            assert not found, "promtool: " + "\n".join(sorted(found))
            until("metrics that do not move", lambda: still(prometheus))
            load.loses.set()
            until("alert rules", lambda: alerts(prometheus))
            until("values", lambda: wrong_values(prometheus))
        finally:
            prometheus.close()
            load.ended.set()
            load.join(30)
    print(f"ok: {len(RULES)} rules, {len(GAUGES) + len(RATES)} queries")


if __name__ == "__main__":
    main()
