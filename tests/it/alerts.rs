//! Alerts reach people: by mail and by chat, each once, none lost, whatever the servers on the other side do.

mod channels;
mod grace;
mod guard;
mod mailer;
mod merging;
mod process;

use std::time::Duration;

use clerk_sync::{
    app::App,
    db::Stmt,
    outbox::{
        feed::{self, Entry},
        relay::Sink,
    },
};
use serde_json::json;

use crate::support::{
    chat, people, smtp,
    world::{World, postgres, sqlite},
};

/// Both channels lead to doubles; nothing waits long.
fn keys(smtp: &smtp::Double, chat: &chat::Double) -> Vec<(&'static str, String)> {
    let keys = [
        ("alerts.mail_to", "ops@example.com, Boss <boss@example.com>"),
        ("alerts.mail_from", "clerk-sync@example.com"),
        ("alerts.allow_private", "true"),
        ("relay.backoff", "1ms"),
        ("relay.backoff_max", "2ms"),
        ("relay.poll", "20ms"),
    ];
    let mut keys: Vec<_> = keys.map(|(key, value)| (key, value.to_owned())).into();
    keys.extend([("smtp.url", smtp.url()), ("alerts.webhook_url", chat.url())]);
    keys
}

/// A world on each database with doubles of its own, both channels begun.
async fn beds(more: &[(&'static str, String)]) -> Vec<(World, smtp::Double, chat::Double)> {
    let (smtp, chat) = (smtp::Double::start().await, chat::Double::start().await);
    let mut beds = vec![(sqlite(&[keys(&smtp, &chat), more.to_vec()].concat()).await, smtp, chat)];
    let (smtp, chat) = (smtp::Double::start().await, chat::Double::start().await);
    if let Some(world) = postgres(&[keys(&smtp, &chat), more.to_vec()].concat()).await {
        beds.push((world, smtp, chat));
    }
    for (world, ..) in &beds {
        world.app.begin_channels().await.unwrap();
    }
    beds
}

/// An alert about somebody: they name a role that nobody may be granted.
async fn raise(world: &World, name: &str, at: u64) {
    let body = people::with(people::user(name, at), "public_metadata", json!({"roles": ["boss"]}));
    world.deliver(&format!("msg_{name}_{at}"), &body).await;
    world.drain().await;
}

/// Somebody claims an address that stands verified with somebody else.
async fn clash(world: &World, name: &str, at: u64, address: &str) {
    let addresses = json!([people::address(address, "idn_x")]);
    let body = people::with(people::user(name, at), "email_addresses", addresses);
    world.deliver(&format!("msg_{name}_{at}"), &body).await;
    world.drain().await;
}

/// Rows of the feed that say that an alert was raised.
async fn raised(app: &App) -> Vec<Entry> {
    let mut entries = feed::read(&app.db.read, 0, 10_000).await.unwrap();
    entries.retain(|entry| entry.event == "alert.raised");
    entries
}

async fn number(app: &App, sql: &'static str) -> i64 {
    Stmt::new(&app.db.read, sql).all(&app.db.read).await.unwrap()[0].try_get("", "n").unwrap()
}

async fn cursor(app: &App, sink: &str) -> i64 {
    let select = Stmt::new(&app.db.read, "select seq as n from clerk_sync.sink_cursors where sink = ").val(sink);
    select.all(&app.db.read).await.unwrap()[0].try_get("", "n").unwrap()
}

/// One attempt of a replica that was just started. Answers whether everything is sent.
async fn attempt<S: Sink>(app: &App, sink: &S) -> bool {
    app.relay().drain(sink).await.unwrap()
}

/// Attempts until everything is sent, each of a new replica.
async fn send<S: Sink>(app: &App, sink: &S) {
    for _ in 0..500 {
        if attempt(app, sink).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("{}: not everything is sent", sink.name());
}

async fn send_all(app: &App) {
    if let Some(mail) = &app.sinks.mail {
        send(app, mail).await;
    }
    if let Some(chat) = &app.sinks.chat {
        send(app, chat).await;
    }
}

/// The Message-ID of the alert in this row.
fn message_id(app: &App, seq: i64) -> String {
    format!("<{seq}.alerts.mail.{}@example.com>", app.meta.epoch)
}

fn mail_ids(smtp: &smtp::Double) -> Vec<String> {
    smtp.letters().iter().map(|letter| smtp::Read::of(&letter.raw).header("message-id").to_owned()).collect()
}

fn chat_keys(chat: &chat::Double) -> Vec<String> {
    chat.posts().iter().map(|post| post.key().to_owned()).collect()
}

/// Each of these alerts came once, in order, by each channel, and nothing else.
#[track_caller]
fn came_once(app: &App, alerts: &[Entry], smtp: &smtp::Double, chat: &chat::Double) {
    let mails: Vec<String> = alerts.iter().map(|entry| message_id(app, entry.seq)).collect();
    let posts: Vec<String> = alerts.iter().map(|entry| format!("{}:alerts:chat", entry.seq)).collect();
    assert_eq!((mail_ids(smtp), chat_keys(chat)), (mails, posts));
}
