"""What a real RabbitMQ exports loads unchanged, its users log in with their passwords, and it comes out as it went in."""

import json
import subprocess
import sys
import time

from brokers import Leveret, RabbitMQ

QUEUES, BINDINGS = 2000, 6000
SECTIONS = ["users", "permissions", "topic_permissions", "parameters", "global_parameters", "policies", "queues",
            "exchanges", "bindings"]


def definitions():
    """Two thousand queues: RabbitMQ makes them of a file faster than one by one."""
    queue = lambda i: {"name": f"q{i}", "vhost": "team", "durable": True, "auto_delete": False,
                       "arguments": {"x-max-length": i} if i % 3 else {"x-queue-type": "quorum"} if i % 600 == 0 else {}}
    # RabbitMQ makes as many buckets for a queue as the key of a hash exchange's binding says: keep them small.
    key = lambda i: f"{i % 3 + 1}" if i % 2 else f"key.{i}"
    binding = lambda i: {"source": ["topics", "hashed"][i % 2], "vhost": "team", "destination": f"q{i % QUEUES}",
                         "destination_type": "queue", "routing_key": key(i), "arguments": {"n": i} if i % 5 == 0 else {}}
    exchange = lambda name, kind, arguments: {"name": name, "vhost": "team", "type": kind, "durable": True,
                                              "auto_delete": False, "internal": False, "arguments": arguments}
    return {"queues": [queue(i) for i in range(QUEUES)],
            "exchanges": [exchange("topics", "topic", {"alternate-exchange": "amq.fanout"}),
                          exchange("hashed", "x-consistent-hash", {"hash-header": "h"})],
            "bindings": [binding(i) for i in range(BINDINGS)]}


def fill(broker):
    put = lambda path, body: broker.must("PUT", path, body)
    put("vhosts/team", {"description": "the team", "tags": "production,eu"})
    put("vhosts/empty", {})
    put("users/ann", {"password": "ann's secret", "tags": "monitoring,policymaker"})
    put("users/admin", {"password": "x", "tags": "administrator"})
    put("users/locked", {"password_hash": "", "tags": ""})
    put("permissions/team/ann", {"configure": "^a", "write": ".*", "read": ".*"})
    put("topic-permissions/team/ann", {"exchange": "amq.topic", "write": "^a", "read": ".*"})
    put("policies/team/ha", {"pattern": "^q1", "definition": {"ha-mode": "all", "max-length": 5}, "priority": 2,
                             "apply-to": "queues"})
    put("operator-policies/team/cap", {"pattern": "^q", "definition": {"max-length": 50}, "apply-to": "queues"})
    put("vhost-limits/team/max-queues", {"value": 5000})
    put("user-limits/ann/max-connections", {"value": 5})
    put("parameters/federation-upstream/team/up", {"value": {"uri": "amqp://localhost", "expires": 3_600_000}})
    put("global-parameters/cluster_tags", {"value": {"region": "eu"}})
    broker.must("POST", "definitions", definitions())


def items(file, section):
    return sorted(json.dumps(item, sort_keys=True) for item in file[section])


def plan(broker, file):
    """What `ctl definitions plan` says of a file."""
    path = broker.path / "definitions.json"
    path.write_text(json.dumps(file))
    command = [broker.binary, "ctl", "--data-dir", str(broker.path / "data"), "-q", "definitions", "plan", "--prune",
               str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def main():
    with RabbitMQ() as rabbit:
        begun = time.monotonic()
        fill(rabbit)
        print(f"RabbitMQ was filled in {time.monotonic() - begun:.1f} s", flush=True)
        exported = rabbit.must("GET", "definitions")
    assert len(exported["queues"]) == QUEUES and len(exported["bindings"]) == BINDINGS, "RabbitMQ has them all"
    with Leveret(sys.argv[1]) as broker:
        begun = time.monotonic()
        broker.must("POST", "definitions", exported)
        print(f"{QUEUES} queues and {BINDINGS} bindings imported in {time.monotonic() - begun:.2f} s")
        status, who = broker.http("GET", "whoami", login=("ann", "ann's secret"))
        assert (status, who and who["name"]) == (200, "ann"), f"ann logs in: {status} {who}"
        assert broker.http("GET", "whoami", login=("ann", "wrong"))[0] == 401
        assert broker.http("GET", "whoami", login=("locked", ""))[0] == 401
        out = broker.must("GET", "definitions")
        for section in SECTIONS:
            mine, theirs = items(out, section), items(exported, section)
            differ = sorted(set(mine) ^ set(theirs))
            assert mine == theirs, f"{section} differ: {differ[:5]}"
        names = lambda file: sorted(vhost["name"] for vhost in file["vhosts"])
        assert names(out) == names(exported)
        for file in (exported, out):
            planned = plan(broker, file)
            assert planned == "no differences\n", planned[:500]
    print("ok")


if __name__ == "__main__":
    main()
