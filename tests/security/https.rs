//! The HTTP API and the metrics over TLS, and ctl as their client.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use tokio_rustls::rustls::ClientConfig;

use super::certificates::{Authority, Identity, text};
use super::logs;
use super::tls::{connect_to, start_error};
use crate::compat::harness::Broker;

/// A broker whose HTTP API and metrics are served with TLS only.
fn broker(authority: &Authority, more: &[(&str, &str)]) -> Broker {
    logs::keep();
    let Identity { certfile, keyfile } = authority.server();
    let (ca, cert, key) = (text(&authority.file()), text(&certfile), text(&keyfile));
    let mut lines = vec![
        ("management.tcp", "none"),
        ("management.ssl.port", "0"),
        ("management.ssl.ip", "127.0.0.1"),
        ("management.ssl.cacertfile", ca.as_str()),
        ("management.ssl.certfile", cert.as_str()),
        ("management.ssl.keyfile", key.as_str()),
        ("prometheus.tcp", "none"),
        ("prometheus.ssl.port", "0"),
        ("prometheus.ssl.ip", "127.0.0.1"),
        ("prometheus.ssl.certfile", cert.as_str()),
        ("prometheus.ssl.keyfile", key.as_str()),
    ];
    lines.extend_from_slice(more);
    Broker::start_with(&lines).expect("a broker of this process")
}

fn address(broker: &Broker, protocol: &str) -> SocketAddr {
    broker.node().addr_of(protocol).expect("a listener")
}

/// The answer to a request, with its head.
fn get(address: SocketAddr, config: Arc<ClientConfig>, path: &str) -> std::io::Result<String> {
    let mut stream = connect_to(address, config)?;
    let login = "Basic Z3Vlc3Q6Z3Vlc3Q=";
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: {login}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    match stream.read_to_string(&mut answer) {
        Err(error) if answer.is_empty() => Err(error),
        _ => Ok(answer),
    }
}

#[test]
fn the_http_api_and_the_metrics_are_served_over_tls() {
    let authority = Authority::new("https");
    let broker = broker(&authority, &[]);
    let of = |protocol, path| get(address(&broker, protocol), authority.client_config(None), path).expect("an answer");
    let answer = of("https", "/api/whoami");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"guest\""), "{answer}");
    assert!(of("https", "/api/overview").contains("\"protocol\":\"https/prometheus\""));
    assert!(of("https/prometheus", "/metrics").contains("rabbitmq_build_info"));
    assert!(broker.node().http_addr().is_none());
}

#[test]
fn a_client_certificate_can_be_asked_for() {
    let (authority, other) = (Authority::new("https clients"), Authority::new("strangers"));
    let more = [("management.ssl.verify", "verify_peer"), ("management.ssl.fail_if_no_peer_cert", "true")];
    let broker = broker(&authority, &more);
    let of = |identity| get(address(&broker, "https"), authority.client_config(identity), "/api/whoami");
    let (good, bad) = (authority.client("operator"), other.client("stranger-of-https"));
    assert!(of(Some(&good)).expect("an answer").starts_with("HTTP/1.1 200"));
    of(None).expect_err("a refusal");
    of(Some(&bad)).expect_err("a refusal");
    logs::expect_line(&["CN=stranger-of-https", "client certificate refused"]);
}

#[test]
fn certificates_are_read_again() {
    let (authority, next) = (Authority::new("https before"), Authority::new("https after"));
    let broker = broker(&authority, &[]);
    let Identity { certfile, keyfile } = next.server();
    std::fs::copy(certfile, authority.path("server.pem")).expect("a copy");
    std::fs::copy(keyfile, authority.path("server.key")).expect("a copy");
    assert_eq!(broker.node().broker().reload().expect("the configuration is valid").failures, [""; 0]);
    for protocol in ["https", "https/prometheus"] {
        get(address(&broker, protocol), next.client_config(None), "/").expect("an answer");
        get(address(&broker, protocol), authority.client_config(None), "/").expect_err("a refusal");
    }
}

#[test]
fn certificates_that_end_soon_are_told_of_on_every_listener() {
    let authority = Authority::new("https that ends");
    let broker = broker(&authority, &[]);
    let check = |time: &str| {
        let path = format!("/api/health/checks/certificate-expiration/{time}");
        get(address(&broker, "https"), authority.client_config(None), &path).expect("an answer")
    };
    assert!(check("1/days").starts_with("HTTP/1.1 200"));
    // Certificates of the tests hold until the year 4096.
    let answer = check("3000/years");
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    for protocol in ["https", "https/prometheus"] {
        assert!(answer.contains(&format!("\"protocol\":\"{protocol}\"")), "{answer}");
    }
    assert!(answer.contains("server.pem") && answer.contains("certfile_expires_on"), "{answer}");

    // Files are looked at as they are now.
    let Identity { certfile, .. } = authority.expired("ended");
    std::fs::copy(certfile, authority.path("server.pem")).expect("a copy");
    assert!(check("1/days").starts_with("HTTP/1.1 503"));
}

#[test]
fn ctl_believes_the_authority_that_it_is_told_of() {
    let authority = Authority::new("ctl");
    let broker = broker(&authority, &[]);
    let url = format!("https://localhost:{}", address(&broker, "https").port());
    let ctl = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
        let run = command.args(["ctl", "--url", &url]).args(more).args(["-q", "list_vhosts"]).output().expect("a run");
        (run.status.success(), String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned())
    };
    let ca = text(&authority.file());
    assert_eq!(ctl(&["--cacert", &ca]), (true, "name\n/\n".to_owned()));
    assert_eq!(ctl(&["--insecure"]), (true, "name\n/\n".to_owned()));
    let (succeeded, said) = ctl(&[]);
    assert!(!succeeded && said.contains("no TLS connection") && said.contains("--cacert"), "{said}");
}

#[test]
fn a_listener_without_a_certificate_does_not_start() {
    let error = start_error(&[("management.ssl.port", "0")]);
    assert!(error.contains("management.ssl.certfile must be set"), "{error}");
}
