//! **organizationMembership.\***: the subject is the pair. Live while the pair's newest version is not an end and both
//! parents are live. An end never waits; a membership one of whose parents has no live row waits on both.

use super::{
    Event, Outcome,
    account::QUIET,
    diff,
    membership::{Member, Pair, Told},
    plan::{Fold, Kind},
};

/// An event of a pair: facts first, then judged.
pub(super) fn told(fold: &mut Fold<'_>, event: &Event, told: &Told) -> Outcome {
    let Told { membership, ended, version, key } = told;
    let facts = fold.world.pair_facts(key);
    let rose = facts.raise(version);
    let outdated = facts.outdates(version);
    if rose {
        fold.note_facts(Kind::Membership, key);
    }
    let Pair { organization, user } = &membership.pair;
    let erased = fold.world.facts(user).erased;
    if fold.world.facts(user).deleted || fold.world.organization_facts(organization).deleted {
        fold.forget(event, erased);
        return Outcome::skipped("tombstoned");
    }
    if outdated {
        return Outcome::skipped("stale");
    }
    if *ended {
        return end(fold, event, &membership.pair);
    }
    let parents = fold.world.live_organization(organization).zip(fold.world.live(user));
    let Some((organization_id, user_id)) = parents.map(|(org, person)| (org.id, person.id)) else {
        let reason = "waiting: organisation and person are not both here yet";
        return Outcome::waiting(reason, user.clone(), organization.clone());
    };
    let before = fold.world.member(&membership.pair).cloned();
    let rejoined = before.as_ref().is_some_and(|row| row.shown.clerk_id != membership.clerk_id);
    let mut after = Member {
        id: before.as_ref().map_or_else(|| (fold.ids)(), |row| row.id),
        shown: membership.clone(),
        organization_id,
        user_id,
        created_at: before.as_ref().map_or(fold.now, |row| row.created_at),
        updated_at: before.as_ref().map_or(fold.now, |row| row.updated_at),
        rev: before.as_ref().map_or(0, |row| row.rev),
        // Numbered with the message that tells it.
        joined_seq: before.as_ref().filter(|_| !rejoined).map_or(0, |row| row.joined_seq),
        version: Some(version.clone()),
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
    fold.audit(event, key, diff.into_iter().filter(|(field, _)| loud.contains(field)).collect());
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
