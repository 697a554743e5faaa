//! The integration tests: one binary, real databases, real HTTP.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod alerts;
mod api;
mod bad_input;
mod browser;
mod cache;
mod commands;
mod deadlines;
mod docs;
mod doctor;
mod endurance;
mod erasure;
mod gateway;
mod histories;
mod house;
mod invariants;
mod lossless;
mod operators;
mod payloads;
mod privacy;
mod reconcile;
mod retention;
mod rules;
mod scale;
mod scenarios;
mod search;
mod simulated;
mod sinks;
mod stream;
mod support;
mod sync;
mod tail;
mod tokens;
