//! Quantiles and fractions of classic histograms: one cumulative count for each upper bound `le`.

/// A bucket of a classic histogram: the count of all observations up to the bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassicBucket {
    pub upper_bound: f64,
    pub count: f64,
}

/// Where counts that must not fall with growing bounds did, and by how much at most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ForcedMonotonic {
    pub bucket_min: f64,
    pub bucket_max: f64,
    pub diff_max: f64,
}

/// A fall this small, relative to the counts, is rounding: it takes 10^12 observations for one more to be smaller.
const ROUNDING: f64 = 1e-12;

/// `histogram_quantile` of classic buckets, which come in any order and are repaired in place.
pub fn classic_quantile(q: f64, buckets: &mut Vec<ClassicBucket>) -> (f64, Option<ForcedMonotonic>) {
    if q.is_nan() {
        return (f64::NAN, None);
    }
    if !(0.0..=1.0).contains(&q) {
        return (if q < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY }, None);
    }
    if !sort_and_merge(buckets) {
        return (f64::NAN, None);
    }
    let forced = force_monotonic(buckets);
    let [lower @ .., _, last] = &buckets[..] else { return (f64::NAN, forced) };
    if last.count == 0.0 {
        return (f64::NAN, forced);
    }
    let rank = q * last.count;
    let finite = &buckets[..lower.len() + 1];
    (quantile_at_rank(rank, finite), forced)
}

/// `finite`: the buckets below the one that ends at +Inf; not empty.
fn quantile_at_rank(rank: f64, finite: &[ClassicBucket]) -> f64 {
    let at = finite.iter().position(|bucket| bucket.count >= rank);
    match at.map(|i| (i, finite[i])) {
        // Nothing is known above the highest finite bound.
        None => finite[finite.len() - 1].upper_bound,
        Some((0, first)) if first.upper_bound <= 0.0 => first.upper_bound,
        // Nothing says where the first bucket begins; what is measured is rarely negative.
        Some((0, first)) => first.upper_bound * (rank / first.count),
        Some((i, bucket)) => {
            let below = finite[i - 1];
            let fraction = (rank - below.count) / (bucket.count - below.count);
            below.upper_bound + (bucket.upper_bound - below.upper_bound) * fraction
        }
    }
}

/// `histogram_fraction` of classic buckets, which come in any order.
pub fn classic_fraction(lower: f64, upper: f64, buckets: &mut Vec<ClassicBucket>) -> f64 {
    if !sort_and_merge(buckets) {
        return f64::NAN;
    }
    let count = buckets[buckets.len() - 1].count;
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let below = |value| observations_below(value, buckets).unwrap_or(count).min(count);
    (below(upper) - below(lower)) / count
}

/// `None` if all buckets end at or below `value`.
fn observations_below(value: f64, buckets: &[ClassicBucket]) -> Option<f64> {
    let (mut start, mut below) = (if buckets[0].upper_bound <= 0.0 { f64::NEG_INFINITY } else { 0.0 }, 0.0);
    for bucket in buckets {
        if start >= value {
            return Some(below);
        }
        if bucket.upper_bound > value {
            let fraction = (value - start) / (bucket.upper_bound - start);
            let is_endless = start == f64::NEG_INFINITY;
            return Some(if is_endless { bucket.count } else { below + (bucket.count - below) * fraction });
        }
        (start, below) = (bucket.upper_bound, bucket.count);
    }
    None
}

/// Sorts buckets by bound and adds up those that share one. False if they do not reach up to +Inf, so that the
/// number of observations is unknown.
fn sort_and_merge(buckets: &mut Vec<ClassicBucket>) -> bool {
    buckets.sort_by(|a, b| a.upper_bound.total_cmp(&b.upper_bound));
    buckets.dedup_by(|next, kept| {
        let is_same = next.upper_bound == kept.upper_bound;
        if is_same {
            kept.count += next.count;
        }
        is_same
    });
    buckets.last().is_some_and(|last| last.upper_bound == f64::INFINITY)
}

/// Lifts each count to that of the bucket before it where it has fallen; tells of falls that are no rounding.
fn force_monotonic(buckets: &mut [ClassicBucket]) -> Option<ForcedMonotonic> {
    let mut forced = None;
    let mut before = buckets.first()?.count;
    for bucket in &mut buckets[1..] {
        if almost_equal(before, bucket.count, ROUNDING) {
            bucket.count = before;
        } else if bucket.count < before {
            let bound = bucket.upper_bound;
            let worst =
                forced.get_or_insert(ForcedMonotonic { bucket_min: bound, bucket_max: bound, diff_max: 0.0 });
            worst.bucket_max = bound;
            worst.diff_max = worst.diff_max.max(before - bucket.count);
            bucket.count = before;
        } else {
            before = bucket.count;
        }
    }
    forced
}

/// Equal, or apart by less than `epsilon` relative to their sum; next to zero only zero is equal. NaN equals NaN.
pub fn almost_equal(a: f64, b: f64, epsilon: f64) -> bool {
    if a == b || a.is_nan() && b.is_nan() {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < epsilon * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < epsilon
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(pairs: &[(f64, f64)]) -> Vec<ClassicBucket> {
        pairs.iter().map(|&(upper_bound, count)| ClassicBucket { upper_bound, count }).collect()
    }

    fn quantile(q: f64, pairs: &[(f64, f64)]) -> f64 {
        classic_quantile(q, &mut buckets(pairs)).0
    }

    const INF: f64 = f64::INFINITY;

    #[test]
    fn quantiles_interpolate_between_bounds_in_any_order() {
        let pairs = [(INF, 10.0), (2.0, 4.0), (4.0, 8.0)];
        assert_eq!([0.2, 0.6, 1.0].map(|q| quantile(q, &pairs)), [1.0, 3.0, 4.0]);
        assert_eq!(quantile(0.1, &[(-1.0, 5.0), (INF, 10.0)]), -1.0);
        assert_eq!([-1.0, 2.0].map(|q| quantile(q, &pairs)), [-INF, INF]);
    }

    #[test]
    fn without_the_last_bucket_or_observations_there_is_no_quantile() {
        for pairs in
            [&[][..], &[(1.0, 2.0)], &[(INF, 2.0)], &[(1.0, 0.0), (INF, 0.0)], &[(INF, 1.0), (f64::NAN, 1.0)]]
        {
            assert!(quantile(0.5, pairs).is_nan(), "{pairs:?}");
        }
    }

    #[test]
    fn buckets_with_one_bound_are_added_up() {
        assert_eq!(quantile(0.5, &[(2.0, 1.0), (2.0, 3.0), (INF, 4.0)]), 1.0);
    }

    #[test]
    fn falling_counts_are_lifted_and_told_but_rounding_is_not() {
        let (_, forced) =
            classic_quantile(0.5, &mut buckets(&[(1.0, 5.0), (2.0, 3.0), (4.0, 4.0), (INF, 6.0)]));
        assert_eq!(forced, Some(ForcedMonotonic { bucket_min: 2.0, bucket_max: 4.0, diff_max: 2.0 }));
        let (_, forced) = classic_quantile(0.5, &mut buckets(&[(1.0, 5.0), (2.0, 5.0 - 1e-13), (INF, 6.0)]));
        assert_eq!(forced, None);
    }

    #[test]
    fn fractions_count_what_lies_between() {
        let fraction = |lower, upper, pairs: &[_]| classic_fraction(lower, upper, &mut buckets(pairs));
        let pairs = [(2.0, 4.0), (4.0, 8.0), (INF, 10.0)];
        assert_eq!(fraction(-INF, 3.0, &pairs), 0.6);
        assert_eq!(fraction(1.0, 2.0, &pairs), 0.2);
        assert_eq!(fraction(4.0, INF, &pairs), 0.2);
        assert_eq!(fraction(5.0, 5.0, &pairs), 0.0);
        assert_eq!(fraction(-INF, -2.0, &[(-1.0, 5.0), (INF, 10.0)]), 0.5);
        assert!(fraction(0.0, 1.0, &pairs[..2]).is_nan());
    }
}
