//! The trim operators `</` and `>/`: a histogram without the observations above or below a value.
//!
//! The bucket the cut goes through is divided as in `histogram_quantile`. If anything was cut off, the sum is no
//! longer known and is estimated from the middles of what is left.

use super::histogram_functions::fraction_below;
use crate::model::Histogram;
use crate::model::histogram::Bucket;

/// Which observations stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// `</`: those below the cut.
    Below,
    /// `>/`: those above the cut.
    Above,
}

/// What is left of a bucket, and where it lies on average.
struct Rest {
    count: f64,
    middle: f64,
}

pub fn trim(histogram: &mut Histogram, cut: f64, keep: Keep) {
    let is_custom = histogram.has_custom_buckets();
    let rest_of = |bucket: Bucket| rest_of_bucket(&bucket, cut, keep, is_custom);
    let positive: Vec<Rest> = histogram.positive().map(rest_of).collect();
    let negative: Vec<Rest> = histogram.negative().map(rest_of).collect();
    let zero = rest_of_zero_bucket(histogram, cut, keep);

    let old =
        histogram.positive_buckets.iter().chain(&histogram.negative_buckets).chain([&histogram.zero_count]);
    let rests = || positive.iter().chain(&negative).chain([&zero]);
    if old.zip(rests()).all(|(&count, rest)| count == rest.count) {
        return;
    }
    histogram.count = rests().map(|rest| rest.count).sum();
    histogram.sum = rests().filter(|rest| rest.count != 0.0).map(|rest| rest.middle * rest.count).sum();
    histogram.positive_buckets = positive.iter().map(|rest| rest.count).collect();
    histogram.negative_buckets = negative.iter().map(|rest| rest.count).collect();
    histogram.zero_count = zero.count;
    histogram.is_integer = false;
    histogram.compact(0);
}

fn rest_of_bucket(bucket: &Bucket, cut: f64, keep: Keep, is_custom: bool) -> Rest {
    let &Bucket { lower, upper, count, .. } = bucket;
    let (is_whole, is_divided) = match keep {
        Keep::Below => (upper <= cut, lower < cut),
        Keep::Above => (lower >= cut, upper > cut),
    };
    if is_whole {
        return Rest { count, middle: middle(lower, upper, is_custom) };
    }
    if !is_divided {
        return Rest { count: 0.0, middle: 0.0 };
    }
    if lower == f64::NEG_INFINITY || upper == f64::INFINITY {
        return rest_of_endless_bucket(bucket, cut, keep);
    }
    let below = count * fraction_below(cut, bucket, is_custom);
    match keep {
        Keep::Below => Rest { count: below, middle: middle(lower, cut, is_custom) },
        Keep::Above => Rest { count: count - below, middle: middle(cut, upper, is_custom) },
    }
}

/// A bucket without end has no shape to divide: its observations are taken to lie all at the side of its end that
/// is known, except that one which ends above zero is taken to begin there.
fn rest_of_endless_bucket(bucket: &Bucket, cut: f64, keep: Keep) -> Rest {
    let &Bucket { lower, upper, count, .. } = bucket;
    let begins_at_zero = lower == f64::NEG_INFINITY && upper > 0.0 && upper < f64::INFINITY;
    match keep {
        Keep::Below if begins_at_zero && cut > 0.0 => Rest { count: count * cut / upper, middle: cut / 2.0 },
        Keep::Below if lower == f64::NEG_INFINITY && upper <= 0.0 => Rest { count, middle: cut },
        Keep::Above if begins_at_zero && cut >= 0.0 => {
            Rest { count: count * (1.0 - cut / upper), middle: (cut + upper) / 2.0 }
        }
        Keep::Above if lower != f64::NEG_INFINITY => Rest { count, middle: cut },
        Keep::Below | Keep::Above => Rest { count: 0.0, middle: 0.0 },
    }
}

fn rest_of_zero_bucket(histogram: &Histogram, cut: f64, keep: Keep) -> Rest {
    let Bucket { mut lower, mut upper, count, .. } = histogram.zero_bucket();
    let is_populated = |counts: &[f64]| counts.iter().any(|&count| count != 0.0);
    match (is_populated(&histogram.negative_buckets), is_populated(&histogram.positive_buckets)) {
        (true, false) => upper = 0.0,
        (false, true) => lower = 0.0,
        _ => {}
    }
    let whole = Rest { count, middle: (lower + upper) / 2.0 };
    let nothing = Rest { count: 0.0, middle: 0.0 };
    let (from, to) = match keep {
        Keep::Below if cut <= lower => return nothing,
        Keep::Below if cut >= upper => return whole,
        Keep::Above if cut <= lower => return whole,
        Keep::Above if cut >= upper => return nothing,
        Keep::Below => (lower, cut),
        Keep::Above => (cut, upper),
    };
    Rest { count: count * ((to - from) / (upper - lower)), middle: (from + to) / 2.0 }
}

/// Where the observations between two values lie on average.
fn middle(lower: f64, upper: f64, is_custom: bool) -> f64 {
    match (lower.is_infinite(), upper.is_infinite()) {
        (true, true) => 0.0,
        (true, false) if upper > 0.0 => upper / 2.0,
        (true, false) => upper,
        (false, true) => lower,
        (false, false) if is_custom => (lower + upper) / 2.0,
        (false, false) => (lower * upper).abs().sqrt().copysign(lower + upper),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::histogram::{CUSTOM_BUCKETS_SCHEMA, Span};

    fn span(offset: i32, length: usize) -> Vec<Span> {
        vec![Span { offset, length: length as u32 }]
    }

    fn exponential() -> Histogram {
        Histogram {
            count: 12.0,
            sum: 3.0,
            zero_threshold: 0.5,
            zero_count: 2.0,
            positive_spans: span(1, 2),
            positive_buckets: vec![4.0, 1.0],
            negative_spans: span(1, 1),
            negative_buckets: vec![5.0],
            ..Histogram::default()
        }
    }

    fn custom(bounds: &[f64], counts: &[f64]) -> Histogram {
        Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count: counts.iter().sum(),
            sum: 100.0,
            custom_bounds: bounds.to_vec(),
            positive_spans: span(0, counts.len()),
            positive_buckets: counts.to_vec(),
            ..Histogram::default()
        }
    }

    fn trimmed(mut histogram: Histogram, cut: f64, keep: Keep) -> Histogram {
        trim(&mut histogram, cut, keep);
        histogram
    }

    #[test]
    fn a_cut_beyond_all_buckets_changes_nothing() {
        assert!(trimmed(exponential(), 4.0, Keep::Below).equals(&exponential()));
        assert!(trimmed(exponential(), -2.0, Keep::Above).equals(&exponential()));
    }

    #[test]
    fn a_bucket_is_divided_on_its_own_scale() {
        let below = trimmed(exponential(), 2f64.sqrt(), Keep::Below);
        assert!((below.positive_buckets[0] - 2.0).abs() < 1e-12);
        assert!((below.count - 9.0).abs() < 1e-12);
        let above = trimmed(exponential(), 2f64.sqrt(), Keep::Above);
        assert!((above.positive_buckets[0] - 2.0).abs() < 1e-12 && above.positive_buckets[1] == 1.0);
        assert_eq!((above.zero_count, above.negative_buckets.len()), (0.0, 0));
        let below = trimmed(custom(&[1.0, 3.0], &[0.0, 4.0]), 1.5, Keep::Below);
        assert_eq!((below.count, below.sum), (1.0, 1.25));
    }

    #[test]
    fn the_zero_bucket_is_divided_linearly() {
        let above = trimmed(exponential(), 0.25, Keep::Above);
        assert_eq!(above.zero_count, 0.5);
        let below = trimmed(exponential(), -0.25, Keep::Below);
        assert_eq!((below.zero_count, below.count), (0.5, 5.5));
        let positive = Histogram { negative_spans: vec![], negative_buckets: vec![], ..exponential() };
        assert_eq!(trimmed(positive, 0.25, Keep::Below).zero_count, 1.0);
        let narrow = || Histogram { zero_threshold: 0.0, ..exponential() };
        assert_eq!(trimmed(narrow(), 0.0, Keep::Below).zero_count, 0.0);
        assert_eq!(trimmed(narrow(), 0.0, Keep::Above).zero_count, 2.0);
    }

    #[test]
    fn endless_buckets_stay_or_go_whole_unless_they_begin_at_zero() {
        let histogram = || custom(&[2.0, 4.0], &[4.0, 0.0, 3.0]);
        assert_eq!(trimmed(histogram(), 1.0, Keep::Below).count, 2.0);
        assert_eq!(trimmed(histogram(), 1.0, Keep::Above).count, 5.0);
        assert_eq!(trimmed(histogram(), 9.0, Keep::Below).count, 4.0);
        let above = trimmed(histogram(), 9.0, Keep::Above);
        assert_eq!((above.count, above.sum), (3.0, 27.0));
        assert_eq!(trimmed(custom(&[-2.0], &[4.0, 1.0]), -3.0, Keep::Below).sum, -12.0);
        assert_eq!(trimmed(custom(&[-2.0], &[4.0, 1.0]), -3.0, Keep::Above).count, 1.0);
    }
}
