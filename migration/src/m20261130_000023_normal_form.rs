//! Addresses in the normal form that DNS and mail hosts agree with.
//!
//! Only those that are not ASCII *as given* can differ: of ASCII the former form and the present one are the lower case.
//! (The former form of a Kelvin sign was ASCII, so rows are chosen by what was given.) Rows that become one are merged.
//! Events that are parked for a clash are judged again, since clashes follow the form. Hashes of deleted users' addresses
//! cannot be rewritten; they expire with the relink window.
use sea_orm_migration::{
    MigrationName, MigrationTrait, SchemaManager, async_trait,
    sea_orm::{ConnectionTrait, DbErr},
};

use crate::{
    addresses, clashes,
    normal_form::{former, present},
};

#[derive(Debug)]
pub(crate) struct NormalForm;

impl MigrationName for NormalForm {
    fn name(&self) -> &str {
        "m20261130_000023_normal_form"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for NormalForm {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        addresses::rewrite(db, present).await?;
        clashes::rewrite(db, &clashes::CONFLICTS).await?;
        clashes::rewrite(db, &clashes::DECISIONS).await?;
        judge_again(db).await
    }

    // Conflicts and decisions keep the present form: the former one is not known any more.
    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        addresses::rewrite(db, former).await?;
        judge_again(db).await
    }
}

/// What still clashes is parked again, under the conflict that is open.
async fn judge_again(db: &impl ConnectionTrait) -> Result<(), DbErr> {
    db.execute_unprepared(
        "update inbox set state = 'pending', outcome = null, awaits = null, awaits_too = null, finished_at = null
            where state = 'conflict'",
    )
    .await
    .map(drop)
}
