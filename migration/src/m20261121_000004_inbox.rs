//! `inbox`: the durable receipt. Every partial index answers one question of the loop
//! ("what is due", "whose lease ran out", "who waits for this subject") at a cost that
//! does not grow with what is already done.
use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261121_000004_inbox",
    up: &[
        "create table inbox (
            seq {serial},
            svix_id text not null unique,
            event_type text not null,
            subject text,
            user_ids {text_json} not null,
            body {bytes},
            instance_id text,
            occurred_at {time},
            received_at {time} not null,
            state text not null default 'pending' check (state in ('pending', 'running', 'done', 'skipped',
                'rejected', 'conflict', 'waiting', 'held', 'dead', 'discarded')),
            outcome text,
            reason text,
            attempts {int} not null default 0,
            available_at {time} not null,
            awaits text,
            awaits_too text,
            claim text,
            traceparent text,
            origin text not null default 'webhook',
            duration_us {int},
            finished_at {time}
        )",
        // Bodies out of line and lightly compressed: the row is updated twice, its body never.
        "pg:alter table inbox alter column body set storage external",
        "pg:alter table inbox set (toast_tuple_target = 256, fillfactor = 70)",
        "create index inbox_pending on inbox (available_at, seq) where state = 'pending'",
        "create index inbox_running on inbox (available_at) where state = 'running'",
        "create index inbox_awaits on inbox (awaits) where awaits is not null",
        "create index inbox_awaits_too on inbox (awaits_too) where awaits_too is not null",
        "create index inbox_parked on inbox (subject) where state in ('rejected', 'conflict', 'waiting', 'held')",
        "create index inbox_subject on inbox (subject, seq)",
    ],
    down: &["drop table inbox"],
};
