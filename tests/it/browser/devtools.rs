//! A Chromium of the test's own, without a window, spoken to over its DevTools protocol.

use std::{
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpStream, sync::Mutex, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

use crate::support::services;

/// Nothing that is waited for takes this long.
const LONG: Duration = Duration::from_secs(30);

/// A browser; ends when it is dropped, at the latest.
pub(super) struct Browser {
    child: Child,
    pub(super) wire: Arc<Mutex<Wire>>,
    _profile: TempDir,
}

/// The connection to it.
pub(super) struct Wire {
    socket: WebSocketStream<TcpStream>,
    last: u64,
    /// What pages complained of: exceptions, errors on the console, what a policy forbade.
    pub(super) complaints: Vec<String>,
}

impl Browser {
    /// Starts one; `None` where there is none.
    pub(super) async fn start() -> Option<Self> {
        let program = services::chromium()?;
        let profile = tempfile::tempdir().unwrap();
        let child = Command::new(program)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(["--headless=new", "--remote-debugging-port=0", "--window-size=900,640"])
            // It shows nothing but these tests' own pages; as root it would not start otherwise.
            .args(["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server"])
            .args(["--no-first-run", "--disable-extensions", "--disable-sync", "--mute-audio", "--hide-scrollbars"])
            .args(["--disable-backgrounding-occluded-windows", "--disable-renderer-backgrounding"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-breakpad"])
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (port, path) = opened(&profile).await;
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let url = format!("ws://127.0.0.1:{port}{path}");
        let (socket, _) = client_async_with_config(url, stream, Some(config)).await.unwrap();
        let wire = Wire { socket, last: 0, complaints: Vec::new() };
        Some(Self { child, wire: Arc::new(Mutex::new(wire)), _profile: profile })
    }

    /// Asks it to end, and waits until it has.
    pub(super) async fn close(mut self) {
        self.wire.lock().await.say("", "Browser.close", json!({})).await;
        let started = Instant::now();
        while self.child.try_wait().unwrap().is_none() && started.elapsed() < Duration::from_secs(5) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The port and path that a starting browser writes into its profile.
async fn opened(profile: &TempDir) -> (u16, String) {
    let file = profile.path().join("DevToolsActivePort");
    let started = Instant::now();
    loop {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        if let Some((port, path)) = text.split_once('\n')
            && !path.is_empty()
        {
            return (port.parse().unwrap(), path.trim().to_owned());
        }
        assert!(started.elapsed() < LONG, "the browser does not start");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

impl Wire {
    /// Sends a command, to a page or, with an empty session, to the browser; its number.
    async fn say(&mut self, session: &str, method: &str, params: Value) -> u64 {
        self.last += 1;
        let mut command = json!({"id": self.last, "method": method, "params": params});
        if !session.is_empty() {
            command["sessionId"] = json!(session);
        }
        self.socket.send(Message::text(command.to_string())).await.unwrap();
        self.last
    }

    /// Sends a command and waits for its result.
    pub(super) async fn ask(&mut self, session: &str, method: &str, params: Value) -> Value {
        let id = self.say(session, method, params).await;
        loop {
            let message = timeout(LONG, self.socket.next()).await;
            let message = message.unwrap_or_else(|_| panic!("the browser does not answer {method}"));
            let Message::Text(text) = message.unwrap().unwrap() else { continue };
            let mut answer: Value = serde_json::from_str(&text).unwrap();
            if answer["id"] == json!(id) {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].take();
            }
            self.note(&answer);
        }
    }

    fn note(&mut self, told: &Value) {
        let params = &told["params"];
        let complaint = match told["method"].as_str() {
            Some("Runtime.exceptionThrown") => &params["exceptionDetails"],
            Some("Runtime.consoleAPICalled") if params["type"] != "debug" => &params["args"],
            Some("Log.entryAdded") if params["entry"]["level"] == "error" => &params["entry"],
            _ => return,
        };
        self.complaints.push(complaint.to_string());
    }
}
