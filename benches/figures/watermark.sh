#!/usr/bin/env bash
# Ten publishers and no consumer against a memory watermark of 200 MB, for a minute: what stays in memory.
#
# Needs 30 GB of disk.
. "$(dirname "$0")/room.sh"
start --set vm_memory_high_watermark.absolute=200MB
perf --broker-pid "$broker" --producers 10 --size 1024 --publish-only --time 60 >"$work/out" 2>&1 &
most=$(peak_while $!)
echo "resident: $most MiB at most = $((most * 1048576 / 1000000)) MB; $(du -sh "$data" | cut -f1) of disk"
lines sent <"$work/out"
