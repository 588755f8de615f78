//! Files of every version that was ever written open, and hold what they held. `UPDATE=1` writes the current
//! version's fixtures anew; the text beside a fixture is reviewed like code.

#![allow(clippy::unwrap_used, reason = "the helpers of a test may, like the test")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use icecore::codec::Effort;
use icecore::model::histogram::{self, ResetHint};
use icecore::model::rollup::{Columns, FloatBuckets, HistogramBuckets};
use icecore::model::{
    Exemplar, Histogram, Labels, Lookout, MatchOp, Matcher, MetricMetadata, MetricType, NanoRange, StopSign,
    TimeRange, TraceId, time::DAY,
};
use icecore::storage::fs::Mapped;
use icecore::storage::logs::{LogAsk, LogBatch, LogRowsBuffer, LogsSegment, StreamRows};
use icecore::storage::metrics::{
    DeltaRow, ExemplarRow, HistogramRow, MetricBatch, MetricsSegment, MetricsSegmentWriter, SampleBuffer,
    SampleRow, SeriesData, StartRow,
};
use icecore::storage::segment::Segment;
use icecore::storage::traces::{SpanHead, SpanRows, SpansWriter, TracesSegment, write_generation};
use icecore::storage::{Options, Store, TierOptions, inspect};
use opentelemetry_proto::tonic::common::v1::any_value::Value as AttributeValue;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span, Status};
use prost::Message;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn is_update() -> bool {
    std::env::var_os("UPDATE").is_some_and(|v| v == "1")
}

fn labels(name: &str, pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied().chain([("__name__", name)])).unwrap()
}

/// Series that need every codec of version 1.0.
fn series() -> Vec<(Labels, Vec<f64>)> {
    let column = |value: fn(i32) -> f64| (0..200).map(value).collect::<Vec<f64>>();
    let mut series = vec![
        (labels("constant", &[]), column(|_| 0.1)),
        (labels("constant_integer", &[]), column(|_| 42.0)),
        (labels("counter", &[("job", "api")]), column(|i| f64::from(i * 7 + i % 3))),
        (labels("decimal", &[("job", "api")]), column(|i| f64::from(i * i % 1000) / 100.0)),
        (labels("multiple", &[("job", "db")]), column(|i| f64::from(i % 5) * 4096.0 + 1e9)),
        (labels("smooth", &[]), column(|i| (f64::from(i) / 10.0).sin())),
        (labels("steps", &[]), column(|i| f64::from(i / 50).sqrt())),
    ];
    let mut stale = column(|i| f64::from(i % 2));
    stale[199] = f64::from_bits(0x7ff0_0000_0000_0002);
    stale[7] = -0.0;
    series.push((labels("stale", &[("job", "ünï")]), stale));
    series.sort_by(|a, b| a.0.cmp(&b.0));
    series
}

fn times(labels: &Labels) -> Vec<i64> {
    let jitter = if labels.get("job") == "db" { 7 } else { 1 };
    let count = if labels.get("job") == "day" { 4200 } else { 200 };
    (0..count).map(|i| 1_700_000_000_000 + i * 15_000 + i * i % jitter).collect()
}

fn histogram(i: i64) -> Arc<Histogram> {
    Arc::new(Histogram {
        hint: ResetHint::NotReset,
        schema: 2,
        zero_threshold: 1e-128,
        zero_count: 1.0,
        count: 4.0 + i as f64,
        sum: 0.5 * i as f64,
        positive_spans: [(-3, 1), (2, 1)].map(|(offset, length)| histogram::Span { offset, length }).to_vec(),
        positive_buckets: vec![2.0, 1.0 + i as f64],
        is_integer: true,
        ..Histogram::default()
    })
}

fn exemplar() -> Exemplar {
    let labels = Labels::from_pairs([("trace_id", "0af7651916cd43dd8448eb211c80319c")]).unwrap();
    Exemplar { labels, value: 0.25, timestamp: 1_700_000_030_000 }
}

/// Series that need what version 1.1 added: sums of decimals, steps of which some come often, values that two have.
fn series_of_1_1() -> Vec<(Labels, Vec<f64>)> {
    let mut series = series();
    let mut sum = 0.1;
    let mut add = |i: i32| {
        sum += f64::from(i * i % 97) * 1e-6;
        sum
    };
    series.push((labels("sum_of_decimals", &[]), (0..200).map(&mut add).collect()));
    let mut value = 5e6;
    let mut step = |i: i32| {
        value += f64::from((i * i * 31 % 257 % 16).trailing_zeros().min(4) * 1000 + i as u32 % 2) + 40.0;
        value
    };
    let walk: Vec<f64> = (0..200).map(&mut step).collect();
    series.extend(["a", "b"].map(|job| (labels("walk", &[("job", job)]), walk.clone())));
    series.sort_by(|a, b| a.0.cmp(&b.0));
    series
}

/// Series that need what version 1.3 added: values, steps and changes of steps of a day, coded, that is with entries.
fn series_of_1_3() -> Vec<(Labels, Vec<f64>)> {
    let noise = |i: i64| (i * i * 31 % 257 % 16).trailing_zeros().min(3);
    let mut series = series();
    let (mut walk, mut step, mut total) = (50.0, 1e6, 0.0);
    let of_day = |name: &str, value: &mut dyn FnMut(i64) -> f64| {
        (labels(name, &[("job", "day")]), (0..4200).map(value).collect())
    };
    series.push(of_day("level", &mut |i| f64::from(noise(i))));
    series.push(of_day("walk", &mut |i| {
        walk += f64::from(noise(i)) - 1.0;
        walk
    }));
    series.push(of_day("total", &mut |i| {
        step += f64::from(noise(i)) - 1.0;
        total += step;
        total
    }));
    series.sort_by(|a, b| a.0.cmp(&b.0));
    series
}

fn write(series: &[(Labels, Vec<f64>)], effort: Effort) -> Vec<u8> {
    let mut writer = MetricsSegmentWriter::new(Vec::new(), 0, 0).unwrap().with_effort(effort);
    for (labels, floats) in series {
        let times = times(labels);
        let mut data = SeriesData { float_timestamps: &times, floats, ..SeriesData::default() };
        let (starts, exemplars) = ([(times[0], times[0] - 1000)], [exemplar()]);
        if labels.metric_name() == "counter" {
            (data.starts, data.exemplars) = (&starts, &exemplars);
        }
        writer.series(labels, &data).unwrap();
    }
    let times: Vec<i64> = times(&Labels::empty())[..3].to_vec();
    let histograms: Vec<Arc<Histogram>> = (0..3).map(histogram).collect();
    let data = SeriesData { histogram_timestamps: &times, histograms: &histograms, ..SeriesData::default() };
    writer.series(&labels("zz_histogram", &[]), &data).unwrap();
    let known =
        MetricMetadata { metric_type: MetricType::Counter, help: "Requests.".into(), unit: "".into() };
    writer.metadata("counter", &known);
    writer.finish(5, 17).unwrap().0
}

#[test]
fn a_metrics_segment_of_version_1_0_holds_what_it_held() {
    assert_metrics_segment_holds("v1_metrics", &series());
}

#[test]
fn a_metrics_segment_of_version_1_1_holds_what_it_held() {
    assert_metrics_segment_holds("v1_1_metrics", &series_of_1_1());
}

#[test]
fn a_metrics_segment_of_version_1_3_holds_what_it_held() {
    if is_update() {
        std::fs::write(fixture("v1_3_metrics.seg"), write(&series_of_1_3(), Effort::Best)).unwrap();
    }
    assert_metrics_segment_holds("v1_3_metrics", &series_of_1_3());
}

fn assert_metrics_segment_holds(name: &str, series: &[(Labels, Vec<f64>)]) {
    let (path, text_path) = (fixture(&format!("{name}.seg")), fixture(&format!("{name}.txt")));
    let mapped = Arc::new(Mapped::Heap(std::fs::read(&path).unwrap()));
    let mut text = Vec::new();
    inspect::segment(mapped.clone(), Path::new(&format!("{name}.seg")), &mut text).unwrap();
    if is_update() {
        std::fs::write(&text_path, &text).unwrap();
    }
    assert_eq!(String::from_utf8(text).unwrap(), std::fs::read_to_string(text_path).unwrap());

    let segment = MetricsSegment::open(Segment::open(mapped, &path).unwrap());
    segment.verify().unwrap();
    let mut samples = SampleBuffer::default();
    for (ordinal, (labels, floats)) in series.iter().enumerate() {
        let ordinal = ordinal as u32;
        samples.clear();
        segment.read(ordinal, TimeRange::ALL, &mut samples).unwrap();
        assert_eq!(&segment.labels(ordinal).unwrap(), labels);
        assert_eq!(samples.float_timestamps, times(labels));
        let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&samples.floats), bits(floats), "{labels}");

        let (end, times) = (floats.len() - 8..floats.len() - 1, times(labels));
        let range = TimeRange { after: times[end.start - 1], until: times[end.end - 1] };
        samples.clear();
        segment.read(ordinal, range, &mut samples).unwrap();
        assert_eq!(bits(&samples.floats), bits(&floats[end]), "end of {labels}");
    }
    samples.clear();
    segment.read(segment.series_count() - 1, TimeRange::ALL, &mut samples).unwrap();
    let expected: Vec<Arc<Histogram>> = (0..3).map(histogram).collect();
    assert_eq!(format!("{:?}", samples.histograms), format!("{expected:?}"));
}

#[test]
fn what_is_written_today_opens_today() {
    for effort in [Effort::Fast, Effort::Best] {
        for series in [series_of_1_1(), series_of_1_3()] {
            let file = write(&series, effort);
            let segment = Segment::open(Arc::new(Mapped::Heap(file)), "today.seg").unwrap();
            MetricsSegment::open(segment).verify().unwrap();
        }
    }
}

/// The samples of a minute in each bucket: those of [`series`], and some that need every form of a column.
fn bucket_series() -> Vec<(Labels, FloatBuckets)> {
    let column = |value: fn(i32) -> f64| (0..200).map(value).collect::<Vec<f64>>();
    let mut all = series();
    all.push((labels("falling", &[]), column(|i| f64::from(i * 31 % 97))));
    all.push((labels("near", &[]), column(|i| f64::from(i * i * 7919 % 4096) * 1e-9)));
    all.push((labels("restarted", &[]), column(|i| f64::from(i % 70 * 3))));
    all.push((labels("rising_total", &[]), column(|i| f64::from(i * i % 11 + i * 20))));
    all.sort_by(|a, b| a.0.cmp(&b.0));
    let folded = |(labels, values): (Labels, Vec<f64>)| {
        let mut buckets = FloatBuckets::new(Columns::ALL);
        buckets.fold(&times(&labels), &values, 60_000);
        buckets.narrow(match labels.metric_name() {
            "rising_total" | "restarted" => Columns::COUNTER,
            "smooth" => Columns::GAUGE,
            _ => Columns::ALL,
        });
        (labels, buckets)
    };
    all.into_iter().map(folded).collect()
}

fn histogram_buckets() -> HistogramBuckets {
    let times: Vec<i64> = times(&Labels::empty())[..30].to_vec();
    let values: Vec<Arc<Histogram>> = (0..30).map(|i| histogram(i % 17)).collect();
    let mut buckets = HistogramBuckets::new(Columns::COUNTER);
    buckets.fold(&times, &values, 60_000);
    buckets
}

fn write_buckets() -> Vec<u8> {
    let mut writer = MetricsSegmentWriter::new(Vec::new(), 60_000, 0).unwrap();
    for (labels, buckets) in bucket_series() {
        writer.buckets(&labels, &buckets, &HistogramBuckets::default()).unwrap();
    }
    let name = labels("zz_histogram", &[]);
    writer.buckets(&name, &FloatBuckets::default(), &histogram_buckets()).unwrap();
    writer.finish(5, 17).unwrap().0
}

#[test]
fn a_rollup_segment_of_version_1_holds_what_it_held() {
    let path = fixture("v1_rollup.seg");
    if is_update() {
        std::fs::write(&path, write_buckets()).unwrap();
    }
    check_text("v1_rollup.seg", "v1_rollup.txt");

    for file in [std::fs::read(&path).unwrap(), write_buckets()] {
        let segment = MetricsSegment::open(Segment::open(Arc::new(Mapped::Heap(file)), &path).unwrap());
        segment.verify().unwrap();
        let read = |ordinal| {
            let mut floats = FloatBuckets::new(Columns::ALL);
            let mut histograms = HistogramBuckets::new(Columns::ALL);
            segment
                .read_buckets(ordinal, TimeRange::ALL, Columns::ALL, &mut floats, &mut histograms)
                .unwrap();
            (floats, histograms)
        };
        for (ordinal, (labels, mut expected)) in bucket_series().into_iter().enumerate() {
            let (mut floats, _) = read(ordinal as u32);
            assert_eq!(segment.labels(ordinal as u32).unwrap(), labels);
            for (sum, expected) in floats.sums.iter().zip(&expected.sums) {
                assert!((sum - expected).abs() <= 1e-12 * expected.abs(), "{sum} instead of {expected}");
            }
            floats.sums.clear();
            expected.sums.clear();
            assert_eq!(format!("{floats:?}"), format!("{expected:?}"), "{labels}");
        }
        let mut expected = histogram_buckets();
        expected.narrow(Columns::COUNTER.difference(Columns::MIN.union(Columns::MAX)));
        let (_, histograms) = read(segment.series_count() - 1);
        assert_eq!(format!("{histograms:?}"), format!("{expected:?}"));
    }
}

/// Spans that need every part and every type of attribute of version 1.
fn spans() -> Vec<Span> {
    let attribute = |key: &str, value| {
        let value = Some(AnyValue { value: Some(value) });
        KeyValue { key: key.to_owned(), value, key_strindex: 0 }
    };
    let span = |i: u64| Span {
        trace_id: vec![(i / 4 + 1) as u8; 16],
        span_id: vec![(i + 1) as u8; 8],
        parent_span_id: if i.is_multiple_of(4) { Vec::new() } else { vec![i as u8; 8] },
        name: if i.is_multiple_of(2) { "GET /cart".to_owned() } else { format!("select {}", i * 37) },
        kind: (i % 3 + 1) as i32,
        start_time_unix_nano: (NOW as u64 + i) * 1_000_000 + i,
        end_time_unix_nano: (NOW as u64 + 5 * i) * 1_000_000 + 7 * i,
        attributes: vec![
            attribute("http.method", AttributeValue::StringValue("GET".to_owned())),
            attribute("http.status_code", AttributeValue::IntValue(200 + i as i64 / 10)),
            attribute("ratio", AttributeValue::DoubleValue(i as f64 / 8.0)),
            attribute("cached", AttributeValue::BoolValue(i.is_multiple_of(3))),
        ],
        ..Span::default()
    };
    let mut spans: Vec<Span> = (0..12).map(span).collect();
    let odd = &mut spans[5];
    odd.parent_span_id = vec![0xee; 8];
    odd.trace_state = "ot=th:8".to_owned();
    odd.flags = 0x101;
    odd.dropped_links_count = 3;
    odd.status = Some(Status { code: 2, message: "no such cart".to_owned() });
    odd.attributes.push(attribute("", AttributeValue::BytesValue(vec![1, 2])));
    odd.attributes.push(attribute("http.method", AttributeValue::StringValue("POST".to_owned())));
    odd.events.push(Event { time_unix_nano: 7, name: "exception".to_owned(), ..Event::default() });
    odd.links.push(Link { trace_id: vec![9; 16], span_id: vec![8; 8], ..Link::default() });
    spans[6].attributes.clear();
    spans
}

fn write_spans() -> Vec<u8> {
    let name = Some(AnyValue { value: Some(AttributeValue::StringValue("cart".to_owned())) });
    let service = KeyValue { key: "service.name".to_owned(), value: name, key_strindex: 0 };
    let resource = Resource { attributes: vec![service], ..Resource::default() };
    let origin = ResourceSpans { resource: Some(resource), ..ResourceSpans::default() };
    let mut rows = SpanRows::default();
    rows.origins.push(origin.encode_to_vec());
    for span in spans() {
        let id = TraceId::from_bytes(&span.trace_id).unwrap();
        let (start, end) = (span.start_time_unix_nano as i64, span.end_time_unix_nano as i64);
        rows.push(id, 0, start, end, &span.encode_to_vec());
    }
    let head = Arc::new(SpanHead::new());
    SpansWriter::new(head.clone()).append(rows, &mut Vec::new());
    write_generation(&[head], TimeRange::ALL, (5, 17), Vec::new()).unwrap().unwrap().0
}

#[test]
fn a_traces_segment_of_version_1_holds_what_it_held() {
    let path = fixture("v1_traces.seg");
    if is_update() {
        std::fs::write(&path, write_spans()).unwrap();
    }
    check_text("v1_traces.seg", "v1_traces.txt");

    for file in [std::fs::read(&path).unwrap(), write_spans()] {
        let segment = TracesSegment::open(Segment::open(Arc::new(Mapped::Heap(file)), &path).unwrap());
        segment.verify().unwrap();
        let mut found = Vec::new();
        for trace in 1..=3 {
            segment.trace(TraceId([trace; 16]), &Lookout::new(&StopSign::never()), &mut found).unwrap();
        }
        assert!(found.iter().all(|span| span.origin.service_name() == Some("cart")));
        assert_eq!(found.into_iter().map(|found| found.span).collect::<Vec<_>>(), spans());
    }
}

const NOW: i64 = 1_700_000_000_000;

fn open(dir: &Path) -> Arc<Store> {
    let options = Options { shards: 1, ..Options::new(dir) };
    Store::open(options, &prometheus::Registry::new(), NOW).unwrap()
}

/// Writes one of everything and waits until it is durable.
fn write_rows(store: &Store) {
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

/// What a fixture says is what the text beside it says.
fn check_text(name: &str, text_name: &str) {
    let mut text = Vec::new();
    inspect::path(&fixture(name), &mut text).unwrap();
    let here = format!("{}/", fixture("").display());
    let text = String::from_utf8(text).unwrap().replace(&here, "").replace(&here.replace("//", "/"), "");
    if is_update() {
        std::fs::write(fixture(text_name), &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(fixture(text_name)).unwrap());
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
    let (dir, again) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(dir.path());
    write_rows(&store);
    let written = floats(&store);
    // Not closed, as in a crash: the log stays.
    drop(store);
    if is_update() {
        std::fs::copy(dir.path().join("wal/000000000001/000000.wal"), fixture("v1.wal")).unwrap();
    }
    check_text("v1.wal", "v1_wal.txt");

    std::fs::create_dir_all(again.path().join("wal/000000000001")).unwrap();
    std::fs::copy(fixture("v1.wal"), again.path().join("wal/000000000001/000000.wal")).unwrap();
    assert_eq!(floats(&open(again.path())), written);
}

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

/// Seals, a merge, a roll-up and the removal of the samples that were rolled up; two deletions, the first of them cleaned.
fn write_manifest(dir: &Path) -> Vec<u8> {
    let tier = |resolution_ms, days| TierOptions { resolution_ms, retention_ms: days * DAY, dir: None };
    let options = Options { shards: 1, tiers: vec![tier(0, 1), tier(60_000, 90)], ..Options::new(dir) };
    let store = Store::open(options, &prometheus::Registry::new(), NOW).unwrap();
    for _ in 0..2 {
        write_rows(&store);
        store.seal(NOW).unwrap();
    }
    store.compact(i64::MAX).unwrap();
    let mut batch = MetricBatch::new(1, store.series_epoch());
    batch.sample(store.resolve(&labels("later", &[]), NOW).unwrap(), NOW + 3 * DAY, 1.0);
    let (sender, receiver) = std::sync::mpsc::channel();
    store.append(batch, Box::new(move |result| sender.send(result).unwrap())).unwrap();
    receiver.recv().unwrap().unwrap();
    store.seal(NOW).unwrap();
    store.tidy(NOW + 3 * DAY);
    let matcher = |name: &str, op, value: &str| Matcher::new(name, op, value).unwrap();
    let later = vec![matcher("__name__", MatchOp::Equal, "later")];
    store.delete_series(vec![later], TimeRange::ALL, NOW).unwrap();
    store.clean_tombstones().unwrap();
    let selectors = [("job", MatchOp::Regex, "a|b.*"), ("k8s.pod", MatchOp::NotEqual, "")];
    let selectors = selectors.map(|(name, op, value)| vec![matcher(name, op, value)]);
    store.delete_series(selectors.to_vec(), TimeRange::closed(NOW - DAY, NOW), NOW).unwrap();
    std::fs::read(dir.join("MANIFEST")).unwrap()
}

#[test]
fn manifests_of_all_versions_list_what_they_listed() {
    let (dir, again) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let written = write_manifest(dir.path());
    if is_update() {
        std::fs::write(fixture("v3_manifest"), written).unwrap();
    }
    check_text("v1_manifest", "v1_manifest.txt");
    check_text("v2_manifest", "v2_manifest.txt");
    check_text("v3_manifest", "v3_manifest.txt");
    std::fs::copy(fixture("v1_manifest"), again.path().join("MANIFEST")).unwrap();
    open(again.path());
    for newer in ["v2_manifest", "v3_manifest"] {
        std::fs::copy(fixture(newer), again.path().join("MANIFEST")).unwrap();
        let refused =
            Store::open(Options::new(again.path()), &prometheus::Registry::new(), NOW).err().unwrap();
        assert!(refused.to_string().contains("holds none of the 1 segments"), "{refused}");
    }
}

#[test]
fn a_directory_in_use_can_be_inspected() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    write_rows(&store);
    store.seal(NOW).unwrap();
    write_rows(&store);
    let show = |path: &Path| {
        let mut text = Vec::new();
        inspect::path(path, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    };
    let text = show(dir.path());
    assert!(
        text.contains("segments: 1\n") && text.contains("wal/000000000002: to replay, files: 1"),
        "{text}"
    );
    let text = show(&dir.path().join("wal/000000000002"));
    assert!(text.contains("file 0 of generation 2") && text.contains("series 0 is"), "{text}");
    assert!(show(&dir.path().join("hot/metrics-000000000001.seg")).contains("3 series"));
}
