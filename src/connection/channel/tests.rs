//! The channel machine against a naive reading of the same frames, in whatever pieces they come.

use proptest::prelude::*;

use super::*;
use crate::frames::write;

fn account() -> &'static MemoryAccount {
    MemoryAccount::new(u64::MAX)
}

fn opened(max_message_size: u64) -> Channel {
    let mut channel = Channel::new(max_message_size, account());
    assert_eq!(channel.receive(method_frame(&open())), Ok(Input::Open));
    channel
}

fn open() -> Vec<u8> {
    vec![0, 20, 0, 10, 0]
}

fn method_frame(payload: &[u8]) -> Frame<'_> {
    Frame { kind: FrameKind::Method, channel: 1, payload }
}

fn publish_frames(route: &[u8], properties: &[u8], body: &[u8], frame_max: u32) -> Vec<u8> {
    let mut out = vec![];
    write::publish(&mut out, 1, route, true);
    write::header(&mut out, 1, body.len() as u64, properties);
    write::body(&mut out, 1, body, frame_max);
    out
}

/// Route, properties and body.
type Parts = (Vec<u8>, Vec<u8>, Vec<u8>);

/// Feeds whole frames; collects the publications.
fn feed(channel: &mut Channel, bytes: &[u8]) -> Result<Vec<Parts>, Failure> {
    let (mut rest, mut found) = (bytes, vec![]);
    while let Ok(Some((frame, used))) = frame::split(rest, 0) {
        if let Input::Publish(p) = channel.receive(frame)? {
            let v = p.content.view();
            found.push((v.route.to_vec(), v.properties.to_vec(), v.body.to_vec()));
        }
        rest = &rest[used..];
    }
    Ok(found)
}

proptest! {
    #[test]
    fn contents_are_put_together_whatever_the_frame_size(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..6),
        frame_max in 9u32..200,
    ) {
        let mut channel = opened(1 << 20);
        let mut bytes = vec![];
        for body in &bodies {
            bytes.extend(publish_frames(b"\x01e\x01k", &[0x10, 0, 2], body, frame_max));
        }
        let found = feed(&mut channel, &bytes).unwrap();
        prop_assert_eq!(found.len(), bodies.len());
        for (found, body) in found.iter().zip(&bodies) {
            prop_assert_eq!(&found.0[..], b"\x01e\x01k");
            prop_assert_eq!(&found.1[..], &[0x10u8, 0, 2][..]);
            prop_assert_eq!(&found.2, body);
        }
        prop_assert_eq!(channel.memory.used(), 0);
    }

    #[test]
    fn a_whole_publish_is_read_as_its_frames_are(body in prop::collection::vec(any::<u8>(), 0..300), cut in any::<prop::sample::Index>()) {
        let bytes = publish_frames(b"\x00\x05queue", &[0, 0], &body, 4096);
        let (number, p, used) = whole_publish(&bytes, 4096, 1 << 20).unwrap();
        prop_assert_eq!((number, used), (1, bytes.len()));
        let v = p.content.view();
        prop_assert_eq!((v.route, v.properties, v.body), (&b"\x00\x05queue"[..], &[0u8, 0][..], &body[..]));
        prop_assert_eq!(whole_publish(&bytes[..cut.index(bytes.len())], 4096, 1 << 20), None);
    }

    #[test]
    fn any_frames_are_refused_or_read_without_harm(frames in prop::collection::vec((0u8..4, prop::collection::vec(any::<u8>(), 0..40)), 1..20)) {
        let mut channel = opened(64);
        for (kind, payload) in &frames {
            let kind = [FrameKind::Method, FrameKind::Header, FrameKind::Body, FrameKind::Heartbeat][*kind as usize];
            if channel.receive(Frame { kind, channel: 1, payload }).is_err() {
                break;
            }
        }
    }
}

fn failure(channel: &mut Channel, kind: FrameKind, payload: &[u8]) -> (u16, String) {
    let failure = channel.receive(Frame { kind, channel: 1, payload }).unwrap_err();
    (failure.refusal.code.code(), failure.refusal.text)
}

fn publishing() -> Channel {
    let mut channel = opened(1000);
    let mut out = vec![];
    write::publish(&mut out, 1, &[0, 0], false);
    feed(&mut channel, &out).unwrap();
    channel
}

#[test]
fn frames_out_of_order_are_named() {
    let mut fresh = Channel::new(10, account());
    assert_eq!(failure(&mut fresh, FrameKind::Method, &[0, 85, 0, 10, 0]), (504, "expected 'channel.open'".into()));
    assert_eq!(failure(&mut opened(10), FrameKind::Method, &open()), (504, "second 'channel.open' seen".into()));
    assert_eq!(failure(&mut opened(10), FrameKind::Body, &[]), (505, METHOD_EXPECTED.into()));
    assert_eq!(failure(&mut publishing(), FrameKind::Body, &[]), (505, HEADER_EXPECTED.into()));
    let other_class = [0, 50, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
    let text = "expected content header for class 60, got one for class 50 instead";
    assert_eq!(failure(&mut publishing(), FrameKind::Header, &other_class), (505, text.into()));
    let mut in_body = publishing();
    in_body
        .receive(Frame { kind: FrameKind::Header, channel: 1, payload: &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0] })
        .unwrap();
    assert_eq!(failure(&mut in_body, FrameKind::Method, &[]), (505, BODY_EXPECTED.into()));
}

#[test]
fn a_body_over_the_limit_is_read_and_not_kept() {
    let mut channel = opened(10);
    let bytes = publish_frames(&[0, 0], &[0, 0], &[7; 100], 50);
    let (mut rest, mut size) = (&bytes[..], None);
    while let Ok(Some((frame, used))) = frame::split(rest, 0) {
        if let Input::Publish(p) = channel.receive(frame).unwrap() {
            size = Some((p.body_size, p.content.view().body.len()));
        }
        rest = &rest[used..];
    }
    assert_eq!(size, Some((100, 0)));
}

#[test]
fn after_the_brokers_close_only_the_answer_counts() {
    let mut channel = opened(10);
    channel.closing();
    let mut out = vec![];
    write::publish(&mut out, 1, &[0, 0], false);
    write::body(&mut out, 1, b"x", 4096);
    assert_eq!(feed(&mut channel, &out), Ok(vec![]));
    assert_eq!(channel.receive(method_frame(&[0, 20, 0, 40])), Ok(Input::CloseCrossed));
    assert_eq!(channel.receive(method_frame(&[0, 20, 0, 41])), Ok(Input::CloseOk));
}
