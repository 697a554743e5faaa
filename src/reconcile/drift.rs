//! Reconcile: what Clerk says is planned like a delivery, and whatever that would change is a difference. Every repair
//! stands for a delivery that was lost: counted, told, written down.
//!
//! Lately changed people are found by the order of their change; organisations by reading all of them; memberships by
//! the order of their age, since Clerk has no other: a changed role, and what Clerk no longer has, only a full run finds.

use std::collections::{BTreeMap, HashSet};

use chrono::Duration;
use serde_json::json;

use crate::{
    clerk::{
        api::{Objects, PAGE_MAX},
        object::{Kind, outline, stored},
    },
    clock::{Time, earlier, span},
    domain::{Version, event::Absence, membership::Pair, plan::Alert},
    sync::{objects::Origin, raise::raise},
    telemetry::metrics,
};

use super::{
    Reconciler, RunError,
    extras::Seen,
    patience::{TURN, patiently},
    report::{Drift, Held, Item, word},
    runs::{self, Run},
    scan::{List, Offset, Window},
};

/// An incremental run looks this much further back than the last one began.
const OVERLAP: Duration = Duration::minutes(10);

/// So many buried subjects are asked for by their ids in one run.
const VERIFIED: usize = 1_000;

/// A longer absence is made up for by a full run: Clerk's order of change is read by offset, which gets slower and
/// slower the further back it goes.
const LONGEST: Duration = Duration::days(3);

/// What a run compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// What changed at Clerk since this moment.
    Since(Time),
    /// Everybody, and whom Clerk no longer has.
    Everything,
}

/// How to go about it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Everything, not only what changed lately.
    pub full: bool,
    /// Look, and write nothing.
    pub dry_run: bool,
    /// Leave changes alone that are younger than `reconcile.settle`.
    pub scheduled: bool,
    /// How many of each kind may be removed, in place of `reconcile.max_removal_share` and `reconcile.extras_max`.
    pub allow_removals: Option<u64>,
}

/// One comparison under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scan {
    pub scope: Scope,
    pub dry: bool,
    /// What changed after this moment is left alone.
    pub until: Option<Time>,
    pub started: Time,
    pub allow_removals: Option<u64>,
}

impl Reconciler {
    /// Runs it to its end. A dry run leaves no trace, not even a row of its own.
    ///
    /// # Errors
    /// [`RunError`]; what was repaired by then stands.
    pub async fn reconcile(&self, options: Options) -> Result<Drift, RunError> {
        self.checked().await?;
        let since = match options.full {
            true => None,
            false => runs::last_start(&self.db).await?.filter(|last| self.clock.now() - *last < LONGEST),
        };
        let (mode, scope) = match since {
            Some(last) => ("incremental", Scope::Since(last - OVERLAP)),
            // Without a recent run nothing tells how far back to look.
            None => ("full", Scope::Everything),
        };
        if options.dry_run {
            return self.compare(self.scan(scope, true, options)).await;
        }
        let origin = if options.scheduled { "schedule" } else { "command" };
        let run = self.begin("reconcile", mode, origin, false).await?;
        let until = options.scheduled.then(|| earlier(run.started_at, self.config.settle));
        let found = self.compared(&run, Scan { until, ..self.scan(scope, false, options) }).await;
        match &found {
            Ok(drift) => {
                self.tell(drift).await?;
                self.end(&run, true, json!(drift)).await?;
            }
            Err(error) => self.end(&run, false, json!({"error": error.to_string()})).await?,
        }
        found
    }

    pub(super) fn scan(&self, scope: Scope, dry: bool, options: Options) -> Scan {
        Scan { scope, dry, until: None, started: self.clock.now(), allow_removals: options.allow_removals }
    }

    async fn compared(&self, run: &Run, scan: Scan) -> Result<Drift, RunError> {
        let keep = async {
            loop {
                tokio::time::sleep(std::time::Duration::from_secs(5)).await;
                if let Err(error) = self.note(run, json!({"scope": run.mode})).await {
                    return error;
                }
            }
        };
        tokio::select! {
            found = self.compare(scan) => found,
            error = keep => Err(error),
        }
    }

    /// Compares without a run of its own.
    pub(super) async fn compare(&self, scan: Scan) -> Result<Drift, RunError> {
        let Scan { scope, dry, until, .. } = scan;
        let mut drift = Drift { dry_run: dry, ..Drift::default() };
        let mut seen = Seen::default();
        match scope {
            Scope::Since(since) => {
                self.changed_users(since, until, &mut drift).await?;
                self.listed(List::Organizations, until, &mut drift, &mut seen).await?;
                self.young_memberships(since, until, &mut drift).await?;
            }
            Scope::Everything => {
                let mut window = Window::default();
                while let Some(page) = self.next_users(&mut window).await? {
                    seen.add(Kind::User, &page);
                    self.judge(Kind::User, page, until, &mut drift).await?;
                }
                self.listed(List::Organizations, until, &mut drift, &mut seen).await?;
                self.listed(List::Memberships, until, &mut drift, &mut seen).await?;
                self.extras(&seen, &scan, &mut drift).await?;
            }
        }
        self.verify_buried(&mut drift).await?;
        if !dry {
            self.worker.drain().await?;
        }
        Ok(drift)
    }

    async fn changed_users(&self, since: Time, until: Option<Time>, drift: &mut Drift) -> Result<(), RunError> {
        let mut offset = 0;
        loop {
            let ask = || self.api.users_by_change(offset, PAGE_MAX, TURN);
            let page = patiently(&self.shutdown, ask).await?;
            let last = page.len() < PAGE_MAX as usize
                || page.last().is_some_and(|object| outline(object).updated_at.is_some_and(|at| at < since));
            self.judge(Kind::User, page, until, drift).await?;
            if last {
                return Ok(());
            }
            offset += u64::from(PAGE_MAX);
        }
    }

    async fn young_memberships(&self, since: Time, until: Option<Time>, drift: &mut Drift) -> Result<(), RunError> {
        let mut offset = 0;
        loop {
            let ask = || self.api.memberships_by_age(offset, PAGE_MAX, TURN);
            let page = patiently(&self.shutdown, ask).await?.data;
            let last = page.len() < PAGE_MAX as usize
                || page.last().is_some_and(|object| outline(object).created_at.is_some_and(|at| at < since));
            self.judge(Kind::Membership, page, until, drift).await?;
            if last {
                return Ok(());
            }
            offset += u64::from(PAGE_MAX);
        }
    }

    async fn listed(
        &self,
        list: List,
        until: Option<Time>,
        drift: &mut Drift,
        seen: &mut Seen,
    ) -> Result<(), RunError> {
        let kind = match list {
            List::Organizations => Kind::Organization,
            List::Memberships => Kind::Membership,
        };
        let mut offset = Offset::default();
        while let Some(page) = self.next_listed(list, &mut offset).await? {
            seen.add(kind, &page.data);
            self.judge(kind, page.data, until, drift).await?;
        }
        Ok(())
    }

    /// Plans a page and sorts what that changes, or would change.
    async fn judge(&self, kind: Kind, page: Objects, until: Option<Time>, drift: &mut Drift) -> Result<(), RunError> {
        *drift.scanned.entry(word(kind)).or_default() += page.len() as u64;
        let settled =
            |object: &&Box<_>| until.is_none_or(|until| outline(object).updated_at.is_none_or(|at| at <= until));
        let objects = page.iter().filter(settled).map(|object| stored(kind, object)).collect();
        let report = self.applier.apply(objects, Origin::Reconcile, drift.dry_run).await?;
        drift.add(kind, &report);
        Ok(())
    }

    /// Leaves of what is tombstoned here and was listed by Clerk that which Clerk still knows by its id: a list may be older
    /// than the deletion. Beyond [`VERIFIED`] the list is believed.
    async fn verify_buried(&self, drift: &mut Drift) -> Result<(), RunError> {
        let listed = std::mem::take(&mut drift.tombstoned);
        let parents: HashSet<String> = listed.iter().map(|(_, key)| key.clone()).collect();
        for (index, (kind, key)) in listed.into_iter().enumerate() {
            // A membership of somebody buried says nothing more than they do.
            let pair = Pair::parse(&key).filter(|_| kind == Kind::Membership);
            if pair.is_some_and(|pair| parents.contains(&pair.user) || parents.contains(&pair.organization)) {
                continue;
            }
            let asked = Absence { kind, key, seen: Version::stored(String::new()) };
            if index >= VERIFIED || patiently(&self.shutdown, || self.is_there(&asked)).await? {
                let reason = Some("deleted here and alive at Clerk".to_owned());
                drift.buried.push(Item { kind: word(kind), id: asked.key, fields: Vec::new(), reason });
            }
        }
        Ok(())
    }

    /// Counts the repairs, and raises an alert where there were any.
    async fn tell(&self, drift: &Drift) -> Result<(), RunError> {
        let sorts = drift.sorts();
        sorts.iter().for_each(|(sort, found)| metrics::drift(sort, found.count));
        let alerts = alerts(drift);
        if alerts.is_empty() {
            return Ok(());
        }
        let tx = self.db.begin_commit().await?;
        let now = self.clock.now();
        raise(&tx, &alerts, span(self.repeat), &self.clock, now).await?;
        tx.commit().await?;
        self.applier.signals.outbox.wake();
        Ok(())
    }
}

/// What operators are told of a comparison.
fn alerts(drift: &Drift) -> Vec<Alert> {
    let mut alerts = Vec::new();
    for Held { kind, absent, live, allowed } in &drift.held {
        let text = format!(
            "a comparison with Clerk would remove {absent} of {live} {kind}, more than the {allowed} that \
             reconcile.max_removal_share allows, so it removed nothing. `clerk-sync reconcile --full --dry-run` names them; if \
             Clerk really has them no more, `clerk-sync reconcile --full --allow-removals {absent}` removes them"
        );
        alerts.push(Alert { kind: "reconcile.held", level: "error", subject: (*kind).into(), text });
    }
    if drift.buried.count > 0 {
        let text = format!(
            "{} deleted here and alive at Clerk: nothing but `user.deleted` or `organization.deleted` deletes for good, so the \
             secret of the webhook may have leaked, or Clerk restored them. `clerk-sync runs` names them; see \
             docs/recovery.md, \"Deleted here, alive at Clerk\"",
            drift.buried.count
        );
        alerts.push(Alert { kind: "reconcile.buried", level: "error", subject: "deleted".into(), text });
    }
    if drift.lost() > 0 {
        let counts: BTreeMap<&str, u64> = drift.sorts().iter().map(|(sort, found)| (*sort, found.count)).collect();
        let text = format!(
            "a comparison with Clerk found deliveries that were lost: {} missing, {} stale, {} extra, {} conflicting; what \
             could be repaired is. `clerk-sync runs` names them; see in Clerk's dashboard why deliveries fail",
            counts["missing"], counts["stale"], counts["extra"], counts["conflicting"]
        );
        alerts.push(Alert { kind: "reconcile.drift", level: "warning", subject: "deliveries".into(), text });
    }
    alerts
}
