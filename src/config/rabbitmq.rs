//! Keys of RabbitMQ that mean nothing here, so that a file written for RabbitMQ loads with warnings instead of errors.

/// Keys, as they are.
const KEYS: &[&str] = &[
    "anonymous_login_pass",
    "auth_cache.cache_module",
    "auth_http.authorization_failure_disclosure",
    "auth_oauth2.authorization_endpoint",
    "auth_oauth2.default_oauth_provider",
    "auth_oauth2.discovery_endpoint_params",
    "auth_oauth2.discovery_endpoint_path",
    "auth_oauth2.end_session_endpoint",
    "auth_oauth2.https.crl_check",
    "auth_oauth2.https.depth",
    "auth_oauth2.https.fail_if_no_peer_cert",
    "auth_oauth2.https.hostname_verification",
    "auth_oauth2.token_endpoint",
    "background_gc_enabled",
    "background_gc_target_interval",
    "channel_operation_timeout",
    "channel_tick_interval",
    "cluster_keepalive_interval",
    "cluster_partition_handling",
    "collect_statistics",
    "default_worker_pool_size",
    "definitions.hashing.algorithm",
    "delegate_count",
    "hipe_compile",
    "initial_frame_max",
    "link_max_per_session",
    "log.channel.file",
    "log.connection.file",
    "log.console.use_colors",
    "log.error_logger_format_depth",
    "log.journald",
    "log.journald.fields",
    "log.journald.level",
    "log.queue.file",
    "log.summarize_process_state",
    "log.syslog.multiline_mode",
    "management.cors.allow_origins",
    "management.db_cache_multiplier",
    "management.delegate_count",
    "management.enable_queue_totals",
    "management.enable_uaa",
    "management.login_session_timeout",
    "management.require_auth_for_api_desc_page",
    "management.restrictions.operator_policy_changes.disabled",
    "management.uaa_client_id",
    "management.uaa_location",
    "management_agent.filter_aggregated_queue_metrics_pattern",
    "memory_monitor_interval",
    "message_store_shutdown_timeout",
    "mirroring_sync_batch_size",
    "mirroring_sync_max_throughput",
    "mnesia_table_loading_retry_limit",
    "mnesia_table_loading_retry_timeout",
    "motd_file",
    "msg_store_file_size_limit",
    "net_ticktime",
    "node_tags",
    "num_acceptors.ssl",
    "prometheus.authentication.enabled",
    "prometheus.filter_aggregated_queue_metrics_pattern",
    "queue_index_embed_msgs_below",
    "queue_index_max_journal_entries",
    "queue_leader_locator",
    "queue_master_locator",
    "quorum_queue.commands_soft_limit",
    "quorum_queue.compute_checksums",
    "quorum_queue.initial_cluster_size",
    "ranch_connection_max",
    "session_max_per_connection",
    "socket_writer.gc_threshold",
    "ssl_allow_poodle_attack",
    "ssl_options",
    "tcp_listen_options",
    "tcp_listen_options.buffer",
    "tcp_listen_options.delay_send",
    "tcp_listen_options.dontroute",
    "tcp_listen_options.exit_on_close",
    "tcp_listen_options.fd",
    "tcp_listen_options.high_msgq_watermark",
    "tcp_listen_options.high_watermark",
    "tcp_listen_options.low_msgq_watermark",
    "tcp_listen_options.low_watermark",
    "tcp_listen_options.port",
    "tcp_listen_options.priority",
    "tcp_listen_options.send_timeout",
    "tcp_listen_options.send_timeout_close",
    "tcp_listen_options.tos",
    "vhost_restart_strategy",
    "vm_memory_calculation_strategy",
];

/// Beginnings of keys: families whose members differ from version to version and plugin to plugin.
const FAMILIES: &[&str] = &[
    "amqp1_0.",
    "amqp_client.",
    "auth_cache.cache_module_args.",
    "auth_ldap.",
    "auth_oauth2.discovery_endpoint_params.",
    "auth_oauth2.oauth_providers.",
    "auth_oauth2.resource_servers.",
    "aws.",
    "classic_queue.",
    "cluster_formation.",
    "cluster_partition_handling.",
    "cluster_tags.",
    "credential_validator.",
    "definitions.https.",
    "definitions.tls.",
    "deprecated_features.",
    "distribution.",
    "erlang.",
    "federation.",
    "log.channel.rotation.",
    "log.connection.rotation.",
    "log.console.color_esc_seqs.",
    "log.console.formatter.",
    "log.default.rotation.",
    "log.exchange.formatter.",
    "log.feature_flags.",
    "log.federation.",
    "log.file.formatter.",
    "log.mirroring.",
    "log.osiris.",
    "log.prelaunch.",
    "log.queue.rotation.",
    "log.ra.",
    "log.shovel.",
    "log.syslog.formatter.",
    "log.syslog.ssl_options.",
    "log.upgrade.",
    "management.listener.",
    "management.oauth_",
    "management.sample_retention_policies.",
    "message_interceptors.",
    "metadata_store.",
    "mqtt.",
    "node_tags.",
    "quorum_queue.continuous_membership_reconciliation.",
    "raft.",
    "runtime_parameters.",
    "shovel.",
    "stomp.",
    "stream.",
    "sysmon_handler.",
    "trust_store.",
    "web_mqtt.",
    "web_stomp.",
];

/// Where options of TLS stand.
const TLS: &[&str] = &["ssl_options.", "management.ssl.", "prometheus.ssl.", "auth_http.ssl_options."];

/// Options of Erlang's TLS.
const OF_TLS: &[&str] = &[
    "bypass_pem_cache",
    "cert",
    "client_renegotiation",
    "crl_check",
    "dh",
    "dhfile",
    "hostname_verification",
    "log_alert",
    "log_level",
    "psk_identity",
    "reuse_sessions",
    "secure_renegotiate",
    "sni",
    "wildcard_hostname_verification",
];

/// Options of TLS that count for a server only.
const OF_SERVERS: &[&str] = &["depth", "fail_if_no_peer_cert", "honor_cipher_order", "honor_ecc_order"];

/// Where options of an HTTP server stand.
const HTTP: &[&str] = &["management.tcp.", "management.ssl.", "prometheus.tcp.", "prometheus.ssl."];

/// Options of RabbitMQ's HTTP server.
const OF_HTTP: &[&str] = &[
    "backlog",
    "compress",
    "idle_timeout",
    "inactivity_timeout",
    "max_keepalive",
    "request_timeout",
    "shutdown_timeout",
];

/// Whether RabbitMQ or one of its plugins has such a key.
pub fn knows(key: &str) -> bool {
    let one_of = |places: &[&str], names: &[&str]| {
        places.iter().any(|place| key.strip_prefix(place).is_some_and(|rest| names.contains(&rest)))
    };
    let is_of_family = FAMILIES.iter().any(|family| key.starts_with(family));
    let of_client = key.strip_prefix("auth_http.ssl_options.").is_some_and(|rest| {
        OF_SERVERS.contains(&rest) || rest.starts_with("versions.") || rest.starts_with("ciphers.")
    });
    KEYS.contains(&key) || of_client || is_of_family || one_of(TLS, OF_TLS) || one_of(HTTP, OF_HTTP) || is_inline(key)
}

/// Certificates and keys that stand in the file itself, in DER.
fn is_inline(key: &str) -> bool {
    let rest = TLS.iter().find_map(|place| key.strip_prefix(place));
    rest.is_some_and(|rest| rest.starts_with("cacerts.") || rest.starts_with("key."))
}
