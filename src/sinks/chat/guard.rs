//! Where a URL may lead. Its form is judged once, at the start; what its name stands for, at every attempt, by the very
//! look-up whose addresses are then connected to. Between a look that is allowed and a connection that is not there is
//! no second look.

use std::{
    error::Error,
    net::{IpAddr, SocketAddr},
};

use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
};

use super::address::is_public;

/// `alerts.webhook_url` cannot be used. Names the key, never the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("configuration: alerts.webhook_url: {0}")]
pub struct ChatError(pub(super) &'static str);

/// A name leads inside.
#[derive(Debug, thiserror::Error)]
#[error("the name stands for an address that is not public")]
struct Inside;

/// The form of a URL that may be used.
pub(super) fn url(text: &str, allow_private: bool) -> Result<Url, ChatError> {
    let url = Url::parse(text.trim()).map_err(|_| ChatError("is no URL"))?;
    let address = literal(&url);
    match url.scheme() {
        "https" => {}
        "http" if allow_private => {}
        "http" => return Err(ChatError("must start with https:// (alerts.allow_private lets http pass)")),
        _ => return Err(ChatError("must start with https://")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ChatError("must not hold a user or a password"));
    }
    // An address in the URL is connected to without being looked up.
    if address.is_some_and(|address| !is_public(address)) && !allow_private {
        return Err(ChatError("leads to an address that is not public (alerts.allow_private lets it pass)"));
    }
    Ok(url)
}

/// The address that stands in a URL in the place of a name.
fn literal(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Looks names up, and hands out no address that is not public; nor any, where one of them is not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resolver {
    pub(super) allow_private: bool,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if !allow_private && found.iter().any(|address| !is_public(address.ip())) {
                return Err(Inside.into());
            }
            let found: Addrs = Box::new(found.into_iter());
            Ok(found)
        })
    }
}

/// What went wrong, without the URL that the error itself would tell.
pub(super) fn failure(error: &reqwest::Error) -> &'static str {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if inner.is::<Inside>() {
            return "alerts.webhook_url leads to an address that is not public (alerts.allow_private lets it pass)";
        }
        cause = inner.source();
    }
    if error.is_timeout() {
        "the chat does not answer in time"
    } else if error.is_connect() {
        "the chat cannot be reached"
    } else {
        "the connection to the chat broke"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_that_may_be_used() {
        for text in ["https://hooks.slack.com/services/T/B/x", " https://chat.example:8443/x?y=z ", "https://8.8.8.8/x"]
        {
            assert!(url(text, false).is_ok(), "{text}");
        }
        for text in ["http://localhost:1/x", "http://127.0.0.1/x", "https://[::1]/x", "http://169.254.169.254/x"] {
            assert!(url(text, true).is_ok(), "{text}");
        }
    }

    #[test]
    fn forms_that_may_not() {
        let private = [
            "http://hooks.slack.com/s3cret",
            "https://127.0.0.1/s3cret",
            "https://2130706433/s3cret",
            "https://0x7f.1/s3cret",
            "https://0177.0.0.1/s3cret",
            "https://127.1/s3cret",
            "https://[::1]/s3cret",
            "https://[::ffff:10.0.0.1]/s3cret",
            "https://[fd00::1]:8443/s3cret",
            "https://10.1.2.3/s3cret",
            "https://169.254.169.254/s3cret",
        ];
        let never =
            ["", "s3cret", "ftp://h/s3cret", "file:///s3cret", "https://s3cret@h/", "https://u:s3cret@h/", "https://"];
        for (text, allow_private) in private
            .map(|text| (text, false))
            .into_iter()
            .chain(never.into_iter().flat_map(|text| [(text, false), (text, true)]))
        {
            let error = url(text, allow_private).map(String::from).unwrap_err().to_string();
            assert!(error.starts_with("configuration: alerts.webhook_url: "), "{text}: {error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_has_no_address() {
        let look = async |allow_private| Resolver { allow_private }.resolve("localhost".parse().unwrap()).await;
        let refused = look(false).await.map(Iterator::count).unwrap_err();
        assert!(refused.is::<Inside>(), "{refused}");
        assert!(look(true).await.unwrap().all(|address| address.ip().is_loopback()));
    }
}
