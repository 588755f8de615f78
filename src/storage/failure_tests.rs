//! What the store does when disks fail, and when an acknowledgement may be given.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::bounded;
use prometheus::Registry;

use super::damage_tests::{lines_of, log_batch, span_batch};
use super::fs::faulty::{Faults, FaultyFs, Op, after_power_cut};
use super::fs::{Fs, RealFs};
use super::generation::Generation;
use super::metrics::{ExemplarRow, MetricBatch};
use super::store_tests::*;
use super::{Busy, Completion, MaintenanceError, Options, Store, SyncMode, WriteError};
use crate::model::{Exemplar, Labels, TimeRange, time};

const NO_LOG: Faults = Faults {
    failing_path: Some("/wal/"),
    disk_full: false,
    failing_syncs: 0,
    free_bytes: None,
    too_many_open: false,
};

fn on(disk: &FaultyFs, options: Options) -> Arc<Store> {
    Store::open_on(Arc::new(disk.clone()), options, &Registry::new(), NOON).unwrap()
}

/// Appends as soon as the store takes something again.
fn append_when_possible(store: &Store, samples: &[(u32, i64, u64)]) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match append(store, samples) {
            Ok(done) => return done.recv_timeout(Duration::from_secs(10)).expect("an answer").unwrap(),
            Err(busy) => assert!(Instant::now() < deadline, "still {busy}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_log_that_failed_while_its_generation_was_sealed_is_written_to_again() {
    let disk = FaultyFs::default();
    let store = open(Arc::new(disk.clone()), Path::new("/d"));
    append_and_wait(&store, &[(1, NOON, 1)]);
    disk.set_faults(NO_LOG);
    assert!(append(&store, &[(1, NOON + 1, 2)]).unwrap().recv().unwrap().is_err());
    let started = Instant::now();
    assert!(matches!(store.seal(NOON), Err(MaintenanceError::Log(_))), "who seals hears that the log fails");
    store.tick(NOON);
    assert_eq!(store.stats().segments, 1, "segments can still be written");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    disk.set_faults(Faults::default());
    append_when_possible(&store, &[(1, NOON + 2, 3)]);
    store.close();
    drop(store);
    let found = contents(&open(Arc::new(disk), Path::new("/d")));
    assert_eq!(found[&series(1).to_string()].len(), 3);
}

#[test]
fn a_stop_while_the_log_fails_does_not_wait_for_it() {
    let disk = FaultyFs::default();
    let store = open(Arc::new(disk.clone()), Path::new("/d"));
    append_and_wait(&store, &[(1, NOON, 1)]);
    disk.set_faults(Faults { disk_full: true, ..Faults::default() });
    let waiting: Vec<_> = (1..5).filter_map(|k| append(&store, &[(1, NOON + k, 2)]).ok()).collect();
    let started = Instant::now();
    store.close();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    for done in waiting {
        let result = done.try_recv().expect("everybody was told");
        assert!(matches!(result, Err(WriteError::Wal { .. })), "{result:?}");
    }
    assert_eq!(append(&store, &[(1, NOON + 9, 2)]).unwrap_err(), Busy::Closing);
    disk.set_faults(Faults::default());
    let found = contents(&open(Arc::new(disk), Path::new("/d")));
    assert_eq!(found[&series(1).to_string()][&NOON], 1);
}

#[test]
fn a_generation_that_a_shard_still_writes_is_not_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(Arc::new(RealFs), dir.path());
    append_and_wait(&store, &[(1, NOON, 1)]);
    // As after a rotation that the shards have not come to yet.
    let next = Arc::new(Generation::new(99, NOON, store.shard_count(), store.series_ids_max));
    store.view.rcu(|view| {
        let mut view = (**view).clone();
        view.generations.push(next.clone());
        view
    });
    store.tick(NOON);
    append_and_wait(&store, &[(1, NOON + 1, 2)]);
    store.tick(NOON);
    assert_eq!(contents(&store)[&series(1).to_string()].len(), 2);
    drop(store);
    let again = open(Arc::new(RealFs), dir.path());
    assert_eq!(contents(&again)[&series(1).to_string()].len(), 2, "the log was kept");
}

#[test]
fn a_lower_limit_of_series_takes_nothing_from_what_the_log_holds() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(Arc::new(RealFs), dir.path());
    let samples: Vec<_> = (0..3000).map(|n| (n, NOON, u64::from(n))).collect();
    append_and_wait(&store, &samples);
    drop(store);
    let lower = Options { series_max: 10, ..options(dir.path()) };
    let store = Store::open(lower, &Registry::new(), NOON).unwrap();
    assert_eq!(contents(&store).len(), 3000);
    append_and_wait(&store, &[(2999, NOON + 1, 7)]);
    assert!(store.resolve(&series(3000), NOON).is_err());
    store.seal(NOON).unwrap();
    append_and_wait(&store, &[(2999, NOON + 2, 8)]);
    assert_eq!(contents(&store).values().map(|s| s.len()).sum::<usize>(), 3002);
}

#[test]
fn exemplars_that_come_without_samples_are_sealed_like_samples() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(Arc::new(RealFs), dir.path());
    append_and_wait(&store, &[(1, NOON, 1)]);
    store.seal(NOON).unwrap();
    let mut batch = MetricBatch::new(store.shard_count(), store.series_epoch());
    let to = store.resolve(&series(1), NOON).unwrap();
    let exemplar = Exemplar {
        labels: Labels::from_pairs([("trace_id", "abc")]).unwrap(),
        value: 1.0,
        timestamp: NOON - time::DAY,
    };
    batch.shards[to.shard as usize].exemplars.push(ExemplarRow { id: to.id, exemplar: exemplar.clone() });
    let (sender, done) = bounded(1);
    store.append(batch, Box::new(move |result| drop(sender.send(result)))).unwrap();
    done.recv().unwrap().unwrap();
    let found = |store: &Store| {
        let segments: Vec<_> = store.view.load().segments.clone();
        let all = segments.iter().flat_map(|s| {
            let metrics = s.metrics().unwrap();
            (0..metrics.series_count())
                .flat_map(|n| metrics.exemplars(n, TimeRange::ALL).unwrap())
                .collect::<Vec<_>>()
        });
        all.collect::<Vec<_>>()
    };
    assert!(found(&store).is_empty());
    store.seal(NOON).unwrap();
    assert_eq!(found(&store), [exemplar]);
    assert_eq!(store.stats().unsealed_bytes, 0);
    // They make no series of samples, whether the range is that of their segment or cuts it.
    for until in [NOON - time::DAY, NOON - 1] {
        let range = TimeRange { after: NOON - 2 * time::DAY, until };
        assert_eq!(store.metrics().series_labels(&[], range).unwrap(), []);
    }
}

#[test]
fn a_damaged_segment_keeps_no_other_from_being_merged() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(Arc::new(RealFs), dir.path());
    for k in 0..5 {
        append_and_wait(&store, &[(1, NOON - 2 * time::DAY + k, 1), (1, NOON - time::DAY + k, 1)]);
        store.seal(NOON).unwrap();
    }
    drop(store);
    let mut files: Vec<_> =
        std::fs::read_dir(dir.path().join("hot")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let mut bytes = std::fs::read(&files[4]).unwrap();
    let middle = bytes.len() / 2;
    bytes[100..middle].fill(0xA5);
    std::fs::write(&files[4], bytes).unwrap();
    let store = open(Arc::new(RealFs), dir.path());
    assert!(matches!(store.compact(i64::MAX), Err(MaintenanceError::Read(_))));
    // One day: two before the damaged one, itself, two behind it. The other day: one.
    assert_eq!(store.stats().segments, 4);
    store.compact(i64::MAX).unwrap();
    store.tidy(NOON);
    assert_eq!(store.stats().segments, 4, "nor is it tried again");
}

#[test]
fn segments_that_cannot_be_opened_for_a_while_are_read_and_merged_afterwards() {
    let disk = FaultyFs::default();
    let store = on(&disk, Options { shards: 1, ..Options::new("/d") });
    for k in 0..2 {
        append_and_wait(&store, &[(1, NOON - time::DAY + k, 1)]);
        store.seal(NOON).unwrap();
    }
    drop(store);
    let store = on(&disk, Options { shards: 1, ..Options::new("/d") });
    disk.set_faults(Faults { too_many_open: true, ..Faults::default() });
    let refused = store.compact(i64::MAX).unwrap_err();
    assert!(matches!(refused, MaintenanceError::Io { .. }), "{refused}");
    store.tidy(NOON);
    assert_eq!(store.stats().segments, 2);
    let snapshot = store.metrics();
    assert_eq!(snapshot.select(&[], TimeRange::ALL).unwrap().len(), 0);
    assert!(snapshot.warnings()[0].contains("cannot be opened now"), "{:?}", snapshot.warnings());

    disk.set_faults(Faults::default());
    assert_eq!(contents(&store).len(), 1);
    store.compact(i64::MAX).unwrap();
    assert_eq!((store.stats().segments, contents(&store).len()), (1, 1));
}

#[test]
fn a_merge_that_is_told_to_stop_leaves_everything_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(Arc::new(RealFs), dir.path());
    for k in 0..2 {
        append_and_wait(&store, &[(1, NOON - time::DAY + k, 1), (2, NOON - time::DAY + k, 1)]);
        store.seal(NOON).unwrap();
    }
    let before = contents(&store);
    store.stop_tidying();
    assert!(matches!(store.compact(i64::MAX), Err(MaintenanceError::Stopping)));
    store.tidy(NOON);
    assert_eq!((store.stats().segments, contents(&store)), (2, before));
    assert_eq!(std::fs::read_dir(dir.path().join("hot")).unwrap().count(), 2, "no temporary file is left");
}

#[test]
fn an_edit_that_failed_leaves_no_file_behind_once_the_next_one_holds() {
    let disk = FaultyFs::default();
    let store = open(Arc::new(disk.clone()), Path::new("/d"));
    append_and_wait(&store, &[(1, NOON, 1)]);
    disk.set_faults(Faults { failing_path: Some("MANIFEST"), ..Faults::default() });
    for _ in 0..3 {
        assert!(matches!(store.seal(NOON), Err(MaintenanceError::Manifest(_))));
    }
    disk.set_faults(Faults::default());
    store.seal(NOON).unwrap();
    assert_eq!(disk.list(Path::new("/d/hot")).unwrap().len(), 1);
    assert_eq!(contents(&store)[&series(1).to_string()].len(), 1);
}

/// Several senders at once; each acknowledgement is marked at the moment it is given.
fn marked_senders(disk: &FaultyFs, store: &Store, round: i64, batches: i64) {
    let clock = AtomicI64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..batches {
                    let k = round * 1000 + clock.fetch_add(1, Ordering::Relaxed);
                    append_marked(disk, store, k);
                }
            });
        }
    });
}

/// One batch of eight series at `NOON + k`, and log entries and spans; waits for the answers. The mark is made when all
/// of it is acknowledged.
fn append_marked(disk: &FaultyFs, store: &Store, k: i64) {
    let mut batch = MetricBatch::new(store.shard_count(), store.series_epoch());
    for n in 0..8 {
        batch.sample(store.resolve(&series(n), NOON).unwrap(), NOON + k, k as f64);
    }
    let (sender, done) = bounded(3);
    let acknowledged = Arc::new(AtomicI64::new(0));
    let told = || -> Completion {
        let (disk, sender, acknowledged) = (disk.clone(), sender.clone(), acknowledged.clone());
        Box::new(move |result| {
            if result.is_ok() && acknowledged.fetch_add(1, Ordering::Relaxed) == 2 {
                disk.mark(k as u64);
            }
            let _ = sender.send(());
        })
    };
    let at = NOON + k;
    let taken = [
        store.append(batch, told()),
        store.append_logs(log_batch(store, k, at), told()),
        store.append_spans(span_batch(store, k, at), told()),
    ];
    taken.iter().filter(|taken| taken.is_ok()).for_each(|_| done.recv().unwrap());
    if taken.iter().any(Result::is_err) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The power goes right after each mark and takes all that was not synced: what was marked must be there.
fn assert_marks_are_durable(disk: &FaultyFs) -> usize {
    let log = disk.log();
    let mut marked = Vec::new();
    for (at, op) in log.iter().enumerate() {
        let Op::Mark(k) = op else { continue };
        marked.push(NOON + *k as i64);
        let after = after_power_cut(&log[..=at], &mut |_| 0);
        let store = open(Arc::new(after), Path::new("/d"));
        let found = contents(&store);
        for n in 0..8 {
            let there = &found[&series(n).to_string()];
            assert!(marked.iter().all(|t| there.contains_key(t)), "mark {k} came before its sync");
        }
        // Six entries and six spans with each mark.
        let all = lines_of(&store);
        let count = |what: &str| all.iter().filter(|line| line.contains(what)).count();
        assert!(count("request ") >= 6 * marked.len(), "mark {k} came before its entries");
        assert!(count("name: \"step ") >= 6 * marked.len(), "mark {k} came before its spans");
    }
    marked.len()
}

#[test]
fn no_acknowledgement_precedes_its_sync() {
    let disk = FaultyFs::default();
    let store = open(Arc::new(disk.clone()), Path::new("/d"));
    marked_senders(&disk, &store, 0, 5);
    for failing_syncs in 1..4 {
        disk.set_faults(Faults { failing_syncs, ..Faults::default() });
        marked_senders(&disk, &store, failing_syncs as i64, 5);
        while store.is_log_failing() {
            std::thread::sleep(Duration::from_millis(20));
        }
        disk.set_faults(Faults::default());
        marked_senders(&disk, &store, failing_syncs as i64 + 10, 2);
    }
    std::thread::scope(|scope| {
        scope.spawn(|| (0..5).for_each(|_| store.seal(NOON).unwrap()));
        marked_senders(&disk, &store, 20, 8);
    });
    std::thread::scope(|scope| {
        scope.spawn(|| marked_senders(&disk, &store, 21, 50));
        std::thread::sleep(Duration::from_millis(2));
        store.close();
    });
    let marks = assert_marks_are_durable(&disk);
    assert!(marks > 50, "{marks}");
}

/// Whether anything was synced below `wal/` in these operations.
fn log_syncs(ops: &[Op]) -> usize {
    let is_log = |path: &Path| path.starts_with("/d/wal");
    let mut inodes = Vec::new();
    let mut syncs = 0;
    for op in ops {
        match op {
            Op::Create { inode, path } if is_log(path) => inodes.push(*inode),
            Op::Sync { inode } if inodes.contains(inode) => syncs += 1,
            _ => {}
        }
    }
    syncs
}

#[test]
fn wal_sync_off_acknowledges_without_a_sync_and_syncs_at_the_end() {
    let disk = FaultyFs::default();
    let store = on(&disk, Options { sync: SyncMode::Off, ..options(Path::new("/d")) });
    (0..10).for_each(|k| append_marked(&disk, &store, k));
    assert_eq!(log_syncs(&disk.log()), 0);
    drop(store);
    assert!(log_syncs(&disk.log()) > 0);
}

#[test]
fn wal_sync_interval_acknowledges_at_once_and_syncs_within_the_interval() {
    let disk = FaultyFs::default();
    let sync = SyncMode::Interval(Duration::from_millis(300));
    let store = on(&disk, Options { sync, ..options(Path::new("/d")) });
    let started = Instant::now();
    append_marked(&disk, &store, 0);
    let unsynced = log_syncs(&disk.log()) == 0;
    assert!(unsynced || started.elapsed() > Duration::from_millis(300), "acknowledged before the sync");
    while log_syncs(&disk.log()) == 0 {
        assert!(started.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(assert_marks_are_durable_at_the_end(&disk), 1);
}

fn assert_marks_are_durable_at_the_end(disk: &FaultyFs) -> usize {
    let after = after_power_cut(&disk.log(), &mut |_| 0);
    contents(&open(Arc::new(after), Path::new("/d")))[&series(0).to_string()].len()
}

/// Fills a generation of a small store: the second sample is late, and lies beside what its series takes anyhow.
const FULL: [(u32, i64, u64); 2] = [(1, NOON, 1), (1, NOON - 1, 1)];

/// A store whose generations are full with a byte.
fn open_small(disk: &FaultyFs) -> Arc<Store> {
    on(disk, Options { seal_bytes: 1, ..options(Path::new("/d")) })
}

#[test]
fn a_generation_that_becomes_full_is_sealed_at_once() {
    let store = open_small(&FaultyFs::default());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| store.pressure.wait_until_full(Duration::from_secs(600)));
        append_and_wait(&store, &FULL);
        assert!(waiting.join().unwrap(), "the shard woke who seals");
    });
    store.tick(NOON);
    assert_eq!((store.stats().segments, store.stats().unsealed_bytes), (1, 0));
    assert!(!store.pressure.wait_until_full(Duration::ZERO), "once for each generation");
}

#[test]
fn writes_beyond_two_generations_wait_for_the_seal() {
    let store = open_small(&FaultyFs::default());
    append_and_wait(&store, &FULL);
    let held = store.stats().unsealed_bytes;
    assert!(store.filled_bytes() > store.pressure.filled_bytes_max());
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| append_and_wait(&store, &[(1, NOON + 1, 2)]));
        while store.metrics.slowed_writes.get() == 0 {
            std::thread::yield_now();
        }
        assert_eq!(store.stats().unsealed_bytes, held, "it waits");
        store.tick(NOON);
        writer.join().unwrap();
    });
    assert_eq!(contents(&store)[&series(1).to_string()].len(), 3);
}

#[test]
fn many_series_do_not_fill_a_generation_with_their_first_samples() {
    let store = on(&FaultyFs::default(), Options { seal_bytes: 4_000, ..options(Path::new("/d")) });
    let at = |time| (0..1_000).map(move |series| (series, time, 1));
    append_and_wait(&store, &at(NOON).collect::<Vec<_>>());
    store.tick(NOON);
    assert_eq!(store.stats().segments, 0);
    append_and_wait(&store, &at(NOON - 1).take(250).collect::<Vec<_>>());
    store.tick(NOON);
    assert_eq!(store.stats().segments, 1, "16 bytes for each of those that are late");
}

#[test]
fn writes_do_not_wait_for_seals_that_fail() {
    let disk = FaultyFs::default();
    let store = open_small(&disk);
    append_and_wait(&store, &FULL);
    disk.set_faults(Faults { failing_path: Some("/hot/"), ..Faults::default() });
    store.tick(NOON);
    let deadline = Instant::now() + Duration::from_secs(60);
    assert!(!store.pressure.wait_for_room(deadline, || false) && Instant::now() < deadline);
    let refused = append(&store, &[(1, NOON + 1, 2)]).unwrap_err();
    assert!(matches!(refused, Busy::MemoryFull { .. }), "{refused}");
    disk.set_faults(Faults::default());
    store.tick(NOON);
    append_and_wait(&store, &[(1, NOON + 1, 2)]);
}

/// Options with the hot tier in a directory of its own.
fn with_hot_at(dir: &Path, hot: &Path) -> Options {
    let mut options = options(dir);
    options.tiers[0].dir = Some(hot.to_owned());
    options
}

#[test]
fn a_tier_lives_in_the_directory_it_was_given() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(disk.path().join("photos.tmp"), "of somebody else").unwrap();
    let open = || Store::open(with_hot_at(dir.path(), disk.path()), &Registry::new(), NOON);
    let store = open().unwrap();
    append_and_wait(&store, &[(1, NOON, 1)]);
    store.seal(NOON).unwrap();
    assert!(disk.path().join("metrics-000000000001.seg").exists());
    let other = tempfile::tempdir().unwrap();
    let refused = Store::open(with_hot_at(other.path(), disk.path()), &Registry::new(), NOON).err().unwrap();
    assert!(refused.to_string().contains("used by another process"), "{refused}");
    drop(store);
    assert_eq!(contents(&open().unwrap()).len(), 1);
    // Nobody's files are removed: those of others stay, and what no manifest lists is set aside.
    drop(Store::open(with_hot_at(other.path(), disk.path()), &Registry::new(), NOON).unwrap());
    let mut names: Vec<_> = std::fs::read_dir(disk.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["LOCK", "metrics-000000000001.unlisted", "photos.tmp"]);
}

#[test]
fn a_tier_whose_disk_is_not_mounted_refuses_the_start() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mount = disk.path().join("mount");
    let open = || Store::open(with_hot_at(dir.path(), &mount), &Registry::new(), NOON);
    let refused = open().err().unwrap().to_string();
    assert!(refused.contains("no such directory"), "{refused}");
    std::fs::create_dir(&mount).unwrap();
    let store = open().unwrap();
    append_and_wait(&store, &[(1, NOON, 1)]);
    store.seal(NOON).unwrap();
    drop(store);
    std::fs::rename(&mount, disk.path().join("elsewhere")).unwrap();
    std::fs::create_dir(&mount).unwrap();
    let refused = open().err().unwrap().to_string();
    assert!(refused.contains("holds none of the 1 segments"), "{refused}");
    std::fs::remove_dir_all(&mount).unwrap();
    std::fs::rename(disk.path().join("elsewhere"), &mount).unwrap();
    assert_eq!(contents(&open().unwrap()).len(), 1, "nothing was lost by the refused start");
}
