//! What a connection goes through before AMQP begins: the header of a proxy, the TLS handshake. Both within a time.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::driver;
use super::machine::Shared;
use super::proxy::{self, Header, ProxyError};
use super::socket::Socket;
use crate::tls::{Acceptor, HandshakeError, Secured};

/// How the clients of a listener come in.
#[derive(Clone, Default)]
pub struct Entrance {
    /// Proxies say first who the client is.
    pub proxied: bool,
    pub tls: Option<Arc<Acceptor>>,
}

impl Entrance {
    /// AMQP begins at once.
    pub fn is_open(&self) -> bool {
        !self.proxied && self.tls.is_none()
    }
}

/// Who has come in.
#[derive(Clone, Debug)]
pub struct Client {
    pub peer: SocketAddr,
    pub local: SocketAddr,
    /// How the connection is secured, if it is.
    pub secured: Option<Arc<Secured>>,
}

impl Client {
    pub fn new(peer: SocketAddr, local: SocketAddr) -> Self {
        Self { peer: plain(peer), local: plain(local), secured: None }
    }

    /// Takes a proxy's word for who the client is.
    fn introduce(&mut self, header: Header) {
        let Header::Proxied(said) = header else { return };
        tracing::debug!(
            target: "leveret::connection", "{} is a proxy's connection for {} -> {}", self.name(), said.source, said.destination
        );
        *self = Self::new(said.source, said.destination);
        self.secured = said.secured.map(Arc::new);
    }

    /// How logs and operators call the connection.
    pub fn name(&self) -> String {
        format!("{} -> {}", self.peer, self.local)
    }
}

/// An IPv4 client of an IPv6 listener is shown as what it is.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Lets a client in and serves it until it goes.
pub async fn serve(mut stream: TcpStream, mut client: Client, entrance: Entrance, shared: Arc<Shared>) {
    if entrance.proxied {
        match proxy::read(&mut stream).await {
            Ok(header) => client.introduce(header),
            Err(error @ ProxyError::Gone(_)) => {
                return tracing::debug!(target: "leveret::connection", "{}: {error}", client.name());
            }
            Err(error) => {
                return tracing::warn!(target: "leveret::connection", "{}: the connection is refused: {error}", client.name());
            }
        }
    }
    let Some(acceptor) = entrance.tls else { return driver::serve(stream.into(), client, shared).await };
    // In a box: the task keeps no room for it afterwards.
    match Box::pin(acceptor.accept(stream)).await {
        Ok(accepted) => {
            let (stream, tls) = accepted.into_inner();
            client.secured = Some(Arc::new(Secured::of(&tls)));
            driver::serve(Socket::with_tls(stream, tls), client, shared).await;
        }
        Err(error @ HandshakeError::Gone(_)) => {
            tracing::debug!(target: "leveret::connection", "{}: {error}", client.name());
        }
        Err(error) => tracing::warn!(target: "leveret::connection", "{}: {error}", client.name()),
    }
}
