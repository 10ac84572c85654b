//! Exchanges, queues and bindings: the methods, their permissions, and their answers.

use amq_protocol::protocol::AMQPClass;
use amq_protocol::protocol::{exchange, queue};

use super::publish::REPLY_TO;
use super::session::{Session, Step};
use crate::auth::Access;
use crate::exchange::Matching;
use crate::frames::{Refusal, Table, Value};
use crate::logs::audit;
use crate::persist::record::{BindingRecord, ExchangeRecord, QueueRecord};
use crate::queue::Queue;
use crate::queue::arguments::{DEAD_LETTER_EXCHANGE, QUEUE_TYPE, QueueType};
use crate::vhost::command::DeleteQueue;
use crate::vhost::declare::exchange_type;
use crate::vhost::names::{exchange_text, queue_text, random_name, without_line_breaks};
use crate::vhost::{Applied, Command};

fn exchange_answer(method: exchange::AMQPMethod, nowait: bool) -> Option<AMQPClass> {
    (!nowait).then_some(AMQPClass::Exchange(method))
}

fn queue_answer(method: queue::AMQPMethod, nowait: bool) -> Option<AMQPClass> {
    (!nowait).then_some(AMQPClass::Queue(method))
}

fn not_the_default(name: &str) -> Result<(), Refusal> {
    if name.is_empty() {
        return Err(Refusal::access_refused("operation not permitted on the default exchange"));
    }
    Ok(())
}

impl Session {
    fn apply(&self, command: Command) -> Result<Applied, Refusal> {
        audit::at(&self.outbox.name(), || self.broker.apply_as(command, &self.user.name))
    }

    pub(super) fn declare_exchange(&mut self, number: u16, declare: &exchange::Declare) -> Result<Step, Refusal> {
        let name = without_line_breaks(declare.exchange.as_str());
        let ok = exchange_answer(exchange::AMQPMethod::DeclareOk(exchange::DeclareOk {}), declare.nowait);
        if declare.passive {
            not_the_default(&name)?;
            if self.vhost.exchange(&name).is_none() {
                return Err(Refusal::not_found(format!("no {}", exchange_text(&self.vhost.name, &name))));
            }
            return Ok(self.answer_when_durable(number, &Applied::default(), ok));
        }
        exchange_type(declare.kind.as_str())?;
        not_the_default(&name)?;
        self.check_access(Access::Configure, "exchange", &name)?;
        let record = ExchangeRecord {
            vhost: self.vhost.name.to_string(),
            name,
            kind: declare.kind.as_str().to_owned(),
            durable: declare.durable,
            auto_delete: declare.auto_delete,
            internal: declare.internal,
            arguments: Table::from(&declare.arguments),
            id: 0,
        };
        if self.vhost.exchange(&record.name).is_none() {
            self.check_alternate(&record)?;
        }
        let applied = self.apply(Command::DeclareExchange(record))?;
        Ok(self.answer_when_durable(number, &applied, ok))
    }

    fn check_alternate(&mut self, record: &ExchangeRecord) -> Result<(), Refusal> {
        let key = "alternate-exchange";
        let text = exchange_text(&record.vhost, &record.name);
        let Some(alternate) = name_argument(&record.arguments, key, &text)? else { return Ok(()) };
        self.check_access(Access::Read, "exchange", &record.name)?;
        self.check_access(Access::Write, "exchange", &alternate)
    }

    pub(super) fn delete_exchange(&mut self, number: u16, delete: &exchange::Delete) -> Result<Step, Refusal> {
        let name = without_line_breaks(delete.exchange.as_str());
        not_the_default(&name)?;
        self.check_access(Access::Configure, "exchange", &name)?;
        let vhost = self.vhost.name.to_string();
        let applied = self.apply(Command::DeleteExchange { vhost, name, if_unused: delete.if_unused })?;
        let ok = exchange_answer(exchange::AMQPMethod::DeleteOk(exchange::DeleteOk {}), delete.nowait);
        Ok(self.answer_when_durable(number, &applied, ok))
    }

    pub(super) fn declare_queue(&mut self, number: u16, declare: &queue::Declare) -> Result<Step, Refusal> {
        let name = without_line_breaks(declare.queue.as_str());
        if name.starts_with(REPLY_TO) {
            return self.declare_reply_queue(number, &name, declare.nowait);
        }
        if declare.passive {
            let queue = self.usable_queue(&name)?;
            queue.touch();
            return self.declared(number, &queue, &Applied::default(), declare.nowait);
        }
        let name = if name.is_empty() { self.draw_name() } else { name };
        self.check_access(Access::Configure, "queue", &name)?;
        let record = QueueRecord {
            vhost: self.vhost.name.to_string(),
            name,
            durable: declare.durable,
            auto_delete: declare.auto_delete,
            arguments: self.with_default_type(declare),
            id: 0,
        };
        if self.vhost.queue(&record.name).is_none() {
            if !declare.queue.as_str().is_empty() {
                crate::vhost::names::check_not_reserved("queue", &record.name)?;
            }
            self.check_dead_letter(&record)?;
        }
        let exclusive_owner = declare.exclusive.then(|| self.id());
        self.drawn = None;
        let applied = self.apply(Command::DeclareQueue { record, exclusive_owner })?;
        match applied.queue.clone() {
            Some(queue) => self.declared(number, &queue, &applied, declare.nowait),
            None => Ok(Step::Continue),
        }
    }

    /// A name for a queue that has none; the same one until a queue is declared, so that it may be asked for outside.
    fn draw_name(&mut self) -> String {
        self.drawn.get_or_insert_with(|| random_name("amq.gen-")).clone()
    }

    /// The arguments; a durable, shared, lasting queue without a type is of the virtual host's default type.
    fn with_default_type(&self, declare: &queue::Declare) -> Table {
        let mut arguments = Table::from(&declare.arguments);
        let lasting = declare.durable && !declare.exclusive && !declare.auto_delete;
        if lasting && arguments.get(QUEUE_TYPE).is_none() {
            let record = self.vhost.record();
            let of_vhost = record.default_queue_type.as_deref();
            let default = of_vhost.unwrap_or(self.broker.config.defaults.queue_type.name());
            if default != QueueType::Classic.name() {
                arguments.insert(QUEUE_TYPE, Value::text(default));
            }
        }
        arguments
    }

    fn declared(&mut self, number: u16, queue: &Queue, applied: &Applied, nowait: bool) -> Result<Step, Refusal> {
        if let Some(damage) = queue.damage() {
            return Err(queue.refuse_damaged(&damage));
        }
        self.state(number)?.last_queue = Some(queue.spec.name.to_string());
        let counts = queue.counts();
        let ok = queue::DeclareOk {
            queue: (&*queue.spec.name).into(),
            message_count: u32::try_from(counts.ready).unwrap_or(u32::MAX),
            consumer_count: u32::try_from(counts.consumers).unwrap_or(u32::MAX),
        };
        let ok = queue_answer(queue::AMQPMethod::DeclareOk(ok), nowait);
        Ok(self.answer_when_durable(number, applied, ok))
    }

    /// Declaring the address of a direct reply tells whether somebody still waits there; `amq.rabbitmq.reply-to` itself
    /// is always there.
    fn declare_reply_queue(&mut self, number: u16, name: &str, nowait: bool) -> Result<Step, Refusal> {
        if name != REPLY_TO && !self.broker.replies.contains_key(name) {
            return Err(Refusal::not_found(format!("no {}", queue_text(&self.vhost.name, name))));
        }
        let ok = queue::DeclareOk { queue: name.into(), message_count: 0, consumer_count: 1 };
        let ok = queue_answer(queue::AMQPMethod::DeclareOk(ok), nowait);
        Ok(self.answer_when_durable(number, &Applied::default(), ok))
    }

    fn check_dead_letter(&mut self, record: &QueueRecord) -> Result<(), Refusal> {
        let text = queue_text(&record.vhost, &record.name);
        let Some(exchange) = name_argument(&record.arguments, DEAD_LETTER_EXCHANGE, &text)? else { return Ok(()) };
        self.check_access(Access::Read, "queue", &record.name)?;
        self.check_access(Access::Write, "exchange", &exchange)
    }

    pub(super) fn purge_queue(&mut self, number: u16, purge: &queue::Purge) -> Result<Step, Refusal> {
        let name = self.queue_name(number, purge.queue.as_str())?;
        self.check_access(Access::Read, "queue", &name)?;
        let queue = self.usable_queue(&name)?;
        if let Some(damage) = queue.damage() {
            return Err(queue.refuse_damaged(&damage));
        }
        let purged = queue.purge();
        let ok = queue::PurgeOk { message_count: u32::try_from(purged).unwrap_or(u32::MAX) };
        let ok = queue_answer(queue::AMQPMethod::PurgeOk(ok), purge.nowait);
        Ok(self.answer_when_durable(number, &Applied::default(), ok))
    }

    pub(super) fn delete_queue(&mut self, number: u16, delete: &queue::Delete) -> Result<Step, Refusal> {
        let name = self.queue_name(number, &without_line_breaks(delete.queue.as_str()))?;
        self.check_access(Access::Configure, "queue", &name)?;
        let applied = self.apply(Command::DeleteQueue(DeleteQueue {
            vhost: self.vhost.name.to_string(),
            name,
            if_unused: delete.if_unused,
            if_empty: delete.if_empty,
            connection: Some(self.id()),
            ..DeleteQueue::default()
        }))?;
        let ok = queue::DeleteOk { message_count: u32::try_from(applied.messages).unwrap_or(u32::MAX) };
        let ok = queue_answer(queue::AMQPMethod::DeleteOk(ok), delete.nowait);
        Ok(self.answer_when_durable(number, &applied, ok))
    }

    /// The queue and key of a bind: without a queue name it is the last declared one, and then also the default key.
    fn queue_and_key(&mut self, number: u16, queue: &str, key: &str) -> Result<(String, String), Refusal> {
        let name = self.queue_name(number, queue)?;
        if name.starts_with(REPLY_TO) {
            let text = "cannot bind or unbind to a volatile (direct reply-to) queue";
            return Err(Refusal::access_refused(text));
        }
        let key = if queue.is_empty() && key.is_empty() { name.clone() } else { key.to_owned() };
        Ok((name, key))
    }

    /// Write on the destination, read on the source, and on its topics.
    fn check_binding(&mut self, what: &str, record: &BindingRecord) -> Result<(), Refusal> {
        if record.to_exchange {
            not_the_default(&record.destination)?;
        }
        self.check_access(Access::Write, what, &record.destination)?;
        not_the_default(&record.source)?;
        self.check_access(Access::Read, "exchange", &record.source)?;
        match self.vhost.exchange(&record.source) {
            Some(source) if source.settings.matching == Matching::Topic => {
                self.check_topic(Access::Read, &record.source, &record.key)
            }
            _ => Ok(()),
        }
    }

    fn binding(
        &self,
        source: &str,
        destination: String,
        key: String,
        to_exchange: bool,
        table: Table,
    ) -> BindingRecord {
        BindingRecord {
            vhost: self.vhost.name.to_string(),
            source: source.to_owned(),
            destination,
            to_exchange,
            key,
            arguments: table,
        }
    }

    pub(super) fn bind_queue(&mut self, number: u16, bind: &queue::Bind) -> Result<Step, Refusal> {
        let (name, key) = self.queue_and_key(number, bind.queue.as_str(), bind.routing_key.as_str())?;
        let record = self.binding(bind.exchange.as_str(), name, key, false, Table::from(&bind.arguments));
        self.check_binding("queue", &record)?;
        let applied = self.apply(Command::Bind { record, connection: Some(self.id()) })?;
        self.publish_past(applied.history.as_ref());
        let ok = queue_answer(queue::AMQPMethod::BindOk(queue::BindOk {}), bind.nowait);
        Ok(self.answer_when_durable(number, &applied, ok))
    }

    pub(super) fn unbind_queue(&mut self, number: u16, unbind: &queue::Unbind) -> Result<Step, Refusal> {
        let (name, key) = self.queue_and_key(number, unbind.queue.as_str(), unbind.routing_key.as_str())?;
        let record = self.binding(unbind.exchange.as_str(), name, key, false, Table::from(&unbind.arguments));
        self.check_binding("queue", &record)?;
        let applied = self.apply(Command::Unbind { record, connection: Some(self.id()) })?;
        let ok = queue_answer(queue::AMQPMethod::UnbindOk(queue::UnbindOk {}), false);
        Ok(self.answer_when_durable(number, &applied, ok))
    }

    pub(super) fn bind_exchange(&mut self, number: u16, bind: &exchange::Bind) -> Result<Step, Refusal> {
        let (destination, key) = (bind.destination.as_str().to_owned(), bind.routing_key.as_str().to_owned());
        let record = self.binding(bind.source.as_str(), destination, key, true, Table::from(&bind.arguments));
        self.check_binding("exchange", &record)?;
        let applied = self.apply(Command::Bind { record, connection: Some(self.id()) })?;
        self.publish_past(applied.history.as_ref());
        let ok = exchange_answer(exchange::AMQPMethod::BindOk(exchange::BindOk {}), bind.nowait);
        Ok(self.answer_when_durable(number, &applied, ok))
    }

    pub(super) fn unbind_exchange(&mut self, number: u16, unbind: &exchange::Unbind) -> Result<Step, Refusal> {
        let (destination, key) = (unbind.destination.as_str().to_owned(), unbind.routing_key.as_str().to_owned());
        let record = self.binding(unbind.source.as_str(), destination, key, true, Table::from(&unbind.arguments));
        self.check_binding("exchange", &record)?;
        let applied = self.apply(Command::Unbind { record, connection: Some(self.id()) })?;
        let ok = exchange_answer(exchange::AMQPMethod::UnbindOk(exchange::UnbindOk {}), unbind.nowait);
        Ok(self.answer_when_durable(number, &applied, ok))
    }
}

/// An argument that names an exchange.
fn name_argument(arguments: &Table, key: &str, thing: &str) -> Result<Option<String>, Refusal> {
    match arguments.get(key) {
        None => Ok(None),
        Some(Value::LongStr(name)) => Ok(Some(String::from_utf8_lossy(name).into_owned())),
        Some(other) => {
            let kind = other.type_name();
            Err(Refusal::precondition_failed(format!("invalid type '{kind}' for arg '{key}' in {thing}")))
        }
    }
}
