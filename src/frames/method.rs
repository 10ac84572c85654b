//! Method frames: the hot ones decoded in place, the others by `amq-protocol` after a check of their bytes.

use amq_protocol::protocol::{AMQPClass, parse_class};

use super::reader::{DecodeError, Reader};
use super::shape;

/// Class and method number; also what `channel.close` and `connection.close` name as the cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MethodId {
    pub class: u16,
    pub method: u16,
}

impl MethodId {
    pub const NONE: Self = Self::new(0, 0);
    pub const PUBLISH: Self = Self::new(60, 40);
    pub const RETURN: Self = Self::new(60, 50);
    pub const DELIVER: Self = Self::new(60, 60);
    pub const GET: Self = Self::new(60, 70);
    pub const GET_OK: Self = Self::new(60, 71);
    pub const ACK: Self = Self::new(60, 80);
    pub const REJECT: Self = Self::new(60, 90);
    pub const NACK: Self = Self::new(60, 120);

    pub const fn new(class: u16, method: u16) -> Self {
        Self { class, method }
    }

    /// The id of a decoded cold method.
    pub fn of(class: &AMQPClass) -> Self {
        Self::new(class.get_amqp_class_id(), class.get_amqp_method_id())
    }
}

/// `basic.publish`. Exchange and routing key stay together as the bytes that came: they are the key of the route
/// cache and the tail of every `basic.deliver`. Whether they are UTF-8 is checked when the route is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Two short strings, one after the other: exchange, routing key.
    pub route: &'a [u8],
    pub mandatory: bool,
    pub immediate: bool,
}

/// The exchange and routing key in a [`Publish::route`]; empty where the bytes are not two short strings.
pub fn split_route(route: &[u8]) -> (&[u8], &[u8]) {
    let mut r = Reader::new(route);
    let exchange = r.short_bytes().unwrap_or_default();
    (exchange, r.short_bytes().unwrap_or_default())
}

/// A decoded method.
#[derive(Clone, Debug, PartialEq)]
pub enum Method<'a> {
    Publish(Publish<'a>),
    Deliver { consumer_tag: &'a [u8], delivery_tag: u64, redelivered: bool, route: &'a [u8] },
    GetOk { delivery_tag: u64, redelivered: bool, route: &'a [u8], message_count: u32 },
    Return { code: u16, text: &'a [u8], route: &'a [u8] },
    Ack { delivery_tag: u64, multiple: bool },
    Nack { delivery_tag: u64, multiple: bool, requeue: bool },
    Reject { delivery_tag: u64, requeue: bool },
    Get { queue: &'a str, no_ack: bool },
    Cold(Box<AMQPClass>),
}

/// Class and method number of a method frame's payload.
#[inline]
pub fn id(payload: &[u8]) -> Result<MethodId, DecodeError> {
    let mut r = Reader::new(payload);
    Ok(MethodId::new(r.u16()?, r.u16()?))
}

/// Decodes a method frame's payload.
#[inline]
pub fn decode(payload: &[u8]) -> Result<Method<'_>, DecodeError> {
    let id = id(payload)?;
    let mut r = Reader::new(payload);
    r.take(4)?;
    let method = match id {
        MethodId::PUBLISH => {
            r.u16()?;
            let route = two_short_strings(&mut r)?;
            let bits = r.u8()?;
            Method::Publish(Publish { route, mandatory: bits & 1 != 0, immediate: bits & 2 != 0 })
        }
        MethodId::ACK => {
            let (delivery_tag, bits) = (r.u64()?, r.u8()?);
            Method::Ack { delivery_tag, multiple: bits & 1 != 0 }
        }
        MethodId::DELIVER => {
            let consumer_tag = r.short_bytes()?;
            let (delivery_tag, redelivered) = (r.u64()?, r.u8()? != 0);
            Method::Deliver { consumer_tag, delivery_tag, redelivered, route: two_short_strings(&mut r)? }
        }
        MethodId::NACK => {
            let (delivery_tag, bits) = (r.u64()?, r.u8()?);
            Method::Nack { delivery_tag, multiple: bits & 1 != 0, requeue: bits & 2 != 0 }
        }
        MethodId::REJECT => {
            let (delivery_tag, bits) = (r.u64()?, r.u8()?);
            Method::Reject { delivery_tag, requeue: bits & 1 != 0 }
        }
        MethodId::GET => {
            r.u16()?;
            Method::Get { queue: r.short_str()?, no_ack: r.u8()? & 1 != 0 }
        }
        MethodId::GET_OK => {
            let (delivery_tag, redelivered) = (r.u64()?, r.u8()? != 0);
            let route = two_short_strings(&mut r)?;
            Method::GetOk { delivery_tag, redelivered, route, message_count: r.u32()? }
        }
        MethodId::RETURN => {
            Method::Return { code: r.u16()?, text: r.short_bytes()?, route: two_short_strings(&mut r)? }
        }
        _ => return decode_cold(id, payload, r.rest()),
    };
    r.finish()?;
    Ok(method)
}

#[inline]
fn two_short_strings<'a>(r: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let start = r.rest();
    let exchange = r.short_bytes()?;
    let key = r.short_bytes()?;
    start.get(..exchange.len() + key.len() + 2).ok_or(DecodeError::Truncated)
}

#[cold]
fn decode_cold<'a>(id: MethodId, payload: &[u8], arguments: &[u8]) -> Result<Method<'a>, DecodeError> {
    shape::check(id, arguments)?;
    match parse_class(payload) {
        Ok((_, class)) => Ok(Method::Cold(Box::new(class))),
        Err(_) => Err(DecodeError::UnknownMethod(id.class, id.method)),
    }
}

#[cfg(test)]
mod tests;
