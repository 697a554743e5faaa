//! What operators do, through the same plan as events: audited, told, and refused where a condition does not hold.

use uuid::Uuid;

use crate::{
    clock::Time,
    json::{Value, json},
};

use super::{
    Account, Event, Outcome,
    decisions::{Decision, Verdict},
    diff, emails,
    plan::{ConflictChange, Fold, Kind, Relinked},
};

/// An operator's action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A word about an open conflict of `newcomer`; `None` looks at it again and decides nothing.
    Decide {
        /// The open row of `conflicts`.
        conflict: Uuid,
        /// Whom it keeps out.
        newcomer: String,
        /// Who has the address.
        older: String,
        /// What is decided.
        verdict: Option<Verdict>,
    },
    /// The deletion that is held does not happen.
    Cancel {
        /// Whose: a user's or an organisation's.
        clerk_id: String,
    },
    /// Somebody deleted has returned under a new Clerk id and gets their stable id back.
    Relink {
        /// The deleted Clerk id.
        from: String,
        /// The new one.
        to: String,
    },
}

impl Action {
    /// The persons whom it touches.
    pub fn persons(&self) -> Vec<&str> {
        match self {
            Self::Decide { newcomer, older, .. } => vec![newcomer, older],
            Self::Cancel { clerk_id } => vec![clerk_id],
            Self::Relink { from, to } => vec![from, to],
        }
    }
}

/// Does it. A `rejected` outcome says which condition does not hold; nothing is changed then.
pub(super) fn act(fold: &mut Fold<'_>, event: &Event, action: &Action) -> Outcome {
    match action {
        Action::Decide { conflict, newcomer, older, verdict } => {
            decide(fold, event, *conflict, (newcomer, older), *verdict)
        }
        Action::Cancel { clerk_id } => cancel(fold, event, clerk_id),
        Action::Relink { from, to } => relink(fold, event, from, to),
    }
}

fn decide(
    fold: &mut Fold<'_>,
    event: &Event,
    conflict: Uuid,
    (newcomer, older): (&str, &str),
    verdict: Option<Verdict>,
) -> Outcome {
    let open = fold.world.conflicts.get(newcomer).into_iter().flatten().find(|(_, open)| open.id == conflict);
    let Some(address) = open.filter(|(_, open)| open.other == older).map(|(address, _)| address.clone()) else {
        return Outcome::rejected("the conflict is not open");
    };
    let holder = fold.world.live(older).filter(|row| row.addresses.get(&address).is_some_and(|held| held.verified));
    let holder = holder.filter(|row| row.deletion_held_at.is_none()).cloned();
    let word = verdict.map_or("retry", Verdict::as_str);
    if let Some(verdict) = verdict {
        let Some(holder) = holder else {
            return Outcome::rejected("the address no longer stands verified with the other person; `retry` is enough");
        };
        let older_version = fold.world.facts(older).newest.clone();
        let decision = Decision {
            id: (fold.ids)(),
            newcomer: newcomer.to_owned(),
            older: older.to_owned(),
            address: address.clone(),
            verdict,
            older_version,
        };
        fold.world.decisions.add(decision.clone());
        fold.plan.decisions.push(decision);
        fold.plan.conflicts.push(ConflictChange::Close { id: conflict });
        if let Some(open) = fold.world.conflicts.get_mut(newcomer) {
            open.remove(&address);
        }
        let payload = json!({"id": conflict, "clerk_id": newcomer, "other_clerk_id": older, "decision": word});
        fold.tell_admin(event, "conflict.resolved", newcomer, payload);
        if verdict == Verdict::TakeOver {
            release(fold, event, &holder, &address);
        }
    }
    let diff = json!({"decision": json!([Value::Null, word]), "other_clerk_id": json!([Value::Null, older])});
    fold.audit(event, newcomer, diff.as_object().cloned().unwrap_or_default());
    fold.plan.wake.clashes.extend([newcomer.to_owned(), older.to_owned()]);
    Outcome::done("updated")
}

/// The address leaves the older person's row at once; their events at and below the noted version go without it too.
fn release(fold: &mut Fold<'_>, event: &Event, holder: &Account, address: &str) {
    let mut after = holder.clone();
    after.without_address(address);
    after.updated_at = fold.now;
    let diff = diff::person(Some(holder), &after);
    let changed = diff.keys().cloned().collect();
    let clerk_id = holder.clerk_id.clone();
    fold.put(after);
    fold.audit(event, &clerk_id, diff);
    fold.tell(event, "user.updated", &clerk_id, changed);
}

/// The decision covers every deletion up to the time of the one that was held, whichever delivery or replay says it again.
fn keep(fold: &mut Fold<'_>, kind: Kind, clerk_id: &str, until: Time) {
    fold.world.cancelled.insert((kind, clerk_id.to_owned()), until);
    fold.plan.cancelled.push((kind, clerk_id.to_owned(), until));
    fold.plan.wake.cancelled.insert(clerk_id.to_owned());
    fold.plan.wake.held.insert(clerk_id.to_owned());
}

fn cancel(fold: &mut Fold<'_>, event: &Event, clerk_id: &str) -> Outcome {
    let held = fold.world.held.get(clerk_id).copied();
    if let Some((Kind::Organization, until)) = held {
        let diff = json!({"deletion": ["held", "cancelled"]});
        fold.audit(event, clerk_id, diff.as_object().cloned().unwrap_or_default());
        keep(fold, Kind::Organization, clerk_id, until);
        return Outcome::done("updated");
    }
    let Some(before) = fold.world.live(clerk_id).filter(|row| row.deletion_held_at.is_some()).cloned() else {
        return Outcome::rejected("no deletion of this person is held");
    };
    let mut after = Account::clone(&before);
    after.deletion_held_at = None;
    after.updated_at = fold.now;
    let diff = diff::person(Some(&before), &after);
    fold.put(after);
    fold.audit(event, clerk_id, diff);
    fold.tell(event, "user.updated", clerk_id, vec!["deletion_held_at".into()]);
    keep(fold, Kind::User, clerk_id, held.map_or(fold.now, |(_, until)| until));
    fold.plan.wake.clashes.insert(clerk_id.to_owned());
    Outcome::done("updated")
}

fn relink(fold: &mut Fold<'_>, event: &Event, from: &str, to: &str) -> Outcome {
    if !fold.world.facts(from).is_gone() {
        return Outcome::rejected("the old Clerk id is not deleted");
    }
    let Some(old) = fold.world.account(from).filter(|row| !row.is_live()).cloned() else {
        return Outcome::rejected("nothing is left of the old Clerk id that could be linked");
    };
    let Some(new) = fold.world.live(to).filter(|row| row.deletion_held_at.is_none()).cloned() else {
        return Outcome::rejected("the new Clerk id is not live");
    };
    let returned = new.addresses.iter().filter(|(_, address)| address.verified).any(|(address, _)| {
        let digest = emails::digest(&fold.policy.hash_key, address);
        fold.world.departed.get(&digest).is_some_and(|persons| persons.contains(from))
    });
    if !returned {
        return Outcome::rejected(
            "no verified address of the new person is one that the old one had, within relink.window",
        );
    }
    // The old row takes the new Clerk id; `subjects` stay as they are, so the old one remains deleted for ever.
    let emptied = Account { clerk_id: to.to_owned(), ..Account::clone(&old) };
    let after =
        Account { id: old.id, created_at: old.created_at, updated_at: fold.now, rev: old.rev, ..Account::clone(&new) };
    fold.plan.relinked.push(Relinked { kept: old.id, given_up: new.id });
    fold.world.remove(from);
    fold.put(after);
    fold.before.remove(from);
    fold.before.insert(to.to_owned(), Some(emptied.into()));
    for pair in fold.world.memberships_of(to) {
        if let Some(mut row) = fold.world.member(&pair).cloned() {
            row.user_id = old.id;
            fold.put_member(row.clone());
            fold.tell_member(event, "membership.updated", row, vec!["user_id".into()]);
        }
    }
    let diff = json!({"id": [new.id, old.id], "clerk_id": [from, to]});
    fold.audit(event, to, diff.as_object().cloned().unwrap_or_default());
    fold.tell(event, "user.updated", to, vec!["id".into()]);
    if let Some(message) = fold.last_about(to) {
        message.routing.push(format!("user:{}", new.id));
    }
    // Whoever knows the given-up id is told that it is gone.
    let gone = json!({"id": new.id, "clerk_id": from, "status": "deleted", "deleted_at": Value::Null});
    fold.tell_gone(event, from, new.id, gone);
    fold.plan.wake.clashes.insert(to.to_owned());
    Outcome::done("updated")
}
