//! All properties of a list by their names, as values of a table: for those who show a message, or make one.

use super::{Property, read_flags};
use crate::frames::reader::{DecodeError, Reader};
use crate::frames::table::{Value, ValueRef};
use crate::frames::write;

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

/// A value that a property cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadProperty {
    #[error("there is no property '{0}'")]
    Unknown(String),
    #[error("property '{0}' should be {1}")]
    Value(&'static str, &'static str),
}

/// The list of these properties.
///
/// # Errors
/// The first one that is none, or has a value that it cannot have.
pub fn list(properties: &[(&str, Value)]) -> Result<Vec<u8>, BadProperty> {
    if let Some((name, _)) = properties.iter().find(|(name, _)| ALL.iter().all(|(_, known)| known != name)) {
        return Err(BadProperty::Unknown((*name).to_owned()));
    }
    let (mut flags, mut values) = (0_u16, Vec::new());
    for (property, name) in ALL {
        let Some((_, value)) = properties.iter().find(|(given, _)| *given == name) else { continue };
        flags |= 1 << property as u8;
        put(property, name, value, &mut values)?;
    }
    Ok([&flags.to_be_bytes(), values.as_slice()].concat())
}

fn put(property: Property, name: &'static str, value: &Value, out: &mut Vec<u8>) -> Result<(), BadProperty> {
    let wrong = |expected| BadProperty::Value(name, expected);
    match property {
        Property::Headers => match value {
            Value::Table(table) => table.encode(out),
            _ => return Err(wrong("an object")),
        },
        Property::DeliveryMode | Property::Priority => {
            let number = value.as_int().and_then(|n| u8::try_from(n).ok());
            out.push(number.ok_or_else(|| wrong("a whole number from 0 to 255"))?);
        }
        Property::Timestamp => {
            let number = value.as_int().and_then(|n| u64::try_from(n).ok());
            out.extend(number.ok_or_else(|| wrong("a whole number of seconds"))?.to_be_bytes());
        }
        _ => match value {
            Value::LongStr(text) if text.len() <= 255 => write::short(out, text),
            _ => return Err(wrong("a string of at most 255 bytes")),
        },
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::{Properties, Table};

    #[test]
    fn what_is_listed_is_found_again() {
        let headers: Table = [("h", Value::I64(1))].into_iter().collect();
        let given =
            [("delivery_mode", Value::I64(2)), ("headers", Value::Table(headers)), ("app_id", Value::text("a"))];
        let bytes = list(&given).unwrap();
        assert!(Properties::parse(&bytes).unwrap().is_persistent());
        let names: Vec<_> = named(&bytes).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["headers", "delivery_mode", "app_id"]);
        assert_eq!(list(&[]).unwrap(), [0, 0]);
    }

    #[test]
    fn what_cannot_be_is_named() {
        let error = |name, value| list(&[(name, value)]).unwrap_err().to_string();
        assert_eq!(error("colour", Value::I64(1)), "there is no property 'colour'");
        assert_eq!(error("priority", Value::I64(256)), "property 'priority' should be a whole number from 0 to 255");
        assert!(error("type", Value::text("x".repeat(256))).contains("'type'"));
    }
}
