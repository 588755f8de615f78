//! Merging segments of a day: as sealed (15 min) → merged (2 h) → final (1 day). Late data fold in on the way.
//!
//! Within a partition, segments are ordered by sequence, and only neighbours in that order are merged, so that
//! "the later one is right" stays decidable without looking inside. A damaged segment stays as it is, and parts its
//! neighbours.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::errors::{MergeError, ReadError};
use super::live::LiveSegment;
use super::publish::{Change, SegmentFile, Target};
use super::seal::MaintenanceError;
use super::segment::SegmentMeta;
use super::signal::Signal;
use super::store::Store;
use super::{logs, metrics, traces};
use crate::model::{Timestamp, time::HOUR};

/// So many of one level make one of the next: eight of 15 min are 2 h.
const FAN_IN: usize = 8;
/// A day is final this long after its end; most late samples have come by then.
const SETTLE_MS: i64 = HOUR;
const FINAL: u8 = 2;

/// A merge that is worth doing.
struct Plan {
    signal: Signal,
    partition: Timestamp,
    level: u8,
    inputs: Vec<Arc<LiveSegment>>,
}

impl Store {
    /// Merges everything: one segment for each day. Returns when done; damage met on the way is the answer then.
    pub fn compact(&self) -> Result<(), MaintenanceError> {
        let _one = self.merging.lock();
        let mut result = Ok(());
        loop {
            let Some((signal, inputs)) = self.runs().into_iter().find(|(_, run)| run.len() > 1) else {
                return result;
            };
            let partition = inputs[0].entry.partition;
            match self.merge(&Plan { signal, partition, level: FINAL, inputs }) {
                // What is damaged is out of the way now; the rest can still be merged.
                Err(error @ MaintenanceError::Read(_)) => result = Err(error),
                other => other?,
            }
        }
    }

    /// Does the most urgent merge, if one is due.
    pub(super) fn compact_step(&self, now: Timestamp) -> Result<bool, MaintenanceError> {
        let _one = self.merging.lock();
        let Some(plan) = self.runs().into_iter().find_map(|(signal, run)| plan(signal, run, now)) else {
            return Ok(false);
        };
        self.merge(&plan)?;
        Ok(true)
    }

    /// The segments that may be merged with one another: of each day and signal, oldest day first, in order of
    /// sequence, and none beyond one that cannot be merged.
    fn runs(&self) -> Vec<(Signal, Vec<Arc<LiveSegment>>)> {
        let mut days = BTreeMap::<(Timestamp, Signal), Vec<_>>::new();
        for segment in self.view.load().segments.iter().filter(|s| s.entry.tier == 0) {
            // What only later versions know stays as it is.
            let Some(signal) = segment.signal() else { continue };
            days.entry((segment.entry.partition, signal)).or_default().push(segment.clone());
        }
        let runs = days.iter().flat_map(|((_, signal), day)| {
            day.split(|segment| segment.is_unmergeable()).map(|run| (*signal, run.to_vec()))
        });
        runs.filter(|(_, run)| !run.is_empty()).collect()
    }

    fn merge(&self, plan: &Plan) -> Result<(), MaintenanceError> {
        let merged = self.merge_intact(plan);
        if let Err(MaintenanceError::Read(_)) = &merged {
            // So that it is not tried for ever, and nothing else is kept from being merged.
            let damaged: Vec<_> = plan.inputs.iter().filter(|s| s.is_damaged()).collect();
            let blamed = if damaged.is_empty() { plan.inputs.iter().collect() } else { damaged };
            blamed.iter().for_each(|segment| segment.set_unmergeable());
        }
        merged
    }

    fn merge_intact(&self, plan: &Plan) -> Result<(), MaintenanceError> {
        let seqs = (
            plan.inputs.iter().map(|s| s.entry.min_seq).min().expect("a plan has inputs"),
            plan.inputs.iter().map(|s| s.entry.max_seq).max().expect("a plan has inputs"),
        );
        let is_stopping = || self.is_tidying_stopped();
        let Plan { signal, partition, level, .. } = *plan;
        let target = Target { signal, tier: 0, resolution_ms: 0, partition, level };
        let merged = self
            .write_segment(target, |to| merge_segments(plan.signal, &plan.inputs, seqs, to, is_stopping))?;
        let removed: Vec<u64> = plan.inputs.iter().map(|s| s.entry.id).collect();
        let merged: Vec<_> = merged.into_iter().collect();
        self.commit(&Change { add: &merged, remove: &removed, ..Change::default() })?;
        plan.inputs.iter().for_each(|segment| segment.doom());
        self.metrics.merges.inc();
        Ok(())
    }
}

/// One segment of what these hold.
fn merge_segments(
    signal: Signal,
    inputs: &[Arc<LiveSegment>],
    seqs: (u64, u64),
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
            metrics::merge_segments(&open(inputs, LiveSegment::metrics)?, seqs, to, is_stopping)
        }
        Signal::Logs => logs::merge_segments(&open(inputs, LiveSegment::logs)?, seqs, to, is_stopping),
        Signal::Traces => traces::merge_segments(&open(inputs, LiveSegment::traces)?, seqs, to, is_stopping),
    }
}

/// What to do with one run of segments, if anything.
fn plan(signal: Signal, segments: Vec<Arc<LiveSegment>>, now: Timestamp) -> Option<Plan> {
    let partition = segments[0].entry.partition;
    let sizes: Vec<(u8, u64)> = segments.iter().map(|s| (s.entry.level, s.entry.bytes)).collect();
    let is_settled = partition.saturating_add(SETTLE_MS) <= now;
    let (from, level) = choose(&sizes, is_settled)?;
    Some(Plan { signal, partition, level, inputs: segments[from..].to_vec() })
}

/// Which segments of a day, from where to the last, to merge into which level. `sizes` are (level, bytes) in order of
/// sequence.
fn choose(sizes: &[(u8, u64)], is_settled: bool) -> Option<(usize, u8)> {
    if sizes.len() < 2 {
        return None;
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
    (level == 0 && run >= FAN_IN).then_some((sizes.len() - run, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_sealed_segments_of_an_open_day_make_one() {
        assert_eq!(choose(&[(1, 80), (0, 10)], false), None);
        let mut sizes = vec![(1, 80)];
        sizes.extend([(0, 10); 7]);
        assert_eq!(choose(&sizes, false), None);
        sizes.push((0, 10));
        assert_eq!(choose(&sizes, false), Some((1, 1)));
    }

    #[test]
    fn a_day_that_is_over_becomes_one_segment() {
        assert_eq!(choose(&[(1, 80), (1, 80), (0, 10)], true), Some((0, FINAL)));
        assert_eq!(choose(&[(FINAL, 800)], true), None);
    }

    #[test]
    fn late_data_wait_until_rewriting_the_day_pays() {
        assert_eq!(choose(&[(FINAL, 800), (0, 10)], true), None);
        assert_eq!(choose(&[(FINAL, 800), (0, 100)], true), Some((0, FINAL)));
    }
}
