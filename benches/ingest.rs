//! What a sample, a log line and a span cost on their way in, in nanoseconds: `cargo bench --bench ingest`.
//!
//! The series are those of a cluster's kubelets: eleven labels, some 400 bytes each. "whole" is a request from its
//! compressed body to the store's answer, one after the other on one thread.

use std::collections::HashMap;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use icecore::ingest::{
    BodyFormat, Encoding, Ingest, IngestError, Options, Outcome, Reach, RemoteWriteVersion,
};
use icecore::storage::{self, Completion, Signal, Store};
use icecore::wire::{loki_push as loki, remote_write_v1 as v1, remote_write_v2 as v2};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

const NOW: i64 = 1_800_000_000_000;
const SERIES: usize = 50_000;
const SERIES_PER_REQUEST: usize = 2_000;
const ROUNDS: i64 = 5;
/// Log lines or spans of one request.
const ROWS: usize = 4_000;

fn main() {
    samples();
    rows(
        "Loki push",
        &|round| snappy(&push(round).encode_to_vec()),
        &|body| drop(loki::PushRequest::decode(&*decompress(body)).expect("we encoded it")),
        &|ingest, body, done| ingest.loki_push(body, Encoding::Snappy, BodyFormat::Protobuf, NOW, done),
    );
    rows(
        "OTLP traces",
        &|round| export(round).encode_to_vec(),
        &|body| drop(ExportTraceServiceRequest::decode(body).expect("we encoded it")),
        &|ingest, body, done| {
            ingest.otlp(Signal::Traces, body, Encoding::Identity, BodyFormat::Protobuf, NOW, done)
        },
    );
}

type Receive<'a> = &'a dyn Fn(&Ingest, &[u8], Completion) -> Result<Outcome, IngestError>;

/// Requests of [`ROWS`] log lines or spans.
fn rows(name: &str, body: &dyn Fn(usize) -> Vec<u8>, decode: &dyn Fn(&[u8]), receive: Receive<'_>) {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let registry = prometheus::Registry::new();
    let options = storage::Options::new(dir.path());
    let store = Store::open(options, &registry, NOW).expect("an empty directory opens");
    let ingest = Ingest::new(store, Options::default(), &registry);
    let bodies: Vec<Vec<u8>> = (0..ROUNDS as usize * 4).map(body).collect();
    let decoding = timed(|| bodies.iter().for_each(|body| decode(body)));
    let (mut reading, mut whole) = (Duration::ZERO, Duration::ZERO);
    for body in &bodies {
        let (tell, durable) = mpsc::channel();
        let done = Box::new(move |result| drop(tell.send(result)));
        let started = Instant::now();
        let outcome = receive(&ingest, body, done).expect("the store has room");
        reading += started.elapsed();
        durable.recv().expect("the store answers").expect("the write is durable");
        whole += started.elapsed();
        assert_eq!(outcome.rows(), ROWS as u64);
    }
    let nanos = |duration: Duration| duration.as_nanos() as f64 / (bodies.len() * ROWS) as f64;
    println!(
        "{name}: {} B | prost {:.0} | read and queued {:.0} | whole {:.0} ns a row",
        bodies.iter().map(Vec::len).sum::<usize>() / (bodies.len() * ROWS),
        nanos(decoding),
        nanos(reading),
        nanos(whole),
    );
}

/// Lines of a web server and of an application, in forty streams.
fn push(round: usize) -> loki::PushRequest {
    let line = |i: usize| match i % 3 {
        0 => format!(
            r#"{{"time":"{i}","level":"info","msg":"request {round} is done","status":200,"bytes":{}}}"#,
            i * 7
        ),
        1 => format!(
            "10.0.{}.7 - - \"GET /api/v1/orders/{i} HTTP/1.1\" 200 {} \"Mozilla/5.0\"",
            i % 256,
            i * 3
        ),
        _ => format!("ts=2027-01-15T08:00:00Z level=warn caller=a.go:{i} msg=\"slow\" took={round}ms"),
    };
    let entry = |i: usize| loki::Entry {
        timestamp: Some(loki::Timestamp { seconds: NOW / 1_000, nanos: (round * ROWS + i) as i32 }),
        line: line(i),
        structured_metadata: Vec::new(),
    };
    let stream = |number: usize| loki::Stream {
        labels: format!("{{app=\"app-{}\", env=\"prod\", pod=\"pod-{number}\"}}", number % 7),
        entries: (0..ROWS / 40).map(entry).collect(),
        hash: 0,
    };
    loki::PushRequest { streams: (0..40).map(stream).collect() }
}

/// Spans with ten attributes each, of one service.
fn export(round: usize) -> ExportTraceServiceRequest {
    let attribute = |key: String, value: String| KeyValue {
        key,
        value: Some(AnyValue { value: Some(any_value::Value::StringValue(value)) }),
        ..Default::default()
    };
    let span = |i: usize| Span {
        trace_id: ((round * ROWS + i / 8 + 1) as u128).to_be_bytes().to_vec(),
        span_id: (i as u64 + 1).to_be_bytes().to_vec(),
        name: format!("GET /api/v1/orders/{}", i % 20),
        start_time_unix_nano: NOW as u64 * 1_000_000 - 5_000,
        end_time_unix_nano: NOW as u64 * 1_000_000,
        attributes: (0..10).map(|key| attribute(format!("http.key-{key}"), format!("value-{i}"))).collect(),
        ..Default::default()
    };
    let resource = Resource {
        attributes: vec![attribute("service.name".to_owned(), "shop".to_owned())],
        ..Default::default()
    };
    let spans = (0..ROWS).map(span).collect();
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![ScopeSpans { spans, ..Default::default() }],
            ..Default::default()
        }],
    }
}

fn samples() {
    for (name, version) in [("remote write 1.0", RemoteWriteVersion::V1), ("2.0", RemoteWriteVersion::V2)] {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let options = storage::Options { new_series_burst: u64::MAX, ..storage::Options::new(dir.path()) };
        let registry = prometheus::Registry::new();
        let store = Store::open(options, &registry, NOW).expect("an empty directory opens");
        let ingest = Ingest::new(store, Options::default(), &registry);
        for round in 0..ROUNDS {
            let bodies = bodies(version, NOW + round * 15_000);
            let decompressing = timed(|| bodies.iter().for_each(|body| drop(decompress(body))));
            let decoding = timed(|| bodies.iter().for_each(|body| decode(&decompress(body), version)));
            let whole = timed(|| bodies.iter().for_each(|body| write(&ingest, body, version, NOW)));
            println!(
                "{name}, round {round}: {} B compressed | snappy {:.1} | prost {:.1} | whole {:.1} ns a sample",
                bodies.iter().map(Vec::len).sum::<usize>() / SERIES,
                nanos(decompressing),
                nanos(decoding - decompressing),
                nanos(whole),
            );
        }
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

fn nanos(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / SERIES as f64
}

fn decompress(body: &[u8]) -> Vec<u8> {
    snap::raw::Decoder::new().decompress_vec(body).expect("we compressed it")
}

/// What the walk is there to avoid.
fn decode(body: &[u8], version: RemoteWriteVersion) {
    match version {
        RemoteWriteVersion::V1 => drop(v1::WriteRequest::decode(body).expect("we encoded it")),
        RemoteWriteVersion::V2 => drop(v2::Request::decode(body).expect("we encoded it")),
    }
}

fn write(ingest: &Ingest, body: &[u8], version: RemoteWriteVersion, now: i64) {
    let (tell, durable) = mpsc::channel();
    let done = Box::new(move |result| drop(tell.send(result)));
    let outcome = ingest.remote_write(body, version, Reach::Live, now, done).expect("the store has room");
    durable.recv().expect("the store answers").expect("the write is durable");
    assert_eq!(outcome.samples, SERIES_PER_REQUEST as u64);
}

/// One scrape of all series.
fn bodies(version: RemoteWriteVersion, timestamp: i64) -> Vec<Vec<u8>> {
    let encode = |from: usize| match version {
        RemoteWriteVersion::V1 => request_v1(from, timestamp).encode_to_vec(),
        RemoteWriteVersion::V2 => request_v2(from, timestamp).encode_to_vec(),
    };
    (0..SERIES).step_by(SERIES_PER_REQUEST).map(|from| snappy(&encode(from))).collect()
}

fn snappy(body: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(body).expect("it is small")
}

fn request_v1(from: usize, timestamp: i64) -> v1::WriteRequest {
    let series = |number: usize| v1::TimeSeries {
        labels: labels(number)
            .into_iter()
            .map(|(name, value)| v1::Label { name: name.into(), value })
            .collect(),
        samples: vec![v1::Sample { value: number as f64 * 1.37, timestamp }],
        ..Default::default()
    };
    v1::WriteRequest {
        timeseries: (from..from + SERIES_PER_REQUEST).map(series).collect(),
        metadata: Vec::new(),
    }
}

fn request_v2(from: usize, timestamp: i64) -> v2::Request {
    let mut numbers = HashMap::from([(String::new(), 0)]);
    let mut symbols = vec![String::new()];
    let mut number_of = |text: String| {
        *numbers.entry(text).or_insert_with_key(|text| {
            symbols.push(text.clone());
            symbols.len() as u32 - 1
        })
    };
    let mut series = |number: usize| v2::TimeSeries {
        labels_refs: labels(number)
            .into_iter()
            .flat_map(|(name, value)| [name.to_owned(), value])
            .map(&mut number_of)
            .collect(),
        samples: vec![v2::Sample { value: Some(number as f64 * 1.37), timestamp, start_timestamp: 0 }],
        metadata: Some(v2::Metadata { r#type: 1, help_ref: 1, unit_ref: 0 }),
        ..Default::default()
    };
    let timeseries = (from..from + SERIES_PER_REQUEST).map(&mut series).collect();
    v2::Request { symbols, timeseries }
}

fn labels(number: usize) -> [(&'static str, String); 11] {
    let host = number / 2_000;
    [
        ("__name__", format!("container_network_receive_packets_dropped_total_{}", number / 40 % 50)),
        ("cluster", "production-eu-west-1".to_owned()),
        ("container", format!("container-{}", number % 40)),
        ("endpoint", "https-metrics".to_owned()),
        ("instance", format!("10.0.{}.{}:10250", host % 256, number % 250)),
        ("job", "kubelet".to_owned()),
        ("metrics_path", "/metrics/cadvisor".to_owned()),
        ("namespace", format!("namespace-{}", number % 17)),
        ("node", format!("ip-10-0-{host}.eu-west-1.compute.internal")),
        ("pod", format!("deployment-{}-5d5f7b7c6d-x{number}", number % 33)),
        ("service", "prometheus-kubelet".to_owned()),
    ]
}
