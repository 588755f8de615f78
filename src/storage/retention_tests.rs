//! What goes when the store is larger than it may be.

use std::path::Path;
use std::sync::Arc;

use super::fs::faulty::{Faults, FaultyFs, for_each_power_cut, place_of_mark};
use super::fs::{Fs, RealFs};
use super::rollup_tests::*;
use super::store_tests::Contents;
use super::{Options, Store};
use crate::model::time::{DAY, HOUR, MINUTE};

/// May hold the newest of everything, and no more.
fn open_small(fs: &Arc<dyn Fs>, dir: &Path) -> Arc<Store> {
    open_with(fs, Options { size_max: Some(1), ..tiered(dir) })
}

#[test]
fn beyond_the_size_limit_the_oldest_go_first_and_samples_before_their_rollups() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut model) = (open_real(dir.path()), Contents::new());
    for day in FIRST..FIRST + 3 {
        take(&store, &mut model, &day_of_samples(day));
    }
    store.compact(i64::MAX).unwrap();
    let bytes = store.stats().segment_bytes;
    drop(store);
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let store = open_with(&fs, Options { size_max: Some(bytes - 1), ..tiered(dir.path()) });
    store.tidy((FIRST + 2) * DAY);
    let all = resolutions(&store, FIRST..=FIRST + 2);
    assert_eq!(all, [vec![M1, M5], vec![0, M1, M5], vec![0, M1, M5]]);
    assert_same(&store, &model, "without the oldest samples");
    drop(store);
    let store = open_with(&fs, Options { size_max: Some(1), ..tiered(dir.path()) });
    store.tidy((FIRST + 2) * DAY);
    assert_eq!(segments_of(&store, 0).len(), 1, "never the newest");
}

#[test]
fn beyond_the_size_limit_samples_are_rolled_up_before_they_go_however_new_they_are() {
    let disk = FaultyFs::default();
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let (store, mut model) = (open_small(&fs, Path::new("/d")), Contents::new());
    // More may come for all of them, and two are not over.
    for day in FIRST..FIRST + 3 {
        day_of_samples(day).chunks(80).for_each(|part| take(&store, &mut model, part));
    }
    let now = FIRST * DAY + MINUTE;
    disk.set_faults(Faults { failing_path: Some("/cold/"), ..Faults::default() });
    store.tidy(now);
    assert_eq!(resolutions(&store, FIRST..=FIRST + 2), [[0], [0], [0]], "while rollups cannot be written");
    disk.set_faults(Faults::default());
    store.tidy(now);
    assert_eq!(resolutions(&store, FIRST..=FIRST + 2), [vec![M1, M5], vec![M1, M5], vec![0]]);
    assert_same(&store, &model, "without the samples");
    // More comes for what is gone.
    let late: Vec<_> = day_of_samples(FIRST).iter().map(|&(n, t, bits)| (n, t + HOUR, bits)).collect();
    take(&store, &mut model, &late);
    store.tidy(now);
    assert!(segments_of(&store, 0).iter().all(|(day, _)| *day == FIRST + 2), "{:?}", segments_of(&store, 0));
    assert_same(&store, &model, "with what came late");
    assert_eq!(store.metrics.roll_ups.get(), 3);
}

#[test]
fn beyond_the_size_limit_room_is_made_day_by_day() {
    let disk = FaultyFs::default();
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let (store, mut model) = (open_small(&fs, Path::new("/d")), Contents::new());
    for day in FIRST..FIRST + 3 {
        take(&store, &mut model, &day_of_samples(day));
    }
    // Of the three segments the first one is replaced by two; of those of the second one this is the last.
    disk.set_faults(Faults { failing_path: Some("/cold/000000000007."), ..Faults::default() });
    store.tidy(FIRST * DAY + MINUTE);
    assert_eq!(resolutions(&store, FIRST..=FIRST + 2), [vec![M1, M5], vec![0], vec![0]]);
    assert_same(&store, &model, "half done");
}

#[test]
fn beyond_the_size_limit_what_is_damaged_goes_without_a_rollup() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut model) = (open_real(dir.path()), Contents::new());
    for day in FIRST..FIRST + 3 {
        take(&store, &mut model, &day_of_samples(day));
    }
    drop(store);
    let path = dir.path().join("hot/metrics-000000000001.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[100..middle].fill(0xA5);
    std::fs::write(&path, bytes).unwrap();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let store = open_small(&fs, dir.path());
    store.tidy(FIRST * DAY + MINUTE);
    assert_eq!(resolutions(&store, FIRST + 1..=FIRST + 2), [vec![M1, M5], vec![0]]);
    assert_eq!(segments_of(&store, 0).len(), 1);
}

#[test]
fn a_power_cut_while_the_store_is_made_smaller_costs_no_answer() {
    let (disk, mut model) = (FaultyFs::default(), Contents::new());
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let store = open_small(&fs, Path::new("/d"));
    for day in FIRST..FIRST + 3 {
        take(&store, &mut model, &day_of_samples(day));
    }
    disk.mark(0);
    store.tidy(FIRST * DAY + MINUTE);
    drop(store);
    let log = disk.log();
    for_each_power_cut(&log, place_of_mark(&log, 0), 2, |_, what, disk| {
        let fs: Arc<dyn Fs> = Arc::new(disk);
        let store = open_small(&fs, Path::new("/d"));
        assert_same(&store, &model, what);
        store.tidy(FIRST * DAY + MINUTE);
        assert_same(&store, &model, what);
        assert_eq!(segments_of(&store, 0).len(), 1, "{what}");
    });
}
