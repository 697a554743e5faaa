//! The bodies of a history's events, as Clerk writes them.

use serde_json::{Value, json};

use super::History;

impl History {
    pub(super) fn person_id(&self, person: usize) -> String {
        format!("user_{}x{person}", self.name)
    }

    pub(super) fn organization_id(&self, organization: usize) -> String {
        format!("org_{}x{organization}", self.name)
    }

    pub(super) fn address(&self, address: usize) -> String {
        format!("a{address}.{}@example.com", self.name)
    }

    /// Provider, connection and subject. The last two are one name at two tenants' identity providers.
    pub(super) fn identity(&self, identity: usize) -> (&'static str, &'static str, String) {
        let (provider, connection) =
            [("google", ""), ("saml_custom", "entconn_a"), ("saml_custom", "entconn_b")][identity];
        (provider, connection, format!("g{}.{}", identity.min(1), self.name))
    }

    fn tell(&mut self, kind: &str, data: Value) {
        let timestamp = self.now + 3;
        self.events.push(json!({"type": kind, "object": "event", "timestamp": timestamp, "data": data}));
    }

    pub(super) fn tell_gone(&mut self, kind: &str, id: &str) {
        self.tell(&format!("{kind}.deleted"), json!({"id": id, "object": kind, "deleted": true}));
    }

    pub(super) fn tell_person(&mut self, person: usize) {
        self.now += 7;
        let now = self.now;
        let Some(row) = self.persons.get_mut(&person) else { return };
        row.told = now;
        let row = row.clone();
        self.entered.entry(person).or_default().insert((!row.emails.is_empty(), row.first_name.is_some()));
        let status = |verified: bool| if verified { "verified" } else { "unverified" };
        let emails = row.emails.iter().map(|(address, verified)| {
            let verification = json!({"status": status(*verified), "strategy": "email_code"});
            json!({"id": format!("idn_{address}"), "email_address": self.address(*address), "verification": verification})
        });
        let (mut external, mut enterprise) = (Vec::new(), Vec::new());
        for (provider, connection, subject) in row.identities.iter().map(|identity| self.identity(*identity)) {
            match connection {
                "" => external.push(json!({"provider": format!("oauth_{provider}"), "provider_user_id": subject})),
                _ => enterprise.push(json!({"provider": provider, "provider_user_id": subject,
                    "enterprise_connection_id": connection})),
            }
        }
        let data = json!({
            "id": self.person_id(person), "object": "user", "first_name": row.first_name, "banned": row.banned,
            "email_addresses": emails.collect::<Vec<_>>(), "external_accounts": external,
            "enterprise_accounts": enterprise,
            "primary_email_address_id": row.primary.map(|address| format!("idn_{address}")),
            // Now and then two snapshots carry one `updated_at`, as at Clerk: the envelope's time decides.
            "created_at": 1_760_000_000_000_u64, "updated_at": now / 14 * 14,
        });
        self.tell(if now.is_multiple_of(2) { "user.created" } else { "user.updated" }, data);
    }

    pub(super) fn tell_organization(&mut self, organization: usize) {
        self.now += 7;
        let row = self.organizations[&organization].clone();
        let data = json!({
            "id": self.organization_id(organization), "object": "organization", "name": row.name, "slug": row.slug,
            "created_by": self.person_id(row.creator), "created_at": 1_760_000_000_000_u64,
            "updated_at": self.now / 14 * 14, "members_count": 77,
        });
        self.tell("organization.updated", data);
    }

    pub(super) fn tell_member(&mut self, (organization, person): (usize, usize), ended: bool) {
        self.now += 7;
        let Some(row) = self.members.get_mut(&(organization, person)) else { return };
        let named = std::mem::replace(&mut row.named, true);
        let member = row.clone();
        // An end may carry an older object than the last update did; it ends the membership all the same.
        let updated_at = if ended { member.created_at } else { self.now };
        let mut data = json!({
            "id": member.id, "object": "organization_membership", "role": member.role, "permissions": [],
            "created_at": member.created_at, "updated_at": updated_at,
            "organization": {"id": self.organization_id(organization), "object": "organization", "name": "Stale"},
            "public_user_data": {"user_id": self.person_id(person), "first_name": "Stale"},
        });
        // Most ends and some updates lack part of what they are about.
        let lacks: &[&str] = match (ended, named, self.now / 3 % 10) {
            (true, _, 0) => &["role"],
            (true, _, 1) => &["role", "created_at", "updated_at"],
            (true, _, 2) => &["id"],
            (true, _, 3) => &["organization", "public_user_data", "created_at"],
            (_, true, 4) => &["public_user_data"],
            (_, true, 5) => &["organization"],
            (_, true, 6) => &["organization", "public_user_data"],
            _ => &[],
        };
        data.as_object_mut().into_iter().for_each(|data| data.retain(|name, _| !lacks.contains(&name.as_str())));
        self.tell(if ended { "organizationMembership.deleted" } else { "organizationMembership.updated" }, data);
    }
}
