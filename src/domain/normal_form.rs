//! **Normal form of e-mail addresses**: two addresses are one mailbox exactly if their normal forms are equal.
//!
//! The domain becomes its IDNA A-labels in lower case (UTS-46, non-transitional), as DNS compares it. The local part is
//! its host's own: it is put into NFC, and only ASCII letters are lower-cased. Characters outside ASCII stay outside it.

use std::borrow::Cow;

use idna::AsciiDenyList;
use unicode_normalization::UnicodeNormalization as _;

/// No domain name is longer, in bytes. A mapped form that is longer is not used: it would outgrow an index row.
const DOMAIN_MAX: usize = 255;

/// The characters that NFC replaces by one of ASCII: the Greek question mark, the Greek varia, the Kelvin sign. A
/// mailbox that is named with one of them is not the one that is named with `;`, a backtick or `k`.
const ASCII_TWINS: [char; 3] = ['\u{37e}', '\u{1fef}', '\u{212a}'];

/// Returns the form under which addresses are compared. Normalising a normal form changes nothing.
pub fn normalise(address: &str) -> String {
    let address = address.trim();
    // Of ASCII, A-labels included, every step below is the lower case.
    if address.is_ascii() {
        return address.to_ascii_lowercase();
    }
    // The last one: a quoted local part may hold others.
    match address.rsplit_once('@') {
        Some((local, domain)) => format!("{}@{}", canonical(local), domain_labels(domain)),
        None => canonical(address),
    }
}

/// The A-labels; of a name that IDNA refuses, the form of a local part.
fn domain_labels(domain: &str) -> Cow<'_, str> {
    if domain.is_ascii() {
        return domain.to_ascii_lowercase().into();
    }
    // The deny list keeps what maps to ASCII punctuation, such as a full-width `@`, from becoming it.
    match idna::domain_to_ascii_cow(domain.as_bytes(), AsciiDenyList::URL) {
        Ok(labels) if (1..=DOMAIN_MAX).contains(&labels.len()) => labels,
        _ => canonical(domain).into(),
    }
}

/// NFC with ASCII letters in lower case.
fn canonical(text: &str) -> String {
    // Composed before, so that a letter is lower-cased or not however it was spelled; and after, since some letters are
    // composed in lower case only.
    let mut normal = compose(text);
    normal.make_ascii_lowercase();
    compose(&normal)
}

/// NFC, but for the characters that it would turn into ASCII.
fn compose(text: &str) -> String {
    let mut composed = String::with_capacity(text.len());
    for part in text.split_inclusive(ASCII_TWINS) {
        let body = part.trim_end_matches(ASCII_TWINS);
        composed.extend(body.nfc());
        composed.push_str(part.get(body.len()..).unwrap_or_default());
    }
    composed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn same(one: &str, other: &str) -> bool {
        normalise(one) == normalise(other)
    }

    #[test]
    fn the_domain_is_compared_as_dns_does() {
        assert_eq!(normalise(" User@B\u{fc}cher.Example "), "user@xn--bcher-kva.example");
        for twin in ["user@xn--bcher-kva.example", "user@BU\u{308}CHER.example", "user@XN--BCHER-KVA.EXAMPLE"] {
            assert!(same("user@b\u{fc}cher.example", twin), "{twin}");
        }
        assert!(same("a@\u{ff45}\u{ff58}ample.com", "a@example.com"), "full-width letters");
        assert!(same("a@example\u{3002}com", "a@example.com"), "ideographic full stop");
        assert!(same("a@\u{212a}.example", "a@k.example"), "IDNA maps the Kelvin sign");
        assert!(!same("a@fa\u{df}.example", "a@fass.example"), "non-transitional");
        assert!(!same("a@example.com.", "a@example.com"), "no address has a trailing dot");
    }

    #[test]
    fn the_local_part_is_compared_as_its_host_may() {
        assert!(same("j\u{fc}rgen@example.com", "ju\u{308}rgen@EXAMPLE.com"));
        assert!(same("J\u{fc}RGEN@example.com", "j\u{fc}rgen@example.com"), "ASCII letters");
        for (one, other) in [
            ("\u{212a}@x.example", "k@x.example"),
            ("\u{212a}@x.example", "K@x.example"),
            ("\u{fb01}@x.example", "fi@x.example"),
            ("\u{c4}@x.example", "\u{e4}@x.example"),
            ("\u{130}@x.example", "i@x.example"),
            ("\u{ff4b}@x.example", "k@x.example"),
            ("stra\u{df}e@x.example", "strasse@x.example"),
        ] {
            assert!(!same(one, other), "{one} {other}");
        }
        assert_eq!(normalise("\"a@B\"@Example.com"), "\"a@b\"@example.com");
        assert_eq!(normalise("\"\u{c9}@B\"@\u{c9}.example"), "\"\u{c9}@b\"@xn--9ca.example");
    }

    #[test]
    fn what_idna_refuses_is_still_one_form() {
        assert_eq!(normalise("a@X\u{ff20}\u{c9}.example"), "a@x\u{ff20}\u{c9}.example", "no second @ appears");
        assert!(same("a@b\u{20}u\u{308}.example", "a@B\u{20}\u{fc}.example"));
        // Each becomes eighteen characters: A-labels that no index row could hold.
        let long = format!("a@{}.example", "\u{fdfa}".repeat(100));
        assert!(normalise(&long).len() <= 3 * long.len());
    }

    #[test]
    fn no_other_character_becomes_ascii() {
        let others = ('\u{80}'..=char::MAX).filter(|c| !c.is_whitespace());
        let turned: Vec<char> = others.filter(|c| normalise(&format!("{c}@x.example")).is_ascii()).collect();
        assert!(turned.is_empty(), "{turned:?}");
    }

    proptest! {
        #[test]
        fn a_normal_form_is_its_own(local in "[a-zA-Z\u{fc}\u{308}\u{212a}\u{1d160}\u{37e}@\"]{1,8}",
            domain in "[a-zA-Z0-9\u{fc}\u{308}\u{212a}\u{3002}\u{ff20}\u{fdfa}\u{ad}\u{200d}.xn-]{1,12}")
        {
            let form = normalise(&format!("{local}@{domain}"));
            prop_assert_eq!(normalise(&form), form);
        }

        #[test]
        fn any_text_has_a_bounded_form(text in any::<String>()) {
            let form = normalise(&text);
            prop_assert!(form.len() <= 3 * text.len() + DOMAIN_MAX);
            prop_assert_eq!(normalise(&form), form);
        }

        #[test]
        fn canonical_twins_are_one(text in "[a-z\u{fc}\u{e9}\u{308}\u{301}\u{c5}\u{1e69}\u{323}]{1,12}") {
            let (composed, apart): (String, String) = (text.nfc().collect(), text.nfd().collect());
            prop_assert_eq!(normalise(&format!("{composed}@{composed}.example")), normalise(&format!("{apart}@{apart}.example")));
        }
    }
}
