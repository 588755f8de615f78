//! Deleting series: a tombstone hides what there is of them, and segments are written anew without it.
//!
//! What is in memory is sealed first, so that all that was acknowledged before is in segments, whose sequence numbers
//! are lower than the tombstone's. Merges and roll-ups leave out what is hidden, and so does, of segments that nothing
//! else would write anew, [`Store::clean_tombstones`], or housekeeping some time after the last deletion; what they write
//! has the highest number of what they left out, and is under those tombstones no more. So rows that are hidden are never
//! mixed with others that are not.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::compaction::FINAL;
use super::live::{LiveSegment, View};
use super::manifest::SegmentEntry;
use super::publish::Change;
use super::seal::MaintenanceError;
use super::signal::Signal;
use super::store::Store;
use super::tombstone::Tombstone;
use crate::model::{Matcher, TimeRange, Timestamp, time::HOUR};

/// Each is looked up in the index of each segment of its time, once.
const TOMBSTONES_MAX: usize = 1000;

/// Housekeeping writes segments anew when no deletion came for so long: who deletes many series does so one after the other.
const DELETIONS_APART_MS: i64 = HOUR;

/// With more than these it waits for nothing: who deletes all the time would be refused in the end.
const TOMBSTONES_MANY: usize = TOMBSTONES_MAX / 2;

/// Why nothing was deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeletionError {
    #[error(
        "{TOMBSTONES_MAX} deletions are kept as tombstones; call /api/v1/admin/tsdb/clean_tombstones, then delete again"
    )]
    TooMany,
    #[error(transparent)]
    Maintenance(#[from] MaintenanceError),
}

impl Store {
    /// Deletes the samples and exemplars in `range` of all series that one of `selectors` lets through. It waits for the merge that
    /// is under way. Of days whose samples were let go, what rollups say of a bucket that lies only partly in the range stays.
    pub fn delete_series(
        &self,
        selectors: Vec<Vec<Matcher>>,
        range: TimeRange,
        now: Timestamp,
    ) -> Result<(), DeletionError> {
        // No merge or roll-up may read before the tombstone and write after it, and nothing be sealed between the two.
        let _one = self.merging.lock();
        let mut sealing = self.sealing.lock();
        if self.view.load().tombstones.len() >= TOMBSTONES_MAX {
            return Err(DeletionError::TooMany);
        }
        self.seal_all(&mut sealing, now)?;
        let view = self.view.load_full();
        // Two numbers: what was written meanwhile, and will be sealed, comes after the tombstone.
        let seq = self.seq.fetch_add(2, Ordering::Relaxed) + 1;
        view.active().comes_after(seq);
        let tombstone = Arc::new(Tombstone { seq, range, raw_floor: view.floor(0), selectors });
        self.deleted_at.store(now, Ordering::Relaxed);
        let (marked, unmarked) = rolled_up_before(&view, &tombstone);
        tracing::info!(series = %tombstone, after = range.after, until = range.until, "deleting series");
        self.commit(&Change {
            add: &unmarked,
            remove: &marked,
            tombstones: &[tombstone],
            ..Change::default()
        })?;
        self.observe();
        Ok(())
    }

    /// Writes every segment anew of which something is hidden, and forgets the tombstones. Returns when done; damage
    /// met on the way is the answer then, and what it hit stays hidden.
    pub fn clean_tombstones(&self) -> Result<(), MaintenanceError> {
        let _one = self.merging.lock();
        let mut result = Ok(());
        for segment in self.view.load_full().segments.iter().filter(|segment| segment.is_under_a_tombstone())
        {
            match self.write_anew(segment, "deletion") {
                Err(error @ MaintenanceError::Read(_)) => result = Err(error),
                other => other?,
            }
        }
        self.forget_tombstones()?;
        result
    }

    /// Writes segments anew without what was deleted, for a while: those that no merge or roll-up is bound to, or not soon enough. Of
    /// days that were merged what came late, too, which waits there until there is enough of it.
    pub(super) fn clean_deleted(&self, at_most: Duration, now: Timestamp) -> Result<(), MaintenanceError> {
        self.clean_for(at_most, "deletion", |view| {
            let are_many = view.tombstones.len() > TOMBSTONES_MANY;
            // Below 0 where the clock was set back since.
            let age = now.saturating_sub(self.deleted_at.load(Ordering::Relaxed));
            if !are_many && (0..DELETIONS_APART_MS).contains(&age) {
                return None;
            }
            let merged = days_merged(view);
            let is_left_alone = |segment: &LiveSegment| {
                are_many || segment.is_rollup() || merged.contains(&segment.entry.partition)
            };
            self.next_in_turn(view, |segment| is_left_alone(segment) && segment.is_under_a_tombstone())
        })
    }

    /// Forgets tombstones whose segments merges or age took.
    pub(super) fn forget_unneeded_tombstones(&self) -> Result<(), MaintenanceError> {
        let _one = self.merging.lock();
        self.forget_tombstones()
    }

    /// Forgets the tombstones that hide nothing any more; the caller holds `merging`.
    fn forget_tombstones(&self) -> Result<(), MaintenanceError> {
        let view = self.view.load_full();
        let mut unneeded: BTreeSet<u64> = view.tombstones.keys().copied().collect();
        for segment in &view.segments {
            // A segment is looked into only where it may be the first that needs one of them.
            if segment.may_be_hidden_by().any(|seq| unneeded.contains(&seq)) {
                for seq in segment.hidden_by() {
                    unneeded.remove(&seq);
                }
            }
        }
        let forgotten: Vec<u64> = unneeded.into_iter().collect();
        if !forgotten.is_empty() {
            self.commit(&Change { forgotten: &forgotten, ..Change::default() })?;
            self.observe();
        }
        Ok(())
    }
}

/// The days whose samples were merged for good, whatever came for them since.
fn days_merged(view: &View) -> BTreeSet<Timestamp> {
    let samples = view.segments_of(Signal::Metrics).map(|(_, segment)| segment);
    let merged = samples.filter(|segment| !segment.is_rollup() && segment.entry.level == FINAL);
    merged.map(|segment| segment.entry.partition).collect()
}

/// The segments of samples that lose something and whose rollups say otherwise: by number, and as they are to be listed,
/// so that their days are rolled up anew.
fn rolled_up_before(view: &View, tombstone: &Arc<Tombstone>) -> (Vec<u64>, Vec<Arc<LiveSegment>>) {
    let one = [(tombstone.seq, tombstone.clone())].into();
    let samples = view.segments_of(Signal::Metrics).map(|(_, segment)| segment);
    let marked = samples.filter(|segment| {
        let masked = || segment.masked(segment.concerned_by(&one), Vec::new());
        segment.entry.rolled != 0 && masked().is_under_a_tombstone()
    });
    let unmark = |segment: &Arc<LiveSegment>| {
        let entry = SegmentEntry { rolled: 0, ..segment.entry.clone() };
        (segment.entry.id, Arc::new(segment.with_entry(entry)))
    };
    marked.map(unmark).unzip()
}
