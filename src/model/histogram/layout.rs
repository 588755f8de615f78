//! Spans and counts to indexed buckets and back; compaction and loss of resolution.

use super::{Histogram, Span};

/// The buckets of one side with their indices, which increase.
pub(super) fn indexed(spans: &[Span], counts: &[f64]) -> impl Iterator<Item = (i32, f64)> {
    let mut next = 0i32;
    let indices = spans.iter().flat_map(move |span| {
        // No histogram that was validated wraps around.
        let first = next.wrapping_add(span.offset);
        next = first.wrapping_add(span.length as i32);
        (0..span.length).map(move |i| first.wrapping_add(i as i32))
    });
    indices.zip(counts.iter().copied())
}

/// The inverse of [`indexed`]: neighbours share a span, and no span is empty.
pub(super) fn from_indexed(buckets: impl Iterator<Item = (i32, f64)>) -> (Vec<Span>, Vec<f64>) {
    let (mut spans, mut counts) = (Vec::<Span>::new(), Vec::new());
    let mut next = 0i32;
    for (index, count) in buckets {
        match spans.last_mut() {
            Some(span) if index == next => span.length += 1,
            _ => spans.push(Span { offset: index.wrapping_sub(next), length: 1 }),
        }
        next = index.wrapping_add(1);
        counts.push(count);
    }
    (spans, counts)
}

/// Adds up the counts of neighbours that have one index.
pub(super) fn merge_neighbours<T: Copy>(buckets: &mut Vec<(i32, T)>, add: impl Fn(&mut T, T)) {
    buckets.dedup_by(|next, kept| {
        let is_same = next.0 == kept.0;
        if is_same {
            add(&mut kept.1, next.1);
        }
        is_same
    });
}

/// The index of the bucket that holds bucket `index` at a coarser schema.
pub(super) fn coarser_index(index: i32, schema: i32, target: i32) -> i32 {
    let shift = schema.saturating_sub(target).clamp(0, 63);
    (((i64::from(index) - 1) >> shift) + 1) as i32
}

impl Histogram {
    /// Drops empty buckets and merges neighbouring spans, but keeps up to `empty_max` empty buckets in a row
    /// between two populated ones, where a new span would take more room.
    pub fn compact(&mut self, empty_max: u32) {
        for (spans, counts) in self.spans_and_buckets_mut() {
            if !is_compact(spans, counts, empty_max) {
                let populated = indexed(spans, counts).filter(|&(_, count)| count != 0.0);
                (*spans, *counts) = from_indexed(fill_gaps(populated, empty_max));
            }
        }
    }

    /// Merges buckets until they have the coarser schema `target`; a no-op for one that is not coarser, and for
    /// custom buckets.
    pub fn reduce_resolution(&mut self, target: i32) {
        if self.has_custom_buckets() || target >= self.schema {
            return;
        }
        let schema = self.schema;
        for (spans, counts) in self.spans_and_buckets_mut() {
            let coarser = |(index, count)| (coarser_index(index, schema, target), count);
            let mut merged: Vec<_> = indexed(spans, counts).map(coarser).collect();
            merge_neighbours(&mut merged, |sum, count| *sum += count);
            (*spans, *counts) = from_indexed(merged.into_iter());
        }
        self.schema = target;
    }
}

fn is_compact(spans: &[Span], counts: &[f64], empty_max: u32) -> bool {
    let gap_is_wide = |span: &Span| i64::from(span.offset) > i64::from(empty_max);
    spans.iter().skip(1).all(gap_is_wide)
        && spans.iter().all(|span| span.length > 0)
        && counts.iter().all(|&count| count != 0.0)
}

/// Puts empty buckets into gaps that are no wider than `empty_max`.
fn fill_gaps(buckets: impl Iterator<Item = (i32, f64)>, empty_max: u32) -> impl Iterator<Item = (i32, f64)> {
    let mut next = None::<i32>;
    buckets.flat_map(move |(index, count)| {
        let gap_start = match next {
            Some(next) if i64::from(index) - i64::from(next) <= i64::from(empty_max) => next,
            _ => index,
        };
        next = Some(index.wrapping_add(1));
        (gap_start..index).map(|empty| (empty, 0.0)).chain([(index, count)])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positive(spans: &[(i32, u32)], counts: &[f64]) -> Histogram {
        Histogram {
            positive_spans: spans.iter().map(|&(offset, length)| Span { offset, length }).collect(),
            positive_buckets: counts.to_vec(),
            ..Histogram::default()
        }
    }

    #[test]
    fn compaction_drops_empty_buckets_and_spans() {
        let mut histogram =
            positive(&[(-2, 3), (0, 0), (0, 2), (4, 2)], &[0.0, 1.0, 0.0, 0.0, 2.0, 0.0, 0.0]);
        histogram.compact(0);
        assert!(histogram.is_identical(&positive(&[(-1, 1), (2, 1)], &[1.0, 2.0])));
    }

    #[test]
    fn compaction_keeps_short_gaps_and_opens_long_ones() {
        let mut histogram = positive(&[(0, 1), (2, 1), (3, 1)], &[1.0, 2.0, 3.0]);
        histogram.compact(2);
        assert!(histogram.is_identical(&positive(&[(0, 4), (3, 1)], &[1.0, 0.0, 0.0, 2.0, 3.0])));
    }

    #[test]
    fn a_coarser_schema_merges_the_buckets_that_share_a_range() {
        // At schema 1 indices 1 and 2 share (1, 2], -1 and 0 share (1/2, 1].
        let mut histogram = Histogram { schema: 1, ..positive(&[(-1, 4)], &[1.0, 2.0, 4.0, 8.0]) };
        histogram.reduce_resolution(0);
        assert!(histogram.is_identical(&positive(&[(0, 2)], &[3.0, 12.0])));
    }

    #[test]
    fn a_schema_beyond_ours_is_reduced_too() {
        let mut histogram = Histogram { schema: 52, ..positive(&[(i32::MAX - 1, 1)], &[1.0]) };
        histogram.reduce_resolution(8);
        assert!(histogram.is_identical(&Histogram { schema: 8, ..positive(&[(1, 1)], &[1.0]) }));
    }
}
