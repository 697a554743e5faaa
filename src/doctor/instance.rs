//! Whether configuration, API key and deliveries speak of one and the same instance of Clerk.

use sea_orm::DbErr;

use crate::{
    db::{Db, Stmt},
    instance,
};

use super::{
    finding::{Finding, plain},
    reading,
};

const INSTANCE: &str = "instance";

/// `ours`: `clerk.instance_id`; `key`: the instance that the API key belongs to.
pub(super) async fn check(db: &Db, ours: Option<&str>, key: Option<&str>) -> Result<Vec<Finding>, DbErr> {
    let tx = reading(db).await?;
    let pinned = instance::pinned(&tx).await?;
    let rows = Stmt::new(
        &tx,
        "select distinct instance_id from (select instance_id, outcome from clerk_sync.inbox order by seq desc limit 1000) newest
            where instance_id is not null and coalesce(outcome, '') <> 'example' order by instance_id limit 10",
    )
    .all(&tx)
    .await?;
    let told = rows.iter().map(|row| row.try_get("", "instance_id")).collect::<Result<Vec<String>, _>>()?;
    tx.commit().await?;
    Ok(vec![judge(pinned.as_deref(), ours, key, &told)])
}

/// Without tables only what is configured can be compared.
pub(super) fn without_tables(ours: Option<&str>, key: Option<&str>) -> Finding {
    match ours.or(key) {
        Some(_) => judge(None, ours, key, &[]),
        None => Finding::skip(INSTANCE, "the tables cannot be read"),
    }
}

/// `told`: the instances that the newest deliveries name.
pub(super) fn judge(pinned: Option<&str>, ours: Option<&str>, key: Option<&str>, told: &[String]) -> Finding {
    if let Some(pinned) = pinned {
        let names = [("the API key is", key), ("clerk.instance_id is", ours)];
        if let Some((what, other)) =
            names.into_iter().find_map(|(what, id)| Some((what, id.filter(|id| *id != pinned)?)))
        {
            return Finding::fail(
                INSTANCE,
                format!("{what} of {}, and this database is of {}", plain(other), plain(pinned)),
                "Set key, setting or DATABASE_URL to those of one instance: `serve` does not start. If the other one is meant to \
                    take this database over, run `clerk-sync instance --adopt`",
            );
        }
    }
    let names = |ids: &[String]| ids.iter().map(|id| plain(id)).collect::<Vec<_>>().join(", ");
    if let (Some(ours), Some(key)) = (ours, key)
        && ours != key
    {
        return Finding::fail(
            INSTANCE,
            format!("the API key is of {}, clerk.instance_id is {}", plain(key), plain(ours)),
            "Set CLERK_SECRET_KEY to the key of the instance meant, or CLERK_SYNC__CLERK__INSTANCE_ID to its id",
        );
    }
    let Some(meant) = ours.or(key).or(pinned) else {
        let pin =
            "Set CLERK_SECRET_KEY, whose instance is pinned when it is first used, or CLERK_SYNC__CLERK__INSTANCE_ID";
        return match told {
            [] => Finding::note(INSTANCE, "nothing pins one: deliveries of any are applied", pin),
            [one] => Finding::note(
                INSTANCE,
                format!("deliveries are of {}; nothing pins it, and those of any other are applied", plain(one)),
                pin,
            ),
            several => Finding::warn(
                INSTANCE,
                format!("nothing pins one, and deliveries are of several: {}", names(several)),
                "Give development and production an endpoint and a database each; set CLERK_SYNC__CLERK__INSTANCE_ID to the one meant",
            ),
        };
    };
    let whose = match (key, ours) {
        (Some(_), _) => "the API key is",
        (None, Some(_)) => "clerk.instance_id is",
        (None, None) => "this database is",
    };
    let others: Vec<String> = told.iter().filter(|id| *id != meant).cloned().collect();
    if others.is_empty() {
        return match told {
            [] => Finding::ok(INSTANCE, format!("{whose} of {}; no delivery yet to compare it with", plain(meant))),
            _ => Finding::ok(INSTANCE, format!("{whose} of {}, as deliveries are", plain(meant))),
        };
    }
    if (ours.is_some() || pinned.is_some()) && others.len() < told.len() {
        return Finding::warn(
            INSTANCE,
            format!("also {} delivers here, and is refused (wrong instance)", names(&others)),
            "Delete this endpoint from that instance, in Clerk's dashboard (Webhooks)",
        );
    }
    Finding::fail(
        INSTANCE,
        format!("{whose} of {}, and deliveries are of {}", plain(meant), names(&others)),
        "Set CLERK_SECRET_KEY (and CLERK_SYNC__CLERK__INSTANCE_ID) to those of the instance whose webhooks come here, or \
            point the webhooks of the instance meant to this endpoint",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn all_that_names_one_must_name_the_same() {
        let level = |ours, key, told: &[&str]| {
            judge(None, ours, key, &told.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>()).level
        };
        let (a, b) = (Some("ins_a"), Some("ins_b"));
        assert_eq!(level(None, None, &[]), Level::Note);
        assert_eq!(level(None, None, &["ins_a"]), Level::Note);
        assert_eq!(level(None, None, &["ins_a", "ins_b"]), Level::Warn);
        assert_eq!(level(a, a, &["ins_a"]), Level::Ok);
        assert_eq!(level(None, a, &[]), Level::Ok);
        assert_eq!(level(a, b, &["ins_a"]), Level::Fail);
        assert_eq!(level(None, a, &["ins_b"]), Level::Fail);
        assert_eq!(level(None, a, &["ins_a", "ins_b"]), Level::Fail, "both are applied");
        assert_eq!(level(a, None, &["ins_a", "ins_b"]), Level::Warn, "the other is refused");
        assert_eq!(level(a, None, &["ins_b"]), Level::Fail, "everything is refused");
        let pinned = |ours, key| judge(a, ours, key, &["ins_a".into(), "ins_b".into()]).level;
        assert_eq!(pinned(None, b), Level::Fail, "the key of another one");
        assert_eq!(pinned(b, None), Level::Fail, "the database of another one");
        assert_eq!(pinned(a, a), Level::Warn);
        assert_eq!(pinned(None, None), Level::Warn, "the other is refused");
        let both = judge(None, None, a, &["ins_b".into()]).found;
        assert!(both.contains("ins_a") && both.contains("ins_b"), "{both}");
    }
}
