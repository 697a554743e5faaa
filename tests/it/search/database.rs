//! What only the database promises: the guard by `rev`, and no row left over.

use clerk_sync::{backends::search::Doc, db::Stmt};
use sea_orm::FromQueryResult;
use uuid::Uuid;

use super::beds::{Bed, person};

async fn on_both(case: impl AsyncFn(&Bed)) {
    for bed in [Some(Bed::sqlite().await), Bed::postgres().await].into_iter().flatten() {
        case(&bed).await;
        bed.close().await;
    }
}

async fn count(bed: &Bed, sql: &'static str) -> i64 {
    #[derive(FromQueryResult)]
    struct Count {
        n: i64,
    }
    Stmt::new(&bed.db.read, sql).one_as::<Count>(&bed.db.read).await.unwrap().unwrap().n
}

fn jonas(rev: i64, last: &str) -> Doc {
    Doc { rev, ..person(1, "Jonas", last, "", "") }
}

#[tokio::test]
async fn an_older_rev_is_not_written() {
    on_both(async |bed| {
        bed.put(&[jonas(5, "Newer")]).await;
        bed.put(&[jonas(4, "Older")]).await;
        assert_eq!(bed.find("newer").await, [1]);
        assert_eq!(bed.find("older").await, [] as [u128; 0]);
        bed.search.remove_user(Uuid::from_u128(1), 4).await.unwrap();
        assert_eq!(bed.find("newer").await, [1], "an older end is no end");
        bed.put(&[jonas(5, "Equal")]).await;
        assert_eq!(bed.find("equal").await, [1], "the same rev may be written again");
    })
    .await;
}

#[tokio::test]
async fn who_is_deleted_stays_deleted() {
    on_both(async |bed| {
        bed.search.apply(vec![jonas(5, "Same")], vec![(Uuid::from_u128(1), 5)]).await.unwrap();
        bed.put(&[jonas(4, "Older")]).await;
        bed.put(&[jonas(5, "Equal")]).await;
        assert_eq!(bed.find("jonas").await, [] as [u128; 0]);
        assert_eq!(
            count(bed, "select count(*) as n from clerk_sync.search_users where document <> ''").await,
            0,
            "no name is kept"
        );
        bed.put(&[jonas(6, "Back")]).await;
        assert_eq!(bed.find("jonas").await, [1]);
    })
    .await;
}

#[tokio::test]
async fn a_rebuild_misses_nothing_that_is_applied_meanwhile() {
    on_both(async |bed| {
        bed.put(&[jonas(1, "Old"), person(2, "Deleted", "Meanwhile", "", "")]).await;
        let rebuild = bed.search.rebuild().await.unwrap();
        bed.put(&[jonas(3, "New")]).await;
        bed.search.remove_user(Uuid::from_u128(2), 2).await.unwrap();
        // Pages that were read before all this.
        rebuild.add(vec![jonas(1, "Old"), person(2, "Deleted", "Meanwhile", "", "")]).await.unwrap();
        rebuild.finish().await.unwrap();
        assert_eq!(bed.find("new").await, [1]);
        assert_eq!(bed.find("deleted").await, [] as [u128; 0]);
    })
    .await;
}

#[tokio::test]
async fn one_generation_is_left() {
    on_both(async |bed| {
        let docs: Vec<Doc> = (1..=1_200).map(|id| person(id, "Jonas", "Lind", "", "")).collect();
        bed.put(&docs).await;
        let abandoned = bed.search.rebuild().await.unwrap();
        abandoned.add(docs.clone()).await.unwrap();
        let rebuild = bed.search.rebuild().await.unwrap();
        rebuild.add(docs[..700].to_vec()).await.unwrap();
        // The one that lost its place may still be writing.
        abandoned.add(docs[..10].to_vec()).await.unwrap();
        rebuild.finish().await.unwrap();
        assert_eq!(count(bed, "select count(*) as n from clerk_sync.search_users").await, 700);
        assert_eq!(count(bed, "select count(*) as n from clerk_sync.search_generations").await, 1);
        if matches!(bed.db.backend(), sea_orm::DbBackend::Sqlite) {
            assert_eq!(count(bed, "select count(*) as n from search_users_fts_docsize").await, 700);
        }
    })
    .await;
}

#[tokio::test]
async fn a_person_twice_in_a_batch_is_written_once() {
    on_both(async |bed| {
        bed.put(&[jonas(7, "Newer"), jonas(6, "Older")]).await;
        assert_eq!(bed.find("newer").await, [1]);
        assert_eq!(count(bed, "select count(*) as n from clerk_sync.search_users").await, 1);
    })
    .await;
}

#[tokio::test]
async fn letters_that_unicode_does_not_take_apart_are_found_too() {
    on_both(async |bed| {
        bed.put(&[person(1, "Łukasz", "Strauß", "", ""), person(2, "Søren", "Æbelø", "", "")]).await;
        for (q, id) in [("lukasz", 1), ("strauss", 1), ("Strauß", 1), ("soren", 2), ("aebelo", 2)] {
            assert_eq!(bed.find(q).await, [id], "{q}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_only_looks_alike_to_the_index_crowds_nobody_out() {
    on_both(async |bed| {
        // For `joxes` the index is asked who has a word that begins with `jo` and one that ends with `es`.
        let alike: Vec<Doc> = (1..=600).map(|id| person(id, "Jo", "Agnes", "", "")).collect();
        bed.put(&alike).await;
        bed.put(&[person(1_000, "Jones", "Meant", "", "")]).await;
        assert_eq!(bed.find("joxes").await, [1_000]);
    })
    .await;
}
