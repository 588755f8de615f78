//! What is hidden leaves the files, a while at a time, and no answer changes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::deletion_tests::{delete, forget, found, numbered, tidied, tombstone_count};
use super::fs::faulty::{Faults, FaultyFs};
use super::fs::{Fs, RealFs};
use super::rollup_tests::*;
use super::rule_tests::rule;
use super::store_tests::{Contents, NOON, open, options};
use super::{Options, Store};
use crate::model::TimeRange;
use crate::model::time::{DAY, HOUR, SECOND};

#[test]
fn what_was_deleted_leaves_files_that_nothing_else_would_write_anew() {
    let dir = tempfile::tempdir().unwrap();
    let now = (FIRST + 7) * DAY;
    let (store, mut model) = tidied(dir.path(), &[FIRST, FIRST + 1, FIRST + 6], now);
    assert_eq!(resolutions(&store, FIRST..=FIRST), [[M1, M5]], "of the first day there are rollups alone");
    let left_out = || store.metrics.left_out_rows.with_label_values(&["deletion"]).get();
    // One after the other, and each is hidden at once.
    for (later, number) in [(0, "0"), (HOUR - SECOND, "1")] {
        store.delete_series(numbered(number), TimeRange::ALL, now + later).unwrap();
        forget(&mut model, number, TimeRange::ALL);
        assert_same(&store, &model, "hidden");
        store.tidy(now + later);
        assert_eq!(left_out(), 0, "more may follow");
    }
    store.tidy(now + 2 * HOUR - 2 * SECOND);
    assert_eq!(left_out(), 0);
    store.tidy(now + 2 * HOUR - SECOND);
    assert!(left_out() > 0);
    assert_eq!(tombstone_count(&store), 0);
    assert_same(&store, &model, "written anew");
    drop(store);
    assert_same(&open_real(dir.path()), &model, "opened again");
}

#[test]
fn who_deletes_all_the_time_is_not_refused_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut model) = (open(Arc::new(RealFs), dir.path()), Contents::new());
    take(&store, &mut model, &[(1, NOON, 1), (2, NOON, 1)]);
    // The segment is of a level that merges are bound to take, if ever there is another.
    (0..500).for_each(|_| delete(&store, &mut model, "1", TimeRange::ALL));
    store.tidy(NOON);
    assert_eq!(tombstone_count(&store), 500, "more may follow");
    delete(&store, &mut model, "1", TimeRange::ALL);
    store.tidy(NOON);
    assert_eq!(tombstone_count(&store), 0);
    assert_eq!(found(&store), model);
}

#[test]
fn what_was_deleted_in_the_future_leaves_files_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut model) = (open(Arc::new(RealFs), dir.path()), Contents::new());
    take(&store, &mut model, &[(1, NOON, 1), (2, NOON, 1)]);
    store.compact(i64::MAX).unwrap();
    store.delete_series(numbered("1"), TimeRange::ALL, NOON + DAY).unwrap();
    forget(&mut model, "1", TimeRange::ALL);
    store.tidy(NOON + DAY);
    assert_eq!(tombstone_count(&store), 1, "more may follow");
    store.tidy(NOON);
    assert_eq!(tombstone_count(&store), 0, "the clock was set back");
    assert_eq!(found(&store), model);
}

/// Of two days, one segment each, of which something was deleted long ago.
fn two_to_clean(disk: &FaultyFs) -> (Arc<Store>, Contents) {
    let (store, mut model) = (open(Arc::new(disk.clone()), Path::new("/d")), Contents::new());
    for day in [NOON - DAY, NOON] {
        take(&store, &mut model, &[(1, day, 1), (2, day, 1)]);
    }
    store.compact(i64::MAX).unwrap();
    delete(&store, &mut model, "1", TimeRange::ALL);
    (store, model)
}

fn hiding_segments(store: &Store) -> Vec<u64> {
    let view = store.view.load();
    view.segments.iter().filter(|segment| segment.is_under_a_tombstone()).map(|s| s.entry.id).collect()
}

#[test]
fn a_long_cleaning_is_done_in_parts() {
    let (store, model) = two_to_clean(&FaultyFs::default());
    for left in [1, 0, 0] {
        store.clean_deleted(Duration::ZERO, NOON + HOUR).unwrap();
        assert_eq!(hiding_segments(&store).len(), left);
        assert_eq!(found(&store), model);
    }
    store.tidy(NOON + HOUR);
    assert_eq!(tombstone_count(&store), 0);
}

#[test]
fn a_segment_that_cannot_be_written_anew_gives_the_others_their_turn() {
    let disk = FaultyFs::default();
    let (store, model) = two_to_clean(&disk);
    let both = hiding_segments(&store);
    assert_eq!(both.len(), 2);
    disk.set_faults(Faults { failing_syncs: 1, ..Faults::default() });
    assert!(store.clean_deleted(Duration::MAX, NOON + HOUR).is_err());
    assert_eq!(hiding_segments(&store), both);
    store.clean_deleted(Duration::ZERO, NOON + HOUR).unwrap();
    assert_eq!(hiding_segments(&store), both[..1], "the one that failed");
    store.clean_deleted(Duration::MAX, NOON + HOUR).unwrap();
    assert!(hiding_segments(&store).is_empty());
    assert_eq!(found(&store), model);
}

#[test]
fn what_was_deleted_leaves_what_came_late_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut model) = (open(Arc::new(RealFs), dir.path()), Contents::new());
    take(&store, &mut model, &long_day(FIRST));
    let now = (FIRST + 1) * DAY;
    store.tidy(now);
    take(&store, &mut model, &[(1, FIRST * DAY - HOUR, 1), (2, FIRST * DAY - HOUR, 1)]);
    delete(&store, &mut model, "1", TimeRange::ALL);
    store.tidy(now + HOUR);
    assert_eq!(segments_of(&store, 0), [(FIRST, 2), (FIRST, 0)], "too little to be merged");
    assert_eq!(tombstone_count(&store), 0);
    assert_eq!(found(&store), model);
}

/// Of five days, one segment each, of which a rule let go of one series since.
fn days_under_a_rule(disk: &FaultyFs) -> Arc<Store> {
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let (store, mut model) = (open_with(&fs, options(Path::new("/d"))), Contents::new());
    for day in FIRST..FIRST + 5 {
        take(&store, &mut model, &day_of_samples(day));
    }
    store.compact(i64::MAX).unwrap();
    store.close();
    drop(store);
    let store = open_with(&fs, Options { rules: vec![rule("0", 1)], ..options(Path::new("/d")) });
    store.hide_expired(store.now_for_ages((FIRST + 4) * DAY));
    store
}

fn holding_expired(store: &Store) -> Vec<u64> {
    let view = store.view.load();
    view.segments.iter().filter(|segment| segment.holds_expired_series()).map(|s| s.entry.id).collect()
}

#[test]
fn what_rules_let_go_of_is_written_out_in_parts_as_well() {
    let store = days_under_a_rule(&FaultyFs::default());
    let before = found(&store);
    let mut left = holding_expired(&store).len();
    assert!(left > 1);
    while left > 0 {
        store.let_go((FIRST + 4) * DAY, Duration::ZERO).unwrap();
        left -= 1;
        assert_eq!(holding_expired(&store).len(), left);
        assert_eq!(found(&store), before);
    }
}

#[test]
fn a_segment_that_a_rule_cannot_be_applied_to_gives_the_others_their_turn() {
    let disk = FaultyFs::default();
    let store = days_under_a_rule(&disk);
    let before = holding_expired(&store);
    disk.set_faults(Faults { failing_syncs: 1, ..Faults::default() });
    assert!(store.let_go((FIRST + 4) * DAY, Duration::MAX).is_err());
    assert_eq!(holding_expired(&store), before);
    store.let_go((FIRST + 4) * DAY, Duration::ZERO).unwrap();
    assert_eq!(holding_expired(&store)[0], before[0], "the one that failed");
    assert_eq!(holding_expired(&store).len(), before.len() - 1);
}
