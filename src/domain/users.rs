//! **user.created / user.updated / user.deleted**: one event of a person, judged.
//!
//! Created and updated differ in nothing but wording: an unknown person is created, a known one compared.

use std::collections::BTreeSet;

use crate::{clock::Time, json::json};

use super::{
    Account, Event, Outcome, User, Version,
    account::QUIET,
    decisions::effective,
    deletion, diff, emails, entry,
    event::{Absence, Snapshot},
    facts, holds, memberships,
    plan::{Alert, ConflictChange, Fold, Kind, Wake},
    roles,
    status::Status,
    validate,
    world::OpenConflict,
};

/// A snapshot: facts first, then evaluated. What the facts say of the user's access holds whatever the outcome.
pub(super) fn snapshot(fold: &mut Fold<'_>, event: &Event, snapshot: &Snapshot) -> Outcome {
    let id = snapshot.user.clerk_id.as_str();
    let was_barred = fold.world.facts(id).status() != Status::Active;
    let outcome = evaluate(fold, event, snapshot);
    enforce_status(fold, event, id, was_barred);
    outcome
}

fn evaluate(fold: &mut Fold<'_>, event: &Event, snapshot: &Snapshot) -> Outcome {
    let Snapshot { user, version, .. } = snapshot;
    let id = user.clerk_id.as_str();
    let refusal = entry::refusal(user, fold.policy);
    let facts = fold.world.facts(id);
    let before = facts.clone();
    if event.from_api {
        facts.appear();
    }
    if facts.raise_user(version, user.banned, user.deprovisioned) {
        fold.plan.wake.clashes.insert(id.to_owned());
    }
    let facts = fold.world.facts(id);
    if refusal.is_none() && facts.enter() {
        fold.plan.wake.entries.insert(id.to_owned());
    }
    let facts = fold.world.facts(id).clone();
    if facts != before {
        fold.note_facts(Kind::User, id);
    }
    if facts.deleted {
        fold.forget(event, facts.erased);
        return Outcome::skipped("tombstoned");
    }
    if facts.absent.is_some() {
        return facts::absent();
    }
    if facts.outdates(version) {
        return Outcome::skipped("stale");
    }
    if let Some(reason) = refusal.filter(|_| !facts.entered) {
        return Outcome::rejected(reason).and(validate::reason(&snapshot.emptied));
    }
    if fold.world.live(id).is_some_and(|row| row.deletion_held_at.is_some()) {
        return Outcome::held("hold: the deletion of this person waits for an operator");
    }
    let user = effective(&fold.world, user, version);
    let blocked = emails::blocked(&fold.world, &user);
    if let Some((_, other)) = blocked.first().filter(|_| is_to_refresh(fold, event, id, &blocked)) {
        return Outcome::refresh(other.clone());
    }
    settle_conflicts(fold, event, id, &blocked);
    if let Some((_, other)) = blocked.first() {
        let all: BTreeSet<&str> = blocked.iter().map(|(_, other)| other.as_str()).collect();
        let all = all.into_iter().collect::<Vec<_>>().join(", ");
        let gone = gone(event, other);
        let reason = format!("conflict.email: a verified address of this person also stands verified with {all}{gone}");
        return Outcome::conflict(reason, other.clone()).and(validate::reason(&snapshot.emptied));
    }
    let (fields, roles) = notes(fold, snapshot);
    apply(fold, event, &user, version).and(fields).and(roles)
}

/// Makes the row's status that of the facts, where the event that raised them did not apply. Of a user without a row the
/// connections are closed: `subjects` refuses their tokens.
fn enforce_status(fold: &mut Fold<'_>, event: &Event, id: &str, was_barred: bool) {
    let facts = fold.world.facts(id);
    let (status, deleted) = (facts.status(), facts.is_gone());
    let Some(before) = fold.world.live(id).cloned() else {
        if status != Status::Active && !was_barred && !deleted {
            fold.tell_barred(event, id, status);
        }
        return;
    };
    if before.status != status {
        let after = Account { status, updated_at: fold.now, ..Account::clone(&before) };
        let diff = diff::person(Some(&before), &after);
        fold.put(after);
        fold.audit(event, id, diff);
        fold.tell(event, "user.updated", id, vec!["status".into()]);
    }
}

/// Puts the newest version in place.
fn apply(fold: &mut Fold<'_>, event: &Event, user: &User, version: &Version) -> Outcome {
    let id = user.clerk_id.as_str();
    let before = fold.world.account(id).cloned();
    let new_id = (fold.ids)();
    let mut after = Account::show(before.as_deref(), user, version.clone(), fold.policy, new_id, fold.now);
    let diff = diff::person(before.as_deref(), &after);
    let loud: Vec<String> = diff.keys().filter(|name| !is_quiet(fold, name)).cloned().collect();
    // Who was absent and is back has their row filled again, under their stable id: to readers they are new.
    let is_new = before.as_ref().is_none_or(|row| !row.is_live());
    let (name, what) = match is_new {
        true => ("user.created", "created"),
        false if loud.is_empty() => {
            fold.put(after);
            return Outcome::done("unchanged");
        }
        false => ("user.updated", "updated"),
    };
    after.updated_at = fold.now;
    if is_new {
        fold.plan.wake.parents.insert(id.to_owned());
        notice_return(fold, &after);
    }
    fold.put(after);
    fold.audit(event, id, diff.into_iter().filter(|(field, _)| loud.contains(field)).collect());
    fold.tell(event, name, id, loud);
    Outcome::done(what)
}

/// A deletion: wins always, is final; but one that would do harm waits for an operator.
pub(super) fn deleted(fold: &mut Fold<'_>, event: &Event, id: &str) -> Outcome {
    if !fold.world.facts(id).deleted && fold.world.live(id).is_some() {
        if let Some(outcome) = holds::cancelled(fold, event.occurred_at, Kind::User, id) {
            return outcome;
        }
        if let Some(reason) = holds::reason(fold, event, id) {
            return hold(fold, event, id, reason);
        }
    }
    let facts = fold.world.facts(id);
    let (first, was_absent) = (!facts.deleted, facts.absent.is_some());
    let new = facts.bury(event.occurred_at);
    let deleted_at = facts.deleted_at;
    if !new {
        return Outcome::done("unchanged");
    }
    fold.note_facts(Kind::User, id);
    if first {
        holds::count(fold, event, Kind::User);
    }
    let before = fold.world.account(id).cloned();
    if fold.policy.hard
        && let Some(row) = before.as_ref().filter(|row| row.is_live() || was_absent)
    {
        fold.plan.hard.push((row.id, id.to_owned()));
    }
    // Of an unknown id the same row is left; none where no rows are left, or where a returned person took it over.
    let keeps_row = before.is_some() || (first && !fold.policy.hard);
    remove(fold, event, id, deleted_at, keeps_row, first)
}

/// A comparison found a user absent at Clerk. Their row is emptied as by a deletion, and stays: under the same stable id it
/// is filled again when Clerk shows them.
pub(super) fn absent(fold: &mut Fold<'_>, event: &Event, absence: &Absence) -> Outcome {
    let id = absence.key.as_str();
    if fold.world.facts(id).outdates(&absence.seen) {
        return Outcome::skipped("stale");
    }
    if let Some(row) = fold.world.live(id).cloned() {
        if let Some(outcome) = holds::cancelled(fold, None, Kind::User, id) {
            return outcome;
        }
        if row.deletion_held_at.is_some() && fold.policy.holds {
            return Outcome::held("hold: the deletion of this user waits for an operator");
        }
        if let Some(reason) = holds::sole_admin(fold, id) {
            return hold(fold, event, id, reason);
        }
    }
    if !fold.world.facts(id).vanish(&absence.seen) {
        return Outcome::done("unchanged");
    }
    fold.note_facts(Kind::User, id);
    if fold.world.live(id).is_none() {
        return Outcome::done("unchanged");
    }
    remove(fold, event, id, None, true, true)
}

/// Empties a user's row, and tells it where they were live. `first`: nobody knew before that they are gone.
fn remove(
    fold: &mut Fold<'_>,
    event: &Event,
    id: &str,
    deleted_at: Option<Time>,
    keeps_row: bool,
    first: bool,
) -> Outcome {
    let before = fold.world.account(id).cloned();
    let new_id = (fold.ids)();
    let after = deletion::emptied(before.as_deref(), id, deleted_at, new_id, fold.now);
    let live = before.as_ref().filter(|row| row.is_live());
    if let Some(row) = live {
        let verified = row.addresses.iter().filter(|(_, address)| address.verified);
        let digests = verified.map(|(address, _)| (row.id, emails::digest(&fold.policy.hash_key, address)));
        fold.plan.forgotten.extend(digests);
    }
    if keeps_row {
        fold.put(after);
    }
    if !first {
        // An earlier time became known; nobody's view of the person changes.
        return Outcome::done("unchanged");
    }
    for pair in fold.world.memberships_of(id) {
        memberships::end(fold, event, &pair);
    }
    settle_conflicts(fold, event, id, &[]);
    let Wake { clashes, entries, parents, held, .. } = &mut fold.plan.wake;
    [clashes, entries, parents, held].into_iter().for_each(|set| _ = set.insert(id.to_owned()));
    // No values: the trail must not keep what the deletion removes.
    let status = before.as_ref().map(|row| row.status.as_str());
    fold.audit(event, id, [("status".to_owned(), json!([status, "deleted"]))].into_iter().collect());
    if live.is_some() {
        fold.tell(event, "user.deleted", id, vec!["status".into()]);
    }
    Outcome::done("deleted")
}

/// Parks a deletion: the person is locked out at once and their addresses are free, but nothing is removed.
fn hold(fold: &mut Fold<'_>, event: &Event, id: &str, reason: String) -> Outcome {
    let Some(before) = fold.world.live(id).cloned() else { return Outcome::held(reason) };
    if before.deletion_held_at.is_none() {
        let mut after = Account::clone(&before);
        after.deletion_held_at = Some(fold.now);
        after.updated_at = fold.now;
        let diff = diff::person(Some(&before), &after);
        fold.put(after);
        fold.audit(event, id, diff);
        fold.tell(event, "user.updated", id, vec!["deletion_held_at".into()]);
        fold.plan.wake.clashes.insert(id.to_owned());
        holds::alert(fold, id, &reason);
    }
    Outcome::held(reason)
}

/// Somebody deleted may have come back under a new id: offered, never done by itself.
fn notice_return(fold: &mut Fold<'_>, account: &Account) {
    let verified = account.addresses.iter().filter(|(_, address)| address.verified);
    let digests = verified.map(|(address, _)| emails::digest(&fold.policy.hash_key, address));
    let departed = digests.filter_map(|digest| fold.world.departed.get(&digest)).flatten().next().cloned();
    if let Some(old) = departed {
        let id = account.clerk_id.clone();
        let text =
            format!("{id} may be {old}, who was deleted: `clerk-sync relink {old} {id}` gives them their id back");
        fold.plan.alerts.push(Alert { kind: "return.noticed", level: "info", subject: id, text });
    }
}

/// Whether both users of a clash are to be read from Clerk first: once an event, and not for a clash that is open already.
fn is_to_refresh(fold: &Fold<'_>, event: &Event, id: &str, blocked: &[(String, String)]) -> bool {
    let open = fold.world.conflicts.get(id);
    let is_open = |(address, other): &(String, String)| {
        open.and_then(|open| open.get(address)).is_some_and(|conflict| conflict.other == *other)
    };
    fold.policy.refresh_clashes && event.refreshed.is_none() && !blocked.iter().all(is_open)
}

/// The part of a reason that says that Clerk no longer has the blocker. Only a comparison removes such a user.
fn gone(event: &Event, other: &str) -> &'static str {
    let is_gone = event.refreshed.as_ref().is_some_and(|refreshed| refreshed.gone.iter().any(|id| id == other));
    if is_gone { ", who is gone at Clerk: `clerk-sync reconcile --full` removes them" } else { "" }
}

/// Makes a person's open conflicts those that their newest version has.
fn settle_conflicts(fold: &mut Fold<'_>, event: &Event, id: &str, blocked: &[(String, String)]) {
    let mut open = fold.world.conflicts.remove(id).unwrap_or_default();
    let over =
        |address: &String, conflict: &mut OpenConflict| !blocked.contains(&(address.clone(), conflict.other.clone()));
    for (_, conflict) in open.extract_if(.., over) {
        fold.plan.conflicts.push(ConflictChange::Close { id: conflict.id });
        let payload = json!({"id": conflict.id, "clerk_id": id, "other_clerk_id": conflict.other});
        fold.tell_admin(event, "conflict.resolved", id, payload);
    }
    for (address, other) in blocked {
        if open.contains_key(address) {
            continue;
        }
        let conflict = OpenConflict { id: (fold.ids)(), other: other.clone() };
        fold.plan.conflicts.push(ConflictChange::Open {
            id: conflict.id,
            clerk_id: id.to_owned(),
            address: address.clone(),
            other: other.clone(),
            svix_id: event.correlation_id.clone(),
        });
        let payload = json!({"id": conflict.id, "clerk_id": id, "other_clerk_id": other});
        fold.tell_admin(event, "conflict.opened", id, payload);
        fold.plan.alerts.push(Alert {
            kind: "conflict.email",
            level: "warning",
            subject: id.to_owned(),
            text: format!("a verified address of {id} also stands verified with {other}{}", gone(event, other)),
        });
        open.insert(address.clone(), conflict);
    }
    fold.world.conflicts.insert(id.to_owned(), open);
}

/// Raises alerts about what a snapshot names and does not get; returns what the reason says of fields and of roles.
fn notes(fold: &mut Fold<'_>, snapshot: &Snapshot) -> (Option<String>, Option<String>) {
    let id = &snapshot.user.clerk_id;
    let refused = roles::roles(&snapshot.user, fold.policy).1;
    let roles = (!refused.is_empty()).then(|| {
        format!("role.not_grantable: {} of the named roles not in roles.grantable and ignored", refused.len())
    });
    for role in refused {
        // A role's name is the operator's own word only if it is short and plain; else it is not repeated.
        let shown =
            if role.len() <= 64 && !role.chars().any(char::is_control) { role.as_str() } else { "(unprintable)" };
        let text = format!("{id}: the role {shown:?} is not in roles.grantable and was ignored");
        fold.plan.alerts.push(Alert { kind: "role.not_grantable", level: "warning", subject: id.clone(), text });
    }
    let fields = validate::reason(&snapshot.emptied);
    fold.alert_fields(id, fields.as_deref());
    (fields, roles)
}

fn is_quiet(fold: &Fold<'_>, name: &str) -> bool {
    QUIET.contains(&name) || fold.policy.quiet_fields.contains(name)
}
