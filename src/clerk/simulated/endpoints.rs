//! The endpoints: a path and a query in, JSON or a refusal out. Checked against Clerk's published description of its
//! Backend API, version 2026-05-12 (github.com/clerk/openapi-specs).

use serde_json::{Value, json};

use super::{
    errors::{self, ApiError},
    ids::Kind,
    modes::Rules,
    order::sort,
    people,
    query::{Order, Query},
    shelf::{By, Part},
    state::State,
    world::World,
};

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Endpoint {
    /// `GET /v1/users`
    Users,
    /// `GET /v1/users/count`
    UsersCount,
    /// `GET /v1/users/{id}`
    User,
    /// `GET /v1/users/{id}/organization_memberships`
    UserMemberships,
    /// `GET /v1/organizations`
    Organizations,
    /// `GET /v1/organizations/{id or slug}`
    Organization,
    /// `GET /v1/organizations/{id}/memberships`
    OrganizationMemberships,
    /// `GET /v1/organization_memberships`
    Memberships,
    /// `GET /v1/instance`
    Instance,
    /// `GET /v1/jwks`
    Jwks,
    /// Any other path.
    Unknown,
}

impl Endpoint {
    /// The endpoint of a path, and what its `{id}` is.
    pub(super) fn of(path: &str) -> (Self, &str) {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match parts[..] {
            ["v1", "users"] => (Self::Users, ""),
            ["v1", "users", "count"] => (Self::UsersCount, ""),
            ["v1", "users", id] => (Self::User, id),
            ["v1", "users", id, "organization_memberships"] => (Self::UserMemberships, id),
            ["v1", "organizations"] => (Self::Organizations, ""),
            ["v1", "organizations", id] => (Self::Organization, id),
            ["v1", "organizations", id, "memberships"] => (Self::OrganizationMemberships, id),
            ["v1", "organization_memberships"] => (Self::Memberships, ""),
            ["v1", "instance"] => (Self::Instance, ""),
            ["v1", "jwks"] => (Self::Jwks, ""),
            _ => (Self::Unknown, ""),
        }
    }
}

/// An answer's text, and how many ids the request asked for.
pub(super) type Answer = (String, usize);

const PAGE: [&str; 2] = ["limit", "offset"];

/// Answers from the world as it is now.
pub(super) fn answer(
    world: &World,
    rules: &Rules,
    endpoint: Endpoint,
    id: &str,
    query: &str,
) -> Result<Answer, ApiError> {
    let state = world.state();
    let plain = |text: String| Ok((text, 0));
    match endpoint {
        Endpoint::Users => users(world, &state, rules, query),
        Endpoint::UsersCount => {
            let filter = people::Filter::read(&Query::read(query, &people::FILTERS)?)?;
            let count = people::count(&state, &filter, rules.readable);
            Ok((json!({"object": "total_count", "total_count": count}).to_string(), filter.ids_asked()))
        }
        Endpoint::User => {
            Query::read(query, &[])?;
            plain(state.text(Kind::User, user(&state, rules, id)?))
        }
        Endpoint::UserMemberships => {
            let query = Query::read(query, &PAGE)?;
            user(&state, rules, id)?;
            plain(memberships(&state, rules, &query, state.of_user(id), people::NEWEST)?)
        }
        Endpoint::Organizations => organizations(&state, rules, query),
        Endpoint::Organization => {
            let query =
                Query::read(query, &["include_members_count", "include_missing_member_with_elevated_permissions"])?;
            plain(organization_text(&state, organization(&state, id)?, counts(&query)?))
        }
        Endpoint::OrganizationMemberships => organization_memberships(&state, rules, id, query),
        Endpoint::Memberships => {
            let query = Query::read(query, &["limit", "offset", "order_by"])?;
            let order = query.order(&MEMBER_ORDERS, people::NEWEST)?;
            if order.field != "created_at" {
                return plain(memberships(&state, rules, &query, state.all(Kind::Membership), order)?);
            }
            let (page, shelf) = (query.page(rules.refuse_limits)?, state.shelf(Kind::Membership));
            let ranks = shelf.page(By::Created, order.descending, Part::default(), page.offset, page.limit);
            plain(list(&texts(&state, Kind::Membership, &ranks), shelf.len()))
        }
        Endpoint::Instance => {
            Query::read(query, &[])?;
            plain(
                json!({
                    "object": "instance", "id": world.instance_id(), "environment_type": "development",
                    "allowed_origins": null, "workspace_id": null,
                })
                .to_string(),
            )
        }
        Endpoint::Jwks => {
            Query::read(query, &[])?;
            plain(state.jwks.to_string())
        }
        Endpoint::Unknown => Err(errors::no_path()),
    }
}

fn texts(state: &State, kind: Kind, ranks: &[u64]) -> String {
    let texts: Vec<String> = ranks.iter().map(|rank| state.text(kind, *rank)).collect();
    format!("[{}]", texts.join(","))
}

fn list(data: &str, total: u64) -> String {
    format!(r#"{{"data":{data},"total_count":{total}}}"#)
}

/// The rank of a person who can be read already.
fn user(state: &State, rules: &Rules, id: &str) -> Result<u64, ApiError> {
    state
        .rank(Kind::User, id)
        .filter(|rank| state.shelf(Kind::User).place(By::Created, *rank).at <= rules.readable)
        .ok_or_else(|| errors::no_user(id))
}

fn users(world: &World, state: &State, rules: &Rules, query: &str) -> Result<Answer, ApiError> {
    let query = Query::read(query, &[&people::FILTERS[..], &people::PAGING[..]].concat())?;
    let (filter, page) = (people::Filter::read(&query)?, query.page(rules.refuse_limits)?);
    let order = query.order(&people::ORDERS, people::NEWEST)?;
    let after = match query.first("starting_after") {
        None => None,
        Some(_) if order.field != "created_at" => {
            return Err(errors::disallowed("starting_after", "`order_by` is not `created_at`"));
        }
        Some(_) if page.offset > 0 => return Err(errors::disallowed("starting_after", "`offset` is present")),
        Some(id) => {
            let place = world.cursor(state, id, rules.deleted_cursors);
            Some(place.ok_or_else(|| errors::no_resource("starting_after"))?)
        }
    };
    let ranks = people::select(state, &filter, order, page, after, rules.readable);
    Ok((texts(state, Kind::User, &ranks), filter.ids_asked()))
}

/// The rank of an organisation, by id or slug.
fn organization(state: &State, name: &str) -> Result<u64, ApiError> {
    let by_slug = || {
        let has = |rank: &u64| state.value(Kind::Organization, *rank)["slug"].as_str() == Some(name);
        // The slug of a seeded one ends in its number.
        let seeded = name.rsplit('-').next().and_then(|number| number.parse().ok());
        let seeded = seeded.filter(|index| state.shelf(Kind::Organization).is_seeded(*index));
        let kept = state.shelf(Kind::Organization).all_kept().map(|(rank, _)| rank);
        seeded.into_iter().chain(kept).find(has)
    };
    state.rank(Kind::Organization, name).or_else(by_slug).ok_or_else(errors::no_organization)
}

fn counts(query: &Query) -> Result<bool, ApiError> {
    query.truth("include_missing_member_with_elevated_permissions")?;
    Ok(query.truth("include_members_count")?.unwrap_or(false))
}

fn organization_text(state: &State, rank: u64, counted: bool) -> String {
    let text = state.text(Kind::Organization, rank);
    if !counted {
        return text;
    }
    let members = state.of_organization(&state.id(Kind::Organization, rank)).len();
    // The text is an object's: the new member goes in before its last bracket.
    format!(r#"{},"members_count":{members}}}"#, &text[..text.len() - 1])
}

fn organizations(state: &State, rules: &Rules, query: &str) -> Result<Answer, ApiError> {
    let known = [
        "limit",
        "offset",
        "order_by",
        "query",
        "user_id",
        "organization_id",
        "include_members_count",
        "include_missing_member_with_elevated_permissions",
    ];
    let query = Query::read(query, &known)?;
    let page = query.page(rules.refuse_limits)?;
    let order = query.order(&["name", "created_at", "members_count"], people::NEWEST)?;
    let (users, ids, counted) = (query.signed("user_id")?, query.signed("organization_id")?, counts(&query)?);
    let asked = ids.include.len() + ids.exclude.len();
    let shelf = state.shelf(Kind::Organization);
    let text = |ranks: &[u64]| {
        let texts: Vec<String> = ranks.iter().map(|rank| organization_text(state, *rank, counted)).collect();
        format!("[{}]", texts.join(","))
    };
    let part = query.first("query").map(str::to_lowercase);
    if users.is_empty() && ids.is_empty() && part.is_none() && order.field == "created_at" {
        let ranks = shelf.page(By::Created, order.descending, Part::default(), page.offset, page.limit);
        return Ok((list(&text(&ranks), shelf.len()), asked));
    }
    let of = |ids: &[String]| -> Vec<u64> {
        let memberships = ids.iter().flat_map(|id| state.of_user(id));
        memberships.filter_map(|rank| state.rank(Kind::Organization, &state.organization_of(rank))).collect()
    };
    let find =
        |ids: &[String]| -> Vec<u64> { ids.iter().filter_map(|id| state.rank(Kind::Organization, id)).collect() };
    let mut ranks = if ids.include.is_empty() { state.all(Kind::Organization) } else { find(&ids.include) };
    let members = (!users.include.is_empty()).then(|| of(&users.include));
    let excluded = [find(&ids.exclude), of(&users.exclude)].concat();
    ranks.retain(|rank| {
        !excluded.contains(rank)
            && members.as_ref().is_none_or(|members| members.contains(rank))
            && part.as_ref().is_none_or(|part| {
                let value = state.value(Kind::Organization, *rank);
                let has = |member: &str| value[member].as_str().is_some_and(|text| text.to_lowercase().contains(part));
                has("name") || has("slug") || value["id"].as_str().is_some_and(|id| id.to_lowercase() == *part)
            })
    });
    ranks.sort_unstable();
    ranks.dedup();
    sort(state, Kind::Organization, &mut ranks, order);
    let total = ranks.len() as u64;
    let ranks: Vec<u64> = ranks.into_iter().skip(page.offset as usize).take(page.limit as usize).collect();
    Ok((list(&text(&ranks), total), asked))
}

const MEMBER_ORDERS: [&str; 6] = ["created_at", "phone_number", "email_address", "first_name", "last_name", "username"];

fn memberships(
    state: &State,
    rules: &Rules,
    query: &Query,
    mut ranks: Vec<u64>,
    order: Order,
) -> Result<String, ApiError> {
    let page = query.page(rules.refuse_limits)?;
    sort(state, Kind::Membership, &mut ranks, order);
    let total = ranks.len() as u64;
    let ranks: Vec<u64> = ranks.into_iter().skip(page.offset as usize).take(page.limit as usize).collect();
    Ok(list(&texts(state, Kind::Membership, &ranks), total))
}

fn organization_memberships(state: &State, rules: &Rules, id: &str, query: &str) -> Result<Answer, ApiError> {
    let known = ["limit", "offset", "order_by", "user_id", "role", "created_at_before", "created_at_after"];
    let query = Query::read(query, &known)?;
    state.rank(Kind::Organization, id).ok_or_else(errors::no_organization)?;
    let order = query.order(&MEMBER_ORDERS, people::NEWEST)?;
    let (users, roles) = (query.signed("user_id")?, query.all("role")?);
    let (after, before) = (query.moment("created_at_after")?, query.moment("created_at_before")?);
    let mut ranks = state.of_organization(id);
    ranks.retain(|rank| {
        let at = state.shelf(Kind::Membership).place(By::Created, *rank).at;
        let user = if users.is_empty() { String::new() } else { state.member(*rank) };
        let role = || {
            let value: Value = state.value(Kind::Membership, *rank);
            roles.iter().any(|role| value["role"].as_str() == Some(role))
        };
        (users.include.is_empty() || users.include.contains(&user))
            && !users.exclude.contains(&user)
            && after.is_none_or(|after| at > after)
            && before.is_none_or(|before| at < before)
            && (roles.is_empty() || role())
    });
    let asked = users.include.len() + users.exclude.len();
    Ok((memberships(state, rules, &query, ranks, order)?, asked))
}
