//! Histories as Clerk's world allows them, told in signed bodies; and what the tables must show of them in the end, read
//! off Clerk's own state: nothing of the rules' code is used, so nothing of it can be wrong in the same way.

mod bodies;
mod oracle;

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use fastrand::Rng;
use serde_json::Value;

pub(crate) use oracle::Switches;

const PERSONS: usize = 4;
const ORGANIZATIONS: usize = 2;
const ADDRESSES: usize = 4;

/// A person as Clerk has them now.
#[derive(Debug, Clone, Default)]
struct Person {
    first_name: Option<String>,
    banned: bool,
    /// Address and whether it is verified, in Clerk's order.
    emails: Vec<(usize, bool)>,
    primary: Option<usize>,
    identities: BTreeSet<usize>,
    /// When their last snapshot was told: of two, the later stands higher.
    told: u64,
}

#[derive(Debug, Clone)]
struct Organization {
    name: String,
    slug: Option<String>,
    creator: usize,
}

#[derive(Debug, Clone)]
struct Member {
    id: String,
    role: &'static str,
    created_at: u64,
    /// Whether an event has named its pair.
    named: bool,
}

/// Clerk, small: keeps a verified address with one live person at a time, and tells everything that happens.
#[derive(Debug)]
pub(crate) struct History {
    /// Part of every id and address, so that many histories can share a database.
    name: String,
    now: u64,
    persons: BTreeMap<usize, Person>,
    /// Who was ever told of with an address, with a name.
    entered: BTreeMap<usize, BTreeSet<(bool, bool)>>,
    /// The earliest time that a deletion carried.
    gone: BTreeMap<usize, u64>,
    organizations: BTreeMap<usize, Organization>,
    dissolved: BTreeMap<usize, u64>,
    members: BTreeMap<(usize, usize), Member>,
    joined: BTreeSet<(usize, usize)>,
    /// What Clerk has sent, in the order in which it happened.
    pub(crate) events: Vec<Value>,
}

impl History {
    /// A history of some ten to fifty acts.
    pub(crate) fn new(name: &str, rng: &mut Rng) -> Self {
        let mut history = Self {
            name: name.to_owned(),
            now: 1_760_000_000_000,
            persons: BTreeMap::new(),
            entered: BTreeMap::new(),
            gone: BTreeMap::new(),
            organizations: BTreeMap::new(),
            dissolved: BTreeMap::new(),
            members: BTreeMap::new(),
            joined: BTreeSet::new(),
            events: Vec::new(),
        };
        for _ in 0..rng.usize(10..50) {
            history.act(rng);
        }
        history
    }

    fn act(&mut self, rng: &mut Rng) {
        let (person, organization) = (rng.usize(..PERSONS), rng.usize(..ORGANIZATIONS));
        match rng.u8(..46) {
            kind @ 0..24 => self.live(kind, person, rng),
            24..28 => self.organize(organization, person, rng),
            28..37 => self.join(organization, person, ["org:admin", "admin", "org:member"][rng.usize(..3)]),
            37..41 => self.leave(&[(organization, person)], true),
            41..45 => self.promote(organization, person, if rng.bool() { "org:admin" } else { "basic_member" }),
            _ => self.dissolve(organization, rng),
        }
    }

    /// Something that happens to a person, who signs up with it if they are not there.
    fn live(&mut self, kind: u8, person: usize, rng: &mut Rng) {
        if self.gone.contains_key(&person) {
            return;
        }
        if let Entry::Vacant(new) = self.persons.entry(person) {
            new.insert(Person::default());
            self.tell_person(person);
        }
        match kind {
            0..5 => {
                let name = (!rng.u8(..).is_multiple_of(4)).then(|| format!("N{}", rng.u8(..)));
                self.edit(person, |row| row.first_name = name);
            }
            5 => self.edit(person, |row| row.banned = !row.banned),
            6..13 => self.email(person, rng.usize(..ADDRESSES), rng.u8(..5) > 0),
            13..15 => {
                let primary = rng.usize(..ADDRESSES);
                self.edit(person, |row| row.primary = Some(primary));
            }
            15..19 => self.link(person, rng.usize(..3)),
            19..22 => self.swap(person, rng.usize(..PERSONS)),
            _ => self.delete(person, rng),
        }
    }

    fn edit(&mut self, person: usize, change: impl FnOnce(&mut Person)) {
        if let Some(row) = self.persons.get_mut(&person) {
            change(row);
            self.tell_person(person);
        }
    }

    fn email(&mut self, person: usize, address: usize, verified: bool) {
        let taken = self.persons.iter().any(|(other, row)| *other != person && row.emails.contains(&(address, true)));
        self.edit(person, |row| match row.emails.iter().position(|(held, _)| *held == address) {
            Some(at) => drop(row.emails.remove(at)),
            None => row.emails.push((address, verified && !taken)),
        });
    }

    /// The last identity two may have at once, as after a provider was set up anew; the others move.
    fn link(&mut self, person: usize, identity: usize) {
        let holders = self
            .persons
            .iter()
            .filter(|(other, row)| row.identities.contains(&identity) && (identity < 2 || **other == person));
        let holder = holders.map(|(holder, _)| *holder).next();
        if let Some(holder) = holder {
            self.edit(holder, |row| _ = row.identities.remove(&identity));
        }
        if holder != Some(person) {
            self.edit(person, |row| _ = row.identities.insert(identity));
        }
    }

    /// Two persons exchange their addresses.
    fn swap(&mut self, one: usize, two: usize) {
        if one == two || !self.persons.contains_key(&two) {
            return;
        }
        let mut take = |person| self.persons.get_mut(&person).map(|row: &mut Person| std::mem::take(&mut row.emails));
        let (mine, theirs) = (take(one).unwrap(), take(two).unwrap());
        self.edit(one, |row| row.emails = theirs);
        self.edit(two, |row| row.emails = mine);
    }

    fn delete(&mut self, person: usize, rng: &mut Rng) {
        self.persons.remove(&person);
        for _ in 0..rng.usize(1..3) {
            self.now += 7;
            self.gone.entry(person).or_insert(self.now);
            self.tell_gone("user", &self.person_id(person));
        }
        let inside: Vec<_> = self.members.keys().copied().filter(|(_, user)| *user == person).collect();
        // Whether Clerk tells the end of each membership is not documented.
        self.leave(&inside, rng.bool());
    }

    fn organize(&mut self, organization: usize, person: usize, rng: &mut Rng) {
        if self.dissolved.contains_key(&organization) || !self.persons.contains_key(&person) {
            return;
        }
        let is_new = !self.organizations.contains_key(&organization);
        let n = rng.u8(..);
        let row = self.organizations.entry(organization).or_insert(Organization {
            name: String::new(),
            slug: None,
            creator: person,
        });
        (row.name, row.slug) = (format!("O{n}"), n.is_multiple_of(3).then(|| format!("o{n}")));
        self.tell_organization(organization);
        if is_new {
            self.join(organization, person, "org:admin");
        }
    }

    fn join(&mut self, organization: usize, person: usize, role: &'static str) {
        let pair = (organization, person);
        let here = self.organizations.contains_key(&organization) && self.persons.contains_key(&person);
        if !here || self.members.contains_key(&pair) {
            return;
        }
        // Nobody rejoins before the end's envelope was written.
        self.now += 5;
        // Two may join at once: their ids decide who is senior. Nobody rejoins at the moment at which they joined.
        let created_at = if self.joined.insert(pair) { self.now / 28 * 28 } else { self.now };
        let id = format!("orgmem_{}_{}", self.name, self.events.len());
        self.members.insert(pair, Member { id, role, created_at, named: false });
        self.tell_member(pair, false);
    }

    fn promote(&mut self, organization: usize, person: usize, role: &'static str) {
        if let Some(member) = self.members.get_mut(&(organization, person)) {
            member.role = role;
            self.tell_member((organization, person), false);
        }
    }

    fn leave(&mut self, pairs: &[(usize, usize)], told: bool) {
        for pair in pairs {
            if told && self.members.contains_key(pair) {
                self.tell_member(*pair, true);
            }
            self.members.remove(pair);
        }
    }

    fn dissolve(&mut self, organization: usize, rng: &mut Rng) {
        if self.organizations.remove(&organization).is_none() {
            return;
        }
        self.now += 7;
        self.dissolved.insert(organization, self.now);
        self.tell_gone("organization", &self.organization_id(organization));
        let inside: Vec<_> = self.members.keys().copied().filter(|(other, _)| *other == organization).collect();
        self.leave(&inside, rng.bool());
    }
}
