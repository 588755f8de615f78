//! Deleting series against a plain model: what came before a deletion and matches is gone for good, whatever happens to
//! files, and nothing else is.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::damage_tests::{Lines, append_everything, lines_of};
use super::fs::faulty::{Faults, FaultyFs, for_each_power_cut, place_of_mark};
use super::fs::{Fs, RealFs};
use super::rollup_tests::*;
use super::store_tests::{
    self, Contents, NOON, append_and_wait, contents, note, open, series, time_of_sample,
};
use super::{DeletionError, Options, Store};
use crate::model::time::{DAY, HOUR, MINUTE, SECOND};
use crate::model::{MatchOp, Matcher, TimeRange, Timestamp};

/// Series by the numbers in their label.
pub(super) fn numbered(pattern: &str) -> Vec<Vec<Matcher>> {
    vec![vec![Matcher::new("n", MatchOp::Regex, pattern).unwrap()]]
}

pub(super) fn forget(model: &mut Contents, pattern: &str, range: TimeRange) {
    let is_one_of =
        |labels: &str| pattern.split('|').any(|n| labels == series(n.parse().unwrap()).to_string());
    for (_, samples) in model.iter_mut().filter(|(labels, _)| is_one_of(labels)) {
        samples.retain(|time, _| !range.contains(*time));
    }
    model.retain(|_, samples| !samples.is_empty());
}

pub(super) fn delete(store: &Store, model: &mut Contents, pattern: &str, range: TimeRange) {
    store.delete_series(numbered(pattern), range, NOON).unwrap();
    forget(model, pattern, range);
}

/// Series of which anything is left.
pub(super) fn found(store: &Store) -> Contents {
    let mut contents = contents(store);
    contents.retain(|_, samples| !samples.is_empty());
    contents
}

pub(super) fn tombstone_count(store: &Store) -> usize {
    store.view.load().tombstones.len()
}

/// A store of these days, which was tidied at this time.
pub(super) fn tidied(dir: &Path, days: &[i64], now: Timestamp) -> (Arc<Store>, Contents) {
    let (store, mut model) = (open_real(dir), Contents::new());
    days.iter().for_each(|&day| take(&store, &mut model, &day_of_samples(day)));
    store.tidy(now);
    (store, model)
}

#[derive(Clone, Debug)]
enum Step {
    Stored(store_tests::Step),
    Delete(&'static str, TimeRange),
    Clean,
    Tidy,
}

fn range_of_time() -> impl Strategy<Value = TimeRange> {
    let between =
        (time_of_sample(), time_of_sample()).prop_map(|(a, b)| TimeRange::closed(a.min(b), a.max(b)));
    prop_oneof![3 => between, 1 => Just(TimeRange::ALL)]
}

fn some_series() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["0", "1|2", "3", "0|1|2|3|4|5"])
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        10 => store_tests::step().prop_map(Step::Stored),
        3 => (some_series(), range_of_time()).prop_map(|(pattern, range)| Step::Delete(pattern, range)),
        1 => Just(Step::Clean),
        1 => Just(Step::Tidy),
    ];
    prop::collection::vec(step, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_deletion_takes_what_matches_and_came_before_it(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(Arc::new(RealFs), dir.path());
        let mut model = Contents::new();
        for step in steps {
            match &step {
                Step::Stored(step) => store = store_tests::after_step(step, store, dir.path(), &mut model),
                Step::Delete(pattern, range) => delete(&store, &mut model, pattern, *range),
                Step::Clean => {
                    store.clean_tombstones().unwrap();
                    prop_assert_eq!(tombstone_count(&store), 0);
                }
                Step::Tidy => store.tidy(NOON),
            }
            prop_assert_eq!(&found(&store), &model, "after {:?}", step);
        }
    }
}

#[test]
fn what_is_sent_again_after_a_deletion_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut model) = (open(Arc::new(RealFs), dir.path()), Contents::new());
    let samples: Vec<_> = (0..40).map(|k| (k as u32 % 4, NOON + k * 1000, 1)).collect();
    append_and_wait(&store, &samples);
    note(&mut model, &samples);
    delete(&store, &mut model, "1|2", TimeRange::ALL);
    assert_eq!(found(&store), model);
    let again: Vec<_> = (0..40).map(|k| (k as u32 % 4, NOON + k * 1000, 2)).collect();
    append_and_wait(&store, &again);
    note(&mut model, &again);
    assert_eq!(found(&store), model, "in memory");
    drop(store);
    // Their first frames may have lower numbers than the tombstone, where shards rotated one after the other.
    let store = open(Arc::new(RealFs), dir.path());
    assert_eq!(found(&store), model, "replayed");
    store.seal(NOON).unwrap();
    assert_eq!(found(&store), model, "sealed");
    store.compact(i64::MAX).unwrap();
    assert_eq!(found(&store), model, "merged with what was deleted");
    store.tidy(NOON);
    assert_eq!(tombstone_count(&store), 0, "and nothing is left to hide");
}

#[test]
fn of_a_day_that_is_hidden_whole_nothing_is_derived_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let now = (FIRST + 7) * DAY;
    let (store, mut model) = tidied(dir.path(), &[FIRST, FIRST + 1, FIRST + 6], now);
    assert_eq!(resolutions(&store, FIRST..=FIRST + 1), [[M1, M5], [M1, M5]]);
    drop(store);
    // Hours are made of what is there; of what is hidden there is nothing to make.
    let tiers = vec![tier(0, 2), tier(M1, 9), tier(M5, 400), tier(HOUR, 400)];
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let store = open_with(&fs, Options { tiers, ..tiered(dir.path()) });
    let hidden = TimeRange { after: (FIRST - 1) * DAY, until: (FIRST + 1) * DAY };
    delete(&store, &mut model, "0|1|2", hidden);
    let steps = (0..50).take_while(|_| store.compact_step(now).unwrap()).count();
    assert!(steps < 50, "it goes on and on");
    let roll_ups = store.metrics.roll_ups.get();
    store.tidy(now);
    assert_eq!(store.metrics.roll_ups.get(), roll_ups, "nor again the next time");
    assert_eq!(answer(&store, coarsest, HOUR), expected(&model, HOUR), "what is left");
}

#[test]
fn a_series_that_was_deleted_is_no_longer_listed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(Arc::new(RealFs), dir.path());
    append_and_wait(&store, &[(1, NOON, 1), (2, NOON, 1), (2, NOON + 5, 1)]);
    store.delete_series(numbered("1"), TimeRange::ALL, NOON).unwrap();
    store.delete_series(numbered("2"), TimeRange::closed(NOON, NOON), NOON).unwrap();
    let listed = |range| store.metrics().series_labels(&[], range).unwrap();
    assert_eq!(listed(TimeRange::ALL), [series(2)]);
    assert_eq!(listed(TimeRange::closed(NOON, NOON)), []);
    store.clean_tombstones().unwrap();
    assert_eq!(listed(TimeRange::ALL), [series(2)]);
    assert_eq!(store.metrics.left_out_rows.with_label_values(&["deletion"]).get(), 2);
}

#[test]
fn exemplars_and_histograms_go_with_their_series_and_logs_and_traces_stay() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(Arc::new(RealFs), dir.path());
    append_everything(&store, 1, NOON);
    append_everything(&store, 2, NOON + HOUR);
    let is_hit = |line: &&String| {
        let is_of_name = ["float{", "histogram{"].iter().any(|name| line.starts_with(name));
        is_of_name && !line.contains(&(NOON + HOUR).to_string())
    };
    let before = lines_of(&store);
    let left: Lines = before.iter().filter(|line| !is_hit(line)).cloned().collect();
    assert!(left.len() < before.len() && left.iter().any(|line| line.contains("exemplar")), "{left:?}");
    let names = ["float", "histogram"].map(|name| vec![Matcher::equal("__name__", name)]);
    store.delete_series(names.to_vec(), TimeRange::closed(NOON, NOON + 1), NOON).unwrap();
    assert_eq!(lines_of(&store), left);
    store.clean_tombstones().unwrap();
    assert_eq!(lines_of(&store), left, "written anew");
}

#[test]
fn more_tombstones_than_there_may_be_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(Arc::new(RealFs), dir.path());
    append_and_wait(&store, &[(1, NOON, 1), (2, NOON, 1)]);
    let delete = || store.delete_series(numbered("1"), TimeRange::ALL, NOON);
    (0..1000).for_each(|_| delete().unwrap());
    assert!(matches!(delete(), Err(DeletionError::TooMany)));
    store.clean_tombstones().unwrap();
    delete().unwrap();
}

/// From the start of a bucket of five minutes on the noon of a day, for some of them.
fn buckets(day: i64, from: i64, count: i64) -> TimeRange {
    let after = day * DAY - 12 * HOUR - M5 + from * M5;
    TimeRange { after, until: after + count * M5 }
}

#[test]
fn a_rolled_day_that_loses_samples_is_rolled_up_anew() {
    let dir = tempfile::tempdir().unwrap();
    let now = (FIRST + 1) * DAY + 2 * HOUR;
    let (store, mut model) = tidied(dir.path(), &[FIRST, FIRST + 1], now);
    assert_eq!(resolutions(&store, FIRST..=FIRST), [[0, M1, M5]]);
    // In the midst of buckets of either length.
    let noon = FIRST * DAY - 12 * HOUR;
    let range = TimeRange::closed(noon + 3 * MINUTE + 7 * SECOND, noon + 11 * MINUTE + SECOND);
    delete(&store, &mut model, "0|2", range);
    assert_eq!(resolutions(&store, FIRST..=FIRST + 1), [vec![0], vec![0, M1, M5]], "the other day keeps its");
    assert_same(&store, &model, "hidden");
    store.tidy(now);
    assert_eq!(resolutions(&store, FIRST..=FIRST), [[0, M1, M5]]);
    assert_same(&store, &model, "rolled up anew");
    store.clean_tombstones().unwrap();
    assert_eq!(tombstone_count(&store), 0);
    assert_same(&store, &model, "cleaned");
    assert_eq!(resolutions(&store, FIRST..=FIRST), [[0, M1, M5]], "the mark was kept");
    take(&store, &mut model, &day_of_samples(FIRST + 8));
    store.tidy((FIRST + 9) * DAY);
    assert_eq!(resolutions(&store, FIRST..=FIRST), [[M1, M5]]);
    assert_same(&store, &model, "when its samples are gone");
}

#[test]
fn a_deletion_does_not_keep_what_comes_late_from_being_rolled_up() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut model) = (open_real(dir.path()), Contents::new());
    take(&store, &mut model, &long_day(FIRST));
    take(&store, &mut model, &day_of_samples(FIRST + 1));
    let now = FIRST * DAY + 12 * HOUR;
    store.tidy(now);
    assert_eq!(resolutions(&store, FIRST..=FIRST), [[0, M1, M5]]);
    delete(&store, &mut model, "0", buckets(FIRST, 0, 3));
    take(&store, &mut model, &[(1, FIRST * DAY - HOUR, 1)]);
    store.tidy(now);
    assert_eq!(segments_of(&store, 0)[0], (FIRST, 2), "as one");
    assert_eq!(resolutions(&store, FIRST..=FIRST), [[0, M1, M5]]);
    assert_same(&store, &model, "rolled up anew");
}

#[test]
fn of_days_without_samples_whole_buckets_go_and_those_at_the_edges_stay() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut model) = tidied(dir.path(), &[FIRST, FIRST + 6], (FIRST + 7) * DAY);
    assert_eq!(resolutions(&store, FIRST..=FIRST), [[M1, M5]]);
    let whole = buckets(FIRST, 1, 2);
    let wider = TimeRange { after: whole.after - MINUTE / 2, until: whole.until + MINUTE / 2 };
    store.delete_series(numbered("0|1"), wider, NOON).unwrap();
    forget(&mut model, "0|1", whole);
    assert_same(&store, &model, "hidden");
    store.clean_tombstones().unwrap();
    assert_eq!(tombstone_count(&store), 0);
    assert_same(&store, &model, "cleaned");
    assert_eq!(
        store.metrics.left_out_rows.with_label_values(&["deletion"]).get(),
        2 * (10 + 2),
        "ten buckets of a minute and two of five, twice"
    );
}

#[derive(Clone, Debug)]
enum LongStep {
    Day(i64),
    Delete(&'static str, TimeRange),
    Clean,
    Tidy,
    Compact,
    Open,
}

fn long_steps() -> impl Strategy<Value = Vec<LongStep>> {
    let aligned =
        (0..6i64, 0..6i64, 1..9i64).prop_map(|(day, from, count)| buckets(FIRST + day, from, count));
    let days = (0..6i64, 0..6i64).prop_map(|(a, b)| {
        let (first, last) = (FIRST + a.min(b), FIRST + a.max(b));
        TimeRange { after: (first - 1) * DAY, until: last * DAY }
    });
    let range = prop_oneof![3 => aligned, 1 => days, 1 => Just(TimeRange::ALL)];
    let pattern = prop::sample::select(vec!["0", "1|2", "0|1|2"]);
    let step = prop_oneof![
        4 => (0..6i64).prop_map(|day| LongStep::Day(FIRST + day)),
        3 => (pattern, range).prop_map(|(pattern, range)| LongStep::Delete(pattern, range)),
        1 => Just(LongStep::Clean),
        3 => Just(LongStep::Tidy),
        1 => Just(LongStep::Compact),
        1 => Just(LongStep::Open),
    ];
    prop::collection::vec(step, 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Days are two days old when their samples go; what comes for such a day later is left to `rollup_tests.rs`.
    #[test]
    fn deletions_reach_samples_and_rollups_alike(steps in long_steps()) {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, mut model) = (open_real(dir.path()), Contents::new());
        for step in steps {
            match &step {
                LongStep::Day(day) if day * DAY <= store.view.load().floor(0) => continue,
                LongStep::Day(day) => take(&store, &mut model, &day_of_samples(*day)),
                LongStep::Delete(pattern, range) => delete(&store, &mut model, pattern, *range),
                LongStep::Clean => {
                    store.clean_tombstones().unwrap();
                    prop_assert_eq!(tombstone_count(&store), 0);
                }
                LongStep::Tidy => store.tidy((FIRST + 10) * DAY),
                LongStep::Compact => store.compact((FIRST + 10) * DAY).unwrap(),
                LongStep::Open => {
                    drop(store);
                    store = open_real(dir.path());
                }
            }
            assert_same(&store, &model, &format!("after {step:?}"));
        }
    }
}

/// Deletes of days with samples and without, and cleans.
fn delete_some(store: &Store, model: &mut Contents) {
    let range =
        TimeRange { after: buckets(FIRST, 1, 2).after, until: (FIRST + 1) * DAY - 12 * HOUR + 7 * MINUTE };
    delete(store, model, "0|1", range);
}

fn maintained(fs: &Arc<dyn Fs>, model: &mut Contents) -> Arc<Store> {
    let store = open_with(fs, tiered(Path::new("/d")));
    // Of the first day there are rollups alone, of the next both.
    for day in [FIRST, FIRST + 1] {
        take(&store, model, &day_of_samples(day));
    }
    take(&store, model, &[(5, FIRST * DAY + 2 * DAY, 1)]);
    store.tidy((FIRST + 3) * DAY);
    assert_eq!(resolutions(&store, FIRST..=FIRST + 1), [vec![M1, M5], vec![0, M1, M5]]);
    store
}

#[test]
fn a_power_cut_at_any_step_of_a_deletion_leaves_all_of_it_or_nothing() {
    let (disk, mut model) = (FaultyFs::default(), Contents::new());
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let store = maintained(&fs, &mut model);
    // Something in memory, too.
    let more = [(0, (FIRST + 1) * DAY - 12 * HOUR + 5, 1), (3, (FIRST + 1) * DAY - 12 * HOUR, 1)];
    append_and_wait(&store, &more);
    note(&mut model, &more);
    let before = expected(&model, M5);
    disk.mark(0);
    delete_some(&store, &mut model);
    let after = expected(&model, M5);
    assert_ne!(before, after);
    disk.mark(1);
    store.clean_tombstones().unwrap();
    store.tidy((FIRST + 3) * DAY);
    drop(store);
    let log = disk.log();
    let [begun, deleted] = [0, 1].map(|note| place_of_mark(&log, note));
    for_each_power_cut(&log, begun, 2, |cut, what, disk| {
        let fs: Arc<dyn Fs> = Arc::new(disk);
        let store = open_with(&fs, tiered(Path::new("/d")));
        let found = answer(&store, finest, M5);
        assert!(found == after || (cut <= deleted && found == before), "{what}: {found:#?}");
        assert_eq!(answer(&store, coarsest, M5), found, "{what}: the coarsest");
        store.clean_tombstones().unwrap();
        store.tidy((FIRST + 3) * DAY);
        assert_eq!(answer(&store, finest, M5), found, "{what}: carried on");
        assert_eq!(tombstone_count(&store), 0, "{what}");
    });
}

#[test]
fn a_sync_that_fails_in_any_step_of_a_deletion_costs_nothing() {
    for failing in 1..40 {
        let (disk, mut model) = (FaultyFs::default(), Contents::new());
        let fs: Arc<dyn Fs> = Arc::new(disk.clone());
        let store = maintained(&fs, &mut model);
        let before = disk.sync_count();
        disk.set_faults(Faults { failing_syncs: failing, ..Faults::default() });
        let mut failures = 0;
        while let Err(error) = {
            assert_same(&store, &model, "before it holds");
            store.delete_series(numbered("0|1"), buckets(FIRST, 1, 2), NOON)
        } {
            failures += 1;
            assert!(failures <= failing, "{error}");
        }
        forget(&mut model, "0|1", buckets(FIRST, 1, 2));
        assert_same(&store, &model, "hidden");
        while store.clean_tombstones().is_err() {
            failures += 1;
            assert!(failures <= failing);
            assert_same(&store, &model, "while syncs fail");
        }
        assert_same(&store, &model, "after them");
        drop(store);
        let again = open_with(&fs, tiered(Path::new("/d")));
        assert_same(&again, &model, "opened again");
        if disk.sync_count() - before > failing + 3 {
            return;
        }
    }
}
