//! The objects of one kind, in the order in which they were made and in the order in which they were last changed.
//!
//! Most are seeded: nothing is held of them but how many there are, since their times follow from their number. Held
//! are only those that were put or changed (`kept`), and a bit for each seeded one that is gone or held instead. So a
//! page anywhere in a million costs the page, not the million.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Range,
};

use super::bits::Bits;

/// How many objects the seed makes, and when they were made: evenly over a span, eight of every 64 at the same moment,
/// as an import leaves them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spread {
    pub(super) count: u64,
    /// ms since 1970.
    pub(super) start: i64,
    /// ms.
    pub(super) span: i64,
}

/// By how much a seeded object's `updated_at` lies above its `created_at`, ms.
pub(super) const LAG: i64 = 21;

impl Spread {
    /// When the object of this number was made; rises with it.
    pub(super) fn created_at(&self, index: u64) -> i64 {
        let step = index - index % 64 + (index % 64).min(56);
        let share = i128::from(step) * i128::from(self.span) / i128::from(self.count.max(1));
        self.start + i64::try_from(share).unwrap_or(self.span)
    }
}

/// Where an object stands in an order. The rank (of seeded ones their number) decides between equal times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) at: i64,
    pub(super) rank: u64,
}

/// The two orders that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Created,
    Updated,
}

/// A part of an order: from a place on, up to but not with another.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Part {
    pub(super) from: Option<Place>,
    pub(super) to: Option<Place>,
}

/// What is held of an object that was put or changed.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) id: Box<str>,
    pub(super) created_at: i64,
    pub(super) updated_at: i64,
    pub(super) body: Body,
}

/// JSON as it is held: all of it or, of a seeded object that was changed, only the members that differ.
#[derive(Debug)]
pub(super) enum Body {
    Whole(Box<str>),
    Over(Box<str>),
}

#[derive(Debug)]
pub(super) struct Shelf {
    spread: Spread,
    /// Seeded ones that are gone or kept instead.
    hidden: Bits,
    hidden_count: u64,
    kept: HashMap<u64, Kept>,
    ranks: HashMap<Box<str>, u64>,
    created: BTreeSet<Place>,
    updated: BTreeSet<Place>,
    next: u64,
}

impl Shelf {
    pub(super) fn new(spread: Spread) -> Self {
        Self {
            spread,
            hidden: Bits::default(),
            hidden_count: 0,
            kept: HashMap::new(),
            ranks: HashMap::new(),
            created: BTreeSet::new(),
            updated: BTreeSet::new(),
            next: spread.count,
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.spread.count - self.hidden_count + self.kept.len() as u64
    }

    /// Whether the object of this number is as the seed makes it.
    pub(super) fn is_seeded(&self, rank: u64) -> bool {
        rank < self.spread.count && !self.hidden.contains(rank)
    }

    pub(super) fn kept(&self, rank: u64) -> Option<&Kept> {
        self.kept.get(&rank)
    }

    pub(super) fn all_kept(&self) -> impl Iterator<Item = (u64, &Kept)> {
        self.kept.iter().map(|(rank, kept)| (*rank, kept))
    }

    pub(super) fn rank_of_kept(&self, id: &str) -> Option<u64> {
        self.ranks.get(id).copied()
    }

    /// A rank for an object that the seed does not make.
    pub(super) fn new_rank(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Where an object stands.
    pub(super) fn place(&self, by: By, rank: u64) -> Place {
        let at = match (self.kept.get(&rank), by) {
            (Some(kept), By::Created) => kept.created_at,
            (Some(kept), By::Updated) => kept.updated_at,
            (None, By::Created) => self.spread.created_at(rank),
            (None, By::Updated) => self.spread.created_at(rank) + LAG,
        };
        Place { at, rank }
    }

    /// Holds an object, instead of the seeded one if the rank is of one.
    pub(super) fn keep(&mut self, rank: u64, kept: Kept) {
        self.remove(rank);
        self.ranks.insert(kept.id.clone(), rank);
        self.created.insert(Place { at: kept.created_at, rank });
        self.updated.insert(Place { at: kept.updated_at, rank });
        self.kept.insert(rank, kept);
    }

    pub(super) fn remove(&mut self, rank: u64) {
        if self.is_seeded(rank) {
            self.hidden.add(rank);
            self.hidden_count += 1;
        } else if let Some(kept) = self.kept.remove(&rank) {
            self.ranks.remove(&kept.id);
            self.created.remove(&Place { at: kept.created_at, rank });
            self.updated.remove(&Place { at: kept.updated_at, rank });
        }
    }

    /// The first seeded number that stands at `place` or after it.
    fn index_at(&self, by: By, place: Place) -> u64 {
        let lag = if by == By::Updated { LAG } else { 0 };
        let (mut low, mut high) = (0, self.spread.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if (Place { at: self.spread.created_at(middle) + lag, rank: middle }) < place {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    fn indexes(&self, by: By, part: Part) -> Range<u64> {
        let from = part.from.map_or(0, |place| self.index_at(by, place));
        let to = part.to.map_or(self.spread.count, |place| self.index_at(by, place));
        from..to.max(from)
    }

    fn kept_in(&self, by: By, part: Part) -> impl Iterator<Item = &Place> {
        let order = if by == By::Created { &self.created } else { &self.updated };
        let from = part.from.unwrap_or(Place { at: i64::MIN, rank: 0 });
        let to = part.to.unwrap_or(Place { at: i64::MAX, rank: u64::MAX }).max(from);
        order.range(from..to)
    }

    /// How many objects stand in this part.
    pub(super) fn count(&self, by: By, part: Part) -> u64 {
        if part.from.is_none() && part.to.is_none() {
            return self.len();
        }
        let seeded = self.indexes(by, part);
        seeded.end - seeded.start - self.hidden.count(seeded) + self.kept_in(by, part).count() as u64
    }

    /// The ranks of a page.
    pub(super) fn page(&self, by: By, descending: bool, part: Part, offset: u64, limit: u64) -> Vec<u64> {
        if !descending {
            return self.ascending(by, part, offset, limit);
        }
        let end = self.count(by, part).saturating_sub(offset);
        let start = end.saturating_sub(limit);
        let mut page = self.ascending(by, part, start, end - start);
        page.reverse();
        page
    }

    fn ascending(&self, by: By, part: Part, mut skip: u64, take: u64) -> Vec<u64> {
        let Range { start: mut index, end } = self.indexes(by, part);
        let mut kept = self.kept_in(by, part).peekable();
        let mut page = Vec::new();
        while (page.len() as u64) < take {
            // The seeded ones that stand before the next kept one.
            let stop = kept.peek().map_or(end, |place| self.index_at(by, **place).clamp(index, end));
            let visible = stop - index - self.hidden.count(index..stop);
            if visible <= skip {
                skip -= visible;
            } else {
                index = self.hidden.nth_outside(index, std::mem::take(&mut skip));
                let wanted = take - page.len() as u64;
                page.extend((index..stop).filter(|index| !self.hidden.contains(*index)).take(wanted as usize));
                if page.len() as u64 == take {
                    break;
                }
            }
            index = stop;
            match kept.next() {
                Some(_) if skip > 0 => skip -= 1,
                Some(place) => page.push(place.rank),
                None => break,
            }
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every page of every order is what sorting a list gives, whatever was put, changed and removed.
    #[test]
    fn pages_are_those_of_a_sorted_list() {
        let mut random = fastrand::Rng::with_seed(11);
        for round in 0..150 {
            let count = random.u64(0..300);
            let spread = Spread { count, start: 1_000, span: random.i64(1..500) };
            let mut shelf = Shelf::new(spread);
            let mut model: HashMap<u64, (i64, i64)> =
                (0..count).map(|i| (i, (spread.created_at(i), spread.created_at(i) + LAG))).collect();
            for step in 0..random.usize(0..60) {
                let rank = if random.bool() && count > 0 { random.u64(0..count) } else { shelf.new_rank() };
                if random.bool() {
                    shelf.remove(rank);
                    model.remove(&rank);
                } else {
                    let (created_at, updated_at) = (random.i64(900..1_600), random.i64(900..1_700));
                    let body = Body::Whole("{}".into());
                    shelf.keep(rank, Kept { id: format!("{round}-{step}").into(), created_at, updated_at, body });
                    model.insert(rank, (created_at, updated_at));
                }
            }
            assert_eq!(shelf.len(), model.len() as u64);
            for by in [By::Created, By::Updated] {
                let mut all: Vec<Place> = model
                    .iter()
                    .map(|(rank, (created, updated))| Place {
                        at: if by == By::Created { *created } else { *updated },
                        rank: *rank,
                    })
                    .collect();
                all.sort();
                assert!(all.iter().all(|place| shelf.place(by, place.rank) == *place));
                let mut end = || random.bool().then(|| Place { at: random.i64(900..1_700), rank: random.u64(0..400) });
                let part = Part { from: end(), to: end() };
                all.retain(|place| part.from.is_none_or(|from| *place >= from) && part.to.is_none_or(|to| *place < to));
                assert_eq!(shelf.count(by, part), all.len() as u64);
                let (offset, limit) = (random.usize(0..150), random.usize(1..120));
                let ranks = |places: Vec<&Place>| places.iter().map(|place| place.rank).collect::<Vec<_>>();
                let page = |descending| shelf.page(by, descending, part, offset as u64, limit as u64);
                assert_eq!(page(false), ranks(all.iter().skip(offset).take(limit).collect()));
                assert_eq!(page(true), ranks(all.iter().rev().skip(offset).take(limit).collect()));
            }
        }
    }
}
