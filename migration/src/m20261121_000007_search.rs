//! Search in the database: one document a user, found by trigrams (FTS5 on SQLite, pg_trgm on Postgres).
use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261121_000007_search",
    up: &[
        "create table search_users (
            doc {serial},
            user_id {id} not null unique,
            rev {int} not null,
            document text not null
        )",
        // Contentless: the text stands once, in search_users; the index knows rows by `doc`.
        "sqlite:create virtual table search_users_fts using fts5 (document, content='', contentless_delete=1, tokenize='trigram')",
        "pg:create extension if not exists pg_trgm",
        "pg:create index search_users_document on search_users using gin (document gin_trgm_ops)",
    ],
    down: &["sqlite:drop table search_users_fts", "drop table search_users"],
};
