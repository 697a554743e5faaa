//! `email_addresses` rewritten into another normal form, in chunks along the key.

use std::collections::BTreeMap;

use sea_orm_migration::sea_orm::{ConnectionTrait, DbErr, Statement, Value};

use crate::values::{Kind, values};

/// Rows read and rewritten together.
const CHUNK: usize = 500;

/// Where ASCII was given there is nothing to rewrite: a character outside it takes more than one byte.
pub(crate) const NOT_ASCII: &str = "octet_length(email_address) <> length(email_address)";

struct Address {
    given: String,
    verified: bool,
    primary: bool,
}

/// Puts every address into `form`. Of one user's rows that become one the result is verified, and primary, if one was.
pub(crate) async fn rewrite(db: &impl ConnectionTrait, form: fn(&str) -> String) -> Result<(), DbErr> {
    let backend = db.get_database_backend();
    let [user, normalised] = [Kind::Id.parameter(backend, 1), Kind::Text.parameter(backend, 2)];
    let select = format!(
        "select cast(user_id as text) as user_id, normalised, email_address, verified, \"primary\" from email_addresses
            where {NOT_ASCII} and (user_id, normalised) > ({user}, {normalised})
            order by user_id, normalised limit {CHUNK}"
    );
    let mut last = ["00000000-0000-0000-0000-000000000000".to_owned(), String::new()];
    loop {
        let after = last.clone().map(Value::from);
        let found = db.query_all_raw(Statement::from_sql_and_values(backend, &select, after)).await?;
        let (mut old, mut new) = (Vec::new(), BTreeMap::<(String, String), Address>::new());
        for row in &found {
            let user: String = row.try_get("", "user_id")?;
            let normalised: String = row.try_get("", "normalised")?;
            let given: String = row.try_get("", "email_address")?;
            let (verified, primary): (bool, bool) = (row.try_get("", "verified")?, row.try_get("", "primary")?);
            last = [user.clone(), normalised.clone()];
            let form = form(&given);
            if form == normalised {
                continue;
            }
            old.push([user.clone(), normalised].map(Value::from));
            let address =
                new.entry((user, form)).or_insert_with(|| Address { given: given.clone(), verified, primary });
            address.verified |= verified;
            if primary {
                address.primary = true;
                address.given = given;
            }
        }
        if !old.is_empty() {
            let (rows, parameters) = values(backend, [Kind::Id, Kind::Text], old);
            let delete = format!(
                "delete from email_addresses where (user_id, normalised) in (select column1, column2 from {rows})"
            );
            db.execute_raw(Statement::from_sql_and_values(backend, delete, parameters)).await?;
            insert(db, new).await?;
        }
        if found.len() < CHUNK {
            return Ok(());
        }
    }
}

async fn insert(db: &impl ConnectionTrait, new: BTreeMap<(String, String), Address>) -> Result<(), DbErr> {
    let backend = db.get_database_backend();
    let kinds = [Kind::Id, Kind::Text, Kind::Text, Kind::Bool, Kind::Bool];
    let new = new.into_iter().map(|((user, form), Address { given, verified, primary })| {
        [user.into(), form.into(), given.into(), verified.into(), primary.into()]
    });
    let (rows, parameters) = values(backend, kinds, new);
    let insert = format!(
        "insert into email_addresses (user_id, normalised, email_address, verified, \"primary\")
            select column1, column2, column3, column4, column5 from {rows} where true
            on conflict (user_id, normalised) do update set verified = email_addresses.verified or excluded.verified,
                \"primary\" = email_addresses.\"primary\" or excluded.\"primary\",
                email_address = case when excluded.\"primary\" then excluded.email_address
                    else email_addresses.email_address end"
    );
    db.execute_raw(Statement::from_sql_and_values(backend, insert, parameters)).await.map(drop)
}
