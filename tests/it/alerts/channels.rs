//! P6 for messages: the doubles fail in turn, replicas come and go, and every alert arrives once per channel.

use std::time::Duration;

use clerk_sync::{
    clock::Clock,
    db::Stmt,
    outbox::{cursor, dead},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    attempt, beds, came_once, chat_keys, clash, cursor, mail_ids, message_id, number, raise, raised, send, send_all,
};
use crate::support::{
    chat,
    people::{deleted, user, with},
    smtp::{Fault::*, Read},
    world::{postgres, sqlite},
};

#[tokio::test]
async fn every_alert_arrives_once_whatever_the_servers_do() {
    for (world, mut smtp, chat) in beds(&[]).await {
        let app = &world.app;
        // One goes well after each that does not, so that failures meet every place in a page.
        let failures = [
            Close,
            Greeting(421),
            Greeting(554),
            Hello(550),
            Sender(451),
            Sender(550),
            Recipient(450),
            Recipient(421),
            Recipient(530),
            Data(451),
            Data(503),
            Content(452),
            Content(421),
            BreakInContent,
            BreakAfterContent { taken: false },
            Slow(Duration::from_millis(20)),
        ];
        smtp.fail(failures.into_iter().flat_map(|fault| [fault, Slow(Duration::ZERO)]));
        let failures = [
            chat::Fault::Close,
            chat::Fault::Status(500, ""),
            chat::Fault::Status(503, "retry-after: 0\r\n"),
            chat::Fault::Status(429, "retry-after: 0\r\n"),
            chat::Fault::Status(401, ""),
            chat::Fault::Status(403, ""),
            chat::Fault::Status(408, ""),
            chat::Fault::Status(302, "location: http://127.0.0.1:1/\r\n"),
            chat::Fault::Break { taken: false },
            chat::Fault::Slow(Duration::from_millis(50)),
            chat::Fault::Endless,
        ];
        chat.fail(failures.into_iter().flat_map(|fault| [fault, chat::Fault::Slow(Duration::ZERO)]));
        let (mail_sink, chat_sink) = (app.sinks.mail.as_ref().unwrap(), app.sinks.chat.as_ref().unwrap());
        world.deliver("msg_ada", &user("ada", 1)).await;
        for index in 0..24 {
            raise(&world, &format!("u{index}"), 1).await;
            // These are for the websocket alone.
            clash(&world, &format!("c{index}"), 1, "ada@example.com").await;
            match index {
                9 => smtp.down().await,
                13 => smtp.up().await,
                _ => {}
            }
            if index % 3 == 2 {
                attempt(app, mail_sink).await;
                attempt(app, chat_sink).await;
            }
        }
        send_all(app).await;
        let all = raised(app).await;
        let alerts: Vec<_> = all.into_iter().filter(|entry| entry.payload["kind"] == "role.not_grantable").collect();
        assert_eq!(alerts.len(), 24, "{}", world.name);
        came_once(app, &alerts, &smtp, &chat);
        assert_eq!((smtp.faults_left(), chat.faults_left()), (0, 0));
        assert_eq!(dead::list(&app.db, true, 10).await.unwrap(), [], "none of these is the message's fault");
        let head = number(app, "select max(seq) as n from clerk_sync.outbox").await;
        assert_eq!((cursor(app, "alerts:mail").await, cursor(app, "alerts:chat").await), (head, head));
        let letter = Read::of(&smtp.letters()[0].raw);
        assert_eq!(letter.header("subject"), "[clerk-sync] warning: role.not_grantable");
        assert_eq!(smtp.letters()[0].to, ["ops@example.com", "boss@example.com"]);
        for part in
            ["user_u0", "role.not_grantable:user_u0", "clerk-sync inbox list --subject user_u0", "docs/debugging.md"]
        {
            assert!(letter.body.contains(part) && chat.posts()[0].text().contains(part), "{part}: {}", letter.body);
        }
    }
}

#[tokio::test]
async fn what_a_server_refuses_for_good_blocks_nobody_and_can_be_sent_later() {
    for (world, smtp, chat) in beds(&[]).await {
        let app = &world.app;
        for name in ["ada", "ben", "cleo"] {
            raise(&world, name, 1).await;
        }
        let alerts = raised(app).await;
        smtp.fail([Slow(Duration::ZERO), Content(554)]);
        chat.fail([chat::Fault::Slow(Duration::ZERO), chat::Fault::Status(400, "")]);
        send_all(app).await;
        came_once(app, &[alerts[0].clone(), alerts[2].clone()], &smtp, &chat);
        let mut letters = dead::list(&app.db, false, 10).await.unwrap();
        letters.sort_by(|a, b| a.sink.cmp(&b.sink));
        let told: Vec<_> = letters.iter().map(|row| (row.sink.as_str(), row.seq, row.reason.as_str())).collect();
        let seq = alerts[1].seq;
        let reasons = ["the chat refuses this message (400)", "the mail server refuses this mail (554)"];
        assert_eq!(told, [("alerts:chat", seq, reasons[0]), ("alerts:mail", seq, reasons[1])], "{}", world.name);
        // Refused again, and then taken: the same message.
        smtp.fail([Content(554)]);
        assert!(app.sinks.redeliver(&letters[1]).await.unwrap());
        for letter in &letters {
            assert!(!app.sinks.redeliver(letter).await.unwrap());
        }
        assert_eq!(mail_ids(&smtp)[2], message_id(app, seq));
        assert_eq!(chat_keys(&chat)[2], format!("{seq}:alerts:chat"));
        // The row has left the feed: nothing can be sent, and nothing else is sent in its place.
        Stmt::new(&app.db.write, "delete from clerk_sync.outbox where seq = ")
            .val(seq)
            .exec(&app.db.write)
            .await
            .unwrap();
        let error = app.sinks.redeliver(&letters[0]).await.unwrap_err().to_string();
        assert!(error.contains("discard"), "{error}");
        assert_eq!(mail_ids(&smtp).len(), 3);
    }
}

#[tokio::test]
async fn a_recipient_who_is_refused_does_not_keep_a_mail_from_the_others() {
    for (world, smtp, _chat) in beds(&[]).await {
        let app = &world.app;
        let sink = app.sinks.mail.as_ref().unwrap();
        smtp.refuse(&[("boss@example.com", 550)]);
        raise(&world, "ada", 1).await;
        send(app, sink).await;
        assert_eq!(smtp.letters()[0].to, ["ops@example.com"], "{}", world.name);
        // One who is put off holds it for both: nobody gets it twice.
        smtp.refuse(&[("boss@example.com", 452)]);
        raise(&world, "ben", 1).await;
        assert!(!attempt(app, sink).await);
        assert_eq!(smtp.letters().len(), 1);
        smtp.refuse(&[]);
        send(app, sink).await;
        assert_eq!(smtp.letters()[1].to, ["ops@example.com", "boss@example.com"]);
        smtp.refuse(&[("boss@example.com", 553), ("ops@example.com", 550)]);
        raise(&world, "cleo", 1).await;
        send(app, sink).await;
        assert_eq!(smtp.letters().len(), 2);
        let reasons: Vec<String> =
            dead::list(&app.db, false, 10).await.unwrap().into_iter().map(|row| row.reason).collect();
        assert_eq!(reasons.len(), 2);
        assert!(
            reasons[0].contains("every recipient (553)") || reasons[0].contains("every recipient (550)"),
            "{reasons:?}"
        );
        assert!(reasons[1].contains("1 of 2 recipients, the others have it (550)"), "{reasons:?}");
        assert!(!reasons.concat().contains('@'), "nobody is named");
    }
}

/// The server took it and could not say so: it comes again, and can be told by its id.
#[tokio::test]
async fn a_message_whose_fate_is_unknown_comes_again_under_the_same_id() {
    for (world, smtp, chat) in beds(&[]).await {
        raise(&world, "ada", 1).await;
        smtp.fail([BreakAfterContent { taken: true }]);
        chat.fail([chat::Fault::Break { taken: true }]);
        send_all(&world.app).await;
        let (mails, posts) = (smtp.letters(), chat.posts());
        assert_eq!((mails.len(), posts.len()), (2, 2), "{}", world.name);
        assert_eq!(mails[0].raw, mails[1].raw);
        assert_eq!((posts[0].key(), &posts[0].body), (posts[1].key(), &posts[1].body));
    }
}

#[tokio::test]
async fn a_channel_that_is_down_delays_no_other() {
    for (world, mut smtp, chat) in beds(&[]).await {
        smtp.down().await;
        raise(&world, "ada", 1).await;
        let app = &world.app;
        assert!(!attempt(app, app.sinks.mail.as_ref().unwrap()).await);
        assert!(attempt(app, app.sinks.chat.as_ref().unwrap()).await);
        assert!(cursor(app, "alerts:mail").await < cursor(app, "alerts:chat").await, "{}", world.name);
        assert_eq!((smtp.letters().len(), chat.posts().len()), (0, 1));
    }
}

#[tokio::test]
async fn a_new_channel_begins_at_the_head() {
    for (world, smtp, chat) in beds(&[]).await {
        let app = &world.app;
        raise(&world, "old", 1).await;
        let forget = Stmt::new(&app.db.write, "delete from clerk_sync.sink_cursors");
        forget.exec(&app.db.write).await.unwrap();
        app.begin_channels().await.unwrap();
        raise(&world, "new", 1).await;
        // Begun once: a second start passes nothing over.
        app.begin_channels().await.unwrap();
        send_all(app).await;
        let alerts = raised(app).await;
        assert_eq!(alerts.len(), 2);
        came_once(app, &alerts[1..], &smtp, &chat);
        assert!(chat.posts()[0].text().contains("user_new"), "{}", world.name);
    }
}

/// Rows that only caches look at are not told to people.
#[tokio::test]
async fn a_replayed_row_is_told_to_nobody() {
    for (world, smtp, chat) in beds(&[]).await {
        let app = &world.app;
        raise(&world, "ada", 1).await;
        let quiet =
            Stmt::new(&app.db.write, "update clerk_sync.outbox set effects = 'state' where event = 'alert.raised'");
        assert_eq!(quiet.exec(&app.db.write).await.unwrap(), 1);
        raise(&world, "ben", 1).await;
        send_all(app).await;
        came_once(app, &raised(app).await[1..], &smtp, &chat);
    }
}

#[tokio::test]
async fn a_target_is_left_alone_for_as_long_as_it_asks() {
    for (world, _smtp, chat) in beds(&[]).await {
        let app = &world.app;
        let sink = app.sinks.chat.as_ref().unwrap();
        raise(&world, "ada", 1).await;
        for (asked, seconds) in [("retry-after: 120\r\n", 120), ("retry-after: 99999999\r\n", 900)] {
            chat.fail([chat::Fault::Status(429, asked)]);
            let ahead = app.clock.now() + chrono::Duration::hours(seconds);
            let mut relay = app.relay();
            relay.clock = Clock::from_fn(move || ahead);
            assert!(!relay.drain(sink).await.unwrap());
            let rows = Stmt::new(&app.db.read, "select * from clerk_sync.sink_cursors where sink = 'alerts:chat'");
            let row: entity::sink_cursors::Model = rows.one_as(&app.db.read).await.unwrap().unwrap();
            assert_eq!((row.available_at - ahead).num_seconds(), seconds, "{}: {asked}", world.name);
            assert_eq!(row.last_error.as_deref(), Some("the chat asks us to wait (429)"));
            assert!(!relay.drain(sink).await.unwrap());
            assert_eq!(chat.connections(), if seconds == 120 { 1 } else { 2 }, "not asked again");
            let wake = Stmt::new(
                &app.db.write,
                "update clerk_sync.sink_cursors set available_at = updated_at, lease_until = null, owner = null",
            );
            wake.exec(&app.db.write).await.unwrap();
        }
    }
}

/// Two replicas at once, as long as they live; then one that is asked to end while a message is on its way.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replicas_share_a_channel_and_end_without_sending_twice() {
    for (world, smtp, chat) in beds(&[]).await {
        let app = &world.app;
        let stop = CancellationToken::new();
        let mut replicas = tokio::task::JoinSet::new();
        for _ in 0..2 {
            replicas.spawn(app.relay().run(app.sinks.mail.clone().unwrap(), stop.clone()));
            replicas.spawn(app.relay().run(app.sinks.chat.clone().unwrap(), stop.clone()));
        }
        for index in 0..20 {
            raise(&world, &format!("u{index}"), 1).await;
            app.signals.outbox.wake();
        }
        until(|| smtp.letters().len() >= 20 && chat.posts().len() >= 20).await;
        raise(&world, "last", 1).await;
        let slow = Duration::from_millis(400);
        smtp.fail([Slow(slow / 4)]);
        chat.fail([chat::Fault::Slow(slow)]);
        app.signals.outbox.wake();
        until(|| smtp.connections() > 20 && chat.posts().len() > 20).await;
        stop.cancel();
        replicas.join_all().await;
        let alerts = raised(app).await;
        assert_eq!(alerts.len(), 21);
        came_once(app, &alerts, &smtp, &chat);
        let free = number(
            app,
            "select count(*) as n from clerk_sync.sink_cursors where owner is null and sink like 'alerts:%'",
        )
        .await;
        assert_eq!(free, 2, "{}: leases are given up", world.name);
        send_all(app).await;
        came_once(app, &alerts, &smtp, &chat);
    }
}

async fn until(done: impl Fn() -> bool) {
    for _ in 0..3_000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it does not come to that");
}

/// The database goes away between the sending and the noting down: nothing is sent again when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_sent_is_not_sent_again_when_that_cannot_be_written_down_at_once() {
    for (world, smtp, chat) in beds(&[]).await {
        let app = world.app.clone();
        raise(&world, "ada", 1).await;
        raise(&world, "ben", 1).await;
        chat.fail([chat::Fault::Slow(Duration::from_millis(300))]);
        let sink = app.sinks.chat.clone().unwrap();
        let relay = app.relay();
        let sending = tokio::spawn(async move { relay.drain(&sink).await });
        until(|| chat.posts().len() == 1).await;
        let away = Stmt::new(&app.db.write, "alter table clerk_sync.sink_cursors rename to elsewhere");
        away.exec(&app.db.write).await.unwrap();
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert_eq!(chat.posts().len(), 1, "nothing else is sent meanwhile");
        let back = Stmt::new(&app.db.write, "alter table clerk_sync.elsewhere rename to sink_cursors");
        back.exec(&app.db.write).await.unwrap();
        assert!(sending.await.unwrap().unwrap(), "{}", world.name);
        send_all(&app).await;
        came_once(&app, &raised(&app).await, &smtp, &chat);
    }
}

/// Somebody sets the cursor back while a message is on its way: it is not moved over theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cursor_that_was_set_back_meanwhile_stays_back() {
    for (world, _smtp, chat) in beds(&[]).await {
        let app = &world.app;
        raise(&world, "ada", 1).await;
        raise(&world, "ben", 1).await;
        send_all(app).await;
        raise(&world, "cleo", 1).await;
        let seqs: Vec<i64> = raised(app).await.iter().map(|entry| entry.seq).collect();
        chat.fail([chat::Fault::Slow(Duration::from_millis(300))]);
        let (relay, sink) = (app.relay(), app.sinks.chat.clone().unwrap());
        let sending = tokio::spawn(async move { relay.drain(&sink).await });
        until(|| chat.posts().len() == 3).await;
        cursor::set_back(&app.db, "alerts:chat", seqs[1] - 1, app.clock.now()).await.unwrap();
        assert!(!sending.await.unwrap().unwrap());
        assert_eq!(cursor(app, "alerts:chat").await, seqs[1] - 1, "{}", world.name);
        send_all(app).await;
        let keys = [seqs[0], seqs[1], seqs[2], seqs[1], seqs[2]].map(|seq| format!("{seq}:alerts:chat"));
        assert_eq!(chat_keys(&chat), keys, "{}: what an operator asks for again comes again", world.name);
    }
}

/// However far a channel is behind, and whatever lies between.
#[tokio::test]
async fn the_feed_is_passed_over_in_bounded_steps() {
    for (world, smtp, chat) in beds(&[("relay.batch", "2".into())]).await {
        let app = &world.app;
        for index in 0..5 {
            raise(&world, &format!("u{index}"), 1).await;
        }
        // Far above, as if most of the feed had been trimmed.
        let tx = app.db.begin_commit().await.unwrap();
        Stmt::new(&tx, "update clerk_sync.outbox set seq = seq + 35000 where seq > 6").exec(&tx).await.unwrap();
        tx.commit().await.unwrap();
        send_all(app).await;
        came_once(app, &raised(app).await, &smtp, &chat);
        let page = clerk_sync::outbox::feed::messages(&app.db.read, 6, "alert.raised", 2).await.unwrap();
        assert_eq!((page.entries.len(), page.upto, page.at_head), (0, 10_006, false), "{}", world.name);
    }
}

/// Mails as files: the same alerts, each one file; and whoever is erased is named in none of them.
#[tokio::test]
async fn mails_as_files_are_there_once_and_forget_whom_they_must() {
    for database in ["sqlite", "postgres"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mail");
        let keys = [("alerts.mail_to", "ops@example.com".to_owned()), ("smtp.folder", path.display().to_string())];
        let world = match database {
            "sqlite" => Some(sqlite(&keys).await),
            _ => postgres(&keys).await,
        };
        let Some(world) = world else { continue };
        let app = &world.app;
        app.begin_channels().await.unwrap();
        for name in ["ada", "ben"] {
            let roles = json!({"roles": ["部長代理補佐心得".repeat(2)]});
            world.deliver(&format!("msg_{name}"), &with(user(name, 1), "public_metadata", roles)).await;
        }
        world.drain().await;
        send_all(app).await;
        cursor::set_back(&app.db, "alerts:mail", 0, app.clock.now()).await.unwrap();
        send_all(app).await;
        let files = || {
            let entries =
                std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            entries.collect::<std::collections::BTreeSet<_>>()
        };
        let name = |seq: i64| format!("{seq}.alerts.mail.{}.eml", app.meta.epoch);
        let seqs: Vec<i64> = raised(app).await.iter().map(|entry| entry.seq).collect();
        assert_eq!(files(), [name(seqs[0]), name(seqs[1])].into(), "{database}");
        world.deliver("msg_gone", &deleted("ada", 9)).await;
        world.drain().await;
        let receipt = app.eraser().erase(&["user_ada".to_owned()].into()).await.unwrap();
        assert_eq!(receipt[&clerk_sync::erasure::Store::MailFiles], 1, "{database}");
        assert_eq!(files(), [name(seqs[1])].into());
    }
}
