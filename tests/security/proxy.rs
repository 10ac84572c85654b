//! Clients behind a proxy that says who they are.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::certificates::{Authority, text};
use super::logs;
use super::tls::secured;
use crate::compat::harness::client::capable_of;
use crate::compat::harness::wire::Wire;
use crate::compat::harness::{Broker, Client, Options, eventually, start_ok};

fn broker(more: &[(&str, &str)]) -> Broker {
    logs::keep();
    let mut lines = vec![("proxy_protocol", "true")];
    lines.extend_from_slice(more);
    Broker::start_with(&lines).expect("a broker of this process")
}

/// A socket on which a proxy has said who connects.
fn socket(address: SocketAddr, header: &[u8]) -> TcpStream {
    let mut socket = Wire::socket(address);
    socket.write_all(header).expect("a write");
    socket
}

fn address(broker: &Broker) -> SocketAddr {
    broker.node().amqp_addrs()[0]
}

fn line(source: &str) -> String {
    format!("PROXY TCP4 {source} 192.0.2.1 40000 5672\r\n")
}

/// Version 2, for 203.0.113.9:50000, with what it says of the client's TLS.
fn binary(tls: &[u8]) -> Vec<u8> {
    let rest = [&[203, 0, 113, 9, 192, 0, 2, 1, 0xc3, 0x50, 0x16, 0x28][..], tls].concat();
    let length = u16::try_from(rest.len()).expect("a length").to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11", &length[..], &rest].concat()
}

fn names(broker: &Broker) -> Vec<String> {
    broker.node().connections().all().iter().map(|connection| connection.name.to_string()).collect()
}

/// A client behind a proxy, if the broker lets it in.
fn log_in(address: SocketAddr, header: &[u8]) -> Result<Client, String> {
    let client = Client::over(Wire::over(Box::new(socket(address, header))));
    client.greet();
    client.send(start_ok(capable_of(&["authentication_failure_close"]), "PLAIN", b"\0guest\0guest"));
    let answer = client.wire().next_method(0, "tune or close");
    match answer {
        Some(method) if format!("{method:?}").contains("Tune") => Ok(client),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn the_client_is_who_the_header_says() {
    let broker = broker(&[("loopback_users.guest", "false")]);
    let to = address(&broker);
    let of = |header: &[u8]| {
        let client = Client::over(Wire::over(Box::new(socket(to, header))));
        client.handshake(&Options::default());
        client
    };
    let clients = [of(line("198.51.100.7").as_bytes()), of(&binary(&[])), of(b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n")];
    let mut expected =
        ["198.51.100.7:40000 -> 192.0.2.1:5672", "203.0.113.9:50000 -> 192.0.2.1:5672", "[2001:db8::7]:1 -> [::1]:2"];
    let mut found = names(&broker);
    found.sort();
    expected.sort_unstable();
    assert_eq!(found, expected);
    logs::expect_line(&["198.51.100.7:40000 -> 192.0.2.1:5672", "user 'guest' entered vhost '/'"]);
    clients.into_iter().for_each(Client::close);
    // A health check of the proxy's own.
    let local = of(b"PROXY UNKNOWN\r\n");
    assert!(names(&broker)[0].starts_with("127.0.0.1:"));
    local.close();
}

#[test]
fn guest_is_let_in_from_where_the_header_says_only() {
    let broker = broker(&[]);
    let refusal = log_in(address(&broker), line("198.51.100.8").as_bytes()).err().expect("a refusal");
    assert!(refusal.contains("ACCESS_REFUSED"), "{refusal}");
    logs::expect_line(&["198.51.100.8:40000", "can only connect via localhost"]);
    log_in(address(&broker), line("127.0.0.1").as_bytes()).expect("guest from this machine");
}

#[test]
fn nobody_is_served_without_a_header() {
    let broker = broker(&[]);
    let cases: [(&[u8], &str); 3] = [
        (b"AMQP\0\0\x09\x01", "does not begin with a PROXY protocol header"),
        (b"PROXY TCP4 1.2.3.4\r\n", "malformed"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", "longer than 4096 bytes"),
    ];
    for (bytes, reason) in cases {
        let mut socket = socket(address(&broker), bytes);
        let local = socket.local_addr().expect("an address").to_string();
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        assert!(answer.is_empty(), "{answer:?}");
        logs::expect_line(&[&local, reason]);
    }
    // Whoever leaves at once is no trouble.
    drop(socket(address(&broker), b"PROX"));
    eventually("no connection", || broker.node().connections().count() == 0);
}

#[test]
fn a_header_comes_before_tls_and_may_tell_of_the_proxys_own() {
    let authority = Authority::new("proxied");
    let identity = authority.server();
    let (cert, key) = (text(&identity.certfile), text(&identity.keyfile));
    let broker = broker(&[
        ("listeners.ssl.default", "127.0.0.1:0"),
        ("ssl_options.certfile", &cert),
        ("ssl_options.keyfile", &key),
        ("loopback_users.guest", "false"),
    ]);
    let behind = socket(broker.node().amqps_addrs()[0], line("198.51.100.9").as_bytes());
    let stream = secured(behind, authority.client_config(None)).expect("a handshake");
    let through = Client::over(Wire::over(Box::new(stream)));
    through.handshake(&Options::default());
    let [connection] = &broker.node().connections().all()[..] else { panic!("one connection") };
    assert_eq!(&*connection.name, "198.51.100.9:40000 -> 192.0.2.1:5672");
    assert_eq!(connection.about.secured.as_ref().expect("TLS").protocol, "tlsv1.3");
    through.close();

    let tls = b"\x20\0\x0f\x01\0\0\0\0\x21\0\x07TLSv1.2";
    let ended = Client::over(Wire::over(Box::new(socket(address(&broker), &binary(tls)))));
    ended.handshake(&Options::default());
    eventually("the other one has left", || broker.node().connections().count() == 1);
    let [connection] = &broker.node().connections().all()[..] else { panic!("one connection") };
    assert_eq!(connection.about.secured.as_ref().expect("TLS").protocol, "tlsv1.2");
}
