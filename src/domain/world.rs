//! The loaded state that a batch folds through: every subject that the events name, everybody who holds one of
//! their addresses or identities, and of the organisations whose owner may change the members who may follow.
//! A later event sees what every earlier one did.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use uuid::Uuid;

use crate::clock::Time;

use super::{
    Account,
    decisions::Decisions,
    effects::Kind,
    facts::Facts,
    membership::{Member, Pair},
    organization::Org,
    user::Identity,
};

/// One person: what is known, and what the rows show.
#[derive(Debug, Clone, Default)]
pub struct Person {
    /// What is known.
    pub facts: Facts,
    /// What the rows show; a deleted person's is the emptied row. Shared with whoever keeps how it was.
    pub account: Option<Arc<Account>>,
}

/// An open row of `conflicts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenConflict {
    /// Its id.
    pub id: Uuid,
    /// Who has the address.
    pub other: String,
}

/// The loaded state.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// The highest outbox seq.
    pub head: i64,
    persons: HashMap<String, Person>,
    /// Open conflicts of the batch's persons: Clerk id, then address.
    pub conflicts: HashMap<String, BTreeMap<String, OpenConflict>>,
    /// What operators decided about addresses.
    pub decisions: Decisions,
    /// Deleted persons in whose rows an address stood whose hash is still kept: digest, then Clerk ids.
    pub departed: HashMap<String, BTreeSet<String>>,
    /// How many deletions of users and of organisations, by the time that they carry: those within the breaker's window of
    /// the batch's own.
    pub deletions: HashMap<Kind, BTreeMap<Time, u32>>,
    /// Deletions that an operator cancelled: of each subject of the batch, those up to this time.
    pub cancelled: HashMap<(Kind, String), Time>,
    /// Held deletions that an action of the batch is about: whose kind, and the latest time that they carry.
    pub held: HashMap<String, (Kind, Time)>,
    by_address: HashMap<String, BTreeSet<String>>,
    by_identity: HashMap<Identity, BTreeSet<String>>,
    organizations: HashMap<String, (Facts, Option<Org>)>,
    pairs: HashMap<String, Facts>,
    memberships: HashMap<String, Facts>,
    members: BTreeMap<Pair, Member>,
    of_user: HashMap<String, BTreeSet<String>>,
}

impl World {
    /// An empty state whose change feed stands at `head`.
    pub fn new(head: i64) -> Self {
        Self { head, ..Self::default() }
    }

    /// Adds what is known of a person.
    pub fn load_facts(&mut self, clerk_id: String, facts: Facts) {
        self.persons.entry(clerk_id).or_default().facts = facts;
    }

    /// Adds what the rows show of a person.
    pub fn load_account(&mut self, account: impl Into<Arc<Account>>) {
        let account = account.into();
        self.index(&account, true);
        let person = self.persons.entry(account.clerk_id.clone()).or_default();
        person.account = Some(account);
    }

    /// What is known of a person; nothing, if nothing is.
    pub fn facts(&mut self, clerk_id: &str) -> &mut Facts {
        &mut self.persons.entry(clerk_id.to_owned()).or_default().facts
    }

    /// What is known of a person, to look at.
    pub fn known(&self, clerk_id: &str) -> Option<&Facts> {
        self.persons.get(clerk_id).map(|person| &person.facts)
    }

    /// What the rows show of a person.
    pub fn account(&self, clerk_id: &str) -> Option<&Arc<Account>> {
        self.persons.get(clerk_id)?.account.as_ref()
    }

    /// The same, where the person is live.
    pub fn live(&self, clerk_id: &str) -> Option<&Arc<Account>> {
        self.account(clerk_id).filter(|account| account.is_live())
    }

    /// Replaces what the rows show of a person.
    pub fn put(&mut self, account: impl Into<Arc<Account>>) {
        let account = account.into();
        self.remove(&account.clerk_id);
        self.load_account(account);
    }

    /// Notes in a person's row the message that shows it; answers the row.
    pub fn note_rev(&mut self, clerk_id: &str, rev: i64) -> Option<&Account> {
        let account = self.persons.get_mut(clerk_id)?.account.as_mut()?;
        Arc::make_mut(account).rev = rev;
        Some(account)
    }

    /// Takes a person's rows away.
    pub fn remove(&mut self, clerk_id: &str) {
        if let Some(before) = self.persons.get_mut(clerk_id).and_then(|person| person.account.take()) {
            self.index(&before, false);
        }
    }

    /// Everybody in whose row the address stands verified.
    pub fn holders_of_address(&self, address: &str) -> impl Iterator<Item = &str> {
        self.by_address.get(address).into_iter().flatten().map(String::as_str)
    }

    /// Everybody in whose rows the identity stands.
    pub fn holders_of_identity(&self, identity: &Identity) -> impl Iterator<Item = &str> {
        self.by_identity.get(identity).into_iter().flatten().map(String::as_str)
    }

    /// Whether a person's row can block an address: live, not deletion-held, and showing the newest version known.
    pub fn blocks(&self, clerk_id: &str) -> bool {
        let Some(Person { facts, account: Some(account) }) = self.persons.get(clerk_id) else { return false };
        account.is_live() && account.deletion_held_at.is_none() && account.version == facts.newest
    }

    /// Everybody loaded.
    pub fn persons(&self) -> impl Iterator<Item = (&str, &Person)> {
        self.persons.iter().map(|(id, person)| (id.as_str(), person))
    }

    /// Adds what is known of an organisation.
    pub fn load_organization_facts(&mut self, clerk_id: String, facts: Facts) {
        self.organizations.entry(clerk_id).or_default().0 = facts;
    }

    /// What is known of an organisation; nothing, if nothing is.
    pub fn organization_facts(&mut self, clerk_id: &str) -> &mut Facts {
        &mut self.organizations.entry(clerk_id.to_owned()).or_default().0
    }

    /// An organisation's row.
    pub fn organization(&self, clerk_id: &str) -> Option<&Org> {
        self.organizations.get(clerk_id)?.1.as_ref()
    }

    /// The same, where it is live.
    pub fn live_organization(&self, clerk_id: &str) -> Option<&Org> {
        self.organization(clerk_id).filter(|row| row.live)
    }

    /// Adds or replaces an organisation's row.
    pub fn put_organization(&mut self, row: Org) {
        let known = self.organizations.entry(row.shown.clerk_id.clone()).or_default();
        known.1 = Some(row);
    }

    /// What is known of a membership, by its pair as one text.
    pub fn pair_facts(&mut self, key: &str) -> &mut Facts {
        self.pairs.entry(key.to_owned()).or_default()
    }

    /// What is known of a membership by Clerk's id of it.
    pub fn membership_facts(&mut self, clerk_id: &str) -> &mut Facts {
        self.memberships.entry(clerk_id.to_owned()).or_default()
    }

    /// The row of a membership.
    pub fn member(&self, pair: &Pair) -> Option<&Member> {
        self.members.get(pair)
    }

    /// Adds or replaces the row of a membership.
    pub fn put_member(&mut self, row: Member) {
        let Pair { organization, user } = row.shown.pair.clone();
        self.of_user.entry(user).or_default().insert(organization);
        self.members.insert(row.shown.pair.clone(), row);
    }

    /// Takes the row of a membership away.
    pub fn remove_member(&mut self, pair: &Pair) -> Option<Member> {
        if let Some(organizations) = self.of_user.get_mut(&pair.user) {
            organizations.remove(&pair.organization);
        }
        self.members.remove(pair)
    }

    /// The memberships of a person who is a subject of the batch: all of them.
    pub fn memberships_of(&self, user: &str) -> Vec<Pair> {
        let organizations = self.of_user.get(user).into_iter().flatten();
        organizations.map(|organization| Pair { organization: organization.clone(), user: user.to_owned() }).collect()
    }

    /// The loaded members of an organisation: enough of the most senior to choose an owner from, not all.
    pub fn members_of(&self, organization: &str) -> impl Iterator<Item = &Member> {
        let first = Pair { organization: organization.to_owned(), user: String::new() };
        let organization = organization.to_owned();
        self.members.range(first..).take_while(move |(pair, _)| pair.organization == organization).map(|(_, row)| row)
    }

    fn index(&mut self, account: &Account, add: bool) {
        for (address, _) in account.addresses.iter().filter(|(_, address)| address.verified) {
            let holders = self.by_address.entry(address.clone()).or_default();
            if add {
                holders.insert(account.clerk_id.clone())
            } else {
                holders.remove(&account.clerk_id)
            };
        }
        for identity in account.identities.keys() {
            let holders = self.by_identity.entry(identity.clone()).or_default();
            if add {
                holders.insert(account.clerk_id.clone())
            } else {
                holders.remove(&account.clerk_id)
            };
        }
    }
}
