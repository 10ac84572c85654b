#!/usr/bin/env bash
# A list of 100,000 queues, a page of them, and what a load notices of both being asked for once a second.
. "$(dirname "$0")/room.sh"
http=yes start
perf --declare-queues 100000 --connections 2 --keep-queues >"$work/out" 2>&1
page() { curl -s -o "$work/page" -w '%{time_total}' -u guest:guest "http://127.0.0.1:$http_port/api/queues?page=500&page_size=100$1"; }
load() { perf --queue-prefix load --time 5 "$@" 2>/dev/null | lines 'received|end-to-end'; }
asks=
ask() {
    (while sleep 1; do ctl list_queues name messages >"$work/list"; page '' >"$work/time"; done) &
    asks=$!
}
rest() {
    kill "$asks"
    wait "$asks" 2>/dev/null || true
}
for _ in 1 2 3; do
    echo "as fast as it goes, quiet: $(load)"
    ask
    echo "as fast as it goes, with lists: $(load)"
    rest
done
echo "500,000/s, quiet: $(load --rate 500000)"
ask
echo "500,000/s, with lists: $(load --rate 500000)"
rest
for _ in 1 2 3; do
    began=$(date +%s%N)
    ctl list_queues name messages >"$work/list"
    echo "list_queues: $((($(date +%s%N) - began) / 1000000)) ms, $(wc -l <"$work/list") lines; a page: $(page '') s, sorted: $(page '&sort=messages') s"
done
