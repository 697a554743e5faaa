//! Set-ups with one broken thing: that one is named, and no other.

use std::time::{Duration, Instant};

use sea_orm::ConnectionTrait as _;
use tokio::net::TcpListener;

use super::bed::{KEY, clerk, doctor, leading_to, said};
use crate::support::{
    dump,
    meili::{self, Double},
    people::user,
    process::SECRET,
    services,
    world::{postgres, sqlite},
};

/// Nothing listens there.
const CLOSED: &str = "127.0.0.1:1";

#[tokio::test]
async fn a_setting_that_is_wrong_is_the_one_that_is_named() {
    let world = sqlite(&[]).await;
    let url = world.app.config.database.url.expose().to_owned();
    let second = format!("{SECRET},whsec_t0psecret not base64");
    let secret = "CLERK_WEBHOOK_SIGNING_SECRET";
    let issuer = ("CLERK_ISSUER", "https://clerk.tests.example");
    for (environment, check, remedy) in [
        (vec![(secret, "")], "signing-secret", secret),
        (vec![(secret, "whsec_t0psecret not base64")], "signing-secret", secret),
        (vec![(secret, "whsec_")], "signing-secret", secret),
        (vec![(secret, second.as_str())], "signing-secret", secret),
        (vec![("REDIS_URL", "t0psecret")], "redis", "REDIS_URL"),
        (vec![("REDIS_URL", "redis://:t0psecret@127.0.0.1:1")], "redis", "REDIS_URL"),
        (vec![("MEILI_URL", "http://127.0.0.1:1"), ("MEILI_MASTER_KEY", "t0psecret")], "meilisearch", "MEILI_URL"),
        (vec![("MEILI_URL", "t0psecret")], "meilisearch", "MEILI_URL"),
        (vec![("CLERK_SECRET_KEY", "pk_t0psecret")], "api-key", "serve"),
        (vec![("CLERK_SECRET_KEY", KEY), ("CLERK_API_URL", "http://127.0.0.1:1/v1")], "api-key", "CLERK_API_URL"),
        (vec![("CLERK_SYNC__CLERK__CONFIRM", "required")], "api-key", "CLERK_SECRET_KEY"),
        (vec![("CLERK_SYNC_API_TOKENS", "reader:all:t0psecret")], "api-tokens", "CLERK_SYNC_API_TOKENS"),
        (vec![("CLERK_JWT_KEY", "t0psecret")], "session-tokens", "CLERK_JWT_KEY"),
        (vec![("CLERK_JWKS_URL", "t0psecret"), issuer], "session-tokens", "CLERK_JWKS_URL"),
        (vec![("CLERK_JWKS_URL", "http://h.example/t0psecret"), issuer], "session-tokens", "CLERK_JWKS_URL"),
        (vec![("CLERK_JWKS_URL", "http://127.0.0.1:1/t0psecret")], "session-tokens", "CLERK_ISSUER"),
        (vec![("CLERK_JWKS_URL", "http://127.0.0.1:1/t0psecret"), issuer], "session-tokens", "CLERK_JWKS_URL"),
        (vec![("CLERK_SYNC__ALERTS__MAIL_TO", "t0psecret")], "alerts", "MAIL_TO"),
        (vec![("CLERK_SYNC__ALERTS__WEBHOOK_URL", "http://h.example/t0psecret")], "alerts", "WEBHOOK_URL"),
    ] {
        doctor(&url, &environment).await.names(check, remedy);
    }
    let (code, text) = said(&["doctor"], &url, &[(secret, &second)]).await;
    let at = text.find("FAIL  signing-secret  signing secret 2 of 2 is not whsec_ and base64\n").unwrap();
    let next = text[at..].lines().nth(1).unwrap();
    assert!(next.trim_start().starts_with("Copy the signing secret"), "what to do is on the next line: {next}");
    assert_eq!((code, text.lines().last().unwrap()), (1, "wrong: signing-secret"));
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named_and_what_depends_on_it_is_not() {
    let report = doctor(&format!("postgres://u:t0psecret@{CLOSED}/db"), &[]).await;
    report.names("database", "DATABASE_URL");
    assert_eq!(report.about("database").1, format!("nothing listens at {CLOSED}"));
    let depends = ["migrations", "notify", "instance", "deliveries", "event-types", "entry", "inbox"];
    assert!(depends.iter().all(|check| report.about(check).0 == "skip"), "{:#?}", report.lines);
    doctor("postgres://u:t0psecret@no-such-host.invalid/db", &[]).await.names("database", "DATABASE_URL");
    doctor("mysql://u:t0psecret@h/db", &[]).await.names("database", "DATABASE_URL");
    doctor("sqlite::memory:", &[]).await.names("database", "DATABASE_URL");
    if let Some(server) = services::postgres() {
        let other = server.url().replace("/t_", "/no_");
        let report = doctor(&other, &[]).await;
        report.names("database", "createdb");
        assert!(report.about("database").1.contains("has no database of that name"));
    }
}

#[tokio::test]
async fn a_file_that_is_not_there_is_not_made() {
    let (folder, url) = services::sqlite();
    let deeper = url.replace("test.db", "deeper/test.db");
    for url in [&url, &deeper, &format!("{url}?mode=rwc")] {
        doctor(url, &[]).await.names("database", "migrate up");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let file = folder.path().join("test.db");
    std::fs::write(
        &file,
        "this is a text and no database, and it is longer than a hundred characters, which is what a header has",
    )
    .unwrap();
    doctor(&url, &[]).await.names("database", "DATABASE_URL");
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_named() {
    let world = sqlite(&[]).await;
    let url = format!("{}?mode=ro", world.app.config.database.url.expose());
    doctor(&url, &[]).await.names("database", "mode=ro");
}

#[tokio::test]
async fn tables_that_are_missing_old_or_too_new_are_named_and_left() {
    let mut urls = Vec::new();
    if let Some(fresh) = services::postgres() {
        doctor(fresh.url(), &[]).await.names("migrations", "clerk-sync migrate up");
        let report = doctor(fresh.url(), &[("CLERK_SYNC__DATABASE__SCHEMA", "Other")]).await;
        report.names("migrations", "clerk-sync migrate up");
        let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(fresh.url()).await.unwrap();
        let schemas = "select nspname from pg_namespace where nspname in ('clerk_sync', 'other')";
        assert!(sqlx::query(schemas).fetch_all(&mut connection).await.unwrap().is_empty(), "no schema is made");
    }
    let worlds = [Some(sqlite(&[]).await), postgres(&[]).await];
    for world in worlds.into_iter().flatten() {
        let url = world.app.config.database.url.expose().to_owned();
        urls.push(url.clone());
        let run = |sql: &'static str| async { world.app.db.write.execute_unprepared(sql).await.unwrap() };
        run("delete from clerk_sync.seaql_migrations where version = (select max(version) from clerk_sync.seaql_migrations)").await;
        let before = dump::everything(&world.app.db).await;
        let report = doctor(&url, &[]).await;
        report.names("migrations", "clerk-sync migrate up");
        assert!(report.about("migrations").1.starts_with("1 of "), "{:?}", report.about("migrations"));
        assert_eq!(dump::everything(&world.app.db).await, before);
        run("insert into clerk_sync.seaql_migrations (version, applied_at) values ('m29990101_000001_later', 0)").await;
        let report = doctor(&url, &[]).await;
        report.names("migrations", "Use that version");
        assert!(report.about("migrations").1.contains("m29990101_000001_later"));
    }
    assert!(!urls.is_empty());
}

#[tokio::test]
async fn a_key_that_meilisearch_refuses_is_named() {
    let world = sqlite(&[]).await;
    let meili = Double::start().await;
    let url = world.app.config.database.url.expose().to_owned();
    let wrong = [("MEILI_URL", meili.url()), ("MEILI_MASTER_KEY", "t0psecret")];
    doctor(&url, &wrong).await.names("meilisearch", "MEILI_MASTER_KEY");
    doctor(&url, &wrong[..1]).await.names("meilisearch", "MEILI_MASTER_KEY");
    let right = [("MEILI_URL", meili.url()), ("MEILI_MASTER_KEY", meili::KEY)];
    meili.fail(|faults| faults.read_only = true);
    doctor(&url, &right).await.names("meilisearch", "MEILI_MASTER_KEY");
    meili.fail(|faults| faults.answer = Some((500, "internal")));
    doctor(&url, &right).await.names("meilisearch", "MEILI_URL");
}

#[tokio::test]
async fn a_key_that_clerk_refuses_or_that_is_of_another_instance_is_named() {
    let world = sqlite(&[]).await;
    let url = world.app.config.database.url.expose().to_owned();
    let clerk = clerk().await;
    let [_, api] = leading_to(&clerk);
    doctor(&url, &[("CLERK_SECRET_KEY", "sk_live_t0psecret_old"), api]).await.names("api-key", "CLERK_SECRET_KEY");
    let nowhere = clerk.url.replace("/v1", "/v2");
    doctor(&url, &[("CLERK_SECRET_KEY", KEY), ("CLERK_API_URL", &nowhere)]).await.names("api-key", "CLERK_API_URL");

    let named = [leading_to(&clerk).as_slice(), &[("CLERK_SYNC__CLERK__INSTANCE_ID", "ins_tests")]].concat();
    let report = doctor(&url, &named).await;
    report.names("instance", "CLERK_SECRET_KEY");
    let ours = clerk.clerk.instance_id();
    assert!(report.about("instance").1.contains(ours) && report.about("instance").1.contains("ins_tests"));

    // No instance is configured, but the deliveries are of one.
    world.deliver("msg_ada", &user("ada", 1)).await;
    world.drain().await;
    let report = doctor(&url, &leading_to(&clerk)).await;
    report.names("instance", "CLERK_SECRET_KEY");
    assert!(report.about("instance").1.contains(ours) && report.about("instance").1.contains("ins_tests"));
}

/// Things that take a connection and never answer.
#[tokio::test]
async fn what_hangs_is_named_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = silent.local_addr().unwrap();
    let world = sqlite(&[]).await;
    let url = world.app.config.database.url.expose().to_owned();
    let (redis, http) = (format!("redis://{at}"), format!("http://{at}/v1"));
    let started = Instant::now();
    doctor(&format!("postgres://u:t0psecret@{at}/db"), &[]).await.names("database", "firewall");
    doctor(&url, &[("REDIS_URL", &redis)]).await.names("redis", "REDIS_URL");
    doctor(&url, &[("MEILI_URL", &http)]).await.names("meilisearch", "MEILI_URL");
    doctor(&url, &[("CLERK_SECRET_KEY", KEY), ("CLERK_API_URL", &http)]).await.names("api-key", "CLERK_API_URL");
    assert!(started.elapsed() < Duration::from_secs(30), "each within its five seconds");
}

#[tokio::test]
async fn a_volume_that_is_nearly_full_is_told_before_it_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_volume) = crate::support::volume::Volume::mount(32, folder.path()) else { return };
    let url = format!("sqlite://{}", folder.path().join("test.db").display());
    let mut config = crate::support::world::config(&[]);
    config.database.url = clerk_sync::config::Secret::from(url.as_str());
    let db = clerk_sync::db::connect(&config.database).await.unwrap();
    clerk_sync::db::migrate(&db).await.unwrap();
    let report = doctor(&url, &[]).await;
    let (level, found, remedy) = report.about("disk");
    assert_eq!(level, "warn", "{found}");
    assert!(found.ends_with("MiB free on the volume of the database") && remedy.contains("room"), "{found}: {remedy}");
}
