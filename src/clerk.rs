//! What Clerk says: its signatures, its envelopes, its objects. Everything that knows the shape of Clerk's JSON is here.

pub mod api;
pub mod decode;
pub mod envelope;
mod examples;
pub mod fields;
pub mod keys;
mod membership;
pub mod object;
mod organization;
pub mod private;
pub mod signature;
pub mod simulated;
pub mod token;
mod user;
mod walk;
