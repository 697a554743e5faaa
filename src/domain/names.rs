//! The name to show: first and last name, else the username, else the local part of the primary address.

use super::User;

/// The display name of a snapshot whose primary address is `email`.
pub fn display_name(user: &User, email: Option<&str>) -> Option<String> {
    let names: Vec<&str> = [&user.first_name, &user.last_name].into_iter().flatten().map(String::as_str).collect();
    if !names.is_empty() {
        return Some(names.join(" "));
    }
    user.username.clone().or_else(|| email.and_then(|email| email.rsplit_once('@')).map(|(local, _)| local.to_owned()))
}
