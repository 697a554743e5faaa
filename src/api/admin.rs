//! `/v1/admin`: what operators look at and do. The admin token only.

mod alerts;
mod audit;
mod conflicts;
mod deletions;
mod events;
mod runs;
mod stats;

use axum::{
    Router,
    routing::{get, post},
};

use super::{ApiState, problem::Problem};
use crate::{
    domain::operators::Action,
    sync::operate::{OperateError, Operator},
};

/// The routes of this resource.
pub(super) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/v1/admin/events", get(events::list))
        .route("/v1/admin/events/{svix_id}", get(events::show))
        .route("/v1/admin/events/{svix_id}/retry", post(events::retry))
        .route("/v1/admin/events/{svix_id}/discard", post(events::discard))
        .route("/v1/admin/conflicts", get(conflicts::list))
        .route("/v1/admin/conflicts/{id}/resolve", post(conflicts::resolve))
        .route("/v1/admin/deletions", get(deletions::list))
        .route("/v1/admin/deletions/{id}/release", post(deletions::release))
        .route("/v1/admin/deletions/{id}/cancel", post(deletions::cancel))
        .route("/v1/admin/relink", post(deletions::relink))
        .route("/v1/admin/alerts", get(alerts::list))
        .route("/v1/admin/audit", get(audit::list))
        .route("/v1/admin/runs", get(runs::list))
        .route("/v1/admin/stats", get(stats::show))
}

impl ApiState {
    /// The admin, at work on people.
    fn operator(&self) -> Operator<'_> {
        Operator { db: &self.db, policy: &self.policy, clock: &self.clock, name: "admin" }
    }

    /// Does what an operator says.
    async fn operate(&self, action: Action) -> Result<(), Problem> {
        self.operator().act(action).await?;
        self.woken();
        Ok(())
    }

    /// The change feed may have grown and parked events may be due.
    fn woken(&self) {
        self.signals.outbox.wake();
        self.signals.inbox.wake();
    }
}

impl From<OperateError> for Problem {
    fn from(error: OperateError) -> Self {
        match error {
            OperateError::Condition(why) => Self::condition(why),
            OperateError::Database(error) => error.into(),
        }
    }
}
