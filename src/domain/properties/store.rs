//! The database, in memory: loads no more than the real one does, writes what the plan says, wakes whom it names.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::{
    clock::Time,
    domain::{
        Account, Change, Event, Outcome, Policy, State, World, emails, entry,
        event::Absence,
        facts::Facts,
        membership::{Member, Pair},
        organization::Org,
        plan::{ChangedMember, ChangedOrganization, ConflictChange, Kind, Plan, plan},
        status::Status,
        world::OpenConflict,
    },
};

/// A row of the inbox.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) event: Event,
    pub(super) outcome: Outcome,
}

/// The database, in memory: loads no more than the real one does, writes what the plan says.
#[derive(Default)]
pub(super) struct Store {
    pub(super) facts: BTreeMap<(Kind, String), Facts>,
    pub(super) accounts: BTreeMap<String, Account>,
    pub(super) organizations: BTreeMap<String, Org>,
    pub(super) members: BTreeMap<Pair, Member>,
    pub(super) conflicts: BTreeMap<Uuid, (String, String, String)>,
    pub(super) inbox: Vec<Row>,
    head: i64,
    ids: u128,
}

impl Store {
    fn load(&self, batch: &[Event], policy: &Policy) -> World {
        let mut world = World::new(self.head);
        let subjects: BTreeSet<&str> = batch.iter().filter_map(|event| event.change.person()).collect();
        subjects.iter().for_each(|id| self.load_person(&mut world, id));
        let snapshots = batch.iter().filter_map(|event| match &event.change {
            Change::User(snapshot) => Some(&snapshot.user),
            _ => None,
        });
        let (mut addresses, mut identities) = (BTreeSet::new(), BTreeSet::new());
        for user in snapshots {
            addresses
                .extend(emails::addresses(user).into_iter().filter(|(_, a)| a.verified).map(|(address, _)| address));
            identities.extend(user.identities.iter().cloned());
        }
        identities.extend(
            subjects.iter().filter_map(|id| self.accounts.get(*id)).flat_map(|row| row.identities.keys().cloned()),
        );
        for (id, row) in self.accounts.iter().filter(|(id, _)| !subjects.contains(id.as_str())) {
            let holds = row.addresses.iter().any(|(address, a)| a.verified && addresses.contains(address))
                || row.identities.keys().any(|identity| identities.contains(identity));
            if holds {
                self.load_person(&mut world, id);
            }
        }
        for (id, (person, address, other)) in &self.conflicts {
            if subjects.contains(person.as_str()) {
                let open = OpenConflict { id: *id, other: other.clone() };
                world.conflicts.entry(person.clone()).or_default().insert(address.clone(), open);
            }
        }
        self.load_organizations(&mut world, batch, &subjects, policy);
        world
    }

    fn load_organizations(&self, world: &mut World, batch: &[Event], subjects: &BTreeSet<&str>, policy: &Policy) {
        let (mut touched, mut pairs) = (BTreeMap::<String, usize>::new(), BTreeSet::new());
        let named = batch.iter().filter_map(|event| match &event.change {
            Change::Membership(told) => told.clerk_id.clone().zip(told.pair()),
            _ => None,
        });
        let named: BTreeMap<String, Pair> = named.collect();
        let mut parents = BTreeSet::new();
        for event in batch {
            match &event.change {
                Change::Organization(snapshot) => {
                    let organization = &snapshot.organization;
                    *touched.entry(organization.clerk_id.clone()).or_default() += 1;
                    let creator = organization.created_by.clone();
                    pairs.extend(creator.map(|user| Pair { organization: organization.clerk_id.clone(), user }));
                }
                Change::OrganizationDeleted { clerk_id } => *touched.entry(clerk_id.clone()).or_default() += 1,
                Change::Absent(Absence { kind: Kind::Organization, key, .. }) => {
                    *touched.entry(key.clone()).or_default() += 1;
                }
                Change::Membership(told) => {
                    let known = told.clerk_id.as_ref().and_then(|id| self.facts.get(&(Kind::MembershipId, id.clone())));
                    for (id, facts) in told.clerk_id.iter().zip(known) {
                        *world.membership_facts(id) = facts.clone();
                    }
                    let known = known.and_then(|facts| facts.pair.clone());
                    let in_batch = told.clerk_id.as_ref().and_then(|id| named.get(id)).cloned();
                    if let Some(pair) = told.pair().or(in_batch).or(known) {
                        *touched.entry(pair.organization.clone()).or_default() += 1;
                        pairs.insert(pair);
                    } else {
                        parents.extend(told.user.clone());
                        told.organization.iter().for_each(|id| _ = touched.entry(id.clone()).or_default());
                    }
                }
                _ => {}
            }
        }
        for (pair, member) in &self.members {
            if subjects.contains(pair.user.as_str()) {
                world.put_member(member.clone());
                let leaves = |event: &Event| match &event.change {
                    Change::UserDeleted { clerk_id } => *clerk_id == pair.user,
                    Change::Absent(Absence { kind: Kind::User, key, .. }) => *key == pair.user,
                    _ => false,
                };
                if batch.iter().any(leaves) {
                    *touched.entry(pair.organization.clone()).or_default() += 1;
                }
            }
        }
        parents.iter().filter(|id| !subjects.contains(id.as_str())).for_each(|id| self.load_person(world, id));
        for pair in &pairs {
            self.facts
                .get(&(Kind::Membership, pair.to_string()))
                .into_iter()
                .for_each(|facts| *world.pair_facts(&pair.to_string()) = facts.clone());
            if !subjects.contains(pair.user.as_str()) {
                self.load_person(world, &pair.user);
            }
            self.members.get(pair).into_iter().for_each(|member| world.put_member(member.clone()));
        }
        for (organization, count) in touched {
            if let Some(facts) = self.facts.get(&(Kind::Organization, organization.clone())) {
                world.load_organization_facts(organization.clone(), facts.clone());
            }
            let Some(row) = self.organizations.get(&organization) else { continue };
            world.put_organization(row.clone());
            let mut inside: Vec<&Member> =
                self.members.values().filter(|member| member.shown.pair.organization == organization).collect();
            inside.sort_by_key(|member| (member.shown.created_at, member.shown.clerk_id.clone()));
            let admins = inside.iter().filter(|member| policy.admin_roles.contains(&member.shown.role));
            let creator = inside.iter().filter(|member| Some(&member.shown.pair.user) == row.shown.created_by.as_ref());
            let enough = admins.take(count + 1).chain(inside.iter().take(count + 1)).chain(creator);
            enough.for_each(|member| world.put_member((*member).clone()));
        }
    }

    fn load_person(&self, world: &mut World, id: &str) {
        if let Some(facts) = self.facts.get(&(Kind::User, id.to_owned())) {
            world.load_facts(id.to_owned(), facts.clone());
        }
        if let Some(account) = self.accounts.get(id) {
            world.load_account(account.clone());
        }
    }

    fn commit(&mut self, plan: Plan) {
        for message in &plan.outbox {
            assert_eq!(message.seq, self.head + 1, "outbox numbers follow one another");
            self.head = message.seq;
        }
        self.facts.extend(plan.facts);
        for change in plan.accounts {
            let published = |status: Status| {
                let mut about = plan.outbox.iter().filter(|message| message.subject == change.after.clerk_id);
                about.any(|message| message.payload.get("status").is_some_and(|told| *told == status.as_str()))
            };
            if let Some(before) = change.before.as_ref().filter(|row| row.status != change.after.status) {
                assert!(published(change.after.status), "{:?} after {:?} is published", change.after, before.status);
            }
            assert_eq!(self.accounts.get(&change.after.clerk_id), change.before.as_deref(), "before is what is stored");
            self.accounts.insert(change.after.clerk_id.clone(), change.after.as_ref().clone());
        }
        for row in self.accounts.values().filter(|row| row.is_live()) {
            let facts = &self.facts[&(Kind::User, row.clerk_id.clone())];
            assert_eq!(row.status, facts.status(), "the status of {} is that of the facts", row.clerk_id);
        }
        for ChangedOrganization { before, after } in plan.organizations {
            assert_eq!(self.organizations.get(&after.shown.clerk_id), before.as_ref(), "before is what is stored");
            self.organizations.insert(after.shown.clerk_id.clone(), after);
        }
        self.members.retain(|_, member| !plan.purged.contains(&member.organization_id));
        for ChangedMember { before, after } in plan.memberships {
            let pair = before.as_ref().or(after.as_ref()).map(|member| member.shown.pair.clone()).unwrap();
            match after {
                Some(after) => drop(self.members.insert(pair, after)),
                None => drop(self.members.remove(&pair)),
            }
        }
        for conflict in plan.conflicts {
            match conflict {
                ConflictChange::Open { id, clerk_id, address, other, .. } => {
                    drop(self.conflicts.insert(id, (clerk_id, address, other)))
                }
                ConflictChange::Close { id } => assert!(self.conflicts.remove(&id).is_some()),
            }
        }
        for (seq, outcome) in plan.outcomes {
            let row = self.inbox.iter_mut().find(|row| row.event.seq == seq).unwrap();
            row.outcome = outcome;
        }
        for Row { event, outcome } in &mut self.inbox {
            let subject = event.change.subject().unwrap_or_default();
            let Outcome { state, reason, awaits, awaits_too, .. } = &outcome;
            let awaited =
                |set: &BTreeSet<String>| [awaits, awaits_too].into_iter().flatten().any(|id| set.contains(id));
            let woken = match state {
                State::Conflict => plan.wake.clashes.contains(subject) || awaited(&plan.wake.clashes),
                State::Waiting => awaited(&plan.wake.parents),
                State::Rejected => {
                    plan.wake.entries.contains(subject)
                        && reason.as_ref().is_some_and(|reason| reason.starts_with(entry::REASON_PREFIX))
                }
                State::Held => plan.wake.held.contains(subject),
                _ => false,
            };
            if woken {
                *outcome = pending();
            }
        }
    }

    /// Delivers and drains, in batches of random sizes.
    pub(super) fn run(&mut self, deliveries: Vec<Event>, policy: &Policy, rng: &mut fastrand::Rng) {
        let first = self.inbox.len();
        let mut deliveries = deliveries
            .into_iter()
            .enumerate()
            .map(|(seq, event)| Event { seq: (first + seq) as i64, ..event })
            .peekable();
        for round in 0.. {
            assert!(round < 10_000, "the loop must come to rest");
            let arriving = rng.usize(..6);
            self.inbox.extend(deliveries.by_ref().take(arriving).map(|event| Row { event, outcome: pending() }));
            let size = rng.usize(1..8);
            let batch: Vec<Event> = self
                .inbox
                .iter()
                .filter(|row| row.outcome.state == State::Pending)
                .take(size)
                .map(|row| row.event.clone())
                .collect();
            if batch.is_empty() && deliveries.peek().is_none() {
                break;
            }
            let mut next = self.ids;
            let mut ids = || {
                next += 1;
                Uuid::from_u128(next)
            };
            let planned = plan(self.load(&batch, policy), &batch, policy, Time::UNIX_EPOCH, &mut ids);
            self.ids = next;
            self.commit(planned);
        }
    }
}

fn pending() -> Outcome {
    Outcome { state: State::Pending, ..Outcome::done("") }
}
