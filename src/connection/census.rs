//! What the connections of a node add up to: now, per second, and over time.
//!
//! [`Census::sums`] goes through all connections when somebody asks; what those that have ended have counted is added.
//! [`Census::tick`] does the same at every statistics interval and keeps what comes of it, and has every queue and exchange
//! that has moved take its rates. Samples of the node are kept for a day, those of single objects in [`Albums`]; none at all
//! where `management_agent.disable_metrics_collector` is set.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::counting::Publishing;
use super::deliveries::ChannelOut;
use super::machine::Shared;
use super::outbox::Outbox;
use super::registry::Registered;
use super::uses::Uses;
use crate::queue::Queue;
use crate::queue::counting::QueueSample;
use crate::stats::album::{Album, Span};
use crate::stats::history::{History, Sample};
use crate::stats::rates::{change, rounded};
use crate::stats::{CHURN_KINDS, Counted, ExchangeCounts, KINDS, Left, Rates, Sizes};
use crate::vhost::Vhost;

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

/// How a node or a virtual host stood at some time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Standing {
    pub counted: Counted,
    pub churn: [u64; CHURN_KINDS],
    /// Messages in all queues.
    pub ready: u64,
    pub unacked: u64,
    /// Bytes of a virtual host's open connections.
    pub received: u64,
    pub sent: u64,
}

impl Standing {
    /// Adds another virtual host's numbers.
    pub fn add(&mut self, other: &Self) {
        self.counted.add_all(&other.counted);
        self.ready += other.ready;
        self.unacked += other.unacked;
        self.received += other.received;
        self.sent += other.sent;
    }
}

/// How single objects were over the last hour.
#[derive(Default)]
pub struct Albums {
    pub queues: Album<Queue, QueueSample>,
    /// Messages in and out.
    pub exchanges: Album<ExchangeCounts, [u64; 2]>,
    /// Bytes received and sent.
    pub connections: Album<Outbox, [u64; 2]>,
    /// A channel's publishes are its own as long as it lives.
    pub channels: Album<Publishing, Counted>,
    pub vhosts: Album<Vhost, Standing>,
}

impl Albums {
    fn closed() -> Self {
        Self {
            queues: Album::closed(),
            exchanges: Album::closed(),
            connections: Album::closed(),
            channels: Album::closed(),
            vhosts: Album::closed(),
        }
    }

    fn note_exchange(&self, counts: &Arc<ExchangeCounts>, seconds: f64, now: u64) {
        let moved = counts.sample(seconds);
        self.exchanges.note(counts, now, counts.flow(), moved);
    }

    fn note_connection(&self, outbox: &Arc<Outbox>, seconds: f64, now: u64) {
        let each = |publishing: &Arc<Publishing>, counted, moved| self.channels.note(publishing, now, counted, moved);
        // Heartbeats alone do not count as moving.
        let moved = outbox.sample(seconds, now, each);
        self.connections.note(outbox, now, outbox.counts.bytes(), moved);
    }

    fn note_queues(&self, shared: &Shared, seconds: f64, now: u64) {
        let mut moved = Vec::new();
        shared.broker.moved().sample(seconds, now, |queue| moved.push(Arc::clone(queue)));
        moved.iter().for_each(|queue| self.queues.note(queue, now, queue.sample_now(), true));
        self.queues.objects().iter().for_each(|queue| self.queues.note(queue, now, queue.sample_now(), false));
    }

    fn sweep(&self, now: u64) {
        self.queues.sweep(now);
        self.exchanges.sweep(now);
        self.connections.sweep(now);
        self.channels.sweep(now);
        self.vhosts.sweep(now);
    }
}

#[derive(Default)]
struct State {
    rates: Rates<KINDS>,
    churn: Rates<CHURN_KINDS>,
    /// Messages in all queues at the last sample, and how fast they became more or less.
    lengths: [u64; 2],
    length_rates: [f64; 2],
    vhosts: HashMap<Arc<str>, OfVhost>,
    history: History<Standing>,
    /// What the node used at the last sample, and how fast that changed.
    uses: Uses,
    use_rates: Uses<f32>,
    use_history: History<Uses>,
    /// The most that was ever told: a channel that ends while the others are asked may be missing for a moment.
    most: Left,
}

/// Rates of a virtual host.
#[derive(Clone, Copy, Debug, Default)]
pub struct OfVhost {
    pub rates: Rates<KINDS>,
    lengths: [u64; 2],
    /// How fast ready and unacked messages become more, or less.
    pub length_rates: [f64; 2],
}

/// Sums, rates, and how they were.
#[derive(Default)]
pub struct Census {
    state: Mutex<State>,
    pub albums: Albums,
    /// How things were is not kept.
    forgets: bool,
}

impl Census {
    /// One that keeps sums and rates, and no samples.
    pub fn without_history() -> Self {
        Self { albums: Albums::closed(), forgets: true, ..Self::default() }
    }

    /// What all connections add up to, and those that have ended; or those of one virtual host.
    pub fn sums(&self, shared: &Shared, vhost: Option<&str>) -> Sums {
        let mut sums = Sums::default();
        let Some(name) = vhost else {
            // Before the others: what ends meanwhile is missing rather than counted twice.
            let left = shared.broker.totals.left();
            shared.registry.all().iter().for_each(|connection| sums.add_connection(connection));
            sums.add_left(&left);
            shared.broker.vhosts().iter().for_each(|vhost| vhost.sums.queues.put_disk(&mut sums.counted));
            let mut state = self.state.lock();
            (sums.counted, sums.sizes) = state.never_less(sums.counted, sums.sizes);
            return sums;
        };
        let Some(vhost) = shared.broker.vhost(name) else { return sums };
        let left = vhost.totals.left();
        let here = |connection: &&Registered| *connection.vhost == *name;
        shared.registry.all().iter().filter(here).for_each(|connection| sums.add_connection(connection));
        sums.add_left(&left);
        vhost.sums.queues.put_disk(&mut sums.counted);
        sums
    }

    /// Messages in all queues: ready and unacked.
    pub fn lengths(&self, shared: &Shared) -> (u64, u64) {
        shared.broker.moved().count_lengths();
        let each = shared.broker.vhosts().into_iter().map(|v| (v.sums.queues.ready(), v.sums.queues.unacked()));
        each.fold((0, 0), |(ready, unacked), (r, u)| (ready + r, unacked + u))
    }

    /// How a virtual host stands.
    pub fn standing_of(&self, shared: &Shared, vhost: &Vhost) -> Standing {
        let Sums { counted, received, sent, .. } = self.sums(shared, Some(&vhost.name));
        let (ready, unacked) = (vhost.sums.queues.ready(), vhost.sums.queues.unacked());
        Standing { counted, ready, unacked, received, sent, ..Standing::default() }
    }

    /// Notes how the node is at its start, so that there are figures over time from then on.
    pub fn begin(&self, shared: &Shared) {
        let (now, uses) = (shared.broker.clock.now_ms(), Uses::now(shared));
        let (ready, unacked) = self.lengths(shared);
        let mut state = self.state.lock();
        state.lengths = [ready, unacked];
        state.uses = uses;
        if !self.forgets {
            state.history.begin(now, Standing { ready, unacked, ..Standing::default() });
            state.use_history.begin(now, uses);
        }
    }

    /// Takes a sample of everything, `seconds` after the last one.
    pub fn tick(&self, shared: &Shared, seconds: f64) {
        let now = shared.broker.clock.now_ms();
        self.albums.note_queues(shared, seconds, now);
        let mut all = Standing::default();
        let mut sizes = Sizes::default();
        let left = shared.broker.totals.left();
        let vhosts = shared.broker.vhosts();
        let mut of_vhosts: HashMap<Arc<str>, (Arc<Vhost>, Standing)> = HashMap::new();
        for vhost in vhosts {
            let mut counted = vhost.totals.left().counted;
            vhost.sums.queues.put_disk(&mut counted);
            vhost.sums.queues.put_disk(&mut all.counted);
            self.albums.note_exchange(&vhost.default_exchange, seconds, now);
            if let Some(flows) = &vhost.flows {
                flows.sample(seconds);
            }
            let exchanges: Vec<_> =
                vhost.topology.read().exchanges.values().map(|exchange| Arc::clone(&exchange.counts)).collect();
            exchanges.iter().for_each(|counts| self.albums.note_exchange(counts, seconds, now));
            of_vhosts.insert(Arc::clone(&vhost.name), (vhost, Standing { counted, ..Standing::default() }));
        }
        for connection in shared.registry.all() {
            self.albums.note_connection(&connection.outbox, seconds, now);
            let mut one = Sums::default();
            one.add_connection(&connection);
            all.counted.add_all(&one.counted);
            sizes.add_all(&one.sizes);
            if let Some((_, standing)) = of_vhosts.get_mut(&connection.vhost) {
                standing.counted.add_all(&one.counted);
                standing.received += one.received;
                standing.sent += one.sent;
            }
        }
        all.counted.add_all(&left.counted);
        sizes.add_all(&left.sizes);
        (all.ready, all.unacked) = self.lengths(shared);
        all.churn = shared.broker.churn.all();
        let uses = Uses::now(shared);
        let mut state = self.state.lock();
        (all.counted, _) = state.never_less(all.counted, sizes);
        state.rates.sample(&all.counted.0, seconds);
        state.churn.sample(&all.churn, seconds);
        let lengths = [all.ready, all.unacked];
        state.length_rates = length_rates(std::mem::replace(&mut state.lengths, lengths), lengths, seconds);
        state.vhosts.retain(|name, _| of_vhosts.contains_key(name));
        for (name, (vhost, mut standing)) in of_vhosts {
            (standing.ready, standing.unacked) = (vhost.sums.queues.ready(), vhost.sums.queues.unacked());
            let of_vhost = state.vhosts.entry(name).or_default();
            let lengths = [standing.ready, standing.unacked];
            let before = std::mem::replace(&mut of_vhost.lengths, lengths);
            of_vhost.length_rates = length_rates(before, lengths, seconds);
            let moved = of_vhost.rates.sample(&standing.counted.0, seconds) | (before != lengths);
            self.albums.vhosts.note(&vhost, now, standing, moved);
        }
        state.use_rates = uses.since(&state.uses, seconds);
        state.uses = uses;
        if !self.forgets {
            state.history.add(now, all);
            state.use_history.add(now, uses);
        }
        drop(state);
        self.albums.sweep(now);
    }

    /// Rates of what is counted.
    pub fn rates(&self) -> Rates<KINDS> {
        self.state.lock().rates
    }

    /// The same of one virtual host.
    pub fn rates_of(&self, vhost: &str) -> OfVhost {
        self.state.lock().vhosts.get(vhost).copied().unwrap_or_default()
    }

    pub fn churn_rates(&self) -> Rates<CHURN_KINDS> {
        self.state.lock().churn
    }

    /// How fast ready and unacked messages become more, or less.
    pub fn length_rates(&self) -> [f64; 2] {
        self.state.lock().length_rates
    }

    /// How fast what the node uses changes.
    pub fn use_rates(&self) -> Uses<f32> {
        self.state.lock().use_rates
    }

    /// How the node stood; newest first.
    pub fn history(&self, span: Span) -> Vec<Sample<Standing>> {
        self.state.lock().history.between(span.until, span.age, span.step)
    }

    /// What the node used; newest first.
    pub fn use_history(&self, span: Span) -> Vec<Sample<Uses>> {
        self.state.lock().use_history.between(span.until, span.age, span.step)
    }
}

fn length_rates([ready, unacked]: [u64; 2], now: [u64; 2], seconds: f64) -> [f64; 2] {
    let [ready_now, unacked_now] = now;
    [change(ready, ready_now, seconds), change(unacked, unacked_now, seconds)].map(rounded)
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
    shared.census.begin(&shared);
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
