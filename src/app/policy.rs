//! What the rules ask the operator about, from the configuration.

use chrono::Duration;

use crate::{
    config::{self, Config},
    domain::{Policy, policy::SoleAdmin},
};

pub(super) fn of(config: &Config, hash_key: Vec<u8>) -> Policy {
    Policy {
        require_email: config.entry.require_email,
        require_name: config.entry.require_name,
        quiet_fields: config.entry.quiet_fields.iter().cloned().collect(),
        roles_path: config.roles.path.clone(),
        grantable: config.roles.grantable.iter().cloned().collect(),
        default_role: config.roles.default.clone(),
        mapped_settings: config.settings.mapped.clone(),
        default_settings: config
            .settings
            .defaults
            .clone()
            .into_iter()
            .map(|(name, value)| (name, value.into()))
            .collect(),
        admin_roles: config.organizations.admin_roles.iter().cloned().collect(),
        sole_admin: match config.organizations.sole_admin {
            config::SoleAdmin::Transfer => SoleAdmin::Transfer,
            config::SoleAdmin::Hold => SoleAdmin::Hold,
            config::SoleAdmin::Orphan => SoleAdmin::Orphan,
        },
        hard: config.deletion.mode == config::DeletionMode::Hard,
        breaker_max: config.deletion.breaker.max,
        breaker_window: Duration::from_std(config.deletion.breaker.window).unwrap_or(Duration::minutes(10)),
        holds: true,
        waiting_deadline: Duration::from_std(config.waiting.deadline).unwrap_or(Duration::minutes(10)),
        relink_window: Duration::from_std(config.relink.window).unwrap_or(Duration::days(30)),
        hash_key,
        alerts_repeat: Duration::from_std(config.alerts.repeat).unwrap_or(Duration::MAX),
        // Only the parts that can ask Clerk turn it on.
        refresh_clashes: false,
    }
}
