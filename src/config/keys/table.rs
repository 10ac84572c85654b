//! The keys. Names, syntaxes and defaults are RabbitMQ's (`rabbit.schema` of 3.13) unless the help says otherwise.

use std::path::PathBuf;
use std::time::Duration;

use super::super::draft::Draft;
use super::super::value::{self, Expected};
use super::super::{DiskFreeLimit, Listener, QueueType, Sync};
use super::{Key, Section, Shown};

/// Largest `max_message_size`, in bytes.
const MESSAGE_SIZE_LIMIT: u64 = 512 << 20;

type Set = fn(&mut Draft, &str, &str) -> Result<(), Expected>;

const fn key(name: &'static str, default: &'static str, help: &'static str, set: Set) -> Key {
    Key { name, help, shown: Shown::Default(default), has_effect: true, set }
}

/// A key without a default; `word` is for its `$x`.
const fn optional(name: &'static str, word: &'static str, example: &'static str, help: &'static str, set: Set) -> Key {
    Key { name, help, shown: Shown::Example(word, example), has_effect: true, set }
}

const fn without_effect(mut key: Key) -> Key {
    key.has_effect = false;
    key
}

/// All keys, in the order of the example file.
pub const SECTIONS: &[Section] = &[
    Section { title: "Network", keys: NETWORK },
    Section { title: "Logins", keys: LOGINS },
    Section { title: "What is made at the first start and with each vhost", keys: DEFAULTS },
    Section { title: "Limits", keys: LIMITS },
    Section { title: "Memory", keys: MEMORY },
    Section { title: "Disk", keys: DISK },
    Section { title: "Logging", keys: LOGGING },
    Section { title: "The HTTP API", keys: MANAGEMENT },
    Section { title: "The node", keys: NODE },
];

const NETWORK: &[Key] = &[
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
        set: |draft, name, text| {
            let listener = Listener { name: name.to_owned(), address: value::listener(text)? };
            draft.listeners.get_or_insert_default().push(listener);
            Ok(())
        },
    },
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

const LOGINS: &[Key] = &[
    optional(
        "loopback_users",
        "",
        "none",
        "none lets every user log in from everywhere; or a list of names.",
        |draft, _, text| {
            if text == "none" {
                draft.no_loopback_users = true;
            } else {
                draft.loopback_users.get_or_insert_default().extend(value::list(text));
            }
            Ok(())
        },
    ),
    Key {
        name: "loopback_users.$user",
        help: "true: the user may log in only from this machine. Users named here replace the default one.",
        shown: Shown::DefaultOf("guest", "true"),
        has_effect: true,
        set: |draft, user, text| {
            let only = value::boolean(text)?;
            draft.loopback_users.get_or_insert_default().extend(only.then(|| user.to_owned()));
            Ok(())
        },
    },
    optional(
        "auth_mechanisms.$n",
        "1",
        "PLAIN",
        "PLAIN or AMQPLAIN, in the order of $n. Both are offered unless one is named.",
        |draft, n, text| {
            let names = [("PLAIN", "PLAIN"), ("AMQPLAIN", "AMQPLAIN")];
            let name = value::choice(text, &names)?.to_owned();
            draft.mechanisms.insert((n.parse().unwrap_or(u64::MAX), n.to_owned()), name);
            Ok(())
        },
    ),
    key(
        "password_hashing_module",
        "rabbit_password_hashing_sha256",
        "How new passwords are hashed; also rabbit_password_hashing_sha512 and (unsafe) _md5.",
        |draft, _, text| {
            let names = ["sha256", "sha512", "md5"].map(|name| format!("rabbit_password_hashing_{name}"));
            let choices: Vec<_> = names.iter().map(|name| (name.as_str(), ())).collect();
            value::choice(text, &choices)?;
            draft.config.auth.password_hashing = text.to_owned();
            Ok(())
        },
    ),
];

const DEFAULTS: &[Key] = &[
    key("default_vhost", "/", "The vhost made at the first start.", |draft, _, text| {
        set_text(&mut draft.config.defaults.vhost, text)
    }),
    key("default_user", "guest", "The user made at the first start.", |draft, _, text| {
        set_text(&mut draft.config.defaults.user, text)
    }),
    key("default_pass", "guest", "Its password; in single quotes when it holds a #.", |draft, _, text| {
        set_text(&mut draft.config.defaults.pass, text)
    }),
    Key {
        name: "default_user_tags.$tag",
        help: "true gives the default user that tag. Tags named here replace the default one.",
        shown: Shown::DefaultOf("administrator", "true"),
        has_effect: true,
        set: |draft, tag, text| {
            let given = value::boolean(text)?;
            draft.user_tags.get_or_insert_default().extend(given.then(|| tag.to_owned()));
            Ok(())
        },
    },
    key(
        "default_permissions.configure",
        ".*",
        "What the default user may declare and delete, a regular expression.",
        |draft, _, text| set_text(&mut draft.config.defaults.configure, text),
    ),
    key(
        "default_permissions.read",
        ".*",
        "What the default user may consume and bind from, a regular expression.",
        |draft, _, text| set_text(&mut draft.config.defaults.read, text),
    ),
    key(
        "default_permissions.write",
        ".*",
        "What the default user may publish and bind to, a regular expression.",
        |draft, _, text| set_text(&mut draft.config.defaults.write, text),
    ),
    optional(
        "default_users.$name.password",
        "monitoring",
        "'s3kRe7#'",
        "A user that is made with each new vhost it matches: its password.",
        |draft, name, text| set_option(&mut draft.user(name).password, text),
    ),
    optional(
        "default_users.$name.tags",
        "monitoring",
        "monitoring, management",
        "Its tags, separated by commas.",
        |draft, name, text| {
            draft.user(name).tags = value::list(text);
            Ok(())
        },
    ),
    optional(
        "default_users.$name.vhost_pattern",
        "monitoring",
        ".*",
        "The vhosts it gets permissions in, a regular expression.",
        |draft, name, text| set_option(&mut draft.user(name).vhost_pattern, text),
    ),
    optional(
        "default_users.$name.configure",
        "monitoring",
        "^$",
        "What it may declare and delete there.",
        |draft, name, text| set_option(&mut draft.user(name).configure, text),
    ),
    optional(
        "default_users.$name.write",
        "monitoring",
        "^$",
        "What it may publish and bind to there.",
        |draft, name, text| set_option(&mut draft.user(name).write, text),
    ),
    optional(
        "default_users.$name.read",
        "monitoring",
        ".*",
        "What it may consume and bind from there.",
        |draft, name, text| set_option(&mut draft.user(name).read, text),
    ),
    key(
        "default_queue_type",
        "classic",
        "The type of queues that name none: classic, quorum or stream.",
        |draft, _, text| {
            let types = [
                ("classic", QueueType::Classic),
                ("quorum", QueueType::Quorum),
                ("stream", QueueType::Stream),
                ("rabbit_classic_queue", QueueType::Classic),
                ("rabbit_quorum_queue", QueueType::Quorum),
                ("rabbit_stream_queue", QueueType::Stream),
            ];
            value::choice(text, &types).map(|kind| draft.config.defaults.queue_type = kind)
        },
    ),
    optional(
        "default_limits.vhosts.$id.pattern",
        "prod",
        "^prod-.*",
        "New vhosts that get these limits, a regular expression.",
        |draft, id, text| set_option(&mut draft.limits_of_vhosts(id).pattern, text),
    ),
    optional(
        "default_limits.vhosts.$id.max_connections",
        "prod",
        "5000",
        "Most connections to such a vhost.",
        |draft, id, text| {
            value::integer(text, 1..=u64::MAX).map(|n| draft.limits_of_vhosts(id).max_connections = Some(n))
        },
    ),
    optional(
        "default_limits.vhosts.$id.max_queues",
        "prod",
        "5000",
        "Most queues of such a vhost.",
        |draft, id, text| value::integer(text, 1..=u64::MAX).map(|n| draft.limits_of_vhosts(id).max_queues = Some(n)),
    ),
    optional(
        "default_policies.operator.$id.vhost_pattern",
        "caps",
        "^prod-.*",
        "New vhosts that get this operator policy, a regular expression.",
        |draft, id, text| set_option(&mut draft.operator_policy(id).vhost_pattern, text),
    ),
    optional(
        "default_policies.operator.$id.queue_pattern",
        "caps",
        "^tenant-.*",
        "Queues that it applies to, a regular expression.",
        |draft, id, text| set_option(&mut draft.operator_policy(id).queue_pattern, text),
    ),
    optional(
        "default_policies.operator.$id.expires",
        "caps",
        "24h",
        "Longest time that such a queue is kept unused, in milliseconds or as 30s, 5m, 2h.",
        |draft, id, text| value::span(text).map(|n| draft.operator_policy(id).set("expires", n)),
    ),
    optional(
        "default_policies.operator.$id.message_ttl",
        "caps",
        "7d",
        "Longest time that a message waits, likewise.",
        |draft, id, text| value::span(text).map(|n| draft.operator_policy(id).set("message-ttl", n)),
    ),
    optional(
        "default_policies.operator.$id.max_length",
        "caps",
        "1000000",
        "Most ready messages.",
        |draft, id, text| value::integer(text, 0..=i64::MAX).map(|n| draft.operator_policy(id).set("max-length", n)),
    ),
    optional(
        "default_policies.operator.$id.max_length_bytes",
        "caps",
        "1GB",
        "Most bytes of ready messages.",
        |draft, id, text| value::size(text, 0..=1 << 62).map(|n| draft.operator_policy(id).set("max-length-bytes", n)),
    ),
    without_effect(optional(
        "default_policies.operator.$id.max_in_memory_length",
        "caps",
        "1000",
        "No effect: old messages leave memory by themselves.",
        |draft, id, text| {
            value::integer(text, 0..=i64::MAX).map(|n| draft.operator_policy(id).set("max-in-memory-length", n))
        },
    )),
    without_effect(optional(
        "default_policies.operator.$id.max_in_memory_bytes",
        "caps",
        "100MB",
        "No effect: see max_in_memory_length.",
        |draft, id, text| {
            value::size(text, 0..=1 << 62).map(|n| draft.operator_policy(id).set("max-in-memory-bytes", n))
        },
    )),
    optional(
        "default_policies.operator.$id.delivery_limit",
        "caps",
        "20",
        "Most times that a message is returned before it is a dead letter.",
        |draft, id, text| {
            value::integer(text, 0..=i64::MAX).map(|n| draft.operator_policy(id).set("delivery-limit", n))
        },
    ),
    without_effect(optional(
        "default_policies.operator.$id.classic_queues.ha_mode",
        "caps",
        "exactly",
        "No effect: queues are not mirrored.",
        |draft, id, text| {
            value::choice(text, &[("all", "all"), ("exactly", "exactly"), ("nodes", "nodes")])
                .map(|mode| draft.operator_policy(id).set("ha-mode", mode))
        },
    )),
    without_effect(optional(
        "default_policies.operator.$id.classic_queues.ha_params",
        "caps",
        "2",
        "No effect: see ha_mode.",
        |draft, id, text| value::integer(text, 1..=i64::MAX).map(|n| draft.operator_policy(id).set("ha-params", n)),
    )),
    without_effect(optional(
        "default_policies.operator.$id.classic_queues.ha_sync_mode",
        "caps",
        "automatic",
        "No effect: see ha_mode.",
        |draft, id, text| {
            value::choice(text, &[("automatic", "automatic"), ("manual", "manual")])
                .map(|mode| draft.operator_policy(id).set("ha-sync-mode", mode))
        },
    )),
];

const LIMITS: &[Key] = &[
    key("heartbeat", "60", "Seconds proposed to clients; 0 proposes no heartbeat.", |draft, _, text| {
        value::integer(text, 0..=u16::MAX).map(|n| draft.config.limits.heartbeat = n)
    }),
    key("frame_max", "131072", "Largest frame in bytes, from 4096 on.", |draft, _, text| {
        let bytes = value::size(text, 4096..=u64::from(u32::MAX))?;
        draft.config.limits.frame_max = u32::try_from(bytes).unwrap_or(u32::MAX);
        Ok(())
    }),
    key("channel_max", "2047", "Most channels of a connection; 0 is no limit.", |draft, _, text| {
        value::integer(text, 0..=u16::MAX).map(|n| draft.config.limits.channel_max = n)
    }),
    key("channel_max_per_node", "infinity", "Most channels of the node, or infinity.", |draft, _, text| {
        value::limit(text, 1).map(|n| draft.config.limits.channel_max_per_node = n)
    }),
    key("consumer_max_per_channel", "infinity", "Most consumers of a channel, or infinity.", |draft, _, text| {
        value::limit(text, 1).map(|n| draft.config.limits.consumer_max_per_channel = n)
    }),
    key("connection_max", "infinity", "Most connections of the node, or infinity.", |draft, _, text| {
        value::limit(text, 0).map(|n| draft.config.limits.connection_max = n)
    }),
    key("vhost_max", "infinity", "Most vhosts, or infinity.", |draft, _, text| {
        value::limit(text, 0).map(|n| draft.config.limits.vhost_max = n)
    }),
    key("cluster_queue_limit", "infinity", "Most queues, or infinity.", |draft, _, text| {
        value::limit(text, 1).map(|n| draft.config.limits.queue_max = n)
    }),
    key("cluster_exchange_limit", "infinity", "Most exchanges, or infinity.", |draft, _, text| {
        value::limit(text, 1).map(|n| draft.config.limits.exchange_max = n)
    }),
    key("max_message_size", "16777216", "Largest message body in bytes, at most 512MB.", |draft, _, text| {
        value::size(text, 1..=MESSAGE_SIZE_LIMIT).map(|bytes| draft.config.limits.max_message_size = bytes)
    }),
    key(
        "consumer_timeout",
        "1800000",
        "Milliseconds in which a delivery must be acknowledged, or infinity.",
        |draft, _, text| value::milliseconds(text).map(|time| draft.config.limits.consumer_timeout = time),
    ),
    key(
        "quorum_queue.property_equivalence.relaxed_checks_on_redeclaration",
        "false",
        "Lets clients declare an existing quorum queue as a classic one, while a system is moved over.",
        |draft, _, text| value::boolean(text).map(|on| draft.config.limits.relaxed_redeclaration = on),
    ),
    key(
        "quorum_queue.refuse_unsupported",
        "true",
        "Not RabbitMQ's. false: quorum queues can be deleted with if-unused and if-empty, which RabbitMQ refuses with 540.",
        |draft, _, text| value::boolean(text).map(|on| draft.config.limits.refuse_unsupported = on),
    ),
    key(
        "dead_letter.count_client_x_death",
        "true",
        "Not RabbitMQ's. false: an x-death header that a client publishes is not counted on, as since RabbitMQ 4.0.",
        |draft, _, text| value::boolean(text).map(|on| draft.config.limits.count_client_deaths = on),
    ),
];

const MEMORY: &[Key] = &[
    key(
        "vm_memory_high_watermark.relative",
        "0.4",
        "Publishers are blocked above this share of the machine's memory.",
        |draft, _, text| value::fraction(text).map(|share| draft.relative_watermark = Some(share)),
    ),
    optional(
        "vm_memory_high_watermark.absolute",
        "",
        "2GiB",
        "The same in bytes; it wins over the share.",
        |draft, _, text| value::memory(text).map(|bytes| draft.absolute_watermark = Some(bytes)),
    ),
    key(
        "vm_memory_high_watermark_paging_ratio",
        "0.5",
        "Backlogs leave memory from this share of the watermark on; 1 and more: they do not because of it.",
        |draft, _, text| value::positive(text).map(|ratio| draft.config.memory.paging_ratio = ratio),
    ),
    optional(
        "total_memory_available_override_value",
        "",
        "8GiB",
        "What counts as the machine's memory, instead of what the system says.",
        |draft, _, text| value::memory(text).map(|bytes| draft.config.memory.total_override = Some(bytes)),
    ),
];

const DISK: &[Key] = &[
    key("disk_free_limit.absolute", "50MB", "Publishers are blocked when less is free.", |draft, _, text| {
        value::memory(text).map(|bytes| draft.config.storage.disk_free_limit = DiskFreeLimit::Absolute(bytes))
    }),
    optional(
        "disk_free_limit.relative",
        "",
        "1.5",
        "The same as a multiple of the machine's memory; it wins over the number of bytes.",
        |draft, _, text| {
            value::positive(text).map(|share| draft.config.storage.disk_free_limit = DiskFreeLimit::Relative(share))
        },
    ),
    key(
        "store.sync",
        "fsync",
        "What a confirm means for a message that has to survive: fsync: it survives a power cut. interval: a power cut may \
         take the last store.sync_interval. os: it survives the process, not a power cut (not a key of RabbitMQ).",
        |draft, _, text| {
            let choices = [("fsync", Sync::Fsync), ("interval", Sync::Interval), ("os", Sync::Os)];
            value::choice(text, &choices).map(|sync| draft.config.storage.sync = sync)
        },
    ),
    key(
        "store.sync_interval",
        "200",
        "Milliseconds between two syncs with store.sync = interval (not a key of RabbitMQ).",
        |draft, _, text| {
            let range = 1..=60_000;
            value::integer(text, range).map(|ms| draft.config.storage.sync_interval = Duration::from_millis(ms))
        },
    ),
    key(
        "store.journal_file_size",
        "16MiB",
        "Bytes of a journal file, from 64KiB on (not a key of RabbitMQ).",
        |draft, _, text| file_size(text).map(|bytes| draft.config.storage.journal_file_size = bytes),
    ),
    key(
        "store.journal_keep",
        "2",
        "Full journal files that are left alone: what is in them is mostly consumed soon (not a key of RabbitMQ).",
        |draft, _, text| value::integer(text, 0..=64).map(|files| draft.config.storage.journal_keep = files),
    ),
    key("store.segment_size", "16MiB", "Bytes of a queue's segment (not a key of RabbitMQ).", |draft, _, text| {
        file_size(text).map(|bytes| draft.config.storage.segment_size = bytes)
    }),
];

/// Bytes of a file, in whole sectors.
fn file_size(text: &str) -> Result<u64, Expected> {
    let bytes = value::memory(text)? & !511;
    let range = 64 << 10..=4 << 30;
    if range.contains(&bytes) { Ok(bytes) } else { Err("an amount of memory from 64KiB to 4GiB".to_owned()) }
}

const LOGGING: &[Key] = &[
    key("log.console", "true", "Log to the standard output.", |draft, _, text| {
        value::boolean(text).map(|on| draft.config.log.console = on)
    }),
    optional(
        "log.console.level",
        "",
        "info",
        "Write nothing below this level: debug, info, notice, warning, error, critical, alert, emergency or none.",
        |draft, _, text| value::level(text).map(|level| draft.config.log.console_level = Some(level)),
    ),
    key("log.default.level", "info", "The level of everything that has none of its own.", |draft, _, text| {
        value::level(text).map(|level| draft.config.log.default_level = level)
    }),
    optional("log.connection.level", "", "info", "The level of connections.", |draft, _, text| {
        value::level(text).map(|level| draft.config.log.connection_level = Some(level))
    }),
    optional("log.channel.level", "", "info", "The level of channels.", |draft, _, text| {
        value::level(text).map(|level| draft.config.log.channel_level = Some(level))
    }),
    optional("log.queue.level", "", "info", "The level of queues.", |draft, _, text| {
        value::level(text).map(|level| draft.config.log.queue_level = Some(level))
    }),
    without_effect(optional(
        "log.file",
        "",
        "false",
        "No effect: there is no log file, redirect the standard output.",
        |_, _, _| Ok(()),
    )),
    without_effect(optional("log.file.level", "", "info", "No effect: see log.file.", |_, _, text| {
        value::level(text).map(drop)
    })),
];

const MANAGEMENT: &[Key] = &[
    optional(
        "management.tcp",
        "",
        "none",
        "none switches the HTTP API off, but for the socket in the data directory (not a key of RabbitMQ).",
        |draft, _, text| value::choice(text, &[("none", true)]).map(|none| draft.no_management = none),
    ),
    key("management.tcp.port", "15672", "The port of the HTTP API.", |draft, _, text| {
        value::integer(text, 0..=u16::MAX).map(|port| draft.management_port = Some(port))
    }),
    optional("management.tcp.ip", "", "127.0.0.1", "The address of its interface; otherwise all.", |draft, _, text| {
        let ip = text.parse().map_err(|_| "an IP address such as 127.0.0.1 or ::1".to_owned())?;
        draft.management_ip = Some(ip);
        Ok(())
    }),
    optional("management.path_prefix", "", "/broker", "What stands before /api in every path.", |draft, _, text| {
        let inside = text.trim_matches('/');
        if inside.contains(|c: char| !(c.is_ascii_alphanumeric() || "-_.~/".contains(c))) {
            return Err("a path of letters, digits and -_.~/".to_owned());
        }
        draft.config.management.path_prefix = if inside.is_empty() { String::new() } else { format!("/{inside}") };
        Ok(())
    }),
    optional(
        "management.cors.allow_origins.$n",
        "1",
        "https://admin.example.com",
        "An origin whose pages may call the HTTP API from a browser; * is every origin.",
        |draft, n, text| {
            draft.cors_origins.insert((n.parse().unwrap_or(u64::MAX), n.to_owned()), text.to_owned());
            Ok(())
        },
    ),
    key(
        "management.cors.max_age",
        "1800",
        "Seconds for which a browser remembers that it may, or undefined.",
        |draft, _, text| {
            draft.config.management.cors_max_age = match text {
                "undefined" => None,
                text => Some(Duration::from_secs(value::integer(text, 0..=u64::from(u32::MAX))?)),
            };
            Ok(())
        },
    ),
    key("management.http.max_body_size", "20000000", "Largest body of a request, in bytes.", |draft, _, text| {
        value::size(text, 1024..=128 << 20).map(|n| draft.config.management.max_body = n as usize)
    }),
];

const NODE: &[Key] = &[
    key("data_dir", "data", "Where messages and metadata are kept (not a key of RabbitMQ).", |draft, _, text| {
        let mut path = String::new();
        set_text(&mut path, text)?;
        draft.config.data_dir = PathBuf::from(path);
        Ok(())
    }),
    optional(
        "node_name",
        "",
        "rabbit@host",
        "The node's name, as RABBITMQ_NODENAME: a data directory of another node is refused (not a key of RabbitMQ).",
        |draft, _, text| {
            if text.is_empty() || text.len() > 255 || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
                return Err("a name without blanks, of at most 255 bytes".to_owned());
            }
            set_option(&mut draft.config.identity.node_name, text)
        },
    ),
    optional("cluster_name", "", "orders", "Shown to clients and operators.", |draft, _, text| {
        set_option(&mut draft.config.identity.cluster_name, text)
    }),
    optional("product.name", "", "RabbitMQ", "The product that clients are told.", |draft, _, text| {
        set_option(&mut draft.config.identity.product_name, text)
    }),
    optional("product.version", "", "3.13.7", "The version that clients are told.", |draft, _, text| {
        set_option(&mut draft.config.identity.product_version, text)
    }),
];

fn set_text(target: &mut String, text: &str) -> Result<(), Expected> {
    if text.is_empty() {
        return Err("a text that is not empty".to_owned());
    }
    text.clone_into(target);
    Ok(())
}

/// A text that may be empty: the empty pattern denies everything.
fn set_option(target: &mut Option<String>, text: &str) -> Result<(), Expected> {
    *target = Some(text.to_owned());
    Ok(())
}
