//! The seams with two real implementations each. What stands behind a seam behaves the same: one conformance
//! suite a seam runs over both.

pub mod cache;
pub mod link;
pub mod mailer;
pub mod search;
