//! Settings: keys that config maps to metadata follow Clerk; the others are written once, from config, and then
//! belong to the application.

use crate::json::{Object, Value};

use super::{Policy, User};

/// The value at `path` (`public_metadata.a.b` or `private_metadata.a.b`); never under `unsafe_metadata`, which
/// people can write themselves.
pub fn lookup<'a>(user: &'a User, path: &str) -> Option<&'a Value> {
    let mut steps = path.split('.');
    let root = match steps.next()? {
        "public_metadata" => &user.public_metadata,
        "private_metadata" => &user.private_metadata,
        _ => return None,
    };
    let first = root.get(steps.next()?)?;
    steps.try_fold(first, |value, step| value.get(step))
}

/// The mapped settings of a snapshot: those whose path leads somewhere.
pub fn mapped(user: &User, policy: &Policy) -> Object {
    let found =
        policy.mapped_settings.iter().filter_map(|(key, path)| Some((key.clone(), lookup(user, path)?.clone())));
    found.collect()
}
