//! `GET /v1/ws`: what is judged before a connection becomes a websocket. The rest is the gateway's.

use std::sync::Arc;

use axum::{
    Router,
    extract::{
        State,
        ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    http::{HeaderMap, StatusCode, header},
    response::Response,
    routing::get,
};

use crate::gateway::{Gateway, protocol::SUBPROTOCOL};

use super::problem::{self, Problem};

/// Bytes that an idle socket keeps for reading, and as many for writing.
const BUFFER: usize = 4 * 1024;

/// The route.
pub fn routes(gateway: Arc<Gateway>) -> Router {
    // CONNECT is how HTTP/2 opens a websocket.
    let route = get(open).connect(open).fallback(problem::method_not_allowed);
    Router::new().route("/v1/ws", route).with_state(gateway)
}

async fn open(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let bad = |detail| Problem::new(StatusCode::BAD_REQUEST, "invalid_request", detail);
    let upgrade = upgrade.map_err(|_| bad("This is a websocket: send an upgrade request."))?;
    // Only browsers send an origin, and only of theirs can be wrong.
    if let Some(origin) = headers.get(header::ORIGIN)
        && !origin.to_str().is_ok_and(|origin| gateway.allows_origin(origin))
    {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "This origin may not open a websocket (gateway.origins).",
        ));
    }
    let offered = upgrade.requested_protocols().count();
    let upgrade = upgrade.protocols([SUBPROTOCOL]);
    if offered > 0 && upgrade.selected_protocol().is_none() {
        return Err(bad("The subprotocol is clerk-sync.v1."));
    }
    let place = gateway.admit().ok_or_else(|| Problem::not_ready("No more websockets can be opened here now."))?;
    let limit = gateway.max_frame();
    let upgrade = upgrade.read_buffer_size(BUFFER).write_buffer_size(BUFFER).max_message_size(limit);
    Ok(upgrade.max_frame_size(limit).on_upgrade(move |socket| gateway.serve(socket, place)))
}
