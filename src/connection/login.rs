//! What the handshake needs of the broker: the greeting, credentials, virtual hosts and limits.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use amq_protocol::protocol::connection::{AMQPMethod, Start, StartOk, Tune};
use amq_protocol::protocol::{AMQPClass, connection};

use super::entrance::Client;
use super::handshake::Tuning;
use super::registry::{Limits, Registered};
use crate::auth::{self, Login, User, sasl};
use crate::backends::Claim;
use crate::frames::{FRAME_MIN_SIZE, Refusal, ReplyCode, Table, Value};
use crate::rate;
use crate::vhost::{Broker, Vhost};

/// The RabbitMQ version whose behaviour clients may count on.
pub const COMPATIBLE_VERSION: &str = "3.13.7";

/// Largest frame of a login that may hold a token.
const TOKEN_FRAME: u32 = 64 << 10;

/// What a client can rely on, as RabbitMQ names it.
const CAPABILITIES: [&str; 9] = [
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
];

/// The broker's first method.
pub fn greeting(broker: &Broker) -> AMQPClass {
    let config = &broker.config;
    let capabilities: Table = CAPABILITIES.iter().map(|name| (*name, Value::Bool(true))).collect();
    let properties: Table = [
        ("capabilities", Value::Table(capabilities)),
        ("cluster_name", Value::text(broker.cluster_name())),
        ("copyright", Value::text("Copyright (c) The Leveret Authors")),
        ("information", Value::text("Licensed under MIT OR Apache-2.0")),
        ("leveret_version", Value::text(env!("CARGO_PKG_VERSION"))),
        ("platform", Value::text("Rust")),
        ("product", Value::text(config.identity.product_name.as_deref().unwrap_or("Leveret"))),
        ("version", Value::text(version(broker))),
    ]
    .into_iter()
    .collect();
    AMQPClass::Connection(AMQPMethod::Start(Start {
        version_major: 0,
        version_minor: 9,
        server_properties: (&properties).into(),
        mechanisms: sasl::offer(&mechanisms(broker)).into(),
        locales: "en_US".into(),
    }))
}

/// The version that clients and tools are told.
pub fn version(broker: &Broker) -> &str {
    broker.config.identity.product_version.as_deref().unwrap_or(COMPATIBLE_VERSION)
}

/// The mechanisms of the configuration that exist, or all.
fn mechanisms(broker: &Broker) -> Vec<auth::Mechanism> {
    let named: Vec<_> = broker.config.auth.mechanisms.iter().filter_map(|name| auth::Mechanism::parse(name)).collect();
    if named.is_empty() { auth::Mechanism::USUAL.to_vec() } else { named }
}

/// What is offered after a successful login.
pub fn offer(broker: &Broker) -> Tuning {
    let limits = &broker.limits();
    Tuning { channel_max: broker.channel_max.load(Relaxed), frame_max: limits.frame_max, heartbeat: limits.heartbeat }
}

/// `connection.tune` for an offer.
pub fn tune(offer: Tuning) -> AMQPClass {
    let Tuning { channel_max, frame_max, heartbeat } = offer;
    AMQPClass::Connection(AMQPMethod::Tune(Tune { channel_max, frame_max, heartbeat }))
}

/// What the client has said of itself.
#[derive(Clone, Debug, Default)]
pub struct ClientProperties {
    pub cancel_notify: bool,
    pub blocked: bool,
    pub authentication_failure_close: bool,
    pub connection_name: Option<String>,
    pub product: Option<String>,
    /// All of it, and how the client has logged in.
    pub properties: Table,
    pub mechanism: String,
}

impl ClientProperties {
    pub fn read(start_ok: &StartOk) -> Self {
        let properties = Table::from(&start_ok.client_properties);
        let text = |key| properties.get(key).and_then(Value::as_text).map(std::borrow::Cow::into_owned);
        let can = |name| match properties.get("capabilities") {
            Some(Value::Table(capabilities)) => capabilities.get(name) == Some(&Value::Bool(true)),
            _ => false,
        };
        let read = Self {
            cancel_notify: can("consumer_cancel_notify"),
            blocked: can("connection.blocked"),
            authentication_failure_close: can("authentication_failure_close"),
            connection_name: text("connection_name"),
            product: text("product"),
            mechanism: start_ok.mechanism.to_string(),
            properties: Table::default(),
        };
        Self { properties, ..read }
    }

    /// Celery's client asks who the broker is. Of any but RabbitMQ it expects that `basic.qos` means what AMQP says: a
    /// limit of the whole channel, also for consumers that are there already. RabbitMQ's meaning would leave its workers
    /// idle while tasks with an ETA use up the prefetch.
    pub fn means_channel_wide_qos(&self, broker: &Broker) -> bool {
        let poses_as_rabbitmq = broker.config.identity.product_name.as_deref() == Some("RabbitMQ");
        self.product.as_deref() == Some("py-amqp") && !poses_as_rabbitmq
    }
}

/// Why a login has failed.
pub enum LoginFailure {
    /// Wrong name or password, or not from here.
    Refused { reason: String, mechanism: String },
    /// The mechanism or its response cannot be understood: the socket is closed without a word, after a while.
    Unusable(String),
}

impl LoginFailure {
    /// What a client that asked for it is told.
    pub fn refusal(mechanism: &str) -> Refusal {
        Refusal::access_refused(format!(
            "Login was refused using authentication mechanism {mechanism}. For details see the broker logfile."
        ))
    }
}

/// The challenge that a client has to answer before its credentials are complete, if its mechanism has one.
pub fn challenge(broker: &Broker, start_ok: &StartOk) -> Option<AMQPClass> {
    let mechanism = auth::Mechanism::parse(start_ok.mechanism.as_str())?;
    let has_one = mechanism == auth::Mechanism::CrDemo && mechanisms(broker).contains(&mechanism);
    let challenge = sasl::CHALLENGE.into();
    has_one.then_some(AMQPClass::Connection(AMQPMethod::Secure(connection::Secure { challenge })))
}

/// How the credentials of `start-ok` are checked.
pub enum Check {
    /// It is done.
    Done(Login),
    /// Somebody outside has to be asked, by [`ask`].
    Ask(Claim),
}

/// Checks the credentials of `start-ok`, as far as that goes at once.
///
/// # Errors
/// Why they are not accepted.
pub fn authenticate(broker: &Broker, start_ok: &StartOk, client: &Client) -> Result<Check, LoginFailure> {
    let name = start_ok.mechanism.as_str();
    let offered = |m: &auth::Mechanism| mechanisms(broker).contains(m);
    let Some(mechanism) = auth::Mechanism::parse(name).filter(offered) else {
        return Err(LoginFailure::Unusable(format!("unknown authentication mechanism '{name}'")));
    };
    let credentials = mechanism
        .credentials(start_ok.response.as_bytes())
        .map_err(|e| LoginFailure::Unusable(format!("{name} login: {e}")))?;
    let refused = |reason: String| LoginFailure::Refused { reason, mechanism: name.to_owned() };
    let peer = client.peer.ip();
    let claim = match mechanism {
        auth::Mechanism::Plain | auth::Mechanism::AmqPlain | auth::Mechanism::CrDemo => {
            Claim { name: credentials.username, password: Some(credentials.password), peer }
        }
        auth::Mechanism::External => {
            Claim { name: by_certificate(broker, client).map_err(refused)?, password: None, peer }
        }
        auth::Mechanism::Anonymous => {
            let name = broker.config.auth.anonymous_user.clone();
            let name = name.ok_or_else(|| refused("anonymous_login_user is none".to_owned()))?;
            Claim { name, password: None, peer }
        }
    };
    if !broker.backends.are_internal() {
        return Ok(Check::Ask(claim));
    }
    let user = match &claim.password {
        Some(password) => broker.directory.authenticate(&claim.name, password).map_err(|e| refused(e.to_string())),
        None => broker.directory.user(&claim.name).ok_or_else(|| refused(no_user(mechanism, &claim.name, client))),
    };
    admit(broker, Login::internal(user?), &claim, client).map(Check::Done).map_err(refused)
}

/// Goes through the backends.
///
/// # Errors
/// Why none of them lets the user in.
pub async fn ask(broker: &Broker, claim: &Claim, client: &Client) -> Result<Login, String> {
    let login = broker.backends.log_in(&broker.directory, &broker.clock, claim).await?;
    admit(broker, login, claim, client)
}

/// Some users may log in from this machine only.
fn admit(broker: &Broker, login: Login, claim: &Claim, client: &Client) -> Result<Login, String> {
    let name = &login.user.name;
    if claim.password.is_some() {
        broker.attempts.lock().succeeded(name);
    }
    if broker.directory.is_loopback_only(name) && !client.peer.ip().is_loopback() {
        return Err(format!("user '{name}' can only connect via localhost"));
    }
    Ok(login)
}

fn no_user(mechanism: auth::Mechanism, name: &str, client: &Client) -> String {
    let names = client.secured.as_ref().and_then(|secured| secured.names.as_ref());
    match (mechanism, names) {
        (auth::Mechanism::External, Some(names)) => {
            format!("there is no user '{name}' for the certificate '{}'", names.subject)
        }
        _ => format!("there is no user '{name}' for anonymous logins"),
    }
}

/// The name in a client certificate that the handshake has checked.
fn by_certificate(broker: &Broker, client: &Client) -> Result<String, String> {
    let names = client.secured.as_ref().and_then(|secured| secured.names.as_ref());
    let Some(names) = names else {
        return Err("no client certificate: EXTERNAL needs TLS with ssl_options.verify = verify_peer".to_owned());
    };
    let missing = || format!("the certificate '{}' has no name of the kind of ssl_cert_login_from", names.subject);
    names.user(broker.config.auth.cert_login).ok_or_else(missing)
}

/// The user name that a client has claimed; empty where there is none.
pub fn claimed_user(start_ok: &StartOk) -> String {
    let claimed = auth::Mechanism::parse(start_ok.mechanism.as_str());
    let claimed = claimed.and_then(|mechanism| mechanism.credentials(start_ok.response.as_bytes()).ok());
    claimed.map(|credentials| credentials.username).unwrap_or_default()
}

/// Counts a login that was refused.
pub fn count_failed(broker: &Broker, user: &str, client: &Client) {
    broker.logins.note(auth::Protocol::Amqp, client.peer.ip(), user, false);
}

/// Notes a login that was refused, and says how long its answer has to wait.
pub fn failed(broker: &Broker, start_ok: &StartOk, client: &Client) -> Duration {
    let user = claimed_user(start_ok);
    count_failed(broker, &user, client);
    broker.attempts.lock().failed(client.peer.ip(), &user, Duration::from_nanos(rate::now()))
}

/// Finds the virtual host of `connection.open` and checks that the user may enter.
///
/// # Errors
/// 530, in RabbitMQ's words.
pub fn enter(broker: &Broker, login: &Login, open: &connection::Open) -> Result<Arc<Vhost>, Refusal> {
    let name = open.virtual_host.as_str();
    let vhost = broker.vhost(name).ok_or_else(|| Refusal::not_allowed(format!("vhost {name} not found")))?;
    let user = &login.user.name;
    if login.rights.permit(&broker.directory, user, name, broker.clock.now_ms()).is_none() {
        let text = format!("access to vhost '{name}' refused for user '{user}'");
        return Err(Refusal::new(ReplyCode::NotAllowed, text));
    }
    Ok(vhost)
}

/// The largest frame before tuning: a token has to fit into a login.
pub fn first_frame_max(broker: &Broker) -> u32 {
    if broker.backends.take_tokens() { TOKEN_FRAME } else { FRAME_MIN_SIZE }
}

/// The limits that a new connection must keep.
pub fn limits(broker: &Broker, connection: &Registered, user: &User) -> Limits {
    let limits = &broker.limits();
    Limits {
        node: limits.connection_max,
        vhost: broker.vhost(&connection.vhost).and_then(|v| v.limits.max_connections()),
        user: user.max_connections.and_then(|n| u64::try_from(n).ok()),
    }
}
