//! The cache: everybody who changed is written under both their ids, or marked as gone.

use crate::{
    backends::cache::{Cache, Entry as CacheEntry, user_key},
    db::Db,
    domain::{Account, view},
    json::object_text,
    outbox::{
        feed::Entry,
        relay::{Refused, Sink, Transient},
    },
};

/// Writes changes to the cache: as a relayed sink where replicas share it, by each process's own tail where they do not.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names say it")]
pub struct CacheSink {
    pub db: Db,
    pub cache: Cache,
}

impl Sink for CacheSink {
    fn name(&self) -> &'static str {
        match self.cache {
            Cache::Local(_) => "cache:local",
            Cache::Redis(_) => "cache:redis",
        }
    }

    async fn deliver(&self, entries: &[Entry]) -> Result<Vec<Refused>, Transient> {
        let accounts =
            super::present(&self.db, entries).await.map_err(|_| Transient::from("the database does not answer"))?;
        let entries: Vec<CacheEntry> = accounts.iter().flat_map(cached).collect();
        self.cache.put_many(&entries).await.map_err(|error| Transient::from(error.to_string()))?;
        Ok(Vec::new())
    }
}

/// The keys under which a person is read.
pub fn keys(account: &Account) -> [String; 2] {
    [user_key(&account.id), user_key(&account.clerk_id)]
}

fn cached(account: &Account) -> Vec<CacheEntry> {
    let json = account.is_live().then(|| object_text(&view::user(account)).into());
    keys(account).into_iter().map(|key| CacheEntry { key, rev: account.rev, json: json.clone() }).collect()
}
