//! A window over buckets of floats alone, and what functions make of it.
//!
//! Nothing here remarks on anything, so a thread that reads ahead may do it as well as the one that evaluates.

use std::iter::{Once, once};
use std::ops::Range;

use crate::model::rollup::FloatBuckets;
use crate::model::{CompensatedSum, TimeRange, Timestamp};

use super::rate::{Change, RateKind, extrapolation};

/// Neighbours among buckets.
pub trait Rows: Clone + IntoIterator<Item = usize, IntoIter: DoubleEndedIterator> {
    /// No two windows see the same bucket, and none sees two.
    const ARE_SINGLE: bool;

    /// `rows` are some, and as many as these can be.
    fn of(rows: &Range<usize>) -> Self;

    /// How many samples they hold.
    fn count(&self, counts: &[u64]) -> u64;
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

    /// NaN wins only if there is nothing else.
    #[inline]
    pub fn extreme(&self, column: &[f64], is_better: impl Fn(f64, f64) -> bool) -> Option<f64> {
        let better =
            |best: f64, value: f64| if is_better(value, best) || best.is_nan() { value } else { best };
        self.filled().map(|row| column[row]).reduce(better)
    }

    #[inline]
    pub fn min(&self) -> Option<f64> {
        self.extreme(&self.floats.mins, |value, best| value < best)
    }

    #[inline]
    pub fn max(&self) -> Option<f64> {
        self.extreme(&self.floats.maxs, |value, best| value > best)
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
