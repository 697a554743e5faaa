//! The checks of `dev` beside the fixtures: a repetition, an example, a websocket, a search and a conflict, each through
//! the interface that its user has, and each able to fail.

use std::{fmt::Write as _, net::SocketAddr, time::Duration};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use super::{
    super::{
        fixtures,
        send::{Delivery, Sender},
        simulated::Simulated,
    },
    play::settled,
    socket::Socket,
};
use crate::{
    clerk::simulated::{Change, Issuer},
    clock::Clock,
    db::Db,
};

/// The user of the fixtures that the checks are about.
const ADA: &str = "user_2xFixtureAda000000000000000";
/// A newcomer with her address.
const TWIN: &str = "user_2xFixtureTwin00000000000000";
/// The user of Clerk's catalogue.
const EXAMPLE: &str = "user_29w83sxmDNGwOuEthce5gg56FcC";
/// The last name that Ada gets while a websocket follows her.
const NEW_NAME: &str = "Lovelace";

/// How long the search index may take.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(15);

/// What the checks speak to.
pub(super) struct Showcase<'a> {
    pub(super) db: &'a Db,
    pub(super) sender: &'a Sender,
    pub(super) clerk: &'a Simulated,
    pub(super) issuer: &'a Issuer,
    pub(super) clock: &'a Clock,
    pub(super) address: SocketAddr,
    pub(super) token: &'a str,
}

impl Showcase<'_> {
    /// Runs every check and prints a line each. False if one failed.
    pub(super) async fn run(&self) -> bool {
        let mut passed = true;
        passed &= report("duplicate", self.duplicate().await);
        passed &= report("example", self.example().await);
        passed &= report("websocket", self.websocket().await);
        passed &= report("search", self.search().await);
        passed &= report("conflict", self.conflict().await);
        passed
    }

    /// The same message again, as Svix repeats one whose answer it did not get.
    async fn duplicate(&self) -> anyhow::Result<String> {
        let (name, body) = fixtures::events().into_iter().next().context("there are no fixtures")?;
        let (status, word) = self.sender.post(&Delivery { id: format!("msg_{name}"), name, body }).await?;
        ensure!((status, word.as_str()) == (200, "duplicate"), "the same svix-id was answered {status} {word}");
        Ok(format!("the same svix-id again: {status} {word}; it is stored and applied once"))
    }

    /// What "Send Example" sends: an event about a user who never existed.
    async fn example(&self) -> anyhow::Result<String> {
        let mut body = self.clerk.event(Change::Created, ADA).context("Clerk does not have Ada")?;
        body["data"]["id"] = EXAMPLE.into();
        let row = self.deliver("msg_send-example", &body).await?;
        let outcome = row.outcome.unwrap_or_default();
        ensure!((row.state.as_str(), outcome.as_str()) == ("skipped", "example"), "it ended {}: {outcome}", row.state);
        Ok(format!("\"Send Example\" of Clerk's dashboard ({EXAMPLE}): skipped: example, which proves the endpoint"))
    }

    /// A frontend follows its user while Clerk changes them.
    async fn websocket(&self) -> anyhow::Result<String> {
        let session = self.issuer.session_token(ADA, "sess_2xFixtureDev0000000000000000", self.clock.now());
        let session = session.ok().context("no session token could be signed")?;
        let mut socket = Socket::follow_me(self.address, &session).await?;
        self.clerk.rename(ADA, NEW_NAME);
        let body = self.clerk.event(Change::Updated, ADA).context("Clerk does not have Ada")?;
        self.deliver("msg_dev-websocket", &body).await?;
        let frame = socket.expect("event").await?;
        let (event, subject) = (frame["event"].as_str(), frame["subject"].as_str());
        ensure!((event, subject) == (Some("user.updated"), Some(ADA)), "another event came: {frame}");
        ensure!(frame["data"]["last_name"] == NEW_NAME, "the frame does not show the change: {frame}");
        let shown = json!({"type": frame["type"], "seq": frame["seq"], "event": frame["event"], "subject": frame["subject"],
            "changed": frame["changed"]});
        Ok(format!("a session token of {ADA}, topic user:me; received\n            {shown}"))
    }

    /// The new name, by the search of the HTTP API. The index follows the change feed, a moment later.
    async fn search(&self) -> anyhow::Result<String> {
        let path = format!("/v1/search/users?q={NEW_NAME}");
        let started = std::time::Instant::now();
        loop {
            let found = self.get(&path).await?;
            let hit = found["data"].as_array().into_iter().flatten().find(|user| user["clerk_id"] == ADA);
            if let Some(hit) = hit {
                return Ok(format!("GET {path}: {} ({ADA})", hit["display_name"].as_str().unwrap_or_default()));
            }
            ensure!(started.elapsed() < SEARCH_TIMEOUT, "GET {path} does not find {ADA}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Two users whom Clerk itself has with one verified address: one that deliveries, and reading Clerk, cannot settle.
    async fn conflict(&self) -> anyhow::Result<String> {
        self.clerk.add_twin(ADA, TWIN).context("Clerk does not have Ada")?;
        let body = self.clerk.event(Change::Created, TWIN).context("Clerk does not have her twin")?;
        let row = self.deliver("msg_dev-conflict", &body).await?;
        ensure!(row.state == "conflict", "the newcomer ended {} {:?}", row.state, row.reason);
        let conflicts = self.get("/v1/admin/conflicts?state=open").await?;
        let all = conflicts["data"].as_array().into_iter().flatten();
        let conflict = all.into_iter().find(|row| row["clerk_id"] == TWIN && row["other_clerk_id"] == ADA);
        let id = conflict.and_then(|row| row["id"].as_str()).context("no open conflict names both")?.to_owned();
        let alerts = self.get("/v1/admin/alerts").await?;
        let mut alerts = alerts["data"].as_array().into_iter().flatten();
        let alert = alerts.find(|alert| alert["kind"] == "conflict.email" && alert["subject"] == TWIN);
        let text =
            alert.and_then(|alert| alert["text"].as_str()).context("no alert conflict.email names the newcomer")?;
        let mut line = format!("{TWIN} comes with Ada's address, and Clerk has both: conflict {id}");
        write!(line, "\n            alert conflict.email: {text}")?;
        Ok(line)
    }

    async fn deliver(&self, id: &str, body: &Value) -> anyhow::Result<entity::inbox::Model> {
        let delivery = Delivery { name: id.to_owned(), id: id.to_owned(), body: body.to_string().into_bytes() };
        match self.sender.post(&delivery).await? {
            (200, _) => settled(self.db, id).await,
            (status, word) => bail!("the delivery was answered {status} {word}"),
        }
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        let request = client.get(format!("http://{}{path}", self.address)).bearer_auth(self.token);
        let response = request.send().await?;
        let status = response.status();
        ensure!(status.is_success(), "GET {path} is answered {status}");
        Ok(response.json().await?)
    }
}

/// Prints a check's line; returns whether it passed.
fn report(check: &str, found: anyhow::Result<String>) -> bool {
    match &found {
        Ok(found) => println!("{check:<11} {found}"),
        Err(error) => println!("{check:<11} FAIL: {error:#}"),
    }
    found.is_ok()
}
