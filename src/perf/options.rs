//! The command line of `leveret perf`, and what of it contradicts itself.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use clap::{Args, ValueEnum};
use tokio_rustls::rustls::ClientConfig;

use super::body;
use super::failure::Failure;
use super::uri::Uri;
use crate::tls::client::{self, Trust};

/// Put load on any AMQP 0-9-1 broker, measure it, and check that every message arrives once and in order.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Broker to load
    #[arg(long, default_value = "amqp://guest:guest@127.0.0.1:5672/%2f")]
    pub uri: Uri,
    /// With amqps: the authorities that the broker's certificate must be signed by [default: the system's]
    #[arg(long, value_name = "FILE")]
    pub cacert: Option<PathBuf>,
    /// With amqps: believe every certificate
    #[arg(long, conflicts_with = "cacert")]
    pub insecure: bool,
    /// With amqps: a certificate for the broker
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// With amqps: the certificate's key
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// What came of these files
    #[arg(skip)]
    pub(super) tls: OnceLock<Arc<ClientConfig>>,
    /// Number of producers
    #[arg(long, default_value_t = 1)]
    pub producers: u16,
    /// Number of consumers, spread round robin over the queues
    #[arg(long, default_value_t = 1)]
    pub consumers: u16,
    /// Number of queues; producers are spread over them round robin
    #[arg(long, default_value_t = 1)]
    pub queues: u32,
    /// Connections over which producers and consumers are spread [default: one each]
    #[arg(long)]
    pub connections: Option<u16>,
    /// Channels of each connection over which its producers and consumers are spread [default: one each]
    #[arg(long)]
    pub channels: Option<u16>,
    /// Size of a message body in bytes (8 at least; 16 at least for end-to-end latency)
    #[arg(long, default_value_t = 16)]
    pub size: usize,
    /// Publish with delivery mode 2
    #[arg(long)]
    pub persistent: bool,
    /// Declare durable queues
    #[arg(long)]
    pub durable: bool,
    /// Publisher confirms, with at most this many unconfirmed messages for each producer; 0 is none
    #[arg(long, value_name = "WINDOW", default_value_t = 0)]
    pub confirms: u64,
    /// Consumer acknowledgements
    #[arg(long, value_enum, default_value_t = AckMode::Auto)]
    pub ack: AckMode,
    /// With --ack manual: acknowledge this many messages at once
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub ack_every: u16,
    /// Prefetch count of each consumer; 0 is no limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub prefetch: u16,
    /// Messages per second of each producer [default: as many as possible]
    #[arg(long, value_name = "MSGS/S")]
    pub rate: Option<f64>,
    /// Seconds to measure for [default: 10, unless --count is given]
    #[arg(long, value_name = "SECONDS")]
    pub time: Option<f64>,
    /// Messages that each producer sends
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Seconds of load before the measurement begins [default: 1, and 0 with --count]
    #[arg(long, value_name = "SECONDS")]
    pub warmup: Option<f64>,
    /// Exchange to publish to
    #[arg(long, value_enum, default_value_t = ExchangeType::Default)]
    pub exchange_type: ExchangeType,
    /// Bindings in all; with topic ones, all have wildcards
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub bindings: u32,
    /// How many of the bindings each message matches
    #[arg(long, value_name = "M", default_value_t = 1)]
    pub matches: u16,
    /// Every message to every queue: the same as --exchange-type fanout
    #[arg(long)]
    pub fanout: bool,
    /// Publish, and leave the messages in the queues (keep them with --keep-queues)
    #[arg(long)]
    pub publish_only: bool,
    /// Consume what an earlier run with --publish-only --keep-queues has left
    #[arg(long, conflicts_with_all = ["publish_only", "count", "rate"])]
    pub drain_only: bool,
    /// Queue argument as key=value (an integer, true, false, or else a string); may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_argument)]
    pub queue_args: Vec<(String, Argument)>,
    /// Beginning of the names of queues and exchange
    #[arg(long, value_name = "TEXT", default_value = "leveret-perf")]
    pub queue_prefix: String,
    /// Leave queues and exchange behind at the end
    #[arg(long)]
    pub keep_queues: bool,
    /// Publish with the mandatory flag
    #[arg(long)]
    pub mandatory: bool,
    /// Only open this many connections with one channel each, and hold them for --time
    #[arg(long, value_name = "N", conflicts_with = "declare_queues")]
    pub idle_connections: Option<usize>,
    /// Declare this many queues over --connections, then use the first and the last of them
    #[arg(long, value_name = "N")]
    pub declare_queues: Option<u32>,
    /// Process whose CPU time and memory are shown; it must run on this machine
    #[arg(long, value_name = "PID")]
    pub broker_pid: Option<u32>,
    /// Seconds without progress after which missing messages are given up
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    pub stall: f64,
    /// Measure latencies
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub latency: bool,
    /// Print one JSON object and nothing else on the standard output
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AckMode {
    Auto,
    Manual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExchangeType {
    /// The nameless exchange: straight to the queue of the routing key's name
    Default,
    Direct,
    Fanout,
    Topic,
    Headers,
}

/// The value of a queue argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    Int(i64),
    Bool(bool),
    Text(String),
}

impl Options {
    /// Refuses what cannot be done, in words for whoever typed it.
    pub(super) fn check(&self) -> Result<(), String> {
        let positive = |n: Option<f64>| n.is_none_or(|n| n.is_finite() && n > 0.0);
        let rules = [
            (self.size >= body::MIN_SIZE, "--size must be at least 8"),
            (self.queues > 0, "--queues must be at least 1"),
            (self.drain_only || self.producers > 0, "--producers must be at least 1, unless with --drain-only"),
            (self.publish_only || self.consumers > 0, "--consumers must be at least 1, unless with --publish-only"),
            (self.connections != Some(0) && self.channels != Some(0), "--connections and --channels start at 1"),
            (self.matches > 0 && self.ack_every > 0, "--matches and --ack-every start at 1"),
            (self.declare_queues != Some(0), "--declare-queues starts at 1"),
            (positive(self.rate) && positive(self.time), "--rate and --time must be positive numbers"),
            (self.stall.is_finite() && self.stall > 0.0, "--stall must be a positive number"),
            (self.warmup.is_none_or(|n| n.is_finite() && n >= 0.0), "--warmup must not be negative"),
            (self.queue_prefix.len() <= 200, "--queue-prefix must not be longer than 200 bytes"),
            (
                self.exchange() != ExchangeType::Direct || u32::from(self.matches) <= self.queues,
                "with a direct exchange, --matches cannot be more than --queues",
            ),
            (
                self.publish_only || self.drain_only || u32::from(self.consumers) >= self.queues_in_use(),
                "each queue that is published to needs a consumer: give more --consumers, or --publish-only",
            ),
        ];
        rules.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, text)| Err((*text).to_owned()))
    }

    pub(super) fn exchange(&self) -> ExchangeType {
        if self.fanout { ExchangeType::Fanout } else { self.exchange_type }
    }

    /// How TLS is spoken, with amqps.
    pub(super) fn tls(&self) -> Result<Option<Arc<ClientConfig>>, Failure> {
        if !self.uri.tls {
            return Ok(None);
        }
        if let Some(known) = self.tls.get() {
            return Ok(Some(Arc::clone(known)));
        }
        let trust = match &self.cacert {
            Some(file) => Trust::File(file),
            None if self.insecure => Trust::Anybody,
            None => Trust::System,
        };
        let identity = self.cert.as_deref().zip(self.key.as_deref());
        let identity = identity.map(|(certfile, keyfile)| client::Identity { certfile, keyfile, password: None });
        let config = client::config(trust, identity).map_err(|error| Failure::Options(error.to_string()))?;
        Ok(Some(Arc::clone(self.tls.get_or_init(|| config))))
    }

    /// Producers that really run.
    pub(super) fn active_producers(&self) -> u16 {
        if self.drain_only { 0 } else { self.producers }
    }

    /// Consumers that really run.
    pub(super) fn active_consumers(&self) -> u16 {
        if self.publish_only { 0 } else { self.consumers }
    }

    pub(super) fn seconds(&self) -> Option<f64> {
        self.time.or((self.count.is_none() && !self.drain_only).then_some(10.0))
    }

    pub(super) fn warmup_seconds(&self) -> f64 {
        let none = self.count.is_some() || self.drain_only || self.publish_only;
        self.warmup.unwrap_or(if none { 0.0 } else { 1.0 })
    }

    /// How many queues get messages.
    fn queues_in_use(&self) -> u32 {
        let reach = match self.exchange() {
            ExchangeType::Fanout => self.queues,
            ExchangeType::Default => u32::from(self.producers),
            _ => u32::from(self.producers) + u32::from(self.matches) - 1,
        };
        reach.min(self.queues)
    }
}

fn parse_argument(text: &str) -> Result<(String, Argument), String> {
    let (key, value) = text.split_once('=').ok_or("must be key=value")?;
    if key.is_empty() || key.len() > 255 {
        return Err("the key must have 1 to 255 bytes".into());
    }
    let value = match (value, value.parse()) {
        (_, Ok(number)) => Argument::Int(number),
        ("true", _) => Argument::Bool(true),
        ("false", _) => Argument::Bool(false),
        _ => Argument::Text(value.into()),
    };
    Ok((key.into(), value))
}

#[cfg(test)]
pub mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    pub fn parse(line: &str) -> Result<Options, String> {
        let words = std::iter::once("perf").chain(line.split_whitespace());
        let options = Line::try_parse_from(words).map_err(|e| e.to_string())?.options;
        options.check().map(|()| options)
    }

    #[test]
    fn the_defaults_are_sound() {
        let options = parse("").unwrap();
        assert_eq!((options.seconds(), options.warmup_seconds()), (Some(10.0), 1.0));
        assert_eq!((options.uri.port, options.uri.vhost.as_str()), (5672, "/"));
    }

    #[test]
    fn a_count_needs_no_time() {
        let options = parse("--count 5").unwrap();
        assert_eq!((options.seconds(), options.warmup_seconds()), (None, 0.0));
        assert_eq!(parse("--count 5 --time 2").unwrap().seconds(), Some(2.0));
    }

    #[test]
    fn queue_arguments_have_types() {
        let options =
            parse("--queue-args x-max-length=5 --queue-args a=true --queue-args x-queue-type=quorum").unwrap();
        let expected = [
            ("x-max-length".to_owned(), Argument::Int(5)),
            ("a".to_owned(), Argument::Bool(true)),
            ("x-queue-type".to_owned(), Argument::Text("quorum".into())),
        ];
        assert_eq!(options.queue_args, expected);
    }

    #[test]
    fn contradictions_are_refused() {
        let lines = [
            "--size 7",
            "--queues 0",
            "--producers 0",
            "--drain-only --publish-only",
            "--rate -1",
            "--time nan",
            "--fanout --queues 3",
            "--exchange-type direct --matches 2",
            "--producers 2 --queues 2",
            "--queue-args novalue",
            "--uri http://x",
        ];
        for line in lines {
            assert!(parse(line).is_err(), "{line}");
        }
        assert!(parse("--fanout --queues 3 --consumers 3").is_ok());
    }
}
