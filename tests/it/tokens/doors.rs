//! Every wrong token at both doors, and every right one, with one key and with keys that are published.

use std::time::Instant;

use serde_json::{Value, json};

use super::{
    bed::{Bed, is_not_ready, is_refused},
    wrong::{right, unpublished, wrong},
};
use crate::support::{
    issuer::{ISSUER, Issuer, claims, header, now},
    keys::{Double, Way},
    server::{ADMIN, Server},
};

async fn beds() -> Vec<Bed> {
    let mut beds = Bed::each(&[]).await;
    beds.extend(Bed::each_published(&[]).await);
    beds
}

#[tokio::test]
async fn a_wrong_token_opens_nothing() {
    let (tokens, unknown) = (wrong(Issuer::ours()), unpublished(Issuer::ours()));
    for bed in beds().await {
        bed.person("ada", 1, json!({})).await;
        bed.enter("ada").await;
        let before = bed.published.as_ref().map_or(0, |published| published.asked());
        for (what, token, _) in &tokens {
            is_refused(&bed, token, what).await;
        }
        let Some(published) = &bed.published else { continue };
        let (asked, since) = (published.asked(), Instant::now());
        assert_eq!(asked, before, "none of them made anybody ask for a key");
        for (what, token) in &unknown {
            is_refused(&bed, token, what).await;
        }
        let most = asked + 1 + usize::try_from(since.elapsed().as_secs() / 5).unwrap();
        assert!(published.asked() <= most, "{} times for names that nobody publishes", published.asked() - asked);
    }
}

#[tokio::test]
async fn a_right_token_opens_what_is_its_persons() {
    let tokens = right(Issuer::ours());
    for bed in beds().await {
        let id = bed.person("ada", 1, json!({})).await;
        for (what, token) in &tokens {
            let me = bed.server.get("/v1/users/me", token).await;
            assert_eq!(me.status, 200, "{what}: {}", me.text);
            assert_eq!(me.json()["id"], json!(id), "{what}");
            let welcome = bed.stranger().await.auth(token).await;
            assert_eq!(welcome["user"], json!({"id": id, "clerk_id": "user_ada", "actor": null}), "{what}");
            assert_eq!(welcome["epoch"], bed.server.app.meta.epoch, "{what}");
        }
        let asked = bed.published.as_ref().map_or(0, |published| published.asked());
        assert!(asked <= 2, "{}: once for each database, and for all of it: {asked}", bed.name());
    }
}

#[tokio::test]
async fn no_header_leads_to_another_key() {
    let evil = Issuer::new();
    let about_ada = claims("user_ada", "sess_ada", json!({}));
    let lure = Double::start(Way::Keys(vec![evil.jwk("ins_evil"), evil.jwk("ins_tests")])).await;
    for bed in beds().await {
        bed.person("ada", 1, json!({})).await;
        for kid in ["ins_tests", "ins_evil", lure.url.as_str()] {
            let header = header(json!({"kid": kid, "jku": lure.url, "x5u": lure.url, "jwk": evil.jwk(kid)}));
            is_refused(&bed, &evil.token(&header, &about_ada), kid).await;
        }
        let theirs = claims("user_ada", "sess_ada", json!({"iss": lure.url}));
        is_refused(&bed, &evil.token(&header(json!({})), &theirs), "an issuer of their own").await;
        // With our own signature the same headers are there, and nobody reads them.
        let ours = header(json!({"jku": lure.url, "x5u": lure.url, "jwk": evil.jwk("ins_tests")}));
        let token = Issuer::ours().token(&ours, &about_ada);
        assert_eq!(bed.server.get("/v1/users/me", &token).await.status, 200, "{}", bed.name());
    }
    assert_eq!(lure.asked(), 0);
}

#[tokio::test]
async fn who_acts_as_somebody_is_named_to_the_page_and_cannot_change() {
    for bed in Bed::each(&[]).await {
        let id = bed.person("ada", 1, json!({})).await;
        let acted = |actor: &str| bed.token_with("ada", json!({"act": {"iss": "x", "sub": actor}}));
        let mut client = bed.stranger().await;
        let welcome = client.auth(&acted("user_support")).await;
        assert_eq!(welcome["user"], json!({"id": id, "clerk_id": "user_ada", "actor": "user_support"}));
        assert_eq!(client.auth(&acted("user_support")).await["user"], welcome["user"]);
        // What they see is what the person sees.
        let me = bed.server.get("/v1/users/me", &acted("user_support")).await;
        assert_eq!(me.text, bed.server.get("/v1/users/me", &bed.token("ada")).await.text);
        for other in [acted("user_other"), bed.token("ada")] {
            let mut client = bed.enter_with(&acted("user_support")).await;
            client.say(json!({"type": "auth", "token": other})).await;
            assert_eq!(client.closed().await.1, 4401);
        }
    }
}

#[tokio::test]
async fn a_party_can_be_required() {
    for bed in Bed::each(&[("clerk.require_azp", "true")]).await {
        bed.person("ada", 1, json!({})).await;
        is_refused(&bed, &bed.token_with("ada", json!({"azp": null})), "no party").await;
        assert_eq!(bed.server.get("/v1/users/me", &bed.token("ada")).await.status, 200);
    }
}

#[tokio::test]
async fn within_the_leeway_a_request_is_answered_but_no_connection_opened() {
    for bed in Bed::each(&[]).await {
        bed.person("ada", 1, json!({})).await;
        let token = bed.token_with("ada", json!({"exp": now() - 1}));
        assert_eq!(bed.server.get("/v1/users/me", &token).await.status, 200);
        let mut client = bed.stranger().await;
        client.say(json!({"type": "auth", "token": token})).await;
        assert_eq!(client.closed().await, (Vec::<Value>::new(), 4401));
    }
}

#[tokio::test]
async fn without_a_key_no_session_token_is_one() {
    for server in Server::start_all(&[("clerk.issuer", ISSUER)]).await {
        let bed = Bed::of(server);
        bed.person("ada", 1, json!({})).await;
        is_refused(&bed, &bed.token("ada"), "no key").await;
    }
}

/// Whoever needs no keys does not wait for them.
#[tokio::test]
async fn without_published_keys_the_tokens_of_admins_and_services_are_what_they_are() {
    let keys = Double::start(Way::Hang).await;
    let server = Server::start(&super::bed::published(&keys.url)).await;
    let bed = Bed::of(server);
    bed.person("ada", 1, json!({})).await;
    let since = Instant::now();
    bed.server.read("/v1/users/user_ada").await;
    bed.admin().await;
    assert_eq!(bed.server.get("/readyz", "").await.status, 200);
    bed.server.get("/v1/users/user_ada", "no token of ours").await.is_problem(401, "unauthenticated", "garbage");
    bed.server.get("/v1/users/user_ada", &ADMIN[1..]).await.is_problem(401, "unauthenticated", "nearly the admin's");
    assert!(since.elapsed().as_secs() < 3);
    is_not_ready(&bed, &bed.token("ada"), "nothing to verify it with").await;
}
