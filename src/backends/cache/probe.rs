//! Whether the cache may do all that is asked of it: one entry of our own is put, read back and taken away.

use super::{Cache, CacheError, Entry, Lookup};

/// What a server tells of itself; empty where it keeps that to itself, or is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Server {
    /// Its version.
    pub version: Option<String>,
    /// Bytes that it may hold; 0: any number.
    pub most: Option<u64>,
    /// What it does when it is full.
    pub policy: Option<String>,
}

impl Cache {
    /// Tries what readers and sinks do. `key` is nobody else's.
    ///
    /// # Errors
    /// The step that failed, and how.
    pub async fn probe(&self, key: &str) -> Result<Server, (&'static str, CacheError)> {
        let at = |step: &'static str| move |error| (step, error);
        self.ping().await.map_err(at("PING"))?;
        let tried = self.tried(key).await;
        // Also where a step failed: what was written is to go.
        let evicted = self.evict(key).await.map_err(at("removing a key"));
        tried.and(evicted)?;
        let Self::Redis(redis) = self else { return Ok(Server::default()) };
        Ok(redis.info().await.map(|info| read(&info)).unwrap_or_default())
    }

    async fn tried(&self, key: &str) -> Result<(), (&'static str, CacheError)> {
        let scripts = "reading through a script (EVALSHA)";
        let lease = match self.get(key).await.map_err(|error| (scripts, error))? {
            Lookup::Miss(lease) => lease,
            Lookup::Hit { .. } | Lookup::Stale(_) | Lookup::Gone { .. } => {
                return Err((scripts, CacheError::Failed("it holds what was never written".into())));
            }
        };
        let filled =
            self.fill(lease, 1, Some("{}".into())).await.map_err(|error| ("filling through a script", error))?;
        let entry = Entry { key: key.to_owned(), rev: 2, json: Some("{}".into()) };
        let written = self.put_many(&[entry]).await.map_err(|error| ("writing through a script", error))?;
        let read = self.get(key).await.map_err(|error| (scripts, error))?;
        match (filled, written.as_slice(), read) {
            (true, [true], Lookup::Hit { rev: 2, .. }) => Ok(()),
            _ => Err(("reading what was written", CacheError::Failed("it is not there".into()))),
        }
    }
}

fn read(info: &str) -> Server {
    let value = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        // A word of the server's own, not of anybody who wrote to it; still nothing but plain letters is shown.
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        line.map(str::trim).filter(|value| value.len() <= 40 && value.chars().all(plain)).map(str::to_owned)
    };
    Server {
        version: value("redis_version"),
        most: value("maxmemory").and_then(|most| most.parse().ok()),
        policy: value("maxmemory_policy"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_tells_of_itself() {
        let info = "# Server\r\nredis_version:7.2.4\r\n# Memory\r\nmaxmemory_human:1.00M\r\nmaxmemory:1048576\r\nmaxmemory_policy:noeviction\r\n";
        let server = Server { version: Some("7.2.4".into()), most: Some(1_048_576), policy: Some("noeviction".into()) };
        assert_eq!(read(info), server);
        assert_eq!(read("redis_version:\x1b[31m\r\nmaxmemory:many"), Server::default());
    }
}
