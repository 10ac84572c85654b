#!/usr/bin/env bash
# A million messages with random expirations of 8 to 60 s, dead-lettered: how late each comes, and what it costs.
. "$(dirname "$0")/room.sh"
start
timing fill-ttl "127.0.0.1:$port" 1000000 8 60
before=$(cpu_ticks)
timing watch "127.0.0.1:$port" 1000000
echo "broker CPU: $((($(cpu_ticks) - before) * 10000 / 1000000)) µs for each"
