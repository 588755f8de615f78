//! The store: one engine for each signal behind one door.

use std::path::PathBuf;
use std::sync::Arc;

use crate::model::{Labels, Timestamp};
use crate::storage::metrics::{MetricBatch, MetricsSnapshot, Refusal, SeriesRef};

/// How the store behaves; the server fills it from the configuration.
#[derive(Clone, Debug)]
pub struct Options {
    pub data_dir: PathBuf,
    pub shards: usize,
    pub series_max: usize,
    pub new_series_burst: u64,
    pub new_series_per_second: u64,
}

/// Called once, from a storage thread: `Ok` when everything of the batch is as durable as `wal.sync` promises.
/// It must not block.
pub type Completion = Box<dyn FnOnce(Result<(), WriteError>) + Send>;

/// Why the store cannot take a batch now. Nothing of it was taken; the sender should try again later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    #[error("write queue full ({capacity} batches a shard)")]
    QueueFull { capacity: usize },
    #[error(
        "disk almost full: {free} bytes free, {reserve} kept in reserve; queries go on, writes resume when space returns"
    )]
    DiskFull { free: u64, reserve: u64 },
    #[error("shutting down")]
    Closing,
}

/// Why a batch that was taken is not (known to be) durable. Sending it again is harmless.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WriteError {
    #[error("write-ahead log {}: {message}", path.display())]
    Wal { path: PathBuf, message: String },
    #[error("shut down before the write was durable")]
    Closed,
}

/// Why a data directory cannot be opened. Each variant names the path: that is what the operator needs.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{}: cannot open: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
}

/// Interim: everything in memory, nothing durable. The real engine replaces this file's lower half.
pub struct Store {
    options: Options,
    memory: Arc<parking_lot::Mutex<Memory>>,
}

#[derive(Default)]
pub(crate) struct Memory {
    pub ids: std::collections::HashMap<Labels, u32>,
    pub series: Vec<(Labels, std::collections::BTreeMap<Timestamp, crate::model::Value>)>,
    pub exemplars: std::collections::BTreeMap<u32, Vec<crate::model::Exemplar>>,
    pub metadata: std::collections::BTreeMap<String, Vec<crate::model::MetricMetadata>>,
}

impl Store {
    /// Opens or creates a data directory and replays what was not sealed.
    pub fn open(options: Options, _now: Timestamp) -> Result<Arc<Store>, OpenError> {
        Ok(Arc::new(Store { options, memory: Arc::default() }))
    }

    /// How many shards a [`MetricBatch`] must be split for.
    pub fn shard_count(&self) -> usize {
        self.options.shards
    }

    /// The series with these labels, registered now if it is new. `now` paces the creation of new series.
    pub fn resolve(&self, labels: &Labels, _now: Timestamp) -> Result<SeriesRef, Refusal> {
        let mut memory = self.memory.lock();
        let next = memory.series.len() as u32;
        if next as usize >= self.options.series_max && !memory.ids.contains_key(labels) {
            return Err(Refusal::SeriesLimit { max: self.options.series_max });
        }
        let id = *memory.ids.entry(labels.clone()).or_insert(next);
        if id == next {
            memory.series.push((labels.clone(), Default::default()));
        }
        Ok(SeriesRef { shard: (labels.fingerprint() % self.options.shards as u128) as u32, id })
    }

    /// A number that changes whenever a [`SeriesRef`] handed out earlier may have become invalid. Who caches
    /// references reads it before resolving, and passes it with the batch.
    pub fn series_epoch(&self) -> u64 {
        0
    }

    /// Queues a batch to all the shards it needs, or to none. After `Ok`, `done` is called exactly once.
    pub fn append(&self, batch: MetricBatch, done: Completion) -> Result<(), Busy> {
        use crate::model::Value;
        let mut memory = self.memory.lock();
        for rows in batch.shards {
            for row in rows.samples {
                memory.series[row.id as usize].1.insert(row.timestamp, Value::Float(row.value));
            }
            for row in rows.histograms {
                let value = Value::Histogram(Arc::new(*row.histogram));
                memory.series[row.id as usize].1.insert(row.timestamp, value);
            }
            for row in rows.deltas {
                let series = &mut memory.series[row.id as usize].1;
                let total = match series.last_key_value() {
                    Some((_, Value::Float(v))) => *v,
                    _ => 0.0,
                };
                series.insert(row.timestamp, Value::Float(total + row.delta));
            }
            for row in rows.exemplars {
                memory.exemplars.entry(row.id).or_default().push(row.exemplar);
            }
            for (family, metadata) in rows.metadata {
                let known = memory.metadata.entry(family).or_default();
                if !known.contains(&metadata) {
                    known.push(metadata);
                }
            }
        }
        drop(memory);
        done(Ok(()));
        Ok(())
    }

    /// Everything that can be read at this instant.
    pub fn metrics(&self) -> MetricsSnapshot {
        MetricsSnapshot::of_memory(self.memory.clone())
    }
}
