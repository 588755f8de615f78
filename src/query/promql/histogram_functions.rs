//! What PromQL reads out of one native histogram: quantiles, fractions and moments.
//!
//! Observations are taken to be spread evenly within a bucket: on a logarithmic scale in exponential buckets,
//! linearly in custom ones and in the zero bucket. A histogram without negative buckets has none below zero, so
//! its zero bucket begins there; and the other way round.

use crate::model::histogram::Bucket;
use crate::model::{CompensatedSum, Histogram};

/// Something to tell about histograms beside the result; the caller knows the metric and the place in the query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HistogramNote {
    /// A gauge was treated as a counter.
    NotCounter,
    /// A counter was treated as a gauge.
    NotGauge,
    /// Exponential and custom buckets met; there is no result.
    MixedExponentialCustom,
    CounterResetCollision(HistogramOperation),
    BoundsReconciled(HistogramOperation),
    /// Observations of NaN lie above all buckets, and so does the quantile.
    QuantileOfNan,
    QuantileSkewedByNan,
    FractionWithoutNan,
}

/// What was done to two histograms when the remark came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistogramOperation {
    Addition,
    Subtraction,
    Aggregation,
}

/// `histogram_quantile` of a native histogram.
pub fn histogram_quantile(q: f64, histogram: &Histogram) -> (f64, Option<HistogramNote>) {
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if histogram.count == 0.0 || q.is_nan() {
        return (f64::NAN, None);
    }
    // Observations of NaN are in the count but in no bucket, as if they lay above all others: only ranks from
    // below are meaningful then. Otherwise the nearer end is walked from, where less rounding adds up.
    let may_have_nan = histogram.sum.is_nan();
    if may_have_nan || q < 0.5 {
        let (rank, mut buckets) = (q * histogram.count, histogram.buckets());
        let (bucket, reached) = bucket_of_rank(rank, &mut buckets);
        let reached = reached.min(histogram.count);
        let unreachable = may_have_nan.then_some(HistogramNote::QuantileOfNan);
        let found =
            quantile_in(bucket, rank - (reached - bucket.count), reached < rank, unreachable, histogram);
        let in_buckets = reached + buckets.map(|bucket| bucket.count).sum::<f64>();
        let is_skewed = may_have_nan && found.1.is_none() && in_buckets < histogram.count;
        (found.0, found.1.or(is_skewed.then_some(HistogramNote::QuantileSkewedByNan)))
    } else {
        let rank = (1.0 - q) * histogram.count;
        let (bucket, reached) = bucket_of_rank(rank, &mut histogram.buckets().rev());
        let reached = reached.min(histogram.count);
        quantile_in(bucket, reached - rank, reached < rank, None, histogram)
    }
}

/// Walks until `rank` observations are behind; the bucket it ended in, and how many it passed.
fn bucket_of_rank(rank: f64, buckets: &mut impl Iterator<Item = Bucket>) -> (Bucket, f64) {
    let mut last =
        Bucket { lower: 0.0, upper: 0.0, lower_inclusive: true, upper_inclusive: true, count: 0.0 };
    let mut passed = 0.0;
    for bucket in buckets.filter(|bucket| bucket.count != 0.0) {
        last = bucket;
        passed += bucket.count;
        if passed >= rank {
            break;
        }
    }
    (last, passed)
}

/// The quantile that has `rank` observations of its bucket below it. `is_beyond`: the buckets ended before it,
/// for NaN, of which `unreachable` tells, or for rounding.
fn quantile_in(
    bucket: Bucket,
    rank: f64,
    is_beyond: bool,
    unreachable: Option<HistogramNote>,
    histogram: &Histogram,
) -> (f64, Option<HistogramNote>) {
    let is_custom = histogram.has_custom_buckets();
    let mut bucket = bucket;
    if !is_custom && bucket.lower < 0.0 && bucket.upper > 0.0 {
        bucket = without_empty_half(bucket, histogram);
    } else if is_custom && bucket.lower == f64::NEG_INFINITY {
        if bucket.upper <= 0.0 {
            return (bucket.upper, None);
        }
        bucket.lower = 0.0;
    } else if is_custom && bucket.upper == f64::INFINITY {
        return (bucket.lower, None);
    }
    if is_beyond {
        return if unreachable.is_some() { (f64::NAN, unreachable) } else { (bucket.upper, None) };
    }
    let fraction = rank / bucket.count;
    if is_custom || bucket.lower <= 0.0 && bucket.upper >= 0.0 {
        return (bucket.lower + (bucket.upper - bucket.lower) * fraction, None);
    }
    let (near_lower, near_upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
    let magnitude = (near_lower + (near_upper - near_lower) * fraction).exp2();
    (magnitude.copysign(bucket.lower), None)
}

/// The zero bucket cut at zero on the side where the histogram has no buckets.
fn without_empty_half(bucket: Bucket, histogram: &Histogram) -> Bucket {
    match (histogram.negative_buckets.is_empty(), histogram.positive_buckets.is_empty()) {
        (true, false) => Bucket { lower: 0.0, ..bucket },
        (false, true) => Bucket { upper: 0.0, ..bucket },
        _ => bucket,
    }
}

/// `histogram_fraction` of a native histogram: the share of observations between two values.
pub fn histogram_fraction(lower: f64, upper: f64, histogram: &Histogram) -> (f64, Option<HistogramNote>) {
    if histogram.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return (f64::NAN, None);
    }
    if lower >= upper {
        return (0.0, None);
    }
    let (mut count, mut note) = (histogram.count, None);
    if histogram.sum.is_nan() {
        count = histogram.buckets().map(|bucket| bucket.count).sum();
        note = (count < histogram.count).then_some(HistogramNote::FractionWithoutNan);
    }
    let below = |value| observations_below(value, histogram).unwrap_or(count).min(count);
    ((below(upper) - below(lower)) / histogram.count, note)
}

/// `None` if all buckets end at or below `value`.
fn observations_below(value: f64, histogram: &Histogram) -> Option<f64> {
    let mut below = 0.0;
    for mut bucket in histogram.buckets() {
        let has_zero = bucket.lower <= 0.0 && bucket.upper >= 0.0;
        if has_zero {
            bucket = without_empty_half(bucket, histogram);
        }
        if bucket.lower >= value {
            return Some(below);
        }
        if bucket.upper > value {
            // Nothing is known of where in an endless bucket observations lie: all below the value, or, in the
            // one up to +Inf, by the formula none.
            if bucket.lower == f64::NEG_INFINITY {
                return Some(bucket.count);
            }
            let is_linear = histogram.has_custom_buckets() || has_zero;
            return Some(below + bucket.count * fraction_below(value, &bucket, is_linear));
        }
        below += bucket.count;
    }
    None
}

/// The share of a bucket's observations that lie below `value`, which is within the bucket.
pub(super) fn fraction_below(value: f64, bucket: &Bucket, is_linear: bool) -> f64 {
    if is_linear {
        return (value - bucket.lower) / (bucket.upper - bucket.lower);
    }
    let [lower, upper, value] = [bucket.lower, bucket.upper, value].map(|v| v.abs().log2());
    (value - lower) / (upper - lower)
}

/// `histogram_avg`.
pub fn histogram_avg(histogram: &Histogram) -> f64 {
    histogram.sum / histogram.count
}

/// `histogram_stdvar`: each observation is taken to lie in the middle of its bucket.
pub fn histogram_variance(histogram: &Histogram) -> f64 {
    let mean = histogram_avg(histogram);
    let mut sum = CompensatedSum::default();
    for bucket in histogram.buckets().filter(|bucket| bucket.count != 0.0) {
        let deviation = middle(&bucket, histogram) - mean;
        sum.add(bucket.count * deviation * deviation);
    }
    sum.total() / histogram.count
}

fn middle(bucket: &Bucket, histogram: &Histogram) -> f64 {
    if histogram.has_custom_buckets() {
        (bucket.upper + bucket.lower) / 2.0
    } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
        0.0
    } else {
        (bucket.upper * bucket.lower).sqrt().copysign(bucket.upper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::histogram::{CUSTOM_BUCKETS_SCHEMA, Span};

    fn exponential(positive: &[f64], negative: &[f64], zero_count: f64) -> Histogram {
        Histogram {
            count: positive.iter().chain(negative).sum::<f64>() + zero_count,
            zero_threshold: 0.5,
            zero_count,
            positive_spans: vec![Span { offset: 0, length: positive.len() as u32 }],
            positive_buckets: positive.to_vec(),
            negative_spans: vec![Span { offset: 0, length: negative.len() as u32 }],
            negative_buckets: negative.to_vec(),
            ..Histogram::default()
        }
    }

    fn custom(bounds: &[f64], counts: &[f64]) -> Histogram {
        Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            custom_bounds: bounds.to_vec(),
            zero_threshold: 0.0,
            ..exponential(counts, &[], 0.0)
        }
    }

    fn quantile(q: f64, histogram: &Histogram) -> f64 {
        histogram_quantile(q, histogram).0
    }

    #[test]
    fn quantiles_interpolate_on_a_logarithmic_scale() {
        let histogram = exponential(&[0.0, 4.0], &[], 0.0);
        assert_eq!([0.0, 0.5, 1.0].map(|q| quantile(q, &histogram)), [1.0, 2f64.sqrt(), 2.0]);
        let mirrored = exponential(&[], &[0.0, 4.0], 0.0);
        assert_eq!([0.0, 0.5, 1.0].map(|q| quantile(q, &mirrored)), [-2.0, -(2f64.sqrt()), -1.0]);
    }

    #[test]
    fn the_zero_bucket_is_linear_and_begins_at_zero_if_nothing_is_negative() {
        assert_eq!(quantile(0.25, &exponential(&[2.0], &[], 2.0)), 0.25);
        assert_eq!(quantile(0.75, &exponential(&[], &[2.0], 2.0)), -0.25);
        assert_eq!(quantile(0.5, &exponential(&[1.0], &[1.0], 2.0)), 0.0);
    }

    #[test]
    fn custom_buckets_answer_like_classic_ones() {
        let histogram = custom(&[2.0, 4.0], &[1.0, 2.0, 1.0]);
        assert_eq!([0.125, 0.5, 1.0].map(|q| quantile(q, &histogram)), [1.0, 3.0, 4.0]);
        assert_eq!(quantile(0.1, &custom(&[-2.0], &[1.0, 1.0])), -2.0);
    }

    #[test]
    fn quantiles_outside_the_range_are_infinite() {
        let histogram = exponential(&[1.0], &[], 0.0);
        assert_eq!([-0.1, 1.1].map(|q| quantile(q, &histogram)), [f64::NEG_INFINITY, f64::INFINITY]);
        assert!(quantile(f64::NAN, &histogram).is_nan());
        assert!(quantile(0.5, &Histogram::default()).is_nan());
    }

    #[test]
    fn observations_of_nan_lie_above_all_and_are_told() {
        let histogram = Histogram { count: 10.0, sum: f64::NAN, ..exponential(&[0.0, 8.0], &[], 0.0) };
        let (value, note) = histogram_quantile(0.4, &histogram);
        assert_eq!((value, note), (2f64.sqrt(), Some(HistogramNote::QuantileSkewedByNan)));
        let (value, note) = histogram_quantile(0.9, &histogram);
        assert!(value.is_nan());
        assert_eq!(note, Some(HistogramNote::QuantileOfNan));
        let whole = histogram_fraction(f64::NEG_INFINITY, f64::INFINITY, &histogram);
        assert_eq!(whole, (0.8, Some(HistogramNote::FractionWithoutNan)));
    }

    #[test]
    fn fractions_are_the_inverse_of_quantiles() {
        for histogram in [
            exponential(&[1.0, 2.0, 3.0], &[], 2.0),
            exponential(&[1.0, 2.0], &[4.0, 0.0, 1.0], 1.0),
            custom(&[1.0, 2.0, 5.0], &[1.0, 2.0, 3.0, 0.0]),
        ] {
            for q in [0.1, 0.3, 0.5, 0.7, 0.9] {
                let value = quantile(q, &histogram);
                let (fraction, note) = histogram_fraction(f64::NEG_INFINITY, value, &histogram);
                assert!((fraction - q).abs() < 1e-12, "{q} {value} {fraction}");
                assert_eq!(note, None);
            }
        }
    }

    #[test]
    fn fractions_of_nothing_are_zero_and_of_nan_are_nan() {
        let histogram = exponential(&[1.0, 2.0], &[], 0.0);
        assert_eq!(histogram_fraction(2.0, 2.0, &histogram).0, 0.0);
        assert_eq!(histogram_fraction(1.0, 2.0, &histogram).0, 2.0 / 3.0);
        assert!(histogram_fraction(f64::NAN, 2.0, &histogram).0.is_nan());
        assert!(histogram_fraction(0.0, 2.0, &Histogram::default()).0.is_nan());
    }

    #[test]
    fn variance_takes_the_middle_of_each_bucket() {
        let histogram = Histogram { sum: 3.0, ..custom(&[1.0, 3.0], &[0.0, 2.0]) };
        assert_eq!(histogram_variance(&histogram), 0.25);
        let histogram = Histogram { sum: 0.0, ..exponential(&[0.0, 1.0], &[0.0, 1.0], 2.0) };
        assert!((histogram_variance(&histogram) - 1.0).abs() < 1e-15);
    }
}
