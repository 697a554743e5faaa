//! What operators list and count: events that need somebody's eye, by state; alerts by their last time.
//! Events that end well never touch the index, so a receipt costs what it did.
use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261121_000008_oversight_lists",
    up: &[
        "create index inbox_states on inbox (state, seq)
            where state in ('rejected', 'conflict', 'waiting', 'held', 'dead', 'discarded')",
        "create index alerts_last on alerts (last_at, id)",
    ],
    down: &["drop index alerts_last", "drop index inbox_states"],
};
