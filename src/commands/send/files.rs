//! Parser of event files: one body a file, or the NDJSON that `clerk webhooks listen --json` writes.
//!
//! Bodies are kept byte for byte. A line that cannot be read is reported with its number and stops nothing. Lines that are
//! no deliveries (`ready`, `reconnecting`, types that are not known) are counted.

use std::{
    fmt::Display,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use crate::json::Value;

use super::{Delivery, new_id};

/// Padding is optional.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Extensions of the files that are taken from a folder.
const EXTENSIONS: [&str; 3] = ["json", "ndjson", "jsonl"];

/// What files hold.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// What is to be sent, in order.
    pub(super) deliveries: Vec<Delivery>,
    /// Lines that are no deliveries.
    pub(super) passed_over: usize,
    /// What cannot be read: where, and why.
    pub(super) broken: Vec<String>,
}

/// The files that the arguments name, folders replaced by what is in them; `-` is the standard input.
pub(super) fn list(paths: &[PathBuf]) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let inside = std::fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path()));
        let mut inside: Vec<PathBuf> = inside.collect::<io::Result<_>>()?;
        inside.retain(|path| path.extension().is_some_and(|ext| EXTENSIONS.iter().any(|known| ext == *known)));
        inside.sort();
        files.extend(inside);
    }
    Ok(files)
}

/// Reads a file whole, the standard input to its end.
pub(super) fn read(file: &Path) -> io::Result<Vec<u8>> {
    if file.as_os_str() != "-" {
        return std::fs::read(file);
    }
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Contents {
    /// Adds what a file holds.
    pub(super) fn parse(&mut self, name: &str, bytes: Vec<u8>) {
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        match json(text) {
            // One event alone, on one line or on several.
            Some(value) if is_line_of_listen(&value) => return self.line(name, format_args!("{name}:1"), &value),
            Some(_) => return self.deliveries.push(Delivery { name: name.to_owned(), id: new_id(), body: bytes }),
            None => {}
        }
        let lines: Vec<(usize, &[u8])> = text
            .split(|byte| *byte == b'\n')
            .enumerate()
            .map(|(index, line)| (index + 1, line.trim_ascii()))
            .filter(|(_, line)| !line.is_empty())
            .collect();
        let values: Vec<(usize, Option<Value>)> =
            lines.into_iter().map(|(number, line)| (number, json(line))).collect();
        if !values.iter().any(|(_, value)| value.as_ref().is_some_and(is_line_of_listen)) {
            return self.broken.push(format!("{name}: neither JSON nor lines of `clerk webhooks listen --json`"));
        }
        let last = values.len();
        for (index, (number, value)) in values.into_iter().enumerate() {
            let place = format_args!("{name}:{number}");
            match value {
                Some(value) => self.line(name, place, &value),
                None if index + 1 == last => self.broken.push(format!("{place}: the last line is cut off")),
                None => self.broken.push(format!("{place}: no JSON")),
            }
        }
    }

    fn line(&mut self, name: &str, place: impl Display, line: &Value) {
        let Some(body) = line.get("body_b64") else {
            match line["type"].as_str() {
                Some("event") => self.broken.push(format!("{place}: an event without body_b64")),
                _ => self.passed_over += 1,
            }
            return;
        };
        let body = body.as_str().and_then(|body| BASE64.decode(body.trim()).ok());
        let id = svix_id(line).unwrap_or_else(new_id);
        match body {
            None => self.broken.push(format!("{place}: body_b64 is not base64")),
            Some(_) if !is_sendable(&id) => self.broken.push(format!("{place}: svix-id cannot stand in a header")),
            Some(body) => self.deliveries.push(Delivery { name: name.to_owned(), id, body }),
        }
    }
}

/// Whatever users of Clerk write is JSON that can be sent, also where other parsers refuse it.
fn json(bytes: &[u8]) -> Option<Value> {
    Value::parse(std::str::from_utf8(bytes).ok()?).ok()
}

/// A line of the listener, not a body: Clerk's types have a dot and come with `data`.
fn is_line_of_listen(value: &Value) -> bool {
    let plain = |kind: &str| !kind.contains('.');
    let is_message = value["type"].as_str().is_some_and(plain) && value.get("data").is_none();
    value.as_object().is_some() && (value.get("body_b64").is_some() || is_message)
}

/// The delivery's own id, by which the receiver knows a repetition.
fn svix_id(line: &Value) -> Option<String> {
    let headers = line["headers"].as_object();
    let find = |name: &str| {
        let (_, value) = headers?.iter().find(|(header, _)| header.eq_ignore_ascii_case(name))?;
        // Some write headers as lists.
        value.as_str().or_else(|| value[0].as_str())
    };
    find("svix-id").or_else(|| find("webhook-id")).or_else(|| line["svix_id"].as_str()).map(str::to_owned)
}

fn is_sendable(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Contents {
        let mut contents = Contents::default();
        contents.parse("f", text.as_bytes().to_vec());
        contents
    }

    fn event(id: &str, body: &str) -> String {
        serde_json::json!({
            "type": "event", "headers": {"Svix-Id": id, "svix-signature": "v1,AAAA"},
            "body_b64": base64::engine::general_purpose::STANDARD.encode(body),
        })
        .to_string()
    }

    fn sent(contents: &Contents) -> Vec<(&str, &str)> {
        let text = |delivery| std::str::from_utf8(delivery).unwrap();
        contents.deliveries.iter().map(|delivery| (delivery.id.as_str(), text(&delivery.body))).collect()
    }

    #[test]
    fn what_the_listener_writes_is_read_line_by_line() {
        let lines = [
            r#"{"type": "ready"}"#.to_owned(),
            event("msg_1", "{\"a\": 1}\n"),
            String::new(),
            r#"{"type": "reconnecting"}"#.to_owned(),
            "  ".to_owned(),
            r#"{"type": "something new", "x": [1]}"#.to_owned(),
            event("msg_2", "\u{feff}é"),
        ];
        for end in ["\n", "\r\n"] {
            let contents = parse(&lines.join(end));
            assert_eq!(sent(&contents), [("msg_1", "{\"a\": 1}\n"), ("msg_2", "\u{feff}é")], "byte for byte");
            assert_eq!((contents.passed_over, contents.broken.len()), (3, 0));
        }
    }

    #[test]
    fn a_broken_line_is_named_and_stops_no_other() {
        let cut = event("msg_4", "{}");
        let lines = [
            event("msg_1", "1"),
            r#"{"type":"event","headers":{},"body_b64":"%%%"}"#.to_owned(),
            "not json".to_owned(),
            r#"{"type":"event","headers":{}}"#.to_owned(),
            event("two\nlines", "{}"),
            event("msg_3", "3"),
            cut[..cut.len() - 9].to_owned(),
        ];
        let contents = parse(&lines.join("\n"));
        assert_eq!(sent(&contents), [("msg_1", "1"), ("msg_3", "3")]);
        assert_eq!(
            contents.broken,
            [
                "f:2: body_b64 is not base64",
                "f:3: no JSON",
                "f:4: an event without body_b64",
                "f:5: svix-id cannot stand in a header",
                "f:7: the last line is cut off",
            ]
        );
    }

    #[test]
    fn one_line_alone_is_still_a_line() {
        let contents = parse(&event("msg_1", "{}"));
        assert_eq!(sent(&contents), [("msg_1", "{}")]);
        let value = Value::parse(&event("msg_1", "{}")).unwrap();
        let pretty = parse(&format!("{value:#}"));
        assert_eq!(sent(&pretty), [("msg_1", "{}")], "also when it was made readable");
        assert_eq!(parse(r#"{"type":"ready"}"#).passed_over, 1);
        assert_eq!(parse(&event("", "{}")).broken.len(), 1);
    }

    #[test]
    fn a_body_is_a_file_as_it_is() {
        for body in
            ["{\n  \"type\": \"user.created\",\r\n  \"data\": {}\n}\n", "[]", "\u{feff}{\"type\":\"a.b\",\"data\":{}}"]
        {
            let contents = parse(body);
            assert_eq!((contents.deliveries.len(), contents.broken.len()), (1, 0), "{body:?}");
            assert_eq!(contents.deliveries[0].body, body.as_bytes());
        }
        let deep = format!(r#"{{"type":"a.b","data":{}{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
        for body in [r#"{"type":"a.b","data":{"n":1e400,"bio":"half \ud83d"}}"#, deep.as_str()] {
            assert_eq!(sent(&parse(body)).len(), 1, "what users write: {body:.60}");
        }
        for no_body in ["", "{\n \"type\": \"user.created\",\n \"da", "hello\nworld\n"] {
            assert_eq!(parse(no_body).broken.len(), 1, "{no_body:?}");
        }
    }

    #[test]
    fn the_id_is_found_wherever_it_stands() {
        for line in [
            r#"{"body_b64":"e30","headers":{"webhook-id":"msg_1"}}"#,
            r#"{"body_b64":"e30=","headers":{"SVIX-ID":["msg_1"]}}"#,
            r#"{"body_b64":"e30=","svix_id":"msg_1"}"#,
        ] {
            assert_eq!(sent(&parse(line)), [("msg_1", "{}")], "{line}");
        }
        assert!(sent(&parse(r#"{"body_b64":"e30="}"#))[0].0.starts_with("msg_"));
    }
}
