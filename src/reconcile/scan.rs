//! Everybody at Clerk, a page at a time: people in the order of their creation by cursor, in windows of creation time
//! side by side; organisations and memberships by offset, with pages that overlap, since a deletion moves what follows
//! it forward.

use serde::{Deserialize, Serialize};

use crate::{
    clerk::{
        api::{ApiError, Objects, PAGE_MAX, Page, Scan},
        object::outline,
    },
    clock::Time,
};

use super::{
    Reconciler, RunError,
    patience::{TURN, patiently},
};

/// A tenth of each page is asked for again with the next.
const STEP: u64 = (PAGE_MAX - PAGE_MAX / 10) as u64;

/// People created within some time, and how far they have been read.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Window {
    pub from: Option<Time>,
    pub to: Option<Time>,
    pub after: Option<String>,
    /// When whom `after` names was created: where to go on if they are gone.
    pub at: Option<Time>,
    pub done: bool,
}

/// How far a list by offset has been read.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Offset {
    pub next: u64,
    pub done: bool,
}

/// Which list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    Organizations,
    Memberships,
}

impl Reconciler {
    /// The windows of a scan: as many slices of the time since the first person. People are not spread evenly over
    /// time, so there are more slices than hands.
    pub(super) async fn windows(&self, slices: u32) -> Result<Vec<Window>, RunError> {
        if slices <= 1 {
            return Ok(vec![Window::default()]);
        }
        let oldest = patiently(&self.shutdown, || self.api.oldest_user(TURN)).await?;
        let newest = patiently(&self.shutdown, || self.api.newest_user(TURN)).await?;
        let at = |object: Option<_>| object.and_then(|object: Box<_>| outline(&object).created_at);
        let (Some(first), Some(last)) = (at(oldest), at(newest)) else { return Ok(vec![Window::default()]) };
        let slice = ((last - first) / i32::try_from(slices).unwrap_or(1)).max(chrono::Duration::seconds(1));
        let mut windows = Vec::new();
        let mut from = None;
        for index in 1..=slices {
            let end = first + slice * i32::try_from(index).unwrap_or(1);
            // The last one is open: whoever comes during the scan is in it.
            let to = (index < slices && end < last).then_some(end);
            windows.push(Window { from, to, ..Window::default() });
            if to.is_none() {
                break;
            }
            from = to;
        }
        Ok(windows)
    }

    /// The next page of a window, which is moved behind it; `None` at its end.
    pub(super) async fn next_users(&self, window: &mut Window) -> Result<Option<Objects>, RunError> {
        if window.done {
            return Ok(None);
        }
        let scan = Scan { after: window.after.clone(), from: window.from, to: window.to };
        let page = match patiently(&self.shutdown, || self.api.users_page(&scan, TURN)).await {
            // The person after whom it goes on was deleted meanwhile.
            Err(RunError::Clerk(ApiError::Refused { .. } | ApiError::NotFound)) if window.after.is_some() => {
                window.from = window.at.or(window.from);
                let scan = Scan { after: None, from: window.from, to: window.to };
                patiently(&self.shutdown, || self.api.users_page(&scan, TURN)).await?
            }
            page => page?,
        };
        window.done = page.len() < PAGE_MAX as usize;
        if let Some(last) = page.last().map(|object| outline(object)) {
            window.after = last.id;
            window.at = last.created_at.or(window.at);
        }
        Ok(Some(page))
    }

    /// The next page of a list by offset.
    pub(super) async fn next_listed(&self, list: List, offset: &mut Offset) -> Result<Option<Page>, RunError> {
        if offset.done {
            return Ok(None);
        }
        let at = offset.next;
        let page = patiently(&self.shutdown, || async move {
            match list {
                List::Organizations => self.api.organizations_page(at, PAGE_MAX, TURN).await,
                List::Memberships => self.api.memberships_page(at, PAGE_MAX, TURN).await,
            }
        })
        .await?;
        offset.done = page.data.len() < PAGE_MAX as usize;
        offset.next += STEP;
        Ok(Some(page))
    }
}
