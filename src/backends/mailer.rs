//! The mail seam: plain text to a fixed list of recipients, through an SMTP server or as .eml files in a folder.
//!
//! A mail has an id, made of what it is about and not of when it is sent: the same mail sent
//! again has the same Message-ID, and is the same file. That is what tells a repetition: an SMTP server that took a mail
//! and could not say so gets it again.
//!
//! No header can be made by what a mail says: whatever goes into one is cut to printable text first.

mod error;
mod files;
mod letter;
mod smtp;
mod url;

use std::fmt;

use lettre::{Address, message::Mailbox};

pub use error::MailError;

use self::{files::Files, letter::Text, smtp::Smtp};
use crate::{clock::Time, config};

/// A mail to the configured recipients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The same for the same mail, unlike any other's: letters, digits, dots and hyphens. Holds no personal data: it is a
    /// file's name.
    pub id: String,
    /// One line.
    pub subject: String,
    /// Plain text.
    pub text: String,
    /// When what it tells of happened.
    pub at: Time,
}

/// Sends mails. Cheap to clone.
#[derive(Clone)]
pub struct Mailer {
    from: Mailbox,
    to: Vec<Mailbox>,
    way: Way,
}

#[derive(Clone)]
enum Way {
    Smtp(Smtp),
    Files(Files),
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.way {
            Way::Smtp(_) => "Mailer(SMTP)",
            Way::Files(_) => "Mailer(files)",
        })
    }
}

impl Mailer {
    /// SMTP where `smtp.url` is set, else files under `smtp.folder`. Talks to nobody yet.
    ///
    /// # Errors
    /// [`MailError::Config`] when a setting cannot be used.
    pub fn new(alerts: &config::Alerts, smtp: &config::Smtp) -> Result<Self, MailError> {
        let to = alerts.mail_to.iter().map(|text| mailbox("alerts.mail_to", text)).collect::<Result<_, _>>()?;
        let way = match smtp.url.is_empty() {
            true => Way::Files(Files::new(&smtp.folder)?),
            false => Way::Smtp(Smtp::new(smtp.url.expose())?),
        };
        Ok(Self { from: mailbox("alerts.mail_from", &alerts.mail_from)?, to, way })
    }

    /// Sends one mail. Done when it returns: the server has taken it, or the file is on the disk.
    ///
    /// # Errors
    /// [`MailError::Held`]: nobody is known to have got it; try again. [`MailError::Refused`]: whoever could get it has
    /// got it.
    pub async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        let letter = |how| letter::write(mail, &self.from, &self.to, how);
        match &self.way {
            Way::Smtp(smtp) => {
                let letter = letter(Text::Encoded)?;
                let to: Vec<&Address> = self.to.iter().map(|mailbox| &mailbox.email).collect();
                smtp.send(&self.from.email, &to, &letter).await
            }
            Way::Files(files) => files.put(&mail.id, letter(Text::AsItIs)?).await,
        }
    }
}

/// An address as the configuration has it, with or without a name. The error does not repeat it.
fn mailbox(key: &'static str, text: &str) -> Result<Mailbox, MailError> {
    let problem = |problem| MailError::Config { key, problem };
    let mailbox: Mailbox = text.trim().parse().map_err(|_| problem("holds something that is no mail address"))?;
    if !AsRef::<str>::as_ref(&mailbox.email).is_ascii() {
        return Err(problem("holds an address that not every server takes (write the domain in punycode)"));
    }
    Ok(mailbox)
}
