//! The change feed: rows numbered in commit order by the transaction that causes them (P5). It is the only bus:
//! shared targets are fed from it by leased cursors, and every process that serves clients follows it itself.
//!
//! - [`append`]: written by the commit
//! - [`tail`]: a process's own reading position
//! - [`relay`]: leased cursors of shared sinks, dead letters

pub mod append;
pub mod cursor;
pub mod dead;
pub mod feed;
pub mod relay;
