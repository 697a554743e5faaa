//! A set of numbers from 0 on, one bit each: which seeded objects are no longer as the seed makes them.

use std::ops::Range;

/// The set. What was never added costs nothing.
#[derive(Debug, Default)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub(super) fn contains(&self, number: u64) -> bool {
        self.word(number / 64) & (1 << (number % 64)) != 0
    }

    pub(super) fn add(&mut self, number: u64) {
        let at = (number / 64) as usize;
        if self.0.len() <= at {
            self.0.resize(at + 1, 0);
        }
        self.0[at] |= 1 << (number % 64);
    }

    /// How many of these numbers are in the set.
    pub(super) fn count(&self, range: Range<u64>) -> u64 {
        if range.is_empty() {
            return 0;
        }
        let (first, last) = (range.start / 64, (range.end - 1) / 64);
        let last_held = last.min(self.0.len() as u64);
        (first..=last_held)
            .map(|at| {
                let mut word = self.word(at);
                if at == first {
                    word &= u64::MAX << (range.start % 64);
                }
                if at == last {
                    word &= u64::MAX >> (63 - (range.end - 1) % 64);
                }
                u64::from(word.count_ones())
            })
            .sum()
    }

    /// The number from `start` on that has `n` others not in the set before it and is not in it either.
    pub(super) fn nth_outside(&self, start: u64, mut n: u64) -> u64 {
        let mut at = start;
        // Whole words first, then one by one.
        while at.is_multiple_of(64) || n >= 64 {
            let end = (at / 64 + 1) * 64;
            let outside = (end - at) - self.count(at..end);
            if outside > n {
                break;
            }
            n -= outside;
            at = end;
            if at / 64 >= self.0.len() as u64 {
                return at + n;
            }
        }
        loop {
            if !self.contains(at) {
                if n == 0 {
                    return at;
                }
                n -= 1;
            }
            at += 1;
        }
    }

    fn word(&self, at: u64) -> u64 {
        self.0.get(at as usize).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_finds_like_a_list() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..200 {
            let (mut bits, size) = (Bits::default(), random.u64(1..400));
            let numbers: Vec<u64> = (0..size).filter(|_| random.bool()).collect();
            numbers.iter().for_each(|number| bits.add(*number));
            let (start, end) = (random.u64(0..450), random.u64(0..450));
            let expected = numbers.iter().filter(|number| (start..end).contains(*number)).count();
            assert_eq!(bits.count(start..end), expected as u64, "{start}..{end} of {numbers:?}");
            let n = random.u64(0..300);
            let expected = (start..).filter(|number| !numbers.contains(number)).nth(n as usize);
            assert_eq!(Some(bits.nth_outside(start, n)), expected, "{n} from {start} in {numbers:?}");
        }
    }
}
