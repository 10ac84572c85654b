"""The Celery application: what a worker runs (`celery -A tasks worker`) and a case calls."""

import os
import time
from urllib.parse import quote

from celery import Celery

BROKER_URL = "amqp://{}:{}@{}:{}/{}".format(
    quote(os.environ["AMQP_USER"], safe=""), quote(os.environ["AMQP_PASS"], safe=""),
    os.environ["AMQP_HOST"], os.environ["AMQP_PORT"], quote(os.environ["AMQP_VHOST"], safe=""))


def make_app(queue, results):
    return Celery("clients", broker=BROKER_URL, backend=results, set_as_current=True, changes={
        "task_default_queue": queue,
        "broker_connection_retry_on_startup": True,
        "worker_send_task_events": True,
        "result_expires": 600,
        "result_chord_retry_interval": 0.2,
    })


app = make_app(os.environ.get("CELERY_QUEUE", "unused"), os.environ.get("CELERY_RESULTS", "rpc://"))


@app.task(name="add")
def add(a, b):
    return a + b


@app.task(name="total")
def total(numbers):
    return sum(numbers)


@app.task(name="refuse")
def refuse():
    raise ValueError("not today")


@app.task(name="succeed_at", bind=True)
def succeed_at(self, attempt, max_retries):
    """Retries until it is called for the given attempt, counted from 1; gives what Celery counted."""
    if self.request.retries + 1 < attempt:
        raise self.retry(countdown=0.2, max_retries=max_retries, exc=RuntimeError("too early"))
    return self.request.retries


@app.task(name="now")
def now():
    return time.time()


@app.task(name="nap")
def nap(seconds):
    time.sleep(seconds)


@app.task(name="hold", bind=True, acks_late=True)
def hold(self, started, seconds):
    """Says in a file that it runs, and lasts that long unless it is a redelivered one."""
    with open(started, "w") as file:
        file.write("started")
    if not self.request.delivery_info["redelivered"]:
        time.sleep(seconds)
    return self.request.delivery_info["redelivered"]
