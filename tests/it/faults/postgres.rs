//! Faults of a Postgres server: it crashes under load, and its volume is full. What was acknowledged is there, and work
//! goes on by itself.

use std::time::{Duration, Instant};

use super::bed::{Bed, LIVENESS};
use crate::support::postgres::Server;

async fn recovers(bed: &mut Bed, what: &str) {
    assert_eq!(bed.process.ended(Duration::ZERO).await, None, "{what}: the server goes on running\n{}", bed.log());
    bed.recovers(what).await;
    bed.whole(what).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_p2_receipts_outlive_crashes_of_postgres() {
    let Some(server) = Server::start() else { return };
    let mut bed = Bed::on(&server.url(), &[]).await;
    bed.accepted(8).await;
    for crash in 0..4_u64 {
        let load = bed.load(30);
        tokio::time::sleep(Duration::from_millis(20 + 35 * crash)).await;
        server.stop_immediately();
        tokio::time::sleep(Duration::from_millis(150 * crash)).await;
        server.start_again();
        bed.join(load).await;
        recovers(&mut bed, &format!("crash {crash}")).await;
    }
    bed.restart().await;
    bed.whole("after a restart").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_p2_receipts_outlive_a_full_volume_of_postgres() {
    let Some(server) = Server::start_on_volume(96) else { return };
    let mut bed = Bed::on(&server.url(), &[]).await;
    bed.accepted(8).await;
    let filler = server.fill(400);
    let (started, mut refused) = (Instant::now(), 0);
    while refused < 20 {
        refused += bed.burst(8).await.iter().filter(|sent| sent.status == Some(503)).count();
        assert!(started.elapsed() < 4 * LIVENESS, "the volume does not fill up: {refused}");
    }
    drop(filler);
    // A server that panicked for want of space comes back by itself or is started.
    server.start_again();
    recovers(&mut bed, "once there is space").await;
    bed.restart().await;
    bed.whole("after a restart").await;
}
