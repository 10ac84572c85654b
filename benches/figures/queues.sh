#!/usr/bin/env bash
# A thousand durable queues with a publisher and a consumer each, beside one queue, three times in turn.
. "$(dirname "$0")/room.sh"
load=(--durable --persistent --size 16 --ack manual --ack-every 100 --time 5)
start
for _ in 1 2 3; do
    echo "one queue:    $(perf --broker-pid "$broker" "${load[@]}" --confirms 1000 2>/dev/null | lines 'received|broker CPU' | paste -sd ' ')"
    echo "1,000 queues: $(perf --broker-pid "$broker" "${load[@]}" --confirms 100 --producers 1000 --queues 1000 --consumers 1000 \
        --connections 20 2>/dev/null | lines 'received|broker CPU' | paste -sd ' ')"
done
