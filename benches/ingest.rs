//! What a sample costs on its way in, in nanoseconds: `cargo bench --bench ingest`.
//!
//! The series are those of a cluster's kubelets: eleven labels, some 400 bytes each. "whole" is a request from its
//! compressed body to the store's answer, one after the other on one thread.

use std::collections::HashMap;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use icecore::ingest::{Ingest, Options, RemoteWriteVersion};
use icecore::storage::{self, Store};
use icecore::wire::{remote_write_v1 as v1, remote_write_v2 as v2};
use prost::Message;

const NOW: i64 = 1_800_000_000_000;
const SERIES: usize = 50_000;
const SERIES_PER_REQUEST: usize = 2_000;
const ROUNDS: i64 = 5;

fn main() {
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
    let outcome = ingest.remote_write(body, version, now, done).expect("the store has room");
    durable.recv().expect("the store answers").expect("the write is durable");
    assert_eq!(outcome.samples, SERIES_PER_REQUEST as u64);
}

/// One scrape of all series.
fn bodies(version: RemoteWriteVersion, timestamp: i64) -> Vec<Vec<u8>> {
    let encode = |from: usize| match version {
        RemoteWriteVersion::V1 => request_v1(from, timestamp).encode_to_vec(),
        RemoteWriteVersion::V2 => request_v2(from, timestamp).encode_to_vec(),
    };
    let compress = |body: Vec<u8>| snap::raw::Encoder::new().compress_vec(&body).expect("it is small");
    (0..SERIES).step_by(SERIES_PER_REQUEST).map(|from| compress(encode(from))).collect()
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
        samples: vec![v2::Sample { value: number as f64 * 1.37, timestamp, start_timestamp: 0 }],
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
