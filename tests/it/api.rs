//! HTTP besides the receiver, as its callers meet it: the real service, on SQLite and on Postgres.

mod access;
mod admin;
mod audit;
mod changes;
mod cors;
mod freshness;
mod metrics;
mod organizations;
mod search;
mod stream;
mod users;
