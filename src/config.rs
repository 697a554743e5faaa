//! What an operator can set. `config/default.toml` names and explains every key and is compiled in;
//! a file and the environment lie over it (see [`load`]). A key that does not exist is an error.

mod addresses;
mod load;
mod ranges;
mod secret;
mod show;
mod token;
mod url;

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

pub use load::{ConfigError, load};
pub use ranges::{RANGES, Range};
pub use secret::Secret;
pub use show::show;
pub use token::{MIN_TOKEN_BITS, is_strong};
pub use url::SecretUrl;

/// The effective configuration. Each field is a section of `config/default.toml`, which documents the keys.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config/default.toml documents every section and key")]
pub struct Config {
    pub server: Server,
    pub clerk: Clerk,
    pub database: Database,
    pub redis: Redis,
    pub stream: Stream,
    pub meili: Meili,
    pub receiver: Receiver,
    pub sync: Sync,
    pub entry: Entry,
    pub roles: Roles,
    pub settings: Settings,
    pub organizations: Organizations,
    pub waiting: Waiting,
    pub conflicts: Conflicts,
    pub deletion: Deletion,
    pub relink: Relink,
    pub tail: Tail,
    pub relay: Relay,
    pub cache: Cache,
    pub api: Api,
    pub metrics: Metrics,
    pub gateway: Gateway,
    pub alerts: Alerts,
    pub smtp: Smtp,
    pub silence: Silence,
    pub reconcile: Reconcile,
    pub retention: Retention,
    pub upkeep: Upkeep,
}

macro_rules! section {
    ($name:ident { $($(#[$attr:meta])* $field:ident : $ty:ty),* $(,)? }) => {
        #[doc = concat!("Section of `config/default.toml`, where its keys are documented: ", stringify!($name), ".")]
        #[derive(Debug, Clone, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(missing_docs, reason = "config/default.toml documents every key")]
        pub struct $name { $($(#[$attr])* pub $field: $ty),* }

        impl $name {
            /// Every key with its value as text; a secret masks itself.
            fn entries(&self) -> Vec<(&'static str, String)> {
                vec![$((stringify!($field), format!("{:?}", self.$field))),*]
            }
        }
    };
}

section!(Server {
    host: String,
    port: u16,
    #[serde(with = "humantime_serde")]
    shutdown_grace: Duration,
    #[serde(with = "humantime_serde")]
    stalled_after: Duration,
    #[serde(with = "humantime_serde")]
    header_timeout: Duration,
    #[serde(with = "humantime_serde")]
    idle_timeout: Duration,
    max_connections: usize,
    max_receipt_connections: usize,
    max_connections_per_address: usize,
});
section!(Clerk {
    signing_secret: Secret,
    instance_id: String,
    secret_key: Secret,
    api_url: SecretUrl,
    rate_limit: u32,
    rate_share: f64,
    #[serde(with = "humantime_serde")] timeout: Duration,
    confirm: Confirm,
    jwt_key: Secret,
    jwks_url: SecretUrl,
    #[serde(with = "humantime_serde")] jwks_refresh: Duration,
    #[serde(with = "humantime_serde")] jwks_keep: Duration,
    issuer: String,
    #[serde(deserialize_with = "load::texts")] authorized_parties: Vec<String>,
    require_azp: bool,
});
section!(Database {
    url: Secret,
    schema: String,
    max_connections: u32,
    max_read_connections: u32,
    #[serde(with = "humantime_serde")]
    acquire_timeout: Duration,
});
section!(Redis { url: Secret, prefix: String });
section!(Stream { enabled: bool, max_len: u64 });
section!(Meili {
    url: SecretUrl,
    master_key: Secret,
    index: String,
    #[serde(with = "humantime_serde")]
    task_timeout: Duration,
});
section!(Receiver {
    max_body: usize,
    unverified_bytes: usize,
    queue: usize,
    group_rows: usize,
    group_bytes: usize,
    #[serde(with = "humantime_serde")]
    answer_within: Duration,
    #[serde(with = "humantime_serde")]
    tolerance: Duration,
});
section!(Sync {
    batch: u32,
    batch_bytes: usize,
    #[serde(with = "humantime_serde")]
    poll: Duration,
    max_attempts: u32,
    #[serde(with = "humantime_serde")]
    backoff: Duration,
    #[serde(with = "humantime_serde")]
    backoff_max: Duration,
});
section!(Entry {
    require_email: bool,
    require_name: bool,
    #[serde(deserialize_with = "load::list")] quiet_fields: Vec<String>,
});
section!(Roles { path: String, #[serde(deserialize_with = "load::list")] grantable: Vec<String>, default: String });
section!(Settings { mapped: BTreeMap<String, String>, defaults: BTreeMap<String, serde_json::Value> });
section!(Organizations {
    #[serde(deserialize_with = "load::list")] admin_roles: Vec<String>,
    sole_admin: SoleAdmin,
});
section!(Waiting {
    #[serde(with = "humantime_serde")]
    deadline: Duration
});
section!(Conflicts {
    #[serde(with = "humantime_serde")]
    grace: Duration
});
section!(Deletion {
    mode: DeletionMode,
    #[serde(with = "humantime_serde")]
    erase_after: Duration,
    breaker: Breaker,
});
section!(Relink {
    #[serde(with = "humantime_serde")]
    window: Duration
});
section!(Tail {
    batch: u32,
    buffer: usize,
    #[serde(with = "humantime_serde")]
    poll: Duration,
    #[serde(with = "humantime_serde")]
    backoff: Duration,
    #[serde(with = "humantime_serde")]
    backoff_max: Duration,
});
section!(Relay {
    batch: u32,
    #[serde(with = "humantime_serde")]
    lease: Duration,
    #[serde(with = "humantime_serde")]
    poll: Duration,
    #[serde(with = "humantime_serde")]
    backoff: Duration,
    #[serde(with = "humantime_serde")]
    backoff_max: Duration,
});
section!(Cache {
    #[serde(with = "humantime_serde")]
    ttl: Duration,
    capacity: u64
});
section!(Api {
    admin_token: Secret,
    #[serde(deserialize_with = "load::list")] tokens: Vec<Secret>,
    #[serde(with = "humantime_serde")] request_timeout: Duration,
    max_streams: usize,
});
section!(Metrics { public: bool, address: String });
section!(Gateway {
    #[serde(deserialize_with = "load::texts")] origins: Vec<String>,
    #[serde(with = "humantime_serde")] auth_timeout: Duration,
    queue: usize,
    max_frame: usize,
    max_topics: usize,
    max_rate: u32,
    max_burst: u32,
    max_connections: usize,
    max_connections_per_user: usize,
    max_unauthenticated: usize,
    #[serde(with = "humantime_serde")] write_timeout: Duration,
    #[serde(with = "humantime_serde")] ping_every: Duration,
    replays: usize,
    #[serde(deserialize_with = "load::list")] list_fields: Vec<String>,
});

impl Gateway {
    /// Whether pages of this origin may come here: of any, where none is listed.
    pub fn allows_origin(&self, origin: &str) -> bool {
        self.origins.is_empty() || self.origins.iter().any(|known| known.eq_ignore_ascii_case(origin))
    }
}

section!(Alerts {
    #[serde(deserialize_with = "load::list")] mail_to: Vec<String>,
    mail_from: String,
    webhook_url: Secret,
    allow_private: bool,
    #[serde(with = "humantime_serde")] repeat: Duration,
});
section!(Smtp { url: Secret, folder: String });
section!(Silence {
    #[serde(with = "humantime_serde")]
    after: Duration
});
section!(Reconcile {
    #[serde(with = "humantime_serde")]
    every: Duration,
    #[serde(with = "humantime_serde")]
    full_every: Duration,
    #[serde(with = "humantime_serde")]
    settle: Duration,
    extras_max: u32,
    max_removal_share: f64,
});
section!(Retention {
    #[serde(with = "humantime_serde")]
    bodies: Duration,
    #[serde(with = "humantime_serde")]
    receipts: Duration,
    #[serde(with = "humantime_serde")]
    outbox: Duration,
    #[serde(with = "humantime_serde")]
    audit: Duration,
});
section!(Upkeep {
    #[serde(with = "humantime_serde")]
    every: Duration
});

/// Whether somebody must be known to Clerk's API before they enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confirm {
    /// Always.
    Required,
    /// Where Clerk can be asked.
    BestEffort,
    /// Never.
    Off,
}

/// Who owns an organisation that no administrator is left in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SoleAdmin {
    /// The member who has been there longest.
    Transfer,
    /// The same; and whoever is the only administrator among other members is not deleted without an operator.
    Hold,
    /// Nobody; operators are told.
    Orphan,
}

/// What is left of a deleted person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeletionMode {
    /// An emptied row (id, Clerk id, status, time of deletion).
    Soft,
    /// Nothing, unless a row of the application's still refers to it.
    Hard,
}

/// How many deletions are applied without asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Breaker {
    /// Deletions of users, or of organisations, within `window`, by the time that they carry; 0: any number.
    pub max: u32,
    /// Over how long they are counted.
    #[serde(with = "humantime_serde")]
    pub window: Duration,
}
