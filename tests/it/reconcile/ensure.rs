//! One person, now: over HTTP, through one request to Clerk however many ask.

use clerk_sync::{
    clerk::simulated::{Endpoint, Failure, objects},
    clock::Clock,
    reconcile::ensure::Ensured,
};
use serde_json::{Value, json};
use std::time::Duration;

use super::{nobody, pairs, told};
use crate::support::{
    clerk::{Change, Kind, Simulated},
    issuer::{ISSUER, Issuer, PARTY},
};

async fn ask(base: &str, path: &str, token: &str) -> (u16, Value) {
    let client = reqwest::Client::new();
    let answer = client.post(format!("{base}/v1/users/{path}")).bearer_auth(token).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

fn person(clerk: &Simulated, name: &str) -> String {
    let at = Clock::system().now() - chrono::Duration::seconds(5);
    clerk.clerk.put_user(objects::user(name, "Person", &format!("{name}@example.com"), at))
}

#[tokio::test]
async fn the_row_is_there_after_one_question_however_many_ask() {
    let keys = [
        ("api.admin_token", "admin-token"),
        ("api.tokens", "reader:read:read-token,writer:write:write-token"),
        ("reconcile.every", "0s"),
        ("reconcile.full_every", "0s"),
        ("silence.after", "0s"),
    ];
    for (clerk, world) in pairs(nobody, &keys).await {
        let running = world.serve().await;
        let base = format!("http://{}", running.addr);
        let id = person(&clerk, "ada");
        clerk.modes.reset_counts();
        clerk.modes.set_latency(std::time::Duration::from_millis(150), std::time::Duration::ZERO);
        let path = format!("{id}/ensure");
        let many = futures_util::future::join_all((0..40).map(|_| ask(&base, &path, "admin-token"))).await;
        assert!(many.iter().all(|(status, row)| *status == 200 && row["clerk_id"] == *id), "{}: {many:?}", world.name);
        assert_eq!(clerk.modes.counts().of(Endpoint::User), 1, "{}", world.name);
        clerk.modes.set_latency(std::time::Duration::ZERO, std::time::Duration::ZERO);
        // It is here: nobody is asked.
        assert_eq!(ask(&base, &path, "write-token").await.0, 200);
        assert_eq!(clerk.modes.counts().of(Endpoint::User), 1, "{}", world.name);
        assert_eq!(ask(&base, &path, "read-token").await.0, 403);
        assert_eq!(ask(&base, &path, "nobody").await.0, 401);
        assert_eq!(ask(&base, "user_none/ensure", "admin-token").await.0, 404);
        assert_eq!(ask(&base, "user_none/ensure?wait=1", "admin-token").await.0, 404);
        assert_eq!(ask(&base, "user_none/ensure?wait=31", "admin-token").await.0, 422);
        assert_eq!(ask(&base, "user-1%2F..%2Fusers/ensure", "admin-token").await.0, 422);
        // Whoever was deleted is not brought back, even where Clerk still shows them.
        let gone = person(&clerk, "gone");
        let deleted = {
            clerk.clerk.delete_user(&gone);
            clerk.clerk.event(Kind::User, Change::Deleted, &gone).unwrap()
        };
        world.deliver("msg_gone", &deleted).await;
        world.drain().await;
        clerk.clerk.put_user(objects::user("gone", "Again", "gone@example.com", Clock::system().now()));
        assert_eq!(ask(&base, &format!("{gone}/ensure"), "admin-token").await.0, 404, "{}", world.name);
        // A rule keeps them out: which.
        let nameless = clerk.clerk.put_user(objects::user("", "", "nameless@example.com", Clock::system().now()));
        clerk.clerk.touch_user(&nameless, |user| {
            user["first_name"] = Value::Null;
            user["last_name"] = Value::Null;
        });
        let (status, problem) = ask(&base, &format!("{nameless}/ensure"), "admin-token").await;
        assert_eq!((status, &problem["code"]), (409, &Value::from("conflict_condition")), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("entry.require_name"), "{problem}");
        // Clerk is down: our fault, worth another try.
        let late = person(&clerk, "late");
        clerk.modes.fail_share(1.0, [Failure::Unavailable]);
        let (status, problem) = ask(&base, &format!("{late}/ensure"), "admin-token").await;
        assert_eq!((status, &problem["code"]), (503, &Value::from("not_ready")), "{problem}");
        clerk.modes.fail_share(0.0, []);
        // Not readable at Clerk yet: waited for.
        clerk.modes.set_freshness(std::time::Duration::from_secs(2));
        let fresh = clerk.clerk.put_user(objects::user("fresh", "Person", "f@example.com", Clock::system().now()));
        assert_eq!(ask(&base, &format!("{fresh}/ensure"), "admin-token").await.0, 404, "{}", world.name);
        assert_eq!(ask(&base, &format!("{fresh}/ensure?wait=10"), "admin-token").await.0, 200, "{}", world.name);
        clerk.modes.set_freshness(std::time::Duration::ZERO);
        running.stop().await;
    }
}

/// The page right after the sign-up: whoever has just come brings their session token.
#[tokio::test]
async fn a_person_ensures_themselves_and_nobody_else() {
    let pem = Issuer::ours().pem();
    let keys = [
        ("clerk.jwt_key", pem.as_str()),
        ("clerk.issuer", ISSUER),
        ("clerk.authorized_parties", PARTY),
        ("reconcile.every", "0s"),
        ("reconcile.full_every", "0s"),
        ("silence.after", "0s"),
    ];
    for (clerk, world) in pairs(nobody, &keys).await {
        let running = world.serve().await;
        let base = format!("http://{}", running.addr);
        let (ada, eve) = (person(&clerk, "ada"), person(&clerk, "eve"));
        let token = |id: &str| Issuer::ours().session(id, &format!("sess_{id}"), json!({}));
        clerk.modes.reset_counts();
        // Somebody else is not there for them, whether Clerk has them or not, and Clerk is not asked.
        let nobody = ask(&base, "user_none/ensure", &token(&ada)).await;
        assert_eq!((nobody.0, &nobody.1["code"]), (404, &json!("not_found")), "{}", world.name);
        for other in [eve.as_str(), "user_none", "019ab3f0-7e2c-7cc0-8f00-0123456789ab", "nonsense"] {
            for query in ["", "?wait=5"] {
                assert_eq!(ask(&base, &format!("{other}/ensure{query}"), &token(&ada)).await, nobody, "{other}");
            }
        }
        assert_eq!(clerk.modes.counts().of(Endpoint::User), 0, "{}", world.name);
        let (status, row) = ask(&base, "me/ensure", &token(&ada)).await;
        assert_eq!((status, &row["clerk_id"]), (200, &json!(ada)), "{}: {row}", world.name);
        assert_eq!(clerk.modes.counts().of(Endpoint::User), 1, "{}", world.name);
        // By either word, and now without asking Clerk.
        assert_eq!(ask(&base, &format!("{ada}/ensure"), &token(&ada)).await, (200, row));
        assert_eq!(clerk.modes.counts().of(Endpoint::User), 1, "{}", world.name);
        // Also once they are here others are not.
        assert_eq!(ask(&base, &format!("{ada}/ensure"), &token(&eve)).await, nobody);
        assert_eq!(ask(&base, "me/ensure?wait=31", &token(&eve)).await.0, 422);
        // Clerk knows of them in a moment: waited for, as long as is asked for.
        clerk.modes.set_freshness(std::time::Duration::from_secs(2));
        let fresh = clerk.clerk.put_user(objects::user("zoe", "Person", "z@example.com", Clock::system().now()));
        assert_eq!(ask(&base, "me/ensure", &token(&fresh)).await.0, 404, "{}", world.name);
        let (status, row) = ask(&base, "me/ensure?wait=10", &token(&fresh)).await;
        assert_eq!((status, &row["clerk_id"]), (200, &json!(fresh)), "{}: {row}", world.name);
        clerk.modes.set_freshness(std::time::Duration::ZERO);
        running.stop().await;
    }
}

/// A request that is given up takes what it began with it: the next one asks anew, and is answered by what is so then.
#[tokio::test]
async fn an_abandoned_request_leaves_nothing_behind() {
    for (clerk, world) in pairs(nobody, &[]).await {
        let ensurer = world.app.ensurer();
        let latency = Duration::from_millis(400);
        clerk.modes.set_latency(latency, Duration::ZERO);
        let abandoned = tokio::time::timeout(latency / 4, ensurer.ensure("user_late", Duration::ZERO)).await;
        assert!(abandoned.is_err() && ensurer.under_way() == 0, "{}", world.name);
        // Of two who wait one gives up: the other is answered by the same request.
        clerk.modes.reset_counts();
        let (one, other) = tokio::join!(
            tokio::time::timeout(latency / 4, ensurer.ensure("user_none", Duration::ZERO)),
            ensurer.ensure("user_none", Duration::ZERO)
        );
        assert!(one.is_err() && other.unwrap() == Ensured::Unknown, "{}", world.name);
        assert_eq!((clerk.modes.counts().of(Endpoint::User), ensurer.under_way()), (1, 0), "{}", world.name);
        clerk.modes.set_latency(Duration::ZERO, Duration::ZERO);
        let user = serde_json::json!({"id": "user_late", "first_name": "La", "last_name": "Te", "email_addresses": [
            {"id": "idn_1", "email_address": "late@example.com", "verification": {"status": "verified", "strategy": "email_code"}}]});
        clerk.clerk.put_user(user);
        assert_eq!(ensurer.ensure("user_late", Duration::ZERO).await.unwrap(), Ensured::Live, "{}", world.name);
    }
}

/// Whoever asks again and again is answered from memory: neither a stranger's token nor a refused user's spends what Clerk
/// allows.
#[tokio::test]
async fn answers_are_remembered_for_some_seconds() {
    for (clerk, world) in pairs(nobody, &[]).await {
        let ensurer = world.app.ensurer();
        let refused = person(&clerk, "nameless");
        clerk.clerk.touch_user(&refused, |user| {
            user["first_name"] = Value::Null;
            user["last_name"] = Value::Null;
        });
        for id in ["user_stranger", &refused] {
            clerk.modes.reset_counts();
            let mut answers = Vec::new();
            for _ in 0..50 {
                answers.push(ensurer.ensure(id, Duration::ZERO).await.unwrap());
            }
            assert!(answers.windows(2).all(|two| two[0] == two[1]), "{}: {answers:?}", world.name);
            assert!(!matches!(answers[0], Ensured::Live | Ensured::Deleted), "{}: {answers:?}", world.name);
            assert_eq!(clerk.modes.counts().of(Endpoint::User), 1, "{}: {id}", world.name);
        }
        // What becomes true here meanwhile is seen at once: only what Clerk says is remembered.
        told(&world, &clerk, Kind::User, Change::Updated, &person(&clerk, "ada")).await;
        let known = clerk.clerk.nth(Kind::User, clerk.clerk.count(Kind::User) - 1).unwrap();
        world.drain().await;
        assert_eq!(ensurer.ensure(&known, Duration::ZERO).await.unwrap(), Ensured::Live, "{}", world.name);
    }
}
