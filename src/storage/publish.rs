//! Publishing segments: files are written under temporary names, synced and renamed; then one edit of the manifest
//! puts all of them in force, and what they replace out of it.

use std::io::BufWriter;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::errors::MergeError;
use super::live::{LiveSegment, View};
use super::manifest::{Edit, SegmentEntry};
use super::pace::{self, Pace, PacedFile};
use super::seal::MaintenanceError;
use super::segment::SegmentMeta;
use super::signal::Signal;
use super::store::Store;
use super::tier_dirs::{segment_name, temporary_name};
use super::tombstone::Tombstone;
use crate::model::Timestamp;

/// The file that a segment is written to.
pub(super) type SegmentFile = BufWriter<PacedFile>;

/// Bytes gathered before they go to a segment's file.
const WRITE_BUFFER_BYTES: usize = 256 << 10;

/// What a segment is to be.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub signal: Signal,
    pub tier: u8,
    /// 0: rows as sent.
    pub resolution_ms: i64,
    pub partition: Timestamp,
    pub level: u8,
}

/// A file under its temporary name.
struct Draft {
    id: u64,
    target: Target,
    path: PathBuf,
}

/// What writers give back for each file they were given: nothing where there are no rows, and the file is dropped again.
type Written = Vec<Option<(SegmentFile, SegmentMeta)>>;

impl Store {
    /// As [`Store::write_segments`], for one.
    pub(super) fn write_segment(
        &self,
        pace: Pace,
        target: Target,
        write: impl FnOnce(SegmentFile) -> Result<Option<(SegmentFile, SegmentMeta)>, MergeError> + Send,
    ) -> Result<Option<Arc<LiveSegment>>, MaintenanceError> {
        let segments = self.write_segments(pace, &[target], |mut to| {
            write(to.pop().expect("a file for each target")).map(|written| vec![written])
        })?;
        Ok(segments.into_iter().next())
    }

    /// Writes, syncs and names segments: those that have rows, in the order of `targets`.
    pub(super) fn write_segments(
        &self,
        pace: Pace,
        targets: &[Target],
        write: impl FnOnce(Vec<SegmentFile>) -> Result<Written, MergeError> + Send,
    ) -> Result<Vec<Arc<LiveSegment>>, MaintenanceError> {
        let mut drafts = Vec::new();
        let written = self.write_drafts(pace, targets, &mut drafts, write);
        if !matches!(&written, Ok(entries) if entries.len() == drafts.len()) {
            let kept = written.as_deref().unwrap_or_default();
            for draft in drafts.iter().filter(|draft| kept.iter().all(|entry| entry.id != draft.id)) {
                // A left-over would go at the next start anyway.
                let _ = self.fs.remove(&draft.path);
            }
        }
        let mut segments = Vec::new();
        for entry in written? {
            let dir = self.dirs.dir(entry.tier);
            let (temporary, path) = (dir.join(temporary_name(entry.id)), dir.join(segment_name(&entry)));
            let io = |source| MaintenanceError::Io { path: path.clone(), source };
            self.fs.rename(&temporary, &path).map_err(io)?;
            self.fs.sync_dir(&dir).map_err(io)?;
            segments.push(Arc::new(LiveSegment::new(entry, path, self.fs.clone())));
        }
        Ok(segments)
    }

    fn write_drafts(
        &self,
        pace: Pace,
        targets: &[Target],
        drafts: &mut Vec<Draft>,
        write: impl FnOnce(Vec<SegmentFile>) -> Result<Written, MergeError> + Send,
    ) -> Result<Vec<SegmentEntry>, MaintenanceError> {
        let mut files = Vec::new();
        for &target in targets {
            let id = self.next_segment_id.fetch_add(1, Ordering::Relaxed);
            let path = self.dirs.dir(target.tier).join(temporary_name(id));
            let file = self.fs.create(&path);
            let file = file.map_err(|source| MaintenanceError::Io { path: path.clone(), source })?;
            drafts.push(Draft { id, target, path });
            files.push(BufWriter::with_capacity(WRITE_BUFFER_BYTES, PacedFile::new(file, pace)));
        }
        let io = |draft: &Draft, source| MaintenanceError::Io { path: draft.path.clone(), source };
        let written = pace::run(pace, || write(files)).map_err(|error| match error {
            MergeError::Read(error) => error.into(),
            // Which of them cannot be told from here; a full disk is what it mostly is.
            MergeError::Write(source) => io(&drafts[0], source),
            MergeError::Stopped => MaintenanceError::Stopping,
        })?;
        let mut entries = Vec::new();
        for (draft, written) in drafts.iter().zip(written) {
            let Some((buffer, meta)) = written else { continue };
            let mut file = buffer.into_inner().map_err(|e| io(draft, e.into_error()))?;
            file.sync().map_err(|source| io(draft, source))?;
            let bytes = self.fs.map(&draft.path).map_err(|source| io(draft, source))?.len() as u64;
            entries.push(entry(draft.id, &draft.target, &meta, bytes));
        }
        Ok(entries)
    }

    /// One atomic edit of what is live, then one swap of what readers see. What is removed and added again keeps its file.
    pub(super) fn commit(&self, change: &Change<'_>) -> Result<(), MaintenanceError> {
        let replaced = |id: u64| change.remove.contains(&id);
        let added = change.add.iter().map(|s| s.entry.max_seq);
        // The number after a tombstone's is given out with it.
        let tombstones = change.tombstones.iter().map(|tombstone| tombstone.seq + 1);
        let edit = Edit {
            add: change.add.iter().map(|s| s.entry.clone()).collect(),
            remove: change.remove.to_vec(),
            wal_done: change.wal_done,
            max_seq: added.chain(tombstones).max().unwrap_or(0),
            floors: change.floors.to_vec(),
            tombstones: change.tombstones.to_vec(),
            forgotten: change.forgotten.to_vec(),
        };
        let mut manifest = self.manifest.lock();
        let mut disowned = self.disowned.lock();
        if let Err(error) = manifest.commit(edit) {
            disowned.extend(change.add.iter().filter(|s| !replaced(s.entry.id)).cloned());
            return Err(error.into());
        }
        // An edit after a failed one replaces the whole manifest: now it cannot list these.
        disowned.drain(..).for_each(|segment| segment.doom());
        let changes_answers = change.changes_answers(&self.view.load());
        self.view.rcu(|view| {
            let mut view = view.with_segments(change.add, change.remove);
            view.floors.clone_from(manifest.floors());
            view.tombstones.clone_from(manifest.tombstones());
            let view = view.masked();
            match change.wal_done {
                Some(generation) => view.without_generation(generation),
                None => view,
            }
        });
        if changes_answers {
            self.changes.note_all(self.view.load().rolled_until());
        }
        Ok(())
    }
}

/// One edit of what is live.
#[derive(Clone, Copy, Default)]
pub(super) struct Change<'a> {
    pub add: &'a [Arc<LiveSegment>],
    pub remove: &'a [u64],
    pub wal_done: Option<u64>,
    /// Up to which partition a resolution was let go.
    pub floors: &'a [(u32, Timestamp)],
    pub tombstones: &'a [Arc<Tombstone>],
    /// Tombstones that hide nothing any more.
    pub forgotten: &'a [u64],
}

impl Change<'_> {
    /// Whether a query may be told something else after it. Who seals or merges samples shows them as they were; but with
    /// rollups it changes which resolution is read, and what is gone or hidden is missing.
    fn changes_answers(&self, before: &View) -> bool {
        let removed = before.segments.iter().filter(|segment| self.remove.contains(&segment.entry.id));
        let mut samples = removed.chain(self.add).filter(|s| s.signal() == Some(Signal::Metrics));
        !self.floors.is_empty()
            || !self.tombstones.is_empty()
            || samples.any(|segment| segment.is_rollup() || segment.entry.rolled != 0)
    }
}

fn entry(id: u64, target: &Target, meta: &SegmentMeta, bytes: u64) -> SegmentEntry {
    SegmentEntry {
        id,
        signal: target.signal.byte(),
        tier: target.tier,
        level: target.level,
        tenant: meta.tenant,
        partition: target.partition,
        min_time: meta.min_time,
        max_time: meta.max_time,
        min_seq: meta.min_seq,
        max_seq: meta.max_seq,
        bytes,
        rows: meta.row_count,
        series: meta.series_count,
        resolution_ms: target.resolution_ms as u32,
        rolled: 0,
    }
}
