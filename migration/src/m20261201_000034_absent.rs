//! What a comparison inferred, and what operators decided about deletions.
//!
//! A subject that a comparison found absent at Clerk has the version as of which it was; it is null again once Clerk shows
//! the subject. What comparisons removed before this step stays deleted: which of them Clerk had told is not recorded.
//! Deletions that operators cancelled before become decisions.
use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261201_000034_absent",
    up: &[
        "alter table subjects add column absent_version text",
        "alter table subjects add column absent_at {time}",
        "create table deletion_decisions (
            kind text not null check (kind in ('user', 'organization')),
            subject text not null,
            covers_until {time} not null,
            actor text not null,
            decided_at {time} not null,
            primary key (kind, subject)
        )",
        "create index deletion_decisions_subject on deletion_decisions (subject)",
        "insert into deletion_decisions (kind, subject, covers_until, actor, decided_at)
            select 'user', i.subject, max(coalesce(i.occurred_at, i.received_at)), 'operator',
                    max(coalesce(i.finished_at, i.received_at))
                from inbox i join subjects s on s.kind = 'user' and s.key = i.subject and not s.deleted
                where i.state = 'discarded' and i.event_type = 'user.deleted'
                group by i.subject",
    ],
    down: &[
        "drop table deletion_decisions",
        "alter table subjects drop column absent_at",
        "alter table subjects drop column absent_version",
    ],
};
