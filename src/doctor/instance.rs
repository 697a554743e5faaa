//! Whether configuration, API key and deliveries speak of one and the same instance of Clerk.

use sea_orm::DbErr;

use crate::db::{Db, Stmt};

use super::{
    finding::{Finding, plain},
    reading,
};

const INSTANCE: &str = "instance";

/// `ours`: `clerk.instance_id`; `key`: the instance that the API key belongs to.
pub(super) async fn check(db: &Db, ours: Option<&str>, key: Option<&str>) -> Result<Vec<Finding>, DbErr> {
    let tx = reading(db).await?;
    let rows = Stmt::new(
        &tx,
        "select distinct instance_id from (select instance_id, outcome from clerk_sync.inbox order by seq desc limit 1000) newest
            where instance_id is not null and coalesce(outcome, '') <> 'example' order by instance_id limit 10",
    )
    .all(&tx)
    .await?;
    let told = rows.iter().map(|row| row.try_get("", "instance_id")).collect::<Result<Vec<String>, _>>()?;
    tx.commit().await?;
    Ok(vec![judge(ours, key, &told)])
}

/// `told`: the instances that the newest deliveries name.
pub(super) fn judge(ours: Option<&str>, key: Option<&str>, told: &[String]) -> Finding {
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
    let Some(meant) = ours.or(key) else {
        return match told {
            [] => Finding::skip(INSTANCE, "neither a key nor a delivery names one"),
            [one] => Finding::ok(INSTANCE, format!("deliveries are of {}", plain(one))),
            several => Finding::warn(
                INSTANCE,
                format!("deliveries are of several: {}", names(several)),
                "Give development and production an endpoint and a database each; set CLERK_SYNC__CLERK__INSTANCE_ID to the one meant",
            ),
        };
    };
    let whose = if key.is_some() { "the API key is" } else { "clerk.instance_id is" };
    let others: Vec<String> = told.iter().filter(|id| *id != meant).cloned().collect();
    if others.is_empty() {
        return match told {
            [] => Finding::ok(INSTANCE, format!("{whose} of {}; no delivery yet to compare it with", plain(meant))),
            _ => Finding::ok(INSTANCE, format!("{whose} of {}, as deliveries are", plain(meant))),
        };
    }
    if ours.is_some() && others.len() < told.len() {
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
            judge(ours, key, &told.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>()).level
        };
        let (a, b) = (Some("ins_a"), Some("ins_b"));
        assert_eq!(level(None, None, &[]), Level::Skip);
        assert_eq!(level(None, None, &["ins_a"]), Level::Ok);
        assert_eq!(level(None, None, &["ins_a", "ins_b"]), Level::Warn);
        assert_eq!(level(a, a, &["ins_a"]), Level::Ok);
        assert_eq!(level(None, a, &[]), Level::Ok);
        assert_eq!(level(a, b, &["ins_a"]), Level::Fail);
        assert_eq!(level(None, a, &["ins_b"]), Level::Fail);
        assert_eq!(level(None, a, &["ins_a", "ins_b"]), Level::Fail, "both are applied");
        assert_eq!(level(a, None, &["ins_a", "ins_b"]), Level::Warn, "the other is refused");
        assert_eq!(level(a, None, &["ins_b"]), Level::Fail, "everything is refused");
        let both = judge(None, a, &["ins_b".into()]).found;
        assert!(both.contains("ins_a") && both.contains("ins_b"), "{both}");
    }
}
