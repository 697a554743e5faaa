//! Addresses in `conflicts` and `conflict_decisions` rewritten into the present normal form, in chunks along the key.
//!
//! Only the former form is stored there. What was given is looked up among the addresses of the two users; where it is
//! not found, the former form itself is put into the present one.

use std::collections::{BTreeSet, HashMap, HashSet};

use sea_orm_migration::sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement, Value};

use crate::{
    addresses::NOT_ASCII,
    normal_form::{former, present},
    values::{Kind, values},
};

/// Rows read and rewritten together.
const CHUNK: usize = 500;

/// One of the two tables.
#[derive(Debug)]
pub(crate) struct Table {
    name: &'static str,
    /// The columns of the two users' Clerk ids.
    users: [&'static str; 2],
    /// What is unique beside the first user and the address, among the rows of which `unique` is true.
    with: &'static str,
    unique: &'static str,
    /// Of rows that become one the latest stays.
    at: &'static str,
}

pub(crate) const CONFLICTS: Table = Table {
    name: "conflicts",
    users: ["clerk_id", "other_clerk_id"],
    with: "''",
    unique: "state = 'open'",
    at: "opened_at",
};
pub(crate) const DECISIONS: Table = Table {
    name: "conflict_decisions",
    users: ["newcomer", "older"],
    with: "older",
    unique: "1 = 1",
    at: "decided_at",
};

struct Row {
    id: String,
    users: [String; 2],
    with: String,
    address: String,
    unique: bool,
    at: String,
}

impl Row {
    fn read(row: &QueryResult) -> Result<Self, DbErr> {
        Ok(Self {
            id: row.try_get("", "id")?,
            users: [row.try_get("", "one")?, row.try_get("", "two")?],
            with: row.try_get("", "beside")?,
            address: row.try_get("", "address")?,
            unique: row.try_get("", "is_unique")?,
            at: row.try_get("", "at")?,
        })
    }

    fn key(&self) -> [String; 3] {
        [self.users[0].clone(), self.with.clone(), self.address.clone()]
    }
}

/// Rewrites the addresses of a table.
pub(crate) async fn rewrite(db: &impl ConnectionTrait, table: &Table) -> Result<(), DbErr> {
    let backend = db.get_database_backend();
    let Table { name, users: [one, two], with, unique, at } = table;
    let columns = format!(
        "select cast(id as text) as id, {one} as one, {two} as two, {with} as beside, address, ({unique}) as is_unique,
            cast({at} as text) as at from {name}"
    );
    let after = Kind::Id.parameter(backend, 1);
    let select =
        format!("{columns} where octet_length(address) <> length(address) and id > {after} order by id limit {CHUNK}");
    let mut last = "00000000-0000-0000-0000-000000000000".to_owned();
    loop {
        let found = db.query_all_raw(Statement::from_sql_and_values(backend, &select, [last.clone().into()])).await?;
        let mut rows = found.iter().map(Row::read).collect::<Result<Vec<_>, _>>()?;
        let read = rows.len();
        if let Some(row) = rows.last() {
            last.clone_from(&row.id);
        }
        let given = forms_of(db, rows.iter().flat_map(|row| &row.users).cloned().collect()).await?;
        rows.retain_mut(|row| {
            let known = row.users.iter().rev().find_map(|user| given.get(&(user.clone(), row.address.clone())));
            let form = known.cloned().unwrap_or_else(|| present(&row.address));
            let changed = form != row.address;
            row.address = form;
            changed
        });
        write(db, table, &columns, rows).await?;
        if read < CHUNK {
            return Ok(());
        }
    }
}

/// The present forms of these users' addresses, by Clerk id and former form.
async fn forms_of(
    db: &impl ConnectionTrait,
    users: BTreeSet<String>,
) -> Result<HashMap<(String, String), String>, DbErr> {
    let mut forms = HashMap::new();
    if users.is_empty() {
        return Ok(forms);
    }
    let backend = db.get_database_backend();
    let (rows, parameters) = values(backend, [Kind::Text], users.into_iter().map(|user| [user.into()]));
    let select = format!(
        "select u.clerk_id, e.email_address from users u join email_addresses e on e.user_id = u.id
            where u.clerk_id in (select column1 from {rows}) and {NOT_ASCII}"
    );
    for row in db.query_all_raw(Statement::from_sql_and_values(backend, select, parameters)).await? {
        let (user, given): (String, String) = (row.try_get("", "clerk_id")?, row.try_get("", "email_address")?);
        forms.insert((user, former(&given)), present(&given));
    }
    Ok(forms)
}

async fn write(db: &impl ConnectionTrait, table: &Table, columns: &str, changed: Vec<Row>) -> Result<(), DbErr> {
    if changed.is_empty() {
        return Ok(());
    }
    let backend = db.get_database_backend();
    let Table { name, users: [one, _], with, unique, .. } = table;
    let keys: Vec<[Value; 3]> = changed.iter().map(|row| row.key().map(Value::from)).collect();
    let (rows, parameters) = values(backend, [Kind::Text, Kind::Text, Kind::Text], keys);
    let twins = format!(
        "{columns} where {unique} and ({one}, {with}, address) in (select column1, column2, column3 from {rows})"
    );
    let twins = db.query_all_raw(Statement::from_sql_and_values(backend, twins, parameters)).await?;
    let twins = twins.iter().map(Row::read).collect::<Result<Vec<_>, _>>()?;
    let mut latest: HashMap<[String; 3], (String, String)> = HashMap::new();
    let mut merged: Vec<[Value; 1]> = Vec::new();
    for row in twins.iter().chain(&changed).filter(|row| row.unique) {
        let this = (row.at.clone(), row.id.clone());
        let gone = match latest.get_mut(&row.key()) {
            Some(known) if *known < this => Some(std::mem::replace(known, this)),
            Some(_) => Some(this),
            None => {
                latest.insert(row.key(), this);
                None
            }
        };
        merged.extend(gone.map(|(_, id)| [id.into()]));
    }
    if !merged.is_empty() {
        let (rows, parameters) = values(backend, [Kind::Id], merged);
        let delete = format!("delete from {name} where id in (select column1 from {rows})");
        db.execute_raw(Statement::from_sql_and_values(backend, delete, parameters)).await?;
    }
    let stay: HashSet<&String> = latest.values().map(|(_, id)| id).collect();
    let stay = changed.iter().filter(|row| !row.unique || stay.contains(&row.id));
    let stay: Vec<[Value; 2]> = stay.map(|row| [row.id.clone().into(), row.address.clone().into()]).collect();
    if stay.is_empty() {
        return Ok(());
    }
    let (rows, parameters) = values(backend, [Kind::Id, Kind::Text], stay);
    let update = format!("update {name} set address = v.column2 from {rows} where {name}.id = v.column1");
    db.execute_raw(Statement::from_sql_and_values(backend, update, parameters)).await.map(drop)
}
