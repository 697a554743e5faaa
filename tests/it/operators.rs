//! What operators decide: conflicts, held deletions, returns. Over HTTP, on both databases.

use serde_json::{Value, json};

use crate::support::server::{ADMIN, READER, Server, answer, deletion, email, person};

async fn post(server: &Server, path: &str, body: Value) -> crate::support::server::Answer {
    answer(server.request(reqwest::Method::POST, path, ADMIN).json(&body)).await
}

/// Ada has the address; Bob claims it too. Answers the id of the open conflict.
async fn clash(server: &Server) -> String {
    let shared =
        json!({"email_addresses": [email("idn_1", "shared@example.com", true)], "primary_email_address_id": "idn_1"});
    server.sync("msg_ada", &person("user_ada", 1, shared)).await;
    let both = json!({"email_addresses": [email("idn_2", "bob@example.com", true), email("idn_3", "Shared@Example.com", true)],
        "primary_email_address_id": "idn_3"});
    server.sync("msg_bob", &person("user_bob", 1, both)).await;
    let open = server.admin("/v1/admin/conflicts?state=open").await;
    open["data"][0]["id"].as_str().unwrap().to_owned()
}

async fn state(server: &Server, svix_id: &str) -> Value {
    server.admin(&format!("/v1/admin/events/{svix_id}")).await["state"].clone()
}

/// A person as the database has them now; `null` if there is none.
async fn shown(server: &Server, clerk_id: &str) -> Value {
    server.read(&format!("/v1/users?clerk_id={clerk_id}")).await["data"][0].clone()
}

async fn addresses(server: &Server, id: &str) -> Vec<String> {
    let user = shown(server, id).await;
    let rows = user["email_addresses"].as_array().unwrap().clone();
    rows.iter().map(|row| row["email_address"].as_str().unwrap().to_owned()).collect()
}

async fn resolve(server: &Server, id: &str, decision: &str) -> crate::support::server::Answer {
    let done = post(server, &format!("/v1/admin/conflicts/{id}/resolve"), json!({"decision": decision})).await;
    server.settle().await;
    done
}

#[tokio::test]
async fn keep_existing_lets_the_newcomer_in_without_the_address() {
    for server in Server::start_all(&[]).await {
        let id = clash(&server).await;
        let done = resolve(&server, &id, "keep_existing").await;
        assert_eq!((done.status, done.json()["state"].clone()), (200, json!("resolved")), "{}", server.name);
        assert_eq!(addresses(&server, "user_bob").await, ["bob@example.com"]);
        assert_eq!(addresses(&server, "user_ada").await, ["shared@example.com"]);
        // Later versions too, as long as Ada has it.
        let again = json!({"first_name": "Robert", "email_addresses": [email("idn_3", "shared@example.com", true), email("idn_2", "bob@example.com", true)]});
        server.sync("msg_bob_2", &person("user_bob", 2, again.clone())).await;
        assert_eq!(addresses(&server, "user_bob").await, ["bob@example.com"]);
        assert_eq!(server.admin("/v1/admin/conflicts?state=open").await["data"], json!([]));
        // Ada lets it go: Bob's next version brings it.
        server
            .sync(
                "msg_ada_2",
                &person("user_ada", 3, json!({"email_addresses": [email("idn_9", "ada@example.com", true)]})),
            )
            .await;
        server.sync("msg_bob_3", &person("user_bob", 4, again)).await;
        assert_eq!(addresses(&server, "user_bob").await, ["bob@example.com", "shared@example.com"]);
        // A decision about something decided changes nothing.
        resolve(&server, &id, "take_over").await.is_problem(409, "conflict_condition", server.name);
        assert!(server.stop().await);
    }
}

#[tokio::test]
async fn take_over_moves_the_address_until_a_newer_version_asks_for_it() {
    for server in Server::start_all(&[]).await {
        let id = clash(&server).await;
        assert_eq!(resolve(&server, &id, "take_over").await.status, 200, "{}", server.name);
        assert_eq!(addresses(&server, "user_bob").await, ["bob@example.com", "Shared@Example.com"]);
        assert_eq!(shown(&server, "user_ada").await["email"], Value::Null);
        // Ada's old event again changes nothing; her next one that lists the address asks for it.
        let retried = server.post("/v1/admin/events/msg_ada/retry", ADMIN).await;
        assert_eq!(retried.status, 200);
        server.settle().await;
        assert_eq!(state(&server, "msg_ada").await, "done", "{}: nor does it ask again", server.name);
        assert_eq!(addresses(&server, "user_ada").await, [""; 0]);
        let shared = json!({"email_addresses": [email("idn_1", "shared@example.com", true)]});
        server.sync("msg_ada_2", &person("user_ada", 5, shared)).await;
        let open = server.admin("/v1/admin/conflicts?state=open").await;
        assert_eq!(open["data"][0]["clerk_id"], "user_ada");
        assert!(server.stop().await);
    }
}

#[tokio::test]
async fn a_decision_needs_its_condition_and_the_right_word() {
    for server in Server::start_all(&[]).await {
        let id = clash(&server).await;
        let path = format!("/v1/admin/conflicts/{id}/resolve");
        for wrong in [json!({"decision": "maybe"}), json!({}), json!({"decision": "retry", "more": 1}), json!([])] {
            post(&server, &path, wrong).await.is_problem(422, "invalid_request", server.name);
        }
        let nobody = "/v1/admin/conflicts/019ab3f0-7e2c-7cc0-8f00-0123456789ab/resolve";
        post(&server, nobody, json!({"decision": "retry"})).await.is_problem(404, "not_found", server.name);
        server.post(&path, READER).await.is_problem(403, "forbidden", server.name);
        assert_eq!(resolve(&server, &id, "retry").await.json()["state"], "open", "nothing has changed");
        assert!(server.stop().await);
    }
}

/// `hold`: the only administrator among other members is not deleted without a word.
async fn held(server: &Server) {
    let organization = json!({"type": "organization.created", "object": "event", "timestamp": 1_760_000_000_100_u64,
        "data": {"id": "org_1", "object": "organization", "name": "One", "slug": null, "created_by": "user_ada",
            "created_at": 1_760_000_000_000_u64, "updated_at": 1_760_000_000_050_u64}});
    server.sync("msg_ada", &person("user_ada", 1, json!({}))).await;
    server.sync("msg_bob", &person("user_bob", 1, json!({}))).await;
    server.sync("msg_org", &organization).await;
    for (user, role) in [("user_ada", "org:admin"), ("user_bob", "org:member")] {
        let member = json!({"type": "organizationMembership.created", "object": "event", "timestamp": 1_760_000_000_200_u64,
            "data": {"id": format!("orgmem_{user}"), "role": role, "permissions": [], "organization": {"id": "org_1"},
                "public_user_data": {"user_id": user}, "created_at": 1_760_000_000_150_u64, "updated_at": 1_760_000_000_150_u64}});
        server.sync(&format!("msg_{role}_{user}"), &member).await;
    }
    server.sync("msg_gone", &deletion("user_ada")).await;
}

const HOLD: &[(&str, &str)] = &[("organizations.sole_admin", "hold")];

#[tokio::test]
async fn a_held_deletion_is_released() {
    for server in Server::start_all(HOLD).await {
        held(&server).await;
        let list = server.admin("/v1/admin/deletions").await;
        assert_eq!(list["data"][0]["clerk_id"], "user_ada", "{}: {list}", server.name);
        assert!(list["data"][0]["reason"].as_str().unwrap().starts_with("hold.sole_admin"));
        assert_ne!(shown(&server, "user_ada").await["deletion_held_at"], Value::Null);
        // News of somebody whose deletion is held wait with it.
        server.sync("msg_ada_2", &person("user_ada", 2, json!({"first_name": "Late"}))).await;
        assert_eq!(state(&server, "msg_ada_2").await, "held");
        let released = server.post("/v1/admin/deletions/user_ada/release", ADMIN).await;
        assert_eq!((released.status, released.json()), (200, json!({"released": ["user_ada"]})));
        server.settle().await;
        assert_eq!(
            (state(&server, "msg_gone").await, state(&server, "msg_ada_2").await),
            (json!("done"), json!("skipped"))
        );
        assert_eq!(shown(&server, "user_ada").await, Value::Null);
        server.post("/v1/admin/deletions/user_ada/release", ADMIN).await.is_problem(409, "conflict_condition", "again");
        assert!(server.stop().await);
    }
}

#[tokio::test]
async fn a_held_deletion_is_cancelled() {
    for server in Server::start_all(HOLD).await {
        held(&server).await;
        server.sync("msg_ada_2", &person("user_ada", 2, json!({"first_name": "Late"}))).await;
        let cancelled = server.post("/v1/admin/deletions/user_ada/cancel", ADMIN).await;
        assert_eq!(cancelled.status, 200, "{}", server.name);
        server.settle().await;
        let ada = shown(&server, "user_ada").await;
        assert_eq!((ada["deletion_held_at"].clone(), ada["first_name"].clone()), (Value::Null, json!("Late")));
        let state = server.admin("/v1/admin/events/msg_gone").await["state"].clone();
        assert_eq!(state, "discarded");
        server.post("/v1/admin/deletions/user_ada/cancel", ADMIN).await.is_problem(409, "conflict_condition", "again");
        assert!(server.stop().await);
    }
}

#[tokio::test]
async fn who_returns_under_a_new_clerk_id_gets_the_stable_id_back() {
    for server in Server::start_all(&[]).await {
        let mail = json!({"email_addresses": [email("idn_1", "ada@example.com", true)]});
        server.sync("msg_old", &person("user_old", 1, mail.clone())).await;
        let id = shown(&server, "user_old").await["id"].clone();
        server.sync("msg_gone", &deletion("user_old")).await;
        server.sync("msg_other", &person("user_other", 1, json!({}))).await;
        server.sync("msg_new", &person("user_new", 2, mail)).await;
        // Read through the cache, so that it has something to forget.
        let given_up = server.read("/v1/users/user_new").await["id"].clone();
        server.read(&format!("/v1/users/{}", given_up.as_str().unwrap())).await;
        assert_ne!(id, given_up);
        let alerts = server.admin("/v1/admin/alerts").await;
        assert_eq!(alerts["data"][0]["kind"], "return.noticed", "{}", server.name);
        for (from, to) in [("user_old", "user_other"), ("user_other", "user_new"), ("user_none", "user_new")] {
            let refused = post(&server, "/v1/admin/relink", json!({"from": from, "to": to})).await;
            refused.is_problem(409, "conflict_condition", server.name);
        }
        let linked = post(&server, "/v1/admin/relink", json!({"from": "user_old", "to": "user_new"})).await;
        assert_eq!(linked.status, 200, "{}", linked.text);
        server.settle().await;
        server.caught_up("search:database").await;
        let new = shown(&server, "user_new").await;
        assert_eq!((new["id"].clone(), new["email"].clone()), (id.clone(), json!("ada@example.com")));
        let by_id = |id: &Value| format!("/v1/users/{}", id.as_str().unwrap());
        server.cached("user_new").await;
        assert_eq!(server.get(&by_id(&given_up), ADMIN).await.status, 404, "the other id is gone");
        assert_eq!(server.read(&by_id(&id)).await["clerk_id"], "user_new");
        assert_eq!(server.get("/v1/users/user_old", ADMIN).await.status, 404);
        let found = server.read("/v1/search/users?q=ada@example.com").await;
        let ids: Vec<&Value> = found["data"].as_array().unwrap().iter().map(|row| &row["id"]).collect();
        assert_eq!(ids, [&id], "search knows the person once");
        // The old Clerk id remains deleted for ever, and a later version of the new one applies to the kept row.
        server.sync("msg_old_2", &person("user_old", 9, json!({}))).await;
        assert_eq!(server.admin("/v1/admin/events/msg_old_2").await["outcome"], "tombstoned");
        server.sync("msg_new_2", &person("user_new", 9, json!({"first_name": "Again"}))).await;
        let again = shown(&server, "user_new").await;
        assert_eq!((again["id"].clone(), again["first_name"].clone()), (id, json!("Again")));
        assert!(server.stop().await);
    }
}
