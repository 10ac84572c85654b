"""Fills a broker's disk, drains it, and counts what was confirmed and is missing: PORT PID DIRECTORY."""
import os
import sys
import threading
import time

import pika

port, pid, disk = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
# Confirms that a publisher gets after the disk was full, before it stops.
AFTERWARDS = 2000
confirmed, stop = [], threading.Event()


def connect():
    return pika.BlockingConnection(pika.ConnectionParameters(port=port, heartbeat=0, blocked_connection_timeout=300))


def publish():
    connection = connect()
    channel = connection.channel()
    channel.confirm_delivery()
    number = 0
    while not stop.is_set():
        number += 1
        body = number.to_bytes(8, "big") + b"x" * 40000
        channel.basic_publish("", "full", body, pika.BasicProperties(delivery_mode=2))
        confirmed.append(number)


connection = connect()
channel = connection.channel()
channel.queue_declare("full", durable=True)
publisher = threading.Thread(target=publish, daemon=True)
publisher.start()

last = -1
while last != len(confirmed):
    last = len(confirmed)
    connection.sleep(1)
free = os.statvfs(disk)
print(f"publishers wait after {last} confirms, {free.f_bavail * free.f_frsize} bytes are free")

got, deadline = set(), time.time() + 60
for method, _, body in channel.consume("full", inactivity_timeout=2):
    if method is not None:
        got.add(int.from_bytes(body[:8], "big"))
        channel.basic_ack(method.delivery_tag)
    if len(confirmed) > last + AFTERWARDS:
        stop.set()
    if time.time() > deadline or (method is None and stop.is_set()):
        break
channel.cancel()
publisher.join(5)
while True:
    method, _, body = channel.basic_get("full", auto_ack=True)
    if method is None:
        break
    got.add(int.from_bytes(body[:8], "big"))
print(f"drained: {len(confirmed)} confirms in all")
print(f"confirmed and not received: {len(set(confirmed) - got)}; the same process: {os.path.exists(f'/proc/{pid}')}")
