//! SeaORM entities, one table a file, as `migration` builds them.
//!
//! Rows are read through these; what the sync writes, it writes many rows at a time with statements of its own.

pub mod alerts;
pub mod applier_progress;
pub mod audit_log;
pub mod conflict_decisions;
pub mod conflicts;
pub mod dead_letters;
pub mod deletion_decisions;
pub mod email_addresses;
pub mod federated_identities;
mod id;
pub mod inbox;
mod json_text;
pub mod leases;
pub mod meta;
pub mod organization_memberships;
pub mod organizations;
pub mod outbox;
pub mod revoked_sessions;
pub mod roles;
pub mod sink_cursors;
pub mod subjects;
pub mod sync_runs;
pub mod tombstone_addresses;
pub mod user_metadata;
pub mod user_profiles;
pub mod user_roles;
pub mod user_settings;
pub mod users;
pub mod wakes;

pub use id::Id;
pub use json_text::JsonText;
