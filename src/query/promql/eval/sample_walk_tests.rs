//! Window functions against a plain model that looks at every sample for every step.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::context::{Context, QueryShape};
use super::super::over_time;
use super::super::rate::{RateKind, extrapolated, instant};
use super::super::select::DataTime;
use super::super::{changes, trend};
use super::*;
use crate::query::budget::{Budget, Limits};
use crate::query::promql::ast::PositionRange;
use crate::storage::{Options, Store, SyncMode};

type Function = fn(&Window<'_>, &Notes<'_>) -> Option<Cell>;

const RATE: RateKind = RateKind { is_counter: true, is_per_second: true };
const INCREASE: RateKind = RateKind { is_counter: true, is_per_second: false };
const DELTA: RateKind = RateKind { is_counter: false, is_per_second: false };

/// Calls `test` with a context over an empty store.
fn with_context<T>(test: impl FnOnce(&Context<'_>) -> T) -> T {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { sync: SyncMode::Off, shards: 1, ..Options::new(dir.path()) };
    let store = Store::open(options, &prometheus::Registry::new(), 0).unwrap();
    let snapshot = store.metrics();
    let limits = Limits { samples_max: 1 << 20, series_max: 10, bytes_max: 1 << 30, log_bytes_max: 0 };
    let budget = Budget::new(Instant::now() + Duration::from_secs(60), limits);
    let query = QueryShape {
        start: 0,
        end: 0,
        step_ms: 0,
        lookback_ms: 1,
        subquery_step_ms: 1,
        delayed_name_removal: false,
        use_start_timestamps: false,
        strict: false,
    };
    test(&Context::new(query, snapshot.into(), &budget))
}

fn buffer(samples: &[(i64, f64)]) -> SampleBuffer {
    let (float_timestamps, floats) = samples.iter().copied().unzip();
    SampleBuffer::of_floats(float_timestamps, floats)
}

/// The function's values over a grid with windows of `range_ms`.
fn walked(function: Function, samples: &[(i64, f64)], grid: Grid, shape: WindowShape) -> Vec<Option<f64>> {
    with_context(|context| walked_in(context, function, samples, grid, shape))
}

fn walked_in(
    context: &Context<'_>,
    function: Function,
    samples: &[(i64, f64)],
    grid: Grid,
    shape: WindowShape,
) -> Vec<Option<f64>> {
    let notes = Notes::new(context, PositionRange::default(), "m");
    let samples = buffer(samples);
    let mut decreases = Decreases::default();
    decreases.find(&samples, &[]);
    let (mut edges, starts) = (WindowEdges::default(), Starts::default());
    let value = |step| {
        let window = edges.at(&samples, &starts, &decreases, &shape, &grid, step);
        if window.is_empty() { None } else { function(&window, &notes).and_then(|cell| cell.float()) }
    };
    (0..grid.len).map(value).collect()
}

fn shape(range_ms: i64) -> WindowShape {
    WindowShape { time: DataTime::default(), range_ms, before_ms: 0, after_ms: 0 }
}

fn at_once(function: Function, samples: &[(i64, f64)], time: i64, range_ms: i64) -> Option<f64> {
    walked(function, samples, Grid::instant(time), shape(range_ms))[0]
}

#[test]
fn a_window_is_open_on_the_left_and_closed_on_the_right() {
    let samples = [(0, 1.0), (10, 2.0), (20, 3.0)];
    assert_eq!(at_once(over_time::count, &samples, 20, 20), Some(2.0));
    assert_eq!(at_once(over_time::count, &samples, 19, 20), Some(2.0));
    assert_eq!(at_once(over_time::count, &samples, 45, 20), None);
}

#[test]
fn a_rate_is_carried_on_to_near_edges_and_half_a_gap_beyond_far_ones() {
    // Samples every 10 s from 10 to 50, growing by 1 a second; the window is (0, 60].
    let steady: Vec<_> = (1..=5).map(|i| (i * 10_000, 1000.0 + i as f64 * 10.0)).collect();
    assert_eq!(at_once(|w, n| extrapolated(INCREASE, w, n), &steady, 60_000, 60_000), Some(60.0));
    assert_eq!(at_once(|w, n| extrapolated(RATE, w, n), &steady, 60_000, 60_000), Some(1.0));
    // The window (-60, 60] begins long before the series: half a gap is added there.
    assert_eq!(at_once(|w, n| extrapolated(INCREASE, w, n), &steady, 60_000, 120_000), Some(55.0));
}

#[test]
fn a_counter_is_not_carried_below_zero() {
    // Without the bound, 10 s would be added on the left; zero lies 2 s before the first sample.
    let young = [(10_000, 2.0), (20_000, 12.0)];
    assert_eq!(at_once(|w, n| extrapolated(INCREASE, w, n), &young, 20_000, 20_000), Some(12.0));
    assert_eq!(at_once(|w, n| extrapolated(DELTA, w, n), &young, 20_000, 20_000), Some(20.0));
}

#[test]
fn what_a_counter_lost_in_a_reset_is_added_but_a_gauge_may_fall() {
    let reset = [(1, 10.0), (2, 3.0), (3, 5.0)];
    let counted = at_once(|w, n| extrapolated(INCREASE, w, n), &reset, 3, 2);
    assert_eq!(counted, Some(4.0), "only the samples at 2 and 3 are inside");
    assert_eq!(at_once(changes::resets, &reset, 3, 3), Some(1.0));
    assert_eq!(at_once(changes::resets, &reset, 3, 2), Some(0.0));
    assert!(at_once(|w, n| extrapolated(DELTA, w, n), &reset, 3, 3).unwrap() < 0.0);
}

#[test]
fn one_sample_is_no_rate() {
    for function in [(|w, n| extrapolated(RATE, w, n)) as Function, |w, n| instant(true, w, n), trend::deriv]
    {
        assert_eq!(at_once(function, &[(5, 1.0)], 10, 10), None);
    }
}

#[test]
fn irate_after_a_reset_counts_from_zero() {
    assert_eq!(at_once(|w, n| instant(true, w, n), &[(0, 9.0), (1000, 4.0)], 1000, 2000), Some(4.0));
    assert_eq!(at_once(|w, n| instant(false, w, n), &[(0, 9.0), (1000, 4.0)], 1000, 2000), Some(-5.0));
}

#[test]
fn nan_is_an_extreme_only_alone() {
    let samples = [(1, f64::NAN), (2, 5.0), (3, f64::NAN), (4, 5.0)];
    assert_eq!(at_once(over_time::max, &samples, 4, 4), Some(5.0));
    assert_eq!(at_once(over_time::timestamp_of_min, &samples, 4, 4), Some(0.004));
    assert!(at_once(over_time::min, &samples, 1, 1).unwrap().is_nan());
    assert_eq!(at_once(changes::changes, &[(1, f64::NAN), (2, f64::NAN), (3, 1.0)], 3, 3), Some(1.0));
}

#[test]
fn a_line_is_found_and_carried_on() {
    let line: Vec<_> = (0..10).map(|i| (i * 1000, 3.0 + 2.0 * i as f64)).collect();
    let close = |value: Option<f64>, expected: f64| (value.unwrap() - expected).abs() < 1e-9;
    assert!(close(at_once(trend::deriv, &line, 9000, 10_000), 2.0));
    let forecast: Function = |w, n| trend::predict_linear(5.0, w, n);
    assert!(close(at_once(forecast, &line, 9000, 10_000), 31.0));
    let flat = [(0, f64::INFINITY), (1, f64::INFINITY)];
    assert!(at_once(trend::deriv, &flat, 1, 10).unwrap().is_nan());
}

/// What a window of samples that ends at a time gives.
type PlainModel<'a> = dyn Fn(&[(i64, f64)], i64) -> Option<f64> + 'a;

/// The samples a step sees, found the slow way.
fn seen(samples: &[(i64, f64)], until: i64, range_ms: i64) -> Vec<(i64, f64)> {
    samples.iter().copied().filter(|(t, _)| until - range_ms < *t && *t <= until).collect()
}

/// Rule by rule: extrapolated increase of a counter.
fn plain_increase(samples: &[(i64, f64)], until: i64, range_ms: i64) -> Option<f64> {
    let seen = seen(samples, until, range_ms);
    let (first, last) = (*seen.first()?, *seen.last()?);
    if seen.len() < 2 {
        return None;
    }
    let mut increase = last.1 - first.1;
    for pair in seen.windows(2).filter(|pair| pair[1].1 < pair[0].1) {
        increase += pair[0].1;
    }
    let sampled = (last.0 - first.0) as f64 / 1000.0;
    let gap = sampled / (seen.len() - 1) as f64;
    let near = |distance: f64| if distance >= gap * 1.1 { gap / 2.0 } else { distance };
    let mut to_start = near((first.0 - (until - range_ms)) as f64 / 1000.0);
    if increase > 0.0 && first.1 >= 0.0 {
        to_start = to_start.min(sampled * (first.1 / increase));
    }
    let to_end = near((until - last.0) as f64 / 1000.0);
    Some(increase * ((sampled + to_start + to_end) / sampled))
}

fn agree(ours: Option<f64>, plain: Option<f64>) -> bool {
    match (ours, plain) {
        (Some(a), Some(b)) => a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-9 * b.abs().max(1.0),
        (None, None) => true,
        _ => false,
    }
}

fn samples() -> impl Strategy<Value = Vec<(i64, f64)>> {
    let value = prop_oneof![8 => (0..50u8).prop_map(f64::from), 1 => Just(f64::NAN)];
    prop::collection::btree_map(-300i64..300, value, 0..60).prop_map(|m| m.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn one_forward_pass_sees_what_a_search_for_each_step_sees(
        samples in samples(),
        start in -350i64..350,
        step_ms in 1i64..80,
        len in 1usize..30,
        range_ms in 1i64..150,
        offset_ms in -60i64..60,
        pinned in prop::option::of(-300i64..300),
    ) {
        let grid = Grid { start, step_ms, len };
        let time = DataTime { pinned, offset_ms };
        let shape = WindowShape { time, range_ms, before_ms: 0, after_ms: 0 };
        let model = |f: &PlainModel| -> Vec<Option<f64>> {
            (0..len).map(|step| {
                let until = time.at(grid.at(step));
                let window = seen(&samples, until, range_ms);
                if window.is_empty() { None } else { f(&window, until) }
            }).collect()
        };
        let values = |w: &[(i64, f64)]| w.iter().map(|s| s.1).collect::<Vec<_>>();
        let pairs = |w: &[(i64, f64)], turns: fn(f64, f64) -> bool| {
            values(w).windows(2).filter(|p| turns(p[0], p[1])).count() as f64
        };
        let checks: Vec<(&str, Function, Vec<Option<f64>>)> = vec![
            ("count", over_time::count, model(&|w, _| Some(w.len() as f64))),
            ("sum", |w, _| Some(Cell::Float(over_time::sum_floats(w.floats))),
                model(&|w, _| Some(values(w).iter().sum()))),
            ("avg", |w, _| Some(Cell::Float(over_time::average_floats(w.floats))),
                model(&|w, _| Some(values(w).iter().sum::<f64>() / w.len() as f64))),
            ("max", over_time::max, model(&|w, _| values(w).into_iter().reduce(f64::max))),
            ("min", over_time::min, model(&|w, _| values(w).into_iter().reduce(f64::min))),
            ("first", over_time::first, model(&|w, _| Some(w[0].1))),
            ("last", over_time::last, model(&|w, _| Some(w[w.len() - 1].1))),
            ("resets", changes::resets, model(&|w, _| Some(pairs(w, |a, b| b < a)))),
            ("changes", changes::changes,
                model(&|w, _| Some(pairs(w, |a, b| a != b && !(a.is_nan() && b.is_nan()))))),
            ("increase", |w, n| extrapolated(INCREASE, w, n),
                model(&|_, until| plain_increase(&samples, until, range_ms))),
        ];
        let answers = with_context(|context| {
            let ours = |(_, function, _): &(&str, Function, Vec<_>)| walked_in(context, *function, &samples, grid, shape);
            checks.iter().map(ours).collect::<Vec<_>>()
        });
        for ((name, _, expected), ours) in checks.into_iter().zip(answers) {
            for step in 0..len {
                prop_assert!(agree(ours[step], expected[step]),
                    "{} at step {}: {:?}, plainly {:?}", name, step, ours[step], expected[step]);
            }
        }
    }
}

mod buckets {
    //! Windows over buckets against windows over the samples in them.

    use super::*;
    use crate::model::TimeRange;
    use crate::model::rollup::{Columns, FloatBuckets};
    use crate::query::buckets::Buckets;
    use crate::query::promql::functions_table as table;
    use crate::storage::metrics::{ReadPlan, Reading};

    use super::super::super::bucket_walk::BucketWalk;
    use super::super::super::bucket_window::bucket_function;
    use super::super::super::selected::Rolled;
    use super::super::super::tally::Tally;
    use super::super::super::tiers::Tiers;

    const RESOLUTION: i64 = 60;

    /// Rolled up until `until`, as sent from then on.
    fn rolled(
        context: &Context<'_>,
        function: table::Function,
        samples: &[(i64, f64)],
        until: i64,
        grid: Grid,
        shape: WindowShape,
    ) -> Vec<Option<f64>> {
        let mut floats = FloatBuckets::new(Columns::ALL);
        let old: Vec<_> = samples.iter().copied().filter(|(t, _)| *t <= until).collect();
        let old = buffer(&old);
        floats.fold(&old.float_timestamps, &old.floats, RESOLUTION);
        samples.iter().filter(|(t, _)| *t > until).for_each(|(t, v)| floats.extend_samples(&[*t], &[*v]));
        let reading = |after, until, resolution| Reading {
            range: TimeRange { after, until },
            resolution,
            fallback: None,
        };
        let readings = vec![reading(i64::MIN, until, RESOLUTION), reading(until, i64::MAX, 0)];
        let tiers = Tiers { plan: ReadPlan { readings, wanted: Columns::ALL }, shortfall: None, reach_ms: 0 };
        let buckets = Buckets { floats, ..Buckets::default() };
        let tally = Tally::new(grid, false);
        let walk = BucketWalk { shape, grid, function: bucket_function(function).unwrap(), tally: &tally };
        let mut row = Row::default();
        row.reset(grid.len);
        let notes = Notes::new(context, PositionRange::default(), "m");
        walk.fill(Rolled { buckets: &buckets, tiers: &tiers }, &notes, &mut row).unwrap();
        (0..grid.len).map(|step| row.float(step)).collect()
    }

    /// Functions whose answers over buckets are those over samples to the bit.
    const EXACT: [(table::Function, Function); 12] = [
        (table::Function::CountOverTime, over_time::count),
        (table::Function::PresentOverTime, over_time::present),
        (table::Function::MinOverTime, over_time::min),
        (table::Function::MaxOverTime, over_time::max),
        (table::Function::FirstOverTime, over_time::first),
        (table::Function::LastOverTime, over_time::last),
        (table::Function::TsOfFirstOverTime, over_time::timestamp_of_first),
        (table::Function::TsOfLastOverTime, over_time::timestamp_of_last),
        (table::Function::Resets, changes::resets),
        (table::Function::Changes, changes::changes),
        (table::Function::Increase, |w, n| extrapolated(INCREASE, w, n)),
        (table::Function::Delta, |w, n| extrapolated(DELTA, w, n)),
    ];
    const ROUNDED: [(table::Function, Function); 3] = [
        (table::Function::SumOverTime, |w, _| Some(Cell::Float(over_time::sum_floats(w.floats)))),
        (table::Function::AvgOverTime, |w, _| Some(Cell::Float(over_time::average_floats(w.floats)))),
        (table::Function::Rate, |w, n| extrapolated(RATE, w, n)),
    ];

    fn series() -> impl Strategy<Value = Vec<(i64, f64)>> {
        let gap = prop_oneof![8 => 1i64..15, 1 => Just(200i64)];
        let value = prop_oneof![20 => (0i32..50).prop_map(f64::from), 1 => Just(f64::NAN)];
        proptest::collection::vec((gap, value), 0..120).prop_map(|steps| {
            let mut time = 0;
            let step = |(gap, value)| {
                time += gap;
                (time, value)
            };
            steps.into_iter().map(step).collect()
        })
    }

    fn same(a: Option<f64>, b: Option<f64>) -> bool {
        a.map(f64::to_bits) == b.map(f64::to_bits) || a.is_some_and(f64::is_nan) && b.is_some_and(f64::is_nan)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn aligned_windows_are_those_of_the_samples(
            samples in series(),
            buckets in 1i64..5,
            step in 1i64..4,
            rolled_buckets in 0i64..20,
        ) {
            let grid = Grid::between(0, 1_800, step * RESOLUTION);
            let shape = shape(buckets * RESOLUTION);
            let until = rolled_buckets * RESOLUTION;
            with_context(|context| {
            let answers = |function, plain| (
                walked_in(context, plain, &samples, grid, shape),
                rolled(context, function, &samples, until, grid, shape),
            );
            for (function, plain) in EXACT {
                let (expected, got) = answers(function, plain);
                for (step, (a, b)) in expected.into_iter().zip(got).enumerate() {
                    prop_assert!(same(a, b), "{} at step {step}: {a:?}, of buckets {b:?}", function.name());
                }
            }
            let magnitude: f64 = 1.0 + samples.iter().map(|(_, v)| v.abs()).filter(|v| !v.is_nan()).sum::<f64>();
            for (function, plain) in ROUNDED {
                let (expected, got) = answers(function, plain);
                for (a, b) in expected.into_iter().zip(got) {
                    let is_near = matches!((a, b), (Some(a), Some(b)) if (a - b).abs() <= 1e-12 * magnitude);
                    prop_assert!(is_near || same(a, b), "{}: {a:?}, of buckets {b:?}", function.name());
                }
            }
            Ok(())
            })?;
        }

        #[test]
        fn other_windows_differ_by_what_lies_in_the_buckets_at_their_edges(
            samples in series(),
            range_ms in 2 * RESOLUTION..400,
            start in 0i64..60,
            rolled_buckets in 0i64..20,
        ) {
            let grid = Grid::between(start, 1_800, 77);
            let until = rolled_buckets * RESOLUTION;
            let count = with_context(|context| {
                rolled(context, table::Function::CountOverTime, &samples, until, grid, shape(range_ms))
            });
            for (step, got) in count.into_iter().enumerate() {
                let time = grid.at(step);
                let held = |after: i64, until: i64| {
                    samples.iter().filter(|(t, _)| *t > after && *t <= until).count() as f64
                };
                let expected = held(time - range_ms, time);
                let edges = held(time - range_ms - RESOLUTION, time - range_ms + RESOLUTION)
                    + held(time - RESOLUTION, time);
                let got = got.unwrap_or(0.0);
                prop_assert!((got - expected).abs() <= edges, "{got} of {expected}, edges {edges}");
                if time - range_ms > until + RESOLUTION {
                    prop_assert_eq!(got, expected, "as sent");
                }
            }
        }
    }
}
