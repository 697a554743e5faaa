//! What hangs on a person: profile, settings, metadata, addresses, identities, roles. Only what changed is written;
//! of a deleted person everything is removed.

use sea_orm::{ConnectionTrait, DbErr};

use crate::{
    clock::Clock,
    db::{Cell, Col, Rows, Stmt, Type},
    domain::{Account, plan::Changed, user::Identity},
    json::Object,
};

const ID: [Col; 1] = [Col("id", Type::Id)];
const PROFILE: [Col; 6] = [
    Col("id", Type::Id),
    Col("has_image", Type::Bool),
    Col("phone_numbers", Type::Json),
    Col("web3_wallets", Type::Json),
    Col("legal_accepted_at", Type::Time),
    Col("rev", Type::Int),
];
const SETTINGS: [Col; 4] =
    [Col("id", Type::Id), Col("settings", Type::Json), Col("mapped", Type::TextJson), Col("rev", Type::Int)];
const METADATA: [Col; 5] = [
    Col("id", Type::Id),
    Col("public_metadata", Type::TextJson),
    Col("private_metadata", Type::TextJson),
    Col("unsafe_metadata", Type::TextJson),
    Col("rev", Type::Int),
];
const ADDRESS: [Col; 5] = [
    Col("id", Type::Id),
    Col("normalised", Type::Text),
    Col("email_address", Type::Text),
    Col("verified", Type::Bool),
    Col("is_primary", Type::Bool),
];
const IDENTITY: [Col; 5] = [
    Col("id", Type::Id),
    Col("provider", Type::Text),
    Col("connection", Type::Text),
    Col("subject", Type::Text),
    Col("current", Type::Bool),
];
const ROLE: [Col; 2] = [Col("id", Type::Id), Col("name", Type::Text)];

/// Rows to write, gathered over the batch.
struct Sides {
    emptied: Rows,
    profiles: Rows,
    settings: Rows,
    metadata: Rows,
    addresses: (Rows, Rows),
    identities: (Rows, Rows),
    roles: (Rows, Rows),
    role_names: std::collections::BTreeSet<String>,
}

pub(super) async fn accounts(tx: &impl ConnectionTrait, accounts: &[Changed], clock: &Clock) -> Result<(), DbErr> {
    let mut sides = Sides {
        emptied: Rows::new(&ID),
        profiles: Rows::new(&PROFILE),
        settings: Rows::new(&SETTINGS),
        metadata: Rows::new(&METADATA),
        addresses: (Rows::new(&ADDRESS), Rows::new(&ADDRESS)),
        identities: (Rows::new(&IDENTITY), Rows::new(&IDENTITY)),
        roles: (Rows::new(&ROLE), Rows::new(&ROLE)),
        role_names: Default::default(),
    };
    for Changed { before, after } in accounts {
        let before = before.as_deref().filter(|row| row.is_live());
        match (before, after.is_live()) {
            (Some(_), false) => sides.emptied.push(vec![Cell::Id(after.id)]),
            (None, false) => {}
            (before, true) => sides.gather(before, after),
        }
    }
    sides.write(tx, clock).await
}

fn identity_row(id: &Cell, identity: &Identity, current: Cell) -> Vec<Cell> {
    let Identity { provider, connection, subject } = identity;
    vec![id.clone(), provider.as_str().into(), connection.as_str().into(), subject.as_str().into(), current]
}

fn metadata(row: &Account) -> (&Object, &Object, &Object) {
    (&row.public_metadata, &row.private_metadata, &row.unsafe_metadata)
}

impl Sides {
    fn gather(&mut self, before: Option<&Account>, after: &Account) {
        let (id, rev) = (Cell::Id(after.id), Cell::Int(after.rev));
        if before.is_none_or(|row| row.profile != after.profile) {
            let profile = &after.profile;
            let (phones, wallets) = (Cell::from(&profile.phone_numbers), Cell::from(&profile.web3_wallets));
            self.profiles.push(vec![
                id.clone(),
                profile.has_image.into(),
                phones,
                wallets,
                profile.legal_accepted_at.into(),
                rev.clone(),
            ]);
        }
        if before.is_none_or(|row| row.mapped_settings != after.mapped_settings) {
            self.settings.push(vec![
                id.clone(),
                Cell::from(&after.settings),
                Cell::from(&after.mapped_settings),
                rev.clone(),
            ]);
        }
        let (public, private, r#unsafe) = metadata(after);
        if before.is_none_or(|row| metadata(row) != (public, private, r#unsafe)) {
            self.metadata.push(vec![id, Cell::from(public), Cell::from(private), Cell::from(r#unsafe), rev]);
        }
        self.gather_sets(before, after);
    }

    fn gather_sets(&mut self, before: Option<&Account>, after: &Account) {
        let id = Cell::Id(after.id);
        for (normalised, address) in &after.addresses {
            if before.is_none_or(|row| row.addresses.get(normalised) != Some(address)) {
                let (given, verified, primary) = (address.email_address.as_str(), address.verified, address.primary);
                self.addresses.0.push(vec![
                    id.clone(),
                    normalised.as_str().into(),
                    given.into(),
                    verified.into(),
                    primary.into(),
                ]);
            }
        }
        for (identity, current) in &after.identities {
            if before.is_none_or(|row| row.identities.get(identity) != Some(current)) {
                self.identities.0.push(identity_row(&id, identity, (*current).into()));
            }
        }
        for role in after.roles.iter().filter(|role| before.is_none_or(|row| !row.roles.contains(*role))) {
            self.roles.0.push(vec![id.clone(), role.as_str().into()]);
            self.role_names.insert(role.clone());
        }
        let Some(before) = before else { return };
        for normalised in before.addresses.keys().filter(|key| !after.addresses.contains_key(*key)) {
            self.addresses.1.push(vec![id.clone(), normalised.as_str().into(), Cell::Null, Cell::Null, Cell::Null]);
        }
        for identity in before.identities.keys().filter(|key| !after.identities.contains_key(*key)) {
            self.identities.1.push(identity_row(&id, identity, Cell::Null));
        }
        for role in before.roles.iter().filter(|role| !after.roles.contains(*role)) {
            self.roles.1.push(vec![id.clone(), role.as_str().into()]);
        }
    }

    async fn write(self, tx: &impl ConnectionTrait, clock: &Clock) -> Result<(), DbErr> {
        let run = async |head: &'static str, rows: Rows, tail: &str| match rows.is_empty() {
            true => Ok(0),
            false => Stmt::new(tx, head).rows(rows).sql(tail).exec(tx).await,
        };
        for table in [
            "delete from clerk_sync.user_profiles where user_id in (select id from ",
            "delete from clerk_sync.user_settings where user_id in (select id from ",
            "delete from clerk_sync.user_metadata where user_id in (select id from ",
            "delete from clerk_sync.email_addresses where user_id in (select id from ",
            "delete from clerk_sync.federated_identities where user_id in (select id from ",
            "delete from clerk_sync.user_roles where user_id in (select id from ",
        ] {
            run(table, self.emptied.clone(), ")").await?;
        }
        run("insert into clerk_sync.user_profiles (user_id, has_image, phone_numbers, web3_wallets, legal_accepted_at, rev)
                select id, has_image, phone_numbers, web3_wallets, legal_accepted_at, rev from ", self.profiles,
            " where true on conflict (user_id) do update set has_image = excluded.has_image, phone_numbers = excluded.phone_numbers,
                web3_wallets = excluded.web3_wallets, legal_accepted_at = excluded.legal_accepted_at, rev = excluded.rev").await?;
        // `settings` is written once: a known row keeps its own.
        run(
            "insert into clerk_sync.user_settings (user_id, settings, mapped, rev) select id, settings, mapped, rev from ",
            self.settings,
            " where true on conflict (user_id) do update set mapped = excluded.mapped, rev = excluded.rev",
        )
        .await?;
        run("insert into clerk_sync.user_metadata (user_id, public_metadata, private_metadata, unsafe_metadata, rev)
                select id, public_metadata, private_metadata, unsafe_metadata, rev from ", self.metadata,
            " where true on conflict (user_id) do update set public_metadata = excluded.public_metadata,
                private_metadata = excluded.private_metadata, unsafe_metadata = excluded.unsafe_metadata, rev = excluded.rev").await?;
        run(
            "delete from clerk_sync.email_addresses where (user_id, normalised) in (select id, normalised from ",
            self.addresses.1,
            ")",
        )
        .await?;
        run(
            "insert into clerk_sync.email_addresses (user_id, normalised, email_address, verified, \"primary\")
                select id, normalised, email_address, verified, is_primary from ",
            self.addresses.0,
            " where true on conflict (user_id, normalised) do update set email_address = excluded.email_address,
                verified = excluded.verified, \"primary\" = excluded.\"primary\"",
        )
        .await?;
        run(
            "delete from clerk_sync.federated_identities where (user_id, provider, connection, provider_subject_id)
                in (select id, provider, connection, subject from ",
            self.identities.1,
            ")",
        )
        .await?;
        run(
            "insert into clerk_sync.federated_identities (user_id, provider, connection, provider_subject_id, current)
                select id, provider, connection, subject, current from ",
            self.identities.0,
            " where true on conflict (user_id, provider, connection, provider_subject_id)
                do update set current = excluded.current",
        )
        .await?;
        let mut names = Rows::new(&ROLE);
        self.role_names.into_iter().for_each(|name| names.push(vec![Cell::Id(clock.new_id()), Cell::Text(name)]));
        run(
            "insert into clerk_sync.roles (id, name) select id, name from ",
            names,
            " where true on conflict (name) do nothing",
        )
        .await?;
        run("delete from clerk_sync.user_roles where source = 'clerk' and (user_id, role_id) in (select r.id, o.id from clerk_sync.roles o join ",
            self.roles.1, " on o.name = r.name)").await?;
        run(
            "insert into clerk_sync.user_roles (user_id, role_id, source) select r.id, o.id, 'clerk' from clerk_sync.roles o join ",
            self.roles.0,
            " on o.name = r.name where true on conflict do nothing",
        )
        .await?;
        Ok(())
    }
}
