//! What a session token reads over HTTP: oneself; and of nobody else anything but what `profiles` and `own` tell.

use reqwest::Method;
use serde_json::json;

use super::bed::Bed;
use crate::support::server::{ADMIN, READER, WRITER, answer, deletion};

#[tokio::test]
async fn a_person_sees_themselves_whole_by_every_name() {
    const HIDDEN: &str = "marker-that-nobody-may-see";
    for bed in Bed::each(&[]).await {
        let metadata = json!({"private_metadata": {"hidden": HIDDEN}, "public_metadata": {"seen": 1}});
        let id = bed.person("ada", 1, metadata).await;
        let token = bed.token("ada");
        for path in ["/v1/users/me".to_owned(), format!("/v1/users/{id}"), "/v1/users/user_ada".to_owned()] {
            let answer = bed.server.get(&path, &token).await;
            assert_eq!(answer.status, 200, "{}: {path}: {}", bed.server.name, answer.text);
            let me = answer.json();
            assert_eq!((&me["id"], &me["email"]), (&json!(id), &json!("user_ada@example.com")), "{path}");
            assert_eq!(me["public_metadata"], json!({"seen": 1}), "{path}");
            assert!(!answer.text.contains(HIDDEN) && me.get("private_metadata").is_none(), "{path}");
            assert_eq!(answer.header("cache-control"), "private, no-cache");
            assert_eq!(me, bed.server.read(&path.replace("/me", "/user_ada")).await, "the same as a service sees");
            let tag = answer.header("etag");
            let again = bed.server.request(Method::GET, &path, &token).header("if-none-match", tag);
            assert_eq!(crate::support::server::answer(again).await.status, 304, "{path}");
        }
    }
}

#[tokio::test]
async fn who_shares_no_organisation_is_not_there_for_a_person() {
    for bed in Bed::each(&[]).await {
        let eve = bed.person("eve", 1, json!({})).await;
        bed.person("ada", 1, json!({})).await;
        let token = bed.token("ada");
        for path in [
            format!("/v1/users/{eve}"),
            "/v1/users/user_eve".to_owned(),
            "/v1/users/user_nobody".to_owned(),
            format!("/v1/users/{}", uuid::Uuid::new_v4()),
            "/v1/users/nonsense".to_owned(),
            "/v1/users/ME".to_owned(),
            "/v1/users/user_ada%20".to_owned(),
        ] {
            bed.server.get(&path, &token).await.is_problem(404, "not_found", &path);
            // Also once the cache has them.
            bed.server.get(&path, READER).await;
            bed.server.get(&path, &token).await.is_problem(404, "not_found", &path);
        }
        // Only people are `me`.
        for service in [ADMIN, READER, WRITER] {
            bed.server.get("/v1/users/me", service).await.is_problem(404, "not_found", "me");
        }
    }
}

#[tokio::test]
async fn lists_search_and_the_admins_things_are_forbidden() {
    for bed in Bed::each(&[]).await {
        bed.person("ada", 1, json!({})).await;
        let token = bed.token("ada");
        for (method, path) in [
            (Method::GET, "/v1/users"),
            (Method::GET, "/v1/users?email=user_ada@example.com"),
            (Method::GET, "/v1/users?clerk_id=user_ada"),
            (Method::GET, "/v1/users?limit=nonsense"),
            (Method::GET, "/v1/search/users?q=ada"),
            (Method::GET, "/v1/organizations"),
            (Method::GET, "/v1/admin/events"),
            (Method::GET, "/v1/admin/events/msg_0"),
            (Method::POST, "/v1/admin/events/msg_0/retry"),
            (Method::POST, "/v1/admin/events/msg_0/discard"),
            (Method::GET, "/v1/admin/conflicts"),
            (Method::GET, "/v1/admin/alerts"),
            (Method::GET, "/v1/admin/stats"),
        ] {
            let answer = answer(bed.server.request(method, path, &token)).await;
            answer.is_problem(403, "forbidden", &format!("{}: {path}", bed.server.name));
        }
        // From elsewhere, metrics are for services.
        let metrics = bed.server.request(Method::GET, "/metrics", &token).header("x-forwarded-for", "203.0.113.9");
        answer(metrics).await.is_problem(403, "forbidden", "/metrics");
    }
}

#[tokio::test]
async fn a_person_is_known_before_their_row_is_there() {
    for bed in Bed::each(&[]).await {
        let token = bed.token("ada");
        for path in ["/v1/users/me", "/v1/users/user_ada"] {
            bed.server.get(path, &token).await.is_problem(404, "not_found", path);
        }
        bed.person("ada", 1, json!({})).await;
        assert_eq!(bed.server.get("/v1/users/me", &token).await.json()["clerk_id"], "user_ada", "{}", bed.server.name);
        bed.deliver(&deletion("user_ada")).await;
        bed.server.get("/v1/users/me", &token).await.is_problem(401, "unauthenticated", "deleted");
    }
}
