//! What we mean by a person, a version, a clash, and the pure rules over them.
//!
//! [`plan`] takes what is stored and a batch of events and answers what to write. It reads no clock,
//! does no I/O and knows neither Clerk's JSON nor the database. Each rule stands in a file of its own:
//!
//! | file | rule |
//! |---|---|
//! | [`version`] | the total order of one subject's snapshots |
//! | [`facts`] | what we know of a subject, which only grows |
//! | [`entry`] | who may enter |
//! | [`normal_form`], [`emails`] | when two addresses are one, which is primary, and who blocks an address |
//! | [`identities`] | whose a federated identity is |
//! | [`roles`], [`settings`], [`status`], [`names`] | columns that are functions of the newest snapshot |
//! | [`deletion`], [`holds`] | what is left of a deleted person, and which deletions wait for an operator |
//! | [`decisions`], [`operators`] | what operators decided about addresses, and do |
//! | [`users`], [`organizations`], [`memberships`], [`sessions`] | one event of each, judged |
//! | [`owners`] | whose an organisation is |

pub mod account;
pub mod decisions;
pub mod deletion;
pub mod diff;
pub mod effects;
pub mod emails;
pub mod entry;
pub mod event;
pub mod facets;
pub mod facts;
pub mod holds;
pub mod identities;
pub mod membership;
mod memberships;
pub mod names;
mod normal_form;
pub mod operators;
pub mod organization;
mod organizations;
pub mod outcome;
mod owners;
pub mod plan;
pub mod policy;
#[cfg(test)]
mod properties;
pub mod roles;
mod sessions;
pub mod settings;
pub mod status;
mod telling;
pub mod user;
pub mod users;
pub mod validate;
pub mod version;
pub mod view;
pub mod world;

pub use account::Account;
pub use event::{Change, Event};
pub use organization::Organization;
pub use outcome::{Outcome, State};
pub use plan::{Plan, plan};
pub use policy::Policy;
pub use user::User;
pub use version::Version;
pub use world::World;
