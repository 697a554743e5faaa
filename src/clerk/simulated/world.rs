//! The world that a simulated API shows: people, organisations, memberships, and the webhooks that tell of them.
//! Cloning gives another handle to the same world. What is changed here is what the next request sees.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::clock::Clock;

use super::{
    ids::{Kind, mix, spell},
    seed::Seed,
    shelf::{By, Part, Place},
    state::State,
};

/// How much later than the change Clerk stamps the event that tells of it, ms (seen: 18 to 58).
const EVENT_DELAY: i64 = 40;

/// What became of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Created,
    /// It was changed.
    Updated,
    /// It is gone.
    Deleted,
}

/// A handle to a world.
#[derive(Debug, Clone)]
pub struct World {
    state: Arc<Mutex<State>>,
    pub(super) clock: Clock,
    instance_id: Arc<str>,
}

impl World {
    /// An empty world.
    pub fn new(clock: Clock) -> Self {
        Self::seeded(0, 0, 0, 0, clock)
    }

    /// A world of so many, the same for the same `seed` and moment. They cost no memory until they are changed. There
    /// are never more memberships than pairs.
    pub fn seeded(users: u64, organizations: u64, memberships: u64, seed: u64, clock: Clock) -> Self {
        let now = clock.now().timestamp_millis();
        let state = State::new(Seed::new(users, organizations, memberships, seed, now));
        let instance_id = format!("ins_{}", spell(now, u128::from(mix(seed ^ 0x1257)))).into();
        Self { state: Arc::new(Mutex::new(state)), clock, instance_id }
    }

    /// The same world under another id of its instance.
    #[must_use]
    pub fn with_instance_id(self, id: &str) -> Self {
        Self { instance_id: id.into(), ..self }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> i64 {
        self.clock.now().timestamp_millis()
    }

    /// Clerk's id of the instance.
    pub fn instance_id(&self) -> &str {
        &self.instance_id
    }

    /// What `GET /v1/jwks` answers.
    pub fn set_jwks(&self, keys: Value) {
        self.state().jwks = keys;
    }

    /// How many there are.
    pub fn count(&self, kind: Kind) -> u64 {
        self.state().shelf(kind).len()
    }

    /// The id of the `n`th (from 0) in the order of creation.
    pub fn nth(&self, kind: Kind, n: u64) -> Option<String> {
        self.ids(kind, n, 1).pop()
    }

    /// The ids of up to `limit` objects from the `offset`th on, in the order of creation.
    pub fn ids(&self, kind: Kind, offset: u64, limit: u64) -> Vec<String> {
        let state = self.state();
        let ranks = state.shelf(kind).page(By::Created, false, Part::default(), offset, limit);
        ranks.into_iter().map(|rank| state.id(kind, rank)).collect()
    }

    /// An object as it is now.
    pub fn get(&self, kind: Kind, id: &str) -> Option<Value> {
        let state = self.state();
        state.rank(kind, id).map(|rank| state.value(kind, rank))
    }

    /// A person as they are now.
    pub fn user(&self, id: &str) -> Option<Value> {
        self.get(Kind::User, id)
    }

    /// An organisation as it is now.
    pub fn organization(&self, id: &str) -> Option<Value> {
        self.get(Kind::Organization, id)
    }

    /// A membership as it is now.
    pub fn membership(&self, id: &str) -> Option<Value> {
        self.get(Kind::Membership, id)
    }

    /// The ids of a person's memberships.
    pub fn memberships_of_user(&self, id: &str) -> Vec<String> {
        let state = self.state();
        state.of_user(id).into_iter().map(|rank| state.id(Kind::Membership, rank)).collect()
    }

    /// The ids of the memberships in an organisation.
    pub fn memberships_of_organization(&self, id: &str) -> Vec<String> {
        let state = self.state();
        state.of_organization(id).into_iter().map(|rank| state.id(Kind::Membership, rank)).collect()
    }

    /// Puts a person there, or in place of the one with the same id; returns the id. One is made where none is given,
    /// and missing times are now.
    pub fn put_user(&self, user: Value) -> String {
        let now = self.now();
        self.state().put(Kind::User, user, now)
    }

    /// Puts an organisation there, likewise. Its members are counted when somebody asks.
    pub fn put_organization(&self, organization: Value) -> String {
        let now = self.now();
        self.state().put(Kind::Organization, organization, now)
    }

    /// Puts a membership there, likewise. Of its `organization` and `public_user_data` only the ids are read where the
    /// world knows them: it shows them as they are.
    pub fn put_membership(&self, membership: Value) -> String {
        let now = self.now();
        self.state().put(Kind::Membership, membership, now)
    }

    /// Changes an object; `updated_at` becomes now, or one more than it was. Id and `created_at` cannot be changed.
    /// Returns whether it is there. `change` must not use the world.
    pub fn touch(&self, kind: Kind, id: &str, change: impl FnOnce(&mut Value)) -> bool {
        let now = self.now();
        self.state().touch(kind, id, now, change)
    }

    /// Changes a person, as [`World::touch`] does.
    pub fn touch_user(&self, id: &str, change: impl FnOnce(&mut Value)) -> bool {
        self.touch(Kind::User, id, change)
    }

    /// Changes an organisation, as [`World::touch`] does.
    pub fn touch_organization(&self, id: &str, change: impl FnOnce(&mut Value)) -> bool {
        self.touch(Kind::Organization, id, change)
    }

    /// Changes a membership, as [`World::touch`] does.
    pub fn touch_membership(&self, id: &str, change: impl FnOnce(&mut Value)) -> bool {
        self.touch(Kind::Membership, id, change)
    }

    /// Deletes a person and their memberships. Returns whether they were there.
    pub fn delete_user(&self, id: &str) -> bool {
        let now = self.now();
        self.state().delete(Kind::User, id, now)
    }

    /// Deletes an organisation and its memberships, likewise.
    pub fn delete_organization(&self, id: &str) -> bool {
        let now = self.now();
        self.state().delete(Kind::Organization, id, now)
    }

    /// Deletes a membership, likewise.
    pub fn delete_membership(&self, id: &str) -> bool {
        let now = self.now();
        self.state().delete(Kind::Membership, id, now)
    }

    /// The webhook's body that tells what became of an object: as it is now or, deleted, its last words. `None` if
    /// there is no such object, or it was not deleted by name: what goes with its parent is told by the parent's event.
    pub fn event(&self, kind: Kind, change: Change, id: &str) -> Option<Value> {
        let state = self.state();
        let (data, at) = if change == Change::Deleted {
            let gone = state.gone.get(id)?;
            (serde_json::from_str(&gone.data).ok()?, gone.at)
        } else {
            let rank = state.rank(kind, id)?;
            let mut data = state.value(kind, rank);
            let at = data["updated_at"].as_i64()?;
            if kind == Kind::Organization {
                data["members_count"] = state.of_organization(id).len().into();
                data["pending_invitations_count"] = 0.into();
            }
            (data, at)
        };
        let word = match change {
            Change::Created => "created",
            Change::Updated => "updated",
            Change::Deleted => "deleted",
        };
        Some(json!({
            "data": data,
            "event_attributes": {"http_request": {"client_ip": "203.0.113.7", "user_agent": "simulated"}},
            "instance_id": self.instance_id(),
            "object": "event",
            "timestamp": at + EVENT_DELAY,
            "type": format!("{}.{word}", kind.event()),
        }))
    }

    /// Where the one that `starting_after` names stands, or stood if deleted ones count.
    pub(super) fn cursor(&self, state: &State, id: &str, deleted_too: bool) -> Option<Place> {
        let standing = state.rank(Kind::User, id).map(|rank| state.shelf(Kind::User).place(By::Created, rank));
        standing.or_else(|| state.gone.get(id).filter(|_| deleted_too).map(|gone| gone.place))
    }
}
