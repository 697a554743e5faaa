//! What is not somebody's own: it is forbidden, or is not there, and nothing tells whether it is.

use reqwest::{Method, header::HeaderMap};
use serde_json::{Value, json};

use super::bed::{Bed, message};
use crate::support::server::{ADMIN, READER, WRITER, answer};

/// What stands in every row about somebody else.
const MARKER: &str = "Zwetschgenkuchen";

/// Our id of somebody, and one that nobody has: of the same age and form.
fn beside(id: uuid::Uuid) -> String {
    uuid::Uuid::from_u128(id.as_u128() ^ 0xFFFF).to_string()
}

/// What of an answer's head tells something.
fn told(headers: &HeaderMap) -> Vec<(String, String)> {
    let all = headers.iter().filter(|(name, _)| *name != "date");
    all.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
}

/// Somebody else, and an organisation of theirs that `user_ada` is not in.
async fn others(bed: &Bed) -> (uuid::Uuid, super::bed::Org) {
    let marked = json!({
        "first_name": MARKER, "last_name": MARKER, "username": MARKER, "public_metadata": {"k": MARKER},
        "email_addresses": [crate::support::server::email("idn_1", &format!("{MARKER}@example.com"), true)],
    });
    let eve = bed.person("eve", 1, marked).await;
    bed.person("ada", 1, json!({})).await;
    let (theirs, own) = (bed.organization("theirs").await, bed.organization("own").await);
    bed.join(&theirs, "eve").await;
    bed.join(&own, "ada").await;
    bed.tell_org(&theirs, json!({"name": MARKER})).await;
    (eve, theirs)
}

#[tokio::test]
async fn over_http_what_is_there_and_what_is_not_are_the_same() {
    for bed in Bed::each(&[]).await {
        let (eve, theirs) = others(&bed).await;
        let (somebody, somewhere) = (beside(eve), beside(theirs.id));
        let (eve, id) = (eve.to_string(), theirs.id.to_string());
        let token = bed.token("ada");
        let names = [
            ("/v1/users/", "", eve.as_str(), somebody.as_str(), Method::GET),
            ("/v1/users/", "", "user_eve", "user_eva", Method::GET),
            ("/v1/users/", "/organizations", &eve, &somebody, Method::GET),
            ("/v1/users/", "/organizations", "user_eve", "user_eva", Method::GET),
            ("/v1/users/", "/ensure", "user_eve", "user_eva", Method::POST),
            ("/v1/users/", "/ensure?wait=1", "user_eve", "user_eva", Method::POST),
            ("/v1/organizations/", "", &id, &somewhere, Method::GET),
            ("/v1/organizations/", "", "org_theirs", "org_nowhere", Method::GET),
            ("/v1/organizations/", "/members", &id, &somewhere, Method::GET),
            ("/v1/organizations/", "/members", "org_theirs", "org_nowhere", Method::GET),
            ("/v1/organizations/", "/members?limit=1", "org_theirs", "org_nowhere", Method::GET),
        ];
        for round in ["first", "once the cache has them"] {
            for (before, after, there, made_up, method) in &names {
                let ask = |name: &str| {
                    let path = format!("{before}{name}{after}");
                    answer(bed.server.request(method.clone(), &path, &token).header("if-none-match", "\"1\""))
                };
                let (there, made_up) = (ask(there).await, ask(made_up).await);
                let what = format!("{}, {round}: {method} {before}…{after}", bed.server.name);
                there.is_problem(404, "not_found", &what);
                assert_eq!(there.text, made_up.text, "{what}");
                assert_eq!((there.status, told(&there.headers)), (made_up.status, told(&made_up.headers)), "{what}");
            }
            for path in [format!("/v1/users/{eve}"), "/v1/users/user_eve".to_owned(), format!("/v1/organizations/{id}")]
            {
                bed.server.read(&path).await;
            }
        }
    }
}

#[tokio::test]
async fn on_the_websocket_what_is_there_and_what_is_not_are_the_same() {
    for bed in Bed::each(&[]).await {
        let (eve, theirs) = others(&bed).await;
        let names = [
            (format!("user:{eve}"), format!("user:{}", beside(eve))),
            ("user:user_eve".to_owned(), "user:user_eva".to_owned()),
            (theirs.topic(), format!("org:{}", beside(theirs.id))),
            ("org:org_theirs".to_owned(), "org:org_nowhere".to_owned()),
        ];
        let mut client = bed.enter("ada").await;
        for more in [json!({}), json!({"after": 0}), json!({"after": 0, "epoch": bed.server.app.meta.epoch})] {
            for (there, made_up) in &names {
                let mut heard = Vec::new();
                for topic in [there, made_up] {
                    let mut frame = json!({"type": "subscribe", "topics": [topic]});
                    frame.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                    client.say(frame).await;
                    let frames = Value::from(client.rest().await).to_string();
                    heard.push(frames.replace(topic.as_str(), "…"));
                }
                assert_eq!(heard[0], heard[1], "{}: {there}", bed.server.name);
                assert_eq!(heard[0], r#"[{"code":"forbidden","topic":"…","type":"error"}]"#);
            }
        }
        for topic in ["users", "admin", "organizations"] {
            client.say(json!({"type": "subscribe", "topics": [topic], "after": 0})).await;
            assert_eq!(client.rest().await, [json!({"type": "error", "code": "forbidden", "topic": topic})]);
        }
        // What happens to others is told to nobody who may not follow it, whatever was asked for before.
        bed.person("eve", 2, json!({"first_name": MARKER, "last_name": "Two"})).await;
        bed.tell_org(&theirs, json!({"name": MARKER})).await;
        let routing = vec![format!("user:{eve}"), theirs.topic()];
        bed.tell(|seq| message(seq, "user.updated", "users", "user_eve", routing, json!({"first_name": MARKER}))).await;
        assert!(client.rest().await.is_empty(), "{}", bed.server.name);
    }
}

#[tokio::test]
async fn what_is_for_services_and_operators_is_forbidden_to_others() {
    const LISTS: [&str; 6] = [
        "/v1/users",
        "/v1/users?email=user_eve@example.com",
        "/v1/users?email=nobody@example.com",
        "/v1/users?clerk_id=user_eve",
        "/v1/search/users?q=ad",
        "/v1/organizations",
    ];
    const ADMINS: [(&str, Method); 16] = [
        ("/v1/admin/events", Method::GET),
        ("/v1/admin/events?state=done", Method::GET),
        ("/v1/admin/events/msg_1", Method::GET),
        ("/v1/admin/events/msg_1/retry", Method::POST),
        ("/v1/admin/events/msg_1/discard", Method::POST),
        ("/v1/admin/conflicts", Method::GET),
        ("/v1/admin/conflicts/1/resolve", Method::POST),
        ("/v1/admin/deletions", Method::GET),
        ("/v1/admin/deletions/user_eve/release", Method::POST),
        ("/v1/admin/deletions/user_eve/cancel", Method::POST),
        ("/v1/admin/relink", Method::POST),
        ("/v1/admin/alerts", Method::GET),
        ("/v1/admin/runs", Method::GET),
        ("/v1/admin/audit", Method::GET),
        ("/v1/admin/audit?subject=user_eve", Method::GET),
        ("/v1/admin/stats", Method::GET),
    ];
    for bed in Bed::each(&[]).await {
        others(&bed).await;
        let token = bed.token("ada");
        for path in LISTS {
            bed.server.get(path, &token).await.is_problem(403, "forbidden", path);
        }
        // The feed is there for everybody, with what is theirs.
        for path in ["/v1/changes?after=0", "/v1/changes?after=0&limit=1", "/v1/users/me", "/v1/users/me/organizations"]
        {
            let own = bed.server.get(path, &token).await;
            assert_eq!(own.status, 200, "{path}: {}", own.text);
            assert!(
                ![MARKER, "user_eve", "org_theirs"].iter().any(|word| own.text.contains(word)),
                "{path}: {}",
                own.text
            );
        }
        let before = bed.server.admin("/v1/admin/stats").await;
        for (path, method) in ADMINS {
            for (who, token) in [("a person", token.as_str()), ("a reader", READER), ("a writer", WRITER)] {
                let request = bed.server.request(method.clone(), path, token);
                let request = if method == Method::POST { request.json(&json!({"decision": "keep"})) } else { request };
                answer(request).await.is_problem(403, "forbidden", &format!("{}: {who}: {path}", bed.server.name));
            }
            let request = bed.server.request(method.clone(), path, "");
            answer(request).await.is_problem(401, "unauthenticated", path);
        }
        // The routes are there: it is the caller who may not.
        assert_eq!(bed.server.get("/v1/admin/events", ADMIN).await.status, 200);
        assert_eq!(bed.server.admin("/v1/admin/stats").await["events"], before["events"], "nothing was changed");
    }
}
