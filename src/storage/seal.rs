//! Sealing: a generation of heads becomes segments, and its log goes.
//!
//! Rotate, so that the generation is frozen and its frames are durable; write its segments under temporary names,
//! sync them, rename them; one manifest edit adds them and drops the log; one swap of the view shows them instead
//! of the generation. A crash between any two steps leaves either the log or the segments in force, never both
//! and never neither.

use std::io::{self, BufWriter};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam::channel::bounded;

use super::errors::{MergeError, ReadError};
use super::fs::WriteFile;
use super::generation::Generation;
use super::live::{LiveSegment, TIER_DIRS, segment_path};
use super::manifest::{Edit, ManifestError, SegmentEntry};
use super::partition::partition_range;
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
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("a shard did not answer within a minute")]
    ShardStuck,
    /// Asked for by [`Store::stop_tidying`]: no failure.
    #[error("shutting down")]
    Stopping,
}

/// The file that a segment is written to.
pub(super) type SegmentFile = BufWriter<Box<dyn WriteFile>>;

/// Bytes gathered before they go to a segment's file.
const WRITE_BUFFER_BYTES: usize = 256 << 10;

impl Store {
    /// Seals everything that is in memory now. Samples that arrive meanwhile stay in memory.
    pub fn seal(&self, now: Timestamp) -> Result<(), MaintenanceError> {
        let _one = self.sealing.lock();
        self.rotate(now)?;
        self.flush_frozen()
    }

    /// Seals if a generation is full or old enough, or was left over.
    pub(super) fn seal_if_due(&self, now: Timestamp) -> Result<(), MaintenanceError> {
        let _one = self.sealing.lock();
        let view = self.view.load();
        let active = view.active();
        let is_due = self.pressure.is_full(active)
            || (!active.is_empty() && now.saturating_sub(active.opened_at) >= self.options.seal_age_ms);
        drop(view);
        if is_due {
            self.rotate(now)?;
        }
        self.flush_frozen()
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
    fn flush_frozen(&self) -> Result<(), MaintenanceError> {
        loop {
            let view = self.view.load_full();
            let [oldest, _, ..] = &view.generations[..] else { return Ok(()) };
            if !oldest.is_frozen() {
                // A shard that waits for the disk has not come to the end of it.
                return Err(MaintenanceError::ShardStuck);
            }
            let flushed = self.flush(oldest);
            self.pressure.sealed(flushed.is_ok());
            flushed?;
            self.metrics.seals.inc();
            self.observe();
        }
    }

    fn flush(&self, generation: &Arc<Generation>) -> Result<(), MaintenanceError> {
        let mut segments = Vec::new();
        for (signal, partition) in generation.partitions() {
            let range = partition_range(partition);
            segments.extend(self.write_segment(signal, partition, 0, |to| {
                let seqs = generation.seqs();
                let written = match signal {
                    Signal::Metrics => {
                        metrics::write_generation(&generation.metrics, &self.registries, range, seqs, to)
                    }
                    Signal::Logs => logs::write_generation(&generation.logs, range, seqs, to),
                    Signal::Traces => traces::write_generation(&generation.traces, range, seqs, to),
                };
                written.map_err(MergeError::Write)
            })?);
        }
        self.commit(&segments, &[], Some(generation.number))?;
        self.view.rcu(|view| view.with_segments(&segments, &[]).without_generation(generation.number));
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

    /// Writes, syncs and names a segment. `write` fills the file, or gives none back where there are no rows, and the
    /// file is dropped again.
    pub(super) fn write_segment(
        &self,
        signal: Signal,
        partition: Timestamp,
        level: u8,
        write: impl FnOnce(SegmentFile) -> Result<Option<(SegmentFile, SegmentMeta)>, MergeError> + Send,
    ) -> Result<Option<Arc<LiveSegment>>, MaintenanceError> {
        let id = self.next_segment_id.fetch_add(1, Ordering::Relaxed);
        let temporary = self.options.data_dir.join(TIER_DIRS[0]).join(format!("{id:012}.tmp"));
        let io = |source| MaintenanceError::Io { path: temporary.clone(), source };
        let file = self.fs.create(&temporary).map_err(io)?;
        let written = (|| {
            let buffer = BufWriter::with_capacity(WRITE_BUFFER_BYTES, file);
            let written = on_own_thread(|| write(buffer)).map_err(|error| match error {
                MergeError::Read(error) => error.into(),
                MergeError::Write(source) => io(source),
                MergeError::Stopped => MaintenanceError::Stopping,
            });
            let Some((buffer, meta)) = written? else { return Ok(None) };
            let mut file = buffer.into_inner().map_err(|e| io(e.into_error()))?;
            file.sync().map_err(io)?;
            let bytes = self.fs.map(&temporary).map_err(io)?.len() as u64;
            Ok(Some(entry(id, signal, partition, level, &meta, bytes)))
        })();
        let entry = match written {
            Ok(Some(entry)) => entry,
            other => {
                // A left-over would go at the next start anyway.
                let _ = self.fs.remove(&temporary);
                return other.map(|_| None);
            }
        };
        let path = self.options.data_dir.join(segment_path(&entry));
        self.fs.rename(&temporary, &path).map_err(io)?;
        self.fs.sync_dir(&self.options.data_dir.join(TIER_DIRS[0])).map_err(io)?;
        Ok(Some(Arc::new(LiveSegment::new(entry, &self.options.data_dir, self.fs.clone()))))
    }

    /// One atomic edit of what is live.
    pub(super) fn commit(
        &self,
        add: &[Arc<LiveSegment>],
        remove: &[u64],
        wal_done: Option<u64>,
    ) -> Result<(), MaintenanceError> {
        let max_seq = add.iter().map(|s| s.entry.max_seq).max().unwrap_or(0);
        let entries = add.iter().map(|s| s.entry.clone()).collect();
        let mut manifest = self.manifest.lock();
        let mut disowned = self.disowned.lock();
        match manifest.commit(Edit { add: entries, remove: remove.to_vec(), wal_done, max_seq }) {
            Ok(()) => {
                // An edit after a failed one replaces the whole manifest: now it cannot list these.
                disowned.drain(..).for_each(|segment| segment.doom());
                Ok(())
            }
            Err(error) => {
                disowned.extend(add.iter().cloned());
                Err(error.into())
            }
        }
    }
}

/// Runs work that takes a lot of memory for a short time. The allocator keeps what a thread has freed for what that
/// thread will ask for next, and gives it back when the thread ends.
fn on_own_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("segment-writer".to_owned()).spawn_scoped(scope, work);
        let thread = thread.expect("the system can start a few threads");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn entry(
    id: u64,
    signal: Signal,
    partition: Timestamp,
    level: u8,
    meta: &SegmentMeta,
    bytes: u64,
) -> SegmentEntry {
    SegmentEntry {
        id,
        signal: signal.byte(),
        tier: 0,
        level,
        tenant: meta.tenant,
        partition,
        min_time: meta.min_time,
        max_time: meta.max_time,
        min_seq: meta.min_seq,
        max_seq: meta.max_seq,
        bytes,
        rows: meta.row_count,
        series: meta.series_count,
    }
}
