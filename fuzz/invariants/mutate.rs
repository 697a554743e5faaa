//! Structure-aware mutation of JSON: changes whole tokens, members and values, so that most mutants are still JSON.

use clerk_sync::json::{Lexer, Token};
use fastrand::Rng;

/// Values that users can write, that Clerk's objects hold, or that parsers are known to trip over.
const VALUES: [&str; 40] = [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1e400",
    "-1E-999999",
    "0.10",
    "123456789012345678901234567890",
    "1735197879343",
    "1735197879",
    "253402300800000",
    "-1",
    "1e12",
    "{}",
    "[]",
    r#""""#,
    r#""half \ud83d""#,
    r#""\udfff""#,
    r#""\u0000""#,
    r#""\ud83d\ude00""#,
    r#""user_1""#,
    r#""user_""#,
    r#""\u0075ser_2""#,
    r#""user_a-b""#,
    r#""org_1""#,
    r#"{"id":"org_1"}"#,
    r#"{"user_id":"user_1"}"#,
    r#"{"nonce":"s3cr3t"}"#,
    r#"[{"backup_codes":["user_3"]}]"#,
    r#"{"$serde_json::private::RawValue":"{"}"#,
    r#"{"$serde_json::private::Number":"x"}"#,
    r#"{"type":"user.deleted","data":[],"id":7}"#,
    r#"[{"email_address":"a@b","verification":{"status":"verified"}}]"#,
    r#""user.updated""#,
    r#""user.created""#,
    r#""organizationMembership.updated""#,
    r#""organization.updated""#,
    r#""session.ended""#,
    r#""user.deleted""#,
];

const NAMES: [&str; 26] = [
    "type",
    "data",
    "id",
    "user_id",
    "organization",
    "public_user_data",
    "banned",
    "deprovisioned",
    "timestamp",
    "updated_at",
    "created_at",
    "instance_id",
    "role",
    "permissions",
    "nonce",
    "backup_codes",
    "password_digest",
    "totp_secret",
    "public_metadata",
    "private_metadata",
    "unsafe_metadata",
    "email_addresses",
    "external_accounts",
    "$serde_json::private::RawValue",
    "$serde_json::private::Number",
    "\\u006eonce",
];

/// A token and where it stands.
type Found<'a> = (Token<'a>, usize, usize);

/// Changes a text in one place. What is no JSON is only read as far as it is.
pub fn mutate(text: &str, rng: &mut Rng) -> String {
    let (mut lexer, mut tokens) = (Lexer::new(text), Vec::new());
    while let Ok(Some(token)) = lexer.next_token() {
        let (from, to) = lexer.span();
        tokens.push((token, from, to));
    }
    let changed = match rng.u8(..9) {
        0 | 1 => insert_member(text, &tokens, rng),
        2 | 3 => replace_value(text, &tokens, rng),
        4 => escape(text, &tokens, rng),
        5 => copy_member(text, &tokens, rng),
        6 => remove_member(text, &tokens, rng),
        7 => Some(insert_blank(text, &tokens, rng)),
        _ => Some(damage(text, rng)),
    };
    changed.unwrap_or_else(|| value(rng))
}

fn value(rng: &mut Rng) -> String {
    match rng.u8(..12) {
        0 => nested(rng.usize(55..75)),
        1 => nested(rng.usize(120..140)),
        2 => format!("\"{}\"", "x".repeat(rng.usize(250..260))),
        3 => format!("[\"user_{}\"]", rng.u16(..)),
        _ => VALUES[rng.usize(..VALUES.len())].to_owned(),
    }
}

fn nested(depth: usize) -> String {
    "[".repeat(depth) + &"]".repeat(depth)
}

fn splice(text: &str, from: usize, to: usize, with: &str) -> String {
    format!("{}{with}{}", &text[..from], &text[to..])
}

/// The places of the tokens of which `is` holds; one of them.
fn pick(tokens: &[Found<'_>], rng: &mut Rng, is: impl Fn(Token<'_>) -> bool) -> Option<usize> {
    rng.choice((0..tokens.len()).filter(|index| is(tokens[*index].0)).collect::<Vec<_>>())
}

/// Where the value that begins with a token ends.
fn value_end(tokens: &[Found<'_>], first: usize) -> Option<usize> {
    let mut open = 0_usize;
    for (token, _, to) in tokens.get(first..)? {
        match token {
            Token::ObjectStart | Token::ArrayStart => open += 1,
            Token::ObjectEnd | Token::ArrayEnd => open = open.checked_sub(1)?,
            _ => {}
        }
        if open == 0 && !matches!(token, Token::Name(_)) {
            return Some(*to);
        }
    }
    None
}

fn insert(text: &str, tokens: &[Found<'_>], rng: &mut Rng, member: &str) -> Option<String> {
    let object = pick(tokens, rng, |token| token == Token::ObjectStart)?;
    let comma = if tokens.get(object + 1)?.0 == Token::ObjectEnd { "" } else { "," };
    Some(splice(text, tokens[object].2, tokens[object].2, &format!("{member}{comma}")))
}

fn insert_member(text: &str, tokens: &[Found<'_>], rng: &mut Rng) -> Option<String> {
    let member = format!("\"{}\":{}", NAMES[rng.usize(..NAMES.len())], value(rng));
    insert(text, tokens, rng, &member)
}

fn copy_member(text: &str, tokens: &[Found<'_>], rng: &mut Rng) -> Option<String> {
    let name = pick(tokens, rng, |token| matches!(token, Token::Name(_)))?;
    let member = text.get(tokens[name].1..value_end(tokens, name + 1)?)?.to_owned();
    insert(text, tokens, rng, &member)
}

fn replace_value(text: &str, tokens: &[Found<'_>], rng: &mut Rng) -> Option<String> {
    let first = pick(tokens, rng, |token| !matches!(token, Token::Name(_) | Token::ObjectEnd | Token::ArrayEnd))?;
    Some(splice(text, tokens[first].1, value_end(tokens, first)?, &value(rng)))
}

/// Writes one character of a string as an escape.
fn escape(text: &str, tokens: &[Found<'_>], rng: &mut Rng) -> Option<String> {
    let index = pick(tokens, rng, |token| matches!(token, Token::Name(_) | Token::String(_)))?;
    let from = tokens[index].1 + 1;
    let plain = text.get(from..)?;
    let plain = &plain[..plain.find(['\\', '"'])?];
    let (at, c) = rng.choice(plain.char_indices().filter(|(_, c)| c.is_ascii_alphanumeric()).collect::<Vec<_>>())?;
    Some(splice(text, from + at, from + at + 1, &format!("\\u{:04x}", u32::from(c))))
}

fn remove_member(text: &str, tokens: &[Found<'_>], rng: &mut Rng) -> Option<String> {
    let name = pick(tokens, rng, |token| matches!(token, Token::Name(_)))?;
    let end = value_end(tokens, name + 1)?;
    let rest = text[end..].trim_start();
    let to = rest.strip_prefix(',').map_or(end, |after| text.len() - after.len());
    Some(splice(text, tokens[name].1, to, ""))
}

fn insert_blank(text: &str, tokens: &[Found<'_>], rng: &mut Rng) -> String {
    let at = rng.choice(tokens).map_or(0, |token| token.1);
    splice(text, at, at, [" ", "\n", "\t", "\r", "\u{a0}", "\u{feff}"][rng.usize(..6)])
}

/// Removes, doubles or replaces a few characters.
fn damage(text: &str, rng: &mut Rng) -> String {
    let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let from = rng.usize(..places.len());
    let to = (from + rng.usize(..4)).min(places.len() - 1);
    let (from, to) = (places[from], places[to]);
    let with = ["", &text[from..to], "\"", "\\", "{", "]", ",", ":", "\u{1}", "é", "0", "e"][rng.usize(..12)];
    splice(text, from, if rng.bool() { to } else { from }, with)
}

/// Changes what stands before or after the first line break, where either is JSON by itself; else the whole.
pub fn mutate_part(text: &str, rng: &mut Rng) -> String {
    let is_json = |text: &str| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    match text.split_once('\n').filter(|(first, second)| is_json(first) && is_json(second)) {
        Some((first, second)) if rng.bool() => format!("{}\n{second}", mutate(first, rng).replace('\n', " ")),
        Some((first, second)) => format!("{first}\n{}", mutate(second, rng)),
        None => mutate(text, rng),
    }
}
