//! What we ask for: people, organisations, memberships; one, some, or a page of all.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::clock::Time;

use super::{Api, ApiError, IDS_MAX, PAGE_MAX};

/// Objects as Clerk sent them.
pub type Objects = Vec<Box<RawValue>>;

/// A page of a list that tells its length.
#[derive(Debug, Deserialize)]
pub struct Page {
    /// The objects.
    pub data: Objects,
    /// How many there are in all, by Clerk's count.
    pub total_count: u64,
}

/// Clerk's answer to how many there are.
#[derive(Debug, Deserialize)]
pub struct Total {
    /// How many.
    pub total_count: u64,
}

/// Where a page of people begins and ends, in the order of their creation.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    /// The person after whom it begins.
    pub after: Option<String>,
    /// Nobody created before this moment …
    pub from: Option<Time>,
    /// … nor after this one.
    pub to: Option<Time>,
}

const USERS: &str = "users";
const ORGANIZATIONS: &str = "organizations";
const MEMBERSHIPS: &str = "memberships";

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        serde_json::error::Category::Eof => ApiError::Unreadable("cut short"),
        serde_json::error::Category::Data => ApiError::Unreadable("not what was asked for"),
        _ => ApiError::Unreadable("not JSON"),
    })
}

/// What is there, or `None` where Clerk knows nothing of that name.
fn found(answer: Result<Vec<u8>, ApiError>) -> Result<Option<Box<RawValue>>, ApiError> {
    match answer {
        Ok(body) => parse(&body).map(Some),
        Err(ApiError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Api {
    /// One person.
    ///
    /// # Errors
    /// [`ApiError`], not [`ApiError::NotFound`].
    pub async fn user(&self, clerk_id: &str, patience: Duration) -> Result<Option<Box<RawValue>>, ApiError> {
        found(self.get(USERS, &["users", clerk_id], &[], patience).await)
    }

    /// Those of these people that exist, 100 at most.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn users(&self, clerk_ids: &[&str], patience: Duration) -> Result<Objects, ApiError> {
        debug_assert!(clerk_ids.len() <= IDS_MAX, "Clerk takes 100 ids at most");
        let mut query: Vec<(&str, String)> = clerk_ids.iter().map(|id| ("user_id", (*id).to_owned())).collect();
        query.push(("limit", IDS_MAX.to_string()));
        parse(&self.get(USERS, &["users"], &query, patience).await?)
    }

    /// A page of all people, the oldest first.
    ///
    /// # Errors
    /// [`ApiError`]; [`ApiError::Refused`] or [`ApiError::NotFound`] also where [`Scan::after`] is gone by now.
    pub async fn users_page(&self, scan: &Scan, patience: Duration) -> Result<Objects, ApiError> {
        let mut query = vec![("order_by", "+created_at".to_owned()), ("limit", PAGE_MAX.to_string())];
        query.extend(scan.after.iter().map(|after| ("starting_after", after.clone())));
        // Whether Clerk counts the moment itself in is not documented; a millisecond more on both sides does no harm.
        query.extend(scan.from.map(|from| ("created_at_after", (from.timestamp_millis() - 1).to_string())));
        query.extend(scan.to.map(|to| ("created_at_before", (to.timestamp_millis() + 1).to_string())));
        parse(&self.get(USERS, &["users"], &query, patience).await?)
    }

    /// A page of all people, the latest changed first.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn users_by_change(&self, offset: u64, limit: u32, patience: Duration) -> Result<Objects, ApiError> {
        let query = [
            ("order_by", "-updated_at".to_owned()),
            ("limit", limit.min(PAGE_MAX).to_string()),
            ("offset", offset.to_string()),
        ];
        parse(&self.get(USERS, &["users"], &query, patience).await?)
    }

    /// The person created last.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn newest_user(&self, patience: Duration) -> Result<Option<Box<RawValue>>, ApiError> {
        self.first_user("-created_at", patience).await
    }

    /// The person created first.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn oldest_user(&self, patience: Duration) -> Result<Option<Box<RawValue>>, ApiError> {
        self.first_user("+created_at", patience).await
    }

    async fn first_user(&self, order: &str, patience: Duration) -> Result<Option<Box<RawValue>>, ApiError> {
        let query = [("order_by", order.to_owned()), ("limit", "1".to_owned())];
        let found: Objects = parse(&self.get(USERS, &["users"], &query, patience).await?)?;
        Ok(found.into_iter().next())
    }

    /// How many people there are.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn users_total(&self, patience: Duration) -> Result<u64, ApiError> {
        Ok(parse::<Total>(&self.get(USERS, &["users", "count"], &[], patience).await?)?.total_count)
    }

    /// One organisation.
    ///
    /// # Errors
    /// [`ApiError`], not [`ApiError::NotFound`].
    pub async fn organization(&self, clerk_id: &str, patience: Duration) -> Result<Option<Box<RawValue>>, ApiError> {
        found(self.get(ORGANIZATIONS, &["organizations", clerk_id], &[], patience).await)
    }

    /// A page of all organisations, the oldest first.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn organizations_page(&self, offset: u64, limit: u32, patience: Duration) -> Result<Page, ApiError> {
        parse(&self.get(ORGANIZATIONS, &["organizations"], &window(offset, limit), patience).await?)
    }

    /// A page of all memberships of the instance, the latest first.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn memberships_by_age(&self, offset: u64, limit: u32, patience: Duration) -> Result<Page, ApiError> {
        let mut query = window(offset, limit);
        query[0].1 = "-created_at".to_owned();
        parse(&self.get(MEMBERSHIPS, &["organization_memberships"], &query, patience).await?)
    }

    /// A page of all memberships of the instance, the oldest first.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn memberships_page(&self, offset: u64, limit: u32, patience: Duration) -> Result<Page, ApiError> {
        parse(&self.get(MEMBERSHIPS, &["organization_memberships"], &window(offset, limit), patience).await?)
    }

    /// The membership of one person in one organisation; nothing, if either is gone.
    ///
    /// # Errors
    /// [`ApiError`], not [`ApiError::NotFound`].
    pub async fn membership(
        &self,
        organization: &str,
        user: &str,
        patience: Duration,
    ) -> Result<Option<Box<RawValue>>, ApiError> {
        let path = ["organizations", organization, "memberships"];
        let query = [("user_id", user.to_owned()), ("limit", "1".to_owned())];
        match self.get(MEMBERSHIPS, &path, &query, patience).await {
            Ok(body) => Ok(parse::<Page>(&body)?.data.into_iter().next()),
            Err(ApiError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The instance that the key belongs to.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn instance(&self, patience: Duration) -> Result<Option<Box<RawValue>>, ApiError> {
        found(self.get("instance", &["instance"], &[], patience).await)
    }
}

fn window(offset: u64, limit: u32) -> [(&'static str, String); 3] {
    let limit = limit.min(PAGE_MAX).to_string();
    [("order_by", "+created_at".to_owned()), ("limit", limit), ("offset", offset.to_string())]
}
