//! Clerk's world, small: people and organisations who meet, and an event for everything that happens to them.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use proptest::prelude::*;

use crate::{
    clock::{Time, from_millis},
    domain::{
        Change, Event, Organization, User, Version,
        event::{OrganizationSnapshot, Snapshot},
        membership::{Membership, Pair, Told},
        user::{Email, Identity},
    },
};

/// What people do at Clerk. Indices choose among a few persons, addresses and identities, so that they meet.
#[derive(Debug, Clone)]
pub(super) enum Act {
    Rename(usize, u8),
    Ban(usize, bool),
    /// Adds or removes an address; verified only while no other live person has it verified.
    Email(usize, usize, bool),
    Primary(usize, usize),
    Link(usize, usize),
    Swap(usize, usize),
    Delete(usize),
    /// Deletes and tells it twice, at different times.
    DeleteTwice(usize),
    /// Makes an organisation, or renames it.
    Organize(usize, usize, u8),
    Join(usize, usize, bool),
    Leave(usize, usize),
    Promote(usize, usize, bool),
    Dissolve(usize),
}

pub(super) const PERSONS: usize = 4;
pub(super) const ORGANIZATIONS: usize = 2;
const ADDRESSES: usize = 4;

pub(super) fn act() -> impl Strategy<Value = Act> {
    let person = 0..PERSONS;
    let organization = 0..ORGANIZATIONS;
    prop_oneof![
        4 => (person.clone(), any::<u8>()).prop_map(|(p, n)| Act::Rename(p, n)),
        1 => (person.clone(), any::<bool>()).prop_map(|(p, b)| Act::Ban(p, b)),
        8 => (person.clone(), 0..ADDRESSES, prop::bool::weighted(0.8)).prop_map(|(p, a, v)| Act::Email(p, a, v)),
        2 => (person.clone(), 0..ADDRESSES).prop_map(|(p, a)| Act::Primary(p, a)),
        4 => (person.clone(), 0..3usize).prop_map(|(p, i)| Act::Link(p, i)),
        3 => (person.clone(), 0..PERSONS).prop_map(|(a, b)| Act::Swap(a, b)),
        1 => person.clone().prop_map(Act::Delete),
        1 => person.clone().prop_map(Act::DeleteTwice),
        3 => (organization.clone(), person.clone(), any::<u8>()).prop_map(|(o, p, n)| Act::Organize(o, p, n)),
        8 => (organization.clone(), person.clone(), any::<bool>()).prop_map(|(o, p, a)| Act::Join(o, p, a)),
        4 => (organization.clone(), person.clone()).prop_map(|(o, p)| Act::Leave(o, p)),
        3 => (organization.clone(), person, any::<bool>()).prop_map(|(o, p, a)| Act::Promote(o, p, a)),
        1 => organization.prop_map(Act::Dissolve),
    ]
}

/// The same with few changes of people, so that organisations fill and empty.
pub(super) fn act_in_organizations() -> impl Strategy<Value = Act> {
    let (organization, person) = (0..ORGANIZATIONS, 0..PERSONS);
    prop_oneof![
        2 => (person.clone(), any::<u8>()).prop_map(|(p, n)| Act::Rename(p, n)),
        1 => person.clone().prop_map(Act::Delete),
        4 => (organization.clone(), person.clone(), any::<u8>()).prop_map(|(o, p, n)| Act::Organize(o, p, n)),
        16 => (organization.clone(), person.clone(), any::<bool>()).prop_map(|(o, p, a)| Act::Join(o, p, a)),
        8 => (organization.clone(), person.clone()).prop_map(|(o, p)| Act::Leave(o, p)),
        6 => (organization, person, any::<bool>()).prop_map(|(o, p, a)| Act::Promote(o, p, a)),
    ]
}

/// Clerk: keeps a verified address and an identity with one live person at a time, and emits an event an act.
#[derive(Default)]
pub(super) struct Clerk {
    users: BTreeMap<usize, User>,
    gone: BTreeSet<usize>,
    organizations: BTreeMap<usize, Organization>,
    dissolved: BTreeSet<usize>,
    members: BTreeMap<(usize, usize), Membership>,
    /// Who has ever been a member.
    joined: BTreeSet<(usize, usize)>,
    now: u64,
    pub(super) events: Vec<Event>,
}

pub(super) fn organization_name(organization: usize) -> String {
    format!("org_{organization}")
}

pub(super) fn name(person: usize) -> String {
    format!("user_{person}")
}

impl Clerk {
    pub(super) fn act(&mut self, act: &Act) {
        if self.organize(act) {
            return;
        }
        let person = match act {
            Act::Rename(p, _)
            | Act::Ban(p, _)
            | Act::Email(p, ..)
            | Act::Primary(p, _)
            | Act::Link(p, _)
            | Act::Swap(p, _)
            | Act::Delete(p)
            | Act::DeleteTwice(p) => *p,
            _ => return,
        };
        if self.gone.contains(&person) {
            return;
        }
        if let Entry::Vacant(new) = self.users.entry(person) {
            new.insert(User { clerk_id: name(person), ..User::default() });
            self.emit(person);
        }
        match act {
            Act::Rename(_, n) => self.edit(person, |user| user.first_name = (n % 4 != 0).then(|| format!("N{n}"))),
            Act::Ban(_, banned) => self.edit(person, |user| user.banned = *banned),
            Act::Email(_, address, verified) => self.email(person, *address, *verified),
            Act::Primary(_, address) => {
                self.edit(person, |user| user.primary_email_id = Some(format!("idn_{address}")))
            }
            Act::Link(_, identity) => self.link(person, *identity),
            Act::Swap(_, other) => self.swap(person, *other),
            Act::Delete(_) | Act::DeleteTwice(_) => {
                self.users.remove(&person);
                self.gone.insert(person);
                self.delete(person);
                if matches!(act, Act::DeleteTwice(_)) {
                    self.delete(person);
                }
                // Clerk ends the memberships; whether it says so for each is not documented.
                self.drop_members(|(_, user)| user == person);
            }
            _ => {}
        }
    }

    fn edit(&mut self, person: usize, change: impl FnOnce(&mut User)) {
        if let Some(user) = self.users.get_mut(&person) {
            change(user);
            self.emit(person);
        }
    }

    fn verified_elsewhere(&self, person: usize, address: &str) -> bool {
        self.users
            .iter()
            .any(|(other, user)| *other != person && user.emails.iter().any(|e| e.verified && e.address == address))
    }

    fn email(&mut self, person: usize, index: usize, verified: bool) {
        let address = format!("a{index}@example.com");
        let taken = self.verified_elsewhere(person, &address);
        self.edit(person, |user| match user.emails.iter().position(|email| email.address == address) {
            Some(at) => drop(user.emails.remove(at)),
            None => user.emails.push(Email { id: Some(format!("idn_{index}")), address, verified: verified && !taken }),
        });
    }

    fn link(&mut self, person: usize, index: usize) {
        let identity = Identity { provider: "google".into(), subject: format!("g{index}") };
        // One of them Clerk lets two people have at once, as after a provider was set up anew.
        let shared = index == 2;
        let holder = self
            .users
            .iter()
            .find(|(other, user)| (!shared || **other == person) && user.identities.contains(&identity));
        let holder = holder.map(|(holder, _)| *holder);
        if let Some(holder) = holder {
            self.edit(holder, |user| user.identities.retain(|held| *held != identity));
        }
        if holder != Some(person) {
            self.edit(person, |user| user.identities.push(identity));
        }
    }

    /// Two persons exchange their addresses: both drop theirs in one act each, then take the other's.
    fn swap(&mut self, one: usize, two: usize) {
        let take = |clerk: &mut Self, person| {
            clerk.users.get_mut(&person).map(|user: &mut User| std::mem::take(&mut user.emails))
        };
        if one == two || !self.users.contains_key(&two) {
            return;
        }
        let (mine, theirs) = (take(self, one), take(self, two));
        self.edit(one, |user| user.emails = theirs.unwrap_or_default());
        self.edit(two, |user| user.emails = mine.unwrap_or_default());
    }

    fn emit(&mut self, person: usize) {
        self.now += 7;
        let updated_at = self.now;
        if let Some(user) = self.users.get_mut(&person) {
            user.updated_at = from_millis(updated_at as i64);
            let user = user.clone();
            // Now and then two snapshots carry one `updated_at`, as at Clerk: the envelope's time decides.
            let rounded = updated_at / 14 * 14;
            let version = Version::of(rounded, updated_at + 3, &user);
            self.push(Change::User(Box::new(Snapshot { user, version, emptied: vec![] })));
        }
    }

    fn delete(&mut self, person: usize) {
        self.now += 7;
        self.push(Change::UserDeleted { clerk_id: name(person) });
    }

    fn push(&mut self, change: Change) {
        let seq = self.events.len() as i64;
        let occurred_at = from_millis(self.now as i64 + 3);
        self.events.push(Event {
            seq,
            correlation_id: format!("msg_{seq}"),
            event_type: "user.updated".into(),
            occurred_at,
            actor: "clerk",
            change,
            refreshed: None,
        });
    }

    /// Does what concerns organisations; answers whether the act does.
    fn organize(&mut self, act: &Act) -> bool {
        match *act {
            Act::Organize(organization, person, n) => {
                if self.dissolved.contains(&organization) || !self.users.contains_key(&person) {
                    return true;
                }
                let is_new = !self.organizations.contains_key(&organization);
                let row = self.organizations.entry(organization).or_insert_with(|| Organization {
                    clerk_id: organization_name(organization),
                    created_by: Some(name(person)),
                    ..Organization::default()
                });
                row.name = Some(format!("O{n}"));
                row.slug = (n % 3 == 0).then(|| format!("o{n}"));
                self.tell_organization(organization);
                if is_new {
                    self.join(organization, person, "org:admin");
                }
            }
            Act::Join(organization, person, admin) => {
                let here = self.organizations.contains_key(&organization) && self.users.contains_key(&person);
                if here && !self.members.contains_key(&(organization, person)) {
                    self.join(organization, person, if admin { "admin" } else { "org:member" });
                }
            }
            Act::Leave(organization, person) => self.drop_members(|pair| pair == (organization, person)),
            Act::Promote(organization, person, admin) => {
                if let Some(member) = self.members.get_mut(&(organization, person)) {
                    member.role = if admin { "org:admin" } else { "basic_member" }.into();
                    self.tell_member(organization, person, false);
                }
            }
            Act::Dissolve(organization) => {
                if self.organizations.remove(&organization).is_some() {
                    self.dissolved.insert(organization);
                    self.now += 7;
                    self.push(Change::OrganizationDeleted { clerk_id: organization_name(organization) });
                    self.drop_members(|(other, _)| other == organization);
                }
            }
            _ => return false,
        }
        true
    }

    fn join(&mut self, organization: usize, person: usize, role: &str) {
        self.now += 1;
        // Two may join at once: their ids decide who is senior. Nobody rejoins at the moment at which they joined.
        let first = self.joined.insert((organization, person));
        let at = if first { self.now / 28 * 28 } else { self.now };
        let membership = Membership {
            clerk_id: format!("orgmem_{}", self.events.len()),
            pair: Pair { organization: organization_name(organization), user: name(person) },
            role: role.into(),
            permissions: vec![],
            created_at: from_millis(at as i64).unwrap_or_default(),
            updated_at: None,
        };
        self.members.insert((organization, person), membership);
        self.tell_member(organization, person, false);
    }

    fn drop_members(&mut self, which: impl Fn((usize, usize)) -> bool) {
        let gone: Vec<(usize, usize)> = self.members.keys().copied().filter(|pair| which(*pair)).collect();
        for (organization, person) in gone {
            self.tell_member(organization, person, true);
            self.members.remove(&(organization, person));
        }
    }

    fn tell_organization(&mut self, organization: usize) {
        self.now += 7;
        let now = self.now;
        if let Some(row) = self.organizations.get_mut(&organization) {
            row.updated_at = from_millis(now as i64);
            let organization = row.clone();
            let version = Version::of(now / 14 * 14, now + 3, &organization);
            let snapshot = OrganizationSnapshot { organization, version, emptied: vec![] };
            self.push(Change::Organization(Box::new(snapshot)));
        }
    }

    fn tell_member(&mut self, organization: usize, person: usize, ended: bool) {
        self.now += 7;
        let now = self.now;
        let Some(member) = self.members.get_mut(&(organization, person)) else { return };
        // An end may carry an older object than the last update did; it ends the membership all the same.
        member.updated_at = if ended { Some(member.created_at) } else { from_millis(now as i64) };
        let membership = member.clone();
        let ms = |time: Time| time.timestamp_millis() as u64;
        let birth = (ms(membership.created_at), membership.clerk_id.as_str());
        let updated = membership.updated_at.map_or(0, ms);
        let version = Version::of_membership(birth, ended, updated, now + 3, &membership);
        let key = membership.pair.to_string();
        self.push(Change::Membership(Box::new(Told { membership, ended, version, key })));
    }
}
