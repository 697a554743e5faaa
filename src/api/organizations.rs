//! `/v1/organizations`: live organisations and who is in them. Read from the database: a change of a member's name is
//! seen at once, and there is no list to be evicted.

use axum::{Router, extract::State, http::HeaderMap, response::Response, routing::get};
use entity::{Id, JsonText};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use uuid::Uuid;

use crate::{
    db::Stmt,
    domain::view,
    json::{Object, Value, json, object_text},
    sync::load::organization,
};

use super::{
    ApiState,
    auth::{Known, Reader},
    body::JsonBody,
    freshness::MIN_REV,
    page,
    params::{Params, Segment},
    problem::Problem,
    reads::Key,
    sight,
    tag::Tag,
};

/// The routes of this resource.
pub(super) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/v1/organizations", get(list))
        .route("/v1/organizations/{id}", get(show))
        .route("/v1/organizations/{id}/members", get(members))
        .route("/v1/users/{id}/organizations", get(of_user))
}

/// Which organisation is meant by the segment of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum OrganizationKey {
    Id(Uuid),
    Clerk(String),
}

impl OrganizationKey {
    /// A UUID in its usual form, or a plain `org_…`.
    fn parse(text: &str) -> Option<Self> {
        let plain = |rest: &str| !rest.is_empty() && rest.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
        if text.strip_prefix("org_").is_some_and(plain) {
            return Some(Self::Clerk(text.to_owned()));
        }
        if text.len() == 36 { Uuid::try_parse(text).ok().map(Self::Id) } else { None }
    }

    async fn find(&self, db: &impl ConnectionTrait) -> Result<Option<entity::organizations::Model>, DbErr> {
        let find = Stmt::new(db, "select * from clerk_sync.organizations where status = 'active' and ");
        match self {
            Self::Id(id) => find.sql("id = ").val(*id).one_as(db).await,
            Self::Clerk(id) => find.sql("clerk_id = ").val(id.as_str()).one_as(db).await,
        }
    }
}

fn shown(row: entity::organizations::Model) -> Object {
    view::organization(&organization(row))
}

/// In the order of our ids, which is the order of arrival.
async fn list(State(state): State<ApiState>, _: Reader, params: Params) -> Result<JsonBody, Problem> {
    let params = params.only(&["clerk_id", "limit", "cursor", MIN_REV])?;
    let limit = params.limit(200, 50)?;
    let after = params.cursor("organizations", |key| Uuid::try_parse(key).ok())?.unwrap_or_default();
    let clerk_id = params.text("clerk_id");
    if clerk_id == Some("") {
        return Err(Problem::invalid("clerk_id must not be empty."));
    }
    state.reach_min_rev(&params).await?;
    let db = &state.db.read;
    let mut select =
        Stmt::new(db, "select * from clerk_sync.organizations where status = 'active' and id > ").val(after);
    if let Some(clerk_id) = clerk_id {
        select = select.sql(" and clerk_id = ").val(clerk_id);
    }
    let mut rows: Vec<entity::organizations::Model> =
        select.sql(" order by id limit ").val(page::one_more(limit)).all_as(db).await?;
    let more = page::cut(&mut rows, limit);
    let next = rows.last().filter(|_| more).map(|row| row.id.0);
    Ok(page::list("organizations", rows.into_iter().map(shown).collect(), next))
}

async fn show(
    State(state): State<ApiState>,
    Known(caller): Known,
    Segment(segment): Segment,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, Problem> {
    let params = params.only(&[MIN_REV])?;
    let key = OrganizationKey::parse(&segment).ok_or_else(Problem::missing)?;
    state.reach_min_rev(&params).await?;
    let tx = state.db.begin_read().await?;
    let row = key.find(&tx).await?.ok_or_else(Problem::missing)?;
    sight::organization(&tx, &caller, row.id.0).await?;
    tx.commit().await?;
    Ok(Tag::whole(row.rev, &state.meta.epoch).answer(&headers, object_text(&shown(row))))
}

#[derive(Debug, FromQueryResult)]
struct Member {
    user_id: Id,
    clerk_id: String,
    display_name: Option<String>,
    image_url: Option<String>,
    role: String,
}

/// Each a public profile, for every caller; in the order of our ids.
async fn members(
    State(state): State<ApiState>,
    Known(caller): Known,
    Segment(segment): Segment,
    params: Params,
) -> Result<JsonBody, Problem> {
    let params = params.only(&["limit", "cursor", MIN_REV])?;
    let limit = params.limit(200, 50)?;
    let after = params.cursor("members", |key| Uuid::try_parse(key).ok())?.unwrap_or_default();
    let key = OrganizationKey::parse(&segment).ok_or_else(Problem::missing)?;
    state.reach_min_rev(&params).await?;
    let tx = state.db.begin_read().await?;
    let organization = key.find(&tx).await?.ok_or_else(Problem::missing)?;
    sight::organization(&tx, &caller, organization.id.0).await?;
    let mut rows: Vec<Member> = Stmt::new(
        &tx,
        "select m.user_id, u.clerk_id, u.display_name, u.image_url, m.role from clerk_sync.organization_memberships m
            join clerk_sync.users u on u.id = m.user_id where m.organization_id = ",
    )
    .val(organization.id.0)
    .sql(" and m.user_id > ")
    .val(after)
    .sql(" order by m.user_id limit ")
    .val(page::one_more(limit))
    .all_as(&tx)
    .await?;
    tx.commit().await?;
    let more = page::cut(&mut rows, limit);
    let next = rows.last().filter(|_| more).map(|row| row.user_id.0);
    let profile = |row: &Member| {
        json!({"id": row.user_id.0, "clerk_id": row.clerk_id, "display_name": row.display_name,
            "image_url": row.image_url, "role": row.role})
    };
    Ok(page::list("members", rows.iter().map(profile).collect(), next))
}

/// The organisations of a person, each with the role there.
async fn of_user(
    State(state): State<ApiState>,
    Known(caller): Known,
    Segment(segment): Segment,
    params: Params,
) -> Result<JsonBody, Problem> {
    let params = params.only(&["limit", "cursor", MIN_REV])?;
    let limit = params.limit(200, 50)?;
    let after = params.cursor("user.organizations", |key| Uuid::try_parse(key).ok())?.unwrap_or_default();
    let key = sight::whole(&caller, &segment).ok_or_else(Problem::missing)?;
    state.reach_min_rev(&params).await?;
    let tx = state.db.begin_read().await?;
    let find = Stmt::new(&tx, "select id from clerk_sync.users where status <> 'deleted' and ");
    let found = match &key {
        Key::Id(id) => find.sql("id = ").val(*id).all(&tx).await?,
        Key::Clerk(id) => find.sql("clerk_id = ").val(id.as_str()).all(&tx).await?,
    };
    let user: Id = found.first().ok_or_else(Problem::missing)?.try_get("", "id")?;
    let mut rows = Stmt::new(
        &tx,
        "select o.*, m.role as member_role, m.permissions as member_permissions from clerk_sync.organization_memberships m
            join clerk_sync.organizations o on o.id = m.organization_id where m.user_id = ",
    )
    .val(user.0)
    .sql(" and o.id > ")
    .val(after)
    .sql(" order by o.id limit ")
    .val(page::one_more(limit))
    .all(&tx)
    .await?;
    tx.commit().await?;
    let more = page::cut(&mut rows, limit);
    let mut data = Vec::with_capacity(rows.len());
    let mut last = None;
    for row in &rows {
        let model = entity::organizations::Model::from_query_result(row, "")?;
        last = Some(model.id.0);
        let mut object = shown(model);
        object.insert("role".into(), json!(row.try_get::<String>("", "member_role")?));
        let permissions: JsonText = row.try_get("", "member_permissions")?;
        object.insert("permissions".into(), Value::stored(&permissions.0));
        data.push(Value::Object(object));
    }
    Ok(page::list("user.organizations", data, last.filter(|_| more)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_an_organization_or_none() {
        assert_eq!(OrganizationKey::parse("org_2aB_9"), Some(OrganizationKey::Clerk("org_2aB_9".into())));
        assert!(OrganizationKey::parse("019ab3f0-7e2c-7cc0-8f00-0123456789ab").is_some());
        for other in ["", "org_", "org_a b", "user_1", "me", "019ab3f07e2c7cc08f000123456789ab"] {
            assert_eq!(OrganizationKey::parse(other), None, "{other:?}");
        }
    }
}
