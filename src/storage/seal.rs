//! Sealing: a generation of heads becomes segments, and its log goes.
//!
//! Rotate, so that the generation is frozen and its frames are durable; write its segments under temporary names,
//! sync them, rename them; one manifest edit adds them and drops the log; one swap of the view shows them instead
//! of the generation. A crash between any two steps leaves either the log or the segments in force, never both
//! and never neither.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam::channel::bounded;

use super::errors::{MergeError, ReadError};
use super::generation::Generation;
use super::live::LiveSegment;
use super::manifest::ManifestError;
use super::metrics::SealedSeries;
use super::pace::{self, Pace};
use super::partition::partition_range;
use super::publish::{Change, SegmentFile, Target};
use super::segment::SegmentMeta;
use super::shard::Job;
use super::signal::Signal;
use super::store::{CONTROL_TIMEOUT, Store, WriteError};
use super::sync::{Ack, LogItem};
use super::wal::generation_dir;
use super::{logs, metrics, traces};
use crate::model::Timestamp;

/// Why sealing, merging or letting go failed. Nothing is lost: it will be tried again.
#[derive(Debug, thiserror::Error)]
pub enum MaintenanceError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Log(#[from] WriteError),
    /// Stored bytes that are hardly read better the next time.
    #[error(transparent)]
    Read(ReadError),
    #[error("a shard did not answer within a minute")]
    ShardStuck,
    /// Asked for by [`Store::stop_tidying`]: no failure.
    #[error("shutting down")]
    Stopping,
}

impl From<ReadError> for MaintenanceError {
    fn from(error: ReadError) -> MaintenanceError {
        match error {
            ReadError::NotNow { path, message } => {
                MaintenanceError::Io { path, source: io::Error::other(message) }
            }
            error => MaintenanceError::Read(error),
        }
    }
}

impl Store {
    /// Seals everything that is in memory now. Samples that arrive meanwhile stay in memory.
    pub fn seal(&self, now: Timestamp) -> Result<(), MaintenanceError> {
        self.seal_all(&mut self.sealing.lock(), now)
    }

    /// The same; `known` is what `sealing` guards.
    pub(super) fn seal_all(&self, known: &mut SealedSeries, now: Timestamp) -> Result<(), MaintenanceError> {
        self.rotate(now)?;
        self.flush_frozen(known)
    }

    /// Seals if a generation is full or old enough, or was left over.
    pub(super) fn seal_if_due(&self, now: Timestamp) -> Result<(), MaintenanceError> {
        let mut known = self.sealing.lock();
        let view = self.view.load();
        let active = view.active();
        let is_old = now.saturating_sub(active.opened_at) >= self.options.seal_age_ms;
        let is_due = self.pressure.is_full(active) || (!active.is_empty() && is_old);
        if is_old && active.is_empty() || self.check_open().is_err() {
            // Segments that were merged away since have their room back.
            *known = SealedSeries::default();
        }
        drop(view);
        if is_due {
            self.rotate(now)?;
        }
        self.flush_frozen(&mut known)
    }

    /// Freezes the active generation and opens the next, unless there is nothing in it.
    fn rotate(&self, now: Timestamp) -> Result<(), MaintenanceError> {
        let view = self.view.load_full();
        if view.active().is_empty() && self.shards.iter().all(|shard| shard.len() == 0) {
            return Ok(());
        }
        let number = view.active().number + 1;
        let next = Arc::new(Generation::new(number, now, self.shards.len(), self.series_ids_max));
        // Before any frame can be in it, so that generations, and what they are sealed into, sort by their lowest
        // number although shards rotate one after the other.
        next.note_seq(self.seq.fetch_add(1, Ordering::Relaxed) + 1);
        // Readers know it before anything can be in it.
        self.view.rcu(|view| {
            let mut view = (**view).clone();
            view.generations.push(next.clone());
            view
        });
        let (sender, receiver) = bounded(1);
        let ack = Ack::new(self.shards.len(), Box::new(move |result| drop(sender.send(result))));
        for shard in &self.shards {
            shard.push_control(Job::Rotate { generation: next.clone(), ack: ack.clone() });
        }
        receiver.recv_timeout(CONTROL_TIMEOUT).map_err(|_| MaintenanceError::ShardStuck)??;
        Ok(())
    }

    /// Writes out every generation but the active one, oldest first.
    fn flush_frozen(&self, known: &mut SealedSeries) -> Result<(), MaintenanceError> {
        loop {
            let view = self.view.load_full();
            let [oldest, next, ..] = &view.generations[..] else { return Ok(()) };
            if !oldest.is_frozen() {
                // A shard that waits for the disk has not come to the end of it.
                return Err(MaintenanceError::ShardStuck);
            }
            let flushed = self.flush(oldest, next.opened_at, known);
            self.pressure.sealed(flushed.is_ok());
            flushed?;
            self.metrics.seals.inc();
            self.observe();
        }
    }

    /// What is `known` is forgotten where this fails, so that what may have misled it cannot do so again.
    fn flush(
        &self,
        generation: &Arc<Generation>,
        closed_at: Timestamp,
        known: &mut SealedSeries,
    ) -> Result<(), MaintenanceError> {
        let series = std::mem::take(known);
        let mut sealing = Sealing { store: self, generation, series, segments: Vec::new() };
        for (signal, partition) in generation.partitions() {
            self.arrivals.note(signal, partition, closed_at);
            if let Err(error) = sealing.write_partition(signal, partition) {
                // Nobody will list them, and the next try writes them again.
                sealing.segments.iter().for_each(|segment| segment.doom());
                return Err(error);
            }
        }
        let Sealing { series, segments, .. } = sealing;
        self.commit(&Change { add: &segments, wal_done: Some(generation.number), ..Change::default() })?;
        *known = series;
        self.log.push(LogItem::EndGeneration(generation.number));
        let dir = generation_dir(&self.options.data_dir, generation.number);
        match self.fs.remove_dir(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                // The next start removes it: the manifest says that it is done.
                tracing::warn!(path = %dir.display(), %error, "cannot remove a sealed log");
            }
            _ => {}
        }
        Ok(())
    }
}

/// A generation on its way into segments.
struct Sealing<'a> {
    store: &'a Store,
    generation: &'a Generation,
    /// What is known of its series, and will be in the next seal.
    series: SealedSeries,
    /// Those that were written.
    segments: Vec<Arc<LiveSegment>>,
}

impl Sealing<'_> {
    /// Writes segments of what it holds of one signal in one day.
    fn write_partition(&mut self, signal: Signal, partition: Timestamp) -> Result<(), MaintenanceError> {
        let target = Target { signal, tier: 0, resolution_ms: 0, partition, level: 0 };
        let (range, seqs) = (partition_range(partition), self.generation.seqs());
        let Generation { logs, traces, .. } = self.generation;
        match signal {
            Signal::Metrics => self.write_series(target),
            Signal::Logs => self.write(target, |to| logs::write_generation(logs, range, seqs, to)),
            Signal::Traces => self.write(target, |to| traces::write_generation(traces, range, seqs, to)),
        }
    }

    /// Series whose index is known may go to another segment than the others.
    fn write_series(&mut self, target: Target) -> Result<(), MaintenanceError> {
        let (heads, registries) = (&self.generation.metrics, &self.store.registries);
        let (range, seqs) = (partition_range(target.partition), self.generation.seqs());
        for part in pace::run(Pace::Hurried, || self.series.parts(heads, registries, range)) {
            let known = (&self.series, &part);
            let segment = self.store.write_segment(Pace::Hurried, target, |to| {
                metrics::write_generation(heads, registries, range, seqs, known, to)
                    .map_err(MergeError::Write)
            })?;
            // One that cannot be opened is no help, and for its readers to report.
            if let Some(Ok(segment)) = segment.as_ref().map(|segment| segment.metrics()) {
                self.series.sealed_into(part, segment);
            }
            self.segments.extend(segment);
        }
        Ok(())
    }

    fn write(
        &mut self,
        target: Target,
        write: impl FnOnce(SegmentFile) -> io::Result<Option<(SegmentFile, SegmentMeta)>> + Send,
    ) -> Result<(), MaintenanceError> {
        let write = |to| write(to).map_err(MergeError::Write);
        self.segments.extend(self.store.write_segment(Pace::Hurried, target, write)?);
        Ok(())
    }
}
