//! P3 for people, on the pure plan: histories as Clerk's world allows them, shuffled, duplicated and cut into
//! batches, end in the tables that an oracle reads off the history itself.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use proptest::prelude::*;
use uuid::Uuid;

use super::{
    Account, Change, Event, Policy, State, User, Version, World, deletion, emails, entry,
    event::Snapshot,
    facts::Facts,
    plan::{ConflictChange, Plan, plan},
    status::Status,
    user::{Email, Identity},
    world::OpenConflict,
};
use crate::clock::{Time, from_millis};

/// What people do at Clerk. Indices choose among a few persons, addresses and identities, so that they meet.
#[derive(Debug, Clone)]
enum Act {
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
}

const PERSONS: usize = 4;
const ADDRESSES: usize = 4;

fn act() -> impl Strategy<Value = Act> {
    let person = 0..PERSONS;
    prop_oneof![
        4 => (person.clone(), any::<u8>()).prop_map(|(p, n)| Act::Rename(p, n)),
        1 => (person.clone(), any::<bool>()).prop_map(|(p, b)| Act::Ban(p, b)),
        8 => (person.clone(), 0..ADDRESSES, prop::bool::weighted(0.8)).prop_map(|(p, a, v)| Act::Email(p, a, v)),
        2 => (person.clone(), 0..ADDRESSES).prop_map(|(p, a)| Act::Primary(p, a)),
        4 => (person.clone(), 0..3usize).prop_map(|(p, i)| Act::Link(p, i)),
        3 => (person.clone(), 0..PERSONS).prop_map(|(a, b)| Act::Swap(a, b)),
        1 => person.clone().prop_map(Act::Delete),
        1 => person.prop_map(Act::DeleteTwice),
    ]
}

/// Clerk: keeps a verified address and an identity with one live person at a time, and emits an event an act.
#[derive(Default)]
struct Clerk {
    users: BTreeMap<usize, User>,
    gone: BTreeSet<usize>,
    now: u64,
    events: Vec<Event>,
}

fn name(person: usize) -> String {
    format!("user_{person}")
}

impl Clerk {
    fn act(&mut self, act: &Act) {
        let person = match act {
            Act::Rename(p, _)
            | Act::Ban(p, _)
            | Act::Email(p, ..)
            | Act::Primary(p, _)
            | Act::Link(p, _)
            | Act::Swap(p, _)
            | Act::Delete(p)
            | Act::DeleteTwice(p) => *p,
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
            }
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
            change,
        });
    }

    /// The tables as the history says they must end: everybody's newest snapshot, if they entered; tombstones.
    fn oracle(&self, policy: &Policy) -> BTreeMap<String, Account> {
        let mut accounts = BTreeMap::new();
        for person in 0..PERSONS {
            let id = name(person);
            let mine = |event: &&Event| event.change.subject() == Some(id.as_str());
            let snapshots: Vec<&Snapshot> = self
                .events
                .iter()
                .filter(mine)
                .filter_map(|event| match &event.change {
                    Change::User(snapshot) => Some(snapshot.as_ref()),
                    _ => None,
                })
                .collect();
            let deletes =
                self.events.iter().filter(mine).filter(|event| matches!(event.change, Change::UserDeleted { .. }));
            let newest = snapshots.iter().max_by_key(|snapshot| &snapshot.version);
            if let Some(at) = deletes.map(|event| event.occurred_at).min() {
                accounts.insert(id.clone(), deletion::emptied(None, &id, at, Uuid::nil(), Time::UNIX_EPOCH));
            } else if let Some(newest) =
                newest.filter(|_| snapshots.iter().any(|s| entry::refusal(&s.user, policy).is_none()))
            {
                let shown =
                    Account::show(None, &newest.user, newest.version.clone(), policy, Uuid::nil(), Time::UNIX_EPOCH);
                accounts.insert(id, shown);
            }
        }
        // An identity is shown where the row shows the highest version, and nowhere else.
        let all: BTreeSet<Identity> =
            accounts.values().flat_map(|account: &Account| account.identities.keys().cloned()).collect();
        for identity in all {
            let holders = accounts.values().filter(|account| account.identities.contains_key(&identity));
            let newest = holders.map(|account| (account.version.clone(), account.clerk_id.clone())).max();
            for account in accounts.values_mut() {
                let shown = newest.as_ref().is_some_and(|(_, id)| *id == account.clerk_id);
                account.identities.entry(identity.clone()).and_modify(|current| *current = shown);
            }
        }
        accounts
    }
}

/// The database, in memory: loads no more than the real one does, writes what the plan says.
#[derive(Default)]
struct Store {
    facts: BTreeMap<String, Facts>,
    accounts: BTreeMap<String, Account>,
    conflicts: BTreeMap<Uuid, (String, String, String)>,
    inbox: Vec<(Event, State, Option<String>, Option<String>)>,
    head: i64,
    ids: u128,
}

impl Store {
    fn load(&self, batch: &[Event]) -> World {
        let mut world = World::new(self.head);
        let subjects: BTreeSet<&str> = batch.iter().filter_map(|event| event.change.subject()).collect();
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
        world
    }

    fn load_person(&self, world: &mut World, id: &str) {
        if let Some(facts) = self.facts.get(id) {
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
            assert_eq!(self.accounts.get(&change.after.clerk_id), change.before.as_ref(), "before is what is stored");
            self.accounts.insert(change.after.clerk_id.clone(), change.after);
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
            let row = self.inbox.iter_mut().find(|row| row.0.seq == seq).unwrap();
            (row.1, row.2, row.3) = (outcome.state, outcome.reason, outcome.awaits);
        }
        for (event, state, reason, awaits) in &mut self.inbox {
            let subject = event.change.subject().unwrap_or_default();
            let clash = *state == State::Conflict
                && (plan.wake.clashes.contains(subject)
                    || awaits.as_ref().is_some_and(|other| plan.wake.clashes.contains(other)));
            let refused = *state == State::Rejected
                && plan.wake.entries.contains(subject)
                && reason.as_ref().is_some_and(|reason| reason.starts_with(entry::REASON_PREFIX));
            if clash || refused {
                (*state, *awaits) = (State::Pending, None);
            }
        }
    }

    /// Delivers and drains, in batches of random sizes.
    fn run(&mut self, deliveries: Vec<Event>, policy: &Policy, rng: &mut fastrand::Rng) {
        let mut deliveries =
            deliveries.into_iter().enumerate().map(|(seq, event)| Event { seq: seq as i64, ..event }).peekable();
        for round in 0.. {
            assert!(round < 10_000, "the loop must come to rest");
            let arriving = rng.usize(..6);
            self.inbox.extend(deliveries.by_ref().take(arriving).map(|event| (event, State::Pending, None, None)));
            let size = rng.usize(1..8);
            let batch: Vec<Event> =
                self.inbox.iter().filter(|row| row.1 == State::Pending).take(size).map(|row| row.0.clone()).collect();
            if batch.is_empty() && deliveries.peek().is_none() {
                break;
            }
            let mut next = self.ids;
            let mut ids = || {
                next += 1;
                Uuid::from_u128(next)
            };
            let planned = plan(self.load(&batch), &batch, policy, Time::UNIX_EPOCH, &mut ids);
            self.ids = next;
            self.commit(planned);
        }
    }
}

/// Identity tables without what may differ: generated ids, our numbers and clocks.
fn comparable(accounts: &BTreeMap<String, Account>) -> BTreeMap<String, Account> {
    let strip = |row: &Account| Account {
        id: Uuid::nil(),
        rev: 0,
        created_at: Time::UNIX_EPOCH,
        updated_at: Time::UNIX_EPOCH,
        ..row.clone()
    };
    accounts.iter().map(|(id, row)| (id.clone(), strip(row))).collect()
}

fn check(acts: &[Act], seed: u64, policy: &Policy) {
    let mut clerk = Clerk::default();
    acts.iter().for_each(|act| clerk.act(act));
    let oracle = comparable(&clerk.oracle(policy));
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut deliveries = clerk.events.clone();
    for event in &clerk.events {
        if rng.u8(..4) == 0 {
            deliveries.push(event.clone());
        }
    }
    rng.shuffle(&mut deliveries);
    let mut store = Store::default();
    store.run(deliveries, policy, &mut rng);

    assert_eq!(comparable(&store.accounts), oracle, "tables");
    let parked: Vec<_> = store.inbox.iter().filter(|row| matches!(row.1, State::Pending | State::Conflict)).collect();
    assert!(parked.is_empty(), "left behind: {parked:?}");
    assert!(store.conflicts.is_empty(), "open conflicts: {:?}", store.conflicts);
    let mut verified = BTreeSet::new();
    for row in store.accounts.values().filter(|row| row.status != Status::Deleted) {
        for (address, _) in row.addresses.iter().filter(|(_, address)| address.verified) {
            assert!(verified.insert(address.clone()), "{address} is verified with two live persons");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    /// P3: order, repetition and batching do not matter.
    #[test]
    fn p3_any_order_ends_in_the_same_tables(acts in prop::collection::vec(act(), 1..28), seed in any::<u64>()) {
        check(&acts, seed, &Policy::default());
    }

    /// P3 with the switches of entry off: everybody enters at once.
    #[test]
    fn p3_without_requirements_of_entry(acts in prop::collection::vec(act(), 1..28), seed in any::<u64>()) {
        check(&acts, seed, &Policy { require_email: false, require_name: false, ..Policy::default() });
    }
}

/// 2,000 histories; more with `PROPERTY_CASES` (the longer mode of `tests/run`).
fn cases() -> u32 {
    std::env::var("PROPERTY_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2_000)
}
