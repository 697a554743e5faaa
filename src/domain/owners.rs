//! **Owners**: a pure function of an organisation's live members and the policy, settled once a batch for each
//! organisation touched. It never changes a role.

use uuid::Uuid;

use crate::json::{Object, json};

use super::{
    Policy, World,
    membership::{Member, Pair},
    organization::Org,
    plan::{Alert, Fold},
    policy::SoleAdmin,
};

/// Whether this member is an administrator.
pub(super) fn is_admin(policy: &Policy, member: &Member) -> bool {
    policy.admin_roles.contains(&member.shown.role)
}

/// The creator if a live member; else the most senior administrator; else, unless the policy says `orphan`, the most
/// senior member.
fn owner(world: &World, policy: &Policy, organization: &Org) -> Option<Uuid> {
    let clerk_id = &organization.shown.clerk_id;
    let creator = organization
        .shown
        .created_by
        .as_ref()
        .and_then(|user| world.member(&Pair { organization: clerk_id.clone(), user: user.clone() }));
    let first = |admins: bool| {
        let members = world.members_of(clerk_id).filter(move |member| !admins || is_admin(policy, member));
        members.min_by(|a, b| a.seniority().cmp(&b.seniority()))
    };
    let senior = || first(policy.sole_admin == SoleAdmin::Orphan).filter(|_| policy.sole_admin != SoleAdmin::Orphan);
    creator.or_else(|| first(true)).or_else(senior).map(|member| member.user_id)
}

/// Whether nobody but this person administers an organisation that has other members.
pub(super) fn is_sole_admin(world: &World, policy: &Policy, user: &str) -> Option<String> {
    world.memberships_of(user).into_iter().map(|pair| pair.organization).find(|organization| {
        let Some(row) = world.live_organization(organization) else { return false };
        let admins: Vec<&Member> = world.members_of(organization).filter(|member| is_admin(policy, member)).collect();
        row.members_count > 1
            && admins.iter().any(|member| member.shown.pair.user == user)
            && admins.iter().all(|member| member.shown.pair.user == user)
    })
}

/// Settles owner and count of the organisations that the batch touched.
pub(super) fn settle(fold: &mut Fold<'_>) {
    for clerk_id in std::mem::take(&mut fold.unsettled) {
        let Some(mut row) = fold.world.live_organization(&clerk_id).cloned() else { continue };
        row.owner_id = owner(&fold.world, fold.policy, &row);
        let before = fold.organization_before(&clerk_id).cloned();
        let owner_before = before.as_ref().and_then(|row| row.owner_id);
        let count_before = before.as_ref().map_or(0, |row| row.members_count);
        if row.owner_id.is_none() && row.members_count > 0 && (owner_before.is_some() || count_before == 0) {
            let text =
                format!("{clerk_id} has members but neither its creator nor an administrator among them: no owner");
            fold.plan.alerts.push(Alert {
                kind: "organization.orphan",
                level: "warning",
                subject: clerk_id.clone(),
                text,
            });
        }
        let mut diff: Object = Object::new();
        if row.members_count != count_before {
            diff.insert("members_count".into(), json!([count_before, row.members_count]));
        }
        if row.owner_id != owner_before {
            diff.insert("owner_id".into(), json!([owner_before, row.owner_id]));
        }
        if diff.is_empty() {
            // The count may have risen and fallen: nothing is left of that.
            fold.put_organization(row);
            continue;
        }
        row.updated_at = fold.now;
        fold.put_organization(row);
        let names = diff.keys().cloned();
        if let Some(message) = fold.last_about(&clerk_id) {
            let missing: Vec<String> = names.filter(|name| !message.changed.contains(name)).collect();
            message.changed.extend(missing);
            continue;
        }
        let changed = names.collect();
        let event = fold.echo_of(&clerk_id);
        // Counts are no news for the trail; a new owner is.
        diff.retain(|name, _| name == "owner_id");
        if !diff.is_empty() {
            let mut event = event.clone();
            event.event_type = "organization.owner".into();
            fold.audit(&event, &clerk_id, diff);
        }
        fold.tell_organization(&event, "organization.updated", &clerk_id, changed);
    }
}
