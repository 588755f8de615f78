//! Every state a power cut may leave of a workload with everything in it: floats, native histograms, deltas of both
//! kinds, exemplars and metadata, log entries and spans, over both shards.

use std::path::Path;
use std::sync::Arc;

use super::Store;
use super::damage_tests::{Lines, append_everything, append_metrics, lines_of};
use super::fs::Fs;
use super::fs::faulty::{FaultyFs, Op, for_each_power_cut};
use super::store_tests::{NOON, open};
use crate::model::time;

/// What could be read when a batch had been acknowledged, for each of them.
fn run_workload(disk: &FaultyFs) -> Vec<Lines> {
    let mut readable = vec![Lines::new()];
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    for round in 0..3 {
        let store = open(fs.clone(), Path::new("/d"));
        for part in 0..3 {
            let k = readable.len() as i64;
            append_everything(&store, k, NOON + k * time::HOUR);
            readable.push(lines_of(&store));
            disk.mark(readable.len() as u64);
            if part == 1 {
                store.seal(NOON).unwrap();
            }
        }
        match round {
            0 => store.close(),
            1 => store.compact(i64::MAX).unwrap(),
            _ => {}
        }
    }
    readable
}

fn is_help_known(store: &Store, k: usize) -> bool {
    let told = format!("told at {k}");
    store.metrics().metadata().iter().any(|(_, list)| list.iter().any(|m| m.help == told))
}

/// A delta that follows must be added to all the deltas before it, wherever their sum lay.
fn assert_totals_run_on(store: &Store, found: &Lines, what: &str) {
    let deltas = found.iter().filter(|line| line.starts_with("delta{n=\"0\"} ")).count();
    let k = deltas as i64 + 1;
    // Metrics alone: of what was not acknowledged the entries may be there, and would be there twice.
    append_metrics(store, k, NOON + k * time::HOUR);
    let total = format!("delta{{n=\"0\"}} {} {:x}", NOON + k * time::HOUR, (2.0 * k as f64).to_bits());
    let now = lines_of(store);
    let totals: Vec<_> = now.iter().filter(|line| line.starts_with("delta{n=\"0\"} ")).collect();
    assert!(now.contains(&total), "{what}: no {total} in {totals:?}");
}

#[test]
fn a_power_cut_at_any_moment_keeps_what_was_acknowledged_of_all_signals() {
    let disk = FaultyFs::default();
    let readable = run_workload(&disk);
    let everything = readable.last().unwrap();
    let log = disk.log();
    let variants = if std::env::var_os("ICECORE_FULL").is_some() { 40 } else { 2 };
    for_each_power_cut(&log, 0, variants, |cut, what, after| {
        let acknowledged = log[..cut].iter().filter(|op| matches!(op, Op::Mark(_))).count();
        let store = open(Arc::new(after), Path::new("/d"));
        let found = lines_of(&store);
        let lost: Vec<_> = readable[acknowledged].difference(&found).collect();
        assert!(lost.is_empty(), "{what}: lost {lost:?}");
        let invented: Vec<_> = found.difference(everything).collect();
        assert!(invented.is_empty(), "{what}: invented {invented:?}");
        assert!(acknowledged == 0 || is_help_known(&store, acknowledged), "{what}: metadata");
        assert_totals_run_on(&store, &found, what);
    });
}
