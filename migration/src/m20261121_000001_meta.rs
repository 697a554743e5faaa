//! `meta`: what the database knows about itself (epoch of the change feed, key of the address hashes).
use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261121_000001_meta",
    up: &["create table meta (key text primary key, value text not null)"],
    down: &["drop table meta"],
};
