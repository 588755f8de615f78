//! Damaged files: whatever happened to a byte, answers are right or missing, never wrong, and the damage is told.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam::channel::bounded;
use opentelemetry_proto::tonic::trace::v1::Span;
use prometheus::Registry;

use super::fs::faulty::FaultyFs;
use super::fs::{Fs, RealFs};
use super::logs::{LogAsk, LogBatch, LogRowsBuffer, LogsSnapshot, StreamRows};
use super::manifest::{Edit, Manifest};
use super::metrics::segment_tests::out_of_order;
use super::metrics::{
    DeltaHistogramRow, DeltaRow, ExemplarRow, HistogramRow, MetricBatch, MetricsSnapshot, SampleBuffer,
};
use super::store_tests::*;
use super::traces::{SpanBatch, TracesSnapshot, test_spans};
use super::wal::{FrameBuffer, FrameHeader};
use super::{OpenError, Store};
use crate::model::{
    Exemplar, Histogram, Labels, MetricMetadata, MetricType, NanoRange, TimeRange, Timestamp, TraceId,
    histogram, time,
};

/// Everything that is there, one line for each sample, histogram, exemplar, log entry and span.
pub(super) type Lines = BTreeSet<String>;

fn named(name: &str, n: u32) -> Labels {
    Labels::from_pairs([("__name__", name), ("n", &n.to_string())]).unwrap()
}

fn a_histogram(k: i64) -> Histogram {
    Histogram {
        schema: 3,
        zero_threshold: 1e-9,
        zero_count: 1.0,
        count: 4.0 + k as f64,
        sum: 1.5 * k as f64,
        positive_spans: vec![histogram::Span { offset: 2, length: 2 }],
        positive_buckets: vec![3.0, k as f64],
        is_integer: true,
        ..Histogram::default()
    }
}

/// A batch with something of everything, for twelve series of each kind.
fn mixed_batch(store: &Store, k: i64, at: Timestamp) -> MetricBatch {
    let mut batch = MetricBatch::new(store.shard_count(), store.series_epoch());
    for n in 0..12 {
        let float = store.resolve(&named("float", n), NOON).unwrap();
        batch.sample(float, at, f64::from(n) * 1.1 + k as f64);
        let exemplar = Exemplar {
            labels: Labels::from_pairs([("trace_id", format!("{k}-{n}").as_str())]).unwrap(),
            value: k as f64,
            timestamp: at,
        };
        batch.shards[float.shard as usize].exemplars.push(ExemplarRow { id: float.id, exemplar });
        let to = store.resolve(&named("histogram", n), NOON).unwrap();
        let row = HistogramRow { id: to.id, timestamp: at, histogram: Box::new(a_histogram(k)) };
        batch.shards[to.shard as usize].histograms.push(row);
        let to = store.resolve(&named("delta", n), NOON).unwrap();
        let row = DeltaRow { id: to.id, start: at - 1000, timestamp: at, delta: 2.0 };
        batch.shards[to.shard as usize].deltas.push(row);
        let to = store.resolve(&named("delta_histogram", n), NOON).unwrap();
        let delta = Box::new(a_histogram(k));
        let row = DeltaHistogramRow { id: to.id, start: at - 1000, timestamp: at, delta };
        batch.shards[to.shard as usize].delta_histograms.push(row);
    }
    let help = format!("told at {k}");
    let metadata = MetricMetadata { metric_type: MetricType::Gauge, help, unit: String::new() };
    batch.shards[0].metadata.push(("float".to_owned(), metadata));
    batch
}

/// Entries of six streams in three groups, one of each.
pub(super) fn log_batch(store: &Store, k: i64, at: Timestamp) -> LogBatch {
    let mut batch = LogBatch::new(store.shard_count());
    for n in 0..6i64 {
        let (app, pod) = ((n % 3).to_string(), n.to_string());
        let mut rows = StreamRows::new(Labels::from_sorted([("app", app.as_str()), ("pod", pod.as_str())]));
        let trace_id = format!("{:032x}", k * 100 + n);
        rows.push(
            at * 1_000_000 + n,
            &format!("request {k} of {n} took {}ms", k * n),
            [("trace_id", trace_id.as_str())],
        );
        batch.shards[store.shard_of_stream(&rows.labels)].streams.push(rows);
    }
    batch
}

/// Three traces of two spans.
pub(super) fn span_batch(store: &Store, k: i64, at: Timestamp) -> SpanBatch {
    let mut batch = SpanBatch::new(store.shard_count());
    let start = u64::try_from(at * 1_000_000).expect("after 1970");
    for n in 0..3u64 {
        let mut trace_id = [7; 16];
        trace_id[8..].copy_from_slice(&(k as u64 * 100 + n).to_be_bytes());
        let span = |number: u64| Span {
            trace_id: trace_id.to_vec(),
            span_id: (k as u64 * 100 + n * 10 + number + 1).to_be_bytes().to_vec(),
            name: format!("step {number}"),
            start_time_unix_nano: start + number,
            end_time_unix_nano: start + number + n * 1000,
            ..Span::default()
        };
        let rows = test_spans::rows("shop", &[span(0), span(1)]);
        let id = TraceId(trace_id);
        let shard = batch.shard_of(id);
        let to = &mut batch.shards[shard];
        let origin = to.origins.len() as u32;
        to.origins.push(rows.origins[0].clone());
        for row in &rows.spans {
            to.push(id, origin, row.start, row.end, rows.encoded(row));
        }
    }
    batch
}

/// Writes something of everything of metrics, and waits until it is durable.
pub(super) fn append_metrics(store: &Store, k: i64, at: Timestamp) {
    let (sender, done) = bounded(1);
    store.append(mixed_batch(store, k, at), Box::new(move |result| drop(sender.send(result)))).unwrap();
    done.recv().unwrap().unwrap();
}

/// Writes something of everything of all signals, and waits until all of it is durable.
pub(super) fn append_everything(store: &Store, k: i64, at: Timestamp) {
    let (sender, done) = bounded(3);
    let told = || {
        let sender = sender.clone();
        Box::new(move |result| drop(sender.send(result)))
    };
    store.append(mixed_batch(store, k, at), told()).unwrap();
    store.append_logs(log_batch(store, k, at), told()).unwrap();
    store.append_spans(span_batch(store, k, at), told()).unwrap();
    (0..3).for_each(|_| done.recv().unwrap().unwrap());
}

/// What can be read of all signals, whatever the damage, and what damage was told.
pub(super) fn read_everything(store: &Store) -> (Lines, Vec<String>) {
    let (metrics, logs, traces) = (store.metrics(), store.logs(), store.traces());
    let mut lines = metric_lines(&metrics);
    lines.extend(log_lines(&logs));
    lines.extend(span_lines(&traces));
    (lines, [metrics.warnings(), logs.warnings(), traces.warnings()].concat())
}

pub(super) fn lines_of(store: &Store) -> Lines {
    read_everything(store).0
}

/// One line for each entry, each of which is there once.
fn log_lines(snapshot: &LogsSnapshot) -> Lines {
    let (mut lines, mut rows) = (Lines::new(), LogRowsBuffer::default());
    let selection = snapshot.select(&[], NanoRange::ALL).unwrap();
    for part in &selection.parts {
        snapshot.read(&selection, part, &LogAsk::all(NanoRange::ALL), &mut rows).unwrap();
        assert!(rows.timestamps.is_sorted());
        for row in 0..rows.len() {
            let labels = &selection.streams[rows.streams[row] as usize];
            let metadata: Vec<_> = rows.metadata.of(row).collect();
            let line = format!("{labels} {} {:?} {metadata:?}", rows.timestamps[row], rows.lines.get(row));
            assert!(lines.insert(line.clone()), "{line} was found twice");
        }
    }
    lines
}

/// One line for each span.
fn span_lines(snapshot: &TracesSnapshot) -> Lines {
    let mut lines = Lines::new();
    for candidate in test_spans::all(snapshot.candidates(NanoRange::ALL, &[vec![]])) {
        for stored in snapshot.trace(candidate.id).unwrap() {
            lines.insert(format!("{:?} of {:?}", stored.span, stored.origin.service_name()));
        }
    }
    lines
}

/// One line for each sample, histogram and exemplar; each series once, in order of time.
fn metric_lines(snapshot: &MetricsSnapshot) -> Lines {
    let (mut lines, mut samples) = (Lines::new(), SampleBuffer::default());
    let mut seen = BTreeSet::new();
    for series in snapshot.select(&[], TimeRange::ALL).unwrap() {
        assert!(seen.insert(series.labels.to_string()), "{} was found twice", series.labels);
        snapshot.read(&series, TimeRange::ALL, &mut samples).unwrap();
        for times in [&samples.float_timestamps, &samples.histogram_timestamps] {
            assert!(times.is_sorted_by(|a, b| a < b));
        }
        let floats = samples.float_timestamps.iter().zip(&samples.floats);
        lines.extend(floats.map(|(t, v)| format!("{} {t} {:x}", series.labels, v.to_bits())));
        let histograms = samples.histogram_timestamps.iter().zip(&samples.histograms);
        lines.extend(histograms.map(|(t, h)| format!("{} {t} {h:?}", series.labels)));
    }
    for series in snapshot.exemplars(&[], TimeRange::ALL).unwrap() {
        lines.extend(series.exemplars.iter().map(|e| format!("{} exemplar {e:?}", series.labels)));
    }
    lines
}

/// The files of a store that has merged and sealed segments of two days and two generations of the log.
pub(super) fn data_directory() -> BTreeMap<PathBuf, Vec<u8>> {
    let disk = FaultyFs::default();
    let mut k = 0;
    let mut write = |store: &Store, batches: i64| {
        for _ in 0..batches {
            k += 1;
            append_everything(store, k, NOON - time::DAY + k * time::HOUR);
        }
    };
    let store = open(Arc::new(disk.clone()), Path::new("/d"));
    for _ in 0..2 {
        write(&store, 10);
        store.seal(NOON).unwrap();
    }
    store.compact(i64::MAX).unwrap();
    write(&store, 4);
    store.seal(NOON).unwrap();
    write(&store, 4);
    drop(store);
    let store = open(Arc::new(disk.clone()), Path::new("/d"));
    write(&store, 4);
    drop(store);
    disk.files().into_iter().filter(|(path, _)| !path.ends_with("LOCK")).collect()
}

fn open_files(files: BTreeMap<PathBuf, Vec<u8>>) -> Result<Arc<Store>, OpenError> {
    Store::open_on(
        Arc::new(FaultyFs::with_files(files, [])),
        options(Path::new("/d")),
        &Registry::new(),
        NOON,
    )
}

/// A fixed sequence of numbers, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % n
    }
}

/// One mishap to a file; says what it did.
fn damage(bytes: &mut Vec<u8>, random: &mut Random) -> String {
    let at = random.below(bytes.len());
    match random.below(4) {
        0 | 1 => {
            let bit = random.below(8);
            bytes[at] ^= 1 << bit;
            format!("bit {bit} of byte {at} flipped")
        }
        2 => {
            let page = at / 4096 * 4096;
            let end = (page + 4096).min(bytes.len());
            bytes[page..end].fill(0);
            format!("page at {page} zeroed")
        }
        _ => {
            bytes.truncate(at);
            format!("cut at {at}")
        }
    }
}

/// Mishaps to a segment, and to the log, on every day.
const CASES: usize = 160;

fn cases(everyday: usize) -> usize {
    if std::env::var_os("ICECORE_FULL").is_some() { everyday * 20 } else { everyday }
}

/// What a store without this file can still tell.
fn lines_without(files: &BTreeMap<PathBuf, Vec<u8>>, path: &Path) -> Lines {
    let mut rest = files.clone();
    rest.remove(path);
    lines_of(&open_files(rest).unwrap())
}

#[test]
fn damage_to_a_segment_is_told_and_costs_only_what_was_in_it() {
    let files = data_directory();
    let everything = lines_of(&open_files(files.clone()).unwrap());
    let segments: Vec<_> = files.keys().filter(|path| path.starts_with("/d/hot")).cloned().collect();
    assert!(segments.len() >= 3, "{segments:?}");
    let without: Vec<Lines> = segments.iter().map(|path| lines_without(&files, path)).collect();
    let (mut random, mut costly) = (Random(0x1CE), 0);
    for case in 0..cases(CASES) {
        let which = random.below(segments.len());
        let mut damaged = files.clone();
        let what = damage(damaged.get_mut(&segments[which]).unwrap(), &mut random);
        let what = format!("case {case}: {} {what}", segments[which].display());
        let store = open_files(damaged).unwrap();
        let (found, warnings) = read_everything(&store);
        let invented: Vec<_> = found.difference(&everything).collect();
        assert!(invented.is_empty(), "{what}: {invented:?}");
        let lost: Vec<_> = without[which].difference(&found).collect();
        assert!(lost.is_empty(), "{what}: lost from other files: {lost:?}");
        if found != everything {
            assert!(!warnings.is_empty(), "{what}: {} lines lost in silence", everything.len() - found.len());
            costly += 1;
        }
    }
    println!("{costly} of {} cases cost something", cases(CASES));
    assert!(costly > cases(CASES * 3 / 20));
}

#[test]
fn damage_to_the_log_is_counted_and_costs_only_the_records_it_hit() {
    let files = data_directory();
    let everything = lines_of(&open_files(files.clone()).unwrap());
    let logs: Vec<_> = files.keys().filter(|path| path.starts_with("/d/wal")).cloned().collect();
    assert!(logs.len() >= 2, "{logs:?}");
    let without: Vec<Lines> = logs.iter().map(|path| lines_without(&files, path)).collect();
    let (mut random, mut costly, mut counted) = (Random(0x3A1), 0, 0);
    for case in 0..cases(CASES) {
        let which = random.below(logs.len());
        let mut damaged = files.clone();
        let what = damage(damaged.get_mut(&logs[which]).unwrap(), &mut random);
        let what = format!("case {case}: {} {what}", logs[which].display());
        let store = open_files(damaged).unwrap();
        let found = lines_of(&store);
        let invented: Vec<_> = found.difference(&everything).collect();
        assert!(invented.is_empty(), "{what}: {invented:?}");
        let lost: Vec<_> = without[which].difference(&found).collect();
        assert!(lost.is_empty(), "{what}: lost from other files: {lost:?}");
        costly += usize::from(found != everything);
        counted += usize::from(store.stats().damaged_wal_records > 0);
    }
    println!("{costly} of {} cases cost something, {counted} were counted", cases(CASES));
    // What hit only the end of a generation looks like the mark of a crash.
    assert!(costly > cases(CASES * 3 / 20) && counted > cases(CASES * 3 / 40));
}

#[test]
fn a_damaged_manifest_is_refused_in_one_line_or_lacks_its_last_edit() {
    let files = data_directory();
    let path = PathBuf::from("/d/MANIFEST");
    let everything = lines_of(&open_files(files.clone()).unwrap());
    let mut random = Random(0x3A1);
    let (mut refused, cases) = (0, cases(200));
    for case in 0..cases {
        let mut damaged = files.clone();
        let what = damage(damaged.get_mut(&path).unwrap(), &mut random);
        match open_files(damaged) {
            Ok(store) => {
                let found = lines_of(&store);
                let invented: Vec<_> = found.difference(&everything).collect();
                assert!(invented.is_empty(), "case {case}: {what}: {invented:?}");
            }
            Err(error) => {
                refused += 1;
                let text = error.to_string();
                assert!(text.starts_with("/d/MANIFEST: ") && text.lines().count() == 1, "{what}: {text}");
            }
        }
    }
    println!("{refused} of {cases} refused");
    assert!(refused > cases / 10);
}

/// Checksums are right, and labels are not in order: as damage it is left as it is, and keeps no other from being merged.
#[test]
fn a_segment_whose_series_are_out_of_order_is_not_merged_and_parts_its_neighbours() {
    let disk = FaultyFs::default();
    let store = open(Arc::new(disk.clone()), Path::new("/d"));
    for day in [NOON - time::DAY, NOON] {
        // Neighbours have other series, so that labels are compared.
        for series in [0..4, 1..6, 2..7] {
            let samples: Vec<_> = series.map(|n| (n, day + i64::from(n), 1)).collect();
            append_and_wait(&store, &samples);
            store.seal(NOON).unwrap();
        }
    }
    drop(store);
    let mut files = disk.files();
    let path = files.keys().find(|path| path.starts_with("/d/hot")).unwrap().clone();
    let turned = out_of_order(&files[&path]);
    files.insert(path.clone(), turned);
    let store = open_files(files).unwrap();
    let found = lines_of(&store);
    let error = store.compact(i64::MAX).unwrap_err().to_string();
    assert!(error.contains(path.to_str().unwrap()) && error.contains("not in order"), "{error}");
    assert_eq!(store.stats().segments, 3, "the turned one, and one of each day");
    store.compact(i64::MAX).unwrap();
    assert_eq!(lines_of(&store), found);
}

/// As a frame whose checksums are right.
pub(super) fn frame_of(seq: u64, generation: u64) -> Vec<u8> {
    FrameBuffer::new().finish(FrameHeader { seq, signal: 1, shard: 0 }, generation)
}

#[test]
fn numbers_that_nothing_can_come_after_are_refused_and_names_that_are_none_left_alone() {
    let files = data_directory();
    let everything = lines_of(&open_files(files.clone()).unwrap());
    let with = |name: &str, bytes: Vec<u8>| {
        let mut files = files.clone();
        let [head, ..] = &files.iter().filter(|(path, _)| path.starts_with("/d/wal")).collect::<Vec<_>>()[..]
        else {
            panic!("there is a log");
        };
        let bytes = [&head.1[..32], &bytes].concat();
        files.insert(Path::new("/d/wal").join(name), bytes);
        open_files(files)
    };
    // The last one is a generation, and of a number that nothing comes before.
    for name in [u64::MAX.to_string(), "7".to_owned(), "notes".to_owned(), "400000000000".to_owned()] {
        let frame = name.parse().map_or(Vec::new(), |generation| frame_of(0, generation));
        let store = with(&format!("{name}/000000.wal"), frame).unwrap();
        assert_eq!(lines_of(&store), everything, "{name}");
        append_and_wait(&store, &[(1, NOON, 1)]);
        store.seal(NOON).unwrap();
    }
    for (dir, frame) in [("999999999999", Vec::new()), ("400000000000", frame_of(u64::MAX, 400_000_000_000))]
    {
        let Err(error) = with(&format!("{dir}/000000.wal"), frame) else { panic!("{dir} was opened") };
        assert!(error.to_string().starts_with(&format!("/d/wal/{dir}: ")), "{error}");
    }
    let manifest = |edit: Edit| {
        let disk = FaultyFs::default();
        let fs: Arc<dyn Fs> = Arc::new(disk.clone());
        fs.create_dir(Path::new("/d")).unwrap();
        Manifest::create(fs, Path::new("/d")).unwrap().commit(edit).unwrap();
        open_files(disk.files())
    };
    assert!(manifest(Edit::default()).is_ok());
    for edit in
        [Edit { wal_done: Some(u64::MAX), ..Edit::default() }, Edit { max_seq: u64::MAX, ..Edit::default() }]
    {
        let Err(error) = manifest(edit) else { panic!("it was opened") };
        assert!(error.to_string().starts_with("/d/MANIFEST: damaged"), "{error}");
    }
}

#[test]
fn a_missing_segment_is_told_and_the_rest_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(Arc::new(RealFs), dir.path());
    append_and_wait(&store, &[(1, NOON, 1)]);
    store.seal(NOON).unwrap();
    append_and_wait(&store, &[(1, NOON + 1, 2)]);
    store.seal(NOON).unwrap();
    drop(store);
    let hot = dir.path().join("hot");
    let first = RealFs.list(&hot).unwrap().swap_remove(0);
    std::fs::remove_file(hot.join(first)).unwrap();
    let store = open(Arc::new(RealFs), dir.path());
    assert_eq!(store.stats().missing_segments, 1);
    assert_eq!(contents(&store)[&series(1).to_string()].keys().copied().collect::<Vec<_>>(), [NOON + 1]);
    append_and_wait(&store, &[(1, NOON + 2, 3)]);
    store.compact(i64::MAX).unwrap();
    store.seal(NOON).unwrap();
}
