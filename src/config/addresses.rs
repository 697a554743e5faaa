//! Normal form of the settings that are compared with what browsers and Clerk send: `clerk.issuer`, and the origins of
//! `clerk.authorized_parties` and `gateway.origins`. They are compared as texts, so a value in any other form would never
//! match. What has one meaning is normalized (case, trailing slash, default port, A-labels, quotes, separators); everything
//! else is refused at start with key, problem and remedy. Values are not repeated, because they may hold a secret that was pasted by mistake.

use std::net::IpAddr;

use reqwest::Url;

use super::{Config, ConfigError, SecretUrl};

const ISSUER_REMEDY: &str = "Set CLERK_ISSUER=https://clerk.example.com (or CLERK_SYNC__CLERK__ISSUER), the Frontend API URL in \
    Clerk's dashboard (API keys), or the proxy URL where Clerk is proxied";

const PARTIES_REMEDY: &str = "Set CLERK_AUTHORIZED_PARTIES (or CLERK_SYNC__CLERK__AUTHORIZED_PARTIES) to the origins of your \
    pages and apps, separated by commas: https://app.example.com,https://www.example.com; empty allows any";

const ORIGINS_REMEDY: &str = "Set CLERK_SYNC__GATEWAY__ORIGINS to the origins of your pages, separated by commas: \
    https://app.example.com,https://www.example.com; empty allows any";

/// Schemes of addresses that no page or app has as its origin.
const NO_ORIGIN: [&str; 9] = ["ws", "wss", "ftp", "file", "data", "blob", "javascript", "mailto", "about"];

/// Quotes that shells, JSON, YAML and word processors leave around a value.
const QUOTES: [char; 7] = ['"', '\'', '`', '“', '”', '‘', '’'];

/// Puts all of them into their normal form.
///
/// # Errors
/// What is wrong with the first that has none.
pub(super) fn normalize(config: &mut Config) -> Result<(), ConfigError> {
    let error = |key, remedy| move |problem| ConfigError::Key { key, problem, remedy };
    config.clerk.issuer =
        issuer(&config.clerk.issuer).map_err(|problem| error("clerk.issuer", ISSUER_REMEDY)(problem.to_owned()))?;
    config.clerk.authorized_parties =
        origins(&config.clerk.authorized_parties).map_err(error("clerk.authorized_parties", PARTIES_REMEDY))?;
    config.gateway.origins = origins(&config.gateway.origins).map_err(error("gateway.origins", ORIGINS_REMEDY))?;
    Ok(())
}

/// Refuses an address of Clerk's API at which the secret key could be read on the way.
///
/// # Errors
/// Where it is set and is neither https nor on loopback, or holds credentials of its own.
pub(super) fn check_api(url: &SecretUrl) -> Result<(), ConfigError> {
    let refuse = |problem: &str| {
        let remedy = "Set CLERK_API_URL=https://api.clerk.com/v1, or leave it out";
        Err(ConfigError::Key { key: "clerk.api_url", problem: problem.to_owned(), remedy })
    };
    let Ok(url) = Url::parse(url.expose()) else { return refuse("is no https:// address") };
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("holds a user name or a password");
    }
    match (url.scheme(), url.host_str()) {
        ("https", Some(_)) => Ok(()),
        ("http", Some(host)) if is_loopback(host) => Ok(()),
        _ => refuse("is not https://, and not of this machine: the secret key could be read on the way"),
    }
}

/// Returns an issuer as tokens have it: scheme, host and path without a slash at its end; empty where none is set.
fn issuer(given: &str) -> Result<String, &'static str> {
    let text = unquoted(given);
    if text.is_empty() {
        return Ok(String::new());
    }
    if text.contains(is_separator) || text.starts_with('[') {
        return Err("names several addresses; an instance of Clerk has one issuer");
    }
    let url = address(text)?;
    let host = url.host_str().unwrap_or_default();
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(host) => {}
        _ => return Err("is not an https:// address (http:// only on loopback)"),
    }
    let path = url.path().trim_end_matches('/');
    if path.contains("/.well-known/") || path.ends_with("/jwks") || path.ends_with("/jwks.json") {
        return Err("is the JWKS URL (set that as CLERK_JWKS_URL), not the issuer");
    }
    if host == "api.clerk.com" || host == "dashboard.clerk.com" {
        return Err("is the address of Clerk's API or dashboard, not of your instance");
    }
    Ok(format!("{}{path}", url.origin().ascii_serialization()))
}

/// Returns the origins of a list as browsers send them, each once. Items may hold several, as environments have them.
fn origins(given: &[String]) -> Result<Vec<String>, String> {
    let items: Vec<&str> = given.iter().flat_map(|text| items(text)).collect();
    let mut origins = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let origin = origin(item).map_err(|problem| format!("entry {} of {} {problem}", index + 1, items.len()))?;
        if !origins.contains(&origin) {
            origins.push(origin);
        }
    }
    Ok(origins)
}

/// Returns an origin as browsers send it. Apps have schemes of their own (`capacitor://localhost`,
/// `chrome-extension://…`).
fn origin(item: &str) -> Result<String, &'static str> {
    match item {
        "*" => return Err("is *, which matches nothing: leave the list empty to allow any origin"),
        "null" => return Err("is null, which any sandboxed page sends"),
        _ => {}
    }
    let url = address(item)?;
    if NO_ORIGIN.contains(&url.scheme()) {
        return Err("has a scheme that no page's origin has (pages have https://)");
    }
    if !url.path().trim_matches('/').is_empty() {
        return Err("has a path; an origin is scheme://host[:port] alone");
    }
    if matches!(url.scheme(), "http" | "https") {
        return Ok(url.origin().ascii_serialization());
    }
    let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
    Ok(match url.port() {
        Some(port) => format!("{}://{host}:{port}", url.scheme()),
        None => format!("{}://{host}", url.scheme()),
    })
}

/// Parses `scheme://host…` without what neither an issuer nor an origin has.
fn address(text: &str) -> Result<Url, &'static str> {
    match text.matches("://").count() {
        0 => return Err("has no scheme: write https:// before it"),
        1 => {}
        _ => return Err("holds several addresses in one"),
    }
    if text.contains('*') {
        return Err("has a wildcard, which matches nothing: name each address");
    }
    let url = Url::parse(text).map_err(|_| "is no address: its scheme, host or port cannot be read")?;
    let host = url.host_str().unwrap_or_default();
    if host.is_empty() {
        return Err("has no host");
    }
    if host.ends_with('.') {
        return Err("has a dot at the end of its host");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user name or a password");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a query or a fragment (? or #)");
    }
    Ok(url)
}

/// Returns the items of a list: a TOML item, or a text as environments have it, separated by commas, semicolons or
/// blanks, in brackets and quotes or not.
fn items(text: &str) -> impl Iterator<Item = &str> {
    let text = unquoted(text);
    let text = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    text.split(is_separator).map(unquoted).filter(|item| !item.is_empty())
}

fn is_separator(c: char) -> bool {
    c.is_whitespace() || matches!(c, ',' | ';')
}

/// Returns a text without blanks and quotes around it.
fn unquoted(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || QUOTES.contains(&c))
}

/// Whether a host, as an address has it, is of this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let ip: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
    host == "localhost" || host.ends_with(".localhost") || ip.is_some_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Result<Vec<String>, String> {
        origins(&[text.to_owned()])
    }

    #[test]
    fn an_issuer_is_put_into_the_form_that_tokens_have() {
        for (given, normal) in [
            ("", ""),
            ("  ", ""),
            ("\"\"", ""),
            ("https://clerk.example.com", "https://clerk.example.com"),
            ("https://clerk.example.com/", "https://clerk.example.com"),
            ("https://clerk.example.com//", "https://clerk.example.com"),
            (" 'https://clerk.example.com' ", "https://clerk.example.com"),
            ("\"https://clerk.example.com/\"", "https://clerk.example.com"),
            ("“https://clerk.example.com”", "https://clerk.example.com"),
            ("HTTPS://Clerk.Example.COM:443", "https://clerk.example.com"),
            ("https://clerk.bücher.example", "https://clerk.xn--bcher-kva.example"),
            ("https://app.example.com/__clerk/", "https://app.example.com/__clerk"),
            ("https://app.example.com/Api/Clerk", "https://app.example.com/Api/Clerk"),
            ("https://clerk.example.com:8443", "https://clerk.example.com:8443"),
            ("http://localhost:4000", "http://localhost:4000"),
            ("http://127.0.0.1:80/", "http://127.0.0.1"),
            ("http://[::1]:4000", "http://[::1]:4000"),
        ] {
            assert_eq!(issuer(given).as_deref(), Ok(normal), "{given}");
        }
    }

    #[test]
    fn an_issuer_that_no_token_can_have_is_refused() {
        for (given, problem) in [
            ("clerk.example.com", "scheme"),
            ("clerk.example.com:443", "scheme"),
            ("//clerk.example.com", "scheme"),
            ("pk_live_Y2xlcms", "scheme"),
            ("https:clerk.example.com", "scheme"),
            ("http://clerk.example.com", "https"),
            ("http://localhost.example.com", "https"),
            ("ftp://clerk.example.com", "https"),
            ("https://https://clerk.example.com", "several"),
            ("https://a.example,https://b.example", "several"),
            ("[\"https://a.example\"]", "several"),
            ("https://*.example.com", "wildcard"),
            ("https://u:p@clerk.example.com", "password"),
            ("https://clerk.example.com?x=1", "query"),
            ("https://clerk.example.com/#", "fragment"),
            ("https://", "address"),
            ("https://clerk.example.com:99999", "address"),
            ("https://clerk.example.com.", "dot"),
            ("https://clerk.example.com/.well-known/jwks.json", "JWKS"),
            ("https://clerk.example.com/.well-known/jwks.json/", "JWKS"),
            ("https://app.example.com/__clerk/.well-known/openid-configuration", "JWKS"),
            ("https://api.clerk.com/v1/jwks", "JWKS"),
            ("https://api.clerk.com", "API"),
        ] {
            let error = issuer(given).expect_err(given);
            assert!(error.contains(problem), "{given}: {error}");
        }
    }

    #[test]
    fn origins_are_put_into_the_form_that_browsers_send() {
        for (given, normal) in [
            ("", vec![]),
            ("[]", vec![]),
            ("\"\"", vec![]),
            (" , ;", vec![]),
            ("https://a.example/", vec!["https://a.example"]),
            ("https://a.example:443", vec!["https://a.example"]),
            ("http://a.example:80,http://a.example:8080", vec!["http://a.example", "http://a.example:8080"]),
            ("https://a.example:80", vec!["https://a.example:80"]),
            ("HTTPS://A.Example", vec!["https://a.example"]),
            ("https://bücher.example", vec!["https://xn--bcher-kva.example"]),
            ("'https://a.example'", vec!["https://a.example"]),
            ("\"https://a.example\",\"https://b.example\"", vec!["https://a.example", "https://b.example"]),
            (r#"["https://a.example", "https://b.example"]"#, vec!["https://a.example", "https://b.example"]),
            ("['https://a.example']", vec!["https://a.example"]),
            ("[https://a.example]", vec!["https://a.example"]),
            ("https://a.example;https://b.example", vec!["https://a.example", "https://b.example"]),
            ("https://a.example \n https://b.example", vec!["https://a.example", "https://b.example"]),
            ("https://a.example,https://A.example/", vec!["https://a.example"]),
            ("http://[::1]:3000,http://[::1]", vec!["http://[::1]:3000", "http://[::1]"]),
            ("http://127.1:3000", vec!["http://127.0.0.1:3000"]),
            ("http://localhost:3000", vec!["http://localhost:3000"]),
            ("Capacitor://localhost", vec!["capacitor://localhost"]),
            ("tauri://localhost/", vec!["tauri://localhost"]),
            ("ionic://localhost:8080", vec!["ionic://localhost:8080"]),
            (
                "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
                vec!["chrome-extension://abcdefghijklmnopabcdefghijklmnop"],
            ),
        ] {
            assert_eq!(list(given).unwrap(), normal, "{given}");
        }
    }

    #[test]
    fn an_origin_that_no_browser_sends_is_refused_by_its_place() {
        for (given, problem) in [
            ("a.example", "scheme"),
            ("a.example:443", "scheme"),
            ("//a.example", "scheme"),
            ("localhost:3000", "scheme"),
            ("*", "*"),
            ("null", "null"),
            ("https://*.example.com", "wildcard"),
            ("https://*", "wildcard"),
            ("https://a.example/path", "path"),
            ("tauri://localhost/index.html", "path"),
            ("https://u@a.example", "user"),
            ("https://:p@a.example", "user"),
            ("https://a.example?x", "query"),
            ("https://a.example/#/", "fragment"),
            ("wss://a.example", "scheme"),
            ("file:///index.html", "host"),
            ("capacitor://", "host"),
            ("https://", "address"),
            ("https://a.example:port", "address"),
            ("https://a b.example", "scheme"),
            ("https://a.example.", "dot"),
            ("https://a.example|https://b.example", "several"),
        ] {
            let error = list(&format!("https://ok.example,{given}")).expect_err(given);
            assert!(error.starts_with("entry ") && error.contains(problem), "{given}: {error}");
        }
        assert!(list("https://ok.example,b.example").unwrap_err().starts_with("entry 2 of 2 has no scheme"));
    }
}
