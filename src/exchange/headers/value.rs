//! When a value in a binding equals a value in a message.

use std::borrow::Cow;

use crate::frames::table::{Table, Value, ValueRef};

/// Largest magnitude below which a float can equal an integer that a table can hold.
const INTEGER_RANGE: f64 = 18_446_744_073_709_551_616.0;

/// What a value means, whatever its type: equal values of different types have equal scalars.
///
/// Nested values are only told apart from others here, and compared whole by [`equal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scalar<'a> {
    Void,
    Bool(bool),
    Int(i128),
    /// The bits of a float that is no integer.
    Float(u64),
    Decimal(u8, u32),
    Bytes(&'a [u8]),
    Array,
    Table,
}

impl<'a> Scalar<'a> {
    fn float(value: f64) -> Self {
        if value.fract() == 0.0 && value.abs() <= INTEGER_RANGE {
            return Self::Int(value as i128);
        }
        Self::Float(value.to_bits())
    }

    fn is_nested(self) -> bool {
        matches!(self, Self::Array | Self::Table)
    }
}

impl<'a> From<&'a Value> for Scalar<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Void => Self::Void,
            Value::Bool(v) => Self::Bool(*v),
            Value::Timestamp(v) => Self::Int((*v).into()),
            Value::F32(v) => Self::float((*v).into()),
            Value::F64(v) => Self::float(*v),
            Value::Decimal(scale, v) => Self::Decimal(*scale, *v),
            Value::LongStr(v) | Value::Bytes(v) => Self::Bytes(v),
            Value::Array(_) => Self::Array,
            Value::Table(_) => Self::Table,
            integer => Self::Int(integer.as_int().unwrap_or_default().into()),
        }
    }
}

impl<'a> From<ValueRef<'a>> for Scalar<'a> {
    fn from(value: ValueRef<'a>) -> Self {
        match value {
            ValueRef::Void => Self::Void,
            ValueRef::Bool(v) => Self::Bool(v),
            ValueRef::I8(v) => Self::Int(v.into()),
            ValueRef::U8(v) => Self::Int(v.into()),
            ValueRef::I16(v) => Self::Int(v.into()),
            ValueRef::U16(v) => Self::Int(v.into()),
            ValueRef::I32(v) => Self::Int(v.into()),
            ValueRef::U32(v) => Self::Int(v.into()),
            ValueRef::I64(v) => Self::Int(v.into()),
            ValueRef::Timestamp(v) => Self::Int(v.into()),
            ValueRef::F32(v) => Self::float(v.into()),
            ValueRef::F64(v) => Self::float(v),
            ValueRef::Decimal(scale, v) => Self::Decimal(scale, v),
            ValueRef::LongStr(v) | ValueRef::Bytes(v) => Self::Bytes(v),
            ValueRef::Array(_) => Self::Array,
            ValueRef::Table(_) => Self::Table,
        }
    }
}

/// Whether a message's value is the one that a binding wants. Inside arrays and tables types count too, as in RabbitMQ.
pub fn equal(wanted: &Value, found: ValueRef<'_>) -> bool {
    let scalar = Scalar::from(wanted);
    scalar == Scalar::from(found) && (!scalar.is_nested() || found.to_owned().is_ok_and(|found| found == *wanted))
}

/// A value as Erlang's `~tp` prints it, for error texts.
pub fn printed(value: &Value) -> Cow<'static, str> {
    match value {
        Value::Void => "undefined".into(),
        Value::Bool(v) => v.to_string().into(),
        Value::F32(v) => format!("{v:?}").into(),
        Value::F64(v) => format!("{v:?}").into(),
        Value::Timestamp(v) => v.to_string().into(),
        Value::Decimal(scale, v) => format!("{{{scale},{v}}}").into(),
        Value::LongStr(v) | Value::Bytes(v) => printed_bytes(v).into(),
        Value::Array(items) => format!("[{}]", joined(items.iter().map(printed_typed))).into(),
        Value::Table(table) => printed_table(table).into(),
        integer => integer.as_int().unwrap_or_default().to_string().into(),
    }
}

fn printed_bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok("") => "<<>>".to_owned(),
        Ok(text) if text.is_ascii() => format!("<<{text:?}>>"),
        Ok(text) => format!("<<{text:?}/utf8>>"),
        Err(_) => format!("<<{}>>", joined(bytes.iter().map(u8::to_string))),
    }
}

fn printed_typed(value: &Value) -> String {
    format!("{{{},{}}}", value.type_name(), printed(value))
}

fn printed_table(table: &Table) -> String {
    let entry = |(key, value): (&str, &Value)| {
        format!("{{{},{},{}}}", printed_bytes(key.as_bytes()), value.type_name(), printed(value))
    };
    format!("[{}]", joined(table.iter().map(entry)))
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(",")
}
