//! The seams with two real implementations each. What stands behind a seam behaves the same: one conformance
//! suite a seam runs over both. The [`stream`] has one: it is there where Redis is.

pub mod cache;
pub mod link;
pub mod mailer;
pub mod search;
pub mod stream;
