//! A mail as bytes. What travels is ASCII, whatever the text holds; what lies in a file has the text as it is, so that
//! whoever looks for a person's id among the files finds it.

use std::time::SystemTime;

use lettre::message::{
    Body, Mailbox, Message, SinglePart,
    header::{ContentTransferEncoding, HeaderName, HeaderValue},
};

use super::{Mail, MailError};

/// Characters of a subject.
const SUBJECT: usize = 200;
/// Characters of a text. What we tell is far shorter.
const TEXT: usize = 20_000;
/// Bytes of a line, unless it is one word.
const LINE: usize = 500;
/// Bytes that a mail's line may have.
const LONGEST: usize = 998;

/// What becomes of a mail's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    Encoded,
    AsItIs,
}

pub(super) fn write(mail: &Mail, from: &Mailbox, to: &[Mailbox], how: Text) -> Result<Vec<u8>, MailError> {
    let mut builder = Message::builder()
        .from(from.clone())
        .subject(line(&mail.subject))
        .date(SystemTime::from(mail.at))
        .message_id(Some(message_id(&mail.id, from)));
    for mailbox in to {
        builder = builder.to(mailbox.clone());
    }
    let text = text(&mail.text);
    let body = match how {
        Text::AsItIs if text.lines().all(|line| line.len() <= LONGEST) => {
            Body::dangerous_pre_encoded(text.replace('\n', "\r\n").into(), ContentTransferEncoding::EightBit)
        }
        _ => Body::new(text),
    };
    // Nobody's holiday notice answers a machine.
    let name = HeaderName::new_from_ascii_str("Auto-Submitted");
    let message = builder
        .raw_header(HeaderValue::new(name, "auto-generated".to_owned()))
        .singlepart(SinglePart::plain(body))
        .map_err(|_| MailError::Refused("this mail cannot be written".into()))?;
    Ok(message.formatted())
}

fn message_id(id: &str, from: &Mailbox) -> String {
    format!("<{}@{}>", plain(id), from.email.domain())
}

/// Letters, digits, dots and hyphens; anything else becomes a hyphen.
pub(super) fn plain(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect()
}

/// One line of printable text.
fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_break(c) { ' ' } else { c }).take(SUBJECT).collect()
}

/// Lines of printable text, none longer than a mail's may be.
fn text(text: &str) -> String {
    let mut lines = String::new();
    for line in text.split_inclusive('\n') {
        let mut length = 0;
        for word in line.split_inclusive(' ') {
            if length > 0 && length + word.len() > LINE {
                lines.push('\n');
                length = 0;
            }
            length += word.len();
            lines.extend(word.chars().map(|c| if c != '\n' && c.is_control() { ' ' } else { c }));
        }
    }
    lines.chars().take(TEXT).collect()
}

/// Ends a line in some programs, though no control character.
fn is_break(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(mail: &Mail) -> String {
        let mailbox = |text: &str| text.parse().unwrap();
        let to = [mailbox("Ops <ops@example.com>"), mailbox("b@example.org")];
        String::from_utf8(write(mail, &mailbox("clerk-sync@example.com"), &to, Text::Encoded).unwrap()).unwrap()
    }

    fn mail(subject: &str, text: &str) -> Mail {
        let at = chrono::DateTime::from_timestamp(1_760_000_000, 0).unwrap();
        Mail { id: "7.alerts-mail.e1".into(), subject: subject.into(), text: text.into(), at }
    }

    #[test]
    fn what_a_mail_says_makes_no_header() {
        for evil in ["a\r\nBcc: x@evil.example", "a\nBcc: x@evil.example", "a\rBcc: x", "a\u{0}\u{85}\u{2028}Bcc: x"] {
            let letter = written(&Mail { id: evil.into(), ..mail(evil, evil) });
            let (headers, body) = letter.split_once("\r\n\r\n").unwrap();
            let names: Vec<&str> = headers
                .split("\r\n")
                .filter(|line| !line.starts_with([' ', '\t']))
                .map(|line| line.split_once(':').unwrap().0)
                .collect();
            assert!(!names.iter().any(|name| name.eq_ignore_ascii_case("bcc")), "{headers}");
            assert_eq!(names.len(), 9, "{headers}");
            assert!(headers.is_ascii() && body.is_ascii());
            assert!(!headers.replace("\r\n", "").contains(['\r', '\n']), "{headers:?}");
        }
    }

    #[test]
    fn the_same_mail_is_the_same_bytes_and_says_when_it_happened() {
        let letter = written(&mail("[clerk-sync] warning: x", "one\n.two\nthree"));
        assert_eq!(letter, written(&mail("[clerk-sync] warning: x", "one\n.two\nthree")));
        for line in [
            "Message-ID: <7.alerts-mail.e1@example.com>",
            "Subject: [clerk-sync] warning: x",
            "Date: Thu, 09 Oct 2025 08:53:20 +0000",
            "To: Ops <ops@example.com>, b@example.org",
            "Auto-Submitted: auto-generated",
            "MIME-Version: 1.0",
        ] {
            assert!(letter.contains(&format!("{line}\r\n")), "{line}: {letter}");
        }
        assert!(letter.contains("\r\n\r\none\r\n.two\r\nthree\r\n"), "{letter}");
    }

    #[test]
    fn long_and_strange_texts_stay_within_their_bounds() {
        let letter = written(&mail(&"ä".repeat(10_000), &"x".repeat(100_000)));
        assert!(letter.is_ascii() && letter.len() < 40_000, "{}", letter.len());
        assert!(letter.split("\r\n").all(|line| line.len() <= 998));
    }
}
