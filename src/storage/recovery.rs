//! What was not sealed, in memory again: the log of each generation, frame by frame, into heads of its own.
//!
//! A frame that is damaged, or says what nobody declared, costs itself and is reported; the rest is replayed.

use std::collections::HashMap;
use std::sync::Arc;

use super::generation::Generation;
use super::logs::LogsReplay;
use super::manifest::Manifest;
use super::metrics::log::read_payload;
use super::metrics::{
    Changes, DeltaTotals, LoggedRows, MetricsWriter, SeriesRef, SharedMetadata, SharedRegistry,
};
use super::open::{OpenError, io_error};
use super::signal::Signal;
use super::stats::StoreMetrics;
use super::store::{Options, shard_of};
use super::traces::TracesReplay;
use super::wal::{FileLog, Frame, generation_dir, replay_generation};
use crate::model::{Labels, Timestamp};

/// What the log holds was acknowledged, so no limit of today applies to it: 16 Mi series of one shard
/// take 6 GiB, and a table with room for them 400 KiB while it is empty.
const RECOVERED_IDS_MAX: usize = 1 << 24;

/// What the frames of a generation have declared so far, and later ones refer to.
#[derive(Default)]
struct Declared {
    series: HashMap<(u16, u32), SeriesRef>,
    logs: LogsReplay,
    traces: TracesReplay,
}

/// What a replay builds up.
pub(super) struct Recovery<'a> {
    options: &'a Options,
    metrics: &'a StoreMetrics,
    now: Timestamp,
    pub registries: Vec<SharedRegistry>,
    pub metadata: SharedMetadata,
    pub changes: Arc<Changes>,
    pub writers: Vec<MetricsWriter>,
    pub max_seq: u64,
    /// The newest generation that has a directory.
    pub newest: u64,
}

impl<'a> Recovery<'a> {
    pub fn new(options: &'a Options, metrics: &'a StoreMetrics, now: Timestamp) -> Recovery<'a> {
        let registries: Vec<SharedRegistry> =
            (0..options.shards).map(|_| SharedRegistry::default()).collect();
        let (metadata, changes) = (SharedMetadata::default(), Arc::<Changes>::default());
        // Replaced by the first rotation, before anything is written.
        let nowhere = Generation::new(0, now, options.shards, 0);
        let writer = |(registry, head): (&SharedRegistry, _)| {
            let counters = metrics.writer.clone();
            let totals_max = options.delta_totals_max.div_ceil(options.shards);
            let deltas = DeltaTotals::new(totals_max, options.idle_series_ms);
            MetricsWriter::new(registry.clone(), metadata.clone(), counters, changes.clone(), deltas, head)
        };
        let writers = registries.iter().zip(nowhere.metrics).map(writer).collect();
        Recovery { options, metrics, now, registries, metadata, changes, writers, max_seq: 0, newest: 0 }
    }

    /// The generations that were not sealed, in memory again; logs of sealed ones are removed.
    pub fn replay(&mut self, log: &FileLog, manifest: &Manifest) -> Result<Vec<Arc<Generation>>, OpenError> {
        let wal_dir = log.data_dir.join("wal");
        let names = log.fs.list(&wal_dir).map_err(io_error(&wal_dir))?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| name.parse().ok()).collect();
        numbers.sort_unstable();
        let mut generations = Vec::new();
        for number in numbers {
            self.newest = number;
            if number <= manifest.wal_done() {
                let dir = generation_dir(&log.data_dir, number);
                log.fs.remove_dir(&dir).map_err(io_error(&dir))?;
            } else {
                generations.push(self.replay_generation(log, number)?);
            }
        }
        order_by_sequence(&generations);
        if let Some((&seq, _)) = manifest.tombstones().last_key_value() {
            // What a tombstone hides was sealed before it.
            generations.iter().for_each(|generation| generation.comes_after(seq));
        }
        Ok(generations)
    }

    fn replay_generation(&mut self, log: &FileLog, number: u64) -> Result<Arc<Generation>, OpenError> {
        let generation = Arc::new(Generation::new(number, self.now, self.options.shards, RECOVERED_IDS_MAX));
        generation.freeze();
        for (writer, head) in self.writers.iter_mut().zip(&generation.metrics) {
            writer.rotate(head.clone(), number, self.now);
        }
        let mut declared = Declared::default();
        let dir = generation_dir(&log.data_dir, number);
        let report =
            replay_generation(log, number, &mut |frame| self.replay_frame(frame, &generation, &mut declared));
        let report = report.map_err(io_error(&dir))?;
        self.metrics.replayed_frames.inc_by(report.frames);
        for damage in &report.damage {
            self.metrics.corrupt_records.inc();
            tracing::error!(
                path = %damage.path.display(), offset = damage.offset, bytes = damage.len,
                "the log is damaged; what stood there is lost, the rest was replayed"
            );
        }
        if report.torn_bytes > 0 {
            tracing::info!(
                generation = number,
                bytes = report.torn_bytes,
                "dropped a torn end of the log, never acknowledged"
            );
        }
        tracing::info!(
            generation = number,
            frames = report.frames,
            rows = generation.row_count(),
            "replayed the log"
        );
        Ok(generation)
    }

    fn replay_frame(&mut self, frame: Frame<'_>, generation: &Generation, declared: &mut Declared) {
        let header = frame.header;
        self.max_seq = self.max_seq.max(header.seq);
        generation.note_seq(header.seq);
        let (shard, payload) = (header.shard, frame.payload);
        let replayed = match Signal::from_byte(header.signal) {
            Some(Signal::Metrics) => read_payload(payload)
                .map(|rows| self.replay_rows(shard, rows, &mut declared.series))
                .map_err(|error| error.to_string()),
            Some(Signal::Logs) => {
                let replayed = declared.logs.frame(shard, payload, &generation.logs);
                replayed.map_err(|error| error.to_string())
            }
            Some(Signal::Traces) => {
                let replayed = declared.traces.frame(shard, payload, &generation.traces);
                replayed.map_err(|error| error.to_string())
            }
            None => Err("of a signal that this build does not know".to_owned()),
        };
        if let Err(error) = replayed {
            self.metrics.corrupt_records.inc();
            tracing::error!(seq = header.seq, signal = header.signal, %error, "skipped a log record");
        }
    }

    /// Gives the rows to the shards that own their series now; the number of shards may have changed.
    fn replay_rows(&mut self, shard: u16, mut rows: LoggedRows, ids: &mut HashMap<(u16, u32), SeriesRef>) {
        for (id, labels) in rows.series.drain(..) {
            if let Some(series) = self.register(&labels) {
                ids.insert((shard, id), series);
            }
        }
        let (parts, strays) = rows.split(self.writers.len(), |id| ids.get(&(shard, id)).copied());
        if strays > 0 {
            self.metrics.corrupt_records.inc();
            tracing::error!(rows = strays, "log rows whose series was declared in a damaged record are lost");
        }
        for (writer, rows) in self.writers.iter_mut().zip(parts) {
            writer.replay(rows);
        }
    }

    fn register(&self, labels: &Labels) -> Option<SeriesRef> {
        let fingerprint = labels.fingerprint();
        let shard = shard_of(fingerprint, self.registries.len());
        let registry = &self.registries[shard as usize];
        let (id, _) = registry.find_or_insert(labels, fingerprint, RECOVERED_IDS_MAX)?;
        Some(SeriesRef { shard, id })
    }
}

/// Where one shard had rotated and another not, the first frame of the next generation may be older than the first
/// one of this. What a generation is sealed into must still sort before what the next one is.
fn order_by_sequence(generations: &[Arc<Generation>]) {
    let mut next_begins = u64::MAX;
    for generation in generations.iter().rev() {
        let (min_seq, max_seq) = generation.seqs();
        if min_seq > max_seq {
            continue;
        }
        if min_seq >= next_begins {
            generation.note_seq(next_begins - 1);
        }
        next_begins = min_seq.min(next_begins - 1);
    }
}
