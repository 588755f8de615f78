//! Cleaning: segments are written anew without what deletions hide, or rules of retention let go of.
//!
//! Merges and roll-ups leave it out as well; this is for segments that these would leave alone. It may be much, so housekeeping
//! does a while of it and goes on the next time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::compaction::FINAL;
use super::errors::MergeError;
use super::live::{LiveSegment, View};
use super::manifest::SegmentEntry;
use super::metrics;
use super::pace::Pace;
use super::publish::{Change, Target};
use super::seal::MaintenanceError;
use super::signal::Signal;
use super::store::Store;
use crate::codec::Effort;

impl Store {
    /// Writes the segments that `next` finds anew, one after the other, until there is none, or so much time is over, or one fails.
    /// One that is damaged stays as it is.
    pub(super) fn clean_for(
        &self,
        at_most: Duration,
        reason: &str,
        next: impl Fn(&View) -> Option<Arc<LiveSegment>>,
    ) -> Result<(), MaintenanceError> {
        let (begun, mut result) = (Instant::now(), Ok(()));
        while let Some(cleaned) = self.clean_step(reason, &next) {
            match cleaned {
                Err(error @ MaintenanceError::Read(_)) => result = Err(error),
                other => other?,
            }
            if begun.elapsed() >= at_most || self.is_tidying_stopped() {
                break;
            }
        }
        result
    }

    /// The first segment that is due, from behind the one that failed last: so that comes last, and the others get their turn.
    pub(super) fn next_in_turn(
        &self,
        view: &View,
        is_due: impl Fn(&LiveSegment) -> bool,
    ) -> Option<Arc<LiveSegment>> {
        let failed = self.uncleaned.load(Ordering::Relaxed);
        let place = view.segments.iter().position(|segment| segment.entry.id == failed);
        let (before, after) = view.segments.split_at(place.map_or(0, |failed| failed + 1));
        let mut in_turn = after.iter().chain(before);
        in_turn.find(|segment| !segment.is_unmergeable() && is_due(segment)).cloned()
    }

    /// One of them, if there is one.
    fn clean_step(
        &self,
        reason: &str,
        next: impl Fn(&View) -> Option<Arc<LiveSegment>>,
    ) -> Option<Result<(), MaintenanceError>> {
        let _one = self.merging.lock();
        let segment = next(&self.view.load())?;
        let written = self.write_anew(&segment, reason);
        match &written {
            Ok(()) => {}
            Err(MaintenanceError::Read(_)) => segment.set_unmergeable(),
            Err(_) => self.uncleaned.store(segment.entry.id, Ordering::Relaxed),
        }
        Some(written)
    }

    /// Puts a segment of what is to be seen of this one in its place.
    pub(super) fn write_anew(
        &self,
        segment: &Arc<LiveSegment>,
        reason: &str,
    ) -> Result<(), MaintenanceError> {
        let SegmentEntry { id, tier, partition, level, min_seq, rolled, .. } = segment.entry;
        let resolution_ms = segment.resolution_ms();
        let target = Target { signal: Signal::Metrics, tier, resolution_ms, partition, level };
        let effort = if level == FINAL { Effort::Best } else { Effort::Fast };
        let written = self.write_segment(Pace::Background, target, |to| {
            let visible = segment.visible().map_err(|error| MergeError::Read(error.clone()))?.clone();
            let seqs = (min_seq, segment.seq_of_a_copy());
            metrics::merge_segments(&[visible], seqs, effort, to, || self.is_tidying_stopped())
        })?;
        // Its rollups say what they said, and are under the same tombstones.
        let written =
            written.map(|new| Arc::new(new.with_entry(SegmentEntry { rolled, ..new.entry.clone() })));
        let rows_left = written.as_ref().map_or(0, |new| new.entry.rows);
        self.commit(&Change { add: written.as_slice(), remove: &[id], ..Change::default() })?;
        segment.doom();
        let left_out = segment.entry.rows.saturating_sub(rows_left);
        self.metrics.left_out_rows.with_label_values(&[reason]).inc_by(left_out);
        Ok(())
    }
}
