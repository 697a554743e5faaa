//! `clerk-sync send` with what `clerk webhooks listen --json` writes, to a real server.

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

use base64::Engine as _;
use sea_orm::{EntityTrait as _, PaginatorTrait as _};
use serde_json::{Value, json};

use crate::support::{
    people::user,
    process::{SECRET, run},
    world::sqlite,
};

const LISTEN: &str = include_str!("../cases/09-clerk-listen.ndjson");

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn event(id: &str, body: &[u8]) -> String {
    let headers = json!({"svix-id": id, "svix-timestamp": "1762000000", "svix-signature": "v1,AAAA"});
    let body = base64::engine::general_purpose::STANDARD.encode(body);
    json!({"type": "event", "svix_id": id, "headers": headers, "body_b64": body}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_listener_wrote_is_sent_again_with_our_signature() {
    let world = sqlite(&[]).await;
    let running = world.serve().await;
    let folder = tempfile::tempdir().unwrap();
    let to = format!("http://{}", running.addr);
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let send = |paths: &[&str]| {
        run(&world, &[&["send"], paths, &["--to", &to]].concat(), &[("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)])
    };

    let listened = write("listen.ndjson", LISTEN.as_bytes());
    let first = send(&[&listened]);
    assert!(first.status.success(), "{}{}", text(&first), complaint(&first));
    assert!(text(&first).starts_with("200  accepted           msg_2casescasescasescasescases1"), "{}", text(&first));
    assert!(text(&first).ends_with("lines passed over, no deliveries: 2\n"), "{}", text(&first));
    let line: Value = serde_json::from_str(LISTEN.lines().nth(1).unwrap()).unwrap();
    let body = base64::engine::general_purpose::STANDARD.decode(line["body_b64"].as_str().unwrap()).unwrap();
    assert_eq!(world.inbox("msg_2casescasescasescasescases1").await.body.unwrap(), body, "byte for byte");
    assert!(text(&send(&[&listened])).contains("duplicate"), "the id is kept");

    // Beside a pretty-printed body, with Windows' line ends, a broken line and one that was cut off.
    let pretty = write("pretty.json", serde_json::to_string_pretty(&user("ada", 1)).unwrap().as_bytes());
    let spaced = format!(" {} ", user("cleo", 1));
    let cut = event("msg_cut", b"{}");
    let lines = [
        event("msg_ben", user("ben", 1).to_string().as_bytes()),
        String::new(),
        event("msg_bad", b"").replace("\"body_b64\":\"\"", "\"body_b64\":\"!\""),
        json!({"type": "unheard of"}).to_string(),
        event("msg_cleo", spaced.as_bytes()),
        cut[..40].to_owned(),
    ];
    let mixed = write("mixed.ndjson", lines.join("\r\n").as_bytes());
    let sent = send(&[&pretty, &mixed]);
    assert_eq!(sent.status.code(), Some(1), "{}", text(&sent));
    assert_eq!(text(&sent).matches("200  accepted").count(), 3, "{}{}", text(&sent), complaint(&sent));
    assert!(text(&sent).contains("lines passed over, no deliveries: 1"), "{}", text(&sent));
    assert!(complaint(&sent).contains("mixed.ndjson:3: body_b64 is not base64"), "{}", complaint(&sent));
    assert!(complaint(&sent).contains("mixed.ndjson:6: the last line is cut off"), "{}", complaint(&sent));
    assert_eq!(world.inbox("msg_cleo").await.body.unwrap(), spaced.as_bytes());

    // Bytes that are no text are signed too, and judged by the receiver.
    let binary = write("binary.ndjson", event("msg_binary", b"{\"type\":\"\xff\"}").as_bytes());
    let refused = send(&[&binary]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).starts_with("400  invalid_payload"), "{}{}", text(&refused), complaint(&refused));

    let mut piped = Command::new(env!("CARGO_BIN_EXE_clerk-sync"));
    let secret = write("secret", format!("{SECRET}\n").as_bytes());
    piped.args(["send", "-", "--to", &to, "--secret-file", &secret]).env_clear();
    piped.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut piped = piped.spawn().unwrap();
    piped
        .stdin
        .take()
        .unwrap()
        .write_all(event("msg_dora", user("dora", 1).to_string().as_bytes()).as_bytes())
        .unwrap();
    let piped = piped.wait_with_output().unwrap();
    assert!(piped.status.success() && text(&piped).contains("msg_dora"), "{}", text(&piped));
    assert_eq!(entity::inbox::Entity::find().count(&world.app.db.read).await.unwrap(), 5);
    // Every user of the machine can read the arguments of a process.
    let shown = run(&world, &["send", &listened, "--to", &to, "--secret", SECRET], &[]);
    assert_eq!(shown.status.code(), Some(1));
    assert!(
        complaint(&shown).contains("--secret-file") && !complaint(&shown).contains(SECRET),
        "{}",
        complaint(&shown)
    );
    assert!(running.stop().await);
}
