//! What the database knows about itself: the epoch of its change feed, and the key of its address hashes.
//! Made once, by whichever replica comes first.

use sea_orm::DbErr;
use serde_json::json;
use uuid::Uuid;

use crate::{
    audit,
    clock::Time,
    db::{Db, Stmt},
};

/// The rows of `meta`.
#[derive(Debug, Clone)]
pub struct Meta {
    /// Another one for every numbering of the change feed: that of a new database, or of a restored backup
    /// ([`renew`]). Resuming across epochs is a `reset`. A process keeps the one that it read when it started,
    /// and starts anew where the database has another one (`outbox/tail`, `upkeep/progress`).
    pub epoch: String,
    /// Key of the HMAC of deleted persons' addresses.
    pub hash_key: Vec<u8>,
}

impl Meta {
    /// Reads the rows, making those that are missing.
    ///
    /// # Errors
    /// What the database says.
    pub async fn load(db: &Db) -> Result<Self, DbErr> {
        let epoch = get_or_make(db, "epoch", Uuid::new_v4().simple().to_string()).await?;
        let key = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let hash_key = get_or_make(db, "hash_key", key).await?.into_bytes();
        Ok(Self { epoch, hash_key })
    }
}

/// The epoch as it is now, for whoever has to know of another one before the process is started again.
///
/// # Errors
/// What the database says.
pub async fn epoch(db: &Db) -> Result<String, DbErr> {
    get(db, "epoch").await?.ok_or_else(|| DbErr::RecordNotFound("meta".into()))
}

/// Returns the value of a key, if there is one: a module may keep a row of its own here.
///
/// # Errors
/// What the database says.
pub async fn get(db: &Db, key: &str) -> Result<Option<String>, DbErr> {
    let select = Stmt::new(&db.read, "select key, value from clerk_sync.meta where key = ").val(key);
    let row: Option<entity::meta::Model> = select.one_as(&db.read).await?;
    Ok(row.map(|row| row.value))
}

/// Sets the value of a key.
///
/// # Errors
/// What the database says.
pub async fn put(db: &Db, key: &str, value: &str) -> Result<(), DbErr> {
    let insert =
        Stmt::new(&db.write, "insert into clerk_sync.meta (key, value) values (").val(key).sql(", ").val(value);
    let upsert = insert.sql(") on conflict (key) do update set value = excluded.value");
    upsert.exec(&db.write).await.map(drop)
}

/// Writes a new epoch, and that an operator did so; answers the old one and the new one.
///
/// # Errors
/// What the database says.
pub async fn renew(db: &Db, now: Time) -> Result<(String, String), DbErr> {
    let old = Meta::load(db).await?.epoch;
    let new = Uuid::new_v4().simple().to_string();
    let tx = db.begin().await?;
    let update = Stmt::new(&tx, "update clerk_sync.meta set value = ").val(new.as_str());
    update.sql(" where key = 'epoch'").exec(&tx).await?;
    audit::operator(&tx, "epoch.renewed", "epoch", json!({"epoch": [old, new]}), None, now).await?;
    tx.commit().await?;
    Ok((old, new))
}

/// Begins a new epoch after commits were taken back, unless another process has done so already: what each process has in
/// memory of the old one (`old`) decides. Cursors that stand above the newest row are set back to it, and search is built
/// anew, since it may hold what the database lost.
///
/// # Errors
/// What the database says.
pub async fn renumber(db: &Db, old: &str, now: Time) -> Result<bool, DbErr> {
    let new = Uuid::new_v4().simple().to_string();
    let tx = db.begin_commit().await?;
    let update = Stmt::new(&tx, "update clerk_sync.meta set value = ").val(new.as_str());
    let won = update.sql(" where key = 'epoch' and value = ").val(old).exec(&tx).await? == 1;
    if won {
        const HEAD: &str = "(select coalesce(max(seq), 0) from clerk_sync.outbox)";
        let cursors = Stmt::new(&tx, "update clerk_sync.sink_cursors set seq = ").sql(HEAD).sql(" where seq > ");
        cursors.sql(HEAD).exec(&tx).await?;
        let search = Stmt::new(&tx, "delete from clerk_sync.meta where key like '%.document_version'");
        search.exec(&tx).await?;
        audit::operator(&tx, "epoch.lost", "epoch", json!({"epoch": [old, new]}), None, now).await?;
    }
    tx.commit().await?;
    Ok(won)
}

async fn get_or_make(db: &Db, key: &str, value: String) -> Result<String, DbErr> {
    let insert =
        Stmt::new(&db.write, "insert into clerk_sync.meta (key, value) values (").val(key).sql(", ").val(value);
    insert.sql(") on conflict (key) do nothing").exec(&db.write).await?;
    let row: Option<entity::meta::Model> =
        Stmt::new(&db.write, "select key, value from clerk_sync.meta where key = ").val(key).one_as(&db.write).await?;
    row.map(|row| row.value).ok_or_else(|| DbErr::RecordNotFound("meta".into()))
}
