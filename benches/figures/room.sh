# What the figures' scripts have in common; each of them sources it.
#
# A figure is measured with a broker of its own: on a free port of this machine, with an empty data directory below
# $TMPDIR (/tmp unless set), which has to be on the disk that is to be measured. All of it is gone at the end.
# LEVERET names another binary than target/release/leveret, TIMING one of the benchmark `timing` that is built already.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."

leveret=$(realpath "${LEVERET:-target/release/leveret}")
work=$(mktemp -d "${TMPDIR:-/tmp}/leveret-figures.XXXXXX")
data=$work/data
broker=

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# Starts the broker; arguments are further ones of `leveret serve`. With http=yes it has its HTTP API on $http_port.
start() {
    port=$(free_port) http_port=$(free_port)
    uri=amqp://guest:guest@127.0.0.1:$port
    local api=management.tcp=none
    [ -z "${http:-}" ] || api=management.tcp.port=$http_port
    "$leveret" serve --data-dir "$data" --set "listeners.tcp.default=127.0.0.1:$port" --set "$api" \
        --set prometheus.tcp=none "$@" >"$work/log" 2>&1 &
    broker=$!
    until grep -q 'serves AMQP' "$work/log"; do
        kill -0 "$broker" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
        sleep 0.01
    done
}

stop() { # [signal]
    [ -n "$broker" ] || return 0
    kill "${1:--TERM}" "$broker" 2>/dev/null || true
    wait "$broker" 2>/dev/null || true
    broker=
}

finish() {
    stop -KILL
    ! mountpoint -q "$work/small" || umount "$work/small"
    rm -rf "$work"
}
trap finish EXIT

perf() {
    "$leveret" perf --uri "$uri" "$@"
}

# Of a summary of perf, the lines that begin with one of these words.
lines() {
    grep -E "^($1)" | tr -s ' '
}

ctl() {
    "$leveret" ctl --data-dir "$data" -q "$@"
}

# The benchmark that knows times: cargo builds it the first time.
timing() {
    if [ -n "${TIMING:-}" ]; then "$TIMING" --bench "$@"; else cargo bench -q --bench timing -- "$@"; fi
}

resident() { # in MiB
    echo $(($(awk '/VmRSS/ { print $2 }' "/proc/$broker/status") / 1024))
}

# The most that the broker has resident, in MiB, while that process runs.
peak_while() { # pid
    local most=0 now
    while kill -0 "$1" 2>/dev/null; do
        now=$(resident)
        [ "$now" -le "$most" ] || most=$now
        sleep 0.1
    done
    echo "$most"
}

cpu_ticks() { # of the broker, a hundredth of a second each
    awk '{ print $14 + $15 }' "/proc/$broker/stat"
}

need_pika() {
    python3 -c 'import pika' 2>/dev/null || { echo "$0 needs Python's client pika (python3 -m pip install pika)" >&2; exit 2; }
}
