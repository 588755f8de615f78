//! What is known of the samples of one series where they are not read as sent.

use std::sync::Arc;

use crate::model::Histogram;
use crate::model::histogram::ResetHint;
use crate::model::metrics::stale_marker;
use crate::model::rollup::{Columns, FloatBuckets, HistogramBuckets, NEVER};
use crate::storage::metrics::SampleBuffer;

/// Reused from series to series.
#[derive(Default)]
pub struct Buckets {
    pub floats: FloatBuckets,
    pub histograms: HistogramBuckets,
}

impl Buckets {
    /// The columns that are there, of whatever kind the samples are.
    pub fn has(&self) -> Columns {
        let floats = if self.floats.is_empty() { Columns::ALL } else { self.floats.has };
        let histograms = if self.histograms.is_empty() { Columns::ALL } else { self.histograms.has };
        // A histogram has no extremes, and nobody asks for them.
        floats.intersection(histograms.union(Columns::MIN).union(Columns::MAX))
    }

    /// The last sample of each bucket, and the stale marker after it.
    pub fn put_last_samples(&self, samples: &mut SampleBuffer) {
        samples.clear();
        let floats = &self.floats;
        for row in 0..floats.len() {
            if floats.counts[row] > 0 {
                samples.float_timestamps.push(floats.last_times[row]);
                samples.floats.push(floats.lasts[row]);
            }
            if floats.stale_at[row] != NEVER {
                samples.float_timestamps.push(floats.stale_at[row]);
                samples.floats.push(stale_marker());
            }
        }
        let histograms = &self.histograms;
        for row in 0..histograms.len() {
            if histograms.counts[row] > 0 {
                samples.histogram_timestamps.push(histograms.last_times[row]);
                samples.histograms.push(without_reset_hint(histograms.lasts[row].clone()));
            }
            if histograms.stale_at[row] != NEVER {
                samples.histogram_timestamps.push(histograms.stale_at[row]);
                samples.histograms.push(Histogram { sum: stale_marker(), ..Histogram::default() }.into());
            }
        }
    }
}

/// Between samples that are not neighbours, what one histogram says of the one before it holds no more.
pub fn without_reset_hint(histogram: Arc<Histogram>) -> Arc<Histogram> {
    match histogram.hint {
        ResetHint::Reset | ResetHint::NotReset => {
            let mut copy = (*histogram).clone();
            copy.hint = ResetHint::Unknown;
            copy.into()
        }
        ResetHint::Unknown | ResetHint::Gauge => histogram,
    }
}
