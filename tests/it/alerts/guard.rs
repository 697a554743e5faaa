//! Where chat messages may go, and what they say.

use super::{attempt, raise, raised, send};
use crate::support::{
    chat::{Double, Fault, PATH},
    people::{user, with},
    world::{World, sqlite},
};
use clerk_sync::{db::Stmt, sinks::chat::ChatSink};

/// A world whose chat is at this URL.
async fn world(url: String, allow_private: bool) -> World {
    let keys = [
        ("alerts.webhook_url", url),
        ("alerts.allow_private", allow_private.to_string()),
        ("relay.backoff", "1ms".into()),
        ("relay.backoff_max", "2ms".into()),
    ];
    let world = sqlite(&keys).await;
    world.app.begin_channels().await.unwrap();
    world
}

fn sink(world: &World) -> &ChatSink {
    world.app.sinks.chat.as_ref().unwrap()
}

async fn last_error(world: &World) -> String {
    let db = &world.app.db.read;
    let rows = Stmt::new(db, "select last_error from clerk_sync.sink_cursors where sink = 'alerts:chat'")
        .all(db)
        .await
        .unwrap();
    rows[0].try_get("", "last_error").unwrap()
}

#[tokio::test]
async fn a_name_that_leads_inside_is_not_connected_to() {
    let double = Double::start_with(true).await;
    let url = format!("https://localhost:{}{PATH}", double.port());
    let world = world(url, false).await;
    raise(&world, "ada", 1).await;
    for _ in 0..3 {
        assert!(!attempt(&world.app, sink(&world)).await);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let error = last_error(&world).await;
    assert!(error.contains("alerts.webhook_url") && error.contains("not public"), "{error}");
    assert!(!error.contains("s3cret") && !error.contains("localhost"), "{error}");
    assert_eq!(double.connections(), 0);
    // It is held, not lost.
    let open = Stmt::new(&world.app.db.read, "select count(*) as n from clerk_sync.dead_letters")
        .all(&world.app.db.read)
        .await;
    assert_eq!(open.unwrap()[0].try_get::<i64>("", "n").unwrap(), 0);
}

/// The same name, with the check's key thrown: it is the check that kept us away.
#[tokio::test]
async fn a_name_that_leads_inside_is_connected_to_where_that_is_allowed() {
    let double = Double::start().await;
    let world = world(format!("http://localhost:{}{PATH}", double.port()), true).await;
    raise(&world, "ada", 1).await;
    send(&world.app, sink(&world)).await;
    assert_eq!(double.posts().len(), 1);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (double, elsewhere) = (Double::start().await, Double::start().await);
    let world = world(double.url(), true).await;
    raise(&world, "ada", 1).await;
    for status in [301, 302, 303, 307, 308] {
        let head = format!("location: {}\r\n", elsewhere.url()).leak();
        double.fail([Fault::Status(status, head)]);
        assert!(!attempt(&world.app, sink(&world)).await, "{status}");
        assert_eq!(last_error(&world).await, format!("the chat sends us elsewhere, where we do not follow ({status})"));
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!((double.connections(), elsewhere.connections(), double.posts().len()), (5, 0, 0));
}

#[tokio::test]
async fn a_message_says_nothing_that_the_chat_would_act_on() {
    let double = Double::start().await;
    let world = world(double.url(), true).await;
    let roles = serde_json::json!({"roles": ["<!channel> & <https://evil.example|here>"]});
    world.deliver("msg_ada", &with(user("ada", 1), "public_metadata", roles)).await;
    world.drain().await;
    send(&world.app, sink(&world)).await;
    let posts = double.posts();
    let post = &posts[0];
    assert!(post.text().contains("&lt;!channel&gt; &amp; &lt;https://evil.example|here&gt;"), "{}", post.text());
    assert!(!post.text().contains(['<', '>']));
    assert!(post.text().starts_with("[clerk-sync] warning: role.not_grantable\n"));
    assert_eq!(post.body.as_object().unwrap().len(), 1, "nothing but the text");
    assert_eq!((post.path.as_str(), post.headers["content-type"].as_str()), (PATH, "application/json"));
    let seq = raised(&world.app).await[0].seq;
    assert_eq!(post.key(), format!("{seq}:alerts:chat"));
    for name in ["cookie", "referer", "authorization"] {
        assert!(!post.headers.contains_key(name), "{name}");
    }
}
