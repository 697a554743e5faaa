//! Redis and Meilisearch: reached, and willing to do what we ask of them.

use crate::{
    backends::{
        cache::{Cache, CacheError, Server},
        search::{Search, SearchError},
    },
    clock::Clock,
    config::{self, Config},
};

use super::{PATIENCE, finding::Finding};

const REDIS: &str = "redis";
const MEILI: &str = "meilisearch";

pub(super) async fn redis(config: &Config, clock: &Clock) -> Finding {
    if config.redis.url.is_empty() {
        return Finding::ok(REDIS, "not used: each process has a cache of its own");
    }
    let key = format!("doctor:{}", clock.new_id().simple());
    let tried = tokio::time::timeout(PATIENCE, async {
        let cache = Cache::new(&config.cache, &config.redis, clock.clone()).map_err(|error| ("redis.url", error))?;
        cache.probe(&key).await
    });
    match tried.await {
        Ok(Ok(server)) => well(&server, config.stream.enabled),
        Ok(Err((step, error))) => refused(step, &error),
        Err(_) => refused("PING", &CacheError::TimedOut),
    }
}

fn well(server: &Server, stream: bool) -> Finding {
    let version = server.version.as_deref().unwrap_or("of an unknown version");
    match (server.most, server.policy.as_deref()) {
        (Some(most), Some("noeviction")) if most > 0 => Finding::note(
            REDIS,
            format!(
                "Redis {version}; once its {} MB are full it refuses writes (maxmemory-policy noeviction)",
                most >> 20
            ),
            "Give it memory enough, or set maxmemory-policy volatile-lru: what the cache loses is loaded again",
        ),
        // The stream has no end of its own, so only these policies take it.
        (Some(most), Some(policy)) if stream && most > 0 && policy.starts_with("allkeys") => Finding::note(
            REDIS,
            format!(
                "Redis {version}; once its {} MB are full it may drop the stream (maxmemory-policy {policy})",
                most >> 20
            ),
            "Set maxmemory-policy volatile-lru, or CLERK_SYNC__STREAM__ENABLED=false if nobody reads the stream",
        ),
        _ => Finding::ok(REDIS, format!("Redis {version}: keys and scripts work")),
    }
}

fn refused(step: &str, error: &CacheError) -> Finding {
    let code = match error {
        CacheError::Failed(code) => code.as_str(),
        _ => "",
    };
    let remedy = match (error, code) {
        (CacheError::Address, _) => "Set REDIS_URL=redis://user:password@host:6379, or rediss:// for TLS",
        (_, "NOAUTH" | "WRONGPASS") => "Correct user and password in REDIS_URL",
        (_, "NOPERM") => {
            "Let our user use GET, SET, GETRANGE, SETRANGE, UNLINK, SCAN, XADD, XTRIM, XINFO, XRANGE, XDEL, EVALSHA, SCRIPT LOAD and PING on keys that begin with redis.prefix (ACL SETUSER)"
        }
        (_, "READONLY") => "Set REDIS_URL to the primary: this one is a replica",
        (_, "OOM" | "MISCONF") => "See INFO memory and the log of Redis: it takes no writes",
        _ => "Start Redis, or set REDIS_URL to where it is; without REDIS_URL each process has a cache of its own",
    };
    Finding::fail(REDIS, format!("{step}: {error}"), remedy)
}

pub(super) async fn meili(config: &config::Meili) -> Finding {
    if config.url.is_empty() {
        return Finding::ok(MEILI, "not used: search lives in the database");
    }
    match tokio::time::timeout(PATIENCE, Search::probe(config)).await {
        Ok(Ok(true)) => Finding::ok(MEILI, format!("the key may read and write the index {}", config.index)),
        Ok(Ok(false)) => Finding::note(
            MEILI,
            format!("the key is accepted; there is no index {} yet", config.index),
            "Start `clerk-sync serve`, which makes it, then run `clerk-sync reindex --search`",
        ),
        Ok(Err(error)) => {
            let remedy = match &error {
                SearchError::Key { .. } => {
                    "Set MEILI_MASTER_KEY to the master key, or to one with all rights over the index and over tasks"
                }
                SearchError::Config { .. } => {
                    "Set MEILI_URL, MEILI_MASTER_KEY and CLERK_SYNC__MEILI__INDEX as they should be"
                }
                SearchError::Unreachable(_) => {
                    "Start Meilisearch, or set MEILI_URL to where it is; without MEILI_URL search lives in the database"
                }
                _ => "See that MEILI_URL leads to Meilisearch itself, and what its log says",
            };
            Finding::fail(MEILI, error.to_string(), remedy)
        }
        Err(_) => Finding::fail(
            MEILI,
            "no answer in time",
            "See that Meilisearch runs and can be reached from here (MEILI_URL)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn a_redis_that_will_be_full_or_drops_the_stream_is_noted() {
        let server = |most, policy: &str| Server { version: None, most: Some(most), policy: Some(policy.into()) };
        assert_eq!(well(&server(64 << 20, "noeviction"), true).level, Level::Note);
        assert_eq!(well(&server(0, "noeviction"), true).level, Level::Ok);
        assert_eq!(well(&server(64 << 20, "volatile-lru"), true).level, Level::Ok);
        assert_eq!(well(&server(64 << 20, "allkeys-lru"), false).level, Level::Ok);
        assert_eq!(well(&server(64 << 20, "allkeys-lru"), true).level, Level::Note);
        assert_eq!(well(&Server::default(), true).level, Level::Ok);
        let failed = refused("filling through a script", &CacheError::Failed("NOPERM".into()));
        assert!(failed.remedy.unwrap().contains("EVALSHA"));
    }
}
