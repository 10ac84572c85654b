//! Appending frames to a byte buffer.
//!
//! Hot frames are written field by field with sizes known beforehand. Cold methods go through `amq-protocol`'s
//! generator. Large bodies can be written by reference: [`body_frame_start`] and [`FRAME_END`] go around them.

use amq_protocol::protocol::{AMQPClass, gen_class};
use cookie_factory::WriteContext;

use super::FRAME_OVERHEAD;
use super::frame::{END_OCTET, FrameKind};
use super::method::MethodId;

/// A heartbeat frame.
pub const HEARTBEAT: [u8; 8] = [8, 0, 0, 0, 0, 0, 0, END_OCTET];
/// What ends every frame.
pub const FRAME_END: [u8; 1] = [END_OCTET];

/// Largest body slice of one frame under a negotiated `frame_max` (0 is no limit).
#[inline]
pub fn max_payload(frame_max: u32) -> usize {
    match usize::try_from(frame_max) {
        Ok(0) | Err(_) => usize::MAX,
        Ok(n) => n.saturating_sub(FRAME_OVERHEAD).max(1),
    }
}

/// The size of a payload as it lies on the wire.
#[inline]
fn length(size: usize) -> [u8; 4] {
    u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes()
}

fn frame_start(out: &mut Vec<u8>, kind: FrameKind, channel: u16, size: usize) {
    let [c0, c1] = channel.to_be_bytes();
    let [s0, s1, s2, s3] = length(size);
    out.extend_from_slice(&[kind.octet(), c0, c1, s0, s1, s2, s3]);
}

/// The seven bytes before a body slice of `size` bytes.
pub fn body_frame_start(out: &mut Vec<u8>, channel: u16, size: usize) {
    frame_start(out, FrameKind::Body, channel, size);
}

#[inline]
fn method_start(out: &mut Vec<u8>, channel: u16, id: MethodId, arguments: usize) {
    frame_start(out, FrameKind::Method, channel, arguments + 4);
    let [c0, c1] = id.class.to_be_bytes();
    let [m0, m1] = id.method.to_be_bytes();
    out.extend_from_slice(&[c0, c1, m0, m1]);
}

/// A short string; what exceeds 255 bytes is left out.
#[inline]
pub fn short(out: &mut Vec<u8>, s: &[u8]) {
    let n = u8::try_from(s.len()).unwrap_or(u8::MAX);
    out.push(n);
    out.extend_from_slice(s.get(..usize::from(n)).unwrap_or(s));
}

/// Any method, by way of `amq-protocol`.
pub fn cold(out: &mut Vec<u8>, channel: u16, method: &AMQPClass) {
    frame_start(out, FrameKind::Method, channel, 0);
    let at = out.len();
    // Writing into a Vec cannot fail; should it ever, an empty method would be refused by the peer.
    if let Ok(done) = gen_class(method)(WriteContext::from(Vec::with_capacity(64))) {
        out.extend_from_slice(&done.into_inner().0);
    }
    let size = u32::try_from(out.len() - at).unwrap_or(u32::MAX);
    if let Some(slot) = out.get_mut(at - 4..at) {
        slot.copy_from_slice(&size.to_be_bytes());
    }
    out.push(END_OCTET);
}

/// `basic.publish`; `route` is exchange and routing key as two short strings.
#[inline]
pub fn publish(out: &mut Vec<u8>, channel: u16, route: &[u8], mandatory: bool) {
    method_start(out, channel, MethodId::PUBLISH, 3 + route.len());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(route);
    out.extend_from_slice(&[u8::from(mandatory), END_OCTET]);
}

/// `basic.deliver`; `consumer_tag` of at most 255 bytes, `route` as in [`publish`].
#[inline]
pub fn deliver(out: &mut Vec<u8>, channel: u16, consumer_tag: &[u8], tag: u64, redelivered: bool, route: &[u8]) {
    method_start(out, channel, MethodId::DELIVER, 10 + consumer_tag.len() + route.len());
    short(out, consumer_tag);
    out.extend_from_slice(&tag.to_be_bytes());
    out.push(u8::from(redelivered));
    out.extend_from_slice(route);
    out.push(END_OCTET);
}

/// A whole delivery whose body fits into one frame: what [`deliver`], [`header`] and [`body`] write, in as few pieces as can be.
#[inline]
pub fn small_delivery(
    out: &mut Vec<u8>,
    channel: u16,
    consumer_tag: &[u8],
    (tag, redelivered): (u64, bool),
    (route, properties, content): (&[u8], &[u8], &[u8]),
) {
    let consumer_tag = consumer_tag.get(..255).unwrap_or(consumer_tag);
    let arguments = 14 + consumer_tag.len() + route.len();
    out.reserve(arguments + properties.len() + content.len() + 3 * FRAME_OVERHEAD + 12);
    let [c0, c1] = channel.to_be_bytes();
    let of_method = MethodId::DELIVER;
    let ([k0, k1], [m0, m1]) = (of_method.class.to_be_bytes(), of_method.method.to_be_bytes());
    let [s0, s1, s2, s3] = length(arguments);
    let length_of_tag = u8::try_from(consumer_tag.len()).unwrap_or(u8::MAX);
    out.extend_from_slice(&[FrameKind::Method.octet(), c0, c1, s0, s1, s2, s3, k0, k1, m0, m1, length_of_tag]);
    out.extend_from_slice(consumer_tag);
    let [t0, t1, t2, t3, t4, t5, t6, t7] = tag.to_be_bytes();
    out.extend_from_slice(&[t0, t1, t2, t3, t4, t5, t6, t7, u8::from(redelivered)]);
    out.extend_from_slice(route);
    let [s0, s1, s2, s3] = length(12 + properties.len());
    let [z0, z1, z2, z3, z4, z5, z6, z7] = (content.len() as u64).to_be_bytes();
    #[rustfmt::skip]
    out.extend_from_slice(&[
        END_OCTET, FrameKind::Header.octet(), c0, c1, s0, s1, s2, s3, k0, k1, 0, 0, z0, z1, z2, z3, z4, z5, z6, z7,
    ]);
    out.extend_from_slice(properties);
    if content.is_empty() {
        out.push(END_OCTET);
        return;
    }
    let [s0, s1, s2, s3] = length(content.len());
    out.extend_from_slice(&[END_OCTET, FrameKind::Body.octet(), c0, c1, s0, s1, s2, s3]);
    out.extend_from_slice(content);
    out.push(END_OCTET);
}

/// `basic.get-ok`; `left` is the number of ready messages after this one.
pub fn get_ok(out: &mut Vec<u8>, channel: u16, tag: u64, redelivered: bool, route: &[u8], left: u32) {
    method_start(out, channel, MethodId::GET_OK, 13 + route.len());
    out.extend_from_slice(&tag.to_be_bytes());
    out.push(u8::from(redelivered));
    out.extend_from_slice(route);
    out.extend_from_slice(&left.to_be_bytes());
    out.push(END_OCTET);
}

/// `basic.return`.
pub fn returned(out: &mut Vec<u8>, channel: u16, code: u16, text: &str, route: &[u8]) {
    method_start(out, channel, MethodId::RETURN, 3 + text.len() + route.len());
    out.extend_from_slice(&code.to_be_bytes());
    short(out, text.as_bytes());
    out.extend_from_slice(route);
    out.push(END_OCTET);
}

/// `basic.ack`, from either side.
#[inline]
pub fn ack(out: &mut Vec<u8>, channel: u16, tag: u64, multiple: bool) {
    tag_and_bits(out, channel, MethodId::ACK, tag, u8::from(multiple));
}

/// `basic.nack`, from either side.
pub fn nack(out: &mut Vec<u8>, channel: u16, tag: u64, multiple: bool, requeue: bool) {
    tag_and_bits(out, channel, MethodId::NACK, tag, u8::from(multiple) | u8::from(requeue) << 1);
}

/// `basic.reject`.
pub fn reject(out: &mut Vec<u8>, channel: u16, tag: u64, requeue: bool) {
    tag_and_bits(out, channel, MethodId::REJECT, tag, u8::from(requeue));
}

#[inline]
fn tag_and_bits(out: &mut Vec<u8>, channel: u16, id: MethodId, tag: u64, bits: u8) {
    method_start(out, channel, id, 9);
    out.extend_from_slice(&tag.to_be_bytes());
    out.extend_from_slice(&[bits, END_OCTET]);
}

/// The content header of a basic message; `properties` are flag words and values as they lie on the wire.
#[inline]
pub fn header(out: &mut Vec<u8>, channel: u16, body_size: u64, properties: &[u8]) {
    frame_start(out, FrameKind::Header, channel, 12 + properties.len());
    out.extend_from_slice(&[0, 60, 0, 0]);
    out.extend_from_slice(&body_size.to_be_bytes());
    out.extend_from_slice(properties);
    out.push(END_OCTET);
}

/// A body, cut into as many frames as `frame_max` asks for; an empty body needs none.
#[inline]
pub fn body(out: &mut Vec<u8>, channel: u16, body: &[u8], frame_max: u32) {
    for slice in body.chunks(max_payload(frame_max)) {
        body_frame_start(out, channel, slice.len());
        out.extend_from_slice(slice);
        out.push(END_OCTET);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), 0..most)
    }

    proptest! {
        #[test]
        fn a_small_delivery_is_the_same_in_one_go(
            (channel, tag, redelivered) in any::<(u16, u64, bool)>(),
            (consumer_tag, route, properties, content) in (bytes(300), bytes(60), bytes(60), bytes(200)),
        ) {
            let (mut one, mut three) = (Vec::new(), Vec::new());
            small_delivery(&mut one, channel, &consumer_tag, (tag, redelivered), (&route, &properties, &content));
            let consumer_tag = &consumer_tag[..consumer_tag.len().min(255)];
            deliver(&mut three, channel, consumer_tag, tag, redelivered, &route);
            header(&mut three, channel, content.len() as u64, &properties);
            body(&mut three, channel, &content, 0);
            prop_assert_eq!(one, three);
        }
    }
}
