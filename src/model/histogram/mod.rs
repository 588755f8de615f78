//! Native histograms: exponential or custom buckets with float counts.
//!
//! The fields are public, because decoders fill them from what others send; [`Histogram::validate`] is the door.
//! What is computed here keeps to Prometheus's rules, and takes histograms that never saw the door (results of
//! queries have negative counts) without panicking.

mod arithmetic;
mod bounds;
mod buckets;
mod layout;
mod resets;
mod validate;

#[cfg(test)]
mod model_tests;

pub use arithmetic::{HistogramSum, MixedSchemas, Reconciled};
pub use buckets::Bucket;
pub use validate::{HistogramError, Side};

use super::metrics::{is_stale, stale_marker};

/// What is known about counter resets between a histogram and the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum ResetHint {
    #[default]
    Unknown,
    Reset,
    NotReset,
    Gauge,
}

/// A run of `length` consecutive buckets, `offset` buckets after the end of the run before it (or, for the
/// first run, the index of its first bucket).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    pub offset: i32,
    pub length: u32,
}

/// The schema of histograms whose bounds are listed one by one.
pub const CUSTOM_BUCKETS_SCHEMA: i32 = -53;

/// The coarsest exponential schema: a bucket spans a factor of 2^16.
pub const SCHEMA_MIN: i32 = -4;

/// The finest exponential schema: a bucket spans a factor of 2^(1/256).
pub const SCHEMA_MAX: i32 = 8;

/// One native histogram sample. `schema` -4..=8: bucket `i` holds observations in
/// `(2^((i-1)/2^schema), 2^(i/2^schema)]`; [`CUSTOM_BUCKETS_SCHEMA`]: bucket `i` ends at `custom_bounds[i]`.
/// Counts are absolute, one per bucket of the spans. A stale histogram is one whose sum is the stale marker.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    pub hint: ResetHint,
    pub schema: i32,
    pub zero_threshold: f64,
    pub zero_count: f64,
    pub count: f64,
    pub sum: f64,
    pub positive_spans: Vec<Span>,
    pub positive_buckets: Vec<f64>,
    pub negative_spans: Vec<Span>,
    pub negative_buckets: Vec<f64>,
    pub custom_bounds: Vec<f64>,
    /// True where the sender counted in integers; kept so that it can be told again.
    pub is_integer: bool,
}

impl Histogram {
    /// The histogram that marks the end of a series.
    pub fn stale() -> Histogram {
        Histogram { sum: stale_marker(), ..Histogram::default() }
    }

    pub fn is_stale(&self) -> bool {
        is_stale(self.sum)
    }

    pub fn has_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// True if the sender counted in integers and every count is one whose differences to others fit 64 bits, so that
    /// it can be told as one again.
    pub fn has_whole_counts(&self) -> bool {
        const COUNT_MAX: f64 = (1u64 << 62) as f64;
        let buckets = self.positive_buckets.iter().chain(&self.negative_buckets);
        let mut counts = [&self.count, &self.zero_count].into_iter().chain(buckets);
        self.is_integer && counts.all(|count| count.fract() == 0.0 && (0.0..=COUNT_MAX).contains(count))
    }

    /// Equal to the bit, hint and spelling of the spans included: the same sample sent twice.
    pub fn is_identical(&self, other: &Histogram) -> bool {
        self.hint == other.hint && self.is_integer == other.is_integer && self.has_layout_of(other) && {
            let bits = |h: &Histogram| [h.zero_count, h.count, h.sum].map(f64::to_bits);
            bits(self) == bits(other)
                && same_bits(&self.positive_buckets, &other.positive_buckets)
                && same_bits(&self.negative_buckets, &other.negative_buckets)
        }
    }

    /// PromQL's `==`: the same counts to the bit in the same buckets. Hints are not compared, and an empty span
    /// makes no difference; an empty bucket does, so callers compact first.
    pub fn equals(&self, other: &Histogram) -> bool {
        let bits = |h: &Histogram| [h.zero_count, h.count, h.sum].map(f64::to_bits);
        self.schema == other.schema
            && self.zero_threshold == other.zero_threshold
            && self.custom_bounds == other.custom_bounds
            && bits(self) == bits(other)
            && self.positive_indexed().map(with_bits).eq(other.positive_indexed().map(with_bits))
            && self.negative_indexed().map(with_bits).eq(other.negative_indexed().map(with_bits))
    }

    /// True if the two differ in counts alone: bucket by bucket, they mean the same ranges.
    pub fn has_layout_of(&self, other: &Histogram) -> bool {
        self.schema == other.schema
            && self.zero_threshold.to_bits() == other.zero_threshold.to_bits()
            && self.positive_spans == other.positive_spans
            && self.negative_spans == other.negative_spans
            && self.positive_buckets.len() == other.positive_buckets.len()
            && self.negative_buckets.len() == other.negative_buckets.len()
            && same_bits(&self.custom_bounds, &other.custom_bounds)
    }
}

fn with_bits((index, count): (i32, f64)) -> (i32, u64) {
    (index, count.to_bits())
}

fn same_bits(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_span_makes_no_difference_to_equality_but_to_identity() {
        let one = Histogram {
            positive_spans: vec![Span { offset: 1, length: 1 }],
            positive_buckets: vec![2.0],
            ..Histogram::default()
        };
        let other = Histogram {
            positive_spans: vec![Span { offset: 0, length: 0 }, Span { offset: 1, length: 1 }],
            ..one.clone()
        };
        assert!(one.equals(&other));
        assert!(!one.is_identical(&other));
        assert!(one.equals(&Histogram { hint: ResetHint::Gauge, ..one.clone() }));
    }

    #[test]
    fn only_the_stale_marker_is_stale() {
        assert!(Histogram::stale().is_stale());
        assert!(!Histogram { sum: f64::NAN, ..Histogram::default() }.is_stale());
    }
}
