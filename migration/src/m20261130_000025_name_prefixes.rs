//! Prefix lookups of names, usernames and addresses, for searches while the search index does not answer.
//!
//! Of a name the first 64 characters are indexed: an index row has a largest size, and a name has none. On Postgres the
//! operator class compares by code points, whatever the collation of the database; it serves equality as well, so the index
//! on verified addresses is replaced and not doubled.
use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261130_000025_name_prefixes",
    up: &[
        "pg:create index users_first_name_prefix on users
            (lower(left(first_name, 64)) text_pattern_ops, lower(left(last_name, 64)) text_pattern_ops)",
        "pg:create index users_last_name_prefix on users
            (lower(left(last_name, 64)) text_pattern_ops, lower(left(first_name, 64)) text_pattern_ops)",
        "pg:create index users_username_prefix on users (lower(left(username, 64)) text_pattern_ops)
            where username is not null",
        "pg:drop index email_addresses_verified",
        "pg:create index email_addresses_verified on email_addresses (normalised text_pattern_ops) where verified",
        "sqlite:create index users_first_name_prefix on users
            (lower(substr(first_name, 1, 64)), lower(substr(last_name, 1, 64)))",
        "sqlite:create index users_last_name_prefix on users
            (lower(substr(last_name, 1, 64)), lower(substr(first_name, 1, 64)))",
        "sqlite:create index users_username_prefix on users (lower(substr(username, 1, 64)))",
    ],
    down: &[
        "drop index users_first_name_prefix",
        "drop index users_last_name_prefix",
        "drop index users_username_prefix",
        "pg:drop index email_addresses_verified",
        "pg:create index email_addresses_verified on email_addresses (normalised) where verified",
    ],
};
