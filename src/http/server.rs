//! Accepts connections and serves HTTP on them.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;

use super::access::Peer;
use super::patient::Patient;
use super::router::{Api, Turns};
use super::socket::LocalSocket;
use crate::tls::{Acceptor, HandshakeError};

/// Connections that are open at a time on one listener; others wait to be accepted.
const CONNECTIONS: usize = 512;
/// How long a connection may take to send the head of a request, be idle, or take nothing of an answer.
const IDLE: Duration = Duration::from_secs(60);
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
    serve_secured(door, secure, api, stopping).await;
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
    serve_secured(door, secure, api, stopping).await;
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
async fn serve_secured<D, F, W, S>(mut door: D, secure: F, api: Arc<impl Answers>, mut stopping: watch::Receiver<bool>)
where
    D: Door,
    F: Fn(D::Stream, Peer) -> W,
    W: Future<Output = Option<S>> + Send + 'static,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (turns, room) = (Arc::new(Turns::default()), Arc::new(Semaphore::new(CONNECTIONS)));
    let mut connections = JoinSet::new();
    loop {
        let accept = async {
            let place = Arc::clone(&room).acquire_owned().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>((door.accept().await?, place))
        };
        tokio::select! {
            () = stopped(&mut stopping) => break,
            accepted = accept => match accepted {
                Ok(((stream, peer), place)) => {
                    let secured = secure(stream, peer);
                    let (api, turns, mut stopping) = (Arc::clone(&api), Arc::clone(&turns), stopping.clone());
                    connections.spawn(async move {
                        let secured = tokio::select! {
                            () = stopped(&mut stopping) => None,
                            secured = secured => secured,
                        };
                        if let Some(stream) = secured {
                            connection(stream, peer, api, turns, stopping).await;
                        }
                        drop(place);
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

async fn connection<S, A>(stream: S, peer: Peer, api: Arc<A>, turns: Arc<Turns>, mut stopping: watch::Receiver<bool>)
where
    A: Answers,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answer = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let (api, turns) = (Arc::clone(&api), Arc::clone(&turns));
        async move { Ok::<_, Infallible>(api.answer(request.map(Body::new), peer, turns).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(IDLE).max_buf_size(64 << 10);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(Patient::new(stream, IDLE)), answer));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(target: "leveret::http", "an HTTP connection ended: {error}");
    }
}
