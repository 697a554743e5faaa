//! Clerk, making changes: people are renamed, join organisations and leave them, are banned and let in again.
//!
//! What is told of one subject in one round is told once, and a round is applied before the next one is made: so it is
//! known in which order the changes of a subject are, and nothing more.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use serde_json::{Value, json};

use crate::support::{
    organizations::{dissolved, ended, member, organization},
    people::{deleted, user, with},
};

pub(super) const ORGANIZATIONS: usize = 6;

/// All of them; the first ones have clients, and of those some are not there from the beginning.
const PERSONS: usize = 40;

/// Acts a round.
const ACTS: usize = 150;

pub(super) struct Clerk {
    rng: Rng,
    now: u64,
    /// Whether they are banned.
    people: BTreeMap<usize, bool>,
    gone: BTreeSet<usize>,
    organizations: BTreeSet<usize>,
    dissolved: BTreeSet<usize>,
    /// (organisation, person): when they joined, and with which role.
    members: BTreeMap<(usize, usize), (u64, &'static str)>,
    /// What this round has told of already.
    told: BTreeSet<String>,
    bodies: Vec<Value>,
}

fn name(person: usize) -> String {
    format!("p{person}")
}

impl Clerk {
    pub(super) fn new(rng: Rng) -> Self {
        Self {
            rng,
            now: 1,
            people: BTreeMap::new(),
            gone: BTreeSet::new(),
            organizations: BTreeSet::new(),
            dissolved: BTreeSet::new(),
            members: BTreeMap::new(),
            told: BTreeSet::new(),
            bodies: Vec::new(),
        }
    }

    /// The next changes, in any order.
    pub(super) fn round(&mut self) -> Vec<Value> {
        self.told.clear();
        // Memberships are of those who were there before.
        let (people, organizations): (Vec<_>, Vec<_>) =
            (self.people.keys().copied().collect(), self.organizations.iter().copied().collect());
        for _ in 0..ACTS {
            self.act(&people, &organizations);
        }
        self.rng.shuffle(&mut self.bodies);
        std::mem::take(&mut self.bodies)
    }

    /// Whoever is banned is let in again.
    pub(super) fn amnesty(&mut self) -> Vec<Value> {
        self.told.clear();
        let banned: Vec<_> = self.people.iter().filter(|(_, banned)| **banned).map(|(person, _)| *person).collect();
        banned.into_iter().for_each(|person| self.person(person, false));
        std::mem::take(&mut self.bodies)
    }

    fn act(&mut self, people: &[usize], organizations: &[usize]) {
        self.now += 10;
        let person = self.rng.usize(..PERSONS);
        let organization = self.rng.usize(..ORGANIZATIONS);
        // Half of all joining is about those who have clients.
        let joining = if self.rng.bool() { self.rng.usize(..super::PEOPLE) } else { person };
        let known = people.contains(&joining) && organizations.contains(&organization);
        let member = self.rng.choice(self.members.keys().copied().collect::<Vec<_>>());
        match self.rng.u16(..1_000) {
            0..380 => {
                let banned = self.people.get(&person).copied().unwrap_or_default();
                self.person(person, banned);
            }
            380..500 => self.organize(organization, people),
            500..720 if known => self.join(organization, joining),
            720..800 => member.into_iter().for_each(|pair| self.leave(pair)),
            800..900 => member.into_iter().for_each(|pair| self.promote(pair)),
            900..970 => self.nameless(),
            970..985 => {
                // Few at a time: who is locked out proves little.
                let banned: Vec<_> = self.people.iter().filter(|(_, banned)| **banned).map(|(who, _)| *who).collect();
                match banned.first() {
                    Some(longest) if banned.len() > 1 => self.person(*longest, false),
                    _ if self.people.contains_key(&person) => self.person(person, true),
                    _ => {}
                }
            }
            // Of those who have clients nobody is deleted: they could not see that they have everything.
            985..988 if person >= super::PEOPLE && !person.is_multiple_of(10) => self.delete(person),
            988 if self.dissolved.len() < 2 => self.dissolve(organization),
            _ => {}
        }
    }

    fn tells(&mut self, subject: String) -> bool {
        self.told.insert(subject)
    }

    fn person(&mut self, person: usize, banned: bool) {
        if self.gone.contains(&person) || !self.tells(name(person)) {
            return;
        }
        self.people.insert(person, banned);
        let body = with(user(&name(person), self.now), "first_name", json!(format!("N{}", self.now)));
        self.bodies.push(with(body, "banned", json!(banned)));
    }

    fn delete(&mut self, person: usize) {
        if self.people.contains_key(&person) && self.tells(name(person)) {
            self.people.remove(&person);
            self.gone.insert(person);
            self.members.retain(|(_, member), _| *member != person);
            // What is told of their memberships this round is about somebody who is going.
            self.bodies.push(deleted(&name(person), self.now));
        }
    }

    fn organize(&mut self, number: usize, people: &[usize]) {
        let Some(creator) = people.first().copied() else { return };
        if !self.dissolved.contains(&number) && self.tells(format!("o{number}")) {
            self.organizations.insert(number);
            let body = organization(&format!("o{number}"), &name(creator), self.now);
            self.bodies.push(with(body, "name", json!(format!("O{}", self.now))));
        }
    }

    fn dissolve(&mut self, organization: usize) {
        if self.organizations.contains(&organization) && self.tells(format!("o{organization}")) {
            self.organizations.remove(&organization);
            self.dissolved.insert(organization);
            self.members.retain(|(of, _), _| *of != organization);
            self.bodies.push(dissolved(&format!("o{organization}"), self.now));
        }
    }

    fn membership(&mut self, pair: (usize, usize), (joined, role): (u64, &str)) -> Value {
        let body = member(&format!("o{}", pair.0), &name(pair.1), joined, role);
        let body = with(body, "id", json!(format!("orgmem_{}_{}_{joined}", pair.0, pair.1)));
        with(body, "updated_at", json!(1_760_000_000_000 + self.now))
    }

    fn join(&mut self, organization: usize, person: usize) {
        let pair = (organization, person);
        let here = self.people.contains_key(&person) && self.organizations.contains(&organization);
        if here && !self.members.contains_key(&pair) && self.tells(format!("{pair:?}")) {
            self.members.insert(pair, (self.now, "org:member"));
            let body = self.membership(pair, (self.now, "org:member"));
            self.bodies.push(body);
        }
    }

    fn leave(&mut self, pair: (usize, usize)) {
        if let Some(held) = self.members.get(&pair).copied()
            && self.tells(format!("{pair:?}"))
        {
            self.members.remove(&pair);
            let body = ended(self.membership(pair, held));
            self.bodies.push(body);
        }
    }

    fn promote(&mut self, pair: (usize, usize)) {
        if let Some((joined, role)) = self.members.get(&pair).copied()
            && self.tells(format!("{pair:?}"))
        {
            let role = if role == "org:member" { "org:admin" } else { "org:member" };
            self.members.insert(pair, (joined, role));
            let body = self.membership(pair, (joined, role));
            self.bodies.push(body);
        }
    }

    /// Somebody whom the rules refuse, which only operators are told.
    fn nameless(&mut self) {
        let body = user(&format!("nameless{}", self.now), self.now);
        self.bodies.push(with(with(body, "first_name", json!(null)), "last_name", json!(null)));
    }
}
