//! The steps that build clerk-sync's tables, up and down, on SQLite and on Postgres.
//!
//! One step a file: a list of statements in a small common dialect (see [`step`]) or, where rows have to be computed,
//! code that reads and writes them in chunks.
//! A step that has landed is never edited: a change is a new step. Nothing here imports
//! `entity`, so that editing an entity cannot rewrite history.

mod addresses;
mod clashes;
mod m20261121_000001_meta;
mod m20261121_000002_users;
mod m20261121_000003_subjects;
mod m20261121_000004_inbox;
mod m20261121_000005_outbox;
mod m20261121_000006_oversight;
mod m20261121_000007_search;
mod m20261121_000008_oversight_lists;
mod m20261121_000009_organizations;
mod m20261121_000010_rules;
mod m20261121_000011_alerts;
mod m20261121_000012_retention;
mod m20261121_000014_search_pending;
mod m20261121_000015_erasure;
mod m20261121_000018_wakes;
mod m20261121_000019_lighter_people;
mod m20261121_000021_runs;
mod m20261130_000022_connections;
mod m20261130_000023_normal_form;
mod m20261130_000024_access_facts;
mod m20261130_000025_name_prefixes;
mod m20261130_000026_lossless_json;
mod m20261130_000027_read_later;
mod m20261201_000030_single_applier;
mod m20261201_000034_absent;
mod normal_form;
mod step;
mod values;

use sea_orm_migration::{MigrationTrait, async_trait};
pub use sea_orm_migration::{MigratorTrait, SchemaManager};

/// The ordered list of steps.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261121_000001_meta::STEP),
            Box::new(m20261121_000002_users::STEP),
            Box::new(m20261121_000003_subjects::STEP),
            Box::new(m20261121_000004_inbox::STEP),
            Box::new(m20261121_000005_outbox::STEP),
            Box::new(m20261121_000006_oversight::STEP),
            Box::new(m20261121_000007_search::STEP),
            Box::new(m20261121_000008_oversight_lists::STEP),
            Box::new(m20261121_000009_organizations::STEP),
            Box::new(m20261121_000010_rules::STEP),
            Box::new(m20261121_000011_alerts::STEP),
            Box::new(m20261121_000012_retention::STEP),
            Box::new(m20261121_000014_search_pending::STEP),
            Box::new(m20261121_000015_erasure::STEP),
            Box::new(m20261121_000018_wakes::STEP),
            Box::new(m20261121_000019_lighter_people::STEP),
            Box::new(m20261121_000021_runs::STEP),
            Box::new(m20261130_000022_connections::STEP),
            Box::new(m20261130_000023_normal_form::NormalForm),
            Box::new(m20261130_000024_access_facts::STEP),
            Box::new(m20261130_000025_name_prefixes::STEP),
            Box::new(m20261130_000026_lossless_json::STEP),
            Box::new(m20261130_000027_read_later::STEP),
            Box::new(m20261201_000030_single_applier::STEP),
            Box::new(m20261201_000034_absent::STEP),
        ]
    }
}
