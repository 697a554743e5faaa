//! Set-ups that work.

use clerk_sync::db::Db;
use serde_json::json;

use super::bed::{KEY, clerk, doctor, leading_to, said};
use crate::support::{
    clerk::Simulated,
    dump,
    meili::{self, Double},
    people::user,
    process::SECRET,
    services,
    world::{World, worlds},
};

/// Everything that a `doctor` might have changed.
async fn state(db: &Db, url: &str) -> (String, Option<Vec<u8>>) {
    let file = url.strip_prefix("sqlite://").map(|path| std::fs::read(path).unwrap());
    (dump::everything(db).await, file)
}

/// Some deliveries of the instance that this Clerk is.
async fn story(world: &World, clerk: &Simulated) {
    for name in ["ada", "ben"] {
        let mut body = user(name, 1);
        body["instance_id"] = json!(clerk.clerk.instance_id());
        world.deliver(&format!("msg_{name}"), &body).await;
    }
    world.drain().await;
}

#[tokio::test]
async fn what_works_is_called_so_and_left_as_it_is() {
    for world in worlds(&[]).await {
        let clerk = clerk().await;
        story(&world, &clerk).await;
        let url = world.app.config.database.url.expose().to_owned();
        let before = state(&world.app.db, &url).await;
        let (code, text) = said(&["doctor"], &url, &leading_to(&clerk)).await;
        assert_eq!(code, 0, "{}: {text}", world.name);
        assert!(text.ends_with("\nnothing is wrong\n") && !text.contains("FAIL"), "{text}");
        let report = doctor(&url, &leading_to(&clerk)).await;
        assert!(report.of("warn").is_empty(), "{}: {:#?}", world.name, report.lines);
        if world.name == "sqlite" {
            assert!(report.about("disk").1.ends_with("MiB free on the volume of the database"), "{:?}", report.lines);
        }
        for check in ["signing-secret", "database", "migrations", "notify", "clock", "api-key", "instance", "inbox"] {
            assert_eq!(report.about(check).0, "ok", "{}: {:?}", world.name, report.about(check));
        }
        assert!(report.about("api-key").1.contains("with 3 people"), "{:?}", report.about("api-key"));
        assert!(report.about("deliveries").1.ends_with("2 deliveries looked through"));
        assert_eq!(state(&world.app.db, &url).await, before, "{}", world.name);
    }
}

#[tokio::test]
async fn redis_and_meilisearch_are_tried_and_left_as_they_are() {
    let Some((redis, prefix)) = services::redis() else { return };
    let Some(world) = crate::support::world::postgres(&[]).await else { return };
    let meili = Double::start().await;
    let environment = [
        ("REDIS_URL", redis.as_str()),
        ("CLERK_SYNC__REDIS__PREFIX", &prefix),
        ("MEILI_URL", meili.url()),
        ("MEILI_MASTER_KEY", meili::KEY),
    ];
    let url = world.app.config.database.url.expose().to_owned();
    let report = doctor(&url, &environment).await;
    assert_eq!(report.code, 0, "{:#?}", report.lines);
    assert_eq!(report.about("redis").0, "ok");
    let (level, found, remedy) = report.about("meilisearch");
    assert_eq!(level, "note", "{found}");
    assert!(remedy.contains("serve") && meili.indexes().is_empty());
    assert!(!meili.requests().iter().any(|request| request.starts_with("POST /indexes ")));
    let keys: Vec<String> = {
        let client = redis::Client::open(redis.as_str()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        redis::cmd("KEYS").arg(format!("{prefix}*")).query_async(&mut connection).await.unwrap()
    };
    assert!(keys.is_empty(), "{keys:?}");

    // With an index that is there.
    let made = world.replica(&[("meili.url", meili.url().into()), ("meili.master_key", meili::KEY.into())]).await;
    made.sinks.search.search.prepare().await.unwrap();
    let (indexes, index) = (meili.indexes(), meili.indexes()[0].clone());
    let report = doctor(&url, &environment).await;
    assert_eq!(report.about("meilisearch").0, "ok", "{:?}", report.about("meilisearch"));
    assert!(meili.documents(&index).is_empty() && meili.indexes() == indexes);
}

/// What is left out is a note or nothing, never a reason to fail.
#[tokio::test]
async fn what_nobody_configured_is_no_fault() {
    let world = crate::support::world::sqlite(&[]).await;
    let url = world.app.config.database.url.expose().to_owned();
    let report = doctor(&url, &[]).await;
    assert_eq!((report.code, report.of("FAIL").len(), report.of("warn").len()), (0, 0, 0));
    assert_eq!(report.of("note"), ["api-key", "instance", "deliveries", "admin-token", "session-tokens", "alerts"]);
    let several = format!("{SECRET},{SECRET}");
    let all = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", several.as_str()),
        ("CLERK_SYNC_ADMIN_TOKEN", "t0psecret"),
        ("CLERK_SYNC__ALERTS__MAIL_TO", "ops@example.com"),
        ("SMTP_URL", "smtp://u:t0psecret@mail.example.com"),
    ];
    let report = doctor(&url, &all).await;
    assert_eq!(report.of("note"), ["api-key", "instance", "deliveries", "session-tokens"]);
    assert_eq!(report.about("signing-secret").1, "2, all well formed");
}

#[tokio::test]
async fn a_development_key_beside_postgres_is_noted() {
    let Some(world) = crate::support::world::postgres(&[]).await else { return };
    let clerk = clerk().await;
    clerk.modes.set_key(None);
    let url = world.app.config.database.url.expose().to_owned();
    let test = KEY.replace("live", "test");
    let report = doctor(&url, &[("CLERK_SECRET_KEY", &test), ("CLERK_API_URL", &clerk.url)]).await;
    assert_eq!((report.code, report.about("api-key").0), (0, "note"), "{:?}", report.about("api-key"));
}
