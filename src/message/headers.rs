//! A message's headers, inside its property bytes: finding one, leaving one out, setting one, and the routing keys
//! that headers list.
//!
//! Headers that are not concerned keep their bytes and their order; so do all other properties. The property lists were
//! checked when the message arrived: one that is not readable comes back as it was.

use std::num::IntErrorKind;

use crate::frames::content::Cut;
use crate::frames::table::{self, ValueRef};
use crate::frames::{Reader, Value};

/// How often a message was given out before.
const DELIVERY_COUNT: &str = "x-delivery-count";

/// The first header of that name.
pub fn find<'a>(properties: &'a [u8], key: &[u8]) -> Option<ValueRef<'a>> {
    table::find(Cut::open(properties).ok()?.headers?, key)
}

/// The property list without the headers of that name.
pub fn without(properties: &[u8], key: &[u8]) -> Vec<u8> {
    edit(properties, |name, _| if name == key { Fate::Goes } else { Fate::Stays })
}

/// The headers that consumers do not see: BCC, and the mark of [`super::death`].
pub(super) fn is_hidden(key: &[u8]) -> bool {
    key == b"BCC" || key == super::death::UNCOUNTED.as_bytes()
}

/// The property list as consumers see it.
pub fn visible(properties: &[u8]) -> Vec<u8> {
    edit(properties, |name, _| if is_hidden(name) { Fate::Goes } else { Fate::Stays })
}

/// The property list with a header set. It takes the place of those of that name and stands last.
pub fn with(properties: &[u8], key: &str, value: &Value) -> Vec<u8> {
    let Ok(cut) = Cut::open(properties) else { return properties.to_vec() };
    let fate = |name: &[u8], _: ValueRef<'_>| if name == key.as_bytes() { Fate::Goes } else { Fate::Stays };
    let mut headers = rewritten(cut.headers.unwrap_or_default(), fate);
    table::put_entry(&mut headers, key, value);
    cut.close(Some(&headers), cut.expiration)
}

/// The property list of a message that was given out `n` times before.
pub fn with_delivery_count(properties: &[u8], n: u32) -> Vec<u8> {
    with(properties, DELIVERY_COUNT, &Value::I64(n.into()))
}

/// The routing keys that a header lists, as CC and BCC do; none where there is no such header. Items that are no text
/// are passed over. An error is the value that is no list.
pub fn routing_keys<'a>(headers: &'a [u8], name: &[u8]) -> Result<Vec<&'a str>, ValueRef<'a>> {
    let text = |item| match item {
        ValueRef::LongStr(key) => std::str::from_utf8(key).ok(),
        _ => None,
    };
    match table::find(headers, name) {
        None => Ok(Vec::new()),
        Some(ValueRef::Array(inside)) => Ok(table::items(inside).map_while(Result::ok).filter_map(text).collect()),
        Some(other) => Err(other),
    }
}

/// A whole number: of any integer type, a float or decimal of which the fraction is cut off, or a text of digits, also with
/// a fraction. What is too large for 64 bits is the largest.
pub(super) fn number(value: ValueRef<'_>) -> Option<i64> {
    Some(match value {
        ValueRef::I8(n) => n.into(),
        ValueRef::U8(n) => n.into(),
        ValueRef::I16(n) => n.into(),
        ValueRef::U16(n) => n.into(),
        ValueRef::I32(n) => n.into(),
        ValueRef::U32(n) => n.into(),
        ValueRef::I64(n) => n,
        // These conversions end at the bounds of the type; no number is 0.
        ValueRef::F32(n) => n as i64,
        ValueRef::F64(n) => n as i64,
        ValueRef::Decimal(scale, n) => 10_i64.checked_pow(scale.into()).map_or(0, |unit| i64::from(n) / unit),
        ValueRef::LongStr(text) => return digits(text),
        _ => return None,
    })
}

fn digits(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let whole = match text.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() && fraction.bytes().all(|d| d.is_ascii_digit()) => whole,
        _ => text,
    };
    match whole.parse() {
        Ok(n) => Some(n),
        Err(error) => (*error.kind() == IntErrorKind::PosOverflow).then_some(i64::MAX),
    }
}

/// An integer as RabbitMQ writes it where it has no type of its own: an `I`, or an `l` where that is too small.
pub(super) fn integer(n: i64) -> Value {
    i32::try_from(n).map_or(Value::I64(n), Value::I32)
}

/// What becomes of a header.
pub(super) enum Fate {
    Stays,
    Goes,
    Becomes(Value),
}

/// The property list with every header as its fate is.
pub(super) fn edit(properties: &[u8], fate: impl Fn(&[u8], ValueRef<'_>) -> Fate) -> Vec<u8> {
    let Ok(cut) = Cut::open(properties) else { return properties.to_vec() };
    let headers = cut.headers.map(|inside| rewritten(inside, fate));
    cut.close(headers.as_deref(), cut.expiration)
}

/// The inside of a table with every entry as its fate is.
pub(super) fn rewritten(inside: &[u8], fate: impl Fn(&[u8], ValueRef<'_>) -> Fate) -> Vec<u8> {
    let mut out = Vec::with_capacity(inside.len());
    let mut r = Reader::new(inside);
    while let Ok((key, key_bytes)) = r.with_bytes(Reader::short_bytes)
        && let Ok((value, value_bytes)) = r.with_bytes(ValueRef::read)
    {
        match fate(key, value) {
            Fate::Stays => out.extend([key_bytes, value_bytes].into_iter().flatten()),
            Fate::Goes => {}
            Fate::Becomes(value) => {
                out.extend_from_slice(key_bytes);
                value.encode(&mut out);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests;
