//! clerk-sync keeps a team's own database in step with Clerk. `ARCHITECTURE.md` tells how; the modules
//! below stand in the order of an event's life, and each uses only what stands before it.

pub mod backends;
pub mod clock;
pub mod config;
pub mod db;
pub mod domain;
