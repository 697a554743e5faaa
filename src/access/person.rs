//! Somebody who brings a session token. The token says who; whether they may be here the database says, at every use:
//! never a cache, and never the token, which outlives a ban or the end of its session.
//!
//! A person who has no row yet is welcome: the webhook that brings it may come after the first page is shown.

use entity::Id;
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use uuid::Uuid;

use crate::{clerk::token::Session, clock::Time, db::Stmt};

/// A person who may be here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Who they are, and until when the token says so.
    pub session: Session,
    /// Our id; none while there is no row.
    pub id: Option<Uuid>,
    /// The newest change when this was judged: what the change feed says of them up to here is in the judgement.
    pub seen: i64,
}

/// Why the database refuses a user whose token is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwelcome {
    /// The session has ended.
    Session,
    /// The user is banned, deprovisioned, deleted or deletion-held.
    User,
}

#[derive(FromQueryResult)]
struct Row {
    id: Option<Id>,
    status: Option<String>,
    deletion_held_at: Option<Time>,
    ended: i64,
    barred: i64,
    head: i64,
}

/// Whether somebody whose row says this may be here.
pub fn is_welcome(status: &str, deletion_held: bool) -> bool {
    status == "active" && !deletion_held
}

/// Returns the person of this session, unless they are banned, deprovisioned, deleted or deletion-held, or the session was
/// ended. One statement, so that all of it is of one state.
///
/// # Errors
/// What the database says.
pub async fn judge(db: &impl ConnectionTrait, session: Session, now: Time) -> Result<Result<Person, Unwelcome>, DbErr> {
    let row: Option<Row> = Stmt::new(
        db,
        "select u.id, u.status, u.deletion_held_at, (select count(*) from clerk_sync.revoked_sessions where session_id = ",
    )
    .val(session.session_id.as_str())
    .sql(" and expires_at > ")
    .val(now)
    // Of a user who was deleted, or is banned before they are admitted, there may be no row; the facts have it.
    .sql(
        ") as ended, (select count(*) from clerk_sync.subjects where kind = 'user' and (deleted or banned or deprovisioned)
            and key = ",
    )
    .val(session.clerk_id.as_str())
    .sql(
        ") as barred, (select coalesce(max(seq), 0) from clerk_sync.outbox) as head
            from (select 1 as one) o left join clerk_sync.users u on u.clerk_id = ",
    )
    .val(session.clerk_id.as_str())
    .one_as(db)
    .await?;
    let Some(row) = row else { return Ok(Err(Unwelcome::User)) };
    Ok(row.judge().map(|()| Person { session, id: row.id.map(|id| id.0), seen: row.head }))
}

impl Row {
    fn judge(&self) -> Result<(), Unwelcome> {
        let known = self.status.as_deref().is_none_or(|status| is_welcome(status, self.deletion_held_at.is_some()));
        match (known && self.barred == 0, self.ended == 0) {
            (false, _) => Err(Unwelcome::User),
            (true, false) => Err(Unwelcome::Session),
            (true, true) => Ok(()),
        }
    }
}
