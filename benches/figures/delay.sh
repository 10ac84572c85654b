#!/usr/bin/env bash
# Ten million delayed messages, kill -9 and a start: memory, time of the start, and how late those come that are due.
. "$(dirname "$0")/room.sh"
count=${COUNT:-10000000} begin=75
start
filled=$(date +%s)
timing fill-delay "127.0.0.1:$port" "$count" 300000 "$begin"
echo "resident: $(resident) MiB; $(du -sm "$data" | cut -f1) MB of disk"
stop -KILL
began=$(date +%s%N)
start
echo "serves $((($(date +%s%N) - began) / 1000000)) ms after it was started again; resident: $(resident) MiB"
# Who watches gives up after some seconds without a message.
left=$((filled + begin - $(date +%s) - 3))
[ "$left" -le 0 ] || sleep "$left"
timing watch "127.0.0.1:$port" 300000
