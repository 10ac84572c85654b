//! What comes from the broker, and the properties of messages in both directions.

use std::collections::BTreeMap;

use amq_protocol::protocol::AMQPClass;
use leveret::frames::content::Property;
use leveret::frames::{Reader, Table};

use super::IntoValue;

/// One thing that the broker sent on a channel.
#[derive(Clone, Debug)]
pub enum Incoming {
    Message(Box<Message>),
    Ack { tag: u64, multiple: bool },
    Nack { tag: u64, multiple: bool },
    Method(Box<AMQPClass>),
}

/// A message that was delivered, got or returned. What its kind does not have is empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    pub kind: Kind,
    pub consumer_tag: String,
    pub delivery_tag: u64,
    pub redelivered: bool,
    /// Ready messages left, of a get.
    pub message_count: u32,
    /// Code and text, of a return.
    pub reply: (u16, String),
    pub exchange: String,
    pub routing_key: String,
    pub props: Props,
    pub body: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    Deliver,
    GetOk,
    Return,
}

impl Message {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }
}

/// The properties of a message: encoded values by their position in the flag word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Props(BTreeMap<u8, Vec<u8>>);

/// No properties, to be filled.
pub fn props() -> Props {
    Props::default()
}

impl Props {
    pub fn text(self, property: Property, value: &str) -> Self {
        let length = u8::try_from(value.len()).expect("a shortstr");
        self.raw(property, [&[length], value.as_bytes()].concat())
    }

    pub fn persistent(self) -> Self {
        self.octet(Property::DeliveryMode, 2)
    }

    pub fn octet(self, property: Property, value: u8) -> Self {
        self.raw(property, vec![value])
    }

    pub fn timestamp(self, value: u64) -> Self {
        self.raw(Property::Timestamp, value.to_be_bytes().into())
    }

    pub fn expiration(self, value: &str) -> Self {
        self.text(Property::Expiration, value)
    }

    /// Adds one header.
    pub fn header(self, key: &str, value: impl IntoValue) -> Self {
        let mut table = self.headers();
        table.insert(key, value.into_value());
        let mut bytes = vec![];
        table.encode(&mut bytes);
        self.raw(Property::Headers, bytes)
    }

    /// Sets the encoded value itself.
    pub fn raw(mut self, property: Property, bytes: Vec<u8>) -> Self {
        self.0.insert(property as u8, bytes);
        self
    }

    pub fn without(mut self, property: Property) -> Self {
        self.0.remove(&(property as u8));
        self
    }

    /// The value of a shortstr property, empty where there is none.
    pub fn get(&self, property: Property) -> String {
        let bytes = self.0.get(&(property as u8)).and_then(|b| b.get(1..)).unwrap_or_default();
        String::from_utf8_lossy(bytes).into_owned()
    }

    pub fn get_octet(&self, property: Property) -> Option<u8> {
        self.0.get(&(property as u8)).and_then(|b| b.first().copied())
    }

    pub fn headers(&self) -> Table {
        let encoded = self.0.get(&(Property::Headers as u8));
        let inside = encoded.and_then(|b| b.get(4..)).unwrap_or_default();
        Table::parse(inside).expect("headers that can be read")
    }

    /// Flags and values as in a content header.
    pub fn encode(&self) -> Vec<u8> {
        let flags = self.0.keys().fold(0u16, |flags, bit| flags | 1 << bit);
        let mut out = flags.to_be_bytes().to_vec();
        self.0.values().rev().for_each(|value| out.extend(value));
        out
    }

    /// Reads what [`Self::encode`] writes.
    pub fn decode(bytes: &[u8]) -> Self {
        let mut r = Reader::new(bytes);
        let flags = r.u16().expect("property flags");
        let set = (2..16).rev().filter(|bit| flags & (1 << bit) != 0);
        let values = set.map(|bit| (bit, read_value(bit, &mut r))).collect();
        assert!(flags & 3 == 0 && r.is_empty(), "properties that cannot be read: {bytes:?}");
        Self(values)
    }
}

fn read_value(bit: u8, r: &mut Reader<'_>) -> Vec<u8> {
    const HEADERS: u8 = Property::Headers as u8;
    const MODE: u8 = Property::DeliveryMode as u8;
    const PRIORITY: u8 = Property::Priority as u8;
    const TIMESTAMP: u8 = Property::Timestamp as u8;
    let all = r.rest();
    match bit {
        HEADERS => r.long_bytes().map(drop),
        MODE | PRIORITY => r.u8().map(drop),
        TIMESTAMP => r.u64().map(drop),
        _ => r.short_bytes().map(drop),
    }
    .expect("a whole property");
    all.get(..all.len() - r.rest().len()).expect("what was read").to_vec()
}
