//! Connections of the pools: one that is inside of a transaction, or on which a transaction failed, is not used again.

use clerk_sync::db::{Condition, Stmt, probe};
use sea_orm::ConnectionTrait as _;

use crate::support::{
    server::person,
    world::{World, sqlite, worlds},
};

/// A number as another connection sees it.
async fn seen(world: &World, sql: &'static str) -> i64 {
    let rows = Stmt::new(&world.app.db.read, sql).all(&world.app.db.read).await.unwrap();
    rows[0].try_get("", "n").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_inside_of_a_transaction_is_not_used_again() {
    let world = sqlite(&[]).await;
    let db = &world.app.db;
    for (number, pool) in [&db.receipts, &db.write].into_iter().enumerate() {
        // As the driver leaves it: what it knows nothing of.
        pool.execute_unprepared("begin").await.unwrap();
        let key = format!("seen-{number}");
        let insert = Stmt::new(pool, "insert into clerk_sync.meta (key, value) values (").val(key.as_str());
        insert.sql(", '1')").exec(pool).await.unwrap();
    }
    assert_eq!(seen(&world, "select count(*) as n from clerk_sync.meta where key like 'seen-%'").await, 2);
    world.deliver("msg_one", &person("user_one", 1, serde_json::json!({}))).await;
    assert_eq!(seen(&world, "select count(*) as n from clerk_sync.inbox").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_on_which_a_transaction_failed_is_not_used_again() {
    let world = sqlite(&[]).await;
    let db = &world.app.db;
    db.write.execute_unprepared("pragma temp.user_version = 7").await.unwrap();
    let version = async || {
        let rows = Stmt::new(&db.write, "pragma temp.user_version").all(&db.write).await.unwrap();
        rows[0].try_get::<i64>("", "user_version").unwrap()
    };
    assert_eq!(version().await, 7, "the same connection");
    let tx = db.begin_commit().await.unwrap();
    tx.execute_unprepared("insert into clerk_sync.meta (key, value) values (null, null)").await.unwrap_err();
    drop(tx);
    assert_eq!(version().await, 0, "another connection");
}

/// Postgres answers the `COMMIT` of a transaction that failed with a success, and takes everything back.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_which_a_statement_failed_is_not_committed() {
    for world in worlds(&[]).await {
        let db = &world.app.db;
        let tx = db.begin_commit().await.unwrap();
        tx.execute_unprepared("insert into clerk_sync.meta (key, value) values ('seen', '1')").await.unwrap();
        tx.execute_unprepared("insert into clerk_sync.meta (key, value) values (null, null)").await.unwrap_err();
        assert!(tx.commit().await.is_err(), "{}", world.name);
        assert_eq!(seen(&world, "select count(*) as n from clerk_sync.meta where key = 'seen'").await, 0);

        let tx = db.begin_commit().await.unwrap();
        tx.execute_unprepared("insert into clerk_sync.meta (key, value) values ('seen', '1')").await.unwrap();
        tx.execute_unprepared("savepoint one").await.unwrap();
        tx.execute_unprepared("insert into clerk_sync.meta (key, value) values (null, null)").await.unwrap_err();
        tx.execute_unprepared("rollback to savepoint one").await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(seen(&world, "select count(*) as n from clerk_sync.meta where key = 'seen'").await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_database_refuses_receipts_until_a_canary_row_was_read_back() {
    let world = sqlite(&[]).await;
    let db = &world.app.db;
    // A limit that this one connection has: SQLite takes the smallest that the file allows.
    db.write.execute_unprepared("pragma max_page_count = 1").await.unwrap();
    let mut refused = 0;
    for _ in 0..200 {
        let large = Stmt::new(&db.write, "insert into clerk_sync.meta (key, value) values (")
            .val(uuid::Uuid::new_v4().to_string());
        if large.sql(", ").val("x".repeat(20_000)).sql(")").exec(&db.write).await.is_err() {
            refused += 1;
            break;
        }
    }
    assert_eq!((refused, db.storage().condition()), (1, Condition::Full));
    assert!(!world.try_deliver("msg_one", &person("user_one", 1, serde_json::json!({}))).await);
    probe(db).await.unwrap();
    assert_eq!(db.storage().condition(), Condition::Sound);
    assert!(world.try_deliver("msg_one", &person("user_one", 1, serde_json::json!({}))).await);
    let large =
        Stmt::new(&db.write, "insert into clerk_sync.meta (key, value) values ('large', ").val("x".repeat(400_000));
    large.sql(")").exec(&db.write).await.unwrap();
}
