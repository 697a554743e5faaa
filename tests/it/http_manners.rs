//! What a sender sees on the wire: status line, headers, and that the answer can be read after everything was sent.

use std::{net::SocketAddr, time::Duration};

use clerk_sync::{clerk::signature::Verifier, clock::Clock};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{people::user, process::SECRET, world::sqlite};

const MIB: usize = 1 << 20;

/// A request as it is written, and what of it is sent before the answer is read.
struct Request {
    head: String,
    body: Vec<u8>,
}

impl Request {
    fn new(start: &str) -> Self {
        Self { head: format!("{start}\r\nhost: x\r\n"), body: Vec::new() }
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        self.head.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// The headers of a delivery, signed `offset` seconds from now.
    fn signed(self, id: &str, body: &[u8], offset: i64) -> Self {
        let at = Clock::system().now().timestamp() + offset;
        let verifier = Verifier::new(SECRET, Duration::from_secs(300)).unwrap();
        let signature = verifier.sign(id, at, body).unwrap();
        self.header("svix-id", id).header("svix-timestamp", &at.to_string()).header("svix-signature", &signature)
    }

    fn with_length(self, body: &[u8]) -> Self {
        let length = body.len().to_string();
        Self { body: body.to_vec(), ..self.header("content-length", &length) }
    }

    fn chunked(self, body: &[u8]) -> Self {
        let mut chunks = Vec::new();
        for chunk in body.chunks(10_000) {
            chunks.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
            chunks.extend(chunk);
            chunks.extend(b"\r\n");
        }
        chunks.extend(b"0\r\n\r\n");
        Self { body: chunks, ..self.header("transfer-encoding", "chunked") }
    }

    /// Sends everything, then reads the answer.
    async fn exchange(&self, address: SocketAddr) -> Answer {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(format!("{}\r\n", self.head).as_bytes()).await.unwrap();
        socket.write_all(&self.body).await.expect("everything is taken");
        Answer::read(&mut socket, self.head.starts_with("HEAD")).await
    }
}

struct Answer {
    head: String,
    body: String,
}

impl Answer {
    async fn read(socket: &mut TcpStream, no_body: bool) -> Self {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            let byte = tokio::time::timeout(Duration::from_secs(20), socket.read_u8()).await;
            bytes.push(byte.expect("an answer in time").expect("an answer that can be read"));
        }
        let head = String::from_utf8(bytes).unwrap().to_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        let mut body = vec![0; length.filter(|_| !no_body).unwrap_or_default()];
        socket.read_exact(&mut body).await.unwrap();
        Self { head, body: String::from_utf8(body).unwrap() }
    }

    fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

fn post(path: &str) -> Request {
    Request::new(&format!("POST {path} HTTP/1.1")).header("content-type", "application/json")
}

/// Method, content type, headers, timestamp and announced length are judged without the body, and whatever is refused, the
/// sender can read why after it has sent everything.
#[tokio::test]
async fn refusals_can_be_read_after_everything_was_sent() {
    let world = sqlite(&[]).await;
    let running = world.serve().await;
    let (large, larger) = (vec![b' '; MIB + 1], vec![b' '; 3 * MIB - 100]);
    let (path, full) = ("/webhooks/clerk", vec![b' '; MIB]);
    let signed = |body: &[u8]| post(path).signed("msg_x", body, 0);
    let plain = |start: &str| Request::new(start).header("content-type", "text/plain");
    let cases: Vec<(&str, Request, u16, &str)> = vec![
        ("one byte too many", signed(&large).with_length(&large), 413, "payload_too_large"),
        ("one byte too many, chunked", signed(&large).chunked(&large), 413, "payload_too_large"),
        ("far too many", signed(&larger).with_length(&larger), 413, "payload_too_large"),
        ("far too many, chunked", signed(&larger).chunked(&larger), 413, "payload_too_large"),
        ("far too many, unsigned", post(path).with_length(&larger), 413, "payload_too_large"),
        ("unsigned, chunked", post(path).chunked(&larger), 400, "missing_headers"),
        ("stale", post(path).signed("msg_x", &full, -301).with_length(&full), 401, "stale_timestamp"),
        ("stale and wrong", post(path).signed("msg_x", b"", 400).chunked(&full), 401, "stale_timestamp"),
        ("as large as may be", signed(&full).with_length(&full), 400, "invalid_payload"),
        ("a wrong signature", signed(b"").chunked(&full), 401, "invalid_signature"),
        ("no JSON", plain("POST /webhooks/clerk HTTP/1.1").with_length(&full), 415, "unsupported_media_type"),
        ("another method", plain("PUT /webhooks/clerk HTTP/1.1").chunked(&larger), 405, "method_not_allowed"),
        ("with a slash", plain("PUT /webhooks/clerk/ HTTP/1.1").with_length(&full), 405, "method_not_allowed"),
        ("HTTP/1.0", plain("POST /webhooks/clerk HTTP/1.0").with_length(&larger), 415, "unsupported_media_type"),
        ("another path", post("/webhooks/other").with_length(&larger), 404, "not_found"),
        ("a read", post("/v1/users").chunked(&larger), 405, "method_not_allowed"),
    ];
    for (name, request, status, code) in cases {
        let answer = request.exchange(running.addr).await;
        assert_eq!(answer.status(), status, "{name}: {}{}", answer.head, answer.body);
        assert!(answer.head.contains("content-type: application/problem+json"), "{name}: {}", answer.head);
        assert!(answer.body.contains(&format!("\"code\":\"{code}\"")), "{name}: {}", answer.body);
    }
    // More than that is not taken, and harms nobody.
    let flood = post(path).with_length(&vec![b' '; 12 * MIB]);
    let mut socket = TcpStream::connect(running.addr).await.unwrap();
    socket.write_all(format!("{}\r\n", flood.head).as_bytes()).await.unwrap();
    let _ = socket.write_all(&flood.body).await;
    assert_eq!(Request::new("GET /healthz HTTP/1.1").exchange(running.addr).await.status(), 200);
    assert!(running.stop().await);
}

/// `Expect: 100-continue` asks before it sends: a refusal spares the body, and whoever may send is told so.
#[tokio::test]
async fn who_asks_first_sends_no_body_in_vain() {
    let world = sqlite(&[]).await;
    let running = world.serve().await;
    let body = user("ada", 1).to_string().into_bytes();
    let path = "/webhooks/clerk";
    let expecting = |request: Request| request.header("expect", "100-continue");
    let cases = [
        ("too large", post(path).signed("msg_x", b"", 0).header("content-length", "2000000"), 413),
        ("stale", post(path).signed("msg_x", &body, -400).header("content-length", "20"), 401),
        ("unsigned", post(path).header("transfer-encoding", "chunked"), 400),
        (
            "no JSON",
            Request::new("POST /webhooks/clerk HTTP/1.1")
                .header("content-type", "text/html")
                .header("content-length", "9"),
            415,
        ),
        ("PUT", Request::new("PUT /webhooks/clerk HTTP/1.1").header("content-length", "9"), 405),
    ];
    for (name, request, status) in cases {
        let answer = expecting(request).exchange(running.addr).await;
        assert_eq!(answer.status(), status, "{name}: {}", answer.head);
    }
    let request = expecting(post(path).signed("msg_ada", &body, 0)).with_length(&body);
    let mut socket = TcpStream::connect(running.addr).await.unwrap();
    socket.write_all(format!("{}\r\n", request.head).as_bytes()).await.unwrap();
    assert_eq!(Answer::read(&mut socket, true).await.status(), 100);
    socket.write_all(&request.body).await.unwrap();
    assert_eq!(Answer::read(&mut socket, false).await.status(), 200);
    assert!(running.stop().await);
}

#[tokio::test]
async fn other_methods_are_told_which_are_allowed() {
    let world = sqlite(&[("api.admin_token", "admin".into())]).await;
    let running = world.serve().await;
    for (start, allowed) in [
        ("GET /webhooks/clerk", "post"),
        ("HEAD /webhooks/clerk", "post"),
        ("OPTIONS /webhooks/clerk", "post"),
        ("DELETE /webhooks/clerk/", "post"),
        ("WHATEVER /webhooks/clerk", "post"),
        ("POST /healthz", "get,head"),
        ("PUT /readyz", "get,head"),
        ("DELETE /metrics", "get,head"),
        ("POST /client.js", "get,head"),
        ("POST /v1/users", "get,head"),
        ("DELETE /v1/users/user_ada", "get,head"),
        ("GET /v1/users/user_ada/ensure", "post"),
        ("PATCH /v1/search/users", "get,head"),
        ("POST /v1/changes", "get,head"),
        ("OPTIONS /v1/organizations", "get,head"),
        ("POST /v1/admin/events", "get,head"),
        ("GET /v1/admin/events/msg_1/retry", "post"),
        ("POST /v1/ws", "get,head,connect"),
    ] {
        let answer = Request::new(&format!("{start} HTTP/1.1")).exchange(running.addr).await;
        assert_eq!(answer.status(), 405, "{start}: {}", answer.head);
        let found = answer.head.lines().find_map(|line| line.strip_prefix("allow: "));
        assert_eq!(found, Some(allowed), "{start}");
        assert!(answer.head.contains("application/problem+json"), "{start}: {}", answer.head);
        assert_eq!(answer.body.is_empty(), start.starts_with("HEAD"), "{start}");
    }
    assert!(running.stop().await);
}

/// The signature decides what a delivery is: framing, version, slash and a careless content type change nothing.
#[tokio::test]
async fn a_signed_delivery_is_taken_in_every_form() {
    let world = sqlite(&[]).await;
    let running = world.serve().await;
    let body = user("ada", 1).to_string().into_bytes();
    let marked = [b"\xef\xbb\xbf".as_slice(), &body].concat();
    let bare = || Request::new("POST /webhooks/clerk HTTP/1.1");
    let typed = |kind: &str| bare().header("content-type", kind);
    let forms: Vec<(&str, Request, &[u8])> = vec![
        ("no type", bare(), &body),
        ("an empty type", typed(""), &body),
        ("a doubled type", typed("application/json, application/json"), &body),
        ("two types", typed("application/json").header("content-type", "application/json"), &body),
        ("upper case", typed("APPLICATION/JSON; Charset=UTF-8"), &body),
        ("a vendor's type", typed("application/vnd.x+json"), &body),
        ("text/json", typed("text/json"), &body),
        ("a slash", post("/webhooks/clerk/"), &body),
        ("a query", post("/webhooks/clerk?from=clerk"), &body),
        ("HTTP/1.0", Request::new("POST /webhooks/clerk HTTP/1.0"), &body),
        ("a byte order mark", typed("application/json"), &marked),
    ];
    for (index, (name, request, body)) in forms.into_iter().enumerate() {
        let id = format!("msg_{index}");
        let mut request = request.signed(&id, body, 0);
        // Chunks are not known to HTTP/1.0.
        let chunked = index % 2 == 1 && !request.head.contains("HTTP/1.0");
        request = if chunked { request.chunked(body) } else { request.with_length(body) };
        let answer = request.exchange(running.addr).await;
        assert_eq!(answer.status(), 200, "{name}: {}{}", answer.head, answer.body);
        assert!(answer.body.contains("accepted"), "{name}: {}", answer.body);
        let stored = world.inbox(&id).await.body.unwrap();
        assert!(stored.starts_with(b"{"), "{name}: stored without the mark");
    }
    for kind in ["text/plain", "application/json, text/plain", "multipart/form-data; boundary=x", "json"] {
        let answer = typed(kind).signed("msg_no", &body, 0).with_length(&body).exchange(running.addr).await;
        assert_eq!(answer.status(), 415, "{kind}");
    }
    assert!(running.stop().await);
}
