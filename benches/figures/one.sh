#!/usr/bin/env bash
# One publisher that waits for each confirm, with a consumer and without, and the disk's own fdatasync of 4 KiB right after
# it, one after the other and each after a rest of 0.1 ms, as it is between confirms; three times in turn.
. "$(dirname "$0")/room.sh"
start
waits() { perf --durable --persistent --confirms 1 --time 4 "$@" 2>/dev/null | lines 'confirm '; }
for _ in 1 2 3; do
    echo "consumed, acked by 100: $(waits --ack manual --ack-every 100)"
    echo "consumed, acked singly: $(waits --ack manual)"
    echo "publisher alone:        $(waits --publish-only)"
    python3 - "$work/fsync" <<'END'
import os, sys, time

file, size, block = os.open(sys.argv[1], os.O_CREAT | os.O_RDWR), 1 << 24, os.urandom(4096)
for at in range(0, size, 4096):
    os.pwrite(file, block, at)
os.fsync(file)
for rest in (0, 0.0001):
    times = []
    for at in range(2000):
        time.sleep(rest)
        began = time.perf_counter()
        os.pwrite(file, block, at * 4096 % size)
        os.fdatasync(file)
        times.append(time.perf_counter() - began)
    times.sort()
    print(f"fdatasync of 4 KiB{', after a rest' if rest else ''}: median {times[1000] * 1e6:.0f} µs")
END
done
