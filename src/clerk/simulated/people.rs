//! `GET /users` and `GET /users/count`: which people a query means, and in what order.
//!
//! What the shelf can find by itself (an order by time, a cursor, a window of creation, ids, an organisation, an
//! address of a seeded person) costs what is found. Everything else looks at everybody, as text: right, but slow in a
//! large world.

use std::collections::HashSet;

use serde_json::Value;

use super::{
    errors::{self, ApiError},
    ids::Kind,
    order::{sort, texts},
    query::{Order, Page, Query, Signed},
    shelf::{By, Part, Place},
    state::State,
};

/// What `/users/count` knows; `/users` knows [`PAGING`] too.
pub(super) const FILTERS: [&str; 22] = [
    "user_id",
    "external_id",
    "organization_id",
    "email_address",
    "phone_number",
    "username",
    "web3_wallet",
    "query",
    "email_address_query",
    "phone_number_query",
    "username_query",
    "name_query",
    "banned",
    "created_at_before",
    "created_at_after",
    "last_active_at_before",
    "last_active_at_after",
    "last_active_at_since",
    "last_sign_in_at_before",
    "last_sign_in_at_after",
    "provider",
    "provider_user_id",
];
pub(super) const PAGING: [&str; 4] = ["limit", "offset", "order_by", "starting_after"];

pub(super) const ORDERS: [&str; 10] = [
    "created_at",
    "updated_at",
    "email_address",
    "web3wallet",
    "first_name",
    "last_name",
    "phone_number",
    "username",
    "last_active_at",
    "last_sign_in_at",
];
pub(super) const NEWEST: Order = Order { field: "created_at", descending: true };

/// Whom a query means.
#[derive(Debug)]
pub(super) struct Filter {
    ids: Signed,
    external: Signed,
    organizations: Signed,
    /// Exact values, any of which one of these texts of a person has to be.
    exact: Vec<(&'static str, Vec<String>)>,
    partial: Vec<(&'static str, String)>,
    banned: Option<bool>,
    created: (Option<i64>, Option<i64>),
    /// Member, after, before: exclusive both.
    moments: Vec<(&'static str, Option<i64>, Option<i64>)>,
    provider: Option<(String, Vec<String>)>,
}

const EXACT: [&str; 4] = ["email_address", "phone_number", "username", "web3_wallet"];

impl Filter {
    pub(super) fn read(query: &Query) -> Result<Self, ApiError> {
        let mut exact = Vec::new();
        for name in EXACT {
            let values = query.all(name)?;
            if !values.is_empty() {
                exact.push((name, values));
            }
        }
        let parts = ["query", "email_address_query", "phone_number_query", "username_query", "name_query"];
        let partial = parts.into_iter().filter_map(|name| Some((name, query.first(name)?.to_lowercase()))).collect();
        let since = query.moment("last_active_at_since")?.map(|at| at.saturating_sub(1));
        let active = query.moment("last_active_at_after")?.or(since);
        let moments = [
            ("last_active_at", active, query.moment("last_active_at_before")?),
            ("last_sign_in_at", query.moment("last_sign_in_at_after")?, query.moment("last_sign_in_at_before")?),
        ];
        let subjects = query.all("provider_user_id")?;
        let provider = match (query.first("provider"), subjects.is_empty()) {
            (None, true) => None,
            (Some(provider), false) => Some((provider.to_owned(), subjects)),
            (Some(_), true) => return Err(errors::missing_beside("provider_user_id", "provider")),
            (None, false) => return Err(errors::missing_beside("provider", "provider_user_id")),
        };
        Ok(Self {
            ids: query.signed("user_id")?,
            external: query.signed("external_id")?,
            organizations: query.signed("organization_id")?,
            exact,
            partial,
            banned: query.truth("banned")?,
            created: (query.moment("created_at_after")?, query.moment("created_at_before")?),
            moments: moments.into_iter().filter(|(_, after, before)| after.is_some() || before.is_some()).collect(),
            provider,
        })
    }

    /// How many ids it asks for.
    pub(super) fn ids_asked(&self) -> usize {
        self.ids.include.len() + self.ids.exclude.len()
    }

    /// Whether a person's JSON has to be looked at.
    fn looks(&self) -> bool {
        !self.external.is_empty()
            || !self.exact.is_empty()
            || !self.partial.is_empty()
            || !self.moments.is_empty()
            || self.banned.is_some()
            || self.provider.is_some()
    }

    fn fits(&self, user: &Value) -> bool {
        let external = user["external_id"].as_str();
        let has = |ids: &[String]| external.is_some_and(|external| ids.iter().any(|id| id == external));
        (self.external.include.is_empty() || has(&self.external.include))
            && !has(&self.external.exclude)
            && self.exact.iter().all(|(what, values)| {
                let held = texts(user, what);
                values.iter().any(|value| held.iter().any(|text| text.eq_ignore_ascii_case(value)))
            })
            && self.partial.iter().all(|(what, part)| {
                texts(user, what.trim_end_matches("_query")).iter().any(|text| text.to_lowercase().contains(part))
            })
            && self.moments.iter().all(|(member, after, before)| {
                user[*member]
                    .as_i64()
                    .is_some_and(|at| after.is_none_or(|after| at > after) && before.is_none_or(|before| at < before))
            })
            && self.banned.is_none_or(|banned| (user["banned"] == true) == banned)
            && self.provider.as_ref().is_none_or(|(provider, subjects)| {
                user["external_accounts"].as_array().into_iter().flatten().any(|account| {
                    account["provider"].as_str() == Some(provider)
                        && account["provider_user_id"]
                            .as_str()
                            .is_some_and(|subject| subjects.iter().any(|wanted| wanted == subject))
                })
            })
    }

    /// The few whom it can mean, if that is known without looking at everybody.
    fn few(&self, state: &State) -> Option<Vec<u64>> {
        let rank = |id: &String| state.rank(Kind::User, id);
        if !self.ids.include.is_empty() {
            return Some(self.ids.include.iter().filter_map(rank).collect());
        }
        if !self.organizations.include.is_empty() {
            let members = self.organizations.include.iter().flat_map(|id| state.of_organization(id));
            return Some(members.filter_map(|membership| rank(&state.member(membership))).collect());
        }
        let (_, emails) = self.exact.iter().find(|(what, _)| *what == "email_address")?;
        let shelf = state.shelf(Kind::User);
        let seeded = emails.iter().filter_map(|email| state.seed.index_of_email(email));
        Some(seeded.filter(|rank| shelf.is_seeded(*rank)).chain(shelf.all_kept().map(|(rank, _)| rank)).collect())
    }
}

/// The ranks of the people a filter means, in order. Who was created after `readable` (ms) is not there yet.
pub(super) fn select(
    state: &State,
    filter: &Filter,
    order: Order,
    page: Page,
    after: Option<Place>,
    readable: i64,
) -> Vec<u64> {
    let shelf = state.shelf(Kind::User);
    // The window of creation, in whole places: after is exclusive, before too.
    let first = |at: i64| Place { at, rank: 0 };
    let from = filter.created.0.map(|at| first(at.saturating_add(1)));
    let until = filter.created.1.map_or(i64::MAX, |at| at).min(readable.saturating_add(1));
    let window = Part { from, to: (until < i64::MAX).then(|| first(until)) };
    let few = filter.few(state);
    let whole = few.is_none() && !filter.looks() && filter.ids.is_empty() && filter.organizations.is_empty();
    if whole && order.field == "created_at" {
        return shelf.page(
            By::Created,
            order.descending,
            beyond(window, after, order.descending),
            page.offset,
            page.limit,
        );
    }
    // Nobody is too new and none is left out: the other order will do.
    if whole && order.field == "updated_at" && shelf.count(By::Created, window) == shelf.len() {
        return shelf.page(By::Updated, order.descending, Part::default(), page.offset, page.limit);
    }
    let mut ranks = few.unwrap_or_else(|| shelf.page(By::Created, false, window, 0, u64::MAX));
    ranks.sort_unstable();
    ranks.dedup();
    let excluded: HashSet<u64> = filter.ids.exclude.iter().filter_map(|id| state.rank(Kind::User, id)).collect();
    let outside: HashSet<String> = filter
        .organizations
        .exclude
        .iter()
        .flat_map(|id| state.of_organization(id))
        .map(|membership| state.member(membership))
        .collect();
    let inside: Option<HashSet<String>> = (!filter.organizations.include.is_empty()).then(|| {
        let members = filter.organizations.include.iter().flat_map(|id| state.of_organization(id));
        members.map(|membership| state.member(membership)).collect()
    });
    let within = beyond(window, after, order.descending);
    ranks.retain(|rank| {
        let place = shelf.place(By::Created, *rank);
        within.from.is_none_or(|from| place >= from)
            && within.to.is_none_or(|to| place < to)
            && !excluded.contains(rank)
            && (outside.is_empty() || !outside.contains(&state.id(Kind::User, *rank)))
            && inside.as_ref().is_none_or(|inside| inside.contains(&state.id(Kind::User, *rank)))
            && (!filter.looks() || filter.fits(&state.value(Kind::User, *rank)))
    });
    sort(state, Kind::User, &mut ranks, order);
    ranks.into_iter().skip(page.offset as usize).take(page.limit as usize).collect()
}

/// How many people a filter means.
pub(super) fn count(state: &State, filter: &Filter, readable: i64) -> u64 {
    select(state, filter, NEWEST, Page { limit: u64::MAX, offset: 0 }, None, readable).len() as u64
}

/// The part of a window that follows a cursor.
fn beyond(mut window: Part, after: Option<Place>, descending: bool) -> Part {
    let Some(after) = after else { return window };
    if descending {
        window.to = Some(window.to.map_or(after, |to| to.min(after)));
    } else {
        let next = Place { at: after.at, rank: after.rank + 1 };
        window.from = Some(window.from.map_or(next, |from| from.max(next)));
    }
    window
}
