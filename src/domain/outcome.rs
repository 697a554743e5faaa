//! What became of an event: the state of its inbox row, with outcome and reason.

/// States of an inbox row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Due, or will be at `available_at`.
    Pending,
    /// Applied.
    Done,
    /// Nothing to apply: stale, tombstoned, of a type that we do not sync, or an example of Clerk's.
    Skipped,
    /// Refused by a rule; kept, and looked at again if its subject enters.
    Rejected,
    /// Its address stands verified with somebody else; kept until that changes.
    Conflict,
    /// Its parents are not here yet.
    Waiting,
    /// Held for an operator.
    Held,
    /// Failed too often; an operator can retry it.
    Dead,
    /// Put aside by an operator.
    Discarded,
}

impl State {
    /// Every state, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::Pending,
        Self::Done,
        Self::Skipped,
        Self::Rejected,
        Self::Conflict,
        Self::Waiting,
        Self::Held,
        Self::Dead,
        Self::Discarded,
    ];

    /// The column's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Done => "done",
            Self::Skipped => "skipped",
            Self::Rejected => "rejected",
            Self::Conflict => "conflict",
            Self::Waiting => "waiting",
            Self::Held => "held",
            Self::Dead => "dead",
            Self::Discarded => "discarded",
        }
    }

    /// From the column's word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// How one event ended, for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The inbox row's new state.
    pub state: State,
    /// Of `done` and `skipped` what happened; else the state's own name.
    pub outcome: &'static str,
    /// Our words; never a value of the event.
    pub reason: Option<String>,
    /// Of a `conflict`, and of a clash that is being refreshed, the one user whose row blocks it; of a `waiting` membership
    /// its user, or Clerk's id of it while its pair is not known.
    pub awaits: Option<String>,
    /// Of a `waiting` membership its organisation; of one without a known pair the parent that it names, if any.
    pub awaits_too: Option<String>,
}

impl Outcome {
    fn new(state: State, outcome: &'static str) -> Self {
        Self { state, outcome, reason: None, awaits: None, awaits_too: None }
    }

    /// Applied; `what` is `created`, `updated`, `unchanged` or `deleted`.
    pub fn done(what: &'static str) -> Self {
        Self::new(State::Done, what)
    }

    /// Not applied; `why` is `stale`, `tombstoned`, `ignored` or `example`.
    pub fn skipped(why: &'static str) -> Self {
        Self::new(State::Skipped, why)
    }

    /// Refused by a rule.
    pub fn rejected(reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..Self::new(State::Rejected, "rejected") }
    }

    /// Blocked by `other`'s row, as far as is known here: due again at once, once both users were read from Clerk.
    pub fn refresh(other: String) -> Self {
        let reason = "conflict.email: both users are being read from Clerk".to_owned();
        Self { reason: Some(reason), awaits: Some(other), ..Self::new(State::Pending, "pending") }
    }

    /// Blocked by `other`'s row.
    pub fn conflict(reason: impl Into<String>, other: String) -> Self {
        Self { reason: Some(reason.into()), awaits: Some(other), ..Self::new(State::Conflict, "conflict") }
    }

    /// A membership one of whose parents has no live row.
    pub fn waiting(reason: impl Into<String>, user: String, organization: String) -> Self {
        let (awaits, awaits_too) = (Some(user), Some(organization));
        Self { reason: Some(reason.into()), awaits, awaits_too, ..Self::new(State::Waiting, "waiting") }
    }

    /// A membership of which only the id is known, and perhaps one parent.
    pub fn waiting_for_pair(clerk_id: String, parent: Option<String>) -> Self {
        let reason = Some("waiting: no event has named organisation and person of this membership yet".to_owned());
        Self { reason, awaits: Some(clerk_id), awaits_too: parent, ..Self::new(State::Waiting, "waiting") }
    }

    /// Kept until an operator releases or cancels a deletion.
    pub fn held(reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..Self::new(State::Held, "held") }
    }

    /// Set aside, because an operator decided so before.
    pub fn discarded(reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..Self::new(State::Discarded, "discarded") }
    }

    /// Failed too often.
    pub fn dead(reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..Self::new(State::Dead, "dead") }
    }

    /// The same with a further reason, where there is one: a reason names every rule that failed.
    #[must_use]
    pub fn and(mut self, further: Option<String>) -> Self {
        self.reason = match (self.reason, further) {
            (Some(reason), Some(further)) => Some(format!("{reason}; {further}")),
            (reason, further) => reason.or(further),
        };
        self
    }

    /// The same with a reason, where there is something to say.
    #[must_use]
    pub fn because(mut self, reason: Option<String>) -> Self {
        self.reason = reason.or(self.reason);
        self
    }
}
