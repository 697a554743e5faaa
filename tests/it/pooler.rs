//! Postgres behind a transaction pooler: nothing that correctness needs lives in a session.

use std::time::Duration;

use clerk_sync::{app::App, clock::Clock, config::Secret, db::Stmt};
use reqwest::Method;
use sqlx::{Connection as _, PgConnection, Row as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{
    organizations::{member, organization},
    people::user,
    pgbouncer::PgBouncer,
    pooler::Pooler,
    process::free_port,
    server::{ADMIN, Server},
    services,
    world::config,
};

/// Runs statements in an application's own session.
async fn run(client: &mut PgConnection, sql: &'static str) {
    sqlx::Executor::execute(client, sqlx::raw_sql(sql)).await.unwrap();
}

async fn connect(url: &str) -> anyhow::Result<App> {
    let mut config = config(&[]);
    config.database.url = Secret::from(url);
    App::connect(config, Clock::system(), true).await
}

/// Two replicas and an application's own clients share the sessions of one pool.
#[tokio::test]
async fn replicas_work_and_leave_nothing_in_the_sessions_of_others() {
    let Some(postgres) = services::postgres() else { return };
    let pooler = Pooler::start(postgres.url(), 16).await;
    let options = pooler.url().parse::<sqlx::postgres::PgConnectOptions>().unwrap().extra_float_digits(None);
    let mut other = PgConnection::connect_with(&options).await.unwrap();
    // What an application may have in its own schema: our names, and functions that would fit our calls.
    run(&mut other, "create table public.users (name text); insert into public.users values ('theirs')").await;
    run(
        &mut other,
        "create function public.unnest(text[]) returns setof text language plpgsql as
            $$ begin raise exception 'an application''s own'; end $$",
    )
    .await;
    run(
        &mut other,
        "create function public.pg_notify(text, text) returns void language plpgsql as
            $$ begin raise exception 'an application''s own'; end $$",
    )
    .await;
    let one = Server::open("pooled", pooler.url(), &[], Box::new(())).await;
    let two = Server::open("pooled", pooler.url(), &[], Box::new(())).await;
    assert!(one.app.db.listen_pool().is_none(), "nobody listens in a session that is not theirs");
    one.sync("msg_org", &organization("books", "p0", 1)).await;
    for n in 0..30 {
        let server = if n % 2 == 0 { &one } else { &two };
        assert_eq!(server.deliver(&format!("msg_{n}"), &user(&format!("p{n}"), 1)).await, 200);
        assert_eq!(
            server.deliver(&format!("msg_m{n}"), &member("books", &format!("p{n}"), 2, "org:member")).await,
            200
        );
    }
    one.settle().await;
    let db = &one.app.db.read;
    let states = Stmt::new(db, "select distinct state as t from clerk_sync.inbox").all(db).await.unwrap();
    assert_eq!(states.iter().map(|row| row.try_get::<String>("", "t").unwrap()).collect::<Vec<_>>(), ["done"]);
    for server in [&one, &two] {
        let members = server.request(Method::GET, "/v1/organizations/org_books/members?limit=100", ADMIN);
        let members: serde_json::Value = members.send().await.unwrap().json().await.unwrap();
        assert_eq!(members["data"].as_array().unwrap().len(), 30);
        server.caught_up("search:database").await;
        let found = server.admin("/v1/search/users?q=p7").await;
        assert_eq!(found["data"][0]["clerk_id"], "user_p7", "{found}");
    }
    // The application's sessions are as they were.
    let mut sessions = std::collections::BTreeSet::new();
    for _ in 0..60 {
        let row = sqlx::query(
            "select pg_backend_pid() as pid, (select string_agg(name, ' ') from pg_settings where source = 'session'
                and name not in ('client_encoding', 'DateStyle', 'TimeZone', 'application_name',
                    'transaction_isolation', 'transaction_read_only')) as set,
                (select string_agg(name, ' ') from users) as people",
        )
        .fetch_one(&mut other)
        .await
        .unwrap();
        sessions.insert(row.get::<i32, _>("pid"));
        assert_eq!(row.get::<Option<String>, _>("set"), None, "a setting of ours is left");
        assert_eq!(row.get::<Option<String>, _>("people").as_deref(), Some("theirs"));
    }
    assert!(sessions.len() > 2 && pooler.transactions() > 100, "the sessions are shared: {sessions:?}");
    assert!(one.stop().await && two.stop().await);
    drop(postgres);
}

/// Whatever the server's default is, and whatever others have set in the session.
#[tokio::test]
async fn what_is_acknowledged_is_on_the_disk() {
    let Some(postgres) = services::postgres() else { return };
    let pooler = Pooler::start(postgres.url(), 12).await;
    let options = pooler.url().parse::<sqlx::postgres::PgConnectOptions>().unwrap().extra_float_digits(None);
    let mut other = PgConnection::connect_with(&options).await.unwrap();
    let name = postgres.url().rsplit('/').next().unwrap();
    let off = sqlx::AssertSqlSafe(format!("alter database {name} set synchronous_commit = off"));
    sqlx::Executor::execute(&mut other, sqlx::raw_sql(off)).await.unwrap();
    for url in [postgres.url(), pooler.url()] {
        let server = Server::open("postgres", url, &[], Box::new(())).await;
        // Looks at the commit itself: constraint triggers that are deferred run there.
        run(
            &mut other,
            "create table if not exists public.seen (place text, setting text);
            create or replace function public.see() returns trigger language plpgsql as $$ begin
                insert into public.seen values (tg_table_name, current_setting('synchronous_commit')); return null;
            end $$;
            drop trigger if exists see on clerk_sync.inbox; drop trigger if exists see on clerk_sync.users;
            create constraint trigger see after insert on clerk_sync.inbox deferrable initially deferred
                for each row execute function public.see();
            create constraint trigger see after insert on clerk_sync.users deferrable initially deferred
                for each row execute function public.see()",
        )
        .await;
        for n in 0..10 {
            // As an application does that does not know better: what it sets stays in the session.
            run(&mut other, "set synchronous_commit = off").await;
            let name = format!("{}{n}", if url == pooler.url() { "pooled" } else { "direct" });
            server.sync(&format!("msg_{name}"), &user(&name, 1)).await;
        }
        assert!(server.stop().await);
    }
    let rows = sqlx::query("select place, setting, count(*) as n from public.seen group by 1, 2 order by 1, 2");
    let rows = rows.fetch_all(&mut other).await.unwrap();
    let seen: Vec<_> = rows
        .iter()
        .map(|row| (row.get::<String, _>("place"), row.get::<String, _>("setting"), row.get::<i64, _>("n")))
        .collect();
    let on = |place: &str| (place.to_owned(), "on".to_owned(), 20);
    assert_eq!(seen, [on("inbox"), on("users")]);
}

#[tokio::test]
async fn an_older_pooler_is_refused_before_anything_is_made() {
    let Some(postgres) = services::postgres() else { return };
    let Some(pgbouncer) = PgBouncer::start(postgres.url(), "transaction").await else { return };
    let error = format!("{:#}", connect(pgbouncer.url()).await.unwrap_err());
    assert!(error.contains("does not carry prepared statements"), "{error}");
    assert!(error.contains("DATABASE_URL") && error.contains("session mode"), "{error}");
    let mut client = PgConnection::connect(postgres.url()).await.unwrap();
    let schemas = "select 1 from pg_namespace where nspname = 'clerk_sync'";
    assert!(sqlx::query(schemas).fetch_all(&mut client).await.unwrap().is_empty(), "no schema is made");
}

#[tokio::test]
async fn a_pool_of_sessions_is_as_good_as_the_server_itself() {
    let Some(postgres) = services::postgres() else { return };
    let Some(pgbouncer) = PgBouncer::start(postgres.url(), "session").await else { return };
    for url in [postgres.url(), pgbouncer.url()] {
        let app = connect(url).await.unwrap();
        assert!(app.db.listen_pool().is_some(), "{url}");
    }
}

/// Containers start together: a server that does not listen yet is waited for.
#[tokio::test]
async fn a_server_that_is_just_starting_is_waited_for() {
    let Some(postgres) = services::postgres() else { return };
    let (_, rest) = postgres.url().split_once('@').unwrap();
    let (server, database) = rest.split_once('/').unwrap();
    let (port, server) = (free_port(), server.to_owned());
    let late = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        while let Ok((mut client, _)) = listener.accept().await {
            let server = server.clone();
            tokio::spawn(async move {
                let mut upstream = TcpStream::connect(server).await.unwrap();
                tokio::io::copy_bidirectional(&mut client, &mut upstream).await.ok();
            });
        }
    });
    let app = connect(&format!("postgres://postgres@127.0.0.1:{port}/{database}")).await.unwrap();
    assert!(app.db.listen_pool().is_some());
    late.abort();
}
