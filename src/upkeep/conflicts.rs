//! Conflicts that stay open: mail and chat hear of those that the hand-over of an address did not settle by itself.
//!
//! The plan's own alert (`conflict.email`) reaches the websocket at once and mail and chat never; this timer raises
//! `conflict.open` once a conflict is older than `conflicts.grace`, and notes so on its row. Any replica may run it: rows
//! are found, told and noted in one transaction under the commit lock.
//!
//! Alerts of one person are one alert. While people were told of a person's conflicts within `alerts.repeat`, a further
//! one is left for later: none is noted as told that was not.

use std::time::Duration;

use entity::Id;
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};

use crate::{
    clock::{Clock, Time, from_millis, span},
    db::{Cell, Col, Db, Rows, Stmt, Type},
    domain::plan::Alert,
    sync::raise::{raise, told_before},
};

/// Conflicts told of in one transaction; more wait for the next round.
const MOST: i64 = 200;

/// When a conflict is told of.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Once it is open for this long.
    pub grace: Duration,
    /// And nobody was told of the same person's conflicts for this long; zero: ever.
    pub repeat: Duration,
}

#[derive(Debug, FromQueryResult)]
struct Open {
    id: Id,
    clerk_id: String,
    other_clerk_id: String,
}

/// Tells of conflicts that are due; answers how many rows the change feed got.
///
/// # Errors
/// What the database says; nothing was told then.
pub async fn tell(db: &Db, clock: &Clock, rules: Rules) -> Result<usize, DbErr> {
    let now = clock.now();
    // Nobody waits for the commit lock while there is nothing to tell.
    if due(&db.read, rules, now, 1).await?.is_empty() {
        return Ok(0);
    }
    let tx = db.begin_commit().await?;
    let open = due(&tx, rules, now, MOST).await?;
    let alerts: Vec<Alert> = open.iter().map(alert).collect();
    let told = raise(&tx, &alerts, span(rules.repeat), clock, now).await?;
    let mut rows = Rows::new(&[Col("id", Type::Id)]);
    open.iter().for_each(|conflict| rows.push(vec![Cell::Id(conflict.id.0)]));
    if !rows.is_empty() {
        let note = Stmt::new(&tx, "update clerk_sync.conflicts set told_at = ").val(now);
        note.sql(" where id in (select id from ").rows(rows).sql(")").exec(&tx).await?;
    }
    tx.commit().await?;
    Ok(told)
}

async fn due(db: &impl ConnectionTrait, rules: Rules, now: Time, most: i64) -> Result<Vec<Open>, DbErr> {
    // A grace that reaches back further than a calendar never ends.
    let opened_before = now.checked_sub_signed(span(rules.grace)).or(from_millis(0)).unwrap_or(now);
    Stmt::new(
        db,
        "select c.id, c.clerk_id, c.other_clerk_id from clerk_sync.conflicts c
            where c.state = 'open' and c.told_at is null and c.opened_at <= ",
    )
    .val(opened_before)
    .sql(" and not exists (select 1 from clerk_sync.alerts a where a.key = 'conflict.open:' || c.clerk_id and a.told_at > ")
    .val(told_before(span(rules.repeat), now))
    .sql(") order by c.opened_at limit ")
    .val(most)
    .all_as(db)
    .await
}

fn alert(conflict: &Open) -> Alert {
    let Open { id, clerk_id, other_clerk_id } = conflict;
    Alert {
        kind: "conflict.open",
        level: "warning",
        subject: clerk_id.clone(),
        text: format!(
            "{clerk_id} is not in step: a verified address still stands verified with {other_clerk_id}; \
             `clerk-sync conflicts show {}` tells more",
            id.0
        ),
    }
}
