//! Everything at once: senders, seals, merges, retiring of idle series and readers, against a plain model.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::bounded;
use prometheus::Registry;

use super::damage_tests::{lines_of, log_batch, read_everything, span_batch};
use super::fs::RealFs;
use super::store_tests::*;
use super::{Busy, Completion, Options, Store};
use crate::model::{Timestamp, time};

const SENDERS: i64 = 4;
const SERIES: u32 = 40;
/// Requests of a sender until it writes other series.
const CHANGES_EVERY: i64 = 25;
/// What passes of the store's time from one turn of housekeeping to the next.
const TURN_MS: i64 = 400;

fn requests() -> i64 {
    if std::env::var_os("ICECORE_FULL").is_some() { 5_000 } else { 250 }
}

/// Series go idle within a second of the store's time, which is not ours.
fn restless(dir: &Path) -> Arc<Store> {
    let options = Options { idle_series_ms: 1000, series_max: 60, shards: 3, ..options(dir) };
    Store::open_on(Arc::new(RealFs), options, &Registry::new(), NOON).unwrap()
}

/// Samples that no other request writes: each sender has timestamps of its own, on series that all of them share.
/// Which series changes over time, so that some go idle and come back.
fn request(sender: i64, k: i64) -> Vec<(u32, Timestamp, u64)> {
    let first = (k / CHANGES_EVERY * 7) as u32;
    let at = NOON + (k * SENDERS + sender) * 10;
    let late = NOON + (k / 2 * SENDERS + sender) * 10 + 5;
    let own = |n: u32| (first + n * 3 + sender as u32) % SERIES;
    let now = (0..4).map(|n| (own(n), at, (at as u64) << 8 | u64::from(own(n))));
    let then = (0..2).map(|n| (own(n), late, (late as u64) << 8 | u64::from(own(n))));
    now.chain(then).collect()
}

/// Appends however often references become void or queues are full meanwhile; false once the store is closing.
fn append_unless_closing(store: &Store, samples: &[(u32, Timestamp, u64)]) -> bool {
    loop {
        match append(store, samples) {
            Ok(done) => {
                done.recv().expect("everybody is told").unwrap();
                return true;
            }
            Err(Busy::SeriesRetired | Busy::QueueFull { .. }) => std::thread::yield_now(),
            Err(Busy::Closing) => return false,
            Err(other) => panic!("{other}"),
        }
    }
}

/// Waits until so many turns of housekeeping have begun, lest senders be through before a series is idle. Not for ever: who
/// keeps house may have failed.
fn wait_for_turn(clock: &AtomicI64, turns: i64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while clock.load(Ordering::Relaxed) < NOON + turns * TURN_MS && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn model(senders: i64, requests: i64) -> Contents {
    let mut model = Contents::new();
    for (sender, k) in (0..senders).flat_map(|sender| (0..requests).map(move |k| (sender, k))) {
        for (n, timestamp, bits) in request(sender, k) {
            model.entry(series(n).to_string()).or_default().insert(timestamp, bits);
        }
    }
    model
}

/// What a reader saw must be right, and nothing of it may be gone later.
fn check_reading(store: &Store, everything: &Contents, seen: &mut BTreeMap<String, usize>) {
    for (series, samples) in contents(store) {
        let written = &everything[&series];
        assert!(samples.iter().all(|(t, bits)| written.get(t) == Some(bits)), "{series}");
        let before = seen.insert(series.clone(), samples.len()).unwrap_or(0);
        assert!(samples.len() >= before, "{series}: {before} samples, then {}", samples.len());
    }
}

#[test]
fn senders_seals_merges_retirements_and_readers_do_not_disturb_one_another() {
    let dir = tempfile::tempdir().unwrap();
    let store = restless(dir.path());
    let everything = model(SENDERS, requests());
    let (clock, stop) = (AtomicI64::new(NOON), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (store, clock, stop, everything) = (&*store, &clock, &stop, &everything);
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                scope.spawn(move || {
                    for k in 0..requests() {
                        assert!(append_unless_closing(store, &request(sender, k)));
                        wait_for_turn(clock, k / CHANGES_EVERY);
                    }
                })
            })
            .collect();
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let now = clock.fetch_add(TURN_MS, Ordering::Relaxed);
                store.seal(now).unwrap();
                store.tick(now);
                store.tidy(now);
            }
        });
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                store.compact(i64::MAX).unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        scope.spawn(move || {
            let mut seen = BTreeMap::new();
            while !stop.load(Ordering::Relaxed) {
                check_reading(store, everything, &mut seen);
            }
        });
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        stop.store(true, Ordering::Relaxed);
    });
    let retirements = store.series_epoch();
    assert_eq!(contents(&store), everything);
    drop(store);
    let store = restless(dir.path());
    assert_eq!(contents(&store), everything, "after a crash");
    store.close();
    drop(store);
    assert_eq!(contents(&restless(dir.path())), everything, "after a stop");
    assert!(retirements > 0, "no series was ever retired");
    println!(
        "{} requests, {retirements} retirements, clock at +{} s",
        SENDERS * requests(),
        (clock.into_inner() - NOON) / 1000
    );
}

#[test]
fn a_stop_amid_senders_ticks_and_seals_keeps_all_that_was_acknowledged() {
    for round in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let store = restless(dir.path());
        let acknowledged = std::thread::scope(|scope| {
            let store = &*store;
            let senders: Vec<_> = (0..SENDERS)
                .map(|sender| {
                    scope.spawn(move || {
                        let mut k = 0;
                        while append_unless_closing(store, &request(sender, k)) {
                            k += 1;
                        }
                        (sender, k)
                    })
                })
                .collect();
            scope.spawn(move || (0..5).for_each(|k| store.tick(NOON + k * time::HOUR)));
            scope.spawn(move || store.tidy(NOON + time::HOUR));
            std::thread::sleep(Duration::from_millis(2 * round));
            store.close();
            senders.into_iter().map(|sender| sender.join().unwrap()).collect::<Vec<_>>()
        });
        drop(store);
        let store = restless(dir.path());
        assert_eq!(store.stats().unsealed_samples, 0, "nothing to replay");
        let mut expected = Contents::new();
        for (sender, requests) in acknowledged {
            for k in 0..requests {
                for (n, timestamp, bits) in request(sender, k) {
                    expected.entry(series(n).to_string()).or_default().insert(timestamp, bits);
                }
            }
        }
        assert_eq!(contents(&store), expected, "round {round}");
    }
}

/// Appends logs and spans number `k` however often queues are full.
fn append_logs_and_spans(store: &Store, k: i64) {
    let (sender, done) = bounded(2);
    let told = || -> Completion {
        let sender = sender.clone();
        Box::new(move |result| drop(sender.send(result)))
    };
    let at = NOON + k % 50 * 1000;
    while store.append_logs(log_batch(store, k, at), told()) != Ok(()) {
        std::thread::yield_now();
    }
    while store.append_spans(span_batch(store, k, at), told()) != Ok(()) {
        std::thread::yield_now();
    }
    (0..2).for_each(|_| done.recv().expect("everybody is told").unwrap());
}

#[test]
fn log_entries_and_spans_are_there_once_amid_seals_and_merges() {
    let (dir, calm_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, calm) = (restless(dir.path()), restless(calm_dir.path()));
    let requests = requests() / 2;
    (0..SENDERS * requests).for_each(|k| append_logs_and_spans(&calm, k));
    let everything = lines_of(&calm);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (store, stop, everything) = (&*store, &stop, &everything);
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                scope.spawn(move || {
                    (0..requests).for_each(|k| append_logs_and_spans(store, k * SENDERS + sender))
                })
            })
            .collect();
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                store.seal(NOON).unwrap();
            }
        });
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                store.compact(i64::MAX).unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        scope.spawn(move || {
            let mut before = 0;
            while !stop.load(Ordering::Relaxed) {
                let (found, warnings) = read_everything(store);
                assert!(found.is_subset(everything) && warnings.is_empty(), "{warnings:?}");
                assert!(found.len() >= before, "{before} lines, then {}", found.len());
                before = found.len();
            }
        });
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        stop.store(true, Ordering::Relaxed);
    });
    assert!(lines_of(&store) == everything);
    drop(store);
    assert!(lines_of(&restless(dir.path())) == everything, "after a crash");
}
