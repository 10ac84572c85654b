//! RabbitMQ's plugins: which of them are part of this program, and which there is nothing of.

/// What RabbitMQ has as plugins and this broker in itself, always on.
pub const BUILT_IN: &[&str] = &[
    "rabbitmq_auth_backend_cache",
    "rabbitmq_auth_backend_http",
    "rabbitmq_auth_backend_oauth2",
    "rabbitmq_auth_mechanism_ssl",
    "rabbitmq_consistent_hash_exchange",
    "rabbitmq_delayed_message_exchange",
    "rabbitmq_event_exchange",
    "rabbitmq_management",
    "rabbitmq_management_agent",
    "rabbitmq_message_deduplication",
    "rabbitmq_prometheus",
    "rabbitmq_random_exchange",
    "rabbitmq_recent_history_exchange",
    "rabbitmq_web_dispatch",
];

/// RabbitMQ's plugins that there is nothing of here.
pub const ABSENT: &[&str] = &[
    "rabbitmq_amqp1_0",
    "rabbitmq_auth_backend_ldap",
    "rabbitmq_federation",
    "rabbitmq_federation_management",
    "rabbitmq_jms_topic_exchange",
    "rabbitmq_mqtt",
    "rabbitmq_peer_discovery_aws",
    "rabbitmq_peer_discovery_common",
    "rabbitmq_peer_discovery_consul",
    "rabbitmq_peer_discovery_etcd",
    "rabbitmq_peer_discovery_k8s",
    "rabbitmq_sharding",
    "rabbitmq_shovel",
    "rabbitmq_shovel_management",
    "rabbitmq_stomp",
    "rabbitmq_stream",
    "rabbitmq_stream_management",
    "rabbitmq_top",
    "rabbitmq_tracing",
    "rabbitmq_trust_store",
    "rabbitmq_web_mqtt",
    "rabbitmq_web_stomp",
];

/// Components of runtime parameters that belong to absent plugins, and what those are called.
const COMPONENTS: &[(&str, &str)] = &[
    ("federation", "federation"),
    ("federation-upstream", "federation"),
    ("federation-upstream-set", "federation"),
    ("sharding", "sharding"),
    ("shovel", "shovels"),
];

/// What parameters of a component are for that this broker has nothing of.
pub fn absent_component(component: &str) -> Option<&'static str> {
    COMPONENTS.iter().find(|(known, _)| *known == component).map(|(_, what)| *what)
}
