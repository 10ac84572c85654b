//! AMQP over TLS: versions, client certificates, reload.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use leveret::config::Config;
use leveret::node::Node;
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, ProtocolVersion, StreamOwned};

use super::certificates::{Authority, Identity, text};
use super::logs;
use crate::compat::harness::wire::Wire;
use crate::compat::harness::{Broker, Client, Options, eventually, props, queue_bind, unique};

/// A broker with TLS, and further lines of its configuration.
pub fn broker(authority: &Authority, more: &[(&str, &str)]) -> Broker {
    logs::keep();
    let Identity { certfile, keyfile } = authority.server();
    let (ca, cert, key) = (text(&authority.file()), text(&certfile), text(&keyfile));
    let mut lines = vec![
        ("listeners.ssl.default", "127.0.0.1:0"),
        ("ssl_options.cacertfile", ca.as_str()),
        ("ssl_options.certfile", cert.as_str()),
        ("ssl_options.keyfile", key.as_str()),
    ];
    lines.extend_from_slice(more);
    Broker::start_with(&lines).expect("a broker of this process")
}

fn address(broker: &Broker) -> SocketAddr {
    broker.node().amqps_addrs()[0]
}

/// Why a broker does not start that has these lines in its configuration.
pub fn start_error(lines: &[(&str, &str)]) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let data = text(dir.path());
    let first =
        [("listeners.tcp", "none"), ("management.tcp", "none"), ("prometheus.tcp", "none"), ("data_dir", &data)];
    let all = first.iter().chain(lines).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let config = Config::load(None, &all.collect::<Vec<_>>()).expect("a configuration");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(Node::start(config)).err().expect("a refusal").to_string()
}

/// A socket whose TLS handshake is done.
pub fn connect(
    broker: &Broker,
    config: Arc<ClientConfig>,
) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
    connect_to(address(broker), config)
}

pub fn connect_to(
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
    secured(Wire::socket(address), config)
}

/// Does the handshake on a socket.
pub fn secured(
    mut socket: TcpStream,
    config: Arc<ClientConfig>,
) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let name = ServerName::try_from("localhost").expect("a name");
    let mut tls = ClientConnection::new(config, name).expect("a client");
    while tls.is_handshaking() {
        tls.complete_io(&mut socket)?;
    }
    Ok(StreamOwned::new(tls, socket))
}

fn client(broker: &Broker, config: Arc<ClientConfig>) -> Client {
    let client = Client::over(Wire::over(Box::new(connect(broker, config).expect("a handshake"))));
    client.handshake(&Options::default());
    client
}

/// Why the broker refuses a client: the client hears an alert, at the handshake or (with TLS 1.3) at its first read.
fn refused(broker: &Broker, config: Arc<ClientConfig>) -> String {
    match connect(broker, config) {
        Err(error) => error.to_string(),
        Ok(mut stream) => match stream.write_all(b"AMQP\0\0\x09\x01").and_then(|()| stream.read(&mut [0; 8])) {
            Ok(count) => panic!("the broker has let the client in: {count} bytes"),
            Err(error) => error.to_string(),
        },
    }
}

#[test]
fn messages_of_all_sizes_go_through_tls_both_ways() {
    let authority = Authority::new("sizes");
    let broker = broker(&authority, &[]);
    let channel = client(&broker, authority.client_config(None)).channel();
    let queue = channel.temporary_queue();
    for size in [0, 1, 100, 5_000, 16_383, 16_384, 16_385, 70_000, 300_000, 3_000_000] {
        let body: Vec<u8> = (0..size).map(|n: u32| u8::try_from(n % 251).unwrap_or(0)).collect();
        channel.send_message(crate::compat::harness::basic_publish("", &queue), &props(), &body);
        assert!(channel.expect_get_eventually(&queue).body == body, "a body of {size} bytes has changed");
    }
}

#[test]
fn a_client_that_does_not_read_gets_everything_once_it_does() {
    let authority = Authority::new("slow reader");
    let broker = broker(&authority, &[]);
    let consumer = client(&broker, authority.client_config(None)).channel();
    let queue = consumer.temporary_queue();
    consumer.call(crate::compat::harness::basic_consume(&queue, "").no_ack());
    let publisher = broker.connect().channel();
    let body = "x".repeat(50_000);
    let bodies: Vec<&str> = std::iter::repeat_n(body.as_str(), 100).collect();
    publisher.publish_confirmed("", &queue, &bodies);
    for _ in 0..100 {
        assert_eq!(consumer.expect_deliver().body.len(), 50_000);
    }
}

#[test]
fn both_versions_are_spoken_and_one_can_be_asked_for() {
    let authority = Authority::new("versions");
    let broker = broker(&authority, &[]);
    let speaks = |broker: &Broker, version| {
        let config = authority.client_config_of(version);
        connect(broker, config).map(|stream| stream.conn.protocol_version())
    };
    let (v12, v13) = (ProtocolVersion::TLSv1_2, ProtocolVersion::TLSv1_3);
    assert_eq!(speaks(&broker, v12).expect("1.2"), Some(v12));
    assert_eq!(speaks(&broker, v13).expect("1.3"), Some(v13));
    let only_new = self::broker(&authority, &[("ssl_options.versions.1", "tlsv1.3")]);
    assert!(speaks(&only_new, v12).is_err());
    let port = address(&only_new).to_string();
    logs::expect_line(&[&port, "the client offers no version of TLS that is served: ssl_options.versions names those"]);
    assert_eq!(speaks(&only_new, v13).expect("1.3"), Some(v13));
}

#[test]
fn a_client_without_a_certificate_is_refused_where_one_is_asked_for() {
    let authority = Authority::new("none");
    let more = [("ssl_options.verify", "verify_peer"), ("ssl_options.fail_if_no_peer_cert", "true")];
    let broker = broker(&authority, &more);
    let told = refused(&broker, authority.client_config(None));
    assert!(told.contains("ertificateRequired") || told.contains("HandshakeFailure"), "{told}");
    logs::expect_line(&[
        &address(&broker).to_string(),
        "the client sent no certificate, which ssl_options.fail_if_no_peer_cert",
    ]);
    client(&broker, authority.client_config(Some(&authority.client("welcome")))).close();
}

#[test]
fn without_fail_if_no_peer_cert_a_certificate_is_checked_but_not_needed() {
    let (authority, other) = (Authority::new("lenient"), Authority::new("another"));
    let broker =
        broker(&authority, &[("ssl_options.verify", "verify_peer"), ("ssl_options.fail_if_no_peer_cert", "false")]);
    client(&broker, authority.client_config(None)).close();
    let stranger = other.client(&unique("stranger"));
    refused(&broker, authority.client_config(Some(&stranger)));
}

#[test]
fn a_wrong_or_expired_certificate_is_refused_and_the_log_says_whose() {
    let (authority, other, namesake) = (Authority::new("strict"), Authority::new("impostor"), Authority::new("strict"));
    let more = [("ssl_options.verify", "verify_peer"), ("ssl_options.fail_if_no_peer_cert", "true")];
    let broker = broker(&authority, &more);
    let cases = [
        (other.client(&unique("wrong")), "signed by no authority of ssl_options.cacertfile"),
        (
            authority.expired(&unique("old")),
            "it has expired: it, or one that has signed it, was valid until 2020-01-01T",
        ),
        (
            authority.sign(&unique("early"), &[], |p| p.not_before = date_time_ymd(2090, 1, 1)),
            "it is not valid before 2090",
        ),
        (
            authority.sign(&unique("ca"), &[], |p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
            "it is the certificate of an authority (CA:TRUE), which no client can have",
        ),
        (
            authority.sign(&unique("purpose"), &[], |p| {
                p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            }),
            "it is not for clients: its extended key usage does not name clientAuth",
        ),
        (
            namesake.client(&unique("namesake")),
            "its signature is not by the authority of that name in ssl_options.cacertfile",
        ),
    ];
    for (identity, reason) in cases {
        refused(&broker, authority.client_config(Some(&identity)));
        let name = identity.certfile.file_stem().expect("a name").to_string_lossy().into_owned();
        let line = logs::expect_line(&[&format!("CN={name},O=Burrow"), reason]);
        assert!(line.contains("127.0.0.1:"), "{line}");
    }
    broker.expect_healthy();
}

#[test]
fn depth_is_how_many_authorities_may_stand_between_a_client_and_the_trusted_one() {
    let root = Authority::new("root of depth");
    let (middle, strict) = (root.below("middle of depth"), [("ssl_options.verify", "verify_peer")]);
    let near = root.client(&unique("near"));
    let far = middle.client(&unique("far")).with_chain(&[&middle]);
    let whole = middle.client(&unique("whole")).with_chain(&[&middle, &root]);
    let with_depth = |depth| broker(&root, &[strict[0], ("ssl_options.depth", depth)]);

    let none = with_depth("0");
    client(&none, root.client_config(Some(&near))).close();
    refused(&none, root.client_config(Some(&far)));
    let name = far.certfile.file_stem().expect("a name").to_string_lossy().into_owned();
    logs::expect_line(&[&format!("CN={name},O=Burrow"), "1 certificates are between", "ssl_options.depth allows 0"]);

    let one = with_depth("1");
    for identity in [&near, &far, &whole] {
        client(&one, root.client_config(Some(identity))).close();
    }
}

#[test]
fn new_connections_use_new_files_and_bad_files_change_nothing() {
    let (authority, next) = (Authority::new("before"), Authority::new("after"));
    let broker = broker(&authority, &[]);
    let old = client(&broker, authority.client_config(None)).channel();
    let replace = |identity: Identity| {
        std::fs::copy(identity.certfile, authority.path("server.pem")).expect("a copy");
        std::fs::copy(identity.keyfile, authority.path("server.key")).expect("a copy");
    };
    replace(next.server());
    let reload = || broker.node().broker().reload().expect("the configuration is valid").failures;
    assert_eq!(reload(), [""; 0]);
    client(&broker, next.client_config(None)).close();
    assert!(connect(&broker, authority.client_config(None)).is_err());

    std::fs::write(authority.path("server.pem"), "nothing").expect("a file");
    let failures = reload();
    assert!(failures.len() == 1 && failures[0].contains("server.pem"), "{failures:?}");
    assert!(failures[0].contains("no certificate"), "{failures:?}");
    client(&broker, next.client_config(None)).close();
    // Whoever was there before has noticed nothing.
    old.temporary_queue();
}

#[tokio::test(flavor = "multi_thread")]
async fn other_files_that_the_configuration_names_count_at_once() {
    let (authority, next) = (Authority::new("first name"), Authority::new("second name"));
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("rabbit.conf");
    let write = |Identity { certfile, keyfile }: &Identity| {
        let (certfile, keyfile) = (text(certfile), text(keyfile));
        let lines = format!("ssl_options.certfile = {certfile}\nssl_options.keyfile = {keyfile}\n");
        std::fs::write(&file, lines).expect("a file");
    };
    write(&authority.server());
    let data = text(&dir.path().join("data"));
    let fixed = [
        ("listeners.tcp", "none"),
        ("listeners.ssl.default", "127.0.0.1:0"),
        ("management.tcp", "none"),
        ("prometheus.tcp", "none"),
        ("data_dir", data.as_str()),
    ];
    let fixed = fixed.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let config = Config::load(Some(&file), &fixed).expect("a configuration");
    let node = Node::start(config).await.expect("a node");
    let trusts = |authority: &Authority| connect_to(node.amqps_addrs()[0], authority.client_config(None)).is_ok();
    assert!(trusts(&authority) && !trusts(&next));

    let good = next.server();
    write(&good);
    let reloaded = node.broker().reload().expect("it is valid");
    assert_eq!(reloaded.changes.applied, ["ssl_options.certfile", "ssl_options.keyfile"]);
    assert_eq!(reloaded.failures, [""; 0]);
    assert!(trusts(&next) && !trusts(&authority));

    let empty = Identity { certfile: next.path("empty.pem"), ..good.clone() };
    std::fs::write(&empty.certfile, "").expect("a file");
    write(&empty);
    let failures = node.broker().reload().expect("it is valid").failures;
    assert!(failures.len() == 1 && failures[0].contains("empty.pem"), "{failures:?}");
    assert!(failures[0].contains(&text(&good.certfile)), "{failures:?}");
    assert!(trusts(&next));
    node.stop().await;
}

#[test]
fn plain_amqp_on_the_tls_port_is_refused_and_leaves_nothing_behind() {
    let authority = Authority::new("plain");
    let broker = broker(&authority, &[]);
    let mut socket = Wire::socket(address(&broker));
    socket.write_all(b"AMQP\0\0\x09\x01").expect("a write");
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"AMQP"));
    let local = socket.local_addr().expect("an address").to_string();
    logs::expect_line(&[&local, "TLS handshake refused: what the client sends is not TLS"]);
    eventually("no connection", || broker.node().connections().count() == 0);
}

#[test]
fn events_say_that_a_connection_is_secured() {
    let authority = Authority::new("events");
    let broker = broker(&authority, &[("event_exchange", "true")]);
    let listener = broker.connect().channel();
    let queue = listener.temporary_queue();
    listener.call(queue_bind(&queue, "amq.rabbitmq.event", "connection.created"));
    let _client = client(&broker, authority.client_config(None));
    let event = listener.expect_get_eventually(&queue);
    assert_eq!(event.props.headers().get("ssl"), Some(&leveret::frames::Value::Bool(true)));
}

#[test]
fn a_key_may_be_encrypted() {
    let authority = Authority::new("locked");
    let key = include_str!("key.pem");
    let identity = authority.sign_key(KeyPair::from_pem(key).expect("a key"), "server", &["localhost"], |_| ());
    std::fs::write(&identity.keyfile, include_str!("encrypted_key.pem")).expect("a file");
    let (cert, key) = (text(&identity.certfile), text(&identity.keyfile));
    let lines = |password| {
        [
            ("listeners.ssl.default", "127.0.0.1:0"),
            ("ssl_options.certfile", cert.as_str()),
            ("ssl_options.keyfile", key.as_str()),
            ("ssl_options.password", password),
        ]
    };
    let broker = Broker::start_with(&lines("rabbit")).expect("a broker of this process");
    client(&broker, authority.client_config(None)).close();
    let error = start_error(&lines("hare"));
    assert!(error.contains(&key) && error.contains("Is the password right?") && !error.contains("hare"), "{error}");
}
