//! A transaction pooler in front of the tests' Postgres, as PgBouncer 1.21 and Supavisor are: each transaction of a client
//! runs in whichever server session is free, prepared statements are carried along, and start parameters that a pooler
//! does not know are refused. Sessions are handed out in turn, so that nothing of one is there in the next.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Semaphore, SemaphorePermit},
};

/// What PgBouncer takes of a client's start parameters.
const KNOWN: [&str; 7] =
    ["user", "database", "client_encoding", "datestyle", "timezone", "standard_conforming_strings", "application_name"];

const SSL_REQUEST: u32 = 80_877_103;

/// A pooler at work; ends with the runtime.
pub(crate) struct Pooler {
    url: String,
    pool: Arc<Pool>,
}

struct Pool {
    server: SocketAddr,
    database: String,
    free: Semaphore,
    idle: Mutex<VecDeque<Session>>,
    clients: AtomicU32,
    transactions: AtomicU32,
}

/// A session of the server, and what has been prepared in it.
struct Session {
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
    prepared: HashSet<String>,
    greeting: Vec<u8>,
}

/// One message: its kind and what follows the length.
type Message = (u8, Vec<u8>);

impl Pooler {
    /// In front of this database, with so many sessions.
    pub(crate) async fn start(url: &str, sessions: usize) -> Self {
        let (_, rest) = url.split_once('@').unwrap();
        let (server, database) = rest.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("postgres://postgres@{}/{database}", listener.local_addr().unwrap());
        let pool = Arc::new(Pool {
            server: server.parse().unwrap(),
            database: database.to_owned(),
            free: Semaphore::new(sessions),
            idle: Mutex::default(),
            clients: AtomicU32::new(0),
            transactions: AtomicU32::new(0),
        });
        let shared = pool.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let pool = shared.clone();
                // A client that hangs up ends its task.
                tokio::spawn(async move { drop(pool.serve(client).await) });
            }
        });
        Self { url, pool }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// How many transactions went through.
    pub(crate) fn transactions(&self) -> u32 {
        self.pool.transactions.load(Ordering::Relaxed)
    }
}

impl Pool {
    async fn serve(&self, client: TcpStream) -> std::io::Result<()> {
        client.set_nodelay(true)?;
        let (mut read, mut write) = client.into_split();
        let start = loop {
            let length = read.read_u32().await? as usize;
            let mut start = vec![0; length - 4];
            read.read_exact(&mut start).await?;
            if u32::from_be_bytes(start[..4].try_into().unwrap()) != SSL_REQUEST {
                break start;
            }
            write.write_all(b"N").await?;
        };
        let words: Vec<_> = start[4..].split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        if let Some(unknown) = words
            .chunks(2)
            .map(|pair| &pair[0])
            .find(|name| !name.is_empty() && !KNOWN.contains(&name.to_lowercase().as_str()))
        {
            let error = format!("SFATAL\0C08P01\0Munsupported startup parameter: {unknown}\0\0");
            return write.write_all(&message(b'E', error.as_bytes())).await;
        }
        let number = self.clients.fetch_add(1, Ordering::Relaxed);
        let (session, permit) = self.take().await?;
        write.write_all(&session.greeting).await?;
        write.write_all(&message(b'K', &[0, 0, 0, 1, 0, 0, 0, 2])).await?;
        write.write_all(&message(b'Z', b"I")).await?;
        self.give_back(session, permit);
        let mut statements = HashMap::new();
        loop {
            let first = receive(&mut read).await?;
            if first.0 == b'X' {
                return Ok(());
            }
            let (mut session, permit) = self.take().await?;
            self.transactions.fetch_add(1, Ordering::Relaxed);
            // A session whose client went away within a transaction is not given to the next.
            session.transaction(number, &mut statements, first, &mut read, &mut write).await?;
            self.give_back(session, permit);
        }
    }

    async fn take(&self) -> std::io::Result<(Session, SemaphorePermit<'_>)> {
        let permit = self.free.acquire().await.unwrap();
        // In turn, and new ones first, so that neighbours in time run in different sessions.
        let idle = (self.free.available_permits() == 0 || self.idle.lock().unwrap().len() > 2)
            .then(|| self.idle.lock().unwrap().pop_front())
            .flatten();
        let session = match idle {
            Some(session) => session,
            None => self.open().await?,
        };
        Ok((session, permit))
    }

    fn give_back(&self, session: Session, permit: SemaphorePermit<'_>) {
        self.idle.lock().unwrap().push_back(session);
        drop(permit);
    }

    async fn open(&self) -> std::io::Result<Session> {
        let server = TcpStream::connect(self.server).await?;
        server.set_nodelay(true)?;
        let (mut read, mut write) = server.into_split();
        let start = format!("\0\x03\0\0user\0postgres\0database\0{}\0\0", self.database);
        write.write_u32(start.len() as u32 + 4).await?;
        write.write_all(start.as_bytes()).await?;
        let mut greeting = Vec::new();
        loop {
            match receive(&mut read).await? {
                (b'Z', _) => break,
                (b'K', _) => {}
                (b'E', error) => return Err(std::io::Error::other(String::from_utf8_lossy(&error).into_owned())),
                (kind, body) => greeting.extend(message(kind, &body)),
            }
        }
        Ok(Session { read, write, prepared: HashSet::new(), greeting })
    }
}

impl Session {
    /// Carries messages both ways until the server says that no transaction is open and nothing more is to be answered.
    async fn transaction(
        &mut self,
        client: u32,
        statements: &mut HashMap<String, Vec<u8>>,
        first: Message,
        read: &mut OwnedReadHalf,
        write: &mut OwnedWriteHalf,
    ) -> std::io::Result<()> {
        let (mut answers, mut injected) = (0_i32, VecDeque::new());
        let mut next = Some(first);
        loop {
            let from_server = match next.take() {
                Some(message) => {
                    answers += i32::from(matches!(message.0, b'Q' | b'S'));
                    self.forward(client, statements, &mut injected, message).await?;
                    continue_with(read, &mut self.read).await?
                }
                None => continue_with(read, &mut self.read).await?,
            };
            match from_server {
                Side::Client(message) => next = Some(message),
                Side::Server((b'1', _)) if injected.pop_front() == Some(true) => {}
                Side::Server((kind, body)) => {
                    write.write_all(&message(kind, &body)).await?;
                    if kind == b'Z' {
                        answers -= 1;
                        injected.clear();
                        if answers == 0 && body == b"I" {
                            return Ok(());
                        }
                    }
                }
            }
        }
    }

    /// Sends on what a client sends, its statements under names of their own; prepares those that this session lacks.
    async fn forward(
        &mut self,
        client: u32,
        statements: &mut HashMap<String, Vec<u8>>,
        injected: &mut VecDeque<bool>,
        (kind, body): Message,
    ) -> std::io::Result<()> {
        let renamed = |name: &str| if name.is_empty() { String::new() } else { format!("c{client}_{name}") };
        let body = match (kind, body.first()) {
            (b'P', _) => {
                let (name, rest) = text(&body);
                injected.push_back(false);
                if !name.is_empty() {
                    statements.insert(name.to_owned(), rest.to_vec());
                    self.prepared.insert(renamed(name));
                }
                [renamed(name).as_bytes(), b"\0", rest].concat()
            }
            (b'B', _) => {
                let (portal, rest) = text(&body);
                let (name, rest) = text(rest);
                self.prepare(renamed(name), statements.get(name), injected).await?;
                [portal.as_bytes(), b"\0", renamed(name).as_bytes(), b"\0", rest].concat()
            }
            (b'D' | b'C', Some(b'S')) => {
                let (name, _) = text(&body[1..]);
                if kind == b'D' {
                    self.prepare(renamed(name), statements.get(name), injected).await?;
                } else {
                    statements.remove(name);
                    self.prepared.remove(&renamed(name));
                }
                [b"S", renamed(name).as_bytes(), b"\0"].concat()
            }
            _ => body,
        };
        self.write.write_all(&message(kind, &body)).await
    }

    async fn prepare(
        &mut self,
        name: String,
        statement: Option<&Vec<u8>>,
        injected: &mut VecDeque<bool>,
    ) -> std::io::Result<()> {
        let Some(statement) = statement.filter(|_| !self.prepared.contains(&name)) else { return Ok(()) };
        injected.push_back(true);
        let parse = [name.as_bytes(), b"\0", statement].concat();
        self.prepared.insert(name);
        self.write.write_all(&message(b'P', &parse)).await
    }
}

enum Side {
    Client(Message),
    Server(Message),
}

/// The next message of either side. The kind is read by itself first, so that no message is cut in two.
async fn continue_with(client: &mut OwnedReadHalf, server: &mut OwnedReadHalf) -> std::io::Result<Side> {
    tokio::select! {
        kind = client.read_u8() => rest(kind?, client).await.map(Side::Client),
        kind = server.read_u8() => rest(kind?, server).await.map(Side::Server),
    }
}

async fn receive(from: &mut OwnedReadHalf) -> std::io::Result<Message> {
    let kind = from.read_u8().await?;
    rest(kind, from).await
}

async fn rest(kind: u8, from: &mut OwnedReadHalf) -> std::io::Result<Message> {
    let length = from.read_u32().await? as usize;
    let mut body = vec![0; length - 4];
    from.read_exact(&mut body).await?;
    Ok((kind, body))
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
}

/// A text that ends with a zero, and what follows.
fn text(body: &[u8]) -> (&str, &[u8]) {
    let end = body.iter().position(|byte| *byte == 0).unwrap();
    (std::str::from_utf8(&body[..end]).unwrap(), &body[end + 1..])
}
