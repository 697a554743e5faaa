//! What a world holds, behind its lock: the three shelves, who belongs where, what is gone; and the JSON of each object
//! as it is now. An object is named by its kind and rank.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value};

use super::{
    ids::{Kind, mix, spell},
    objects::public_user_data,
    seed::Seed,
    shelf::{Body, By, Kept, Part, Place, Shelf},
};

#[derive(Debug)]
pub(super) struct State {
    pub(super) seed: Seed,
    users: Shelf,
    organizations: Shelf,
    memberships: Shelf,
    /// The parents (organisation, person) of memberships that are kept, and the way back.
    pairs: HashMap<u64, (String, String)>,
    by_organization: HashMap<String, BTreeSet<u64>>,
    by_user: HashMap<String, BTreeSet<u64>>,
    /// What was deleted one by one: where it stood, when it went, and what its event says.
    pub(super) gone: HashMap<String, Gone>,
    pub(super) jwks: Value,
    ids_made: u64,
}

#[derive(Debug)]
pub(super) struct Gone {
    pub(super) place: Place,
    pub(super) at: i64,
    pub(super) data: Box<str>,
}

fn millis(object: &Value, member: &str) -> Option<i64> {
    object[member].as_i64()
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

impl State {
    pub(super) fn new(seed: Seed) -> Self {
        Self {
            seed,
            users: Shelf::new(seed.users),
            organizations: Shelf::new(seed.organizations),
            memberships: Shelf::new(seed.memberships),
            pairs: HashMap::new(),
            by_organization: HashMap::new(),
            by_user: HashMap::new(),
            gone: HashMap::new(),
            jwks: serde_json::json!({"keys": []}),
            ids_made: 0,
        }
    }

    pub(super) fn shelf(&self, kind: Kind) -> &Shelf {
        match kind {
            Kind::User => &self.users,
            Kind::Organization => &self.organizations,
            Kind::Membership => &self.memberships,
        }
    }

    fn shelf_mut(&mut self, kind: Kind) -> &mut Shelf {
        match kind {
            Kind::User => &mut self.users,
            Kind::Organization => &mut self.organizations,
            Kind::Membership => &mut self.memberships,
        }
    }

    /// The rank of the object with this id, if it is there.
    pub(super) fn rank(&self, kind: Kind, id: &str) -> Option<u64> {
        let shelf = self.shelf(kind);
        shelf.rank_of_kept(id).or_else(|| self.seed.index(kind, id).filter(|index| shelf.is_seeded(*index)))
    }

    pub(super) fn id(&self, kind: Kind, rank: u64) -> String {
        self.shelf(kind).kept(rank).map_or_else(|| self.seed.id(kind, rank), |kept| kept.id.to_string())
    }

    pub(super) fn new_id(&mut self, kind: Kind, now: i64) -> String {
        self.ids_made += 1;
        let made = self.ids_made;
        format!("{}{}", kind.prefix(), spell(now, (u128::from(mix(made)) << 64) | u128::from(mix(!made))))
    }

    /// The JSON of an object as the API shows it.
    pub(super) fn text(&self, kind: Kind, rank: u64) -> String {
        match (kind, self.shelf(kind).kept(rank)) {
            (_, Some(Kept { body: Body::Over(over), .. })) => {
                let mut object = parse(&self.seeded(kind, rank));
                if let (Value::Object(members), Value::Object(changed)) = (&mut object, parse(over)) {
                    members.extend(changed);
                }
                object.to_string()
            }
            (Kind::Membership, Some(Kept { body: Body::Whole(whole), .. })) => {
                let mut object = parse(whole);
                if let Some((organization, user)) = self.pairs.get(&rank) {
                    if let Some(rank) = self.rank(Kind::Organization, organization) {
                        object["organization"] = parse(&self.text(Kind::Organization, rank));
                    }
                    if let Some(rank) = self.rank(Kind::User, user) {
                        object["public_user_data"] = parse(&self.person(rank));
                    }
                }
                object.to_string()
            }
            (_, Some(Kept { body: Body::Whole(whole), .. })) => whole.to_string(),
            (_, None) => self.seeded(kind, rank),
        }
    }

    pub(super) fn value(&self, kind: Kind, rank: u64) -> Value {
        parse(&self.text(kind, rank))
    }

    /// What the seed makes; of a membership with its parents as they are now.
    fn seeded(&self, kind: Kind, rank: u64) -> String {
        match kind {
            Kind::User => self.seed.user(rank),
            Kind::Organization => self.seed.organization(rank),
            Kind::Membership => {
                let (user, organization) = self.seed.pair(rank);
                self.seed.membership(rank, &self.text(Kind::Organization, organization), &self.person(user))
            }
        }
    }

    fn person(&self, rank: u64) -> String {
        if self.users.is_seeded(rank) {
            return self.seed.public_user_data(rank);
        }
        public_user_data(&self.value(Kind::User, rank)).to_string()
    }

    /// Puts an object there or in place of the one with its id. What it lacks of id and times is filled in.
    pub(super) fn put(&mut self, kind: Kind, mut object: Value, now: i64) -> String {
        if !object.is_object() {
            object = Value::Object(Map::new());
        }
        let id = object["id"].as_str().map_or_else(|| self.new_id(kind, now), str::to_owned);
        let created_at = millis(&object, "created_at").unwrap_or(now);
        let updated_at = millis(&object, "updated_at").unwrap_or(created_at);
        object["id"] = id.clone().into();
        object["object"] = kind.object().into();
        object["created_at"] = created_at.into();
        object["updated_at"] = updated_at.into();
        let rank = self.rank(kind, &id).unwrap_or_else(|| self.shelf_mut(kind).new_rank());
        if kind == Kind::Organization
            && let Some(members) = object.as_object_mut()
        {
            // Counted when asked for.
            members.remove("members_count");
            members.remove("pending_invitations_count");
        }
        if kind == Kind::Membership {
            let text = |inner: &str, member: &str| object[inner][member].as_str().unwrap_or_default().to_owned();
            let pair = (text("organization", "id"), text("public_user_data", "user_id"));
            self.link(rank, pair);
        }
        self.gone.remove(&id);
        let body = Body::Whole(object.to_string().into());
        self.shelf_mut(kind).keep(rank, Kept { id: id.as_str().into(), created_at, updated_at, body });
        id
    }

    /// Changes an object; `updated_at` becomes `now`, or rises by one. Id and `created_at` stay.
    pub(super) fn touch(&mut self, kind: Kind, id: &str, now: i64, change: impl FnOnce(&mut Value)) -> bool {
        let Some(rank) = self.rank(kind, id) else { return false };
        let (created_at, before) =
            (self.shelf(kind).place(By::Created, rank).at, self.shelf(kind).place(By::Updated, rank).at);
        let mut object = self.value(kind, rank);
        change(&mut object);
        let updated_at = now.max(before + 1);
        object["id"] = id.into();
        object["created_at"] = created_at.into();
        object["updated_at"] = updated_at.into();
        // Of a seeded one only what differs is held.
        let body = match (self.seed.index(kind, id).filter(|index| *index == rank), object) {
            (Some(index), Value::Object(mut members)) => {
                let seeded = parse(&self.seeded(kind, index));
                let whole = seeded.as_object().into_iter().flatten().any(|(name, _)| !members.contains_key(name));
                if !whole {
                    members.retain(|name, value| seeded.get(name) != Some(value));
                }
                let text = Value::Object(members).to_string().into();
                if whole { Body::Whole(text) } else { Body::Over(text) }
            }
            (_, object) => Body::Whole(object.to_string().into()),
        };
        if kind == Kind::Membership {
            self.link(rank, self.pair(rank));
        }
        self.shelf_mut(kind).keep(rank, Kept { id: id.into(), created_at, updated_at, body });
        true
    }

    /// Removes an object and what cannot be without it. Its last words are kept for its event.
    pub(super) fn delete(&mut self, kind: Kind, id: &str, now: i64) -> bool {
        let Some(rank) = self.rank(kind, id) else { return false };
        let object = self.value(kind, rank);
        let place = self.shelf(kind).place(By::Created, rank);
        let mut deleted = serde_json::json!({"id": id, "object": kind.object(), "deleted": true});
        for member in ["external_id", "slug"] {
            if !object[member].is_null() {
                deleted[member] = object[member].clone();
            }
        }
        let data = if kind == Kind::Membership { object } else { deleted };
        let children = match kind {
            Kind::User => self.of_user(id),
            Kind::Organization => self.of_organization(id),
            Kind::Membership => Vec::new(),
        };
        for child in children {
            self.unlink(child);
            self.memberships.remove(child);
        }
        if kind == Kind::Membership {
            self.unlink(rank);
        }
        self.shelf_mut(kind).remove(rank);
        self.gone.insert(id.to_owned(), Gone { place, at: now, data: data.to_string().into() });
        true
    }

    /// Organisation and person of a membership.
    fn pair(&self, rank: u64) -> (String, String) {
        self.pairs.get(&rank).cloned().unwrap_or_else(|| {
            let (user, organization) = self.seed.pair(rank);
            (self.seed.id(Kind::Organization, organization), self.seed.id(Kind::User, user))
        })
    }

    fn link(&mut self, rank: u64, (organization, user): (String, String)) {
        self.unlink(rank);
        self.by_organization.entry(organization.clone()).or_default().insert(rank);
        self.by_user.entry(user.clone()).or_default().insert(rank);
        self.pairs.insert(rank, (organization, user));
    }

    fn unlink(&mut self, rank: u64) {
        let Some((organization, user)) = self.pairs.remove(&rank) else { return };
        for (index, id) in [(&mut self.by_organization, organization), (&mut self.by_user, user)] {
            if let Some(ranks) = index.get_mut(&id) {
                ranks.remove(&rank);
                if ranks.is_empty() {
                    index.remove(&id);
                }
            }
        }
    }

    fn children(&self, seeded: impl Iterator<Item = u64>, kept: Option<&BTreeSet<u64>>) -> Vec<u64> {
        let seeded = seeded.filter(|rank| self.memberships.is_seeded(*rank));
        seeded.chain(kept.into_iter().flatten().copied()).collect()
    }

    /// The memberships of a person.
    pub(super) fn of_user(&self, id: &str) -> Vec<u64> {
        let seeded = self.seed.index(Kind::User, id).map(|index| self.seed.of_user(index));
        self.children(seeded.into_iter().flatten(), self.by_user.get(id))
    }

    /// The memberships in an organisation.
    pub(super) fn of_organization(&self, id: &str) -> Vec<u64> {
        let seeded = self.seed.index(Kind::Organization, id).map(|index| self.seed.of_organization(index));
        self.children(seeded.into_iter().flatten(), self.by_organization.get(id))
    }

    /// The person of a membership.
    pub(super) fn member(&self, rank: u64) -> String {
        self.pair(rank).1
    }

    /// The organisation of a membership.
    pub(super) fn organization_of(&self, rank: u64) -> String {
        self.pair(rank).0
    }

    /// Everybody's ranks, oldest first.
    pub(super) fn all(&self, kind: Kind) -> Vec<u64> {
        self.shelf(kind).page(By::Created, false, Part::default(), 0, u64::MAX)
    }
}
