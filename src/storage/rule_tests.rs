//! Retention by labels: series go when their rule says so, out of samples and rollups, and the others stay.

use std::path::Path;
use std::sync::Arc;

use prometheus::Registry;

use super::fs::Fs;
use super::fs::faulty::{FaultyFs, Op, after_power_cut};
use super::rollup_tests::*;
use super::store_tests::{Contents, append_and_wait, series};
use super::{Options, RetentionRule, Store};
use crate::model::time::{DAY, HOUR};
use crate::model::{MatchOp, Matcher, Timestamp};

pub(super) fn rule(pattern: &str, days: i64) -> RetentionRule {
    let matchers = vec![Matcher::new("n", MatchOp::Regex, pattern).unwrap()];
    RetentionRule { matchers, retention_ms: days * DAY }
}

/// Samples for two days, states of a minute for nine, of five for four hundred.
fn ruled(dir: &Path, rules: &[RetentionRule]) -> Options {
    Options { rules: rules.to_vec(), ..tiered(dir) }
}

fn open_ruled(dir: &Path, rules: &[RetentionRule]) -> Arc<Store> {
    Store::open(ruled(dir, rules), &Registry::new(), (FIRST + 9) * DAY).unwrap()
}

/// What is left of a series after the end of this day.
fn keep_after(model: &mut Contents, n: u32, day: i64) {
    model.entry(series(n).to_string()).or_default().retain(|time, _| *time > day * DAY);
    model.retain(|_, samples| !samples.is_empty());
}

fn segment_ids(store: &Store) -> Vec<u64> {
    store.view.load().segments.iter().map(|segment| segment.entry.id).collect()
}

fn left_out(store: &Store) -> u64 {
    store.metrics.left_out_rows.with_label_values(&["rule"]).get()
}

/// Ten days of samples; the clock stands at the noon of the last one.
fn ten_days(store: &Store, model: &mut Contents) {
    for day in FIRST..FIRST + 10 {
        take(store, model, &day_of_samples(day));
        store.tidy(day * DAY + DAY);
    }
}

#[test]
fn a_series_goes_when_its_rule_says_and_is_written_out_of_each_segment_once() {
    let dir = tempfile::tempdir().unwrap();
    let rules = [rule("0", 1), rule("0|1", 5)];
    let (store, mut model) = (open_ruled(dir.path(), &rules), Contents::new());
    ten_days(&store, &mut model);
    // At the noon of day FIRST + 9 the day that ended twelve hours ago is not a day old.
    keep_after(&mut model, 0, FIRST + 7);
    keep_after(&mut model, 1, FIRST + 3);
    assert_same(&store, &model, "hidden by the day");
    assert!(left_out(&store) > 0);
    let (ids, rows) = (segment_ids(&store), left_out(&store));
    store.tidy((FIRST + 10) * DAY);
    assert_eq!((segment_ids(&store), left_out(&store)), (ids.clone(), rows), "nothing is written twice");
    drop(store);
    let store = open_ruled(dir.path(), &rules);
    assert_same(&store, &model, "opened again");
    store.tidy((FIRST + 10) * DAY);
    assert_eq!((segment_ids(&store), left_out(&store)), (ids, 0), "nor after a start");
    let of_day = |day: i64, resolution: i64| {
        let view = store.view.load();
        let mut of = view.segments.iter().filter(|s| s.resolution_ms() == resolution);
        of.find(|s| s.entry.partition == day * DAY).unwrap().entry.series
    };
    assert_eq!(of_day(FIRST + 8, 0), 3, "a day is a file, and this one is young");
    assert_eq!(of_day(FIRST + 7, M1), 2, "eight days are a file, all of them too old for the first series");
}

#[test]
fn a_rule_that_is_longer_than_all_tiers_keeps_its_series_in_the_coarsest() {
    let dir = tempfile::tempdir().unwrap();
    let rules = [rule("1", 800)];
    let (store, mut model) = (open_ruled(dir.path(), &rules), Contents::new());
    for day in [FIRST, FIRST + 1] {
        take(&store, &mut model, &day_of_samples(day));
    }
    // Time passes where nobody looks.
    let tick = |day: i64| {
        append_and_wait(&store, &[(7, day * DAY, 1)]);
        store.seal(FIRST * DAY).unwrap();
        store.tidy(day * DAY + HOUR);
        store.tidy(day * DAY + HOUR);
    };
    tick(FIRST + 399);
    assert_same(&store, &model, "everything, in the coarsest");
    assert_eq!(resolutions(&store, FIRST..=FIRST), [[M5]]);
    tick(FIRST + 500);
    for n in [0, 2] {
        keep_after(&mut model, n, FIRST + 100);
    }
    assert_same(&store, &model, "what has a rule");
    let ids = segment_ids(&store);
    store.tidy((FIRST + 500) * DAY + HOUR);
    assert_eq!(segment_ids(&store), ids);
    tick(FIRST + 900);
    keep_after(&mut model, 1, FIRST + 100);
    assert_same(&store, &model, "and that goes, too");
}

#[test]
fn a_power_cut_while_a_rule_is_applied_leaves_the_same_answer() {
    let disk = FaultyFs::default();
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let (store, mut model) = (open_with(&fs, tiered(Path::new("/d"))), Contents::new());
    ten_days(&store, &mut model);
    drop(store);
    let rules = [rule("0", 1), rule("2", 1)];
    let open = |fs: &Arc<dyn Fs>| {
        let now = (FIRST + 10) * DAY;
        Store::open_on(fs.clone(), ruled(Path::new("/d"), &rules), &Registry::new(), now).unwrap()
    };
    let store = open(&fs);
    keep_after(&mut model, 0, FIRST + 7);
    keep_after(&mut model, 2, FIRST + 7);
    assert_same(&store, &model, "from the start on");
    disk.mark(0);
    store.tidy((FIRST + 10) * DAY);
    assert!(left_out(&store) > 0);
    drop(store);
    let log = disk.log();
    let begun = log.iter().position(|op| matches!(op, Op::Mark(0))).unwrap();
    for cut in begun..=log.len() {
        for keeps_all in [false, true] {
            let mut choose = |n: usize| if keeps_all { n - 1 } else { 0 };
            let fs: Arc<dyn Fs> = Arc::new(after_power_cut(&log[..cut], &mut choose));
            let store = open(&fs);
            assert_same(&store, &model, &format!("cut {cut}"));
            store.tidy((FIRST + 10) * DAY);
            assert_same(&store, &model, &format!("cut {cut}, carried on"));
        }
    }
}

#[test]
fn what_comes_late_for_a_series_that_went_is_not_seen_once_it_is_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let rules = [rule("0", 1)];
    let (store, mut model) = (open_ruled(dir.path(), &rules), Contents::new());
    take(&store, &mut model, &day_of_samples(FIRST + 4));
    store.tidy((FIRST + 4) * DAY);
    let late: Vec<(u32, Timestamp, u64)> = vec![(0, (FIRST + 2) * DAY - 13 * HOUR, 1)];
    append_and_wait(&store, &late);
    store.seal(FIRST * DAY).unwrap();
    assert_same(&store, &model, "hidden");
    store.tidy((FIRST + 4) * DAY);
    assert_same(&store, &model, "and dropped");
    assert_eq!(segments_of(&store, 0), [(FIRST + 4, 0)]);
}
