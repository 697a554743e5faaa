//! What a batch tells: messages of the change feed, the operators' topic, the audit trail. A message is drafted with the
//! rows as they are, and gets its number, and its rows their `rev`, when the batch is settled.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use crate::json::{Object, Value, json};

use super::{
    Account, Change, Event, Outcome, State,
    membership::{Member, Pair},
    organization::Org,
    plan::{Audit, Fold, Message},
    status::Status,
    view,
};

/// A message whose payload is not final until the batch is settled.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) message: Message,
    pub(super) about: About,
}

/// Whose rows a message shows, as they were when it was drafted.
#[derive(Debug)]
pub(super) enum About {
    Nobody,
    Person(Arc<Account>),
    Organization(Box<Org>),
    Member(Box<Member>),
}

fn message(event: &Event, name: &'static str, topic: &'static str, subject: &str) -> Message {
    Message {
        seq: 0,
        event: name,
        topic,
        subject: subject.to_owned(),
        routing: Vec::new(),
        payload: Object::new(),
        changed: Vec::new(),
        effects: "all",
        correlation_id: event.correlation_id.clone(),
        occurred_at: event.occurred_at,
    }
}

impl Fold<'_> {
    /// Tells the change feed about a person, whose rows are in place.
    pub(super) fn tell(&mut self, event: &Event, name: &'static str, clerk_id: &str, changed: Vec<String>) {
        let Some(account) = self.world.account(clerk_id).cloned() else { return };
        let routing = vec![format!("user:{}", account.id)];
        let message = Message { routing, changed, ..message(event, name, "users", clerk_id) };
        self.drafts.push(Draft { message, about: About::Person(account) });
    }

    /// The same about an organisation.
    pub(super) fn tell_organization(
        &mut self,
        event: &Event,
        name: &'static str,
        clerk_id: &str,
        changed: Vec<String>,
    ) {
        let Some(row) = self.world.organization(clerk_id).cloned() else { return };
        let routing = vec![format!("org:{}", row.id)];
        let message = Message { routing, changed, ..message(event, name, "organizations", clerk_id) };
        self.drafts.push(Draft { message, about: About::Organization(Box::new(row)) });
    }

    /// The same about a membership, which may be gone already.
    pub(super) fn tell_member(&mut self, event: &Event, name: &'static str, row: Member, changed: Vec<String>) {
        let routing = vec![format!("org:{}", row.organization_id), format!("user:{}", row.user_id)];
        let subject = row.shown.pair.to_string();
        let message = Message { routing, changed, ..message(event, name, "organizations", &subject) };
        self.drafts.push(Draft { message, about: About::Member(Box::new(row)) });
    }

    /// Tells the operators' topic.
    pub(super) fn tell_admin(&mut self, event: &Event, name: &'static str, subject: &str, payload: Value) {
        let payload = payload.as_object().cloned().unwrap_or_default();
        let message = Message { payload, ..message(event, name, "admin", subject) };
        self.drafts.push(Draft { message, about: About::Nobody });
    }

    /// Tells that an id is given up; no row is left under it.
    pub(super) fn tell_gone(&mut self, event: &Event, clerk_id: &str, id: uuid::Uuid, payload: Value) {
        let payload = payload.as_object().cloned().unwrap_or_default();
        let (routing, changed) = (vec![format!("user:{id}")], vec!["status".to_owned()]);
        let message = Message { payload, routing, changed, ..message(event, "user.deleted", "users", clerk_id) };
        self.drafts.push(Draft { message, about: About::Nobody });
    }

    /// Tells whoever serves a person that a session of theirs has ended. Nobody subscribes to it.
    pub(super) fn tell_session(&mut self, event: &Event, clerk_id: &str, payload: Value) {
        let routing = self.world.account(clerk_id).map(|account| format!("user:{}", account.id)).into_iter().collect();
        let payload = payload.as_object().cloned().unwrap_or_default();
        let message = Message { payload, routing, ..message(event, "session.revoked", "internal", clerk_id) };
        self.drafts.push(Draft { message, about: About::Nobody });
    }

    /// Publishes that a user without a row is banned or deprovisioned, for those who serve them. Nobody subscribes to it.
    pub(super) fn tell_barred(&mut self, event: &Event, clerk_id: &str, status: Status) {
        let payload = Object::from_iter([("status".to_owned(), json!(status.as_str()))]);
        let message = Message { payload, ..message(event, "access.revoked", "internal", clerk_id) };
        self.drafts.push(Draft { message, about: About::Nobody });
    }

    /// Adds to the audit trail.
    pub(super) fn audit(&mut self, event: &Event, subject: &str, diff: Object) {
        self.plan.audit.push(Audit {
            actor: event.actor,
            action: event.event_type.clone(),
            subject: subject.to_owned(),
            diff,
            correlation_id: event.correlation_id.clone(),
        });
    }

    pub(super) fn tell_operators(&mut self, event: &Event, outcome: &Outcome) {
        if matches!(event.change, Change::Operator(_)) {
            return;
        }
        let name = match outcome.state {
            State::Rejected => "event.rejected",
            State::Held => "event.held",
            _ => return,
        };
        let subject = event.change.subject().unwrap_or(&event.correlation_id).to_owned();
        let payload =
            json!({"svix_id": event.correlation_id, "event_type": event.event_type, "reason": outcome.reason});
        self.tell_admin(event, name, &subject, payload);
    }

    /// The draft that tells last about somebody.
    pub(super) fn last_about(&mut self, subject: &str) -> Option<&mut Message> {
        let told = |draft: &&mut Draft| !matches!(draft.about, About::Nobody) && draft.message.subject == subject;
        self.drafts.iter_mut().rev().find(told).map(|draft| &mut draft.message)
    }

    /// Somebody whose name or picture changed changes in the lists of their organisations' members, too.
    pub(super) fn tell_profiles(&mut self) {
        let profile = |account: &Account, name: &str| account.column(name).cloned();
        let mut changes: Vec<(Pair, Vec<String>, String)> = Vec::new();
        for (clerk_id, before) in &self.before {
            let (Some(before), Some(after)) = (before, self.world.live(clerk_id)) else { continue };
            let names = ["display_name", "image_url"].into_iter();
            let changed: Vec<String> =
                names.filter(|name| profile(before, name) != profile(after, name)).map(str::to_owned).collect();
            if !changed.is_empty() && before.is_live() {
                let pairs = self.world.memberships_of(clerk_id).into_iter();
                changes.extend(pairs.map(|pair| (pair, changed.clone(), clerk_id.clone())));
            }
        }
        let told: BTreeSet<String> = self.drafts.iter().map(|draft| draft.message.subject.clone()).collect();
        for (pair, changed, clerk_id) in changes {
            let Some(row) = self.world.member(&pair).cloned() else { continue };
            let subject = pair.to_string();
            if !told.contains(&subject) {
                let event = self.echo_of(&clerk_id);
                // Nothing in the row changes but its `rev`: what readers find there is no older than what they are told.
                self.put_member(row.clone());
                self.tell_member(&event, "membership.updated", row, changed);
            } else if let Some(message) =
                self.last_about(&subject).filter(|message| message.event == "membership.updated")
            {
                let missing: Vec<String> = changed.into_iter().filter(|name| !message.changed.contains(name)).collect();
                message.changed.extend(missing);
            }
        }
    }

    /// An event in whose name the consequences of the last message about a subject are told.
    pub(super) fn echo_of(&self, subject: &str) -> Event {
        let about = |draft: &&Draft| draft.message.subject == subject;
        let last = self.drafts.iter().rev().find(about).or(self.drafts.last()).map(|draft| &draft.message);
        Event::consequence(
            last.map(|message| message.correlation_id.clone()).unwrap_or_default(),
            last.and_then(|message| message.occurred_at),
        )
    }

    /// Numbers the drafts from the head on. The last message about a subject shows its final rows, and is their `rev`.
    pub(super) fn number(&mut self) {
        let mut last: HashMap<String, usize> = HashMap::new();
        for (index, draft) in self.drafts.iter().enumerate() {
            if !matches!(draft.about, About::Nobody) {
                last.insert(draft.message.subject.clone(), index);
            }
        }
        for (index, Draft { mut message, about }) in std::mem::take(&mut self.drafts).into_iter().enumerate() {
            message.seq = self.world.head + 1 + i64::try_from(index).unwrap_or(0);
            let is_last = last.get(&message.subject) == Some(&index);
            match about {
                About::Nobody if message.topic == "users" => {
                    message.payload.insert("rev".into(), json!(message.seq));
                }
                About::Nobody => {}
                About::Person(account) => {
                    let present = is_last && self.world.account(&message.subject).is_some();
                    // Where the present row is shown the drafted one goes first: then nobody shares it, and it is noted in place.
                    let drafted = (!present).then_some(account);
                    let now =
                        if present { self.world.note_rev(&message.subject, message.seq) } else { drafted.as_deref() };
                    message.payload = now.map(view::user).unwrap_or_default();
                    message.payload.insert("rev".into(), json!(message.seq));
                }
                About::Organization(row) => {
                    let mut row =
                        self.world.organization(&message.subject).filter(|_| is_last).cloned().unwrap_or(*row);
                    row.rev = message.seq;
                    message.payload = view::organization(&row);
                    if is_last {
                        self.world.put_organization(row);
                    }
                }
                About::Member(row) => {
                    let mut now = self.world.member(&row.shown.pair).cloned();
                    // The first message about a membership is its joining, also where it is not the last.
                    if let Some(now) = now.as_mut().filter(|now| now.joined_seq == 0)
                        && now.shown.clerk_id == row.shown.clerk_id
                    {
                        now.joined_seq = message.seq;
                        self.world.put_member(now.clone());
                    }
                    let now = now.filter(|_| is_last);
                    let present = now.is_some();
                    let mut row = now.unwrap_or(*row);
                    row.rev = message.seq;
                    if row.joined_seq == 0 {
                        row.joined_seq = message.seq;
                    }
                    let person = self.world.account(&row.shown.pair.user).map(Arc::as_ref);
                    message.payload = view::member(&row, person);
                    if present {
                        self.world.put_member(row);
                    }
                }
            }
            self.plan.outbox.push(message);
        }
    }
}
