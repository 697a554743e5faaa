//! What the rules ask the operator about.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Duration;

use crate::json::Object;

/// Who owns an organisation whose creator has left and that has no administrator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SoleAdmin {
    /// The member who has been there longest.
    Transfer,
    /// The same; and the deletion of a sole administrator among other members is held.
    Hold,
    /// Nobody.
    Orphan,
}

/// The settings that the rules read. Config fills it; nothing else does.
#[derive(Debug, Clone)]
pub struct Policy {
    /// A person enters only with an e-mail address.
    pub require_email: bool,
    /// A person enters only with a first or last name.
    pub require_name: bool,
    /// Columns of `users` that are written without telling anybody.
    pub quiet_fields: BTreeSet<String>,
    /// Path into public or private metadata that names roles; empty: none.
    pub roles_path: String,
    /// Roles that Clerk's metadata may grant.
    pub grantable: BTreeSet<String>,
    /// The role of those to whom no grantable role is named.
    pub default_role: String,
    /// Setting to path into metadata: follows Clerk.
    pub mapped_settings: BTreeMap<String, String>,
    /// Settings written once, when a person's row is made.
    pub default_settings: Object,
    /// Roles that make an administrator of an organisation.
    pub admin_roles: BTreeSet<String>,
    /// Who owns an organisation without administrators.
    pub sole_admin: SoleAdmin,
    /// No row is left of deleted persons.
    pub hard: bool,
    /// More deletions of users, or of organisations, than this within [`Self::breaker_window`] are held; 0: any number.
    pub breaker_max: u32,
    /// Over how long they are counted, by the time that they carry.
    pub breaker_window: Duration,
    /// Whether deletions can be held at all; off while an operator releases one.
    pub holds: bool,
    /// After which a waiting membership is looked at: one alert a parent.
    pub waiting_deadline: Duration,
    /// How long hashes of a deleted person's addresses are kept.
    pub relink_window: Duration,
    /// Key of those hashes.
    pub hash_key: Vec<u8>,
    /// An alert that goes on is told again after this; zero: never.
    pub alerts_repeat: Duration,
    /// A clash is brought up to date from Clerk before it becomes a conflict.
    pub refresh_clashes: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            require_email: true,
            require_name: true,
            quiet_fields: BTreeSet::new(),
            roles_path: "public_metadata.roles".into(),
            grantable: BTreeSet::new(),
            default_role: "user".into(),
            mapped_settings: BTreeMap::new(),
            default_settings: Object::new(),
            admin_roles: ["org:admin", "admin"].map(str::to_owned).into(),
            sole_admin: SoleAdmin::Transfer,
            hard: false,
            breaker_max: 0,
            breaker_window: Duration::minutes(10),
            holds: true,
            waiting_deadline: Duration::minutes(10),
            relink_window: Duration::days(30),
            hash_key: Vec::new(),
            alerts_repeat: Duration::days(1),
            refresh_clashes: false,
        }
    }
}
