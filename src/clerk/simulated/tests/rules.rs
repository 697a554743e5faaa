//! What is refused, and how.

use std::time::Duration;

use super::{
    super::{Failure, Kind, RetryAfter},
    *,
};

#[tokio::test]
async fn wrong_parameters_are_422() {
    let sim = Sim::new(20, 2, 10);
    let somebody = sim.world.nth(Kind::User, 3).unwrap();
    let many = |name: &str| (0..101).map(|n| format!("{name}={n}")).collect::<Vec<_>>().join("&");
    for (path, code) in [
        (format!("/users?starting_after={somebody}&order_by=updated_at"), "form_conditional_param_disallowed"),
        (format!("/users?starting_after={somebody}&order_by=-last_name"), "form_conditional_param_disallowed"),
        (format!("/users?starting_after={somebody}&offset=1"), "form_conditional_param_disallowed"),
        ("/users?starting_after=user_nobody".to_owned(), "form_resource_not_found"),
        ("/users?order_by=-age".to_owned(), "form_param_value_invalid"),
        ("/users?order_by=+created_at".to_owned(), "form_param_value_invalid"),
        ("/users?limit=ten".to_owned(), "form_param_type_invalid"),
        ("/users?offset=-1".to_owned(), "form_param_type_invalid"),
        ("/users?created_at_after=yesterday".to_owned(), "form_param_invalid_date"),
        ("/users?banned=perhaps".to_owned(), "form_param_type_invalid"),
        ("/users?provider=oauth_google".to_owned(), "form_conditional_param_missing"),
        ("/users?user_id[]=a".to_owned(), "form_param_unknown"),
        ("/users?updated_at_after=1".to_owned(), "form_param_unknown"),
        ("/users/count?limit=1".to_owned(), "form_param_unknown"),
        (format!("/users?{}", many("user_id")), "form_param_array_size_exceeded"),
        (format!("/users/count?{}", many("email_address")), "form_param_array_size_exceeded"),
        (format!("/organizations?{}", many("organization_id")), "form_param_array_size_exceeded"),
        ("/organizations?order_by=updated_at".to_owned(), "form_param_value_invalid"),
        ("/organization_memberships?order_by=role".to_owned(), "form_param_value_invalid"),
        ("/organization_memberships?starting_after=x".to_owned(), "form_param_unknown"),
    ] {
        assert_eq!(sim.refused(&path).await, (422, code.to_owned()), "{path}");
    }
    for path in ["offset=0", "order_by=%2Bcreated_at", "order_by=-created_at"] {
        assert_eq!(sim.get(&format!("/users?starting_after={somebody}&{path}")).await.0, 200, "{path}");
    }
    sim.modes.refuse_limits(true);
    assert_eq!(sim.refused("/users?limit=501").await.0, 422);
}

#[tokio::test]
async fn what_is_not_there_is_404() {
    let sim = Sim::new(20, 2, 10);
    let (user, organization) = (sim.world.nth(Kind::User, 3).unwrap(), sim.world.nth(Kind::Organization, 1).unwrap());
    let slug = sim.world.organization(&organization).unwrap()["slug"].as_str().unwrap().to_owned();
    assert_eq!(id(&sim.get(&format!("/users/{user}")).await.1), user);
    assert_eq!(id(&sim.get(&format!("/organizations/{slug}")).await.1), organization);
    sim.world.delete_user(&user);
    sim.world.delete_organization(&organization);
    for path in [
        format!("/users/{user}"),
        format!("/users/{user}/organization_memberships"),
        "/users/user_nobody".to_owned(),
        format!("/organizations/{organization}"),
        format!("/organizations/{slug}"),
        format!("/organizations/{organization}/memberships"),
        "/nothing".to_owned(),
    ] {
        assert_eq!(sim.refused(&path).await, (404, "resource_not_found".to_owned()), "{path}");
    }
    let (_, body) = sim.get("/users/user_nobody").await;
    assert_eq!(body["errors"][0]["long_message"], "No user was found with id user_nobody");
}

#[tokio::test]
async fn the_cursor_of_somebody_deleted_is_refused_unless_it_is_known() {
    let sim = Sim::new(20, 0, 0);
    let ids = sim.world.ids(Kind::User, 0, 20);
    sim.world.delete_user(&ids[7]);
    let path = format!("/users?order_by=created_at&starting_after={}", ids[7]);
    assert_eq!(sim.refused(&path).await.1, "form_resource_not_found");
    sim.modes.deleted_cursors(true);
    assert_eq!(sim.ids(&path).await, ids[8..18]);
}

#[tokio::test]
async fn keys_and_versions() {
    let sim = Sim::new(1, 0, 0);
    sim.modes.set_key(Some("sk_test_right"));
    let ask = async |path: &str, headers: &[(&str, &str)]| {
        let (status, body) = read(sim.ask(path, headers).await).await;
        (status, body["errors"][0]["code"].as_str().unwrap_or("").to_owned())
    };
    let key = ("authorization", "Bearer sk_test_right");
    assert_eq!(ask("/users", &[]).await, (401, "authorization_header_format_invalid".into()));
    assert_eq!(ask("/users", &[("authorization", "sk_test_right")]).await.1, "authorization_header_format_invalid");
    assert_eq!(ask("/users", &[("authorization", "Bearer sk_test_wrong")]).await, (401, "clerk_key_invalid".into()));
    assert_eq!(ask("/nothing", &[]).await.0, 401, "the key comes before the path");
    assert_eq!(ask("/users", &[key]).await.0, 200);
    assert_eq!(ask("/users", &[key, ("clerk-api-version", "2026-05-12")]).await.0, 200);
    assert_eq!(ask("/users?__clerk_api_version=2025-11-10", &[key]).await.0, 200);
    let refused = (400, "api_version_invalid".to_owned());
    assert_eq!(ask("/users", &[key, ("clerk-api-version", "2026-05-13")]).await, refused);
    let both = ask("/users?__clerk_api_version=2026-05-12", &[key, ("clerk-api-version", "2026-05-12")]).await;
    assert_eq!(both, refused);
}

#[tokio::test]
async fn whoever_is_new_is_not_there_yet() {
    let sim = Sim::new(20, 2, 0);
    sim.modes.set_freshness(Duration::from_secs(5));
    let new = sim.world.put_user(person("new@example.com", NOW));
    let paths = ["/users?order_by=-updated_at", "/users", "/users?query=new@"];
    let one = format!("/users?user_id={new}");
    for path in paths.into_iter().chain([one.as_str()]) {
        assert!(!sim.ids(path).await.contains(&new), "{path}");
    }
    assert_eq!(sim.refused(&format!("/users/{new}")).await.0, 404);
    assert_eq!(sim.get("/users/count").await.1["total_count"], 20);
    sim.pass(5_000);
    for path in paths.into_iter().chain([one.as_str()]) {
        assert!(sim.ids(path).await.contains(&new), "{path}");
    }
    assert_eq!((sim.get(&format!("/users/{new}")).await.0, sim.ids("/users?limit=500").await.len()), (200, 21));
}

#[tokio::test]
async fn beyond_the_limit_is_429_until_the_window_ends() {
    let sim = Sim::new(1, 0, 0);
    sim.modes.set_rate_limit(Some(3));
    for _ in 0..3 {
        assert_eq!(sim.get("/users").await.0, 200);
        sim.pass(1_000);
    }
    let response = sim.ask("/users/count", &[]).await;
    assert_eq!((response.status().as_u16(), response.headers()["retry-after"].to_str().unwrap()), (429, "7"));
    assert_eq!(sim.get("/jwks").await.0, 200, "never limited");
    sim.pass(7_000);
    assert_eq!(sim.get("/users").await.0, 200);
    let counts = sim.modes.counts();
    assert_eq!((counts.total(), counts.answered(429), counts.answered(200)), (6, 1, 5));
}

#[tokio::test]
async fn failures_come_as_they_were_ordered() {
    let sim = Sim::new(3, 0, 0);
    let text = |text: &str| RetryAfter::Text(text.to_owned());
    sim.modes.fail_next([
        Failure::TooMany(RetryAfter::Seconds(2)),
        Failure::TooMany(RetryAfter::Nothing),
        Failure::TooMany(text("soon")),
        Failure::Internal,
        Failure::BadGateway,
        Failure::Unavailable,
        Failure::EmptyNotFound,
        Failure::Html,
        Failure::Garbled,
        Failure::OtherShape,
    ]);
    let mut seen = Vec::new();
    for _ in 0..10 {
        let response = sim.ask("/users", &[]).await;
        let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (status, kind, after) = (response.status().as_u16(), header("content-type"), header("retry-after"));
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        let json = serde_json::from_slice::<Value>(&body).is_ok();
        seen.push((status, kind.is_some_and(|kind| kind.contains("json")), json, body.is_empty(), after));
    }
    let expected: Vec<(u16, bool, bool, bool, Option<&str>)> = vec![
        (429, true, true, false, Some("2")),
        (429, true, true, false, None),
        (429, true, true, false, Some("soon")),
        (500, true, true, false, None),
        (502, false, false, false, None),
        (503, false, false, true, None),
        (404, false, false, true, None),
        (200, false, false, false, None),
        (200, true, false, false, None),
        (200, true, true, false, None),
    ];
    let seen: Vec<_> = seen.iter().map(|(a, b, c, d, e)| (*a, *b, *c, *d, e.as_deref())).collect();
    assert_eq!(seen, expected);
    assert_eq!(sim.get("/users").await.0, 200);
}

#[tokio::test]
async fn the_world_changes_when_it_was_told_to() {
    let sim = Sim::new(5, 0, 0);
    let modes = sim.modes.clone();
    sim.modes.after_requests(2, move |world| {
        world.put_user(person("third@example.com", NOW));
        // A hook may set modes.
        modes.fail_next([Failure::Internal]);
    });
    assert_eq!((sim.ids("/users").await.len(), sim.ids("/users").await.len()), (5, 5));
    assert_eq!(sim.get("/users").await.0, 500);
    assert_eq!((sim.ids("/users").await.len(), sim.ids("/users").await.len()), (6, 6));
}
