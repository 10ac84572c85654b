//! Messages that say who they are, and of which every byte is known.
//!
//! The message id names publisher, sequence and length, since a body may be too short for it; all bytes of the body
//! follow from these.

use leveret::frames::{Reader, Table};
use leveret::persist::sim::Random;

use super::checker::Id;
use super::client::Message;

/// A message as it is published.
pub fn make(id: Id, persistent: bool, length: usize) -> Message {
    Message { properties: properties(id, persistent, length), body: body(id, length), ..Message::default() }
}

/// Who a message is, or why it is not what was published. What a quorum queue says of its returns may have been added.
pub fn identify(message: &Message) -> Result<Id, String> {
    let broken = || format!("a message with the properties {:?} came", message.properties);
    let (headers, published) = match message.properties.get(..2) {
        Some(_) => without_headers(&message.properties),
        None => return Err(broken()),
    };
    if headers.iter().any(|(key, _)| key != "x-delivery-count") {
        return Err(broken());
    }
    let (id, length) = name_in(&published).ok_or_else(broken)?;
    let is_as_made = |persistent| published == properties(id, persistent, length);
    if !is_as_made(true) && !is_as_made(false) {
        return Err(broken());
    }
    if message.body.len() != length {
        return Err(format!("{id} came with {} bytes instead of {length}", message.body.len()));
    }
    match message.body.iter().zip(body(id, length)).position(|(got, made)| *got != made) {
        Some(at) => Err(format!("{id} came with another byte at {at} of {length}")),
        None => Ok(id),
    }
}

/// A length from 1 B to 100 KiB: most messages are small.
pub fn random_length(random: &mut Random) -> usize {
    let most = match random.below(100) {
        0..60 => 200,
        60..85 => 4 << 10,
        85..95 => 20 << 10,
        _ => 100 << 10,
    };
    1 + usize::try_from(random.below(most)).unwrap_or(0)
}

/// Delivery mode and message id.
fn properties(id: Id, persistent: bool, length: usize) -> Vec<u8> {
    let name = format!("{id}.{length}");
    let flags = 1u16 << 12 | 1 << 7;
    let mut out = flags.to_be_bytes().to_vec();
    out.push(if persistent { 2 } else { 1 });
    out.push(u8::try_from(name.len()).expect("a shortstr"));
    out.extend(name.as_bytes());
    out
}

/// Headers among the flags, of which those before them in a message are never set here.
const HEADERS: u16 = 1 << 13;

/// The same properties with headers.
pub fn with_headers(properties: &[u8], headers: &Table) -> Vec<u8> {
    let (flags, rest) = split_flags(properties);
    let mut out = (flags | HEADERS).to_be_bytes().to_vec();
    headers.encode(&mut out);
    out.extend(rest);
    out
}

/// The headers, and the same properties without them.
pub fn without_headers(properties: &[u8]) -> (Table, Vec<u8>) {
    let (flags, rest) = split_flags(properties);
    if flags & HEADERS == 0 {
        return (Table::default(), properties.to_vec());
    }
    let mut reader = Reader::new(rest);
    let headers = reader.long_bytes().expect("whole headers");
    let headers = Table::parse(headers).expect("headers that can be read");
    (headers, [&(flags & !HEADERS).to_be_bytes(), reader.rest()].concat())
}

fn split_flags(properties: &[u8]) -> (u16, &[u8]) {
    let (flags, rest) = properties.split_at(2);
    (u16::from_be_bytes(flags.try_into().expect("two bytes")), rest)
}

fn name_in(properties: &[u8]) -> Option<(Id, usize)> {
    let mut parts = std::str::from_utf8(properties.get(4..)?).ok()?.split('.');
    let id = Id { publisher: parts.next()?.parse().ok()?, sequence: parts.next()?.parse().ok()? };
    Some((id, parts.next()?.parse().ok()?))
}

fn body(id: Id, length: usize) -> Vec<u8> {
    let mut random = Random::new(u64::from(id.publisher) << 32 | u64::from(id.sequence));
    let mut body = Vec::with_capacity(length + 8);
    while body.len() < length {
        body.extend(random.next().to_le_bytes());
    }
    body.truncate(length);
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Id = Id { publisher: 7, sequence: 9 };

    #[test]
    fn a_message_names_itself() {
        for length in [0, 1, 8, 5000] {
            assert_eq!(identify(&make(ID, true, length)), Ok(ID));
            assert_eq!(identify(&make(ID, false, length)), Ok(ID));
        }
    }

    #[test]
    fn a_message_names_itself_with_headers_too() {
        let message = make(ID, true, 8);
        let headers: Table = [("x", leveret::frames::Value::I32(1))].into_iter().collect();
        let with = with_headers(&message.properties, &headers);
        assert_eq!(without_headers(&with), (headers, message.properties.clone()));
        assert_eq!(without_headers(&message.properties), (Table::default(), message.properties));
    }

    #[test]
    fn damage_is_seen_wherever_it_is() {
        let damaged = |damage: fn(&mut Message)| {
            let mut message = make(ID, true, 100);
            damage(&mut message);
            identify(&message).unwrap_err()
        };
        assert_eq!(damaged(|m| m.body[99] ^= 1), "7.9 came with another byte at 99 of 100");
        assert_eq!(damaged(|m| m.body.truncate(99)), "7.9 came with 99 bytes instead of 100");
        damaged(|m| m.properties[2] = 7);
        damaged(|m| m.properties.truncate(4));
        damaged(|m| m.properties.push(0));
    }
}
