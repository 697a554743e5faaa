//! Whom a token makes of a client, at the first frame and whenever it is renewed.

use sea_orm::DbErr;
use serde::Serialize;
use tokio::time::Instant;

use crate::{
    access::{
        Access, Caller, Refusal,
        person::{self, Person, Unwelcome},
    },
    clerk::{
        keys::NoKeys,
        token::{Session, TokenError},
    },
    clock::Time,
};

use super::{Gateway, client::Member, protocol::End, rights::watched_as, watch::Watch};

/// Who a client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Identity {
    /// An operator: every topic.
    Admin,
    /// Somebody at a frontend: their own topics.
    Person(Person),
}

/// What a token says, before the database is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Claim {
    Admin,
    Session(Session),
}

/// The person whom `welcome` names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Named<'a> {
    pub(super) id: Option<String>,
    pub(super) clerk_id: &'a str,
    /// Who acts as them: Clerk's id or any other text; null where it is the user.
    pub(super) actor: Option<&'a str>,
}

/// Returns who holds this token. API tokens belong to services, which follow `/v1/changes` instead. A token that lives on
/// only by the leeway between clocks is refused: its connection would end at once.
///
/// # Errors
/// Where session tokens cannot be verified now.
pub(super) async fn claim(access: &Access, token: &str, now: Time) -> Result<Result<Claim, Refusal>, NoKeys> {
    Ok(match access.identify(token) {
        Some(Caller::Admin) => Ok(Claim::Admin),
        Some(_) => Err(Refusal::ServiceToken),
        None => match access.session(token, now).await? {
            Ok(session) if session.expires_at > now => Ok(Claim::Session(session)),
            Ok(_) => Err(TokenError::Expired.into()),
            Err(refusal) => Err(refusal),
        },
    })
}

/// Counts a refusal; the connection ends with 4401.
pub(super) fn refuse(gateway: &Gateway, refusal: Refusal) -> End {
    gateway.access.record(refusal, gateway.clock.now());
    End::Unauthenticated
}

impl Identity {
    /// The person it is, if it is one.
    pub(super) fn named(&self) -> Option<Named<'_>> {
        let Self::Person(person) = self else { return None };
        let session = &person.session;
        let id = person.id.map(|id| id.to_string());
        Some(Named { id, clerk_id: &session.clerk_id, actor: session.actor.as_deref() })
    }

    /// Whether a claim is of the same: whoever renews a token stays who they are, in the same session, and it is the same
    /// who acts.
    pub(super) fn is(&self, claim: &Claim) -> bool {
        match (self, claim) {
            (Self::Admin, Claim::Admin) => true,
            (Self::Person(Person { session, .. }), Claim::Session(next)) => {
                (&session.clerk_id, &session.session_id, &session.actor)
                    == (&next.clerk_id, &next.session_id, &next.actor)
            }
            _ => false,
        }
    }
}

/// Who a token's claim is, whom `member` is from now on.
///
/// # Errors
/// How the connection ends, if they may not be here or the database does not answer.
pub(super) async fn authenticate(gateway: &Gateway, member: &mut Member, claim: Claim) -> Result<Identity, End> {
    let Claim::Session(session) = claim else { return Ok(Identity::Admin) };
    // Watched before the database is asked: what is taken from them meanwhile is noted.
    let word = watched_as(&session.clerk_id).into();
    let watch = member.watch_person(&session.clerk_id, &session.session_id, word);
    match judge(gateway, &watch, session).await {
        Ok(Ok(person)) => {
            let presence = gateway.crowd.enter(&person.session.clerk_id).ok_or(End::Crowd)?;
            member.is_present(presence);
            Ok(Identity::Person(person))
        }
        Ok(Err(unwelcome)) => Err(refuse(gateway, unwelcome.into())),
        Err(error) => {
            tracing::warn!(error = %crate::db::Quiet(&error), "a client cannot be let in: the database");
            Err(End::NotReady)
        }
    }
}

/// Whether the person of this session may be here; if so until their token ends, or something is taken from them.
///
/// # Errors
/// What the database says.
pub(super) async fn judge(
    gateway: &Gateway,
    watch: &Watch,
    session: Session,
) -> Result<Result<Person, Unwelcome>, DbErr> {
    let (now, begun) = (gateway.clock.now(), Instant::now());
    let judged = person::judge(&gateway.db.read, session, now).await?;
    if let Ok(person) = &judged {
        let left = (person.session.expires_at - now).to_std().unwrap_or_default();
        watch.judged(person.seen, begun.checked_add(left));
    }
    Ok(judged)
}
