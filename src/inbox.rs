//! The durable receipt: a delivery is a row before Clerk hears of it, and every later state is a state of that row.
//!
//! - [`receive`]: group commit of concurrent receipts
//! - [`due`]: reading due rows, bounded by rows and bytes
//! - [`rescan`]: rows from before bodies were read lexically
//! - [`retry`]: what a failure makes of a row
//! - [`admission`]: people whom the rules of entry refuse
//! - [`list`], [`admin`]: what operators see of rows and may do to them

pub mod admin;
pub mod admission;
pub mod due;
pub mod list;
pub mod receive;
pub mod rescan;
pub mod retry;
