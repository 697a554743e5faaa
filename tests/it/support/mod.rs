//! What the tests stand on.

pub(crate) mod cases;
pub(crate) mod chat;
pub(crate) mod clerk;
pub(crate) mod disk;
pub(crate) mod dump;
pub(crate) mod history;
pub(crate) mod issuer;
pub(crate) mod keys;
pub(crate) mod meili;
pub(crate) mod organizations;
pub(crate) mod people;
pub(crate) mod pgbouncer;
pub(crate) mod pooler;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod server;
pub(crate) mod services;
pub(crate) mod smtp;
pub(crate) mod sse;
pub(crate) mod steps;
pub(crate) mod tables;
pub(crate) mod tls;
pub(crate) mod volume;
pub(crate) mod world;
pub(crate) mod ws;
