//! Building anew, on every backend.

use clerk_sync::backends::search::SearchError;
use uuid::Uuid;

use super::{
    beds::{Bed, person},
    cases::some,
};

pub(super) async fn rebuilds_aside(bed: &Bed) {
    let named = |name: &str| (1..=60).map(|id| person(id, name, "Shared", "", "")).collect::<Vec<_>>();
    bed.put(&named("Before")).await;
    let searching = bed.search.clone();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    // However the rebuild goes on, there is always one whole index to be seen.
    let watch = tokio::spawn(async move {
        let mut rounds = 0_u32;
        while stopped.try_recv().is_err() {
            assert_eq!(searching.search("shared", 100).await.unwrap().len(), 60, "in round {rounds}");
            rounds += 1;
            tokio::task::yield_now().await;
        }
        rounds
    });
    let building = bed.search.clone();
    let rebuild = tokio::spawn(async move {
        let rebuild = building.rebuild().await?;
        rebuild.add(vec![]).await?;
        Ok::<_, SearchError>(rebuild)
    });
    let rebuild = rebuild.await.unwrap().unwrap();
    for page in named("After").chunks(20) {
        rebuild.add(page.to_vec()).await.unwrap();
        assert_eq!(bed.find("before").await.len(), 60, "the old results stay");
        assert_eq!(bed.find("after").await.len(), 0, "and the new ones wait");
    }
    rebuild.finish().await.unwrap();
    assert_eq!(bed.find("after").await.len(), 60);
    assert_eq!(bed.find("before").await.len(), 0);
    stop.send(()).unwrap();
    assert!(watch.await.unwrap() > 0);
    // From a task of its own, as the relay does it.
    let writing = bed.search.clone();
    let doc = person(61, "After", "All", "", "");
    tokio::spawn(async move { writing.apply(vec![doc], vec![]).await }).await.unwrap().unwrap();
    assert_eq!(bed.find("after").await.len(), 61, "writing goes on in the new index");
    bed.search.remove_user(Uuid::from_u128(61), 2).await.unwrap();
    assert_eq!(bed.find("after").await.len(), 60);
    assert_eq!(bed.find("afetr").await.len(), 60, "with the same settings");
}

pub(super) async fn sweeps_away_an_abandoned_rebuild(bed: &Bed) {
    bed.put(&some()).await;
    let abandoned = bed.search.rebuild().await.unwrap();
    abandoned.add(vec![person(50, "Leftover", "Person", "", "")]).await.unwrap();
    drop(abandoned);
    let rebuild = bed.search.rebuild().await.unwrap();
    rebuild.add(some()).await.unwrap();
    rebuild.add(vec![]).await.unwrap();
    rebuild.finish().await.unwrap();
    assert_eq!(bed.find("leftover").await, [] as [u128; 0]);
    assert_eq!(bed.find("jonas").await, [1]);
    bed.search.rebuild().await.unwrap().finish().await.unwrap();
    assert_eq!(bed.find("jonas").await, [] as [u128; 0], "rebuilt from nothing is empty");
}

pub(super) async fn lets_the_later_rebuild_win(bed: &Bed) {
    bed.put(&some()).await;
    let first = bed.search.rebuild().await.unwrap();
    first.add(some()).await.unwrap();
    let second = bed.search.rebuild().await.unwrap();
    second.add(some()).await.unwrap();
    let lost = first.finish().await.unwrap_err();
    assert!(matches!(lost, SearchError::Superseded) && !lost.is_permanent(), "{lost}");
    assert_eq!(bed.find("jonas").await, [1], "nothing was swapped");
    second.finish().await.unwrap();
    assert_eq!(bed.find("jonas").await, [1]);
}
