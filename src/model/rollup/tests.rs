//! States against plain folding of samples, as the engine folds them.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::model::Histogram;
use crate::model::histogram::{CUSTOM_BUCKETS_SCHEMA, ResetHint, Span};
use crate::model::metrics::{is_stale, stale_marker};

type Samples = Vec<(Timestamp, f64)>;

/// Values that meet each other's edges: equal ones, resets, NaN with its payloads, both zeros, infinities.
fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        12 => (0i32..50).prop_map(f64::from),
        4 => (-1000i32..1000).prop_map(|v| f64::from(v) / 8.0),
        2 => prop::sample::select(vec![0.0, -0.0, 1e15, -1e-300, f64::MAX]),
        1 => prop::sample::select(vec![f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
        1 => Just(stale_marker()),
    ]
}

fn samples() -> impl Strategy<Value = Samples> {
    let step = prop_oneof![8 => Just(5_000i64), 2 => 1i64..20_000, 1 => 60_000i64..900_000];
    (-2_000_000i64..2_000_000, prop::collection::vec((step, value()), 0..200)).prop_map(|(start, steps)| {
        let mut time = start;
        let mut next = |(step, value)| {
            time += step;
            (time, value)
        };
        steps.into_iter().map(&mut next).collect()
    })
}

/// As the engine computes it of the samples of a window, without merging anything.
fn plain(samples: &[(Timestamp, f64)]) -> FloatState {
    let values: Vec<(Timestamp, f64)> = samples.iter().copied().filter(|(_, v)| !is_stale(*v)).collect();
    let stale = samples.iter().rev().take_while(|(_, v)| is_stale(*v)).map(|(t, _)| *t).max();
    let mut state = FloatState { stale_at: stale.unwrap_or(NEVER), ..FloatState::EMPTY };
    let (Some(&first), Some(&last)) = (values.first(), values.last()) else { return state };
    (state.first_time, state.first) = first;
    (state.last_time, state.last) = last;
    (state.min, state.max) = (first.1, first.1);
    state.count = values.len() as u64;
    for &(_, value) in &values {
        state.sum.add(value);
        if value < state.min || state.min.is_nan() {
            state.min = value;
        }
        if value > state.max || state.max.is_nan() {
            state.max = value;
        }
    }
    for pair in values.windows(2) {
        let (before, after) = (pair[0].1, pair[1].1);
        if after < before {
            state.lost += before;
            state.resets += 1;
        }
        state.changes += u32::from(before != after && !(before.is_nan() && after.is_nan()));
    }
    state
}

#[track_caller]
fn assert_same(found: &FloatState, expected: &FloatState, magnitude: f64) {
    let bits = |s: &FloatState| [s.min, s.max, s.first, s.last].map(f64::to_bits);
    assert_eq!(bits(found), bits(expected));
    let exact = |s: &FloatState| (s.count, s.resets, s.changes, s.first_time, s.last_time, s.stale_at);
    assert_eq!(exact(found), exact(expected));
    for (a, b) in [(found.sum.total(), expected.sum.total()), (found.lost, expected.lost)] {
        // What overflows on the way does so at one place or another.
        let is_close = a == b || (a - b).abs() <= 1e-12 * magnitude || !magnitude.is_finite();
        assert!(is_close, "{a} instead of {b}");
    }
}

fn magnitude(samples: &[(Timestamp, f64)]) -> f64 {
    samples.iter().filter(|(_, v)| !is_stale(*v)).map(|(_, v)| v.abs()).sum()
}

fn fold(samples: &[(Timestamp, f64)], resolution_ms: i64) -> FloatBuckets {
    let (times, values): (Vec<_>, Vec<_>) = samples.iter().copied().unzip();
    let mut buckets = FloatBuckets::new(Columns::ALL);
    buckets.fold(&times, &values, resolution_ms);
    buckets
}

fn within(samples: &[(Timestamp, f64)], after: Timestamp, until: Timestamp) -> Samples {
    samples.iter().copied().filter(|(t, _)| after < *t && *t <= until).collect()
}

proptest! {
    #[test]
    fn a_bucket_knows_what_its_samples_say(samples in samples()) {
        let buckets = fold(&samples, 60_000);
        prop_assert!(buckets.ends.windows(2).all(|w| w[0] < w[1]));
        prop_assert!(buckets.ends.iter().all(|end| end % 60_000 == 0));
        let mut seen = 0;
        for row in 0..buckets.len() {
            let inside = within(&samples, buckets.ends[row] - 60_000, buckets.ends[row]);
            seen += inside.len();
            assert_same(&buckets.state(row), &plain(&inside), magnitude(&inside));
        }
        prop_assert_eq!(seen, samples.len());
    }

    #[test]
    fn neighbours_merge_to_what_all_their_samples_say(samples in samples(), from: prop::sample::Index, to: prop::sample::Index) {
        let buckets = fold(&samples, 60_000);
        if buckets.is_empty() {
            return Ok(());
        }
        let (from, to) = (from.index(buckets.len()), to.index(buckets.len()));
        let (from, to) = (from.min(to), from.max(to));
        let inside = within(&samples, buckets.ends[from] - 60_000, buckets.ends[to]);
        assert_same(&buckets.merged(from..to + 1), &plain(&inside), magnitude(&inside));
    }

    #[test]
    fn it_does_not_matter_in_which_parts_samples_are_merged(samples in samples(), a: prop::sample::Index, b: prop::sample::Index) {
        let (a, b) = (a.index(samples.len() + 1), b.index(samples.len() + 1));
        let (a, b) = (a.min(b), a.max(b));
        let [one, two, three] = [&samples[..a], &samples[a..b], &samples[b..]].map(plain);
        let mut left = one;
        left.append(&two);
        left.append(&three);
        let mut tail = two;
        tail.append(&three);
        let mut right = one;
        right.append(&tail);
        assert_same(&left, &plain(&samples), magnitude(&samples));
        assert_same(&right, &plain(&samples), magnitude(&samples));
        // Samples that came late unite with those that were there.
        let mut united = three;
        united.unite(&one);
        let apart: Samples = [&samples[..a], &samples[b..]].concat();
        assert_same(&united, &plain(&apart), magnitude(&apart));
    }

    #[test]
    fn coarse_buckets_of_fine_ones_are_those_of_the_samples(samples in samples()) {
        let (coarse, expected) = (fold(&samples, 60_000).coarsen(300_000), fold(&samples, 300_000));
        prop_assert_eq!(&coarse.ends, &expected.ends);
        for row in 0..coarse.len() {
            let inside = within(&samples, coarse.ends[row] - 300_000, coarse.ends[row]);
            assert_same(&coarse.state(row), &expected.state(row), magnitude(&inside));
        }
    }

    #[test]
    fn samples_are_buckets_of_their_own(samples in samples()) {
        let mut buckets = FloatBuckets::new(Columns::ALL);
        samples.iter().for_each(|&(time, value)| buckets.extend_samples(&[time], &[value]));
        assert_same(&buckets.merged(0..buckets.len()), &plain(&samples), magnitude(&samples));
        let coarse = buckets.coarsen(60_000);
        prop_assert_eq!(coarse.ends, fold(&samples, 60_000).ends);
    }

    #[test]
    fn of_two_buckets_with_one_end_the_later_stays(old in samples(), new in samples()) {
        let (old, new) = (fold(&old, 60_000), fold(&new, 60_000));
        let mut merged = old.clone();
        merged.replace_with(&new);
        let mut ends = [&old.ends[..], &new.ends].concat();
        ends.sort_unstable();
        ends.dedup();
        prop_assert_eq!(&*merged.ends, &ends[..]);
        for (row, end) in ends.iter().enumerate() {
            let expected = match new.ends.binary_search(end) {
                Ok(at) => new.state(at),
                Err(_) => old.state(old.ends.binary_search(end).unwrap()),
            };
            assert_same(&merged.state(row), &expected, expected.sum.total().abs());
        }
    }

    #[test]
    fn a_slice_and_the_rest_are_the_whole(samples in samples(), at: prop::sample::Index) {
        let whole = fold(&samples, 60_000);
        let at = at.index(whole.len() + 1);
        let (mut head, tail) = (whole.part(0..at), whole.part(at..whole.len()));
        head.extend(&tail);
        prop_assert_eq!(format!("{head:?}"), format!("{whole:?}"));
    }

    #[test]
    fn histograms_merge_to_what_all_of_them_say(counts in prop::collection::vec(histogram(), 0..60), at: prop::sample::Index) {
        let samples: Vec<(Timestamp, Arc<Histogram>)> = (1..).map(|i| i * 7_000).zip(counts).collect();
        let (times, values): (Vec<_>, Vec<_>) = samples.iter().cloned().unzip();
        let mut fine = HistogramBuckets::new(Columns::ALL);
        fine.fold(&times, &values, 60_000);
        let mut coarse = HistogramBuckets::new(Columns::ALL);
        coarse.fold(&times, &values, 300_000);
        let coarsened = fine.coarsen(300_000);
        prop_assert_eq!(&coarsened.ends, &coarse.ends);
        for row in 0..coarse.len() {
            assert_same_histograms(&coarsened.state(row), &coarse.state(row));
        }
        let at = at.index(fine.len() + 1);
        let mut all = fine.merged(0..at);
        all.append(&fine.merged(at..fine.len()));
        assert_same_histograms(&all, &HistogramState::fold(&times, &values, Columns::ALL));
        let live: Vec<&Arc<Histogram>> = values.iter().filter(|h| !h.is_stale()).collect();
        prop_assert_eq!(all.count, live.len() as u64);
        let resets = live.windows(2).filter(|w| w[1].detect_reset(w[0])).count();
        prop_assert_eq!(all.resets as usize, resets);
        prop_assert_eq!(all.changes as usize, live.windows(2).filter(|w| !w[1].equals(w[0])).count());
    }
}

/// Counters of one layout with resets, gauges, stale markers.
fn histogram() -> impl Strategy<Value = Arc<Histogram>> {
    let hints = vec![ResetHint::Unknown, ResetHint::Reset, ResetHint::NotReset, ResetHint::Gauge];
    let counts = prop::collection::vec(0u32..40, 3);
    (counts, prop::sample::select(hints), 0u32..20).prop_map(|(counts, hint, dice)| {
        if dice == 0 {
            return Arc::new(Histogram::stale());
        }
        Arc::new(Histogram { hint, ..exponential(&counts.iter().map(|&c| f64::from(c)).collect::<Vec<_>>()) })
    })
}

fn exponential(counts: &[f64]) -> Histogram {
    Histogram {
        count: counts.iter().sum(),
        sum: counts.iter().sum::<f64>() / 4.0,
        positive_spans: vec![Span { offset: 0, length: counts.len() as u32 }],
        positive_buckets: counts.to_vec(),
        ..Histogram::default()
    }
}

#[track_caller]
fn assert_same_histograms(found: &HistogramState, expected: &HistogramState) {
    let exact = |s: &HistogramState| (s.count, s.resets, s.changes, s.first_time, s.last_time, s.stale_at);
    assert_eq!(exact(found), exact(expected));
    assert!(found.first.is_identical(&expected.first) && found.last.is_identical(&expected.last));
    for (found, expected) in [(&found.sum, &expected.sum), (&found.lost, &expected.lost)] {
        match (found, expected) {
            (None, None) => {}
            (Some(found), Some(expected)) => {
                assert!(found.equals(expected), "{found:?} instead of {expected:?}");
                assert_eq!(found.hint, expected.hint);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_time_on_an_edge_belongs_to_the_bucket_that_ends_there() {
    let ends = [-60_001, -60_000, -1, 0, 1, 60_000, 60_001].map(|time| bucket_end(time, 60_000));
    assert_eq!(ends, [-60_000, -60_000, 0, 0, 60_000, 60_000, 120_000]);
    for time in [Timestamp::MIN, Timestamp::MIN + 1, Timestamp::MAX] {
        bucket_end(time, 60_000);
    }
}

#[test]
fn what_a_counter_lost_between_two_buckets_is_found() {
    let counter: Samples = vec![(10, 5.0), (20, 7.0), (70, 2.0), (80, 3.0), (130, 1.0)];
    let all = fold(&counter, 60).merged(0..3);
    assert_eq!((all.lost, all.resets, all.last - all.first + all.lost), (10.0, 2, 6.0));
}

#[test]
fn a_stale_marker_counts_only_behind_the_last_sample() {
    let stale = stale_marker();
    let buckets = fold(&[(1, 1.0), (2, stale), (3, 4.0), (11, 2.0), (12, stale), (21, stale)], 10);
    assert_eq!(*buckets.stale_at, [NEVER, 12, 21]);
    assert_eq!(*buckets.counts, [2, 1, 0]);
    assert_eq!(buckets.merged(0..3).stale_at, 21);
}

#[test]
fn without_its_ends_a_state_cannot_tell_what_happens_between_neighbours() {
    let mut buckets = fold(&[(1, 5.0), (2, 1.0), (61, 0.0)], 60);
    buckets.narrow(Columns::RESETS.union(Columns::MAX));
    assert_eq!(buckets.coarsen(300).has, Columns::COUNT.union(Columns::MAX));
    assert_eq!((buckets.lasts.len(), buckets.resets.len()), (0, 2));
}

#[test]
fn of_two_sets_of_columns_those_of_both_are_left() {
    let mut buckets = fold(&[(1, 5.0)], 60);
    let mut gauge = FloatBuckets::new(Columns::GAUGE);
    gauge.fold(&[61], &[7.0], 60);
    buckets.replace_with(&gauge);
    assert_eq!(buckets.has, Columns::GAUGE);
    assert_eq!((buckets.len(), buckets.sums.len(), buckets.lost.len()), (2, 2, 0));
}

#[test]
fn exponential_and_custom_buckets_have_no_sum_and_no_increase() {
    let custom = Histogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        custom_bounds: vec![1.0, 2.0],
        ..exponential(&[1.0, 2.0, 3.0])
    };
    let (exponential, custom) = (Arc::new(exponential(&[4.0])), Arc::new(custom));
    let both = [&exponential, &custom, &exponential].map(Clone::clone);
    let state = HistogramState::fold(&[1, 2, 3], &both, Columns::ALL);
    assert_eq!((state.count, state.resets), (3, 2));
    assert!(state.sum.is_none());
    let mut increase = Histogram::clone(&state.last);
    assert!(increase.add(&state.lost.unwrap()).is_err());
}
