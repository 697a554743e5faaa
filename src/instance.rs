//! The pinned instance of Clerk: whose users this database holds.
//!
//! It is pinned in `meta` by what Clerk's API says of the configured key at first contact, or by `clerk.instance_id`;
//! never by a delivery, since examples and fixtures carry the ids of others. Whatever asks Clerk's API in order to change
//! data calls [`Instance::check`] first; deliveries are compared with [`Instance::expected`]. A key of another instance
//! would find every user absent.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use sea_orm::DbErr;
use serde::Deserialize;
use serde_json::json;

use crate::{
    audit,
    clerk::api::{Api, ApiError},
    clock::Time,
    db::{Db, Quiet, Stmt},
    meta,
};

/// The key of `meta`.
const PIN: &str = "instance_id";

/// How long a pin that was read is used: what another process adopts is seen within this time.
const REMEMBERED: Duration = Duration::from_millis(900);

/// How long a start waits for Clerk's answer; then the key is checked at first contact.
const START_TIMEOUT: Duration = Duration::from_secs(2);

/// Why Clerk's API must not be used, or which instance it speaks of is not known.
#[derive(Debug, Clone, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum InstanceError {
    #[error(
        "clerk.secret_key is of the instance {key}, and this database is of {pinned}: set CLERK_SECRET_KEY to a key of \
         {pinned}, or DATABASE_URL to the database of {key}. If {key} is meant to take this database over, run \
         `clerk-sync instance --adopt`"
    )]
    OtherKey { pinned: String, key: String },
    #[error(
        "clerk.instance_id is {configured}, and this database is of {pinned}: set CLERK_SYNC__CLERK__INSTANCE_ID to \
         {pinned}, or DATABASE_URL to the database of {configured}. If {configured} is meant to take this database over, \
         run `clerk-sync instance --adopt`"
    )]
    OtherSetting { pinned: String, configured: String },
    #[error(
        "clerk.secret_key is of the instance {key}, and clerk.instance_id is {configured}: set CLERK_SECRET_KEY to a key of \
         {configured}, or CLERK_SYNC__CLERK__INSTANCE_ID to {key} (or not at all)"
    )]
    KeyAndSetting { configured: String, key: String },
    #[error("nothing names an instance: set CLERK_SECRET_KEY, or CLERK_SYNC__CLERK__INSTANCE_ID")]
    Nameless,
    #[error("which instance clerk.secret_key is of is not known: {0}")]
    Unanswered(ApiError),
    #[error("the database: {0}")]
    Database(String),
}

impl From<DbErr> for InstanceError {
    fn from(error: DbErr) -> Self {
        Self::Database(Quiet(&error).to_string())
    }
}

impl InstanceError {
    /// Whether two instances are named that differ, which only an operator can resolve.
    pub fn is_mismatch(&self) -> bool {
        matches!(self, Self::OtherKey { .. } | Self::OtherSetting { .. } | Self::KeyAndSetting { .. })
    }
}

/// What names an instance, for an operator.
#[derive(Debug, Clone, Default)]
pub struct Named {
    /// What `meta` holds.
    pub pinned: Option<String>,
    /// `clerk.instance_id`.
    pub configured: Option<String>,
    /// What Clerk's API says of the key, or why it does not; none without a key.
    pub key: Option<Result<String, ApiError>>,
}

/// The pinned instance, checked once for each process and key. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Instance(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    db: Db,
    api: Option<Api>,
    configured: Option<String>,
    /// The instance of the key: a key belongs to one for as long as it lives.
    key: OnceLock<String>,
    pin: Mutex<Option<(Instant, Option<String>)>>,
}

#[derive(Deserialize)]
struct Answer {
    id: String,
}

impl Instance {
    /// `configured`: `clerk.instance_id`; empty: none. Asks nothing yet.
    pub fn new(db: Db, api: Option<Api>, configured: &str) -> Self {
        let configured = Some(configured.trim()).filter(|id| !id.is_empty()).map(str::to_owned);
        Self(Arc::new(Inner { db, api, configured, key: OnceLock::new(), pin: Mutex::default() }))
    }

    /// The instance whose deliveries are applied, if one is known: `clerk.instance_id`, else the pinned one, as of 1 s ago
    /// at most.
    ///
    /// # Errors
    /// Fails where the database cannot be read.
    pub async fn expected(&self) -> Result<Option<String>, DbErr> {
        if self.0.configured.is_some() {
            return Ok(self.0.configured.clone());
        }
        let remembered = self.0.pin.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match remembered {
            Some((at, pin)) if at.elapsed() < REMEMBERED => Ok(pin),
            _ => self.read().await,
        }
    }

    /// Returns the instance of the key once it is known to be the pinned one; pins it where none is.
    ///
    /// # Errors
    /// Fails where the instances differ, and where Clerk does not answer within `patience` or refuses the key (401).
    pub async fn check(&self, patience: Duration) -> Result<String, InstanceError> {
        let pinned = self.settled().await?;
        let key = self.key(patience).await.map_err(InstanceError::Unanswered)?;
        if let Some(configured) = self.0.configured.clone().filter(|configured| *configured != key) {
            return Err(InstanceError::KeyAndSetting { configured, key });
        }
        match pinned {
            Some(pinned) if pinned != key => Err(InstanceError::OtherKey { pinned, key }),
            Some(_) => Ok(key),
            None => match self.pin(&key).await? {
                pinned if pinned == key => Ok(key),
                // Another process was first.
                pinned => Err(InstanceError::OtherKey { pinned, key }),
            },
        }
    }

    /// Checks what a start can check. Clerk need not answer: then the first use of its API is what checks the key.
    ///
    /// # Errors
    /// Fails where the instances differ.
    pub async fn check_at_start(&self) -> Result<(), InstanceError> {
        self.settled().await?;
        if self.0.api.is_none() {
            return Ok(());
        }
        match self.check(START_TIMEOUT).await {
            Err(error @ InstanceError::Unanswered(_)) => {
                tracing::warn!(%error, "the secret key is checked again before Clerk's API is used");
                Ok(())
            }
            checked => checked.map(drop),
        }
    }

    /// What names an instance, asked anew.
    ///
    /// # Errors
    /// Fails where the database cannot be read.
    pub async fn named(&self, patience: Duration) -> Result<Named, DbErr> {
        let key = match &self.0.api {
            Some(_) => Some(self.key(patience).await),
            None => None,
        };
        Ok(Named { pinned: self.read().await?, configured: self.0.configured.clone(), key })
    }

    /// Pins the instance of the key or, without one, `clerk.instance_id`, whatever was pinned; audited. Returns what was
    /// pinned and what is.
    ///
    /// # Errors
    /// Fails where key and setting name two, or nothing names one, and where Clerk does not answer.
    pub async fn adopt(&self, now: Time) -> Result<(Option<String>, String), InstanceError> {
        let key = match &self.0.api {
            Some(_) => Some(self.key(Duration::from_secs(10)).await.map_err(InstanceError::Unanswered)?),
            None => None,
        };
        let new = match (key, self.0.configured.clone()) {
            (Some(key), Some(configured)) if key != configured => {
                return Err(InstanceError::KeyAndSetting { configured, key });
            }
            (Some(new), _) | (None, Some(new)) => new,
            (None, None) => return Err(InstanceError::Nameless),
        };
        let old = self.read().await?;
        if old.as_ref() != Some(&new) {
            let tx = self.0.db.begin().await?;
            let insert = Stmt::new(&tx, "insert into clerk_sync.meta (key, value) values (")
                .val(PIN)
                .sql(", ")
                .val(new.as_str());
            insert.sql(") on conflict (key) do update set value = excluded.value").exec(&tx).await?;
            let diff = json!({"instance_id": [old, new]});
            audit::operator(&tx, "instance.adopted", "instance", diff, None, now).await?;
            tx.commit().await?;
            self.remember(Some(new.clone()));
        }
        Ok((old, new))
    }

    /// The pinned instance; `clerk.instance_id` pins where nothing is.
    async fn settled(&self) -> Result<Option<String>, InstanceError> {
        let pinned = self.read().await?;
        let Some(configured) = self.0.configured.clone() else { return Ok(pinned) };
        let pinned = match pinned {
            Some(pinned) => pinned,
            None => self.pin(&configured).await?,
        };
        if pinned == configured {
            return Ok(Some(pinned));
        }
        Err(InstanceError::OtherSetting { pinned, configured })
    }

    /// Pins an instance unless one is; returns the one that is.
    async fn pin(&self, id: &str) -> Result<String, DbErr> {
        let write = &self.0.db.write;
        let insert = Stmt::new(write, "insert into clerk_sync.meta (key, value) values (").val(PIN).sql(", ").val(id);
        if insert.sql(") on conflict (key) do nothing").exec(write).await? > 0 {
            tracing::info!(instance = id, "this database is pinned to an instance of Clerk");
        }
        self.read().await?.ok_or_else(|| DbErr::RecordNotFound("meta".into()))
    }

    async fn read(&self) -> Result<Option<String>, DbErr> {
        let pin = meta::get(&self.0.db, PIN).await?;
        self.remember(pin.clone());
        Ok(pin)
    }

    fn remember(&self, pin: Option<String>) {
        *self.0.pin.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), pin));
    }

    async fn key(&self, patience: Duration) -> Result<String, ApiError> {
        if let Some(key) = self.0.key.get() {
            return Ok(key.clone());
        }
        let unset = ApiError::Setting("no secret key is set (CLERK_SECRET_KEY)");
        let answer = self.0.api.as_ref().ok_or(unset)?.instance(patience).await?;
        let answer = answer.and_then(|raw| serde_json::from_str::<Answer>(raw.get()).ok());
        let plain = |id: &String| {
            !id.is_empty() && id.len() <= 255 && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        let id = answer.map(|answer| answer.id).filter(plain);
        let id = id.ok_or(ApiError::Unreadable("it names no instance"))?;
        Ok(self.0.key.get_or_init(|| id).clone())
    }
}

/// The pinned instance of a database that is only looked at.
///
/// # Errors
/// Fails where the database cannot be read.
pub async fn pinned(tx: &impl sea_orm::ConnectionTrait) -> Result<Option<String>, DbErr> {
    let rows = Stmt::new(tx, "select value from clerk_sync.meta where key = ").val(PIN).all(tx).await?;
    rows.first().map(|row| row.try_get("", "value")).transpose()
}
