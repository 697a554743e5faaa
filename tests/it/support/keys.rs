//! A double of the address at which an instance publishes its keys, over real sockets: counts who asks, and fails in the
//! ways real ones and the network do.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// How it answers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Way {
    /// With these keys.
    Keys(Vec<Value>),
    /// With this body.
    Body(String),
    /// With this status, and what else stands in the head.
    Status(u16, String),
    /// With these keys, after this long.
    Slow(Duration, Vec<Value>),
    /// With a body that never ends.
    Endless,
    /// With a head and half a body.
    Half,
    /// By closing the connection.
    Close,
    /// Never.
    Hang,
}

/// A running double. Stops when dropped.
#[derive(Debug)]
pub(crate) struct Double {
    pub(crate) url: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    way: Mutex<Way>,
    /// The heads of the requests that came.
    heads: Mutex<Vec<String>>,
    /// Requests under way, and the most there ever were.
    open: Mutex<(usize, usize)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

impl Double {
    pub(crate) async fn start(way: Way) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/.well-known/jwks.json", listener.local_addr().unwrap());
        let shared = Arc::new(Shared { way: Mutex::new(way), heads: Mutex::default(), open: Mutex::default() });
        let server = tokio::spawn(serve(listener, shared.clone()));
        Self { url, shared, server }
    }

    /// From now on it answers like this.
    pub(crate) fn answer(&self, way: Way) {
        *lock(&self.shared.way) = way;
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        lock(&self.shared.heads).len()
    }

    /// The heads of the requests.
    pub(crate) fn heads(&self) -> Vec<String> {
        lock(&self.shared.heads).clone()
    }

    /// The most requests that were under way at a time.
    pub(crate) fn most(&self) -> usize {
        lock(&self.shared.open).1
    }

    /// Returns once it was asked so often.
    pub(crate) async fn asked_times(&self, times: usize) {
        for _ in 0..4_000 {
            if self.asked() >= times {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("asked {} times, not {times}", self.asked());
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        connections.spawn(async move {
            {
                let mut open = lock(&shared.open);
                open.0 += 1;
                open.1 = open.1.max(open.0);
            }
            // What breaks the connection ends it.
            let _ = answer(BufReader::new(stream), &shared).await;
            lock(&shared.open).0 -= 1;
        });
    }
}

async fn answer(mut stream: BufReader<TcpStream>, shared: &Shared) -> std::io::Result<()> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let way = lock(&shared.way).clone();
    lock(&shared.heads).push(head);
    let ok =
        |body: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    let keys = |keys: Vec<Value>| ok(&json!({"keys": keys}).to_string());
    let reply = match way {
        Way::Keys(all) => keys(all),
        Way::Body(body) => ok(&body),
        Way::Status(status, head) => {
            format!("HTTP/1.1 {status} Double\r\n{head}content-length: 0\r\nconnection: close\r\n\r\n")
        }
        Way::Slow(delay, all) => {
            tokio::time::sleep(delay).await;
            keys(all)
        }
        Way::Endless => {
            stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9999999999\r\n\r\n{").await?;
            // Until nobody takes it any more.
            loop {
                stream.get_mut().write_all(&[b' '; 65_536]).await?;
            }
        }
        Way::Half => "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\nconnection: close\r\n\r\n{\"keys\":[".to_owned(),
        Way::Close => return Ok(()),
        Way::Hang => std::future::pending().await,
    };
    stream.get_mut().write_all(reply.as_bytes()).await?;
    stream.get_mut().shutdown().await
}
