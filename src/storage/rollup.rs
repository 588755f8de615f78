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
use super::partition::{partition_of, partition_range, rollup_partition_of};
use super::publish::{Change, Target};
use super::seal::MaintenanceError;
use super::signal::Signal;
use super::store::Store;
use crate::model::{MetricType, TimeRange, Timestamp};

/// What is to be rolled up.
pub(super) struct Plan {
    /// A day; without samples, days of one partition.
    range: TimeRange,
    /// In order of sequence.
    raw: Vec<Arc<LiveSegment>>,
    /// Rollups of samples of these days that are gone.
    older: Vec<Arc<LiveSegment>>,
    older_resolution: i64,
    /// Finest first; each a multiple of that of `older`.
    resolutions: Vec<i64>,
}

/// From which resolution to which, and of which days: after the first, up to the last.
pub(super) type Derived = (i64, i64, Timestamp, Timestamp);

impl Plan {
    fn derived(&self) -> Derived {
        (self.older_resolution, self.resolutions[0], self.range.after, self.range.until)
    }
}

impl Store {
    /// The oldest day that is over and can be rolled up, and is not; `is_quiet` says of a day that nothing comes for it now.
    pub(super) fn next_roll_up(&self, now: Timestamp, is_quiet: impl Fn(Timestamp) -> bool) -> Option<Plan> {
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
        let mut due =
            days.into_iter().filter(|(day, raw)| is_over(*day) && is_due(&view, *day, raw) && is_quiet(*day));
        due.find_map(|(day, raw)| self.roll_up_of(&view, day, raw, age_now))
    }

    /// How samples of a day are rolled up; `None` if no tier keeps any rollup of it, or what there is of it is damaged.
    pub(super) fn roll_up_of(
        &self,
        view: &View,
        day: Timestamp,
        raw: Vec<Arc<LiveSegment>>,
        age_now: Timestamp,
    ) -> Option<Plan> {
        let (range, resolutions) = (partition_range(day), self.resolutions_kept(view, day, age_now));
        let finest = *resolutions.first()?;
        let older = if day <= view.floor(0) { rollups_of(view, range, finest) } else { Vec::new() };
        // What is damaged would take what is left of it along.
        let is_whole = older.iter().all(|rollup| !rollup.is_unmergeable());
        is_whole.then_some(Plan { range, raw, older, older_resolution: finest, resolutions })
    }

    /// Days whose samples are gone and that have no rollup of a resolution of the options, but a finer one. Not twice the
    /// same: where deletions hide what there is, nothing comes of it.
    pub(super) fn next_to_derive(&self, now: Timestamp) -> Option<Plan> {
        let view = self.view.load_full();
        let now = self.now_for_ages(now);
        view.rollups.resolutions.iter().find_map(|&coarse| {
            let lacking = self.partitions_lacking(&view, coarse, now);
            // Of the coarsest of the finer ones, which is the least work.
            lacking.into_iter().rev().find_map(|((resolution, _), range)| {
                let older = rollups_of(&view, range, resolution);
                let is_whole = older.iter().all(|rollup| !rollup.is_unmergeable());
                let plan = Plan {
                    range,
                    raw: Vec::new(),
                    older,
                    older_resolution: resolution,
                    resolutions: vec![coarse],
                };
                (is_whole && !self.derived.lock().contains(&plan.derived())).then_some(plan)
            })
        })
    }

    /// By finer resolution and partition: the days of it that have no states of the coarse one. What a segment has in
    /// between its first and its last bucket is not known here, but it is made at once.
    fn partitions_lacking(
        &self,
        view: &View,
        coarse: i64,
        now: Timestamp,
    ) -> BTreeMap<(i64, Timestamp), TimeRange> {
        let mut lacking = BTreeMap::<_, TimeRange>::new();
        let (floor, age) = (view.floor(0), self.options.age_of(coarse));
        let finer = view.segments_of(Signal::Metrics).filter(|(_, segment)| {
            segment.is_rollup() && segment.resolution_ms() < coarse && coarse % segment.resolution_ms() == 0
        });
        for (_, segment) in finer {
            let [first, last] = [segment.entry.min_time, segment.entry.max_time].map(partition_of);
            let is_there = |day: Timestamp| !rollups_of(view, partition_range(day), coarse).is_empty();
            let is_kept = first > view.floor(coarse) && first.saturating_add(age) > now;
            if !is_kept || first > floor || is_there(first) && (last > floor || is_there(last)) {
                continue;
            }
            let key = (segment.resolution_ms(), rollup_partition_of(first, coarse));
            let days = TimeRange { after: partition_range(first).after, until: last.min(floor) };
            let known = lacking.entry(key).or_insert(days);
            *known = TimeRange { after: known.after.min(days.after), until: known.until.max(days.until) };
        }
        lacking
    }

    /// Those that would not let go of the day at once.
    pub(super) fn resolutions_kept(&self, view: &View, day: Timestamp, now: Timestamp) -> Vec<i64> {
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
            plan.resolutions.iter().map(|&of| self.rollup_target(plan.range.until, of)).collect();
        // A number of its own, so that of two rollups of a day the later one is right.
        let seq = self.seq.fetch_add(1, Ordering::Relaxed) + 1;
        let types = |family: &str| self.metric_type(family);
        let pieces = self.write_segments(Pace::Background, &targets, |to| {
            let (raw, older) = (opened(&plan.raw)?, opened(&plan.older)?);
            let day = RollUp {
                raw: &raw,
                older: &older,
                older_resolution: plan.older_resolution,
                range: plan.range,
                resolutions: &plan.resolutions,
                types: &types,
                seqs: (seq, seq),
            };
            metrics::roll_up(&day, to, || self.is_tidying_stopped())
        })?;
        let view = self.view.load_full();
        let removed: Vec<u64> = plan.raw.iter().map(|s| s.entry.id).collect();
        let is_gone = plan.range.until <= view.floor(0);
        let marked = plan.raw.iter().filter(|_| !is_gone).map(|segment| {
            let entry = SegmentEntry { rolled: view.rollups.mark, ..segment.entry.clone() };
            Arc::new(segment.with_entry(entry))
        });
        let added: Vec<_> = pieces.into_iter().chain(marked).collect();
        self.commit(&Change { add: &added, remove: &removed, ..Change::default() })?;
        self.metrics.roll_ups.inc();
        if plan.raw.is_empty() {
            self.derived.lock().insert(plan.derived());
        }
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

fn rollups_of(view: &View, range: TimeRange, resolution_ms: i64) -> Vec<Arc<LiveSegment>> {
    let found = view.segments_of(Signal::Metrics).filter(|(_, segment)| {
        segment.resolution_ms() == resolution_ms && segment.time_range().overlaps(&range)
    });
    found.map(|(_, segment)| segment.clone()).collect()
}

fn opened(segments: &[Arc<LiveSegment>]) -> Result<Vec<Arc<VisibleSegment>>, MergeError> {
    let opened: Result<_, ReadError> = segments.iter().map(|segment| segment.visible().cloned()).collect();
    opened.map_err(MergeError::Read)
}

/// Keeps segments that cannot be read whole out of later plans, so that nothing is tried for ever, and nothing else is
/// kept from being done. If none of them is damaged, then all; but nobody is to blame where one cannot be opened now.
pub(super) fn set_aside_damaged<'a>(segments: impl Iterator<Item = &'a Arc<LiveSegment>>) {
    let (mut intact, mut damaged, mut all_opened) = (Vec::new(), Vec::new(), true);
    for segment in segments {
        match segment.verify() {
            Ok(()) => intact.push(segment),
            Err(ReadError::NotNow { .. }) => all_opened = false,
            Err(_) => damaged.push(segment),
        }
    }
    let blamed = if damaged.is_empty() && all_opened { intact } else { damaged };
    blamed.into_iter().for_each(|segment| segment.set_unmergeable());
}
