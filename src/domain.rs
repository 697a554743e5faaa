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
//! | [`emails`] | primary address, normal form, and who blocks an address |
//! | [`identities`] | whose a federated identity is |
//! | [`roles`], [`settings`], [`status`], [`names`] | columns that are functions of the newest snapshot |
//! | [`deletion`] | what is left of a deleted person |
//! | [`users`] | one event of a person, judged |

pub mod account;
pub mod deletion;
pub mod effects;
pub mod emails;
pub mod entry;
pub mod event;
pub mod facts;
pub mod identities;
pub mod names;
pub mod outcome;
pub mod plan;
pub mod policy;
#[cfg(test)]
mod properties;
pub mod roles;
pub mod settings;
pub mod status;
pub mod user;
pub mod users;
pub mod validate;
pub mod version;
pub mod view;
pub mod world;

pub use account::Account;
pub use event::{Change, Event};
pub use outcome::{Outcome, State};
pub use plan::{Plan, plan};
pub use policy::Policy;
pub use user::User;
pub use version::Version;
pub use world::World;
