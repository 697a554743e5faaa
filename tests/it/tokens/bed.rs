//! A server that trusts the tests' issuer; people at frontends; and rows of the tables and of the change feed as rules
//! that are elsewhere write them.

use std::time::{Duration, Instant};

use clerk_sync::{
    db::{Cell, Stmt},
    domain::plan::Message,
    outbox::append,
    sync::load,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    issuer::{ISSUER, Issuer, KID, PARTY},
    keys::{Double, Way},
    server::{ADMIN, Server, person},
    ws::{Client, Heard},
};

pub(super) struct Bed {
    pub(super) server: Server,
    /// Where the issuer's keys are published, if that is where they come from.
    pub(super) published: Option<std::rc::Rc<Double>>,
    /// Nothing is delivered twice under one id.
    deliveries: std::cell::Cell<u32>,
    /// Whether rows are written as by a replica whose wake-ups are lost.
    quiet: std::cell::Cell<bool>,
}

/// How long what must happen within a second may take here.
const SOON: Duration = Duration::from_secs(1);

/// An organisation.
#[derive(Debug, Clone)]
pub(super) struct Org {
    pub(super) id: Uuid,
    pub(super) clerk_id: String,
}

impl Org {
    /// Its canonical topic.
    pub(super) fn topic(&self) -> String {
        format!("org:{}", self.id)
    }
}

impl Bed {
    /// One on every database that is there.
    pub(super) async fn each(more: &[(&str, &str)]) -> Vec<Self> {
        let pem = Issuer::ours().pem();
        let keys = [keys(&pem).as_slice(), more].concat();
        Server::start_all(&keys).await.into_iter().map(Self::of).collect()
    }

    /// The same with the keys where they are published.
    pub(super) async fn each_published(more: &[(&str, &str)]) -> Vec<Self> {
        let double = Double::start(Way::Keys(vec![Issuer::ours().jwk(KID)])).await;
        let mut beds = Vec::new();
        for server in Server::start_all(&[published(&double.url).as_slice(), more].concat()).await {
            beds.push(Self::of(server));
        }
        let double = std::rc::Rc::new(double);
        beds.iter_mut().for_each(|bed| bed.published = Some(double.clone()));
        beds
    }

    pub(super) fn of(server: Server) -> Self {
        Self { server, published: None, deliveries: Default::default(), quiet: Default::default() }
    }

    /// Which database, and where the keys come from.
    pub(super) fn name(&self) -> String {
        format!("{}, {}", self.server.name, if self.published.is_some() { "published keys" } else { "one key" })
    }

    /// From here on the change feed grows without anybody being woken for it. Answers once that shows: a change was
    /// written that this process has not read.
    pub(super) async fn hush(&self) {
        self.quiet.set(true);
        loop {
            let seq = self.tell(|seq| message(seq, "sync.finished", "admin", "-", Vec::new(), json!({}))).await;
            let mut client = self.stranger().await;
            if client.auth(ADMIN).await["seq"].as_i64().unwrap() < seq {
                return;
            }
        }
    }

    /// Wakes whoever reads the change feed.
    pub(super) fn wake(&self) {
        self.server.app.signals.outbox.wake();
    }

    fn committed(&self) {
        if !self.quiet.get() {
            self.wake();
        }
    }

    /// A person's token, in a session named after them.
    pub(super) fn token(&self, name: &str) -> String {
        self.token_with(name, json!({}))
    }

    pub(super) fn token_with(&self, name: &str, changes: Value) -> String {
        Issuer::ours().session(&format!("user_{name}"), &format!("sess_{name}"), changes)
    }

    /// A websocket that has said nothing yet.
    pub(super) async fn stranger(&self) -> Client {
        let address = self.server.url.trim_start_matches("http://").parse().unwrap();
        Client::open(address, &[], None).await.unwrap()
    }

    /// A person's websocket.
    pub(super) async fn enter(&self, name: &str) -> Client {
        self.enter_with(&self.token(name)).await
    }

    /// An admin's websocket.
    pub(super) async fn admin(&self) -> Client {
        self.enter_with(ADMIN).await
    }

    /// The websocket of whoever holds this token; nothing that was told before comes on it as live, unless the feed
    /// grows unheard.
    pub(super) async fn enter_with(&self, token: &str) -> Client {
        let head = load::head(&self.server.app.db.read).await.unwrap();
        loop {
            let mut client = self.stranger().await;
            let welcome = client.auth(token).await;
            if self.quiet.get() || welcome["seq"].as_i64().unwrap() >= head {
                return client;
            }
        }
    }

    /// Delivers `user_{name}` as of second `at`, and waits until the rows are there; their id.
    pub(super) async fn person(&self, name: &str, at: u64, changes: Value) -> Uuid {
        self.deliver(&person(&format!("user_{name}"), at, changes)).await;
        let rows = self
            .rows("select cast(id as text) as id from clerk_sync.users where clerk_id = ", format!("user_{name}"))
            .await;
        rows[0].try_get::<String>("", "id").unwrap().parse().unwrap()
    }

    pub(super) async fn deliver(&self, body: &Value) {
        let number = self.deliveries.replace(self.deliveries.get() + 1);
        self.server.sync(&format!("msg_{number}"), body).await;
    }

    pub(super) async fn rows(&self, sql: &'static str, value: impl Into<Cell>) -> Vec<sea_orm::QueryResult> {
        let db = &self.server.app.db.read;
        Stmt::new(db, sql).val(value).all(db).await.unwrap()
    }

    /// An organisation with nobody in it.
    pub(super) async fn organization(&self, name: &str) -> Org {
        let (id, clerk_id) = (Uuid::new_v4(), format!("org_{name}"));
        let now = self.server.app.clock.now();
        let tx = self.server.app.db.begin_commit().await.unwrap();
        let insert = Stmt::new(
            &tx,
            "insert into clerk_sync.organizations (id, clerk_id, name, public_metadata, private_metadata, status, created_at, updated_at) values (",
        );
        let insert = insert.val(id).sql(", ").val(clerk_id.as_str()).sql(", ").val(name).sql(", ").val(json!({}));
        let insert = insert.sql(", ").val(json!({})).sql(", 'active', ").val(now).sql(", ").val(now).sql(")");
        insert.exec(&tx).await.unwrap();
        tx.commit().await.unwrap();
        Org { id, clerk_id }
    }

    /// Makes a person a member, as the rule that writes memberships does: the row, and what is told of it.
    pub(super) async fn join(&self, org: &Org, name: &str) -> i64 {
        let id = self.id(name).await;
        let tx = self.server.app.db.begin_commit().await.unwrap();
        let (seq, now) = (load::head(&tx).await.unwrap() + 1, self.server.app.clock.now());
        let insert = Stmt::new(
            &tx,
            "insert into clerk_sync.organization_memberships (id, clerk_id, organization_id, user_id, role, permissions, created_at, updated_at, rev, joined_seq) values (",
        );
        let insert = insert.val(Uuid::new_v4()).sql(", ").val(format!("orgmem_{seq}")).sql(", ").val(org.id);
        let insert = insert.sql(", ").val(id).sql(", 'org:member', ").val(json!([])).sql(", ").val(now).sql(", ");
        let insert = insert.val(now).sql(", ").val(seq).sql(", ").val(seq).sql(")");
        insert.exec(&tx).await.unwrap();
        let told = [self.of_member("membership.created", org, name, id, seq)];
        append::append(&tx, told.iter(), &self.server.app.clock, now).await.unwrap();
        tx.commit().await.unwrap();
        self.committed();
        seq
    }

    /// Ends a membership likewise.
    pub(super) async fn leave(&self, org: &Org, name: &str) -> i64 {
        let id = self.id(name).await;
        let remove = "delete from clerk_sync.organization_memberships where user_id = ";
        self.change(remove, id, |seq| self.of_member("membership.deleted", org, name, id, seq)).await
    }

    /// Deletes an organisation likewise.
    pub(super) async fn dissolve(&self, org: &Org) -> i64 {
        let mark = "update clerk_sync.organizations set status = 'deleted' where clerk_id = ";
        self.change(mark, org.clerk_id.as_str(), |seq| self.of_org("organization.deleted", org, json!({}), seq)).await
    }

    /// Tells the members of an organisation about it.
    pub(super) async fn tell_org(&self, org: &Org, payload: Value) -> i64 {
        self.tell(|seq| self.of_org("organization.updated", org, payload, seq)).await
    }

    /// Tells the change feed something.
    pub(super) async fn tell(&self, message: impl FnOnce(i64) -> Message) -> i64 {
        self.commit(None, message).await
    }

    /// Changes rows and tells the change feed, in one transaction; the seq of what was told.
    pub(super) async fn change(
        &self,
        sql: &'static str,
        value: impl Into<Cell>,
        message: impl FnOnce(i64) -> Message,
    ) -> i64 {
        self.commit(Some((sql, value.into())), message).await
    }

    async fn commit(&self, change: Option<(&'static str, Cell)>, message: impl FnOnce(i64) -> Message) -> i64 {
        let tx = self.server.app.db.begin_commit().await.unwrap();
        if let Some((sql, value)) = change {
            Stmt::new(&tx, sql).val(value).exec(&tx).await.unwrap();
        }
        let seq = load::head(&tx).await.unwrap() + 1;
        let told = [message(seq)];
        append::append(&tx, told.iter(), &self.server.app.clock, self.server.app.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        self.committed();
        seq
    }

    /// Tells the change feed several things at once; the seq of the first.
    pub(super) async fn tell_all(&self, messages: Vec<Message>) -> i64 {
        let tx = self.server.app.db.begin_commit().await.unwrap();
        let first = load::head(&tx).await.unwrap() + 1;
        let told: Vec<_> = (first..).zip(messages).map(|(seq, message)| Message { seq, ..message }).collect();
        append::append(&tx, told.iter(), &self.server.app.clock, self.server.app.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        self.committed();
        first
    }

    /// Ends a session, as the rule for ended sessions does.
    pub(super) async fn revoke(&self, name: &str, session: &str) -> i64 {
        self.revoke_until(session, self.server.app.clock.now() + chrono::Duration::days(1)).await;
        let routing = match self.find(name).await {
            Some(id) => vec![format!("user:{id}")],
            None => Vec::new(),
        };
        let payload = json!({"session_id": session});
        self.tell(|seq| message(seq, "session.revoked", "internal", &format!("user_{name}"), routing, payload)).await
    }

    /// Remembers an ended session until then.
    pub(super) async fn revoke_until(&self, session: &str, until: clerk_sync::clock::Time) {
        let db = &self.server.app.db.write;
        let insert =
            Stmt::new(db, "insert into clerk_sync.revoked_sessions (session_id, revoked_at, expires_at) values (");
        let insert = insert.val(session).sql(", ").val(self.server.app.clock.now()).sql(", ").val(until).sql(")");
        insert.exec(db).await.unwrap();
    }

    async fn find(&self, name: &str) -> Option<Uuid> {
        let rows = self
            .rows("select cast(id as text) as id from clerk_sync.users where clerk_id = ", format!("user_{name}"))
            .await;
        rows.first().map(|row| row.try_get::<String>("", "id").unwrap().parse().unwrap())
    }

    /// The id of `user_{name}`.
    pub(super) async fn id(&self, name: &str) -> Uuid {
        self.find(name).await.unwrap()
    }

    pub(super) fn of_member(&self, event: &'static str, org: &Org, name: &str, user: Uuid, seq: i64) -> Message {
        let routing = vec![format!("org:{}", org.id), format!("user:{user}")];
        let payload = json!({
            "id": Uuid::new_v4(), "role": "org:member", "permissions": ["secret"], "private_metadata": {"hidden": true},
            "user": {"id": user, "clerk_id": format!("user_{name}"), "display_name": name, "image_url": null, "email": "hidden"},
        });
        message(seq, event, "organizations", &format!("{}/user_{name}", org.clerk_id), routing, payload)
    }

    pub(super) fn of_org(&self, event: &'static str, org: &Org, payload: Value, seq: i64) -> Message {
        message(seq, event, "organizations", &org.clerk_id, vec![format!("org:{}", org.id)], payload)
    }
}

/// A row of the change feed.
pub(super) fn message(
    seq: i64,
    event: &'static str,
    topic: &'static str,
    subject: &str,
    routing: Vec<String>,
    payload: Value,
) -> Message {
    let payload = clerk_sync::json::Value::from(payload).into_object();
    Message {
        seq,
        event,
        topic,
        subject: subject.to_owned(),
        routing,
        payload,
        changed: Vec::new(),
        effects: "all",
        correlation_id: format!("msg_of_{seq}"),
        occurred_at: None,
    }
}

/// What makes a server trust the tests' issuer.
pub(super) fn keys(pem: &str) -> [(&str, &str); 3] {
    [("clerk.jwt_key", pem), ("clerk.issuer", ISSUER), ("clerk.authorized_parties", PARTY)]
}

/// The same, by where its keys are published.
pub(super) fn published(url: &str) -> [(&str, &str); 3] {
    [("clerk.jwks_url", url), ("clerk.issuer", ISSUER), ("clerk.authorized_parties", PARTY)]
}

/// The frames up to the close, which must be 4401 and come soon.
pub(super) async fn is_closed(client: &mut Client, what: &str) -> Vec<Value> {
    let since = Instant::now();
    let (frames, code) = client.closed().await;
    assert_eq!(code, 4401, "{what}");
    assert!(since.elapsed() < SOON, "{what}: {:?}", since.elapsed());
    frames
}

/// That somebody is refused at the door.
pub(super) async fn is_refused(bed: &Bed, token: &str, what: &str) {
    let answer = bed.server.get("/v1/users/me", token).await;
    answer.is_problem(401, "unauthenticated", what);
    // Nothing of what was brought comes back, nor anything of whom it is about.
    let parts = token.split('.').filter(|part| part.len() > 20);
    assert!(
        !parts.chain(["user_ada", "Quill", "sess_"]).any(|part| answer.text.contains(part)),
        "{what}: {}",
        answer.text
    );
    let mut client = bed.stranger().await;
    client.say(json!({"type": "auth", "token": token})).await;
    assert_eq!(client.hear().await, Heard::Closed(4401), "{}: {what}", bed.name());
}

/// That the server says that it cannot say, at both doors, and turns nobody away for good.
pub(super) async fn is_not_ready(bed: &Bed, token: &str, what: &str) {
    let answer = bed.server.get("/v1/users/me", token).await;
    answer.is_problem(503, "not_ready", what);
    assert!(!answer.header("retry-after").is_empty(), "{what}");
    let mut client = bed.stranger().await;
    client.say(json!({"type": "auth", "token": token})).await;
    assert_eq!(client.closed().await, (vec![json!({"type": "error", "code": "not_ready"})], 1001), "{what}");
}

/// That a topic is taken away soon, before anything else comes.
pub(super) async fn is_revoked(client: &mut Client, topic: &str, reason: &str) {
    let since = Instant::now();
    assert_eq!(client.frame().await, json!({"type": "revoked", "topics": [topic], "reason": reason}));
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
}
