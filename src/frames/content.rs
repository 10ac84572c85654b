//! Content headers and the fourteen properties of the basic class.
//!
//! A header is checked once when it arrives. Its property bytes travel with the message unchanged; this module finds
//! single properties in them, and exchanges the reply-to. [`Cut`] opens them where other rules of the broker edit them.

use super::reader::{DecodeError, Reader};
use super::table;

mod cut;
mod named;

pub use cut::Cut;
pub use named::{BadProperty, list, named};

/// Position of each property in the flag word, from the highest bit down (AMQP 0-9-1, 4.2.6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Property {
    ContentType = 15,
    ContentEncoding = 14,
    Headers = 13,
    DeliveryMode = 12,
    Priority = 11,
    CorrelationId = 10,
    ReplyTo = 9,
    Expiration = 8,
    MessageId = 7,
    Timestamp = 6,
    Type = 5,
    UserId = 4,
    AppId = 3,
    ClusterId = 2,
}

/// A content header frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentHeader<'a> {
    pub class_id: u16,
    pub body_size: u64,
    /// Flag words and property values, as they came.
    pub properties: &'a [u8],
}

impl<'a> ContentHeader<'a> {
    /// Splits the payload; the properties are checked by [`Properties::parse`].
    #[inline]
    pub fn parse(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(payload);
        let class_id = r.u16()?;
        let _weight = r.u16()?;
        Ok(Self { class_id, body_size: r.u64()?, properties: r.rest() })
    }
}

/// What the broker itself looks at in a message's properties; the rest is only checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Properties<'a> {
    /// The inside of the headers table.
    pub headers: Option<&'a [u8]>,
    pub delivery_mode: Option<u8>,
    pub priority: Option<u8>,
    pub correlation_id: Option<&'a [u8]>,
    pub reply_to: Option<&'a [u8]>,
    pub expiration: Option<&'a [u8]>,
    pub message_id: Option<&'a [u8]>,
    pub timestamp: Option<u64>,
    pub user_id: Option<&'a [u8]>,
}

impl<'a> Properties<'a> {
    /// Reads flags and values of a whole property list, checking every length and the headers table.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        // Most small messages carry no property at all, or only a delivery mode.
        match bytes {
            [0, 0] => return Ok(Self::default()),
            [0x10, 0, mode] => return Ok(Self { delivery_mode: Some(*mode), ..Self::default() }),
            _ => {}
        }
        let mut r = Reader::new(bytes);
        let flags = read_flags(&mut r)?;
        let has = |p: Property| flags & (1 << p as u8) != 0;
        let short = |p: Property, r: &mut Reader<'a>| -> Result<Option<&'a [u8]>, DecodeError> {
            if has(p) { r.short_bytes().map(Some) } else { Ok(None) }
        };
        let mut found = Self::default();
        short(Property::ContentType, &mut r)?;
        short(Property::ContentEncoding, &mut r)?;
        if has(Property::Headers) {
            let inside = r.long_bytes()?;
            table::validate(inside, false)?;
            found.headers = Some(inside);
        }
        if has(Property::DeliveryMode) {
            found.delivery_mode = Some(r.u8()?);
        }
        if has(Property::Priority) {
            found.priority = Some(r.u8()?);
        }
        found.correlation_id = short(Property::CorrelationId, &mut r)?;
        found.reply_to = short(Property::ReplyTo, &mut r)?;
        found.expiration = short(Property::Expiration, &mut r)?;
        found.message_id = short(Property::MessageId, &mut r)?;
        if has(Property::Timestamp) {
            found.timestamp = Some(r.u64()?);
        }
        short(Property::Type, &mut r)?;
        found.user_id = short(Property::UserId, &mut r)?;
        short(Property::AppId, &mut r)?;
        short(Property::ClusterId, &mut r)?;
        r.finish()?;
        Ok(found)
    }

    /// The milliseconds until a message with a checked `expiration` expires; `-0` is none of them.
    #[inline]
    pub fn expires_after(&self) -> Option<u64> {
        let text = self.expiration?;
        std::str::from_utf8(text.strip_prefix(b"-").unwrap_or(text)).ok()?.parse().ok()
    }

    /// A message is persistent when its delivery mode is 2 and at no other value.
    pub fn is_persistent(&self) -> bool {
        self.delivery_mode == Some(2)
    }
}

/// Flag words follow one another while bit 0 is set; only the first has properties that exist.
fn read_flags(r: &mut Reader<'_>) -> Result<u16, DecodeError> {
    let first = r.u16()?;
    let mut word = first;
    while word & 1 != 0 {
        word = r.u16()?;
        if word & !1 != 0 {
            return Err(DecodeError::UnknownProperties);
        }
    }
    if first & 2 != 0 {
        return Err(DecodeError::UnknownProperties);
    }
    Ok(first)
}

/// The property list with `reply-to` exchanged for another (at most 255 bytes). The list must have been checked and
/// carry one; else it comes back as it was.
pub fn with_reply_to(properties: &[u8], reply_to: &[u8]) -> Vec<u8> {
    let mut out = properties.to_vec();
    if let (Ok(Properties { reply_to: Some(old), .. }), Ok(n)) =
        (Properties::parse(properties), u8::try_from(reply_to.len()))
    {
        let start = offset_in(properties, old);
        out.splice(start - 1..start + old.len(), std::iter::once(n).chain(reply_to.iter().copied()));
    }
    out
}

/// True when the flags go on in further words, which carry no property that exists.
pub fn has_more_flags(properties: &[u8]) -> bool {
    properties.get(1).is_some_and(|low| low & 1 != 0)
}

/// The property list with a single flag word. The list must have been checked.
pub fn with_one_flag_word(properties: &[u8]) -> Vec<u8> {
    let mut words = properties.chunks_exact(2).take_while(|word| word.get(1).is_some_and(|low| low & 1 != 0)).count();
    words += 1;
    let first = properties.first_chunk::<2>().map(|[high, low]| [*high, low & !1]).unwrap_or_default();
    first.into_iter().chain(properties.iter().copied().skip(words * 2)).collect()
}

/// Where a slice that was cut out of `whole` begins in it.
fn offset_in(whole: &[u8], part: &[u8]) -> usize {
    part.as_ptr() as usize - whole.as_ptr() as usize
}

#[cfg(test)]
mod tests;
