"""The Python `rabbitmqadmin` that RabbitMQ 3.x comes with: declare, list, publish, get, export, import, delete."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from brokers import Leveret

PLACES = ["/usr/bin/rabbitmqadmin", "/usr/lib/rabbitmq/bin/rabbitmqadmin"]


def find():
    bundled = Path("/usr/lib/rabbitmq/lib").glob("*/plugins/rabbitmq_management-*/priv/www/cli/rabbitmqadmin")
    return next(path for path in [*bundled, *map(Path, PLACES)] if path.exists())


def main():
    tool = find()
    with Leveret(sys.argv[1]) as broker, tempfile.TemporaryDirectory() as directory:
        def admin(*words, fails=False):
            command = [sys.executable, str(tool), "-H", "127.0.0.1", "-P", str(broker.web), *words]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            assert (done.returncode != 0) == fails, f"{words}: {done.stdout}{done.stderr}"
            return done.stdout if not fails else done.stdout + done.stderr

        rows = lambda *words: json.loads(admin("-f", "raw_json", *words))
        assert "exchange declared" in admin("declare", "exchange", "name=e", "type=topic")
        assert "queue declared" in admin("declare", "queue", "name=q", "durable=true", 'arguments={"x-max-length": 9}')
        assert "binding declared" in admin("declare", "binding", "source=e", "destination=q", "routing_key=a.#")
        assert "policy declared" in admin("declare", "policy", "name=p", "pattern=^q", 'definition={"max-length": 5}')
        assert "user declared" in admin("declare", "user", "name=ann", "password=pw", "tags=monitoring")
        assert "permission declared" in admin(
            "declare", "permission", "vhost=/", "user=ann", "configure=.*", "write=.*", "read=.*")
        assert [q["name"] for q in rows("list", "queues", "name", "messages")] == ["q"]
        assert "e" in [e["name"] for e in rows("list", "exchanges", "name")]
        assert {(b["source"], b["routing_key"]) for b in rows("list", "bindings", "source", "routing_key")} == {
            ("", "q"), ("e", "a.#")}
        for kind in ("users", "vhosts", "permissions", "policies", "nodes", "connections", "channels", "consumers"):
            admin("list", kind)
        admin("show", "overview")
        assert "Message published" in admin("publish", "exchange=e", "routing_key=a.b", "payload=hello")
        assert "NOT routed" in admin("publish", "exchange=e", "routing_key=x", "payload=hello")
        got = rows("get", "queue=q", "ackmode=ack_requeue_false")
        assert [(m["payload"], m["routing_key"]) for m in got] == [("hello", "a.b")], got
        admin("purge", "queue", "name=q")
        file = Path(directory) / "definitions.json"
        admin("export", str(file))
        assert [q["name"] for q in json.loads(file.read_text())["queues"]] == ["q"]
        admin("delete", "queue", "name=q")
        admin("import", str(file))
        assert [q["name"] for q in rows("list", "queues", "name")] == ["q"]
        refused = admin("declare", "queue", "name=q", "durable=false", fails=True)
        assert "inequivalent arg 'durable'" in refused, refused
    print("ok")


if __name__ == "__main__":
    main()
