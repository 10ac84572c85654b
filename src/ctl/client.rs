//! The HTTP client: one connection to the node, over its socket or by TCP. Bodies are read as they are asked for, so that
//! a list is never held as a whole.

use std::io::{self, Read};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value as Json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::tls::client as tls;

/// Most bytes of an answer that is read as a whole.
const MOST_OF_AN_ANSWER: u64 = 256 << 20;

/// Where the node's HTTP API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The socket in the node's data directory.
    Socket(PathBuf),
    Tcp {
        /// None is without TLS.
        trust: Option<Trust>,
        host: String,
        port: u16,
        /// What stands before `/api`.
        prefix: String,
        user: String,
        password: String,
    },
}

/// Whose certificates are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Those of authorities that the system trusts.
    #[default]
    System,
    /// Those of authorities in a file.
    File(PathBuf),
    Anybody,
}

/// Why a URL is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UrlError {
    #[error("the URL '{0}' cannot be used: it has to be like http://user:password@host:15672, or https://")]
    Form(String),
}

impl Target {
    /// Reads `http://user:password@host:port/prefix`. What is missing is guest and 15672 (15671 with `https`); a password
    /// of the environment stands in for one that is not in the URL.
    pub fn parse(url: &str, user_of: Option<String>, password_of: Option<String>) -> Result<Self, UrlError> {
        let wrong = || UrlError::Form(without_password(url));
        let (trust, usual_port, rest) = match url.strip_prefix("https://") {
            Some(rest) => (Some(Trust::System), 15671, rest),
            None => (None, 15672, url.strip_prefix("http://").unwrap_or(url)),
        };
        let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, address) = place.rsplit_once('@').map_or(("", place), |(login, address)| (login, address));
        let (host, port) = match address.rsplit_once(':') {
            // The colons of an IPv6 address stand in brackets.
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| wrong())?),
            _ => (address, usual_port),
        };
        if host.is_empty() {
            return Err(wrong());
        }
        let (user, password) = login.split_once(':').map_or((login, None), |(user, password)| (user, Some(password)));
        let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        let user = Some(decode(user)).filter(|user| !user.is_empty());
        Ok(Self::Tcp {
            trust,
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
            prefix: path.trim_end_matches('/').trim_end_matches("api").trim_end_matches('/').to_owned(),
            user: user.or(user_of).unwrap_or_else(|| "guest".to_owned()),
            password: password.map(decode).or(password_of).unwrap_or_else(|| "guest".to_owned()),
        })
    }

    /// The same, believing those certificates where TLS is spoken.
    #[must_use]
    pub fn trusting(mut self, whom: Trust) -> Self {
        if let Self::Tcp { trust: Some(trust), .. } = &mut self {
            *trust = whom;
        }
        self
    }

    /// Where exactly it is.
    pub fn place(&self) -> String {
        match self {
            Self::Socket(path) => std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string(),
            Self::Tcp { .. } => self.name(),
        }
    }

    /// For messages.
    pub fn name(&self) -> String {
        match self {
            Self::Socket(path) => path.display().to_string(),
            Self::Tcp { host, port, .. } => format!("{host}:{port}"),
        }
    }
}

fn without_password(url: &str) -> String {
    url.rsplit_once('@').map_or_else(|| url.to_owned(), |(_, place)| place.to_owned())
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("{0}")]
    Unreachable(io::Error),
    #[error("no answer within {} seconds", .0.as_secs())]
    TimedOut(Duration),
    #[error("{0}")]
    Broken(String),
}

/// An answer: its status, and its body as it comes.
pub struct Reply {
    pub status: u16,
    pub body: Body,
}

/// The body of an answer, to be read.
pub struct Body {
    runtime: Rc<Runtime>,
    incoming: Incoming,
    current: Bytes,
    timeout: Option<Duration>,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            let frame = self.runtime.block_on(within(self.timeout, self.incoming.frame()));
            match frame.map_err(|e| io::Error::new(io::ErrorKind::TimedOut, e.to_string()))? {
                None => return Ok(0),
                Some(Err(error)) => return Err(io::Error::other(error)),
                Some(Ok(frame)) => self.current = frame.into_data().unwrap_or_default(),
            }
        }
        let taken = self.current.split_to(buffer.len().min(self.current.len()));
        if let Some(place) = buffer.get_mut(..taken.len()) {
            place.copy_from_slice(&taken);
        }
        Ok(taken.len())
    }
}

impl Reply {
    /// The whole body.
    pub fn bytes(self) -> Result<Vec<u8>, ClientError> {
        whole(self.body, MOST_OF_AN_ANSWER)
    }

    /// The whole body; nothing is null.
    pub fn json(self) -> Result<Json, ClientError> {
        let bytes = self.bytes()?;
        if bytes.is_empty() {
            return Ok(Json::Null);
        }
        serde_json::from_slice(&bytes).map_err(|e| ClientError::Broken(format!("the answer is no JSON: {e}")))
    }
}

/// All that there is to read, which must not be more than so many bytes.
fn whole(body: impl Read, most: u64) -> Result<Vec<u8>, ClientError> {
    let mut bytes = Vec::new();
    let read = body.take(most + 1).read_to_end(&mut bytes);
    read.map_err(|e| ClientError::Broken(format!("the answer broke off: {e}")))?;
    match bytes.len() as u64 > most {
        true => Err(ClientError::Broken(format!("the answer has more than {most} bytes"))),
        false => Ok(bytes),
    }
}

/// A connection that is made with the first request.
pub struct Client {
    runtime: Rc<Runtime>,
    target: Target,
    timeout: Option<Duration>,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    pub fn new(target: Target, timeout: Option<Duration>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime: Rc::new(runtime), target, timeout, sender: None })
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Sends a request. The path starts with `/api/` and is encoded.
    pub fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Reply, ClientError> {
        let (runtime, timeout) = (Rc::clone(&self.runtime), self.timeout);
        let request = self.request(method, path, headers, body)?;
        let response = runtime.block_on(within(timeout, async {
            // An answer that was not read to its end has cost the connection.
            let ready = match self.sender.take() {
                Some(mut sender) => sender.ready().await.is_ok().then_some(sender),
                None => None,
            };
            let mut sender = match ready {
                Some(sender) => sender,
                None => connect(&self.target).await?,
            };
            let response = sender.send_request(request).await.map_err(|e| ClientError::Broken(e.to_string()));
            self.sender = Some(sender);
            response
        }))??;
        let status = response.status().as_u16();
        Ok(Reply { status, body: Body { runtime, incoming: response.into_body(), current: Bytes::new(), timeout } })
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut builder = Request::builder().method(method).header("content-type", "application/json");
        builder = match &self.target {
            Target::Socket(_) => builder.uri(path).header("host", "localhost"),
            Target::Tcp { host, port, prefix, user, password, .. } => {
                let login = BASE64.encode(format!("{user}:{password}"));
                let path = if prefix.is_empty() { path.to_owned() } else { format!("/{prefix}{path}") };
                builder
                    .uri(path)
                    .header("host", format!("{host}:{port}"))
                    .header("authorization", format!("Basic {login}"))
            }
        };
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(Full::new(body)).map_err(|e| ClientError::Broken(format!("{path}: {e}")))
    }
}

async fn within<T>(timeout: Option<Duration>, work: impl Future<Output = T>) -> Result<T, ClientError> {
    match timeout {
        None => Ok(work.await),
        Some(timeout) => tokio::time::timeout(timeout, work).await.map_err(|_| ClientError::TimedOut(timeout)),
    }
}

async fn connect(target: &Target) -> Result<SendRequest<Full<Bytes>>, ClientError> {
    match target {
        Target::Socket(path) => shake_hands(UnixStream::connect(path).await.map_err(ClientError::Unreachable)?).await,
        Target::Tcp { host, port, trust, .. } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(ClientError::Unreachable)?;
            match trust {
                None => shake_hands(stream).await,
                Some(trust) => shake_hands(secure(stream, host, trust).await?).await,
            }
        }
    }
}

/// Does the TLS handshake.
async fn secure(stream: TcpStream, host: &str, trust: &Trust) -> Result<TlsStream<TcpStream>, ClientError> {
    let trust = match trust {
        Trust::System => tls::Trust::System,
        Trust::File(path) => tls::Trust::File(path),
        Trust::Anybody => tls::Trust::Anybody,
    };
    let config = tls::config(trust, None).map_err(|e| ClientError::Broken(e.to_string()))?;
    let name = ServerName::try_from(host.to_owned()).map_err(|e| ClientError::Broken(e.to_string()))?;
    let secured = TlsConnector::from(config).connect(name, stream).await;
    secured.map_err(|error| ClientError::Broken(format!("no TLS connection: {error} (see --cacert and --insecure)")))
}

async fn shake_hands<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, ClientError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(|e| ClientError::Broken(e.to_string()))?;
    // It ends with the runtime; what goes wrong is told to the request.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

#[cfg(test)]
mod tests;
