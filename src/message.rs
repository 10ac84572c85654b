//! A message, borrowed from a read buffer or held once for all queues.
//!
//! [`Incoming`] is a message as the publisher's read buffer has it; it becomes a [`Message`] (one reference-counted
//! allocation, whatever the fan-out) only when somebody has to keep it. A held message that is written to the journal
//! carries its [`Ticket`]: in which commit its record goes out.
//!
//! Both forms are one run of bytes plus a [`Layout`] that says where in it the route, the properties and the body lie.
//! A message that came in one piece is kept just as it lay in the read buffer, frame headers included: one copy, one
//! allocation. A body that came in several frames keeps the buffer that it was put together in.
//!
//! The rules by which the broker changes a message's properties are functions from property bytes to property bytes:
//! [`headers`] edits the headers table, [`death`] makes dead letters, [`delay`] is about messages that are held back,
//! [`trace`] tells what happens to messages.

use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use triomphe::ThinArc;

use memory::MemoryAccount;

pub mod death;
pub mod delay;
pub mod event;
pub mod headers;
pub mod memory;
pub mod trace;

/// Bodies from this size in bytes on are shared with the outboxes instead of copied into them.
pub const LARGE_BODY: usize = 16 * 1024;

/// What queues need to know of a message, beside its bytes. Times are in milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// When it was published (or, for a dead letter, moved here).
    pub at: u64,
    /// When it expires by its own `expiration`; in the queue of a delayed exchange, when it is due.
    pub due: Option<NonZeroU64>,
    /// The `priority` property; 0 when there is none.
    pub priority: u8,
    /// It was published so. What a queue has read back from the disk counts as such; its properties say what it is elsewhere.
    pub persistent: bool,
    /// It has a header that consumers do not see: BCC, which counts until the message is dead, or the mark of [`death`].
    pub hidden: bool,
}

impl Traits {
    /// Of a message that has nothing special.
    pub fn plain(at: u64, persistent: bool) -> Self {
        Self { at, persistent, ..Self::default() }
    }
}

/// Which messages of a queue survive a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keeps {
    #[default]
    Nothing,
    /// What was published as persistent.
    Persistent,
    /// What a quorum queue or a delayed exchange holds, whatever its delivery mode.
    Everything,
}

impl Keeps {
    /// Whether a message does, that was published as persistent or not.
    #[inline]
    pub fn keeps(self, is_persistent: bool) -> bool {
        match self {
            Self::Nothing => false,
            Self::Persistent => is_persistent,
            Self::Everything => true,
        }
    }

    #[inline]
    pub fn is_durable(self) -> bool {
        self != Self::Nothing
    }
}

/// Where the parts of a message lie in its bytes, and what the queues need to know of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Exchange and routing key, two short strings.
    pub route: Range<u32>,
    /// Flag words and property values.
    pub properties: Range<u32>,
    pub body: Range<u32>,
    pub traits: Traits,
}

/// The parts of a message in place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageView<'a> {
    pub route: &'a [u8],
    pub properties: &'a [u8],
    pub body: &'a [u8],
    /// As in [`Traits`].
    pub hidden: bool,
}

fn part(bytes: &[u8], range: &Range<u32>) -> Range<usize> {
    // A layout is made together with its bytes; a range outside them would be a bug and reads as empty.
    let range = range.start as usize..range.end as usize;
    if range.start <= range.end && range.end <= bytes.len() { range } else { 0..0 }
}

impl Layout {
    #[inline]
    fn view<'a>(&self, bytes: &'a [u8]) -> MessageView<'a> {
        let get = |r: &Range<u32>| bytes.get(part(bytes, r)).unwrap_or_default();
        let hidden = self.traits.hidden;
        MessageView { route: get(&self.route), properties: get(&self.properties), body: get(&self.body), hidden }
    }
}

/// What precedes the bytes of a held message.
struct Head {
    layout: Layout,
    charge: Charge,
    /// A body that lies apart from the other bytes.
    #[expect(clippy::box_collection, reason = "one word in the many messages that have none")]
    body: Option<Box<Vec<u8>>>,
    ticket: AtomicU64,
    /// Queues that have not settled the message; counted only for messages in the journal.
    holders: AtomicU32,
}

/// Where a message's journal record is: the number of the commit that writes it, and its offset in that commit's bytes.
/// Commits are numbered from 1 in every run; 0 stands for records of earlier runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub commit: u64,
    /// `None` when it lies too far behind to be remembered.
    pub offset: Option<u32>,
}

impl Ticket {
    /// Of a commit that will never be done: the journal has failed.
    pub const NEVER: Self = Self { commit: u64::MAX >> Self::OFFSET_BITS, offset: None };
    const OFFSET_BITS: u32 = 24;
    const FAR: u64 = (1 << Self::OFFSET_BITS) - 1;
    /// Stands for a message that has not been handed to the journal (yet).
    const NONE: u64 = u64::MAX;

    fn pack(self) -> u64 {
        let offset = self.offset.map_or(Self::FAR, |o| u64::from(o).min(Self::FAR));
        (self.commit << Self::OFFSET_BITS) | offset
    }

    fn unpack(packed: u64) -> Option<Self> {
        let offset = packed & Self::FAR;
        let known = u32::try_from(offset).ok().filter(|_| offset != Self::FAR);
        (packed != Self::NONE).then_some(Self { commit: packed >> Self::OFFSET_BITS, offset: known })
    }
}

/// Gives the memory back when the last holder lets go.
struct Charge {
    account: &'static MemoryAccount,
    bytes: usize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.sub(self.bytes);
    }
}

/// A held message: a counted reference of eight bytes.
#[derive(Clone)]
pub struct Message(ThinArc<Head, u8>);

impl Message {
    /// Copies the bytes; they are charged to the account until the last clone is gone.
    pub fn new(bytes: &[u8], layout: Layout, account: &'static MemoryAccount) -> Self {
        Self::with_body(bytes, layout, None, account)
    }

    fn with_body(bytes: &[u8], layout: Layout, body: Option<Vec<u8>>, account: &'static MemoryAccount) -> Self {
        let charged = bytes.len() + body.as_ref().map_or(0, Vec::capacity) + size_of::<Head>() + 16;
        account.add(charged);
        let head = Head {
            layout,
            charge: Charge { account, bytes: charged },
            body: body.map(Box::new),
            ticket: AtomicU64::new(Ticket::NONE),
            holders: AtomicU32::new(0),
        };
        Self(ThinArc::from_header_and_slice(head, bytes))
    }

    /// Puts a message together from its parts; the body is taken as it is.
    pub fn from_parts(
        route: &[u8],
        properties: &[u8],
        body: Vec<u8>,
        traits: Traits,
        account: &'static MemoryAccount,
    ) -> Self {
        let bytes = [route, properties].concat();
        let (end_of_route, end) = (to_u32(route.len()), to_u32(bytes.len()));
        let layout = Layout { route: 0..end_of_route, properties: end_of_route..end, body: end..end, traits };
        Self::with_body(&bytes, layout, Some(body), account)
    }

    #[inline]
    pub fn view(&self) -> MessageView<'_> {
        let head = &self.0.header.header;
        let view = head.layout.view(&self.0.slice);
        match &head.body {
            Some(body) => MessageView { body, ..view },
            None => view,
        }
    }

    pub fn is_persistent(&self) -> bool {
        self.traits().persistent
    }

    #[inline]
    pub fn traits(&self) -> Traits {
        self.0.header.header.layout.traits
    }

    /// A copy that is due at another time.
    pub fn with_due(&self, due: Option<NonZeroU64>, account: &'static MemoryAccount) -> Self {
        let (view, traits) = (self.view(), Traits { due, ..self.traits() });
        Self::from_parts(view.route, view.properties, view.body.to_vec(), traits, account)
    }

    /// A copy as if it were published at that time: what it has left of its own time begins there.
    pub fn published_at(&self, at: u64, account: &'static MemoryAccount) -> Self {
        let (view, traits) = (self.view(), self.traits());
        let due = traits.due.and_then(|due| due.checked_add(at.saturating_sub(traits.at)));
        Self::from_parts(view.route, view.properties, view.body.to_vec(), Traits { at, due, ..traits }, account)
    }

    /// Where the journal has it; `None` when it has not been handed to the journal.
    pub fn ticket(&self) -> Option<Ticket> {
        Ticket::unpack(self.0.header.header.ticket.load(Ordering::Acquire))
    }

    /// Notes where the journal has it, and how many queues hold it. Whoever settles it before does not count.
    pub fn set_ticket(&self, ticket: Ticket, queues: u32) {
        let head = &self.0.header.header;
        head.holders.store(queues, Ordering::Relaxed);
        head.ticket.store(ticket.pack(), Ordering::Release);
    }

    /// One queue has settled it after its ticket was set; true when that was the last.
    pub fn release_holder(&self) -> bool {
        self.0.header.header.holders.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Bytes that this message is charged with.
    pub fn charged_bytes(&self) -> usize {
        self.0.header.header.charge.bytes
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Message({:?})", self.view())
    }
}

/// Message sizes are bounded by the 512 MiB body limit, far below 4 GiB.
fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// A message on its way into queues: still in the read buffer, or already held.
#[derive(Clone, Debug)]
pub enum Incoming<'a> {
    Borrowed { bytes: &'a [u8], layout: Layout, account: &'static MemoryAccount },
    Held(Message),
}

impl Incoming<'_> {
    #[inline]
    pub fn view(&self) -> MessageView<'_> {
        match self {
            Self::Borrowed { bytes, layout, .. } => layout.view(bytes),
            Self::Held(message) => message.view(),
        }
    }

    /// The held form, made on first use and shared from then on.
    #[inline]
    pub fn hold(&mut self) -> Message {
        match self {
            Self::Held(message) => message.clone(),
            Self::Borrowed { bytes, layout, account } => {
                let message = Message::new(bytes, layout.clone(), account);
                *self = Self::Held(message.clone());
                message
            }
        }
    }

    pub fn is_persistent(&self) -> bool {
        self.traits().persistent
    }

    #[inline]
    pub fn traits(&self) -> Traits {
        match self {
            Self::Borrowed { layout, .. } => layout.traits,
            Self::Held(message) => message.traits(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_charged_once_and_given_back_with_the_last_clone() {
        let account = MemoryAccount::new(u64::MAX);
        let view = MessageView { route: b"\x01e\x01k", properties: &[0, 0], body: b"body", hidden: false };
        let one = Message::from_parts(view.route, view.properties, view.body.to_vec(), Traits::default(), account);
        let two = one.clone();
        assert_eq!(two.view(), view);
        assert_eq!(account.used(), one.charged_bytes() as u64);
        drop(one);
        assert_ne!(account.used(), 0);
        drop(two);
        assert_eq!(account.used(), 0);
    }

    #[test]
    fn a_borrowed_message_is_copied_only_once() {
        let account = MemoryAccount::new(u64::MAX);
        let layout = Layout { route: 0..2, properties: 4..6, body: 7..9, traits: Traits::plain(0, true) };
        let mut incoming = Incoming::Borrowed { bytes: b"\0\0..\0\0.xy", layout, account };
        let (one, two) = (incoming.hold(), incoming.hold());
        assert_eq!(one.view().body, b"xy");
        assert_eq!(one.view().body.as_ptr(), two.view().body.as_ptr());
        assert!(two.is_persistent());
    }
}
