//! The loaded state that a batch folds through: everybody whom the events name, and everybody who holds one of
//! their addresses or identities. A later event sees what every earlier one did.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

use super::{Account, facts::Facts, user::Identity};

/// One person: what is known, and what the rows show.
#[derive(Debug, Clone, Default)]
pub struct Person {
    /// What is known.
    pub facts: Facts,
    /// What the rows show; a deleted person's is the emptied row.
    pub account: Option<Account>,
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
    by_address: HashMap<String, BTreeSet<String>>,
    by_identity: HashMap<Identity, BTreeSet<String>>,
}

impl World {
    /// An empty state whose change feed stands at `head`.
    pub fn new(head: i64) -> Self {
        Self { head, ..Self::default() }
    }

    /// Adds what is known of a subject.
    pub fn load_facts(&mut self, clerk_id: String, facts: Facts) {
        self.persons.entry(clerk_id).or_default().facts = facts;
    }

    /// Adds what the rows show of a person.
    pub fn load_account(&mut self, account: Account) {
        self.index(&account, true);
        let person = self.persons.entry(account.clerk_id.clone()).or_default();
        person.account = Some(account);
    }

    /// What is known of a person; nothing, if nothing is.
    pub fn facts(&mut self, clerk_id: &str) -> &mut Facts {
        &mut self.persons.entry(clerk_id.to_owned()).or_default().facts
    }

    /// What the rows show of a person.
    pub fn account(&self, clerk_id: &str) -> Option<&Account> {
        self.persons.get(clerk_id)?.account.as_ref()
    }

    /// Replaces what the rows show of a person.
    pub fn put(&mut self, account: Account) {
        if let Some(before) = self.persons.get(&account.clerk_id).and_then(|person| person.account.clone()) {
            self.index(&before, false);
        }
        self.load_account(account);
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
