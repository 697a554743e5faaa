//! A double of a chat's incoming webhook, over real sockets: keeps what it took, and fails in the ways real ones and the
//! network do.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
    task::JoinHandle,
};

use super::tls::{self, Stream};

/// The path that makes the URL a secret.
pub(crate) const PATH: &str = "/services/T0/B0/s3cretpath";

/// What happens to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection is closed before it is read.
    Close,
    /// It is answered with this status, and what else stands in the head.
    Status(u16, &'static str),
    /// The message is lost, or taken, and the connection breaks before the answer.
    Break { taken: bool },
    /// It is taken and answered after this long.
    Slow(Duration),
    /// It is taken, and the answer's body never ends.
    Endless,
}

/// A message that was taken.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Value,
}

impl Post {
    pub(crate) fn key(&self) -> &str {
        &self.headers["idempotency-key"]
    }

    pub(crate) fn text(&self) -> &str {
        self.body["text"].as_str().unwrap()
    }
}

/// A running double. Stops when dropped.
#[derive(Debug)]
pub(crate) struct Double {
    port: u16,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    faults: Mutex<VecDeque<Fault>>,
    posts: Mutex<Vec<Post>>,
    connections: Mutex<usize>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

impl Double {
    pub(crate) async fn start() -> Self {
        Self::start_with(false).await
    }

    /// One that speaks https, as `localhost`, or http.
    pub(crate) async fn start_with(encrypted: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let server = tokio::spawn(serve(listener, shared.clone(), encrypted));
        Self { port, shared, server }
    }

    /// Where messages go.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}{PATH}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The next requests fail like this, one after the other.
    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        lock(&self.shared.faults).extend(faults);
    }

    /// How many of them have not come yet.
    pub(crate) fn faults_left(&self) -> usize {
        lock(&self.shared.faults).len()
    }

    /// Everything that was taken so far.
    pub(crate) fn posts(&self) -> Vec<Post> {
        lock(&self.shared.posts).clone()
    }

    pub(crate) fn connections(&self) -> usize {
        *lock(&self.shared.connections)
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>, encrypted: bool) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        *lock(&shared.connections) += 1;
        let (fault, shared) = (lock(&shared.faults).pop_front(), shared.clone());
        connections.spawn(async move {
            if fault != Some(Fault::Close)
                && let Ok(stream) = tls::open(stream, encrypted).await
            {
                // What breaks the connection ends it.
                let _ = answer(BufReader::new(stream), &shared, fault).await;
            }
        });
    }
}

async fn answer(mut stream: BufReader<Box<dyn Stream>>, shared: &Shared, fault: Option<Fault>) -> std::io::Result<()> {
    let post = read(&mut stream).await?;
    let take = |taken: bool| {
        if taken {
            lock(&shared.posts).push(post);
        }
    };
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
    let reply = match fault {
        Some(Fault::Break { taken }) => {
            take(taken);
            return Ok(());
        }
        Some(Fault::Status(status, head)) => {
            format!("HTTP/1.1 {status} Double\r\n{head}content-length: 0\r\nconnection: close\r\n\r\n")
        }
        Some(Fault::Slow(delay)) => {
            take(true);
            tokio::time::sleep(delay).await;
            ok.into()
        }
        Some(Fault::Endless) => {
            take(true);
            stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9999999999\r\n\r\n").await?;
            // Until nobody takes it any more.
            loop {
                stream.get_mut().write_all(&[b'x'; 65_536]).await?;
            }
        }
        _ => {
            take(true);
            ok.into()
        }
    };
    stream.get_mut().write_all(reply.as_bytes()).await?;
    stream.get_mut().shutdown().await
}

async fn read(stream: &mut BufReader<Box<dyn Stream>>) -> std::io::Result<Post> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let mut words = line.split(' ');
    assert_eq!(words.next(), Some("POST"), "{line}");
    let path = words.next().unwrap().to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    stream.read_exact(&mut body).await?;
    Ok(Post { path, headers, body: serde_json::from_slice(&body).unwrap() })
}
