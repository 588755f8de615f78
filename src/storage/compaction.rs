//! Merging segments of a day: as sealed (15 min) → merged (2 h) → final (1 day). Late data fold in on the way. Rollups of
//! a partition are merged in the same way, a day being what is sealed at once.
//!
//! Within a partition, segments are ordered by sequence, and only neighbours in that order are merged, so that
//! "the later one is right" stays decidable without looking inside. A damaged segment stays as it is, and parts its
//! neighbours.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::errors::{MergeError, ReadError};
use super::live::LiveSegment;
use super::manifest::SegmentEntry;
use super::pace::Pace;
use super::publish::{Change, SegmentFile, Target};
use super::rollup::set_aside_damaged;
use super::seal::MaintenanceError;
use super::segment::SegmentMeta;
use super::signal::Signal;
use super::store::Store;
use super::{logs, metrics, traces};
use crate::codec::Effort;
use crate::model::{Timestamp, time::HOUR};

/// So many of one level make one of the next: eight of 15 min are 2 h.
const FAN_IN: usize = 8;
/// Merged rollups of an open partition are merged once more when they are so many: it may be open for months, and who
/// reads it reads all of its pieces.
const ROLLUPS_FAN_IN: usize = 4;
/// A day is final this long after its end, when most late samples have come, unless more are coming (`arrivals.rs`).
pub(super) const SETTLE_MS: i64 = HOUR;
pub(super) const FINAL: u8 = 2;

/// What may be merged with one another: segments of one signal, resolution and partition.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    /// Rows as sent come first: rollups are made of them.
    resolution_ms: u32,
    partition: Timestamp,
    signal: Signal,
    tier: u8,
}

/// A merge that is worth doing.
struct Plan {
    kind: Kind,
    level: u8,
    inputs: Vec<Arc<LiveSegment>>,
}

impl Store {
    /// Merges everything, and rolls up days that are over: one segment for each partition. Returns when done; damage met
    /// on the way is the answer then.
    pub fn compact(&self, now: Timestamp) -> Result<(), MaintenanceError> {
        let _one = self.merging.lock();
        let mut result = Ok(());
        loop {
            let is_rest = |(kind, run): &(Kind, Vec<Arc<LiveSegment>>)| {
                run.len() > 1 || is_worth_rewriting(run[0].entry.level, kind.resolution_ms > 0)
            };
            let (raw, rollups): (Vec<_>, Vec<_>) =
                self.runs().into_iter().filter(is_rest).partition(|(kind, _)| kind.resolution_ms == 0);
            let merge = |(kind, inputs)| self.merge(&Plan { kind, level: FINAL, inputs });
            let done = if let Some(run) = raw.into_iter().next() {
                merge(run)
            } else if let Some(plan) = self.next_to_derive(now).or_else(|| self.next_roll_up(now, |_| true)) {
                self.roll_up(&plan)
            } else if let Some(run) = rollups.into_iter().next() {
                merge(run)
            } else {
                return result;
            };
            match done {
                // What is damaged is out of the way now; the rest can still be merged.
                Err(error @ MaintenanceError::Read(_)) => result = Err(error),
                other => other?,
            }
        }
    }

    /// Does the most urgent merge or roll-up, if one is due: days are merged, then rolled up, then their rollups merged.
    pub(super) fn compact_step(&self, now: Timestamp) -> Result<bool, MaintenanceError> {
        let _one = self.merging.lock();
        let (raw, rollups): (Vec<_>, Vec<_>) =
            self.runs().into_iter().partition(|(kind, _)| kind.resolution_ms == 0);
        let plan = |run: (Kind, Vec<Arc<LiveSegment>>)| self.plan(run, now);
        let is_quiet = |day| self.arrivals.is_quiet(Signal::Metrics, day, now);
        if let Some(plan) = raw.into_iter().find_map(plan) {
            self.merge(&plan)?;
        } else if let Some(plan) = self.next_to_derive(now).or_else(|| self.next_roll_up(now, is_quiet)) {
            self.roll_up(&plan)?;
        } else if let Some(plan) = rollups.into_iter().find_map(plan) {
            self.merge(&plan)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// The segments that may be merged with one another: of each kind, oldest first, in order of sequence, and none
    /// beyond one that cannot be merged.
    fn runs(&self) -> Vec<(Kind, Vec<Arc<LiveSegment>>)> {
        let mut kinds = BTreeMap::<Kind, Vec<_>>::new();
        let view = self.view.load();
        for segment in &view.segments {
            // What only later versions know stays as it is.
            let Some(signal) = segment.signal() else { continue };
            let SegmentEntry { resolution_ms, partition, tier, .. } = segment.entry;
            // Samples whose day was let go are united with its rollup as they are.
            let is_stray = signal == Signal::Metrics && resolution_ms == 0 && partition <= view.floor(0);
            if !is_stray || view.rollups.mark == 0 {
                let kind = Kind { resolution_ms, partition, signal, tier };
                kinds.entry(kind).or_default().push(segment.clone());
            }
        }
        let runs = kinds.iter().flat_map(|(kind, segments)| {
            segments.split(|segment| segment.is_unmergeable()).map(|run| (*kind, run.to_vec()))
        });
        runs.filter(|(_, run)| !run.is_empty()).collect()
    }

    /// What to do with one run of segments, if anything.
    fn plan(&self, (kind, inputs): (Kind, Vec<Arc<LiveSegment>>), now: Timestamp) -> Option<Plan> {
        // A seal may write two segments of a day, which share no series and are merged together; where damage had kept one of them from
        // that, it comes before the merge that begins with the other.
        let is_of_one = |a: &Arc<LiveSegment>, b: &Arc<LiveSegment>| {
            kind.resolution_ms == 0 && a.entry.min_seq == b.entry.min_seq
        };
        let seals: Vec<_> = inputs.chunk_by(is_of_one).collect();
        let bytes = |seal: &[Arc<LiveSegment>]| seal.iter().map(|s| s.entry.bytes).sum();
        let sizes: Vec<(u8, u64)> = seals.iter().map(|seal| (seal[0].entry.level, bytes(seal))).collect();
        let is_quiet = kind.resolution_ms > 0 || self.arrivals.is_quiet(kind.signal, kind.partition, now);
        let is_settled = is_quiet && kind.partition.saturating_add(SETTLE_MS) <= now;
        let (from, level) = if is_settled && self.keeps_from_rollups(&kind, &inputs, now) {
            (0, FINAL)
        } else {
            choose(&sizes, is_settled, kind.resolution_ms > 0)?
        };
        Some(Plan { kind, level, inputs: seals[from..].concat() })
    }

    /// Whether some of a day's samples, as what came late, are not merged, and that alone keeps it from being rolled up: until
    /// then all of it is read as sent, and cannot go.
    fn keeps_from_rollups(&self, kind: &Kind, inputs: &[Arc<LiveSegment>], now: Timestamp) -> bool {
        let is_raw = kind.signal == Signal::Metrics && kind.resolution_ms == 0;
        if !is_raw || inputs.iter().all(|segment| segment.entry.level == FINAL) {
            return false;
        }
        let view = self.view.load();
        let is_damaged = |segment: &Arc<LiveSegment>| {
            let SegmentEntry { resolution_ms, partition, .. } = segment.entry;
            let is_of_day = segment.signal() == Some(Signal::Metrics)
                && (resolution_ms, partition) == (0, kind.partition);
            is_of_day && segment.is_unmergeable()
        };
        let resolutions = self.resolutions_kept(&view, kind.partition, self.now_for_ages(now));
        !resolutions.is_empty() && !view.segments.iter().any(is_damaged)
    }

    fn merge(&self, plan: &Plan) -> Result<(), MaintenanceError> {
        let started = Instant::now();
        let merged = self.merge_intact(plan);
        let seconds = self.metrics.maintenance_seconds.with_label_values(&["merge"]);
        seconds.inc_by(started.elapsed().as_secs_f64());
        if let Err(MaintenanceError::Read(_)) = &merged {
            set_aside_damaged(plan.inputs.iter());
        }
        merged
    }

    fn merge_intact(&self, plan: &Plan) -> Result<(), MaintenanceError> {
        let seqs = (
            plan.inputs.iter().map(|s| s.entry.min_seq).min().expect("a plan has inputs"),
            plan.inputs.iter().map(|s| s.seq_of_a_copy()).max().expect("a plan has inputs"),
        );
        let is_stopping = || self.is_tidying_stopped();
        let Kind { signal, tier, resolution_ms, partition } = plan.kind;
        let target =
            Target { signal, tier, resolution_ms: resolution_ms.into(), partition, level: plan.level };
        let effort = if plan.level == FINAL { Effort::Best } else { Effort::Fast };
        let merged = self.write_segment(Pace::Background, target, |to| {
            merge_segments(signal, &plan.inputs, seqs, effort, to, is_stopping)
        })?;
        let removed: Vec<u64> = plan.inputs.iter().map(|s| s.entry.id).collect();
        let merged: Vec<_> = merged.into_iter().collect();
        self.commit(&Change { add: &merged, remove: &removed, ..Change::default() })?;
        plan.inputs.iter().for_each(|segment| segment.doom());
        self.metrics.merges.inc();
        Ok(())
    }
}

/// One segment of what these hold. The effort is for metrics; the others' is their own matter.
fn merge_segments(
    signal: Signal,
    inputs: &[Arc<LiveSegment>],
    seqs: (u64, u64),
    effort: Effort,
    to: SegmentFile,
    is_stopping: impl Fn() -> bool,
) -> Result<Option<(SegmentFile, SegmentMeta)>, MergeError> {
    fn open<'a, T: 'a>(
        inputs: &'a [Arc<LiveSegment>],
        open: impl Fn(&'a LiveSegment) -> Result<&'a Arc<T>, ReadError>,
    ) -> Result<Vec<Arc<T>>, MergeError> {
        inputs.iter().map(|s| open(s).cloned().map_err(MergeError::Read)).collect()
    }
    match signal {
        Signal::Metrics => {
            metrics::merge_segments(&open(inputs, LiveSegment::visible)?, seqs, effort, to, is_stopping)
        }
        Signal::Logs => logs::merge_segments(&open(inputs, LiveSegment::logs)?, seqs, to, is_stopping),
        Signal::Traces => traces::merge_segments(&open(inputs, LiveSegment::traces)?, seqs, to, is_stopping),
    }
}

/// Whether a segment alone is written once more, in the best encoding. Rollups are from the start.
fn is_worth_rewriting(level: u8, is_rollup: bool) -> bool {
    level < FINAL && !is_rollup
}

/// What of a day, from where to the last, to merge into which level. `sizes` are (level, bytes) of its seals and merges in
/// order of sequence.
fn choose(sizes: &[(u8, u64)], is_settled: bool, is_rollup: bool) -> Option<(usize, u8)> {
    if let [(level, _)] = *sizes {
        return (is_settled && is_worth_rewriting(level, is_rollup)).then_some((0, FINAL));
    }
    if is_settled {
        let Some(last_final) = sizes.iter().rposition(|s| s.0 == FINAL) else { return Some((0, FINAL)) };
        // Late data for a final day: rewriting the day pays once there is an eighth of it, or many pieces.
        let late: u64 = sizes[last_final + 1..].iter().map(|s| s.1).sum();
        let pieces = sizes.len() - 1 - last_final;
        return (late * 8 >= sizes[last_final].1 || pieces >= FAN_IN).then_some((0, FINAL));
    }
    // An open day: the youngest run of one level, once it is long enough.
    let (level, _) = *sizes.last()?;
    let run = sizes.iter().rev().take_while(|s| s.0 == level).count();
    let is_long_enough = match level {
        0 => run >= FAN_IN,
        1 => is_rollup && run >= ROLLUPS_FAN_IN,
        _ => false,
    };
    is_long_enough.then_some((sizes.len() - run, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_sealed_segments_of_an_open_day_make_one() {
        assert_eq!(choose(&[(1, 80), (0, 10)], false, false), None);
        let mut sizes = vec![(1, 80)];
        sizes.extend([(0, 10); 7]);
        assert_eq!(choose(&sizes, false, false), None);
        sizes.push((0, 10));
        assert_eq!(choose(&sizes, false, false), Some((1, 1)));
    }

    #[test]
    fn a_rollup_alone_is_not_written_once_more() {
        assert_eq!(choose(&[(0, 10)], true, true), None);
        assert_eq!(choose(&[(0, 10), (0, 10)], true, true), Some((0, FINAL)));
    }

    #[test]
    fn merged_rollups_of_an_open_partition_are_merged_again_and_samples_are_not() {
        let merged = [(1, 80), (1, 10), (1, 10), (1, 10)];
        assert_eq!(choose(&merged, false, true), Some((0, 1)));
        assert_eq!(choose(&merged[1..], false, true), None);
        assert_eq!(choose(&merged, false, false), None);
    }

    #[test]
    fn a_day_that_is_over_becomes_one_segment() {
        assert_eq!(choose(&[(1, 80), (1, 80), (0, 10)], true, false), Some((0, FINAL)));
        assert_eq!(choose(&[(FINAL, 800)], true, false), None);
        assert_eq!(choose(&[(0, 800)], true, false), Some((0, FINAL)), "one that was sealed alone as well");
        assert_eq!(choose(&[(0, 800)], false, false), None);
    }

    #[test]
    fn late_data_wait_until_rewriting_the_day_pays() {
        assert_eq!(choose(&[(FINAL, 800), (0, 10)], true, false), None);
        assert_eq!(choose(&[(FINAL, 800), (0, 100)], true, false), Some((0, FINAL)));
    }
}
