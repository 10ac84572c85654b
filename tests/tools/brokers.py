"""Brokers for the cases: ours, and Debian's RabbitMQ, each on free ports and in a directory of its own."""

import base64
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

START_TIMEOUT = 120
RABBITMQ = Path("/usr/lib/rabbitmq/bin")
PLUGINS = "rabbitmq_management,rabbitmq_consistent_hash_exchange,rabbitmq_shovel,rabbitmq_federation,rabbitmq_prometheus"


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Broker:
    """A process with an HTTP API."""

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="tools-", ignore_cleanup_errors=True)
        self.path = Path(self.directory.name)
        self.login = ("guest", "guest")

    def __enter__(self):
        self.start()
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                self.http("GET", "whoami")
                return self
            except (OSError, urllib.error.URLError):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    log = (self.path / "log").read_text()[-4000:]
                    self.__exit__()
                    raise RuntimeError("the broker does not start:\n" + log) from None
                time.sleep(0.2)

    def spawn(self, command, environment=None):
        with open(self.path / "log", "wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True)

    def __exit__(self, *_):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self.directory.cleanup()

    def http(self, method, path, body=None, login=None):
        """Status and JSON of the answer."""
        credentials = base64.b64encode(":".join(login or self.login).encode()).decode()
        headers = {"authorization": f"Basic {credentials}", "content-type": "application/json"}
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.web}/api/{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=600) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            try:
                return error.code, json.loads(text)
            except ValueError:
                return error.code, text

    def must(self, method, path, body=None):
        status, answer = self.http(method, path, body)
        assert status < 300, f"{method} {path}: {status} {answer}"
        return answer


class Leveret(Broker):
    def __init__(self, binary, settings=()):
        super().__init__()
        self.binary, self.settings = binary, settings

    def start(self):
        self.amqp, self.web, self.metrics = free_ports(3)
        settings = [f"listeners.tcp.default=127.0.0.1:{self.amqp}", "management.tcp.ip=127.0.0.1",
                    f"management.tcp.port={self.web}", "prometheus.tcp.ip=127.0.0.1",
                    f"prometheus.tcp.port={self.metrics}", *self.settings]
        command = [self.binary, "serve", "--data-dir", str(self.path / "data")]
        self.spawn(command + [word for setting in settings for word in ("--set", setting)])


class RabbitMQ(Broker):
    def start(self):
        self.amqp, self.web, self.metrics, distribution, names = free_ports(5)
        (self.path / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.amqp}\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {self.web}\n"
            f"prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {self.metrics}\n")
        (self.path / "plugins").write_text(f"[{PLUGINS}].\n")
        self.environment = {
            **os.environ, "HOME": str(self.path), "RABBITMQ_NODENAME": f"tools{self.amqp}@localhost",
            "RABBITMQ_MNESIA_BASE": str(self.path / "mnesia"), "RABBITMQ_LOG_BASE": str(self.path / "logs"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.path / "plugins"), "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(self.path / "rabbitmq"), "RABBITMQ_DIST_PORT": str(distribution),
            "ERL_EPMD_PORT": str(names)}
        self.spawn([str(RABBITMQ / "rabbitmq-server")], self.environment)

    def __exit__(self, *_):
        subprocess.run([str(RABBITMQ / "rabbitmqctl"), "stop"], env=self.environment, capture_output=True, timeout=60)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            pass
        # The daemon that knows Erlang's nodes by name was started for this one only, and ends when asked after the node.
        subprocess.run(["epmd", "-kill"], env=self.environment, capture_output=True, timeout=30)
        super().__exit__()
