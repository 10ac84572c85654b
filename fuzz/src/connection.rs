//! A whole broker without a network: a few clients that get in each other's way.
//!
//! The broker must survive whatever they do, say only what a client may expect (see [`super::observer`]), and when they
//! have gone, nothing of theirs may be left.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, basic, confirm, queue};
use arbitrary::{Arbitrary, Unstructured};
use leveret::auth::{Hashing, Permissions, User, password};
use leveret::config::Config;
use leveret::connection::census::Census;
use leveret::connection::machine::Shared;
use leveret::connection::registry::Registry;
use leveret::frames::{Table, write};
use leveret::message::memory::MemoryAccount;
use leveret::persist::catalog::NoCatalog;
use leveret::persist::record::{PermissionRecord, QueueRecord};
use leveret::vhost::{Broker, Command};
use tokio::time::Instant;

use super::observer::{Common, Consumer, body};
use super::peer::Peer;
use super::script::{Action, Call, Login, Publish, Script, Settle, Step, USERS, VHOST};

/// Put into the account beforehand, so that giving back too much is seen as well as too little.
const ALREADY_USED: u64 = 1 << 30;
/// Messages that fit into memory; publishers wait beyond.
const ROOM: u64 = 1 << 20;
/// Most steps of a run.
const STEPS: usize = 200;

/// An account lives as long as the process, so all runs share one; they take turns.
static ACCOUNT: LazyLock<Mutex<&'static MemoryAccount>> = LazyLock::new(|| {
    let account = MemoryAccount::new(ALREADY_USED + ROOM);
    account.add(usize::try_from(ALREADY_USED).expect("64 bits"));
    Mutex::new(account)
});

pub fn run(data: &[u8]) {
    let Ok(script) = Script::arbitrary_take_rest(Unstructured::new(data)) else { return };
    if std::env::var_os("FUZZ_PRINT").is_some() {
        println!("{script:#?}");
    }
    let account = ACCOUNT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut world = World::new(*account);
    for step in script.steps.iter().take(STEPS) {
        world.step(step);
    }
    world.end();
}

struct World {
    shared: Arc<Shared>,
    peers: [Option<Peer>; 3],
    common: Common,
    now: Instant,
    next_message: u64,
    next_tag: u64,
}

impl World {
    fn new(memory: &'static MemoryAccount) -> Self {
        let mut config = Config::default();
        config.limits.max_message_size = 200_000;
        let broker = Broker::start(config, Box::new(NoCatalog), memory, None).expect("an empty broker starts");
        let (name, secret) = USERS[1];
        let hash = password::hash(secret.as_bytes(), Hashing::default()).expect("there is randomness");
        broker.apply(Command::PutUser(User { password_hash: Some(hash), ..User::new(name) })).expect("a user is made");
        // One queue is there from the beginning, so that there is something to meet at.
        let record = QueueRecord {
            vhost: VHOST.to_owned(),
            name: "q1".to_owned(),
            durable: false,
            auto_delete: false,
            arguments: Table::default(),
            id: 0,
        };
        broker.apply(Command::DeclareQueue { record, exclusive_owner: None }).expect("a queue is made");
        let clock = Arc::new(AtomicU32::new(0));
        let shared = Arc::new(Shared { broker, registry: Registry::default(), clock, census: Census::default() });
        let world = Self {
            shared,
            peers: [None, None, None],
            common: Common::default(),
            now: Instant::now(),
            next_message: 1,
            next_tag: 0,
        };
        world.permit(0);
        world
    }

    /// What the second user may do.
    fn permit(&self, choice: u8) {
        let [configure, write, read] = match choice % 4 {
            0 => [".*", ".*", ".*"],
            1 => ["^o", "^(o|amq)", "^(o|q1)"],
            2 => ["^$", "^$", "^$"],
            _ => ["", "^o", ""],
        };
        let permissions =
            Permissions { configure: configure.to_owned(), write: write.to_owned(), read: read.to_owned() };
        let record = PermissionRecord { user: USERS[1].0.to_owned(), vhost: VHOST.to_owned(), permissions };
        self.shared.broker.apply(Command::SetPermissions(record)).expect("the patterns are good");
    }

    fn step(&mut self, step: &Step<'_>) {
        let who = usize::from(step.who % 3);
        if let Some(seconds) = self.act(who, step) {
            self.pass(seconds);
        }
        if let Some(peer) = &mut self.peers[who] {
            peer.read_size = if step.cut == 0 { usize::MAX } else { usize::from(step.cut) * 8 };
            peer.run(!step.hold, &mut self.common);
        }
        for peer in self.peers.iter_mut().flatten() {
            peer.run(false, &mut self.common);
        }
    }

    /// Does what the step says; gives back the time that passes.
    fn act(&mut self, who: usize, step: &Step<'_>) -> Option<u16> {
        match &step.action {
            Action::Call { channel, call } => self.call(who, *channel, call),
            Action::Publish { channel, publish } => self.publish(who, *channel, publish),
            Action::Settle { channel, settle } => self.settle(who, *channel, *settle),
            Action::Mangled { channel, call, at, xor } => {
                let mut frame = Vec::new();
                write::cold(&mut frame, number_of(*channel), &call.method(&self.common.learnt, "m"));
                let at = usize::from(*at) % frame.len();
                frame[at] ^= xor;
                self.raw(who, &frame);
            }
            Action::Raw(bytes) => self.raw(who, bytes),
            Action::Frame { kind, channel, payload } => {
                let mut frame = vec![[1, 2, 3, 8][usize::from(kind % 4)], 0, channel % 4];
                frame.extend(u32::try_from(payload.len()).expect("inputs are small").to_be_bytes());
                frame.extend_from_slice(payload);
                frame.push(0xCE);
                self.raw(who, &frame);
            }
            Action::Begin { preface, then } => self.begin(who, *preface, then),
            Action::Gone => self.leave(who),
            Action::Wait { seconds } => return Some(*seconds),
            Action::Slow(slow) => self.peer(who).is_slow = *slow,
            Action::Read(size) => {
                if let Some(peer) = &mut self.peers[who] {
                    peer.flush(usize::from(*size) * 1024, &mut self.common);
                }
            }
            Action::CloseFromOutside => {
                let user = USERS[usize::from(who == 2)].0;
                self.shared.registry.close_where("enough", |c| &*c.user == user);
            }
            Action::Permit(choice) => self.permit(*choice),
        }
        None
    }

    /// The client, connected if it is not.
    fn peer(&mut self, who: usize) -> &mut Peer {
        if self.peers[who].as_ref().is_some_and(Peer::has_ended) {
            self.peers[who] = None;
        }
        self.peers[who].get_or_insert_with(|| {
            let mut peer = Peer::new(&self.shared, self.now);
            let frame_max = if who == 1 { 4096 } else { 131_072 };
            peer.log_in(u8::from(who == 2), frame_max, u8::from(who == 1));
            peer.open_channel(1);
            peer.open_channel(2);
            peer.run(true, &mut self.common);
            peer
        })
    }

    fn call(&mut self, who: usize, channel: u8, call: &Call<'_>) {
        let number = if call.is_of_connection() { 0 } else { number_of(channel) };
        let tag = match call {
            Call::Consume { queue, tag, bits, .. } => {
                let queue = queue.queue(&self.common.learnt);
                self.consumer_tag(who, *tag, queue, bits & 1 == 0)
            }
            Call::Cancel { tag, .. } => self.earlier_tag(*tag),
            _ => String::new(),
        };
        let method = call.method(&self.common.learnt, &tag);
        let peer = self.peer(who);
        peer.send(number, &method);
        let seen = peer.observer.channels.entry(number).or_default();
        match call {
            Call::OpenChannel => seen.opens.0 += 1,
            // Afterwards the client cannot tell by itself which tags count.
            Call::Recover { .. } | Call::TxSelect | Call::TxRollback => seen.guessed = true,
            // Answers that nobody waits for.
            Call::ChannelCloseOk | Call::ConnectionCloseOk | Call::OfServers(_) => peer.observer.has_lied = true,
            _ => {}
        }
    }

    fn consumer_tag(&mut self, who: usize, choice: u8, queue: String, needs_ack: bool) -> String {
        match choice {
            0 => String::new(),
            1..=40 => "a".to_owned(),
            _ => {
                let tag = format!("t{}", self.next_tag);
                self.next_tag += 1;
                let is_known = !queue.is_empty() && !queue.starts_with(super::script::REPLY_TO) && who < 3;
                if is_known {
                    self.common.tags.insert(tag.clone(), Consumer { queue, needs_ack });
                }
                tag
            }
        }
    }

    fn earlier_tag(&self, choice: u8) -> String {
        match choice {
            0..=40 => "a".to_owned(),
            _ => format!("t{}", self.next_tag.saturating_sub(u64::from(choice % 8))),
        }
    }

    fn publish(&mut self, who: usize, channel: u8, publish: &Publish<'_>) {
        let number = number_of(channel);
        let id = self.next_message;
        self.next_message += 1;
        let body = body(who as u8, channel_of(number), id, publish.body_size());
        let mut frames = Vec::new();
        publish.write(&mut frames, number, &self.common.learnt, &body);
        let peer = self.peer(who);
        peer.send_bytes(&frames);
        let seen = peer.observer.channels.entry(number).or_default();
        seen.published += 1;
        if publish.is_unfinished() {
            peer.observer.has_lied = true;
        } else if seen.is_open && seen.has_selected {
            seen.to_confirm += 1;
        }
    }

    fn settle(&mut self, who: usize, channel: u8, settle: Settle) {
        let number = number_of(channel);
        let peer = self.peer(who);
        let seen = peer.observer.channels.entry(number).or_default();
        let tag = match settle.back {
            n @ 0..200 => seen.unacked.keys().rev().nth(usize::from(n % 16)).copied().unwrap_or(seen.last_tag()),
            200..=220 => 0,
            n => seen.last_tag().wrapping_add(u64::from(n)).wrapping_sub(230),
        };
        let multiple = settle.multiple && settle.how % 3 != 2;
        // Of what comes back while the channel is on its way to be another, nothing can be said.
        seen.guessed |= seen.opens.0 != seen.opens.1 || !(seen.unacked.contains_key(&tag) || tag == 0 && multiple);
        for (_, times) in seen.unacked.iter_mut().filter(|(t, _)| **t == tag || multiple && (tag == 0 || **t <= tag)) {
            *times += 1;
        }
        let mut frame = Vec::new();
        match settle.how % 3 {
            0 => write::ack(&mut frame, number, tag, multiple),
            1 => write::nack(&mut frame, number, tag, multiple, settle.requeue),
            _ => write::reject(&mut frame, number, tag, settle.requeue),
        }
        peer.send_bytes(&frame);
    }

    fn raw(&mut self, who: usize, bytes: &[u8]) {
        let peer = self.peer(who);
        peer.observer.has_lied = true;
        peer.send_bytes(bytes);
    }

    /// A connection made by hand, in place of the one that is there.
    fn begin(&mut self, who: usize, preface: u8, then: &[Login]) {
        self.leave(who);
        let mut peer = Peer::new(&self.shared, self.now);
        peer.observer.has_lied = true;
        let first: &[u8] = match preface % 16 {
            0 => b"AMQP\x01\x01\0\x09",
            1 => b"AMQP\0\0\x09\0",
            2 => b"AMQP\x03\x01\0\0",
            3 => b"GET / HTTP/1.1\r\n",
            4 => b"\x16\x03\x01\0\0\0\0\0",
            _ => b"AMQP\0\0\x09\x01",
        };
        peer.send_bytes(first);
        for login in then.iter().take(8) {
            peer.send(0, &login.method());
        }
        self.peers[who] = Some(peer);
    }

    fn leave(&mut self, who: usize) {
        if let Some(mut peer) = self.peers[who].take() {
            peer.leave(&mut self.common);
            let id = peer.machine.outbox.connection;
            assert!(self.shared.broker.take_exclusive(id).is_empty());
        }
    }

    /// Lets time go by, in steps that let heartbeats live.
    fn pass(&mut self, seconds: u16) {
        let step = Duration::from_secs((u64::from(seconds) % 8 + 1) * 10);
        for _ in 0..seconds % 4 + 1 {
            self.now += step;
            self.shared.clock.fetch_add(u32::try_from(step.as_secs()).expect("short") * 10, Ordering::Relaxed);
            for peer in self.peers.iter_mut().flatten() {
                peer.tick(self.now, &mut self.common);
            }
        }
    }

    fn end(mut self) {
        for peer in self.peers.iter_mut().flatten() {
            peer.is_slow = false;
            peer.run(true, &mut self.common);
        }
        for peer in self.peers.iter().flatten() {
            check_confirms(peer);
        }
        for who in 0..3 {
            self.leave(who);
        }
        let broker = Arc::clone(&self.shared.broker);
        let memory = broker.memory;
        assert_eq!(self.shared.registry.count(), 0);
        assert!(broker.replies.is_empty());
        let vhost = broker.vhost(VHOST).expect("the virtual host is there");
        let queues: Vec<_> = vhost.topology.read().queues.values().cloned().collect();
        for queue in &queues {
            assert_eq!(queue.spec.exclusive_owner, None, "{queue:?} is exclusive");
            assert!(!queue.is_abandoned(), "{queue:?} is to be deleted with its last consumer");
            let counts = queue.counts();
            assert_eq!((counts.unacked, counts.consumers), (0, 0), "of {queue:?}");
            assert_eq!(queue.purge(), counts.ready);
        }
        assert_eq!(memory.used(), ALREADY_USED, "nothing uses memory any more");
        self.a_new_client_is_served();
        assert_eq!(memory.used(), ALREADY_USED);
        let exchanges: Vec<_> = vhost.topology.read().exchanges.values().map(Arc::downgrade).collect();
        let queues: Vec<_> = queues.into_iter().map(|queue| Arc::downgrade(&queue)).collect();
        broker
            .apply(Command::DeleteVhost { name: VHOST.to_owned(), even_protected: false })
            .expect("the virtual host is deleted");
        assert!(exchanges.iter().all(|exchange| exchange.strong_count() == 0), "an exchange is left");
        assert!(queues.iter().all(|queue| queue.strong_count() == 0), "a queue is left");
    }

    /// Declares, publishes, gets.
    fn a_new_client_is_served(&mut self) {
        let mut peer = Peer::new(&self.shared, self.now);
        peer.log_in(0, 4096, 0);
        peer.open_channel(1);
        let declare = queue::Declare {
            queue: "last".into(),
            passive: false,
            durable: false,
            exclusive: true,
            auto_delete: false,
            nowait: false,
            arguments: Default::default(),
        };
        peer.send(1, &AMQPClass::Queue(queue::AMQPMethod::Declare(declare)));
        peer.send(1, &AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: false })));
        let mut frames = Vec::new();
        write::publish(&mut frames, 1, b"\0\x04last", true);
        write::header(&mut frames, 1, 5, &[0, 0]);
        write::body(&mut frames, 1, b"hello", 4096);
        peer.send_bytes(&frames);
        peer.observer.channels.entry(1).or_default().published = 1;
        peer.run(true, &mut self.common);
        assert_eq!(peer.observer.channels[&1].confirmed(), 1);
        peer.send(1, &AMQPClass::Basic(basic::AMQPMethod::Get(basic::Get { queue: "last".into(), no_ack: true })));
        peer.run(true, &mut self.common);
        assert_eq!(peer.observer.channels[&1].last_tag(), 1);
        peer.leave(&mut self.common);
    }
}

/// Every publish on a channel with confirms that is still open has had its answer.
fn check_confirms(peer: &Peer) {
    if peer.observer.has_lied || peer.has_ended() || !peer.is_idle() || peer.observer.closes > 0 {
        return;
    }
    for (number, seen) in &peer.observer.channels {
        assert!(!seen.is_open || seen.confirmed() >= seen.to_confirm, "confirms of channel {number} are missing");
    }
}

/// Mostly the channels that are open from the beginning.
fn number_of(channel: u8) -> u16 {
    [1, 2, 1, 2, 1, 2, 3, 1][usize::from(channel % 8)]
}

fn channel_of(number: u16) -> u8 {
    u8::try_from(number).expect("channels have small numbers")
}
