//! Who is in which organisation before the storm, who goes with it, and what is left: everything from all memberships
//! at once, where the rules go by what each batch touches.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use serde_json::Value;

use super::super::{execute, populate, texts};
use crate::support::{
    organizations::{member, organization},
    people::{deleted, user},
    world::World,
};

pub(super) const PEOPLE: usize = 6_000;
pub(super) const DELETED: usize = 5_000;
const ORGANIZATIONS: usize = 200;
/// Between two deletions, by their own time: all of them fall into one window of ten minutes.
const STEP: u64 = 100;

struct Joined {
    organization: usize,
    person: usize,
    role: &'static str,
    at: u64,
}

/// Who is where, and who goes. Persons and organisations by number.
pub(super) struct Story {
    creators: Vec<usize>,
    memberships: Vec<Joined>,
    /// In the order of the deletions' own times.
    pub(super) leaving: Vec<usize>,
}

impl Story {
    /// Everybody is in one to three organisations. In the first everybody goes, in the second nobody. Of most
    /// organisations the creator is a member; moments repeat, so that ids decide some of the seniorities.
    pub(super) fn new(rng: &mut Rng) -> Self {
        let mut members: BTreeSet<(usize, usize)> = BTreeSet::new();
        for person in 1..=PEOPLE {
            for _ in 0..=person % 3 {
                members.insert((rng.usize(..ORGANIZATIONS), person));
            }
        }
        let creators: Vec<usize> = (0..ORGANIZATIONS).map(|_| rng.usize(1..=PEOPLE)).collect();
        members.extend(creators.iter().copied().enumerate().filter(|(organization, _)| organization % 4 > 0));
        let mut roles = rng.fork();
        let memberships = members.iter().map(|(organization, person)| Joined {
            organization: *organization,
            person: *person,
            role: ["org:admin", "admin", "org:member"][roles.usize(..12).min(2)],
            at: roles.u64(1..40),
        });
        let inside = |organization: usize| -> BTreeSet<usize> {
            members.range((organization, 0)..(organization + 1, 0)).map(|(_, person)| *person).collect()
        };
        let (first, second) = (inside(0), inside(1));
        let mut others: Vec<usize> = (1..=PEOPLE).filter(|person| !first.contains(person)).collect();
        others.retain(|person| !second.contains(person));
        rng.shuffle(&mut others);
        let mut leaving: Vec<usize> = first.difference(&second).copied().chain(others).take(DELETED).collect();
        rng.shuffle(&mut leaving);
        Self { creators, memberships: memberships.collect(), leaving }
    }

    pub(super) fn people(&self) -> Vec<(String, Value)> {
        (1..=PEOPLE).map(|n| (format!("msg_p{n}"), user(&format!("p{n}"), 1))).collect()
    }

    pub(super) fn organizations(&self) -> Vec<(String, Value)> {
        let one = |(n, creator): (usize, &usize)| organization(&format!("o{n}"), &format!("p{creator}"), 1);
        self.creators.iter().enumerate().map(|(n, creator)| (format!("msg_o{n}"), one((n, creator)))).collect()
    }

    pub(super) fn memberships(&self, rng: &mut Rng) -> Vec<(String, Value)> {
        let one = |Joined { organization, person, role, at }: &Joined| {
            let (organization, person) = (format!("o{organization}"), format!("p{person}"));
            (format!("msg_{organization}_{person}"), member(&organization, &person, *at, role))
        };
        let mut all: Vec<_> = self.memberships.iter().map(one).collect();
        rng.shuffle(&mut all);
        all
    }

    /// The rows of all that before the storm, by SQL, as if synced long ago.
    pub(super) async fn populate(&self, world: &World) {
        populate(world, "p", PEOPLE).await;
        let id = |kind: u8, n: usize| match world.name {
            "postgres" => format!("cast('00000000-0000-7000-800{kind}-{n:012}' as uuid)"),
            _ => format!("'00000000-0000-7000-800{kind}-{n:012}'"),
        };
        let ms = |at: u64| {
            let time = format!("'2025-10-09T08:53:20.{at:03}+00:00'");
            if world.name == "postgres" { format!("cast({time} as timestamptz)") } else { time }
        };
        let (shown, _) = self.without(&BTreeSet::new());
        let mut rows = Vec::new();
        for line in &shown {
            let [name, count, owner] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
            let n: usize = name.strip_prefix("org_o").unwrap().parse().unwrap();
            let owner = format!("(select id from clerk_sync.users where clerk_id = '{owner}')");
            let (id, creator, now) = (id(1, n), self.creators[n], ms(0));
            rows.push(format!(
                "({id}, '{name}', 'user_p{creator}', {owner}, {count}, '{{}}', '{{}}', 'active', {now}, {now})"
            ));
        }
        let organizations = "insert into clerk_sync.organizations (id, clerk_id, created_by, owner_id, members_count,
            public_metadata, private_metadata, status, created_at, updated_at) values ";
        execute(world, &format!("{organizations}{}", rows.join(", "))).await;
        let row = |(n, joined): (usize, &Joined)| {
            let Joined { organization, person, role, at } = joined;
            let (id, organization_id, at) = (id(2, n), id(1, *organization), ms(*at));
            format!("({id}, 'orgmem_p{person}_o{organization}', {organization_id}, 'user_p{person}', '{role}', {at})")
        };
        let rows: Vec<String> = self.memberships.iter().enumerate().map(row).collect();
        let permissions = if world.name == "postgres" { "cast('[]' as jsonb)" } else { "'[]'" };
        let memberships = format!(
            "insert into clerk_sync.organization_memberships (id, clerk_id, organization_id, user_id, role, permissions,
                clerk_created_at, created_at, updated_at)
                select column1, column2, column3, u.id, column5, {permissions}, column6, column6, column6
                from (values {}) m join clerk_sync.users u on u.clerk_id = column4",
            rows.join(", ")
        );
        execute(world, &memberships).await;
    }

    /// In random order.
    pub(super) fn deletions(&self, rng: &mut Rng) -> Vec<(String, Value)> {
        let one = |(n, person): (usize, &usize)| {
            (format!("msg_gone{person}"), deleted(&format!("p{person}"), 1_000 + n as u64 * STEP))
        };
        let mut all: Vec<_> = self.leaving.iter().enumerate().map(one).collect();
        rng.shuffle(&mut all);
        all
    }

    /// Each organisation with its count and owner, and every membership, once these people are gone.
    fn without(&self, gone: &BTreeSet<usize>) -> (Vec<String>, Vec<String>) {
        let mut inside: BTreeMap<usize, Vec<&Joined>> = (0..ORGANIZATIONS).map(|n| (n, Vec::new())).collect();
        let staying = self.memberships.iter().filter(|joined| !gone.contains(&joined.person));
        staying.for_each(|joined| inside.get_mut(&joined.organization).unwrap().push(joined));
        let (mut organizations, mut memberships) = (Vec::new(), Vec::new());
        for (n, members) in inside {
            let seniority = |joined: &&&Joined| (joined.at, format!("orgmem_p{}_o{n}", joined.person));
            let creator = members.iter().find(|joined| joined.person == self.creators[n]);
            let admins = members.iter().filter(|joined| joined.role != "org:member");
            let owner = creator.or(admins.min_by_key(seniority)).or(members.iter().min_by_key(seniority));
            let owner = owner.map_or("nobody".to_owned(), |joined| format!("user_p{}", joined.person));
            organizations.push(format!("org_o{n} {} {owner}", members.len()));
            memberships.extend(members.iter().map(|joined| format!("org_o{n}/user_p{}", joined.person)));
        }
        organizations.sort();
        memberships.sort();
        (organizations, memberships)
    }

    pub(super) async fn check(&self, world: &World, gone: &BTreeSet<usize>) {
        let shown = "select o.clerk_id || ' ' || o.members_count || ' ' || coalesce(u.clerk_id, 'nobody') as t
            from clerk_sync.organizations o left join clerk_sync.users u on u.id = o.owner_id";
        let pairs = "select o.clerk_id || '/' || u.clerk_id as t from clerk_sync.organization_memberships m
            join clerk_sync.organizations o on o.id = m.organization_id join clerk_sync.users u on u.id = m.user_id";
        let (mut shown, mut pairs) = (texts(world, shown).await, texts(world, pairs).await);
        shown.sort();
        pairs.sort();
        let (organizations, memberships) = self.without(gone);
        assert_eq!(shown, organizations, "{}: counts and owners", world.name);
        assert_eq!(pairs, memberships, "{}: memberships", world.name);
    }

    /// How many memberships these people have.
    pub(super) fn memberships_of(&self, gone: &BTreeSet<usize>) -> i64 {
        self.memberships.iter().filter(|joined| gone.contains(&joined.person)).count() as i64
    }
}
