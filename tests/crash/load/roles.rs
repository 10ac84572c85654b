//! Ways to use a broker. Each goes on until the connection ends or the load is told to stop, and then leaves in good
//! order.

use std::net::SocketAddr;
use std::time::Duration;

use leveret::persist::sim::Random;

use super::super::checker::Queue;
use super::super::client::End;
use super::super::method::{exchange_declare, queue_bind};
use super::session::Session;
use super::{AUTO, EMPTIED, FAN, FAN_EXCHANGE, Load, WORK, all_queues, declaration};

/// How long to wait for what may not come, before doing something else.
const MOMENT: Duration = Duration::from_millis(1);
/// Consumers and gets have channels of their own.
const CONSUME: u16 = 2;
const GET: u16 = 3;

/// What a worker does with its session.
#[derive(Clone, Copy, Debug)]
pub enum Role {
    /// Publishes, consumes, gets, acks, requeues, closes channels.
    Mixed,
    /// Consumes without acks.
    Auto,
    /// Purges, deletes and declares again.
    Emptier,
}

pub const ROLES: [Role; 5] = [Role::Mixed, Role::Mixed, Role::Mixed, Role::Auto, Role::Emptier];

pub fn work(role: Role, load: &Load, address: SocketAddr, number: u32, seed: u64) -> Result<(), End> {
    let session = Session::open(load, address, number, seed)?;
    match role {
        Role::Mixed => mixed(session),
        Role::Auto => auto(session),
        Role::Emptier => emptier(session),
    }
}

/// Declares everything, durable.
pub fn declare_all(session: &mut Session<'_>) -> Result<(), End> {
    session.declare(&exchange_declare(FAN_EXCHANGE, "fanout").durable())?;
    for queue in all_queues() {
        session.declare(&declaration(queue))?;
    }
    FAN.iter().try_for_each(|queue| session.declare(&queue_bind(queue, FAN_EXCHANGE, "")))
}

fn mixed(mut session: Session<'_>) -> Result<(), End> {
    session.open_channel(GET)?;
    begin_to_consume(&mut session)?;
    while !session.load.is_stopping() {
        session.take_in(MOMENT)?;
        match session.random.below(100) {
            0..45 => publish_some(&mut session)?,
            45..82 => session.settle_something()?,
            82..88 => {
                let queue = pick(&mut session.random, &WORK)[0];
                session.get(GET, queue, false)?;
            }
            88..96 => session.send_barrier()?,
            96..98 => change_a_consumer(&mut session)?,
            98 => {
                session.close_channel(GET)?;
                session.open_channel(GET)?;
            }
            _ => {
                session.close_channel(CONSUME)?;
                begin_to_consume(&mut session)?;
            }
        }
    }
    session.leave()
}

/// From a few queues, with a random prefetch.
fn begin_to_consume(session: &mut Session<'_>) -> Result<(), End> {
    session.open_channel(CONSUME)?;
    let prefetch = [0, 1, 3, 10, 50][pick_index(&mut session.random, 5)];
    session.qos(CONSUME, prefetch)?;
    for queue in WORK.into_iter().chain(FAN) {
        if session.random.chance(1, 3) {
            session.consume(CONSUME, queue, false)?;
        }
    }
    Ok(())
}

/// Cancels it, or begins it.
fn change_a_consumer(session: &mut Session<'_>) -> Result<(), End> {
    let queue = pick(&mut session.random, &WORK)[0];
    if session.is_consuming(CONSUME, queue) {
        session.cancel(CONSUME, queue)
    } else {
        session.consume(CONSUME, queue, false)
    }
}

fn publish_some(session: &mut Session<'_>) -> Result<(), End> {
    for _ in 0..=session.random.below(10) {
        let queues = match session.random.below(10) {
            0..6 => pick(&mut session.random, &WORK),
            6..9 => &FAN,
            _ => &AUTO,
        };
        session.publish(queues)?;
    }
    Ok(())
}

/// With a consumer in one run and with gets in the next.
fn auto(mut session: Session<'_>) -> Result<(), End> {
    let consumes = session.random.chance(1, 2);
    session.open_channel(CONSUME)?;
    if consumes {
        session.consume(CONSUME, AUTO[0], true)?;
    }
    while !session.load.is_stopping() {
        session.take_in(MOMENT)?;
        match session.random.below(20) {
            0 => session.send_barrier()?,
            1..8 => drop(session.publish(&AUTO)?),
            _ if consumes => {}
            _ => drop(session.get(CONSUME, AUTO[0], true)?),
        }
    }
    session.leave()
}

fn emptier(mut session: Session<'_>) -> Result<(), End> {
    session.open_channel(GET)?;
    while !session.load.is_stopping() {
        session.take_in(MOMENT)?;
        let at = pick_index(&mut session.random, 2);
        let queue = EMPTIED[at];
        match session.random.below(20) {
            0..12 => drop(session.publish(&EMPTIED[at..=at])?),
            12..15 => drop(session.get(GET, queue, false)?),
            15 => session.settle_something()?,
            16..18 => session.send_barrier()?,
            18 => {
                session.ack_all(GET)?;
                session.empty(queue, at == 1)?;
            }
            _ => session.ack_all(GET)?,
        }
    }
    session.leave()
}

/// One of the queues, as a slice to publish to.
fn pick(random: &mut Random, queues: &'static [Queue]) -> &'static [Queue] {
    let at = pick_index(random, queues.len());
    &queues[at..=at]
}

fn pick_index(random: &mut Random, length: usize) -> usize {
    usize::try_from(random.below(length as u64)).unwrap_or(0)
}
