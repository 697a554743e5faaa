//! Organisations and their live memberships. History is in the audit trail; unique are only keys of Clerk's.
use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261121_000009_organizations",
    up: &[
        "create table organizations (
            id {id} primary key,
            clerk_id text not null unique,
            name text,
            slug text,
            image_url text,
            created_by text,
            owner_id {id} references users (id) on delete set null,
            members_count {int} not null default 0,
            public_metadata {json} not null,
            private_metadata {json} not null,
            status text not null check (status in ('active', 'deleted')),
            clerk_created_at {time},
            clerk_updated_at {time},
            created_at {time} not null,
            updated_at {time} not null,
            deleted_at {time},
            rev {int} not null default 0,
            version text
        )",
        "create index organizations_slug on organizations (slug) where slug is not null",
        "create index organizations_owner on organizations (owner_id) where owner_id is not null",
        "create table organization_memberships (
            id {id} primary key,
            clerk_id text not null unique,
            organization_id {id} not null references organizations (id) on delete cascade,
            user_id {id} not null references users (id) on delete cascade,
            role text not null,
            permissions {json} not null,
            clerk_created_at {time},
            clerk_updated_at {time},
            created_at {time} not null,
            updated_at {time} not null,
            rev {int} not null default 0,
            joined_seq {int} not null default 0,
            version text,
            unique (organization_id, user_id)
        )",
        "create index organization_memberships_user on organization_memberships (user_id)",
        // The owner of an organisation is the first of these: among its administrators, else among all. Ids are compared
        // byte by byte, as the rule does.
        "sqlite:create index organization_memberships_first
            on organization_memberships (organization_id, clerk_created_at, clerk_id)",
        "pg:create index organization_memberships_first
            on organization_memberships (organization_id, clerk_created_at, clerk_id collate \"C\")",
        "sqlite:create index organization_memberships_role
            on organization_memberships (organization_id, role, clerk_created_at, clerk_id)",
        "pg:create index organization_memberships_role
            on organization_memberships (organization_id, role, clerk_created_at, clerk_id collate \"C\")",
    ],
    down: &["drop table organization_memberships", "drop table organizations"],
};
