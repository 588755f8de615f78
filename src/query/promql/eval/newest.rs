//! The newest sample at or before each step, of samples.

use crate::model::Timestamp;
use crate::model::metrics::is_stale;
use crate::storage::metrics::SampleBuffer;

use super::float_walk::FilledSteps;
use super::newest_walk::NewestWalk;
use super::row::{Cell, Row};
use super::select::count_until;
use super::tally::Samples;

impl NewestWalk {
    /// As [`NewestWalk::fill`], of samples.
    pub fn fill_of_samples(&mut self, samples: &SampleBuffer) -> FilledSteps {
        if samples.histograms.is_empty() {
            return self.fill_of_floats(samples);
        }
        let (mut newest, mut row, mut seen) = (Newest::default(), Row::new(self.times.len()), 0);
        for (step, &at) in self.times.iter().enumerate() {
            if let Some((_, cell)) = newest.advance(samples, at, self.lookback_ms) {
                seen += cell.sample_count();
                row.set(step, Some(cell));
            }
        }
        FilledSteps { row, samples: Samples::new(seen), ..FilledSteps::default() }
    }
}

/// Walks the samples of a series forwards and knows the newest at or before a time that never decreases.
#[derive(Default)]
pub struct Newest {
    floats: usize,
    histograms: usize,
}

impl Newest {
    pub fn advance(
        &mut self,
        samples: &SampleBuffer,
        at: Timestamp,
        lookback_ms: i64,
    ) -> Option<(Timestamp, Cell)> {
        self.floats += count_until(&samples.float_timestamps[self.floats..], at);
        self.histograms += count_until(&samples.histogram_timestamps[self.histograms..], at);
        let float = self.floats.checked_sub(1).map(|i| samples.float_timestamps[i]);
        let histogram = self.histograms.checked_sub(1).map(|i| samples.histogram_timestamps[i]);
        let newest = float.max(histogram)?;
        if newest <= at.saturating_sub(lookback_ms) {
            return None;
        }
        if float > histogram {
            let value = samples.floats[self.floats - 1];
            return (!is_stale(value)).then_some((newest, Cell::Float(value)));
        }
        let value = &samples.histograms[self.histograms - 1];
        (!is_stale(value.sum)).then(|| (newest, Cell::Histogram(value.clone())))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::metrics::stale_marker;

    fn floats() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec(prop_oneof![5 => (0i32..9).prop_map(f64::from), 1 => Just(stale_marker())], 40)
    }

    proptest! {
        #[test]
        fn what_was_found_of_times_holds_for_all_series_that_share_them(
            gaps in prop::collection::vec(1i64..20, 0..40), step_ms in 1i64..40, lookback_ms in 1i64..40,
            series in prop::collection::vec((floats(), 0usize..3), 1..6),
        ) {
            let times: Vec<Timestamp> = (0..20).map(|step| 30 + step * step_ms).collect();
            let mut walk = NewestWalk::new(times.clone().into(), lookback_ms);
            for (floats, left_out) in series {
                let all = gaps.iter().scan(0, |time, gap| { *time += gap; Some(*time) });
                let timestamps: Vec<Timestamp> = all.skip(left_out).collect();
                let samples = SampleBuffer::of_floats(timestamps, floats[..gaps.len().saturating_sub(left_out)].to_vec());
                let mut newest = Newest::default();
                let mut found_at = |at: &Timestamp| newest.advance(&samples, *at, lookback_ms).and_then(|(_, cell)| cell.float());
                let expected: Vec<Option<f64>> = times.iter().map(&mut found_at).collect();
                let filled = walk.fill_of_samples(&samples);
                prop_assert_eq!(filled.samples, Samples::new(expected.iter().flatten().count() as u64));
                prop_assert_eq!((0..times.len()).map(|step| filled.row.float(step)).collect::<Vec<_>>(), expected);
            }
        }
    }
}
