//! **organization.\***: one event of an organisation, judged. By version; deleted wins always.

use crate::{
    clock::Time,
    json::{Object, json},
};

use super::{
    Event, Outcome,
    account::QUIET,
    diff,
    event::{Absence, OrganizationSnapshot},
    facts, holds,
    organization::Org,
    plan::{Fold, Kind},
    validate,
};

/// A snapshot: facts first, then judged.
pub(super) fn snapshot(fold: &mut Fold<'_>, event: &Event, snapshot: &OrganizationSnapshot) -> Outcome {
    let OrganizationSnapshot { organization, version, emptied } = snapshot;
    let id = organization.clerk_id.as_str();
    let facts = fold.world.organization_facts(id);
    let before = facts.clone();
    if event.from_api {
        facts.appear();
    }
    facts.raise(version);
    facts.enter();
    let facts = facts.clone();
    if facts != before {
        fold.note_facts(Kind::Organization, id);
    }
    if facts.deleted {
        return Outcome::skipped("tombstoned");
    }
    if facts.absent.is_some() {
        return facts::absent();
    }
    if facts.outdates(version) {
        return Outcome::skipped("stale");
    }
    let reason = validate::reason(emptied);
    fold.alert_fields(id, reason.as_deref());
    apply(fold, event, snapshot).and(reason)
}

fn apply(fold: &mut Fold<'_>, event: &Event, snapshot: &OrganizationSnapshot) -> Outcome {
    let id = snapshot.organization.clerk_id.as_str();
    let before = fold.world.organization(id).cloned();
    let new_id = (fold.ids)();
    let mut after = Org::show(before.as_ref(), &snapshot.organization, snapshot.version.clone(), new_id, fold.now);
    let diff = diff::organization(before.as_ref(), &after);
    let loud: Vec<String> = diff.keys().filter(|name| !QUIET.contains(&name.as_str())).cloned().collect();
    // One that was absent and is back fills its row again, under its stable id: to readers it is new.
    let is_new = before.as_ref().is_none_or(|row| !row.live);
    let (name, what) = match is_new {
        true => ("organization.created", "created"),
        false if loud.is_empty() => {
            fold.put_organization(after);
            return Outcome::done("unchanged");
        }
        false => ("organization.updated", "updated"),
    };
    after.updated_at = fold.now;
    fold.put_organization(after);
    fold.unsettled.insert(id.to_owned());
    if is_new {
        fold.plan.wake.parents.insert(id.to_owned());
    }
    fold.audit(event, id, diff.into_iter().filter(|(field, _)| loud.contains(field)).collect());
    fold.tell_organization(event, name, id, loud);
    Outcome::done(what)
}

/// A deletion: wins always, is final, and takes the memberships with it; but beyond what the breaker allows it waits for an
/// operator, and nothing of the organisation changes until then.
pub(super) fn deleted(fold: &mut Fold<'_>, event: &Event, id: &str) -> Outcome {
    if !fold.world.organization_facts(id).deleted && fold.world.live_organization(id).is_some() {
        if let Some(outcome) = holds::cancelled(fold, event.occurred_at, Kind::Organization, id) {
            return outcome;
        }
        if let Some(reason) = holds::breaker(fold, event, Kind::Organization) {
            holds::alert(fold, id, &reason);
            return Outcome::held(reason);
        }
    }
    let facts = fold.world.organization_facts(id);
    let first = !facts.deleted;
    let new = facts.bury(event.occurred_at);
    let deleted_at = facts.deleted_at;
    if !new {
        return Outcome::done("unchanged");
    }
    fold.note_facts(Kind::Organization, id);
    if first {
        holds::count(fold, event, Kind::Organization);
    }
    remove(fold, event, id, deleted_at, first)
}

/// A comparison found an organisation absent at Clerk: emptied as by a deletion, until Clerk shows it again.
pub(super) fn absent(fold: &mut Fold<'_>, event: &Event, absence: &Absence) -> Outcome {
    let id = absence.key.as_str();
    let live = fold.world.live_organization(id).is_some();
    if fold.world.organization_facts(id).outdates(&absence.seen) {
        return Outcome::skipped("stale");
    }
    if live && let Some(outcome) = holds::cancelled(fold, None, Kind::Organization, id) {
        return outcome;
    }
    if !fold.world.organization_facts(id).vanish(&absence.seen) {
        return Outcome::done("unchanged");
    }
    fold.note_facts(Kind::Organization, id);
    if !live {
        return Outcome::done("unchanged");
    }
    remove(fold, event, id, None, true)
}

/// Empties an organisation's row and takes its memberships away. `first`: nobody knew before that it is gone.
fn remove(fold: &mut Fold<'_>, event: &Event, id: &str, deleted_at: Option<Time>, first: bool) -> Outcome {
    let before = fold.world.organization(id).cloned();
    let new_id = (fold.ids)();
    let after = Org::emptied(before.as_ref(), id, deleted_at, new_id, fold.now);
    let pairs: Vec<_> = fold.world.members_of(id).map(|member| member.shown.pair.clone()).collect();
    pairs.iter().for_each(|pair| drop(fold.remove_member(pair)));
    fold.put_organization(after);
    if !first {
        // An earlier time became known; nobody's view of the organisation changes.
        return Outcome::done("unchanged");
    }
    fold.plan.wake.parents.insert(id.to_owned());
    let mut diff: Object = Object::new();
    let live = before.as_ref().filter(|row| row.live);
    diff.insert("status".into(), json!([before.as_ref().map(Org::status), "deleted"]));
    if let Some(row) = live {
        fold.plan.purged.push(row.id);
        diff.insert("members_count".into(), json!([row.members_count, 0]));
    }
    fold.audit(event, id, diff);
    if live.is_some() {
        fold.tell_organization(event, "organization.deleted", id, vec!["status".into()]);
    }
    Outcome::done("deleted")
}
