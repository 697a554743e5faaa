//! Facts of access, and of memberships by their ids: whether a user's highest version is banned or deprovisioned, whose a
//! membership id is, and that it ended.
//!
//! What the rows show and what the pairs' versions name is taken over. Parked snapshots of users are planned again: a ban
//! that waited in one of them holds from then on.
use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261130_000024_access_facts",
    up: &[
        "alter table subjects add column banned boolean not null default false",
        "alter table subjects add column deprovisioned boolean not null default false",
        "alter table subjects add column pair text",
        "update subjects set banned = true where kind = 'user'
            and key in (select clerk_id from users where status = 'banned')",
        "update subjects set deprovisioned = true where kind = 'user'
            and key in (select clerk_id from users where status = 'deprovisioned')",
        // A pair's version is `created_at.id.ended.…`.
        "pg:insert into subjects (kind, key, pair, deleted)
            select 'membership_id', split_part(version, '.', 2), min(key), bool_or(split_part(version, '.', 3) = '1')
                from subjects where kind = 'membership' and version is not null group by split_part(version, '.', 2)",
        "sqlite:insert into subjects (kind, key, pair, deleted)
            select 'membership_id', substr(rest, 1, instr(rest, '.') - 1), min(key),
                    max(substr(rest, instr(rest, '.') + 1, 1) = '1')
                from (select key, substr(version, instr(version, '.') + 1) as rest from subjects
                    where kind = 'membership' and version is not null)
                group by substr(rest, 1, instr(rest, '.') - 1)",
        "insert into subjects (kind, key, pair)
            select 'membership_id', m.clerk_id, min(o.clerk_id || '/' || u.clerk_id) from organization_memberships m
                join organizations o on o.id = m.organization_id join users u on u.id = m.user_id
                where u.clerk_id is not null group by m.clerk_id
            on conflict (kind, key) do nothing",
        "update inbox set state = 'pending', outcome = null, awaits = null, awaits_too = null, finished_at = null,
            available_at = received_at
            where state in ('conflict', 'held') and event_type in ('user.created', 'user.updated')
                and body is not null",
    ],
    down: &[
        "delete from subjects where kind = 'membership_id'",
        "alter table subjects drop column pair",
        "alter table subjects drop column deprovisioned",
        "alter table subjects drop column banned",
    ],
};
