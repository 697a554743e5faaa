//! Search in the database: one document a user, found by trigrams (FTS5 on SQLite, pg_trgm on Postgres).
//!
//! A rebuild writes a generation of its own beside the live one; the swap changes `live`. An empty document is a
//! deletion: the row only keeps the `rev`. Document texts begin and end every word with two spaces.
use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261121_000007_search",
    up: &[
        "create table search_generations (generation {serial}, live boolean not null)",
        "create unique index search_generations_live on search_generations (live) where live",
        "insert into search_generations (live) values (true)",
        "create table search_users (
            doc {serial},
            generation {int} not null,
            user_id {id} not null,
            rev {int} not null,
            document text not null,
            unique (generation, user_id)
        )",
        // Contentless: the text stands once, in search_users; the index knows rows by `doc`.
        "sqlite:create virtual table search_users_fts using fts5 (
            document, content='', contentless_delete=1, tokenize='trigram case_sensitive 1'
        )",
        "sqlite:create trigger search_users_insert after insert on search_users when new.document <> '' begin
            insert into search_users_fts (rowid, document) values (new.doc, new.document);
        end",
        "sqlite:create trigger search_users_update after update of document on search_users
            when new.document <> old.document begin
            delete from search_users_fts where rowid = old.doc;
            insert into search_users_fts (rowid, document) select new.doc, new.document where new.document <> '';
        end",
        "sqlite:create trigger search_users_delete after delete on search_users when old.document <> '' begin
            delete from search_users_fts where rowid = old.doc;
        end",
        "pg:create extension if not exists pg_trgm",
        // Most changes of a person change no word: room on the page keeps them away from the index.
        "pg:alter table search_users set (fillfactor = 80)",
        // Without the pending list, which every search would have to read through.
        "pg:create index search_users_document on search_users
            using gin (document gin_trgm_ops) with (fastupdate = off)",
    ],
    down: &["sqlite:drop table search_users_fts", "drop table search_users", "drop table search_generations"],
};
