//! What a request says in its path and its query. Nothing here fails but as a problem, and no value of the request is
//! repeated in one.

use std::ops::RangeInclusive;

use axum::{
    extract::{FromRequestParts, Path, Query},
    http::request::Parts,
};

use super::{page, problem::Problem};

/// A longer query is refused before it is looked at.
const QUERY_MAX: usize = 4096;

/// The parameters of a query, each given at most once.
#[derive(Debug, Clone)]
pub struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        if parts.uri.query().is_some_and(|query| query.len() > QUERY_MAX) {
            return Err(Problem::invalid(format!("The query is longer than {QUERY_MAX} bytes.")));
        }
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|_| Problem::invalid("The query cannot be read."))?;
        if pairs.iter().any(|(_, value)| value.contains('\0')) {
            return Err(Problem::invalid("The query holds a NUL character."));
        }
        Ok(Self(pairs))
    }
}

impl Params {
    /// The same, if it holds no others than these and each once. A misspelt filter must not be taken for none.
    ///
    /// # Errors
    /// 422, naming those that are known.
    pub fn only(self, known: &[&str]) -> Result<Self, Problem> {
        let names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        let twice = names.iter().enumerate().any(|(index, name)| names.iter().take(index).any(|other| other == name));
        if twice || names.iter().any(|name| !known.contains(name)) {
            let detail = format!("Of the query's parameters, these are known, each once: {}.", known.join(", "));
            return Err(Problem::invalid(detail));
        }
        Ok(self)
    }

    /// A parameter as it was given.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// An e-mail address. A `+` that was not escaped decodes as a blank; an address has none inside, so it was a `+`.
    pub fn address(&self, name: &str) -> Option<String> {
        self.text(name).map(|address| address.trim().replace(' ', "+"))
    }

    /// A filter: one that is empty filters nothing, as forms send it.
    pub fn filter(&self, name: &str) -> Option<&str> {
        self.text(name).filter(|value| !value.is_empty())
    }

    /// A whole number of this range.
    ///
    /// # Errors
    /// 422, where it is something else.
    pub fn whole(&self, name: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if plain && range.contains(&number) => Ok(Some(number)),
            _ if *range.end() == i64::MAX => {
                Err(Problem::invalid(format!("{name} must be a whole number, 0 or more.")))
            }
            _ => {
                let (low, high) = range.into_inner();
                Err(Problem::invalid(format!("{name} must be a whole number from {low} to {high}.")))
            }
        }
    }

    /// How many rows a page may have.
    ///
    /// # Errors
    /// 422, where it is no number from 1 to `max`.
    pub fn limit(&self, max: i64, default: usize) -> Result<usize, Problem> {
        let limit = self.whole("limit", 1..=max)?;
        Ok(limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(default))
    }

    /// Where a list goes on, as [`page::list`] told it. An empty one is the beginning.
    ///
    /// # Errors
    /// 422, where it is no cursor of this list.
    pub fn cursor<T>(&self, list: &str, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Problem> {
        let Some(cursor) = self.filter("cursor") else { return Ok(None) };
        let key = page::key(list, cursor).and_then(|key| read(&key));
        key.map(Some).ok_or_else(|| Problem::invalid("cursor must be a next_cursor of this list."))
    }
}

/// The one variable segment of a path, decoded. What cannot be decoded names nothing.
#[derive(Debug, Clone)]
pub struct Segment(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(segment)) if segment.len() <= 255 && !segment.contains('\0') => Ok(Self(segment)),
            _ => Err(Problem::missing()),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    async fn address(query: &str) -> Option<String> {
        let (mut parts, ()) = Request::get(format!("/v1/users?{query}")).body(()).unwrap().into_parts();
        Params::from_request_parts(&mut parts, &()).await.unwrap().address("email")
    }

    #[tokio::test]
    async fn a_plus_in_an_address_is_a_plus_however_it_was_escaped() {
        for query in
            ["email=a+b@x.com", "email=a%2Bb@x.com", "email=a%20b%40x.com", "clerk_id=u+1&email=%20a+b@x.com%20"]
        {
            assert_eq!(address(query).await.as_deref(), Some("a+b@x.com"), "{query}");
        }
        assert_eq!(
            address("email=+a@x.com%20").await.as_deref(),
            Some("a@x.com"),
            "blanks around it are no part of it"
        );
        assert_eq!(address("email=a++b+c@x.com").await.as_deref(), Some("a++b+c@x.com"));
        assert_eq!(address("email=").await.as_deref(), Some(""));
        assert_eq!(address("limit=1").await, None);
    }
}
