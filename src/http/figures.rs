//! Figures of objects, as RabbitMQ's HTTP API shows them: what was counted, each with its rate.

use serde_json::{Map, Value as Json, json};

use super::Http;
use super::fields::Fields;
use super::samples::{Over, details, part};
use crate::connection::census;
use crate::queue::Queue;
use crate::queue::counting::{QueueSample, Standing};
use crate::stats::history::Sample;
use crate::stats::{Counts, ExchangeCounts, Kind, Rates};

/// What is shown of queues, beside `deliver_get`, which is the sum of four of them.
const OF_QUEUES: &[(&str, Kind)] = &[
    ("ack", Kind::Ack),
    ("deliver", Kind::Deliver),
    ("deliver_no_ack", Kind::DeliverNoAck),
    ("get", Kind::Get),
    ("get_empty", Kind::GetEmpty),
    ("get_no_ack", Kind::GetNoAck),
    ("publish", Kind::Publish),
    ("redeliver", Kind::Redeliver),
];

/// What channels have beside that.
const OF_CHANNELS: &[(&str, Kind)] = &[
    ("confirm", Kind::Confirm),
    ("drop_unroutable", Kind::DropUnroutable),
    ("return_unroutable", Kind::ReturnUnroutable),
];

/// Messages that queues have read from the disk, and written to it.
const OF_DISKS: &[(&str, Kind)] = &[("disk_reads", Kind::DiskReads), ("disk_writes", Kind::DiskWrites)];

/// The four kinds that make `deliver_get`.
const DELIVER_GET: [Kind; 4] = [Kind::Deliver, Kind::DeliverNoAck, Kind::Get, Kind::GetNoAck];

/// A number, with its rate and its samples beside it.
pub fn sampled<T>(
    map: &mut Map<String, Json>,
    name: &str,
    value: impl Into<Json>,
    rate: f64,
    history: &[Sample<T>],
    of: impl Fn(&T) -> u64,
) {
    map.insert(name.to_owned(), value.into());
    map.insert(format!("{name}_details"), details(rate, history, of));
}

/// The figures of a queue.
pub fn of_queue<const N: usize>(
    counted: &Counts<N>,
    rates: &Rates<N>,
    history: &[Sample<Counts<N>>],
) -> Map<String, Json> {
    let mut map = Map::new();
    for (name, kind) in OF_QUEUES {
        sampled(&mut map, name, counted.get(*kind), rates.get(*kind as usize), history, |s| s.get(*kind));
    }
    let rate = DELIVER_GET.iter().map(|kind| rates.get(*kind as usize)).sum();
    sampled(&mut map, "deliver_get", counted.delivered(), rate, history, Counts::delivered);
    map
}

/// The figures of a channel, or of all.
pub fn of_channel<const N: usize>(
    counted: &Counts<N>,
    rates: &Rates<N>,
    history: &[Sample<Counts<N>>],
) -> Map<String, Json> {
    let mut map = of_queue(counted, rates, history);
    for (name, kind) in OF_CHANNELS {
        sampled(&mut map, name, counted.get(*kind), rates.get(*kind as usize), history, |s| s.get(*kind));
    }
    map
}

/// What a channel has counted of one exchange.
pub fn of_publishes<const N: usize>(counted: &Counts<N>, rates: &Rates<N>) -> Json {
    let mut map = Map::new();
    for (name, kind) in [("publish", Kind::Publish)].iter().chain(OF_CHANNELS) {
        map.insert((*name).to_owned(), counted.get(*kind).into());
        map.insert(format!("{name}_details"), json!({ "rate": rates.get(*kind as usize) }));
    }
    Json::Object(map)
}

/// What a channel has counted of one queue.
pub fn of_deliveries<const N: usize>(counted: &Counts<N>, rates: &Rates<N>) -> Json {
    let mut map = of_queue(counted, rates, &[]);
    map.retain(|name, _| !name.starts_with("publish"));
    Json::Object(map)
}

/// What has gone from an exchange into a queue.
pub fn of_flow(messages: u64, rate: f64) -> Json {
    json!({ "publish": messages, "publish_details": { "rate": rate } })
}

/// The figures of all channels, with the disk's work for queues.
pub fn of_all<const N: usize>(
    counted: &Counts<N>,
    rates: &Rates<N>,
    history: &[Sample<Counts<N>>],
) -> Map<String, Json> {
    let mut map = of_channel(counted, rates, history);
    for (name, kind) in OF_DISKS {
        sampled(&mut map, name, counted.get(*kind), rates.get(*kind as usize), history, |s| s.get(*kind));
    }
    map
}

/// The figures of an exchange; none when nothing was ever published to it.
fn of_exchange(counts: &ExchangeCounts, history: &[Sample<[u64; 2]>]) -> Option<Json> {
    let ([published, routed], [rate_in, rate_out]) = (counts.flow(), counts.rates());
    if published == 0 {
        return None;
    }
    let mut map = Map::new();
    sampled(&mut map, "publish_in", published, rate_in, history, |[published, _]| *published);
    sampled(&mut map, "publish_out", routed, rate_out, history, |[_, routed]| *routed);
    Some(Json::Object(map))
}

/// Puts the figures of an exchange.
pub fn put_exchange(counts: &ExchangeCounts, over: &Over<[u64; 2]>, fields: &mut Fields<'_>) {
    if let Some(figures) = fields.wants("message_stats").then(|| of_exchange(counts, &over.msg_rates)).flatten() {
        fields.put("message_stats", || figures);
    }
}

/// Puts numbers of messages: ready ones, unacked ones, both; with how fast they change.
fn put_lengths<T>(
    [ready, unacked]: [u64; 2],
    [ready_rate, unacked_rate]: [f64; 2],
    history: &[Sample<T>],
    of: impl Fn(&T) -> [u64; 2],
    fields: &mut Fields<'_>,
) {
    let mut put = |name: &str, value: u64, rate: f64, pick: fn([u64; 2]) -> u64| {
        fields.put(name, || value);
        fields.put(&format!("{name}_details"), || details(rate, history, |sample| pick(of(sample))));
    };
    put("messages", ready + unacked, ready_rate + unacked_rate, |[ready, unacked]| ready + unacked);
    put("messages_ready", ready, ready_rate, |[ready, _]| ready);
    put("messages_unacknowledged", unacked, unacked_rate, |[_, unacked]| unacked);
}

/// What [`put_queue`] may put. The queue is looked at only when one of them is wanted.
const QUEUE_FIELDS: [&str; 24] = [
    "messages",
    "messages_details",
    "messages_ready",
    "messages_ready_details",
    "messages_unacknowledged",
    "messages_unacknowledged_details",
    "consumers",
    "message_bytes",
    "message_bytes_ready",
    "message_bytes_unacknowledged",
    "message_bytes_ram",
    "message_bytes_paged_out",
    "message_bytes_persistent",
    "memory",
    "messages_ram",
    "messages_ready_ram",
    "messages_unacknowledged_ram",
    "messages_paged_out",
    "messages_persistent",
    "head_message_timestamp",
    "consumer_capacity",
    "consumer_utilisation",
    "idle_since",
    "message_stats",
];

/// Puts how many messages a queue has, their bytes, what it has counted, and how its consumers keep up.
pub fn put_queue(queue: &Queue, over: &Over<QueueSample>, fields: &mut Fields<'_>) {
    if !QUEUE_FIELDS.iter().any(|field| fields.wants(field)) {
        return;
    }
    let standing = queue.standing();
    let Standing { ready, unacked, consumers, ready_bytes, unacked_bytes, cold, held_bytes, numbers, .. } = standing;
    let lengths = |sample: &QueueSample| [sample.ready, sample.unacked];
    put_lengths([ready, unacked], numbers.length_rates, &over.lengths, lengths, fields);
    for (name, value) in [
        ("consumers", consumers),
        ("message_bytes", ready_bytes + unacked_bytes),
        ("message_bytes_ready", ready_bytes),
        ("message_bytes_unacknowledged", unacked_bytes),
        ("message_bytes_ram", held_bytes + unacked_bytes),
        ("message_bytes_paged_out", ready_bytes.saturating_sub(held_bytes)),
        ("message_bytes_persistent", standing.persistent_bytes),
        ("memory", held_bytes + unacked_bytes),
        ("messages_ram", ready.saturating_sub(cold) + unacked),
        ("messages_ready_ram", ready.saturating_sub(cold)),
        ("messages_unacknowledged_ram", unacked),
        ("messages_paged_out", cold),
        ("messages_persistent", standing.persistent),
    ] {
        fields.put(name, || value);
    }
    fields.put("head_message_timestamp", || standing.head_timestamp);
    let capacity = numbers.capacity.unwrap_or(0.0);
    fields.put("consumer_capacity", || capacity);
    fields.put("consumer_utilisation", || capacity);
    if numbers.rates.are_zero() {
        fields.put("idle_since", || time(numbers.moved_at));
    }
    if !numbers.counted.is_zero() {
        let history = part(&over.msg_rates, |sample| sample.counted);
        fields.put("message_stats", || Json::Object(of_queue(&numbers.counted, &numbers.rates, &history)));
    }
}

/// Puts how many messages a virtual host has, and what its channels have counted.
pub fn put_vhost(http: &Http, vhost: &crate::vhost::Vhost, over: &Over<census::Standing>, fields: &mut Fields<'_>) {
    let census = &http.shared.census;
    let of_vhost = census.rates_of(&vhost.name);
    let lengths = [vhost.sums.queues.ready(), vhost.sums.queues.unacked()];
    put_lengths(lengths, of_vhost.length_rates, &over.lengths, |sample| [sample.ready, sample.unacked], fields);
    let bytes = ["message_stats", "recv_oct", "send_oct", "recv_oct_details", "send_oct_details"];
    if bytes.iter().any(|field| fields.wants(field)) {
        let sums = census.sums(&http.shared, Some(&vhost.name));
        let history = part(&over.msg_rates, |sample| sample.counted);
        fields.put("message_stats", || Json::Object(of_channel(&sums.counted, &of_vhost.rates, &history)));
        fields.put("recv_oct", || sums.received);
        fields.put("send_oct", || sums.sent);
        let [received, sent] = byte_rates(http, &vhost.name);
        fields.put("recv_oct_details", || details(received, &over.data_rates, |sample| sample.received));
        fields.put("send_oct_details", || details(sent, &over.data_rates, |sample| sample.sent));
    }
}

/// Bytes per second that a virtual host's connections receive and send.
fn byte_rates(http: &Http, vhost: &str) -> [f64; 2] {
    let here = http.shared.registry.all().into_iter().filter(|connection| *connection.vhost == *vhost);
    here.fold([0.0, 0.0], |[received, sent], connection| {
        let [r, s] = connection.outbox.rates().all();
        [received + r, sent + s]
    })
}

/// A time as RabbitMQ writes it.
pub fn time(ms: u64) -> String {
    let (seconds, millis) = (ms / 1000, ms % 1000);
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}+00:00")
}

/// Year, month and day of a day since 1970.
fn date(days: u64) -> (u64, u64, u64) {
    let mut year = 1970;
    let mut left = days;
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if left < length {
            break;
        }
        left -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliver_get_is_the_sum_of_its_four_kinds() {
        let mut counted = crate::stats::Counted::default();
        for (kind, n) in [(Kind::Deliver, 1), (Kind::DeliverNoAck, 10), (Kind::Get, 100), (Kind::GetNoAck, 1000)] {
            counted.add(kind, n);
        }
        let mut rates = Rates::default();
        rates.sample(&counted.0, 1.0);
        let figures = of_queue(&counted, &rates, &[]);
        assert_eq!((&figures["deliver_get"], &figures["deliver_get_details"]["rate"]), (&json!(1111), &json!(1111.0)));
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000+00:00");
        assert_eq!(time(951_782_400_123), "2000-02-29T00:00:00.123+00:00");
        assert_eq!(time(1_735_689_599_000), "2024-12-31T23:59:59.000+00:00");
    }
}
