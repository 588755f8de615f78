//! Windows over buckets of floats alone: what functions make of one, and those of all steps of a series in one pass.
//!
//! Nothing here remarks on anything, so a thread that reads ahead may do it as well as the one that evaluates.

use std::ops::Range;
use std::sync::Arc;

use crate::model::metrics::{is_stale, stale_marker};
use crate::model::rollup::{FloatBuckets, NEVER};
use crate::model::{CompensatedSum, TimeRange, Timestamp};
use crate::query::budget::{Budget, Exceeded};
use crate::query::promql::functions_table::Function;

use super::annotations::Annotations;
use super::bucket_walk::Edges;
use super::rate::{Change, RateKind, extrapolation};
use super::row::Row;
use super::select::count_until;
use super::tally::Samples;

/// The buckets that one step sees; at least one sample lies in them.
pub struct FloatWindow<'a> {
    pub floats: &'a FloatBuckets,
    pub rows: Range<usize>,
    /// How many samples.
    pub count: u64,
    /// The time that the buckets fill.
    pub range: TimeRange,
    /// The length of the window that was asked for.
    pub asked_ms: i64,
}

impl FloatWindow<'_> {
    /// The rows that hold a sample and not only a stale marker.
    #[inline]
    fn filled(&self) -> impl DoubleEndedIterator<Item = usize> {
        self.rows.clone().filter(|&row| self.floats.counts[row] > 0)
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
        let (first, start) = self.first()?;
        let (last, end) = self.last()?;
        if self.count < 2 {
            return None;
        }
        let lost = if kind.is_counter { self.lost() } else { 0.0 };
        let change = end - start + lost;
        let shape = Change { first, last, samples: self.count, begun: None, range: self.range };
        let factor =
            extrapolation(kind, &shape, start, change) * share_asked(kind, self.range, self.asked_ms);
        Some(change * factor)
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

/// The newest value at each of these times.
#[derive(Clone)]
pub struct NewestWalk {
    pub times: Arc<[Timestamp]>,
    pub lookback_ms: i64,
}

impl NewestWalk {
    pub fn new(times: Arc<[Timestamp]>, lookback_ms: i64) -> NewestWalk {
        NewestWalk { times, lookback_ms }
    }

    /// What is held for so many steps.
    pub fn bytes(steps: usize) -> u64 {
        (steps * size_of::<Timestamp>()) as u64
    }

    /// As if each bucket was its last sample, and the stale marker after it.
    pub fn fill(&self, floats: &FloatBuckets) -> FilledSteps {
        let mut values = Vec::with_capacity(self.times.len());
        let (mut next, mut seen) = (0, 0);
        for &at in &*self.times {
            next += count_until(&floats.ends[next..], at);
            // A bucket that has not ended may have its last sample behind it already.
            let newest = newest_until(floats, next, at)
                .or_else(|| next.checked_sub(1).and_then(|before| newest_until(floats, before, at)));
            let value = match newest {
                Some((time, value)) if time > at.saturating_sub(self.lookback_ms) => value,
                _ => stale_marker(),
            };
            seen += u64::from(!is_stale(value));
            values.push(value);
        }
        FilledSteps::of_floats(values, Samples::new(seen))
    }
}

/// The newest of the last sample of a bucket and the stale marker after it.
#[inline]
fn newest_until(floats: &FloatBuckets, row: usize, at: Timestamp) -> Option<(Timestamp, f64)> {
    let stale_at = *floats.stale_at.get(row)?;
    if stale_at != NEVER && stale_at <= at {
        return Some((stale_at, stale_marker()));
    }
    let is_there = floats.counts[row] > 0 && floats.last_times[row] <= at;
    is_there.then(|| (floats.last_times[row], floats.lasts[row]))
}

/// A value for each step, absent where it sees no sample, what was looked at, and what there is to tell of it.
#[derive(Default)]
pub struct FilledSteps {
    pub row: Row,
    pub samples: Samples,
    pub told: Annotations,
}

impl FilledSteps {
    /// Of values, or the stale marker where there is none.
    pub fn of_floats(values: Vec<f64>, samples: Samples) -> FilledSteps {
        FilledSteps { row: Row::of(values), samples, told: Annotations::default() }
    }
}

/// A function over the windows of all steps.
#[derive(Clone)]
pub struct FloatWalk {
    function: Function,
    asked_ms: i64,
    /// Of each step.
    windows: Arc<[TimeRange]>,
    /// The rows that the steps see of buckets with these ends: the next series nearly always has the same.
    rows: Vec<Range<usize>>,
    ends: Vec<Timestamp>,
}

impl FloatWalk {
    pub fn new(function: Function, windows: Arc<[TimeRange]>, asked_ms: i64) -> FloatWalk {
        FloatWalk { function, asked_ms, windows, rows: Vec::new(), ends: Vec::new() }
    }

    /// What so many threads hold for so many steps.
    pub fn bytes(steps: usize, threads: usize) -> u64 {
        (steps * (size_of::<TimeRange>() + threads * size_of::<Range<usize>>())) as u64
    }

    pub fn fill(&mut self, floats: &FloatBuckets, budget: &Budget) -> Result<FilledSteps, Exceeded> {
        if self.rows.is_empty() || self.ends != floats.ends {
            self.ends.clone_from(&floats.ends);
            let mut edges = Edges::default();
            self.rows.clear();
            self.rows.extend(self.windows.iter().map(|window| edges.advance(&floats.ends, *window)));
        }
        const INCREASE: RateKind = RateKind { is_counter: true, is_per_second: false };
        const RATE: RateKind = RateKind { is_counter: true, is_per_second: true };
        const DELTA: RateKind = RateKind { is_counter: false, is_per_second: false };
        let in_seconds = |(time, _): (Timestamp, f64)| time as f64 / 1000.0;
        match self.function {
            Function::CountOverTime => self.each(floats, budget, |w| Some(w.count as f64)),
            Function::PresentOverTime | Function::AbsentOverTime => self.each(floats, budget, |_| Some(1.0)),
            Function::SumOverTime => self.each(floats, budget, |w| Some(w.sum())),
            Function::AvgOverTime => self.each(floats, budget, |w| Some(w.mean())),
            Function::MinOverTime => self.each(floats, budget, |w| w.min()),
            Function::MaxOverTime => self.each(floats, budget, |w| w.max()),
            Function::FirstOverTime => self.each(floats, budget, |w| w.first().map(|(_, value)| value)),
            Function::LastOverTime => self.each(floats, budget, |w| w.last().map(|(_, value)| value)),
            Function::TsOfFirstOverTime => self.each(floats, budget, |w| w.first().map(in_seconds)),
            Function::TsOfLastOverTime => self.each(floats, budget, |w| w.last().map(in_seconds)),
            Function::Resets => self.each(floats, budget, |w| Some(w.resets() as f64)),
            Function::Changes => self.each(floats, budget, |w| Some(w.changes() as f64)),
            Function::Rate => self.each(floats, budget, |w| w.change(RATE)),
            Function::Increase => self.each(floats, budget, |w| w.change(INCREASE)),
            Function::Delta => self.each(floats, budget, |w| w.change(DELTA)),
            other => unreachable!("{} has no form that takes buckets", other.name()),
        }
    }

    #[inline]
    fn each(
        &self,
        floats: &FloatBuckets,
        budget: &Budget,
        value: impl Fn(&FloatWindow<'_>) -> Option<f64>,
    ) -> Result<FilledSteps, Exceeded> {
        let mut values = Vec::with_capacity(self.rows.len());
        let (mut samples, mut before, mut unchecked) = (Samples::default(), 0, 0);
        for (rows, &range) in self.rows.iter().zip(&*self.windows) {
            let seen = rows.len() as u64;
            // Windows far longer than the step multiply the work.
            unchecked += seen + 1;
            if unchecked > 100_000 {
                unchecked = 0;
                budget.check()?;
            }
            let new = rows.end.saturating_sub(rows.start.max(before)) as u64;
            before = rows.end;
            let count = floats.counts[rows.clone()].iter().sum();
            if count == 0 {
                values.push(stale_marker());
                continue;
            }
            samples += Samples { queryable: seen, read: new };
            let window = FloatWindow { floats, rows: rows.clone(), count, range, asked_ms: self.asked_ms };
            values.push(value(&window).unwrap_or_else(stale_marker));
        }
        Ok(FilledSteps::of_floats(values, samples))
    }
}
