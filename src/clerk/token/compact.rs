//! JWS compact serialization (RFC 7515 §7.1) of a session token: its three parts and its header, before anything is
//! verified. Pure. Unknown header members of any JSON type are ignored (RFC 7515 §4): Clerk adds some, `oiat`, a number,
//! among them. `crit` is refused, because it lists extensions that a verifier must understand.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny},
};

use super::TokenError;

/// Bytes. A session token has to fit into a cookie, which holds 4 KiB.
const MAX_LENGTH: usize = 7 * 1024;

/// Prefixes of Clerk's opaque credentials: machine tokens, API keys, OAuth access tokens.
const OPAQUE_PREFIXES: [&str; 4] = ["mt_", "ak_", "oat_", "m2m_"];

/// The header's `cat` of a session token.
const SESSION: &str = "cl_B7d4PD111AAA";

/// The `cat` that some instances put on every class: it says nothing.
const UNMARKED: &str = "cl_I7d4PD111III";

/// A token that may be a session token, unverified.
#[derive(Debug)]
pub(super) struct Compact<'a> {
    /// The key that it names.
    pub(super) kid: Option<String>,
    /// What is signed: header and claims as they stand.
    pub(super) message: &'a str,
    pub(super) signature: Vec<u8>,
    claims: &'a str,
}

/// The header members that are read. The derived code refuses a known member that stands twice and skips unknown ones
/// without interpreting their values.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    cat: Option<String>,
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

impl<'a> Compact<'a> {
    /// Splits a token and judges its header.
    ///
    /// # Errors
    /// [`TokenError`] for what could not be a session token, whatever its signature.
    pub(super) fn parse(token: &'a str) -> Result<Self, TokenError> {
        if OPAQUE_PREFIXES.iter().any(|prefix| token.starts_with(prefix)) {
            return Err(TokenError::Opaque);
        }
        if token.len() > MAX_LENGTH {
            return Err(TokenError::TooLong);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(TokenError::Malformed)?;
        if claims.contains('.') {
            return Err(TokenError::Malformed);
        }
        let header: Header = object(&decode(header)?)?;
        if header.alg != "RS256" {
            return Err(TokenError::Algorithm);
        }
        if header.crit {
            return Err(TokenError::Critical);
        }
        if header.typ.as_deref().is_some_and(is_access_token) {
            return Err(TokenError::Class);
        }
        if !matches!(header.cat.as_deref(), None | Some(SESSION | UNMARKED)) {
            return Err(TokenError::Class);
        }
        Ok(Self { kid: header.kid, message, signature: decode(signature)?, claims })
    }

    /// Returns the claims as they are read here; meaningful only once the signature is verified.
    ///
    /// # Errors
    /// [`TokenError::Malformed`].
    pub(super) fn claims<T: DeserializeOwned>(&self) -> Result<T, TokenError> {
        object(&decode(self.claims)?)
    }
}

/// Whether a header's `typ` is that of an OAuth access token (RFC 9068).
fn is_access_token(typ: &str) -> bool {
    typ.eq_ignore_ascii_case("at+jwt") || typ.eq_ignore_ascii_case("application/at+jwt")
}

fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)
}

/// Parses a JSON object; derived readers would take an array of the values too.
fn object<T: DeserializeOwned>(json: &[u8]) -> Result<T, TokenError> {
    if !json.trim_ascii_start().starts_with(b"{") {
        return Err(TokenError::Malformed);
    }
    serde_json::from_slice(json).map_err(|_| TokenError::Malformed)
}

/// Returns true for a member that is there, whatever its value is.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|IgnoredAny| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str) -> String {
        format!("{}.e30.c2ln", URL_SAFE_NO_PAD.encode(header))
    }

    fn parse(header: &str) -> Result<Option<String>, TokenError> {
        Compact::parse(&token(header)).map(|token| token.kid)
    }

    #[test]
    fn unknown_header_members_of_any_json_type_are_ignored() {
        let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
        for value in [
            "1778699272",
            "-0.5e-3",
            "1e999999",
            "123456789012345678901234567890123456789012345678901234567890",
            "null",
            "true",
            "\"text\"",
            r#""\ud83d""#,
            "{\"a\":{\"b\":[1,null,{}]},\"a\":2}",
            "[]",
            &deep,
        ] {
            for member in ["oiat", "m", "", "jku", "x5c"] {
                let header = format!(r#"{{"{member}":{value},"alg":"RS256","kid":"ins_1","{member}":{value}}}"#);
                assert_eq!(parse(&header), Ok(Some("ins_1".into())), "{header}");
            }
        }
    }

    #[test]
    fn critical_extensions_are_refused_whatever_they_are() {
        for value in ["[\"exp\"]", "[]", "null", "1", "{}", "\"b64\""] {
            assert_eq!(parse(&format!(r#"{{"alg":"RS256","crit":{value}}}"#)), Err(TokenError::Critical), "{value}");
        }
    }

    #[test]
    fn known_header_members_have_one_value_of_their_type() {
        for header in [
            r#"{"alg":"RS256","alg":"RS256"}"#,
            r#"{"alg":"RS256","a\u006cg":"none"}"#,
            r#"{"alg":"RS256","kid":1}"#,
            r#"{"alg":"RS256","cat":[]}"#,
            r#"["RS256",null,null,null]"#,
            r#"{"alg":"RS256"} {}"#,
            r#"{"kid":"ins_1"}"#,
            "",
        ] {
            assert_eq!(parse(header), Err(TokenError::Malformed), "{header}");
        }
        assert_eq!(parse(r#" {"alg":"RS256","kid":null,"typ":null,"cat":null}"#), Ok(None));
    }

    #[test]
    fn opaque_credentials_are_refused_by_their_prefix() {
        for token in ["mt_x", "ak_x", "oat_x", "m2m_x", "mt_", &format!("ak_{}", token(r#"{"alg":"RS256"}"#))] {
            assert_eq!(Compact::parse(token).map(drop), Err(TokenError::Opaque), "{token}");
        }
    }
}
