//! A backfill proves itself: Clerk's counts are those of our rows and of what is parked with a reason, as far as nobody
//! came or went meanwhile. Where they are not, a second pass over everybody names whom it is about.

use sea_orm::DbErr;
use serde::Serialize;

use crate::{
    clerk::object::Kind,
    clock::Time,
    db::{Db, Stmt},
};

use super::{
    Reconciler, RunError,
    drift::{Options, Scope},
    report::{Drift, Tally},
};

/// How many there are at Clerk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Totals {
    pub users: u64,
    pub organizations: u64,
    pub memberships: u64,
}

/// One kind's account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Clerk's count.
    pub clerk: u64,
    /// Live rows.
    pub rows: u64,
    /// Without a row, and parked with a reason: rejected, conflict, waiting, held. What is `dead` is accounted for by nothing:
    /// the second pass names it.
    pub parked: u64,
    /// Came or went since the run began: by how much the two may differ.
    pub moved: u64,
    /// Shown by Clerk, and deleted here: explained by nothing. The second pass names them.
    pub buried: u64,
}

impl Account {
    /// Whether it adds up.
    pub fn holds(&self) -> bool {
        self.buried == 0 && self.clerk.abs_diff(self.rows + self.parked) <= self.moved
    }
}

/// The accounts, and what a second pass found where they did not add up.
#[derive(Debug, Clone, Default, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Proof {
    pub users: Account,
    pub organizations: Account,
    pub memberships: Account,
    /// Who differs, by a second look at everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second_pass: Option<Drift>,
}

impl Proof {
    /// Whether nobody is missing and nobody too many.
    pub fn holds(&self) -> bool {
        match &self.second_pass {
            Some(found) => found.count() == 0,
            None => [self.users, self.organizations, self.memberships].iter().all(Account::holds),
        }
    }
}

impl Reconciler {
    /// Compares the counts, and where they differ everybody.
    pub(super) async fn prove(&self, since: Time, outcomes: &Tally) -> Result<Proof, RunError> {
        let clerk = self.totals().await?;
        let buried = |kind| outcomes.count(kind, "tombstoned");
        let counted = |kind: &'static Counts, clerk, buried| async move {
            let (rows, parked, moved) = kind.count(&self.db, since).await?;
            Ok::<_, DbErr>(Account { clerk, rows, parked, moved, buried })
        };
        let mut proof = Proof {
            users: counted(&USERS, clerk.users, buried(Kind::User)).await?,
            organizations: counted(&ORGANIZATIONS, clerk.organizations, buried(Kind::Organization)).await?,
            memberships: counted(&MEMBERSHIPS, clerk.memberships, buried(Kind::Membership)).await?,
            second_pass: None,
        };
        if !proof.holds() {
            proof.second_pass = Some(self.compare(self.scan(Scope::Everything, true, Options::default())).await?);
        }
        Ok(proof)
    }
}

/// The statements that count one kind. Each takes the start of the run where it says `?`.
struct Counts {
    rows: &'static str,
    parked: &'static str,
    moved: &'static str,
    gone: &'static str,
}

const USERS: Counts = Counts {
    rows: "select count(*) as n from clerk_sync.users where clerk_id is not null and status <> 'deleted'",
    parked:
        "select count(distinct i.subject) as n from clerk_sync.inbox i where i.state in ('rejected', 'conflict', 'waiting', 'held')
        and i.event_type in ('user.created', 'user.updated')
        and not exists (select 1 from clerk_sync.users u where u.clerk_id = i.subject)
        and not exists (select 1 from clerk_sync.subjects s where s.kind = 'user' and s.key = i.subject
            and (s.deleted or s.absent_version is not null))",
    moved: "select count(*) as n from clerk_sync.users where clerk_id is not null and clerk_created_at >= ",
    gone: "select count(*) as n from clerk_sync.subjects where kind = 'user' and coalesce(buried_at, absent_at) >= ",
};

const ORGANIZATIONS: Counts = Counts {
    rows: "select count(*) as n from clerk_sync.organizations where status <> 'deleted'",
    parked:
        "select count(distinct i.subject) as n from clerk_sync.inbox i where i.state in ('rejected', 'conflict', 'waiting', 'held')
        and i.event_type in ('organization.created', 'organization.updated')
        and not exists (select 1 from clerk_sync.organizations o where o.clerk_id = i.subject)",
    moved: "select count(*) as n from clerk_sync.organizations where clerk_created_at >= ",
    gone: "select count(*) as n from clerk_sync.subjects where kind = 'organization' and coalesce(buried_at, absent_at) >= ",
};

const MEMBERSHIPS: Counts = Counts {
    rows: "select count(*) as n from clerk_sync.organization_memberships",
    parked:
        "select count(distinct i.subject) as n from clerk_sync.inbox i where i.state in ('rejected', 'conflict', 'waiting', 'held')
        and i.event_type in ('organizationMembership.created', 'organizationMembership.updated')
        and not exists (select 1 from clerk_sync.organization_memberships m join clerk_sync.organizations o on o.id = m.organization_id
            join clerk_sync.users u on u.id = m.user_id where i.subject = o.clerk_id || '/' || u.clerk_id)",
    moved: "select count(*) as n from clerk_sync.organization_memberships where clerk_created_at >= ",
    // An ended membership leaves the feed's word and no row; those of whoever was deleted went with them.
    gone: "select count(*) as n from clerk_sync.outbox where event in ('membership.deleted', 'user.deleted', 'organization.deleted') and created_at >= ",
};

impl Counts {
    /// (rows, parked, came or went since).
    async fn count(&self, db: &Db, since: Time) -> Result<(u64, u64, u64), DbErr> {
        let number = |rows: Vec<sea_orm::QueryResult>| {
            let n = rows.first().map(|row| row.try_get::<i64>("", "n")).transpose()?;
            Ok::<u64, DbErr>(n.unwrap_or(0).unsigned_abs())
        };
        let rows = number(Stmt::new(&db.read, self.rows).all(&db.read).await?)?;
        let parked = number(Stmt::new(&db.read, self.parked).all(&db.read).await?)?;
        let came = number(Stmt::new(&db.read, self.moved).val(since).all(&db.read).await?)?;
        let went = number(Stmt::new(&db.read, self.gone).val(since).all(&db.read).await?)?;
        Ok((rows, parked, came + went))
    }
}
