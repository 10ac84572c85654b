//! A server's addresses, looked up on a thread of its own: the system's look-up knows no limit of time, and whoever writes the
//! log must not be kept waiting by a name server that does not answer.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

/// Most addresses of a name that are tried.
const MOST: usize = 4;

type Found = io::Result<Vec<SocketAddr>>;

/// Looks up one server.
pub struct Lookup {
    host: String,
    port: u16,
    resolve: fn(&str, u16) -> Found,
    /// A look-up that goes on: there is never a second one.
    pending: Option<Receiver<Found>>,
}

impl Lookup {
    pub fn new(host: &str, port: u16) -> Self {
        Self { host: host.to_owned(), port, resolve, pending: None }
    }

    /// The addresses; an error when they are not known within that time. What comes later is there for the next call.
    pub fn find(&mut self, patience: Duration) -> Found {
        if let Ok(address) = self.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, self.port)]);
        }
        let answer = match self.pending.take() {
            Some(answer) => answer,
            None => self.begin()?,
        };
        match answer.recv_timeout(patience) {
            Ok(found) => found,
            Err(RecvTimeoutError::Timeout) => {
                self.pending = Some(answer);
                Err(io::ErrorKind::TimedOut.into())
            }
            Err(RecvTimeoutError::Disconnected) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn begin(&self) -> io::Result<Receiver<Found>> {
        let (resolve, host, port) = (self.resolve, self.host.clone(), self.port);
        let (tell, answer) = sync_channel(1);
        let thread = std::thread::Builder::new().name("log-lookup".to_owned());
        // Whoever has asked may be gone when it ends.
        thread.spawn(move || drop(tell.send(resolve(&host, port))))?;
        Ok(answer)
    }
}

fn resolve(host: &str, port: u16) -> Found {
    (host, port).to_socket_addrs().map(|found| found.take(MOST).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    static STUCK: Mutex<()> = Mutex::new(());
    static ASKED: AtomicUsize = AtomicUsize::new(0);

    /// A name server that does not answer as long as somebody holds it up.
    fn slow(_: &str, port: u16) -> Found {
        ASKED.fetch_add(1, Ordering::SeqCst);
        drop(STUCK.lock());
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
    }

    #[test]
    fn nobody_waits_longer_than_for_that_time_and_the_name_is_asked_for_once() {
        let mut lookup = Lookup { resolve: slow, ..Lookup::new("log.example", 514) };
        let held_up = STUCK.lock().unwrap();
        for _ in 0..3 {
            assert_eq!(lookup.find(Duration::from_millis(1)).unwrap_err().kind(), io::ErrorKind::TimedOut);
        }
        drop(held_up);
        assert_eq!(lookup.find(Duration::from_secs(60)).unwrap(), [SocketAddr::from(([127, 0, 0, 1], 514))]);
        assert_eq!(ASKED.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn an_address_is_not_looked_up() {
        let mut lookup = Lookup { resolve: |_, _| panic!("it is one"), ..Lookup::new("::1", 514) };
        assert_eq!(lookup.find(Duration::ZERO).unwrap(), [SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 514))]);
    }
}
