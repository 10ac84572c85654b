//! Connections: how they stand, and closing them.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use crate::connection::registry::Registered;
use crate::http::fields::Fields;
use crate::http::listing::{self, Listed};
use crate::http::route::Outcome;
use crate::http::samples::{Over, details};
use crate::http::{Access, Answer, ApiError, Call, Http, Route, Work, pid};
use crate::persist::definitions::table_to_json;

pub const ROUTES: &[Route] = &[
    Route::get("/api/connections", Access::Login, "All connections.", Work::Blocking(list)),
    Route::get("/api/connections/{connection}", Access::Login, "One connection.", Work::Blocking(one)),
    Route::delete("/api/connections/{connection}", Access::Login, "Close a connection.", Work::Blocking(close)),
    Route::get("/api/vhosts/{vhost}/connections", Access::Vhost, "Those of a virtual host.", Work::Blocking(list)),
    Route::get("/api/connections/username/{user}", Access::Login, "Those of a user.", Work::Blocking(list)),
    Route::delete(
        "/api/connections/username/{user}",
        Access::Login,
        "Close all of a user.",
        Work::Blocking(close_of_user),
    ),
];

/// What is shown of connections.
pub struct Connections {
    http: Arc<Http>,
    over: Over<[u64; 2]>,
}

impl Connections {
    fn of(call: &Call) -> Self {
        Self { http: Arc::clone(&call.http), over: Over::default() }
    }
}

impl Listed for Connections {
    type Item = Registered;

    fn name<'a>(&self, connection: &'a Registered) -> &'a str {
        &connection.name
    }

    fn fill(&self, connection: &Registered, fields: &mut Fields<'_>) {
        let (counts, about) = (&connection.outbox.counts, &connection.about);
        put_addresses(connection, fields);
        fields.put("name", || &*connection.name);
        fields.put("user", || &*connection.user);
        fields.put("user_who_performed_action", || &*connection.user);
        fields.put("vhost", || &*connection.vhost);
        fields.put("node", || self.http.node_name());
        fields.put("pid", || pid::of_connection(self.http.node_name(), connection.outbox.connection));
        fields.put("type", || "network");
        fields.put("protocol", || "AMQP 0-9-1");
        fields.put("state", || if counts.blocked.get() > 0 { "blocked" } else { "running" });
        fields.put("auth_mechanism", || about.mechanism.as_str());
        fields.put("connected_at", || about.connected_at);
        fields.put("channel_max", || about.channel_max);
        fields.put("frame_max", || about.frame_max);
        fields.put("timeout", || about.heartbeat);
        fields.put("client_properties", || table_to_json(&about.client_properties));
        fields.put("user_provided_name", || client_name(connection));
        fields.put("channels", || {
            let mut channels = 0;
            connection.outbox.each_channel(|_, _| channels += 1);
            channels
        });
        let [received, sent] = connection.outbox.rates().all();
        fields.put("recv_oct", || counts.received.get());
        fields.put("recv_oct_details", || details(received, &self.over.data_rates, |[received, _]| *received));
        fields.put("recv_cnt", || counts.reads.get());
        fields.put("send_oct", || counts.sent.get());
        fields.put("send_oct_details", || details(sent, &self.over.data_rates, |[_, sent]| *sent));
        fields.put("send_cnt", || counts.writes.get());
        fields.put("send_pend", || connection.outbox.backlog());
        let secured = about.secured.as_deref();
        fields.put("ssl", || secured.is_some());
        fields.put("ssl_protocol", || secured.map(|secured| secured.protocol.as_str()));
        fields.put("ssl_cipher", || secured.map(|secured| secured.cipher.as_str()));
        for name in ["ssl_key_exchange", "ssl_hash"] {
            fields.put(name, || Json::Null);
        }
        for name in ["peer_cert_subject", "peer_cert_issuer", "peer_cert_validity"] {
            fields.put(name, || Json::Null);
        }
    }
}

fn client_name(connection: &Registered) -> Json {
    let name = connection.about.client_properties.get("connection_name").and_then(crate::frames::Value::as_text);
    name.map_or(Json::Null, |name| name.into_owned().into())
}

/// Both ends, as the connection's name has them.
pub fn ends(connection: &Registered) -> Option<(SocketAddr, SocketAddr)> {
    let (peer, local) = connection.name.split_once(" -> ")?;
    Some((peer.parse().ok()?, local.parse().ok()?))
}

fn put_addresses(connection: &Registered, fields: &mut Fields<'_>) {
    let Some((peer, local)) = ends(connection) else { return };
    fields.put("peer_host", || peer.ip().to_string());
    fields.put("peer_port", || peer.port());
    fields.put("host", || local.ip().to_string());
    fields.put("port", || local.port());
}

/// What others show of a connection.
pub fn summary(connection: &Registered) -> Map<String, Json> {
    let mut details = Map::new();
    details.insert("name".to_owned(), (*connection.name).into());
    if let Some((peer, _)) = ends(connection) {
        details.insert("peer_host".to_owned(), peer.ip().to_string().into());
        details.insert("peer_port".to_owned(), peer.port().into());
    }
    details
}

/// Those that the caller may see: all for who watches the node, else their own.
pub fn visible(call: &Call) -> Result<Vec<Registered>, ApiError> {
    let of_vhost = call.path.iter().any(|(name, _)| name == "vhost").then(|| call.vhost()).transpose()?;
    let of_user = call.path.iter().find(|(name, _)| name == "user").map(|(_, user)| user.as_str());
    let mut all = call.http.shared.registry.all();
    all.retain(|connection| {
        of_vhost.as_ref().is_none_or(|vhost| vhost.name == connection.vhost)
            && of_user.is_none_or(|user| *connection.user == *user)
            && may_see(call, connection)
    });
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// Whether the caller watches the node, or it is their own.
pub fn may_see(call: &Call, connection: &Registered) -> bool {
    call.caller
        .user
        .as_ref()
        .is_none_or(|user| user.has_tag("administrator") || user.has_tag("monitoring") || user.name == *connection.user)
}

fn list(call: &Call) -> Outcome {
    listing::answer(call, Connections::of(call), visible(call)?)
}

/// The connection of the path, by its name or its pid.
///
/// # Errors
/// 404 when there is none that the caller may see.
pub fn connection(call: &Call) -> Result<Registered, ApiError> {
    let wanted = call.path("connection");
    let registry = &call.http.shared.registry;
    let found = match pid::connection(wanted) {
        Some(number) => registry.get(number),
        None => registry.all().into_iter().find(|connection| *connection.name == *wanted),
    };
    found.filter(|connection| may_see(call, connection)).ok_or_else(ApiError::not_found)
}

fn one(call: &Call) -> Outcome {
    let connection = connection(call)?;
    let (now, album, outbox) =
        (call.broker().clock.now_ms(), &call.http.shared.census.albums.connections, &connection.outbox);
    let over = Over::asked(call, |span| album.look(outbox, now, outbox.counts.bytes(), span));
    listing::one(call, &Connections { over, ..Connections::of(call) }, &connection)
}

/// Why, in the words of who asks.
fn reason(call: &Call) -> String {
    let given = call.headers.get("x-reason").and_then(|reason| reason.to_str().ok());
    given.unwrap_or("Closed via management plugin").to_owned()
}

fn close(call: &Call) -> Outcome {
    let leaving = connection(call)?.outbox.connection;
    call.http.shared.registry.close_where(&reason(call), |connection| connection.outbox.connection == leaving);
    Ok(Answer::done())
}

fn close_of_user(call: &Call) -> Outcome {
    let user = call.path("user");
    let may = |connection: &Registered| *connection.user == *user && may_see(call, connection);
    call.http.shared.registry.close_where(&reason(call), may);
    Ok(Answer::done())
}
