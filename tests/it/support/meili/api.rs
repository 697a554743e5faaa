//! The HTTP side: routes, keys, and the faults that come before an answer.

use std::{io, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, Query, Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, patch, post},
};
use serde_json::{Value, json};

use super::{
    KEY, Shared,
    engine::{Work, error},
    lock, matching,
};

type Shares = State<Arc<Shared>>;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/health", get(|| async { answer(200, json!({"status": "available"})) }))
        .route(
            "/version",
            get(|| async { answer(200, json!({"commitSha": "0", "commitDate": "0", "pkgVersion": "1.0.0"})) }),
        )
        .route("/indexes", post(create))
        .route("/indexes/{uid}", get(read).delete(remove))
        .route("/indexes/{uid}/settings", patch(settings))
        .route("/indexes/{uid}/documents", post(add))
        .route("/indexes/{uid}/documents/delete-batch", post(delete))
        .route("/indexes/{uid}/search", post(search))
        .route("/swap-indexes", post(swap))
        .route("/tasks/{uid}", get(task))
        .layer(middleware::from_fn_with_state(shared.clone(), gate))
        .with_state(shared)
}

fn answer(status: u16, body: Value) -> Response {
    (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
}

fn refuse(status: u16, code: &str) -> Response {
    answer(status, error(code, "A message that may quote what was sent."))
}

async fn gate(State(shared): Shares, request: Request, next: Next) -> Response {
    let faults = shared.faults();
    lock(&shared.requests).push(format!("{} {}", request.method(), request.uri().path()));
    if faults.hang {
        std::future::pending::<()>().await;
    }
    if faults.close {
        let broken = futures_util::stream::iter([Ok(Bytes::from_static(b"{")), Err(io::Error::other("closed"))]);
        return Body::from_stream(broken).into_response();
    }
    if let Some((status, code)) = faults.answer {
        return refuse(status, code);
    }
    let free = request.uri().path() == "/health";
    match request.headers().get(header::AUTHORIZATION).map(|value| value.as_bytes()) {
        _ if free => {}
        None => return refuse(401, "missing_authorization_header"),
        Some(value) if value != format!("Bearer {KEY}").as_bytes() => return refuse(403, "invalid_api_key"),
        Some(_) if faults.read_only && request.uri().path().ends_with("/documents") => {
            return refuse(403, "invalid_api_key");
        }
        Some(_) => {}
    }
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    if faults.payload.is_some_and(|most| body.len() > most) {
        return refuse(413, "payload_too_large");
    }
    if !body.is_empty() && head.headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind != "application/json") {
        return refuse(415, "invalid_content_type");
    }
    next.run(Request::from_parts(head, Body::from(body))).await
}

#[expect(clippy::result_large_err, reason = "an answer is what axum wants here")]
fn parse(body: &Bytes) -> Result<Value, Response> {
    serde_json::from_slice(body).map_err(|_| refuse(400, "malformed_payload"))
}

fn enqueue(shared: &Shared, index: Option<&str>, work: Work) -> Response {
    let info = lock(&shared.engine).enqueue(index, work);
    shared.work.notify_one();
    answer(202, info)
}

async fn create(State(shared): Shares, body: Bytes) -> Result<Response, Response> {
    let body = parse(&body)?;
    let uid = body["uid"].as_str().ok_or_else(|| refuse(400, "missing_index_uid"))?;
    if !uid.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) {
        return Err(refuse(400, "invalid_index_uid"));
    }
    Ok(enqueue(&shared, Some(uid), Work::Create { key: body["primaryKey"].as_str().map(str::to_owned) }))
}

async fn read(State(shared): Shares, Path(uid): Path<String>) -> Response {
    let engine = lock(&shared.engine);
    let Some(index) = engine.indexes.get(&uid) else { return refuse(404, "index_not_found") };
    let made = &index.created_at;
    answer(200, json!({"uid": uid, "createdAt": made, "updatedAt": made, "primaryKey": index.primary_key}))
}

async fn remove(State(shared): Shares, Path(uid): Path<String>) -> Response {
    enqueue(&shared, Some(&uid), Work::Drop)
}

async fn settings(State(shared): Shares, Path(uid): Path<String>, body: Bytes) -> Result<Response, Response> {
    let body = parse(&body)?;
    let known = ["searchableAttributes", "typoTolerance", "displayedAttributes", "rankingRules"];
    if body.as_object().is_none_or(|body| body.keys().any(|name| !known.contains(&name.as_str()))) {
        return Err(refuse(400, "bad_request"));
    }
    Ok(enqueue(&shared, Some(&uid), Work::Settings(body)))
}

async fn add(
    State(shared): Shares,
    Path(uid): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
    body: Bytes,
) -> Result<Response, Response> {
    let documents = match parse(&body)? {
        Value::Array(documents) if documents.iter().all(Value::is_object) => documents,
        _ => return Err(refuse(400, "malformed_payload")),
    };
    let key = query.into_iter().find(|(name, _)| name == "primaryKey").map(|(_, value)| value);
    Ok(enqueue(&shared, Some(&uid), Work::Add { documents, key }))
}

async fn delete(State(shared): Shares, Path(uid): Path<String>, body: Bytes) -> Result<Response, Response> {
    let ids = parse(&body)?;
    let ids = ids.as_array().ok_or_else(|| refuse(400, "bad_request"))?;
    let ids = ids.iter().filter_map(|id| id.as_str().map(str::to_owned)).collect();
    Ok(enqueue(&shared, Some(&uid), Work::Delete { ids }))
}

async fn swap(State(shared): Shares, body: Bytes) -> Result<Response, Response> {
    let body = parse(&body)?;
    let pair = |swap: &Value| Some((swap["indexes"][0].as_str()?.to_owned(), swap["indexes"][1].as_str()?.to_owned()));
    let swaps: Option<Vec<_>> = body.as_array().and_then(|swaps| swaps.iter().map(pair).collect());
    Ok(enqueue(&shared, None, Work::Swap(swaps.ok_or_else(|| refuse(400, "invalid_swap_indexes"))?)))
}

async fn task(State(shared): Shares, Path(uid): Path<usize>) -> Response {
    let task = lock(&shared.engine).task(uid);
    task.map_or_else(|| refuse(404, "task_not_found"), |task| answer(200, task))
}

async fn search(State(shared): Shares, Path(uid): Path<String>, body: Bytes) -> Result<Response, Response> {
    let body = parse(&body)?;
    let engine = lock(&shared.engine);
    let index = engine.indexes.get(&uid).ok_or_else(|| refuse(404, "index_not_found"))?;
    let q = body["q"].as_str().unwrap_or_default();
    let limit = body["limit"].as_u64().unwrap_or(20);
    let mut hits = matching::search(index, q, body["matchingStrategy"] == "all");
    let total = hits.len();
    hits.truncate(usize::try_from(limit).unwrap());
    if let Some(fields) = body["attributesToRetrieve"].as_array() {
        for hit in hits.iter_mut().filter_map(Value::as_object_mut) {
            hit.retain(|name, _| fields.iter().any(|field| field == name || field == "*"));
        }
    }
    let (offset, took) = (0, 0);
    Ok(answer(
        200,
        json!({
            "hits": hits, "query": q, "processingTimeMs": took, "limit": limit, "offset": offset,
            "estimatedTotalHits": total,
        }),
    ))
}
