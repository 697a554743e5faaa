//! What can be said of the configuration without asking anybody: what would stop `serve`, and what is left out.

use std::time::Duration;

use crate::{
    backends::mailer::{MailError, Mailer},
    clerk::signature::{SecretError, Verifier},
    clock::Clock,
    config::{self, Config},
    sinks::chat::ChatSink,
};

use super::finding::Finding;

const SECRET: &str = "signing-secret";

/// Of each secret: whether deliveries can be verified with it.
pub(super) fn signing_secret(config: &config::Clerk) -> Vec<Finding> {
    let copy = "Copy the signing secret of the endpoint from Clerk's dashboard (Webhooks) and set \
        CLERK_WEBHOOK_SIGNING_SECRET=whsec_… (several, while one is rotated, separated by commas)";
    let all = config.signing_secret.expose();
    let secrets: Vec<&str> = all.split(',').map(str::trim).filter(|secret| !secret.is_empty()).collect();
    let form = |secret: &str| Verifier::new(secret, Duration::ZERO).err();
    let which = |index: usize| match secrets.len() {
        1 => "the signing secret".to_owned(),
        n => format!("signing secret {} of {n}", index + 1),
    };
    if let Some(index) = secrets.iter().position(|secret| form(secret) == Some(SecretError::Malformed)) {
        let found = format!("{} is not whsec_ and base64", which(index));
        return vec![Finding::fail(SECRET, found, copy)];
    }
    if secrets.is_empty() {
        return vec![Finding::fail(SECRET, "no signing secret is set: no delivery can be accepted", copy)];
    }
    if let Some(index) = secrets.iter().position(|secret| !secret.starts_with("whsec_")) {
        let found = format!("{} does not begin with whsec_, as Clerk's do: is it the right value?", which(index));
        return vec![Finding::warn(SECRET, found, copy)];
    }
    let n = secrets.len();
    vec![Finding::ok(SECRET, if n == 1 { "well formed".to_owned() } else { format!("{n}, all well formed") })]
}

/// Whether anybody may use the admin's routes.
pub(super) fn admin_token(config: &Config) -> Finding {
    match config.api.admin_token.is_empty() {
        true => Finding::note(
            "admin-token",
            "none: nobody can use /v1/admin",
            "Set CLERK_SYNC_ADMIN_TOKEN=$(openssl rand -hex 32), if somebody should",
        ),
        false => Finding::ok("admin-token", "set"),
    }
}

/// Whether anybody hears of an alert.
pub(super) fn alerts(config: &Config, clock: &Clock) -> Vec<Finding> {
    const ALERTS: &str = "alerts";
    let (mail, chat) = (!config.alerts.mail_to.is_empty(), !config.alerts.webhook_url.is_empty());
    if mail && let Err(error) = Mailer::new(&config.alerts, &config.smtp) {
        let remedy = match error {
            MailError::Config { key: "smtp.url", .. } => "Set SMTP_URL=smtp://user:password@host:587",
            _ => "Correct CLERK_SYNC__ALERTS__MAIL_TO and CLERK_SYNC__ALERTS__MAIL_FROM",
        };
        return vec![Finding::fail(ALERTS, format!("{error}; `serve` does not start"), remedy)];
    }
    if chat && let Err(error) = ChatSink::new(&config.alerts, clock.clone()) {
        let remedy = "Set CLERK_SYNC__ALERTS__WEBHOOK_URL to the https:// address that the chat gave you";
        return vec![Finding::fail(ALERTS, format!("{error}; `serve` does not start"), remedy)];
    }
    let found = match (mail, chat) {
        (true, true) => "by mail and chat",
        (true, false) if config.smtp.url.is_empty() => {
            return vec![Finding::note(
                ALERTS,
                "mails are written as files, not sent: smtp.url is not set",
                "Set SMTP_URL=smtp://user:password@host:587",
            )];
        }
        (true, false) => "by mail",
        (false, true) => "by chat",
        (false, false) => {
            return vec![Finding::note(
                ALERTS,
                "nobody is told of them",
                "Set CLERK_SYNC__ALERTS__MAIL_TO (and SMTP_URL), or CLERK_SYNC__ALERTS__WEBHOOK_URL",
            )];
        }
    };
    vec![Finding::ok(ALERTS, found)]
}
