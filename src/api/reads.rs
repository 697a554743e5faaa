//! Reading people for callers: who is meant, and the object that is shown of them.
//!
//! Single reads go through [`ApiState::user_json`] and nowhere else, so that a cache can stand before the database
//! there. Lists are read from the database, a fixed number of statements however long they are.

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait, DbErr};
use uuid::Uuid;

use crate::{
    backends::cache::{Json, Loaded, user_key},
    domain::view,
    json::Value,
    sync::load,
};

use super::ApiState;

/// Who is meant by the segment of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// Our id.
    Id(Uuid),
    /// Clerk's id.
    Clerk(String),
}

impl Key {
    /// A UUID in its usual form, or a plain `user_…`; nothing else names anybody.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |rest: &str| !rest.is_empty() && rest.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
        if text.strip_prefix("user_").is_some_and(plain) {
            return Some(Self::Clerk(text.to_owned()));
        }
        // Not the forms with braces, without hyphens, or with `urn:uuid:`.
        if text.len() == 36 { Uuid::try_parse(text).ok().map(Self::Id) } else { None }
    }

    /// The key under which the cache has this person.
    fn in_cache(&self) -> String {
        match self {
            Self::Id(id) => user_key(id),
            Self::Clerk(id) => user_key(id),
        }
    }
}

impl ApiState {
    /// A live person's `rev` and object, from the cache or else from the database; `None` for one who is deleted or was
    /// never here. Never older than what this process has delivered of the change feed about them.
    ///
    /// # Errors
    /// What the database says.
    pub(super) async fn user_json(&self, key: &Key) -> Result<Option<(i64, Json)>, DbErr> {
        self.sinks.cache.cache.read_through(&key.in_cache(), || self.load_user(key)).await
    }

    async fn load_user(&self, key: &Key) -> Result<Loaded, DbErr> {
        let tx = self.db.begin_read().await?;
        let found = match key {
            Key::Id(id) => load::accounts_by_id(&tx, &[*id]).await?,
            Key::Clerk(id) => load::accounts(&tx, &BTreeSet::from([id.clone()])).await?,
        };
        // Nothing that is known of somebody who is not here, at a lower rev than the head, can be newer than that.
        let Some(account) = found.first() else { return Ok(Loaded::Absent { head: load::head(&tx).await? }) };
        if !account.is_live() {
            return Ok(Loaded::Absent { head: account.rev });
        }
        Ok(Loaded::Row { rev: account.rev, json: Value::Object(view::user(account)).to_string().into() })
    }
}

/// The objects of these people, in their order; deleted ones left out.
///
/// # Errors
/// What the database says.
pub(super) async fn users(db: &impl ConnectionTrait, ids: &[Uuid]) -> Result<Vec<Value>, DbErr> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let accounts = load::accounts_by_id(db, ids).await?;
    Ok(accounts.iter().filter(|account| account.is_live()).map(|account| Value::Object(view::user(account))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_a_person_or_nobody() {
        let id = "019ab3f0-7e2c-7cc0-8f00-0123456789ab";
        assert_eq!(Key::parse(id), Uuid::parse_str(id).ok().map(Key::Id));
        assert_eq!(Key::parse("user_2aB_9"), Some(Key::Clerk("user_2aB_9".into())));
        for other in ["", "me", "user_", "user_a b", "user_a/b", "user_%", "org_1", "019ab3f07e2c7cc08f000123456789ab"]
        {
            assert_eq!(Key::parse(other), None, "{other:?}");
        }
        assert_eq!(Key::parse(&format!("{{{id}}}")), None);
    }
}
