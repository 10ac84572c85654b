#!/usr/bin/env bash
# Ten million messages through a queue of which a hundred are held unacknowledged: how much disk that takes.
#
# Needs Python's client pika. The check of `leveret perf` says that 100 are lost: they are those that are held.
. "$(dirname "$0")/room.sh"
need_pika
start
perf --durable --persistent --confirms 1000 --size 100 --ack manual --ack-every 100 --rate 200000 --count 10000000 \
    --keep-queues --stall 4 >"$work/out" 2>&1 &
load=$!
sleep 1
python3 "$here/stuck.py" "$port" "$data" "$load"
wait "$load" || true
grep -vE '^ +[0-9]+ s' "$work/out"
