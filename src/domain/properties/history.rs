//! Clerk's world, small: people and organisations who meet, and an event for everything that happens to them.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use proptest::prelude::*;

use crate::{
    clock::{Time, from_millis},
    domain::{
        Change, Event, Organization, User, Version,
        event::{Absence, OrganizationSnapshot, Snapshot},
        membership::{Membership, Pair, Terms, Told},
        plan::Kind,
        user::{Email, Identity},
    },
};

/// What people do at Clerk. Indices choose among a few persons, addresses and identities, so that they meet.
#[derive(Debug, Clone)]
pub(super) enum Act {
    Rename(usize, u8),
    Ban(usize, bool),
    Deprovision(usize, bool),
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
    /// A comparison finds a user absent, of whom Clerk goes on telling.
    Vanish(usize),
    /// The same of an organisation.
    VanishOrganization(usize),
}

pub(super) const PERSONS: usize = 4;
pub(super) const ORGANIZATIONS: usize = 2;
const ADDRESSES: usize = 4;

/// What brings users into conflict, and takes their access away while they are.
pub(super) fn act_in_clashes() -> impl Strategy<Value = Act> {
    let person = 0..PERSONS;
    prop_oneof![
        3 => (person.clone(), any::<bool>()).prop_map(|(p, b)| Act::Ban(p, b)),
        2 => (person.clone(), any::<bool>()).prop_map(|(p, b)| Act::Deprovision(p, b)),
        4 => (person.clone(), 0..2usize).prop_map(|(p, a)| Act::Email(p, a, true)),
        1 => (person, any::<u8>()).prop_map(|(p, n)| Act::Rename(p, n)),
    ]
}

pub(super) fn act() -> impl Strategy<Value = Act> {
    let person = 0..PERSONS;
    let organization = 0..ORGANIZATIONS;
    prop_oneof![
        4 => (person.clone(), any::<u8>()).prop_map(|(p, n)| Act::Rename(p, n)),
        3 => (person.clone(), any::<bool>()).prop_map(|(p, b)| Act::Ban(p, b)),
        1 => (person.clone(), any::<bool>()).prop_map(|(p, b)| Act::Deprovision(p, b)),
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

/// Everything, and comparisons that find absent what is there.
pub(super) fn act_in_absence() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => act(),
        2 => (0..PERSONS).prop_map(Act::Vanish),
        1 => (0..ORGANIZATIONS).prop_map(Act::VanishOrganization),
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
pub(super) struct Clerk {
    /// Which events lack what they are about.
    rng: fastrand::Rng,
    /// Whether two live persons may have one address verified, as after a webhook was lost.
    clashes: bool,
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
    pub(super) fn new(seed: u64, clashes: bool) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(seed),
            clashes,
            users: BTreeMap::new(),
            gone: BTreeSet::new(),
            organizations: BTreeMap::new(),
            dissolved: BTreeSet::new(),
            members: BTreeMap::new(),
            joined: BTreeSet::new(),
            now: 0,
            events: Vec::new(),
        }
    }

    pub(super) fn act(&mut self, act: &Act) {
        if self.organize(act) {
            return;
        }
        match act {
            Act::Vanish(person) => return self.vanish(Kind::User, &name(*person)),
            Act::VanishOrganization(organization) => {
                return self.vanish(Kind::Organization, &organization_name(*organization));
            }
            _ => {}
        }
        let person = match act {
            Act::Rename(p, _)
            | Act::Ban(p, _)
            | Act::Deprovision(p, _)
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
            Act::Deprovision(_, gone) => self.edit(person, |user| user.deprovisioned = *gone),
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

    fn verified_elsewhere(&self, person: usize, id: &str) -> bool {
        self.users.iter().any(|(other, user)| {
            *other != person && user.emails.iter().any(|e| e.verified && e.id.as_deref() == Some(id))
        })
    }

    fn email(&mut self, person: usize, index: usize, verified: bool) {
        // One mailbox, whichever way its domain and the letter before it are spelled.
        let spelled =
            ["\u{fc}@b\u{fc}cher.example", "u\u{308}@xn--bcher-kva.example", "\u{fc}@Bu\u{308}cher\u{3002}EXAMPLE"];
        let address = format!("a{index}{}", spelled[person % spelled.len()]);
        let id = format!("idn_{index}");
        let taken = !self.clashes && self.verified_elsewhere(person, &id);
        self.edit(person, |user| match user.emails.iter().position(|email| email.id.as_ref() == Some(&id)) {
            Some(at) => drop(user.emails.remove(at)),
            None => user.emails.push(Email { id: Some(id), address, verified: verified && !taken }),
        });
    }

    fn link(&mut self, person: usize, index: usize) {
        // Two tenants' identity providers know somebody by one name: these are two identities.
        let (provider, connection, subject) =
            [("google", "", "1001"), ("saml_custom", "entconn_a", "1001"), ("saml_custom", "entconn_b", "1001")][index];
        let [provider, connection, subject] = [provider, connection, subject].map(str::to_owned);
        let identity = Identity { provider, connection, subject };
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

    /// Everything that is there, as Clerk's API shows it: users and organisations before their memberships, and each
    /// with a version below that of the event which told it.
    pub(super) fn shown(&self) -> Vec<Event> {
        let at = |time: Option<Time>| time.map_or(0, ms);
        let users = self.users.values().map(|user| {
            let version = Version::of(at(user.updated_at) / 14 * 14, at(user.updated_at) / 14 * 14, user);
            Change::User(Box::new(Snapshot { user: user.clone(), version, emptied: vec![] }))
        });
        let organizations = self.organizations.values().map(|row| {
            let version = Version::of(at(row.updated_at) / 14 * 14, at(row.updated_at) / 14 * 14, row);
            Change::Organization(Box::new(OrganizationSnapshot { organization: row.clone(), version, emptied: vec![] }))
        });
        let members = self.members.values().map(|member| {
            let Membership { clerk_id, pair, role, permissions, created_at, updated_at } = member.clone();
            let key = pair.to_string();
            let terms = Terms { role, permissions, created_at, updated_at };
            let version = Version::of_membership(
                (ms(created_at), &clerk_id),
                false,
                at(updated_at),
                at(updated_at),
                &(&pair, &terms.role),
            );
            let (organization, user) = (Some(pair.organization), Some(pair.user));
            let (version, clerk_id, terms) = (Some(version), Some(clerk_id), Some(terms));
            Change::Membership(Box::new(Told { version, clerk_id, organization, user, terms, key }))
        });
        let event = |(seq, change): (i64, Change)| Event {
            seq,
            correlation_id: format!("api_{seq}"),
            event_type: "user.updated".into(),
            occurred_at: None,
            actor: "reconcile",
            change,
            from_api: true,
            refreshed: None,
        };
        (0..).zip(users.chain(organizations).chain(members)).map(event).collect()
    }

    /// As of the newest version that was told.
    fn vanish(&mut self, kind: Kind, key: &str) {
        let versions = self.events.iter().filter_map(|event| match &event.change {
            Change::User(snapshot) if snapshot.user.clerk_id == key => Some(&snapshot.version),
            Change::Organization(snapshot) if snapshot.organization.clerk_id == key => Some(&snapshot.version),
            _ => None,
        });
        if let Some(seen) = versions.max().cloned() {
            self.now += 7;
            self.push(Change::Absent(Absence { kind, key: key.to_owned(), seen }));
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
            from_api: false,
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
        // Nobody rejoins before the end's envelope was written.
        self.now += 5;
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
        let told = if ended { self.end_of(membership) } else { self.snapshot_of(membership) };
        self.push(Change::Membership(Box::new(told)));
    }

    /// A snapshot, some of which lack one parent or both.
    fn snapshot_of(&mut self, membership: Membership) -> Told {
        let shape = self.rng.u8(..8);
        let Membership { clerk_id, pair, role, permissions, created_at, updated_at } = membership;
        let key = if shape < 3 { clerk_id.clone() } else { pair.to_string() };
        let organization = (shape != 0 && shape != 1).then_some(pair.organization);
        let user = (shape != 0 && shape != 2).then_some(pair.user);
        let terms = Terms { role, permissions, created_at, updated_at };
        let said = (&organization, &user, &terms.role);
        let birth = (ms(created_at), clerk_id.as_str());
        let version = Version::of_membership(birth, false, updated_at.map_or(0, ms), self.now + 3, &said);
        Told { version: Some(version), clerk_id: Some(clerk_id), organization, user, terms: Some(terms), key }
    }

    /// An end, most of which lack something: a parent or both, the id, when the membership began.
    fn end_of(&mut self, membership: Membership) -> Told {
        let shape = self.rng.u8(..9);
        let Membership { clerk_id, pair, created_at, updated_at, .. } = membership;
        let key = if shape < 3 { clerk_id.clone() } else { pair.to_string() };
        let organization = (shape != 0 && shape != 1).then_some(pair.organization);
        let user = (shape != 0 && shape != 2).then_some(pair.user);
        let above = |birth| Version::of_membership(birth, true, updated_at.map_or(0, ms), self.now + 3, &shape);
        let (version, id) = match shape {
            0..4 => (None, Some(clerk_id)),
            4 => (Some(above((self.now + 3, "~"))), None),
            _ => (Some(above((ms(created_at), &clerk_id))), Some(clerk_id)),
        };
        Told { clerk_id: id, organization, user, terms: None, version, key }
    }
}

fn ms(time: Time) -> u64 {
    time.timestamp_millis() as u64
}
