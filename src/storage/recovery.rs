//! What was not sealed, in memory again: the log of each generation, oldest first, into heads of its own
//! (`replaying.rs`).

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::generation::Generation;
use super::manifest::{GENERATION_MAX, Manifest, SEQ_MAX};
use super::metrics::{Changes, DeltaTotals, MetricsWriter, SharedMetadata, SharedRegistry};
use super::open::{OpenError, io_error};
use super::replaying::{RECOVERED_IDS_MAX, Target, replay_into};
use super::stats::StoreMetrics;
use super::store::Options;
use super::wal::{FileLog, GENERATION_DIGITS, generation_dir, generation_of};
use crate::model::Timestamp;

// As many more have names that the next start knows.
const _: () = assert!(2 * GENERATION_MAX <= 10u64.pow(GENERATION_DIGITS as u32));

/// What a replay builds up.
pub(super) struct Recovery<'a> {
    options: &'a Options,
    metrics: &'a StoreMetrics,
    now: Timestamp,
    pub registries: Vec<SharedRegistry>,
    pub metadata: SharedMetadata,
    pub changes: Arc<Changes>,
    /// One for each shard. A lane locks those that its rows belong to.
    pub writers: Vec<Mutex<MetricsWriter>>,
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
            let changes = changes.clone();
            Mutex::new(MetricsWriter::new(
                registry.clone(),
                metadata.clone(),
                counters,
                changes,
                deltas,
                head,
            ))
        };
        let writers = registries.iter().zip(nowhere.metrics).map(writer).collect();
        Recovery { options, metrics, now, registries, metadata, changes, writers, max_seq: 0, newest: 0 }
    }

    /// The generations that were not sealed, in memory again; logs of sealed ones are removed.
    pub fn replay(&mut self, log: &FileLog, manifest: &Manifest) -> Result<Vec<Arc<Generation>>, OpenError> {
        let wal_dir = log.data_dir.join("wal");
        let names = log.fs.list(&wal_dir).map_err(io_error(&wal_dir))?;
        let numbers = numbers_of(&names, &wal_dir);
        if let Some(&number) = numbers.last().filter(|&&number| number > GENERATION_MAX) {
            return Err(OpenError::NoNextNumber { path: generation_dir(&log.data_dir, number) });
        }
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
            writer.get_mut().rotate(head.clone(), number, self.now);
        }
        let dir = generation_dir(&log.data_dir, number);
        let target = Target {
            generation: &generation,
            registries: &self.registries,
            writers: &self.writers,
            metrics: self.metrics,
        };
        let report = replay_into(&target, log).map_err(io_error(&dir))?;
        self.max_seq = self.max_seq.max(generation.seqs().1);
        if self.max_seq > SEQ_MAX {
            return Err(OpenError::NoNextNumber { path: dir });
        }
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
}

/// Those that directories of these names hold, in order.
fn numbers_of(names: &[String], wal_dir: &Path) -> Vec<u64> {
    let mut numbers = Vec::new();
    for name in names {
        match generation_of(name) {
            Some(number) => numbers.push(number),
            None => {
                let path = wal_dir.join(name);
                tracing::warn!(path = %path.display(), "no generation of the log has this name; left alone");
            }
        }
    }
    numbers.sort_unstable();
    numbers
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
            generation.note_seq(next_begins.saturating_sub(1));
        }
        // No frame of ours has the number 0, but a foreign one may.
        next_begins = min_seq.min(next_begins.saturating_sub(1));
    }
}
