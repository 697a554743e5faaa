//! Tables that name people by an id: what is there is removed, or emptied where the row itself has to stay.

use sea_orm::DbErr;

use crate::db::{Db, Rows, Stmt};

use super::{Departed, clerk_ids, ids};

async fn count(db: &Db, statement: Stmt) -> Result<u64, DbErr> {
    let found = statement.all(&db.read).await?;
    let count: i64 = found.first().map_or(Ok(0), |row| row.try_get("", "n"))?;
    Ok(count.unsigned_abs())
}

/// Rows of `table` for which `which` holds, where `r.k` is one of `keys`: removed, or only counted.
async fn remove(db: &Db, table: &str, which: &str, keys: Rows, erase: bool) -> Result<u64, DbErr> {
    let head = if erase { "delete from clerk_sync." } else { "select count(*) as n from clerk_sync." };
    let connection = if erase { &db.write } else { &db.read };
    let statement = Stmt::new(connection, head).sql(table).sql(" where exists (select 1 from ").rows(keys);
    let statement = statement.sql(" where ").sql(which).sql(")");
    if erase { statement.exec(&db.write).await } else { count(db, statement).await }
}

/// What a deletion should have removed: personal columns of the row, and everything that hung on it.
pub(super) async fn personal(db: &Db, people: &[Departed]) -> Result<u64, DbErr> {
    let mut left = 0;
    let row = "users.id = r.k and coalesce(external_id, username, first_name, last_name, display_name, email, phone, image_url, locale) is not null";
    left += remove(db, "users", row, ids(people), false).await?;
    for (table, which) in [
        ("user_profiles", "user_profiles.user_id = r.k"),
        ("user_settings", "user_settings.user_id = r.k"),
        ("user_metadata", "user_metadata.user_id = r.k"),
        ("email_addresses", "email_addresses.user_id = r.k"),
        ("federated_identities", "federated_identities.user_id = r.k"),
        ("user_roles", "user_roles.user_id = r.k"),
        ("organization_memberships", "organization_memberships.user_id = r.k"),
    ] {
        left += remove(db, table, which, ids(people), false).await?;
    }
    Ok(left)
}

/// That something happened stays; what it was about goes.
pub(super) async fn audit(db: &Db, people: &[Departed], erase: bool) -> Result<u64, DbErr> {
    const WHICH: &str = " where cast(diff as text) <> '{}' and exists (select 1 from ";
    const NAMES: &str = " where audit_log.subject = r.k or audit_log.subject like '%/' || r.k)";
    if erase {
        let update =
            Stmt::new(&db.write, "update clerk_sync.audit_log set diff = '{}'").sql(WHICH).rows(clerk_ids(people));
        return update.sql(NAMES).exec(&db.write).await;
    }
    let find = Stmt::new(&db.read, "select count(*) as n from clerk_sync.audit_log").sql(WHICH).rows(clerk_ids(people));
    count(db, find.sql(NAMES)).await
}

pub(super) async fn dead_letters(db: &Db, people: &[Departed], erase: bool) -> Result<u64, DbErr> {
    let which = "dead_letters.subject = r.k or dead_letters.subject like '%/' || r.k";
    remove(db, "dead_letters", which, clerk_ids(people), erase).await
}

/// The address in it is theirs, on whichever side they stood.
pub(super) async fn conflicts(db: &Db, people: &[Departed], erase: bool) -> Result<u64, DbErr> {
    let which = "conflicts.clerk_id = r.k or conflicts.other_clerk_id = r.k";
    remove(db, "conflicts", which, clerk_ids(people), erase).await
}

pub(super) async fn decisions(db: &Db, people: &[Departed], erase: bool) -> Result<u64, DbErr> {
    let which = "conflict_decisions.newcomer = r.k or conflict_decisions.older = r.k";
    remove(db, "conflict_decisions", which, clerk_ids(people), erase).await
}

pub(super) async fn alerts(db: &Db, people: &[Departed], erase: bool) -> Result<u64, DbErr> {
    let which = match db.backend() {
        sea_orm::DbBackend::Postgres => "alerts.subject = r.k or strpos(alerts.text, r.k) > 0",
        _ => "alerts.subject = r.k or instr(alerts.text, r.k) > 0",
    };
    remove(db, "alerts", which, clerk_ids(people), erase).await
}

/// Without these nobody can be linked to the old id any more.
pub(super) async fn address_hashes(db: &Db, people: &[Departed], erase: bool) -> Result<u64, DbErr> {
    remove(db, "tombstone_addresses", "tombstone_addresses.user_id = r.k", ids(people), erase).await
}

pub(super) async fn sessions(db: &Db, people: &[Departed], erase: bool) -> Result<u64, DbErr> {
    remove(db, "revoked_sessions", "revoked_sessions.clerk_id = r.k", clerk_ids(people), erase).await
}
