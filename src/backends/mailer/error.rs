//! What can go wrong with a mail. Texts name keys and reply codes, never an address or a server's words.

/// A mail that was not sent, or not to everybody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// A setting cannot be used. Only [`super::Mailer::new`] says so.
    #[error("configuration: {key}: {problem}")]
    Config {
        /// The key, `section.name`.
        key: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Not sent; trying again may help, now or once an operator has acted.
    #[error("{0}")]
    Held(String),
    /// The same mail would be refused again, however often. Recipients who were not refused have it.
    #[error("{0}")]
    Refused(String),
}
