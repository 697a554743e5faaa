//! What stands outside of the database: cache, search index, public stream, mails written as files.

use std::path::Path;

use crate::{
    backends::cache::{Entry, Lookup},
    clock::Clock,
    json::Value,
    sinks::Sinks,
};

use super::{Departed, EraseError, feed};

/// Both keys of a person are marked as gone.
pub(super) async fn cache(sinks: &Sinks, people: &[Departed], erase: bool) -> Result<u64, EraseError> {
    let cache = &sinks.cache.cache;
    let keys = people.iter().flat_map(|person| {
        let own = person.id.map(|id| id.to_string());
        own.into_iter().chain([person.clerk_id.clone()]).map(|id| (format!("user:{id}"), person.rev))
    });
    let keys: Vec<(String, i64)> = keys.collect();
    let mut held = 0;
    for (key, _) in &keys {
        held += u64::from(matches!(cache.get(key).await?, Lookup::Hit { .. } | Lookup::Stale(_)));
    }
    if erase && held > 0 {
        let gone: Vec<Entry> = keys.into_iter().map(|(key, rev)| Entry { key, rev, json: None }).collect();
        cache.put_many(&gone).await?;
    }
    Ok(held)
}

/// Told to forget everybody; an index does not tell what it had.
pub(super) async fn search(sinks: &Sinks, people: &[Departed], erase: bool) -> Result<u64, EraseError> {
    let search = &sinks.search.search;
    let mut held = 0;
    for person in people {
        let Some(id) = person.id else { continue };
        held += u64::from(search.search(&person.clerk_id, 10).await?.contains(&id));
    }
    if erase {
        let gone = people.iter().filter_map(|person| Some((person.id?, person.rev))).collect();
        search.apply(Vec::new(), gone).await?;
    }
    Ok(held)
}

/// Entries that say more of somebody than ids go. What tells that they are deleted says no more, and stays: there may be
/// readers who have not come to it.
pub(super) async fn stream(sinks: &Sinks, clock: &Clock, people: &[Departed], erase: bool) -> Result<u64, EraseError> {
    let Some(sink) = &sinks.stream else { return Ok(0) };
    if erase {
        // After the feed was: a page of it that is on its way now is read again.
        sink.stream.turn(&clock.new_id().simple().to_string()).await?;
    }
    let ids: Vec<&str> = people.iter().map(|person| person.clerk_id.as_str()).collect();
    let (mut held, mut from) = (0, None);
    loop {
        let part = sink.stream.naming(from.as_deref(), &ids).await?;
        let personal: Vec<String> =
            part.entries.into_iter().filter(|(_, frame)| says_more(frame)).map(|(id, _)| id).collect();
        held += personal.len() as u64;
        if erase && !personal.is_empty() {
            sink.stream.remove(&personal).await?;
        }
        match part.next {
            Some(next) => from = Some(next),
            None => return Ok(held),
        }
    }
}

/// What is not as we write it is not ours to keep either.
fn says_more(frame: &str) -> bool {
    let frame = Value::stored(frame);
    frame.get("data").and_then(Value::as_object).is_none_or(feed::is_personal)
}

/// Files that name somebody.
pub(super) async fn mail_files(folder: Option<&Path>, people: &[Departed], erase: bool) -> Result<u64, EraseError> {
    let Some(folder) = folder else { return Ok(0) };
    let mut files = match tokio::fs::read_dir(folder).await {
        Ok(files) => files,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    let mut held = 0;
    while let Some(file) = files.next_entry().await? {
        let path = file.path();
        if path.extension().is_none_or(|ext| ext != "eml") {
            continue;
        }
        let mail = tokio::fs::read(&path).await?;
        let names =
            |person: &Departed| mail.windows(person.clerk_id.len()).any(|bytes| bytes == person.clerk_id.as_bytes());
        if people.iter().any(names) {
            held += 1;
            if erase {
                tokio::fs::remove_file(&path).await?;
            }
        }
    }
    Ok(held)
}
