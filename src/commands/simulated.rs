//! A simulated Clerk on a port of its own: that of `dev`, which knows whom the fixtures tell of when they tell of them, and
//! that of `simulate`.

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    clerk::simulated::{Change, Kind, Modes, World, serve},
    clock::Clock,
    config::{Config, Secret},
};

/// The instance that the fixtures name.
const FIXTURES: &str = "ins_2xFixture0000000000000000000";

pub(super) struct Simulated {
    world: World,
    pub(super) url: String,
    pub(super) key: String,
    pub(super) stop: CancellationToken,
}

impl Simulated {
    /// Of nobody, with the limits of a development instance.
    pub(super) async fn start(clock: Clock) -> anyhow::Result<Self> {
        Self::of(World::new(clock).with_instance_id(FIXTURES), 0, Some(100)).await
    }

    /// Of this world; `rate`: requests in ten seconds, if they are limited.
    pub(super) async fn of(world: World, port: u16, rate: Option<u32>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.context("--port: it is taken on 127.0.0.1")?;
        let url = format!("http://{}/v1", listener.local_addr()?);
        let key = format!("sk_test_{}", uuid::Uuid::new_v4().simple());
        let (modes, stop) = (Modes::default(), CancellationToken::new());
        modes.set_key(Some(&key));
        modes.set_rate_limit(rate);
        tokio::spawn(serve(world.clone(), modes, listener, stop.clone()));
        Ok(Self { world, url, key, stop })
    }

    /// Whatever the environment says: the real Clerk is not asked.
    pub(super) fn embed(&self, config: &mut Config) {
        config.clerk.secret_key = Secret::from(self.key.as_str());
        config.clerk.api_url = self.url.as_str().into();
        config.clerk.rate_limit = 0;
    }

    /// Changes the world as an event says that it has changed.
    pub(super) fn follow(&self, body: &[u8]) {
        let Ok(mut event) = serde_json::from_slice::<Value>(body) else { return };
        let (data, world) = (event["data"].take(), &self.world);
        let id = data["id"].as_str().unwrap_or_default().to_owned();
        match event["type"].as_str().unwrap_or_default() {
            "user.created" | "user.updated" => drop(world.put_user(data)),
            "user.deleted" => drop(world.delete_user(&id)),
            "organization.created" | "organization.updated" => drop(world.put_organization(data)),
            "organization.deleted" => drop(world.delete_organization(&id)),
            "organizationMembership.created" | "organizationMembership.updated" => drop(world.put_membership(data)),
            "organizationMembership.deleted" => drop(world.delete_membership(&id)),
            _ => {}
        }
    }

    /// Returns the webhook that tells of a user as they are now.
    pub(super) fn event(&self, change: Change, clerk_id: &str) -> Option<Value> {
        self.world.event(Kind::User, change, clerk_id)
    }

    /// Changes a user's last name.
    pub(super) fn rename(&self, clerk_id: &str, last_name: &str) {
        self.world.touch_user(clerk_id, |user| user["last_name"] = last_name.into());
    }

    /// Adds a user whose one verified address is the first of another's: Clerk has both then. `None` without the other.
    pub(super) fn add_twin(&self, of: &str, clerk_id: &str) -> Option<()> {
        let address = self.world.user(of)?["email_addresses"][0]["email_address"].clone();
        self.world.put_user(json!({
            "id": clerk_id, "first_name": "Twin", "last_name": "Fixture", "primary_email_address_id": "idn_2xFixtureTwin",
            "email_addresses": [{"id": "idn_2xFixtureTwin", "email_address": address, "verification": {"status": "verified"}}],
        }));
        Some(())
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
