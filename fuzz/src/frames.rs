//! The byte stream: cutting, decoding and channels agree with `amq-protocol` and with one another.

use std::collections::HashMap;
use std::sync::LazyLock;

use amq_protocol::protocol::basic::AMQPMethod;
use amq_protocol::protocol::{AMQPClass, parse_class};
use arbitrary::{Arbitrary, Unstructured};
use leveret::connection::channel::{Channel, Input, whole_publish};
use leveret::frames::method::split_route;
use leveret::frames::{Frame, FrameKind, Method, frame, method, write};
use leveret::message::memory::MemoryAccount;

/// Bytes on the wire, mostly well-formed, so that most inputs get past the first frame.
#[derive(Arbitrary, Debug)]
enum Piece<'a> {
    Raw(&'a [u8]),
    Frame { kind: u8, channel: u8, payload: &'a [u8] },
    Method { channel: u8, class: u8, method: u8, arguments: &'a [u8] },
    Header { channel: u8, size: u16, properties: &'a [u8] },
    Body { channel: u8, body: &'a [u8] },
    Publish { channel: u8, exchange: &'a [u8], key: &'a [u8], properties: &'a [u8], body: &'a [u8], cut: u8 },
}

#[derive(Arbitrary, Debug)]
struct Stream<'a> {
    frame_max: u8,
    most: u16,
    pieces: Vec<Piece<'a>>,
}

pub fn run(data: &[u8]) {
    let Ok(stream) = Stream::arbitrary_take_rest(Unstructured::new(data)) else { return };
    let frame_max = [0, 16, 64, 4096][usize::from(stream.frame_max % 4)];
    let mut bytes = Vec::new();
    for piece in &stream.pieces {
        piece.write(&mut bytes);
    }
    let mut rest = &bytes[..];
    while let Ok(Some((frame, used))) = frame::split(rest, frame_max) {
        check_frame(frame, &rest[..used], frame_max);
        rest = &rest[used..];
    }
    let most = u64::from(stream.most);
    assert_eq!(read(&bytes, frame_max, most, true), read(&bytes, frame_max, most, false));
}

impl Piece<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Raw(bytes) => out.extend_from_slice(bytes),
            Self::Frame { kind, channel, payload } => put(out, kind % 9, channel, payload),
            Self::Method { channel, class, method, arguments } => {
                put(out, 1, channel, &[&[0, class / 10 * 10, 0, method], arguments].concat());
            }
            Self::Header { channel, size, properties } => {
                write::header(out, u16::from(channel % 3), size.into(), properties);
            }
            Self::Body { channel, body } => put(out, 3, channel, body),
            Self::Publish { channel, exchange, key, properties, body, cut } => {
                let channel = u16::from(channel % 3);
                let mut route = Vec::new();
                for part in [exchange, key] {
                    let length = part.len().min(255);
                    route.push(u8::try_from(length).expect("at most 255"));
                    route.extend_from_slice(&part[..length]);
                }
                write::publish(out, channel, &route, cut % 2 == 1);
                write::header(out, channel, body.len() as u64, properties);
                let frame_max = if cut < 128 { 0 } else { u32::from(cut) };
                write::body(out, channel, body, frame_max);
            }
        }
    }
}

fn put(out: &mut Vec<u8>, kind: u8, channel: u8, payload: &[u8]) {
    out.extend_from_slice(&[kind, 0, channel % 3]);
    out.extend_from_slice(&u32::try_from(payload.len()).expect("inputs are small").to_be_bytes());
    out.extend_from_slice(payload);
    out.push(frame::END_OCTET);
}

fn check_frame(frame: Frame<'_>, bytes: &[u8], frame_max: u32) {
    assert_eq!(frame.payload.len() + 8, bytes.len());
    assert_eq!(frame::split(&bytes[..bytes.len() - 1], frame_max), Ok(None));
    if frame.kind == FrameKind::Method {
        check_method(frame.payload);
    }
}

fn check_method(payload: &[u8]) {
    let ours = method::decode(payload);
    // The other parser recurses without a limit, so it is only shown tables that have been checked.
    let Ok(ours) = ours else { return };
    let theirs = parse_class(payload);
    match ours {
        Method::Cold(class) => {
            let (rest, theirs) = theirs.expect("a method that was checked is readable");
            assert!(rest.is_empty());
            let text = format!("{theirs:?}");
            assert_eq!(format!("{class:?}"), text);
            let mut out = Vec::new();
            write::cold(&mut out, 1, &class);
            let (frame, used) = frame::split(&out, 0).expect("a frame").expect("a whole frame");
            assert_eq!(used, out.len());
            let again = method::decode(frame.payload).expect("what was written is readable");
            assert!(matches!(again, Method::Cold(class) if format!("{class:?}") == text));
        }
        // The other parser wants UTF-8 in names; ours checks it later.
        hot => {
            if let Ok((rest, AMQPClass::Basic(theirs))) = theirs {
                assert!(rest.is_empty());
                check_hot(&hot, &theirs);
            }
        }
    }
}

fn check_hot(ours: &Method<'_>, theirs: &AMQPMethod) {
    let route_is = |route, exchange: &str, key: &str| {
        assert_eq!(split_route(route), (exchange.as_bytes(), key.as_bytes()));
    };
    match (ours, theirs) {
        (Method::Publish(p), AMQPMethod::Publish(m)) => {
            route_is(p.route, m.exchange.as_str(), m.routing_key.as_str());
            assert_eq!((p.mandatory, p.immediate), (m.mandatory, m.immediate));
        }
        (Method::Ack { delivery_tag, multiple }, AMQPMethod::Ack(m)) => {
            assert_eq!((*delivery_tag, *multiple), (m.delivery_tag, m.multiple));
        }
        (Method::Nack { delivery_tag, multiple, requeue }, AMQPMethod::Nack(m)) => {
            assert_eq!((*delivery_tag, *multiple, *requeue), (m.delivery_tag, m.multiple, m.requeue));
        }
        (Method::Reject { delivery_tag, requeue }, AMQPMethod::Reject(m)) => {
            assert_eq!((*delivery_tag, *requeue), (m.delivery_tag, m.requeue));
        }
        (Method::Get { queue, no_ack }, AMQPMethod::Get(m)) => {
            assert_eq!((*queue, *no_ack), (m.queue.as_str(), m.no_ack));
        }
        (Method::Deliver { consumer_tag, delivery_tag, route, .. }, AMQPMethod::Deliver(m)) => {
            assert_eq!((*consumer_tag, *delivery_tag), (m.consumer_tag.as_str().as_bytes(), m.delivery_tag));
            route_is(route, m.exchange.as_str(), m.routing_key.as_str());
        }
        (Method::GetOk { delivery_tag, route, message_count, .. }, AMQPMethod::GetOk(m)) => {
            assert_eq!((*delivery_tag, *message_count), (m.delivery_tag, m.message_count));
            route_is(route, m.exchange.as_str(), m.routing_key.as_str());
        }
        (Method::Return { code, text, route }, AMQPMethod::Return(m)) => {
            assert_eq!((*code, *text), (m.reply_code, m.reply_text.as_str().as_bytes()));
            route_is(route, m.exchange.as_str(), m.routing_key.as_str());
        }
        (ours, theirs) => panic!("{ours:?} is not {theirs:?}"),
    }
}

/// What a stream amounts to, channel by channel: frame by frame, or with whole publishes taken at once.
fn read(bytes: &[u8], frame_max: u32, most: u64, at_once: bool) -> Vec<String> {
    static MEMORY: LazyLock<&'static MemoryAccount> = LazyLock::new(|| MemoryAccount::new(u64::MAX));
    let mut channels: HashMap<u16, Channel> = HashMap::new();
    let mut seen = Vec::new();
    let mut rest = bytes;
    loop {
        if at_once
            && let Some((number, publication, used)) = whole_publish(rest, frame_max, most)
            && channels.get(&number).is_some_and(Channel::is_between_contents)
        {
            seen.push(describe(number, &Input::Publish(publication)));
            rest = &rest[used..];
            continue;
        }
        let (frame, used) = match frame::split(rest, frame_max) {
            Ok(Some(found)) => found,
            Ok(None) => break,
            Err(error) => {
                seen.push(error.to_string());
                break;
            }
        };
        rest = &rest[used..];
        let channel = channels.entry(frame.channel).or_insert_with(|| {
            let mut channel = Channel::new(most, *MEMORY);
            // Channels begin open: the interesting part comes after.
            let open = Frame { kind: FrameKind::Method, channel: frame.channel, payload: &[0, 20, 0, 10, 0] };
            assert_eq!(channel.receive(open), Ok(Input::Open));
            channel
        });
        match channel.receive(frame) {
            Ok(Input::Nothing) => {}
            Ok(input) => seen.push(describe(frame.channel, &input)),
            Err(failure) => {
                seen.push(format!("{}: {failure:?}", frame.channel));
                break;
            }
        }
    }
    drop(channels);
    assert_eq!(MEMORY.used(), 0);
    seen
}

fn describe(channel: u16, input: &Input<'_>) -> String {
    match input {
        Input::Publish(p) => {
            let view = p.content.view();
            format!("{channel}: publish {} {} {} {view:?}", p.mandatory, p.immediate, p.body_size)
        }
        other => format!("{channel}: {other:?}"),
    }
}
