//! From claimed rows to one committed transaction: decode, validate, load, plan, commit.
//!
//! Claim and decode run in parallel on every replica; load → plan → commit run under the one commit lock. A batch
//! costs a fixed number of statements whatever its size. Nothing here talks to another system.

pub mod batch;
pub mod commit;
pub mod confirm;
pub mod load;
pub mod objects;
pub mod operate;
pub mod oversight;
pub mod raise;
pub mod refresh;
pub mod replay;
pub mod worker;
mod write;
