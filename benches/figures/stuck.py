"""Takes a hundred messages, one after the other, and keeps them while a load runs: PORT DATA-DIRECTORY PID-OF-THE-LOAD."""
import os
import sys

import pika

port, data, load = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
connection = pika.BlockingConnection(pika.ConnectionParameters(port=port, heartbeat=0))
held, most = [], 0


def blocks(directory):
    """Bytes that the files below a directory take; files may go meanwhile."""
    taken = 0
    for place, _, names in os.walk(directory):
        for name in names:
            try:
                taken += os.stat(os.path.join(place, name)).st_blocks * 512
            except FileNotFoundError:
                pass
    return taken


def runs(pid):
    """A process that has ended stays as a zombie until its parent has asked for it."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


while runs(load):
    connection.sleep(0.3)
    if len(held) < 100:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=1)
        channel.basic_consume("leveret-perf-0", lambda _channel, method, _properties, _body: held.append(method.delivery_tag))
    most = max(most, blocks(data))
print(f"{len(held)} messages held; the store took {most / 1e6:.0f} MB at most")
