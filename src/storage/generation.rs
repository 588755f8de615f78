//! A generation: what all shards took in between two seals, in memory and in the log under one number.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::logs::LogHead;
use super::metrics::Head;
use super::signal::Signal;
use super::traces::SpanHead;
use crate::model::{TimeRange, Timestamp};

pub(super) struct Generation {
    pub number: u64,
    /// When it was opened, to seal it by age.
    pub opened_at: Timestamp,
    /// One for each shard, as are the two others.
    pub metrics: Vec<Arc<Head>>,
    pub logs: Vec<Arc<LogHead>>,
    pub traces: Vec<Arc<SpanHead>>,
    min_seq: AtomicU64,
    max_seq: AtomicU64,
    /// Shards that still write to it.
    writing: AtomicUsize,
}

impl Generation {
    pub fn new(number: u64, opened_at: Timestamp, shards: usize, series_ids_max: usize) -> Generation {
        Generation {
            number,
            opened_at,
            metrics: (0..shards).map(|_| Arc::new(Head::new(series_ids_max))).collect(),
            logs: (0..shards).map(|_| Arc::default()).collect(),
            traces: (0..shards).map(|_| Arc::default()).collect(),
            min_seq: AtomicU64::new(u64::MAX),
            max_seq: AtomicU64::new(0),
            writing: AtomicUsize::new(shards),
        }
    }

    /// A shard will not write to it any more.
    pub fn leave(&self) {
        self.writing.fetch_sub(1, Ordering::Release);
    }

    /// Nobody writes to it any more, as after a replay.
    pub fn freeze(&self) {
        self.writing.store(0, Ordering::Release);
    }

    /// Whether all that will ever be in it is there.
    pub fn is_frozen(&self) -> bool {
        self.writing.load(Ordering::Acquire) == 0
    }

    /// Whether it holds neither rows nor anything else that takes memory.
    pub fn is_empty(&self) -> bool {
        self.row_count() == 0 && self.memory_bytes() == 0
    }

    /// A frame with this sequence number belongs to the generation.
    pub fn note_seq(&self, seq: u64) {
        self.min_seq.fetch_min(seq, Ordering::Relaxed);
        self.max_seq.fetch_max(seq, Ordering::Relaxed);
    }

    /// All that is in it comes after this sequence number, whatever the numbers of its first frames.
    pub fn comes_after(&self, seq: u64) {
        self.max_seq.fetch_max(seq + 1, Ordering::Relaxed);
    }

    /// The lowest and the highest sequence number of its frames.
    pub fn seqs(&self) -> (u64, u64) {
        (self.min_seq.load(Ordering::Relaxed), self.max_seq.load(Ordering::Relaxed))
    }

    /// Samples, entries and spans.
    pub fn row_count(&self) -> u64 {
        Signal::ALL.into_iter().map(|signal| self.rows_of(signal)).sum()
    }

    pub fn rows_of(&self, signal: Signal) -> u64 {
        match signal {
            Signal::Metrics => self.metrics.iter().map(|head| head.sample_count()).sum(),
            Signal::Logs => self.logs.iter().map(|head| head.row_count()).sum(),
            Signal::Traces => self.traces.iter().map(|head| head.row_count()).sum(),
        }
    }

    /// Series of metrics that have floats.
    pub fn series_count(&self) -> u64 {
        self.metrics.iter().map(|head| head.stream_count()).sum()
    }

    pub fn memory_bytes(&self) -> u64 {
        let metrics = self.metrics.iter().map(|head| head.memory_bytes());
        let logs = self.logs.iter().map(|head| head.memory_bytes());
        let traces = self.traces.iter().map(|head| head.memory_bytes());
        metrics.chain(logs).chain(traces).sum()
    }

    /// How full it is: its memory without what each series of metrics takes with its first sample. Else a generation with
    /// a million of them would be full before each has a second sample.
    pub fn filled_bytes(&self) -> u64 {
        let reserved: u64 = self.metrics.iter().map(|head| head.reserved_bytes()).sum();
        self.memory_bytes().saturating_sub(reserved)
    }

    /// The days that the rows of each signal belong to.
    pub fn partitions(&self) -> BTreeSet<(Signal, Timestamp)> {
        let metrics = self.metrics.iter().flat_map(|head| head.partitions());
        let logs = self.logs.iter().flat_map(|head| head.partitions());
        let traces = self.traces.iter().flat_map(|head| head.partitions());
        let metrics = metrics.map(|day| (Signal::Metrics, day));
        metrics
            .chain(logs.map(|day| (Signal::Logs, day)))
            .chain(traces.map(|day| (Signal::Traces, day)))
            .collect()
    }

    /// First and last timestamp of what it holds of a signal; empty if that is nothing.
    pub fn time_range(&self, signal: Signal) -> TimeRange {
        match signal {
            Signal::Metrics => TimeRange::around(self.metrics.iter().map(|head| head.time_range())),
            Signal::Logs => TimeRange::around(self.logs.iter().map(|head| head.time_range())),
            Signal::Traces => TimeRange::around(self.traces.iter().map(|head| head.time_range())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_while_series_are_deleted_comes_after_their_tombstone() {
        let generation = Generation::new(1, 0, 1, 10);
        generation.note_seq(5);
        generation.comes_after(9);
        assert_eq!(generation.seqs(), (5, 10));
        generation.note_seq(12);
        generation.comes_after(9);
        assert_eq!(generation.seqs(), (5, 12));
    }
}
