//! Arithmetic against a plain model: a map from bucket to count. Counts are small integers, so no addition rounds
//! and every order of adding gives the same.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::layout::coarser_index;
use super::*;

type Counts = BTreeMap<i32, f64>;

fn side() -> impl Strategy<Value = (Vec<Span>, Vec<f64>)> {
    let span = (0i32..6, prop::collection::vec(0u8..4, 0..5));
    (-40i32..40, prop::collection::vec(span, 0..4)).prop_map(|(first, runs)| {
        let (mut spans, mut counts) = (Vec::new(), Vec::new());
        for (i, (gap, run)) in runs.into_iter().enumerate() {
            spans.push(Span { offset: if i == 0 { first } else { gap }, length: run.len() as u32 });
            counts.extend(run.into_iter().map(f64::from));
        }
        (spans, counts)
    })
}

fn total_of(histogram: &Histogram) -> f64 {
    let buckets = histogram.positive_buckets.iter().chain(&histogram.negative_buckets);
    histogram.zero_count + buckets.sum::<f64>()
}

fn exponential(zero_threshold: impl Strategy<Value = f64>) -> impl Strategy<Value = Histogram> {
    (SCHEMA_MIN..=SCHEMA_MAX, zero_threshold, 0u8..4, -9i8..9, side(), side()).prop_map(
        |(schema, zero_threshold, zero_count, sum, positive, negative)| {
            let mut histogram = Histogram {
                schema,
                zero_threshold,
                zero_count: f64::from(zero_count),
                sum: f64::from(sum),
                positive_spans: positive.0,
                positive_buckets: positive.1,
                negative_spans: negative.0,
                negative_buckets: negative.1,
                ..Histogram::default()
            };
            histogram.count = total_of(&histogram);
            histogram
        },
    )
}

fn some_threshold() -> impl Strategy<Value = f64> {
    prop::sample::select(vec![0.0, 1e-128, 0.001, 0.75, 1.0, 4.0])
}

fn custom() -> impl Strategy<Value = Histogram> {
    prop::collection::btree_set(-5i8..5, 0..6).prop_flat_map(|bounds| {
        prop::collection::vec(0u8..4, bounds.len() + 1).prop_map(move |counts| {
            let mut histogram = Histogram {
                schema: CUSTOM_BUCKETS_SCHEMA,
                custom_bounds: bounds.iter().map(|&b| f64::from(b)).collect(),
                positive_spans: vec![Span { offset: 0, length: counts.len() as u32 }],
                positive_buckets: counts.into_iter().map(f64::from).collect(),
                ..Histogram::default()
            };
            histogram.count = total_of(&histogram);
            histogram
        })
    })
}

/// The populated buckets of one side at a coarser schema.
fn counts(indexed: impl Iterator<Item = (i32, f64)>, schema: i32, target: i32) -> Counts {
    let mut counts = Counts::new();
    for (index, count) in indexed {
        *counts.entry(coarser_index(index, schema, target)).or_default() += count;
    }
    counts.retain(|_, count| *count != 0.0);
    counts
}

fn sides(histogram: &Histogram, target: i32) -> [Counts; 2] {
    [
        counts(histogram.positive_indexed(), histogram.schema, target),
        counts(histogram.negative_indexed(), histogram.schema, target),
    ]
}

fn added(a: &Counts, b: &Counts) -> Counts {
    let mut sum = a.clone();
    b.iter().for_each(|(&index, count)| *sum.entry(index).or_default() += count);
    sum
}

fn plus(a: &Histogram, b: &Histogram) -> Histogram {
    let mut sum = a.clone();
    sum.add(b).unwrap();
    sum.compact(0);
    sum
}

/// The custom buckets as a classic histogram shows them: how many observations are at or below each bound.
fn at_or_below(histogram: &Histogram, bound: f64) -> f64 {
    histogram.positive().filter(|bucket| bucket.upper <= bound).map(|bucket| bucket.count).sum()
}

proptest! {
    #[test]
    fn what_the_tests_make_is_valid(a in exponential(some_threshold()), b in custom()) {
        prop_assert_eq!(a.validate(1000), Ok(()));
        prop_assert_eq!(b.validate(1000), Ok(()));
    }

    #[test]
    fn compaction_keeps_every_observation_and_its_bucket(a in exponential(some_threshold()), empty_max in 0u32..4) {
        let mut compact = a.clone();
        compact.compact(empty_max);
        prop_assert_eq!(compact.validate(1000), Ok(()));
        prop_assert_eq!(sides(&compact, a.schema), sides(&a, a.schema));
        for (spans, counts) in compact.spans_and_buckets_mut() {
            let gaps = spans.iter().skip(1).map(|span| span.offset);
            prop_assert!(gaps.into_iter().all(|gap| gap > empty_max as i32));
            prop_assert!(counts.first().is_none_or(|&c| c != 0.0) && counts.last().is_none_or(|&c| c != 0.0));
        }
    }

    #[test]
    fn resolution_lost_in_steps_is_resolution_lost_at_once(a in exponential(some_threshold()), steps in prop::collection::vec(SCHEMA_MIN..=SCHEMA_MAX, 0..4)) {
        let target = steps.iter().copied().chain([a.schema]).min().unwrap();
        let mut stepwise = a.clone();
        steps.iter().for_each(|&schema| stepwise.reduce_resolution(schema));
        prop_assert_eq!(stepwise.schema, target);
        prop_assert_eq!(sides(&stepwise, target), sides(&a, target));
        prop_assert_eq!(stepwise.validate(1000), Ok(()));
    }

    #[test]
    fn a_sum_is_the_sum_of_each_bucket_at_the_coarser_schema(a in exponential(Just(0.0)), b in exponential(Just(0.0))) {
        let sum = plus(&a, &b);
        let schema = a.schema.min(b.schema);
        prop_assert_eq!(sum.schema, schema);
        prop_assert_eq!((sum.count, sum.sum, sum.zero_count), (a.count + b.count, a.sum + b.sum, a.zero_count + b.zero_count));
        let ([pa, na], [pb, nb]) = (sides(&a, schema), sides(&b, schema));
        prop_assert_eq!(sides(&sum, schema), [added(&pa, &pb), added(&na, &nb)]);
        prop_assert!(sum.equals(&plus(&b, &a)));
    }

    #[test]
    fn subtraction_undoes_addition(a in exponential(Just(1e-128)), b in exponential(Just(1e-128))) {
        let mut difference = plus(&a, &b);
        difference.sub(&b).unwrap();
        difference.compact(0);
        let mut expected = a.clone();
        expected.reduce_resolution(b.schema);
        expected.compact(0);
        prop_assert!(difference.equals(&expected), "{difference:?}\n{expected:?}");
    }

    #[test]
    fn zero_buckets_grow_until_they_agree_and_nothing_is_lost(a in exponential(some_threshold()), b in exponential(some_threshold())) {
        let sum = plus(&a, &b);
        prop_assert!(sum.zero_threshold >= a.zero_threshold.max(b.zero_threshold));
        prop_assert_eq!(total_of(&sum), a.count + b.count);
        prop_assert!(sum.equals(&plus(&b, &a)));
    }

    #[test]
    fn a_sum_follows_its_first_term_without_a_reset(a in exponential(some_threshold()), b in exponential(some_threshold())) {
        let sum = plus(&a, &b);
        prop_assert!(!sum.detect_reset(&a));
        prop_assert_eq!(a.detect_reset(&sum), b.count > 0.0 || a.schema > sum.schema || a.zero_threshold < sum.zero_threshold);
    }

    #[test]
    fn custom_buckets_keep_their_counts_at_the_bounds_they_share(a in custom(), b in custom()) {
        let sum = plus(&a, &b);
        let shared: Vec<f64> = a.custom_bounds.iter().copied().filter(|x| b.custom_bounds.contains(x)).collect();
        prop_assert_eq!(&sum.custom_bounds, &shared);
        for bound in shared.into_iter().chain([f64::INFINITY]) {
            prop_assert_eq!(at_or_below(&sum, bound), at_or_below(&a, bound) + at_or_below(&b, bound));
        }
        prop_assert!(!sum.detect_reset(&a));
    }

    #[test]
    fn a_running_sum_equals_repeated_addition(all in prop::collection::vec(exponential(some_threshold()), 1..6)) {
        let mut running = HistogramSum::new(&all[0]);
        let mut repeated = all[0].clone();
        for histogram in &all[1..] {
            running.add(histogram).unwrap();
            repeated.add(histogram).unwrap();
        }
        let mut running = running.total();
        running.compact(0);
        repeated.compact(0);
        prop_assert!(running.equals(&repeated));
    }
}

#[test]
fn exponential_and_custom_buckets_do_not_mix() {
    let custom = Histogram { schema: CUSTOM_BUCKETS_SCHEMA, ..Histogram::default() };
    assert_eq!(Histogram::default().add(&custom), Err(MixedSchemas));
    assert_eq!(custom.clone().sub(&Histogram::default()), Err(MixedSchemas));
}

#[test]
fn contradicting_hints_are_told() {
    let with = |hint| Histogram { hint, ..Histogram::default() };
    let mut sum = with(ResetHint::Reset);
    assert!(sum.add(&with(ResetHint::NotReset)).unwrap().hints_conflict);
    assert_eq!(sum.hint, ResetHint::Unknown);
    let mut sum = with(ResetHint::Reset);
    assert!(!sum.add(&with(ResetHint::Gauge)).unwrap().hints_conflict);
    assert_eq!(sum.hint, ResetHint::Gauge);
}

#[test]
fn a_quotient_by_zero_has_no_buckets() {
    let mut histogram = Histogram {
        count: 2.0,
        positive_spans: vec![Span { offset: 0, length: 1 }],
        positive_buckets: vec![2.0],
        ..Histogram::default()
    };
    histogram.mul(-2.0);
    assert_eq!(
        (histogram.hint, histogram.count, histogram.positive_buckets[0]),
        (ResetHint::Gauge, -4.0, -4.0)
    );
    histogram.div(0.0);
    assert_eq!((histogram.count, histogram.positive_buckets.len()), (f64::NEG_INFINITY, 0));
    assert!(histogram.zero_count.is_nan() && histogram.positive_spans.is_empty());
}
