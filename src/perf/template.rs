//! One message as the bytes of its frames, made once; each message sent is a copy with a few bytes changed.
//!
//! A producer with one route has it all in `body`. With many routes, `heads` has a method and header frame for each,
//! used in turn, and `body` only the body frames. The message's id and time lie at fixed places in `body`.

use crate::frames::write;

use super::body::{self, Id};
use super::topology::Route;

pub struct Template {
    heads: Vec<Vec<u8>>,
    next_head: usize,
    body: Vec<u8>,
    id_at: usize,
    stamped: bool,
}

/// What is the same for all messages of a producer.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    pub channel: u16,
    pub exchange: &'a str,
    pub size: usize,
    pub persistent: bool,
    pub mandatory: bool,
    pub frame_max: u32,
}

impl Template {
    pub fn new(shape: &Shape<'_>, routes: &[Route]) -> Self {
        let mut heads: Vec<Vec<u8>> = routes.iter().map(|route| head(shape, route)).collect();
        let mut frames = if heads.len() == 1 { heads.pop().unwrap_or_default() } else { Vec::new() };
        let id_at = frames.len() + 7;
        let mut content = vec![0; shape.size.min(body::STAMPED_SIZE)];
        content.extend(body::filler(shape.size));
        write::body(&mut frames, shape.channel, &content, shape.frame_max);
        Self { heads, next_head: 0, body: frames, id_at, stamped: shape.size >= body::STAMPED_SIZE }
    }

    /// Bytes of one message, about.
    pub fn len(&self) -> usize {
        self.body.len() + self.heads.first().map_or(0, Vec::len)
    }

    /// The time that the following messages carry.
    pub fn stamp(&mut self, now: u64) {
        if self.stamped {
            patch(&mut self.body, self.id_at + 8, now.to_be_bytes());
        }
    }

    #[inline]
    pub fn write(&mut self, out: &mut Vec<u8>, id: Id) {
        patch(&mut self.body, self.id_at, id.encode());
        if let Some(head) = self.heads.get(self.next_head) {
            out.extend_from_slice(head);
            self.next_head = if self.next_head + 1 == self.heads.len() { 0 } else { self.next_head + 1 };
        }
        out.extend_from_slice(&self.body);
    }
}

/// Method and header frame.
fn head(shape: &Shape<'_>, route: &Route) -> Vec<u8> {
    let mut properties = vec![0, 0];
    let mut flags = 0u16;
    if let Some(headers) = &route.headers {
        flags |= 1 << 13;
        headers.encode(&mut properties);
    }
    if shape.persistent {
        flags |= 1 << 12;
        properties.push(2);
    }
    patch(&mut properties, 0, flags.to_be_bytes());
    let mut address = Vec::new();
    for name in [shape.exchange, &route.key] {
        address.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        address.extend_from_slice(name.as_bytes());
    }
    let mut out = Vec::new();
    write::publish(&mut out, shape.channel, &address, shape.mandatory);
    write::header(&mut out, shape.channel, u64::try_from(shape.size).unwrap_or(u64::MAX), &properties);
    out
}

#[inline]
fn patch<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    if let Some(slot) = bytes.get_mut(at..at + N) {
        slot.copy_from_slice(&value);
    }
}

#[cfg(test)]
mod tests {
    use crate::frames::frame::{FrameKind, split};
    use crate::frames::{ContentHeader, Properties, Table, Value};

    use super::*;

    const SHAPE: Shape<'static> =
        Shape { channel: 3, exchange: "x", size: 16, persistent: true, mandatory: false, frame_max: 4096 };

    fn frames(bytes: &[u8]) -> Vec<(FrameKind, Vec<u8>)> {
        let (mut rest, mut found) = (bytes, Vec::new());
        while let Some((frame, n)) = split(rest, 4096).unwrap() {
            assert_eq!(frame.channel, 3);
            found.push((frame.kind, frame.payload.to_vec()));
            rest = &rest[n..];
        }
        assert!(rest.is_empty());
        found
    }

    fn route(key: &str) -> Route {
        Route { key: key.into(), headers: None }
    }

    #[test]
    fn id_and_time_are_where_the_body_has_them() {
        let mut template = Template::new(&SHAPE, &[route("k")]);
        template.stamp(9);
        let mut out = Vec::new();
        template.write(&mut out, Id { producer: 1, seq: 2 });
        let found = frames(&out);
        assert_eq!(found.len(), 3);
        assert_eq!(found[2].1, [0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9]);
        let header = ContentHeader::parse(&found[1].1).unwrap();
        assert_eq!((header.body_size, Properties::parse(header.properties).unwrap().is_persistent()), (16, true));
    }

    #[test]
    fn routes_take_turns_and_large_bodies_have_several_frames() {
        let headers: Table = [("group", Value::text("g"))].into_iter().collect();
        let routes = [route("a"), Route { key: "b".into(), headers: Some(headers) }];
        let mut template = Template::new(&Shape { size: 10_000, ..SHAPE }, &routes);
        let mut out = Vec::new();
        (0..3).for_each(|seq| template.write(&mut out, Id { producer: 0, seq }));
        let found = frames(&out);
        let keys: Vec<u8> = found.iter().filter(|f| f.0 == FrameKind::Method).map(|f| f.1[9]).collect();
        assert_eq!((found.len(), keys), (15, b"aba".to_vec()));
        let header = ContentHeader::parse(&found[6].1).unwrap();
        assert!(Properties::parse(header.properties).unwrap().headers.is_some());
    }
}
