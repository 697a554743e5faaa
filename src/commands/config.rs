//! `clerk-sync config`: what is in force.

use crate::config::{Config, show};

pub(super) fn run(config: &Config) -> bool {
    print!("{}", show(config));
    true
}
