//! Objects that are made from their number whenever somebody asks: a million people cost what the numbers cost.
//!
//! Everybody has a name and a verified address; a third signed in with Google, a quarter has a username, a tenth a
//! phone, one of a thousand is banned. Organisations came after nobody in particular, memberships after all of them, so
//! that every parent is older than what names it. Organisation `n` was created by person `n` (round about).

use super::{
    ids::{Kind, bits, mix, spell, unmix},
    shelf::{LAG, Spread},
};

const FIRST: [&str; 16] = [
    "Ada", "Bela", "Carla", "Dmitri", "Elif", "Farid", "Greta", "Hugo", "Ines", "Jamal", "Kira", "Luca", "Mina",
    "Noor", "Oskar", "Paula",
];
const LAST: [&str; 16] = [
    "Quill", "Rossi", "Sato", "Tanaka", "Ude", "Vega", "Weiss", "Xu", "Yilmaz", "Zeman", "Abbott", "Brandt", "Costa",
    "Dalton", "Eriksen", "Fonseca",
];
const DAY: i64 = 86_400_000;

/// How much there is, and the number that ids and looks follow from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seed {
    pub(super) users: Spread,
    pub(super) organizations: Spread,
    pub(super) memberships: Spread,
    key: u64,
}

/// What both a user and their memberships show of a seeded person.
struct Person {
    id: String,
    first: &'static str,
    last: &'static str,
    email: String,
    username: Option<String>,
    banned: bool,
    image: String,
}

fn quoted(text: Option<&str>) -> String {
    text.map_or_else(|| "null".to_owned(), |text| format!("\"{text}\""))
}

impl Seed {
    /// So many of each, made in the two years before `now` (ms). There are no more memberships than pairs.
    pub(super) fn new(users: u64, organizations: u64, memberships: u64, key: u64, now: i64) -> Self {
        let before = |count, days: i64| Spread { count, start: now - days * DAY, span: (days - 30) * DAY };
        Self {
            users: before(users, 730),
            organizations: before(organizations, 700),
            memberships: Spread {
                count: memberships.min(users.saturating_mul(organizations)),
                start: now - 29 * DAY,
                span: 28 * DAY,
            },
            key: mix(key ^ 0x5eed),
        }
    }

    pub(super) fn spread(&self, kind: Kind) -> &Spread {
        match kind {
            Kind::User => &self.users,
            Kind::Organization => &self.organizations,
            Kind::Membership => &self.memberships,
        }
    }

    /// 27 characters that lead back to the number. `salt` keeps kinds apart.
    fn spelled(&self, salt: u64, at: i64, index: u64) -> String {
        let key = mix(self.key ^ salt);
        spell(at, (u128::from(mix(index ^ key ^ 1)) << 64) | u128::from(mix(index.wrapping_add(key))))
    }

    pub(super) fn id(&self, kind: Kind, index: u64) -> String {
        let at = self.spread(kind).created_at(index);
        format!("{}{}", kind.prefix(), self.spelled(kind as u64, at, index))
    }

    /// The number of the object with this id, if it is seeded.
    pub(super) fn index(&self, kind: Kind, id: &str) -> Option<u64> {
        let low = bits(id.strip_prefix(kind.prefix())?)? as u64;
        let index = unmix(low).wrapping_sub(mix(self.key ^ kind as u64));
        (index < self.spread(kind).count && self.id(kind, index) == id).then_some(index)
    }

    /// The number of the person with this address, if it is a seeded one's.
    pub(super) fn index_of_email(&self, email: &str) -> Option<u64> {
        let email = email.to_ascii_lowercase();
        let index = email.strip_suffix("@example.com")?.rsplit('.').next()?.parse().ok()?;
        (index < self.users.count && self.person(index).email == email).then_some(index)
    }

    /// The numbers of person and organisation of a membership. A person's memberships lie `users` apart, each in
    /// another organisation.
    pub(super) fn pair(&self, membership: u64) -> (u64, u64) {
        let (round, user) = (membership / self.users.count, membership % self.users.count);
        (user, (user + round) % self.organizations.count)
    }

    /// The memberships of a person.
    pub(super) fn of_user(&self, user: u64) -> impl Iterator<Item = u64> + use<> {
        (user..self.memberships.count).step_by(usize::try_from(self.users.count).unwrap_or(usize::MAX).max(1))
    }

    /// The memberships in an organisation, round by round.
    pub(super) fn of_organization(&self, organization: u64) -> impl Iterator<Item = u64> + use<> {
        let (users, organizations, memberships) = (self.users.count, self.organizations.count, self.memberships.count);
        let rounds = if users == 0 || organizations == 0 { 0 } else { memberships.div_ceil(users) };
        (0..rounds).flat_map(move |round| {
            let first = (organization + organizations - round % organizations) % organizations;
            (first..users)
                .step_by(usize::try_from(organizations).unwrap_or(usize::MAX))
                .map(move |user| round * users + user)
                .take_while(move |membership| *membership < memberships)
        })
    }

    fn creator(&self, organization: u64) -> Option<u64> {
        (self.users.count > 0).then(|| organization % self.users.count)
    }

    fn person(&self, index: u64) -> Person {
        let looks = mix(index ^ self.key);
        let (first, last) = (FIRST[(looks % 16) as usize], LAST[(looks / 16 % 16) as usize]);
        Person {
            id: self.id(Kind::User, index),
            first,
            last,
            email: format!("{}.{}.{index}@example.com", first.to_lowercase(), last.to_lowercase()),
            username: (looks / 256).is_multiple_of(4).then(|| format!("{}{index}", first.to_lowercase())),
            banned: index % 1000 == 999,
            image: format!("https://img.clerk.com/{looks:016x}"),
        }
    }

    /// The JSON of a seeded person.
    pub(super) fn user(&self, index: u64) -> String {
        let (looks, created) = (mix(index ^ self.key), self.users.created_at(index));
        let (updated, verified) = (created + LAG, created - 1_000);
        let Person { id, first, last, email, username, banned, image } = self.person(index);
        let username = quoted(username.as_deref());
        let idn = format!("idn_{}", self.spelled(11, created, index));
        let (mut linked, mut accounts) = (String::new(), String::new());
        let google = (looks / 1024).is_multiple_of(3);
        if google {
            let other = format!("idn_{}", self.spelled(12, created, index));
            let eac = self.spelled(13, created, index);
            linked = format!(r#"{{"type":"oauth_google","id":"{other}"}}"#);
            accounts = format!(
                r#"{{"object":"external_account","id":"eac_{eac}","provider":"oauth_google","identification_id":"{other}","provider_user_id":"1{index:020}","approved_scopes":"email openid profile","email_address":"{email}","first_name":"{first}","last_name":"{last}","avatar_url":"{image}","image_url":"{image}","username":null,"phone_number":null,"public_metadata":{{}},"label":null,"created_at":{verified},"updated_at":{verified},"verification":{{"object":"verification_oauth","status":"verified","strategy":"oauth_google","attempts":null,"expire_at":{updated}}}}}"#
            );
        }
        let (mut phone_id, mut phones) = ("null".to_owned(), String::new());
        if (looks / 4096).is_multiple_of(10) {
            phone_id = format!("\"idn_{}\"", self.spelled(14, created, index));
            phones = format!(
                r#"{{"id":{phone_id},"object":"phone_number","phone_number":"+1555{index:09}","reserved_for_second_factor":false,"default_second_factor":false,"reserved":false,"verification":{{"object":"verification_otp","status":"verified","strategy":"phone_code","attempts":1,"expire_at":{updated}}},"linked_to":[],"backup_codes":null,"created_at":{verified},"updated_at":{verified}}}"#
            );
        }
        let strategy = if google { "from_oauth_google" } else { "email_code" };
        let verification = if google { "verification_from_oauth" } else { "verification_otp" };
        let (password, active) = (!google, created - created.rem_euclid(DAY));
        format!(
            r#"{{"id":"{id}","object":"user","username":{username},"first_name":"{first}","last_name":"{last}","locale":null,"image_url":"{image}","profile_image_url":"{image}","has_image":{google},"primary_email_address_id":"{idn}","primary_phone_number_id":{phone_id},"primary_web3_wallet_id":null,"password_enabled":{password},"two_factor_enabled":false,"totp_enabled":false,"backup_code_enabled":false,"email_addresses":[{{"id":"{idn}","object":"email_address","email_address":"{email}","reserved":false,"verification":{{"object":"{verification}","status":"verified","strategy":"{strategy}","attempts":null,"expire_at":null}},"linked_to":[{linked}],"matches_sso_connection":false,"created_at":{verified},"updated_at":{verified}}}],"phone_numbers":[{phones}],"web3_wallets":[],"passkeys":[],"external_accounts":[{accounts}],"saml_accounts":[],"enterprise_accounts":[],"password_last_updated_at":null,"public_metadata":{{}},"private_metadata":{{}},"unsafe_metadata":{{}},"external_id":null,"last_sign_in_at":{updated},"banned":{banned},"locked":false,"lockout_expires_in_seconds":null,"verification_attempts_remaining":100,"created_at":{created},"updated_at":{updated},"delete_self_enabled":true,"bypass_client_trust":false,"create_organization_enabled":true,"create_organizations_limit":null,"last_active_at":{active},"mfa_enabled_at":null,"mfa_disabled_at":null,"legal_accepted_at":null,"deprovisioned":false,"requires_password_reset":false}}"#
        )
    }

    /// What a membership shows of a seeded person.
    pub(super) fn public_user_data(&self, index: u64) -> String {
        let Person { id, first, last, email, username, banned, image } = self.person(index);
        let username = quoted(username.as_deref());
        let google = (mix(index ^ self.key) / 1024).is_multiple_of(3);
        format!(
            r#"{{"user_id":"{id}","first_name":"{first}","last_name":"{last}","image_url":"{image}","profile_image_url":"{image}","has_image":{google},"identifier":"{email}","username":{username},"banned":{banned},"deprovisioned":false}}"#
        )
    }

    /// The JSON of a seeded organisation, without its count of members.
    pub(super) fn organization(&self, index: u64) -> String {
        let (looks, created) = (mix(index ^ self.key), self.organizations.created_at(index));
        let (id, updated) = (self.id(Kind::Organization, index), created + LAG);
        let name = LAST[(looks % 16) as usize];
        let slug = name.to_lowercase();
        let creator = self
            .creator(index)
            .map_or_else(String::new, |user| format!(r#""created_by":"{}","#, self.id(Kind::User, user)));
        format!(
            r#"{{"id":"{id}","object":"organization","name":"{name} {index}","slug":"{slug}-{index}","image_url":"https://img.clerk.com/o{looks:016x}","has_image":false,"max_allowed_memberships":0,"admin_delete_enabled":true,{creator}"public_metadata":{{}},"private_metadata":{{}},"created_at":{created},"updated_at":{updated}}}"#
        )
    }

    /// The JSON of a seeded membership, with its parents as they are given.
    pub(super) fn membership(&self, index: u64, organization: &str, public_user_data: &str) -> String {
        let (user, of) = self.pair(index);
        let (id, created) = (self.id(Kind::Membership, index), self.memberships.created_at(index));
        let updated = created + LAG;
        let (role, name, permissions) = if self.creator(of) == Some(user) {
            ("org:admin", "Admin", r#"["org:sys_profile:manage","org:sys_memberships:manage"]"#)
        } else {
            ("org:member", "Member", r#"["org:sys_memberships:read"]"#)
        };
        format!(
            r#"{{"id":"{id}","object":"organization_membership","role":"{role}","role_name":"{name}","permissions":{permissions},"public_metadata":{{}},"private_metadata":{{}},"organization":{organization},"public_user_data":{public_user_data},"created_at":{created},"updated_at":{updated}}}"#
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    const NOW: i64 = 1_790_000_000_000;

    #[test]
    fn objects_are_json_and_are_found_by_their_ids() {
        let seed = Seed::new(3_000, 40, 5_000, 1, NOW);
        for index in (0..3_000).step_by(7) {
            let user: Value = serde_json::from_str(&seed.user(index)).unwrap();
            let id = user["id"].as_str().unwrap();
            assert_eq!(id.len(), 32);
            assert_eq!(seed.index(Kind::User, id), Some(index));
            assert_eq!(seed.index(Kind::Organization, id), None);
            assert_eq!(seed.index_of_email(user["email_addresses"][0]["email_address"].as_str().unwrap()), Some(index));
            assert_eq!(user["primary_email_address_id"], user["email_addresses"][0]["id"]);
            assert!(user["updated_at"].as_i64().unwrap() < NOW);
            serde_json::from_str::<Value>(&seed.public_user_data(index)).unwrap();
        }
        let other = Seed::new(3_000, 40, 5_000, 2, NOW);
        assert_eq!(seed.index(Kind::User, &other.id(Kind::User, 5)), None);
        serde_json::from_str::<Value>(&seed.organization(39)).unwrap();
        serde_json::from_str::<Value>(&seed.membership(7, "{}", "{}")).unwrap();
    }

    #[test]
    fn memberships_are_pairs_that_their_parents_find() {
        for (users, organizations, memberships) in [(50, 7, 200), (5, 20, 60), (3, 3, 99), (10, 4, 3), (0, 5, 9)] {
            let seed = Seed::new(users, organizations, memberships, 3, NOW);
            let count = seed.memberships.count;
            let pairs: BTreeSet<(u64, u64)> = (0..count).map(|index| seed.pair(index)).collect();
            assert_eq!(pairs.len() as u64, count, "no pair twice");
            for user in 0..users {
                let expected: Vec<u64> = (0..count).filter(|index| seed.pair(*index).0 == user).collect();
                assert_eq!(seed.of_user(user).collect::<Vec<_>>(), expected);
            }
            for organization in 0..organizations {
                let expected: BTreeSet<u64> = (0..count).filter(|index| seed.pair(*index).1 == organization).collect();
                let found: Vec<u64> = seed.of_organization(organization).collect();
                assert_eq!(found.len(), expected.len());
                assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
            }
        }
    }
}
