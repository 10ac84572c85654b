//! Dead letters: what a message looks like, and by which routing keys it goes on, once it has died in a queue.
//!
//! [`letter`] makes the dead letter of a message. Its header `x-death` tells what it has been through: a list of tables,
//! one for each queue and reason, the latest death first. A message that dies again of the same reason in the same queue
//! is counted there; all else in the table stays as it was at the first such death. A list that a client publishes is
//! counted on: clients republish what they have consumed, to find out how often that failed. A message with the mark
//! [`UNCOUNTED`] was published where that is not wanted: its list is carried to consumers, and makes room for a new one at the
//! first death. [`is_cycle`] reads from the list whether the letter has come to a queue again with nobody having had a say in it.
//!
//! The expiration is taken away, so that a letter does not expire by itself, and so is BCC. All other properties keep
//! their bytes. The cost is a fixed number of passes over the headers, however long the list is.

use super::MessageView;
use super::headers::{self, Fate};
use crate::frames::content::Cut;
use crate::frames::method::split_route;
use crate::frames::table::{self, ValueRef};
use crate::frames::{Reader, Table, Value, write};

/// The header with the list.
pub const DEATHS: &str = "x-death";
/// The header that says that the list came from a client and does not count. Consumers do not see it.
pub const UNCOUNTED: &str = "x-death-uncounted";
const FIRST: [&str; 3] = ["x-first-death-reason", "x-first-death-queue", "x-first-death-exchange"];
const LAST: [&str; 3] = ["x-last-death-reason", "x-last-death-queue", "x-last-death-exchange"];
/// The one reason that is a client's decision.
const REJECTED: &str = "rejected";

/// What happened to a message.
#[derive(Clone, Copy, Debug)]
pub struct Death<'a> {
    pub queue: &'a str,
    /// As it stands in `x-death`.
    pub reason: &'a str,
    /// When, in milliseconds since 1970.
    pub at: u64,
}

/// A message that has died, but for its body, which stays the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter<'a> {
    /// Dead letter exchange and routing key, two short strings.
    pub route: Vec<u8>,
    pub properties: Vec<u8>,
    /// All the keys that it is routed by.
    pub keys: Vec<&'a [u8]>,
}

/// The dead letter of a message, for a dead letter exchange and the routing key that is in force beside it.
pub fn letter<'a>(view: MessageView<'a>, death: &Death<'_>, exchange: &str, key: Option<&'a str>) -> DeadLetter<'a> {
    let (died_in, own_key) = split_route(view.route);
    // Properties were checked when the message arrived; should they not be readable, the letter has none of them.
    let cut = Cut::open(view.properties).unwrap_or_default();
    let headers = cut.headers.unwrap_or_default();
    let is_uncounted = table::find(headers, UNCOUNTED.as_bytes()).is_some();
    let earlier = if is_uncounted { &[] } else { deaths_in(headers) };
    let goes_by_headers = !was_given_another_key(earlier, own_key);
    let listed = |name: &[u8]| {
        let keys = headers::routing_keys(headers, name).unwrap_or_default();
        keys.into_iter().map(str::as_bytes).filter(move |_| goes_by_headers)
    };
    let mut keys = vec![own_key];
    keys.extend(listed(b"CC"));
    let first = || first_entry(death, died_in, &keys, cut.expiration);
    let deaths = counted(earlier, death, first);
    let headers = with_deaths(headers, &deaths, death, died_in, earlier.is_empty());
    match key {
        Some(key) => keys = vec![key.as_bytes()],
        None => keys.extend(listed(b"BCC")),
    }
    let mut route = Vec::new();
    write::short(&mut route, exchange.as_bytes());
    write::short(&mut route, key.map_or(own_key, str::as_bytes));
    DeadLetter { route, properties: cut.close(Some(&headers), None), keys }
}

/// The property list of a message that is published with a list which does not count.
pub fn uncounted(properties: &[u8]) -> Vec<u8> {
    headers::with(properties, UNCOUNTED, &Value::Bool(true))
}

/// True when a letter with these properties must not go into a queue: it has died there before, and no client has
/// rejected it since.
pub fn is_cycle(properties: &[u8], target: &str) -> bool {
    let Some(ValueRef::Array(deaths)) = headers::find(properties, DEATHS.as_bytes()) else { return false };
    for death in table::items(deaths).map_while(Result::ok) {
        // What is no table comes from a client, which so had a say.
        let ValueRef::Table(entry) = death else { return false };
        if says(entry, b"reason", REJECTED) {
            return false;
        }
        if says(entry, b"queue", target) {
            return true;
        }
    }
    false
}

/// The inside of the list of deaths; whatever else stands in its place does not count.
fn deaths_in(headers: &[u8]) -> &[u8] {
    match table::find(headers, DEATHS.as_bytes()) {
        Some(ValueRef::Array(inside)) => inside,
        _ => &[],
    }
}

/// True when a message that died before has another key now than it died with: it was sent on by the key of a dead
/// letter exchange, and in place of all that it was published with. CC is still among its headers, but no longer meant.
fn was_given_another_key(deaths: &[u8], own_key: &[u8]) -> bool {
    let latest = table::items(deaths).next();
    let Some(Ok(ValueRef::Table(entry))) = latest else { return false };
    let Some(ValueRef::Array(keys)) = table::find(entry, b"routing-keys") else { return false };
    matches!(table::items(keys).next(), Some(Ok(ValueRef::LongStr(key))) if key != own_key)
}

/// The list of deaths with one more, the latest first.
fn counted(earlier: &[u8], death: &Death<'_>, first: impl FnOnce() -> Table) -> Vec<u8> {
    let mut same = None;
    let mut others = Vec::with_capacity(earlier.len());
    let mut r = Reader::new(earlier);
    while let Ok((item, bytes)) = r.with_bytes(ValueRef::read) {
        match item {
            ValueRef::Table(entry) if says(entry, b"queue", death.queue) && says(entry, b"reason", death.reason) => {
                same = same.or(Some(entry));
            }
            _ => others.extend_from_slice(bytes),
        }
    }
    let mut out = Vec::with_capacity(others.len() + 256);
    match same {
        Some(entry) => table::put_long(&mut out, b'F', &once_more(entry)),
        None => Value::Table(first()).encode(&mut out),
    }
    out.extend(others);
    out
}

/// The entry of a queue and reason with its count one higher.
fn once_more(entry: &[u8]) -> Vec<u8> {
    let count = table::find(entry, b"count");
    let next = Value::I64(count.and_then(headers::number).unwrap_or(0).saturating_add(1));
    let mut out = Vec::new();
    if count.is_none() {
        table::put_entry(&mut out, "count", &next);
    }
    let fate = |key: &[u8], _: ValueRef<'_>| if key == b"count" { Fate::Becomes(next.clone()) } else { Fate::Stays };
    out.extend(headers::rewritten(entry, fate));
    out
}

/// The entry of a first death, in RabbitMQ's order of fields.
fn first_entry(death: &Death<'_>, exchange: &[u8], keys: &[&[u8]], expiration: Option<&[u8]>) -> Table {
    let bytes = |text: &[u8]| Value::LongStr(text.to_vec());
    let mut entry = Table::default();
    if let Some(expiration) = expiration {
        entry.insert("original-expiration", bytes(expiration));
    }
    entry.insert("count", Value::I64(1));
    entry.insert("reason", Value::text(death.reason));
    entry.insert("queue", Value::text(death.queue));
    entry.insert("time", Value::Timestamp(death.at / 1000));
    entry.insert("exchange", bytes(exchange));
    entry.insert("routing-keys", Value::Array(keys.iter().map(|key| bytes(key)).collect()));
    entry
}

/// The headers of the letter: those that stay, then the list, then what is known of the first death and the last.
fn with_deaths(headers: &[u8], deaths: &[u8], death: &Death<'_>, exchange: &[u8], is_first: bool) -> Vec<u8> {
    let is_replaced = |key: &[u8]| {
        let among = |names: [&str; 3]| names.iter().any(|name| name.as_bytes() == key);
        key == DEATHS.as_bytes() || headers::is_hidden(key) || among(LAST) || is_first && among(FIRST)
    };
    let fate = |key: &[u8], _: ValueRef<'_>| if is_replaced(key) { Fate::Goes } else { Fate::Stays };
    let mut out = headers::rewritten(headers, fate);
    write::short(&mut out, DEATHS.as_bytes());
    table::put_long(&mut out, b'A', deaths);
    let values = [death.reason.as_bytes(), death.queue.as_bytes(), exchange];
    for names in [Some(FIRST).filter(|_| is_first), Some(LAST)].into_iter().flatten() {
        for (name, value) in names.into_iter().zip(values) {
            write::short(&mut out, name.as_bytes());
            table::put_long(&mut out, b'S', value);
        }
    }
    out
}

/// True when a field of a table is this text.
fn says(entry: &[u8], field: &[u8], text: &str) -> bool {
    table::find(entry, field) == Some(ValueRef::LongStr(text.as_bytes()))
}

#[cfg(test)]
mod tests;
