//! A double of an SMTP server: speaks the protocol over real sockets, keeps what it took, and fails in the ways real
//! ones and the network do.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use base64::Engine as _;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
    task::JoinHandle,
};

use super::tls::{self, Stream};

/// What happens to one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is closed before a word is said.
    Close,
    /// The reply with this code comes instead of the good one: to the connection itself, to a command.
    Greeting(u16),
    Hello(u16),
    Login(u16),
    Sender(u16),
    Recipient(u16),
    Data(u16),
    Content(u16),
    /// The connection breaks in the middle of the content.
    BreakInContent,
    /// The mail is lost, or taken, and the connection breaks before the last reply.
    BreakAfterContent {
        taken: bool,
    },
    /// Each reply takes this long.
    Slow(Duration),
}

/// How connections are encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Encryption {
    #[default]
    None,
    StartTls,
    Always,
}

/// A mail that was taken.
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    /// Whether nobody on the way could read it.
    pub(crate) secret: bool,
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    /// As it travelled, dots at the beginning of lines restored.
    pub(crate) raw: String,
}

/// A running double.
#[derive(Debug)]
pub(crate) struct Double {
    port: u16,
    shared: Arc<Shared>,
    server: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    encryption: Encryption,
    /// One for each connection to come; then all goes well.
    faults: Mutex<VecDeque<Fault>>,
    /// Recipients that are refused with a code, whatever else happens.
    refused: Mutex<Vec<(String, u16)>>,
    letters: Mutex<Vec<Letter>>,
    logins: Mutex<Vec<String>>,
    connections: Mutex<usize>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

impl Double {
    pub(crate) async fn start() -> Self {
        Self::start_with(Encryption::None).await
    }

    pub(crate) async fn start_with(encryption: Encryption) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared { encryption, ..Shared::default() });
        let server = Some(tokio::spawn(serve(listener, shared.clone())));
        Self { port, shared, server }
    }

    pub(crate) fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Nobody listens: connections are refused.
    pub(crate) async fn down(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
            let _ = server.await;
        }
    }

    pub(crate) async fn up(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.unwrap();
        self.server = Some(tokio::spawn(serve(listener, self.shared.clone())));
    }

    /// The next connections fail like this, one after the other.
    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        lock(&self.shared.faults).extend(faults);
    }

    /// How many of them have not come yet.
    pub(crate) fn faults_left(&self) -> usize {
        lock(&self.shared.faults).len()
    }

    /// From now on these recipients are refused.
    pub(crate) fn refuse(&self, recipients: &[(&str, u16)]) {
        *lock(&self.shared.refused) = recipients.iter().map(|(to, code)| ((*to).to_owned(), *code)).collect();
    }

    /// Everything that was taken so far.
    pub(crate) fn letters(&self) -> Vec<Letter> {
        lock(&self.shared.letters).clone()
    }

    /// What was said after AUTH.
    pub(crate) fn logins(&self) -> Vec<String> {
        lock(&self.shared.logins).clone()
    }

    pub(crate) fn connections(&self) -> usize {
        *lock(&self.shared.connections)
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    // Ended with the listener: a server that goes down takes its connections with it.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        *lock(&shared.connections) += 1;
        let fault = lock(&shared.faults).pop_front();
        let shared = shared.clone();
        connections.spawn(async move {
            // What breaks the connection ends it.
            if fault != Some(Fault::Close)
                && let Ok(stream) = tls::open(stream, shared.encryption == Encryption::Always).await
            {
                let secret = shared.encryption == Encryption::Always;
                let _ = Session { stream: Some(BufReader::new(stream)), secret, shared, fault }.run().await;
            }
        });
    }
}

struct Session {
    /// Not there only while it is being encrypted.
    stream: Option<BufReader<Box<dyn Stream>>>,
    secret: bool,
    shared: Arc<Shared>,
    fault: Option<Fault>,
}

impl Session {
    fn stream(&mut self) -> &mut BufReader<Box<dyn Stream>> {
        self.stream.as_mut().unwrap()
    }

    async fn say(&mut self, line: &str) -> std::io::Result<()> {
        if let Some(Fault::Slow(delay)) = self.fault {
            tokio::time::sleep(delay).await;
        }
        self.stream().get_mut().write_all(format!("{line}\r\n").as_bytes()).await
    }

    /// The good reply, or the fault's. A reply of 421 ends the connection.
    async fn reply(&mut self, good: &str, bad: Option<u16>) -> std::io::Result<bool> {
        let Some(code) = bad else { return self.say(good).await.map(|()| true) };
        self.say(&format!("{code} <nobody@example.com> no, says the double")).await?;
        if code == 421 { Err(std::io::ErrorKind::ConnectionAborted.into()) } else { Ok(false) }
    }

    async fn run(mut self) -> std::io::Result<()> {
        use Fault::{BreakAfterContent, BreakInContent, Content, Data, Greeting, Hello, Login, Recipient, Sender};
        let code = |wanted: fn(Fault) -> Option<u16>| self.fault.and_then(wanted);
        let greeting = code(|fault| if let Greeting(code) = fault { Some(code) } else { None });
        let hello = code(|fault| if let Hello(code) = fault { Some(code) } else { None });
        let login = code(|fault| if let Login(code) = fault { Some(code) } else { None });
        let sender = code(|fault| if let Sender(code) = fault { Some(code) } else { None });
        let recipient = code(|fault| if let Recipient(code) = fault { Some(code) } else { None });
        let data = code(|fault| if let Data(code) = fault { Some(code) } else { None });
        let content = code(|fault| if let Content(code) = fault { Some(code) } else { None });
        self.reply("220 double ESMTP", greeting).await?;
        let (mut from, mut to) = (String::new(), Vec::new());
        let mut line = String::new();
        loop {
            line.clear();
            if self.stream().read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let (verb, rest) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
            let address = || rest.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(a, _)| a.to_owned());
            match verb {
                "EHLO" => {
                    if hello.is_none() {
                        self.say("250-double").await?;
                        self.say("250-8BITMIME").await?;
                        if self.shared.encryption == Encryption::StartTls && !self.secret {
                            self.say("250-STARTTLS").await?;
                        }
                    }
                    self.reply("250 AUTH PLAIN LOGIN", hello).await?;
                }
                "STARTTLS" => {
                    self.say("220 go on").await?;
                    let plain = self.stream.take().unwrap();
                    assert!(plain.buffer().is_empty(), "something was said before the encryption");
                    self.stream = Some(BufReader::new(tls::accept(plain.into_inner()).await?));
                    self.secret = true;
                }
                "AUTH" => {
                    lock(&self.shared.logins).push(rest.to_owned());
                    self.reply("235 welcome", login).await?;
                }
                "MAIL" => {
                    from = address().unwrap();
                    self.reply("250 ok", sender).await?;
                }
                "RCPT" => {
                    let address = address().unwrap();
                    let known = lock(&self.shared.refused).iter().find(|(to, _)| *to == address).map(|(_, code)| *code);
                    if self.reply("250 ok", known.or(recipient)).await? {
                        to.push(address);
                    }
                }
                "DATA" if to.is_empty() => self.say("554 no recipients").await?,
                "DATA" => {
                    if self.reply("354 go on", data).await? {
                        let broken = self.fault == Some(BreakInContent);
                        let raw = self.content(broken).await?;
                        let letter =
                            Letter { secret: self.secret, from: from.clone(), to: std::mem::take(&mut to), raw };
                        let lost = self.fault == Some(BreakAfterContent { taken: false });
                        if content.is_none() && !lost {
                            lock(&self.shared.letters).push(letter);
                        }
                        if matches!(self.fault, Some(BreakAfterContent { .. })) {
                            return Ok(());
                        }
                        self.reply("250 taken", content).await?;
                    }
                }
                "QUIT" => return self.say("221 bye").await,
                _ => self.say("502 what").await?,
            }
        }
    }

    async fn content(&mut self, broken: bool) -> std::io::Result<String> {
        let mut raw = String::new();
        loop {
            let mut line = String::new();
            if self.stream().read_line(&mut line).await? == 0 || broken {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            assert!(line.ends_with("\r\n"), "a bare line feed: {line:?}");
            match line.strip_prefix('.') {
                Some("\r\n") => return Ok(raw),
                Some(rest) => raw.push_str(rest),
                None => raw.push_str(&line),
            }
        }
    }
}

/// A mail read as a mail program reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Read {
    pub(crate) fn of(raw: &str) -> Self {
        let (head, body) = raw.split_once("\r\n\r\n").unwrap();
        let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
        let header = |line: &str| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), words(value.trim()))
        };
        let headers: Vec<_> = unfolded.split("\r\n").map(header).collect();
        let mut read = Self { headers, body: String::new() };
        read.body = match read.header("content-transfer-encoding") {
            "7bit" | "8bit" => body.to_owned(),
            "quoted-printable" => quoted(body),
            "base64" => decoded(&body.replace("\r\n", "")),
            other => panic!("{other}"),
        }
        .replace("\r\n", "\n");
        read
    }

    /// The header, which must be there once.
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut found = self.headers.iter().filter(|(known, _)| known == name);
        let (_, value) = found.next().unwrap_or_else(|| panic!("no {name}: {:?}", self.headers));
        assert!(found.next().is_none(), "{name} twice");
        value
    }
}

fn decoded(text: &str) -> String {
    String::from_utf8(base64::engine::general_purpose::STANDARD.decode(text).unwrap()).unwrap()
}

/// A header with its encoded words (base64 only) decoded.
fn words(value: &str) -> String {
    let joined = value.replace("?= =?utf-8?b?", "");
    let Some((before, rest)) = joined.split_once("=?utf-8?b?") else { return joined };
    let (word, after) = rest.split_once("?=").unwrap();
    format!("{before}{}{}", decoded(word), words(after))
}

fn quoted(body: &str) -> String {
    let body = body.replace("=\r\n", "");
    let mut bytes = Vec::new();
    let mut rest = body.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'=' {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&after[..2]).unwrap(), 16).unwrap());
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).unwrap()
}
