//! Logins and permissions that a service outside decides, as RabbitMQ's HTTP backend does.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::Arc;

use rcgen::KeyPair;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::certificates::{Authority, Identity, text};
use super::service::{Asked, Service};
use super::tls::start_error;
use crate::compat::harness::client::capable_of;
use crate::compat::harness::{
    Broker, Client, basic_consume, basic_publish, confirm_select, connection_open, eventually, exchange_declare, props,
    queue_bind, queue_declare, start_ok, tune_ok, unique,
};
use crate::http::harness as http;

/// Everybody but `guest` whose password is the name may come in, and do what is not about a name with `no` in it.
fn kind(asked: &Asked) -> (u16, String) {
    let allowed = match asked.path.as_str() {
        "/user" => asked.get("password") == asked.get("username") && asked.get("username") != "guest",
        "/vhost" => asked.get("vhost") == "/",
        _ => !asked.get("name").contains("no") && !asked.get("routing_key").contains("no"),
    };
    let answer = match (allowed, asked.path.as_str()) {
        (true, "/user") => "allow management",
        (true, _) => "Allow",
        (false, _) => "deny",
    };
    (200, answer.to_owned())
}

fn settings(service: &Service, more: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut settings = vec![("auth_backends.1".to_owned(), "http".to_owned())];
    for what in ["user", "vhost", "resource", "topic"] {
        settings.push((format!("auth_http.{what}_path"), service.url(&format!("/{what}"))));
    }
    settings.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    settings
}

fn broker(service: &Service, more: &[(&str, &str)]) -> Broker {
    let settings = settings(service, more);
    let lines: Vec<_> = settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    Broker::start_with(&lines).expect("a broker of this process")
}

/// What the broker says to a login: the text of its close, when it refuses.
fn log_in(broker: &Broker, user: &str, password: &str) -> Result<Client, String> {
    let client = broker.socket();
    client.greet();
    let response = format!("\0{user}\0{password}");
    client.send(start_ok(capable_of(&["authentication_failure_close"]), "PLAIN", response.as_bytes()));
    let answer = client.wire().next_method(0, "tune or close");
    let text = format!("{answer:?}");
    if !text.contains("Tune") {
        return Err(text);
    }
    client.send(tune_ok(2047, 131_072, 0));
    client.call(connection_open("/"));
    Ok(client)
}

#[test]
fn a_service_says_who_may_come_in_and_what_they_may_do() {
    for method in ["get", "post"] {
        let service = Service::start(kind);
        let broker = broker(&service, &[("auth_http.http_method", method)]);
        let refusal = log_in(&broker, "ann", "wrong").err().expect("a refusal");
        assert!(refusal.contains("ACCESS_REFUSED"), "{refusal}");

        let client = log_in(&broker, "ann", "ann").expect("she may");
        let channel = client.channel();
        let queue = channel.declare(queue_declare("").exclusive()).queue.to_string();
        channel.publish_confirmed("", &queue, &["a", "b", "c"]);
        assert_eq!(channel.drain(&queue), ["a", "b", "c"]);
        let user = &service.asked("/user")[1];
        assert_eq!((user.get("username"), user.get("password")), ("ann", "ann"));
        let vhost = &service.asked("/vhost")[0];
        assert_eq!((vhost.get("vhost"), vhost.get("ip"), vhost.get("tags")), ("/", "127.0.0.1", "management"));
        let resources = service.asked("/resource");
        let about: Vec<_> =
            resources.iter().map(|a| (a.get("resource"), a.get("name"), a.get("permission"), a.get("vhost"))).collect();
        assert_eq!(
            about,
            [
                ("queue", queue.as_str(), "configure", "/"),
                ("exchange", "amq.default", "write", "/"),
                ("queue", queue.as_str(), "read", "/"),
            ],
            "each thing is asked once"
        );

        let text = "configure access to queue 'no-queue' in vhost '/' refused for user 'ann'";
        channel.refuses(queue_declare("no-queue"), 403, text);
        channel.publish("amq.topic", "some.no.key", "x");
        let text = "write access to topic 'some.no.key' in exchange 'amq.topic' in vhost '/' refused for user 'ann'";
        channel.expect_channel_close(403, text, (60, 40));
        let topic = &service.asked("/topic")[0];
        let (resource, name, key) = (topic.get("resource"), topic.get("name"), topic.get("routing_key"));
        assert_eq!((resource, name, key), ("topic", "amq.topic", "some.no.key"));
    }
}

#[test]
fn what_has_to_wait_for_an_answer_keeps_its_order_and_holds_nobody_else() {
    let service = Service::start(kind);
    let broker = broker(&service, &[("auth_backends.2", "internal")]);
    let others = broker.connect().channel();
    let client = log_in(&broker, "ann", "ann").expect("she may");
    let channel = client.channel();
    let queue = unique("waits");
    channel.declare(queue_declare(&queue).exclusive());
    let exchange = unique("fan");
    channel.call(exchange_declare(&exchange, "fanout").auto_delete());
    channel.call(queue_bind(&queue, &exchange, ""));
    channel.call(confirm_select());

    service.hold("/resource");
    // One after the other in one go: whole, and in pieces, and of two exchanges.
    let mut bytes = Vec::new();
    for (exchange, key, body) in [(&*exchange, "", "1"), ("", &*queue, "2"), (&*exchange, "", "3")] {
        bytes.extend(channel.message_bytes(&basic_publish(exchange, key), &props(), body.as_bytes()));
    }
    let (first, second) = bytes.split_at(bytes.len() / 2);
    channel.send_bytes(first);
    eventually("the service is asked", || {
        service.asked("/resource").iter().any(|a| a.get("permission") == "write" && a.get("name") == exchange)
    });
    channel.send_bytes(second);
    // Whoever is known, or decided by somebody else, goes on.
    others.publish_confirmed("amq.fanout", "", &["x"; 100]);
    service.release();
    assert!(channel.expect_confirms(3).is_empty());
    assert_eq!(channel.drain(&queue), ["1", "2", "3"]);
}

#[test]
fn a_publish_that_came_in_pieces_waits_too() {
    let service = Service::start(kind);
    let broker = broker(&service, &[]);
    let client = log_in(&broker, "ann", "ann").expect("she may");
    let channel = client.channel();
    let queue = channel.declare(queue_declare("").exclusive()).queue.to_string();
    channel.call(confirm_select());
    let bytes = channel.message_bytes(&basic_publish("", &queue), &props(), &[b'x'; 1000]);
    for piece in bytes.chunks(100) {
        channel.send_bytes(piece);
        std::thread::yield_now();
    }
    assert!(channel.expect_confirms(1).is_empty());
    assert_eq!(channel.drain(&queue), ["x".repeat(1000)]);
    // A consumer, whose check waits, gets what comes then.
    channel.consume(basic_consume(&queue, "c").no_ack());
    channel.publish("", &queue, "y");
    assert_eq!(channel.expect_deliver().text(), "y");
}

#[test]
fn what_the_service_takes_back_counts_when_its_answer_does_not_hold_any_more() {
    let service = Service::start(kind);
    let broker = broker(&service, &[("auth_cache.cache_ttl", "1")]);
    let client = log_in(&broker, "ann", "ann").expect("she may");
    let channel = client.channel();
    channel.publish_confirmed("amq.direct", "k", &["before"]);
    service.change(|asked| (200, if asked.path == "/resource" { "deny" } else { "allow" }.to_owned()));
    let text = "write access to exchange 'amq.direct' in vhost '/' refused for user 'ann'";
    loop {
        channel.publish("amq.direct", "k", "after");
        let next = format!("{:?}", channel.next("an ack or the close"));
        if next.contains("Close") {
            assert!(next.contains(text), "{next}");
            break;
        }
    }
}

#[test]
fn a_service_that_cannot_be_reached_lets_nobody_in() {
    super::logs::keep();
    let nowhere = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let url = format!("http://{nowhere}/user");
    let alone = Broker::start_with(&[("auth_backends.1", "http"), ("auth_http.user_path", &url)]).expect("a broker");
    let refusal = log_in(&alone, "guest", "guest").err().expect("a refusal");
    assert!(refusal.contains("ACCESS_REFUSED"), "{refusal}");
    super::logs::expect_line(&["user 'guest' cannot be looked up", &nowhere.to_string(), "cannot be reached"]);

    let with_another = Broker::start_with(&[
        ("auth_backends.1", "http"),
        ("auth_http.user_path", &url),
        ("auth_backends.2", "internal"),
    ]);
    log_in(&with_another.expect("a broker"), "guest", "guest").expect("the next one is asked").close();
}

#[test]
fn an_answer_that_cannot_be_read_or_comes_too_late_is_a_refusal() {
    let service = Service::start(kind);
    let broker = broker(&service, &[("auth_http.request_timeout", "200")]);
    let client = log_in(&broker, "ann", "ann").expect("she may");
    let channel = client.channel();
    for (status, answer) in [(200, "maybe".to_owned()), (500, "allow".to_owned()), (200, "x".repeat(1 << 20))] {
        service.change(move |_| (status, answer.clone()));
        let text = "configure access to queue 'q' in vhost '/' refused for user 'ann'";
        channel.refuses(queue_declare("q"), 403, text);
    }
    service.change(kind);
    service.hold("/resource");
    channel.refuses(queue_declare("q"), 403, "configure access to queue 'q' in vhost '/' refused for user 'ann'");
    service.release();
    channel.declare(queue_declare("q"));
}

#[test]
fn one_backend_may_know_the_password_and_another_the_permissions() {
    let service = Service::start(|asked| match asked.path.as_str() {
        "/user" if asked.get("password").is_empty() => (200, "allow".to_owned()),
        "/vhost" => (200, "allow".to_owned()),
        _ => (200, "deny".to_owned()),
    });
    let mixed = [("auth_backends.1.authn", "internal"), ("auth_backends.1.authz", "http")];
    let settings = settings(&service, &mixed);
    let lines: Vec<_> = settings.iter().skip(1).map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let broker = Broker::start_with(&lines).expect("a broker of this process");
    assert!(log_in(&broker, "guest", "wrong").is_err());
    let client = log_in(&broker, "guest", "guest").expect("the directory knows the password");
    let text = "configure access to queue 'q' in vhost '/' refused for user 'guest'";
    client.channel().refuses(queue_declare("q"), 403, text);
}

#[test]
fn the_cache_asks_once_for_all_logins() {
    let service = Service::start(kind);
    let more = [("auth_backends.1", "cache"), ("auth_cache.cached_backend", "http")];
    let broker = broker(&service, &more);
    for _ in 0..3 {
        log_in(&broker, "ann", "ann").expect("she may").channel().declare(queue_declare("q"));
    }
    assert_eq!((service.asked("/user").len(), service.asked("/resource").len()), (1, 1));
    for _ in 0..2 {
        assert!(log_in(&broker, "ann", "wrong").is_err());
    }
    assert_eq!(service.asked("/user").len(), 3, "refusals are not kept");
}

#[test]
fn the_http_api_asks_the_service_too() {
    let service = Service::start(kind);
    let settings = settings(&service, &[("auth_backends.2", "internal")]);
    let lines: Vec<_> = settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let broker = http::Broker::start_with(&lines);
    broker.put("/api/vhosts/other", "").expect(201);
    let ann = http::As::User("ann", "ann");
    let ask = |method: &str, path: &str, body: &str| broker.ask(ann, method, path, body);
    assert_eq!(broker.ask(http::As::User("ann", "wrong"), "GET", "/api/whoami", "").status, 401);
    assert_eq!(ask("GET", "/api/whoami", "").expect(200).json()["name"], "ann");
    ask("PUT", "/api/queues/%2F/q", "{}").expect(201);
    ask("PUT", "/api/queues/%2F/no-queue", "{}").expect_error(401, "configure access to queue 'no-queue'");
    ask("PUT", "/api/queues/other/q", "{}").expect_error(401, "not authorised");
    let seen = ask("GET", "/api/vhosts", "").expect(200).json();
    let names: Vec<_> = seen.as_array().expect("a list").iter().map(|vhost| vhost["name"].clone()).collect();
    assert_eq!(names, ["/"]);
    ask("GET", "/api/nodes", "").expect_error(401, "Not monitor user");
}

/// A service that lets in whoever asks over TLS with a certificate of that authority.
fn strict_service(authority: &Authority) -> String {
    let Identity { certfile, keyfile } = authority.server();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.file()).expect("a certificate")).expect("an authority");
    let provider = Arc::new(default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("versions").with_client_cert_verifier(verifier.build().expect("a verifier"));
    let certificate = CertificateDer::from_pem_file(certfile).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(keyfile).expect("a key");
    let config = Arc::new(config.with_single_cert(vec![certificate], key).expect("a configuration"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let tls = ServerConnection::new(Arc::clone(&config)).expect("a connection");
            let mut stream = BufReader::new(StreamOwned::new(tls, stream));
            let mut line = String::new();
            while stream.read_line(&mut line).is_ok_and(|count| count > 2) {
                line.clear();
            }
            let answer = "allow administrator";
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", answer.len());
            // A broker without a certificate has gone.
            let _ = write!(stream.get_mut(), "{head}{answer}");
            stream.get_mut().conn.send_close_notify();
            let _ = stream.get_mut().flush();
        }
    });
    format!("https://localhost:{port}")
}

#[test]
fn the_service_is_shown_a_certificate_whose_key_may_be_encrypted() {
    let authority = Authority::new("of a service");
    let url = strict_service(&authority);
    let key = KeyPair::from_pem(include_str!("key.pem")).expect("a key");
    let identity = authority.sign_key(key, "broker", &[], |_| ());
    std::fs::write(&identity.keyfile, include_str!("encrypted_key.pem")).expect("a file");
    let (ca, cert, key) = (text(&authority.file()), text(&identity.certfile), text(&identity.keyfile));
    let lines = |password| {
        let more = [
            ("auth_http.ssl_options.cacertfile", ca.as_str()),
            ("auth_http.ssl_options.certfile", cert.as_str()),
            ("auth_http.ssl_options.keyfile", key.as_str()),
            ("auth_http.ssl_options.password", password),
        ];
        let mut lines = vec![("auth_backends.1".to_owned(), "http".to_owned())];
        for what in ["user", "vhost", "resource", "topic"] {
            lines.push((format!("auth_http.{what}_path"), format!("{url}/{what}")));
        }
        lines.extend(more.map(|(key, value)| (key.to_owned(), value.to_owned())));
        lines
    };
    let good = lines("rabbit");
    let good: Vec<_> = good.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let broker = Broker::start_with(&good).expect("a broker of this process");
    log_in(&broker, "ann", "ann").expect("she may").channel();

    let bad = lines("hare");
    let bad: Vec<_> = bad.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let error = start_error(&bad);
    assert!(error.contains(&key) && error.contains("Is the password right?") && !error.contains("hare"), "{error}");
    let error = start_error(&good.iter().filter(|(key, _)| !key.ends_with("keyfile")).copied().collect::<Vec<_>>());
    assert!(error.contains("auth_http.ssl_options.keyfile must be set"), "{error}");
}
