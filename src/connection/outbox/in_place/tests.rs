//! A confirm goes out in place exactly when nothing stands in the way, and once.

use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use super::*;
use crate::message::memory::MemoryAccount;
use crate::persist::journal::Waiter as _;

/// The task of the connection: whether it has been woken.
#[derive(Default)]
struct Task(AtomicBool);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Scene {
    outbox: Arc<Outbox>,
    publishing: Arc<Publishing>,
    task: Arc<Task>,
    client: std::net::TcpStream,
    _socket: Arc<TcpStream>,
}

impl Scene {
    /// A connection whose task has left the answer to the publishes 4 to 6, which are in commit 7.
    async fn begin() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = listener.accept().unwrap().0;
        server.set_nonblocking(true).unwrap();
        let socket = Arc::new(TcpStream::from_std(server).unwrap());
        socket.writable().await.unwrap();
        let outbox = Outbox::new(1, Arc::default(), MemoryAccount::new(u64::MAX));
        outbox.set_socket(&socket);
        let publishing = Arc::<Publishing>::default();
        let left = Left { commit: 7, channel: 1, first: 4, last: 6, publishing: Arc::clone(&publishing) };
        assert!(outbox.leave(left));
        Self { outbox, publishing, task: Arc::default(), client, _socket: socket }
    }

    fn sleep(&self) {
        assert!(self.outbox.sleep(&Waker::from(Arc::clone(&self.task))));
    }

    fn has_woken(&self) -> bool {
        self.task.0.load(Ordering::Relaxed)
    }

    fn received(&mut self) -> Vec<u8> {
        let mut bytes = [0; 64];
        self.client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let count = self.client.read(&mut bytes).unwrap();
        bytes[..count].to_vec()
    }

    fn received_nothing(&mut self) -> bool {
        self.client.set_nonblocking(true).unwrap();
        self.client.read(&mut [0; 64]).is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock)
    }
}

#[tokio::test]
async fn a_confirm_goes_out_without_the_task() {
    let mut scene = Scene::begin().await;
    scene.sleep();
    scene.outbox.wake_alone(7);
    let mut ack = Vec::new();
    write::ack(&mut ack, 1, 6, true);
    assert_eq!(scene.received(), ack);
    assert!(!scene.has_woken());
    assert_eq!(scene.publishing.confirm.get(), 3);
    assert_eq!(scene.outbox.counts.sent.get(), ack.len() as u64);
    scene.outbox.awake();
    assert!(scene.outbox.take_left(), "the task learns of it");
}

#[tokio::test]
async fn the_task_is_woken_when_something_else_is_on_its_way() {
    let mut scene = Scene::begin().await;
    scene.outbox.blocked(None);
    scene.outbox.wake_alone(7);
    assert!(!scene.outbox.sleep(&Waker::from(Arc::clone(&scene.task))), "it has something to write");
    assert!(!scene.outbox.take_left(), "it has not been sent");
    assert!(scene.received_nothing());
}

#[tokio::test]
async fn a_task_that_runs_answers_by_itself() {
    let mut scene = Scene::begin().await;
    scene.outbox.wake_alone(7);
    assert!(!scene.outbox.sleep(&Waker::from(Arc::clone(&scene.task))), "it looks again before it sleeps");
    assert!(!scene.outbox.take_left() && scene.received_nothing());
}

#[tokio::test]
async fn an_earlier_commit_wakes_the_task_and_the_answer_stays() {
    let mut scene = Scene::begin().await;
    scene.sleep();
    scene.outbox.wake_alone(6);
    assert!(scene.has_woken() && scene.received_nothing());
    assert!(!scene.outbox.take_left());
}

#[tokio::test]
async fn a_socket_that_has_gone_is_left_to_the_task() {
    let mut scene = Scene::begin().await;
    scene.sleep();
    let other = Scene::begin().await;
    // The connection's own socket is dropped with its task.
    scene._socket = Arc::clone(&other._socket);
    scene.outbox.wake_alone(7);
    assert!(scene.has_woken() && !scene.outbox.take_left());
}
