//! Consuming: qos, consume, cancel, get, recover, and the consumer of direct replies.

use std::sync::Arc;

use amq_protocol::protocol::AMQPClass;
use amq_protocol::protocol::basic::{AMQPMethod, Cancel, CancelOk, Consume, ConsumeOk, Qos, QosOk, RecoverOk};

use super::acks::settle_now;
use super::deliveries::Wanted;
use super::outbox::Outbox;
use super::publish::REPLY_TO;
use super::session::{ReplyConsumer, Session, Step, Until, Waiting};
use crate::auth::Access;
use crate::frames::{Refusal, ReplyCode, Table};
use crate::queue::arguments::{QueueType, consumer_priority, type_of};
use crate::queue::engine::Terms;
use crate::queue::local::{ConsumeError, GetError, Subscriber};
use crate::queue::{Outlet, Queue, Settlement, Wakes};
use crate::vhost::broker::ReplyAddress;
use crate::vhost::declare::check_exclusive_access;
use crate::vhost::names::{queue_text, random_name};

impl Session {
    /// The queue of a method; an empty name is the queue declared last on the channel.
    ///
    /// # Errors
    /// 404 when there is none of that name, or none was declared.
    pub(super) fn queue_name(&mut self, number: u16, name: &str) -> Result<String, Refusal> {
        if !name.is_empty() {
            return Ok(name.to_owned());
        }
        let last = self.state(number)?.last_queue.clone();
        last.ok_or_else(|| Refusal::not_found("no previously declared queue"))
    }

    /// An existing queue that this connection may use.
    pub(super) fn usable_queue(&self, name: &str) -> Result<Arc<Queue>, Refusal> {
        let missing = || Refusal::not_found(format!("no {}", queue_text(&self.vhost.name, name)));
        let queue = self.vhost.queue(name).ok_or_else(missing)?;
        check_exclusive_access(&queue, Some(self.id()), false)?;
        Ok(queue)
    }

    pub(super) fn qos(&mut self, number: u16, qos: &Qos) -> Result<Step, Refusal> {
        if qos.global || self.channel_wide_qos {
            let resumed = self.outbox.set_global_prefetch(number, qos.prefetch_count.into());
            self.resume(resumed);
        } else {
            let state = self.state(number)?;
            state.prefetch = qos.prefetch_count;
            state.publishing.prefetch.set(qos.prefetch_count.into());
        }
        Ok(self.answer(number, AMQPClass::Basic(AMQPMethod::QosOk(QosOk {}))))
    }

    pub(super) fn consume(&mut self, number: u16, consume: &Consume) -> Result<Step, Refusal> {
        let tag = match consume.consumer_tag.as_str() {
            "" => random_name("amq.ctag-"),
            tag => tag.to_owned(),
        };
        let reply_tag = self.state(number)?.reply.as_ref().map(|reply| reply.tag.clone());
        let in_use = self.outbox.find_consumer(number, tag.as_bytes()).is_some() || reply_tag.as_deref() == Some(&*tag);
        if consume.queue.as_str() == REPLY_TO {
            return self.consume_replies(number, consume, tag, in_use);
        }
        if in_use {
            return Err(Refusal::not_allowed(format!("attempt to reuse consumer tag '{tag}'")));
        }
        let name = self.queue_name(number, consume.queue.as_str())?;
        self.check_access(Access::Read, "queue", &name)?;
        self.check_consumer_count(number)?;
        let queue = self.usable_queue(&name)?;
        let text = queue_text(&self.vhost.name, &name);
        let arguments = Table::from(&consume.arguments);
        let priority = consumer_priority(&text, &arguments).map_err(Refusal::precondition_failed)?;
        if consume.exclusive && queue.is_single_active() {
            return Err(Refusal::access_refused(format!("{text} in exclusive use")));
        }
        self.check_shared_limit(number, &queue, &text)?;
        self.note_timeout(&queue);
        let prefetch = u32::from(self.state(number)?.prefetch);
        let terms = Terms { no_ack: consume.no_ack, prefetch, priority, exclusive: consume.exclusive };
        let wanted = Wanted { terms, arguments };
        self.subscribe(number, &queue, &tag, wanted, consume.nowait).map_err(|error| match error {
            ConsumeError::InExclusiveUse => Refusal::access_refused(format!("{text} in exclusive use")),
            ConsumeError::Deleted => Refusal::not_found(format!("no {text}")),
            ConsumeError::Damaged(damage) => queue.refuse_damaged(&damage),
        })?;
        self.tell_consumer(number, &queue, &tag, &terms, consume);
        Ok(Step::Continue)
    }

    /// RabbitMQ's quorum queues know no limit that the consumers of a channel share.
    fn check_shared_limit(&self, number: u16, queue: &Queue, text: &str) -> Result<(), Refusal> {
        let is_quorum = type_of(&queue.spec.arguments) == QueueType::Quorum;
        // A client whose every limit is taken for the channel's has not asked for a shared one.
        if !is_quorum || self.channel_wide_qos || !self.broker.limits().refuse_unsupported {
            return Ok(());
        }
        match self.outbox.global_prefetch(number) {
            0 => Ok(()),
            _ => Err(Refusal::not_implemented(format!("{text} does not support global qos"))),
        }
    }

    fn subscribe(
        &self,
        number: u16,
        queue: &Arc<Queue>,
        tag: &str,
        wanted: Wanted,
        nowait: bool,
    ) -> Result<(), ConsumeError> {
        // The tag is free: it has been looked up by this very task.
        let Some(slot) = self.outbox.add_consumer(number, tag.as_bytes(), queue) else { return Ok(()) };
        let terms = wanted.terms;
        self.outbox.describe_consumer(number, slot, wanted);
        let outlet: Arc<Outbox> = Arc::clone(&self.outbox);
        let subscriber = Subscriber { outlet, channel: number, slot, tag: tag.as_bytes().into() };
        let consumer_tag = tag.into();
        let ok = (!nowait).then_some(AMQPClass::Basic(AMQPMethod::ConsumeOk(ConsumeOk { consumer_tag })));
        let mut wakes = Wakes::default();
        let announce = |key| self.outbox.consumer_started(number, slot, key, ok.as_ref());
        let subscribed = queue.subscribe(subscriber, terms, announce, &mut wakes);
        wakes.run();
        if subscribed.is_err() {
            self.outbox.consumer_failed(number, tag.as_bytes(), slot);
        }
        subscribed
    }

    fn check_consumer_count(&self, number: u16) -> Result<(), Refusal> {
        match self.broker.limits().consumer_max_per_channel {
            Some(most) if self.outbox.consumer_count(number) as u64 >= most => {
                Err(Refusal::not_allowed(format!("reached maximum ({most}) of consumers per channel")))
            }
            _ => Ok(()),
        }
    }

    fn consume_replies(&mut self, number: u16, consume: &Consume, tag: String, in_use: bool) -> Result<Step, Refusal> {
        if self.state(number)?.reply.is_some() {
            return Err(Refusal::precondition_failed("reply consumer already set"));
        }
        if in_use {
            return Err(Refusal::not_allowed(format!("attempt to reuse consumer tag '{tag}'")));
        }
        if !consume.no_ack {
            return Err(Refusal::precondition_failed("reply consumer cannot acknowledge"));
        }
        let address = random_name(&format!("{REPLY_TO}."));
        let outlet: Arc<dyn Outlet> = Arc::clone(&self.outbox) as Arc<dyn Outlet>;
        let consumer_tag = tag.as_str().into();
        let target = ReplyAddress { outlet: Arc::downgrade(&outlet), channel: number, consumer_tag };
        self.broker.replies.insert(address.clone(), target);
        let ok = ConsumeOk { consumer_tag: tag.as_str().into() };
        self.state(number)?.reply = Some(ReplyConsumer { tag, address });
        if consume.nowait {
            return Ok(Step::Continue);
        }
        Ok(self.answer(number, AMQPClass::Basic(AMQPMethod::ConsumeOk(ok))))
    }

    pub(super) fn cancel(&mut self, number: u16, cancel: Cancel) -> Result<Step, Refusal> {
        let Cancel { consumer_tag, nowait } = cancel;
        let tag = consumer_tag.as_str().as_bytes().to_vec();
        let found = self.outbox.find_consumer(number, &tag);
        let ok = AMQPClass::Basic(AMQPMethod::CancelOk(CancelOk { consumer_tag }));
        let finish = |session: &Self| {
            session.outbox.remove_consumer(number, &tag);
            if !nowait {
                session.answer(number, ok);
            }
        };
        let state = self.state(number)?;
        if state.reply.as_ref().is_some_and(|reply| reply.tag.as_bytes() == tag)
            && let Some(reply) = state.reply.take()
        {
            self.broker.replies.remove(&reply.address);
        }
        let Some((queue, consumer)) = found else {
            finish(self);
            return Ok(Step::Continue);
        };
        let mut wakes = Wakes::default();
        queue.cancel(consumer, || finish(self), &mut wakes);
        wakes.run();
        self.tell_cancelled(number, &queue, &tag);
        self.delete_if_abandoned(&queue);
        Ok(Step::Continue)
    }

    pub(super) fn get(&mut self, number: u16, queue: &str, no_ack: bool) -> Result<Step, Refusal> {
        if queue.starts_with(REPLY_TO) {
            return Err(Refusal::not_implemented(format!(
                "basic.get operations are not supported by {}",
                queue_text(&self.vhost.name, queue)
            )));
        }
        let name = self.queue_name(number, queue)?;
        self.check_access(Access::Read, "queue", &name)?;
        let queue = self.usable_queue(&name)?;
        if queue.is_single_active() {
            let text = queue_text(&self.vhost.name, &name);
            let text = format!(
                "cannot obtain access to locked {text}. basic.get operations are not supported by classic queues with single \
                 active consumer"
            );
            return Err(Refusal::new(ReplyCode::ResourceLocked, text));
        }
        self.get_from(number, &queue, no_ack)
    }

    /// Answers `basic.get`, or says what has to be waited for.
    pub(super) fn get_from(&self, number: u16, queue: &Arc<Queue>, no_ack: bool) -> Result<Step, Refusal> {
        let mut traced = None;
        let got = queue.get(no_ack, |got| match got {
            Some(got) => {
                self.outbox.got(number, queue, &got, no_ack);
                traced = self.traced.then_some((got.message, got.redelivered));
            }
            None => self.outbox.got_nothing(number, queue),
        });
        if let Some((message, redelivered)) = traced {
            self.tell_got(number, &message, queue, redelivered);
        }
        match got {
            Ok(()) => Ok(Step::Continue),
            Err(GetError::Damaged(damage)) => Err(queue.refuse_damaged(&damage)),
            Err(GetError::NotYet) => {
                let outbox: Arc<Outbox> = Arc::clone(&self.outbox);
                queue.wait(outbox);
                let until = Until::Got { queue: Arc::clone(queue), no_ack };
                Ok(Step::Wait(Waiting { until, channel: number, reply: None }))
            }
        }
    }

    pub(super) fn recover(&mut self, number: u16, requeue_all: bool, answer: bool) -> Result<Step, Refusal> {
        if !requeue_all {
            return Err(Refusal::not_implemented("requeue=false"));
        }
        let mut wakes = Wakes::default();
        if answer {
            // Before the redeliveries, as RabbitMQ's order is.
            self.answer(number, AMQPClass::Basic(AMQPMethod::RecoverOk(RecoverOk {})));
        }
        settle_now(self.outbox.settle_all(number), Settlement::Requeue, &mut wakes);
        wakes.run();
        Ok(Step::Continue)
    }
}
