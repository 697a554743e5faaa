//! The stream's record: one text that is compared as a whole, `{epoch} {seq} {made at} {turn}`. Pure.

/// The record as it stands in Redis; empty where there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record(String);

/// How far the stream goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The numbering that its ids are of.
    pub epoch: String,
    /// Every change up to here is in it, or was, or is not for it.
    pub seq: i64,
    /// When that change was made, in milliseconds: after a restore the same number is another change's.
    pub made_at: i64,
}

/// Where nothing was erased yet.
const NO_TURN: &str = "-";

impl Record {
    /// What it says. `None`: there is none, or it is not ours.
    pub fn mark(&self) -> Option<Mark> {
        let mut words = self.0.split(' ');
        let epoch = words.next().filter(|epoch| !epoch.is_empty())?.to_owned();
        let (seq, made_at) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        (words.next().is_some() && words.next().is_none()).then_some(Mark { epoch, seq, made_at })
    }

    /// The record after more was added.
    pub fn next(&self, mark: &Mark) -> Self {
        let turn = self.0.rsplit(' ').next().filter(|turn| !turn.is_empty() && self.mark().is_some());
        let Mark { epoch, seq, made_at } = mark;
        Self(format!("{epoch} {seq} {made_at} {}", turn.unwrap_or(NO_TURN)))
    }

    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Record {
    fn from(text: String) -> Self {
        Self(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_says_what_was_noted_and_keeps_its_turn() {
        let mark = Mark { epoch: "e".into(), seq: 7, made_at: 1_700 };
        let first = Record::from(String::new()).next(&mark);
        assert_eq!((first.as_str(), first.mark()), ("e 7 1700 -", Some(mark.clone())));
        let turned = Record::from("e 7 1700 t1".to_owned());
        assert_eq!(turned.next(&Mark { seq: 9, ..mark }).as_str(), "e 9 1700 t1");
        for other in ["", "e", "e 7", "e 7 1700", "e x 1700 -", "e 7 1700 - -", " 7 1700 -"] {
            let other = Record::from(other.to_owned());
            assert_eq!(other.mark(), None, "{other:?}");
            assert!(other.next(&Mark { epoch: "f".into(), seq: 1, made_at: 2 }).as_str().ends_with(" 2 -"));
        }
    }
}
