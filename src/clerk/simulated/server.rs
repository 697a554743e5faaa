//! What a request passes on its way: the count, the wait, the key, the version, the rate limit, the failures that were
//! asked for, and then an endpoint.

use std::{io, time::Duration};

use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, Method, header},
    response::{IntoResponse, Response},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{
    VERSION_PARAM, VERSIONS,
    endpoints::{self, Endpoint},
    errors::{self, ApiError},
    failures::{self, Failure, RetryAfter},
    line::{Cut, Lines},
    modes::Modes,
    world::World,
};

/// For how long answers under way may go on when the server stops.
const PARTING: Duration = Duration::from_millis(200);

#[derive(Clone)]
struct Site {
    world: World,
    modes: Modes,
    stop: CancellationToken,
}

/// The API as a router. Without [`serve`] a connection that should be reset ends without an answer instead.
pub fn router(world: World, modes: Modes) -> Router {
    site(Site { world, modes, stop: CancellationToken::new() })
}

fn site(site: Site) -> Router {
    Router::new().fallback(handle).with_state(site)
}

/// Serves the API until `stop`. Nobody is asked who they are but for the key: give it a listener of the loopback.
///
/// # Errors
/// The listener's.
pub async fn serve(world: World, modes: Modes, listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
    let router = site(Site { world, modes, stop: stop.clone() }).into_make_service_with_connect_info::<Cut>();
    let served = axum::serve(Lines(listener), router).with_graceful_shutdown(stop.clone().cancelled_owned());
    let parting = async {
        stop.cancelled().await;
        tokio::time::sleep(PARTING).await;
    };
    tokio::select! {
        served = served => served,
        () = parting => Ok(()),
    }
}

async fn handle(State(site): State<Site>, request: Request) -> Response {
    let Site { world, modes, stop } = site;
    let cut = request.extensions().get::<ConnectInfo<Cut>>().map(|info| info.0.clone());
    let (path, query) = (request.uri().path().to_owned(), request.uri().query().unwrap_or_default().to_owned());
    let (endpoint, id) = Endpoint::of(&path);
    let now = || world.clock.now().timestamp_millis();
    modes.asked(endpoint, now());
    wait(modes.wait(), &stop).await;
    let failure = modes.failure(endpoint);
    if let Some(Failure::Hang(time)) = failure {
        wait(time, &stop).await;
    }
    let trace = modes.trace();
    let answered = admit(&modes, request.headers(), request.method(), &query).and_then(|()| {
        if endpoint != Endpoint::Jwks
            && let Some(seconds) = modes.limited(now())
        {
            return Ok(Err(seconds));
        }
        endpoints::answer(&world, &modes.rules(now()), endpoint, id, &query).map(Ok)
    });
    let mut body = None;
    let right = match answered {
        Ok(Ok((text, ids))) => {
            modes.asked_ids(ids);
            body = Some(text.clone());
            ([(header::CONTENT_TYPE, "application/json")], text).into_response()
        }
        Ok(Err(seconds)) => failures::too_many(&RetryAfter::Seconds(seconds), &trace),
        Err(error) => error.answer(&trace),
    };
    let (status, mut response) = match (&failure, body) {
        (None, _) => (right.status().as_u16(), right),
        (Some(Failure::Truncated), Some(body)) => (0, failures::truncated(&body)),
        (Some(failure), _) => failure.answer(right, cut.as_ref(), &trace),
    };
    modes.answered(status, &world);
    if let Ok(ray) = trace[..16].parse() {
        response.headers_mut().insert("cf-ray", ray);
    }
    response
}

/// Whether a request may be answered at all. The key comes first, whatever the path: so does Clerk.
fn admit(modes: &Modes, headers: &HeaderMap, method: &Method, query: &str) -> Result<(), ApiError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    modes
        .admits(text("authorization"))
        .map_err(|brought| if brought { errors::wrong_key() } else { errors::no_key() })?;
    let in_query = query.split('&').find_map(|part| part.strip_prefix(VERSION_PARAM)?.strip_prefix('='));
    let version = match (text("clerk-api-version"), in_query) {
        (Some(_), Some(_)) => return Err(errors::version("it is given both as header and in the query")),
        (header, in_query) => header.or(in_query),
    };
    if let Some(version) = version
        && !VERSIONS.contains(&version)
    {
        return Err(errors::version(version));
    }
    if method != Method::GET { Err(errors::no_method()) } else { Ok(()) }
}

async fn wait(time: Duration, stop: &CancellationToken) {
    if !time.is_zero() {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = stop.cancelled() => {}
        }
    }
}
