"""Celery Flower's broker tab, which asks the HTTP API for the queues that workers take from."""

import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from brokers import Leveret, free_ports

TIMEOUT = 90
APP = """\
import os
from celery import Celery
app = Celery("tasks", broker=os.environ["BROKER_URL"])
app.conf.worker_prefetch_multiplier = 1

@app.task
def wait(path):
    import time
    while not os.path.exists(path):
        time.sleep(0.1)
"""


def page(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=30) as answer:
        return answer.read().decode()


def row(port):
    """The queue's row of the tab: name, messages, unacked, ready, consumers, idle since."""
    text = page(port, "broker")
    rows = [re.findall(r"<td[^>]*>\s*(.*?)\s*</td>", found, re.S) for found in re.findall(r"<tr.*?</tr>", text, re.S)]
    return next((cells[:5] for cells in rows if cells and cells[0] == "celery"), None)


def main():
    with Leveret(sys.argv[1]) as broker, tempfile.TemporaryDirectory() as directory:
        url = f"amqp://guest:guest@127.0.0.1:{broker.amqp}//"
        (Path(directory) / "tasks.py").write_text(APP)
        environment = {**os.environ, "BROKER_URL": url, "FLOWER_UNAUTHENTICATED_API": "true"}
        port, = free_ports(1)
        celery = [sys.executable, "-m", "celery", "-A", "tasks"]
        api = f"http://guest:guest@127.0.0.1:{broker.web}/api/"
        commands = [[*celery, "worker", "-P", "threads", "-c", "1", "--without-mingle", "--without-gossip"],
                    [*celery, "flower", "--address=127.0.0.1", f"--port={port}", f"--broker-api={api}"]]
        log = open(Path(directory) / "log", "wb")
        running = [subprocess.Popen(command, cwd=directory, env=environment, stdout=log, stderr=log) for command in commands]
        gate = Path(directory) / "gate"
        try:
            call = f"from tasks import wait\nfor _ in range(3): wait.delay({str(gate)!r})"
            subprocess.run([sys.executable, "-c", call], cwd=directory, env=environment, check=True, timeout=60)
            # One task runs, and was acknowledged before; one has been taken ahead, one waits.
            await_row(port, lambda cells: cells == ["celery", "2", "1", "1", "1"], log)
            gate.touch()
            await_row(port, lambda cells: cells and cells[1:4] == ["0", "0", "0"], log)
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait(30)
            log.close()
    print("ok")


def await_row(port, is_right, log):
    deadline, cells = time.monotonic() + TIMEOUT, None
    while True:
        try:
            cells = row(port)
            if is_right(cells):
                return
        except OSError as error:
            cells = error
        assert time.monotonic() < deadline, f"the tab shows {cells}; {Path(log.name).read_text()[-2000:]}"
        time.sleep(0.3)


if __name__ == "__main__":
    main()
