//! What is made at the first start, and with each new virtual host.

use super::super::draft::Draft;
use super::super::value::{self, Expected};
use super::super::{OnConflict, QueueType, Secret};
use super::{Key, Shown, key, optional, set_option, set_text, without_effect};

pub const DEFAULTS: &[Key] = &[
    key("default_vhost", "/", "The vhost made at the first start.", |draft, _, text| {
        set_text(&mut draft.config.defaults.vhost, text)
    }),
    key("default_user", "guest", "The user made at the first start.", |draft, _, text| {
        set_text(&mut draft.config.defaults.user, text)
    }),
    key("default_pass", "guest", "Its password; in single quotes when it holds a #.", |draft, _, text| {
        set_secret(&mut draft.config.defaults.pass, text)
    }),
    Key {
        name: "default_user_tags.$tag",
        help: "true gives the default user that tag. Tags named here replace the default one.",
        shown: Shown::DefaultOf("administrator", "true"),
        has_effect: true,
        reloads: false,
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
        |draft, name, text| {
            draft.user(name).password = Some(Secret::new(text));
            Ok(())
        },
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

pub const DEFINITIONS: &[Key] = &[
    optional(
        "load_definitions",
        "",
        "/etc/leveret/definitions.json",
        "A file of definitions, or a directory of .json files, loaded at each start; there is no default user then.",
        |draft, _, text| add_definitions(draft, text),
    ),
    optional(
        "management.load_definitions",
        "",
        "/etc/leveret/definitions.json",
        "The same, by the name that it had before.",
        |draft, _, text| add_definitions(draft, text),
    ),
    key("definitions.import_backend", "local_filesystem", "Where definitions come from.", |_, _, text| {
        value::choice(text, &[("local_filesystem", ()), ("local", ())])
    }),
    optional(
        "definitions.local.path",
        "",
        "/etc/leveret/definitions.d",
        "The same as load_definitions.",
        |draft, _, text| add_definitions(draft, text),
    ),
    key(
        "definitions.skip_if_unchanged",
        "false",
        "Definitions that have been loaded and have not changed are not loaded again.",
        |draft, _, text| value::boolean(text).map(|on| draft.config.definitions.skip_if_unchanged = on),
    ),
    optional(
        "definitions.on_conflict",
        "",
        "refuse",
        "What is there and cannot be changed into what a file says: refuse imports nothing, skip leaves it as it is. By \
         default imports of operators are refused, and at the start it is left and logged (not a key of RabbitMQ).",
        |draft, _, text| {
            let choices = [("refuse", OnConflict::Refuse), ("skip", OnConflict::Skip)];
            value::choice(text, &choices).map(|choice| draft.config.definitions.on_conflict = Some(choice))
        },
    ),
    key(
        "definitions.max_size",
        "128MiB",
        "Largest file that is loaded at the start (not a key of RabbitMQ).",
        |draft, _, text| value::size(text, 1024..=1 << 30).map(|n| draft.config.definitions.max_size = n),
    ),
];

fn set_secret(target: &mut Secret, text: &str) -> Result<(), Expected> {
    let mut secret = String::new();
    set_text(&mut secret, text)?;
    *target = Secret::new(secret);
    Ok(())
}

fn add_definitions(draft: &mut Draft, text: &str) -> Result<(), Expected> {
    let path = value::path(text)?;
    let load = &mut draft.config.definitions.load;
    if !load.contains(&path) {
        load.push(path);
    }
    Ok(())
}
