//! Finding the documents that a backend refuses, so that all others get through.

use uuid::Uuid;

use super::SearchError;

/// Items to be written, so many at a time; where a part is refused for good, in halves, until each guilty one
/// stands alone. Write each [`next`](Self::next) part, [`settle`](Self::settle) what came of it, then [`end`](Self::end).
#[derive(Debug)]
pub(super) struct Split<'a, T> {
    parts: Vec<&'a [T]>,
    user: fn(&T) -> Uuid,
    refused: Vec<Uuid>,
    code: String,
}

impl<'a, T> Split<'a, T> {
    pub(super) fn new(items: &'a [T], at_a_time: usize, user: fn(&T) -> Uuid) -> Self {
        Self { parts: items.chunks(at_a_time.max(1)).rev().collect(), user, refused: Vec::new(), code: String::new() }
    }

    /// What to write next, never empty.
    pub(super) fn next(&mut self) -> Option<&'a [T]> {
        self.parts.pop()
    }

    /// Takes note of what came of writing a part.
    ///
    /// # Errors
    /// A transient error as it is: what is left stays unwritten.
    pub(super) fn settle(&mut self, part: &'a [T], outcome: Result<(), SearchError>) -> Result<(), SearchError> {
        match (outcome, part) {
            (Err(SearchError::Documents { code, .. }), [guilty]) => {
                self.refused.push((self.user)(guilty));
                self.code = code;
            }
            (Err(SearchError::Documents { .. }), _) => {
                // Two or more, so neither half is empty.
                let (first, second) = part.split_at(part.len() / 2);
                self.parts.extend([second, first]);
            }
            (outcome, _) => return outcome,
        }
        Ok(())
    }

    /// # Errors
    /// [`SearchError::Documents`] with those refused, everything else having been written.
    pub(super) fn end(self) -> Result<(), SearchError> {
        if self.refused.is_empty() {
            return Ok(());
        }
        Err(SearchError::Documents { users: self.refused, code: self.code })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal() -> SearchError {
        SearchError::Documents { users: Vec::new(), code: "bad".into() }
    }

    #[test]
    fn the_guilty_are_found_and_everything_else_written_once() {
        let items: Vec<u128> = (0..100).collect();
        let (mut split, mut written, mut asked) = (Split::new(&items, 40, |item| Uuid::from_u128(*item)), vec![], 0);
        while let Some(part) = split.next() {
            asked += 1;
            let bad = part.iter().any(|item| [7, 50, 99].contains(item));
            if !bad {
                written.extend_from_slice(part);
            }
            split.settle(part, if bad { Err(refusal()) } else { Ok(()) }).unwrap();
        }
        assert_eq!(split.end().unwrap_err().refused(), [7, 50, 99].map(Uuid::from_u128));
        assert_eq!(written, items.into_iter().filter(|item| ![7, 50, 99].contains(item)).collect::<Vec<_>>());
        assert!(asked < 40, "{asked}");
    }

    #[test]
    fn a_transient_error_ends_it() {
        let mut split = Split::new(&[1_u128, 2], 9, |item| Uuid::from_u128(*item));
        let part = split.next().unwrap();
        assert!(split.settle(part, Err(SearchError::Superseded)).is_err());
        assert!(Split::new(&[] as &[u128], 9, |_| Uuid::nil()).next().is_none());
    }
}
