//! What the connections of a node add up to: now, per second, and over time.
//!
//! [`Census::sums`] goes through all connections when somebody asks; what those that have ended have counted is added.
//! [`Census::tick`] does the same at every statistics interval and keeps what comes of it, and has every queue and exchange
//! that has moved take its rates.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::deliveries::ChannelOut;
use super::machine::Shared;
use super::registry::Registered;
use crate::stats::history::{History, Sample};
use crate::stats::{CHURN_KINDS, Counted, KINDS, Left, Rates, Sizes};

/// What connections add up to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    pub counted: Counted,
    pub sizes: Sizes,
    pub connections: u64,
    pub channels: u64,
    pub consumers: u64,
    /// Channels that have published.
    pub publishers: u64,
    /// Of the connections that are open: bytes, and the reads and writes that moved them.
    pub received: u64,
    pub reads: u64,
    pub sent: u64,
    pub writes: u64,
    pub unacked: u64,
    pub unconfirmed: u64,
    pub uncommitted: u64,
    pub acks_uncommitted: u64,
    pub prefetch: u64,
    pub global_prefetch: u64,
}

impl Sums {
    fn add_connection(&mut self, connection: &Registered) {
        let counts = &connection.outbox.counts;
        self.connections += 1;
        self.received = self.received.wrapping_add(counts.received.get());
        self.reads += counts.reads.get();
        self.sent = self.sent.wrapping_add(counts.sent.get());
        self.writes += counts.writes.get();
        self.counted.add_all(&counts.counted());
        self.sizes.add_all(&counts.sizes());
        connection.outbox.each_channel(|_, channel| self.add_channel(channel));
    }

    fn add_channel(&mut self, channel: &mut ChannelOut) {
        let publishing = &channel.publishing;
        self.channels += 1;
        self.consumers += channel.consumer_count() as u64;
        self.publishers += u64::from(publishing.publish.get() > 0);
        self.unacked += channel.unacked() as u64;
        self.unconfirmed += publishing.unconfirmed();
        self.uncommitted += publishing.uncommitted.get();
        self.acks_uncommitted += publishing.acks_uncommitted.get();
        self.prefetch += publishing.prefetch.get();
        self.global_prefetch += u64::from(channel.global_prefetch());
        self.counted.add_all(&channel.counted());
    }

    fn add_left(&mut self, left: &Left) {
        self.counted.add_all(&left.counted);
        self.sizes.add_all(&left.sizes);
    }
}

/// How a node stood at some time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing {
    pub counted: Counted,
    pub churn: [u64; CHURN_KINDS],
    /// Messages in all queues.
    pub ready: u64,
    pub unacked: u64,
}

#[derive(Default)]
struct State {
    rates: Rates<KINDS>,
    churn: Rates<CHURN_KINDS>,
    /// Messages in all queues at the last sample, and how fast they became more or less.
    lengths: [u64; 2],
    length_rates: [f64; 2],
    vhosts: HashMap<Arc<str>, Rates<KINDS>>,
    history: History<Standing>,
    /// The most that was ever told: a channel that ends while the others are asked may be missing for a moment.
    most: Left,
}

/// Sums, rates, and how they were.
#[derive(Default)]
pub struct Census(Mutex<State>);

impl Census {
    /// What all connections add up to, and those that have ended; or those of one virtual host.
    pub fn sums(&self, shared: &Shared, vhost: Option<&str>) -> Sums {
        let mut sums = Sums::default();
        let Some(name) = vhost else {
            // Before the others: what ends meanwhile is missing rather than counted twice.
            let left = shared.broker.totals.left();
            shared.registry.all().iter().for_each(|connection| sums.add_connection(connection));
            sums.add_left(&left);
            let mut state = self.0.lock();
            (sums.counted, sums.sizes) = state.never_less(sums.counted, sums.sizes);
            return sums;
        };
        let Some(vhost) = shared.broker.vhost(name) else { return sums };
        let left = vhost.totals.left();
        let here = |connection: &&Registered| *connection.vhost == *name;
        shared.registry.all().iter().filter(here).for_each(|connection| sums.add_connection(connection));
        sums.add_left(&left);
        sums
    }

    /// Messages in all queues: ready and unacked.
    pub fn lengths(&self, shared: &Shared) -> (u64, u64) {
        shared.broker.moved().count_lengths();
        let each = shared.broker.vhosts().into_iter().map(|v| (v.sums.queues.ready(), v.sums.queues.unacked()));
        each.fold((0, 0), |(ready, unacked), (r, u)| (ready + r, unacked + u))
    }

    /// Takes a sample of everything, `seconds` after the last one.
    pub fn tick(&self, shared: &Shared, seconds: f64) {
        let now = shared.broker.clock.now_ms();
        shared.broker.moved().sample(seconds, now);
        let left = shared.broker.totals.left();
        let mut all = Sums::default();
        let mut of_vhosts: HashMap<Arc<str>, Sums> = HashMap::new();
        let vhosts = shared.broker.vhosts();
        for vhost in &vhosts {
            of_vhosts.entry(Arc::clone(&vhost.name)).or_default().add_left(&vhost.totals.left());
            vhost.default_exchange.sample(seconds);
            vhost.topology.read().exchanges.values().for_each(|exchange| exchange.counts.sample(seconds));
        }
        for connection in shared.registry.all() {
            connection.outbox.sample(seconds, now);
            let mut one = Sums::default();
            one.add_connection(&connection);
            all.counted.add_all(&one.counted);
            if let Some(sums) = of_vhosts.get_mut(&connection.vhost) {
                sums.counted.add_all(&one.counted);
            }
        }
        all.add_left(&left);
        let lengths = self.lengths(shared);
        let churn = shared.broker.churn.all();
        let mut state = self.0.lock();
        let (counted, _) = state.never_less(all.counted, all.sizes);
        state.rates.sample(&counted.0, seconds);
        state.churn.sample(&churn, seconds);
        let per_second = |now: u64, before: u64| (now as f64 - before as f64) / seconds.max(0.001);
        let [ready, unacked] = state.lengths;
        state.length_rates = [per_second(lengths.0, ready), per_second(lengths.1, unacked)];
        state.lengths = [lengths.0, lengths.1];
        state.vhosts.retain(|name, _| of_vhosts.contains_key(name));
        for (name, sums) in of_vhosts {
            state.vhosts.entry(name).or_default().sample(&sums.counted.0, seconds);
        }
        state.history.add(now, Standing { counted, churn, ready: lengths.0, unacked: lengths.1 });
    }

    /// Rates of what is counted.
    pub fn rates(&self) -> Rates<KINDS> {
        self.0.lock().rates
    }

    /// The same of one virtual host.
    pub fn rates_of(&self, vhost: &str) -> Rates<KINDS> {
        self.0.lock().vhosts.get(vhost).copied().unwrap_or_default()
    }

    pub fn churn_rates(&self) -> Rates<CHURN_KINDS> {
        self.0.lock().churn
    }

    /// How fast ready and unacked messages become more, or less.
    pub fn length_rates(&self) -> [f64; 2] {
        self.0.lock().length_rates
    }

    /// How the node stood in the last `age` milliseconds, every `step`; newest first.
    pub fn history(&self, now: u64, age: u64, step: u64) -> Vec<Sample<Standing>> {
        self.0.lock().history.between(now, age, step)
    }
}

impl State {
    fn never_less(&mut self, counted: Counted, sizes: Sizes) -> (Counted, Sizes) {
        self.most.counted.raise_to(&counted);
        if sizes.count() >= self.most.sizes.count() {
            self.most.sizes = sizes;
        }
        (self.most.counted, self.most.sizes)
    }
}

/// Has the census take its samples until the node stops.
pub async fn keep(shared: Arc<Shared>, interval: Duration, mut stopping: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last = ticks.tick().await;
    loop {
        let now = tokio::select! {
            _ = stopping.changed() => return,
            now = ticks.tick() => now,
        };
        let seconds = now.duration_since(last).as_secs_f64();
        last = now;
        let shared = Arc::clone(&shared);
        if tokio::task::spawn_blocking(move || shared.census.tick(&shared, seconds)).await.is_err() {
            tracing::error!(target: "leveret", "statistics are not kept any more");
            return;
        }
    }
}
