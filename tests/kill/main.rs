//! Nothing acknowledged is lost, whatever ends the process: the real binary under load, killed, stopped, cut from
//! power, out of disk.
//!
//! `ICECORE_FULL=1` runs many more rounds; `ICECORE_SEED` repeats the choices of a run.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../common/mod.rs"]
mod common;

mod disk;
mod entries;
mod load;
mod samples;
mod spans;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::Server;
use entries::Entries;
use load::{Figures, Random, Sender, counter, maintain};
use samples::Samples;
use spans::Spans;

/// So small that sealing and merging go on all the time.
const ARGS: [&str; 4] = ["--seal.samples", "3000", "--seal.age", "1s"];
/// The ledger starts anew now and then, so that comparing stays quick.
const ROUNDS_PER_DIRECTORY: usize = 10;

/// Of all signals, two of each.
fn senders() -> Vec<Sender> {
    let two = |n| {
        [
            Sender::new(Box::new(Samples::new(n))),
            Sender::new(Box::new(Entries::new(n))),
            Sender::new(Box::new(Spans::new(n))),
        ]
    };
    (0..2).flat_map(two).collect()
}

fn rounds(everyday: usize, full: usize) -> usize {
    if std::env::var_os("ICECORE_FULL").is_some() { full } else { everyday }
}

/// Runs senders and maintenance against a server for a while, then does `end` to it while they go on.
fn under_load(
    server: &mut Server,
    senders: &mut [Sender],
    random: &mut Random,
    end: impl FnOnce(&mut Server),
) -> u64 {
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    let url = server.url.clone();
    let lasts = Duration::from_millis(100 + random.below(900));
    let mut maintenance = Random::from(random.below(u64::MAX >> 34));
    std::thread::scope(|scope| {
        for sender in senders.iter_mut() {
            let (url, stop, acknowledged) = (&url, &stop, &acknowledged);
            scope.spawn(move || sender.run(url, stop, acknowledged));
        }
        scope.spawn(|| maintain(&url, &stop, &mut maintenance));
        std::thread::sleep(lasts);
        end(server);
        stop.store(true, Ordering::Relaxed);
    });
    acknowledged.into_inner()
}

fn compare(server: &Server, senders: &[Sender]) -> Figures {
    let mut sum = Figures::default();
    for sender in senders {
        let figures = sender.compare(server);
        sum.acknowledged += figures.acknowledged;
        sum.unacknowledged += figures.unacknowledged;
    }
    assert_eq!(counter(server, "icecore_wal_corrupt_records_total"), 0);
    assert_eq!(counter(server, "icecore_storage_missing_segments_total"), 0);
    sum
}

/// Rounds of load, an end, a start and a comparison; `check` looks at the server that was started again.
fn rounds_of(
    what: &str,
    rounds: usize,
    random: &mut Random,
    end: impl Fn(&mut Server),
    check: impl Fn(&Server),
) {
    let (mut acknowledged, mut unacknowledged, mut slowest_start) = (0, 0, Duration::ZERO);
    let mut done = 0;
    while done < rounds {
        let dir = tempfile::tempdir().unwrap();
        let mut senders: Vec<Sender> = senders();
        let mut server = Server::start_in(dir.path(), &ARGS);
        let mut figures = Figures::default();
        for _ in 0..ROUNDS_PER_DIRECTORY.min(rounds - done) {
            under_load(&mut server, &mut senders, random, &end);
            drop(server);
            let started = Instant::now();
            server = start_again(dir.path());
            slowest_start = slowest_start.max(started.elapsed());
            check(&server);
            figures = compare(&server, &senders);
            done += 1;
        }
        acknowledged += figures.acknowledged;
        unacknowledged += figures.unacknowledged;
    }
    assert!(acknowledged > 0);
    println!(
        "{what}: {rounds} rounds, {acknowledged} rows acknowledged, 0 lost, 0 twice, {unacknowledged} more found; \
         slowest start {slowest_start:?}"
    );
}

fn start_again(dir: &Path) -> Server {
    Server::start_in(dir, &ARGS)
}

#[test]
fn a_kill_at_any_moment_loses_nothing_acknowledged() {
    let mut random = Random::of_this_run("kill -9");
    rounds_of("kill -9", rounds(10, 100), &mut random, Server::kill, |_| {});
}

#[test]
fn a_stop_under_load_is_short_and_leaves_nothing_to_replay() {
    let mut random = Random::of_this_run("SIGTERM");
    let stop = |server: &mut Server| {
        let asked = Instant::now();
        assert_eq!(server.stop().code(), Some(0));
        assert!(asked.elapsed() < Duration::from_secs(10), "took {:?}", asked.elapsed());
    };
    let replayed_nothing =
        |server: &Server| assert_eq!(counter(server, "icecore_wal_replayed_frames_total"), 0);
    rounds_of("SIGTERM", rounds(5, 50), &mut random, stop, replayed_nothing);
}
