//! The HTTP server: accepts connections within the limits of [`Places`], speaks HTTP/1.1 and HTTP/2, and ends gracefully.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, HttpBody},
    extract::ConnectInfo,
    http::{HeaderValue, Method, Request, Response, StatusCode, header},
    response::IntoResponse as _,
    serve::Listener,
};
use hyper::body::{Bytes, Frame, Incoming, SizeHint};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

use super::{Activity, DROP_BEYOND_LIMIT, Limits, Line, Peer, Place, Places, Shared};
use crate::api::problem::Problem;

/// Bytes of a head, and of what is read ahead of a body, that a connection may hold.
const READ_BUFFER: usize = 64 << 10;

/// HTTP/2: streams of a connection at a time, the bytes that may be under way on each and on all of them, and how often a
/// silent client is asked whether it is there, and for how long.
const STREAMS: u32 = 32;
const STREAM_WINDOW: u32 = 128 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;
const PING_EVERY: Duration = Duration::from_secs(20);
const PONG_WITHIN: Duration = Duration::from_secs(20);

/// A listener and what is served on it.
#[derive(Debug)]
pub struct Server {
    /// Where connections come in.
    pub listener: TcpListener,
    /// How long they may wait.
    pub limits: Limits,
    /// How many there may be.
    pub places: Places,
    /// The largest body that a route takes, in bytes.
    pub max_body: usize,
    /// Ends the server.
    pub shutdown: CancellationToken,
    /// What waits for the connections.
    pub tasks: TaskTracker,
}

impl Server {
    /// Serves until shutdown, then until every request is answered.
    pub async fn run(mut self, router: Router) {
        let mut http = auto::Builder::new(TokioExecutor::new());
        http.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(READ_BUFFER);
        http.http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(READ_BUFFER).unwrap_or(u32::MAX))
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PONG_WITHIN)
            // Websockets over HTTP/2.
            .enable_connect_protocol();
        let graceful = GracefulShutdown::new();
        loop {
            let (stream, address) = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => break,
                accepted = Listener::accept(&mut self.listener) => accepted,
            };
            // No answer: whoever has no room has none to write one in.
            let Some(place) = self.places.take(address.ip()) else { continue };
            let for_deliveries = place.for_deliveries;
            let (line, peer) = self.line(stream, address, place);
            let router = router.clone();
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                serve(router.clone(), peer.clone(), for_deliveries, request)
            });
            let connection = http.serve_connection_with_upgrades(TokioIo::new(line), service).into_owned();
            let connection = graceful.watch(connection);
            self.tasks.spawn(async move {
                // A connection that breaks concerns the one client alone.
                let _ = connection.await;
            });
        }
        drop(self.listener);
        graceful.shutdown().await;
    }

    fn line(&self, stream: TcpStream, address: SocketAddr, place: Place) -> (Line, Peer) {
        // A frame that waits for the acknowledgement of the last one is late.
        let _ = stream.set_nodelay(true);
        let shared =
            Arc::new(Shared { patience: OnceLock::new(), activity: Activity::new(self.limits, Instant::now()) });
        let line = Line {
            stream,
            shared: shared.clone(),
            shutdown: self.shutdown.clone(),
            stalled: None,
            waiting: None,
            drop_bytes: self.max_body.saturating_add(DROP_BEYOND_LIMIT),
            lingering: None,
            given_up: false,
            _place: place,
        };
        (line, Peer { address, shared })
    }
}

/// A request under way, until its response is handed over.
#[derive(Debug)]
struct UnderWay(Arc<Shared>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.activity.end(Instant::now());
    }
}

async fn serve(
    router: Router,
    peer: Peer,
    for_deliveries: bool,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    peer.shared.activity.begin();
    let under_way = UnderWay(peer.shared.clone());
    if for_deliveries && !is_delivery(&request) {
        let mut response = Problem::not_ready("No more connections can be served here now.").into_response();
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        return Ok(response.map(|body| Answer { body, _under_way: under_way }));
    }
    let is_connect = request.method() == Method::CONNECT;
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(peer.clone()));
    let response = match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS || (is_connect && response.status().is_success()) {
        peer.shared.activity.upgrade();
    }
    Ok(response.map(|body| Answer { body, _under_way: under_way }))
}

fn is_delivery<B>(request: &Request<B>) -> bool {
    request.uri().path().trim_end_matches('/') == "/webhooks/clerk"
}

/// A response's body, during which the request is under way.
#[derive(Debug)]
struct Answer {
    body: Body,
    _under_way: UnderWay,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
