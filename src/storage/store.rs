//! The store: everything durable behind one door. Opening is in `open.rs`; sealing, merging and letting go are in
//! files of their own.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};

use super::expiry::RetentionRule;
use super::fs::{DirLock, Fs};
use super::limiter::SeriesLimiter;
use super::live::{LiveSegment, View};
use super::logs::{LogBatch, LogTail, LogsSnapshot, TailHub, group_fingerprint};
use super::manifest::Manifest;
use super::metrics::{
    Changes, MetricBatch, MetricsSnapshot, Refusal, SealedSeries, SeriesRef, SharedMetadata, SharedRegistry,
};
use super::pressure::{Pressure, WAIT_FOR_SEAL};
use super::rollup::Derived;
use super::shard::{Rows, ShardQueue};
use super::signal::Signal;
use super::stats::StoreMetrics;
use super::sync::{Ack, LogQueue, SyncMode};
use super::tier_dirs::{TierDirs, TierOptions};
use super::traces::{SpanBatch, TracesSnapshot};
use crate::model::{Labels, Timestamp, time};

/// How the store behaves; the server fills it from the configuration.
#[derive(Clone, Debug)]
pub struct Options {
    pub data_dir: PathBuf,
    pub shards: usize,
    pub series_max: usize,
    pub new_series_burst: u64,
    pub new_series_per_second: u64,
    pub sync: SyncMode,
    /// Batches that may wait for a shard.
    pub queue_batches: usize,
    /// A generation is sealed when it holds this many samples, and twelve for each of its series …
    pub seal_samples: u64,
    /// … or this much memory …
    pub seal_bytes: u64,
    /// … or when it is this old.
    pub seal_age_ms: i64,
    /// Series that nothing was written to for this long no longer count as active.
    pub idle_series_ms: i64,
    /// Of samples, finest first; the first one is of samples as sent.
    pub tiers: Vec<TierOptions>,
    /// Series that are kept for less or for more than others.
    pub rules: Vec<RetentionRule>,
    pub logs_retention_ms: i64,
    pub traces_retention_ms: i64,
    /// Labels that tell the instances of one thing apart. Log streams that differ in these alone share blocks, so that
    /// a new pod does not begin a new one.
    pub soft_labels: Vec<String>,
    /// What all segments together may take; the oldest go first.
    pub size_max: Option<u64>,
    /// Writes are refused when less than this is free on the disk.
    pub disk_reserve: u64,
    /// The log's files grow in steps of this.
    pub log_reserve: u64,
    /// Running totals of series that send deltas; the longest idle are forgotten beyond that, and each when its series
    /// is idle.
    pub delta_totals_max: usize,
}

/// As Kubernetes, Prometheus's agents and OTLP's resource attributes name instances.
const SOFT_LABELS: [&str; 8] = [
    "pod",
    "pod_name",
    "instance",
    "k8s_pod_name",
    "k8s_pod_uid",
    "k8s_replicaset_name",
    "service_instance_id",
    "container_id",
];

impl Options {
    /// The defaults, for a data directory.
    pub fn new(data_dir: impl Into<PathBuf>) -> Options {
        Options {
            data_dir: data_dir.into(),
            shards: 2,
            series_max: 2_000_000,
            new_series_burst: 1_000_000,
            new_series_per_second: 50_000,
            sync: SyncMode::Group,
            queue_batches: 256,
            seal_samples: 4_000_000,
            seal_bytes: 40 << 20,
            seal_age_ms: 15 * time::MINUTE,
            idle_series_ms: time::HOUR,
            tiers: vec![TierOptions { resolution_ms: 0, retention_ms: 15 * time::DAY, dir: None }],
            rules: Vec::new(),
            logs_retention_ms: 30 * time::DAY,
            traces_retention_ms: 7 * time::DAY,
            soft_labels: SOFT_LABELS.map(str::to_owned).to_vec(),
            size_max: None,
            disk_reserve: 256 << 20,
            log_reserve: 1 << 20,
            delta_totals_max: 200_000,
        }
    }

    /// How long samples of a resolution are kept: one that no tier has any more as long as any, and the coarsest one as
    /// long as a rule asks for.
    pub(super) fn age_of(&self, resolution_ms: i64) -> i64 {
        let finer = self.tiers.iter().rev().skip(1);
        let mut tier = finer.filter(|tier| tier.resolution_ms == resolution_ms);
        tier.next().map_or(self.longest_age(), |tier| tier.retention_ms)
    }

    /// How long anything of a sample is kept.
    pub fn longest_age(&self) -> i64 {
        let rules = self.rules.iter().map(|rule| rule.retention_ms);
        self.tiers.iter().map(|tier| tier.retention_ms).chain(rules).max().unwrap_or(0)
    }

    /// How long rows are kept as they were sent.
    pub(super) fn retention_ms(&self, signal: Signal) -> i64 {
        match signal {
            Signal::Metrics => self.tiers[0].retention_ms,
            Signal::Logs => self.logs_retention_ms,
            Signal::Traces => self.traces_retention_ms,
        }
    }
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
        "memory for unsealed samples is used up: {bytes} > {max} bytes; writes resume when they are on disk"
    )]
    MemoryFull { bytes: u64, max: u64 },
    #[error(
        "disk almost full: {free} bytes free, {reserve} kept in reserve; queries go on, writes resume when space returns"
    )]
    DiskFull { free: u64, reserve: u64 },
    #[error("the write-ahead log cannot be written; queries go on, writes resume when it can")]
    LogFailing,
    /// References in the batch may be out of date: resolve again with the new epoch and append at once.
    #[error("series were retired meanwhile")]
    SeriesRetired,
    #[error("shutting down")]
    Closing,
}

/// Why a batch that was taken is not (known to be) durable. Sending it again is right: samples and spans are told apart
/// from their repetition, and log entries as long as those of before are in memory.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WriteError {
    #[error("write-ahead log {}: {message}", path.display())]
    Wal { path: PathBuf, message: String },
    #[error("shut down before the write was durable")]
    Closed,
}

pub struct Store {
    pub(super) options: Options,
    pub(super) fs: Arc<dyn Fs>,
    pub(super) dirs: TierDirs,
    pub(super) view: ArcSwap<View>,
    pub(super) manifest: Mutex<Manifest>,
    pub(super) next_segment_id: AtomicU64,
    /// Files of an edit that failed: the manifest may list them until its next edit succeeds.
    pub(super) disowned: Mutex<Vec<Arc<LiveSegment>>>,
    /// The last sequence number given out.
    pub(super) seq: Arc<AtomicU64>,
    pub(super) registries: Vec<SharedRegistry>,
    pub(super) metadata: SharedMetadata,
    pub(super) changes: Arc<Changes>,
    pub(super) limiter: SeriesLimiter,
    /// Ids of series stay below this.
    pub(super) series_ids_max: usize,
    pub(super) shards: Vec<Arc<ShardQueue>>,
    pub(super) log: Arc<LogQueue>,
    pub(super) metrics: StoreMetrics,
    /// Bytes free on the disk, as last seen.
    pub(super) free_bytes: AtomicU64,
    pub(super) pressure: Arc<Pressure>,
    pub(super) epoch: RwLock<u64>,
    pub(super) closing: AtomicBool,
    pub(super) tidying_stopped: AtomicBool,
    /// One seal at a time, and what it knows from those before.
    pub(super) sealing: Mutex<SealedSeries>,
    /// One merge at a time.
    pub(super) merging: Mutex<()>,
    pub(super) arrivals: super::arrivals::Arrivals,
    /// What was made of rollups since the start, where samples are gone; see `Store::next_to_derive`.
    pub(super) derived: Mutex<BTreeSet<Derived>>,
    pub(super) retired: Mutex<Vec<super::idle::RetiredIds>>,
    /// When series were deleted last, or this was opened.
    pub(super) deleted_at: AtomicI64,
    /// The segment that was last to be written anew without what is hidden, and could not; see `Store::next_in_turn`.
    pub(super) uncleaned: AtomicU64,
    pub(super) tail: Arc<TailHub>,
    pub(super) threads: Mutex<Vec<JoinHandle<()>>>,
    pub(super) _locks: Vec<Box<dyn DirLock>>,
}

impl Store {
    /// How many shards a [`MetricBatch`] must be split for.
    pub fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// The shard that takes the entries of a stream: all that share blocks have one.
    pub fn shard_of_stream(&self, labels: &Labels) -> usize {
        shard_of(group_fingerprint(labels, &self.options.soft_labels), self.shards.len()) as usize
    }

    /// The series with these labels, registered now if it is new. `now` paces the creation of new series.
    pub fn resolve(&self, labels: &Labels, now: Timestamp) -> Result<SeriesRef, Refusal> {
        let fingerprint = labels.fingerprint();
        let shard = shard_of(fingerprint, self.registries.len());
        let registry = &self.registries[shard as usize];
        if let Some(id) = registry.find(labels, fingerprint) {
            return Ok(SeriesRef { shard, id });
        }
        self.limiter.admit(now)?;
        let (id, is_new) = registry
            .find_or_insert(labels, fingerprint, self.series_ids_max)
            .ok_or(Refusal::SeriesLimit { max: self.options.series_max })?;
        self.limiter.registered(is_new.into());
        Ok(SeriesRef { shard, id })
    }

    /// A number that changes whenever a [`SeriesRef`] handed out earlier may have become invalid. Who caches
    /// references reads it before resolving, and passes it with the batch.
    pub fn series_epoch(&self) -> u64 {
        *self.epoch.read()
    }

    /// Queues a batch to all the shards it needs, or to none. After `Ok`, `done` is called exactly once. So do
    /// [`Store::append_logs`] and [`Store::append_spans`]. All wait some seconds for a seal when memory is used up.
    pub fn append(&self, batch: MetricBatch, done: Completion) -> Result<(), Busy> {
        let epoch = self.begin_queueing()?;
        if batch.series_epoch != *epoch {
            return Err(Busy::SeriesRetired);
        }
        self.queue(batch.shards.into_iter().map(Rows::Metrics), done)
    }

    pub fn append_logs(&self, batch: LogBatch, done: Completion) -> Result<(), Busy> {
        let _queueing = self.begin_queueing()?;
        self.queue(batch.shards.into_iter().map(Rows::Logs), done)
    }

    pub fn append_spans(&self, batch: SpanBatch, done: Completion) -> Result<(), Busy> {
        let _queueing = self.begin_queueing()?;
        self.queue(batch.shards.into_iter().map(Rows::Traces), done)
    }

    /// Held until the rows are queued: retiring a series and closing wait for it, and then for the queue.
    fn begin_queueing(&self) -> Result<RwLockReadGuard<'_, u64>, Busy> {
        self.check_room()?;
        let epoch = self.epoch.read();
        // Closing may have begun since, and would not wait for who holds this only now.
        if self.is_closing() {
            return Err(Busy::Closing);
        }
        Ok(epoch)
    }

    /// Rows of one batch, one item for each shard.
    fn queue(&self, rows: impl Iterator<Item = Rows>, done: Completion) -> Result<(), Busy> {
        let used: Vec<(usize, Rows)> = rows.enumerate().filter(|(_, rows)| !rows.is_empty()).collect();
        if used.is_empty() {
            done(Ok(()));
            return Ok(());
        }
        self.reserve(used.iter().map(|(shard, _)| *shard))?;
        let ack = Ack::new(used.len(), done);
        for (shard, rows) in used {
            self.shards[shard].push_reserved(rows, ack.clone());
        }
        Ok(())
    }

    /// Everything that can be read at this instant.
    pub fn metrics(&self) -> MetricsSnapshot {
        MetricsSnapshot::new(&self.view.load_full(), &self.registries, &self.metadata)
    }

    /// What changes in the samples that can be read.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// As [`Store::metrics`], of log entries.
    pub fn logs(&self) -> LogsSnapshot {
        LogsSnapshot::new(&self.view.load())
    }

    /// As [`Store::metrics`], of spans.
    pub fn traces(&self) -> TracesSnapshot {
        let view = self.view.load_full();
        let heads = view.generations.iter().flat_map(|g| g.traces.clone()).collect();
        let segments = view.segments_of(Signal::Traces);
        TracesSnapshot::new(heads, segments.map(|(_, segment)| segment.traces().cloned()))
    }

    /// Log entries as they arrive from now on; `capacity` batches may wait, and what comes beyond is lost to the receiver.
    pub fn tail_logs(&self, capacity: usize) -> LogTail {
        self.tail.subscribe(capacity)
    }

    /// Seals what is in memory, so that no sample is left to replay, and stops. Batches are refused from the first
    /// moment on; those taken before are acknowledged.
    pub fn close(&self) {
        if self.closing.swap(true, Ordering::AcqRel) {
            return;
        }
        // A batch that passed the check is queued once nobody holds the epoch any more.
        drop(self.epoch.write());
        // Nothing will be written to the generation that this opens; any time of opening will do.
        let now = self.view.load().active().opened_at;
        if let Err(error) = self.seal(now) {
            tracing::error!(%error, "cannot seal; the next start replays the log");
        }
        self.stop_threads();
    }

    /// First the shards, then the syncer, so that every frame is written.
    fn stop_threads(&self) {
        for shard in &self.shards {
            shard.push_control(super::shard::Job::Stop);
        }
        let mut threads = std::mem::take(&mut *self.threads.lock());
        let syncer = threads.pop();
        threads.into_iter().for_each(join);
        self.log.close();
        syncer.into_iter().for_each(join);
    }

    /// True while the log cannot be written: nothing new becomes durable, queries go on.
    pub fn is_log_failing(&self) -> bool {
        self.log.is_failing()
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    fn check_room(&self) -> Result<(), Busy> {
        self.check_open()?;
        let max = self.pressure.filled_bytes_max();
        if self.filled_bytes() <= max {
            return Ok(());
        }
        self.metrics.slowed_writes.inc();
        let has_room = || self.filled_bytes() <= max;
        if !self.pressure.wait_for_room(Instant::now() + WAIT_FOR_SEAL, has_room) {
            return Err(Busy::MemoryFull { bytes: self.filled_bytes(), max });
        }
        self.check_open()
    }

    /// Whether a batch could become durable now.
    pub(super) fn check_open(&self) -> Result<(), Busy> {
        if self.is_closing() {
            return Err(Busy::Closing);
        }
        if self.log.is_failing() {
            return Err(Busy::LogFailing);
        }
        let (free, reserve) = (self.free_bytes.load(Ordering::Relaxed), self.options.disk_reserve);
        if free < reserve { Err(Busy::DiskFull { free, reserve }) } else { Ok(()) }
    }

    fn reserve(&self, shards: impl Iterator<Item = usize> + Clone) -> Result<(), Busy> {
        for (taken, shard) in shards.clone().enumerate() {
            if !self.shards[shard].reserve() {
                shards.take(taken).for_each(|shard| self.shards[shard].cancel_reservation());
                return Err(Busy::QueueFull { capacity: self.options.queue_batches });
            }
        }
        Ok(())
    }
}

impl Drop for Store {
    /// A store that was not closed stops its threads all the same; the log has what was acknowledged.
    fn drop(&mut self) {
        if self.closing.swap(true, Ordering::AcqRel) {
            return;
        }
        self.stop_threads();
    }
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("a storage thread had panicked");
    }
}

/// One series has one shard, whatever spelling, protocol or restart it comes through.
pub(super) fn shard_of(fingerprint: u128, shards: usize) -> u32 {
    ((fingerprint >> 64) as u64 % shards as u64) as u32
}

/// Ids are reused once nothing refers to them; some are always on their way there.
pub(super) fn series_ids_max(options: &Options) -> usize {
    options.series_max + options.series_max / 4 + 1024
}

/// How long to wait for a shard or the syncer before giving up on a control job.
pub(super) const CONTROL_TIMEOUT: Duration = Duration::from_secs(60);
