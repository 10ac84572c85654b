//! EXTERNAL: the client's certificate says who it is. And logins that fail again and again.

use std::time::{Duration, Instant};

use super::certificates::Authority;
use super::tls::{broker, connect};
use crate::compat::harness::client::capable_of;
use crate::compat::harness::wire::Wire;
use crate::compat::harness::{Broker, Client, Method, Options, connection_open, start_ok, tune_ok};

const ASKS: [(&str, &str); 3] = [
    ("ssl_options.verify", "verify_peer"),
    ("ssl_options.fail_if_no_peer_cert", "true"),
    ("auth_mechanisms.1", "EXTERNAL"),
];

/// Logs in with a certificate; the refusal's text when that fails.
fn log_in(broker: &Broker, authority: &Authority, name: &str) -> Result<Client, String> {
    let config = authority.client_config(Some(&authority.client(name)));
    let client = Client::over(Wire::over(Box::new(connect(broker, config).expect("a handshake"))));
    assert_eq!(client.greet().mechanisms.as_bytes(), b"EXTERNAL");
    client.send(start_ok(capable_of(&["authentication_failure_close"]), "EXTERNAL", b""));
    match client.wire().next_method(0, "tune or close") {
        Some(method) if format!("{method:?}").contains("Tune") => {}
        other => return Err(format!("{other:?}")),
    }
    client.send(tune_ok(2047, 131_072, 0));
    client.call(connection_open("/"));
    Ok(client)
}

#[test]
fn a_certificate_is_a_login_by_its_whole_name_or_its_common_name() {
    let authority = Authority::new("external");
    let by_subject = broker(&authority, &ASKS);
    by_subject.put_user("CN=worker,O=Burrow");
    log_in(&by_subject, &authority, "worker").expect("there is such a user").close();

    let by_name = broker(&authority, &[ASKS[0], ASKS[1], ASKS[2], ("ssl_cert_login_from", "common_name")]);
    by_name.put_user("worker");
    log_in(&by_name, &authority, "worker").expect("there is such a user").close();
    let refusal = log_in(&by_name, &authority, "nobody").err().expect("there is no such user");
    assert!(refusal.contains("ACCESS_REFUSED") && refusal.contains("EXTERNAL"), "{refusal}");
    super::logs::expect_line(&["there is no user 'nobody'", "CN=nobody,O=Burrow"]);
}

#[test]
fn refusals_are_slower_after_some_and_the_right_password_is_not() {
    let broker = Broker::start_with(&[]).expect("a broker of this process");
    let refuse = || {
        let client = broker.socket();
        client.greet();
        let start = Instant::now();
        client.send(start_ok(capable_of(&["authentication_failure_close"]), "PLAIN", b"\0guest\0wrong"));
        client.expect_method("connection.close");
        start.elapsed()
    };
    for _ in 0..3 {
        refuse();
    }
    let (fourth, fifth) = (refuse(), refuse());
    assert!(fourth >= Duration::from_millis(250) && fifth >= Duration::from_millis(500), "{fourth:?} {fifth:?}");
    let start = Instant::now();
    broker.socket().log_in(&Options::default());
    assert!(start.elapsed() < fifth, "who knows the password does not wait");
}

#[test]
fn the_demonstration_mechanism_is_served_when_it_is_named() {
    let broker = Broker::start_with(&[("auth_mechanisms.1", "PLAIN"), ("auth_mechanisms.2", "RABBIT-CR-DEMO")]);
    let broker = broker.expect("a broker of this process");
    let answer = |answer: &[u8]| {
        let client = broker.socket();
        assert_eq!(client.greet().mechanisms.as_bytes(), b"PLAIN RABBIT-CR-DEMO");
        client.send(start_ok(capable_of(&["authentication_failure_close"]), "RABBIT-CR-DEMO", b"guest"));
        let secure = format!("{:?}", client.expect_method("connection.secure"));
        assert!(secure.contains(&format!("{:?}", b"Please tell me your password")), "{secure}");
        client.send(Method::new(10, 21).long_text(answer));
        let next = format!("{:?}", client.wire().next_method(0, "tune or close"));
        (client, next)
    };
    let (client, next) = answer(b"My password is guest");
    assert!(next.contains("Tune"), "{next}");
    client.send(tune_ok(2047, 131_072, 0));
    client.call(connection_open("/"));
    client.close();
    for wrong in [&b"My password is hare"[..], b"guest", b""] {
        let (_, next) = answer(wrong);
        assert!(next.contains("ACCESS_REFUSED"), "{next}");
    }
}
