//! What stands between a cache and Redis, to see what is sent and to make Redis go away.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Passes on what it is sent, and records it.
pub(crate) struct Proxy {
    port: u16,
    sent: Arc<Mutex<Vec<u8>>>,
    cuts: watch::Sender<u32>,
    closed: Arc<AtomicBool>,
    hung: Arc<AtomicBool>,
}

impl Proxy {
    pub(crate) async fn start(url: &str) -> Self {
        let server = url.trim_start_matches("redis://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            sent: Arc::default(),
            cuts: watch::Sender::new(0),
            closed: Arc::default(),
            hung: Arc::default(),
        };
        let (sent, cuts, closed, hung) =
            (Arc::clone(&proxy.sent), proxy.cuts.clone(), Arc::clone(&proxy.closed), Arc::clone(&proxy.hung));
        tokio::spawn(async move {
            loop {
                let client = listener.accept().await.unwrap().0;
                if !closed.load(Ordering::SeqCst) {
                    let server = TcpStream::connect(&server).await.unwrap();
                    tokio::spawn(pass(client, server, Arc::clone(&sent), cuts.subscribe(), Arc::clone(&hung)));
                }
            }
        });
        proxy
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// What was sent since this was asked last.
    pub(crate) fn sent(&self) -> Vec<u8> {
        std::mem::take(&mut *self.sent.lock().unwrap())
    }

    /// Closes the connections that are open.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Hung: everything stays open and silent. Otherwise everything is closed.
    pub(crate) fn down(&self, hung: bool) {
        match hung {
            true => self.hung.store(true, Ordering::SeqCst),
            false => {
                self.closed.store(true, Ordering::SeqCst);
                self.cut();
            }
        }
    }

    /// New connections work. Those that hang do so for ever.
    pub(crate) fn up(&self) {
        self.hung.store(false, Ordering::SeqCst);
        self.closed.store(false, Ordering::SeqCst);
    }
}

async fn pass(
    mut client: TcpStream,
    mut server: TcpStream,
    sent: Arc<Mutex<Vec<u8>>>,
    mut cuts: watch::Receiver<u32>,
    hung: Arc<AtomicBool>,
) {
    let (mut up, mut down) = (vec![0; 65536], vec![0; 65536]);
    loop {
        let from_client = tokio::select! {
            _ = cuts.changed() => return,
            read = client.read(&mut up) => (read.unwrap_or(0), true),
            read = server.read(&mut down) => (read.unwrap_or(0), false),
        };
        if hung.load(Ordering::SeqCst) {
            return std::future::pending().await;
        }
        let done = match from_client {
            (0, _) => return,
            (n, true) => {
                sent.lock().unwrap().extend_from_slice(&up[..n]);
                server.write_all(&up[..n]).await
            }
            (n, false) => client.write_all(&down[..n]).await,
        };
        if done.is_err() {
            return;
        }
    }
}
