//! The plan: what one transaction writes for a batch of events. Pure: loaded state, events and policy in, rows out.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::clock::Time;

pub use super::effects::{Alert, Audit, Changed, ConflictChange, Message, Wake};
use super::{
    Account, Change, Event, Outcome, Policy, State, World, facts::Facts, identities, user::Identity, users, view,
};

/// Everything that one batch changes.
#[derive(Debug, Default)]
pub struct Plan {
    /// Each event's end, by inbox seq.
    pub outcomes: Vec<(i64, Outcome)>,
    /// Subjects whose facts grew, by Clerk id.
    pub facts: BTreeMap<String, Facts>,
    /// Persons whose rows change.
    pub accounts: Vec<Changed>,
    /// Rows of `conflicts` to open or to close.
    pub conflicts: Vec<ConflictChange>,
    /// Alerts, to be merged with those already raised under the same key.
    pub alerts: Vec<Alert>,
    /// Rows of `audit_log`.
    pub audit: Vec<Audit>,
    /// Rows of `outbox`, numbered from the head on.
    pub outbox: Vec<Message>,
    /// Parked inbox rows to look at again.
    pub wake: Wake,
    /// Hashes of the addresses of deleted persons: (user id, digest).
    pub forgotten: Vec<(Uuid, String)>,
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
        drafts: Vec::new(),
        touched: BTreeSet::new(),
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
    before: BTreeMap<String, Option<Account>>,
    drafts: Vec<Draft>,
    touched: BTreeSet<Identity>,
}

/// A message whose payload is not final until identities are settled.
struct Draft {
    message: Message,
    account: Option<Account>,
}

impl Fold<'_> {
    fn judge(&mut self, event: &Event) -> Outcome {
        match &event.change {
            Change::User(snapshot) => users::snapshot(self, event, snapshot),
            Change::UserDeleted { clerk_id } => users::deleted(self, event, clerk_id),
            Change::Ignored { reason } => Outcome::skipped("ignored").because(Some((*reason).to_owned())),
            Change::Refused { reason } => Outcome::rejected(reason.clone()),
        }
    }

    /// Takes note of a person's facts as they now are.
    pub(super) fn note_facts(&mut self, clerk_id: &str) {
        let facts = self.world.facts(clerk_id).clone();
        self.plan.facts.insert(clerk_id.to_owned(), facts);
    }

    /// Puts a person's new rows in place.
    pub(super) fn put(&mut self, account: Account) {
        let before = self.world.account(&account.clerk_id).cloned();
        self.touched.extend(before.iter().flat_map(|row| row.identities.keys().cloned()));
        self.touched.extend(account.identities.keys().cloned());
        self.before.entry(account.clerk_id.clone()).or_insert(before);
        self.world.put(account);
    }

    /// Tells the change feed about a person, whose rows are in place.
    pub(super) fn tell(&mut self, event: &Event, name: &'static str, clerk_id: &str, changed: Vec<String>) {
        let Some(account) = self.world.account(clerk_id).cloned() else { return };
        let message = Message {
            seq: 0,
            event: name,
            topic: "users",
            subject: clerk_id.to_owned(),
            routing: vec![format!("user:{}", account.id)],
            payload: Map::new(),
            changed,
            effects: "all",
            correlation_id: event.correlation_id.clone(),
            occurred_at: event.occurred_at,
        };
        self.drafts.push(Draft { message, account: Some(account) });
    }

    /// Tells the operators' topic.
    pub(super) fn tell_admin(&mut self, event: &Event, name: &'static str, subject: &str, payload: Value) {
        let message = Message {
            seq: 0,
            event: name,
            topic: "admin",
            subject: subject.to_owned(),
            routing: Vec::new(),
            payload: payload.as_object().cloned().unwrap_or_default(),
            changed: Vec::new(),
            effects: "all",
            correlation_id: event.correlation_id.clone(),
            occurred_at: event.occurred_at,
        };
        self.drafts.push(Draft { message, account: None });
    }

    /// Adds to the audit trail.
    pub(super) fn audit(&mut self, event: &Event, subject: &str, diff: Map<String, Value>) {
        self.plan.audit.push(Audit {
            actor: "clerk",
            action: event.event_type.clone(),
            subject: subject.to_owned(),
            diff,
            correlation_id: event.correlation_id.clone(),
        });
    }

    fn tell_operators(&mut self, event: &Event, outcome: &Outcome) {
        if outcome.state == State::Rejected {
            let subject = event.change.subject().unwrap_or(&event.correlation_id).to_owned();
            let payload =
                json!({"svix_id": event.correlation_id, "event_type": event.event_type, "reason": outcome.reason});
            self.tell_admin(event, "event.rejected", &subject, payload);
        }
    }

    fn finish(mut self) -> Plan {
        self.settle_identities();
        let mut last: HashMap<String, usize> = HashMap::new();
        for (index, draft) in self.drafts.iter().enumerate().filter(|(_, draft)| draft.account.is_some()) {
            last.insert(draft.message.subject.clone(), index);
        }
        let head = self.world.head;
        for (index, Draft { mut message, account }) in std::mem::take(&mut self.drafts).into_iter().enumerate() {
            message.seq = head + 1 + i64::try_from(index).unwrap_or(0);
            if let Some(mut account) = account {
                let is_last = last.get(&message.subject) == Some(&index);
                if let Some(row) = self.world.account(&message.subject).filter(|_| is_last) {
                    account = row.clone();
                }
                account.rev = message.seq;
                message.payload = view::user(&account);
                if is_last {
                    self.world.put(account);
                }
            }
            self.plan.outbox.push(message);
        }
        for (clerk_id, before) in std::mem::take(&mut self.before) {
            if let Some(after) = self.world.account(&clerk_id).filter(|after| before.as_ref() != Some(after)) {
                self.plan.accounts.push(Changed { before, after: after.clone() });
            }
        }
        self.plan
    }

    /// A move is told and audited for both sides.
    fn settle_identities(&mut self) {
        for mut account in identities::settle(&self.world, &self.touched) {
            let clerk_id = account.clerk_id.clone();
            let original = match self.before.get(&clerk_id) {
                Some(before) => before.clone(),
                None => self.world.account(&clerk_id).cloned(),
            };
            let shown = |row: &Account| row.shown_identities().cloned().collect::<Vec<_>>();
            let moved = original.as_ref().map(&shown).unwrap_or_default() != shown(&account);
            let told =
                self.drafts.iter_mut().rev().find(|draft| draft.account.is_some() && draft.message.subject == clerk_id);
            match told {
                Some(draft) if draft.message.event == "user.updated" && moved => {
                    if !draft.message.changed.iter().any(|name| name == "identities") {
                        draft.message.changed.push("identities".into());
                    }
                    self.put(account);
                }
                Some(_) => self.put(account),
                None if moved => {
                    account.updated_at = self.now;
                    let diff = [(
                        "identities".to_owned(),
                        json!([original.map(|row| shown_json(&row)), shown_json(&account)]),
                    )];
                    self.put(account);
                    let event = self.mover();
                    self.audit(&event, &clerk_id, diff.into_iter().collect());
                    self.tell(&event, "user.updated", &clerk_id, vec!["identities".into()]);
                }
                None => self.put(account),
            }
        }
    }

    /// The event in whose name a settlement is told: the batch's last message.
    fn mover(&self) -> Event {
        let last = self.drafts.last().map(|draft| &draft.message);
        Event {
            seq: 0,
            correlation_id: last.map(|message| message.correlation_id.clone()).unwrap_or_default(),
            event_type: "identity.moved".into(),
            occurred_at: last.and_then(|message| message.occurred_at),
            change: Change::Ignored { reason: "" },
        }
    }
}

fn shown_json(account: &Account) -> Value {
    account
        .shown_identities()
        .map(|identity| json!({"provider": identity.provider, "provider_subject_id": identity.subject}))
        .collect()
}

impl Change {
    /// Clerk's id of the subject, where the event names one.
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::User(snapshot) => Some(&snapshot.user.clerk_id),
            Self::UserDeleted { clerk_id } => Some(clerk_id),
            _ => None,
        }
    }
}
