//! Segments and logs of log entries.

use std::sync::Arc;

use icecore::model::{Labels, NanoRange};
use icecore::storage::Store;
use icecore::storage::fs::Mapped;
use icecore::storage::logs::{LogAsk, LogBatch, LogRowsBuffer, LogsSegment, StreamRows};
use icecore::storage::segment::Segment;

use super::store::{NOW, open};
use super::{check_text, fixture, is_update};

/// Entries that need every part of a block: streams of one group, metadata of few and of many, trace ids.
fn log_streams() -> Vec<StreamRows> {
    let stream = |app: &str, pod: &str| StreamRows::new(labels_of(&[("app", app), ("pod", pod)]));
    let (mut first, mut second, mut other) = (stream("api", "a"), stream("api", "b"), stream("db", "a"));
    let start = NOW * 1_000_000;
    for i in 0..100i64 {
        let line = format!("GET /items/{} 200 in {}.{}ms", i * 37 % 91, i % 7, i % 10);
        let id = format!("{:032x}", (i as u128 + 1) * 0x9e37_79b9_7f4a_7c15_f39c_c060);
        first.push(start + i * 1_000_003, &line, [("trace.id", id.as_str()), ("user", "u1")]);
        if i % 10 == 0 {
            second.push(start + i * 1_000_003, "ünï\nsecond line", []);
            other.push(start + i * 1_000_000_000, "checkpoint", [("level", "info")]);
        }
    }
    vec![first, second, other]
}

/// The same, and so many lines that version 1.2 notes the grams of their words.
fn log_streams_of_1_2() -> Vec<StreamRows> {
    let mut streams = log_streams();
    let mut orders = StreamRows::new(labels_of(&[("app", "shop"), ("pod", "a")]));
    for i in 0..200i64 {
        let line = format!("order-{:x} of customer ({i}) was accepted", i * i * 7919);
        orders.push(NOW * 1_000_000 + i * 1_000_000, &line, []);
    }
    streams.push(orders);
    streams
}

fn labels_of(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied()).unwrap()
}

fn write_logs(store: &Store, streams: Vec<StreamRows>) {
    let mut batch = LogBatch::new(1);
    batch.shards[0].streams = streams;
    let (sender, receiver) = std::sync::mpsc::channel();
    store.append_logs(batch, Box::new(move |result| sender.send(result).unwrap())).unwrap();
    receiver.recv().unwrap().unwrap();
}

/// All entries with everything, as text.
fn log_entries(store: &Store) -> Vec<String> {
    let snapshot = store.logs();
    let (mut found, mut rows) = (Vec::new(), LogRowsBuffer::default());
    let selection = snapshot.select(&[], NanoRange::ALL).unwrap();
    for part in &selection.parts {
        snapshot.read(&selection, part, &LogAsk::all(NanoRange::ALL), &mut rows).unwrap();
        for row in 0..rows.len() {
            let labels = &selection.streams[rows.streams[row] as usize];
            let metadata: Vec<_> = rows.metadata.of(row).collect();
            found.push(format!("{labels} {} {:?} {metadata:?}", rows.timestamps[row], rows.lines.get(row)));
        }
    }
    assert_eq!(snapshot.warnings(), Vec::<String>::new());
    found.sort();
    found
}

#[test]
fn a_logs_segment_of_version_1_0_holds_what_it_held() {
    assert_logs_segment_holds("v1_logs", log_streams(), false);
}

#[test]
fn a_logs_segment_of_version_1_2_holds_what_it_held() {
    assert_logs_segment_holds("v1_2_logs", log_streams_of_1_2(), is_update());
}

fn assert_logs_segment_holds(name: &str, streams: Vec<StreamRows>, is_written_anew: bool) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    write_logs(&store, streams);
    let written = log_entries(&store);
    store.seal(NOW).unwrap();
    drop(store);
    let (path, name) = (dir.path().join("hot/logs-000000000001.seg"), format!("{name}.seg"));
    if is_written_anew {
        std::fs::copy(&path, fixture(&name)).unwrap();
    }
    check_text(&name, &name.replace(".seg", ".txt"));

    let mapped = Arc::new(Mapped::Heap(std::fs::read(fixture(&name)).unwrap()));
    LogsSegment::open(Segment::open(mapped, &name).unwrap()).verify().unwrap();
    // In the place of the one that was just written.
    std::fs::copy(fixture(&name), path).unwrap();
    assert_eq!(log_entries(&open(dir.path())), written);
}

#[test]
fn a_log_of_log_entries_of_version_1_replays_to_what_was_written() {
    let (dir, again) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(dir.path());
    write_logs(&store, log_streams());
    let written = log_entries(&store);
    drop(store);
    if is_update() {
        std::fs::copy(dir.path().join("wal/000000000001/000000.wal"), fixture("v1_logs.wal")).unwrap();
    }
    check_text("v1_logs.wal", "v1_logs_wal.txt");

    std::fs::create_dir_all(again.path().join("wal/000000000001")).unwrap();
    std::fs::copy(fixture("v1_logs.wal"), again.path().join("wal/000000000001/000000.wal")).unwrap();
    assert_eq!(log_entries(&open(again.path())), written);
}
