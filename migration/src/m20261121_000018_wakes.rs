//! How far a parent's waiting rows have been woken: each is looked at once, also where it goes on waiting for another.
use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261121_000018_wakes",
    up: &["alter table wakes add column woken_to {int} not null default 0"],
    down: &["alter table wakes drop column woken_to"],
};
