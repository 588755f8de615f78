//! Letting go of what is too old or too much; whole partitions of samples, whole segments of the rest.
//!
//! Of each resolution of samples the oldest partition goes first, and the edit that lets go of it says up to where that
//! resolution is gone now: so a reader knows whether it must look at a rollup. Samples as sent go only when all rollups
//! that the tiers ask for are there. What is too much does not wait until its day is over or quiet, and is rolled up at
//! once; only what is damaged goes without.
//!
//! Series that a rule keeps for less are hidden by the day and written out of each segment once (`cleaning.rs`); for the sake of those
//! that a rule keeps for more, the coarsest tier keeps its segments, without the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::expiry::expiries;
use super::live::{LiveSegment, View};
use super::publish::Change;
use super::rollup::Plan;
use super::seal::MaintenanceError;
use super::signal::Signal;
use super::store::{Options, Store};
use crate::model::Timestamp;

/// What goes together, or not at all.
struct Unit {
    /// Time of the newest row.
    end: Timestamp,
    signal: Signal,
    resolution_ms: i64,
    partition: Timestamp,
    segments: Vec<Arc<LiveSegment>>,
}

impl Store {
    /// Removes what is older than its tier or signal keeps it, then the oldest above the size limit. In between, segments are
    /// written anew without series that rules let go of, for a while: what is left waits for the next time.
    pub(super) fn let_go(&self, now: Timestamp, writing_at_most: Duration) -> Result<(), MaintenanceError> {
        let now = self.now_for_ages(now);
        self.remove_expired(now)?;
        let written = self.clean_expired(writing_at_most);
        // Where that failed, too: the disk may be full.
        self.remove_excess(now)?;
        written
    }

    fn remove_expired(&self, now: Timestamp) -> Result<(), MaintenanceError> {
        let _one = self.merging.lock();
        self.hide_expired(now);
        self.remove(expired(&self.view.load_full(), &self.options, now), "age")
    }

    /// Removes the oldest above the size limit; of samples it takes the rollups are written first, which may be too much, too.
    fn remove_excess(&self, now: Timestamp) -> Result<(), MaintenanceError> {
        let _one = self.merging.lock();
        loop {
            let view = self.view.load_full();
            let mut excess = excess(&view, self.options.size_max);
            let missing = |(at, unit)| Some((at, self.missing_roll_up(&view, unit, now)?));
            let Some((at, plan)) = excess.iter().enumerate().find_map(missing) else {
                return self.remove(excess, "size");
            };
            // Room is made before more is written.
            excess.truncate(at);
            self.remove(excess, "size")?;
            match self.roll_up(&plan) {
                Err(error @ MaintenanceError::Read(_)) => {
                    tracing::error!(%error, "samples beyond the size limit are damaged, and go without a rollup");
                }
                done => done?,
            }
        }
    }

    /// What must be rolled up before these go, as far as it can be.
    fn missing_roll_up(&self, view: &View, unit: &Unit, now: Timestamp) -> Option<Plan> {
        if unit.signal != Signal::Metrics || unit.resolution_ms > 0 || view.rollups.mark == 0 {
            return None;
        }
        let whole = || unit.segments.iter().filter(|segment| !segment.is_unmergeable());
        if whole().all(|segment| view.is_rolled(segment)) {
            return None;
        }
        self.roll_up_of(view, unit.partition, whole().cloned().collect(), now)
    }

    /// From now on nobody sees what rules let go of up to `now`, by the clock of ages.
    pub(super) fn hide_expired(&self, now: Timestamp) {
        let coarsest = self.options.tiers.last().expect("there is a first tier");
        let default = (coarsest.resolution_ms, coarsest.retention_ms);
        let expiries = expiries(&self.options.rules, default, now);
        if self.view.load().expiries.iter().map(|expiry| &**expiry).eq(&expiries) {
            return;
        }
        let expiries: Arc<[_]> = expiries.into_iter().map(Arc::new).collect();
        self.view.rcu(|view| View { expiries: expiries.clone(), ..(**view).clone() }.masked());
        self.changes.note_all(None);
    }

    /// Writes segments anew without the series that rules let go of, once all of a segment is as old. What was written
    /// anew holds none of them, and is left alone until another rule comes due.
    fn clean_expired(&self, at_most: Duration) -> Result<(), MaintenanceError> {
        self.clean_for(at_most, "rule", |view| self.next_in_turn(view, LiveSegment::holds_expired_series))
    }

    /// A clock that jumped ahead must not empty the store: what is newest here also tells the time.
    pub(super) fn now_for_ages(&self, now: Timestamp) -> Timestamp {
        now.min(self.stats().time_range.until)
    }

    fn remove(&self, units: Vec<Unit>, reason: &str) -> Result<(), MaintenanceError> {
        if units.is_empty() {
            return Ok(());
        }
        let segments = || units.iter().flat_map(|unit| &unit.segments);
        let ids: Vec<u64> = segments().map(|segment| segment.entry.id).collect();
        let samples = units.iter().filter(|unit| unit.signal == Signal::Metrics);
        let floors: Vec<_> = samples.map(|unit| (unit.resolution_ms as u32, unit.partition)).collect();
        self.commit(&Change { remove: &ids, floors: &floors, ..Change::default() })?;
        segments().for_each(|segment| segment.doom());
        self.metrics.expired_segments.with_label_values(&[reason]).inc_by(ids.len() as u64);
        Ok(())
    }
}

/// All that could go, the oldest first, and of the same age samples before their rollups.
fn units(view: &View) -> Vec<Unit> {
    let (mut units, mut samples) = (Vec::new(), BTreeMap::<(i64, Timestamp), Vec<_>>::new());
    for segment in &view.segments {
        let (end, partition) = (segment.entry.max_time, segment.entry.partition);
        match segment.signal() {
            Some(Signal::Metrics) => {
                samples.entry((segment.resolution_ms(), partition)).or_default().push(segment.clone());
            }
            Some(signal) => {
                let segments = vec![segment.clone()];
                units.push(Unit { end, signal, resolution_ms: 0, partition, segments });
            }
            // What only later versions know stays as it is.
            None => {}
        }
    }
    units.extend(samples.into_iter().map(|((resolution_ms, partition), segments)| {
        let end = segments.iter().map(|s| s.entry.max_time).max().unwrap_or(partition);
        Unit { end, signal: Signal::Metrics, resolution_ms, partition, segments }
    }));
    units.sort_by_key(|unit| (unit.end, unit.resolution_ms, unit.signal));
    units
}

fn expired(view: &View, options: &Options, now: Timestamp) -> Vec<Unit> {
    let mut blocked = BTreeSet::new();
    let mut expired = Vec::new();
    for unit in units(view) {
        let Unit { end, signal, resolution_ms, partition, .. } = unit;
        let may_go = match signal {
            Signal::Metrics if resolution_ms == 0 => may_samples_go(view, options, &unit, now),
            Signal::Metrics => partition.saturating_add(options.age_of(resolution_ms)) <= now,
            Signal::Logs | Signal::Traces => end < now.saturating_sub(options.retention_ms(signal)),
        };
        // Nothing newer goes before it: up to the floor everything is gone.
        if signal == Signal::Metrics && (!may_go || blocked.contains(&resolution_ms)) {
            blocked.insert(resolution_ms);
        } else if may_go {
            expired.push(unit);
        }
    }
    expired
}

fn may_samples_go(view: &View, options: &Options, day: &Unit, now: Timestamp) -> bool {
    let is_older_than = |age: i64| day.partition.saturating_add(age) <= now;
    // What is damaged cannot be rolled up, and must not keep all that is newer.
    let is_rolled = |segment: &Arc<LiveSegment>| view.is_rolled(segment) || segment.is_unmergeable();
    let is_kept_otherwise = view.rollups.mark == 0 || day.segments.iter().all(is_rolled);
    is_older_than(options.age_of(0)) && (is_kept_otherwise || is_older_than(options.longest_age()))
}

/// The oldest units whose removal brings the rest below the limit; never the newest one of a signal and resolution.
fn excess(view: &View, size_max: Option<u64>) -> Vec<Unit> {
    let Some(max) = size_max else { return Vec::new() };
    let units = units(view);
    let newest: BTreeMap<_, _> =
        units.iter().enumerate().map(|(at, unit)| ((unit.signal, unit.resolution_ms), at)).collect();
    let mut bytes: u64 = units.iter().flat_map(|unit| &unit.segments).map(|s| s.entry.bytes).sum();
    let mut excess = Vec::new();
    for (at, unit) in units.into_iter().enumerate() {
        if bytes <= max {
            break;
        }
        if newest[&(unit.signal, unit.resolution_ms)] != at {
            bytes -= unit.segments.iter().map(|s| s.entry.bytes).sum::<u64>();
            excess.push(unit);
        }
    }
    excess
}
