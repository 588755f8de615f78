//! Rolling up and letting go: whatever is read, in whatever resolution, and wherever the power went, the answer is that
//! of the samples.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use prometheus::Registry;

use super::fs::faulty::{Faults, FaultyFs, for_each_power_cut, place_of_mark};
use super::fs::{Fs, RealFs};
use super::metrics::{ReadPlan, Reading, Stretch};
use super::store_tests::{Contents, append_and_wait, note, options};
use super::{Options, Store, TierOptions};
use crate::model::rollup::{Columns, FloatBuckets};
use crate::model::time::{DAY, HOUR, MINUTE, SECOND};
use crate::model::{TimeRange, Timestamp};

/// Days by number; the first one of a partition of every length.
pub(super) const FIRST: i64 = 20_001;
pub(super) const M1: i64 = MINUTE;
pub(super) const M5: i64 = 5 * MINUTE;

pub(super) fn tier(resolution_ms: i64, days: i64) -> TierOptions {
    TierOptions { resolution_ms, retention_ms: days * DAY, dir: None }
}

pub(super) fn tiered(dir: &Path) -> Options {
    Options { tiers: vec![tier(0, 2), tier(M1, 9), tier(M5, 400)], ..options(dir) }
}

pub(super) fn open_with(fs: &Arc<dyn Fs>, options: Options) -> Arc<Store> {
    Store::open_on(fs.clone(), options, &Registry::new(), FIRST * DAY).unwrap()
}

pub(super) fn open_real(dir: &Path) -> Arc<Store> {
    open_with(&(Arc::new(RealFs) as Arc<dyn Fs>), tiered(dir))
}

/// Twenty minutes of three series around the noon of a day: a counter that starts anew, a gauge, and one that ends.
pub(super) fn day_of_samples(day: i64) -> Vec<(u32, Timestamp, u64)> {
    let start = day * DAY - 12 * HOUR;
    let samples = (0..60i64).flat_map(|k| {
        let values = [(k % 37) as f64, ((k * 7919 + day) % 100) as f64 - 50.0, k as f64];
        let at = start + k * 20 * SECOND;
        (0..3u32).map(move |n| (n, at + i64::from(n), values[n as usize].to_bits()))
    });
    let stale = (2, start + 30 * 20 * SECOND + 7, 0x7ff0_0000_0000_0002);
    samples.filter(|&(n, at, _)| n != 2 || at <= stale.1).chain([stale]).collect()
}

/// So many samples of one series that another one is far less than an eighth of them.
pub(super) fn long_day(day: i64) -> Vec<(u32, Timestamp, u64)> {
    let start = day * DAY - 20 * HOUR;
    let value = |k: i64| (k * k * 7919 % 100_003 / 7) as f64;
    (0..9_000).map(|k| (0, start + k * 5 * SECOND, value(k).to_bits())).collect()
}

/// Writes samples and seals them.
pub(super) fn take(store: &Store, model: &mut Contents, samples: &[(u32, Timestamp, u64)]) {
    append_and_wait(store, samples);
    store.seal(FIRST * DAY).unwrap();
    note(model, samples);
}

/// All that is known of each series in steps of some minutes, sums of whole numbers among it.
pub(super) type Answer = BTreeMap<String, Vec<String>>;

fn rows(buckets: &FloatBuckets) -> Vec<String> {
    let row = |at| {
        let s = buckets.state(at);
        format!(
            "{}: {} of {} in {}..{}, {}@{} to {}@{}, lost {} in {}, {} changes, stale {}",
            buckets.ends[at],
            s.count,
            s.sum.total(),
            s.min,
            s.max,
            s.first,
            s.first_time,
            s.last,
            s.last_time,
            s.lost,
            s.resets,
            s.changes,
            s.stale_at
        )
    };
    (0..buckets.len()).map(row).collect()
}

pub(super) fn expected(model: &Contents, step_ms: i64) -> Answer {
    let of_series = |samples: &BTreeMap<Timestamp, u64>| {
        let (times, values): (Vec<_>, Vec<_>) =
            samples.iter().map(|(&t, &bits)| (t, f64::from_bits(bits))).unzip();
        let mut buckets = FloatBuckets::new(Columns::ALL);
        buckets.fold(&times, &values, step_ms);
        rows(&buckets)
    };
    model.iter().map(|(labels, samples)| (labels.clone(), of_series(samples))).collect()
}

/// The same, read in the resolution that `pick` takes of those of each stretch.
pub(super) fn answer(store: &Store, pick: impl Fn(&Stretch) -> i64, step_ms: i64) -> Answer {
    let snapshot = store.metrics();
    let range = TimeRange { after: (FIRST - 10) * DAY, until: (FIRST + 100) * DAY };
    let stretches = snapshot.stretches(range);
    let reading = |s: &Stretch| Reading { range: s.range, resolution: pick(s), fallback: None };
    let plan = ReadPlan { readings: stretches.iter().map(reading).collect(), wanted: Columns::ALL };
    let (mut floats, mut histograms, mut samples) = Default::default();
    let mut answer = Answer::new();
    for series in snapshot.select_planned(&[], &plan).unwrap() {
        snapshot.read_buckets(&series, &plan, &mut floats, &mut histograms, &mut samples).unwrap();
        let previous = answer.insert(series.labels.to_string(), rows(&floats.coarsen(step_ms)));
        assert!(previous.is_none(), "{} was found twice", series.labels);
    }
    assert_eq!(snapshot.warnings(), Vec::<String>::new());
    answer.retain(|_, rows| !rows.is_empty());
    answer
}

pub(super) fn finest(stretch: &Stretch) -> i64 {
    stretch.resolutions[0]
}

pub(super) fn coarsest(stretch: &Stretch) -> i64 {
    stretch.resolutions[stretch.resolutions.len() - 1]
}

pub(super) fn assert_same(store: &Store, model: &Contents, what: &str) {
    assert_same_in(store, model, M5, what);
}

fn assert_same_in(store: &Store, model: &Contents, step_ms: i64, what: &str) {
    let expected = expected(model, step_ms);
    assert_eq!(answer(store, finest, step_ms), expected, "{what}: the finest");
    assert_eq!(answer(store, coarsest, step_ms), expected, "{what}: the coarsest");
}

/// The days that stretches begin and end with, and their resolutions, from day to day.
pub(super) fn resolutions(store: &Store, days: std::ops::RangeInclusive<i64>) -> Vec<Vec<i64>> {
    let of = |day: i64| {
        let stretches = store.metrics().stretches(TimeRange { after: (day - 1) * DAY, until: day * DAY });
        assert_eq!(stretches.len(), 1);
        stretches.into_iter().next().unwrap().resolutions
    };
    days.map(of).collect()
}

pub(super) fn segments_of(store: &Store, resolution_ms: i64) -> Vec<(i64, u8)> {
    let view = store.view.load();
    let of = view.segments.iter().filter(|s| s.resolution_ms() == resolution_ms);
    of.map(|s| (s.entry.partition / DAY, s.entry.level)).collect()
}

#[test]
fn days_become_coarser_with_age_and_answers_stay_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut model) = (open_real(dir.path()), Contents::new());
    for day in FIRST..FIRST + 12 {
        take(&store, &mut model, &day_of_samples(day));
        store.tidy(day * DAY);
        assert_same(&store, &model, &format!("day {day}"));
        if day % 5 == 0 {
            drop(store);
            store = open_real(dir.path());
            assert_same(&store, &model, &format!("day {day}, opened again"));
        }
    }
    // The clock is at noon of the last day, as its last sample says.
    store.tidy((FIRST + 50) * DAY);
    assert_same(&store, &model, "at the end");
    let all = resolutions(&store, FIRST..=FIRST + 11);
    assert_eq!(all[..2], [vec![M1, M5], vec![M1, M5]], "{all:?}");
    assert_eq!(all[10..], [vec![0, M1, M5], vec![0, M1, M5]], "{all:?}");
    assert_eq!(segments_of(&store, M1), [(FIRST + 7, 2), (FIRST + 15, 2)], "pieces of a day were merged");
    assert_eq!(segments_of(&store, M5), [(FIRST + 31, 2)]);
    append_and_wait(&store, &[(1, (FIRST + 20) * DAY, 1)]);
    store.seal(FIRST * DAY).unwrap();
    store.tidy((FIRST + 50) * DAY);
    let all = resolutions(&store, FIRST..=FIRST + 11);
    assert_eq!(all[..8], vec![vec![M5]; 8], "states of a minute live nine days");
    let left = std::fs::read_dir(dir.path().join("warm")).unwrap().count();
    assert_eq!(left, segments_of(&store, M1).len(), "and their file is gone");
    note(&mut model, &[(1, (FIRST + 20) * DAY, 1)]);
    assert_same(&store, &model, "much later");
}

#[test]
fn samples_stay_until_their_rollup_is_written() {
    let disk = FaultyFs::default();
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let (store, mut model) = (open_with(&fs, tiered(Path::new("/d"))), Contents::new());
    for day in [FIRST, FIRST + 6] {
        take(&store, &mut model, &day_of_samples(day));
    }
    disk.set_faults(Faults { failing_path: Some("/cold/"), ..Faults::default() });
    store.tidy((FIRST + 9) * DAY);
    assert_eq!(segments_of(&store, 0).len(), 2);
    assert_eq!(disk.list(Path::new("/d/warm")).unwrap(), Vec::<String>::new(), "all rollups or none");
    assert_same(&store, &model, "while the disk fails");
    disk.set_faults(Faults::default());
    store.tidy((FIRST + 9) * DAY);
    assert_eq!(segments_of(&store, 0), [(FIRST + 6, 2)]);
    assert_same(&store, &model, "after it");
}

#[test]
fn a_day_for_which_samples_come_late_is_rolled_up_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut model) = (open_real(dir.path()), Contents::new());
    take(&store, &mut model, &day_of_samples(FIRST));
    take(&store, &mut model, &day_of_samples(FIRST + 1));
    let now = (FIRST + 1) * DAY + 2 * HOUR;
    store.tidy(now);
    assert_eq!(resolutions(&store, FIRST..=FIRST), [[0, M1, M5]]);
    let late: Vec<_> =
        (0..30).map(|k| (1, FIRST * DAY - 6 * HOUR + k * 13 * SECOND, 7.0f64.to_bits())).collect();
    append_and_wait(&store, &late);
    note(&mut model, &late);
    assert_eq!(resolutions(&store, FIRST..=FIRST), [[0]], "what is in memory is in no rollup");
    assert_same(&store, &model, "in memory");
    store.seal(FIRST * DAY).unwrap();
    assert_eq!(resolutions(&store, FIRST..=FIRST), [[0]]);
    assert_same(&store, &model, "sealed");
    store.tidy(now);
    assert_eq!(resolutions(&store, FIRST..=FIRST), [[0, M1, M5]]);
    assert_same(&store, &model, "rolled up anew");
    // As does a sample that replaces another, which is too little to be merged at once.
    let other = [(0, FIRST * DAY - 12 * HOUR, 1e6f64.to_bits())];
    take(&store, &mut model, &other);
    store.tidy(now);
    assert_same(&store, &model, "replaced");
    take(&store, &mut model, &day_of_samples(FIRST + 5));
    store.tidy((FIRST + 6) * DAY);
    assert_eq!(resolutions(&store, FIRST..=FIRST), [[M1, M5]], "when the day must go, what waits is merged");
    assert_same(&store, &model, "let go");
}

#[test]
fn what_comes_late_for_a_day_that_was_rolled_up_waits_an_hour_for_more() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut model) = (open_real(dir.path()), Contents::new());
    let start = FIRST * DAY - 20 * HOUR;
    take(&store, &mut model, &long_day(FIRST));
    take(&store, &mut model, &day_of_samples(FIRST + 1));
    let now = FIRST * DAY + 12 * HOUR;
    store.tidy(now);
    assert_eq!(resolutions(&store, FIRST..=FIRST), [[0, M1, M5]]);
    let mut send = |samples: &[_], at| {
        append_and_wait(&store, samples);
        store.seal(at).unwrap();
        note(&mut model, samples);
        store.tidy(at);
    };
    send(&[(0, start + 1, 1e6f64.to_bits())], now - HOUR / 2);
    send(&[(0, start + 2, 2e6f64.to_bits())], now);
    store.tidy(now + HOUR - 1);
    assert_eq!(resolutions(&store, FIRST..=FIRST), [[0]], "more may come");
    assert_same(&store, &model, "while they wait");
    store.tidy(now + HOUR);
    assert_eq!(resolutions(&store, FIRST..=FIRST), [[0, M1, M5]], "nothing has come for an hour");
    assert_same(&store, &model, "rolled up anew");
}

#[test]
fn history_of_days_that_were_let_go_is_united_with_their_rollups() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut model) = (open_real(dir.path()), Contents::new());
    for day in [FIRST, FIRST + 1, FIRST + 6] {
        take(&store, &mut model, &day_of_samples(day));
    }
    store.tidy((FIRST + 7) * DAY);
    assert_eq!(segments_of(&store, 0), [(FIRST + 6, 2)]);
    // Later that day, the day before it, of which there is nothing, and a series that is new.
    let later = FIRST * DAY - 3 * HOUR;
    let mut history: Vec<_> = (0..20).map(|k| (1, later + k * 20 * SECOND, (k as f64).to_bits())).collect();
    history.extend((0..20).map(|k| (1, later - DAY + k * 20 * SECOND, (k as f64).to_bits())));
    history.extend((0..20).map(|k| (9, later + k * 20 * SECOND, (k as f64).to_bits())));
    append_and_wait(&store, &history);
    note(&mut model, &history);
    assert_same(&store, &model, "in memory");
    assert_eq!(resolutions(&store, FIRST..=FIRST + 1), [vec![M1], vec![M1, M5]]);
    store.seal(FIRST * DAY).unwrap();
    assert_same(&store, &model, "sealed");
    store.tidy((FIRST + 7) * DAY);
    assert_same(&store, &model, "rolled up");
    assert_eq!(segments_of(&store, 0), [(FIRST + 6, 2)], "and the samples are gone again");
    assert_eq!(resolutions(&store, FIRST - 1..=FIRST), [[M1, M5], [M1, M5]]);
    drop(store);
    assert_same(&open_real(dir.path()), &model, "opened again");
}

#[test]
fn history_that_comes_series_by_series_is_rolled_up_when_all_of_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut model) = (open_real(dir.path()), Contents::new());
    let now = (FIRST + 7) * DAY;
    for n in 0..3 {
        for day in [FIRST, FIRST + 1, FIRST + 6] {
            let samples: Vec<_> = day_of_samples(day).into_iter().filter(|sample| sample.0 == n).collect();
            append_and_wait(&store, &samples);
            note(&mut model, &samples);
        }
        let at = now + i64::from(n) * HOUR / 2;
        store.seal(at).unwrap();
        store.tidy(at + MINUTE);
        assert_eq!(segments_of(&store, M1), [], "the next series may come at once");
        assert_same(&store, &model, "while it comes");
    }
    store.tidy(now + 2 * HOUR);
    assert_eq!(segments_of(&store, 0), [(FIRST + 6, 2)]);
    assert_eq!(store.metrics.roll_ups.get(), 3, "each day once");
    assert_same(&store, &model, "when it has come");
}

#[test]
fn other_tiers_than_before_roll_up_anew_and_take_nothing_away() {
    let dir = tempfile::tempdir().unwrap();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let (store, mut model) = (open_real(dir.path()), Contents::new());
    for day in [FIRST, FIRST + 1, FIRST + 5, FIRST + 6] {
        take(&store, &mut model, &day_of_samples(day));
    }
    store.tidy((FIRST + 7) * DAY);
    drop(store);
    let tiers = vec![tier(0, 2), tier(M5, 400), tier(HOUR, 800)];
    let store = open_with(&fs, Options { tiers, ..tiered(dir.path()) });
    assert_same(&store, &model, "at first");
    assert_eq!(resolutions(&store, FIRST..=FIRST), [[M1, M5]]);
    store.tidy((FIRST + 7) * DAY);
    assert_eq!(resolutions(&store, FIRST + 5..=FIRST + 5), [[0, M5, HOUR]]);
    assert_eq!(resolutions(&store, FIRST..=FIRST + 1), [[M1, M5, HOUR], [M1, M5, HOUR]]);
    assert_eq!(
        segments_of(&store, HOUR).len(),
        3,
        "the days that were left at once, and two that have samples"
    );
    assert_same_in(&store, &model, HOUR, "made anew, and of finer ones where samples are gone");
}

#[test]
fn a_damaged_day_is_not_rolled_up_and_keeps_no_other_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut model) = (open_real(dir.path()), Contents::new());
    for day in [FIRST, FIRST + 1, FIRST + 6] {
        take(&store, &mut model, &day_of_samples(day));
    }
    drop(store);
    let path = dir.path().join("hot/metrics-000000000001.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[100..middle].fill(0xA5);
    std::fs::write(&path, bytes).unwrap();
    let store = open_real(dir.path());
    store.tidy((FIRST + 1) * DAY + 2 * HOUR);
    assert_eq!(resolutions(&store, FIRST..=FIRST + 1), [vec![0], vec![0, M1, M5]]);
    store.tidy((FIRST + 7) * DAY);
    assert_eq!(segments_of(&store, 0), [(FIRST + 6, 2)], "it goes when its time has come");
}

#[test]
fn a_roll_up_that_is_told_to_stop_leaves_everything_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut model) = (open_real(dir.path()), Contents::new());
    take(&store, &mut model, &day_of_samples(FIRST));
    store.tidy((FIRST + 1) * DAY);
    drop(store);
    // A mark of other tiers: there is something to roll up and nothing to merge.
    let tiers = vec![tier(0, 2), tier(M5, 400)];
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let store = open_with(&fs, Options { tiers, ..tiered(dir.path()) });
    store.stop_tidying();
    assert!(matches!(store.compact(i64::MAX), Err(super::MaintenanceError::Stopping)));
    assert_eq!(std::fs::read_dir(dir.path().join("warm")).unwrap().count(), 1, "no temporary file is left");
    assert_same(&store, &model, "stopped");
}

/// Merges, roll-ups and removals of some days that are there already, as time passes.
fn maintain(disk: &FaultyFs, model: &mut Contents) {
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let store = open_with(&fs, tiered(Path::new("/d")));
    for day in [FIRST, FIRST + 1] {
        for half in day_of_samples(day).chunks(80) {
            take(&store, model, half);
        }
    }
    take(&store, model, &day_of_samples(FIRST + 10));
    disk.mark(0);
    // All of it is old: two days are merged, rolled up and let go.
    store.tidy((FIRST + 11) * DAY);
    // History of a day that was let go, which is united with what there is; then the next day's states of a minute go.
    let late: Vec<_> = day_of_samples(FIRST).iter().map(|&(n, t, bits)| (n, t + HOUR, bits)).collect();
    disk.mark(1);
    take(&store, model, &late);
    disk.mark(2);
    store.tidy((FIRST + 11) * DAY);
    store.compact(i64::MAX).unwrap();
}

#[test]
fn a_power_cut_at_any_step_of_maintenance_leaves_the_old_or_the_new_and_never_both() {
    let (disk, mut model) = (FaultyFs::default(), Contents::new());
    maintain(&disk, &mut model);
    let early = (FIRST * DAY - 11 * HOUR)..(FIRST * DAY - 10 * HOUR);
    let mut before = model.clone();
    before.values_mut().for_each(|samples| samples.retain(|t, _| !early.contains(t)));
    let (before, after) = (expected(&before, M5), expected(&model, M5));
    assert_ne!(before, after);
    let log = disk.log();
    let [begun, late, sent] = [0, 1, 2].map(|note| place_of_mark(&log, note));
    let variants = if std::env::var_os("ICECORE_FULL").is_some() { 20 } else { 2 };
    for_each_power_cut(&log, begun, variants, |cut, what, disk| {
        let fs: Arc<dyn Fs> = Arc::new(disk);
        let store = open_with(&fs, tiered(Path::new("/d")));
        let found = answer(&store, finest, M5);
        // What was being written may be there or not.
        let is_right = match cut {
            cut if cut <= late => found == before,
            cut if cut > sent => found == after,
            _ => found == before || found == after,
        };
        assert!(is_right, "{what}: {found:#?}");
        assert_eq!(answer(&store, coarsest, M5), found, "{what}: the coarsest");
        store.tidy((FIRST + 11) * DAY);
        assert_eq!(answer(&store, finest, M5), found, "{what}: carried on");
    });
}

#[test]
fn a_sync_that_fails_in_any_step_of_maintenance_costs_nothing() {
    for failing in 1..40 {
        let disk = FaultyFs::default();
        let fs: Arc<dyn Fs> = Arc::new(disk.clone());
        let (store, mut model) = (open_with(&fs, tiered(Path::new("/d"))), Contents::new());
        for day in [FIRST, FIRST + 1, FIRST + 10] {
            take(&store, &mut model, &day_of_samples(day));
        }
        let before = disk.sync_count();
        disk.set_faults(Faults { failing_syncs: failing, ..Faults::default() });
        for _ in 0..failing {
            store.tidy((FIRST + 11) * DAY);
            assert_same(&store, &model, "while syncs fail");
        }
        disk.set_faults(Faults::default());
        store.tidy((FIRST + 11) * DAY);
        assert_eq!(segments_of(&store, 0), [(FIRST + 10, 2)]);
        assert_same(&store, &model, "after them");
        drop(store);
        let again = open_with(&fs, tiered(Path::new("/d")));
        assert_same(&again, &model, "opened again");
        if disk.sync_count() - before > failing + 3 {
            return;
        }
    }
}
