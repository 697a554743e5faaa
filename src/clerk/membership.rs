//! Clerk's OrganizationMembership object. The organisation and the person inside it are snapshots of their own past:
//! only their ids are read.

use crate::{
    clock::Time,
    domain::{
        membership::{Membership, Pair},
        validate,
    },
    json::{Object, Value},
};

use super::{
    decode::{id, own_id},
    fields::Fields,
};

/// Reads a membership; `at` stands in for a missing `created_at`.
///
/// # Errors
/// What it lacks, in our words.
pub(super) fn read(data: &Object, at: Option<Time>) -> Result<Membership, &'static str> {
    let clerk_id = own_id(data)?;
    let inner = |name: &str, member: &str| data.get(name).and_then(|object| object.get(member));
    let organization = id(
        inner("organization", "id"),
        "malformed: data.organization has no id",
        "malformed: data.organization.id is longer than 255 bytes",
    )?;
    let user = id(
        inner("public_user_data", "user_id"),
        "malformed: data.public_user_data has no user_id",
        "malformed: data.public_user_data.user_id is longer than 255 bytes",
    )?;
    let mut f = Fields::new(data);
    let role = f.text("role").ok_or("malformed: data has no role")?;
    if !validate::id(&role) {
        return Err("malformed: data.role is longer than 255 bytes");
    }
    let permissions = data.get("permissions").and_then(Value::as_array).into_iter().flatten();
    let permissions = permissions.filter_map(Value::as_str).map(str::to_owned).collect();
    let updated_at = f.time("updated_at");
    let created_at = f.time("created_at").or(updated_at).or(at);
    let created_at = created_at.ok_or("malformed: neither data.created_at nor timestamp is a time")?;
    Ok(Membership { clerk_id, pair: Pair { organization, user }, role, permissions, created_at, updated_at })
}
