//! The newest sample at or before each step, of samples.

use crate::model::Timestamp;
use crate::model::metrics::{is_stale, stale_marker};
use crate::storage::metrics::SampleBuffer;

use super::float_walk::FilledSteps;
use super::newest_walk::NewestWalk;
use super::row::{Cell, Row};
use super::select::count_until;
use super::tally::Samples;

impl NewestWalk {
    /// As [`NewestWalk::fill`], of samples.
    pub fn fill_of_samples(&self, samples: &SampleBuffer) -> FilledSteps {
        if samples.histograms.is_empty() {
            return self.fill_of_floats(&samples.float_timestamps, &samples.floats);
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

    fn fill_of_floats(&self, timestamps: &[Timestamp], floats: &[f64]) -> FilledSteps {
        let (mut next, mut seen) = (0, 0);
        let newest = |&at: &Timestamp| {
            next += count_until(&timestamps[next..], at);
            let newest = next.checked_sub(1).filter(|&i| timestamps[i] > at.saturating_sub(self.lookback_ms));
            let value = newest.map_or_else(stale_marker, |i| floats[i]);
            seen += u64::from(!is_stale(value));
            value
        };
        let values = self.times.iter().map(newest).collect();
        FilledSteps::of_floats(values, Samples::new(seen))
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
