//! Buckets with their bounds, as people read them.

use super::bounds::upper_bound;
use super::layout::indexed;
use super::{Histogram, Span};

/// One bucket. Which bounds belong to it follows from its side: exponential buckets include the bound that is
/// farther from zero, custom ones the upper (the first its lower too), the zero bucket both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    pub lower: f64,
    pub upper: f64,
    pub lower_inclusive: bool,
    pub upper_inclusive: bool,
    pub count: f64,
}

impl Bucket {
    /// The first number of a bucket in the HTTP API: 0 open left, 1 open right, 2 open both, 3 closed both.
    pub fn boundaries(&self) -> u8 {
        match (self.lower_inclusive, self.upper_inclusive) {
            (false, true) => 0,
            (true, false) => 1,
            (false, false) => 2,
            (true, true) => 3,
        }
    }
}

impl Histogram {
    /// All buckets in ascending order: negative ones, the zero bucket if it is populated, positive ones. Where a
    /// bucket overlaps the zero bucket it ends at the zero threshold. Empty buckets of a span are among them.
    pub fn buckets(&self) -> impl DoubleEndedIterator<Item = Bucket> {
        let clip_lower = |bucket: Bucket| match bucket.lower > 0.0 && bucket.lower < self.zero_threshold {
            true => Bucket { lower: self.zero_threshold, ..bucket },
            false => bucket,
        };
        let clip_upper = |bucket: Bucket| match bucket.upper < 0.0 && bucket.upper > -self.zero_threshold {
            true => Bucket { upper: -self.zero_threshold, ..bucket },
            false => bucket,
        };
        let zero = (self.zero_count > 0.0).then(|| self.zero_bucket());
        self.negative().rev().map(clip_upper).chain(zero).chain(self.positive().map(clip_lower))
    }

    pub fn zero_bucket(&self) -> Bucket {
        Bucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count: self.zero_count,
        }
    }

    /// The buckets above zero, or the custom ones, in ascending order; one for each of `positive_buckets`.
    pub fn positive(&self) -> impl DoubleEndedIterator<Item = Bucket> {
        let slots: Vec<_> = self.positive_indexed().collect();
        slots.into_iter().map(|(index, count)| {
            let bound = |i| upper_bound(i, self.schema, &self.custom_bounds);
            Bucket {
                lower: bound(index.saturating_sub(1)),
                upper: bound(index),
                lower_inclusive: self.has_custom_buckets() && index == 0,
                upper_inclusive: true,
                count,
            }
        })
    }

    /// The buckets below zero in descending order, away from zero; one for each of `negative_buckets`.
    pub fn negative(&self) -> impl DoubleEndedIterator<Item = Bucket> {
        let slots: Vec<_> = self.negative_indexed().collect();
        slots.into_iter().map(|(index, count)| Bucket {
            lower: -upper_bound(index, self.schema, &[]),
            upper: -upper_bound(index.saturating_sub(1), self.schema, &[]),
            lower_inclusive: true,
            upper_inclusive: false,
            count,
        })
    }

    pub(super) fn positive_indexed(&self) -> impl Iterator<Item = (i32, f64)> {
        indexed(&self.positive_spans, &self.positive_buckets)
    }

    pub(super) fn negative_indexed(&self) -> impl Iterator<Item = (i32, f64)> {
        indexed(&self.negative_spans, &self.negative_buckets)
    }

    pub(super) fn spans_and_buckets_mut(&mut self) -> [(&mut Vec<Span>, &mut Vec<f64>); 2] {
        [
            (&mut self.positive_spans, &mut self.positive_buckets),
            (&mut self.negative_spans, &mut self.negative_buckets),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::super::CUSTOM_BUCKETS_SCHEMA;
    use super::*;

    #[test]
    fn all_buckets_ascend_and_stop_at_the_zero_bucket() {
        let histogram = Histogram {
            zero_threshold: 0.75,
            zero_count: 5.0,
            positive_spans: vec![Span { offset: 0, length: 2 }],
            positive_buckets: vec![1.0, 2.0],
            negative_spans: vec![Span { offset: 0, length: 1 }, Span { offset: 1, length: 1 }],
            negative_buckets: vec![3.0, 4.0],
            ..Histogram::default()
        };
        let printed: Vec<_> =
            histogram.buckets().map(|b| (b.boundaries(), b.lower, b.upper, b.count)).collect();
        let expected = [
            (1, -4.0, -2.0, 4.0),
            (1, -1.0, -0.75, 3.0),
            (3, -0.75, 0.75, 5.0),
            (0, 0.75, 1.0, 1.0),
            (0, 1.0, 2.0, 2.0),
        ];
        assert_eq!(printed, expected);
        let mut backwards: Vec<_> = histogram.buckets().rev().collect();
        backwards.reverse();
        assert_eq!(backwards, histogram.buckets().collect::<Vec<_>>());
    }

    #[test]
    fn the_first_custom_bucket_is_closed_on_both_sides() {
        let histogram = Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            custom_bounds: vec![1.0],
            positive_spans: vec![Span { offset: 0, length: 2 }],
            positive_buckets: vec![1.0, 2.0],
            ..Histogram::default()
        };
        let printed: Vec<_> = histogram.buckets().map(|b| (b.boundaries(), b.lower, b.upper)).collect();
        assert_eq!(printed, [(3, f64::NEG_INFINITY, 1.0), (0, 1.0, f64::INFINITY)]);
    }
}
