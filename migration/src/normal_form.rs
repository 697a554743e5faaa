//! The normal form of e-mail addresses as step 23 introduced it, and the one before. Frozen, as steps are: the rule in use
//! is the domain's own.

use std::borrow::Cow;

use idna::AsciiDenyList;
use unicode_normalization::UnicodeNormalization as _;

const DOMAIN_MAX: usize = 255;
const ASCII_TWINS: [char; 3] = ['\u{37e}', '\u{1fef}', '\u{212a}'];

/// The domain as IDNA A-labels; the local part in NFC with ASCII letters in lower case.
pub(crate) fn present(address: &str) -> String {
    let address = address.trim();
    if address.is_ascii() {
        return address.to_ascii_lowercase();
    }
    match address.rsplit_once('@') {
        Some((local, domain)) => format!("{}@{}", canonical(local), domain_labels(domain)),
        None => canonical(address),
    }
}

/// Lower case, by all of Unicode's rules.
pub(crate) fn former(address: &str) -> String {
    address.trim().to_lowercase()
}

fn domain_labels(domain: &str) -> Cow<'_, str> {
    if domain.is_ascii() {
        return domain.to_ascii_lowercase().into();
    }
    match idna::domain_to_ascii_cow(domain.as_bytes(), AsciiDenyList::URL) {
        Ok(labels) if (1..=DOMAIN_MAX).contains(&labels.len()) => labels,
        _ => canonical(domain).into(),
    }
}

fn canonical(text: &str) -> String {
    let mut normal = compose(text);
    normal.make_ascii_lowercase();
    compose(&normal)
}

fn compose(text: &str) -> String {
    let mut composed = String::with_capacity(text.len());
    for part in text.split_inclusive(ASCII_TWINS) {
        let body = part.trim_end_matches(ASCII_TWINS);
        composed.extend(body.nfc());
        composed.push_str(part.get(body.len()..).unwrap_or_default());
    }
    composed
}
