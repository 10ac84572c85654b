//! The handshake: protocol header, start, tune, open. A pure state machine.
//!
//! [`Handshake::receive`] takes a method and says what the driver should do next; names, passwords and virtual hosts are
//! checked by the driver, which has the broker.

use amq_protocol::protocol::AMQPClass;
use amq_protocol::protocol::connection::{AMQPMethod, Open, StartOk, TuneOk};

use super::error::Failure;
use crate::frames::{FRAME_MIN_SIZE, MethodId, Refusal};

/// What the first eight bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preface {
    /// AMQP 0-9-1 (or 0-9, which is taken for it).
    Amqp091,
    /// Another version of AMQP: the answer is the header of ours.
    OtherVersion([u8; 8]),
    Http,
    Tls,
}

const OURS: [u8; 8] = *b"AMQP\0\0\x09\x01";
/// What RabbitMQ answers to something that is no AMQP at all.
const FOR_STRANGERS: [u8; 8] = *b"AMQP\x03\x01\0\0";

/// Reads the first eight bytes, as RabbitMQ does.
pub fn preface(bytes: [u8; 8]) -> Preface {
    match bytes {
        [b'A', b'M', b'Q', b'P', 0, 0, 9, 1] | [b'A', b'M', b'Q', b'P', 1, 1, 0, 9] => Preface::Amqp091,
        [b'A', b'M', b'Q', b'P', 0, 0, minor, _] if minor >= 9 => Preface::OtherVersion(OURS),
        [b'G' | b'P' | b'H' | b'D' | b'O', rest @ ..] if looks_like_http(&rest) => Preface::Http,
        [0x16, 3, ..] => Preface::Tls,
        _ => Preface::OtherVersion(FOR_STRANGERS),
    }
}

fn looks_like_http(rest: &[u8; 7]) -> bool {
    [&b"ET "[..], b"OST ", b"UT ", b"EAD ", b"ELETE ", b"PTIONS"].iter().any(|verb| rest.starts_with(verb))
}

/// What the broker offers, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Most open channels; 0 is no limit.
    pub channel_max: u16,
    /// Largest frame in bytes; 0 is no limit.
    pub frame_max: u32,
    /// Seconds; 0 is none.
    pub heartbeat: u16,
}

/// Where the handshake stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Starting,
    Securing,
    Tuning,
    Opening,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Securing => "securing",
            Self::Tuning => "tuning",
            Self::Opening => "opening",
        }
    }
}

/// What the driver has to do.
#[derive(Debug, PartialEq)]
pub enum Next {
    /// Check the credentials; then offer a tuning with [`Handshake::authenticated`].
    Authenticate(Box<StartOk>),
    /// Check the answer to a challenge; then as above.
    Answered(Vec<u8>),
    /// These values are agreed upon.
    Tuned(Tuning),
    /// Check the virtual host; then the connection runs.
    Open(Open),
    /// The client gives up: answer and close.
    Close,
    /// The client confirms a close.
    CloseOk,
}

/// The state of a handshake.
#[derive(Debug)]
pub struct Handshake {
    stage: Stage,
    offer: Tuning,
}

impl Handshake {
    /// After `connection.start` has been sent. `offer` is what will be offered.
    pub fn new(offer: Tuning) -> Self {
        Self { stage: Stage::Starting, offer }
    }

    /// The credentials were right; `connection.tune` has been sent.
    pub fn authenticated(&mut self) {
        self.stage = Stage::Tuning;
    }

    /// `connection.secure` has been sent.
    pub fn challenged(&mut self) {
        self.stage = Stage::Securing;
    }

    /// Takes a method of channel 0.
    ///
    /// # Errors
    /// When it does not belong here, or its values cannot be agreed upon.
    pub fn receive(&mut self, method: AMQPClass) -> Result<Next, Failure> {
        let id = MethodId::of(&method);
        let AMQPClass::Connection(method) = method else { return Err(self.unexpected(id)) };
        match (self.stage, method) {
            (_, AMQPMethod::Close(_)) => Ok(Next::Close),
            (_, AMQPMethod::CloseOk(_)) => Ok(Next::CloseOk),
            (Stage::Starting, AMQPMethod::StartOk(start_ok)) => Ok(Next::Authenticate(Box::new(start_ok))),
            (Stage::Securing, AMQPMethod::SecureOk(secure_ok)) => {
                Ok(Next::Answered(secure_ok.response.as_bytes().to_vec()))
            }
            (Stage::Tuning, AMQPMethod::TuneOk(tune_ok)) => {
                let tuning = agree(self.offer, &tune_ok)?;
                self.stage = Stage::Opening;
                Ok(Next::Tuned(tuning))
            }
            (Stage::Opening, AMQPMethod::Open(open)) => Ok(Next::Open(open)),
            _ => Err(self.unexpected(id)),
        }
    }

    fn unexpected(&self, id: MethodId) -> Failure {
        Failure::channel_error(format!("unexpected method in connection state {}", self.stage.name()), id)
    }
}

/// The client's values count, within the offer.
fn agree(offer: Tuning, answer: &TuneOk) -> Result<Tuning, Failure> {
    // RabbitMQ names tune, not tune-ok, as the cause.
    let refuse = |text: String| Err(Failure::new(Refusal::not_allowed(text), MethodId::new(10, 30)));
    let (frame_max, channel_max) = (answer.frame_max, answer.channel_max);
    if frame_max != 0 && frame_max < FRAME_MIN_SIZE {
        let least = FRAME_MIN_SIZE;
        return refuse(format!("negotiated frame_max = {frame_max} is lower than the minimum allowed value ({least})"));
    }
    let too_high = |name: &str, value: u32, most: u32, note: &str| {
        format!("negotiated {name} = {value}{note} is higher than the maximum allowed value ({most})")
    };
    if offer.frame_max != 0 && (frame_max == 0 || frame_max > offer.frame_max) {
        return refuse(too_high("frame_max", frame_max, offer.frame_max, ""));
    }
    if offer.channel_max != 0 && (channel_max == 0 || channel_max > offer.channel_max) {
        let note = if channel_max == 0 { " (no limit)" } else { "" };
        return refuse(too_high("channel_max", channel_max.into(), offer.channel_max.into(), note));
    }
    Ok(Tuning { channel_max, frame_max, heartbeat: answer.heartbeat })
}

#[cfg(test)]
mod tests;
