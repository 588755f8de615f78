//! What one request writes, already split by shard.

use crate::model::{Exemplar, Histogram, MetricMetadata, Timestamp};
use crate::storage::metrics::SeriesRef;

/// One float sample; `id` is the series' id in the shard.
#[derive(Clone, Copy, Debug)]
pub struct SampleRow {
    pub id: u32,
    pub timestamp: Timestamp,
    pub value: f64,
}

#[derive(Clone, Debug)]
pub struct HistogramRow {
    pub id: u32,
    pub timestamp: Timestamp,
    pub histogram: Box<Histogram>,
}

/// From `timestamp` on, the series counts since `start` (remote write 2.0's created timestamp, OTLP's start time).
#[derive(Clone, Copy, Debug)]
pub struct StartRow {
    pub id: u32,
    pub timestamp: Timestamp,
    pub start: Timestamp,
}

/// A delta over `(start, timestamp]`; the shard adds it to the running total and stores that.
#[derive(Clone, Copy, Debug)]
pub struct DeltaRow {
    pub id: u32,
    pub start: Timestamp,
    pub timestamp: Timestamp,
    pub delta: f64,
}

/// As [`DeltaRow`], for a native histogram.
#[derive(Clone, Debug)]
pub struct DeltaHistogramRow {
    pub id: u32,
    pub start: Timestamp,
    pub timestamp: Timestamp,
    pub delta: Box<Histogram>,
}

#[derive(Clone, Debug)]
pub struct ExemplarRow {
    pub id: u32,
    pub exemplar: Exemplar,
}

/// The rows of one shard.
#[derive(Clone, Debug, Default)]
pub struct MetricRows {
    pub samples: Vec<SampleRow>,
    pub histograms: Vec<HistogramRow>,
    pub starts: Vec<StartRow>,
    pub deltas: Vec<DeltaRow>,
    pub delta_histograms: Vec<DeltaHistogramRow>,
    pub exemplars: Vec<ExemplarRow>,
    /// By metric family; any shard may hold it.
    pub metadata: Vec<(String, MetricMetadata)>,
}

impl MetricRows {
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
            && self.histograms.is_empty()
            && self.starts.is_empty()
            && self.deltas.is_empty()
            && self.delta_histograms.is_empty()
            && self.exemplars.is_empty()
            && self.metadata.is_empty()
    }
}

/// The rows of one request for all shards. Fields are pushed to directly; there is no invariant but that
/// `series_epoch` was read from the store before the first reference in here was resolved or looked up.
#[derive(Clone, Debug)]
pub struct MetricBatch {
    pub series_epoch: u64,
    pub shards: Vec<MetricRows>,
}

impl MetricBatch {
    pub fn new(shard_count: usize, series_epoch: u64) -> MetricBatch {
        MetricBatch { series_epoch, shards: vec![MetricRows::default(); shard_count] }
    }

    pub fn sample(&mut self, series: SeriesRef, timestamp: Timestamp, value: f64) {
        self.shards[series.shard as usize].samples.push(SampleRow { id: series.id, timestamp, value });
    }

    pub fn is_empty(&self) -> bool {
        self.shards.iter().all(MetricRows::is_empty)
    }
}
