#!/usr/bin/env bash
# What another queue passes while 19,000 messages a second expire and are dead-lettered, and without them.
. "$(dirname "$0")/room.sh"
start
load() { perf --queue-prefix other --time 5 "$@" 2>/dev/null | lines received; }
echo "alone, as fast as it goes: $(load)"
echo "alone, 500,000/s: $(load --rate 500000)"
timing fill-ttl "127.0.0.1:$port" 1000000 8 60
timing watch "127.0.0.1:$port" 1000000 >"$work/watch" 2>&1 &
watch=$!
sleep 10
echo "beside dead letters, as fast as it goes: $(load)"
echo "beside dead letters, 500,000/s: $(load --rate 500000)"
wait "$watch"
cat "$work/watch"
