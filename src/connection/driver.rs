//! The task of one connection: its machine, its socket, its timer.
//!
//! Each turn writes what is to be written, then waits for input, for room to write, for the timer, or for a change that
//! must reach the disk. When the task ends, for whatever reason, everything that belonged to the connection is given back.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep};

use super::entrance::Client;
use super::error::Failure;
use super::machine::{Errand, Machine, Outcome, Shared};
use super::outbox::CloseRequest;
use super::session::Until;
use super::socket::Socket;
use super::wire::{Event, Read, Wire};
use crate::frames::{MethodId, Refusal};

/// Reads of this size are followed by letting other tasks run.
const LARGE_READ: usize = 16 * 1024;

type Durable = Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send>>;

/// Timed or awaited things that happen beside the socket.
enum Other {
    Timer,
    Durable(Result<(), Refusal>),
    Outside(Outcome),
}

/// The socket and the rest, apart so that reading can hand bytes on without copying them.
struct Connection {
    wire: Wire,
    timer: Pin<Box<Sleep>>,
    /// The disk, while the machine waits for it.
    durable: Option<Durable>,
    /// Somebody outside, while the machine waits for an answer.
    errand: Option<Errand>,
    shared: Arc<Shared>,
    machine: Machine,
}

/// Serves one client until it goes.
pub async fn serve(socket: Socket, client: Client, shared: Arc<Shared>) {
    let machine = Machine::new(Arc::clone(&shared), client, Instant::now());
    let wire = Wire::new(socket, Arc::clone(&machine.outbox));
    let timer = Box::pin(tokio::time::sleep_until(machine.next_tick()));
    let mut connection = Connection { wire, timer, durable: None, errand: None, shared, machine };
    if let Err(error) = connection.run().await {
        connection.machine.trouble.get_or_insert_with(|| error.to_string());
    }
    connection.machine.release();
}

impl Connection {
    async fn run(&mut self) -> io::Result<()> {
        loop {
            let (may_go_on, may_publish) = (self.machine.look_at_store(), self.machine.update_blocked());
            if may_go_on || may_publish {
                self.wire.reprocess(|bytes| self.machine.process(bytes));
            }
            let all_written = self.wire.flush()?;
            if self.machine.has_ended() && (all_written || self.machine.abandoned) {
                self.wire.say_goodbye();
                return Ok(());
            }
            if let Some(request) = self.machine.outbox.close_requested() {
                self.machine.now = Instant::now();
                match request {
                    CloseRequest::Close(reason) => self.machine.close(&Failure::new(reason, MethodId::NONE)),
                    CloseRequest::End => self.machine.abandon(),
                }
                continue;
            }
            self.schedule();
            let may_read = self.machine.may_read();
            self.await_disk();
            self.await_outside();
            let (timer, durable, errand) = (&mut self.timer, &mut self.durable, &mut self.errand);
            let other = |cx: &mut Context<'_>| {
                if let Some(durable) = durable
                    && let Poll::Ready(result) = durable.as_mut().poll(cx)
                {
                    return Poll::Ready(Other::Durable(result));
                }
                if let Some(errand) = errand
                    && let Poll::Ready(outcome) = errand.as_mut().poll(cx)
                {
                    return Poll::Ready(Other::Outside(outcome));
                }
                timer.as_mut().poll(cx).map(|()| Other::Timer)
            };
            self.machine.leave_answer();
            let event = self.wire.wait(may_read, !all_written, other).await?;
            self.machine.take_back_answer();
            match event {
                Event::Write => {}
                Event::Read => self.read().await?,
                Event::Other(Other::Timer) => {
                    self.machine.now = Instant::now();
                    self.machine.tick(self.machine.outbox.counts.sent.get());
                }
                Event::Other(Other::Durable(result)) => {
                    self.durable = None;
                    self.machine.now = Instant::now();
                    self.machine.durable(result);
                    self.wire.reprocess(|bytes| self.machine.process(bytes));
                }
                Event::Other(Other::Outside(outcome)) => {
                    self.errand = None;
                    self.machine.now = Instant::now();
                    self.machine.told(outcome);
                    self.wire.reprocess(|bytes| self.machine.process(bytes));
                }
            }
        }
    }

    async fn read(&mut self) -> io::Result<()> {
        self.machine.now = Instant::now();
        match self.wire.read(|bytes| self.machine.process(bytes))? {
            Read::Some(count) if count >= LARGE_READ => {
                // Whoever was given something to write gets a turn before the next large read.
                self.wire.flush()?;
                tokio::task::yield_now().await;
            }
            Read::Some(_) | Read::Nothing => {}
            Read::End => self.machine.client_is_gone(),
        }
        Ok(())
    }

    /// Has the task woken when the change is on disk that the machine waits for.
    fn await_disk(&mut self) {
        let durable_at = match self.machine.waiting.as_ref().map(|waiting| &waiting.until) {
            Some(Until::Durable(number)) => Some(*number),
            _ => None,
        };
        if let (None, Some(durable_at)) = (&self.durable, durable_at) {
            let broker = Arc::clone(&self.shared.broker);
            self.durable = Some(Box::pin(async move { broker.durable(durable_at).await }));
        }
    }

    /// Has the task woken when there is an answer from outside.
    fn await_outside(&mut self) {
        if !self.machine.waits_outside() {
            self.errand = None;
        } else if self.errand.is_none() {
            self.errand = self.machine.errand();
        }
    }

    /// Sets the timer to the next thing that has to happen, unless it will ring before.
    fn schedule(&mut self) {
        let next = self.machine.next_tick();
        if next < self.timer.deadline() || self.timer.is_elapsed() {
            self.timer.as_mut().reset(next);
        }
    }
}
