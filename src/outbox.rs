//! The change feed: rows numbered in commit order by the transaction that causes them (P5). It is the only bus:
//! shared targets are fed from it by leased cursors, and every process that serves clients follows it itself.
//!
//! - [`append`]: written by the commit
//! - [`feed`]: rows and frames as readers get them; their JSON is [`lazy`]
//! - [`tail`]: a process's own reading position
//! - [`past`]: a part of it again, for those who were away
//! - [`relay`]: leased cursors of shared sinks, dead letters; [`messages`]: those that send

pub mod append;
pub mod cursor;
pub mod dead;
pub mod feed;
pub mod lazy;
mod messages;
pub mod past;
pub mod relay;
pub mod tail;
