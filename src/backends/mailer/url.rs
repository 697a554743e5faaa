//! `smtp.url` read: `smtp://user:password@host:port/name?tls=required`. What is left out has a safe default.
//!
//! | | port | encryption |
//! |---|---|---|
//! | `smtps://` | 465 | from the first byte |
//! | `smtp://` with a user | 587 | STARTTLS, without which nothing is sent |
//! | `smtp://` without | 25 | STARTTLS where the server offers it |
//!
//! `?tls=required`, `opportunistic` or `none` says otherwise for `smtp://`. The path is the name that we greet with.

use lettre::transport::smtp::{authentication::Credentials, extension::ClientId};
use percent_encoding::percent_decode_str;

use super::MailError;

/// When a connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encryption {
    /// From the first byte.
    Always,
    /// By STARTTLS; a server without it is not spoken to.
    Required,
    /// By STARTTLS where there is.
    Offered,
    Never,
}

/// Where the server is and how it is spoken to.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) encryption: Encryption,
    pub(super) credentials: Option<Credentials>,
    pub(super) hello: ClientId,
}

pub(super) fn read(url: &str) -> Result<Server, MailError> {
    let problem = |problem| MailError::Config { key: "smtp.url", problem };
    let url = reqwest::Url::parse(url.trim()).map_err(|_| problem("is no URL (set SMTP_URL=smtp://… or smtps://…)"))?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| problem("names no host"))?;
    let decoded = |text: &str| {
        let decoded = percent_decode_str(text).decode_utf8().map(|text| text.into_owned());
        decoded.map_err(|_| problem("holds a user or a password that is not UTF-8"))
    };
    let credentials = match (url.username(), url.password()) {
        ("", None) => None,
        (user, Some(password)) => Some(Credentials::new(decoded(user)?, decoded(password)?)),
        _ => return Err(problem("names a user without a password")),
    };
    let tls = url.query_pairs().find(|(name, _)| name == "tls").map(|(_, value)| value.into_owned());
    let encryption = match (url.scheme(), tls.as_deref()) {
        ("smtps", None) => Encryption::Always,
        ("smtp", Some("required")) => Encryption::Required,
        ("smtp", Some("opportunistic")) => Encryption::Offered,
        ("smtp", Some("none")) => Encryption::Never,
        ("smtp", None) if credentials.is_some() => Encryption::Required,
        ("smtp", None) => Encryption::Offered,
        ("smtp", _) => return Err(problem("has a tls that is none of required, opportunistic, none")),
        _ => return Err(problem("starts with neither smtp:// nor smtps://, or sets tls where it always is")),
    };
    let usual = match (encryption, &credentials) {
        (Encryption::Always, _) => 465,
        (_, Some(_)) => 587,
        (_, None) => 25,
    };
    let name = url.path().trim_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
    let hello = match name {
        "" => ClientId::default(),
        name if name.chars().all(plain) => ClientId::Domain(name.to_owned()),
        _ => return Err(problem("has a path that is no host name to greet with")),
    };
    // An IPv6 address stands in brackets in a URL and nowhere else.
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(Server { host, port: url.port().unwrap_or(usual), encryption, credentials, hello })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_safe() {
        use Encryption::{Always, Never, Offered, Required};
        for (url, host, port, encryption, login) in [
            ("smtps://u:p@mail.example", "mail.example", 465, Always, true),
            ("smtps://mail.example:2465/me.example", "mail.example", 2465, Always, false),
            ("smtp://u:p@mail.example", "mail.example", 587, Required, true),
            ("smtp://localhost", "localhost", 25, Offered, false),
            ("smtp://localhost:587?tls=required", "localhost", 587, Required, false),
            ("smtp://u:p@[::1]:25?tls=none", "::1", 25, Never, true),
            (" smtp://u%40x:p%2Fq@h?tls=opportunistic ", "h", 587, Offered, true),
        ] {
            let server = read(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            let found = (server.host.as_str(), server.port, server.encryption, server.credentials.is_some());
            assert_eq!(found, (host, port, encryption, login), "{url}");
        }
        let server = read("smtp://u%40x:p%2Fq@h").unwrap();
        assert_eq!(server.credentials, Some(Credentials::new("u@x".into(), "p/q".into())));
        assert_eq!(read("smtp://h/me.example").unwrap().hello, ClientId::Domain("me.example".into()));
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_not_repeated() {
        for url in [
            "",
            "mail.example:25",
            "http://s3cret@mail.example",
            "smtp://",
            "smtp://s3cret@mail.example",
            "smtp://u:s3cret%ff@h",
            "smtp://h?tls=s3cret",
            "smtps://h?tls=none",
            "smtp://h/s3cret%0d%0aRSET",
        ] {
            let error = read(url).map(|server| server.host).unwrap_err().to_string();
            assert!(error.starts_with("configuration: smtp.url: ") && !error.contains("s3cret"), "{url}: {error}");
        }
    }
}
