//! A connection to Postgres that breaks after a statement was sent: whether it was committed is not known, and neither
//! is assumed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf},
};

use super::bed::Bed;
use crate::support::services;

/// Stands between server and Postgres; cuts connections after it has passed a given text on.
struct Cutter {
    port: u16,
    left: Arc<AtomicU32>,
}

impl Cutter {
    async fn start(postgres: String, text: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, left) = (listener.local_addr().unwrap().port(), Arc::new(AtomicU32::new(0)));
        let cuts = left.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, TcpStream::connect(&postgres).await.unwrap(), text, cuts.clone()));
            }
        });
        Self { port, left }
    }
}

async fn pass(client: TcpStream, server: TcpStream, text: &'static str, left: Arc<AtomicU32>) {
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, to_server) = server.into_split();
    tokio::select! {
        _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
        () = forward(from_client, to_server, text, left) => {}
    }
}

/// Returns where the connection is to be cut: what was sent is being executed, its result is not passed back.
async fn forward(
    mut from: OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    text: &'static str,
    left: Arc<AtomicU32>,
) {
    let mut bytes = vec![0; 1 << 20];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        let found = bytes[..length].windows(text.len()).any(|window| window.eq_ignore_ascii_case(text.as_bytes()));
        let cut = found && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if to.write_all(&bytes[..length]).await.is_err() || cut {
            return;
        }
    }
}

/// The connection breaks at a statement, again and again, under load.
async fn broken_at(text: &'static str) {
    let Some(postgres) = services::postgres() else { return };
    let (before, rest) = postgres.url().split_once('@').unwrap();
    let (address, database) = rest.split_once('/').unwrap();
    let cutter = Cutter::start(address.to_owned(), text).await;
    let url = format!("{before}@127.0.0.1:{}/{database}", cutter.port);
    let mut bed = Bed::on(&url, &[]).await;
    bed.accepted(4).await;
    for _ in 0..6 {
        cutter.left.store(2, Ordering::SeqCst);
        bed.burst(6).await;
        bed.burst(2).await;
    }
    cutter.left.store(0, Ordering::SeqCst);
    assert_eq!(bed.process.ended(Duration::ZERO).await, None, "{}", bed.log());
    bed.recovers(text).await;
    bed.whole(text).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_p2_a_commit_whose_result_is_unknown_is_taken_for_neither() {
    broken_at("commit").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_p2_a_receipt_whose_result_is_unknown_is_taken_for_neither() {
    // Ids of deliveries travel with receipts, and with the statements that apply them.
    broken_at("msg_fault").await;
}
