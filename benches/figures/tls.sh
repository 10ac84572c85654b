#!/usr/bin/env bash
# The same load without and with TLS 1.3.
#
# Needs openssl, which makes the certificate.
. "$(dirname "$0")/room.sh"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
    -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
tls_port=$(free_port)
start --set "listeners.ssl.default=127.0.0.1:$tls_port" --set "ssl_options.certfile=$work/cert.pem" \
    --set "ssl_options.keyfile=$work/key.pem"
for size in 16 1024; do
    echo "$size B, plain: $(perf --broker-pid "$broker" --size $size --time 5 2>/dev/null | lines 'received|broker CPU' | paste -sd ' ')"
    echo "$size B, TLS:   $("$leveret" perf --uri "amqps://guest:guest@127.0.0.1:$tls_port" --insecure --broker-pid "$broker" \
        --size $size --time 5 2>/dev/null | lines 'received|broker CPU' | paste -sd ' ')"
done
