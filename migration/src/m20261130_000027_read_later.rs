//! Bodies that a later version reads are not spent: the index that leads retention to old bodies leaves them out.
use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261130_000027_read_later",
    up: &[
        "drop index inbox_bodies",
        "create index inbox_bodies on inbox (finished_at) where body is not null and state in ('done', 'skipped')
            and event_type not like 'user.merged%' and event_type not like 'role.%' and event_type not like 'permission.%'
            and event_type not like 'organizationDomain.%' and event_type not like 'subscription.%'
            and event_type not like 'subscriptionItem.%' and event_type not like 'paymentAttempt.%'",
    ],
    down: &[
        "drop index inbox_bodies",
        "create index inbox_bodies on inbox (finished_at) where body is not null and state in ('done', 'skipped')",
    ],
};
