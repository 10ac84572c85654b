//! Field tables: the arguments of declarations and the `headers` property.
//!
//! Two forms. [`entries`] walks encoded bytes in place without allocating, for a message's headers. [`Table`] owns its
//! values in the order in which they came, for arguments, which are kept. Both refuse tables that are nested deeper
//! than [`MAX_DEPTH`], so that no input can exhaust the stack. Types and their letters are RabbitMQ's (its errata of
//! AMQP 0-9-1): `l` and `L` are both signed 64-bit, `s` is a 16-bit integer.

use std::borrow::Cow;

use amq_protocol::types::{AMQPValue, DecimalValue};
use serde::{Deserialize, Serialize};

use super::reader::{DecodeError, Reader};

/// Deepest nesting of tables and arrays that is accepted.
pub const MAX_DEPTH: usize = 64;

/// One value of a field table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    Bool(bool),
    I8(i8),
    U8(u8),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    F32(f32),
    F64(f64),
    Decimal(u8, u32),
    LongStr(Vec<u8>),
    Array(Vec<Value>),
    Timestamp(u64),
    Table(Table),
    Bytes(Vec<u8>),
    Void,
}

/// One value as it lies in a buffer. Nested tables and arrays are their encoded insides, already checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    Bool(bool),
    I8(i8),
    U8(u8),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    F32(f32),
    F64(f64),
    Decimal(u8, u32),
    LongStr(&'a [u8]),
    Array(&'a [u8]),
    Timestamp(u64),
    Table(&'a [u8]),
    Bytes(&'a [u8]),
    Void,
}

impl<'a> ValueRef<'a> {
    /// Reads the type letter and the value. Insides of tables and arrays are taken whole and not looked into.
    #[inline]
    pub fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(match r.u8()? {
            b't' => Self::Bool(r.u8()? != 0),
            b'b' => Self::I8(r.u8()?.cast_signed()),
            b'B' => Self::U8(r.u8()?),
            b's' => Self::I16(r.u16()?.cast_signed()),
            b'u' => Self::U16(r.u16()?),
            b'I' => Self::I32(r.u32()?.cast_signed()),
            b'i' => Self::U32(r.u32()?),
            b'l' | b'L' => Self::I64(r.u64()?.cast_signed()),
            b'f' => Self::F32(f32::from_bits(r.u32()?)),
            b'd' => Self::F64(f64::from_bits(r.u64()?)),
            b'D' => Self::Decimal(r.u8()?, r.u32()?),
            b'S' => Self::LongStr(r.long_bytes()?),
            b'A' => Self::Array(r.long_bytes()?),
            b'T' => Self::Timestamp(r.u64()?),
            b'F' => Self::Table(r.long_bytes()?),
            b'x' => Self::Bytes(r.long_bytes()?),
            b'V' => Self::Void,
            other => return Err(DecodeError::UnknownFieldType(other)),
        })
    }

    /// A letter and bytes that only this value has. Integers are told apart by their number, texts and binaries by their
    /// bytes, whatever their type.
    pub fn identity(self) -> (u8, Cow<'a, [u8]>) {
        let integer = |v: i128| (b'l', v.to_le_bytes().to_vec().into());
        match self {
            Self::I8(v) => integer(v.into()),
            Self::U8(v) => integer(v.into()),
            Self::I16(v) => integer(v.into()),
            Self::U16(v) => integer(v.into()),
            Self::I32(v) => integer(v.into()),
            Self::U32(v) => integer(v.into()),
            Self::I64(v) => integer(v.into()),
            Self::Timestamp(v) => integer(v.into()),
            Self::Bool(v) => (b't', vec![u8::from(v)].into()),
            Self::F32(v) => (b'd', f64::from(v).to_bits().to_le_bytes().to_vec().into()),
            Self::F64(v) => (b'd', v.to_bits().to_le_bytes().to_vec().into()),
            Self::Decimal(scale, v) => (b'D', [&[scale][..], &v.to_le_bytes()].concat().into()),
            Self::LongStr(v) | Self::Bytes(v) => (b'S', v.into()),
            Self::Array(inside) => (b'A', inside.into()),
            Self::Table(inside) => (b'F', inside.into()),
            Self::Void => (b'V', Cow::default()),
        }
    }

    /// The value with everything that it holds, owned.
    pub fn to_owned(self) -> Result<Value, DecodeError> {
        self.to_owned_at(0)
    }

    fn to_owned_at(self, depth: usize) -> Result<Value, DecodeError> {
        if depth > MAX_DEPTH {
            return Err(DecodeError::TooDeep);
        }
        Ok(match self {
            Self::Bool(v) => Value::Bool(v),
            Self::I8(v) => Value::I8(v),
            Self::U8(v) => Value::U8(v),
            Self::I16(v) => Value::I16(v),
            Self::U16(v) => Value::U16(v),
            Self::I32(v) => Value::I32(v),
            Self::U32(v) => Value::U32(v),
            Self::I64(v) => Value::I64(v),
            Self::F32(v) => Value::F32(v),
            Self::F64(v) => Value::F64(v),
            Self::Decimal(scale, v) => Value::Decimal(scale, v),
            Self::LongStr(v) => Value::LongStr(v.to_vec()),
            Self::Array(inside) => {
                let mut r = Reader::new(inside);
                let mut items = Vec::new();
                while !r.is_empty() {
                    items.push(ValueRef::read(&mut r)?.to_owned_at(depth + 1)?);
                }
                Value::Array(items)
            }
            Self::Timestamp(v) => Value::Timestamp(v),
            Self::Table(inside) => Value::Table(Table::parse_at(inside, depth + 1)?),
            Self::Bytes(v) => Value::Bytes(v.to_vec()),
            Self::Void => Value::Void,
        })
    }
}

/// Walks the inside of an encoded table (without its length): keys as they are, values in place.
#[inline]
pub fn entries(inside: &[u8]) -> impl Iterator<Item = Result<(&[u8], ValueRef<'_>), DecodeError>> {
    let mut r = Reader::new(inside);
    std::iter::from_fn(move || {
        if r.is_empty() {
            return None;
        }
        let entry = r.short_bytes().and_then(|key| Ok((key, ValueRef::read(&mut r)?)));
        if entry.is_err() {
            r = Reader::new(&[]);
        }
        Some(entry)
    })
}

/// Walks the inside of an encoded array.
pub fn items(inside: &[u8]) -> impl Iterator<Item = Result<ValueRef<'_>, DecodeError>> {
    let mut r = Reader::new(inside);
    std::iter::from_fn(move || {
        if r.is_empty() {
            return None;
        }
        let item = ValueRef::read(&mut r);
        if item.is_err() {
            r = Reader::new(&[]);
        }
        Some(item)
    })
}

/// The first entry of that name in an encoded table that has been checked before.
pub fn find<'a>(inside: &'a [u8], key: &[u8]) -> Option<ValueRef<'a>> {
    entries(inside).map_while(Result::ok).find(|(k, _)| *k == key).map(|(_, v)| v)
}

/// Checks a whole encoded table: every length, type letter and the depth. Keys must be UTF-8 where `utf8_keys`.
pub fn validate(inside: &[u8], utf8_keys: bool) -> Result<(), DecodeError> {
    validate_table(inside, utf8_keys, 0)
}

fn validate_table(inside: &[u8], utf8_keys: bool, depth: usize) -> Result<(), DecodeError> {
    for entry in entries(inside) {
        let (key, value) = entry?;
        if utf8_keys && std::str::from_utf8(key).is_err() {
            return Err(DecodeError::MalformedUtf8);
        }
        validate_value(value, utf8_keys, depth)?;
    }
    Ok(())
}

fn validate_value(value: ValueRef<'_>, utf8_keys: bool, depth: usize) -> Result<(), DecodeError> {
    if depth >= MAX_DEPTH {
        return Err(DecodeError::TooDeep);
    }
    match value {
        ValueRef::Table(inside) => validate_table(inside, utf8_keys, depth + 1),
        ValueRef::Array(inside) => items(inside).try_for_each(|v| validate_value(v?, utf8_keys, depth + 1)),
        _ => Ok(()),
    }
}

/// An owned table, in the order in which it was sent. Where a key occurs twice, the first one counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Table(Vec<(String, Value)>);

impl Table {
    /// Parses the inside of an encoded table (without its length).
    pub fn parse(inside: &[u8]) -> Result<Self, DecodeError> {
        Self::parse_at(inside, 0)
    }

    fn parse_at(inside: &[u8], depth: usize) -> Result<Self, DecodeError> {
        if depth > MAX_DEPTH {
            return Err(DecodeError::TooDeep);
        }
        let mut table = Vec::new();
        for entry in entries(inside) {
            let (key, value) = entry?;
            let key = std::str::from_utf8(key).map_err(|_| DecodeError::MalformedUtf8)?;
            table.push((key.to_owned(), value.to_owned_at(depth)?));
        }
        Ok(Self(table))
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    pub fn insert(&mut self, key: impl Into<String>, value: Value) {
        self.0.push((key.into(), value));
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same entries ordered by key: the form in which bindings are compared.
    pub fn sorted(mut self) -> Self {
        self.0.sort_by(|a, b| a.0.cmp(&b.0));
        self
    }

    /// Appends the encoded table with its length.
    pub fn encode(&self, out: &mut Vec<u8>) {
        with_length(out, |out| {
            for (key, value) in &self.0 {
                put_entry(out, key, value);
            }
        });
    }
}

/// From `amq-protocol`'s form, which has no order and no duplicates.
impl From<&amq_protocol::types::FieldTable> for Table {
    fn from(table: &amq_protocol::types::FieldTable) -> Self {
        table.inner().iter().map(|(k, v)| (k.as_str(), Value::from(v))).collect()
    }
}

/// To `amq-protocol`'s form, for the tables of methods that it writes.
impl From<&Table> for amq_protocol::types::FieldTable {
    fn from(table: &Table) -> Self {
        let mut out = Self::default();
        for (key, value) in table.iter() {
            out.insert(key.into(), value.into());
        }
        out
    }
}

impl From<&AMQPValue> for Value {
    fn from(value: &AMQPValue) -> Self {
        match value {
            AMQPValue::Boolean(v) => Self::Bool(*v),
            AMQPValue::ShortShortInt(v) => Self::I8(*v),
            AMQPValue::ShortShortUInt(v) => Self::U8(*v),
            AMQPValue::ShortInt(v) => Self::I16(*v),
            AMQPValue::ShortUInt(v) => Self::U16(*v),
            AMQPValue::LongInt(v) => Self::I32(*v),
            AMQPValue::LongUInt(v) => Self::U32(*v),
            AMQPValue::LongLongInt(v) => Self::I64(*v),
            AMQPValue::Float(v) => Self::F32(*v),
            AMQPValue::Double(v) => Self::F64(*v),
            AMQPValue::DecimalValue(v) => Self::Decimal(v.scale, v.value),
            AMQPValue::ShortString(v) => Self::text(v.as_str()),
            AMQPValue::LongString(v) => Self::LongStr(v.as_bytes().to_vec()),
            AMQPValue::FieldArray(v) => Self::Array(v.as_slice().iter().map(Self::from).collect()),
            AMQPValue::Timestamp(v) => Self::Timestamp(*v),
            AMQPValue::FieldTable(v) => Self::Table(v.into()),
            AMQPValue::ByteArray(v) => Self::Bytes(v.as_slice().to_vec()),
            AMQPValue::Void => Self::Void,
        }
    }
}

impl From<&Value> for AMQPValue {
    fn from(value: &Value) -> Self {
        match value {
            Value::Bool(v) => Self::Boolean(*v),
            Value::I8(v) => Self::ShortShortInt(*v),
            Value::U8(v) => Self::ShortShortUInt(*v),
            Value::I16(v) => Self::ShortInt(*v),
            Value::U16(v) => Self::ShortUInt(*v),
            Value::I32(v) => Self::LongInt(*v),
            Value::U32(v) => Self::LongUInt(*v),
            Value::I64(v) => Self::LongLongInt(*v),
            Value::F32(v) => Self::Float(*v),
            Value::F64(v) => Self::Double(*v),
            Value::Decimal(scale, value) => Self::DecimalValue(DecimalValue { scale: *scale, value: *value }),
            Value::LongStr(v) => Self::LongString(v.clone().into()),
            Value::Array(v) => Self::FieldArray(v.iter().map(Self::from).collect::<Vec<_>>().into()),
            Value::Timestamp(v) => Self::Timestamp(*v),
            Value::Table(v) => Self::FieldTable(v.into()),
            Value::Bytes(v) => Self::ByteArray(v.clone().into()),
            Value::Void => Self::Void,
        }
    }
}

impl<K: Into<String>> FromIterator<(K, Value)> for Table {
    fn from_iter<I: IntoIterator<Item = (K, Value)>>(entries: I) -> Self {
        Self(entries.into_iter().map(|(k, v)| (k.into(), v)).collect())
    }
}

impl Value {
    /// A longstr.
    pub fn text(s: impl AsRef<str>) -> Self {
        Self::LongStr(s.as_ref().as_bytes().to_vec())
    }

    /// The value of any integer type (not of a timestamp, float or decimal, as RabbitMQ's `check_int_arg`).
    pub fn as_int(&self) -> Option<i64> {
        Some(match *self {
            Self::I8(v) => v.into(),
            Self::U8(v) => v.into(),
            Self::I16(v) => v.into(),
            Self::U16(v) => v.into(),
            Self::I32(v) => v.into(),
            Self::U32(v) => v.into(),
            Self::I64(v) => v,
            _ => return None,
        })
    }

    /// The text of a longstr; bytes that are no UTF-8 are replaced.
    pub fn as_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::LongStr(bytes) => Some(String::from_utf8_lossy(bytes)),
            _ => None,
        }
    }

    /// RabbitMQ's name of the type, as its error texts use it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Bool(_) => "bool",
            Self::I8(_) => "byte",
            Self::U8(_) => "unsignedbyte",
            Self::I16(_) => "short",
            Self::U16(_) => "unsignedshort",
            Self::I32(_) => "signedint",
            Self::U32(_) => "unsignedint",
            Self::I64(_) => "long",
            Self::F32(_) => "float",
            Self::F64(_) => "double",
            Self::Decimal(..) => "decimal",
            Self::LongStr(_) => "longstr",
            Self::Array(_) => "array",
            Self::Timestamp(_) => "timestamp",
            Self::Table(_) => "table",
            Self::Bytes(_) => "binary",
            Self::Void => "void",
        }
    }

    /// Appends the type letter and the value.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Bool(v) => out.extend([b't', u8::from(*v)]),
            Self::I8(v) => put(out, b'b', &v.to_be_bytes()),
            Self::U8(v) => put(out, b'B', &v.to_be_bytes()),
            Self::I16(v) => put(out, b's', &v.to_be_bytes()),
            Self::U16(v) => put(out, b'u', &v.to_be_bytes()),
            Self::I32(v) => put(out, b'I', &v.to_be_bytes()),
            Self::U32(v) => put(out, b'i', &v.to_be_bytes()),
            Self::I64(v) => put(out, b'l', &v.to_be_bytes()),
            Self::F32(v) => put(out, b'f', &v.to_be_bytes()),
            Self::F64(v) => put(out, b'd', &v.to_be_bytes()),
            Self::Decimal(scale, v) => {
                put(out, b'D', &[*scale]);
                out.extend(v.to_be_bytes());
            }
            Self::LongStr(v) => put_long(out, b'S', v),
            Self::Array(items) => {
                out.push(b'A');
                with_length(out, |out| items.iter().for_each(|v| v.encode(out)));
            }
            Self::Timestamp(v) => put(out, b'T', &v.to_be_bytes()),
            Self::Table(table) => {
                out.push(b'F');
                table.encode(out);
            }
            Self::Bytes(v) => put_long(out, b'x', v),
            Self::Void => out.push(b'V'),
        }
    }
}

fn put(out: &mut Vec<u8>, letter: u8, bytes: &[u8]) {
    out.push(letter);
    out.extend_from_slice(bytes);
}

/// Appends a value of which the encoded inside is at hand: a longstr, table, array or byte array.
pub fn put_long(out: &mut Vec<u8>, letter: u8, bytes: &[u8]) {
    out.push(letter);
    with_length(out, |out| out.extend_from_slice(bytes));
}

/// Appends an entry of a table.
pub fn put_entry(out: &mut Vec<u8>, key: &str, value: &Value) {
    put_key(out, key);
    value.encode(out);
}

fn put_key(out: &mut Vec<u8>, key: &str) {
    let key = key.as_bytes();
    let n = u8::try_from(key.len()).unwrap_or(u8::MAX);
    out.push(n);
    out.extend(key.iter().take(usize::from(n)));
}

/// Writes four bytes of length before whatever `fill` appends.
pub fn with_length(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend([0; 4]);
    fill(out);
    let n = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
    if let Some(slot) = out.get_mut(at..at + 4) {
        slot.copy_from_slice(&n.to_be_bytes());
    }
}

#[cfg(test)]
mod tests;
