//! Samples into buckets and buckets into coarser ones, column by column: the same as appending state to state, but nothing of one
//! column waits for another.

use std::iter::repeat_n;
use std::ops::Range;

use super::{Columns, FloatBuckets, FloatState, NEVER, greater, lesser, runs};
use crate::model::{CompensatedSum, Timestamp};

/// Which neighbours among sorted times lie in one bucket. Many series have equal times, so what was found is kept for the next.
#[derive(Default)]
pub struct BucketRuns {
    times: Vec<Timestamp>,
    resolution_ms: i64,
    ends: Vec<Timestamp>,
    /// Where each run begins; one more at the end.
    starts: Vec<usize>,
}

impl BucketRuns {
    pub fn of(times: &[Timestamp], resolution_ms: i64) -> BucketRuns {
        let mut found = BucketRuns::default();
        found.find(times, resolution_ms);
        found
    }

    /// Those of other times, unless they are the same.
    pub fn find(&mut self, times: &[Timestamp], resolution_ms: i64) {
        if self.resolution_ms == resolution_ms && self.times == times {
            return;
        }
        self.resolution_ms = resolution_ms;
        self.times.clear();
        self.times.extend_from_slice(times);
        self.ends.clear();
        self.starts.clear();
        for (end, rows) in runs(times, resolution_ms) {
            self.ends.push(end);
            self.starts.push(rows.start);
        }
        self.starts.push(times.len());
    }

    fn rows(&self) -> impl Iterator<Item = Range<usize>> {
        self.starts.windows(2).map(|starts| starts[0]..starts[1])
    }
}

impl FloatBuckets {
    /// Appends the buckets of samples that lie behind all buckets here.
    pub fn fold(&mut self, timestamps: &[Timestamp], values: &[f64], resolution_ms: i64) {
        self.fold_runs(timestamps, values, &BucketRuns::of(timestamps, resolution_ms));
    }

    /// The same, with the runs of these timestamps.
    pub fn fold_runs(&mut self, timestamps: &[Timestamp], values: &[f64], runs: &BucketRuns) {
        self.reserve(runs.ends.len());
        // All are looked at: that is quicker than to stop at the first.
        if values.iter().fold(false, |any, value| any | value.is_nan()) {
            for (&end, rows) in runs.ends.iter().zip(runs.rows()) {
                self.push(end, &FloatState::fold(&timestamps[rows.clone()], &values[rows]));
            }
            return;
        }
        let (has, rows) = (self.has, || runs.rows());
        self.ends.extend_from_slice(&runs.ends);
        self.counts.extend(rows().map(|rows| rows.len() as u64));
        self.stale_at.extend(repeat_n(NEVER, runs.ends.len()));
        if has.contains(Columns::SUM) {
            self.sums.extend(rows().map(|rows| sum(&values[rows])));
        }
        if has.contains(Columns::MIN) {
            let min = |a: f64, b: f64| if b < a { b } else { a };
            self.mins.extend(rows().map(|rows| reduced(&values[rows], min)));
        }
        if has.contains(Columns::MAX) {
            let max = |a: f64, b: f64| if b > a { b } else { a };
            self.maxs.extend(rows().map(|rows| reduced(&values[rows], max)));
        }
        if has.contains(Columns::FIRST) {
            self.firsts.extend(rows().map(|rows| values[rows.start]));
            self.first_times.extend(rows().map(|rows| timestamps[rows.start]));
        }
        if has.contains(Columns::LAST) {
            self.lasts.extend(rows().map(|rows| values[rows.end - 1]));
            self.last_times.extend(rows().map(|rows| timestamps[rows.end - 1]));
        }
        self.fold_steps(values, runs);
    }

    /// What is known of each step from a value, none of which is NaN, to the next one of its bucket.
    fn fold_steps(&mut self, values: &[f64], runs: &BucketRuns) {
        let (has, count) = (self.has, self.len());
        let steps = |rows: Range<usize>| values[rows.clone()].iter().zip(&values[rows.start + 1..rows.end]);
        let falls = values.iter().zip(values.iter().skip(1)).fold(false, |any, (a, b)| any | (b < a));
        if has.contains(Columns::LOST) {
            // Nothing is added where a value does not fall: that changes no bit.
            let lost = |lost: f64, (a, b): (&f64, &f64)| lost + if b < a { *a } else { 0.0 };
            let all = runs.rows().filter(|_| falls).map(|rows| steps(rows).fold(0.0, lost));
            self.lost.extend(all);
            self.lost.resize(count, 0.0);
        }
        if has.contains(Columns::RESETS) {
            let resets = |rows| steps(rows).filter(|(a, b)| b < a).count() as u32;
            self.resets.extend(runs.rows().filter(|_| falls).map(resets));
            self.resets.resize(count, 0);
        }
        if has.contains(Columns::CHANGES) {
            self.changes.extend(runs.rows().map(|rows| steps(rows).filter(|(a, b)| a != b).count() as u32));
        }
    }

    /// The same in buckets of a coarser resolution. Columns that cannot be told of it are left out.
    pub fn coarsen(&self, resolution_ms: i64) -> FloatBuckets {
        let mut coarse = FloatBuckets::default();
        self.coarsen_runs(&BucketRuns::of(&self.ends, resolution_ms), &mut coarse);
        coarse
    }

    /// The same, with the runs of the ends here, in place of what `coarse` holds.
    pub fn coarsen_runs(&self, runs: &BucketRuns, coarse: &mut FloatBuckets) {
        coarse.clear(self.has.mergeable());
        coarse.reserve(runs.ends.len());
        if self.counts.contains(&0) {
            runs.ends.iter().zip(runs.rows()).for_each(|(&end, rows)| coarse.push(end, &self.merged(rows)));
            return;
        }
        let (has, rows) = (coarse.has, || runs.rows());
        coarse.ends.extend_from_slice(&runs.ends);
        let count = |counts: &[u64]| counts.iter().fold(0, |all: u64, &count| all.saturating_add(count));
        coarse.counts.extend(rows().map(|rows| count(&self.counts[rows])));
        coarse.stale_at.extend(rows().map(|rows| self.stale_at[rows.end - 1]));
        if has.contains(Columns::SUM) {
            coarse.sums.extend(rows().map(|rows| sum_of_sums(&self.sums[rows])));
        }
        if has.contains(Columns::MIN) {
            coarse.mins.extend(rows().map(|rows| reduced(&self.mins[rows], lesser)));
        }
        if has.contains(Columns::MAX) {
            coarse.maxs.extend(rows().map(|rows| reduced(&self.maxs[rows], greater)));
        }
        if has.contains(Columns::FIRST) {
            coarse.firsts.extend(rows().map(|rows| self.firsts[rows.start]));
            coarse.first_times.extend(rows().map(|rows| self.first_times[rows.start]));
        }
        if has.contains(Columns::LAST) {
            coarse.lasts.extend(rows().map(|rows| self.lasts[rows.end - 1]));
            coarse.last_times.extend(rows().map(|rows| self.last_times[rows.end - 1]));
        }
        self.coarsen_steps(runs, coarse);
    }

    /// What is known of steps: those inside the buckets here, all of which have samples, and those from one to the next. Columns that
    /// need ends are there only with them.
    fn coarsen_steps(&self, runs: &BucketRuns, coarse: &mut FloatBuckets) {
        let has = coarse.has;
        let step_to = |row: usize| (self.lasts[row - 1], self.firsts[row]);
        if has.contains(Columns::LOST) {
            coarse.lost.extend(runs.rows().map(|rows| {
                (rows.start + 1..rows.end).fold(self.lost[rows.start], |lost, row| {
                    let (before, after) = step_to(row);
                    (if after < before { lost + before } else { lost }) + self.lost[row]
                })
            }));
        }
        if has.contains(Columns::RESETS) {
            coarse.resets.extend(runs.rows().map(|rows| {
                let all = |resets: u32, row| {
                    let (before, after) = step_to(row);
                    resets.saturating_add(u32::from(after < before)).saturating_add(self.resets[row])
                };
                (rows.start + 1..rows.end).fold(self.resets[rows.start], all)
            }));
        }
        if has.contains(Columns::CHANGES) {
            coarse.changes.extend(runs.rows().map(|rows| {
                let all = |changes: u32, row| {
                    let (before, after) = step_to(row);
                    let is_same = before == after || before.is_nan() && after.is_nan();
                    changes.saturating_add(u32::from(!is_same)).saturating_add(self.changes[row])
                };
                (rows.start + 1..rows.end).fold(self.changes[rows.start], all)
            }));
        }
    }
}

fn reduced(values: &[f64], of: impl Fn(f64, f64) -> f64) -> f64 {
    values[1..].iter().fold(values[0], |reduced, &value| of(reduced, value))
}

fn sum(values: &[f64]) -> f64 {
    let mut sum = CompensatedSum::new(values[0]);
    values[1..].iter().for_each(|&value| sum.add(value));
    sum.total()
}

fn sum_of_sums(sums: &[f64]) -> f64 {
    let mut sum = CompensatedSum::new(sums[0]);
    sums[1..].iter().for_each(|&value| sum.add_sum(CompensatedSum::new(value)));
    sum.total()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{BucketTimes, TimesPart};
    use super::*;
    use crate::model::metrics::stale_marker;

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            12 => (0i32..6).prop_map(f64::from),
            8 => (-1000i32..1000).prop_map(|v| f64::from(v) / 7.0),
            2 => prop::sample::select(vec![0.0, -0.0, 1e300, -1e300, f64::MAX, f64::INFINITY, f64::NEG_INFINITY]),
        ]
    }

    /// Mostly without NaN and stale markers.
    fn samples() -> impl Strategy<Value = Vec<(i64, f64)>> {
        let step = prop_oneof![8 => Just(15_000i64), 2 => 1i64..40_000, 1 => 60_000i64..900_000];
        let strange = prop::sample::select(vec![f64::NAN, -f64::NAN, stale_marker()]);
        let strangers = prop_oneof![Just(0usize), 0usize..9];
        (prop::collection::vec((step, value()), 0..200), strangers, strange).prop_map(
            |(steps, strangers, strange)| {
                let mut time = 0;
                let mut next = |(at, (step, value)): (usize, (i64, f64))| {
                    time += step;
                    (time, if at * 31 % 97 < strangers { strange } else { value })
                };
                steps.into_iter().enumerate().map(&mut next).collect()
            },
        )
    }

    /// Everything, to the bit.
    fn spelled(buckets: &FloatBuckets) -> String {
        let bits = |column: &[f64]| column.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let floats =
            [&buckets.sums, &buckets.mins, &buckets.maxs, &buckets.firsts, &buckets.lasts, &buckets.lost];
        format!("{:?} {:?}", floats.map(|column| bits(column)), buckets)
    }

    proptest! {
        #[test]
        fn columns_are_those_of_states_appended_to_states(samples in samples(), has in 0u16..512, wide: bool) {
            let (times, values): (Vec<i64>, Vec<f64>) = samples.into_iter().unzip();
            let has = if wide { Columns::ALL } else { Columns(has) };
            let (mut found, mut expected) = (FloatBuckets::new(has), FloatBuckets::new(has));
            found.fold(&times, &values, 60_000);
            for (end, rows) in runs(&times, 60_000) {
                expected.push(end, &FloatState::fold(&times[rows.clone()], &values[rows]));
            }
            prop_assert_eq!(spelled(&found), spelled(&expected));
            let mut coarse = FloatBuckets::new(expected.has.mergeable());
            for (end, rows) in runs(&expected.ends, 300_000) {
                coarse.push(end, &expected.merged(rows));
            }
            prop_assert_eq!(spelled(&found.coarsen(300_000)), spelled(&coarse));
        }

        #[test]
        fn used_buffers_hold_nothing_of_what_was_in_them(lists in prop::collection::vec((samples(), 0u16..512, 1i64..4), 1..6)) {
            let (mut runs, mut coarse) = (BucketRuns::default(), FloatBuckets::default());
            let times = BucketTimes { ends: vec![1, 2], counts: vec![3, 0], firsts: vec![1, 2], lasts: vec![1, 2], stale_at: vec![NEVER, 2] };
            let part = TimesPart { times: times.into(), rows: 0..2 };
            for (samples, has, minutes) in lists {
                let (times, values): (Vec<i64>, Vec<f64>) = samples.into_iter().unzip();
                let mut fine = FloatBuckets::new(Columns(has));
                fine.fold(&times, &values, 60_000);
                let resolution_ms = minutes * 300_000;
                runs.find(&fine.ends, resolution_ms);
                fine.coarsen_runs(&runs, &mut coarse);
                let mut expected = FloatBuckets::new(fine.has.mergeable());
                for (end, rows) in super::runs(&fine.ends, resolution_ms) {
                    expected.push(end, &fine.merged(rows));
                }
                prop_assert_eq!(spelled(&coarse), spelled(&expected));
                // A reader fills what it has with times that others share.
                if minutes == 2 {
                    coarse.clear(Columns::ALL);
                    coarse.extend_times(&part);
                }
            }
        }

        #[test]
        fn runs_are_found_again_for_other_times(lists in prop::collection::vec((prop::collection::btree_set(0i64..500, 0..9), 1i64..3), 1..9)) {
            let mut kept = BucketRuns::default();
            for (times, tens) in lists {
                let times: Vec<i64> = times.into_iter().collect();
                kept.find(&times, tens * 10);
                let found: Vec<_> = kept.ends.iter().copied().zip(kept.rows()).collect();
                prop_assert_eq!(found, runs(&times, tens * 10).collect::<Vec<_>>());
            }
        }
    }
}
