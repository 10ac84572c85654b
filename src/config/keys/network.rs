//! Sockets of AMQP.

use super::super::Listener;
use super::super::value;
use super::{Key, Shown, key, optional, without_effect};

pub const NETWORK: &[Key] = &[
    optional(
        "listeners.tcp",
        "",
        "none",
        "none switches AMQP without TLS off, whatever listeners are named.",
        |draft, _, text| value::choice(text, &[("none", true)]).map(|none| draft.no_listeners = none),
    ),
    Key {
        name: "listeners.tcp.$name",
        help: "A port on all interfaces, or address:port. Named listeners replace the default one.",
        shown: Shown::DefaultOf("default", "5672"),
        has_effect: true,
        reloads: false,
        set: |draft, name, text| {
            let listener = Listener { name: name.to_owned(), address: value::listener(text)? };
            draft.listeners.get_or_insert_default().push(listener);
            Ok(())
        },
    },
    key(
        "proxy_protocol",
        "false",
        "Connections begin with a PROXY protocol header (version 1 or 2), and none without one is served.",
        |draft, _, text| value::boolean(text).map(|on| draft.config.tcp.proxy_protocol = on),
    ),
    without_effect(key(
        "num_acceptors.tcp",
        "10",
        "No effect: connections are accepted as fast as they come.",
        |_, _, text| value::integer::<u32>(text, 1..=u32::MAX).map(drop),
    )),
    key(
        "handshake_timeout",
        "10000",
        "Milliseconds for a client to open its connection, or infinity.",
        |draft, _, text| value::milliseconds(text).map(|time| draft.config.tcp.handshake_timeout = time),
    ),
    without_effect(key("reverse_dns_lookups", "false", "No effect: peers are shown by address.", |_, _, text| {
        value::boolean(text).map(drop)
    })),
    key("tcp_listen_options.backlog", "128", "Connections that may wait to be accepted.", |draft, _, text| {
        value::integer(text, 1..=65_535).map(|n| draft.config.tcp.backlog = n)
    }),
    key("tcp_listen_options.nodelay", "true", "Send small packets at once (TCP_NODELAY).", |draft, _, text| {
        value::boolean(text).map(|on| draft.config.tcp.nodelay = on)
    }),
    key("tcp_listen_options.keepalive", "false", "TCP keepalives, beside AMQP heartbeats.", |draft, _, text| {
        value::boolean(text).map(|on| draft.config.tcp.keepalive = on)
    }),
    optional(
        "tcp_listen_options.sndbuf",
        "",
        "196608",
        "Bytes of a socket's send buffer; the system's own choice otherwise.",
        |draft, _, text| value::integer(text, 1..=1 << 30).map(|n| draft.config.tcp.sndbuf = Some(n)),
    ),
    optional(
        "tcp_listen_options.recbuf",
        "",
        "196608",
        "Bytes of a socket's receive buffer; the system's own choice otherwise.",
        |draft, _, text| value::integer(text, 1..=1 << 30).map(|n| draft.config.tcp.recbuf = Some(n)),
    ),
    key(
        "tcp_listen_options.linger.on",
        "false",
        "Whether closing a socket waits for linger.timeout (SO_LINGER).",
        |draft, _, text| value::boolean(text).map(|on| draft.linger_on = on),
    ),
    key("tcp_listen_options.linger.timeout", "0", "Seconds; 0 drops what is not sent.", |draft, _, text| {
        value::integer(text, 0..=65_535).map(|seconds| draft.linger_timeout = seconds)
    }),
];
