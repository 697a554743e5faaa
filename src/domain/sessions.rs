//! **session.ended / removed / revoked**: the session is refused from now on, and whoever uses it is let go.

use crate::json::json;

use super::{
    Event, Outcome,
    plan::{Fold, Revoked},
};

/// Takes note of the end of a session, and tells it to whoever serves the person.
pub(super) fn ended(fold: &mut Fold<'_>, event: &Event, session_id: &str, clerk_id: &str) -> Outcome {
    fold.plan.revoked.push(Revoked { session_id: session_id.to_owned(), clerk_id: clerk_id.to_owned() });
    fold.tell_session(event, clerk_id, json!({"session_id": session_id, "clerk_id": clerk_id}));
    Outcome::done("updated")
}
