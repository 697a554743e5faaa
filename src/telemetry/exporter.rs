//! Where this process's counts are kept and how they are shown: the Prometheus text format.
//!
//! The recorder is one a process, by the nature of the `metrics` macros. The first [`Exporter`] becomes it; a later
//! one in the same process (several services in one test) shows every series, at zero.

use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

use super::metrics;

/// From a quick commit to an outage that is worth a page.
const BUCKETS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0];

/// Samples are kept one by one until they are sorted into buckets; that must not wait for a scrape.
const SORT_EVERY: Duration = Duration::from_secs(5);

/// Shows what this process counted. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Exporter(PrometheusHandle);

impl Exporter {
    /// Makes the recorder, with every series in it, and makes it the process's if there is none yet.
    ///
    /// # Errors
    /// Only for buckets that are no buckets.
    pub fn install() -> Result<Self, BuildError> {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &BUCKETS)?
            .build_recorder();
        ::metrics::with_local_recorder(&recorder, metrics::register);
        let handle = recorder.handle();
        if ::metrics::set_global_recorder(recorder).is_err() {
            tracing::debug!("this process counts already; another recorder stays at zero");
        }
        Ok(Self(handle))
    }

    /// The counts as text.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Keeps the samples small until shutdown.
    pub async fn upkeep(self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(SORT_EVERY) => self.0.run_upkeep(),
                () = shutdown.cancelled() => return,
            }
        }
    }
}
