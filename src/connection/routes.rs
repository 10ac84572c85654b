//! Where messages go: the queues of a route, and the routes that a connection remembers.

use std::collections::HashMap;
use std::sync::Arc;

use crate::queue::Queue;
use crate::stats::ExchangeCounts;

/// Most that a connection remembers of routes: each counts as eight and its queues.
const CACHE_SIZE: usize = 16 * 1024;

/// The queues of messages that go the same way, and the exchange that counts them.
#[derive(Debug, Default)]
pub struct Way {
    pub queues: Box<[Arc<Queue>]>,
    /// None for what was published before, by others.
    pub(super) exchange: Option<Arc<ExchangeCounts>>,
    /// The queues are where the exchange keeps messages that are not due.
    pub(super) waits: bool,
}

impl Way {
    pub(super) fn new(queues: Vec<Arc<Queue>>, exchange: Arc<ExchangeCounts>) -> Self {
        Self { queues: queues.into(), exchange: Some(exchange), waits: false }
    }
}

impl Way {
    /// A message with this route is in no run, and so is not counted there.
    pub(super) fn count_lost(&self) {
        if let Some(exchange) = &self.exchange {
            exchange.publish(1, 0);
        }
    }
}

/// Where a message goes. Those of one run share it.
pub type Route = Arc<Way>;

/// Routes that were looked up before, by exchange and routing key as they lie on the wire.
#[derive(Default)]
pub struct RouteCache {
    routes: HashMap<Arc<[u8]>, Route, foldhash::fast::RandomState>,
    /// The route used last: most publishers use one for long.
    last: Option<(Arc<[u8]>, Route)>,
    /// What the routes count, up to [`CACHE_SIZE`].
    size: usize,
    topology_epoch: u64,
    rules_epoch: u64,
}

impl RouteCache {
    #[inline]
    pub(super) fn get(&mut self, key: &[u8], topology_epoch: u64, rules_epoch: u64) -> Option<&Route> {
        if (topology_epoch, rules_epoch) != (self.topology_epoch, self.rules_epoch) {
            self.clear();
            (self.topology_epoch, self.rules_epoch) = (topology_epoch, rules_epoch);
            return None;
        }
        if self.last.as_ref().is_none_or(|(last, _)| **last != *key) {
            let (key, route) = self.routes.get_key_value(key)?;
            self.last = Some((Arc::clone(key), Arc::clone(route)));
        }
        self.last.as_ref().map(|(_, route)| route)
    }

    fn clear(&mut self) {
        self.routes.clear();
        self.last = None;
        self.size = 0;
    }

    pub(super) fn put(&mut self, key: &[u8], route: Route) {
        self.size += 8 + route.queues.len();
        if self.size > CACHE_SIZE {
            self.clear();
            self.size = 8 + route.queues.len();
        }
        let key: Arc<[u8]> = key.into();
        self.last = Some((Arc::clone(&key), Arc::clone(&route)));
        self.routes.insert(key, route);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cached_route_is_gone_when_an_epoch_moves() {
        let mut cache = RouteCache::default();
        assert!(cache.get(b"k", 1, 1).is_none());
        cache.put(b"k", Route::default());
        assert!(cache.get(b"k", 1, 1).is_some());
        assert!(cache.get(b"k", 2, 1).is_none());
        cache.put(b"k", Route::default());
        assert!(cache.get(b"k", 2, 2).is_none());
    }
}
