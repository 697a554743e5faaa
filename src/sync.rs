//! From pending rows to one committed transaction: decode, validate, load, plan, commit.
//!
//! One replica applies at a time ([`leader`]). Reading and decoding of the next batch run while one commits; load → plan →
//! commit run under the one commit lock. A batch
//! costs a fixed number of statements whatever its size. Nothing here talks to another system.

pub mod batch;
pub mod commit;
pub mod confirm;
pub mod leader;
pub mod load;
pub mod objects;
pub mod operate;
pub mod oversight;
pub mod progress;
pub mod raise;
mod reader;
pub mod refresh;
pub mod replay;
pub mod worker;
mod write;
