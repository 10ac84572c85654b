//! From a request to its route, and from what the route gives to a response.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{RawPathParams, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter};
use http_body_util::{BodyExt as _, Limited};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::access::{Access, Peer, authenticate};
use super::call::Query;
use super::{Answer, ApiError, Call, Caller, Http, Route, Work, cors, routes};
use crate::auth::Rights;
use crate::vhost::Broker;

/// Longest time that a client may take to send a body.
const BODY_TIME: Duration = Duration::from_secs(60);
/// Bodies that are in memory at a time, in KiB.
const BODIES: u32 = 64 << 10;
/// How often a request is begun anew because the auth backend has to be asked for more.
const ROUNDS: usize = 16;
/// Requests that work on threads that may block, at a time.
const WORKERS: usize = 24;

/// The router of all routes, and what they share.
pub struct Api {
    http: Arc<Http>,
    router: Router,
}

/// What requests of one listener take turns for. The local socket has its own, so that an operator is always served.
pub struct Turns {
    workers: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { workers: Arc::new(Semaphore::new(WORKERS)), bodies: Arc::new(Semaphore::new(BODIES as usize)) }
    }
}

impl Turns {
    /// Does something on a thread that may block, when it is its turn; `room` is that of the request's body. Both are taken until
    /// it is done, also when the client has left meanwhile.
    async fn work<T: Send + 'static>(
        &self,
        room: Room,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let turn = Arc::clone(&self.workers).acquire_owned().await.map_err(|_| stopping())?;
        let worked = tokio::task::spawn_blocking(move || {
            let _held = (turn, room);
            work()
        });
        worked.await.map_err(|_| ApiError::internal("the request could not be carried out; see the log"))
    }
}

fn stopping() -> ApiError {
    ApiError::unavailable("the node stops")
}

/// What goes along with a request to its route.
#[derive(Clone)]
struct Origin {
    peer: Peer,
    turns: Arc<Turns>,
}

impl Api {
    pub fn new(http: Arc<Http>) -> Self {
        let mut paths: BTreeMap<&str, MethodRouter> = BTreeMap::new();
        for route in routes::all() {
            let Ok(filter) = MethodFilter::try_from(route.method.clone()) else { continue };
            let http = Arc::clone(&http);
            let handler = move |request: Request| serve(Arc::clone(&http), route, request);
            let methods = paths.remove(route.path).unwrap_or_default();
            paths.insert(route.path, methods.on(filter, handler));
        }
        let router = paths.into_iter().fold(Router::new(), |router, (path, methods)| router.route(path, methods));
        let router = router
            .fallback(|| async { ApiError::not_found() })
            .method_not_allowed_fallback(|| async { StatusCode::METHOD_NOT_ALLOWED });
        Self { http, router }
    }

    /// Answers one request.
    pub async fn answer(&self, mut request: Request, peer: Peer, turns: Arc<Turns>) -> Response {
        use tower_service::Service as _;
        let config = &self.http.broker().config.management;
        let headers = request.headers().clone();
        let is_preflight = request.method() == Method::OPTIONS;
        let Some(uri) = plain_uri(request.uri(), &config.path_prefix) else {
            return ApiError::not_found().into_response();
        };
        *request.uri_mut() = uri;
        request.extensions_mut().insert(Origin { peer, turns });
        let mut response = match self.router.clone().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        if is_preflight && response.status() == StatusCode::METHOD_NOT_ALLOWED {
            *response.status_mut() = StatusCode::OK;
        }
        for (name, value) in &config.headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        cors::allow(config, &headers, response.headers_mut(), is_preflight);
        if is_preflight && let Some(allow) = response.headers().get(header::ALLOW).cloned() {
            response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_METHODS, allow);
        }
        response
    }
}

/// The address without the configured prefix and without a slash at its end; `None` when the prefix is missing.
fn plain_uri(uri: &Uri, prefix: &str) -> Option<Uri> {
    let path = match uri.path().strip_prefix(prefix)? {
        "" => "/",
        path if path.starts_with('/') => path,
        _ => return None,
    };
    let path = path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path);
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{path}{query}").parse().ok()
}

async fn serve(http: Arc<Http>, route: &'static Route, request: Request) -> Response {
    match carry_out(http, route, request).await {
        Ok(answer) => answer.into_response(),
        Err(error) => error.into_response(),
    }
}

async fn carry_out(http: Arc<Http>, route: &'static Route, request: Request) -> Result<Answer, ApiError> {
    let (mut parts, body) = request.into_parts();
    let origin = parts.extensions.remove::<Origin>().ok_or_else(|| ApiError::internal("a request from nowhere"))?;
    let caller = match origin.peer {
        Peer::Local => Caller::local(),
        peer if route.access == Access::Open => Caller::nobody(peer),
        Peer::Network(address) => authenticate(http.broker(), &parts.headers, address).await?,
    };
    let path = path_of(&mut parts).await?;
    let query = Query::parse(parts.uri.query().unwrap_or_default())?;
    let vhost = path.iter().find(|(name, _)| name == "vhost").map(|(_, value)| value.as_str());
    let checked = loop {
        let checked = route.access.check(&caller, http.broker(), vhost);
        if checked.is_ok() || !is_answered(&caller, http.broker()).await {
            break checked;
        }
    };
    checked.inspect_err(|error| {
        // A password in a path is nobody's business.
        let path = if route.path.contains("{password}") { route.path } else { parts.uri.path() };
        let method = &route.method;
        tracing::warn!(target: "leveret::http", "HTTP access denied: user '{}' - {} ({method} {path})", caller.name(), error.reason);
    })?;
    // The room is held until the answer is there: the body lies in memory as long.
    let (body, room) = match route.access {
        // Nobody's body is worth waiting for.
        Access::Open => (Bytes::new(), None),
        _ => read(body, &parts.headers, http.broker().config.management.max_body, &origin.turns).await?,
    };
    let call = Call {
        http: Arc::clone(&http),
        route: route.path,
        method: &route.method,
        caller,
        path,
        query,
        headers: parts.headers,
        body,
    };
    let room = Arc::new(room);
    let answer = match call.caller.rights {
        Rights::Internal | Rights::Token(_) => work(route, call, &origin.turns, &room).await?,
        Rights::Asked(_) => work_and_ask(route, &call, &origin.turns, &room).await?,
    };
    if let Some(number) = answer.durable_at {
        http.broker().durable(number).await?;
    }
    Ok(answer)
}

/// The room that a request's body takes, until all work with it is done.
type Room = Arc<Option<OwnedSemaphorePermit>>;

async fn work(route: &Route, call: Call, turns: &Turns, room: &Room) -> Result<Answer, ApiError> {
    match route.work {
        Work::Quick(work) => work(&call),
        Work::Awaiting(work) => work(call).await,
        Work::Blocking(work) => turns.work(Arc::clone(room), move || work(&call)).await?,
    }
}

/// Does the work until it has left no question open whose answer a service outside has. Routes check before they change
/// something: what is done again has done nothing.
async fn work_and_ask(route: &Route, call: &Call, turns: &Turns, room: &Room) -> Result<Answer, ApiError> {
    for _ in 0..ROUNDS {
        let answer = work(route, call.clone(), turns, room).await;
        if !is_answered(&call.caller, call.broker()).await {
            return answer;
        }
    }
    Err(ApiError::unavailable("the auth backend would have to be asked too much"))
}

/// Whether there were open questions, which have their answers now.
async fn is_answered(caller: &Caller, broker: &Broker) -> bool {
    let Some(answers) = caller.rights.open() else { return false };
    broker.backends.answer(answers, &broker.clock).await;
    true
}

/// The varying parts of the path, decoded.
async fn path_of(parts: &mut axum::http::request::Parts) -> Result<Vec<(String, String)>, ApiError> {
    use axum::extract::FromRequestParts as _;
    let params = RawPathParams::from_request_parts(parts, &()).await;
    let params = params.map_err(|_| ApiError::bad_request(format!("the path '{}' is not UTF-8", parts.uri.path())))?;
    Ok(params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// The whole body, and the room that it takes.
async fn read(
    body: Body,
    headers: &HeaderMap,
    most: usize,
    turns: &Turns,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), ApiError> {
    let too_large =
        || ApiError::bad_request(format!("Exceeded HTTP request body size limit: it may have {most} bytes"));
    let length = headers.get(header::CONTENT_LENGTH).map(HeaderValue::to_str);
    let known = length.and_then(Result::ok).and_then(|text| text.parse::<usize>().ok());
    let has_body = known != Some(0) && (known.is_some() || headers.contains_key(header::TRANSFER_ENCODING));
    let expected = if has_body { known.unwrap_or(most) } else { 0 };
    if expected > most {
        return Err(too_large());
    }
    let room = u32::try_from(expected.div_ceil(1024)).unwrap_or(BODIES).min(BODIES);
    if !has_body {
        return Ok((Bytes::new(), None));
    }
    let room = Arc::clone(&turns.bodies).acquire_many_owned(room).await.map_err(|_| stopping())?;
    match tokio::time::timeout(BODY_TIME, Limited::new(body, most).collect()).await {
        Ok(Ok(collected)) => Ok((collected.to_bytes(), Some(room))),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(ApiError::bad_request(format!("the body cannot be read: {error}"))),
        Err(_) => Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "timeout",
            format!("the body did not come within {} s", BODY_TIME.as_secs()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_client_that_leaves_does_not_hand_its_turn_to_another_while_its_work_goes_on() {
        let turns = Turns::default();
        let ((has_begun, begun), (finish, finished)) = (mpsc::channel(), mpsc::channel::<()>());
        let (body, headers) = (Body::from("12345"), HeaderMap::from_iter([(header::CONTENT_LENGTH, 5.into())]));
        let (_, room) = read(body, &headers, 1 << 20, &turns).await.unwrap();
        {
            let mut work = std::pin::pin!(turns.work(Arc::new(room), move || {
                has_begun.send(()).unwrap();
                finished.recv()
            }));
            // It is begun, and the client leaves.
            let mut waker = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(work.as_mut().poll(&mut waker).is_pending());
            begun.recv().unwrap();
        }
        assert_eq!(turns.workers.available_permits(), WORKERS - 1);
        assert_eq!(turns.bodies.available_permits(), BODIES as usize - 1);
        finish.send(()).unwrap();
        let all = turns.workers.acquire_many(WORKERS as u32).await.unwrap();
        assert_eq!(all.num_permits(), WORKERS);
        let room = turns.bodies.acquire_many(BODIES).await.unwrap();
        assert_eq!(room.num_permits(), BODIES as usize);
    }
}
