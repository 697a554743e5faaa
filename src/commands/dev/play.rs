//! The fixture run of `dev`: every fixture through real HTTP, and one line a family of types about what became of them.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, bail};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use super::super::{
    fixtures,
    send::{Delivery, Sender},
    simulated::Simulated,
};
use crate::{
    db::{Db, Stmt},
    inbox::admission::{Refused, Rule},
};

/// Outcomes of one family of types: how many of each, and the codes of their reasons.
type Family = BTreeMap<String, (usize, BTreeMap<String, usize>)>;

/// Posts every fixture and prints what became of each family. False if one was refused or ended `dead`.
pub(super) async fn play(db: &Db, sender: &Sender, clerk: &Simulated) -> anyhow::Result<bool> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let (mut healthy, mut count) = (true, 0);
    let started = std::time::Instant::now();
    for (name, body) in fixtures::events() {
        // Clerk first: what it delivers is so there already.
        clerk.follow(&body);
        let delivery = Delivery { id: format!("msg_{name}"), name, body };
        let (status, word) = sender.post(&delivery).await?;
        count += 1;
        if status != 200 {
            println!("FAIL  {}: refused: {status} {word}", delivery.name);
            healthy = false;
            continue;
        }
        let row = settled(db, &delivery.id).await?;
        if row.state == "dead" {
            println!("FAIL  {}: dead: {}", delivery.name, row.reason.as_deref().unwrap_or_default());
            healthy = false;
        }
        let family = row.event_type.split('.').next().unwrap_or_default().to_owned();
        let outcome = row.outcome.unwrap_or(row.state);
        let (number, reasons) = families.entry(family).or_default().entry(outcome).or_default();
        *number += 1;
        if let Some(reason) = row.reason {
            *reasons.entry(reason.split(':').next().unwrap_or_default().to_owned()).or_default() += 1;
        }
    }
    println!("{count} signed webhooks over HTTP, one of every type, in {} ms:\n", started.elapsed().as_millis());
    for (family, outcomes) in &families {
        let outcomes: Vec<String> = outcomes.iter().map(|(outcome, counts)| describe(outcome, counts)).collect();
        println!("  {family:<24} {}", outcomes.join(", "));
    }
    println!();
    Ok(healthy)
}

/// `3 rejected (entry.require_email, entry.require_name)`.
fn describe(outcome: &str, (number, reasons): &(usize, BTreeMap<String, usize>)) -> String {
    let codes: Vec<&str> = reasons.keys().map(String::as_str).collect();
    let codes = if codes.is_empty() { String::new() } else { format!(" ({})", codes.join(", ")) };
    format!("{number} {outcome}{codes}")
}

/// Waits until a delivery has come to an end, or is parked.
pub(super) async fn settled(db: &Db, svix_id: &str) -> anyhow::Result<entity::inbox::Model> {
    for _ in 0..2_000 {
        let row = entity::inbox::Entity::find().filter(entity::inbox::Column::SvixId.eq(svix_id)).one(&db.read).await?;
        let row = row.with_context(|| format!("{svix_id} was acknowledged and is not in the inbox"))?;
        if row.state != "pending" {
            return Ok(row);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bail!("{svix_id} was not settled within 10 s")
}

/// Prints how many rows the tables have.
pub(super) async fn summary(db: &Db) -> anyhow::Result<()> {
    let tables = [
        "inbox",
        "users",
        "email_addresses",
        "federated_identities",
        "user_roles",
        "organizations",
        "organization_memberships",
        "revoked_sessions",
        "outbox",
        "audit_log",
        "alerts",
    ];
    let mut line = Vec::new();
    for table in tables {
        line.push(format!("{} {table}", number(db, "select count(*) as n from ", table).await?));
    }
    println!("rows        {}", line.join(", "));
    let refused = Refused::count(&db.read).await?;
    for rule in Rule::ALL.into_iter().filter(|rule| refused.by(*rule) > 0) {
        let (users, key, switch) = (refused.by(rule), rule.key(), rule.switch());
        println!("refused     {users} by {key}, {}; {switch} lets them in", rule.refuses());
    }
    Ok(())
}

async fn number(db: &Db, select: &'static str, rest: &'static str) -> anyhow::Result<i64> {
    let rows = Stmt::new(&db.read, select).sql(rest).all(&db.read).await?;
    Ok(rows.first().map_or(Ok(0), |row| row.try_get("", "n"))?)
}
