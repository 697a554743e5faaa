//! What operators see of a running process: metrics and logs. No personal data, no ids in labels.

pub mod logs;
pub mod metrics;
