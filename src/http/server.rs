//! Accepts connections and serves HTTP on them.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;

use super::access::Peer;
use super::error::ApiError;
use super::patient::Patient;
use super::places::{Answering, Place, Places};
use super::router::{Api, Turns};
use super::socket::LocalSocket;
use crate::tls::{Acceptor, HandshakeError};

/// What a listener lets its clients do.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Connections that are open at a time; for more, idle ones have to leave.
    connections: usize,
    /// How long a connection may take to send its first request.
    first: Duration,
}

const BOUNDS: Bounds = Bounds { connections: 512, first: Duration::from_secs(10) };
/// How long a connection may take to send the head of another request, be idle, or take nothing of an answer.
const IDLE: Duration = Duration::from_secs(60);
/// How long a connection that makes room may take for the rest of its last answer.
const LEAVE: Duration = Duration::from_millis(200);
/// How long a request that is under way may take when the node stops.
const GRACE: Duration = Duration::from_secs(2);

/// Something that connections come from.
pub trait Door: Send + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Stream, Peer)>> + Send;
}

impl Door for TcpListener {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, Peer)> {
        let (stream, peer): (_, SocketAddr) = Self::accept(self).await?;
        stream.set_nodelay(true)?;
        Ok((stream, Peer::Network(peer.ip())))
    }
}

impl Door for LocalSocket {
    type Stream = UnixStream;

    async fn accept(&mut self) -> io::Result<(UnixStream, Peer)> {
        Ok((self.listener.accept().await?.0, Peer::Local))
    }
}

/// Something that answers requests.
pub trait Answers: Send + Sync + 'static {
    fn answer(&self, request: Request, peer: Peer, turns: Arc<Turns>) -> impl Future<Output = Response> + Send;
}

impl Answers for Api {
    async fn answer(&self, request: Request, peer: Peer, turns: Arc<Turns>) -> Response {
        Self::answer(self, request, peer, turns).await
    }
}

/// Serves a listener until the node stops.
pub async fn serve(door: impl Door, api: Arc<impl Answers>, stopping: watch::Receiver<bool>) {
    let secure = |stream, _| async move { Some(stream) };
    serve_secured(door, secure, api, BOUNDS, stopping).await;
}

/// Serves a listener whose clients speak TLS.
pub async fn serve_tls(
    door: impl Door,
    acceptor: Arc<Acceptor>,
    api: Arc<impl Answers>,
    stopping: watch::Receiver<bool>,
) {
    let secure = move |stream, peer| {
        let acceptor = Arc::clone(&acceptor);
        async move { shake_hands(&acceptor, stream, peer).await }
    };
    serve_secured(door, secure, api, BOUNDS, stopping).await;
}

/// Does a client's TLS handshake; the log says why there is none.
async fn shake_hands<S: AsyncRead + AsyncWrite + Unpin>(
    acceptor: &Acceptor,
    stream: S,
    peer: Peer,
) -> Option<TlsStream<S>> {
    match acceptor.accept(stream).await {
        Ok(stream) => return Some(stream),
        Err(error @ HandshakeError::Gone(_)) => tracing::debug!(target: "leveret::http", "{peer}: {error}"),
        Err(error) => tracing::warn!(target: "leveret::http", "{peer}: {error}"),
    }
    None
}

/// Serves a listener; `secure` makes of a client's stream the one that HTTP is spoken on, if there is to be one.
async fn serve_secured<D, F, W, S>(
    mut door: D,
    secure: F,
    api: Arc<impl Answers>,
    bounds: Bounds,
    mut stopping: watch::Receiver<bool>,
) where
    D: Door,
    F: Fn(D::Stream, Peer) -> W,
    W: Future<Output = Option<S>> + Send + 'static,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (turns, places) = (Arc::new(Turns::default()), Arc::new(Places::new(bounds.connections)));
    let mut connections = JoinSet::new();
    // Who has come and waits for a place.
    let mut newcomer = None;
    loop {
        let accept = async {
            if newcomer.is_none() {
                newcomer = Some(door.accept().await?);
            }
            let place = places.take().await.ok_or(io::ErrorKind::NotConnected)?;
            Ok::<_, io::Error>(place)
        };
        tokio::select! {
            () = stopped(&mut stopping) => break,
            accepted = accept => match accepted {
                Ok(place) => {
                    let Some((stream, peer)) = newcomer.take() else { continue };
                    let secured = secure(stream, peer);
                    let (api, turns, mut stopping) = (Arc::clone(&api), Arc::clone(&turns), stopping.clone());
                    connections.spawn(async move {
                        let secured = tokio::select! {
                            () = stopped(&mut stopping) => None,
                            () = place.left() => None,
                            secured = secured => secured,
                        };
                        if let Some(stream) = secured {
                            connection(stream, peer, api, (turns, bounds.first), Arc::new(place), stopping).await;
                        }
                    });
                }
                Err(error) => {
                    tracing::error!(target: "leveret::http", "cannot accept a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(door);
    let all_done = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, all_done).await.is_err() {
        connections.shutdown().await;
    }
}

/// Returns when the node stops.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // Nobody left who could tell is the same.
    let _ = stopping.wait_for(|stop| *stop).await;
}

async fn connection<S, A>(
    stream: S,
    peer: Peer,
    api: Arc<A>,
    (turns, patience): (Arc<Turns>, Duration),
    place: Arc<Place>,
    mut stopping: watch::Receiver<bool>,
) where
    A: Answers,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let of_requests = Arc::clone(&place);
    let answer = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let (api, turns, busy) = (Arc::clone(&api), Arc::clone(&turns), of_requests.begin());
        async move {
            let Some(busy) = busy else {
                return Ok(ApiError::unavailable("there are too many connections").into_response());
            };
            let response = api.answer(request.map(Body::new), peer, turns).await;
            Ok::<_, Infallible>(response.map(|body| Body::new(Answering::new(body, busy))))
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(IDLE).max_buf_size(64 << 10);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(Patient::new(stream, IDLE)), answer));
    let first = async {
        tokio::time::sleep(patience).await;
        if place.has_asked() {
            std::future::pending::<()>().await;
        }
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = first => return tracing::debug!(target: "leveret::http", "{peer} has connected and asked for nothing"),
        () = place.left() => {
            tracing::debug!(target: "leveret::http", "the idle connection of {peer} makes room for another");
            if !place.has_asked() {
                return;
            }
            connection.as_mut().graceful_shutdown();
            // What it has not taken of its last answer it gets, if it takes it now.
            match tokio::time::timeout(LEAVE, connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
        () = stopped(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(target: "leveret::http", "an HTTP connection ended: {error}");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Says `here` to everyone.
    struct Here;

    impl Answers for Here {
        async fn answer(&self, _: Request, _: Peer, _: Arc<Turns>) -> Response {
            "here".into_response()
        }
    }

    async fn ask(stream: &mut TcpStream) -> String {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n").await.unwrap();
        let mut text = Vec::new();
        while !text.ends_with(b"here") {
            assert_ne!(stream.read_buf(&mut text).await.unwrap(), 0, "{}", String::from_utf8_lossy(&text));
        }
        String::from_utf8(text).unwrap()
    }

    #[tokio::test]
    async fn who_says_nothing_keeps_nobody_out() {
        let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = door.local_addr().unwrap();
        let (stop, stopping) = watch::channel(false);
        let secure = |stream, _| async move { Some(stream) };
        let server =
            tokio::spawn(serve_secured(door, secure, Arc::new(Here), Bounds { connections: 2, ..BOUNDS }, stopping));
        let mut keeper = TcpStream::connect(address).await.unwrap();
        assert!(ask(&mut keeper).await.starts_with("HTTP/1.1 200 OK"));
        let mut silent = Vec::new();
        for _ in 0..5 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let mut newcomer = TcpStream::connect(address).await.unwrap();
        assert!(ask(&mut newcomer).await.starts_with("HTTP/1.1 200 OK"));
        assert!(ask(&mut keeper).await.starts_with("HTTP/1.1 200 OK"), "who has asked before stays");
        for stream in &mut silent {
            assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or_default(), 0, "the silent ones had to leave");
        }
        // All have asked: who has been idle for longest goes.
        let mut another = TcpStream::connect(address).await.unwrap();
        assert!(ask(&mut another).await.starts_with("HTTP/1.1 200 OK"));
        assert_eq!(newcomer.read(&mut [0; 1]).await.unwrap_or_default(), 0);
        assert!(ask(&mut keeper).await.starts_with("HTTP/1.1 200 OK"));
        stop.send_replace(true);
        server.await.unwrap();
    }

    #[tokio::test]
    async fn who_says_nothing_is_cut_off_and_who_has_asked_is_not() {
        let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = door.local_addr().unwrap();
        let (stop, stopping) = watch::channel(false);
        let secure = |stream, _| async move { Some(stream) };
        let bounds = Bounds { first: Duration::from_secs(1), ..BOUNDS };
        let server = tokio::spawn(serve_secured(door, secure, Arc::new(Here), bounds, stopping));
        let mut keeper = TcpStream::connect(address).await.unwrap();
        ask(&mut keeper).await;
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
        for stream in [&mut silent, &mut slow] {
            // Long before it would have been idle for too long.
            let end = tokio::time::timeout(IDLE / 2, stream.read(&mut [0; 1])).await.expect("an end");
            assert_eq!(end.unwrap_or_default(), 0);
        }
        // It came first.
        ask(&mut keeper).await;
        stop.send_replace(true);
        server.await.unwrap();
    }
}
