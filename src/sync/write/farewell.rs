//! Rows that go for good: those of returning persons who get their old id back, and, under `hard`, those of the deleted.

use sea_orm::{ConnectionTrait, DbErr};
use uuid::Uuid;

use crate::{
    db::{Cell, Col, Rows, Stmt, Type, is_data_error, refusing_constraint},
    domain::{
        Plan,
        plan::{Alert, Relinked},
    },
};

const PAIR: [Col; 3] = [Col("kept", Type::Id), Col("given_up", Type::Id), Col("clerk_id", Type::Text)];
const ID: [Col; 1] = [Col("id", Type::Id)];

/// Everything that hangs on the newcomer's row moves to the kept one, which then takes the Clerk id. A row of the
/// application's that refers to the newcomer's refuses: a data error.
pub(super) async fn relink(tx: &impl ConnectionTrait, plan: &Plan) -> Result<(), DbErr> {
    let mut rows = Rows::new(&PAIR);
    for Relinked { kept, given_up } in &plan.relinked {
        let owner = plan.accounts.iter().find(|change| change.after.id == *kept);
        let clerk_id = owner.map(|change| change.after.clerk_id.as_str());
        rows.push(vec![Cell::Id(*kept), Cell::Id(*given_up), clerk_id.into()]);
    }
    if rows.is_empty() {
        return Ok(());
    }
    for (update, tail) in [
        ("update clerk_sync.organization_memberships set user_id = r.kept from ", " where user_id = r.given_up"),
        ("update clerk_sync.organizations set owner_id = r.kept from ", " where owner_id = r.given_up"),
        ("update clerk_sync.user_roles set user_id = r.kept from ", " where user_id = r.given_up and source = 'local'"),
        ("delete from clerk_sync.tombstone_addresses where user_id in (select kept from ", ")"),
        ("delete from clerk_sync.users where id in (select given_up from ", ")"),
        ("update clerk_sync.users set clerk_id = r.clerk_id from ", " where users.id = r.kept"),
    ] {
        Stmt::new(tx, update).rows(rows.clone()).sql(tail).exec(tx).await?;
    }
    Ok(())
}

/// Removes the rows of deleted persons, under a savepoint. Where a foreign key of the application's refuses, the emptied
/// row stays; answers an alert for each that does.
pub(super) async fn hard(tx: &impl ConnectionTrait, deleted: &[(Uuid, String)]) -> Result<Vec<Alert>, DbErr> {
    let mut alerts = Vec::new();
    // All at once; only where something refuses, by halves until the one that it refuses is alone.
    let mut todo: Vec<&[(Uuid, String)]> = vec![deleted];
    while let Some(some) = todo.pop().filter(|some| !some.is_empty()) {
        let Some(constraint) = remove(tx, some).await? else { continue };
        if let [(_, clerk_id)] = some {
            let text =
                format!("the row of {clerk_id}, who was deleted, could not be removed: {constraint} refers to it");
            alerts.push(Alert { kind: "deletion.refused", level: "warning", subject: clerk_id.clone(), text });
        } else {
            let (first, second) = some.split_at(some.len() / 2);
            todo.extend([second, first]);
        }
    }
    Ok(alerts)
}

/// Removes these rows or none; answers the name of what refuses.
async fn remove(tx: &impl ConnectionTrait, some: &[(Uuid, String)]) -> Result<Option<String>, DbErr> {
    let is_postgres = tx.get_database_backend() == sea_orm::DbBackend::Postgres;
    if !is_postgres && let Some(referring) = referring(tx, some).await? {
        return Ok(Some(referring));
    }
    let mut rows = Rows::new(&ID);
    some.iter().for_each(|(id, _)| rows.push(vec![Cell::Id(*id)]));
    tx.execute_unprepared("savepoint hard_delete").await?;
    if is_postgres {
        // A constraint that waits for the commit would refuse the whole batch there.
        tx.execute_unprepared("set constraints all immediate").await?;
    }
    match Stmt::new(tx, "delete from clerk_sync.users where id in (select id from ").rows(rows).sql(")").exec(tx).await
    {
        Ok(_) => {
            tx.execute_unprepared("release savepoint hard_delete").await?;
            Ok(None)
        }
        Err(error) if is_data_error(&error) => {
            tx.execute_unprepared("rollback to savepoint hard_delete").await?;
            tx.execute_unprepared("release savepoint hard_delete").await?;
            Ok(Some(refusing_constraint(&error).unwrap_or_else(|| "a foreign key".to_owned())))
        }
        Err(error) => Err(error),
    }
}

/// SQLite has no way to ask a foreign key before the commit that waits for it, and names none that refuses. So the
/// application's own are looked through: the first `table.column` that refers to one of these rows and would not let go.
async fn referring(tx: &impl ConnectionTrait, some: &[(Uuid, String)]) -> Result<Option<String>, DbErr> {
    let keys = Stmt::new(
        tx,
        "select m.name as t, f.\"from\" as c, coalesce(f.\"to\", 'id') as k from sqlite_schema m
            join pragma_foreign_key_list(m.name) f where m.type = 'table' and lower(f.\"table\") = 'users'
            and f.on_delete in ('NO ACTION', 'RESTRICT')",
    );
    for key in keys.all(tx).await? {
        let (table, column, to): (String, String, String) =
            (key.try_get("", "t")?, key.try_get("", "c")?, key.try_get("", "k")?);
        let ids = some.iter().map(|(id, clerk_id)| if to == "clerk_id" { clerk_id.clone() } else { id.to_string() });
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let refers = Stmt::new(tx, "select 1 from ")
            .sql(&format!("{} where {} in (select k from ", quoted(&table), quoted(&column)))
            .rows(Rows::keys(ids))
            .sql(") limit 1");
        if !refers.all(tx).await?.is_empty() {
            return Ok(Some(format!("{table}.{column}")));
        }
    }
    Ok(None)
}
