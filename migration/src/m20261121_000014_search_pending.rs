//! New documents go to a short list first and into the trigram index many at a time: a third of the work. Every search
//! reads that list too, so it is kept to 16 pages.
use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261121_000014_search_pending",
    up: &["pg:alter index search_users_document set (fastupdate = on, gin_pending_list_limit = 128)"],
    down: &[
        "pg:alter index search_users_document set (fastupdate = off)",
        "pg:alter index search_users_document reset (gin_pending_list_limit)",
    ],
};
