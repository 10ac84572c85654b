//! A small HTTP client for services that logins depend on: few requests at a time, each within a time, answers of a bounded
//! size, connections kept for the next request.
//!
//! Errors name the service and what went wrong, never the query: it holds passwords.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

/// Requests that are under way at a time; others wait for their turn, within their time.
const AT_A_TIME: usize = 64;
/// Connections that are kept open.
const KEPT: usize = 16;
/// Answers that are larger are refused, in bytes.
const LARGEST_ANSWER: usize = 512 << 10;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("'{0}' is no URL of a service: it has to be like http://host:8000/path")]
    Url(String),
    #[error("{place} cannot be reached: {error}")]
    Unreachable { place: String, error: io::Error },
    #[error("{place} cannot be reached: no connection within {} ms", .time.as_millis())]
    NoConnection { place: String, time: Duration },
    #[error("{place} has not answered within {} ms", .time.as_millis())]
    TooLong { place: String, time: Duration },
    #[error("{place} has answered with something that cannot be used: {reason}")]
    Broken { place: String, reason: String },
}

/// Where a service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    secure: bool,
    host: String,
    port: u16,
    /// Begins with a slash; what follows a question mark is part of it.
    path: String,
}

impl Url {
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, ClientError> {
        let wrong = || ClientError::Url(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
        // A user in a URL would be sent nowhere.
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(wrong());
        }
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { secure, host: host.to_owned(), port, path })
    }

    /// For messages.
    pub fn place(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        let path = self.path.split('?').next().unwrap_or_default();
        format!("{scheme}://{}:{}{path}", self.host, self.port)
    }

    fn is_at(&self, other: &Self) -> bool {
        (self.secure, self.port, &self.host) == (other.secure, other.port, &other.host)
    }
}

/// What a service has answered.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: Bytes,
}

type Sender = SendRequest<Full<Bytes>>;

/// The client.
pub struct Client {
    tls: Arc<ClientConfig>,
    connection_timeout: Duration,
    request_timeout: Duration,
    turns: Semaphore,
    /// Connections that nobody uses, and to where.
    idle: Mutex<Vec<(Url, Sender)>>,
}

impl Client {
    pub fn new(tls: Arc<ClientConfig>, connection_timeout: Duration, request_timeout: Duration) -> Self {
        let turns = Semaphore::new(AT_A_TIME);
        Self { tls, connection_timeout, request_timeout, turns, idle: Mutex::default() }
    }

    /// Asks with GET, or with POST when there is a form.
    ///
    /// # Errors
    /// When there is no whole answer in time.
    pub async fn ask(&self, url: &Url, query: Option<&str>, form: Option<String>) -> Result<Reply, ClientError> {
        let asked = tokio::time::timeout(self.request_timeout, async {
            // It is never closed.
            let _turn = self.turns.acquire().await;
            self.exchange(url, query, form.map(Bytes::from)).await
        });
        let time = self.request_timeout;
        asked.await.unwrap_or_else(|_| Err(ClientError::TooLong { place: url.place(), time }))
    }

    async fn exchange(&self, url: &Url, query: Option<&str>, form: Option<Bytes>) -> Result<Reply, ClientError> {
        // A connection that was kept may have been closed by the other side just now: then it is tried with a new one.
        if let Some(mut sender) = self.kept(url).await {
            let request = request(url, query, form.clone())?;
            if let Ok(response) = sender.send_request(request).await {
                return self.read(url, sender, response).await;
            }
        }
        let mut sender = self.connect(url).await?;
        let response = sender.send_request(request(url, query, form)?).await;
        let response = response.map_err(|error| broken(url, &error))?;
        self.read(url, sender, response).await
    }

    async fn read(
        &self,
        url: &Url,
        sender: Sender,
        response: hyper::Response<hyper::body::Incoming>,
    ) -> Result<Reply, ClientError> {
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
        let body = body.map_err(|error| broken(url, &error))?.to_bytes();
        let mut idle = self.idle.lock();
        if idle.len() < KEPT && !sender.is_closed() {
            idle.push((url.clone(), sender));
        }
        Ok(Reply { status, body })
    }

    async fn kept(&self, url: &Url) -> Option<Sender> {
        loop {
            let mut sender = {
                let mut idle = self.idle.lock();
                idle.retain(|(_, sender)| !sender.is_closed());
                let at = idle.iter().position(|(place, _)| place.is_at(url))?;
                idle.swap_remove(at).1
            };
            if sender.ready().await.is_ok() {
                return Some(sender);
            }
        }
    }

    async fn connect(&self, url: &Url) -> Result<Sender, ClientError> {
        let time = self.connection_timeout;
        let connected = tokio::time::timeout(time, self.connect_and_shake(url)).await;
        connected.unwrap_or_else(|_| Err(ClientError::NoConnection { place: url.place(), time }))
    }

    async fn connect_and_shake(&self, url: &Url) -> Result<Sender, ClientError> {
        let unreachable = |error| ClientError::Unreachable { place: url.place(), error };
        // In a URL the colons of an IPv6 address stand in brackets.
        let host = url.host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((host, url.port)).await.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        if !url.secure {
            return begin(stream).await.map_err(|error| broken(url, &error));
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|_| ClientError::Url(url.place()))?;
        let stream = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await.map_err(unreachable)?;
        begin(stream).await.map_err(|error| broken(url, &error))
    }
}

/// Begins to speak HTTP; the connection's task ends with the connection.
async fn begin(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Sender, hyper::Error> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        // Whoever waits for an answer is told.
        let _ = connection.await;
    });
    Ok(sender)
}

fn broken(url: &Url, error: &dyn std::fmt::Display) -> ClientError {
    ClientError::Broken { place: url.place(), reason: error.to_string() }
}

fn request(url: &Url, query: Option<&str>, form: Option<Bytes>) -> Result<Request<Full<Bytes>>, ClientError> {
    let path = match query {
        Some(query) => format!("{}{}{query}", url.path, if url.path.contains('?') { '&' } else { '?' }),
        None => url.path.clone(),
    };
    let method = if form.is_some() { Method::POST } else { Method::GET };
    let mut builder = Request::builder().method(method).uri(path).header(HOST, format!("{}:{}", url.host, url.port));
    if form.is_some() {
        builder = builder.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    }
    builder.body(Full::new(form.unwrap_or_default())).map_err(|_| ClientError::Url(url.place()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_its_query_is_not_shown() {
        let url = Url::parse("https://idp.example/keys?x=secret").unwrap();
        assert_eq!((url.secure, url.port, url.path.as_str()), (true, 443, "/keys?x=secret"));
        assert_eq!(url.place(), "https://idp.example:443/keys");
        assert_eq!(Url::parse("http://[::1]:8000").unwrap().place(), "http://[::1]:8000/");
        for wrong in ["ftp://host/", "host:80", "http://", "http://user:pw@host/", "/path", "http://a b/"] {
            assert!(Url::parse(wrong).is_err(), "{wrong}");
        }
    }
}
