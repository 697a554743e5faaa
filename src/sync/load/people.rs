//! People as the rows show them, with everything that hangs on them: four statements, however many.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use entity::{Id, JsonText, email_addresses, federated_identities, users};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult, QueryResult};
use uuid::Uuid;

use crate::{
    db::{Cell, Col, Rows, Stmt, Type},
    domain::{
        Account, Version,
        account::{Field, Profile},
        emails::Address,
        status::Status,
        user::Identity,
    },
    json::Value,
};

/// The accounts of these Clerk ids, as the rows show them, in the order of the ids. Four statements, however many.
///
/// # Errors
/// What the database says.
pub async fn accounts(db: &impl ConnectionTrait, ids: &BTreeSet<String>) -> Result<Vec<Account>, DbErr> {
    let mut found: Vec<Account> = rows(db, Key::ClerkId, Rows::keys(ids)).await?.into_values().collect();
    found.sort_by(|a, b| a.clerk_id.cmp(&b.clerk_id));
    Ok(found)
}

/// The same by our own ids, in the order in which they are given.
///
/// # Errors
/// What the database says.
pub async fn accounts_by_id(db: &impl ConnectionTrait, ids: &[Uuid]) -> Result<Vec<Account>, DbErr> {
    let mut keys = Rows::new(&[Col("k", Type::Id)]);
    ids.iter().for_each(|id| keys.push(vec![Cell::Id(*id)]));
    let mut found = rows(db, Key::Id, keys).await?;
    Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
}

/// The column of `users` by which people are found.
#[derive(Debug, Clone, Copy)]
enum Key {
    ClerkId,
    Id,
}

impl Key {
    fn join(self) -> &'static str {
        match self {
            Self::ClerkId => " join clerk_sync.users u on u.clerk_id = r.k",
            Self::Id => " join clerk_sync.users u on u.id = r.k",
        }
    }
}

/// People and everything that hangs on them, by our id.
async fn rows(tx: &impl ConnectionTrait, key: Key, keys: Rows) -> Result<HashMap<Uuid, Account>, DbErr> {
    let found = Stmt::new(
        tx,
        "select u.*, p.has_image, p.phone_numbers, p.web3_wallets, p.legal_accepted_at, s.settings, s.mapped,
            m.public_metadata, m.private_metadata, m.unsafe_metadata from ",
    )
    .rows(keys.clone())
    .sql(key.join())
    .sql(
        " left join clerk_sync.user_profiles p on p.user_id = u.id
            left join clerk_sync.user_settings s on s.user_id = u.id left join clerk_sync.user_metadata m on m.user_id = u.id",
    )
    .all(tx)
    .await?;
    let mut accounts: HashMap<Uuid, Account> = HashMap::with_capacity(found.len());
    if found.is_empty() {
        return Ok(accounts);
    }
    for row in &found {
        let account = account(row)?;
        accounts.insert(account.id, account);
    }
    let addresses: Vec<email_addresses::Model> = Stmt::new(tx, "select e.* from ")
        .rows(keys.clone())
        .sql(key.join())
        .sql(" join clerk_sync.email_addresses e on e.user_id = u.id")
        .all_as(tx)
        .await?;
    for row in addresses {
        let address = Address { email_address: row.email_address, verified: row.verified, primary: row.primary };
        accounts.entry(row.user_id.0).and_modify(|account| drop(account.addresses.insert(row.normalised, address)));
    }
    let identities: Vec<federated_identities::Model> = Stmt::new(tx, "select f.* from ")
        .rows(keys.clone())
        .sql(key.join())
        .sql(" join clerk_sync.federated_identities f on f.user_id = u.id")
        .all_as(tx)
        .await?;
    for row in identities {
        let (provider, connection) = (row.provider, row.connection);
        let identity = Identity { provider, connection, subject: row.provider_subject_id };
        accounts.entry(row.user_id.0).and_modify(|account| _ = account.identities.insert(identity, row.current));
    }
    let roles = Stmt::new(tx, "select ur.user_id, ur.source, o.name from ")
        .rows(keys)
        .sql(key.join())
        .sql(" join clerk_sync.user_roles ur on ur.user_id = u.id join clerk_sync.roles o on o.id = ur.role_id")
        .all(tx)
        .await?;
    for row in &roles {
        let (id, source, name): (Id, String, String) =
            (row.try_get("", "user_id")?, row.try_get("", "source")?, row.try_get("", "name")?);
        accounts.entry(id.0).and_modify(|account| {
            let roles = if source == "clerk" { &mut account.roles } else { &mut account.local_roles };
            roles.insert(name);
        });
    }
    Ok(accounts)
}

fn account(row: &QueryResult) -> Result<Account, DbErr> {
    let user = users::Model::from_query_result(row, "")?;
    let text = |name: &str| row.try_get::<Option<JsonText>>("", name).map(Option::unwrap_or_default);
    let json = |name: &str| text(name).map(|text| Value::stored(&text.0));
    let object = |name: &str| json(name).map(Value::into_object);
    let profile = Profile {
        has_image: row.try_get::<Option<bool>>("", "has_image")?.unwrap_or_default(),
        phone_numbers: json("phone_numbers")?,
        web3_wallets: json("web3_wallets")?,
        legal_accepted_at: row.try_get("", "legal_accepted_at")?,
    };
    Ok(Account {
        id: user.id.0,
        clerk_id: user.clerk_id.unwrap_or_default(),
        status: Status::parse(&user.status).ok_or_else(|| DbErr::Type(format!("users.status {:?}", user.status)))?,
        columns: vec![
            Field::Text(user.external_id),
            Field::Text(user.username),
            Field::Text(user.first_name),
            Field::Text(user.last_name),
            Field::Text(user.display_name),
            Field::Text(user.email),
            Field::Bool(user.email_verified),
            Field::Text(user.phone),
            Field::Text(user.image_url),
            Field::Text(user.locale),
            Field::Bool(user.password_enabled),
            Field::Bool(user.two_factor_enabled),
            Field::Time(user.last_sign_in_at),
            Field::Time(user.clerk_created_at),
            Field::Time(user.clerk_updated_at),
        ],
        profile,
        public_metadata: object("public_metadata")?,
        private_metadata: object("private_metadata")?,
        unsafe_metadata: object("unsafe_metadata")?,
        mapped_settings: object("mapped")?,
        settings: object("settings")?,
        addresses: BTreeMap::new(),
        identities: BTreeMap::new(),
        roles: BTreeSet::new(),
        local_roles: BTreeSet::new(),
        version: user.version.map(Version::stored),
        deletion_held_at: user.deletion_held_at,
        deleted_at: user.deleted_at,
        created_at: user.created_at,
        updated_at: user.updated_at,
        rev: user.rev,
    })
}
