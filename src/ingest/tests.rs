//! The receivers over a store: what is stored, what is refused, and in which words.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prost::Message as _;

use super::*;
use crate::model::metrics::STALE_NAN;
use crate::model::time::{DAY, HOUR, SECOND};
use crate::model::{MatchOp, Matcher, MetricType, TimeRange};
use crate::storage::metrics::SampleBuffer;
use crate::wire::{remote_write_v1 as wire1, remote_write_v2 as wire2};

pub(super) const NOW: Timestamp = 1_800_000_000_000;

/// An ingest over an empty store, and what can be read back.
pub(super) struct Fixture {
    pub ingest: Ingest,
    store: Arc<Store>,
    registry: prometheus::Registry,
    promised: AtomicUsize,
    done: Arc<AtomicUsize>,
    settled: Arc<AtomicUsize>,
    _dir: tempfile::TempDir,
}

/// Goes with a completion, and counts when that is gone, called or not.
struct Settled(Arc<AtomicUsize>);

impl Drop for Settled {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

impl Fixture {
    pub fn new(options: Options) -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let registry = prometheus::Registry::new();
        let options_of_store =
            crate::storage::Options { series_max: 100, ..crate::storage::Options::new(dir.path()) };
        let store = Store::open(options_of_store, &registry, NOW).unwrap();
        let ingest = Ingest::new(store.clone(), options, &registry);
        Fixture {
            ingest,
            store,
            registry,
            promised: AtomicUsize::new(0),
            done: Arc::default(),
            settled: Arc::default(),
            _dir: dir,
        }
    }

    pub fn completion(&self) -> Completion {
        self.promised.fetch_add(1, Ordering::Relaxed);
        let (done, settled) = (self.done.clone(), Settled(self.settled.clone()));
        Box::new(move |result| {
            result.unwrap();
            done.fetch_add(1, Ordering::Relaxed);
            drop(settled);
        })
    }

    /// How many requests were completed, once all are that were taken.
    pub fn done(&self) -> usize {
        let patience = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while self.settled.load(Ordering::Acquire) < self.promised.load(Ordering::Relaxed) {
            assert!(std::time::Instant::now() < patience, "a completion is neither called nor dropped");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        self.done.load(Ordering::Relaxed)
    }

    fn write_v1(&self, request: &wire1::WriteRequest) -> Outcome {
        let body = snappy(&request.encode_to_vec());
        self.ingest.remote_write(&body, RemoteWriteVersion::V1, Reach::Live, NOW, self.completion()).unwrap()
    }

    fn write_v2(&self, request: &wire2::Request) -> Outcome {
        let body = snappy(&request.encode_to_vec());
        self.ingest.remote_write(&body, RemoteWriteVersion::V2, Reach::Live, NOW, self.completion()).unwrap()
    }

    /// Every sample there is, as `series time value`, floats before histograms.
    pub fn stored(&self) -> Vec<String> {
        self.done();
        let snapshot = self.store.metrics();
        let any = Matcher::new("__name__", MatchOp::NotEqual, "").unwrap();
        let mut lines = Vec::new();
        let mut samples = SampleBuffer::default();
        for series in snapshot.select(&[any], TimeRange::ALL).unwrap() {
            snapshot.read(&series, TimeRange::ALL, &mut samples).unwrap();
            let floats = samples.float_timestamps.iter().zip(&samples.floats);
            lines.extend(floats.map(|(t, v)| format!("{} {} {v}", series.labels, t - NOW)));
            let histograms = samples.histogram_timestamps.iter().zip(&samples.histograms);
            lines.extend(histograms.map(|(t, h)| {
                format!(
                    "{} {} histogram n={} sum={} schema={} {:?} {:?}",
                    series.labels,
                    t - NOW,
                    h.count,
                    h.sum,
                    h.schema,
                    h.positive_buckets,
                    h.custom_bounds
                )
            }));
        }
        lines.sort();
        lines
    }

    pub fn metadata(&self) -> Vec<(String, Vec<crate::model::MetricMetadata>)> {
        self.done();
        self.done();
        self.store.metrics().metadata()
    }

    /// The value of one of our counters.
    pub fn counter(&self, name: &str, label: &str) -> u64 {
        let families = self.registry.gather();
        let family = families.iter().find(|f| f.name() == name).unwrap();
        let of_label = |m: &&prometheus::proto::Metric| {
            label.is_empty() || m.get_label().iter().any(|l| l.value() == label)
        };
        family.get_metric().iter().find(of_label).unwrap().get_counter().get_value() as u64
    }
}

fn snappy(body: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(body).unwrap()
}

fn labels(pairs: &[(&str, &str)]) -> Vec<wire1::Label> {
    pairs.iter().map(|(n, v)| wire1::Label { name: n.to_string(), value: v.to_string() }).collect()
}

fn series(pairs: &[(&str, &str)], samples: &[(Timestamp, f64)]) -> wire1::TimeSeries {
    wire1::TimeSeries {
        labels: labels(pairs),
        samples: samples.iter().map(|&(t, value)| wire1::Sample { timestamp: NOW + t, value }).collect(),
        ..Default::default()
    }
}

fn request(timeseries: Vec<wire1::TimeSeries>) -> wire1::WriteRequest {
    wire1::WriteRequest { timeseries, metadata: Vec::new() }
}

fn good() -> wire1::TimeSeries {
    series(&[("__name__", "good")], &[(0, 1.0)])
}

/// Sends one series beside a good one, which must be stored, and returns the outcome.
fn refused(bad: wire1::TimeSeries) -> Outcome {
    let fixture = Fixture::new(Options::default());
    let request = request(vec![bad, good()]);
    let outcome = fixture.write_v1(&request);
    // Known by now, the verdict is the same, and the reason is told again.
    assert_eq!(fixture.write_v1(&request), outcome);
    assert_eq!((fixture.stored(), fixture.done()), (vec!["good 0 1".to_owned()], 2));
    outcome
}

#[test]
fn samples_of_a_request_are_stored_and_counted() {
    let fixture = Fixture::new(Options::default());
    for _ in 0..2 {
        let outcome = fixture.write_v1(&request(vec![
            series(&[("__name__", "up"), ("job", "api")], &[(-5 * SECOND, 1.0), (0, 2.0)]),
            series(&[("job", "db"), ("__name__", "up"), ("none", "")], &[(0, 3.0)]),
        ]));
        assert_eq!(outcome, Outcome { samples: 3, ..Outcome::default() });
    }
    assert_eq!(fixture.stored(), [r#"up{job="api"} -5000 1"#, r#"up{job="api"} 0 2"#, r#"up{job="db"} 0 3"#]);
    assert_eq!(fixture.done(), 2);
    assert_eq!(fixture.counter("icecore_ingest_samples_total", "remote_write_1"), 6);
    assert_eq!(fixture.counter("icecore_ingest_series_cache_misses_total", ""), 2);
    assert_eq!(fixture.counter("icecore_ingest_series_cache_hits_total", ""), 2);
}

#[test]
fn every_bit_of_a_value_is_kept() {
    let fixture = Fixture::new(Options::default());
    let bits = [STALE_NAN, 0x7FF8_0000_0000_0001, 0xFFF8_DEAD_BEEF_0000, 1, 1 << 63, 0x7FF0 << 48];
    let stand_in_for = |b| if b == 1 << 63 { 7.25 } else { f64::from_bits(b) };
    let samples: Vec<_> = bits.iter().enumerate().map(|(i, &b)| (i as i64, stand_in_for(b))).collect();
    // prost leaves a zero out, even a negative one; a sender need not.
    let mut body = request(vec![series(&[("__name__", "x")], &samples)]).encode_to_vec();
    let (stand_in, zero) = (7.25f64.to_le_bytes(), (-0.0f64).to_le_bytes());
    let at = body.windows(8).position(|w| w == stand_in).unwrap();
    body[at..at + 8].copy_from_slice(&zero);
    let done = fixture.completion();
    fixture.ingest.remote_write(&snappy(&body), RemoteWriteVersion::V1, Reach::Live, NOW, done).unwrap();
    fixture.done();
    let snapshot = fixture.store.metrics();
    let name = Matcher::new("__name__", MatchOp::Equal, "x").unwrap();
    let found = snapshot.select(&[name], TimeRange::ALL).unwrap();
    let mut buffer = SampleBuffer::default();
    snapshot.read(&found[0], TimeRange::ALL, &mut buffer).unwrap();
    assert_eq!(buffer.floats.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), bits);
}

#[test]
fn a_bad_series_is_named_and_its_neighbours_are_stored() {
    let many: Vec<(String, String)> = (0..10_001).map(|i| (format!("l{i}"), "v".to_owned())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let long_name = "n".repeat(64 << 10);
    let long_value = "v".repeat(1 << 20);
    let hostile = "\u{1b}[31m<script>\u{202e}\"\n".repeat(20);
    let name = ("__name__", "x");
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[], "no metric name"),
        (&[("job", "api")], r#"no metric name (label "__name__") in {job=\"api\"}"#),
        (&[("__name__", ""), ("job", "api")], "no metric name"),
        (&[name, ("a", "1"), ("a", "2")], r#"duplicate label "a""#),
        (&[name, ("", "1")], "a label has an empty name"),
        (&many, "10001 labels > 64 (--limits.max-labels)"),
        (&[name, (&long_name, "1")], "label name has 65536 bytes > 1024 (--limits.max-label-name-bytes)"),
        (
            &[name, ("a", &long_value)],
            "label value has 1048576 bytes > 2048 (--limits.max-label-value-bytes)",
        ),
        (&[(hostile.as_str(), "1")], r#"in {\"\\u{1b}[31m<script>"#),
    ];
    for (labels, words) in cases {
        let outcome = refused(series(labels, &[(0, 1.0), (1, 2.0)]));
        assert_eq!((outcome.samples, outcome.rejected, outcome.retryable), (1, 2, false), "{words}");
        let reason = &outcome.reasons[0];
        assert!(reason.contains(words), "{reason}");
        assert!(reason.len() < 400 && !reason.contains(char::is_control), "{reason}");
    }
}

#[test]
fn text_that_is_not_utf8_is_refused_where_it_stands() {
    let mut body =
        request(vec![series(&[("__name__", "x"), ("a", "abc~")], &[(0, 1.0)]), good()]).encode_to_vec();
    let at = body.iter().position(|&b| b == b'~').unwrap();
    body[at] = 0xFF;
    let fixture = Fixture::new(Options::default());
    for _ in 0..2 {
        let outcome = fixture
            .ingest
            .remote_write(&snappy(&body), RemoteWriteVersion::V1, Reach::Live, NOW, fixture.completion())
            .unwrap();
        assert_eq!(outcome.reasons, [r#"label value is not UTF-8 (byte 3), of label "a""#]);
    }
    assert_eq!(fixture.stored(), ["good 0 1"]);
    assert_eq!(fixture.counter("icecore_ingest_rejected_total", "not_utf8"), 2);
}

#[test]
fn a_timestamp_outside_the_window_is_refused_and_the_others_are_stored() {
    let fixture = Fixture::new(Options::default());
    let at = |timestamp| wire1::Sample { timestamp, value: 1.0 };
    let mut bad = series(&[("__name__", "x")], &[(10 * MINUTE, 1.0), (-15 * DAY, 2.0)]);
    bad.samples.extend([
        at(i64::MAX),
        at(NOW + 11 * MINUTE),
        at(0),
        at(i64::MIN),
        at(NOW - 15 * DAY - 1),
        at(NOW * 1_000_000),
    ]);
    let outcome = fixture.write_v1(&request(vec![bad]));
    assert_eq!(fixture.stored(), ["x -1296000000 2", "x 600000 1"]);
    assert_eq!((outcome.samples, outcome.rejected), (2, 6));
    assert_eq!(
        outcome.reasons,
        [
            "timestamp 9223372036854775807 is 292276967 years ahead (limit 10m)".to_owned(),
            format!("timestamp {} is 11 minutes ahead (limit 10m)", NOW + 11 * MINUTE),
            "timestamp 0 is 57 years behind (limit 15d)".to_owned(),
            "timestamp -9223372036854775808 is 292277081 years behind (limit 15d)".to_owned(),
            format!("timestamp {} is 15 days behind (limit 15d)", NOW - 15 * DAY - 1),
        ]
    );
}

#[test]
fn a_backfill_reaches_as_far_back_as_the_last_tier() {
    let fixture = Fixture::new(Options { backfill_age_ms: 400 * DAY, ..Options::default() });
    let write = |reach, age: i64| {
        let body = request(vec![series(&[("__name__", "x")], &[(-age, 1.0)])]).encode_to_vec();
        let outcome = fixture.ingest.remote_write(
            &snappy(&body),
            RemoteWriteVersion::V1,
            reach,
            NOW,
            fixture.completion(),
        );
        outcome.unwrap().reasons
    };
    assert_eq!(write(Reach::Backfill, 400 * DAY), [""; 0]);
    let refused = |limit: &str| [format!("timestamp {} is 401 days behind (limit {limit})", NOW - 401 * DAY)];
    assert_eq!(write(Reach::Backfill, 401 * DAY), refused("400d"));
    assert_eq!(write(Reach::Live, 401 * DAY), refused("15d"));
}

#[test]
fn a_full_store_refuses_new_series_alone_and_says_that_waiting_helps() {
    let fixture = Fixture::new(Options::default());
    let names: Vec<String> = (0..100).map(|i| format!("s{i}")).collect();
    let all = names.iter().map(|name| series(&[("__name__", name)], &[(0, 0.0)])).collect();
    assert_eq!(fixture.write_v1(&request(all)).samples, 100);
    for _ in 0..2 {
        let outcome = fixture.write_v1(&request(vec![
            series(&[("__name__", "one more")], &[(0, 1.0)]),
            series(&[("__name__", "s7")], &[(1, 1.0)]),
        ]));
        assert_eq!((outcome.samples, outcome.rejected, outcome.retryable), (1, 1, true));
        assert_eq!(
            outcome.reasons,
            ["series limit 100 reached (--limits.max-series); existing series are still written"]
        );
    }
    let outcome = fixture
        .write_v1(&request(vec![series(&[("__name__", "one more")], &[(0, 1.0)]), series(&[], &[(0, 1.0)])]));
    assert!(!outcome.retryable);
}

#[test]
fn a_body_that_cannot_be_read_is_refused_whole() {
    let fixture = Fixture::new(Options::default());
    let refuse = |body: &[u8], version| {
        fixture
            .ingest
            .remote_write(body, version, Reach::Live, NOW, fixture.completion())
            .unwrap_err()
            .to_string()
    };
    let mut body = request(vec![good()]).encode_to_vec();
    body.truncate(body.len() - 1);
    let cut = refuse(&snappy(&body), RemoteWriteVersion::V1);
    assert_eq!(cut, "invalid protobuf at byte 1: a field is longer than its message");
    assert!(refuse(b"no snappy", RemoteWriteVersion::V2).starts_with("invalid snappy block at byte "));
    let huge = refuse(&[0x80, 0x80, 0x80, 0x80, 0x10, 0x00], RemoteWriteVersion::V1);
    assert_eq!(huge, "decoded size 4294967296 > 33554432 (--limits.max-decoded-bytes)");
    let symbols = [0x22, 0].repeat(1_000_001);
    let symbols = refuse(&snappy(&symbols), RemoteWriteVersion::V2);
    assert!(symbols.ends_with("more than 1000000 symbols"), "{symbols}");
    assert_eq!((fixture.stored().len(), fixture.done()), (0, 0));
    assert_eq!(fixture.counter("icecore_ingest_rejected_total", "malformed"), 3);
}

#[test]
fn an_empty_request_is_done_at_once() {
    let fixture = Fixture::new(Options::default());
    assert_eq!(fixture.write_v1(&request(vec![])), Outcome::default());
    assert_eq!(fixture.write_v2(&wire2::Request::default()), Outcome::default());
    assert_eq!(fixture.done(), 2);
}

/// A 2.0 request in the making: texts become symbols.
#[derive(Default)]
struct V2(wire2::Request);

impl V2 {
    fn new() -> V2 {
        V2(wire2::Request { symbols: vec![String::new()], timeseries: Vec::new() })
    }

    fn symbol(&mut self, text: &str) -> u32 {
        let known = self.0.symbols.iter().position(|s| s == text);
        known.unwrap_or_else(|| {
            self.0.symbols.push(text.to_owned());
            self.0.symbols.len() - 1
        }) as u32
    }

    fn series(&mut self, pairs: &[(&str, &str)], samples: &[(Timestamp, f64)]) -> &mut wire2::TimeSeries {
        let labels_refs = pairs.iter().flat_map(|(n, v)| [self.symbol(n), self.symbol(v)]).collect();
        let sample = |&(t, value): &(i64, f64)| wire2::Sample {
            timestamp: NOW + t,
            value: Some(value),
            start_timestamp: 0,
        };
        self.0.timeseries.push(wire2::TimeSeries {
            labels_refs,
            samples: samples.iter().map(sample).collect(),
            ..Default::default()
        });
        self.0.timeseries.last_mut().unwrap()
    }
}

#[test]
fn a_series_is_the_same_in_both_versions_and_under_any_symbol_numbers() {
    let fixture = Fixture::new(Options::default());
    let pairs = [("__name__", "up"), ("job", "api")];
    fixture.write_v1(&request(vec![series(&pairs, &[(0, 1.0)])]));
    for (i, first) in ["job", "api", "__name__"].into_iter().enumerate() {
        let mut v2 = V2::new();
        v2.symbol(first);
        v2.series(&pairs, &[(i as i64 + 1, 2.0)]);
        assert_eq!(fixture.write_v2(&v2.0).samples, 1);
    }
    assert_eq!(fixture.stored().len(), 4);
    assert_eq!(fixture.store.metrics().select(&[], TimeRange::ALL).unwrap().len(), 1);
    // One spelling in each version; how 2.0 numbers its symbols is no part of it.
    assert_eq!(fixture.counter("icecore_ingest_series_cache_misses_total", ""), 2);
}

#[test]
fn a_reference_beyond_the_symbols_or_half_a_pair_refuses_its_series_alone() {
    let fixture = Fixture::new(Options::default());
    let mut v2 = V2::new();
    v2.series(&[("__name__", "x")], &[(0, 1.0)]).labels_refs[1] = 99;
    v2.series(&[("__name__", "x")], &[(0, 1.0)]).labels_refs.pop();
    v2.series(&[("__name__", "good")], &[(0, 1.0)]);
    let outcome = fixture.write_v2(&v2.0);
    assert_eq!((outcome.samples, outcome.rejected), (1, 2));
    assert_eq!(outcome.reasons, ["reference to symbol 99 of 4", "1 label references, which are no pairs"]);
    assert_eq!(fixture.stored(), ["good 0 1"]);
}

#[test]
fn histograms_exemplars_and_metadata_of_2_0_are_stored_and_counted() {
    let fixture = Fixture::new(Options::default());
    let mut v2 = V2::new();
    let (help, unit, trace_id, id) =
        (v2.symbol("How long."), v2.symbol("seconds"), v2.symbol("trace_id"), v2.symbol("abc"));
    let series = v2.series(&[("__name__", "latency")], &[]);
    series.histograms.push(wire2::Histogram {
        count: Some(wire2::histogram::Count::CountInt(3)),
        sum: Some(1.5),
        schema: 3,
        positive_spans: vec![wire2::BucketSpan { offset: -1, length: 2 }],
        positive_deltas: vec![1, 1],
        timestamp: NOW,
        ..Default::default()
    });
    series.histograms.push(wire2::Histogram {
        count: Some(wire2::histogram::Count::CountFloat(2.5)),
        schema: -53,
        custom_values: vec![0.1, 1.0],
        positive_spans: vec![wire2::BucketSpan { offset: 0, length: 1 }],
        positive_counts: vec![2.5],
        timestamp: NOW + 1,
        ..Default::default()
    });
    series.histograms.push(wire2::Histogram { schema: 127, timestamp: NOW + 2, ..Default::default() });
    series.exemplars.push(wire2::Exemplar {
        labels_refs: vec![trace_id, id],
        value: Some(0.7),
        timestamp: NOW,
    });
    series.metadata = Some(wire2::Metadata { r#type: 3, help_ref: help, unit_ref: unit });
    let outcome = fixture.write_v2(&v2.0);
    assert_eq!((outcome.histograms, outcome.exemplars, outcome.rejected), (2, 1, 1));
    assert!(outcome.reasons[0].contains("invalid histogram"), "{:?}", outcome.reasons);
    assert_eq!(
        fixture.stored(),
        [
            "latency 0 histogram n=3 sum=1.5 schema=3 [1.0, 2.0] []",
            "latency 1 histogram n=2.5 sum=0 schema=-53 [2.5] [0.1, 1.0]",
        ]
    );
    let (family, told) = &fixture.metadata()[0];
    assert_eq!((family.as_str(), told[0].metric_type), ("latency", MetricType::Histogram));
    assert_eq!((told[0].help.as_str(), told[0].unit.as_str()), ("How long.", "seconds"));
}

#[test]
fn histograms_that_take_more_than_their_bytes_allow_are_refused() {
    let fixture = Fixture::new(Options { decoded_bytes_max: 100_000, ..Options::default() });
    let mut v2 = V2::new();
    let empty = |i| wire2::Histogram { timestamp: NOW - i, ..Default::default() };
    v2.series(&[("__name__", "x")], &[]).histograms = (0..9_000).map(empty).collect();
    let outcome = fixture.write_v2(&v2.0);
    assert!((5_000..9_000).contains(&outcome.histograms), "{outcome:?}");
    assert_eq!(outcome.histograms + outcome.rejected, 9_000);
    assert!(outcome.reasons[0].contains("too much memory"), "{outcome:?}");
}

#[test]
fn metadata_of_1_0_is_stored_without_any_series() {
    let fixture = Fixture::new(Options::default());
    let metadata = wire1::MetricMetadata {
        r#type: 1,
        metric_family_name: "http_requests_total".into(),
        help: "h".repeat(5_000),
        unit: String::new(),
    };
    let outcome = fixture.write_v1(&wire1::WriteRequest { timeseries: vec![], metadata: vec![metadata] });
    assert_eq!(outcome, Outcome::default());
    let (family, told) = &fixture.metadata()[0];
    assert_eq!((family.as_str(), told[0].metric_type), ("http_requests_total", MetricType::Counter));
    assert_eq!(told[0].help.len(), 2_048);
}

#[test]
fn an_exemplar_too_long_is_refused_alone_and_one_without_time_takes_its_samples() {
    let fixture = Fixture::new(Options::default());
    let mut with = series(&[("__name__", "x")], &[(0, 1.0)]);
    let exemplar =
        |id: &str| wire1::Exemplar { labels: labels(&[("trace_id", id)]), value: 1.0, timestamp: 0 };
    with.exemplars = vec![exemplar("abc"), exemplar(&"a".repeat(200))];
    let outcome = fixture.write_v1(&request(vec![with]));
    assert_eq!((outcome.samples, outcome.exemplars, outcome.rejected), (1, 1, 1));
    assert_eq!(outcome.reasons, ["exemplar labels have more than 128 characters"]);
}

#[test]
fn own_metrics_are_series_like_any() {
    let fixture = Fixture::new(Options::default());
    let own = OwnSample { labels: Labels::from_pairs([("__name__", "icecore_x")]).unwrap(), value: 2.0 };
    let outcome = fixture.ingest.own_metrics(&[own], NOW, fixture.completion()).unwrap();
    assert_eq!((outcome.samples, fixture.stored()), (1, vec!["icecore_x 0 2".to_owned()]));
}

#[test]
fn a_request_during_which_series_were_retired_is_read_again() {
    let fixture = Fixture::new(Options::default());
    fixture.write_v1(&request(vec![good()]));
    let own = |name| OwnSample { labels: Labels::from_pairs([("__name__", name)]).unwrap(), value: 1.0 };
    let retire_idle = || {
        for hour in 1..4 {
            let now = NOW + hour * HOUR;
            let (tell, durable) = std::sync::mpsc::channel();
            let done = Box::new(move |result| tell.send(result).unwrap());
            fixture.ingest.own_metrics(&[own("busy")], now, done).unwrap();
            durable.recv().unwrap().unwrap();
            fixture.store.seal(now).unwrap();
            fixture.store.tidy(now);
        }
    };
    let tries = std::cell::Cell::new(0);
    let epoch = fixture.store.series_epoch();
    let outcome =
        fixture.ingest.admit(Protocol::OwnMetrics, Reach::Live, NOW, fixture.completion(), |intake| {
            let series = intake.resolve(7, |_| Ok(own("x").labels)).unwrap();
            intake.sample(series, NOW, 1.0).unwrap();
            if tries.replace(tries.get() + 1) == 0 {
                retire_idle();
            }
            Ok(())
        });
    assert_ne!(fixture.store.series_epoch(), epoch);
    assert_eq!((outcome.unwrap().samples, tries.get()), (1, 2));
    assert!(fixture.stored().contains(&"x 0 1".to_owned()));
}

#[test]
fn threads_that_write_the_same_series_agree() {
    let fixture = Fixture::new(Options::default());
    std::thread::scope(|scope| {
        for thread in 0..4i64 {
            let fixture = &fixture;
            scope.spawn(move || {
                for round in 0..20 {
                    let names: Vec<String> = (0..20).map(|i| format!("s{}", (i + thread) % 20)).collect();
                    let sample = [(-HOUR + 20 * round + thread, round as f64)];
                    let all = names.iter().map(|n| series(&[("__name__", n)], &sample)).collect();
                    assert_eq!(fixture.write_v1(&request(all)).samples, 20);
                }
            });
        }
    });
    assert_eq!(fixture.stored().len(), 4 * 20 * 20);
    assert_eq!(fixture.store.metrics().select(&[], TimeRange::ALL).unwrap().len(), 20);
}
