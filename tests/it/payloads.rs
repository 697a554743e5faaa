//! Bodies as Clerk sends and publishes them. Our own fixtures always; the collected examples and the signature
//! vectors of the team's shared folder where that lies beside the project.

use std::path::{Path, PathBuf};

use axum::http::{HeaderMap, HeaderValue};
use clerk_sync::{
    clerk::signature::{SecretError, SignatureError, Verifier},
    clock::from_millis,
};
use sea_orm::EntityTrait;
use serde_json::{Value, json};

use crate::support::world::{World, worlds};

fn shared(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/clerk").join(path);
    if !path.exists() {
        eprintln!("left out: {} is not beside the project", path.display());
    }
    path.exists().then_some(path)
}

fn bodies(folder: &Path) -> Vec<(String, Value)> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut bodies = Vec::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|ext| ext == "json")) {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        match serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap() {
            // Objects of the Backend API, as an update would carry them.
            Value::Array(users) => bodies.extend(users.into_iter().map(|user| (name.clone(), envelope(user)))),
            body if body.get("type").is_none() => bodies.push((name, envelope(body))),
            body => bodies.push((name, body)),
        }
    }
    bodies
}

fn envelope(user: Value) -> Value {
    json!({"type": "user.updated", "object": "event", "data": user})
}

/// Accepts every body and lets it come to its end; none may end `dead`, and a refusal has a reason.
async fn all_come_to_an_end(world: &World, bodies: &[(String, Value)]) {
    for (index, (name, body)) in bodies.iter().enumerate() {
        world.deliver(&format!("msg_{index:03}_{name}"), body).await;
    }
    world.drain().await;
    for row in entity::inbox::Entity::find().all(&world.app.db.read).await.unwrap() {
        let good = match row.state.as_str() {
            "done" | "skipped" | "waiting" => true,
            "rejected" => row.reason.is_some(),
            _ => false,
        };
        assert!(good, "{}: {} ends {} {:?} {:?}", world.name, row.svix_id, row.state, row.outcome, row.reason);
    }
}

#[tokio::test]
async fn fixtures_come_to_an_end_and_their_secrets_are_nowhere() {
    let fixtures = bodies(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/events"));
    assert!(fixtures.len() > 80);
    for world in worlds(&[]).await {
        all_come_to_an_end(&world, &fixtures).await;
        let mut dump = String::new();
        for row in entity::inbox::Entity::find().all(&world.app.db.read).await.unwrap() {
            dump.push_str(&String::from_utf8_lossy(row.body.as_deref().unwrap_or_default()));
            dump.push_str(&format!("{:?}", (row.reason, row.subject, row.user_ids)));
        }
        for row in entity::outbox::Entity::find().all(&world.app.db.read).await.unwrap() {
            dump.push_str(&row.payload.0);
        }
        for row in entity::user_profiles::Entity::find().all(&world.app.db.read).await.unwrap() {
            dump.push_str(&format!("{row:?}"));
        }
        for secret in ["704931", "518264", "fixture-magic-4t9d", "fixture-backup-", "fixture-nonce-", "fixture-ticket-"]
        {
            assert!(!dump.contains(secret), "{}: {secret} is stored", world.name);
        }
    }
}

#[tokio::test]
async fn collected_payloads_come_to_an_end() {
    let Some(folder) = shared("payloads") else { return };
    let payloads = bodies(&folder);
    assert!(payloads.len() > 40);
    for world in worlds(&[]).await {
        all_come_to_an_end(&world, &payloads).await;
    }
}

fn headers(prefix: &str, id: &str, timestamp: &str, signature: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [("id", id), ("timestamp", timestamp), ("signature", signature)] {
        let name: axum::http::HeaderName = format!("{prefix}-{name}").parse().unwrap();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

const TOLERANCE: std::time::Duration = std::time::Duration::from_secs(300);

#[test]
fn published_signature_vectors_verify_and_refuse() {
    let Some(file) = shared("svix-vectors.json") else { return };
    let vectors: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let vectors = vectors["vectors"].as_array().unwrap();
    assert!(vectors.len() >= 10);
    for vector in vectors {
        let text = |name: &str| vector[name].as_str().unwrap_or_default();
        let verifier = Verifier::new(text("secret"), TOLERANCE);
        if text("kind") == "constructor-error" {
            assert!(verifier.is_err(), "{}", text("name"));
            continue;
        }
        let at = from_millis(text("timestamp").parse::<i64>().unwrap() * 1000).unwrap();
        for prefix in ["svix", "webhook"] {
            let headers = headers(prefix, text("id"), text("timestamp"), text("signature"));
            let result = verifier.as_ref().unwrap().verify(&headers, text("body").as_bytes(), at);
            assert_eq!(result.is_ok(), vector["valid"].as_bool().unwrap(), "{} {prefix}: {result:?}", text("name"));
        }
    }
}

#[test]
fn secrets_rotate_and_malformed_ones_are_refused() {
    let (old, new) = ("whsec_b2xkIHNlY3JldCBvZiB0aGUgdGVzdHM=", "whsec_bmV3IHNlY3JldCBvZiB0aGUgdGVzdHM=");
    let now = from_millis(1_790_000_000_000).unwrap();
    let both = Verifier::new(&format!("{new}, {old}"), TOLERANCE).unwrap();
    for secret in [old, new] {
        let signature = Verifier::new(secret, TOLERANCE).unwrap().sign("msg_1", now.timestamp(), b"{}").unwrap();
        let headers = headers("svix", "msg_1", &now.timestamp().to_string(), &signature);
        assert_eq!(both.verify(&headers, b"{}", now), Ok("msg_1"));
        assert_eq!(both.verify(&headers, b"{ }", now), Err(SignatureError::Invalid));
        let later = now + chrono::Duration::seconds(301);
        assert_eq!(both.verify(&headers, b"{}", later), Err(SignatureError::Stale));
        assert_eq!(both.verify(&headers, b"{}", now - chrono::Duration::seconds(301)), Err(SignatureError::Stale));
        assert_eq!(both.verify(&headers, b"{}", now + chrono::Duration::seconds(299)), Ok("msg_1"));
    }
    for (secrets, error) in [
        ("", SecretError::Missing),
        (" , ", SecretError::Missing),
        ("whsec_", SecretError::Malformed),
        ("whsec_!!", SecretError::Malformed),
    ] {
        assert_eq!(Verifier::new(secrets, TOLERANCE).unwrap_err(), error, "{secrets:?}");
    }
}
