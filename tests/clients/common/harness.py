"""What the Python suites share: runs each case in a process of its own, with a deadline."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
import traceback
import uuid

HOST = os.environ["AMQP_HOST"]
PORT = int(os.environ["AMQP_PORT"])
USER = os.environ["AMQP_USER"]
PASSWORD = os.environ["AMQP_PASS"]
VHOST = os.environ["AMQP_VHOST"]

_cases = {}


def case(name, timeout=60):
    """Registers a function as a case."""
    def register(function):
        _cases[name] = (function, timeout)
        return function
    return register


def unique(word):
    return f"clients.{word}.{uuid.uuid4().hex[:12]}"


def broker(action):
    """restart, pause or resume the broker."""
    subprocess.run([os.environ["BROKER_CTL"], action], check=True)


def expect(actual, expected, what):
    if actual != expected:
        raise AssertionError(f"{what}: got {actual!r} instead of {expected!r}")


def retry(attempt, errors, timeout=30):
    """Calls attempt until it raises none of these errors; gives its value."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            return attempt()
        except errors:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _child(function, pipe):
    os.setpgid(0, 0)  # so that what the case starts can be ended with it
    try:
        function()
        pipe.send(None)
    except BaseException as error:
        traceback.print_exc()
        reason = " ".join(str(error).split())
        pipe.send(f"{type(error).__name__}: {reason}"[:500])


def _run(function, timeout):
    """Gives the reason why the case failed, or None."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(function, theirs))
    process.start()
    theirs.close()
    try:
        if not ours.poll(timeout):
            return f"no end after {timeout} s"
        return ours.recv()
    except EOFError:
        process.join(5)
        return f"the case's process ended with status {process.exitcode}"
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.join()


def main(client, version):
    """Runs the cases named on the command line, or all of them."""
    print(f"client {client} {version}", flush=True)
    failures = 0
    for name in sys.argv[1:] or _cases:
        function, timeout = _cases[name]
        reason = _run(function, timeout)
        if reason is None:
            print(f"ok {name}", flush=True)
        else:
            failures += 1
            print(f"not ok {name} - {reason}", flush=True)
            if name == "heartbeat-timeout":  # it may have been ended while the broker was paused
                subprocess.run([os.environ["BROKER_CTL"], "resume"], check=False)
    sys.exit(1 if failures else 0)
