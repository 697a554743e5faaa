//! Schema qualification: which schema the tables of a statement are in.
//!
//! Statements name every table as `clerk_sync.TABLE`. The configured schema (Postgres) or `main` (SQLite) takes the
//! place of that name when a statement is sent. So no statement depends on a session's `search_path`: a transaction
//! pooler may run it in any session, an application's own `users` is never taken for ours, and no session of ours
//! changes what another application's names mean.

use std::{borrow::Cow, sync::Arc};

/// The schema that statements are written for, and the default of `database.schema`.
const WRITTEN: &str = "clerk_sync";

/// Puts a schema's name into statements. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Schema {
    /// `None` where it is the written one.
    name: Option<Arc<str>>,
}

impl Schema {
    /// Of the configured schema on Postgres.
    pub(super) fn postgres(name: &str) -> Self {
        Self { name: (name != WRITTEN).then(|| name.into()) }
    }

    /// SQLite's name for the tables of the opened file.
    pub(super) fn sqlite() -> Self {
        Self { name: Some("main".into()) }
    }

    /// The name itself.
    pub(super) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(WRITTEN)
    }

    /// The statement with the schema's name in it.
    pub(super) fn qualify<'a>(&self, sql: &'a str) -> Cow<'a, str> {
        let Some(name) = self.name.as_deref().filter(|_| sql.contains(WRITTEN)) else { return sql.into() };
        let mut out = String::with_capacity(sql.len());
        let mut rest = sql;
        while let Some(at) = rest.find(WRITTEN) {
            let (before, after) = (&rest[..at], &rest[at + WRITTEN.len()..]);
            let part_of_a_word = before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
            if let Some(after) = after.strip_prefix("\".").filter(|_| before.ends_with('"')) {
                out.push_str(&before[..before.len() - 1]);
                out.extend([name, "."]);
                rest = after;
            } else if let Some(after) = after.strip_prefix('.').filter(|_| !part_of_a_word) {
                out.push_str(before);
                out.extend([name, "."]);
                rest = after;
            } else {
                out.push_str(&rest[..at + WRITTEN.len()]);
                rest = after;
            }
        }
        out.push_str(rest);
        out.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_gets_the_schema_and_nothing_else_changes() {
        let sql = "select u.id from clerk_sync.users u join \"clerk_sync\".\"roles\" on pg_notify('clerk_sync', '') \
                   where my_clerk_sync.users = clerk_sync_rows";
        assert_eq!(Schema::postgres("clerk_sync").qualify(sql), sql);
        assert_eq!(
            Schema::postgres("other").qualify(sql),
            "select u.id from other.users u join other.\"roles\" on pg_notify('clerk_sync', '') \
                   where my_clerk_sync.users = clerk_sync_rows"
        );
        assert_eq!(Schema::sqlite().qualify("delete from clerk_sync.users"), "delete from main.users");
        assert_eq!(Schema::sqlite().qualify("select 1"), "select 1");
    }
}
