//! Tokens as logins (OAuth 2).

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value as Json, json};

use super::service::{Asked, Service};
use crate::compat::harness::client::capable_of;
use crate::compat::harness::{
    Broker, Client, basic_consume, basic_publish, confirm_select, connection_open, props, queue_declare, start_ok,
    tune_ok, update_secret,
};
use crate::http::harness as http;

/// Whoever issues tokens.
struct Issuer {
    id: &'static str,
    key: rcgen::KeyPair,
    file: tempfile::NamedTempFile,
}

impl Issuer {
    fn new(id: &'static str) -> Self {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), key.public_key_pem()).expect("the key is written");
        Self { id, key, file }
    }

    fn sign(&self, claims: &Json) -> String {
        let encode = |json: &Json| URL_SAFE_NO_PAD.encode(json.to_string());
        let header = json!({ "alg": "ES256", "typ": "JWT", "kid": self.id });
        let signed = format!("{}.{}", encode(&header), encode(claims));
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.key.serialize_der(), &random);
        let signature = key.expect("the key").sign(&random, signed.as_bytes()).expect("a signature");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A token of this user for so many seconds.
    fn token(&self, user: &str, seconds: i64, scopes: &str) -> String {
        let expires = i64::try_from(now()).expect("a date") + seconds;
        self.sign(&json!({ "sub": user, "aud": "rabbitmq", "exp": expires, "scope": scopes }))
    }

    fn jwk(&self) -> Json {
        let point = self.key.public_key_raw();
        let (x, y) = point[1..].split_at(32);
        let [x, y] = [x, y].map(|part| URL_SAFE_NO_PAD.encode(part));
        json!({ "kty": "EC", "crv": "P-256", "kid": self.id, "use": "sig", "x": x, "y": y })
    }

    fn settings(&self) -> [(String, String); 3] {
        [
            ("auth_backends.1".to_owned(), "rabbit_auth_backend_oauth2".to_owned()),
            ("auth_oauth2.resource_server_id".to_owned(), "rabbitmq".to_owned()),
            (format!("auth_oauth2.signing_keys.{}", self.id), self.file.path().display().to_string()),
        ]
    }

    fn broker(&self, more: &[(&str, &str)]) -> Broker {
        let settings = self.settings();
        let lines = settings.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        Broker::start_with(&lines.chain(more.iter().copied()).collect::<Vec<_>>()).expect("a broker of this process")
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs()
}

const ALL: &str = "rabbitmq.read:*/* rabbitmq.write:*/* rabbitmq.configure:*/*";

fn log_in(broker: &Broker, token: &str) -> Result<Client, String> {
    let client = broker.socket();
    client.greet();
    let response = format!("\0\0{token}");
    let capabilities = capable_of(&["authentication_failure_close", "consumer_cancel_notify"]);
    client.send(start_ok(capabilities, "PLAIN", response.as_bytes()));
    let answer = format!("{:?}", client.wire().next_method(0, "tune or close"));
    if !answer.contains("Tune") {
        return Err(answer);
    }
    client.send(tune_ok(2047, 131_072, 0));
    client.call(connection_open("/"));
    Ok(client)
}

#[test]
fn a_token_is_a_login_and_its_scopes_are_the_permissions() {
    let issuer = Issuer::new("k1");
    let broker = issuer.broker(&[]);
    let scopes =
        "rabbitmq.configure:%2F/mine-* rabbitmq.write:*/mine-*/* rabbitmq.read:*/* rabbitmq.write:*/amq.default";
    let channel = log_in(&broker, &issuer.token("ann", 60, scopes)).expect("she may").channel();
    channel.declare(queue_declare("mine-1"));
    channel.publish_confirmed("", "mine-1", &["a"]);
    assert_eq!(channel.drain("mine-1"), ["a"]);
    let text = "configure access to queue 'other' in vhost '/' refused for user 'ann'";
    channel.refuses(queue_declare("other"), 403, text);
    let text = "write access to exchange 'amq.direct' in vhost '/' refused for user 'ann'";
    channel.refuses_message(basic_publish("amq.direct", ""), &props(), "x", 403, text);
    // Nobody who is not issued a token comes in, whatever the directory says.
    assert!(log_in(&broker, "guest").is_err());
}

#[test]
fn tokens_that_do_not_count_are_refused_with_a_reason_in_the_log() {
    super::logs::keep();
    let (issuer, other) = (Issuer::new("known"), Issuer::new("known"));
    let broker = issuer.broker(&[]);
    let unsigned = {
        let token = issuer.token("eve-unsigned", 60, ALL);
        let claims = token.split('.').nth(1).expect("claims").to_owned();
        format!("{}.{claims}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#))
    };
    let cases = [
        (issuer.token("eve", -5, ALL), "Provided JWT token has expired"),
        (other.token("eve", 60, ALL), "its signature is wrong"),
        (Issuer::new("foreign").token("eve", 60, ALL), "there is no key 'foreign'"),
        (unsigned, "of the kind 'none', which is not accepted"),
        (issuer.sign(&json!({ "sub": "eve", "aud": "x", "exp": now() + 60 })), "does not name 'rabbitmq'"),
    ];
    for (token, reason) in cases {
        let refusal = log_in(&broker, &token).err().expect("a refusal");
        assert!(refusal.contains("ACCESS_REFUSED"), "{refusal}");
        super::logs::expect_line(&["login refused", reason]);
    }
}

#[test]
fn a_new_token_takes_the_place_of_the_old_one() {
    let issuer = Issuer::new("k1");
    let broker = issuer.broker(&[]);
    let client = log_in(&broker, &issuer.token("ann", 60, ALL)).expect("she may");
    let channel = client.channel();
    channel.declare(queue_declare("in"));
    channel.declare(queue_declare("out"));
    channel.consume(basic_consume("in", "stays"));
    channel.consume(basic_consume("out", "goes"));
    channel.publish_confirmed("amq.direct", "k", &["cached", "route"]);
    client.call(update_secret(&issuer.token("ann", 60, "rabbitmq.read:*/in")));
    let cancel = format!("{:?}", channel.expect_method("basic.cancel"));
    assert!(cancel.contains("Cancel") && cancel.contains("goes"), "{cancel}");
    let text = "write access to exchange 'amq.direct' in vhost '/' refused for user 'ann'";
    channel.refuses_message(basic_publish("amq.direct", "k"), &props(), "x", 403, text);

    let text = "New secret was refused by one of the backends";
    client.ends_connection(update_secret(&issuer.token("bob", 60, ALL)), 530, text);
    let client = log_in(&broker, &issuer.token("ann", 60, ALL)).expect("she may");
    client.ends_connection(update_secret(&issuer.token("ann", -1, ALL)), 530, text);
}

#[test]
fn an_expired_token_allows_nothing_until_it_is_renewed() {
    let issuer = Issuer::new("k1");
    let broker = issuer.broker(&[]);
    let client = log_in(&broker, &issuer.token("ann", 2, ALL)).expect("she may");
    let channel = client.channel();
    channel.call(confirm_select());
    let refusal = loop {
        // As long as it is confirmed, the route is in the cache.
        channel.publish("amq.direct", "k", "x");
        let next = format!("{:?}", channel.next("an ack or the close"));
        if next.contains("Close") {
            break next;
        }
    };
    assert!(
        refusal.contains("backend rabbit_auth_backend_oauth2 returned an error: Provided JWT token has expired"),
        "{refusal}"
    );
    client.call(update_secret(&issuer.token("ann", 60, ALL)));
    client.channel().publish_confirmed("amq.direct", "k", &["again"]);
}

#[test]
fn keys_are_fetched_when_they_are_needed_and_not_for_every_token_that_names_one() {
    let (first, second) = (Issuer::new("first"), Issuer::new("second"));
    let keys = |issuers: &[&Issuer]| {
        let set = json!({ "keys": issuers.iter().map(|issuer| issuer.jwk()).collect::<Vec<_>>() }).to_string();
        move |_: &Asked| (200, set.clone())
    };
    let service = Service::start(keys(&[&first, &second]));
    let url = service.url("/keys");
    let lines =
        [("auth_backends.1", "oauth2"), ("auth_oauth2.resource_server_id", "rabbitmq"), ("auth_oauth2.jwks_url", &url)];
    let broker = Broker::start_with(&lines).expect("a broker of this process");
    assert_eq!(service.asked("/keys").len(), 0, "the broker starts without the issuer");
    log_in(&broker, &first.token("ann", 60, ALL)).expect("she may").close();
    log_in(&broker, &second.token("bob", 60, ALL)).expect("he may").close();
    for _ in 0..5 {
        assert!(log_in(&broker, &Issuer::new("made up").token("eve", 60, ALL)).is_err());
    }
    assert_eq!(service.asked("/keys").len(), 1);
}

#[test]
fn the_issuer_says_where_its_keys_are() {
    let issuer = Issuer::new("k");
    let keys = json!({ "keys": [issuer.jwk()] }).to_string();
    let of_keys = Service::start(move |_| (200, keys.clone()));
    let document = json!({ "jwks_uri": of_keys.url("/keys") }).to_string();
    let discovery = Service::start(move |_| (200, document.clone()));
    let url = discovery.url("/realm/");
    let lines =
        [("auth_backends.1", "oauth2"), ("auth_oauth2.resource_server_id", "rabbitmq"), ("auth_oauth2.issuer", &url)];
    let broker = Broker::start_with(&lines).expect("a broker of this process");
    log_in(&broker, &issuer.token("ann", 60, ALL)).expect("she may").close();
    assert_eq!(discovery.asked("/realm/.well-known/openid-configuration").len(), 1);
}

#[test]
fn the_http_api_takes_tokens() {
    let issuer = Issuer::new("k1");
    let settings = issuer.settings();
    let mut lines: Vec<_> = settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    lines.push(("auth_backends.2", "internal"));
    let broker = http::Broker::start_with(&lines);
    let ask = |token: &str, method: &str, path: &str| {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\nauthorization: Bearer {token}\r\ncontent-length: 2\r\n\r\n{{}}"
        );
        broker.raw(head.as_bytes())
    };
    let admin = issuer.token("root", 60, &format!("{ALL} rabbitmq.tag:administrator"));
    ask(&admin, "GET", "/api/overview").expect(200);
    ask(&admin, "PUT", "/api/vhosts/made").expect(201);
    ask(&admin, "PUT", "/api/queues/made/q").expect(201);
    let user = issuer.token("ann", 60, "rabbitmq.tag:management rabbitmq.configure:made/mine");
    ask(&user, "PUT", "/api/queues/made/mine").expect(201);
    ask(&user, "PUT", "/api/queues/made/other").expect_error(401, "configure access to queue 'other'");
    ask(&user, "GET", "/api/queues/%2F").expect_error(401, "not authorised");
    ask(&user, "GET", "/api/nodes").expect_error(401, "Not monitor user");
    ask(&issuer.token("ann", 60, ALL), "GET", "/api/whoami").expect_error(401, "Not management user");
    assert_eq!(ask(&issuer.token("root", -1, "rabbitmq.tag:administrator"), "GET", "/api/whoami").status, 401);
    assert_eq!(ask("guest", "GET", "/api/whoami").status, 401);
    assert_eq!(broker.get("/api/whoami").expect(200).json()["name"], "guest");
}
