//! All properties of a list by their names, as values of a table: for those who show a message.

use super::{Property, read_flags};
use crate::frames::reader::{DecodeError, Reader};
use crate::frames::table::ValueRef;

/// The properties in the order in which they lie in a list.
const ALL: [(Property, &str); 14] = [
    (Property::ContentType, "content_type"),
    (Property::ContentEncoding, "content_encoding"),
    (Property::Headers, "headers"),
    (Property::DeliveryMode, "delivery_mode"),
    (Property::Priority, "priority"),
    (Property::CorrelationId, "correlation_id"),
    (Property::ReplyTo, "reply_to"),
    (Property::Expiration, "expiration"),
    (Property::MessageId, "message_id"),
    (Property::Timestamp, "timestamp"),
    (Property::Type, "type"),
    (Property::UserId, "user_id"),
    (Property::AppId, "app_id"),
    (Property::ClusterId, "cluster_id"),
];

/// Those properties that the list has. The headers are the inside of their table, not looked into.
pub fn named(properties: &[u8]) -> Result<Vec<(&'static str, ValueRef<'_>)>, DecodeError> {
    let mut r = Reader::new(properties);
    let flags = read_flags(&mut r)?;
    let there = ALL.into_iter().filter(|(property, _)| flags & (1 << *property as u8) != 0);
    let found: Result<_, _> = there.map(|(property, name)| Ok((name, value(property, &mut r)?))).collect();
    r.finish()?;
    found
}

fn value<'a>(property: Property, r: &mut Reader<'a>) -> Result<ValueRef<'a>, DecodeError> {
    Ok(match property {
        Property::Headers => ValueRef::Table(r.long_bytes()?),
        Property::DeliveryMode | Property::Priority => ValueRef::U8(r.u8()?),
        Property::Timestamp => ValueRef::Timestamp(r.u64()?),
        _ => ValueRef::LongStr(r.short_bytes()?),
    })
}
