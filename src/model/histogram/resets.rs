//! Whether a counter was reset between two histograms of a series.

use super::arithmetic::{HistogramSum, intersect};
use super::{Histogram, ResetHint};
use crate::model::CompensatedSum;

impl ResetHint {
    /// The hint of a sum or difference, and whether the two contradict each other.
    pub(super) fn combined(self, other: ResetHint) -> (ResetHint, bool) {
        use ResetHint::*;
        match (self, other) {
            (a, b) if a == b => (a, false),
            (Gauge, _) | (_, Gauge) => (Gauge, false),
            (Unknown, _) | (_, Unknown) => (Unknown, false),
            (Reset | NotReset, _) => (Unknown, true),
        }
    }

    /// What a reader is told about `current`, stored after `previous`: that nothing was reset in between if that
    /// is sure, else nothing. A reset is not told, because the reader finds it in the counts.
    pub fn after(previous: Option<&Histogram>, current: &Histogram) -> ResetHint {
        if current.hint == ResetHint::Gauge {
            return ResetHint::Gauge;
        }
        let follows = previous.is_some_and(|previous| {
            previous.hint != ResetHint::Gauge
                && previous.is_stale() == current.is_stale()
                && previous.schema == current.schema
                && previous.zero_threshold == current.zero_threshold
                && previous.custom_bounds == current.custom_bounds
                && !current.detect_reset(previous)
        });
        if follows { ResetHint::NotReset } else { ResetHint::Unknown }
    }
}

impl Histogram {
    /// True if this histogram cannot follow `previous` without a counter reset in between: the hint says so, or a
    /// count has fallen, or the resolution has risen, or the zero bucket has become narrower or now cuts through
    /// a populated bucket. Where the layout is coarser than before, what was before is made as coarse first.
    pub fn detect_reset(&self, previous: &Histogram) -> bool {
        match self.hint {
            ResetHint::Reset => return true,
            ResetHint::NotReset => return false,
            // A gauge has no resets, but who asks for its rate gets it as if it were a counter, and a warning.
            ResetHint::Unknown | ResetHint::Gauge => {}
        }
        if self.count < previous.count || self.has_custom_buckets() && !previous.has_custom_buckets() {
            return true;
        }
        if self.has_layout_of(previous) {
            let has_fallen =
                |now: &[f64], before: &[f64]| now.iter().zip(before).any(|(now, before)| now < before);
            return self.zero_count < previous.zero_count
                || has_fallen(&self.positive_buckets, &previous.positive_buckets)
                || has_fallen(&self.negative_buckets, &previous.negative_buckets);
        }
        if self.has_custom_buckets() {
            return self.has_fallen_in_custom_buckets(previous);
        }
        if self.schema > previous.schema || self.zero_threshold < previous.zero_threshold {
            return true;
        }
        let mut before = HistogramSum::new(previous);
        if before.zero_threshold < self.zero_threshold {
            before.raise_zero_threshold(self.zero_threshold);
        }
        if before.zero_threshold != self.zero_threshold || self.zero_count < before.zero_count.total() {
            return true;
        }
        before.reduce_resolution(self.schema);
        let now = HistogramSum::new(self);
        has_lost(&now.positive, &before.positive) || has_lost(&now.negative, &before.negative)
    }

    fn has_fallen_in_custom_buckets(&self, previous: &Histogram) -> bool {
        let (mut now, mut before) = (HistogramSum::new(self), HistogramSum::new(previous));
        if self.custom_bounds != previous.custom_bounds {
            let shared = intersect(&self.custom_bounds, &previous.custom_bounds);
            now.rebucket(&shared);
            before.rebucket(&shared);
        }
        has_lost(&now.positive, &before.positive)
    }
}

/// True if some bucket of `before` holds less now, or was populated and is gone.
fn has_lost(now: &[(i32, CompensatedSum)], before: &[(i32, CompensatedSum)]) -> bool {
    let mut now = now.iter().peekable();
    before.iter().any(|(index, before)| {
        while now.next_if(|slot| slot.0 < *index).is_some() {}
        match now.next_if(|slot| slot.0 == *index) {
            Some((_, now)) => now.total() < before.total(),
            None => before.total() != 0.0,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::{CUSTOM_BUCKETS_SCHEMA, Span};
    use super::*;

    fn counter(first: i32, counts: &[f64]) -> Histogram {
        Histogram {
            count: counts.iter().sum(),
            positive_spans: vec![Span { offset: first, length: counts.len() as u32 }],
            positive_buckets: counts.to_vec(),
            ..Histogram::default()
        }
    }

    fn custom(bounds: &[f64], counts: &[f64]) -> Histogram {
        Histogram { schema: CUSTOM_BUCKETS_SCHEMA, custom_bounds: bounds.to_vec(), ..counter(0, counts) }
    }

    #[test]
    fn a_hint_decides_before_the_counts_do() {
        let (less, more) = (counter(0, &[1.0]), counter(0, &[2.0]));
        assert!(less.detect_reset(&more));
        assert!(!Histogram { hint: ResetHint::NotReset, ..less }.detect_reset(&more));
        assert!(Histogram { hint: ResetHint::Reset, ..more.clone() }.detect_reset(&more));
    }

    #[test]
    fn a_bucket_that_falls_or_goes_is_a_reset_even_if_the_count_rises() {
        let before = counter(0, &[1.0, 2.0, 0.0]);
        assert!(counter(0, &[9.0, 1.0, 0.0]).detect_reset(&before));
        assert!(counter(0, &[9.0]).detect_reset(&before));
        assert!(counter(1, &[9.0]).detect_reset(&before));
        assert!(!counter(-1, &[5.0, 1.0, 2.0]).detect_reset(&before));
    }

    #[test]
    fn a_coarser_schema_is_no_reset_but_a_finer_one_is() {
        let fine = Histogram { schema: 1, ..counter(1, &[1.0, 2.0]) };
        let coarse = counter(1, &[3.0]);
        assert!(!coarse.detect_reset(&fine));
        assert!(fine.detect_reset(&coarse));
        assert!(counter(1, &[2.0]).detect_reset(&Histogram { count: 2.0, ..fine }));
    }

    #[test]
    fn a_wider_zero_bucket_takes_in_whole_buckets_only() {
        let before = counter(0, &[1.0, 2.0]);
        let wider = |zero_threshold, zero_count| Histogram {
            zero_threshold,
            zero_count,
            count: 3.0,
            ..counter(1, &[2.0])
        };
        assert!(!wider(1.0, 1.0).detect_reset(&before));
        assert!(wider(1.0, 0.5).detect_reset(&before));
        assert!(wider(1.5, 1.0).detect_reset(&before));
        assert!(before.detect_reset(&wider(1.0, 1.0)));
    }

    #[test]
    fn custom_buckets_are_compared_at_the_bounds_they_share() {
        let before = custom(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0, 4.0]);
        assert!(!custom(&[2.0, 4.0], &[3.0, 0.0, 7.0]).detect_reset(&before));
        assert!(custom(&[2.0, 4.0], &[2.0, 9.0, 9.0]).detect_reset(&before));
        assert!(before.detect_reset(&counter(0, &[1.0])));
    }

    #[test]
    fn a_reader_is_told_of_gauges_and_of_counters_that_go_on() {
        use ResetHint::*;
        let (less, more) = (counter(0, &[1.0]), counter(0, &[2.0]));
        let gauge = Histogram { hint: Gauge, ..less.clone() };
        assert_eq!(ResetHint::after(None, &less), Unknown);
        assert_eq!(ResetHint::after(Some(&less), &more), NotReset);
        assert_eq!(ResetHint::after(Some(&more), &less), Unknown);
        assert_eq!(ResetHint::after(Some(&gauge), &more), Unknown);
        assert_eq!(ResetHint::after(Some(&less), &gauge), Gauge);
        assert_eq!(ResetHint::after(Some(&Histogram::stale()), &more), Unknown);
    }
}
