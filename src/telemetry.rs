//! What operators see of a running process: metrics and logs. No personal data, no ids in labels.
//!
//! - [`metrics`]: names, and what this process counts
//! - [`exporter`]: where the counts are kept
//! - [`service`]: what is read from the database when somebody asks

pub mod exporter;
pub mod logs;
pub mod metrics;
pub mod service;
