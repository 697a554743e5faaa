//! The query of a request, read as strictly as Clerk is known to be, and more strictly where it is not known: a client
//! that passes here passes there. So a parameter that an endpoint does not have is refused; arrays are the name
//! repeated (`user_id=a&user_id=b`, no brackets, no commas); and a bare `+` is a blank, as in every form: `+created_at`
//! has to arrive as `%2Bcreated_at`.

use percent_encoding::percent_decode_str;

use super::errors::{self, ApiError};

/// How many values a filter takes.
pub(super) const FILTER_MAX: usize = 100;

/// The most and the usual number of objects a page.
const LIMIT_MAX: i64 = 500;
const LIMIT: u64 = 10;

#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

/// Which part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) limit: u64,
    pub(super) offset: u64,
}

/// By what a list is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) field: &'static str,
    pub(super) descending: bool,
}

/// Values to include (none: everything) and to exclude: `a`, `+a`, `-a`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Signed {
    pub(super) include: Vec<String>,
    pub(super) exclude: Vec<String>,
}

impl Signed {
    pub(super) fn is_empty(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }
}

fn decoded(text: &str) -> Option<String> {
    percent_decode_str(&text.replace('+', " ")).decode_utf8().ok().map(|text| text.into_owned())
}

impl Query {
    /// Reads a query; refuses what the endpoint does not know.
    pub(super) fn read(raw: &str, known: &[&str]) -> Result<Self, ApiError> {
        let mut pairs = Vec::new();
        for part in raw.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let name = decoded(name).ok_or_else(|| errors::unknown("?"))?;
            if name == super::VERSION_PARAM {
                continue;
            }
            if !known.contains(&name.as_str()) {
                return Err(errors::unknown(&name));
            }
            let value = decoded(value).ok_or_else(|| errors::encoding(&name))?;
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// The first value of a parameter; an empty one is as none.
    pub(super) fn first(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// All values of a filter.
    pub(super) fn all(&self, name: &str) -> Result<Vec<String>, ApiError> {
        let values = self.0.iter().filter(|(known, _)| known == name);
        let values: Vec<String> = values.map(|(_, value)| value.clone()).collect();
        if values.len() > FILTER_MAX { Err(errors::too_long_list(name, FILTER_MAX)) } else { Ok(values) }
    }

    pub(super) fn signed(&self, name: &str) -> Result<Signed, ApiError> {
        let mut signed = Signed::default();
        for value in self.all(name)? {
            match value.strip_prefix('-') {
                Some(excluded) => signed.exclude.push(excluded.to_owned()),
                None => signed.include.push(value.strip_prefix('+').map_or(value.clone(), str::to_owned)),
            }
        }
        Ok(signed)
    }

    pub(super) fn truth(&self, name: &str) -> Result<Option<bool>, ApiError> {
        self.first(name).map(|value| value.parse().map_err(|_| errors::wrong_type(name, "boolean"))).transpose()
    }

    /// A moment in ms.
    pub(super) fn moment(&self, name: &str) -> Result<Option<i64>, ApiError> {
        self.first(name).map(|value| value.parse().map_err(|_| errors::no_date(name))).transpose()
    }

    fn number(&self, name: &str) -> Result<Option<i64>, ApiError> {
        self.first(name).map(|value| value.parse().map_err(|_| errors::wrong_type(name, "integer"))).transpose()
    }

    /// Limit and offset. A limit that is out of bounds is, as Clerk was seen to do, taken for the usual 10: whoever
    /// asks for 501 gets 10 and believes that was all (github.com/clerk/clerk-sdk-python/issues/166). With `refuse` it
    /// is refused instead, so that a mistake is heard.
    pub(super) fn page(&self, refuse: bool) -> Result<Page, ApiError> {
        let limit = match self.number("limit")? {
            Some(limit @ 1..=LIMIT_MAX) => limit.unsigned_abs(),
            Some(_) if refuse => return Err(errors::wrong_type("limit", "integer from 1 to 500")),
            _ => LIMIT,
        };
        let offset = self.number("offset")?.unwrap_or(0);
        let offset = u64::try_from(offset).map_err(|_| errors::wrong_type("offset", "integer from 0 on"))?;
        Ok(Page { limit, offset })
    }

    /// The order; only the first `order_by` counts.
    pub(super) fn order(&self, allowed: &[&'static str], default: Order) -> Result<Order, ApiError> {
        let Some(text) = self.first("order_by") else { return Ok(default) };
        let (descending, name) = match text.strip_prefix('-') {
            Some(name) => (true, name),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let field = allowed.iter().find(|field| **field == name);
        field.map(|field| Order { field, descending }).ok_or_else(|| errors::not_allowed_value("order_by", text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["limit", "offset", "order_by", "user_id"];

    fn code<T: std::fmt::Debug>(result: Result<T, ApiError>) -> (u16, &'static str) {
        let error = result.unwrap_err();
        (error.status, error.code)
    }

    #[test]
    fn arrays_are_repeated_names_and_signs_are_encoded() {
        let query = Query::read("user_id=a&user_id=%2Bb&user_id=-c&user_id=+d&limit=500", &KNOWN).unwrap();
        let signed = query.signed("user_id").unwrap();
        assert_eq!(signed, Signed { include: vec!["a".into(), "b".into(), " d".into()], exclude: vec!["c".into()] });
        assert_eq!(code(Query::read("user_id[]=a", &KNOWN)), (422, "form_param_unknown"));
        assert_eq!(code(Query::read("user_id=%ff", &KNOWN)), (422, "form_param_value_invalid"));
        let many = |count| (0..count).map(|n| format!("user_id=u{n}")).collect::<Vec<_>>().join("&");
        assert!(Query::read(&many(100), &KNOWN).unwrap().signed("user_id").is_ok());
        let refused = Query::read(&many(101), &KNOWN).unwrap().signed("user_id");
        assert_eq!(code(refused), (422, "form_param_array_size_exceeded"));
    }

    #[test]
    fn limits_and_orders() {
        let page = |text: &str, refuse| Query::read(text, &KNOWN).unwrap().page(refuse);
        assert_eq!(page("", false).unwrap(), Page { limit: 10, offset: 0 });
        assert_eq!(page("limit=500&offset=7", true).unwrap(), Page { limit: 500, offset: 7 });
        for wrong in ["limit=501", "limit=0", "limit=-1"] {
            assert_eq!(page(wrong, false).unwrap().limit, 10, "{wrong}");
            assert_eq!(code(page(wrong, true)), (422, "form_param_type_invalid"), "{wrong}");
        }
        assert_eq!(code(page("limit=many", false)).0, 422);
        assert_eq!(code(page("offset=-1", false)).0, 422);
        let default = Order { field: "created_at", descending: true };
        let order = |text: &str| Query::read(text, &KNOWN).unwrap().order(&["created_at", "name"], default);
        assert_eq!(order("").unwrap(), default);
        assert_eq!(order("order_by=name&order_by=wrong").unwrap(), Order { field: "name", descending: false });
        assert!(!order("order_by=%2Bcreated_at").unwrap().descending);
        assert_eq!(code(order("order_by=+created_at")), (422, "form_param_value_invalid"));
        assert_eq!(code(order("order_by=age")), (422, "form_param_value_invalid"));
    }
}
