//! The plan: what one transaction writes for a batch of events. Pure: loaded state, events and policy in, rows out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use uuid::Uuid;

use crate::clock::Time;

pub use super::effects::{
    Alert, Audit, Changed, ChangedMember, ChangedOrganization, ConflictChange, Kind, Message, Relinked, Revoked, Wake,
};
use super::{
    Account, Change, Event, Outcome, Policy, World,
    decisions::Decision,
    facts::Facts,
    identities,
    membership::{Member, Pair},
    memberships, operators,
    organization::Org,
    organizations, owners, sessions,
    telling::Draft,
    user::Identity,
    users,
};

/// The reason of an event that Clerk's dashboard sent to try the endpoint.
const EXAMPLE: &str = "example: sent by \"Send Example\" in Clerk's dashboard; the endpoint works";

/// Everything that one batch changes.
#[derive(Debug, Default)]
pub struct Plan {
    /// Each event's end, by inbox seq.
    pub outcomes: Vec<(i64, Outcome)>,
    /// Subjects whose facts grew.
    pub facts: BTreeMap<(Kind, String), Facts>,
    /// Persons whose rows change.
    pub accounts: Vec<Changed>,
    /// Persons of whom not even an emptied row is to be left: our ids.
    pub hard: Vec<(Uuid, String)>,
    /// Organisations whose rows change.
    pub organizations: Vec<ChangedOrganization>,
    /// Memberships whose rows change.
    pub memberships: Vec<ChangedMember>,
    /// Deleted organisations, all of whose memberships go: our ids.
    pub purged: Vec<Uuid>,
    /// Returning persons whose rows move to the id that they had.
    pub relinked: Vec<Relinked>,
    /// Sessions that ended.
    pub revoked: Vec<Revoked>,
    /// Rows of `conflicts` to open or to close.
    pub conflicts: Vec<ConflictChange>,
    /// What operators decided.
    pub decisions: Vec<Decision>,
    /// Deletions that operators cancelled: the subject, and up to which time of their own.
    pub cancelled: Vec<(Kind, String, Time)>,
    /// Alerts, to be merged with those already raised under the same key.
    pub alerts: Vec<Alert>,
    /// Rows of `audit_log`.
    pub audit: Vec<Audit>,
    /// Rows of `outbox`, numbered from the head on.
    pub outbox: Vec<Message>,
    /// Parked inbox rows to look at again.
    pub wake: Wake,
    /// Inbox rows whose bodies name somebody who was erased: not kept.
    pub forget: Vec<i64>,
    /// Hashes of the addresses of deleted persons: (user id, digest).
    pub forgotten: Vec<(Uuid, String)>,
    /// It is no news: caches and search follow, nobody is mailed.
    pub quiet: bool,
}

/// Folds the events, in their order, through the loaded state.
pub fn plan<'a>(
    world: World,
    events: impl IntoIterator<Item = &'a Event>,
    policy: &Policy,
    now: Time,
    ids: &mut dyn FnMut() -> Uuid,
) -> Plan {
    let mut fold = Fold {
        world,
        policy,
        now,
        ids,
        plan: Plan::default(),
        before: BTreeMap::new(),
        organizations_before: BTreeMap::new(),
        members_before: BTreeMap::new(),
        drafts: Vec::new(),
        identities: BTreeSet::new(),
        unsettled: BTreeSet::new(),
    };
    for event in events {
        let outcome = fold.judge(event);
        fold.tell_operators(event, &outcome);
        fold.plan.outcomes.push((event.seq, outcome));
    }
    fold.finish()
}

/// The state of the fold. Rules read `world` and write through the methods.
pub(super) struct Fold<'a> {
    pub(super) world: World,
    pub(super) policy: &'a Policy,
    pub(super) now: Time,
    pub(super) ids: &'a mut dyn FnMut() -> Uuid,
    pub(super) plan: Plan,
    /// Rows as they were before the batch, of the persons that the batch changed.
    pub(super) before: BTreeMap<String, Option<Arc<Account>>>,
    organizations_before: BTreeMap<String, Option<Org>>,
    members_before: BTreeMap<Pair, Option<Member>>,
    pub(super) drafts: Vec<Draft>,
    /// Identities whose place is to be settled.
    pub(super) identities: BTreeSet<Identity>,
    /// Organisations whose owner is to be settled.
    pub(super) unsettled: BTreeSet<String>,
}

impl Fold<'_> {
    fn judge(&mut self, event: &Event) -> Outcome {
        match &event.change {
            Change::User(snapshot) => users::snapshot(self, event, snapshot),
            Change::UserDeleted { clerk_id } => users::deleted(self, event, clerk_id),
            Change::Organization(snapshot) => organizations::snapshot(self, event, snapshot),
            Change::OrganizationDeleted { clerk_id } => organizations::deleted(self, event, clerk_id),
            Change::Membership(told) => memberships::told(self, event, told),
            Change::Absent(absence) => match absence.kind {
                Kind::User => users::absent(self, event, absence),
                Kind::Organization => organizations::absent(self, event, absence),
                Kind::Membership | Kind::MembershipId => memberships::absent(self, event, absence),
            },
            Change::SessionEnded { session_id, clerk_id } => sessions::ended(self, event, session_id, clerk_id),
            Change::Operator(action) => operators::act(self, event, action),
            Change::Ignored { reason } => Outcome::skipped("ignored").because(Some((*reason).to_owned())),
            Change::Example => Outcome::skipped("example").because(Some(EXAMPLE.to_owned())),
            Change::Refused { reason } => Outcome::rejected(reason.clone()),
            Change::NotDeleted { clerk_id } => self.deny_deletion(clerk_id),
        }
    }

    /// A deletion that says it is none: nothing Clerk sends says so, so an operator is to look at it.
    fn deny_deletion(&mut self, clerk_id: &str) -> Outcome {
        let text = format!("{clerk_id}: a deletion whose `deleted` is false was refused");
        self.plan.alerts.push(Alert { kind: "deletion.denied", level: "warning", subject: clerk_id.to_owned(), text });
        Outcome::rejected("malformed: data.deleted is false, so nothing was deleted")
    }

    /// Raises the alert about a subject's fields that failed validation.
    pub(super) fn alert_fields(&mut self, clerk_id: &str, reason: Option<&str>) {
        let Some(reason) = reason else { return };
        let text = format!("{clerk_id}: {reason}");
        self.plan.alerts.push(Alert { kind: "field.invalid", level: "warning", subject: clerk_id.to_owned(), text });
    }

    /// Takes note of a subject's facts as they now are.
    pub(super) fn note_facts(&mut self, kind: Kind, key: &str) {
        let facts = match kind {
            Kind::User => self.world.facts(key),
            Kind::Organization => self.world.organization_facts(key),
            Kind::Membership => self.world.pair_facts(key),
            Kind::MembershipId => self.world.membership_facts(key),
        };
        self.plan.facts.insert((kind, key.to_owned()), facts.clone());
    }

    /// Puts a person's new rows in place.
    pub(super) fn put(&mut self, account: impl Into<Arc<Account>>) {
        let account = account.into();
        let before = self.world.account(&account.clerk_id).cloned();
        self.identities.extend(before.iter().flat_map(|row| row.identities.keys().cloned()));
        self.identities.extend(account.identities.keys().cloned());
        self.before.entry(account.clerk_id.clone()).or_insert(before);
        self.world.put(account);
    }

    /// Puts an organisation's new row in place.
    pub(super) fn put_organization(&mut self, row: Org) {
        let before = self.world.organization(&row.shown.clerk_id).cloned();
        self.organizations_before.entry(row.shown.clerk_id.clone()).or_insert(before);
        self.world.put_organization(row);
    }

    /// Puts a membership's new row in place, and counts it.
    pub(super) fn put_member(&mut self, row: Member) {
        let pair = row.shown.pair.clone();
        let before = self.world.member(&pair).cloned();
        if before.is_none() {
            self.count(&pair.organization, 1);
        }
        self.members_before.entry(pair.clone()).or_insert(before);
        self.unsettled.insert(pair.organization);
        self.world.put_member(row);
    }

    /// Takes a membership's row away, and counts it.
    pub(super) fn remove_member(&mut self, pair: &Pair) -> Option<Member> {
        let row = self.world.remove_member(pair)?;
        self.count(&pair.organization, -1);
        self.members_before.entry(pair.clone()).or_insert(Some(row.clone()));
        self.unsettled.insert(pair.organization.clone());
        Some(row)
    }

    fn count(&mut self, organization: &str, change: i64) {
        if let Some(mut row) = self.world.live_organization(organization).cloned() {
            row.members_count += change;
            self.put_organization(row);
        }
    }

    /// A late delivery about somebody who was erased leaves nothing of them behind again.
    pub(super) fn forget(&mut self, event: &Event, erased: bool) {
        if erased {
            self.plan.forget.push(event.seq);
        }
    }

    /// An organisation's row as it was before the batch.
    pub(super) fn organization_before(&self, clerk_id: &str) -> Option<&Org> {
        match self.organizations_before.get(clerk_id) {
            Some(before) => before.as_ref(),
            None => self.world.organization(clerk_id),
        }
    }

    fn finish(mut self) -> Plan {
        identities::settle(&mut self);
        owners::settle(&mut self);
        self.tell_profiles();
        self.number();
        for (clerk_id, before) in std::mem::take(&mut self.before) {
            if let Some(after) = self.world.account(&clerk_id).filter(|after| before.as_ref() != Some(*after)) {
                self.plan.accounts.push(Changed { before, after: Arc::clone(after) });
            }
        }
        for (clerk_id, before) in std::mem::take(&mut self.organizations_before) {
            if let Some(after) = self.world.organization(&clerk_id).filter(|after| before.as_ref() != Some(after)) {
                self.plan.organizations.push(ChangedOrganization { before, after: after.clone() });
            }
        }
        for (pair, before) in std::mem::take(&mut self.members_before) {
            let after = self.world.member(&pair).cloned();
            if before != after {
                self.plan.memberships.push(ChangedMember { before, after });
            }
        }
        self.plan
    }
}
