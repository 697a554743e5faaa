//! Mails through an SMTP server: one connection a mail, each reply judged by what it was a reply to.
//!
//! - No mail is sent before every recipient was named: one who is put off (4xx) holds it for all, so that nobody gets it
//!   twice; one who is refused for good (5xx) does not keep it from the others.
//! - Only replies about recipients and content can refuse a mail. Greeting, encryption, login and sender are the same for
//!   every mail: a refusal there is the operator's to mend, and holds.
//! - After the server's 250 nothing can fail any more.

use std::time::Duration;

use lettre::{
    Address,
    transport::smtp::{
        Error,
        authentication::Mechanism,
        client::{AsyncSmtpConnection, TlsParameters},
        commands::{Data, Mail, Rcpt},
    },
};
use tokio::time::timeout;

use super::{
    MailError,
    url::{self, Encryption, Server},
};

/// How long everything up to the content may take, and the server's last word. The second is long: to give up waiting for
/// it is to send the mail again.
const TIMEOUTS: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(60));

/// How long a server is listened to that has taken the mail already.
const FAREWELL: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(super) struct Smtp {
    server: Server,
    timeouts: (Duration, Duration),
}

impl Smtp {
    pub(super) fn new(url: &str) -> Result<Self, MailError> {
        Ok(Self { server: url::read(url)?, timeouts: TIMEOUTS })
    }

    pub(super) async fn send(&self, from: &Address, to: &[&Address], letter: &[u8]) -> Result<(), MailError> {
        let slow = |_| held("does not answer in time");
        let (before, after) = self.timeouts;
        let (mut connection, refused) = timeout(before, self.ready(from, to)).await.map_err(slow)??;
        let taken = match refused.len() == to.len() {
            true => Ok(()),
            false => timeout(after, connection.message(letter)).await.map_err(slow)?.map(drop),
        };
        // Goodbye is said, and the answer not waited for.
        let _ = timeout(FAREWELL, connection.quit()).await;
        match taken {
            Ok(()) => judge(&refused, to.len()),
            Err(error) if is_final(&error) => {
                Err(MailError::Refused(format!("the mail server refuses this mail{}", code(&error))))
            }
            Err(error) => Err(failed("did not take the content", &error)),
        }
    }

    /// A connection that waits for the content, and the replies to recipients who were refused. Where all were, it waits
    /// for nothing.
    async fn ready(&self, from: &Address, to: &[&Address]) -> Result<(AsyncSmtpConnection, Vec<u16>), MailError> {
        let mut connection = self.connect().await?;
        let sender = connection.command(Mail::new(Some(from.clone()), vec![])).await;
        sender.map_err(|error| failed("does not take the sender (alerts.mail_from)", &error))?;
        let mut refused = Vec::new();
        for address in to {
            match connection.command(Rcpt::new((*address).clone(), vec![])).await {
                Ok(_) => {}
                Err(error) if is_final(&error) => refused.extend(error.status().map(u16::from)),
                Err(error) => return Err(failed("puts a recipient off", &error)),
            }
        }
        if refused.len() < to.len() {
            connection.command(Data).await.map_err(|error| match is_final(&error) {
                true => MailError::Refused(format!("the mail server refuses this mail{}", code(&error))),
                false => failed("does not take mail now", &error),
            })?;
        }
        Ok((connection, refused))
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, MailError> {
        let Server { host, port, encryption, credentials, hello } = &self.server;
        let tls = || TlsParameters::new(host.clone()).map_err(|_| held("cannot be spoken to: no TLS roots here"));
        let wrapped = if *encryption == Encryption::Always { Some(tls()?) } else { None };
        let connected =
            AsyncSmtpConnection::connect_tokio1((host.as_str(), *port), Some(self.timeouts.0), hello, wrapped, None);
        let mut connection = connected.await.map_err(|error| failed("cannot be reached", &error))?;
        match encryption {
            Encryption::Required | Encryption::Offered if connection.can_starttls() => {
                let secured = connection.starttls(tls()?, hello).await;
                secured.map_err(|error| failed("offers no TLS that can be trusted", &error))?;
            }
            Encryption::Required => {
                return Err(held("offers no TLS; nothing was sent (smtp.url: ?tls=none does without)"));
            }
            _ => {}
        }
        if let Some(credentials) = credentials {
            let login = connection.auth(&[Mechanism::Plain, Mechanism::Login], credentials).await;
            login.map_err(|error| failed("does not let us in (the user and password of smtp.url)", &error))?;
        }
        Ok(connection)
    }
}

/// What the refusals of some recipients make of a mail that the others have got.
fn judge(refused: &[u16], recipients: usize) -> Result<(), MailError> {
    let Some(last) = refused.last() else { return Ok(()) };
    let whom = match refused.len() {
        all if all == recipients => "every recipient".to_owned(),
        some => format!("{some} of {recipients} recipients, the others have it"),
    };
    Err(MailError::Refused(format!("the mail server refuses {whom} ({last})")))
}

/// Whether a reply to a recipient or to content is about just these: a 5xx, unless it is about the session.
fn is_final(error: &Error) -> bool {
    let session = [502, 503, 530, 534, 535, 538];
    error.is_permanent() && !error.status().is_some_and(|code| session.contains(&u16::from(code)))
}

fn held(what: &str) -> MailError {
    MailError::Held(format!("the mail server {what}"))
}

/// Nothing of what the server said but its code: the rest can quote addresses.
fn failed(what: &str, error: &Error) -> MailError {
    held(&format!("{what}{}", code(error)))
}

fn code(error: &Error) -> String {
    match error.status() {
        Some(code) => format!(" ({code})"),
        None if error.is_timeout() => " (no answer in time)".into(),
        None if error.is_tls() => " (TLS)".into(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
        net::TcpListener,
    };

    use super::*;

    /// Sends a mail to a server that falls silent before its reply number `silent`.
    async fn sent(silent: usize) -> Result<(), MailError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (reader, mut writer) = stream.split();
            let mut lines = BufReader::new(reader).lines();
            let replies = ["220 hi", "250 ok", "250 ok", "250 ok", "354 go", "250 taken", "221 bye"];
            for (index, reply) in replies.iter().enumerate() {
                if index == silent {
                    std::future::pending::<()>().await;
                }
                writer.write_all(format!("{reply}\r\n").as_bytes()).await.unwrap();
                let until = if *reply == "354 go" { "." } else { "" };
                while let Ok(Some(line)) = lines.next_line().await {
                    if until.is_empty() || line == until {
                        break;
                    }
                }
            }
        });
        let timeouts = (Duration::from_millis(300), Duration::from_millis(300));
        let smtp = Smtp { timeouts, ..Smtp::new(&url).unwrap() };
        let address: Address = "a@example.com".parse().unwrap();
        let result = smtp.send(&address, &[&address], b"Subject: x\r\n\r\nx\r\n").await;
        server.abort();
        result
    }

    #[tokio::test]
    async fn a_server_that_falls_silent_is_given_up_unless_it_has_the_mail() {
        for silent in 0..6 {
            let error = sent(silent).await.unwrap_err();
            assert!(matches!(&error, MailError::Held(text) if text.contains("in time")), "{silent}: {error}");
        }
        // It said that it has the mail; what it does not say afterwards changes nothing.
        assert_eq!(sent(6).await, Ok(()));
        assert_eq!(sent(7).await, Ok(()));
    }

    #[test]
    fn who_got_it_is_told_without_naming_anybody() {
        assert_eq!(judge(&[], 2), Ok(()));
        let text = |refused: &[u16]| judge(refused, 2).unwrap_err().to_string();
        assert_eq!(text(&[550]), "the mail server refuses 1 of 2 recipients, the others have it (550)");
        assert_eq!(text(&[550, 553]), "the mail server refuses every recipient (553)");
    }
}
