//! The places that a listener has for connections. Who comes when all are taken gets the place of a connection that asks for
//! nothing just now: of the one that has been idle for longest among those that have never sent a request, or, if there are none,
//! among all. So whoever opens connections and says nothing keeps nobody out, and a request under way is never cut off.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// All places of a listener.
pub struct Places {
    room: Arc<Semaphore>,
    open: Mutex<Open>,
    /// Somebody has become idle.
    idled: Notify,
}

#[derive(Default)]
struct Open {
    /// Connections by number.
    connections: HashMap<u64, State>,
    /// Moves on with everything that happens, so that what is smaller is longer ago.
    now: u64,
    /// Somebody has been asked to leave for whoever waits; nobody else need go, also if the waiting is begun anew.
    is_promised: bool,
}

struct State {
    /// None while a request is answered.
    idle_since: Option<u64>,
    has_asked: bool,
    leave: Arc<Notify>,
}

impl Open {
    fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }
}

impl Places {
    pub fn new(most: usize) -> Self {
        Self { room: Arc::new(Semaphore::new(most)), open: Mutex::default(), idled: Notify::new() }
    }

    /// A place, as soon as there is one; one caller at a time. None when the listener closes.
    pub async fn take(self: &Arc<Self>) -> Option<Place> {
        let mut acquire = std::pin::pin!(Arc::clone(&self.room).acquire_owned());
        let permit = loop {
            tokio::select! {
                biased;
                permit = acquire.as_mut() => break permit.ok()?,
                () = self.someone_leaves(), if !self.open.lock().is_promised => {}
            }
        };
        let leave = Arc::<Notify>::default();
        let mut open = self.open.lock();
        open.is_promised = false;
        let number = open.tick();
        let state = State { idle_since: Some(number), has_asked: false, leave: Arc::clone(&leave) };
        open.connections.insert(number, state);
        drop(open);
        Some(Place { places: Arc::clone(self), number, leave, has_asked: AtomicBool::new(false), _permit: permit })
    }

    /// Asks an idle connection to leave, as soon as there is one.
    async fn someone_leaves(&self) {
        while !self.send_away() {
            self.idled.notified().await;
        }
    }

    fn send_away(&self) -> bool {
        let mut open = self.open.lock();
        let idle = open.connections.iter().filter_map(|(number, c)| Some((c.has_asked, c.idle_since?, *number)));
        let Some((.., number)) = idle.min() else { return false };
        if let Some(connection) = open.connections.remove(&number) {
            connection.leave.notify_one();
            open.is_promised = true;
        }
        true
    }

    fn finish(&self, number: u64) {
        let mut open = self.open.lock();
        let now = open.tick();
        if let Some(connection) = open.connections.get_mut(&number) {
            connection.idle_since = Some(now);
        }
        drop(open);
        self.idled.notify_one();
    }
}

/// A connection's place, until it is dropped.
pub struct Place {
    places: Arc<Places>,
    number: u64,
    leave: Arc<Notify>,
    /// Whether a request has ever come, also after the place is somebody else's.
    has_asked: AtomicBool,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// A request has come. None when the place is somebody else's by now.
    pub fn begin(&self) -> Option<Busy> {
        let mut open = self.places.open.lock();
        let connection = open.connections.get_mut(&self.number)?;
        (connection.idle_since, connection.has_asked) = (None, true);
        self.has_asked.store(true, Relaxed);
        Some(Busy { places: Arc::clone(&self.places), number: self.number })
    }

    /// Whether a request has ever come.
    pub fn has_asked(&self) -> bool {
        self.has_asked.load(Relaxed)
    }

    /// Returns when the connection has to make room.
    pub async fn left(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.open.lock().connections.remove(&self.number);
    }
}

/// A request that is answered; dropped when the whole answer has been handed over.
pub struct Busy {
    places: Arc<Places>,
    number: u64,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.places.finish(self.number);
    }
}

/// An answer's body, with which its request ends.
pub struct Answering {
    body: Body,
    _busy: Busy,
}

impl Answering {
    pub fn new(body: Body, busy: Busy) -> Self {
        Self { body, _busy: busy }
    }
}

impl hyper::body::Body for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn place(places: &Arc<Places>) -> Place {
        places.take().await.unwrap()
    }

    #[tokio::test]
    async fn who_never_asked_makes_room_first_and_then_who_is_idle_for_longest() {
        let places = Arc::new(Places::new(3));
        let (a, b, c) = (place(&places).await, place(&places).await, place(&places).await);
        drop(a.begin());
        drop(c.begin());
        let newcomer = tokio::spawn({
            let places = Arc::clone(&places);
            async move { place(&places).await }
        });
        b.left().await;
        assert!(b.begin().is_none(), "too late");
        drop(b);
        let d = newcomer.await.unwrap();
        drop(a.begin());
        let busy = d.begin();
        // Of the idle ones c asked first.
        let newcomer = tokio::spawn({
            let places = Arc::clone(&places);
            async move { place(&places).await }
        });
        c.left().await;
        drop(c);
        let e = newcomer.await.unwrap();
        assert!(a.begin().is_some() && e.begin().is_some());
        drop(busy);
    }

    #[tokio::test]
    async fn a_request_under_way_is_not_cut_off() {
        let places = Arc::new(Places::new(1));
        let only = place(&places).await;
        let busy = only.begin().unwrap();
        let mut newcomer = std::pin::pin!(places.take());
        let waits = |newcomer: Pin<&mut _>| {
            let newcomer: Pin<&mut dyn Future<Output = Option<Place>>> = newcomer;
            newcomer.poll(&mut Context::from_waker(std::task::Waker::noop())).is_pending()
        };
        assert!(waits(newcomer.as_mut()));
        drop(busy);
        assert!(waits(newcomer.as_mut()), "the other has to leave first");
        only.left().await;
        drop(only);
        assert!(newcomer.await.is_some());
    }
}
