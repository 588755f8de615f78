//! A function over the windows of all steps of a series, for who reads its samples. Series that are scraped together have
//! the same times, so what follows from times alone is found once for all of them.

use std::cell::RefCell;
use std::ops::Range;

use crate::model::{TimeRange, Timestamp};
use crate::query::QueryError;
use crate::query::budget::Budget;
use crate::query::promql::ast::PositionRange;
use crate::storage::metrics::{SampleBuffer, SeenTimes, Whole};

use super::float_walk::FilledSteps;
use super::over_time::{greatest, least};
use super::rate::{Change, RateKind, Reach, Spacing, is_far_from_zero};
use super::row::Row;
use super::sample_walk::{SAMPLES_UNCHECKED_MAX, SampleWalk, advance};
use super::tally::Samples;
use super::window::{Notes, PlainFunction, Window};

/// With more steps, as subqueries may have them, what is held for each would outweigh the samples.
const STEPS_MAX: usize = 1 << 16;

#[derive(Clone)]
pub struct SampleWindows {
    walk: SampleWalk,
    function: PlainFunction,
    quick: Option<Quick>,
    /// What annotations blame.
    position: PositionRange,
    sight: Sight,
    sums: ExactSums,
}

/// Functions of floats that need not look at every sample of every window, or at nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quick {
    /// From the first sample to the last.
    Change(RateKind),
    Sum,
    Average,
    Greatest,
    Least,
}

/// What the steps see of floats that were sampled at these times.
#[derive(Clone, Default)]
struct Sight {
    times: SeenTimes,
    windows: Vec<Range<usize>>,
    /// By what a change is multiplied, if one is asked for; NaN where times alone do not tell.
    factors: Vec<f64>,
    samples: Samples,
}

impl SampleWindows {
    pub fn new(
        walk: SampleWalk,
        function: PlainFunction,
        quick: Option<Quick>,
        position: PositionRange,
    ) -> SampleWindows {
        let (sight, sums) = Default::default();
        SampleWindows { walk, function, quick, position, sight, sums }
    }

    /// What so many threads hold for so many steps.
    pub fn bytes(steps: usize, threads: usize) -> u64 {
        if steps > STEPS_MAX {
            return 0;
        }
        (steps * threads * (size_of::<Range<usize>>() + size_of::<f64>())) as u64
    }

    pub fn fill(
        &mut self,
        samples: &SampleBuffer,
        metric: &str,
        budget: &Budget,
    ) -> Result<FilledSteps, QueryError> {
        let told = RefCell::default();
        let notes = Notes::apart(budget, &told, self.position, metric);
        let is_plain = samples.histograms.is_empty() && samples.starts.is_empty();
        let (row, seen) = if is_plain && self.walk.grid.len <= STEPS_MAX {
            self.fill_of_floats(samples, &notes)?
        } else {
            self.fill_of_all(samples, &notes)?
        };
        Ok(FilledSteps { row, samples: seen, told: told.into_inner() })
    }

    fn fill_of_all(
        &mut self,
        samples: &SampleBuffer,
        notes: &Notes<'_>,
    ) -> Result<(Row, Samples), QueryError> {
        let (mut row, mut seen) = (Row::new(self.walk.grid.len), Samples::default());
        let value = |window: &Window<'_>, notes: &Notes<'_>| Ok((self.function)(window, notes));
        self.walk.fill(samples, notes, &mut row, value, |_, samples| seen += samples)?;
        Ok((row, seen))
    }

    fn fill_of_floats(
        &mut self,
        samples: &SampleBuffer,
        notes: &Notes<'_>,
    ) -> Result<(Row, Samples), QueryError> {
        let SampleWindows { walk, function, quick, sight, sums, .. } = self;
        if sight.windows.is_empty() || !sight.times.are_those_of(samples) {
            sight.look_at(samples, walk, *quick);
        }
        walk.begin(samples);
        let adds_up = matches!(quick, Some(Quick::Sum | Quick::Average));
        let quick = quick.filter(|_| !adds_up || sums.find(&samples.floats, samples.whole()));
        let mut row = Row::new(walk.grid.len);
        let mut unchecked = 0;
        for (step, seen) in sight.windows.iter().enumerate().filter(|(_, seen)| !seen.is_empty()) {
            let quickly = match quick {
                Some(Quick::Change(kind)) => sight.change(kind, walk, samples, step),
                Some(Quick::Sum) => Some(sums.of(&samples.floats, seen)),
                Some(Quick::Average) => Some(sums.of(&samples.floats, seen) / seen.len() as f64),
                Some(Quick::Greatest | Quick::Least) | None => None,
            };
            if let Some(value) = quickly {
                row.set_float(step, value);
                continue;
            }
            unchecked += 1 + seen.len();
            if unchecked > SAMPLES_UNCHECKED_MAX {
                unchecked = 0;
                notes.check()?;
            }
            match quick {
                Some(Quick::Greatest) => row.set_float(step, greatest(&samples.floats[seen.clone()])),
                Some(Quick::Least) => row.set_float(step, least(&samples.floats[seen.clone()])),
                _ => row.set(step, function(&walk.window_of_floats(samples, seen.clone(), step), notes)),
            }
        }
        Ok((row, sight.samples))
    }
}

impl Sight {
    fn look_at(&mut self, samples: &SampleBuffer, walk: &SampleWalk, quick: Option<Quick>) {
        let timestamps = &samples.float_timestamps;
        self.times.remember(samples);
        self.windows.clear();
        self.factors.clear();
        self.samples = Samples::default();
        let (mut edges, mut last_factor) = ((0, 0), None);
        for step in 0..walk.grid.len {
            let before = edges.1;
            let seen = advance(&mut edges, timestamps, walk.shape.looked_at(walk.grid.at(step)));
            self.samples += walk.samples(step, seen.len() as u64, (seen.end - before.max(seen.start)) as u64);
            if let Some(Quick::Change(kind)) = quick {
                let range = walk.shape.range(walk.grid.at(step));
                self.factors.push(factor(kind, &timestamps[seen.clone()], range, &mut last_factor));
            }
            self.windows.push(seen);
        }
    }

    /// The change at a step, if it is far from zero.
    #[inline]
    fn change(&self, kind: RateKind, walk: &SampleWalk, samples: &SampleBuffer, step: usize) -> Option<f64> {
        let (seen, factor) = (&self.windows[step], self.factors[step]);
        let change = walk.change(samples, seen).filter(|_| !factor.is_nan())?;
        is_far_from_zero(kind, samples.floats[seen.start], change).then_some(change * factor)
    }
}

/// By what a change between the first and the last of these is multiplied, far from zero; NaN where times alone do not tell.
/// Mostly samples lie in their window as they did in the window before, and two divisions are saved.
fn factor(
    kind: RateKind,
    timestamps: &[Timestamp],
    range: TimeRange,
    last_found: &mut Option<(Spacing, f64)>,
) -> f64 {
    let [first, .., last] = *timestamps else { return f64::NAN };
    let change = Change { first, last, samples: timestamps.len() as u64, begun: None, range };
    let spacing = change.spacing();
    if let Some((_, factor)) = last_found.filter(|(last, _)| *last == spacing) {
        return factor;
    }
    let factor = Reach::of(&change).extrapolation_far_from_zero(kind).unwrap_or(f64::NAN);
    *last_found = Some((spacing, factor));
    factor
}

/// Sums of integers, which are exact: so whatever is compensated, and in whatever order they are added, the sum of a window is that
/// of all until its end without that of all before it.
#[derive(Clone, Default)]
struct ExactSums {
    /// Of what comes before each chunk, and of all.
    before: Vec<f64>,
}

/// Their values are looked at and added up side by side; a sum for each of them would wait for the one before.
const CHUNK: usize = 8;

impl ExactSums {
    /// False where sums may not be exact.
    fn find(&mut self, floats: &[f64], whole: Whole) -> bool {
        // What is as large or larger would be summed up exactly, too, but may not be looked through.
        const EXACT_MAX: f64 = (1u64 << 51) as f64;
        // Who knows how large they are at most need not look at each.
        let known_size = whole.max as f64 * whole.count as f64;
        let (known, known_size) = if known_size < EXACT_MAX { (whole.count, known_size) } else { (0, 0.0) };
        let (chunks, rest) = floats.as_chunks::<CHUNK>();
        let (known, looked_at) = chunks.split_at(known / CHUNK);
        self.before.clear();
        self.before.resize(chunks.len() + 1, 0.0);
        let (before_known, before) = self.before.split_at_mut(known.len());
        let (mut sum, mut sizes) = (0.0, [0.0; CHUNK]);
        for (before, chunk) in before_known.iter_mut().zip(known) {
            *before = sum;
            sum += sum_of(chunk);
        }
        for (before, chunk) in before.iter_mut().zip(looked_at) {
            if !are_whole(chunk) {
                return false;
            }
            *before = sum;
            sum += sum_of(chunk);
            sizes.iter_mut().zip(chunk).for_each(|(size, value)| *size += value.abs());
        }
        self.before[chunks.len()] = sum;
        // NaN may have passed for a whole number; it is below nothing.
        let sizes = sizes.iter().chain(rest);
        are_whole(rest) && sizes.fold(known_size, |size, value| size + value.abs()) < EXACT_MAX
    }

    /// Of these places among the values that the sums were found of.
    #[inline]
    fn of(&self, floats: &[f64], places: &Range<usize>) -> f64 {
        let until = |place: usize| {
            let chunk = place / CHUNK;
            floats[chunk * CHUNK..place].iter().fold(self.before[chunk], |sum, value| sum + value)
        };
        until(places.end) - until(places.start)
    }
}

/// Whether no value below 2^51 in size has a fraction, or is -0: its sum would be one that [`ExactSums`] gives as 0. Of larger
/// ones, and of NaN, it tells nothing.
fn are_whole(values: &[f64]) -> bool {
    // Adding 1.5 * 2^52 leads to between 2^52 and 2^53, where there are integers only.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let fraction = |value: f64| ((value + ROUND) - ROUND).to_bits() ^ value.to_bits();
    values.iter().fold(0, |found, &value| found | fraction(value)) == 0
}

fn sum_of(chunk: &[f64; CHUNK]) -> f64 {
    let [a, b, c, d, e, f, g, h] = *chunk;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::super::over_time::{self, average_floats, sum_floats};
    use super::super::rate::{extrapolated, instant};
    use super::super::row::{Cell, Grid};
    use super::super::select::DataTime;
    use super::super::window::WindowShape;
    use super::*;
    use crate::query::budget::Limits;
    use crate::query::promql::functions_table::Function;

    fn windows(function: Function, shape: WindowShape, grid: Grid) -> SampleWindows {
        let quick = match function {
            Function::Rate => Some(Quick::Change(RateKind { is_counter: true, is_per_second: true })),
            Function::Increase => Some(Quick::Change(RateKind { is_counter: true, is_per_second: false })),
            Function::Delta => Some(Quick::Change(RateKind { is_counter: false, is_per_second: false })),
            Function::SumOverTime => Some(Quick::Sum),
            Function::AvgOverTime => Some(Quick::Average),
            Function::MaxOverTime => Some(Quick::Greatest),
            Function::MinOverTime => Some(Quick::Least),
            _ => None,
        };
        let plain: PlainFunction = match (function, quick) {
            (_, Some(Quick::Change(kind))) => Arc::new(move |w, notes| extrapolated(kind, w, notes)),
            (_, Some(Quick::Sum)) => Arc::new(|w, _| Some(Cell::Float(sum_floats(w.floats)))),
            (_, Some(Quick::Average)) => Arc::new(|w, _| Some(Cell::Float(average_floats(w.floats)))),
            (Function::Irate, _) => Arc::new(|w, notes| instant(true, w, notes)),
            (Function::MinOverTime, _) => Arc::new(over_time::min),
            _ => Arc::new(over_time::max),
        };
        let walk = SampleWalk::new(function, shape, grid, false);
        SampleWindows::new(walk, plain, quick, PositionRange::default())
    }

    fn values() -> impl Strategy<Value = Vec<f64>> {
        let whole = || prop_oneof![(0i32..500).prop_map(f64::from), Just(0.0), Just(-7.0)];
        let strange = prop::sample::select(vec![-0.0, 0.1, 1e300, 4e15, f64::NAN, f64::INFINITY]);
        prop_oneof![
            prop::collection::vec(whole(), 60),
            prop::collection::vec(prop_oneof![12 => whole(), 1 => strange], 60),
        ]
    }

    /// As who unpacks them tells.
    fn whole_max(floats: &[f64]) -> Option<u64> {
        let is_whole = |value: &f64| (0.0..1e15).contains(value) && value.fract().to_bits() == 0;
        floats.iter().all(is_whole).then(|| floats.iter().fold(0, |max, value| max | *value as u64))
    }

    #[test]
    fn a_sum_is_that_of_its_window_also_of_numbers_as_large_as_fractions_get() {
        let limits = Limits { samples_max: 0, series_max: 0, bytes_max: 0, log_bytes_max: 0 };
        let budget = Budget::new(Instant::now() + Duration::from_secs(600), limits);
        let time = DataTime { pinned: None, offset_ms: 0 };
        let shape = WindowShape { time, range_ms: 10, before_ms: 0, after_ms: 0 };
        let mut windows = windows(Function::SumOverTime, shape, Grid { start: 10, step_ms: 10, len: 2 });
        // 2^51 and a half, and a half more.
        let floats = vec![-2_251_799_813_685_248.5, -2_251_799_813_685_249.0];
        let samples = SampleBuffer::of_floats(vec![10, 20], floats.clone());
        let told = RefCell::default();
        let notes = Notes::apart(&budget, &told, PositionRange::default(), "m");
        assert_eq!(windows.fill_of_floats(&samples, &notes).unwrap().0.floats(), floats);
    }

    proptest! {
        #[test]
        fn what_is_found_once_is_what_each_series_tells(
            gaps in prop::collection::vec(prop_oneof![8 => Just(15i64), 1 => 1i64..200], 1..60),
            series in prop::collection::vec((values(), any::<bool>(), 0usize..3, 0usize..60), 1..6),
            function in prop::sample::select(vec![Function::Rate, Function::Increase, Function::Delta, Function::Irate, Function::MaxOverTime, Function::MinOverTime, Function::SumOverTime, Function::AvgOverTime]),
            (range_ms, step_ms, start) in (1i64..300, 1i64..100, -50i64..200), pinned in prop::option::weighted(0.1, 0i64..900),
        ) {
            let limits = Limits { samples_max: 0, series_max: 0, bytes_max: 0, log_bytes_max: 0 };
            let budget = Budget::new(Instant::now() + Duration::from_secs(600), limits);
            let shape = WindowShape { time: DataTime { pinned, offset_ms: 0 }, range_ms, before_ms: 0, after_ms: 0 };
            let mut windows = windows(function, shape, Grid { start, step_ms, len: 30 });
            for (values, is_counter, left_out, known) in series {
                let mut samples = SampleBuffer::default();
                let (mut time, mut total) = (0, 0.0);
                for (gap, value) in gaps.iter().zip(values).skip(left_out) {
                    time += gap;
                    total = if is_counter && value < 480.0 { total + value } else { value };
                    samples.float_timestamps.push(time);
                    samples.floats.push(total);
                    if samples.floats.len() == known {
                        samples.know_whole(0, whole_max(&samples.floats));
                    }
                }
                let told = RefCell::default();
                let notes = Notes::apart(&budget, &told, PositionRange::default(), "m");
                let (expected, expected_seen) = windows.fill_of_all(&samples, &notes).unwrap();
                let (found, seen) = windows.fill_of_floats(&samples, &notes).unwrap();
                let bits = |row: &Row| row.floats().iter().map(|value| value.to_bits()).collect::<Vec<_>>();
                prop_assert_eq!(bits(&found), bits(&expected));
                prop_assert_eq!(seen, expected_seen);
            }
        }
    }
}
