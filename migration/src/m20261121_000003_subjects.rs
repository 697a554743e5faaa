//! `subjects`: facts that only grow. Never trimmed, moved or erased; holds no personal data.
use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261121_000003_subjects",
    up: &["create table subjects (
            kind text not null,
            key text not null,
            version text,
            entered boolean not null default false,
            deleted boolean not null default false,
            deleted_at {time},
            primary key (kind, key)
        )"],
    down: &["drop table subjects"],
};
