#!/usr/bin/env bash
# A hundred thousand queues: how fast they are declared, their memory, and publishing to the first and the last.
. "$(dirname "$0")/room.sh"
start
perf --broker-pid "$broker" --declare-queues 100000 --connections 2 --time 5 2>/dev/null
