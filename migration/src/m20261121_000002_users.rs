//! The identity tables: people, what hangs on them one to one, their addresses, identities and roles.
//! Unique are only Clerk's own keys; clashes of addresses and identities are judged by the plan.
use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261121_000002_users",
    up: &[
        "create table users (
            id {id} primary key,
            user_type text not null default 'permanent' check (user_type in ('permanent', 'guest')),
            clerk_id text unique,
            external_id text,
            username text,
            first_name text,
            last_name text,
            display_name text,
            email text,
            email_verified boolean not null default false,
            phone text,
            image_url text,
            locale text,
            status text not null check (status in ('active', 'banned', 'deprovisioned', 'deleted')),
            deletion_held_at {time},
            password_enabled boolean not null default false,
            two_factor_enabled boolean not null default false,
            last_sign_in_at {time},
            clerk_created_at {time},
            clerk_updated_at {time},
            created_at {time} not null,
            updated_at {time} not null,
            deleted_at {time},
            rev {int} not null default 0,
            version text
        )",
        "create index users_email on users (email) where email is not null",
        "create index users_username on users (username) where username is not null",
        "create index users_external_id on users (external_id) where external_id is not null",
        "create table user_profiles (
            user_id {id} primary key references users (id) on delete cascade,
            has_image boolean not null default false,
            phone_numbers {json} not null,
            web3_wallets {json} not null,
            legal_accepted_at {time},
            rev {int} not null default 0
        )",
        "create table user_settings (
            user_id {id} primary key references users (id) on delete cascade,
            settings {json} not null,
            mapped {json} not null,
            rev {int} not null default 0
        )",
        "create table user_metadata (
            user_id {id} primary key references users (id) on delete cascade,
            public_metadata {json} not null,
            private_metadata {json} not null,
            unsafe_metadata {json} not null,
            rev {int} not null default 0
        )",
        "create table email_addresses (
            user_id {id} not null references users (id) on delete cascade,
            normalised text not null,
            email_address text not null,
            verified boolean not null,
            \"primary\" boolean not null,
            primary key (user_id, normalised)
        )",
        "create index email_addresses_verified on email_addresses (normalised) where verified",
        "create table federated_identities (
            user_id {id} not null references users (id) on delete cascade,
            provider text not null,
            provider_subject_id text not null,
            current boolean not null,
            primary key (user_id, provider, provider_subject_id)
        )",
        "create index federated_identities_subject on federated_identities (provider, provider_subject_id)",
        "create table roles (id {id} primary key, name text not null unique)",
        "create table user_roles (
            user_id {id} not null references users (id) on delete cascade,
            role_id {id} not null references roles (id),
            source text not null check (source in ('clerk', 'local')),
            primary key (user_id, role_id, source)
        )",
        "create table tombstone_addresses (
            user_id {id} not null references users (id) on delete cascade,
            digest text not null,
            expires_at {time} not null,
            primary key (user_id, digest)
        )",
        "create index tombstone_addresses_digest on tombstone_addresses (digest)",
        "create index tombstone_addresses_expires on tombstone_addresses (expires_at)",
    ],
    down: &[
        "drop table tombstone_addresses",
        "drop table user_roles",
        "drop table roles",
        "drop table federated_identities",
        "drop table email_addresses",
        "drop table user_metadata",
        "drop table user_settings",
        "drop table user_profiles",
        "drop table users",
    ],
};
