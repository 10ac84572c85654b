//! What a client sees of the broker, and what it may expect.
//!
//! Every frame is read by `amq-protocol` too. The rules are those that a client counts on: contents are complete and
//! not mixed up within a channel, delivery tags rise by one, closed is closed, confirms come once, a queue keeps the
//! order of a publisher, and a message is fresh only once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use amq_protocol::frame::{AMQPFrame, parse_frame};
use amq_protocol::protocol::{AMQPClass, basic, channel, confirm, connection, queue};
use leveret::frames::{ContentHeader, FrameKind, Properties, frame};

use super::script::{Learnt, REPLY_TO};

/// What all clients of a run know together.
#[derive(Default)]
pub struct Common {
    pub learnt: Learnt,
    /// Consumer tags that were used once: their queue, and whether deliveries need an ack.
    pub tags: HashMap<String, Consumer>,
    /// Fresh messages that were delivered: by queue and number.
    fresh: HashSet<(String, u64)>,
    /// The last fresh message of a publisher's channel to a consumer.
    last: HashMap<(String, [u8; 2]), u64>,
}

#[derive(Clone, Debug)]
pub struct Consumer {
    pub queue: String,
    pub needs_ack: bool,
}

/// What has to be done about what was seen.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    ChannelClosed(u16),
    ConnectionClosed,
}

/// One client's view.
#[derive(Default)]
pub struct Observer {
    unread: Vec<u8>,
    /// Largest frame that was agreed upon.
    pub frame_max: u32,
    pub channels: HashMap<u16, Seen>,
    pub closes: u32,
    pub has_ended: bool,
    pub cancel_notify: bool,
    /// The client has sent bytes that the rules know nothing of.
    pub has_lied: bool,
}

/// One channel.
#[derive(Default)]
pub struct Seen {
    pub is_open: bool,
    last_tag: u64,
    content: Option<Content>,
    cancelled: HashSet<String>,
    /// Deliveries that need an ack, and how often they were settled.
    pub unacked: BTreeMap<u64, u32>,
    /// `channel.open` sent, and answered.
    pub opens: (u32, u32),
    /// Tags were settled that the client could not know to be right.
    pub guessed: bool,
    pub has_selected: bool,
    pub published: u64,
    /// Publishes that must be confirmed.
    pub to_confirm: u64,
    confirmed: BTreeSet<u64>,
    confirmed_up_to: u64,
}

struct Content {
    /// Consumer tag of a delivery.
    consumer: Option<String>,
    redelivered: bool,
    /// Bytes of the body that are missing, once the header is there.
    left: Option<u64>,
    start: Vec<u8>,
}

impl Seen {
    pub fn last_tag(&self) -> u64 {
        self.last_tag
    }

    /// Numbers of publishes that have been confirmed.
    pub fn confirmed(&self) -> u64 {
        self.confirmed_up_to + self.confirmed.len() as u64
    }

    fn begin(&mut self) {
        let Self { opens, published, guessed, .. } = std::mem::take(self);
        *self = Self { is_open: true, opens: (opens.0, opens.1 + 1), published, guessed, ..Self::default() };
    }

    fn end(&mut self) {
        self.is_open = false;
        self.has_selected = false;
        self.to_confirm = 0;
        self.unacked.clear();
        assert!(self.content.is_none(), "a channel is closed in the middle of a content");
    }

    fn confirm(&mut self, tag: u64, multiple: bool, may_guess: bool) {
        assert!(tag > self.confirmed_up_to && !self.confirmed.contains(&tag), "publish {tag} is confirmed twice");
        assert!(may_guess || tag <= self.published, "publish {tag} of {} is confirmed", self.published);
        if multiple {
            self.confirmed_up_to = tag;
            self.confirmed.retain(|t| *t > tag);
        } else {
            self.confirmed.insert(tag);
        }
        while self.confirmed.remove(&(self.confirmed_up_to + 1)) {
            self.confirmed_up_to += 1;
        }
    }

    fn next_tag(&mut self, tag: u64) {
        assert_eq!(tag, self.last_tag + 1, "delivery tags rise by one");
        self.last_tag = tag;
    }
}

impl Observer {
    /// Takes bytes that were written to the client.
    pub fn see(&mut self, bytes: &[u8], common: &mut Common) -> Vec<Event> {
        let mut events = Vec::new();
        self.unread.extend_from_slice(bytes);
        if self.unread.starts_with(b"AMQP") {
            // A header instead of a connection: the answer to one that is not ours.
            assert!(self.unread.len() <= 8 && self.channels.values().all(|seen| !seen.is_open));
            return events;
        }
        let unread = std::mem::take(&mut self.unread);
        let mut rest = &unread[..];
        while let Some((found, used)) = frame::split(rest, 0).expect("the broker writes frames") {
            let theirs = parse_frame(&rest[..used]);
            let is_large = self.frame_max != 0 && used > self.frame_max as usize;
            // A header cannot be split: it is as large as its publisher was allowed to make it.
            assert!(!is_large || found.kind == FrameKind::Header, "a frame of {used} bytes");
            match (theirs, found.kind) {
                (Ok((left_over, theirs)), _) => {
                    assert!(left_over.is_empty());
                    self.frame(found.channel, theirs, found.payload, common, &mut events);
                }
                // Clients may put anything into strings of properties; amq-protocol wants UTF-8.
                (Err(_), FrameKind::Header) => self.header(found.channel, found.payload, common),
                (Err(error), _) => panic!("unreadable: {error:?} {found:?}"),
            }
            rest = &rest[used..];
        }
        self.unread = rest.to_vec();
        events
    }

    /// Nothing may be left half said.
    pub fn check_complete(&self) {
        assert!(self.unread.is_empty() || self.unread.len() == 8);
        assert!(self.channels.values().all(|seen| seen.content.is_none()), "a content is not complete");
    }

    fn frame(&mut self, number: u16, frame: AMQPFrame, payload: &[u8], common: &mut Common, events: &mut Vec<Event>) {
        let is_close_ok =
            matches!(&frame, AMQPFrame::Method(0, AMQPClass::Connection(connection::AMQPMethod::CloseOk(_))));
        assert!(!self.has_ended, "{frame:?} after the end");
        assert!(self.closes == 0 || is_close_ok, "{frame:?} after connection.close");
        match frame {
            AMQPFrame::Heartbeat => {}
            AMQPFrame::Method(0, AMQPClass::Connection(method)) => self.connection(&method, events),
            AMQPFrame::Method(0, method) => panic!("{method:?} on channel 0"),
            AMQPFrame::Method(_, method) => self.method(number, &method, common, events),
            AMQPFrame::Header(..) => self.header(number, payload, common),
            AMQPFrame::Body(..) => self.body(number, payload, common),
            other => panic!("{other:?} from a broker"),
        }
    }

    fn connection(&mut self, method: &connection::AMQPMethod, events: &mut Vec<Event>) {
        match method {
            connection::AMQPMethod::Close(_) => {
                self.closes += 1;
                assert_eq!(self.closes, 1);
                events.push(Event::ConnectionClosed);
            }
            // A close that crosses ours is answered; an orderly one ends everything.
            connection::AMQPMethod::CloseOk(_) => self.has_ended = self.closes == 0,
            _ => {}
        }
    }

    fn method(&mut self, number: u16, method: &AMQPClass, common: &mut Common, events: &mut Vec<Event>) {
        let seen = self.channels.entry(number).or_default();
        assert!(seen.content.is_none(), "{method:?} in a content");
        let opens = matches!(method, AMQPClass::Channel(channel::AMQPMethod::OpenOk(_)));
        let closes = matches!(method, AMQPClass::Channel(channel::AMQPMethod::CloseOk(_)));
        assert!(seen.is_open != opens || closes, "{method:?} on channel {number}, open: {}", seen.is_open);
        match method {
            AMQPClass::Channel(channel::AMQPMethod::OpenOk(_)) => seen.begin(),
            AMQPClass::Channel(channel::AMQPMethod::CloseOk(_)) => seen.end(),
            AMQPClass::Channel(channel::AMQPMethod::Close(close)) => {
                if !self.has_lied {
                    check_refusal(seen, close);
                }
                seen.end();
                events.push(Event::ChannelClosed(number));
            }
            AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(_)) => seen.has_selected = true,
            AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)) if ok.queue.as_str().starts_with("amq.gen-") => {
                common.learnt.queue = ok.queue.as_str().to_owned();
            }
            AMQPClass::Basic(method) => self.basic(number, method, common),
            _ => {}
        }
    }

    fn basic(&mut self, number: u16, method: &basic::AMQPMethod, common: &mut Common) {
        let has_lied = self.has_lied;
        let seen = self.channels.entry(number).or_default();
        let mut content = Content { consumer: None, redelivered: false, left: None, start: Vec::new() };
        match method {
            basic::AMQPMethod::Deliver(m) => {
                let tag = m.consumer_tag.as_str();
                assert!(!seen.cancelled.contains(tag), "a delivery to '{tag}', which was cancelled");
                seen.next_tag(m.delivery_tag);
                if common.tags.get(tag).is_some_and(|consumer| consumer.needs_ack) {
                    seen.unacked.insert(m.delivery_tag, 0);
                }
                content.consumer = Some(tag.to_owned());
                content.redelivered = m.redelivered;
            }
            basic::AMQPMethod::GetOk(m) => seen.next_tag(m.delivery_tag),
            basic::AMQPMethod::Return(_) => {}
            basic::AMQPMethod::Ack(m) => return seen.confirm(m.delivery_tag, m.multiple, has_lied),
            basic::AMQPMethod::CancelOk(m) => return note_cancelled(seen, m.consumer_tag.as_str(), common),
            basic::AMQPMethod::Cancel(m) => {
                assert!(self.cancel_notify || has_lied, "a cancel that the client does not understand");
                return note_cancelled(seen, m.consumer_tag.as_str(), common);
            }
            _ => return,
        }
        seen.content = Some(content);
    }

    fn header(&mut self, number: u16, payload: &[u8], common: &mut Common) {
        let header = ContentHeader::parse(payload).expect("a content header");
        assert_eq!(header.class_id, 60);
        let properties = Properties::parse(header.properties).expect("checked properties");
        if let Some(address) = properties.reply_to
            && address.starts_with(REPLY_TO.as_bytes())
            && let Ok(address) = std::str::from_utf8(address)
        {
            address.clone_into(&mut common.learnt.reply_address);
        }
        let content = self.channels.get_mut(&number).and_then(|seen| seen.content.as_mut());
        let content = content.expect("a header follows its method");
        assert_eq!(content.left, None, "a second header");
        content.left = Some(header.body_size);
        self.finish_content(number, common);
    }

    fn body(&mut self, number: u16, payload: &[u8], common: &mut Common) {
        let content = self.channels.get_mut(&number).and_then(|seen| seen.content.as_mut());
        let content = content.expect("a body follows its header");
        let left = content.left.expect("a body follows its header");
        assert!(!payload.is_empty());
        content.left = Some(left.checked_sub(payload.len() as u64).expect("not more than was announced"));
        content.start.extend(payload.iter().take(10_usize.saturating_sub(content.start.len())));
        self.finish_content(number, common);
    }

    fn finish_content(&mut self, number: u16, common: &mut Common) {
        let Some(seen) = self.channels.get_mut(&number) else { return };
        let Some(content) = seen.content.take_if(|content| content.left == Some(0)) else { return };
        let (Some(tag), false) = (content.consumer, content.redelivered) else { return };
        let Some(consumer) = common.tags.get(&tag).cloned() else { return };
        let Some((&[client, channel, ref id @ ..], [])) = content.start.split_first_chunk::<10>() else { return };
        let id = u64::from_be_bytes(*id.first_chunk().expect("eight bytes"));
        if id == 0 || id >= NUMBERS_END {
            return;
        }
        let is_first = common.fresh.insert((consumer.queue.clone(), id));
        assert!(is_first, "message {id} was delivered twice from '{}', not as redelivered", consumer.queue);
        let last = common.last.insert((tag, [client, channel]), id).unwrap_or(0);
        assert!(last < id, "message {id} was delivered after {last}");
    }
}

/// Messages that a run can number; anything else in a body was not put there by [`body`].
const NUMBERS_END: u64 = 1 << 20;

/// The body of a numbered message: its publisher, its number, padding.
pub fn body(client: u8, channel: u8, id: u64, size: usize) -> Vec<u8> {
    if size == 0 {
        return Vec::new();
    }
    let mut body = vec![client, channel];
    body.extend(id.to_be_bytes());
    body.resize(size.max(body.len()), b'.');
    body
}

fn note_cancelled(seen: &mut Seen, tag: &str, common: &Common) {
    // Other tags may be in use again.
    if common.tags.contains_key(tag) {
        seen.cancelled.insert(tag.to_owned());
    }
}

/// A tag that was delivered, and settled once, is not unknown.
fn check_refusal(seen: &Seen, close: &channel::Close) {
    let Some(tag) = close.reply_text.as_str().strip_prefix("PRECONDITION_FAILED - unknown delivery tag ") else {
        return;
    };
    let tag: u64 = tag.parse().expect("a number");
    assert!(seen.guessed || seen.unacked.get(&tag) != Some(&1), "delivery tag {tag} was not accepted");
}
