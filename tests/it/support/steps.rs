//! The tables as they were before a migration step.

use migration::{Migrator, MigratorTrait as _};
use sea_orm::DatabaseConnection;

/// Takes this step back, and those that came after it.
pub(crate) async fn take_back(db: &DatabaseConnection, step: &str) {
    let steps = Migrator::migrations();
    let at = steps.iter().position(|known| known.name() == step).unwrap();
    Migrator::down(db, Some(u32::try_from(steps.len() - at).unwrap())).await.unwrap();
}

/// Applies what is not applied.
pub(crate) async fn apply(db: &DatabaseConnection) {
    Migrator::up(db, None).await.unwrap();
}
