//! The table `users`: new rows inserted whole, known ones updated in the columns that changed and no others.

use std::fmt::Write as _;

use sea_orm::{ConnectionTrait, DbErr};

use crate::{
    db::{Cell, Col, Rows, Stmt, Type},
    domain::{Account, account::Field, plan::Changed},
};

/// Columns in the order of [`cells`]; `id` first.
const COLS: [Col; 24] = [
    Col("id", Type::Id),
    Col("clerk_id", Type::Text),
    Col("status", Type::Text),
    Col("external_id", Type::Text),
    Col("username", Type::Text),
    Col("first_name", Type::Text),
    Col("last_name", Type::Text),
    Col("display_name", Type::Text),
    Col("email", Type::Text),
    Col("email_verified", Type::Bool),
    Col("phone", Type::Text),
    Col("image_url", Type::Text),
    Col("locale", Type::Text),
    Col("password_enabled", Type::Bool),
    Col("two_factor_enabled", Type::Bool),
    Col("last_sign_in_at", Type::Time),
    Col("clerk_created_at", Type::Time),
    Col("clerk_updated_at", Type::Time),
    Col("deletion_held_at", Type::Time),
    Col("deleted_at", Type::Time),
    Col("created_at", Type::Time),
    Col("updated_at", Type::Time),
    Col("rev", Type::Int),
    Col("version", Type::Text),
];

/// The same with `mask`, whose bit i says that column i changed.
const MASKED: [Col; 25] = {
    let mut cols = [Col("mask", Type::Int); 25];
    let mut index = 0;
    while index < COLS.len() {
        cols[index] = COLS[index];
        index += 1;
    }
    cols
};

fn cells(account: &Account) -> Vec<Cell> {
    let mut cells: Vec<Cell> =
        vec![Cell::Id(account.id), account.clerk_id.as_str().into(), account.status.as_str().into()];
    cells.extend(account.columns.iter().map(|field| match field {
        Field::Text(text) => text.clone().into(),
        Field::Bool(bool) => Cell::Bool(*bool),
        Field::Time(time) => (*time).into(),
    }));
    cells.extend([
        account.deletion_held_at.into(),
        account.deleted_at.into(),
        Cell::Time(account.created_at),
        Cell::Time(account.updated_at),
        Cell::Int(account.rev),
        account.version.as_ref().map(|version| version.as_str()).into(),
    ]);
    cells
}

pub(super) async fn accounts(tx: &impl ConnectionTrait, accounts: &[Changed]) -> Result<(), DbErr> {
    let (mut new, mut known) = (Rows::new(&COLS), Rows::new(&MASKED));
    for Changed { before, after } in accounts {
        let cells = cells(after);
        match before {
            None => new.push(cells),
            Some(before) => known.push(masked(self::cells(before), cells)),
        }
    }
    if !new.is_empty() {
        let names = COLS.map(|Col(name, _)| name).join(", ");
        let insert =
            Stmt::new(tx, "insert into clerk_sync.users (").sql(&names).sql(") select ").sql(&names).sql(" from ");
        insert.rows(new).exec(tx).await?;
    }
    if !known.is_empty() {
        let mut set = String::new();
        for (index, Col(name, _)) in COLS.iter().enumerate().skip(1) {
            let comma = if index > 1 { ", " } else { "" };
            let bit = 1_i64 << index;
            let _ = write!(set, "{comma}{name} = case when (r.mask & {bit}) <> 0 then r.{name} else users.{name} end");
        }
        let update = Stmt::new(tx, "update clerk_sync.users set ").sql(&set).sql(" from ").rows(known);
        update.sql(" where users.id = r.id").exec(tx).await?;
    }
    Ok(())
}

/// Only what changed travels; the rest is null and not looked at.
fn masked(before: Vec<Cell>, after: Vec<Cell>) -> Vec<Cell> {
    let mut mask = 0_i64;
    let mut row: Vec<Cell> = Vec::with_capacity(MASKED.len());
    for (index, (old, new)) in before.into_iter().zip(after).enumerate() {
        let changed = old != new;
        mask |= i64::from(changed) << index;
        row.push(if changed || index == 0 { new } else { Cell::Null });
    }
    row.push(Cell::Int(mask));
    row
}
