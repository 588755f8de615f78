//! Rolling up: a day that is over and merged becomes a piece of each tier of rollups, all of them at once.
//!
//! One edit adds the pieces and marks the samples as rolled up, so a day is rolled up as a whole or not at all, and may
//! go only then (`retention.rs`). What comes for it later makes it a merged day without the mark, which is rolled up
//! anew: of two states of a bucket the one of the later sequence number is right. Where the samples are gone already,
//! what came is united with the rollup and goes in the same edit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::compaction::{FINAL, SETTLE_MS};
use super::errors::{MergeError, ReadError};
use super::live::{LiveSegment, View};
use super::manifest::SegmentEntry;
use super::metrics::{self, RollUp, VisibleSegment};
use super::pace::Pace;
use super::partition::{partition_range, rollup_partition_of};
use super::publish::{Change, Target};
use super::seal::MaintenanceError;
use super::signal::Signal;
use super::store::Store;
use crate::model::{MetricType, Timestamp};

/// A day that is to be rolled up.
pub(super) struct Plan {
    day: Timestamp,
    /// In order of sequence.
    raw: Vec<Arc<LiveSegment>>,
    /// Rollups of samples of the day that are gone, in the finest of `resolutions`.
    older: Vec<Arc<LiveSegment>>,
    /// Finest first.
    resolutions: Vec<i64>,
}

impl Store {
    /// The oldest day that is over and can be rolled up, and is not.
    pub(super) fn next_roll_up(&self, now: Timestamp) -> Option<Plan> {
        let view = self.view.load_full();
        if view.rollups.mark == 0 {
            return None;
        }
        let mut days = BTreeMap::<Timestamp, Vec<Arc<LiveSegment>>>::new();
        for (_, segment) in view.segments_of(Signal::Metrics) {
            if !segment.is_rollup() && !segment.is_unmergeable() {
                days.entry(segment.entry.partition).or_default().push(segment.clone());
            }
        }
        let is_over = |day: Timestamp| day.saturating_add(SETTLE_MS) <= now;
        let age_now = self.now_for_ages(now);
        let mut due = days.into_iter().filter(|(day, raw)| is_over(*day) && is_due(&view, *day, raw));
        due.find_map(|(day, raw)| {
            let resolutions = self.resolutions_kept(&view, day, age_now);
            let finest = *resolutions.first()?;
            let older = if day <= view.floor(0) { rollups_of(&view, day, finest) } else { Vec::new() };
            // What is damaged would take what is left of it along.
            let is_whole = older.iter().all(|rollup| !rollup.is_unmergeable());
            is_whole.then_some(Plan { day, raw, older, resolutions })
        })
    }

    /// Those that would not let go of the day at once.
    fn resolutions_kept(&self, view: &View, day: Timestamp, now: Timestamp) -> Vec<i64> {
        let tiers = self.options.tiers.iter().filter(|tier| {
            let is_young = day.saturating_add(self.options.age_of(tier.resolution_ms)) > now;
            tier.resolution_ms > 0 && is_young && day > view.floor(tier.resolution_ms)
        });
        tiers.map(|tier| tier.resolution_ms).collect()
    }

    pub(super) fn roll_up(&self, plan: &Plan) -> Result<(), MaintenanceError> {
        let started = Instant::now();
        let rolled = self.roll_up_intact(plan);
        let seconds = self.metrics.maintenance_seconds.with_label_values(&["roll-up"]);
        seconds.inc_by(started.elapsed().as_secs_f64());
        if let Err(MaintenanceError::Read(_)) = &rolled {
            // As with merges: what is damaged is left out the next time.
            set_aside_damaged(plan.raw.iter().chain(&plan.older));
        }
        rolled
    }

    fn roll_up_intact(&self, plan: &Plan) -> Result<(), MaintenanceError> {
        let targets: Vec<Target> =
            plan.resolutions.iter().map(|&of| self.rollup_target(plan.day, of)).collect();
        // A number of its own, so that of two rollups of a day the later one is right.
        let seq = self.seq.fetch_add(1, Ordering::Relaxed) + 1;
        let types = |family: &str| self.metric_type(family);
        let pieces = self.write_segments(Pace::Background, &targets, |to| {
            let (raw, older) = (opened(&plan.raw)?, opened(&plan.older)?);
            let day = RollUp {
                raw: &raw,
                older: &older,
                day: partition_range(plan.day),
                resolutions: &plan.resolutions,
                types: &types,
                seqs: (seq, seq),
            };
            metrics::roll_up(&day, to, || self.is_tidying_stopped())
        })?;
        let view = self.view.load_full();
        let removed: Vec<u64> = plan.raw.iter().map(|s| s.entry.id).collect();
        let is_gone = plan.day <= view.floor(0);
        let marked = plan.raw.iter().filter(|_| !is_gone).map(|segment| {
            let entry = SegmentEntry { rolled: view.rollups.mark, ..segment.entry.clone() };
            Arc::new(segment.with_entry(entry))
        });
        let added: Vec<_> = pieces.into_iter().chain(marked).collect();
        self.commit(&Change { add: &added, remove: &removed, ..Change::default() })?;
        self.metrics.roll_ups.inc();
        if is_gone {
            plan.raw.iter().for_each(|segment| segment.doom());
        }
        Ok(())
    }

    fn rollup_target(&self, day: Timestamp, resolution_ms: i64) -> Target {
        let tier = self.options.tiers.iter().position(|tier| tier.resolution_ms == resolution_ms);
        Target {
            signal: Signal::Metrics,
            tier: tier.expect("a resolution of the options") as u8,
            resolution_ms,
            partition: rollup_partition_of(day, resolution_ms),
            level: 0,
        }
    }

    /// The type that all who told one agree on.
    fn metric_type(&self, family: &str) -> MetricType {
        let metadata = self.metadata.read();
        let mut types = metadata.get(family).into_iter().flatten().map(|told| told.metric_type);
        let first = types.next().unwrap_or(MetricType::Unknown);
        if types.all(|other| other == first) { first } else { MetricType::Unknown }
    }
}

/// Whether samples of a day are not in rollups, and nothing is to be merged before they can be.
fn is_due(view: &View, day: Timestamp, raw: &[Arc<LiveSegment>]) -> bool {
    if day <= view.floor(0) {
        return true;
    }
    let is_rolled = raw.iter().all(|segment| view.is_rolled(segment));
    !is_rolled && raw.iter().all(|segment| segment.entry.level == FINAL)
}

fn rollups_of(view: &View, day: Timestamp, resolution_ms: i64) -> Vec<Arc<LiveSegment>> {
    let of_day = view.segments_of(Signal::Metrics).filter(|(_, segment)| {
        segment.resolution_ms() == resolution_ms && segment.time_range().overlaps(&partition_range(day))
    });
    of_day.map(|(_, segment)| segment.clone()).collect()
}

fn opened(segments: &[Arc<LiveSegment>]) -> Result<Vec<Arc<VisibleSegment>>, MergeError> {
    let opened: Result<_, ReadError> = segments.iter().map(|segment| segment.visible().cloned()).collect();
    opened.map_err(MergeError::Read)
}

/// Keeps segments that cannot be read whole out of later plans, so that nothing is tried for ever, and nothing else is
/// kept from being done. If none of them is damaged, then all.
pub(super) fn set_aside_damaged<'a>(segments: impl Iterator<Item = &'a Arc<LiveSegment>>) {
    let all: Vec<_> = segments.collect();
    let damaged: Vec<_> = all.iter().copied().filter(|segment| segment.verify().is_err()).collect();
    let blamed = if damaged.is_empty() { all } else { damaged };
    blamed.iter().for_each(|segment| segment.set_unmergeable());
}
