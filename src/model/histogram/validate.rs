//! What a histogram must be before it is stored.

use std::fmt;

use super::{CUSTOM_BUCKETS_SCHEMA, Histogram, SCHEMA_MAX, SCHEMA_MIN, Span};

/// The half of the number line that buckets lie on. Custom buckets are positive ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Positive,
    Negative,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Positive => "positive",
            Side::Negative => "negative",
        })
    }
}

/// Why a histogram is refused. Where Prometheus refuses it too, the text is close to Prometheus's.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum HistogramError {
    #[error(
        "histogram has an invalid schema, which must be between {SCHEMA_MIN} and {SCHEMA_MAX} for exponential \
         buckets, or {CUSTOM_BUCKETS_SCHEMA} for custom buckets, got schema {0}"
    )]
    Schema(i32),
    #[error("histogram has {found} buckets, spans or bounds, at most {max} are allowed")]
    TooManyBuckets { found: usize, max: usize },
    #[error(
        "{side} side: span number {number} with offset {offset}: histogram has a span whose offset is negative"
    )]
    NegativeOffset { side: Side, number: usize, offset: i32 },
    #[error("{side} side: histogram has a span that ends beyond the range of bucket indices")]
    IndexOverflow { side: Side },
    #[error(
        "{side} side: spans need {wanted} buckets, have {found} buckets: histogram spans specify different number \
         of buckets than provided"
    )]
    SpansBucketsMismatch { side: Side, wanted: u64, found: usize },
    #[error(
        "{side} side: bucket number {number} has observation count of {count}, which must be finite and not negative"
    )]
    BucketCount { side: Side, number: usize, count: f64 },
    #[error("zero bucket has observation count of {0}, which must be finite and not negative")]
    ZeroCount(f64),
    #[error("observation count is {0}, which must be finite and not negative")]
    Count(f64),
    #[error("zero threshold is {0}, which must be finite and not negative")]
    ZeroThreshold(f64),
    #[error("{found} observations found in buckets, but the Count field is {count}")]
    CountMismatch { found: f64, count: f64 },
    #[error("histogram custom bounds must be finite, got {0}")]
    BoundNotFinite(f64),
    #[error(
        "histogram custom bounds must be in strictly increasing order: previous bound is {previous} and current is {current}"
    )]
    BoundsOrder { previous: f64, current: f64 },
    #[error(
        "only {bounds} custom bounds defined which is insufficient to cover total span length of {spanned}"
    )]
    TooFewBounds { bounds: usize, spanned: u64 },
    #[error("custom buckets: must have neither negative buckets nor a zero bucket")]
    CustomWithOtherBuckets,
    #[error("histogram with exponential schema must not have custom bounds")]
    ExponentialWithBounds,
}

impl Histogram {
    /// Checks what came from outside. What passes is safe to compute with, and costs no more than `buckets_max`
    /// buckets however it is merged with others of its schema.
    pub fn validate(&self, buckets_max: usize) -> Result<(), HistogramError> {
        self.check_sizes(buckets_max)?;
        self.check_layout()?;
        check_counts(Side::Positive, &self.positive_buckets)?;
        check_counts(Side::Negative, &self.negative_buckets)?;
        if !is_count(self.zero_count) {
            return Err(HistogramError::ZeroCount(self.zero_count));
        }
        if !is_count(self.count) {
            return Err(HistogramError::Count(self.count));
        }
        if self.is_integer { self.check_total() } else { Ok(()) }
    }

    /// The part of [`Histogram::validate`] that looks at schema, spans and bounds, not at counts.
    pub fn check_layout(&self) -> Result<(), HistogramError> {
        match self.schema {
            CUSTOM_BUCKETS_SCHEMA => self.check_custom(),
            SCHEMA_MIN..=SCHEMA_MAX => self.check_exponential(),
            other => Err(HistogramError::Schema(other)),
        }
    }

    fn check_sizes(&self, buckets_max: usize) -> Result<(), HistogramError> {
        let buckets = self.positive_buckets.len() + self.negative_buckets.len();
        let spans = self.positive_spans.len() + self.negative_spans.len();
        let found = buckets.max(spans).max(self.custom_bounds.len());
        if found > buckets_max {
            return Err(HistogramError::TooManyBuckets { found, max: buckets_max });
        }
        Ok(())
    }

    fn check_exponential(&self) -> Result<(), HistogramError> {
        if !self.custom_bounds.is_empty() {
            return Err(HistogramError::ExponentialWithBounds);
        }
        if !is_count(self.zero_threshold) {
            return Err(HistogramError::ZeroThreshold(self.zero_threshold));
        }
        check_spans(Side::Positive, &self.positive_spans, self.positive_buckets.len())?;
        check_spans(Side::Negative, &self.negative_spans, self.negative_buckets.len())
    }

    fn check_custom(&self) -> Result<(), HistogramError> {
        let has_negative = !self.negative_spans.is_empty() || !self.negative_buckets.is_empty();
        if has_negative || self.zero_count != 0.0 || self.zero_threshold != 0.0 {
            return Err(HistogramError::CustomWithOtherBuckets);
        }
        if let Some(&bound) = self.custom_bounds.iter().find(|bound| !bound.is_finite()) {
            return Err(HistogramError::BoundNotFinite(bound));
        }
        if let Some(pair) = self.custom_bounds.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(HistogramError::BoundsOrder { previous: pair[0], current: pair[1] });
        }
        if let Some(Span { offset, .. }) = self.positive_spans.first().filter(|span| span.offset < 0) {
            return Err(HistogramError::NegativeOffset { side: Side::Positive, number: 1, offset: *offset });
        }
        check_spans(Side::Positive, &self.positive_spans, self.positive_buckets.len())?;
        let spanned = self.positive_spans.iter().map(|s| s.offset as u64 + u64::from(s.length)).sum();
        // One bucket more than bounds: the last one ends at +Inf.
        if spanned > self.custom_bounds.len() as u64 + 1 {
            return Err(HistogramError::TooFewBounds { bounds: self.custom_bounds.len(), spanned });
        }
        Ok(())
    }

    /// Integers have no rounding to excuse: the buckets add up to the count. Observations of NaN are in no
    /// bucket, but they show in the sum.
    fn check_total(&self) -> Result<(), HistogramError> {
        let buckets = self.positive_buckets.iter().chain(&self.negative_buckets);
        let found = self.zero_count + buckets.sum::<f64>();
        let adds_up = if self.sum.is_nan() { found <= self.count } else { found == self.count };
        if adds_up { Ok(()) } else { Err(HistogramError::CountMismatch { found, count: self.count }) }
    }
}

fn is_count(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

fn check_counts(side: Side, counts: &[f64]) -> Result<(), HistogramError> {
    match counts.iter().position(|&count| !is_count(count)) {
        Some(i) => Err(HistogramError::BucketCount { side, number: i + 1, count: counts[i] }),
        None => Ok(()),
    }
}

fn check_spans(side: Side, spans: &[Span], buckets: usize) -> Result<(), HistogramError> {
    let (mut wanted, mut next) = (0u64, 0i64);
    for (i, span) in spans.iter().enumerate() {
        if i > 0 && span.offset < 0 {
            return Err(HistogramError::NegativeOffset { side, number: i + 1, offset: span.offset });
        }
        wanted += u64::from(span.length);
        next += i64::from(span.offset) + i64::from(span.length);
        // The bucket before the first and the one after the last have an index too.
        if span.offset == i32::MIN || next >= i64::from(i32::MAX) {
            return Err(HistogramError::IndexOverflow { side });
        }
    }
    if wanted != buckets as u64 {
        return Err(HistogramError::SpansBucketsMismatch { side, wanted, found: buckets });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid() -> Histogram {
        Histogram {
            schema: 3,
            zero_threshold: 0.001,
            zero_count: 1.0,
            count: 10.0,
            sum: 12.5,
            positive_spans: vec![Span { offset: -3, length: 2 }, Span { offset: 1, length: 1 }],
            positive_buckets: vec![1.0, 2.0, 3.0],
            negative_spans: vec![Span { offset: 0, length: 1 }],
            negative_buckets: vec![3.0],
            is_integer: true,
            ..Histogram::default()
        }
    }

    fn custom() -> Histogram {
        Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count: 3.0,
            custom_bounds: vec![-1.0, 0.5],
            positive_spans: vec![Span { offset: 0, length: 1 }, Span { offset: 1, length: 1 }],
            positive_buckets: vec![1.0, 2.0],
            ..Histogram::default()
        }
    }

    fn refusal(change: impl FnOnce(&mut Histogram)) -> HistogramError {
        let mut histogram = valid();
        change(&mut histogram);
        histogram.validate(1000).unwrap_err()
    }

    #[test]
    fn ordinary_and_stale_histograms_pass() {
        for histogram in [valid(), custom(), Histogram::default(), Histogram::stale()] {
            assert_eq!(histogram.validate(1000), Ok(()));
        }
        assert_eq!(Histogram { is_integer: true, ..Histogram::stale() }.validate(0), Ok(()));
    }

    #[test]
    fn schemas_outside_the_range_are_refused() {
        for schema in [-5, 9, 127, -54, i32::MIN, i32::MAX] {
            assert_eq!(refusal(|h| h.schema = schema), HistogramError::Schema(schema));
        }
    }

    #[test]
    fn spans_must_go_forward_fit_the_buckets_and_stay_in_range() {
        use HistogramError::*;
        let side = Side::Positive;
        assert_eq!(
            refusal(|h| h.positive_spans[1].offset = -1),
            NegativeOffset { side, number: 2, offset: -1 }
        );
        assert_eq!(
            refusal(|h| h.positive_spans[1].length = 9),
            SpansBucketsMismatch { side, wanted: 11, found: 3 }
        );
        assert_eq!(refusal(|h| h.positive_spans[1].offset = i32::MAX), IndexOverflow { side });
        assert_eq!(refusal(|h| h.positive_spans[0].length = u32::MAX), IndexOverflow { side });
        assert_eq!(
            refusal(|h| h.negative_spans[0].offset = i32::MIN),
            IndexOverflow { side: Side::Negative }
        );
    }

    #[test]
    fn counts_must_be_finite_and_not_negative() {
        for bad in [-1.0, f64::INFINITY] {
            assert_eq!(refusal(|h| h.count = bad), HistogramError::Count(bad));
            assert_eq!(refusal(|h| h.zero_count = bad), HistogramError::ZeroCount(bad));
            assert_eq!(refusal(|h| h.zero_threshold = bad), HistogramError::ZeroThreshold(bad));
            let at = |side, number| HistogramError::BucketCount { side, number, count: bad };
            assert_eq!(refusal(|h| h.positive_buckets[2] = bad), at(Side::Positive, 3));
            assert_eq!(refusal(|h| h.negative_buckets[0] = bad), at(Side::Negative, 1));
        }
        assert!(matches!(refusal(|h| h.positive_buckets[0] = f64::NAN), HistogramError::BucketCount { .. }));
    }

    #[test]
    fn integer_buckets_add_up_to_the_count_unless_nan_was_observed() {
        assert_eq!(refusal(|h| h.count = 11.0), HistogramError::CountMismatch { found: 10.0, count: 11.0 });
        let with_nan = Histogram { count: 11.0, sum: f64::NAN, ..valid() };
        assert_eq!(with_nan.validate(1000), Ok(()));
        assert_eq!(Histogram { count: 11.0, is_integer: false, ..valid() }.validate(1000), Ok(()));
    }

    #[test]
    fn a_million_buckets_are_refused() {
        let found = 1_000_000;
        let error = refusal(|h| h.positive_buckets = vec![0.0; found]);
        assert!(matches!(error, HistogramError::TooManyBuckets { max: 1000, .. }));
        let spans = vec![Span { offset: 0, length: 0 }; found];
        assert!(matches!(refusal(|h| h.positive_spans = spans), HistogramError::TooManyBuckets { .. }));
    }

    #[test]
    fn custom_bounds_are_finite_increase_and_suffice() {
        use HistogramError::*;
        let with = |bounds: &[f64]| Histogram { custom_bounds: bounds.to_vec(), ..custom() }.validate(1000);
        assert_eq!(with(&[1.0, 1.0]), Err(BoundsOrder { previous: 1.0, current: 1.0 }));
        assert_eq!(with(&[1.0, f64::INFINITY]), Err(BoundNotFinite(f64::INFINITY)));
        assert_eq!(with(&[1.0]), Err(TooFewBounds { bounds: 1, spanned: 3 }));
        assert_eq!(Histogram { zero_count: 1.0, ..custom() }.validate(1000), Err(CustomWithOtherBuckets));
        assert_eq!(refusal(|h| h.custom_bounds = vec![1.0]), ExponentialWithBounds);
    }
}
