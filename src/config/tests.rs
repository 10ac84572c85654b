use std::collections::HashSet;

use super::keys::{SECTIONS, Shown};
use super::*;

fn load(text: &str) -> Config {
    Config::parse(text, "rabbit.conf", &[]).unwrap_or_else(|errors| panic!("{errors}"))
}

fn errors(text: &str) -> Vec<String> {
    Config::parse(text, "rabbit.conf", &[]).unwrap_err().0.iter().map(ConfigError::to_string).collect()
}

fn error(text: &str) -> String {
    let mut errors = errors(text);
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.remove(0)
}

/// The lines of the example with their comment signs taken off, of those that `wanted` picks.
fn example_settings(wanted: fn(&str) -> bool) -> String {
    let text = example();
    let lines = text.lines().filter_map(|line| line.strip_prefix("# ")).filter(|line| wanted(line));
    lines.map(|line| format!("{line}\n")).collect()
}

fn is_default(line: &str) -> bool {
    !line.contains("# an example")
}

#[test]
fn a_node_has_no_name_unless_it_is_given_one() {
    assert_eq!(Config::default().identity.node_name, None);
    assert_eq!(load("node_name = rabbit@one").identity.node_name.as_deref(), Some("rabbit@one"));
    assert!(error("node_name = 'two words'").contains("without blanks"));
}

#[test]
fn the_example_file_is_the_table() {
    let file = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/rabbit.conf.example"));
    assert!(file == example(), "write it again: cargo test --lib write_the_example -- --ignored");
}

#[test]
#[ignore = "writes rabbit.conf.example from the table of keys"]
fn write_the_example() {
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/rabbit.conf.example"), example()).unwrap();
}

#[test]
fn the_example_changes_nothing_as_it_is() {
    assert_eq!(load(&example()), Config::default());
}

#[test]
fn the_defaults_it_shows_are_the_defaults() {
    let mut config = load(&example_settings(is_default));
    config.warnings.clear();
    config.settings.clear();
    assert_eq!(config, Config::default());
}

#[test]
fn every_value_it_shows_is_accepted() {
    let all = example_settings(|_| true);
    let rows: usize = SECTIONS.iter().map(|section| section.keys.len()).sum();
    assert_eq!(all.lines().count(), rows);
    assert_ne!(load(&all), Config::default());
}

#[test]
fn every_key_has_one_row_and_a_help_line() {
    let mut names = HashSet::new();
    for key in SECTIONS.iter().flat_map(|section| section.keys) {
        assert!(names.insert(key.name), "{} twice", key.name);
        assert!(!rabbitmq::knows(key.name), "{} is known to mean something", key.name);
        assert!(key.help.ends_with('.') && !key.help.contains('\n'), "{}", key.name);
        assert_eq!(key.has_effect, !key.help.starts_with("No effect"), "{}", key.name);
        let has_variable = key.name.contains('$');
        assert!(matches!(key.shown, Shown::Default(_)) <= !has_variable, "{}", key.name);
    }
}

#[test]
fn network() {
    let config = load(
        "listeners.tcp.default = 5673\nlisteners.tcp.local = 127.0.0.1:5674\nlisteners.tcp.v6 = ::1:0\n\
         listeners.tcp.v6b = [::1]:5675\nhandshake_timeout = 500\ntcp_listen_options.backlog = 4096\n\
         tcp_listen_options.nodelay = false\ntcp_listen_options.keepalive = true\ntcp_listen_options.sndbuf = 1000\n\
         tcp_listen_options.recbuf = 2000\ntcp_listen_options.linger.on = true\ntcp_listen_options.linger.timeout = 3",
    );
    let listeners: Vec<_> = config.tcp.listeners.iter().map(|l| (l.name.as_str(), l.address)).collect();
    let socket = |text: &str| ListenAddress::Socket(text.parse().unwrap());
    assert_eq!(
        listeners,
        [
            ("default", ListenAddress::AnyInterface(5673)),
            ("local", socket("127.0.0.1:5674")),
            ("v6", socket("[::1]:0")),
            ("v6b", socket("[::1]:5675")),
        ]
    );
    let tcp = config.tcp;
    assert_eq!(tcp.handshake_timeout, Some(Duration::from_millis(500)));
    assert_eq!((tcp.backlog, tcp.nodelay, tcp.keepalive), (4096, false, true));
    assert_eq!((tcp.sndbuf, tcp.recbuf, tcp.linger), (Some(1000), Some(2000), Some(Duration::from_secs(3))));
}

#[test]
fn listeners_can_be_switched_off_and_must_be_addresses() {
    assert_eq!(load("listeners.tcp = none").tcp.listeners, []);
    assert_eq!(load("listeners.tcp.default = 5672\nlisteners.tcp = none").tcp.listeners, []);
    for bad in ["65536", "localhost:5672", "-1", "127.0.0.1", "5672x", "1.2.3.4:99999"] {
        assert_eq!(
            error(&format!("listeners.tcp.default = {bad}")),
            format!(
                "rabbit.conf:1: listeners.tcp.default = {bad}: expected a port such as 5672, or an IP address and a \
                 port such as 127.0.0.1:5672 or ::1:5672"
            )
        );
    }
}

#[test]
fn http_and_metrics() {
    let config = load("heartbeat = 1");
    assert_eq!(config.management.listener, Some(ListenAddress::AnyInterface(15672)));
    assert_eq!(config.prometheus.listener, Some(ListenAddress::AnyInterface(15692)));
    assert_eq!((config.management.ssl.listener, config.prometheus.ssl.listener), (None, None));
    let config = load(
        "management.tcp.port = 0\nmanagement.tcp.ip = ::1\nprometheus.tcp = none\nmanagement.ssl.port = 15671\n\
         management.ssl.certfile = /c.pem\nmanagement.path_prefix = /a/\nmanagement.rates_mode = none\n\
         management.cors.allow_origins.1 = *\nmanagement.cors.max_age = undefined\nprometheus.path = /m/",
    );
    let (management, prometheus) = (config.management, config.prometheus);
    assert_eq!(management.listener, Some(ListenAddress::Socket("[::1]:0".parse().unwrap())));
    assert_eq!(management.ssl.listener, Some(ListenAddress::AnyInterface(15671)));
    assert_eq!(management.ssl.tls.certfile.as_deref(), Some(Path::new("/c.pem")));
    assert_eq!((management.path_prefix.as_str(), management.rates_mode), ("/a", RatesMode::None));
    assert_eq!((&management.cors_origins[..], management.cors_max_age), (&["*".to_owned()][..], None));
    assert_eq!((prometheus.listener, prometheus.path.as_str()), (None, "/m"));
    assert!(error("management.tcp.port = x").ends_with("expected a whole number from 0 to 65535"));
    assert!(error("management.path_prefix = a b").ends_with("expected a path of letters, digits and -_.~/"));
    assert!(error("management.csp.policy = 'ä'").ends_with("expected a header's value in ASCII"));
}

#[test]
fn tls_of_amqp() {
    let config = load(
        "listeners.ssl.default = 5671\nssl_options.certfile = /c\nssl_options.keyfile = /k\nssl_options.cacertfile = /a\n\
         ssl_options.password = secret\nssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\n\
         ssl_options.versions.1 = tlsv1.3\nssl_options.versions.2 = tlsv1.1\nssl_options.depth = 1\nproxy_protocol = true\n\
         ssl_cert_login_from = common_name",
    );
    assert_eq!(config.tls.listeners[0].address, ListenAddress::AnyInterface(5671));
    let options = &config.tls.options;
    assert_eq!(
        (options.certfile.as_deref(), options.keyfile.as_deref()),
        (Some(Path::new("/c")), Some(Path::new("/k")))
    );
    assert_eq!(options.password.as_ref().map(Secret::reveal), Some("secret"));
    assert!(!format!("{config:?}").contains("secret"), "a debugging line shows it");
    assert!(options.verify_peer && options.fail_if_no_peer_cert && config.tcp.proxy_protocol);
    assert_eq!((&options.versions[..], options.depth), (&[TlsVersion::V13][..], 1));
    assert_eq!(config.auth.cert_login.from, CertName::CommonName);
    assert_eq!(load("listeners.ssl.default = 5671\nlisteners.ssl = none").tls.listeners, []);
}

#[test]
fn backends_of_logins() {
    let backends = |text| load(text).auth.backends;
    let (internal, http, oauth2) = (Backend::Internal, Backend::Http, Backend::OAuth2);
    assert_eq!(backends("heartbeat = 1"), [AuthBackend::both(internal)]);
    let text = "auth_backends.2 = internal\nauth_backends.1 = rabbit_auth_backend_oauth2";
    assert_eq!(backends(text), [AuthBackend::both(oauth2), AuthBackend::both(internal)]);
    let text = "auth_backends.1.authn = http\nauth_backends.1.authz = internal\nauth_backends.2.authn = http";
    assert_eq!(backends(text), [AuthBackend { authn: http, authz: internal, cached: false }, AuthBackend::both(http)]);
    let text = "auth_backends.1 = cache\nauth_cache.cached_backend = http\nauth_cache.cache_ttl = 5000";
    assert_eq!(backends(text), [AuthBackend { cached: true, ..AuthBackend::both(http) }]);
    assert_eq!(load(text).auth.cache.ttl, Duration::from_secs(5));
    let ldap = error("# a comment\nauth_backends.1 = ldap");
    assert!(ldap.starts_with("rabbit.conf:2: auth_backends.1 = ldap"), "{ldap}");
    assert!(error("auth_backends.1 = ldap").contains("expected one of internal, http, oauth2"));
    let auth = load(
        "auth_http.http_method = post\nauth_http.user_path = https://a/u\nauth_oauth2.resource_server_id = r\n\
         auth_oauth2.signing_keys.k1 = /k1.pem\nauth_oauth2.scope_aliases.dev = a b\nauth_oauth2.jwks_uri = https://i/k\n\
         auth_oauth2.preferred_username_claims.2 = b\nauth_oauth2.preferred_username_claims.1 = a",
    )
    .auth;
    assert_eq!((auth.http.method, auth.http.user_path.as_str()), (HttpMethod::Post, "https://a/u"));
    let oauth2 = auth.oauth2;
    assert_eq!(oauth2.signing_keys["k1"], Path::new("/k1.pem"));
    assert_eq!(oauth2.scope_aliases["dev"], ["a", "b"]);
    assert_eq!(
        (oauth2.jwks_url.as_deref(), &oauth2.preferred_username_claims[..]),
        (Some("https://i/k"), &["a".to_owned(), "b".to_owned()][..])
    );
    assert!(error("auth_http.user_path = localhost").contains("begins with http:// or https://"));
    assert!(error("auth_oauth2.algorithms.1 = none").contains("expected one of RS256"));
}

#[test]
fn settings_of_a_backend_that_nobody_asks_are_reported() {
    let idle = "auth_backends.1 = internal\nauth_http.user_path = http://a/u\nauth_oauth2.resource_server_id = r";
    let warnings = load(idle).warnings;
    assert!(warnings[0].contains("rabbit.conf:2: auth_http.user_path has no effect"), "{warnings:?}");
    assert!(warnings[1].contains("rabbit.conf:3: auth_oauth2.resource_server_id has no effect"), "{warnings:?}");
    assert_eq!(errors(&format!("{idle}\nstrict_config = all")).len(), 2);
    let asked = "auth_backends.1 = oauth2\nauth_backends.2.authz = http\nauth_backends.2.authn = internal\n\
                 auth_http.user_path = http://a/u\nauth_oauth2.resource_server_id = r\nauth_cache.cache_ttl = 1000";
    assert_eq!(load(asked).warnings, Vec::<String>::new());
    let unread = load("auth_backends.1 = http\nauth_http.ssl_options.depth = 2\nauth_oauth2.https.depth = 2").warnings;
    assert_eq!(unread.len(), 2, "{unread:?}");
}

#[test]
fn definitions_to_load() {
    let text = "load_definitions = /a\nmanagement.load_definitions = /a\ndefinitions.local.path = /b";
    assert_eq!(load(text).definitions.load, [Path::new("/a"), Path::new("/b")]);
    assert!(error("definitions.import_backend = https").ends_with("expected one of local_filesystem, local"));
}

#[test]
fn log_files_and_their_rotation() {
    let log = load(
        "log.file = l.log\nlog.dir = /d\nlog.file.level = error\nlog.file.formatter = json\nlog.file.rotation.size = 10\n\
         log.file.rotation.date = $W5D16\nlog.file.rotation.count = 3\nlog.audit = audit.log\nlog.syslog.facility = local7",
    )
    .log;
    assert_eq!((log.file.as_deref(), &*log.dir), (Some(Path::new("l.log")), Path::new("/d")));
    let time = Some(RotationTime::Weekly { day: 5, hour: 16 });
    assert_eq!(log.rotation, Rotation { size: 10, time, count: 3 });
    assert_eq!((log.file_format, log.syslog.facility), (LogFormat::Json, 23));
    assert_eq!(load("log.file = false").log.file, None);
    let time = |text: &str| load(&format!("log.file.rotation.date = {text}")).log.rotation.time;
    assert_eq!(time("$D"), Some(RotationTime::Daily { hour: 0 }));
    assert_eq!(time("$D23"), Some(RotationTime::Daily { hour: 23 }));
    assert_eq!(time("$H30"), Some(RotationTime::Hourly { minute: 30 }));
    assert_eq!(time("$M1D5"), Some(RotationTime::Monthly { day: 1, hour: 5 }));
    assert_eq!(time("''"), None);
    for bad in ["D0", "$D24", "$H60", "$W7", "$M0", "$X", "$", "$ä", "daily"] {
        assert!(errors(&format!("log.file.rotation.date = {bad}"))[0].contains("a time such as $H00"), "{bad}");
    }
}

#[test]
fn loopback_users_named_replace_the_default() {
    let users = |text| load(text).auth.loopback_users;
    assert_eq!(users("heartbeat = 1"), ["guest"]);
    assert_eq!(users("loopback_users.guest = false"), [""; 0]);
    assert_eq!(users("loopback_users = none"), [""; 0]);
    assert_eq!(users("loopback_users.a = true\nloopback_users.b = false\nloopback_users.c = true"), ["a", "c"]);
    assert_eq!(users(r"loopback_users.a\.b = true"), ["a.b"]);
    assert_eq!(users("loopback_users = a, b"), ["a", "b"]);
    assert_eq!(users("loopback_users.a = true\nloopback_users = none"), [""; 0]);
}

#[test]
fn logins() {
    let auth = load("auth_mechanisms.10 = PLAIN\nauth_mechanisms.2 = AMQPLAIN").auth;
    assert_eq!(auth.mechanisms, ["AMQPLAIN", "PLAIN"], "in the order of their numbers");
    assert!(
        error("auth_mechanisms.1 = DIGEST")
            .ends_with("expected one of PLAIN, AMQPLAIN, EXTERNAL, ANONYMOUS, RABBIT-CR-DEMO")
    );
    let hashing = load("password_hashing_module = rabbit_password_hashing_sha512").auth.password_hashing;
    assert_eq!(hashing, "rabbit_password_hashing_sha512");
    assert!(error("password_hashing_module = bcrypt").contains("expected one of rabbit_password_hashing_sha256, "));
}

#[test]
fn defaults_of_user_and_vhost() {
    let defaults = load(
        "default_vhost = v\ndefault_user = u\ndefault_pass = 'p # q'\ndefault_user_tags.administrator = false\n\
         default_user_tags.monitoring = true\ndefault_permissions.configure = c\ndefault_permissions.read = r\n\
         default_permissions.write = w\ndefault_queue_type = quorum",
    )
    .defaults;
    assert_eq!((defaults.vhost.as_str(), defaults.user.as_str(), defaults.pass.reveal()), ("v", "u", "p # q"));
    assert_eq!(defaults.user_tags, ["monitoring"]);
    assert_eq!((defaults.configure.as_str(), defaults.read.as_str(), defaults.write.as_str()), ("c", "r", "w"));
    assert_eq!(defaults.queue_type, QueueType::Quorum);
    assert_eq!(load("default_queue_type = rabbit_stream_queue").defaults.queue_type, QueueType::Stream);
    assert!(error("default_user = ''").ends_with("expected a text that is not empty"));
}

#[test]
fn users_and_limits_for_new_vhosts() {
    let defaults = load(
        "default_users.b.password = pw\ndefault_users.b.tags = x, y\ndefault_users.b.vhost_pattern = ^v\n\
         default_users.a.configure = c\ndefault_users.a.write = ''\ndefault_users.a.read = r\n\
         default_limits.vhosts.2.pattern = ^p\ndefault_limits.vhosts.2.max_connections = 5\n\
         default_limits.vhosts.1.max_queues = 7",
    )
    .defaults;
    let text = |text: &str| Some(text.to_owned());
    let a = DefaultUser {
        name: "a".to_owned(),
        configure: text("c"),
        write: text(""),
        read: text("r"),
        ..DefaultUser::default()
    };
    let b = DefaultUser {
        name: "b".to_owned(),
        password: Some(Secret::new("pw")),
        tags: vec!["x".to_owned(), "y".to_owned()],
        vhost_pattern: text("^v"),
        ..DefaultUser::default()
    };
    assert_eq!(defaults.users, [a, b]);
    let one = VhostLimits { id: "1".to_owned(), max_queues: Some(7), ..VhostLimits::default() };
    let two =
        VhostLimits { id: "2".to_owned(), pattern: text("^p"), max_connections: Some(5), ..VhostLimits::default() };
    assert_eq!(defaults.vhost_limits, [one, two]);
    assert!(error("default_limits.vhosts.1.max_queues = 0").contains("a whole number from 1 to"));
}

#[test]
fn operator_policies_of_new_vhosts() {
    let config = load(
        "default_policies.operator.b.max_length = 9\ndefault_policies.operator.a.vhost_pattern = ^v\n\
         default_policies.operator.a.queue_pattern = ^q\ndefault_policies.operator.a.expires = 2h\n\
         default_policies.operator.a.message_ttl = 500\ndefault_policies.operator.a.max_length_bytes = 1KB\n\
         default_policies.operator.a.classic_queues.ha_mode = all\ndefault_policies.operator.idle.queue_pattern = ^x",
    );
    let [a, b] = &config.defaults.operator_policies[..] else { panic!("two of them set something") };
    assert_eq!((a.vhost_pattern.as_deref(), a.queue_pattern.as_deref()), (Some("^v"), Some("^q")));
    let text = r#"{"expires":7200000,"ha-mode":"all","max-length-bytes":1024,"message-ttl":500}"#;
    assert_eq!(a.definition_text(), text);
    assert_eq!((b.id.as_str(), b.definition_text().as_str()), ("b", r#"{"max-length":9}"#));
    assert!(config.warnings.iter().any(|w| w.contains("default_policies.operator.idle sets nothing")));
    assert!(error("default_policies.operator.a.expires = 2y").contains("a time such as 30s"));
}

#[test]
fn limits() {
    let limits = load(
        "heartbeat = 0\nframe_max = 128KB\nchannel_max = 0\nconnection_max = 10\nvhost_max = 11\n\
         max_message_size = 512MB\nconsumer_max_per_channel = 12\nchannel_max_per_node = 13\n\
         cluster_queue_limit = 14\ncluster_exchange_limit = 15\nconsumer_timeout = 60000\n\
         quorum_queue.property_equivalence.relaxed_checks_on_redeclaration = true\n\
         quorum_queue.refuse_unsupported = false\ndead_letter.count_client_x_death = false",
    )
    .limits;
    let expected = Limits {
        heartbeat: 0,
        frame_max: 131_072,
        channel_max: 0,
        connection_max: Some(10),
        vhost_max: Some(11),
        max_message_size: 512 << 20,
        consumer_max_per_channel: Some(12),
        channel_max_per_node: Some(13),
        queue_max: Some(14),
        exchange_max: Some(15),
        consumer_timeout: Some(Duration::from_secs(60)),
        relaxed_redeclaration: true,
        refuse_unsupported: false,
        count_client_deaths: false,
    };
    assert_eq!(limits, expected);
    for none in ["infinity", "undefined"] {
        assert_eq!(load(&format!("consumer_timeout = {none}")).limits.consumer_timeout, None);
    }
    assert_eq!(load("connection_max = infinity").limits.connection_max, None);
}

#[test]
fn limits_have_bounds() {
    let refused = |text: &str| error(text).split("expected ").last().unwrap_or_default().to_owned();
    assert_eq!(refused("frame_max = 4095"), "a number of bytes from 4096 to 4294967295, such as 131072 or 16MB");
    assert_eq!(refused("max_message_size = 513MB"), "a number of bytes from 1 to 536870912, such as 131072 or 16MB");
    assert_eq!(refused("channel_max = 65536"), "a whole number from 0 to 65535");
    assert_eq!(refused("heartbeat = -1"), "a whole number from 0 to 65535");
    assert_eq!(refused("cluster_queue_limit = 0"), "infinity or a whole number from 1 on");
    assert_eq!(refused("consumer_timeout = 0"), "a number of milliseconds from 1 on, or infinity");
    assert_eq!(refused("consumer_timeout = 5s"), "a number of milliseconds from 1 on, or infinity");
}

#[test]
fn memory() {
    let watermark = |text| load(text).memory.watermark;
    assert_eq!(watermark("vm_memory_high_watermark.relative = 0.6"), Watermark::Relative(0.6));
    assert_eq!(watermark("vm_memory_high_watermark.relative = 0"), Watermark::Relative(0.0));
    let both = load("vm_memory_high_watermark.relative = 0.6\nvm_memory_high_watermark.absolute = 1GiB");
    assert_eq!(both.memory.watermark, Watermark::Absolute(1 << 30));
    assert_eq!(both.warnings, ["vm_memory_high_watermark.relative has no effect beside .absolute"]);
    assert!(error("vm_memory_high_watermark.relative = 1.5").ends_with("expected a number from 0 to 1"));
    assert!(error("vm_memory_high_watermark.relative = NaN").ends_with("expected a number from 0 to 1"));
}

#[test]
fn memory_units_are_those_of_rabbitmq_3_13() {
    let bytes = |text: &str| load(&format!("total_memory_available_override_value = {text}")).memory.total_override;
    for (text, expected) in [
        ("123", 123),
        ("2kB", 2000),
        ("2K", 2000),
        ("2KiB", 2048),
        ("2Ki", 2048),
        ("100MB", 100_000_000),
        ("16m", 16_000_000),
        ("16MiB", 16 << 20),
        ("3gb", 3_000_000_000),
        ("1GiB", 1 << 30),
        ("1TB", 1_000_000_000_000),
        ("1tib", 1 << 40),
    ] {
        assert_eq!(bytes(text), Some(expected), "{text}");
    }
    for bad in ["", "MB", "1.5GB", "1XB", "1B", "1i", "1iB", "99999999999TB", "-1", "1 GB", "1ä"] {
        let errors = errors(&format!("total_memory_available_override_value = '{bad}'"));
        assert!(errors[0].ends_with("expected a number of bytes such as 536870912, 512MiB or 2GB"), "{errors:?}");
    }
}

#[test]
fn logging_and_identity() {
    let config = load(
        "log.console = false\nlog.console.level = error\nlog.default.level = debug\nlog.connection.level = none\n\
         log.channel.level = warning\nlog.queue.level = notice\ncluster_name = c\nproduct.name = P\n\
         product.version = 1.2\ndata_dir = /var/lib/leveret",
    );
    let expected = Log {
        console: false,
        console_level: Some(LogLevel::Error),
        default_level: LogLevel::Debug,
        connection_level: Some(LogLevel::None),
        channel_level: Some(LogLevel::Warning),
        queue_level: Some(LogLevel::Notice),
        ..Log::default()
    };
    assert_eq!(config.log, expected);
    let identity = config.identity;
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        (identity.cluster_name, identity.product_name, identity.product_version),
        (text("c"), text("P"), text("1.2"))
    );
    assert_eq!(config.data_dir, Path::new("/var/lib/leveret"));
    assert!(LogLevel::Debug < LogLevel::Info && LogLevel::Emergency < LogLevel::None);
}

#[test]
fn the_last_of_a_repeated_key_counts_and_overrides_win() {
    assert_eq!(load("heartbeat = nonsense\nheartbeat = 1\nheartbeat = 2").limits.heartbeat, 2);
    let overrides = [("heartbeat".to_owned(), "3".to_owned()), ("listeners.tcp.default".to_owned(), "0".to_owned())];
    let config = Config::parse("heartbeat = 2\nlisteners.tcp.default = 1", "f", &overrides).unwrap();
    assert_eq!(config.limits.heartbeat, 3);
    assert_eq!(config.tcp.listeners.len(), 1);
    assert_eq!(config.tcp.listeners[0].address, ListenAddress::AnyInterface(0));
    let bad = [("heartbeat".to_owned(), "x".to_owned())];
    let error = Config::parse("", "f", &bad).unwrap_err().to_string();
    assert_eq!(error, "override: heartbeat = x: expected a whole number from 0 to 65535");
}

#[test]
fn all_errors_are_reported_at_once_with_their_lines() {
    let text = "heartbeat = x\n\nnonsense\nlog.console = yes\nheartbeet = 1";
    assert_eq!(
        errors(text),
        [
            "rabbit.conf:3: cannot read \"nonsense\"; expected key = value",
            "rabbit.conf:1: heartbeat = x: expected a whole number from 0 to 65535",
            "rabbit.conf:4: log.console = yes: expected one of true, false",
            "rabbit.conf:5: unknown key heartbeet; the nearest known one is heartbeat",
        ]
    );
}

#[test]
fn unknown_keys_name_the_nearest() {
    for (key, nearest) in [
        ("frame-max", "frame_max"),
        ("listener.tcp.default", "listeners.tcp.default"),
        ("log.console.levl", "log.console.level"),
        ("default_users.joe.pasword", "default_users.joe.password"),
        ("tcp_listen_options.no_delay", "tcp_listen_options.nodelay"),
        ("vm_memory_high_watermark.absolut", "vm_memory_high_watermark.absolute"),
        ("management.tcp.prt", "management.tcp.port"),
        ("ssl_options.certfil", "ssl_options.certfile"),
        ("auth_oauth2.signing_key.a", "auth_oauth2.signing_keys.a"),
    ] {
        let expected = format!("rabbit.conf:1: unknown key {key}; the nearest known one is {nearest}");
        assert_eq!(error(&format!("{key} = 1")), expected);
    }
    assert!(error("heartbeat.x = 1").contains("unknown key"));
    assert!(error("tcp_listen_options.linger = 1").contains("unknown key"));
}

#[test]
fn keys_of_rabbitmq_without_meaning_here_are_warnings() {
    let text =
        "\nnet_ticktime = 60\nraft.wal_max_size_bytes = 1\nmanagement.ssl.idle_timeout = 1\nssl_options.dhfile = f";
    let config = load(text);
    assert_eq!(config.warnings.len(), 4);
    assert_eq!(config.warnings[0], "rabbit.conf:2: net_ticktime is a key of RabbitMQ that has no effect here");
    let config = load("num_acceptors.tcp = 10\nlog.file.rotation.compress = true\nreverse_dns_lookups = true");
    assert_eq!(config.warnings.len(), 3);
    assert_eq!(config.warnings[1], "rabbit.conf:2: log.file.rotation.compress is accepted and has no effect");
}

#[test]
fn how_strict_it_is_can_be_said() {
    let text = "heartbeet = 1\nnet_ticktime = 60\nnum_acceptors.tcp = 10";
    let warnings = load(&format!("{text}\nstrict_config = none")).warnings;
    assert_eq!(warnings[0], "rabbit.conf:1: unknown key heartbeet; the nearest known one is heartbeat");
    assert_eq!(warnings.len(), 3);
    assert_eq!(errors(text).len(), 1, "keys of RabbitMQ are no errors");
    let all = errors(&format!("strict_config = all\n{text}"));
    assert_eq!(all[1], "rabbit.conf:3: net_ticktime is a key of RabbitMQ that has no effect here");
    assert_eq!(all[2], "rabbit.conf:4: num_acceptors.tcp is accepted and has no effect");
    let mut sources = Sources { strictness: Some(Strictness::All), ..Sources::default() };
    sources.set("net_ticktime", "60");
    assert!(sources.load().is_err(), "the command line wins");
}

#[test]
fn every_key_is_shown_with_its_value_and_origin() {
    let config = load("heartbeat = 7\ndefault_pass = secret\nlisteners.tcp.a = 1\nlisteners.tcp.b = 2");
    let text = effective::print(&config.effective());
    for line in [
        "heartbeat = 7  # rabbit.conf:1\n",
        "default_pass = ***  # rabbit.conf:2\n",
        "listeners.tcp.a = 1  # rabbit.conf:3\n",
        "listeners.tcp.b = 2  # rabbit.conf:4\n",
        "default_user = guest  # default\n",
        "# cluster_name is not set\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    assert!(!text.contains("= secret") && !text.contains(" 5672"), "{text}");
    let rows: usize = SECTIONS.iter().map(|section| section.keys.len()).sum();
    assert_eq!(config.effective().len(), rows + 1);
}

#[test]
fn changes_between_two_configurations() {
    let old = load("heartbeat = 7\nchannel_max = 5\ndefault_user = a\nssl_options.certfile = /a");
    let text = "channel_max = 5\ndefault_user = b\nlog.connection.level = debug\nssl_options.certfile = /b";
    let changes = old.changes(&load(text));
    assert_eq!(changes.applied, ["heartbeat", "log.connection.level", "ssl_options.certfile"]);
    assert_eq!(changes.at_restart, ["default_user"]);
    assert_eq!(old.changes(&old), Changes::default());
    assert_eq!(load("").changes(&load("heartbeat = 60")), Changes::default(), "a default that is written down");
}

#[test]
fn passwords_stay_out_of_errors() {
    let errors = errors("default_pass = ''\ndefault_pass2 = secret");
    assert!(errors[0].contains("default_pass = ***"), "{errors:?}");
    assert!(!errors.join("").contains("secret"));
    assert!(!error("default_pass = 'secret").contains("secret"));
}

#[test]
fn files_are_read_and_missing_ones_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rabbit.conf");
    std::fs::write(&path, "heartbeat = 5\n").unwrap();
    assert_eq!(Config::load(Some(&path), &[]).unwrap().limits.heartbeat, 5);
    assert_eq!(Config::load(None, &[]).unwrap(), Config::default());
    let missing = Config::load(Some(&dir.path().join("none.conf")), &[]).unwrap_err().to_string();
    assert!(missing.contains("none.conf: cannot be read: "), "{missing}");
}
