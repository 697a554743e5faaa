//! P3 on the pure plan: histories as Clerk's world allows them, shuffled, duplicated and cut into batches, end in the
//! tables that an oracle reads off the history itself.

mod history;
mod oracle;
mod store;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use uuid::Uuid;

use self::{
    history::{Act, Clerk, PERSONS, act, act_in_absence, act_in_clashes, act_in_organizations},
    oracle::Organized,
    store::{Row, Store},
};
use super::{
    Account, Change, Policy, State, membership::Pair, organization::Org, plan::Kind, policy::SoleAdmin, status::Status,
};
use crate::clock::Time;

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
    let mut clerk = Clerk::new(seed, false);
    acts.iter().for_each(|act| clerk.act(act));
    let people = oracle::people(&clerk, policy);
    let (members, pairs) = (oracle::memberships(&clerk, &people), oracle::pairs(&clerk));
    let mut rng = fastrand::Rng::with_seed(seed);
    let store = deliver(&clerk, policy, &mut rng);

    assert_eq!(comparable(&store.accounts), comparable(&people), "people");
    let rows = store.members.iter();
    let found: BTreeMap<_, _> =
        rows.map(|(pair, row)| (pair.clone(), (row.shown.clone(), row.version.clone().unwrap()))).collect();
    assert_eq!(found, members, "memberships");
    assert_eq!(organized(&store), oracle::organizations(&clerk, &members, policy), "organisations");
    for Row { event, outcome } in &store.inbox {
        let parked = matches!(outcome.state, State::Pending | State::Conflict | State::Held | State::Dead);
        assert!(!parked, "left behind: {event:?} {outcome:?}");
        if let (State::Waiting, Change::Membership(told)) = (outcome.state, &event.change) {
            let id = told.clerk_id.clone().unwrap();
            let known = told.pair().or_else(|| pairs.get(&id).cloned());
            let user = known.as_ref().map(|pair| pair.user.clone()).or(told.user.clone());
            let organization = known.as_ref().map(|pair| pair.organization.clone()).or(told.organization.clone());
            let person = user.and_then(|user| store.accounts.get(&user)).map(Account::is_live);
            let organization = organization.and_then(|id| store.organizations.get(&id)).map(|row| row.live);
            let waits = person != Some(false) && organization != Some(false);
            assert!(
                waits && (person.is_none() || organization.is_none() || known.is_none()),
                "{event:?} waits for nobody"
            );
            let ended = store.facts.get(&(Kind::MembershipId, id)).is_some_and(|facts| facts.deleted);
            assert!(!(ended && known.is_none()), "{event:?} waits though it ended");
        }
    }
    assert_eq!(store.facts, in_order(&clerk, policy).facts, "facts");
    assert!(store.conflicts.is_empty(), "open conflicts: {:?}", store.conflicts);
    let mut verified = BTreeSet::new();
    for row in store.accounts.values().filter(|row| row.status != Status::Deleted) {
        for (address, _) in row.addresses.iter().filter(|(_, address)| address.verified) {
            assert!(verified.insert(address.clone()), "{address} is verified with two live persons");
        }
    }
}

/// Everything that Clerk tells, some of it twice, in any order.
fn deliver(clerk: &Clerk, policy: &Policy, rng: &mut fastrand::Rng) -> Store {
    let mut deliveries = clerk.events.clone();
    for event in &clerk.events {
        if rng.u8(..4) == 0 {
            deliveries.push(event.clone());
        }
    }
    rng.shuffle(&mut deliveries);
    let mut store = Store::default();
    store.run(deliveries, policy, rng);
    store
}

/// The same once each, as it happened.
fn in_order(clerk: &Clerk, policy: &Policy) -> Store {
    let mut store = Store::default();
    store.run(clerk.events.clone(), policy, &mut fastrand::Rng::with_seed(1));
    store
}

/// Where two live persons have one address verified, who of them has it depends on the order. Who is banned does not: of
/// those in conflict and of those who were never admitted, too.
fn check_access(acts: &[Act], seed: u64, policy: &Policy) {
    let mut clerk = Clerk::new(seed, true);
    acts.iter().for_each(|act| clerk.act(act));
    let expected = oracle::access(&clerk);
    let store = deliver(&clerk, policy, &mut fastrand::Rng::with_seed(seed));
    assert_eq!(store.facts, in_order(&clerk, policy).facts, "facts");
    for (id, (banned, deprovisioned)) in expected {
        let facts = &store.facts[&(Kind::User, id.clone())];
        assert_eq!((facts.banned, facts.deprovisioned), (banned, deprovisioned), "facts of {id}");
        let status = match (facts.deleted, deprovisioned, banned) {
            (true, ..) => Status::Deleted,
            (_, true, _) => Status::Deprovisioned,
            (_, _, true) => Status::Banned,
            _ => Status::Active,
        };
        let shown = store.accounts.get(&id).map_or(status, |row| row.status);
        assert_eq!(shown, status, "status of {id}");
    }
}

/// What a comparison infers holds against everything up to what it saw, and against nothing newer, whichever came first.
/// Memberships are left out: those that went with an absent parent come back with the next object of Clerk's API.
fn check_absence(acts: &[Act], seed: u64, policy: &Policy) {
    let mut clerk = Clerk::new(seed, false);
    acts.iter().for_each(|act| clerk.act(act));
    let (shuffled, expected) = (deliver(&clerk, policy, &mut fastrand::Rng::with_seed(seed)), in_order(&clerk, policy));
    assert_eq!(shuffled.facts, expected.facts, "facts");
    let absent =
        |kind: Kind, id: &str| expected.facts.get(&(kind, id.to_owned())).is_some_and(|facts| facts.absent.is_some());
    let people = |store: &Store| {
        let mut rows = comparable(&store.accounts);
        rows.retain(|id, row| {
            assert!(!row.is_live() || !absent(Kind::User, id), "{id} is absent and live");
            !absent(Kind::User, id)
        });
        rows
    };
    assert_eq!(people(&shuffled), people(&expected), "people");
    let organizations = |store: &Store| {
        let rows = store.organizations.iter().map(|(id, row)| {
            assert!(!row.live || !absent(Kind::Organization, id), "{id} is absent and live");
            (id.clone(), row.shown.clone(), row.live)
        });
        rows.filter(|(id, ..)| !absent(Kind::Organization, id)).collect::<Vec<_>>()
    };
    assert_eq!(organizations(&shuffled), organizations(&expected), "organisations");
    for (pair, member) in &shuffled.members {
        let parents = shuffled.accounts[&pair.user].is_live() && shuffled.organizations[&pair.organization].live;
        assert!(parents, "{member:?} without a parent");
    }
    // Whom Clerk's API shows again comes back, under the same stable id, with what it shows.
    let shown = clerk.shown();
    let pairs = shown.iter().filter_map(|event| match &event.change {
        Change::Membership(told) => told.pair(),
        _ => None,
    });
    let pairs: BTreeSet<_> = pairs.collect();
    let mut store = shuffled;
    let ids: BTreeMap<String, Uuid> = store.accounts.iter().map(|(id, row)| (id.clone(), row.id)).collect();
    store.run(shown, policy, &mut fastrand::Rng::with_seed(seed));
    assert!(store.facts.values().all(|facts| facts.absent.is_none()), "absent at Clerk's own word");
    let people = oracle::people(&clerk, policy);
    for (id, row) in &store.accounts {
        assert_eq!((row.is_live(), &row.columns), (people[id].is_live(), &people[id].columns), "{id}");
        assert!(ids.get(id).is_none_or(|stable| *stable == row.id), "the stable id of {id}");
    }
    let live = |pair: &&Pair| people[&pair.user].is_live() && store.organizations[&pair.organization].live;
    let expected: BTreeSet<_> = pairs.iter().filter(live).collect();
    assert_eq!(store.members.keys().collect::<BTreeSet<_>>(), expected, "memberships");
}

fn organized(store: &Store) -> BTreeMap<String, Organized> {
    let clerk_id = |id: Uuid| store.accounts.values().find(|row| row.id == id).map(|row| row.clerk_id.clone());
    let row = |row: &Org| Organized {
        shown: row.shown.clone(),
        owner: row.owner_id.and_then(clerk_id),
        members: usize::try_from(row.members_count).unwrap(),
        deleted: (!row.live).then_some(row.deleted_at),
    };
    store.organizations.iter().map(|(id, org)| (id.clone(), row(org))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    /// P3: order, repetition and batching do not matter.
    #[test]
    fn p3_any_order_ends_in_the_same_tables(acts in prop::collection::vec(act(), 1..40), seed in any::<u64>()) {
        check(&acts, seed, &Policy::default());
    }

    /// P3 of owners and counts, whoever owns what has no administrator.
    #[test]
    fn p3_of_organizations(acts in prop::collection::vec(act_in_organizations(), 1..50), seed in any::<u64>()) {
        let acts: Vec<Act> = (0..PERSONS).map(|person| Act::Rename(person, 1)).chain(acts).collect();
        let sole_admin = if seed % 2 == 0 { SoleAdmin::Transfer } else { SoleAdmin::Orphan };
        check(&acts, seed, &Policy { sole_admin, require_email: false, require_name: false, ..Policy::default() });
    }

    /// Bans and deprovisioning are facts of the highest version, whether it applies or not.
    #[test]
    fn p3_of_access(acts in prop::collection::vec(act(), 1..40), seed in any::<u64>()) {
        check_access(&acts, seed, &Policy::default());
    }

    /// The same of users who are admitted, most of them in conflict at the end.
    #[test]
    fn p3_of_access_in_clashes(acts in prop::collection::vec(act_in_clashes(), 1..30), seed in any::<u64>()) {
        let own = |person| [Act::Rename(person, 1), Act::Email(person, person, true)];
        let acts: Vec<Act> = (0..PERSONS).flat_map(own).chain(acts).collect();
        check_access(&acts, seed, &Policy::default());
    }

    /// P3 with what comparisons infer, and its way back.
    #[test]
    fn p3_of_absence(acts in prop::collection::vec(act_in_absence(), 1..40), seed in any::<u64>()) {
        check_absence(&acts, seed, &Policy { require_email: false, require_name: false, ..Policy::default() });
    }

    /// P3 with the switches of entry off: everybody enters at once.
    #[test]
    fn p3_without_requirements_of_entry(acts in prop::collection::vec(act(), 1..40), seed in any::<u64>()) {
        check(&acts, seed, &Policy { require_email: false, require_name: false, ..Policy::default() });
    }
}

/// 2,000 histories; more with `PROPERTY_CASES` (the longer mode of `tests/run`).
fn cases() -> u32 {
    std::env::var("PROPERTY_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2_000)
}
