//! **organizationMembership.\***: the subject is the pair. Live while the pair's newest version is not an end, its id has
//! not ended, and both parents are live. A membership one of whose parents has no live row waits on both.
//!
//! Events may lack half of what they are about. What is known by Clerk's id of the membership (`Kind::MembershipId`) fills
//! it in: whose it is, once any event has named both; that it ended, which is final for the id; and the highest version of
//! its snapshots that named no pair, to which the pair's version rises once the pair is known. Each of these only grows, so
//! that the order of events does not matter. An end never waits.

use super::{
    Event, Outcome, Version,
    account::QUIET,
    diff,
    event::Absence,
    facts::{self, Facts},
    membership::{Member, Membership, Pair, Terms, Told},
    plan::{Fold, Kind},
};

/// An event of a membership: facts first, then evaluated.
pub(super) fn told(fold: &mut Fold<'_>, event: &Event, told: &Told) -> Outcome {
    let known = told.clerk_id.as_deref().map(|id| raise_id(fold, id, told)).unwrap_or_default();
    let Some(pair) = told.pair().or_else(|| known.pair.clone()) else { return without_pair(fold, told, &known) };
    let key = pair.to_string();
    let shown = event.from_api && !told.is_end();
    let facts = fold.world.pair_facts(&key);
    let was_absent = facts.absent.is_some();
    if shown {
        facts.appear();
    }
    let newest = facts.newest.clone();
    let versions = [&told.version, &known.newest];
    let mut rose = false;
    versions.into_iter().flatten().for_each(|version| rose |= facts.raise(version));
    let overtaken = told.version.as_ref().is_some_and(|version| facts.outdates(version));
    let absent = facts.absent.is_some();
    if rose || absent != was_absent {
        fold.note_facts(Kind::Membership, &key);
    }
    let erased = fold.world.facts(&pair.user).erased;
    if fold.world.facts(&pair.user).deleted || fold.world.organization_facts(&pair.organization).deleted {
        fold.forget(event, erased);
        return Outcome::skipped("tombstoned");
    }
    if told.is_end() || known.deleted {
        let over = fold.world.member(&pair).is_some_and(|row| {
            told.clerk_id.as_ref() == Some(&row.shown.clerk_id)
                || versions.into_iter().flatten().any(|version| row.version.as_ref() < Some(version))
        });
        let ended = if over { end(fold, event, &pair) } else { Outcome::done("unchanged") };
        // Only where something newer than the id itself is known is its end no news.
        let shows_id = |version: &Version| told.clerk_id.as_deref().is_some_and(|id| version.is_snapshot_of(id));
        let newer = newest.filter(|newest| told.version.as_ref() < Some(newest) && !shows_id(newest));
        return match newer {
            Some(_) if !told.is_end() || (!over && told.version.is_some()) => Outcome::skipped("stale"),
            _ if told.is_end() => ended,
            _ => Outcome::skipped("tombstoned"),
        };
    }
    if absent {
        return facts::absent();
    }
    // The newest version of it is here in no row, since a parent was absent for a while: what Clerk shows is.
    let of_it = |version: &Version| told.clerk_id.as_deref().is_some_and(|id| version.is_snapshot_of(id));
    let lost = shown && fold.world.member(&pair).is_none() && newest.as_ref().is_some_and(of_it);
    match (&told.terms, &told.clerk_id) {
        (Some(_), _) if overtaken && !lost => Outcome::skipped("stale"),
        (Some(terms), Some(clerk_id)) => apply(fold, event, told, membership(clerk_id, pair, terms)),
        _ => Outcome::done("unchanged"),
    }
}

/// A comparison found that Clerk has no such membership: its row goes, until Clerk shows it again. Nothing is known of an end.
pub(super) fn absent(fold: &mut Fold<'_>, event: &Event, absence: &Absence) -> Outcome {
    let Some(pair) = Pair::parse(&absence.key) else { return Outcome::done("unchanged") };
    let facts = fold.world.pair_facts(&absence.key);
    if facts.outdates(&absence.seen) {
        return Outcome::skipped("stale");
    }
    if !facts.vanish(&absence.seen) {
        return Outcome::done("unchanged");
    }
    fold.note_facts(Kind::Membership, &absence.key);
    end(fold, event, &pair)
}

/// Raises what is known of the id; returns it. Those who wait for it are requeued.
fn raise_id(fold: &mut Fold<'_>, id: &str, told: &Told) -> Facts {
    let facts = fold.world.membership_facts(id);
    let before = facts.clone();
    match told.pair() {
        Some(pair) => _ = facts.name_pair(&pair),
        None => told.version.iter().for_each(|version| _ = facts.raise(version)),
    }
    facts.deleted |= told.is_end();
    let facts = facts.clone();
    if facts != before {
        fold.note_facts(Kind::MembershipId, id);
        // Only snapshots without a pair wait, and each of them raises the version.
        let settled = (&facts.pair, facts.deleted) != (&before.pair, before.deleted);
        if settled && before.newest.is_some() {
            fold.plan.wake.parents.insert(id.to_owned());
        }
    }
    facts
}

/// Nothing says yet whose it is.
fn without_pair(fold: &mut Fold<'_>, told: &Told, known: &Facts) -> Outcome {
    if told.is_end() {
        return Outcome::done("unchanged");
    }
    let user_deleted = told.user.as_deref().is_some_and(|id| fold.world.facts(id).deleted);
    let organization_deleted = told.organization.as_deref().is_some_and(|id| fold.world.organization_facts(id).deleted);
    if known.deleted || user_deleted || organization_deleted {
        return Outcome::skipped("tombstoned");
    }
    let parent = told.user.clone().or_else(|| told.organization.clone());
    Outcome::waiting_for_pair(told.clerk_id.clone().unwrap_or_default(), parent)
}

fn membership(clerk_id: &str, pair: Pair, terms: &Terms) -> Membership {
    let Terms { role, permissions, created_at, updated_at } = terms.clone();
    Membership { clerk_id: clerk_id.to_owned(), pair, role, permissions, created_at, updated_at }
}

/// Puts the newest version in place, once both parents are live.
fn apply(fold: &mut Fold<'_>, event: &Event, told: &Told, membership: Membership) -> Outcome {
    let Pair { organization, user } = &membership.pair;
    let parents = fold.world.live_organization(organization).zip(fold.world.live(user));
    let Some((organization_id, user_id)) = parents.map(|(org, person)| (org.id, person.id)) else {
        let reason = "waiting: organisation and person are not both here yet";
        return Outcome::waiting(reason, user.clone(), organization.clone());
    };
    let before = fold.world.member(&membership.pair).cloned();
    let rejoined = before.as_ref().is_some_and(|row| row.shown.clerk_id != membership.clerk_id);
    let key = membership.pair.to_string();
    let mut after = Member {
        id: before.as_ref().map_or_else(|| (fold.ids)(), |row| row.id),
        shown: membership,
        organization_id,
        user_id,
        created_at: before.as_ref().map_or(fold.now, |row| row.created_at),
        updated_at: before.as_ref().map_or(fold.now, |row| row.updated_at),
        rev: before.as_ref().map_or(0, |row| row.rev),
        // Numbered with the message that tells it.
        joined_seq: before.as_ref().filter(|_| !rejoined).map_or(0, |row| row.joined_seq),
        version: told.version.clone(),
    };
    let diff = diff::member(before.as_ref(), Some(&after));
    let loud: Vec<String> = diff.keys().filter(|name| !QUIET.contains(&name.as_str())).cloned().collect();
    let (name, what) = match &before {
        None => ("membership.created", "created"),
        Some(_) if loud.is_empty() => {
            fold.put_member(after);
            return Outcome::done("unchanged");
        }
        Some(_) => ("membership.updated", "updated"),
    };
    after.updated_at = fold.now;
    fold.put_member(after.clone());
    fold.audit(event, &key, diff.into_iter().filter(|(field, _)| loud.contains(field)).collect());
    fold.tell_member(event, name, after, loud);
    Outcome::done(what)
}

/// The row goes, if there is one.
pub(super) fn end(fold: &mut Fold<'_>, event: &Event, pair: &Pair) -> Outcome {
    let Some(row) = fold.remove_member(pair) else { return Outcome::done("unchanged") };
    let diff = diff::member(Some(&row), None);
    fold.audit(event, &pair.to_string(), diff);
    fold.tell_member(event, "membership.deleted", row, vec!["role".into()]);
    Outcome::done("deleted")
}
