//! A generation: what all shards took in between two seals, in memory and in the log under one number.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::metrics::Head;
use super::signal::Signal;
use crate::model::{TimeRange, Timestamp};

pub(super) struct Generation {
    pub number: u64,
    /// When it was opened, to seal it by age.
    pub opened_at: Timestamp,
    /// One for each shard.
    pub metrics: Vec<Arc<Head>>,
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

    /// Whether it holds neither samples nor anything else that takes memory.
    pub fn is_empty(&self) -> bool {
        self.sample_count() == 0 && self.memory_bytes() == 0
    }

    /// A frame with this sequence number belongs to the generation.
    pub fn note_seq(&self, seq: u64) {
        self.min_seq.fetch_min(seq, Ordering::Relaxed);
        self.max_seq.fetch_max(seq, Ordering::Relaxed);
    }

    /// The lowest and the highest sequence number of its frames.
    pub fn seqs(&self) -> (u64, u64) {
        (self.min_seq.load(Ordering::Relaxed), self.max_seq.load(Ordering::Relaxed))
    }

    pub fn sample_count(&self) -> u64 {
        self.metrics.iter().map(|head| head.sample_count()).sum()
    }

    pub fn memory_bytes(&self) -> u64 {
        self.metrics.iter().map(|head| head.memory_bytes()).sum()
    }

    /// The days that the rows of each signal belong to.
    pub fn partitions(&self) -> BTreeSet<(Signal, Timestamp)> {
        let metrics = self.metrics.iter().flat_map(|head| head.partitions());
        metrics.map(|day| (Signal::Metrics, day)).collect()
    }

    /// First and last timestamp of what it holds; empty if that is nothing.
    pub fn time_range(&self) -> TimeRange {
        TimeRange::around(self.metrics.iter().map(|head| head.time_range()))
    }
}
