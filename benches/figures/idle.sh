#!/usr/bin/env bash
# Memory of ten thousand idle connections with a channel each.
. "$(dirname "$0")/room.sh"
ulimit -S -n "$(ulimit -H -n)"
start
perf --broker-pid "$broker" --idle-connections 10000 --time 5 2>/dev/null
