//! Connections on real sockets: how long they may wait, how many there may be, how they end, and what their bodies cost.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use clerk_sync::{clerk::signature::Verifier, clock::Clock};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{
    people::user,
    process::{Process, SECRET, free_port},
    server::ADMIN,
    services,
    world::{World, sqlite},
    ws::Client,
};

const KEYS: [(&str, &str); 2] = [("server.header_timeout", "400ms"), ("server.idle_timeout", "1200ms")];

async fn world(more: &[(&str, &str)]) -> World {
    let keys: Vec<(&str, String)> = KEYS.iter().chain(more).map(|(key, value)| (*key, (*value).to_owned())).collect();
    sqlite(&keys).await
}

async fn connect(address: SocketAddr, text: &str) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(text.as_bytes()).await.unwrap();
    socket
}

/// How long it takes until the other side closes, and what it said before.
async fn closed(socket: &mut TcpStream) -> (Duration, String) {
    let started = Instant::now();
    let mut said = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(15), socket.read_to_end(&mut said)).await;
    // A reset is an end too.
    let _ = read.expect("it is closed");
    (started.elapsed(), String::from_utf8_lossy(&said).into_owned())
}

/// Reads one response whose body is short.
async fn response(socket: &mut TcpStream) -> String {
    let mut said = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let read = tokio::time::timeout(Duration::from_secs(15), socket.read(&mut buffer)).await.unwrap().unwrap();
        said.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&said).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            assert!(read > 0, "{text}");
            continue;
        };
        let length = head
            .to_lowercase()
            .split("content-length: ")
            .nth(1)
            .map_or(0, |rest| rest.lines().next().unwrap().parse::<usize>().unwrap());
        if body.len() >= length || read == 0 {
            return text;
        }
    }
}

fn delivery(id: &str, body: &str) -> String {
    let at = Clock::system().now().timestamp();
    let signature = Verifier::new(SECRET, Duration::from_secs(300)).unwrap().sign(id, at, body.as_bytes()).unwrap();
    format!(
        "POST /webhooks/clerk HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nsvix-id: {id}\r\nsvix-timestamp: {at}\r\n\
         svix-signature: {signature}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

const GET: &str = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";

#[tokio::test]
async fn heads_and_rests_are_limited_and_work_is_not() {
    let world = world(&[("api.admin_token", ADMIN)]).await;
    let running = world.serve().await;
    let within = |took: Duration, least: u64, most: u64| {
        assert!((least..most).contains(&(took.as_millis() as u64)), "{took:?}: {least} to {most}");
    };
    within(closed(&mut connect(running.addr, "").await).await.0, 300, 1_100);
    within(closed(&mut connect(running.addr, "GET /healthz HT").await).await.0, 300, 1_100);
    // A byte now and then is no progress.
    let mut slow = connect(running.addr, "GET /healthz HTTP/1.1\r\n").await;
    let (mut reader, mut writer) = slow.split();
    let trickle = async {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if writer.write_all(b"x").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let started = Instant::now();
    let mut said = Vec::new();
    tokio::select! {
        () = trickle => {}
        _ = reader.read_to_end(&mut said) => {}
    }
    within(started.elapsed(), 300, 1_100);
    // Between requests there is more time, and after it none.
    let mut kept = connect(running.addr, GET).await;
    for _ in 0..2 {
        assert!(response(&mut kept).await.contains("200 OK"));
        tokio::time::sleep(Duration::from_millis(600)).await;
        kept.write_all(GET.as_bytes()).await.unwrap();
    }
    assert!(response(&mut kept).await.contains("200 OK"));
    within(closed(&mut kept).await.0, 1_000, 2_600);
    // A websocket has limits of its own.
    let mut client = Client::open(running.addr, &[], None).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2_000)).await;
    assert_eq!(client.auth(ADMIN).await["type"], "welcome");
    assert!(running.stop().await);
}

#[tokio::test]
async fn half_a_head_does_not_hold_the_end_of_the_process() {
    let world = sqlite(&[]).await;
    let running = world.serve().await;
    let mut waiting =
        vec![connect(running.addr, "").await, connect(running.addr, "GET /healthz HTTP/1.1\r\nhos").await];
    let mut kept = connect(running.addr, GET).await;
    assert!(response(&mut kept).await.contains("200 OK"));
    kept.write_all(b"GET /heal").await.unwrap();
    waiting.push(kept);
    waiting.push(connect(running.addr, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await);
    waiting.push(connect(running.addr, "PRI * HT").await);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let started = Instant::now();
    assert!(running.stop().await, "in order");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    drop(waiting);
}

#[tokio::test]
async fn a_connection_of_http_2_has_32_streams() {
    let world = sqlite(&[]).await;
    let running = world.serve().await;
    let mut socket = connect(running.addr, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    socket.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    let mut head = [0; 9];
    socket.read_exact(&mut head).await.unwrap();
    assert_eq!(head[3], 4, "SETTINGS");
    let mut settings = vec![0; usize::from(head[2]) | usize::from(head[1]) << 8];
    socket.read_exact(&mut settings).await.unwrap();
    let value = |id: u16| {
        settings
            .chunks(6)
            .find(|setting| setting[..2] == id.to_be_bytes())
            .map(|setting| u32::from_be_bytes(setting[2..].try_into().unwrap()))
    };
    assert_eq!(value(3), Some(32), "MAX_CONCURRENT_STREAMS");
    assert!(value(4).is_some_and(|window| window <= 256 << 10), "INITIAL_WINDOW_SIZE");
    drop(socket);
    assert!(running.stop().await);
}

#[tokio::test]
async fn beyond_the_limit_there_is_room_for_deliveries_alone() {
    let world = world(&[("server.max_connections", "2"), ("server.max_receipt_connections", "1")]).await;
    let running = world.serve().await;
    let mut first = connect(running.addr, GET).await;
    let mut second = connect(running.addr, GET).await;
    assert!(response(&mut first).await.contains("200 OK") && response(&mut second).await.contains("200 OK"));
    let mut third = connect(running.addr, GET).await;
    let refused = response(&mut third).await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after"), "{refused}");
    drop(third);
    // Its place is free once it is closed.
    let started = Instant::now();
    let mut fourth = loop {
        let fourth = connect(running.addr, &delivery("msg_ada", &user("ada", 1).to_string())).await;
        let mut first_byte = [0];
        if fourth.peek(&mut first_byte).await.is_ok_and(|read| read > 0) {
            break fourth;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "a delivery gets in");
    };
    assert!(response(&mut fourth).await.contains("accepted"));
    let (took, said) = closed(&mut connect(running.addr, "").await).await;
    assert!(took < Duration::from_millis(200) && said.is_empty(), "there is no more room: {took:?} {said}");
    drop((first, second, fourth));
    assert!(running.stop().await);

    let world = sqlite(&[("server.max_connections_per_address", "1".into())]).await;
    let running = world.serve().await;
    let mut first = connect(running.addr, GET).await;
    assert!(response(&mut first).await.contains("200 OK"));
    assert_eq!(closed(&mut connect(running.addr, "").await).await.1, "");
    drop(first);
    assert!(running.stop().await);
}

/// The head of a delivery that has the form of one, with a signature that is nobody's.
fn unsigned(id: usize, length: usize) -> String {
    let at = Clock::system().now().timestamp();
    format!(
        "POST /webhooks/clerk HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nsvix-id: msg_{id}\r\nsvix-timestamp: {at}\r\n\
         svix-signature: v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\ncontent-length: {length}\r\n\r\n"
    )
}

/// A hundred unfinished bodies of 1 MiB cost what the budget allows, small deliveries pass beside them, and each ends.
#[tokio::test]
async fn bodies_of_strangers_have_a_budget_and_a_pace() {
    let (_folder, database) = services::sqlite();
    let keys = [("CLERK_SYNC__RECEIVER__UNVERIFIED_BYTES", "16777216")];
    let process = Process::serve(free_port(), &database, &keys).await;
    let address: SocketAddr = process.url.trim_start_matches("http://").parse().unwrap();
    let before = process.peak_memory();
    let most = (1 << 20) - 1;
    let strangers = (0..100).map(|id| async move {
        let mut socket = connect(address, &unsigned(id, most + 1)).await;
        // Those that are refused are closed while they send.
        let _ = socket.write_all(&vec![b' '; most]).await;
        socket
    });
    let mut sockets = futures_util::future::join_all(strangers).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let body = user("ada", 1).to_string();
    assert_eq!(crate::support::process::post(&client, &process.url, "msg_ada", body.as_bytes()).await, Some(200));
    let mut answers = Vec::new();
    for socket in &mut sockets {
        answers.push(response(socket).await);
    }
    let count =
        |status: &str| answers.iter().filter(|answer| answer.starts_with(&format!("HTTP/1.1 {status}"))).count();
    let (busy, slow) = (count("503"), count("408"));
    assert!(busy > 80 && slow > 0 && busy + slow == 100, "{busy} of 503, {slow} of 408: {answers:?}");
    assert!(answers.iter().filter(|answer| answer.contains(" 503 ")).all(|answer| answer.contains("retry-after")));
    // Memory that anything else takes once it begins: connections to the database, threads.
    let grown = process.peak_memory() - before;
    assert!(grown < 48, "{grown} MB for a budget of 16");
    assert!(process.terminate());
}

/// A signature header without a signature is refused before a byte of the body is read.
#[tokio::test]
async fn what_cannot_be_a_signature_costs_no_body() {
    let world = sqlite(&[]).await;
    let running = world.serve().await;
    for signature in ["v1,x", "nonsense", "v2,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "v1,AAAA"] {
        let head = unsigned(1, 1 << 20).replace("v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", signature);
        let mut socket = connect(running.addr, &head).await;
        let answer = response(&mut socket).await;
        assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("invalid_signature"), "{signature}: {answer}");
    }
    assert!(running.stop().await);
}

#[tokio::test]
async fn the_metrics_may_have_an_address_of_their_own() {
    let world = sqlite(&[("metrics.address", "127.0.0.1:0".into())]).await;
    let running = world.serve().await;
    let get = async |address: SocketAddr, path: &str| {
        let mut socket =
            connect(address, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await;
        closed(&mut socket).await.1
    };
    let own = running.metrics_addr.unwrap();
    assert!(get(own, "/metrics").await.contains("clerk_sync_webhooks_total"));
    assert!(get(own, "/v1/users").await.starts_with("HTTP/1.1 404"));
    assert!(get(running.addr, "/metrics").await.starts_with("HTTP/1.1 404"));
    assert!(get(running.addr, "/readyz").await.starts_with("HTTP/1.1 200"));
    assert!(running.stop().await);
}
