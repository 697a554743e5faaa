//! Memberships whose person or organisation does not come: one alert a parent once `waiting.deadline` is over, and again
//! as long as it goes on. The rows wait on; none is lost.
//!
//! A waiting row holds in `available_at` when it is looked at next, so a round costs what is due and not what waits.
//! Rows are found, moved and told in one transaction under the commit lock, whatever the number of replicas.

use std::{collections::BTreeSet, time::Duration};

use sea_orm::{ConnectionTrait, DbErr};

use crate::{
    clock::{Clock, Time, later, span},
    db::{Db, Rows, Stmt},
    domain::plan::Alert,
    sync::raise::raise,
};

/// Rows looked at in one transaction; more wait for the next round.
const MOST: i64 = 1_000;

/// No row is looked at again sooner.
const SOONEST: Duration = Duration::from_secs(60);

/// Tells of parents that did not come, each again after `repeat`, and looks at the rows again after `again`; answers how
/// many rows the change feed got.
///
/// # Errors
/// What the database says; nothing was told then.
pub async fn tell(db: &Db, clock: &Clock, repeat: Duration, again: Duration) -> Result<usize, DbErr> {
    let now = clock.now();
    // Nobody waits for the commit lock while nothing is due.
    let due = Stmt::new(&db.read, "select 1 as one from clerk_sync.inbox where state = 'waiting' and available_at <= ")
        .val(now);
    if due.sql(" limit 1").all(&db.read).await?.is_empty() {
        return Ok(0);
    }
    let tx = db.begin_commit().await?;
    let missing = missing(&tx, &awaited(&tx, later(now, again.max(SOONEST)), now).await?).await?;
    let alerts: Vec<Alert> = missing.iter().map(|parent| alert(parent)).collect();
    let told = raise(&tx, &alerts, span(repeat), clock, now).await?;
    tx.commit().await?;
    Ok(told)
}

/// Whom the rows that are due await. They are looked at again at `next`.
async fn awaited(tx: &impl ConnectionTrait, next: Time, now: Time) -> Result<BTreeSet<String>, DbErr> {
    let rows = Stmt::new(tx, "update clerk_sync.inbox set available_at = ")
        .val(next)
        .sql(" where seq in (select seq from clerk_sync.inbox where state = 'waiting' and available_at <= ")
        .val(now)
        .sql(" order by available_at limit ")
        .val(MOST)
        .sql(") returning awaits, awaits_too")
        .all(tx)
        .await?;
    let mut parents = BTreeSet::new();
    for row in &rows {
        parents.extend(row.try_get::<Option<String>>("", "awaits")?);
        parents.extend(row.try_get::<Option<String>>("", "awaits_too")?);
    }
    Ok(parents)
}

/// Those of them that are not here.
async fn missing(tx: &impl ConnectionTrait, parents: &BTreeSet<String>) -> Result<Vec<String>, DbErr> {
    let rows = Stmt::new(tx, "select r.k from ")
        .rows(Rows::keys(parents))
        .sql(
            " where not exists (select 1 from clerk_sync.users u where u.clerk_id = r.k and u.status <> 'deleted')
            and not exists (select 1 from clerk_sync.organizations o where o.clerk_id = r.k and o.status <> 'deleted')",
        )
        .all(tx)
        .await?;
    rows.iter().map(|row| row.try_get("", "k")).collect()
}

fn alert(parent: &str) -> Alert {
    Alert {
        kind: "waiting.parent",
        level: "warning",
        subject: parent.to_owned(),
        text: format!(
            "memberships wait for {parent}, which has not come: `clerk-sync inbox list --state waiting` tells which. If Clerk \
             knows it, replay its event from Clerk's dashboard; if it was refused, see why under its id"
        ),
    }
}
