//! Frames of websocket clients: exactly the protocol's objects are taken, with exactly what they say.

use clerk_sync::gateway::{canonical_word, protocol::Said};

use super::reference::{self, Tree};

/// Checks one frame, and every text in it as the name of a topic.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    topic(text);
    let said = Said::parse(text);
    let Some(tree) = reference::parse(text) else {
        // Nested deeper than the reference reads, or not JSON.
        assert!(said.is_none() || reference::is_json(text));
        return;
    };
    tree.each_text(&mut topic);
    match &said {
        Some(said) => assert!(says(said, &tree), "taken for another frame: {tree:?}"),
        None => assert!(!is_plain(text, &tree), "refused: {tree:?}"),
    }
}

fn topic(word: &str) {
    if let Some(canonical) = canonical_word(word) {
        assert_eq!(canonical_word(&canonical).as_deref(), Some(&*canonical));
        assert!(canonical.len() <= word.len().max(64) && canonical.is_ascii());
        assert!(!canonical.contains(char::is_whitespace) && word.is_ascii());
    }
}

/// Whether the one member of this name has this value.
fn has(tree: &Tree, name: &str, value: impl Fn(Option<&Tree>) -> bool) -> bool {
    let Tree::Object(members) = tree else { return false };
    members.iter().filter(|(known, _)| known == name).count() <= 1 && value(tree.last(name))
}

fn has_text(tree: &Tree, name: &str, text: &str) -> bool {
    has(tree, name, |value| value.and_then(Tree::as_text) == Some(&*without_nul(text)))
}

/// The reference reads U+0000 as U+FFFD.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn has_topics(tree: &Tree, topics: &[String]) -> bool {
    let texts = |value: &Tree| -> Option<Vec<String>> {
        let Tree::Array(items) = value else { return None };
        items.iter().map(|item| item.as_text().map(str::to_owned)).collect()
    };
    let topics: Vec<String> = topics.iter().map(|topic| without_nul(topic)).collect();
    has(tree, "topics", |value| value.and_then(texts).as_ref() == Some(&topics))
}

fn says(said: &Said, tree: &Tree) -> bool {
    let none = |value: Option<&Tree>| matches!(value, None | Some(Tree::Null));
    match said {
        Said::Auth { token } => has_text(tree, "type", "auth") && has_text(tree, "token", token),
        Said::Subscribe { topics, after, epoch } => {
            let is_after = |value: Option<&Tree>| match after {
                Some(after) => value.and_then(Tree::as_number).and_then(|number| number.parse().ok()) == Some(*after),
                None => none(value),
            };
            let is_epoch = |value: Option<&Tree>| match epoch {
                Some(epoch) => value.and_then(Tree::as_text) == Some(&*without_nul(epoch)),
                None => none(value),
            };
            has_text(tree, "type", "subscribe")
                && has_topics(tree, topics)
                && has(tree, "after", is_after)
                && has(tree, "epoch", is_epoch)
        }
        Said::Unsubscribe { topics } => has_text(tree, "type", "unsubscribe") && has_topics(tree, topics),
        Said::Ping => has_text(tree, "type", "ping"),
    }
}

/// Whether this is a frame as clients of ours write it, which must be taken.
fn is_plain(text: &str, tree: &Tree) -> bool {
    let Tree::Object(members) = tree else { return false };
    let known = |allowed: &[&str]| {
        members.iter().all(|(name, _)| {
            allowed.contains(&name.as_str()) && members.iter().filter(|(other, _)| other == name).count() == 1
        })
    };
    let text_of = |value: Option<&Tree>| value.and_then(Tree::as_text).is_some();
    let topics = || match tree.last("topics") {
        Some(Tree::Array(items)) => items.iter().all(|item| text_of(Some(item))),
        _ => false,
    };
    let after = || match tree.last("after") {
        None => true,
        Some(after) => after.as_number().is_some_and(|after| after.len() < 18 && after.parse::<u64>().is_ok()),
    };
    // `serde_json` itself refuses lone surrogates.
    if text.contains('\\') {
        return false;
    }
    match tree.last("type").and_then(Tree::as_text) {
        Some("auth") => known(&["type", "token"]) && text_of(tree.last("token")),
        Some("subscribe") => {
            let epoch = tree.last("epoch").is_none() || text_of(tree.last("epoch"));
            known(&["type", "topics", "after", "epoch"]) && topics() && after() && epoch
        }
        Some("unsubscribe") => known(&["type", "topics"]) && topics(),
        Some("ping") => known(&["type"]),
        _ => false,
    }
}
