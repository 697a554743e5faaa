//! What the tables must show of a history, in the words of [`crate::support::tables::snapshot`].

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{ADDRESSES, History, Member, PERSONS};

/// The policy as far as an end depends on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Switches {
    pub(crate) require_email: bool,
    pub(crate) require_name: bool,
    pub(crate) orphan: bool,
}

impl History {
    /// The rows of `users`, `organizations` and `memberships`, by their keys.
    pub(crate) fn end(&self, switches: Switches) -> BTreeMap<String, Value> {
        let mut rows = BTreeMap::new();
        for person in 0..PERSONS {
            rows.extend(self.user(person, switches).map(|row| (self.person_id(person), row)));
        }
        let inside: Vec<(&(usize, usize), &Member)> =
            self.members.iter().filter(|((_, person), _)| self.is_live(*person, switches)).collect();
        for ((organization, person), member) in &inside {
            let key = format!("{}/{}", self.organization_id(*organization), self.person_id(*person));
            rows.insert(key, json!({"clerk_id": member.id, "role": member.role}));
        }
        for (organization, row) in &self.organizations {
            let members: Vec<_> = inside.iter().filter(|((other, _), _)| other == organization).collect();
            let mut senior: Vec<_> = members.iter().map(|((_, person), member)| (member, person)).collect();
            senior.sort_by_key(|(member, _)| (member.created_at, member.id.clone()));
            let creator = members.iter().map(|((_, person), _)| person).find(|person| **person == row.creator);
            let admin = senior.iter().find(|(member, _)| ["org:admin", "admin"].contains(&member.role));
            let first = senior.first().filter(|_| !switches.orphan);
            let owner = creator.or_else(|| admin.or(first).map(|(_, person)| *person));
            let id = self.organization_id(*organization);
            let end = json!({
                "status": "active", "name": row.name, "slug": row.slug, "created_by": self.person_id(row.creator),
                "members_count": members.len(), "owner": owner.map(|person| self.person_id(*person)),
                "deleted_at": null,
            });
            rows.insert(id, end);
        }
        for (organization, at) in &self.dissolved {
            let end = json!({"status": "deleted", "deleted_at": at + 3, "name": null, "created_by": null,
                "owner": null, "members_count": 0});
            rows.insert(self.organization_id(*organization), end);
        }
        rows
    }

    fn is_live(&self, person: usize, switches: Switches) -> bool {
        let meets =
            |(email, name): &(bool, bool)| (*email || !switches.require_email) && (*name || !switches.require_name);
        self.persons.contains_key(&person) && self.entered[&person].iter().any(meets)
    }

    fn user(&self, person: usize, switches: Switches) -> Option<Value> {
        if let Some(at) = self.gone.get(&person) {
            let nothing: [u8; 0] = [];
            return Some(json!({"status": "deleted", "deleted_at": at + 3, "first_name": null, "email": null,
                "email_addresses": nothing, "identities": nothing, "roles": nothing}));
        }
        let row = self.persons.get(&person).filter(|_| self.is_live(person, switches))?;
        let named = row.emails.iter().find(|(address, _)| Some(*address) == row.primary);
        let primary = named.or_else(|| row.emails.iter().find(|(_, verified)| *verified)).or(row.emails.first());
        let primary = primary.map(|(address, _)| *address);
        let held = |address: usize| row.emails.iter().find(|(held, _)| *held == address);
        let emails = (0..ADDRESSES).filter_map(held).map(|(address, verified)| {
            json!({"email_address": self.address(*address), "verified": verified, "primary": Some(*address) == primary})
        });
        // An identity that two have is shown where the row is newer.
        let newest = |identity: &usize| {
            let others = self.persons.iter().filter(|(other, _)| self.is_live(**other, switches));
            others.filter(|(_, other)| other.identities.contains(identity)).map(|(_, other)| other.told).max()
        };
        let identities = row.identities.iter().map(|identity| {
            let current = newest(identity) == Some(row.told);
            let (provider, connection, subject) = self.identity(*identity);
            let mut row = json!({"provider": provider, "provider_subject_id": subject, "current": current});
            if !connection.is_empty() {
                row["connection"] = json!(connection);
            }
            row
        });
        Some(json!({
            "status": if row.banned { "banned" } else { "active" }, "deleted_at": null, "first_name": row.first_name,
            "email": primary.map(|address| self.address(address)), "email_addresses": emails.collect::<Vec<_>>(),
            "identities": identities.collect::<Vec<_>>(), "roles": ["user"],
        }))
    }
}
