//! Invariants of everything that reads untrusted bytes. Each `check` takes any bytes and panics where one is broken.
//!
//! The fuzz targets search for such bytes; `tests/it/invariants.rs` checks the same in the normal test run. What is
//! compared with has been written independently of the product: [`reference`], `svix`, `serde_json`.

pub mod config;
pub mod envelope;
pub mod frame;
pub mod json;
pub mod mutate;
pub mod reference;
pub mod signature;
pub mod token;
