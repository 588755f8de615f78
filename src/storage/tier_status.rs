//! How the tiers stand: what each holds, how far back it reaches, and what is still to be rolled up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};

use super::compaction::SETTLE_MS;
use super::live::View;
use super::signal::Signal;
use super::store::Store;
use super::tier_dirs::tier_name;
use super::tombstone::Tombstone;
use crate::model::{TimeRange, Timestamp};

/// What there is of one signal in one resolution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierStatus {
    pub signal: Signal,
    pub name: String,
    /// 0: as sent.
    pub resolution_ms: i64,
    /// How long it is kept.
    pub retention_ms: i64,
    pub dir: PathBuf,
    pub segments: u64,
    pub bytes: u64,
    /// Samples, states, entries or spans.
    pub rows: u64,
    /// None if it holds nothing.
    pub times: Option<TimeRange>,
}

/// What the store holds on disk, and what it has yet to do.
#[derive(Clone, Debug)]
pub struct StoreStatus {
    /// Of samples from fine to coarse, then of the other signals.
    pub tiers: Vec<TierStatus>,
    /// Days that are over and whose samples are not all in rollups, oldest first.
    pub days_to_roll_up: Vec<Timestamp>,
    /// Deletions that still hide something, oldest first.
    pub tombstones: Vec<Deletion>,
}

/// A deletion whose rows are still in files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// In PromQL's words.
    pub selectors: String,
    pub range: TimeRange,
}

/// The figures of tiers as metrics.
pub(super) struct TierMetrics {
    segments: IntGaugeVec,
    bytes: IntGaugeVec,
    rows: IntGaugeVec,
    oldest: IntGaugeVec,
    newest: IntGaugeVec,
    backlog: IntGauge,
}

impl TierMetrics {
    pub fn register(registry: &Registry) -> TierMetrics {
        let gauges = |name: &str, help: &str| {
            let gauges = IntGaugeVec::new(Opts::new(name, help), &["signal", "tier"]).expect("a valid name");
            registry.register(Box::new(gauges.clone())).expect("one store for each registry");
            gauges
        };
        let name = "icecore_storage_rollup_backlog_days";
        let backlog = IntGauge::new(name, "Days that are over and not all in rollups").expect("a valid name");
        registry.register(Box::new(backlog.clone())).expect("one store for each registry");
        TierMetrics {
            segments: gauges("icecore_storage_tier_segments", "Sealed segments of a tier"),
            bytes: gauges("icecore_storage_tier_bytes", "Bytes of the sealed segments of a tier"),
            rows: gauges("icecore_storage_tier_rows", "Samples, states, entries or spans of a tier"),
            oldest: gauges("icecore_storage_tier_oldest_seconds", "Time of the oldest row of a tier"),
            newest: gauges("icecore_storage_tier_newest_seconds", "Time of the newest row of a tier"),
            backlog,
        }
    }

    fn observe(&self, status: &StoreStatus) {
        for tier in &status.tiers {
            let labels = &[tier.signal.name(), &tier.name];
            let set = |gauges: &IntGaugeVec, value: i64| gauges.with_label_values(labels).set(value);
            set(&self.segments, tier.segments as i64);
            set(&self.bytes, tier.bytes as i64);
            set(&self.rows, tier.rows as i64);
            if let Some(times) = tier.times {
                set(&self.oldest, times.after.saturating_add(1).div_euclid(1000));
                set(&self.newest, times.until.div_euclid(1000));
            }
        }
        self.backlog.set(status.days_to_roll_up.len() as i64);
    }
}

impl Store {
    pub fn status(&self, now: Timestamp) -> StoreStatus {
        let view = self.view.load();
        let mut tiers = self.empty_tiers(&view);
        for segment in &view.segments {
            let Some(signal) = segment.signal() else { continue };
            let Some(tier) = tiers.get_mut(&(signal, segment.resolution_ms())) else { continue };
            tier.segments += 1;
            tier.bytes += segment.entry.bytes;
            tier.rows += segment.entry.rows;
            let times = segment.time_range();
            tier.times = Some(tier.times.map_or(times, |all| TimeRange::around([all, times])));
        }
        let deletion = |tombstone: &Arc<Tombstone>| Deletion {
            selectors: tombstone.to_string(),
            range: tombstone.range,
        };
        StoreStatus {
            tiers: tiers.into_values().collect(),
            days_to_roll_up: days_to_roll_up(&view, now),
            tombstones: view.tombstones.values().map(deletion).collect(),
        }
    }

    pub(super) fn observe_tiers(&self, now: Timestamp) {
        self.metrics.tiers.observe(&self.status(now));
    }

    /// Those that the options name, and those that there are.
    fn empty_tiers(&self, view: &View) -> BTreeMap<(Signal, i64), TierStatus> {
        let found = view
            .segments
            .iter()
            .filter_map(|segment| Some((segment.signal()?, segment.resolution_ms(), segment.entry.tier)));
        let named = self.options.tiers.iter().zip(0..);
        let named = named.map(|(tier, number)| (Signal::Metrics, tier.resolution_ms, number));
        let others = [(Signal::Logs, 0, 0), (Signal::Traces, 0, 0)];
        let all = found.chain(others).chain(named);
        let tiers = all.map(|(signal, resolution_ms, number)| {
            let retention_ms = match signal {
                Signal::Metrics => self.options.age_of(resolution_ms),
                Signal::Logs | Signal::Traces => self.options.retention_ms(signal),
            };
            let (name, dir) = (tier_name(number), self.dirs.dir(number));
            let (segments, bytes, rows, times) = (0, 0, 0, None);
            let tier =
                TierStatus { signal, name, resolution_ms, retention_ms, dir, segments, bytes, rows, times };
            ((signal, resolution_ms), tier)
        });
        tiers.collect()
    }
}

fn days_to_roll_up(view: &View, now: Timestamp) -> Vec<Timestamp> {
    let raw = view.segments_of(Signal::Metrics).filter(|(_, segment)| !segment.is_rollup());
    let waiting = raw.filter(|(_, segment)| {
        let is_over = segment.entry.partition.saturating_add(SETTLE_MS) <= now;
        view.rollups.mark != 0 && is_over && !view.is_rolled(segment)
    });
    let days: BTreeSet<Timestamp> = waiting.map(|(_, segment)| segment.entry.partition).collect();
    days.into_iter().collect()
}
