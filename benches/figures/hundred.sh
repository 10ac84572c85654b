#!/usr/bin/env bash
# A hundred million persistent messages in one queue: filling, memory, kill -9 and start, draining.
#
# Needs 30 GB of disk and three minutes. COUNT is another number of messages.
. "$(dirname "$0")/room.sh"
count=${COUNT:-100000000}
load=(--durable --persistent --confirms 5000 --size 100)

start
perf --broker-pid "$broker" "${load[@]}" --count "$count" --publish-only --keep-queues >"$work/out" 2>&1 &
most=$(peak_while $!)
sleep 5
echo "resident: $most MiB at most on the way, $(resident) MiB at the end; $(du -sm "$data" | cut -f1) MB of disk"
seconds() { grep -E '^ +[0-9]+ s' "$work/out" || true; }
seconds | sed -n '3,5p'
echo "..."
seconds | tail -n 3
grep -vE '^ +[0-9]+ s' "$work/out"

stop -KILL
began=$(date +%s%N)
start
echo "serves $((($(date +%s%N) - began) / 1000000)) ms after it was started again"
perf --broker-pid "$broker" --drain-only --size 100 --ack manual --ack-every 100 --keep-queues 2>/dev/null
echo "an empty queue, for comparison:"
perf --broker-pid "$broker" "${load[@]}" --ack manual --ack-every 100 --time 8 2>/dev/null
