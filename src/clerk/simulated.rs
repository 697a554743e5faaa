//! A simulated Clerk: the endpoints of its Backend API that we use, over a world that can be changed while they are
//! asked. For `dev`, tests and rehearsals; it must not be reachable by others, since it asks for no more than a key.
//!
//! What is known of Clerk's behaviour is kept to; what is not known is refused or withheld, so that a client that gets
//! along here gets along there. Each such choice is named where it is made. Nothing here uses the database.
//!
//! - [`World`]: the people, organisations and memberships, and the webhooks that tell of them; a million seeded people
//!   cost no memory (`seed`, `shelf`, `state`)
//! - [`Issuer`]: the session tokens of its frontends
//! - [`objects`]: whole objects to put into it
//! - [`Modes`]: slowness, failures, limits, changes between requests; and what was asked
//! - [`serve`], [`router`]: the API (`server`, `endpoints`, `people`, `order`, `query`, `errors`, `failures`, `line`)

mod bits;
mod endpoints;
mod errors;
mod failures;
mod ids;
mod issuer;
mod line;
mod modes;
pub mod objects;
mod order;
mod people;
mod query;
mod seed;
mod server;
mod shelf;
mod state;
#[cfg(test)]
mod tests;
mod world;

pub use endpoints::Endpoint;
pub use failures::{Failure, RetryAfter};
pub use ids::Kind;
pub use issuer::Issuer;
pub use modes::{Counts, Modes};
pub use server::{router, serve};
pub use world::{Change, World};

/// The versions that Clerk's API has been published in.
pub const VERSIONS: [&str; 6] = ["2021-02-05", "2024-10-01", "2025-03-12", "2025-04-10", "2025-11-10", "2026-05-12"];

/// The parameter that can stand for the header `Clerk-API-Version`.
const VERSION_PARAM: &str = "__clerk_api_version";
