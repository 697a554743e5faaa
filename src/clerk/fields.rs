//! Lenient reading of Clerk's objects: a member that is missing, null or of the wrong kind is empty. What was of
//! the wrong kind is remembered by name, so that an operator can be told.

use crate::{
    clock::{Time, from_millis},
    json::{Object, Value},
};

/// One object of Clerk's.
#[derive(Debug)]
pub struct Fields<'a> {
    members: &'a Object,
    /// Names of members that were there but of the wrong kind.
    pub wrong: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// Reads from `members`.
    pub fn new(members: &'a Object) -> Self {
        Self { members, wrong: Vec::new() }
    }

    fn take<T>(&mut self, name: &'static str, read: impl FnOnce(&'a Value) -> Option<T>) -> Option<T> {
        let value = self.members.get(name).filter(|value| !value.is_null())?;
        let read = read(value);
        if read.is_none() {
            self.wrong.push(name);
        }
        read
    }

    /// A text; a blank one is empty.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        self.take(name, Value::as_str).filter(|text| !text.trim().is_empty()).map(str::to_owned)
    }

    /// A truth; false if it is not there.
    pub fn truth(&mut self, name: &'static str) -> bool {
        self.take(name, Value::as_bool).unwrap_or_default()
    }

    /// A flag that takes access away: what is there and is neither a boolean nor null counts as true.
    pub fn access_flag(&mut self, name: &'static str) -> bool {
        self.take(name, Value::as_bool).unwrap_or_else(|| self.wrong.contains(&name))
    }

    /// A time in milliseconds or, with ten digits, seconds.
    pub fn time(&mut self, name: &'static str) -> Option<Time> {
        self.take(name, millis)
    }

    /// A list of objects; others in it are left out.
    pub fn list(&mut self, name: &'static str) -> impl Iterator<Item = &'a Object> + use<'a> {
        self.take(name, Value::as_array).into_iter().flatten().filter_map(Value::as_object)
    }

    /// An object; empty if it is not there.
    pub fn object(&mut self, name: &'static str) -> Object {
        self.take(name, Value::as_object).cloned().unwrap_or_default()
    }
}

/// A timestamp of Clerk's: milliseconds since 1970, or seconds where there are no more than ten digits, as some
/// published payloads have it. Nothing before 1970 or after the year 9999.
pub fn millis(value: &Value) -> Option<Time> {
    let number =
        value.as_i64().or_else(|| value.as_f64().filter(|f| f.is_finite() && f.abs() < 1e15).map(|f| f as i64))?;
    let ms = if number < 100_000_000_000 { number.checked_mul(1000)? } else { number };
    (0..253_402_300_800_000).contains(&ms).then(|| from_millis(ms)).flatten()
}
