//! What the store tells about itself: metrics that it counts, and figures for the status pages.

use prometheus::{
    CounterVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::logs::LogCounters;
use super::metrics::WriterCounters;
use super::signal::Signal;
use super::store::Store;
use super::sync::SyncMetrics;
use super::tier_status::TierMetrics;
use crate::model::{TimeRange, Timestamp};

/// The store's own metrics.
pub(super) struct StoreMetrics {
    pub writer: WriterCounters,
    pub logs: LogCounters,
    pub sync: SyncMetrics,
    pub corrupt_records: IntCounter,
    pub replayed_frames: IntCounter,
    pub missing_segments: IntCounter,
    pub seals: IntCounter,
    pub slowed_writes: IntCounter,
    pub merges: IntCounter,
    pub expired_segments: IntCounterVec,
    pub maintenance_failures: IntCounterVec,
    pub roll_ups: IntCounter,
    pub left_out_rows: IntCounterVec,
    /// By work.
    pub maintenance_seconds: CounterVec,
    pub tiers: TierMetrics,
    series: IntGauge,
    unsealed_samples: IntGauge,
    unsealed_bytes: IntGauge,
    queued_batches: IntGauge,
    disk_free: IntGauge,
    tombstones: IntGauge,
    segments: IntGaugeVec,
    segment_bytes: IntGaugeVec,
}

impl StoreMetrics {
    /// Creates and registers them. A registry that has them already belongs to another store: a mistake of ours.
    pub fn register(registry: &Registry) -> StoreMetrics {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help).expect("a valid name");
            registry.register(Box::new(counter.clone())).expect("one store for each registry");
            counter
        };
        let counters = |name: &str, help: &str, label: &str| {
            let counters = IntCounterVec::new(Opts::new(name, help), &[label]).expect("a valid name");
            registry.register(Box::new(counters.clone())).expect("one store for each registry");
            counters
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help).expect("a valid name");
            registry.register(Box::new(gauge.clone())).expect("one store for each registry");
            gauge
        };
        let gauges = |name: &str, help: &str, label: &str| {
            let gauges = IntGaugeVec::new(Opts::new(name, help), &[label]).expect("a valid name");
            registry.register(Box::new(gauges.clone())).expect("one store for each registry");
            gauges
        };
        let seconds =
            Opts::new("icecore_storage_maintenance_seconds_total", "Time spent on merges and roll-ups");
        let seconds = CounterVec::new(seconds, &["work"]).expect("a valid name");
        registry.register(Box::new(seconds.clone())).expect("one store for each registry");
        let buckets = vec![0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0];
        let sync_opts = HistogramOpts::new("icecore_wal_sync_seconds", "How long each sync of the log took")
            .buckets(buckets);
        let sync_seconds = Histogram::with_opts(sync_opts).expect("a valid name");
        registry.register(Box::new(sync_seconds.clone())).expect("one store for each registry");
        StoreMetrics {
            writer: WriterCounters {
                samples: counter("icecore_storage_samples_total", "Samples taken by the shards"),
                duplicates: counter(
                    "icecore_storage_duplicate_samples_total",
                    "Samples that repeated the last one of their series",
                ),
                late: counter(
                    "icecore_storage_late_samples_total",
                    "Samples that came out of order or replace another",
                ),
                repeated_deltas: counter(
                    "icecore_storage_repeated_deltas_total",
                    "Delta intervals dropped because they were added before",
                ),
            },
            logs: LogCounters {
                entries: counter("icecore_storage_log_entries_total", "Log entries taken by the shards"),
                bytes: counter("icecore_storage_log_bytes_total", "Bytes of the lines of these"),
                duplicates: counter(
                    "icecore_storage_duplicate_log_entries_total",
                    "Log entries that repeated one that came shortly before",
                ),
            },
            sync: SyncMetrics {
                sync_seconds,
                bytes: counter("icecore_wal_written_bytes_total", "Bytes of frames written to the log"),
                failures: counter("icecore_wal_failures_total", "Failed writes and syncs of the log"),
            },
            corrupt_records: counter(
                "icecore_wal_corrupt_records_total",
                "Damaged records met when the log was replayed",
            ),
            replayed_frames: counter("icecore_wal_replayed_frames_total", "Frames replayed at start"),
            missing_segments: counter(
                "icecore_storage_missing_segments_total",
                "Segments that the manifest lists and the disk lacks",
            ),
            seals: counter("icecore_storage_seals_total", "Generations sealed"),
            slowed_writes: counter(
                "icecore_storage_slowed_writes_total",
                "Writes that waited for a seal because the memory for what is not sealed was used up",
            ),
            merges: counter("icecore_storage_merges_total", "Merges of segments"),
            expired_segments: counters("icecore_storage_expired_segments_total", "Segments let go", "reason"),
            maintenance_failures: counters(
                "icecore_storage_maintenance_failures_total",
                "Failed seals, merges and removals",
                "work",
            ),
            roll_ups: counter("icecore_storage_roll_ups_total", "Days rolled up"),
            left_out_rows: counters(
                "icecore_storage_left_out_rows_total",
                "Rows that segments lost when they were written anew, deleted or expired by a rule",
                "reason",
            ),
            maintenance_seconds: seconds,
            tiers: TierMetrics::register(registry),
            series: gauge("icecore_storage_active_series", "Series that were written to recently"),
            unsealed_samples: gauge("icecore_storage_unsealed_samples", "Samples in memory"),
            unsealed_bytes: gauge("icecore_storage_unsealed_bytes", "Memory of samples that are not sealed"),
            queued_batches: gauge("icecore_storage_queued_batches", "Batches that wait for a shard"),
            disk_free: gauge(
                "icecore_storage_disk_free_bytes",
                "Bytes free on the disk of the data directory",
            ),
            tombstones: gauge("icecore_storage_tombstones", "Deletions whose rows are still in files"),
            segments: gauges("icecore_storage_segments", "Sealed segments", "level"),
            segment_bytes: gauges("icecore_storage_segment_bytes", "Bytes of sealed segments", "level"),
        }
    }
}

/// Figures of the store at one moment.
#[derive(Clone, Debug)]
pub struct StoreStats {
    pub active_series: usize,
    pub unsealed_samples: u64,
    pub unsealed_bytes: u64,
    pub segments: usize,
    pub segment_bytes: u64,
    pub segment_rows: u64,
    /// Empty where there are no samples.
    pub time_range: TimeRange,
    pub damaged_wal_records: u64,
    pub missing_segments: u64,
}

/// A sealed segment of samples.
#[derive(Clone, Copy, Debug)]
pub struct SealedSamples {
    /// Of the segment, for as long as there is a store.
    pub id: u64,
    /// How often its samples were merged.
    pub level: u8,
    pub min_time: Timestamp,
    pub max_time: Timestamp,
    pub samples: u64,
    pub series: u64,
}

/// One row of a list of what is most numerous.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cardinality {
    pub name: String,
    pub value: u64,
}

/// Where the active series come from, most numerous first.
#[derive(Clone, Debug, Default)]
pub struct SeriesStats {
    pub series_by_metric: Vec<Cardinality>,
    pub values_by_label: Vec<Cardinality>,
    /// The texts of a label's values, each once.
    pub bytes_by_label: Vec<Cardinality>,
    pub series_by_pair: Vec<Cardinality>,
    pub label_pairs: u64,
}

impl Store {
    pub fn stats(&self) -> StoreStats {
        let view = self.view.load();
        let unsealed = view.generations.iter().flat_map(|g| Signal::ALL.map(|signal| g.time_range(signal)));
        let ranges = unsealed.chain(view.segments.iter().map(|s| s.time_range()));
        StoreStats {
            active_series: self.limiter.count(),
            unsealed_samples: view.generations.iter().map(|g| g.row_count()).sum(),
            unsealed_bytes: self.unsealed_bytes(),
            segments: view.segments.len(),
            segment_bytes: view.segments.iter().map(|s| s.entry.bytes).sum(),
            segment_rows: view.segments.iter().map(|s| s.entry.rows).sum(),
            time_range: TimeRange::around(ranges),
            damaged_wal_records: self.metrics.corrupt_records.get(),
            missing_segments: self.metrics.missing_segments.get(),
        }
    }

    /// The sealed segments of samples as sent, in order of time. Each is opened, to learn of which series its index names it has
    /// nothing.
    pub fn sealed_samples(&self) -> Vec<SealedSamples> {
        let view = self.view.load();
        let as_sent = view.segments_of(Signal::Metrics).filter(|(_, segment)| !segment.is_rollup());
        let sealed = as_sent.map(|(_, segment)| {
            let entry = &segment.entry;
            let absent = segment.metrics().ok().and_then(|segment| Some(segment.absent().ok()?.len()));
            SealedSamples {
                id: entry.id,
                level: entry.level,
                min_time: entry.min_time,
                max_time: entry.max_time,
                samples: entry.rows,
                // Of one that cannot be read, those that are named.
                series: entry.series.saturating_sub(absent.unwrap_or(0)),
            }
        });
        let mut sealed: Vec<SealedSamples> = sealed.collect();
        sealed.sort_by_key(|segment| (segment.min_time, segment.id));
        sealed
    }

    /// What heads hold.
    pub(super) fn unsealed_bytes(&self) -> u64 {
        self.view.load().generations.iter().map(|generation| generation.memory_bytes()).sum()
    }

    /// How full the heads are.
    pub(super) fn filled_bytes(&self) -> u64 {
        self.view.load().generations.iter().map(|generation| generation.filled_bytes()).sum()
    }

    /// The `limit` largest of each kind, from the index of the active series.
    pub fn series_stats(&self, limit: usize) -> SeriesStats {
        use std::collections::{HashMap, HashSet};
        let (mut metrics, mut values, mut pairs) = (HashMap::new(), HashMap::new(), HashMap::new());
        for registry in &self.registries {
            registry.label_statistics(|name, value, series| {
                if name == crate::model::labels::METRIC_NAME {
                    *metrics.entry(value.to_owned()).or_default() += series;
                }
                values.entry(name.to_owned()).or_insert_with(HashSet::new).insert(value.to_owned());
                *pairs.entry(format!("{name}={value}")).or_default() += series;
            });
        }
        let label_pairs = pairs.len() as u64;
        let text_bytes = |values: &HashSet<String>| values.iter().map(|value| value.len() as u64).sum();
        let bytes = values.iter().map(|(name, values)| (name.clone(), text_bytes(values))).collect();
        let values = values.into_iter().map(|(name, values)| (name, values.len() as u64)).collect();
        SeriesStats {
            series_by_metric: largest(metrics, limit),
            values_by_label: largest(values, limit),
            bytes_by_label: largest(bytes, limit),
            series_by_pair: largest(pairs, limit),
            label_pairs,
        }
    }

    /// Brings the gauges, and what admission looks at, up to date.
    pub(super) fn observe(&self) {
        let stats = self.stats();
        if let Ok(free) = self.fs.free_bytes(&self.options.data_dir) {
            self.free_bytes.store(free, std::sync::atomic::Ordering::Relaxed);
            self.metrics.disk_free.set(free as i64);
        }
        self.metrics.series.set(stats.active_series as i64);
        self.metrics.unsealed_samples.set(stats.unsealed_samples as i64);
        self.metrics.unsealed_bytes.set(stats.unsealed_bytes as i64);
        self.metrics.queued_batches.set(self.shards.iter().map(|s| s.len() as i64).sum());
        let view = self.view.load();
        self.metrics.tombstones.set(view.tombstones.len() as i64);
        for level in 0..3u8 {
            let of_level = || view.segments.iter().filter(|s| s.entry.level == level);
            let bytes: u64 = of_level().map(|s| s.entry.bytes).sum();
            self.metrics.segments.with_label_values(&[&level.to_string()]).set(of_level().count() as i64);
            self.metrics.segment_bytes.with_label_values(&[&level.to_string()]).set(bytes as i64);
        }
    }
}

fn largest(counts: std::collections::HashMap<String, u64>, limit: usize) -> Vec<Cardinality> {
    let mut all: Vec<_> = counts.into_iter().map(|(name, value)| Cardinality { name, value }).collect();
    all.sort_by(|a, b| b.value.cmp(&a.value).then_with(|| a.name.cmp(&b.name)));
    all.truncate(limit);
    all
}
