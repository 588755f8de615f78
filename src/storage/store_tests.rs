//! The store against a plain model: whatever happens, what was acknowledged can be read, bit for bit.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crossbeam::channel::bounded;
use proptest::prelude::*;

use super::fs::faulty::{Faults, FaultyFs, Op, after_power_cut, for_each_power_cut};
use super::fs::{Fs, RealFs};
use super::metrics::{MetricBatch, MetricsSnapshot, SampleBuffer, Series};
use super::{Busy, Options, Store, WriteError};
use crate::model::{Labels, TimeRange, Timestamp, time};

/// A day on which nothing special happens, in the middle.
pub(super) const NOON: Timestamp = 20_000 * time::DAY + 12 * time::HOUR;

/// Series → timestamp → bits of the value.
pub(super) type Contents = BTreeMap<String, BTreeMap<Timestamp, u64>>;

pub(super) fn options(dir: &Path) -> Options {
    Options { disk_reserve: 0, log_reserve: 4096, ..Options::new(dir) }
}

pub(super) fn open(fs: Arc<dyn Fs>, dir: &Path) -> Arc<Store> {
    Store::open_on(fs, options(dir), &prometheus::Registry::new(), NOON).unwrap()
}

pub(super) fn series(n: u32) -> Labels {
    Labels::from_pairs([("__name__", "m"), ("n", &n.to_string())]).unwrap()
}

/// Queues samples of series `n`; the channel tells what became of them.
pub(super) fn append(
    store: &Store,
    samples: &[(u32, Timestamp, u64)],
) -> Result<crossbeam::channel::Receiver<Result<(), WriteError>>, Busy> {
    let mut batch = MetricBatch::new(store.shard_count(), store.series_epoch());
    for &(n, timestamp, bits) in samples {
        let series = store.resolve(&series(n), NOON).unwrap();
        batch.sample(series, timestamp, f64::from_bits(bits));
    }
    let (sender, receiver) = bounded(1);
    store.append(batch, Box::new(move |result| drop(sender.send(result))))?;
    Ok(receiver)
}

pub(super) fn append_and_wait(store: &Store, samples: &[(u32, Timestamp, u64)]) {
    append(store, samples).unwrap().recv().unwrap().unwrap();
}

pub(super) fn contents(store: &Store) -> Contents {
    let snapshot = store.metrics();
    let mut contents = Contents::new();
    let mut samples = SampleBuffer::default();
    for series in snapshot.select(&[], TimeRange::ALL).unwrap() {
        snapshot.read(&series, TimeRange::ALL, &mut samples).unwrap();
        assert!(samples.float_timestamps.is_sorted_by(|a, b| a < b), "{:?}", samples.float_timestamps);
        newest_are_the_last(&snapshot, &series, &samples);
        let bits = samples.floats.iter().map(|v| v.to_bits());
        let previous = contents
            .insert(series.labels.to_string(), samples.float_timestamps.iter().copied().zip(bits).collect());
        assert!(previous.is_none(), "{} was found twice", series.labels);
    }
    assert_eq!(snapshot.warnings(), Vec::<String>::new());
    contents
}

/// Up to some times, the newest sample is the last one of all.
fn newest_are_the_last(snapshot: &MetricsSnapshot, series: &Series, samples: &SampleBuffer) {
    let (count, mut newest) = (samples.floats.len(), SampleBuffer::default());
    for at in (0..count).step_by((count / 3).max(1)).chain(count.checked_sub(1)) {
        let range = TimeRange { until: samples.float_timestamps[at], ..TimeRange::ALL };
        snapshot.read_newest(series, range, &mut newest).unwrap();
        assert_eq!(newest.float_timestamps.last(), Some(&range.until));
        assert_eq!(newest.floats.last().map(|v| v.to_bits()), Some(samples.floats[at].to_bits()));
    }
}

pub(super) fn note(model: &mut Contents, samples: &[(u32, Timestamp, u64)]) {
    for &(n, timestamp, bits) in samples {
        model.entry(series(n).to_string()).or_default().insert(timestamp, bits);
    }
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Append(Vec<(u32, Timestamp, u64)>),
    Seal,
    Compact,
    Close,
    /// Comes back with so many shards.
    Crash(usize),
}

pub(super) fn time_of_sample() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        4 => (0..200i64).prop_map(|k| NOON + k * 15_000),
        1 => (-3..1i64, 0..20i64).prop_map(|(day, k)| NOON + day * time::DAY + k * time::HOUR),
    ]
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let bits = prop_oneof![any::<u64>(), (0..5u32).prop_map(|v| f64::from(v).to_bits())];
    let sample = (0..6u32, time_of_sample(), bits);
    prop_oneof![
        6 => prop::collection::vec(sample, 1..40).prop_map(Step::Append),
        2 => Just(Step::Seal),
        1 => Just(Step::Compact),
        1 => Just(Step::Close),
        1 => (1..4usize).prop_map(Step::Crash),
    ]
}

/// The store in this directory after a step, which the model takes, too.
pub(super) fn after_step(step: &Step, store: Arc<Store>, dir: &Path, model: &mut Contents) -> Arc<Store> {
    match step {
        Step::Append(samples) => {
            append_and_wait(&store, samples);
            note(model, samples);
        }
        Step::Seal => store.seal(NOON).unwrap(),
        Step::Compact => store.compact(i64::MAX).unwrap(),
        Step::Close => {
            store.close();
            drop(store);
            let again = open(Arc::new(RealFs), dir);
            assert_eq!(again.stats().unsealed_samples, 0, "a clean stop leaves nothing to replay");
            return again;
        }
        Step::Crash(shards) => {
            drop(store);
            let options = Options { shards: *shards, ..options(dir) };
            return Store::open_on(Arc::new(RealFs), options, &prometheus::Registry::new(), NOON).unwrap();
        }
    }
    store
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn the_store_is_a_map_from_series_and_time_to_the_value_written_last(
        steps in prop::collection::vec(step(), 1..25),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(Arc::new(RealFs), dir.path());
        let mut model = Contents::new();
        for step in steps {
            store = after_step(&step, store, dir.path(), &mut model);
            prop_assert_eq!(&contents(&store), &model, "after {:?}", step);
        }
    }
}

/// Runs a workload that seals, merges and restarts; marks each acknowledgement in the log of the disk.
fn run_workload(disk: &FaultyFs) -> Vec<Vec<(u32, Timestamp, u64)>> {
    let mut sent = Vec::new();
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    for round in 0..3i64 {
        let store = open(fs.clone(), Path::new("/d"));
        for part in 0..4i64 {
            let at = |n: u32| NOON + round * time::HOUR + part * 60_000 + i64::from(n);
            let samples: Vec<_> = (0..8u32).map(|n| (n, at(n), (n as f64 + part as f64).to_bits())).collect();
            sent.push(samples.clone());
            append_and_wait(&store, &samples);
            disk.mark(sent.len() as u64);
            if part == 1 {
                store.seal(NOON).unwrap();
            }
        }
        if round == 1 {
            store.compact(i64::MAX).unwrap();
        }
    }
    sent
}

fn model_of(batches: &[Vec<(u32, Timestamp, u64)>]) -> Contents {
    let mut model = Contents::new();
    batches.iter().for_each(|batch| note(&mut model, batch));
    model
}

fn assert_contains(outer: &Contents, inner: &Contents, what: &str) {
    for (series, samples) in inner {
        for (timestamp, bits) in samples {
            assert_eq!(
                outer.get(series).and_then(|s| s.get(timestamp)),
                Some(bits),
                "{what}: {series} at {timestamp}"
            );
        }
    }
}

#[test]
fn a_power_cut_at_any_moment_keeps_all_that_was_acknowledged_and_invents_nothing() {
    let disk = FaultyFs::default();
    let sent = run_workload(&disk);
    let log = disk.log();
    let everything = model_of(&sent);
    for_each_power_cut(&log, 0, 4, |cut, what, after| {
        let acknowledged = log[..cut].iter().filter(|op| matches!(op, Op::Mark(_))).count();
        let store = open(Arc::new(after.clone()), Path::new("/d"));
        let found = contents(&store);
        assert_contains(&found, &model_of(&sent[..acknowledged]), what);
        assert_contains(&everything, &found, what);
        drop(store);
        let again = contents(&open(Arc::new(after), Path::new("/d")));
        assert_eq!(again, found, "{what}: a second recovery changes nothing");
    });
}

#[test]
fn a_failed_sync_is_an_error_to_its_senders_and_the_samples_are_written_again() {
    let disk = FaultyFs::default();
    let store = open(Arc::new(disk.clone()), Path::new("/d"));
    append_and_wait(&store, &[(1, NOON, 1)]);
    disk.set_faults(Faults { failing_syncs: 1, ..Faults::default() });
    let failed = append(&store, &[(1, NOON + 1, 2)]).unwrap().recv().unwrap();
    assert!(matches!(failed, Err(WriteError::Wal { .. })), "{failed:?}");
    // Soon the log can be written again.
    let mut refused = 0;
    while let Err(busy) = append(&store, &[(1, NOON + 2, 3)]) {
        assert_eq!(busy, Busy::LogFailing);
        refused += 1;
        assert!(refused < 1000);
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    append_and_wait(&store, &[(1, NOON + 3, 4)]);
    drop(store);
    let after = after_power_cut(&disk.log(), &mut |_| 0);
    let found = contents(&open(Arc::new(after), Path::new("/d")));
    assert_eq!(found[&series(1).to_string()].len(), 4, "what was shown is kept");
}

#[test]
fn a_disk_that_fills_up_refuses_writes_and_takes_them_again() {
    let disk = FaultyFs::default();
    let options = Options { disk_reserve: 1000, ..options(Path::new("/d")) };
    let store = Store::open_on(Arc::new(disk.clone()), options, &prometheus::Registry::new(), NOON).unwrap();
    append_and_wait(&store, &[(1, NOON, 1)]);
    disk.set_faults(Faults { free_bytes: Some(999), ..Faults::default() });
    store.tick(NOON);
    assert_eq!(append(&store, &[(1, NOON + 1, 2)]).unwrap_err(), Busy::DiskFull { free: 999, reserve: 1000 });
    assert_eq!(contents(&store)[&series(1).to_string()].len(), 1, "queries go on");
    disk.set_faults(Faults::default());
    store.tick(NOON);
    append_and_wait(&store, &[(1, NOON + 1, 2)]);
}

#[test]
fn of_values_for_one_time_the_last_is_right_even_if_it_was_there_before() {
    let (dir, mut model) = (tempfile::tempdir().unwrap(), Contents::new());
    let store = Store::open(options(dir.path()), &prometheus::Registry::new(), 0).unwrap();
    for value in [0, 1, 0] {
        append_and_wait(&store, &[(4, 1_000, value)]);
        note(&mut model, &[(4, 1_000, value)]);
        assert_eq!(contents(&store), model);
    }
    append_and_wait(&store, &[(4, 2_000, 7)]);
    note(&mut model, &[(4, 2_000, 7)]);
    store.seal(3_000).unwrap();
    assert_eq!(contents(&store), model);
}

#[test]
fn a_reader_never_misses_what_moves_from_memory_to_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(Arc::new(RealFs), dir.path());
    let total = 60;
    std::thread::scope(|scope| {
        let writer = store.clone();
        scope.spawn(move || {
            for k in 0..total {
                append_and_wait(&writer, &[(1, NOON + k, k as u64)]);
                if k % 7 == 0 {
                    writer.seal(NOON).unwrap();
                }
                if k % 20 == 0 {
                    writer.compact(i64::MAX).unwrap();
                }
            }
        });
        let mut seen = 0;
        while seen < total as usize {
            let now = contents(&store).get(&series(1).to_string()).map_or(0, BTreeMap::len);
            assert!(now >= seen, "saw {seen}, then {now}");
            seen = now;
        }
    });
}

#[test]
fn a_day_merged_for_good_takes_less_than_its_parts() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(Arc::new(RealFs), dir.path());
    let bytes = || store.view.load().segments.iter().map(|segment| segment.entry.bytes).sum::<u64>();
    let mut value = 0.0f64;
    for part in 0..2i64 {
        let mut next = |i: i64| {
            value += f64::from(2 - (i * i * 31 % 257 % 16).trailing_zeros().min(4) as i32);
            (1, NOON + part * time::HOUR + i, value.to_bits())
        };
        append_and_wait(&store, &(1..4000).map(&mut next).collect::<Vec<_>>());
        store.seal(NOON).unwrap();
    }
    let before = (bytes(), contents(&store));
    store.compact(NOON).unwrap();
    assert_eq!(contents(&store), before.1);
    assert!(bytes() * 5 < before.0 * 4, "{} bytes of {}", bytes(), before.0);
}

#[test]
fn series_that_nobody_writes_are_forgotten_and_may_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(Arc::new(RealFs), dir.path());
    append_and_wait(&store, &[(1, NOON, 1), (2, NOON, 1)]);
    for hour in 1..4 {
        let now = NOON + hour * time::HOUR;
        append_and_wait(&store, &[(2, now, 1)]);
        store.seal(now).unwrap();
        store.tidy(now);
    }
    assert_eq!(store.stats().active_series, 1);
    let before = store.series_epoch();
    assert!(before > 0, "references handed out before are void");
    append_and_wait(&store, &[(1, NOON + 5 * time::HOUR, 1)]);
    assert_eq!(contents(&store)[&series(1).to_string()].len(), 2);
}

#[test]
fn segments_older_than_the_retention_go_and_a_clock_that_jumps_ahead_takes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(Arc::new(RealFs), dir.path());
    append_and_wait(&store, &[(1, NOON - 20 * time::DAY, 1), (1, NOON, 2)]);
    store.seal(NOON).unwrap();
    store.tidy(NOON + 3650 * time::DAY);
    assert_eq!(contents(&store)[&series(1).to_string()].keys().copied().collect::<Vec<_>>(), [NOON]);
    let left = std::fs::read_dir(dir.path().join("hot")).unwrap().count();
    assert_eq!(left, 1, "the file is gone too");
}

#[test]
fn a_directory_of_somebody_else_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("letter.txt"), "dear").unwrap();
    let refused = Store::open(options(dir.path()), &prometheus::Registry::new(), NOON).err().unwrap();
    assert!(refused.to_string().contains("not a data directory"), "{refused}");
}

#[test]
fn a_directory_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _store = open(Arc::new(RealFs), dir.path());
    let refused = Store::open(options(dir.path()), &prometheus::Registry::new(), NOON).err().unwrap();
    assert!(refused.to_string().contains("used by another process"), "{refused}");
}

#[test]
fn a_segment_whose_edit_was_damaged_is_set_aside_not_removed() {
    let disk = FaultyFs::default();
    let store = open(Arc::new(disk.clone()), Path::new("/d"));
    append_and_wait(&store, &[(1, NOON, 1)]);
    store.seal(NOON).unwrap();
    drop(store);
    let mut files = disk.files();
    let manifest = files.get_mut(Path::new("/d/MANIFEST")).unwrap();
    *manifest.last_mut().unwrap() ^= 1;
    let damaged = FaultyFs::with_files(files, []);
    for _ in 0..2 {
        drop(open(Arc::new(damaged.clone()), Path::new("/d")));
        let aside =
            damaged.files().into_keys().filter(|path| path.extension().is_some_and(|e| e == "unlisted"));
        assert_eq!(aside.count(), 1, "also after another start");
    }
}

#[test]
fn series_that_were_registered_and_never_written_are_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(Arc::new(RealFs), dir.path());
    append_and_wait(&store, &[(1, NOON, 1)]);
    store.resolve(&series(2), NOON).unwrap();
    for hour in 0..4 {
        let now = NOON + hour * 2 * time::HOUR;
        append_and_wait(&store, &[(1, now + 1, 1)]);
        store.seal(now).unwrap();
        store.tidy(now);
    }
    assert_eq!(store.stats().active_series, 1);
    append_and_wait(&store, &[(2, NOON, 1)]);
    assert_eq!(contents(&store)[&series(2).to_string()].len(), 1);
}

#[test]
fn series_that_several_threads_look_up_come_once_in_the_order_of_their_segment() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(Arc::new(RealFs), dir.path());
    let mut model = Contents::new();
    // More than two threads' worth; of half of them there is more in a second segment, and of some in a head.
    for (count, timestamp, is_sealed) in
        [(10_000u32, NOON, true), (5_000, NOON + 1, true), (100, NOON + 2, false)]
    {
        for numbers in (0..count).collect::<Vec<_>>().chunks(1_000) {
            let samples: Vec<_> = numbers.iter().map(|&n| (n, timestamp, u64::from(n))).collect();
            append_and_wait(&store, &samples);
            note(&mut model, &samples);
        }
        if is_sealed {
            store.seal(NOON).unwrap();
        }
    }
    assert!(contents(&store) == model);
    let first = TimeRange::closed(NOON, NOON);
    let found = store.metrics().select(&[], first).unwrap();
    assert_eq!(found.len(), 10_000);
    assert!(
        found.is_sorted_by(|a, b| a.labels < b.labels) && found.iter().all(|s| s.sample_count_estimate == 1)
    );
}

#[test]
fn a_full_generation_is_sealed_but_not_before_its_series_have_twelve_samples() {
    let dir = tempfile::tempdir().unwrap();
    let full = Options { seal_samples: 40, ..options(dir.path()) };
    let store = Store::open(full, &prometheus::Registry::new(), NOON).unwrap();
    let append_rounds = |rounds: std::ops::Range<i64>, count: u32| {
        let rows = rounds.flat_map(|k| (0..count).map(move |n| (n, NOON + k * 15_000, 1f64.to_bits())));
        append_and_wait(&store, &rows.collect::<Vec<_>>());
        store.tick(NOON);
        store.stats().unsealed_samples
    };
    assert_eq!(append_rounds(0..11, 5), 55, "forty, but eleven of each");
    assert_eq!(append_rounds(11..12, 5), 0);
    assert_eq!(append_rounds(12..25, 3), 39);
    assert_eq!(append_rounds(25..26, 3), 0, "twelve of each, and forty");
}
