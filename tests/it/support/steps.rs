//! The tables as they were before a migration step.

use clerk_sync::db::{Db, migrate, migrate_down};
use migration::{Migrator, MigratorTrait as _};

/// Takes this step back, and those that came after it.
pub(crate) async fn take_back(db: &Db, step: &str) {
    let steps = Migrator::migrations();
    let at = steps.iter().position(|known| known.name() == step).unwrap();
    migrate_down(db, u32::try_from(steps.len() - at).unwrap()).await.unwrap();
}

/// Applies what is not applied.
pub(crate) async fn apply(db: &Db) {
    migrate(db).await.unwrap();
}
