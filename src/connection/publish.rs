//! Publishing: checks, the route cache, and the batch of one read.
//!
//! A publish without special properties costs two epoch comparisons and one look into the route cache. What a read
//! brought is enqueued by [`Session::finish`]: messages in a row with the same route go into each of its queues under
//! one lock; what has to survive goes to the journal in one piece; then all confirms of a channel go out in one frame, at
//! once or when the journal has done its commit.

use std::cell::Cell;
use std::num::NonZeroU64;
use std::sync::Arc;

use super::apart::Passed;
use super::channel::{Content, Publication};
use super::deliveries::Settled;
use super::error::Failure;
use super::routes::{Route, Way};
use super::session::{Mode, Session};
use crate::auth::Access;
use crate::exchange::{Matching, RouteInput};
use crate::frames::method::split_route;
use crate::frames::table;
use crate::frames::{DecodeError, MethodId, Properties, Refusal, content};
use crate::message::memory::MemoryAccount;
use crate::message::{Incoming, Message, MessageView, Traits, death, headers};
use crate::persist::windows::Notes;
use crate::queue::arguments::check_expiry;
use crate::queue::entries::Entries;
use crate::queue::{Queue, Settlement, Wakes};
use crate::stats::ExchangeCounts;
use crate::vhost::Exchange;
use crate::vhost::broker::ReplyAddress;
use crate::vhost::names::exchange_text;
use crate::vhost::recall::{Follower, Past};
use crate::vhost::route::{Delayed, Routed};

/// The name that stands for direct replies, and the beginning of their addresses.
pub const REPLY_TO: &str = "amq.rabbitmq.reply-to";
const REPLY_PREFIX: &[u8] = b"amq.rabbitmq.reply-to.";

/// Messages in a row that go the same way.
struct Run {
    route: Route,
    reply: Option<ReplyAddress>,
    /// Number of messages.
    length: usize,
    /// Where channels are counted apart; else 0.
    channel: u16,
    /// Channel and number of the first publish, where they are to be confirmed.
    confirm: Option<(u16, u64)>,
    /// Exchanges that remember the message; it is the only one of the run then.
    followers: Vec<Follower>,
    /// The next run is another part of the same publish: the message as it waits in delayed exchanges.
    goes_on: bool,
}

impl Run {
    /// Whether a publish with this number belongs to the run.
    #[inline]
    fn continues(&self, channel: u16, confirm: Option<(u16, u64)>) -> bool {
        match (self.confirm, confirm) {
            (None, None) => self.channel == channel,
            (Some((channel, first)), Some((c, number))) => channel == c && first + self.length as u64 == number,
            _ => false,
        }
    }
}

/// A range of publishes of a channel: first and last number, and whether they were taken.
pub type Fate = (u16, u64, u64, bool);

/// Space for this many messages is kept for the next read.
const KEPT: usize = 4096;

thread_local! {
    /// Space of the thread, so that a read does not have to grow its own.
    static SPACE: Cell<Vec<Incoming<'static>>> = const { Cell::new(Vec::new()) };
}

/// The same space for messages that lie elsewhere.
fn emptied<'b>(mut messages: Vec<Incoming<'_>>) -> Vec<Incoming<'b>> {
    messages.clear();
    // Nothing is left to be mapped; collecting it in place keeps the allocation.
    messages.into_iter().map_while(|_| None).collect()
}

/// Messages on their way into queues, in publish order.
pub struct Publishes<'b> {
    messages: Vec<Incoming<'b>>,
    runs: Vec<Run>,
    /// Queues that messages were put into, each message counting, since the last [`Publishes::take_routed`].
    routed: u64,
    /// What has gone where, of channels that are counted apart.
    passed: Vec<Passed>,
}

impl Default for Publishes<'_> {
    fn default() -> Self {
        Self { messages: emptied(SPACE.take()), runs: Vec::new(), routed: 0, passed: Vec::new() }
    }
}

impl Drop for Publishes<'_> {
    fn drop(&mut self) {
        if (1..=KEPT).contains(&self.messages.capacity()) {
            SPACE.set(emptied(std::mem::take(&mut self.messages)));
        }
    }
}

impl<'b> Publishes<'b> {
    /// Adds a message to the last run; false when it goes another way.
    #[inline]
    fn extend(&mut self, route: &Route, channel: u16, confirm: Option<(u16, u64)>) -> bool {
        match self.runs.last_mut() {
            Some(run) if Arc::ptr_eq(&run.route, route) && run.reply.is_none() && run.continues(channel, confirm) => {
                run.length += 1;
                true
            }
            _ => false,
        }
    }

    #[inline]
    fn push(
        &mut self,
        incoming: Incoming<'b>,
        route: Route,
        reply: Option<ReplyAddress>,
        channel: u16,
        confirm: Option<(u16, u64)>,
    ) {
        if reply.is_some() || !self.extend(&route, channel, confirm) {
            self.runs.push(Run { route, reply, length: 1, channel, confirm, followers: Vec::new(), goes_on: false });
        }
        self.messages.push(incoming);
    }

    /// Adds the part of a message that need not wait. The other part has to follow.
    fn push_part(&mut self, message: Message, route: Route, channel: u16) {
        let run = Run { route, reply: None, length: 1, channel, confirm: None, followers: Vec::new(), goes_on: true };
        self.runs.push(run);
        self.messages.push(Incoming::Held(message));
    }

    /// Notes who remembers the message that was pushed last. Its route is in no cache, so no other joins its run.
    fn follow_last(&mut self, followers: Vec<Follower>) {
        if let Some(run) = self.runs.last_mut() {
            run.followers = followers;
        }
    }

    /// The messages, and where each goes; of one in two parts, where it goes at once.
    pub fn iter(&self) -> impl Iterator<Item = (MessageView<'_>, &Route)> {
        let is_second = std::iter::once(false).chain(self.runs.iter().map(|run| run.goes_on));
        let runs = self.runs.iter().zip(is_second);
        let routes = runs.flat_map(|(run, is_second)| std::iter::repeat_n((&run.route, is_second), run.length));
        let all = self.messages.iter().map(Incoming::view).zip(routes);
        all.filter(|(_, (_, is_second))| !is_second).map(|(message, (route, _))| (message, route))
    }

    /// Number of messages.
    pub fn count(&self) -> usize {
        self.messages.len()
    }

    /// Queues that messages were put into, each message counting.
    pub fn take_routed(&mut self) -> u64 {
        std::mem::take(&mut self.routed)
    }

    /// What has gone where, of channels that are counted apart.
    pub fn take_passed(&mut self) -> Vec<Passed> {
        std::mem::take(&mut self.passed)
    }

    /// The messages are published now, whenever they came. When delayed ones are due has been said already.
    pub fn begin_now(&mut self, now: u64, account: &'static MemoryAccount) {
        let waits = self.runs.iter().flat_map(|run| std::iter::repeat_n(run.route.waits, run.length));
        for (incoming, _) in self.messages.iter_mut().zip(waits).filter(|(_, waits)| !waits) {
            if incoming.traits().at < now {
                *incoming = Incoming::Held(incoming.hold().published_at(now, account));
            }
        }
    }

    /// Nothing comes of the messages.
    pub fn take_back(&mut self) {
        let mut rest = &mut self.messages[..];
        for run in self.runs.drain(..) {
            let Some((messages, after)) = rest.split_at_mut_checked(run.length) else { break };
            tell(&run.followers, messages, false, false, &mut Notes::default());
            rest = after;
        }
        self.messages.clear();
    }

    /// Puts the messages into their queues, those of a run together. Returns what the journal has to get; `fates` gets what
    /// there is to confirm.
    pub fn enqueue(&mut self, wakes: &mut Wakes, fates: &mut Vec<Fate>) -> Entries {
        let mut entries = Entries::default();
        let mut rest = &mut self.messages[..];
        let mut first_part = None;
        for Run { route, reply, length, channel, confirm, followers, goes_on } in self.runs.drain(..) {
            let Some((run, after)) = rest.split_at_mut_checked(length) else { break };
            // What goes two ways is published once.
            let published = if first_part.is_some() { 0 } else { length as u64 };
            let (mut taken, mut kept) = first_part.take().unwrap_or((true, false));
            let mut refused = Vec::new();
            entries.begin();
            let queues = route.queues.len() as u64;
            self.routed += queues * length as u64;
            if let Some(exchange) = &route.exchange {
                exchange.publish(published, if route.waits { 0 } else { queues });
            }
            for queue in &route.queues {
                match queue.publish(run.iter_mut(), wakes) {
                    Ok(landed) => {
                        refused.extend_from_slice(&landed.refused);
                        entries.landed(queue.spec.store_id, landed);
                    }
                    Err(_damaged) => {
                        taken = false;
                        entries.refused = true;
                    }
                }
            }
            kept |= entries.end(run);
            tell(&followers, run, taken && refused.is_empty(), kept, entries.notes());
            if let Some(address) = reply {
                run.iter().for_each(|incoming| deliver_reply(&address, incoming));
            }
            entries.refused |= !refused.is_empty();
            if goes_on {
                first_part = Some((taken && refused.is_empty(), kept));
            }
            let confirmed = match confirm {
                Some(_) if taken => (length - refused.len().min(length)) as u64,
                _ => 0,
            };
            if confirmed > 0
                && let Some(exchange) = &route.exchange
            {
                exchange.confirm(confirmed);
            }
            if let Some((channel, first)) = confirm {
                let last = first + length as u64 - 1;
                if taken && !refused.is_empty() {
                    fates.extend(fates_of(channel, first, last, refused));
                } else {
                    fates.push((channel, first, last, taken));
                }
            }
            if channel != 0 && queues > 0 {
                self.passed.push(Passed { channel, route, messages: published, confirmed });
            }
            rest = after;
        }
        entries
    }

    /// Lets go of the messages, once the journal has been told of them.
    pub fn clear(&mut self) {
        self.messages.clear();
    }
}

/// What one read has brought and has not been carried out yet.
#[derive(Default)]
pub struct Work<'b> {
    publishes: Publishes<'b>,
    pub(super) settled: Settled,
    pub(super) how: Option<Settlement>,
    pub(super) wakes: Wakes,
}

/// Where a message goes once everything about it has been checked.
struct Resolved {
    route: Route,
    reply: Option<ReplyAddress>,
    /// Properties that a rule has changed.
    properties: Option<Vec<u8>>,
    followers: Vec<Follower>,
    delayed: Option<Delayed>,
    /// See [`Traits`].
    hidden: bool,
}

impl Resolved {
    fn plain(route: Route) -> Self {
        Self { route, reply: None, properties: None, followers: Vec::new(), delayed: None, hidden: false }
    }
}

impl Work<'_> {
    /// How many messages wait to be put into queues.
    #[inline]
    pub fn pushed(&self) -> usize {
        self.publishes.messages.len()
    }
}

impl Session {
    /// Notes, for the limits of queues, where the message goes that has been pushed since there were so many.
    pub fn watch(&mut self, work: &Work<'_>, before: usize) {
        let Publishes { messages, runs, .. } = &work.publishes;
        if let (Some(message), Some(run)) = (messages.get(before..).and_then(<[_]>::last), runs.last()) {
            let bytes = message.view().body.len() as u64;
            self.pacing.note_queues(&self.broker, &run.route.queues, bytes);
        }
    }

    /// Takes a publish: checks it, routes it, adds it to the batch (or to the channel's transaction).
    ///
    /// # Errors
    /// The failure that closes the channel or the connection.
    #[inline]
    pub fn publish<'b>(
        &mut self,
        number: u16,
        publication: Publication<'b>,
        work: &mut Work<'b>,
    ) -> Result<(), Failure> {
        let failure = |refusal| Failure::new(refusal, MethodId::PUBLISH);
        self.has_published = true;
        if publication.immediate {
            return Err(failure(Refusal::not_implemented("immediate=true")));
        }
        let most = self.broker.max_message_size();
        if publication.body_size > most {
            let size = publication.body_size;
            let text = format!("message size {size} is larger than configured max size {most}");
            return Err(failure(Refusal::precondition_failed(text)));
        }
        let view = publication.content.view();
        let properties = Properties::parse(view.properties).map_err(|e| Failure::undecodable(e, MethodId::PUBLISH))?;
        let traits = traits_of(&properties, self.now_ms);
        if content::has_more_flags(view.properties) {
            let one_word = content::with_one_flag_word(view.properties);
            let content =
                Content::Assembled { route: view.route.to_vec(), properties: one_word, body: view.body.to_vec() };
            return self.publish(number, Publication { content, ..publication }, work);
        }
        let is_plain = self.is_plain(&properties);
        if !self.traced && is_plain && self.follows_last(number, view.route, work) {
            self.count_publish(number, publication.body_size);
            work.publishes.messages.push(self.incoming(publication.content, traits));
            return Ok(());
        }
        let resolved = if is_plain {
            self.plain_route(view.route, &properties)
        } else {
            self.careful_route(number, view, &properties)
        };
        let Resolved { mut route, reply, properties, followers, delayed, hidden } = match resolved {
            Ok(resolved) => resolved,
            Err(error) => {
                self.postpone_publish(number, publication);
                return Err(error.into_failure());
            }
        };
        let is_routable = delayed.as_ref().is_some_and(|delayed| delayed.is_routable);
        let has_route = !route.queues.is_empty() || reply.is_some() || is_routable;
        let is_returned = publication.mandatory && !has_route;
        self.count_publish(number, publication.body_size);
        if !has_route && (is_returned || delayed.is_none()) {
            self.count_unroutable(number, &route, is_returned);
            self.count_lost_apart(number, &route, is_returned);
        }
        let mut traits = Traits { hidden, ..traits };
        let mut at_once = None;
        if let Some(Delayed { due, queues, .. }) = delayed.filter(|_| !is_returned) {
            let waiting = Way { queues: queues.into(), exchange: route.exchange.clone(), waits: true };
            let route = std::mem::replace(&mut route, Arc::new(waiting));
            if !route.queues.is_empty() {
                let (properties, body) = (properties.as_deref().unwrap_or(view.properties), view.body.to_vec());
                let part = Message::from_parts(view.route, properties, body, traits, self.broker.memory);
                at_once = Some((part, route));
            }
            traits.due = Some(due);
        }
        let mut incoming = match properties {
            Some(properties) => {
                let body = view.body.to_vec();
                Incoming::Held(Message::from_parts(view.route, &properties, body, traits, self.broker.memory))
            }
            None => self.incoming(publication.content, traits),
        };
        let (mut confirm, apart) = (None, self.apart(number));
        match self.channels.get_mut(&number).map(|state| &mut state.mode) {
            Some(Mode::Transaction(transaction)) if is_returned => {
                route.count_lost();
                transaction.returns.push(incoming.hold());
                if !followers.is_empty() {
                    transaction.publishes.push(Incoming::Held(incoming.hold()), Route::default(), None, 0, None);
                    transaction.publishes.follow_last(followers);
                }
                return Ok(());
            }
            Some(Mode::Transaction(transaction)) => {
                if let Some((part, route)) = at_once {
                    transaction.publishes.push_part(part, route, apart);
                }
                transaction.publishes.push(Incoming::Held(incoming.hold()), route, reply, apart, None);
                transaction.publishes.follow_last(followers);
                self.count_transaction(number);
                return Ok(());
            }
            Some(Mode::Confirm(confirms)) => confirm = Some((number, confirms.publish())),
            _ => {}
        }
        if self.traced {
            self.tell_publish(number, incoming.view(), at_once.as_ref().map_or(&route, |(_, route)| route));
        }
        if is_returned {
            route.count_lost();
            self.outbox.returned(number, 312, "NO_ROUTE", incoming.view());
            if let Some(exchange) = route.exchange.as_ref().filter(|_| confirm.is_some()) {
                exchange.confirm(1);
            }
            route = Route::default();
        }
        if route.queues.is_empty() && reply.is_none() && confirm.is_none() && followers.is_empty() {
            route.count_lost();
        } else {
            let is_followed = !followers.is_empty();
            if let Some((part, route)) = at_once {
                work.publishes.push_part(part, route, apart);
            }
            work.publishes.push(incoming, route, reply, apart, confirm);
            if is_followed {
                work.publishes.follow_last(followers);
            }
        }
        Ok(())
    }

    /// True when the route cache may decide: no property needs a look.
    #[inline]
    fn is_plain(&self, properties: &Properties<'_>) -> bool {
        let counts_deaths = self.broker.config.limits.count_client_deaths;
        properties.expiration.is_none()
            && properties.user_id.is_none()
            && properties.reply_to != Some(REPLY_TO.as_bytes())
            && properties.headers.is_none_or(|headers| !has_special(headers, counts_deaths))
    }

    /// The usual case: a message that goes the way of the one before it. Books it; true when that was so.
    #[inline]
    fn follows_last(&mut self, number: u16, key: &[u8], work: &mut Work<'_>) -> bool {
        let (topology, rules) = (self.vhost.current_epoch(), self.rights_epoch());
        let Some(state) = self.channels.get_mut(&number) else { return false };
        if matches!(state.mode, Mode::Transaction(_)) {
            return false;
        }
        let Some(route) = self.routes.get(key, topology, rules) else { return false };
        if route.queues.is_empty() {
            // It may have to be returned.
            return false;
        }
        let confirm = match &state.mode {
            Mode::Confirm(confirms) => Some((number, confirms.next())),
            _ => None,
        };
        let apart = if self.is_detailed { number } else { 0 };
        let follows = work.publishes.extend(route, apart, confirm);
        if follows && let Mode::Confirm(confirms) = &mut state.mode {
            confirms.publish();
        }
        follows
    }

    /// Counts a message that has no queue to go to.
    fn count_unroutable(&self, number: u16, route: &Route, is_returned: bool) {
        if let Some(state) = self.channels.get(&number) {
            let publishing = &state.publishing;
            if is_returned { &publishing.returned } else { &publishing.dropped }.add(1);
        }
        if let Some(exchange) = &route.exchange {
            exchange.unroutable(is_returned);
        }
    }

    /// The message as it goes into queues.
    #[inline]
    fn incoming<'b>(&self, content: Content<'b>, traits: Traits) -> Incoming<'b> {
        let account = self.broker.memory;
        match content {
            Content::InPlace { bytes, mut layout } => {
                layout.traits = traits;
                Incoming::Borrowed { bytes, layout, account }
            }
            Content::Assembled { route, properties, body } => {
                Incoming::Held(Message::from_parts(&route, &properties, body, traits, account))
            }
        }
    }

    /// The route of a message that has no property which the broker has to look at.
    #[inline]
    fn plain_route(&mut self, key: &[u8], properties: &Properties<'_>) -> Result<Resolved, Unroutable> {
        let (topology, rules) = (self.vhost.current_epoch(), self.rights_epoch());
        if let Some(route) = self.routes.get(key, topology, rules) {
            return Ok(Resolved::plain(Arc::clone(route)));
        }
        let (exchange, routing_key) = names(key)?;
        if exchange.is_empty() && key_is_reply(routing_key) {
            self.check_access(Access::Write, "exchange", exchange)?;
            let reply = self.reply_address(routing_key);
            let way = Way::new(Vec::new(), Arc::clone(&self.vhost.default_exchange));
            return Ok(Resolved { reply, ..Resolved::plain(Arc::new(way)) });
        }
        let (routed, counts) = self.checked_route(exchange, &[routing_key], properties, true)?;
        let route = Arc::new(Way::new(routed.queues, counts));
        if routed.by_key_only {
            self.routes.put(key, Arc::clone(&route));
        }
        Ok(Resolved { followers: routed.followers, delayed: routed.delayed, ..Resolved::plain(route) })
    }

    /// Permission, existence, kind, topic permission; then the queues.
    fn checked_route(
        &mut self,
        exchange: &str,
        keys: &[&str],
        properties: &Properties<'_>,
        check: bool,
    ) -> Result<(Routed, Arc<ExchangeCounts>), Refusal> {
        if check {
            self.check_publish(exchange)?;
            self.check_publish_topic(exchange, keys)?;
        }
        let found = if exchange.is_empty() { None } else { Some(self.existing_exchange(exchange)?) };
        let keys: Vec<&[u8]> = keys.iter().map(|k| k.as_bytes()).collect();
        let routed = self.vhost.route(found.as_ref(), &RouteInput { keys: &keys, properties, now: self.now_ms });
        let counts = found.as_ref().map_or(&self.vhost.default_exchange, |exchange| &exchange.counts);
        Ok((routed, Arc::clone(counts)))
    }

    fn existing_exchange(&self, name: &str) -> Result<Arc<Exchange>, Refusal> {
        let missing = || Refusal::not_found(format!("no {}", exchange_text(&self.vhost.name, name)));
        self.vhost.exchange(name).ok_or_else(missing)
    }

    fn check_publish(&mut self, exchange: &str) -> Result<(), Refusal> {
        self.check_access(Access::Write, "exchange", exchange)?;
        if exchange.is_empty() {
            return Ok(());
        }
        if self.existing_exchange(exchange)?.record.internal {
            let text = exchange_text(&self.vhost.name, exchange);
            return Err(Refusal::access_refused(format!("cannot publish to internal {text}")));
        }
        Ok(())
    }

    fn check_publish_topic(&mut self, exchange: &str, keys: &[&str]) -> Result<(), Refusal> {
        if exchange.is_empty() || self.existing_exchange(exchange)?.settings.matching != Matching::Topic {
            return Ok(());
        }
        keys.iter().try_for_each(|key| self.check_topic(Access::Write, exchange, key))
    }

    /// A message with properties that matter, checked in RabbitMQ's order.
    fn careful_route(
        &mut self,
        number: u16,
        view: MessageView<'_>,
        properties: &Properties<'_>,
    ) -> Result<Resolved, Unroutable> {
        let (exchange, routing_key) = names(view.route)?;
        self.check_publish(exchange)?;
        let mut rewritten = None;
        if properties.reply_to == Some(REPLY_TO.as_bytes()) {
            let reply = self.channels.get(&number).and_then(|state| state.reply.as_ref());
            let missing = || Refusal::precondition_failed("fast reply consumer does not exist");
            let address = &reply.ok_or_else(missing)?.address;
            rewritten = Some(content::with_reply_to(view.properties, address.as_bytes()));
        }
        if let Some(expiration) = properties.expiration {
            check_expiration(expiration)?;
        }
        let headers = properties.headers.unwrap_or_default();
        let mut keys = vec![routing_key];
        keys.extend(extra_keys(headers, "CC")?);
        keys.extend(extra_keys(headers, "BCC")?);
        self.check_publish_topic(exchange, &keys)?;
        self.check_user_id(properties.user_id)?;
        let reply = if exchange.is_empty() { keys.iter().find_map(|key| self.reply_address(key)) } else { None };
        let mut hidden = table::find(headers, b"BCC").is_some();
        if !self.broker.config.limits.count_client_deaths && table::find(headers, death::DEATHS.as_bytes()).is_some() {
            rewritten = Some(death::uncounted(rewritten.as_deref().unwrap_or(view.properties)));
            hidden = true;
        }
        let (routed, counts) = self.checked_route(exchange, &keys, properties, false)?;
        let Routed { queues, followers, delayed, .. } = routed;
        let route = Arc::new(Way::new(queues, counts));
        Ok(Resolved { route, reply, properties: rewritten, followers, delayed, hidden })
    }

    fn check_user_id(&self, user_id: Option<&[u8]>) -> Result<(), Refusal> {
        let Some(user_id) = user_id else { return Ok(()) };
        if user_id == self.user.name.as_bytes() || self.user.has_tag("impersonator") {
            return Ok(());
        }
        let (claimed, user) = (String::from_utf8_lossy(user_id), &self.user.name);
        let text = format!("user_id property set to '{claimed}' but authenticated user was '{user}'");
        Err(Refusal::precondition_failed(text))
    }

    /// The channel that waits for replies at this address.
    fn reply_address(&self, routing_key: &str) -> Option<ReplyAddress> {
        if !key_is_reply(routing_key) {
            return None;
        }
        self.broker.replies.get(routing_key).map(|address| address.clone())
    }

    /// Gives a new binding's destination the messages that came before it.
    pub(super) fn publish_past(&mut self, past: Option<&Past>) {
        let Some(past) = past else { return };
        let mut work = Work::default();
        for message in past.messages(self.now_ms, self.broker.memory) {
            let routed = past.route(&self.vhost, &message, self.now_ms);
            let route = |queues: Vec<Arc<Queue>>| Arc::new(Way { queues: queues.into(), ..Way::default() });
            if let Some(Delayed { due, queues, .. }) = routed.delayed {
                let waiting = message.with_due(Some(due), self.broker.memory);
                work.publishes.push_part(message, route(routed.queues), 0);
                work.publishes.push(Incoming::Held(waiting), route(queues), None, 0, None);
            } else {
                work.publishes.push(Incoming::Held(message), route(routed.queues), None, 0, None);
            }
            work.publishes.follow_last(routed.followers);
        }
        self.finish(&mut work);
    }

    /// Carries out what has gathered: publishes queue by queue, settlements, confirms; then wakes who has to write.
    pub fn finish(&mut self, work: &mut Work<'_>) {
        let mut fates = Vec::new();
        let entries = work.publishes.enqueue(&mut work.wakes, &mut fates);
        self.count_all();
        self.outbox.counts.routed.add(work.publishes.take_routed());
        if self.is_detailed {
            self.count_passed(work.publishes.take_passed());
        }
        super::acks::apply(work);
        // What was rejected is where it goes before anything is confirmed that came later.
        work.wakes.send_letters();
        // What a client has published and acked in one go is one entry of the journal, of which nothing is in two commits.
        let store = self.broker.store.as_ref();
        // Nobody waits for acks, nor for publishes that are not confirmed: the journal may take its time over them.
        let waiter = fates.iter().any(|(.., taken)| *taken).then(|| self.waiter());
        let commit = store.and_then(|store| entries.append(&store.journal, waiter.as_ref(), &mut work.wakes));
        work.publishes.clear();
        if !fates.is_empty() {
            self.confirm(commit, fates);
        }
        work.wakes.run();
    }

    /// Confirms publishes, those that were taken once the commit that they are in is done.
    fn confirm(&mut self, commit: Option<u64>, mut fates: Vec<Fate>) {
        if let Some(commit) = commit {
            fates.retain(|(channel, first, last, taken)| {
                if *taken {
                    self.confirm_with(commit, *channel, *first, *last);
                }
                !*taken
            });
        }
        if !fates.is_empty() {
            self.send_confirms(fates.into_iter());
        }
    }

    pub(super) fn send_confirms(&mut self, due: impl Iterator<Item = Fate>) {
        let mut writing = self.outbox.lock();
        let mut due = due.peekable();
        while let Some((number, first, last, positive)) = due.next() {
            let Some(state) = self.channels.get_mut(&number) else { continue };
            let Mode::Confirm(confirms) = &mut state.mode else { continue };
            confirms.settle(first, last, positive);
            if positive { &state.publishing.confirm } else { &state.publishing.refuse }.add(last - first + 1);
            if due.peek().is_some_and(|(next, ..)| *next == number) {
                continue;
            }
            confirms.answers(|answer| {
                let out = writing.buffer();
                if answer.positive {
                    crate::frames::write::ack(out, number, answer.tag, answer.multiple);
                } else {
                    crate::frames::write::nack(out, number, answer.tag, answer.multiple, false);
                }
            });
        }
    }
}

/// Tells the exchanges that remember messages what has become of these.
fn tell(followers: &[Follower], messages: &mut [Incoming<'_>], taken: bool, kept: bool, notes: &mut Notes) {
    for follower in followers {
        messages.iter_mut().for_each(|message| follower.settle(message, taken, kept, notes));
    }
}

/// The fates of a run of publishes of which some were refused, by index.
fn fates_of(channel: u16, first: u64, last: u64, mut refused: Vec<usize>) -> Vec<Fate> {
    refused.sort_unstable();
    refused.dedup();
    let mut fates = Vec::new();
    let mut next = first;
    for number in refused.into_iter().map(|index| first + index as u64) {
        if next < number {
            fates.push((channel, next, number - 1, true));
        }
        fates.push((channel, number, number, false));
        next = number + 1;
    }
    if next <= last {
        fates.push((channel, next, last, true));
    }
    fates
}

fn deliver_reply(to: &ReplyAddress, incoming: &Incoming<'_>) {
    if let Some(outlet) = to.outlet.upgrade() {
        // A requester that has gone meanwhile gets nothing, as with RabbitMQ.
        let _ = outlet.deliver_reply(to.channel, to.consumer_tag.as_bytes(), incoming.view());
    }
}

/// Why a message has no route: refused, or not even readable.
enum Unroutable {
    Refused(Refusal),
    Undecodable(DecodeError),
}

impl From<Refusal> for Unroutable {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Unroutable {
    fn into_failure(self) -> Failure {
        match self {
            Self::Refused(refusal) => Failure::new(refusal, MethodId::PUBLISH),
            Self::Undecodable(error) => Failure::undecodable(error, MethodId::PUBLISH),
        }
    }
}

/// Exchange and routing key, which must be UTF-8.
fn names(route: &[u8]) -> Result<(&str, &str), Unroutable> {
    let (exchange, key) = split_route(route);
    match (std::str::from_utf8(exchange), std::str::from_utf8(key)) {
        (Ok(exchange), Ok(key)) => Ok((exchange, key)),
        _ => Err(Unroutable::Undecodable(DecodeError::MalformedUtf8)),
    }
}

fn key_is_reply(routing_key: &str) -> bool {
    routing_key.as_bytes().starts_with(REPLY_PREFIX)
}

/// What queues need to know of a message with these properties that is published now.
#[inline]
fn traits_of(properties: &Properties<'_>, now: u64) -> Traits {
    Traits {
        at: now,
        due: properties.expires_after().and_then(|ms| NonZeroU64::new(now.saturating_add(ms))),
        priority: properties.priority.unwrap_or(0),
        persistent: properties.is_persistent(),
        hidden: false,
    }
}

/// Whether some header needs a look: routing keys, or deaths that must not be counted on.
fn has_special(headers: &[u8], counts_deaths: bool) -> bool {
    let is_special = |key: &[u8]| matches!(key, b"CC" | b"BCC") || (!counts_deaths && key == death::DEATHS.as_bytes());
    table::entries(headers).map_while(Result::ok).any(|(key, _)| is_special(key))
}

/// The routing keys of a CC or BCC header.
fn extra_keys<'a>(headers: &'a [u8], name: &str) -> Result<Vec<&'a str>, Refusal> {
    headers::routing_keys(headers, name.as_bytes()).map_err(|other| {
        let kind = other.to_owned().map_or("undefined", |v| v.type_name());
        let text = format!("invalid message: {{unacceptable_type_in_header,<<\"{name}\">>,{kind}}}");
        Refusal::precondition_failed(text)
    })
}

/// The `expiration` property: a decimal number of milliseconds.
pub fn check_expiration(text: &[u8]) -> Result<(), Refusal> {
    let shown = String::from_utf8_lossy(text);
    let refuse = |term: String| Refusal::precondition_failed(format!("invalid expiration '{shown}': {term}"));
    let (is_negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let count = digits.iter().take_while(|d| d.is_ascii_digit()).count();
    let (digits, left_over) = digits.split_at(count);
    if digits.is_empty() {
        return Err(refuse("no_integer".to_owned()));
    }
    if !left_over.is_empty() {
        return Err(refuse(format!("{{leftover_string,\"{}\"}}", String::from_utf8_lossy(left_over))));
    }
    let digits = String::from_utf8_lossy(digits);
    match digits.parse::<i64>() {
        Ok(n) => check_expiry(if is_negative { -n } else { n }).map_err(refuse),
        // It has more than 64 bits, and the text shows it all the same.
        Err(_) if is_negative => Err(refuse(format!("{{value_negative,-{}}}", digits.trim_start_matches('0')))),
        Err(_) => Err(refuse(format!("{{value_too_large,{}}}", digits.trim_start_matches('0')))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_kept_from_one_read_to_the_next() {
        let messages: Vec<Incoming<'_>> = Vec::with_capacity(1000);
        assert_eq!(emptied(messages).capacity(), 1000);
    }

    #[test]
    fn expirations_are_read_as_erlang_reads_integers() {
        assert!(check_expiration(b"0").is_ok() && check_expiration(b"315360000000").is_ok());
        let cases = [
            ("x", "no_integer"),
            ("", "no_integer"),
            ("10s", "{leftover_string,\"s\"}"),
            ("-1", "{value_negative,-1}"),
            ("315360000001", "{value_too_large,315360000001}"),
            ("99999999999999999999999", "{value_too_large,99999999999999999999999}"),
            ("-99999999999999999999999", "{value_negative,-99999999999999999999999}"),
        ];
        for (text, term) in cases {
            let refusal = check_expiration(text.as_bytes()).unwrap_err();
            assert_eq!(refusal.text, format!("invalid expiration '{text}': {term}"));
        }
    }
}
