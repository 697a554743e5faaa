//! The order of what the database found: fewest slips first, whole words before beginnings, then by how early
//! in the document (display name, names, username, address) the words stand.

use std::collections::HashSet;

use uuid::Uuid;

use super::typos::{Fit, near};

/// How well a document fits. Less is better; a tie is settled by the id, so that the order is always the same.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Score {
    slips: usize,
    unfinished: usize,
    place: usize,
    length: usize,
}

/// The ids of the documents that hold every word of the query, one slip allowed in all, best first.
pub(super) fn best(found: impl IntoIterator<Item = (Uuid, String)>, query: &[String], limit: usize) -> Vec<Uuid> {
    let mut scored: Vec<(Score, Uuid)> =
        found.into_iter().filter_map(|(id, document)| score(&document, query).map(|score| (score, id))).collect();
    scored.sort();
    // A swap of generations between two questions can bring one person in two versions.
    let mut seen = HashSet::new();
    scored.into_iter().map(|(_, id)| id).filter(|id| seen.insert(*id)).take(limit).collect()
}

fn score(document: &str, query: &[String]) -> Option<Score> {
    let mut score = Score { slips: 0, unfinished: 0, place: 0, length: document.len() };
    for typed in query {
        let fits =
            document.split_whitespace().enumerate().filter_map(|(place, word)| Some((near(typed, word)?, place)));
        let (fit, place) = fits.min()?;
        score.slips += usize::from(fit >= Fit::SlipWhole);
        score.unfinished += usize::from(matches!(fit, Fit::Beginning | Fit::SlipBeginning));
        score.place += place;
    }
    (score.slips <= 1).then_some(score)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order() {
        let ids: Vec<Uuid> = (1..=6).map(Uuid::from_u128).collect();
        let documents = ["  jonathan  x  ", "  x  jonas  ", "  joxas  ", "  jonas  ", "  peter  ", "  y  jonasson  "];
        let found = ids.iter().copied().zip(documents.map(str::to_owned));
        assert_eq!(best(found, &["jonas".into()], 9), [ids[3], ids[1], ids[5], ids[2], ids[0]]);
    }

    #[test]
    fn nobody_twice() {
        let found = [
            (Uuid::nil(), "  jonasson  ".into()),
            (Uuid::max(), "  jonas  x  ".into()),
            (Uuid::nil(), "  jonas  ".into()),
        ];
        assert_eq!(best(found, &["jonas".into()], 9), [Uuid::nil(), Uuid::max()]);
    }

    #[test]
    fn every_word_must_fit_and_one_slip_is_all() {
        let fits = |query: &[&str]| {
            score("  jonas  smith  ", &query.iter().map(ToString::to_string).collect::<Vec<_>>()).is_some()
        };
        assert!(fits(&["smi", "jon"]) && fits(&["jonax", "smith"]));
        assert!(!fits(&["jonax", "smitx"]) && !fits(&["jonas", "miller"]));
    }
}
