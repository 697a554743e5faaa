//! `federated_identities.connection`: which enterprise connection a subject belongs to, since two tenants' identity
//! providers may use one name for two people. Empty for OAuth.
//!
//! What is shown keeps an empty connection until the user's next event replaces the user's identities whole. What is
//! shown nowhere goes: it is here because another user shows the same provider and subject, and would be taken for theirs
//! as soon as that user's event brings the connection; the next event brings it back, under its own. Rows longer than the
//! bound that the decoder now has go too: the wider key might not hold them.
use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261130_000022_connections",
    up: &[
        "delete from federated_identities where octet_length(provider) > 512 or octet_length(provider_subject_id) > 512",
        "delete from federated_identities where not current",
        "drop index federated_identities_subject",
        "pg:alter table federated_identities add column connection text not null default ''",
        "pg:alter table federated_identities drop constraint federated_identities_pkey,
            add primary key (user_id, provider, connection, provider_subject_id)",
        // SQLite cannot change a key: the table is built again.
        "sqlite:create table federated_identities_rebuilt (
            user_id {id} not null references users (id) on delete cascade,
            provider text not null,
            connection text not null default '',
            provider_subject_id text not null,
            current boolean not null,
            primary key (user_id, provider, connection, provider_subject_id)
        )",
        "sqlite:insert into federated_identities_rebuilt (user_id, provider, provider_subject_id, current)
            select user_id, provider, provider_subject_id, current from federated_identities",
        "sqlite:drop table federated_identities",
        "sqlite:alter table federated_identities_rebuilt rename to federated_identities",
        "create index federated_identities_subject on federated_identities (provider, connection, provider_subject_id)",
    ],
    down: &[
        "drop index federated_identities_subject",
        // Of identities that only the connection tells apart one is left, shown if any was.
        "update federated_identities set current = true where not current and exists (
            select 1 from federated_identities f where f.user_id = federated_identities.user_id
                and f.provider = federated_identities.provider
                and f.provider_subject_id = federated_identities.provider_subject_id and f.current)",
        "delete from federated_identities where exists (
            select 1 from federated_identities f where f.user_id = federated_identities.user_id
                and f.provider = federated_identities.provider
                and f.provider_subject_id = federated_identities.provider_subject_id
                and f.connection < federated_identities.connection)",
        "pg:alter table federated_identities drop constraint federated_identities_pkey,
            add primary key (user_id, provider, provider_subject_id)",
        "pg:alter table federated_identities drop column connection",
        "sqlite:create table federated_identities_rebuilt (
            user_id {id} not null references users (id) on delete cascade,
            provider text not null,
            provider_subject_id text not null,
            current boolean not null,
            primary key (user_id, provider, provider_subject_id)
        )",
        "sqlite:insert into federated_identities_rebuilt (user_id, provider, provider_subject_id, current)
            select user_id, provider, provider_subject_id, current from federated_identities",
        "sqlite:drop table federated_identities",
        "sqlite:alter table federated_identities_rebuilt rename to federated_identities",
        "create index federated_identities_subject on federated_identities (provider, provider_subject_id)",
    ],
};
