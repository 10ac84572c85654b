#!/usr/bin/env bash
# One publisher that waits for each confirm, and the disk's own fdatasync of 4 KiB right after it, three times in turn.
. "$(dirname "$0")/room.sh"
start
for _ in 1 2 3; do
    perf --durable --persistent --confirms 1 --ack manual --time 4 2>/dev/null | lines 'confirm '
    python3 - "$work/fsync" <<'END'
import os, sys, time

file, size, times, block = os.open(sys.argv[1], os.O_CREAT | os.O_RDWR), 1 << 24, [], os.urandom(4096)
os.posix_fallocate(file, 0, size)
os.fsync(file)
for at in range(2000):
    began = time.perf_counter()
    os.pwrite(file, block, at * 4096 % size)
    os.fdatasync(file)
    times.append(time.perf_counter() - began)
times.sort()
print(f"fdatasync of 4 KiB: median {times[1000] * 1e6:.0f} µs")
END
done
