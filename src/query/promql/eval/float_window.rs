//! A window over buckets of floats alone, and what functions make of it.
//!
//! Nothing here remarks on anything, so a thread that reads ahead may do it as well as the one that evaluates.

use std::iter::{Once, once};
use std::ops::Range;

use crate::model::rollup::FloatBuckets;
use crate::model::{CompensatedSum, TimeRange, Timestamp};

use super::over_time::extreme_value;
use super::rate::{Change, RateKind, extrapolation};

/// Neighbours among buckets.
pub trait Rows: Clone + IntoIterator<Item = usize, IntoIter: DoubleEndedIterator> {
    /// No two windows see the same bucket, and none sees two.
    const ARE_SINGLE: bool;

    /// `rows` are some, and as many as these can be.
    fn of(rows: &Range<usize>) -> Self;

    /// How many samples they hold.
    fn count(&self, counts: &[u64]) -> u64;

    /// The same, if they are so many that it pays to look at several side by side.
    fn if_many(&self) -> Option<Range<usize>>;
}

impl Rows for Range<usize> {
    const ARE_SINGLE: bool = false;

    #[inline]
    fn of(rows: &Range<usize>) -> Range<usize> {
        rows.clone()
    }

    #[inline]
    fn count(&self, counts: &[u64]) -> u64 {
        counts[self.clone()].iter().sum()
    }

    #[inline]
    fn if_many(&self) -> Option<Range<usize>> {
        (self.len() >= 16).then(|| self.clone())
    }
}

/// The bucket that is all of a window.
impl Rows for Once<usize> {
    const ARE_SINGLE: bool = true;

    #[inline]
    fn of(rows: &Range<usize>) -> Once<usize> {
        once(rows.start)
    }

    #[inline]
    fn count(&self, counts: &[u64]) -> u64 {
        self.clone().map(|row| counts[row]).sum()
    }

    #[inline]
    fn if_many(&self) -> Option<Range<usize>> {
        None
    }
}

/// The buckets that one step sees; at least one sample lies in them.
pub struct FloatWindow<'a, R> {
    pub floats: &'a FloatBuckets,
    pub rows: R,
    /// How many samples.
    pub count: u64,
    /// The time that the buckets fill.
    pub range: TimeRange,
    /// The length of the window that was asked for.
    pub asked_ms: i64,
}

impl<R: Rows> FloatWindow<'_, R> {
    /// The rows that hold a sample and not only a stale marker.
    #[inline]
    fn filled(&self) -> impl DoubleEndedIterator<Item = usize> {
        self.rows.clone().into_iter().filter(|&row| self.floats.counts[row] > 0)
    }

    #[inline]
    fn first_row(&self) -> Option<usize> {
        self.filled().next()
    }

    #[inline]
    fn last_row(&self) -> Option<usize> {
        self.filled().next_back()
    }

    #[inline]
    pub fn sum(&self) -> f64 {
        let mut sum = CompensatedSum::default();
        self.filled().for_each(|row| sum.add(self.floats.sums[row]));
        sum.total()
    }

    #[inline]
    pub fn mean(&self) -> f64 {
        self.sum() / self.count as f64
    }

    /// NaN wins only if there is nothing else. No other value is worse than `worst`.
    #[inline]
    fn extreme(&self, column: &[f64], worst: f64, is_better: impl Fn(f64, f64) -> bool) -> Option<f64> {
        if let Some(rows) = self.rows.if_many() {
            let are_filled = |all, &count: &u64| all & (count > 0);
            if self.floats.counts[rows.clone()].iter().fold(true, are_filled) {
                return Some(extreme_value(&column[rows], worst, is_better));
            }
        }
        let better =
            |best: f64, value: f64| if is_better(value, best) || best.is_nan() { value } else { best };
        self.filled().map(|row| column[row]).reduce(better)
    }

    #[inline]
    pub fn min(&self) -> Option<f64> {
        self.extreme(&self.floats.mins, f64::INFINITY, |value, best| value < best)
    }

    #[inline]
    pub fn max(&self) -> Option<f64> {
        self.extreme(&self.floats.maxs, f64::NEG_INFINITY, |value, best| value > best)
    }

    #[inline]
    pub fn first(&self) -> Option<(Timestamp, f64)> {
        self.first_row().map(|row| (self.floats.first_times[row], self.floats.firsts[row]))
    }

    #[inline]
    pub fn last(&self) -> Option<(Timestamp, f64)> {
        self.last_row().map(|row| (self.floats.last_times[row], self.floats.lasts[row]))
    }

    pub fn resets(&self) -> u64 {
        self.floats.merged(self.rows.clone()).resets.into()
    }

    pub fn changes(&self) -> u64 {
        self.floats.merged(self.rows.clone()).changes.into()
    }

    /// rate, increase and delta.
    #[inline]
    pub fn change(&self, kind: RateKind) -> Option<f64> {
        let ((_, start), (_, end)) = (self.first()?, self.last()?);
        if self.count < 2 {
            return None;
        }
        let lost = if kind.is_counter { self.lost() } else { 0.0 };
        let change = end - start + lost;
        let factor = extrapolation(kind, &self.seen()?, start, change) * self.share(kind);
        Some(change * factor)
    }

    /// When the first and the last sample were; none if there are not two, or the window does not begin and end with one.
    #[inline]
    pub fn between_ends(&self) -> Option<Change> {
        let (first, last) = (self.first_row(), self.last_row());
        let (start, end) = (self.rows.clone().into_iter().next(), self.rows.clone().into_iter().next_back());
        if self.count < 2 || (first, last) != (start, end) {
            return None;
        }
        self.seen()
    }

    #[inline]
    fn seen(&self) -> Option<Change> {
        let ((first, _), (last, _)) = (self.first()?, self.last()?);
        Some(Change { first, last, samples: self.count, begun: None, range: self.range })
    }

    #[inline]
    pub fn share(&self, kind: RateKind) -> f64 {
        share_asked(kind, self.range, self.asked_ms)
    }

    /// What a counter lost in resets inside buckets and between them.
    #[inline]
    fn lost(&self) -> f64 {
        let mut lost = 0.0;
        let mut before: Option<f64> = None;
        for row in self.filled() {
            if let Some(before) = before.filter(|before| self.floats.firsts[row] < *before) {
                lost += before;
            }
            lost += self.floats.lost[row];
            before = Some(self.floats.lasts[row]);
        }
        lost
    }
}

/// A change over a window that had to be widened is brought down to what was asked for; a rate is what it is.
pub fn share_asked(kind: RateKind, seen: TimeRange, asked_ms: i64) -> f64 {
    let seen_ms = seen.until - seen.after;
    if kind.is_per_second || seen_ms <= asked_ms {
        return 1.0;
    }
    asked_ms as f64 / seen_ms as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::metrics::stale_marker;
    use crate::model::rollup::Columns;

    proptest! {
        #[test]
        fn extremes_of_many_are_those_of_one_after_the_other(
            values in prop::collection::vec(
                prop_oneof![
                    20 => (-3i32..4).prop_map(f64::from),
                    3 => prop::sample::select(vec![-0.0, f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
                    1 => Just(stale_marker()),
                ],
                1..80,
            ),
            least in -4i32..4,
        ) {
            // With a bound there are windows of zeros, or of NaN, alone.
            let values: Vec<f64> = values.into_iter().filter(|v| v.is_nan() || *v <= f64::from(least)).collect();
            let times: Vec<Timestamp> = (1..=values.len() as i64).collect();
            let mut floats = FloatBuckets::new(Columns::MIN.union(Columns::MAX));
            floats.extend_samples(&times, &values);
            let (rows, count) = (0..values.len(), floats.counts.iter().sum());
            let window = FloatWindow { floats: &floats, rows, count, range: TimeRange::ALL, asked_ms: 1 };
            let one_by_one = |is_better: fn(f64, f64) -> bool| {
                let filled = (0..values.len()).filter(|&row| floats.counts[row] > 0).map(|row| values[row]);
                let best = filled.reduce(|best, v| if is_better(v, best) || best.is_nan() { v } else { best });
                best.map(f64::to_bits)
            };
            prop_assert_eq!(window.max().map(f64::to_bits), one_by_one(|v, best| v > best));
            prop_assert_eq!(window.min().map(f64::to_bits), one_by_one(|v, best| v < best));
        }
    }
}
