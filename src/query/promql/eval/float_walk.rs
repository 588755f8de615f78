//! A function over the windows of all steps of a series of floats in buckets, in one pass.
//!
//! Nothing here remarks on anything, so a thread that reads ahead may do it as well as the one that evaluates.

use std::iter::Once;
use std::ops::Range;
use std::sync::Arc;

use crate::model::metrics::stale_marker;
use crate::model::rollup::{FloatBuckets, TimesPart};
use crate::model::{TimeRange, Timestamp};
use crate::query::budget::{Budget, Exceeded};
use crate::query::promql::functions_table::Function;

use super::annotations::Annotations;
use super::bucket_walk::Edges;
use super::float_change::Factors;
use super::float_window::{FloatWindow, Rows};
use super::rate::RateKind;
use super::row::Row;
use super::tally::Samples;

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

/// Values of the first steps, and what was looked at.
#[derive(Default)]
struct FloatSteps {
    values: Vec<f64>,
    samples: Samples,
}

/// A function over the windows of all steps.
#[derive(Clone)]
pub struct FloatWalk {
    function: Function,
    asked_ms: i64,
    /// Of each step.
    windows: Arc<[TimeRange]>,
    sight: Sight,
}

/// What the steps see of buckets with these times: the next series nearly always has the same.
#[derive(Clone, Default)]
struct Sight {
    ends: Vec<Timestamp>,
    /// What the first times were put together from.
    parts: Vec<TimesPart>,
    rows: Vec<Range<usize>>,
    /// So many steps at the beginning see one bucket or none each, and no two the same.
    single: usize,
    /// Of these, the first that see a bucket, each the one after that of the step before.
    in_turn: Range<usize>,
    /// Of the first steps, whose buckets are of the parts, if a change is asked for.
    factors: Factors,
}

impl Sight {
    fn is_of(&self, floats: &FloatBuckets) -> bool {
        let (parts, shared_len) = floats.ends.shared();
        let is_of_length = self.ends.len() == floats.ends.len() && !self.rows.is_empty();
        is_of_length && self.parts == parts && self.ends[shared_len..] == floats.ends[shared_len..]
    }

    fn look_at_ends(&mut self, ends: &[Timestamp], windows: &[TimeRange]) {
        // What lies before the first end that differs is seen as before.
        let same = self.ends.iter().zip(ends).take_while(|(before, end)| before == end).count();
        self.rows.truncate(self.rows.iter().take_while(|rows| rows.end < same).count());
        self.ends.truncate(same);
        self.ends.extend_from_slice(&ends[same..]);
        let mut edges = self.rows.last().map_or_else(Edges::default, Edges::behind);
        let windows = &windows[self.rows.len()..];
        self.rows.extend(windows.iter().map(|window| edges.advance(ends, *window)));
        self.single = count_single(&self.rows);
        self.in_turn = first_in_turn(&self.rows[..self.single]);
    }
}

impl FloatWalk {
    pub fn new(function: Function, windows: Arc<[TimeRange]>, asked_ms: i64) -> FloatWalk {
        FloatWalk { function, asked_ms, windows, sight: Sight::default() }
    }

    /// What so many threads hold for so many steps.
    pub fn bytes(steps: usize, threads: usize) -> u64 {
        let of_thread = size_of::<Range<usize>>() + size_of::<f64>();
        (steps * (size_of::<TimeRange>() + threads * of_thread)) as u64
    }

    pub fn fill(&mut self, floats: &FloatBuckets, budget: &Budget) -> Result<FilledSteps, Exceeded> {
        if !self.sight.is_of(floats) {
            self.look_at(floats);
        }
        let (single, all) = (self.sight.single, self.windows.len());
        let mut filled = FloatSteps { values: Vec::with_capacity(all), samples: Samples::default() };
        if let Some(kind) = change_kind(self.function) {
            budget.check()?;
            self.fill_changes(kind, floats, &mut filled);
        }
        let done = filled.values.len();
        self.fill_steps::<Once<usize>>(done..single.max(done), floats, budget, &mut filled)?;
        self.fill_steps::<Range<usize>>(single.max(done)..all, floats, budget, &mut filled)?;
        Ok(FilledSteps::of_floats(filled.values, filled.samples))
    }

    /// Appends the changes that the first steps see.
    fn fill_changes(&self, kind: RateKind, floats: &FloatBuckets, to: &mut FloatSteps) {
        let Sight { rows, in_turn, factors, .. } = &self.sight;
        let in_full = |step| self.window::<Range<usize>>(floats, step)?.change(kind);
        factors.changes(kind, floats, (rows, in_turn.clone()), in_full, &mut to.values);
        to.samples += factors.samples;
    }

    fn look_at(&mut self, floats: &FloatBuckets) {
        let (parts, shared_len) = floats.ends.shared();
        self.sight.parts = parts.to_vec();
        // Most series have a bucket for each of the same spans, whenever in them their samples came.
        if self.sight.rows.is_empty() || *self.sight.ends != *floats.ends {
            self.sight.look_at_ends(&floats.ends, &self.windows);
        }
        let mut factors = std::mem::take(&mut self.sight.factors);
        factors.clear();
        if let Some(kind) = change_kind(self.function) {
            // Equal ends alone do not tell that all other times are equal.
            let of_parts = self.sight.rows.iter().take_while(|rows| rows.end <= shared_len).count();
            let single = self.sight.single.min(of_parts);
            for step in 0..single {
                factors.push(kind, self.window::<Once<usize>>(floats, step), Samples::new(1));
            }
            let mut before = self.sight.rows[..single].last().map_or(0, |rows| rows.end);
            for step in single..of_parts {
                let rows = &self.sight.rows[step];
                let new = rows.end.saturating_sub(rows.start.max(before)) as u64;
                before = rows.end;
                let looked_at = Samples { queryable: rows.len() as u64, read: new };
                factors.push(kind, self.window::<Range<usize>>(floats, step), looked_at);
            }
        }
        self.sight.factors = factors;
    }

    /// Appends what these steps see.
    #[inline]
    fn fill_steps<R: Rows>(
        &self,
        steps: Range<usize>,
        floats: &FloatBuckets,
        budget: &Budget,
        to: &mut FloatSteps,
    ) -> Result<(), Exceeded> {
        let in_seconds = |(time, _): (Timestamp, f64)| time as f64 / 1000.0;
        match self.function {
            Function::CountOverTime => self.each::<R>(steps, floats, budget, to, |w| Some(w.count as f64)),
            Function::PresentOverTime | Function::AbsentOverTime => {
                self.each::<R>(steps, floats, budget, to, |_| Some(1.0))
            }
            Function::SumOverTime => self.each::<R>(steps, floats, budget, to, |w| Some(w.sum())),
            Function::AvgOverTime => self.each::<R>(steps, floats, budget, to, |w| Some(w.mean())),
            Function::MinOverTime => self.each::<R>(steps, floats, budget, to, |w| w.min()),
            Function::MaxOverTime => self.each::<R>(steps, floats, budget, to, |w| w.max()),
            Function::FirstOverTime => {
                self.each::<R>(steps, floats, budget, to, |w| w.first().map(|(_, value)| value))
            }
            Function::LastOverTime => {
                self.each::<R>(steps, floats, budget, to, |w| w.last().map(|(_, value)| value))
            }
            Function::TsOfFirstOverTime => {
                self.each::<R>(steps, floats, budget, to, |w| w.first().map(in_seconds))
            }
            Function::TsOfLastOverTime => {
                self.each::<R>(steps, floats, budget, to, |w| w.last().map(in_seconds))
            }
            Function::Resets => self.each::<R>(steps, floats, budget, to, |w| Some(w.resets() as f64)),
            Function::Changes => self.each::<R>(steps, floats, budget, to, |w| Some(w.changes() as f64)),
            Function::Rate => self.each::<R>(steps, floats, budget, to, |w| w.change(RATE)),
            Function::Increase => self.each::<R>(steps, floats, budget, to, |w| w.change(INCREASE)),
            Function::Delta => self.each::<R>(steps, floats, budget, to, |w| w.change(DELTA)),
            other => unreachable!("{} has no form that takes buckets", other.name()),
        }
    }

    #[inline]
    fn each<R: Rows>(
        &self,
        steps: Range<usize>,
        floats: &FloatBuckets,
        budget: &Budget,
        to: &mut FloatSteps,
        value: impl Fn(&FloatWindow<'_, R>) -> Option<f64>,
    ) -> Result<(), Exceeded> {
        if R::ARE_SINGLE {
            let mut seen = 0;
            let of_step = |step| {
                let window = self.window::<R>(floats, step)?;
                seen += 1;
                value(&window)
            };
            to.values.extend(steps.map(of_step).map(|value| value.unwrap_or_else(stale_marker)));
            to.samples += Samples::new(seen);
            return Ok(());
        }
        let rows = &self.sight.rows;
        let mut before = steps.start.checked_sub(1).map_or(0, |step| rows[step].end);
        let mut unchecked = 0;
        for step in steps {
            let seen = rows[step].len() as u64;
            // Windows far longer than the step multiply the work.
            unchecked += seen + 1;
            if unchecked > 100_000 {
                unchecked = 0;
                budget.check()?;
            }
            let new = rows[step].end.saturating_sub(rows[step].start.max(before)) as u64;
            before = rows[step].end;
            let Some(window) = self.window::<R>(floats, step) else {
                to.values.push(stale_marker());
                continue;
            };
            to.samples += Samples { queryable: seen, read: new };
            to.values.push(value(&window).unwrap_or_else(stale_marker));
        }
        Ok(())
    }

    /// What a step sees; nothing if there is no sample in it.
    #[inline]
    fn window<'a, R: Rows>(&'a self, floats: &'a FloatBuckets, step: usize) -> Option<FloatWindow<'a, R>> {
        let rows = self.sight.rows.get(step).filter(|rows| !rows.is_empty()).map(R::of)?;
        let (range, asked_ms) = (self.windows[step], self.asked_ms);
        let count = rows.count(&floats.counts);
        (count > 0).then_some(FloatWindow { floats, rows, count, range, asked_ms })
    }
}

const INCREASE: RateKind = RateKind { is_counter: true, is_per_second: false };
const RATE: RateKind = RateKind { is_counter: true, is_per_second: true };
const DELTA: RateKind = RateKind { is_counter: false, is_per_second: false };

/// Of a function that tells a change.
fn change_kind(function: Function) -> Option<RateKind> {
    match function {
        Function::Increase => Some(INCREASE),
        Function::Rate => Some(RATE),
        Function::Delta => Some(DELTA),
        _ => None,
    }
}

/// How many steps at the beginning see one bucket or none each, and no two the same.
fn count_single(rows: &[Range<usize>]) -> usize {
    let mut next = 0;
    let single = rows.iter().take_while(|rows| {
        let is_single = rows.is_empty() || rows.len() == 1 && rows.start >= next;
        next = next.max(rows.end);
        is_single
    });
    single.count()
}

/// The first steps that see a bucket, each the one after that of the step before.
fn first_in_turn(rows: &[Range<usize>]) -> Range<usize> {
    let Some(first) = rows.iter().position(|rows| !rows.is_empty()) else { return 0..0 };
    let next = rows[first].start..;
    let in_turn = rows[first..].iter().zip(next).take_while(|(rows, next)| **rows == (*next..next + 1));
    first..first + in_turn.count()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;
    use crate::model::metrics::is_stale;
    use crate::model::rollup::{BucketTimes, Columns};
    use crate::query::budget::Limits;
    use crate::query::promql::eval::newest_walk::NewestWalk;

    const FUNCTIONS: [Function; 15] = [
        Function::CountOverTime,
        Function::PresentOverTime,
        Function::SumOverTime,
        Function::AvgOverTime,
        Function::MinOverTime,
        Function::MaxOverTime,
        Function::FirstOverTime,
        Function::LastOverTime,
        Function::TsOfFirstOverTime,
        Function::TsOfLastOverTime,
        Function::Resets,
        Function::Changes,
        Function::Rate,
        Function::Increase,
        Function::Delta,
    ];

    fn budget() -> Budget {
        let limits =
            Limits { samples_max: 1 << 30, series_max: 1 << 20, bytes_max: 1 << 30, log_bytes_max: 0 };
        Budget::new(Instant::now() + Duration::from_secs(600), limits)
    }

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            9 => (0i32..50).prop_map(|v| f64::from(v) / 10.0),
            1 => prop::sample::select(vec![-0.0, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, stale_marker()]),
        ]
    }

    fn bits(steps: &FilledSteps) -> (Vec<u64>, Samples) {
        (steps.row.floats().iter().map(|value| value.to_bits()).collect(), steps.samples)
    }

    /// Buckets of ten milliseconds.
    fn folded(samples: &[(i64, f64)]) -> FloatBuckets {
        let mut now = 0;
        let mut floats = FloatBuckets::new(Columns::ALL);
        let at = |&(gap, value): &(i64, f64)| {
            now += gap;
            (now, value)
        };
        let (times, values): (Vec<i64>, Vec<f64>) = samples.iter().map(at).unzip();
        floats.fold(&times, &values, 10);
        floats
    }

    /// Reads buckets as those of a segment are read: their times may be those that `to` held before.
    fn reread(floats: &FloatBuckets, parts: &[TimesPart], to: &mut FloatBuckets) {
        to.clear(Columns::ALL);
        parts.iter().for_each(|part| to.extend_times(part));
        // What else there is belongs to the series alone.
        let from = to.len();
        let FloatBuckets { ends, counts, first_times, last_times, stale_at, .. } = to;
        ends.extend_from_slice(&floats.ends[from..]);
        counts.extend_from_slice(&floats.counts[from..]);
        first_times.extend_from_slice(&floats.first_times[from..]);
        last_times.extend_from_slice(&floats.last_times[from..]);
        stale_at.extend_from_slice(&floats.stale_at[from..]);
        let FloatBuckets { sums, mins, maxs, firsts, lasts, lost, resets, changes, .. } = floats.clone();
        *to = FloatBuckets { sums, mins, maxs, firsts, lasts, lost, resets, changes, ..std::mem::take(to) };
    }

    /// In two parts, but for `own` quarters of them.
    fn parts_of(floats: &FloatBuckets, own: usize) -> Vec<TimesPart> {
        let times = Arc::new(BucketTimes {
            ends: floats.ends.to_vec(),
            counts: floats.counts.to_vec(),
            firsts: floats.first_times.to_vec(),
            lasts: floats.last_times.to_vec(),
            stale_at: floats.stale_at.to_vec(),
        });
        let (half, own) = (times.len() / 2, times.len() * own / 4);
        [0..half, half..times.len() - own].map(|rows| TimesPart { times: times.clone(), rows }).to_vec()
    }

    fn samples() -> impl Strategy<Value = Vec<(i64, f64)>> {
        prop::collection::vec((1i64..30, value()), 1..300)
    }

    proptest! {
        #[test]
        fn a_bucket_for_each_step_gives_what_windows_give(one in samples(), other in samples(), first in 0i64..20) {
            let windows: Arc<[TimeRange]> =
                (first..400).map(|at| TimeRange { after: 10 * at - 10, until: 10 * at }).collect();
            for function in FUNCTIONS {
                let mut walk = FloatWalk::new(function, windows.clone(), 10);
                for samples in [&one, &other] {
                    let floats = folded(samples);
                    let found = walk.fill(&floats, &budget()).unwrap();
                    prop_assert_eq!(walk.sight.single, windows.len());
                    let mut expected = FloatSteps::default();
                    walk.fill_steps::<Range<usize>>(0..windows.len(), &floats, &budget(), &mut expected).unwrap();
                    let expected = FilledSteps::of_floats(expected.values, expected.samples);
                    prop_assert_eq!(bits(&found), bits(&expected), "{}", function.name());
                }
            }
        }

        #[test]
        fn what_was_found_of_times_holds_for_all_series_that_share_them(one in samples(), other in samples(), range in 1i64..4, asked_ms in 5i64..40, own in 0usize..3) {
            // The same times, and other values.
            let turned: Vec<(i64, f64)> = one.iter().map(|&(gap, value)| (gap, if is_stale(value) { value } else { 7.0 - value })).collect();
            let [first, turned, other] = [&one, &turned, &other].map(|samples| folded(samples));
            let [of_one, of_other] = [parts_of(&first, own), parts_of(&other, own)];
            let shared_len: usize = of_one.iter().map(|part| part.rows.len()).sum();
            // The same but for the times that are not shared, whose ends are the same nevertheless; and without these.
            let counts = first.counts.iter().enumerate();
            let counts = counts.map(|(row, &count)| count + u64::from(row >= shared_len && count > 0));
            let denser = FloatBuckets { counts: counts.collect::<Vec<_>>().into(), ..first.clone() };
            let shorter = first.part(0..shared_len);
            let series = [&first, &turned, &shorter, &first, &denser, &other, &turned];
            let parts = [&of_one, &of_one, &of_one, &of_one, &of_one, &of_other, &of_one];
            let windows: Arc<[TimeRange]> =
                (3..300).map(|at| TimeRange { after: 10 * (at - range), until: 10 * at }).collect();
            let times: Arc<[Timestamp]> = (1..500).map(|at| 7 * at).collect();
            let mut newest = NewestWalk::new(times.clone(), 25);
            let mut read = FloatBuckets::default();
            for (floats, parts) in series.into_iter().zip(parts) {
                reread(floats, parts, &mut read);
                let expected = NewestWalk::new(times.clone(), 25).fill(floats);
                prop_assert_eq!(bits(&newest.fill(&read)), bits(&expected));
            }
            for function in FUNCTIONS {
                let mut walk = FloatWalk::new(function, windows.clone(), asked_ms);
                for (floats, parts) in series.into_iter().zip(parts) {
                    reread(floats, parts, &mut read);
                    let expected = FloatWalk::new(function, windows.clone(), asked_ms).fill(floats, &budget()).unwrap();
                    prop_assert_eq!(bits(&walk.fill(&read, &budget()).unwrap()), bits(&expected), "{}", function.name());
                }
            }
        }
    }

    #[test]
    fn windows_that_share_a_bucket_or_hold_two_are_not_single() {
        assert_eq!(count_single(&[0..0, 0..1, 1..1, 1..2, 5..6]), 5);
        assert_eq!(count_single(&[0..1, 0..1]), 1);
        assert_eq!(count_single(&[0..1, 1..3, 3..4]), 1);
        assert_eq!(count_single(&[4..5, 3..4]), 1);
        assert_eq!(count_single(&[4..5, 3..3, 4..5]), 2, "not even with one between them that sees none");
    }

    #[test]
    fn buckets_in_turn_begin_with_the_first_that_is_seen_and_end_where_one_is_missing() {
        assert_eq!(first_in_turn(&[0..0, 0..0, 0..1, 1..2, 2..3, 3..3, 3..4]), 2..5);
        assert_eq!(first_in_turn(&[4..5, 5..6, 7..8]), 0..2);
        assert_eq!(first_in_turn(&[4..5, 5..7]), 0..1);
        assert_eq!(first_in_turn(&[0..0, 3..3]), 0..0);
    }
}
