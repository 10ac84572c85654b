//! Whether the node serves clients, and the listeners that open and shut with that.
//!
//! The operator moves the node from one [`Phase`] to another. Each listener's loop has a [`Door`]: when the phase is no
//! longer [`Phase::Running`] the loop drops its socket, and when it is again the loop gets a new one for the same address,
//! which [`Service::enter`] has opened before, so that an address that is taken is an error for the operator.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{NodeError, bind};
use crate::config::{ListenAddress, Tcp};
use crate::connection::machine::Shared;
use crate::connection::registry::SHUTDOWN;
use crate::http::{Control, ListenerInfo, Phase};
use crate::vhost::Broker;
use crate::vhost::command::{Command, DeleteQueue};

/// How long is waited for sockets to be shut and connections to be gone, unless it is said otherwise.
const PATIENCE: Duration = Duration::from_secs(5);

/// The node's listeners and its phase.
pub struct Service {
    shared: Arc<Shared>,
    tcp: Tcp,
    phase: watch::Sender<Phase>,
    doors: Mutex<Vec<Arc<Door>>>,
    /// What is listened on in every phase.
    others: Mutex<Vec<ListenerInfo>>,
    /// One change of the phase at a time.
    changing: Mutex<()>,
    patience: Mutex<Duration>,
    stop: watch::Sender<bool>,
}

/// A listener for clients.
pub struct Door {
    info: ListenerInfo,
    /// A socket that the loop has not taken yet.
    waiting: Mutex<Option<TcpListener>>,
    is_open: Mutex<bool>,
    changed: Condvar,
}

impl Door {
    /// The socket to accept from.
    pub fn open(&self) -> Option<TcpListener> {
        let socket = self.waiting.lock().take();
        *self.is_open.lock() |= socket.is_some();
        socket
    }

    /// Notes that the loop has dropped its socket.
    pub fn shut(&self) {
        *self.is_open.lock() = false;
        self.changed.notify_all();
    }

    /// Waits until the loop has dropped its socket; false when it does not.
    fn wait_until_shut(&self, until: Instant) -> bool {
        let mut is_open = self.is_open.lock();
        while *is_open {
            if self.changed.wait_until(&mut is_open, until).timed_out() {
                return false;
            }
        }
        true
    }
}

impl Service {
    pub fn new(shared: Arc<Shared>, tcp: Tcp) -> Self {
        Self {
            shared,
            tcp,
            phase: watch::Sender::new(Phase::Running),
            doors: Mutex::default(),
            others: Mutex::default(),
            changing: Mutex::default(),
            patience: Mutex::new(PATIENCE),
            stop: watch::Sender::new(false),
        }
    }

    /// A listener for clients, with its socket.
    pub fn add_door(&self, info: ListenerInfo, socket: TcpListener) -> Arc<Door> {
        let (waiting, is_open) = (Mutex::new(Some(socket)), Mutex::new(false));
        let door = Arc::new(Door { info, waiting, is_open, changed: Condvar::new() });
        self.doors.lock().push(Arc::clone(&door));
        door
    }

    /// A listener for operators and their tools.
    pub fn add(&self, listener: ListenerInfo) {
        self.others.lock().push(listener);
    }

    /// Tells of changes of the phase.
    pub fn phases(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Returns when an operator wants the node to stop.
    pub async fn asked_to_stop(&self) {
        // The sender lives as long as this value.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    /// Where clients are served, in any phase.
    pub fn addresses(&self, protocol: &str) -> Vec<SocketAddr> {
        let doors = self.doors.lock();
        doors.iter().filter(|door| door.info.protocol == protocol).map(|door| door.info.address).collect()
    }

    fn open_doors(&self) -> Result<(), String> {
        let doors = self.doors.lock().clone();
        let mut sockets = Vec::new();
        for door in &doors {
            let address = door.info.address;
            let socket = bind(ListenAddress::Socket(address), &self.tcp);
            let socket = socket.map_err(|error| NodeError::Listen { address: address.to_string(), error });
            sockets.push(socket.map_err(|error| error.to_string())?);
        }
        for (door, socket) in doors.iter().zip(sockets) {
            *door.waiting.lock() = Some(socket);
        }
        Ok(())
    }

    /// Says how long is waited for sockets to be shut and connections to be gone.
    pub fn set_patience(&self, patience: Duration) {
        *self.patience.lock() = patience;
    }

    fn until(&self) -> Instant {
        Instant::now() + *self.patience.lock()
    }

    fn wait_for_doors(&self) -> Result<(), String> {
        let until = self.until();
        let doors = self.doors.lock().clone();
        match doors.iter().find(|door| !door.wait_until_shut(until)) {
            Some(door) => Err(format!("the listener on {} is still open", door.info.address)),
            None => Ok(()),
        }
    }

    /// Closes all connections. Clients that do not answer are cut off when they have had time enough.
    fn close_connections(&self) -> Result<(), String> {
        let registry = &self.shared.registry;
        registry.shut(true);
        registry.close_where(SHUTDOWN, |_| true);
        if self.wait_until_gone() {
            return Ok(());
        }
        let silent = registry.count();
        tracing::warn!(target: "leveret", "{silent} clients have not confirmed that their connections are closed: they are cut off");
        registry.end_all();
        match self.wait_until_gone() {
            true => Ok(()),
            false => Err(format!("{} client connections are still open; try again", registry.count())),
        }
    }

    fn wait_until_gone(&self) -> bool {
        let until = self.until();
        while self.shared.registry.count() > 0 {
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }
}

impl Control for Service {
    fn listeners(&self) -> Vec<ListenerInfo> {
        let is_open = self.phase() == Phase::Running;
        let doors = self.doors.lock().iter().filter(|_| is_open).map(|door| door.info.clone()).collect::<Vec<_>>();
        doors.into_iter().chain(self.others.lock().iter().cloned()).collect()
    }

    fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    fn enter(&self, phase: Phase) -> Result<(), String> {
        let _one = self.changing.lock();
        let is_new = self.phase() != phase;
        if is_new && phase == Phase::Running {
            self.open_doors()?;
            self.shared.registry.shut(false);
        }
        if is_new {
            self.phase.send_replace(phase);
            tracing::warn!(target: "leveret", "{}", phase.told());
        }
        // What could not be done when the phase was entered is done when somebody asks again.
        if phase != Phase::Running {
            self.wait_for_doors()?;
        }
        if matches!(phase, Phase::Drained | Phase::Stopped) {
            self.close_connections()?;
        }
        if phase == Phase::Stopped {
            forget_transient(&self.shared.broker)?;
        }
        Ok(())
    }

    fn stop(&self) {
        self.stop.send_replace(true);
    }

    fn total_memory(&self) -> u64 {
        super::total_memory(&self.shared.broker.config)
    }
}

/// Deletes the queues and exchanges that do not survive a restart: clients take `stop_app` for one.
fn forget_transient(broker: &Broker) -> Result<(), String> {
    for vhost in broker.vhosts() {
        let (queues, exchanges) = {
            let topology = vhost.topology.read();
            let queues = topology.queues.values().filter(|queue| !queue.spec.durable);
            let exchanges = topology.exchanges.values().filter(|exchange| !exchange.record.durable);
            let queues: Vec<String> = queues.map(|queue| queue.spec.name.to_string()).collect();
            (queues, exchanges.map(|exchange| exchange.record.name.clone()).collect::<Vec<_>>())
        };
        let vhost = vhost.name.to_string();
        let commands = queues
            .into_iter()
            .map(|name| Command::DeleteQueue(DeleteQueue { vhost: vhost.clone(), name, ..DeleteQueue::default() }))
            .chain(exchanges.into_iter().map(|name| Command::DeleteExchange {
                vhost: vhost.clone(),
                name,
                if_unused: false,
            }));
        for command in commands {
            broker.apply(command).map_err(|refusal| refusal.text)?;
        }
    }
    Ok(())
}
