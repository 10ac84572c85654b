"""The cases for Celery: a worker with its default pool and settings, and its callers."""

import datetime
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import celery
from celery import chord, group

import tasks
from harness import broker, case, expect, main, unique

DEADLINE = 30


class Worker:
    """A `celery worker` process with a queue of its own."""

    def __init__(self, queue, results, directory):
        self.name = f"{queue}@localhost"
        self.log = Path(directory) / f"worker-{unique('log')}"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--concurrency", "2",
                 "--hostname", self.name, "--loglevel", "INFO"],
                env=dict(os.environ, CELERY_QUEUE=queue, CELERY_RESULTS=results),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def stop(self):
        """Asks for a warm shutdown, which must end well."""
        if self.process.poll() is None:
            self.process.terminate()
        expect(self.process.wait(DEADLINE), 0, "exit status of the worker")

    def kill(self):
        """Ends the worker and its pool without any notice."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for pid in [self.process.pid, *map(int, children)]:
            os.kill(pid, signal.SIGKILL)
        self.process.wait()


class Scratch:
    """An application and its workers for one case."""

    def __init__(self, results="rpc://"):
        self.directory = tempfile.TemporaryDirectory(prefix="clients-celery-")
        self.results = results if results != "file" else f"file://{self.directory.name}"
        self.queue = unique("celery")
        self.workers = []
        tasks.app.conf.update(task_default_queue=self.queue, result_backend=self.results)
        self.app = tasks.app

    def __enter__(self):
        self.worker = self.start_worker()
        return self

    def __exit__(self, failure, *_):
        try:
            for worker in self.workers:
                worker.stop()
            with self.app.connection_for_write() as connection:
                channel = connection.channel()
                for queue in (self.queue, self.app.thread_oid):  # the latter has the results of rpc://
                    channel.queue_delete(queue)
                channel.exchange_delete(self.queue)
        except Exception:
            if not failure:  # the failure itself says more than what it led to
                raise
        finally:
            if failure:
                for worker in self.workers:
                    sys.stderr.write(worker.log.read_text())
            self.directory.cleanup()

    def start_worker(self):
        worker = Worker(self.queue, self.results, self.directory.name)
        self.workers.append(worker)
        self.await_worker(worker)
        return worker

    def await_worker(self, worker):
        eventually(lambda: worker.process.poll() is not None or self.inspect(worker, 0.5).ping(), "the worker to answer")
        expect(worker.process.poll(), None, "the worker is running, exit status")

    def inspect(self, worker=None, timeout=5):
        """Asks that worker only, and does not wait any longer once it has answered."""
        worker = worker or self.worker
        return self.app.control.inspect([worker.name], timeout=timeout, limit=1)


def eventually(condition, what, timeout=DEADLINE):
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout} s for {what}")
        time.sleep(0.05)


def value(result):
    return result.get(timeout=DEADLINE)


@case("task-result")
def task_result():
    with Scratch():
        expect(value(tasks.add.delay(2, 3)), 5, "2 + 3")
        results = [tasks.add.delay(i, i) for i in range(100)]
        expect([value(result) for result in results], [2 * i for i in range(100)], "sums")
        try:
            value(tasks.refuse.delay())
        except ValueError as error:
            expect(str(error), "not today", "error of the task")
        else:
            raise AssertionError("a task that raises did not fail")


@case("retries")
def retries():
    with Scratch():
        expect(value(tasks.succeed_at.delay(attempt=4, max_retries=3)), 3, "retries")
        result = tasks.succeed_at.delay(attempt=9, max_retries=2)
        try:
            value(result)
        except RuntimeError as error:
            expect(str(error), "too early", "error after the last retry")
        else:
            raise AssertionError("the task succeeded after fewer retries than it needs")
        expect(result.state, "FAILURE", "state")


@case("eta")
def eta():
    with Scratch():
        # More than the worker prefetches (2 processes * 4), so that it has to raise its prefetch count.
        delayed = [tasks.now.apply_async(countdown=4) for _ in range(20)]
        asked = time.time()
        at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=5)
        at_eta = tasks.now.apply_async(eta=at)
        at_once = value(tasks.now.delay())
        expect(at_once < asked + 3, True, f"a task without eta ran at once: after {at_once - asked:.1f} s")
        late = [value(result) - asked for result in delayed]
        expect(min(late) > 3.5 and max(late) < 15, True, f"tasks with a countdown of 4 s ran after {min(late):.1f} to {max(late):.1f} s")
        late = value(at_eta) - at.timestamp()
        expect(0 <= late < 10, True, f"the task with an eta ran {late:.1f} s after it")


@case("group")
def group_of_tasks():
    with Scratch():
        result = group(tasks.add.s(i, 1) for i in range(50))()
        expect(value(result), list(range(1, 51)), "results in order")
        expect((result.successful(), result.completed_count()), (True, 50), "the group's state")


@case("chord")
def chord_of_tasks():
    # rpc:// has no chords; the results are in files, the tasks go through the broker as ever.
    with Scratch(results="file"):
        expect(value(chord(tasks.add.s(i, i) for i in range(20))(tasks.total.s())), 380, "the sum of the sums")
        chained = chord([tasks.add.s(1, 1), tasks.add.s(2, 2)], tasks.total.s()) | tasks.add.s(10)
        expect(value(chained.delay()), 16, "a task after the chord")


@case("worker-survives-broker-restart", timeout=180)
def worker_survives_broker_restart():
    with Scratch(results="file") as s:
        expect(value(tasks.add.delay(1, 2)), 3, "1 + 2")
        broker("restart")
        # The same worker and the same application reconnect by themselves.
        expect(tasks.add.delay(3, 4).get(timeout=90), 7, "3 + 4")
        s.await_worker(s.worker)
        expect("Connection to broker lost" in s.worker.log.read_text(), True, "the worker noticed the restart")
        expect(value(tasks.add.apply_async((5, 6), countdown=1)), 11, "5 + 6")


@case("remote-control", timeout=90)
def remote_control():
    with Scratch() as s:
        expect(s.app.control.ping([s.worker.name], timeout=5, limit=1), [{s.worker.name: {"ok": "pong"}}], "ping")
        queues = s.inspect().active_queues()[s.worker.name]
        expect([queue["name"] for queue in queues], [s.queue], "active queues")
        expect("add" in s.inspect().registered()[s.worker.name], True, "add is registered")
        expect(s.inspect().stats()[s.worker.name]["pool"]["max-concurrency"], 2, "concurrency")

        nap = tasks.nap.delay(3)
        eventually(lambda: nap.id in [task["id"] for task in s.inspect().active()[s.worker.name]], "the active task")
        revoked = tasks.now.apply_async(countdown=300)
        eventually(lambda: revoked.id in [entry["request"]["id"] for entry in s.inspect().scheduled()[s.worker.name]],
                   "the scheduled task")
        s.app.control.revoke(revoked.id)
        eventually(lambda: revoked.id in s.inspect().revoked()[s.worker.name], "the revoked task")
        value(nap)

        answer = s.app.control.pool_grow(1, [s.worker.name], reply=True, timeout=5, limit=1)
        expect(answer, [{s.worker.name: {"ok": "pool will grow"}}], "answer to pool_grow")
        eventually(lambda: len(s.inspect().stats()[s.worker.name]["pool"]["processes"]) == 3, "a third process")
        s.app.control.shutdown(destination=[s.worker.name])
        expect(s.worker.process.wait(DEADLINE), 0, "exit status after a remote shutdown")


@case("events")
def events():
    """What monitors such as Flower rely on: the events of workers and tasks in a topic exchange."""
    with Scratch() as s:
        seen = []
        ready = threading.Event()

        def listen():
            with s.app.connection_for_read() as connection:
                receiver = s.app.events.Receiver(connection, handlers={"*": seen.append})
                ready.set()
                receiver.capture(limit=None, timeout=DEADLINE, wakeup=True)

        threading.Thread(target=listen, daemon=True).start()
        ready.wait(DEADLINE)
        eventually(lambda: [e for e in seen if e["type"] == "worker-heartbeat" and e["hostname"] == s.worker.name],
                   "the worker's heartbeat")
        result = tasks.add.delay(1, 1)
        for kind in ("task-received", "task-started", "task-succeeded"):
            eventually(lambda: [e for e in seen if e["type"] == kind and e["uuid"] == result.id], f"the event {kind}")


@case("acks-late-redelivery", timeout=90)
def acks_late_redelivery():
    with Scratch() as s:
        started = Path(s.directory.name) / "started"
        result = tasks.hold.delay(str(started), 60)
        eventually(started.exists, "the task to start")
        s.worker.kill()
        s.workers.remove(s.worker)
        s.worker = s.start_worker()
        expect(value(result), True, "the task was redelivered to the next worker")


if __name__ == "__main__":
    main("celery", celery.__version__)
