#!/usr/bin/env bash
# A user who is held to 1,000 messages a second, and what another one at 50,000 a second notices of it.
. "$(dirname "$0")/room.sh"
http=yes start
ctl add_user slow slow >"$work/out"
ctl set_permissions slow '.*' '.*' '.*'
curl -sf -u guest:guest -X PUT "http://127.0.0.1:$http_port/api/user-limits/slow/max-publish-rate" -d '{"value": 1000}'
fast() { perf --queue-prefix fast --rate 50000 --confirms 1000 --time 6 2>/dev/null | lines 'received|confirm ' | paste -sd ' '; }
echo "alone: $(fast)"
"$leveret" perf --uri "amqp://slow:slow@127.0.0.1:$port" --queue-prefix slow --confirms 1000 --time 8 >"$work/slow" 2>/dev/null &
slow=$!
sleep 1.5
echo "beside the limited one: $(fast)"
wait "$slow"
echo "the limited one: $(lines 'received|confirm ' <"$work/slow" | paste -sd ' ')"
