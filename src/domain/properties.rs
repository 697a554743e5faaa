//! P3 on the pure plan: histories as Clerk's world allows them, shuffled, duplicated and cut into batches, end in the
//! tables that an oracle reads off the history itself.

mod history;
mod oracle;
mod store;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use uuid::Uuid;

use self::{
    history::{Act, Clerk, PERSONS, act, act_in_organizations},
    oracle::Organized,
    store::{Row, Store},
};
use super::{Account, Change, Policy, State, membership::Pair, organization::Org, policy::SoleAdmin, status::Status};
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
    let mut clerk = Clerk::default();
    acts.iter().for_each(|act| clerk.act(act));
    let people = oracle::people(&clerk, policy);
    let members = oracle::memberships(&clerk, &people);
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
            let Pair { organization, user } = &told.membership.pair;
            let person = store.accounts.get(user).map(Account::is_live);
            let organization = store.organizations.get(organization).map(|row| row.live);
            let waits = person != Some(false) && organization != Some(false);
            assert!(waits && (person.is_none() || organization.is_none()), "{event:?} waits for nobody");
        }
    }
    assert!(store.conflicts.is_empty(), "open conflicts: {:?}", store.conflicts);
    let mut verified = BTreeSet::new();
    for row in store.accounts.values().filter(|row| row.status != Status::Deleted) {
        for (address, _) in row.addresses.iter().filter(|(_, address)| address.verified) {
            assert!(verified.insert(address.clone()), "{address} is verified with two live persons");
        }
    }
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
