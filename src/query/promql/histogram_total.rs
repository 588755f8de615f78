//! Sums and means of native histograms, over a group or over a window.

use super::histogram_functions::{HistogramNote, HistogramOperation};
use crate::model::Histogram;
use crate::model::histogram::{HistogramSum, MixedSchemas, Reconciled, ResetHint};

/// What has been seen on the way, told once at the end.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    reset: bool,
    not_reset: bool,
    reconciled: bool,
}

impl Seen {
    fn hint(&mut self, hint: ResetHint) {
        self.reset |= hint == ResetHint::Reset;
        self.not_reset |= hint == ResetHint::NotReset;
    }

    fn notes(self) -> Vec<HistogramNote> {
        let collision = HistogramNote::CounterResetCollision(HistogramOperation::Aggregation);
        let reconciled = HistogramNote::BoundsReconciled(HistogramOperation::Aggregation);
        let told = [(self.reset && self.not_reset, collision), (self.reconciled, reconciled)];
        told.into_iter().filter(|(is_seen, _)| *is_seen).map(|(_, note)| note).collect()
    }
}

/// `sum` and `sum_over_time`.
#[derive(Clone, Debug)]
pub struct HistogramTotal {
    sum: HistogramSum,
    seen: Seen,
}

impl HistogramTotal {
    pub fn new(first: &Histogram) -> HistogramTotal {
        let mut seen = Seen::default();
        seen.hint(first.hint);
        HistogramTotal { sum: HistogramSum::new(first), seen }
    }

    /// On an error there is no sum.
    pub fn add(&mut self, histogram: &Histogram) -> Result<(), MixedSchemas> {
        self.seen.hint(histogram.hint);
        let Reconciled { bounds_intersected, .. } = self.sum.add(histogram)?;
        self.seen.reconciled |= bounds_intersected;
        Ok(())
    }

    pub fn finish(self) -> (Histogram, Vec<HistogramNote>) {
        (compact(self.sum), self.seen.notes())
    }
}

/// `avg` and `avg_over_time`: the sum divided by the number of terms for as long as it is finite, from then on a
/// mean that is corrected with each term.
#[derive(Clone, Debug)]
pub struct HistogramMean {
    /// The sum of all terms so far, or their mean if `is_incremental`.
    state: HistogramSum,
    is_incremental: bool,
    terms: f64,
    seen: Seen,
}

impl HistogramMean {
    pub fn new(first: &Histogram) -> HistogramMean {
        let mut seen = Seen::default();
        seen.hint(first.hint);
        HistogramMean { state: HistogramSum::new(first), is_incremental: false, terms: 1.0, seen }
    }

    /// On an error there is no mean.
    pub fn add(&mut self, histogram: &Histogram) -> Result<(), MixedSchemas> {
        self.seen.hint(histogram.hint);
        if !self.is_incremental {
            let mut sum = self.state.clone();
            self.seen.reconciled |= sum.add(histogram)?.bounds_intersected;
            if !sum.has_overflow() {
                self.state = sum;
                self.terms += 1.0;
                return Ok(());
            }
            self.is_incremental = true;
            self.state.div(self.terms);
        }
        self.terms += 1.0;
        self.state.mul((self.terms - 1.0) / self.terms);
        let mut share = histogram.clone();
        share.div(self.terms);
        self.seen.reconciled |= self.state.add(&share)?.bounds_intersected;
        Ok(())
    }

    pub fn finish(mut self) -> (Histogram, Vec<HistogramNote>) {
        if !self.is_incremental {
            self.state.div(self.terms);
        }
        (compact(self.state), self.seen.notes())
    }
}

fn compact(sum: HistogramSum) -> Histogram {
    let mut total = sum.total();
    total.compact(0);
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::histogram::{CUSTOM_BUCKETS_SCHEMA, Span};

    fn histogram(count: f64) -> Histogram {
        Histogram {
            count,
            sum: count,
            positive_spans: vec![Span { offset: 0, length: 1 }],
            positive_buckets: vec![count],
            ..Histogram::default()
        }
    }

    fn total(terms: &[Histogram]) -> (Histogram, Vec<HistogramNote>) {
        let mut total = HistogramTotal::new(&terms[0]);
        terms[1..].iter().for_each(|term| total.add(term).unwrap());
        total.finish()
    }

    fn mean(terms: &[Histogram]) -> Histogram {
        let mut mean = HistogramMean::new(&terms[0]);
        terms[1..].iter().for_each(|term| mean.add(term).unwrap());
        mean.finish().0
    }

    #[test]
    fn sums_keep_what_rounding_would_drop() {
        let sum = total(&[1e100, 1.0, -1e100].map(histogram)).0;
        assert!(sum.equals(&histogram(1.0)));
    }

    #[test]
    fn a_mean_survives_a_sum_that_overflows() {
        let mean = mean(&[f64::MAX, f64::MAX, f64::MAX].map(histogram));
        assert!((mean.count / f64::MAX - 1.0).abs() < 1e-15 && mean.positive_buckets[0].is_finite());
    }

    #[test]
    fn a_mean_of_few_is_their_sum_divided() {
        assert!(mean(&[histogram(7.0)]).equals(&histogram(7.0)));
        assert!(mean(&[1.0, 2.0, 6.0].map(histogram)).equals(&histogram(3.0)));
    }

    #[test]
    fn contradicting_hints_and_differing_bounds_are_told_once() {
        let custom = |bound, hint| Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            custom_bounds: vec![bound],
            hint,
            ..histogram(1.0)
        };
        let terms = [
            custom(1.0, ResetHint::Reset),
            custom(2.0, ResetHint::Unknown),
            custom(1.0, ResetHint::NotReset),
        ];
        let (sum, notes) = total(&terms);
        assert_eq!((sum.count, sum.custom_bounds.len()), (3.0, 0));
        let operation = HistogramOperation::Aggregation;
        assert_eq!(
            notes,
            [HistogramNote::CounterResetCollision(operation), HistogramNote::BoundsReconciled(operation)]
        );
    }

    #[test]
    fn exponential_and_custom_buckets_have_no_sum() {
        let custom = Histogram { schema: CUSTOM_BUCKETS_SCHEMA, ..histogram(1.0) };
        assert!(HistogramTotal::new(&histogram(1.0)).add(&custom).is_err());
        assert!(HistogramMean::new(&histogram(1.0)).add(&custom).is_err());
    }
}
