#!/usr/bin/env bash
# A disk of 300 MB that a publisher fills, with a limit of free space and with none, and a consumer that drains it.
#
# Needs root, which mounts a tmpfs for it, and Python's client pika.
. "$(dirname "$0")/room.sh"
need_pika
[ "$(id -u)" = 0 ] || { echo "full.sh mounts a tmpfs: root has to run it" >&2; exit 2; }
mkdir "$work/small"
for limit in 50MB 0; do
    mount -t tmpfs -o size=300m none "$work/small"
    data=$work/small/data
    start --set "disk_free_limit.absolute=$limit"
    echo "disk_free_limit.absolute = $limit"
    python3 "$here/full.py" "$port" "$broker" "$work/small"
    grep -iE 'disk|space' "$work/log" | cut -c 1-170 | head -n 8
    stop
    umount "$work/small"
done
