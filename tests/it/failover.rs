//! A failover that loses commits: the newest rows are taken back under two running replicas, as when a standby that lacked
//! them becomes the primary. Every consumer starts anew, and nothing that was lost is shown or allowed any more.

use std::time::{Duration, Instant};

use reqwest::header;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::support::{
    organizations::{member, organization},
    people::{user, with},
    process::{Process, free_port, post},
    server::{ADMIN, Answer, answer},
    services,
    sse::Events,
    ws::Client,
};

async fn run(client: &mut PgConnection, sql: String) {
    sqlx::Executor::execute(client, sqlx::raw_sql(AssertSqlSafe(sql))).await.unwrap();
}

/// The tables that hold rows, but for those of the migrations.
async fn tables(client: &mut PgConnection) -> Vec<String> {
    let select = "select tablename from pg_tables where schemaname = 'clerk_sync' and tablename <> 'seaql_migrations'";
    sqlx::query_scalar(select).fetch_all(client).await.unwrap()
}

/// Keeps a copy of every row.
async fn save(client: &mut PgConnection) {
    for table in tables(client).await {
        run(client, format!("create table public.saved_{table} as select * from clerk_sync.{table}")).await;
    }
}

/// What a failover does: connections break, and what was committed since [`save`] was never there.
async fn fail_over(client: &mut PgConnection) {
    let names = tables(client).await;
    let mut sql = "begin; set local session_replication_role = replica;".to_owned();
    for table in &names {
        sql.push_str(&format!("delete from clerk_sync.{table};"));
    }
    for table in &names {
        sql.push_str(&format!(
            "insert into clerk_sync.{table} overriding system value select * from public.saved_{table};"
        ));
    }
    sql.push_str("commit; select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname = current_database()");
    run(client, sql).await;
}

struct Bed {
    http: reqwest::Client,
    replicas: Vec<Process>,
}

impl Bed {
    async fn get(&self, replica: usize, path: &str, tag: Option<&str>) -> Answer {
        let started = Instant::now();
        loop {
            let request = self.http.get(format!("{}{path}", self.replicas[replica].url)).bearer_auth(ADMIN);
            let request = match tag {
                Some(tag) => request.header(header::IF_NONE_MATCH, tag),
                None => request,
            };
            // While it starts anew nothing listens, as behind any load balancer.
            if request.try_clone().unwrap().send().await.is_ok() {
                return answer(request).await;
            }
            assert!(started.elapsed() < Duration::from_secs(20), "{replica} does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn epoch(&self, replica: usize) -> Option<String> {
        let url = format!("{}/v1/changes?limit=1", self.replicas[replica].url);
        let response = self.http.get(url).bearer_auth(ADMIN).send().await.ok()?;
        Some(response.json::<Value>().await.ok()?["epoch"].as_str()?.to_owned())
    }

    async fn deliver(&self, replica: usize, id: &str, body: &Value) {
        let started = Instant::now();
        while post(&self.http, &self.replicas[replica].url, id, body.to_string().as_bytes()).await != Some(200) {
            assert!(started.elapsed() < Duration::from_secs(20), "{id} is not accepted");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the name of a user is this one on both replicas.
    async fn shows(&self, clerk_id: &str, name: &str) {
        for replica in 0..self.replicas.len() {
            let started = Instant::now();
            loop {
                let shown = self.get(replica, &format!("/v1/users/{clerk_id}"), None).await;
                if shown.status == 200 && shown.json()["first_name"] == name {
                    break;
                }
                assert!(started.elapsed() < Duration::from_secs(20), "{replica}: {clerk_id}: {}", shown.text);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    async fn socket(&self, replica: usize) -> (Client, String) {
        let address = self.replicas[replica].url.strip_prefix("http://").unwrap().parse().unwrap();
        let mut client = Client::open(address, &[], None).await.unwrap();
        let welcome = client.auth(ADMIN).await;
        (client, welcome["epoch"].as_str().unwrap().to_owned())
    }
}

fn named(name: &str, at: u64, first: &str) -> Value {
    with(user(name, at), "first_name", json!(first))
}

#[tokio::test]
async fn every_consumer_starts_anew_where_commits_were_taken_back() {
    let (Some(postgres), Some((redis, prefix))) = (services::postgres(), services::redis()) else { return };
    let environment = [
        ("REDIS_URL", redis.as_str()),
        ("CLERK_SYNC__REDIS__PREFIX", prefix.as_str()),
        ("CLERK_SYNC_ADMIN_TOKEN", ADMIN),
    ];
    let replicas = vec![
        Process::serve(free_port(), postgres.url(), &environment).await,
        Process::serve(free_port(), postgres.url(), &environment).await,
    ];
    let bed = Bed { http: reqwest::Client::new(), replicas };
    let mut database = PgConnection::connect(postgres.url()).await.unwrap();
    bed.deliver(0, "msg_org", &organization("books", "ada", 1)).await;
    for name in ["ada", "ben", "cleo"] {
        bed.deliver(0, &format!("msg_{name}"), &named(name, 1, "Before")).await;
        bed.deliver(1, &format!("msg_in_{name}"), &member("books", name, 2, "org:member")).await;
        bed.shows(&format!("user_{name}"), "Before").await;
    }
    let old = bed.epoch(0).await.unwrap();
    save(&mut database).await;

    // These are seen by everybody, and then they never were.
    bed.deliver(1, "msg_lost", &named("ada", 5, "Lost")).await;
    bed.shows("user_ada", "Lost").await;
    let lost = bed.get(0, "/v1/users/user_ada", None).await;
    let (tag, rev) = (lost.header("etag").to_owned(), lost.json()["rev"].as_i64().unwrap());
    let (mut client, epoch) = bed.socket(0).await;
    assert_eq!(epoch, old);
    client.subscribe(&["users"], json!({})).await;
    let stream = bed.http.get(format!("{}/v1/changes", bed.replicas[1].url)).bearer_auth(ADMIN);
    let mut stream = Events::open(stream).await.unwrap();
    fail_over(&mut database).await;
    // Another change takes the lost one's number before anybody looks.
    bed.deliver(0, "msg_new", &named("ada", 4, "After")).await;

    // The websocket and the stream end before anything of the new numbering is sent.
    let (frames, _) = client.closed().await;
    assert!(frames.iter().all(|frame| frame["data"]["first_name"] != "After"), "{frames:?}");
    while stream.next().await.is_some() {}
    bed.shows("user_ada", "After").await;
    bed.shows("user_ben", "Before").await;
    let new = bed.epoch(0).await.unwrap();
    assert_ne!(new, old);
    let started = Instant::now();
    while bed.epoch(1).await.as_ref() != Some(&new) {
        assert!(started.elapsed() < Duration::from_secs(20), "the other replica is in an epoch of its own");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for replica in 0..2 {
        let shown = bed.get(replica, "/v1/users/user_ada", Some(&tag)).await;
        assert_eq!((shown.status, &shown.json()["first_name"]), (200, &json!("After")), "a tag of the lost state");
    }
    // Whoever resumes is told to load everything again.
    let (mut client, _) = bed.socket(1).await;
    client.say(json!({"type": "subscribe", "topics": ["users"], "after": rev, "epoch": old})).await;
    let mut reset = false;
    for _ in 0..2 {
        reset |= client.frame().await["type"] == "reset";
    }
    assert!(reset, "another epoch");
    let refused = bed.get(0, &format!("/v1/changes?after={rev}&epoch={old}"), None).await;
    assert!(refused.status >= 400, "{}", refused.text);
    // What everything went through is written down.
    let audited = bed.get(0, "/v1/admin/audit?subject=epoch", None).await;
    assert_eq!(audited.json()["data"].as_array().unwrap().len(), 1, "one replica began the epoch: {}", audited.text);
    for replica in bed.replicas {
        assert!(replica.terminate());
    }
}
