//! A store with one of everything that metrics can hold, and the log it leaves behind.

use std::path::Path;
use std::sync::Arc;

use icecore::model::{MetricMetadata, MetricType, TimeRange};
use icecore::storage::metrics::{
    DeltaRow, ExemplarRow, HistogramRow, MetricBatch, SampleBuffer, SampleRow, StartRow,
};
use icecore::storage::{Options, Store};

use super::samples::{exemplar, histogram, labels};
use super::{check_text, fixture, is_update};

pub const NOW: i64 = 1_700_000_000_000;

pub fn open(dir: &Path) -> Arc<Store> {
    let options = Options { shards: 1, ..Options::new(dir) };
    Store::open(options, &prometheus::Registry::new(), NOW).unwrap()
}

/// Writes one of everything and waits until it is durable.
pub fn write_rows(store: &Store) {
    let mut batch = MetricBatch::new(1, store.series_epoch());
    let id = |name: &str| store.resolve(&labels(name, &[("job", "api")]), NOW).unwrap().id;
    let (counter, histogram_id, delta) = (id("counter"), id("histogram"), id("delta"));
    let rows = &mut batch.shards[0];
    for (i, value) in
        [0.0, 1.0, 65_536.0, 0.1, -0.0, f64::from_bits(0x7ff0_0000_0000_0002)].into_iter().enumerate()
    {
        let timestamp = NOW + 15_000 * i as i64;
        rows.samples.push(SampleRow { id: counter, timestamp, value });
    }
    rows.starts.push(StartRow { id: counter, timestamp: NOW, start: NOW - 1000 });
    rows.exemplars.push(ExemplarRow { id: counter, exemplar: exemplar() });
    rows.histograms.push(HistogramRow {
        id: histogram_id,
        timestamp: NOW,
        histogram: Box::new((*histogram(3)).clone()),
    });
    rows.deltas.push(DeltaRow { id: delta, start: NOW - 1000, timestamp: NOW, delta: 2.5 });
    let known =
        MetricMetadata { metric_type: MetricType::Counter, help: "Requests.".into(), unit: "s".into() };
    rows.metadata.push(("counter".into(), known));
    let (sender, receiver) = std::sync::mpsc::channel();
    store.append(batch, Box::new(move |result| sender.send(result).unwrap())).unwrap();
    receiver.recv().unwrap().unwrap();
}

/// All floats of all series, as bits.
fn floats(store: &Store) -> Vec<(String, Vec<(i64, u64)>)> {
    let snapshot = store.metrics();
    let mut found = Vec::new();
    for series in snapshot.select(&[], TimeRange::ALL).unwrap() {
        let mut samples = SampleBuffer::default();
        snapshot.read(&series, TimeRange::ALL, &mut samples).unwrap();
        let bits = samples.floats.iter().map(|v| v.to_bits());
        found.push((series.labels.to_string(), samples.float_timestamps.iter().copied().zip(bits).collect()));
    }
    found.sort();
    found
}

#[test]
fn a_log_of_version_1_replays_to_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    write_rows(&store);
    let written = floats(&store);
    // Not closed, as in a crash: the log stays.
    drop(store);
    if is_update() {
        std::fs::copy(dir.path().join("wal/000000000001/000000.wal"), fixture("v1_marked_series.wal"))
            .unwrap();
    }
    // Series in full, as they were declared at first.
    assert_log_holds("v1", &written);
    assert_log_holds("v1_marked_series", &written);
}

fn assert_log_holds(name: &str, written: &[(String, Vec<(i64, u64)>)]) {
    let (log, dir) = (format!("{name}.wal"), tempfile::tempdir().unwrap());
    check_text(&log, &format!("{name}_wal.txt"));
    std::fs::create_dir_all(dir.path().join("wal/000000000001")).unwrap();
    std::fs::copy(fixture(&log), dir.path().join("wal/000000000001/000000.wal")).unwrap();
    assert_eq!(floats(&open(dir.path())), written);
}

#[test]
fn a_directory_of_the_log_is_replayed_once_however_its_number_is_spelt() {
    let (dir, again) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(dir.path());
    write_rows(&store);
    let written = floats(&store);
    drop(store);
    for name in ["wal/1", "wal/000000000001"] {
        std::fs::create_dir_all(again.path().join(name)).unwrap();
    }
    let file = "wal/000000000001/000000.wal";
    std::fs::copy(dir.path().join(file), again.path().join(file)).unwrap();
    let again = open(again.path());
    assert_eq!(floats(&again), written);
    let samples = written.iter().map(|(_, samples)| samples.len() as u64).sum::<u64>();
    let histograms = 1;
    assert_eq!(again.stats().unsealed_samples, samples + histograms, "each once");
}
