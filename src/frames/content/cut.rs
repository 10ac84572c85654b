//! A property list cut at the two places that the broker edits: the headers table and the expiration.
//!
//! [`Cut::open`] looks no further into the list than it must to find them; [`Cut::close`]
//! puts the pieces together again with others in those places. The rest keeps its bytes.

use super::{Property, read_flags};
use crate::frames::reader::{DecodeError, Reader};
use crate::frames::{table, write};

/// The pieces of a property list that has been checked, in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut<'a> {
    /// The first flag word. Its bits for headers and expiration are set anew by [`Cut::close`].
    flags: u16,
    /// Further flag words, content type, content encoding.
    before: &'a [u8],
    /// The inside of the headers table.
    pub headers: Option<&'a [u8]>,
    /// Delivery mode, priority, correlation id, reply-to.
    between: &'a [u8],
    pub expiration: Option<&'a [u8]>,
    /// Message id and what follows it.
    after: &'a [u8],
}

impl<'a> Cut<'a> {
    pub fn open(properties: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(properties);
        let flags = read_flags(&mut r)?;
        let has = |p: Property| flags & bit(p) != 0;
        let skip = |r: &mut Reader<'a>, p: Property| if has(p) { r.short_bytes().map(drop) } else { Ok(()) };
        skip(&mut r, Property::ContentType)?;
        skip(&mut r, Property::ContentEncoding)?;
        let before = properties.len() - r.rest().len();
        let headers = if has(Property::Headers) { Some(r.long_bytes()?) } else { None };
        let ((), between) = r.with_bytes(|r| {
            r.take(usize::from(has(Property::DeliveryMode)) + usize::from(has(Property::Priority)))?;
            skip(r, Property::CorrelationId)?;
            skip(r, Property::ReplyTo)
        })?;
        let expiration = if has(Property::Expiration) { Some(r.short_bytes()?) } else { None };
        let before = properties.get(2..before).unwrap_or_default();
        Ok(Self { flags, before, headers, between, expiration, after: r.rest() })
    }

    /// The list with these two pieces in their places. An expiration has at most 255 bytes.
    pub fn close(&self, headers: Option<&[u8]>, expiration: Option<&[u8]>) -> Vec<u8> {
        let edited = bit(Property::Headers) | bit(Property::Expiration);
        let there = |p: Property, piece: Option<&[u8]>| if piece.is_some() { bit(p) } else { 0 };
        let there = there(Property::Headers, headers) | there(Property::Expiration, expiration);
        let (inside, text) = (headers.unwrap_or_default(), expiration.unwrap_or_default());
        let kept = self.before.len() + self.between.len() + self.after.len();
        let mut out = Vec::with_capacity(kept + inside.len() + text.len() + 7);
        out.extend((self.flags & !edited | there).to_be_bytes());
        out.extend_from_slice(self.before);
        if headers.is_some() {
            table::with_length(&mut out, |out| out.extend_from_slice(inside));
        }
        out.extend_from_slice(self.between);
        if expiration.is_some() {
            write::short(&mut out, text);
        }
        out.extend_from_slice(self.after);
        out
    }
}

fn bit(property: Property) -> u16 {
    1 << property as u8
}
