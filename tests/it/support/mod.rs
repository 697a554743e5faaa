//! What the tests stand on.

pub(crate) mod meili;
pub mod services;
