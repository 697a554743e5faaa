//! What the database knows about itself: the epoch of its change feed, and the key of its address hashes.
//! Made once, by whichever replica comes first.

use sea_orm::DbErr;
use uuid::Uuid;

use crate::db::{Db, Stmt};

/// The rows of `meta`.
#[derive(Debug, Clone)]
pub struct Meta {
    /// Changes when seqs start anew (a restored backup, a new database): resuming across epochs is a `reset`.
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

async fn get_or_make(db: &Db, key: &str, value: String) -> Result<String, DbErr> {
    let insert = Stmt::new(&db.write, "insert into meta (key, value) values (").val(key).sql(", ").val(value);
    insert.sql(") on conflict (key) do nothing").exec(&db.write).await?;
    let row: Option<entity::meta::Model> =
        Stmt::new(&db.write, "select key, value from meta where key = ").val(key).one_as(&db.write).await?;
    row.map(|row| row.value).ok_or_else(|| DbErr::RecordNotFound("meta".into()))
}
