//! Messages that have gone from which exchange into which queue, for the mode of rates `detailed`. Whoever publishes adds a run of
//! messages at a time; pages of exchanges and queues look for theirs.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::queue::Queue;
use crate::stats::{ExchangeCounts, Rates};

/// Pairs of exchanges and queues that are counted in a virtual host; more are not counted apart.
const MOST: usize = 10_000;

/// What has gone where.
#[derive(Default)]
pub struct Flows(Mutex<HashMap<(usize, u64), Pair>>);

struct Pair {
    exchange: Weak<ExchangeCounts>,
    queue: Weak<Queue>,
    messages: u64,
    rates: Rates<1>,
}

/// What has gone from one exchange into one queue.
pub struct Flow {
    pub exchange: Arc<ExchangeCounts>,
    pub queue: Arc<Queue>,
    pub messages: u64,
    pub rate: f64,
}

impl Flows {
    /// Messages have gone from an exchange into each of the queues.
    pub fn add(&self, exchange: &Arc<ExchangeCounts>, queues: &[Arc<Queue>], messages: u64) {
        let mut pairs = self.0.lock();
        for queue in queues {
            let key = (Arc::as_ptr(exchange).addr(), queue.id);
            if pairs.len() >= MOST && !pairs.contains_key(&key) {
                continue;
            }
            let new = || Pair {
                exchange: Arc::downgrade(exchange),
                queue: Arc::downgrade(queue),
                messages: 0,
                rates: Rates::default(),
            };
            let pair = pairs.entry(key).or_insert_with(new);
            pair.messages = pair.messages.wrapping_add(messages);
        }
    }

    /// Takes a sample, `seconds` after the last one, and forgets what is gone.
    pub fn sample(&self, seconds: f64) {
        self.0.lock().retain(|_, pair| {
            pair.rates.sample(&[pair.messages], seconds);
            pair.exchange.strong_count() > 0 && pair.queue.strong_count() > 0
        });
    }

    /// Those that are wanted.
    pub fn find(&self, wanted: impl Fn(&Flow) -> bool) -> Vec<Flow> {
        let pairs = self.0.lock();
        let all = pairs.values().filter_map(|pair| {
            let (exchange, queue) = (pair.exchange.upgrade()?, pair.queue.upgrade()?);
            Some(Flow { exchange, queue, messages: pair.messages, rate: pair.rates.get(0) })
        });
        let mut found: Vec<Flow> = all.filter(|flow| wanted(flow)).collect();
        found.sort_by(|a, b| a.queue.spec.name.cmp(&b.queue.spec.name));
        found
    }
}
