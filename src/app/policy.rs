//! What the rules ask the operator about, from the configuration.

use crate::{
    clock::span,
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
        breaker_window: span(config.deletion.breaker.window),
        holds: true,
        waiting_deadline: span(config.waiting.deadline),
        relink_window: span(config.relink.window),
        hash_key,
        alerts_repeat: span(config.alerts.repeat),
        // Only the parts that can ask Clerk turn it on.
        refresh_clashes: false,
    }
}
