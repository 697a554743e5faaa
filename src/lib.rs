//! clerk-sync keeps a team's own database in step with Clerk. `ARCHITECTURE.md` tells how; the modules
//! below stand in the order of an event's life, and each uses only what stands before it.

pub mod access;
pub mod api;
pub mod app;
pub mod audit;
pub mod backends;
pub mod clerk;
pub mod clock;
pub mod commands;
pub mod config;
mod console;
pub mod db;
pub mod doctor;
pub mod domain;
pub mod erasure;
pub mod failpoint;
pub mod gateway;
pub mod inbox;
pub mod instance;
pub mod json;
pub mod lease;
pub mod lifecycle;
pub mod meta;
pub mod outbox;
pub mod reconcile;
pub mod sinks;
pub mod sync;
pub mod telemetry;
pub mod upkeep;
pub mod wake;
