//! Read-your-event consistency (P12): `min_rev=N`, the lowest seq of the change feed that an answer may be as of.
//!
//! A client that has heard of N from one replica reads from another, whose cache may not have heard of it. With `min_rev`
//! the replica reads the feed up to N first. From then on none of its answers is older: what N made stale in its cache
//! counts as a miss, and the database, which all replicas share, has N.

use std::time::Duration;

use super::{ApiState, params::Params, problem::Problem};

/// The name of the parameter.
pub(super) const MIN_REV: &str = "min_rev";

/// How long a request waits. A seq of this feed is there at once; one of another feed never comes.
const WAIT_MAX: Duration = Duration::from_secs(2);

impl ApiState {
    /// Waits until this process has read the feed up to the `min_rev` of a request, if it has one. Call it once the caller
    /// is known, and before anything is read for them.
    ///
    /// # Errors
    /// 422 where it is not a number; 503 `stale` where the feed does not come as far in time.
    pub(super) async fn reach_min_rev(&self, params: &Params) -> Result<(), Problem> {
        let Some(seq) = params.whole(MIN_REV, 0..=i64::MAX)? else { return Ok(()) };
        if self.tail.reach(seq, WAIT_MAX).await { Ok(()) } else { Err(Problem::stale()) }
    }
}
