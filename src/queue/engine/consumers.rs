//! The consumers of a queue: who may take the next message.
//!
//! Consumers that could take a message stand in a ring for each priority, and the first of the highest ring is served;
//! afterwards it goes to the end of its ring if it could take another ([`Consumers::turn`]).

use std::collections::VecDeque;

use super::{Accept, ConsumerKey, SubscribeError, Terms};

/// A consumer of the queue.
pub struct Consumer<C> {
    pub outlet: C,
    pub terms: Terms,
    unacked: u32,
    /// The outlet refused or is full; [`Consumers::resume`] ends it.
    paused: bool,
    /// Stands in the ring of its priority.
    queued: bool,
    generation: u32,
}

impl<C> Consumer<C> {
    #[inline]
    fn can_take(&self) -> bool {
        !self.paused && self.has_credit()
    }

    #[inline]
    fn has_credit(&self) -> bool {
        self.terms.no_ack || self.terms.prefetch == 0 || self.unacked < self.terms.prefetch
    }

    /// Books what the outlet said; true when it took the message.
    pub fn note_answer(&mut self, answer: Accept) -> bool {
        self.paused = answer != Accept::Taken;
        let taken = answer != Accept::Refused;
        if taken && !self.terms.no_ack {
            self.unacked += 1;
        }
        taken
    }
}

/// All consumers of a queue.
pub struct Consumers<C> {
    slots: Vec<Option<Consumer<C>>>,
    /// Every generation is used once, whatever slot it stands in.
    next_generation: u32,
    count: u32,
    /// Consumers that could take a message now, by falling priority, round robin among equals.
    rings: Vec<(i64, VecDeque<ConsumerKey>)>,
    exclusive: Option<ConsumerKey>,
    single_active: bool,
    /// Consumers in order of arrival, when only the first is served.
    line: Vec<ConsumerKey>,
}

impl<C> Consumers<C> {
    pub fn new(single_active: bool) -> Self {
        Self {
            slots: Vec::new(),
            next_generation: 0,
            count: 0,
            rings: Vec::new(),
            exclusive: None,
            single_active,
            line: Vec::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.count as usize
    }

    pub fn is_single_active(&self) -> bool {
        self.single_active
    }

    /// Whether messages go to it: with a single active consumer, only to the first in line.
    pub fn is_active(&self, key: ConsumerKey) -> bool {
        !self.single_active || self.line.first() == Some(&key)
    }

    pub fn iter(&self) -> impl Iterator<Item = (ConsumerKey, &C)> {
        self.slots.iter().enumerate().filter_map(|(i, slot)| {
            let consumer = slot.as_ref()?;
            let index = u32::try_from(i).ok()?;
            Some((ConsumerKey { index, generation: consumer.generation }, &consumer.outlet))
        })
    }

    #[inline]
    pub fn get_mut(&mut self, key: ConsumerKey) -> Option<&mut Consumer<C>> {
        let consumer = self.slots.get_mut(key.index as usize)?.as_mut()?;
        (consumer.generation == key.generation).then_some(consumer)
    }

    #[inline]
    pub fn has_ready(&self) -> bool {
        self.rings.iter().any(|(_, ring)| !ring.is_empty())
    }

    /// The next consumer: the first in the ring of the highest priority that has one. It stays there until [`Self::turn`].
    #[inline]
    pub fn first(&self) -> Option<ConsumerKey> {
        self.rings.iter().find_map(|(_, ring)| ring.front().copied())
    }

    /// The first consumer has had its turn: it goes to the end of its ring, or leaves it when it cannot take another message.
    #[inline]
    pub fn turn(&mut self) {
        let Some((_, ring)) = self.rings.iter_mut().find(|(_, ring)| !ring.is_empty()) else { return };
        let Some(key) = ring.front().copied() else { return };
        let consumer = self.slots.get_mut(key.index as usize).and_then(Option::as_mut);
        let consumer = consumer.filter(|consumer| consumer.generation == key.generation);
        if consumer.as_ref().is_some_and(|consumer| consumer.can_take()) {
            if ring.len() > 1 {
                ring.rotate_left(1);
            }
            return;
        }
        ring.pop_front();
        if let Some(consumer) = consumer {
            consumer.queued = false;
        }
    }

    /// Puts a consumer at the end of its ring if it could take a message.
    #[inline]
    pub fn queue_up(&mut self, key: ConsumerKey) {
        if self.single_active && self.line.first() != Some(&key) {
            return;
        }
        let Some(consumer) = self.get_mut(key) else { return };
        if consumer.queued || !consumer.can_take() {
            return;
        }
        consumer.queued = true;
        let priority = consumer.terms.priority;
        match self.rings.binary_search_by(|(p, _)| priority.cmp(p)) {
            Ok(i) => {
                if let Some((_, ring)) = self.rings.get_mut(i) {
                    ring.push_back(key);
                }
            }
            Err(i) => self.rings.insert(i, (priority, VecDeque::from([key]))),
        }
    }

    /// One of its deliveries has been settled.
    #[inline]
    pub fn give_credit(&mut self, key: ConsumerKey) {
        if let Some(consumer) = self.get_mut(key) {
            consumer.unacked = consumer.unacked.saturating_sub(1);
            self.queue_up(key);
        }
    }

    pub fn resume(&mut self, key: ConsumerKey) {
        if let Some(consumer) = self.get_mut(key) {
            consumer.paused = false;
            self.queue_up(key);
        }
    }

    /// Adds a consumer.
    ///
    /// # Errors
    /// When the queue is, or would have to be, in exclusive use.
    pub fn add(&mut self, outlet: C, terms: Terms) -> Result<ConsumerKey, SubscribeError> {
        if self.exclusive.is_some() || (terms.exclusive && self.count > 0) {
            return Err(SubscribeError::InExclusiveUse);
        }
        let generation = self.next_generation;
        self.next_generation = self.next_generation.wrapping_add(1);
        let consumer = Consumer { outlet, terms, unacked: 0, paused: false, queued: false, generation };
        let free = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        match self.slots.get_mut(free) {
            Some(slot) => *slot = Some(consumer),
            None => self.slots.push(Some(consumer)),
        }
        let key = ConsumerKey { index: u32::try_from(free).unwrap_or(u32::MAX), generation };
        self.count += 1;
        if terms.exclusive {
            self.exclusive = Some(key);
        }
        if self.single_active {
            self.line.push(key);
        }
        self.queue_up(key);
        Ok(key)
    }

    /// Removes a consumer; returns what was kept of it.
    pub fn remove(&mut self, key: ConsumerKey) -> Option<C> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.as_ref()?.generation != key.generation {
            return None;
        }
        let consumer = slot.take()?;
        self.count -= 1;
        while matches!(self.slots.last(), Some(None)) {
            self.slots.pop();
        }
        for (_, ring) in &mut self.rings {
            ring.retain(|k| *k != key);
        }
        self.rings.retain(|(_, ring)| !ring.is_empty());
        if self.exclusive == Some(key) {
            self.exclusive = None;
        }
        self.line.retain(|k| *k != key);
        if let (true, Some(first)) = (self.single_active, self.line.first().copied()) {
            self.queue_up(first);
        }
        Some(consumer.outlet)
    }

    /// Takes all of them away.
    pub fn take(&mut self) -> Vec<C> {
        self.rings = Vec::new();
        self.line = Vec::new();
        self.exclusive = None;
        self.count = 0;
        std::mem::take(&mut self.slots).into_iter().flatten().map(|c| c.outlet).collect()
    }
}
