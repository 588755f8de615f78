//! What a sample costs at each stage of its way, in nanoseconds of CPU time of all threads together:
//! `cargo bench --bench stages`.
//!
//! 1,000 hosts with ten series each, a whole number from 50 to 99 every 10 s for an hour: 3.6 million samples. Each
//! stage is alone, on what the one before it made; the least of some rounds is told where a stage can be repeated.

mod measuring;

use std::hint::black_box;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use icecore::ingest::{Ingest, Options, Reach, RemoteWriteVersion};
use icecore::model::time::{HOUR, MINUTE, SECOND};
use icecore::model::{Labels, TimeRange, Timestamp};
use icecore::query::{self, Querier};
use icecore::storage::metrics::{MetricBatch, SampleBuffer};
use icecore::storage::{self, Store, SyncMode};
use icecore::wire::remote_write_v1::{Label, Sample, TimeSeries, WriteRequest};
use measuring::{append, ask, cpu_time};
use prost::Message;

/// The server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const HOSTS: usize = 1_000;
const MODES: [&str; 10] =
    ["user", "system", "idle", "nice", "iowait", "irq", "softirq", "steal", "guest", "guest_nice"];
const SERIES: usize = HOSTS * MODES.len();
const SERIES_PER_REQUEST: usize = 2_000;
const STEP: i64 = 10 * SECOND;
const STEPS: i64 = HOUR / STEP;
const START: Timestamp = 500_000 * HOUR;
const END: Timestamp = START + HOUR;
const ROUNDS: usize = 5;

fn main() {
    let labels: Vec<Labels> = (0..SERIES).map(labels_of).collect();
    take_in(&labels);
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let store = open(dir.path());
    resolve(&store, &labels);
    for quarter in 0..4 {
        fill(&store, &labels, quarter);
        tell("seal", SERIES * STEPS as usize / 4, &mut || store.seal(END).expect("the disk takes it"), 1);
    }
    tell("merge", SERIES * STEPS as usize, &mut || store.compact(i64::MAX).expect("the disk takes it"), 1);
    read(&store);
    evaluate(store);
}

fn labels_of(at: usize) -> Labels {
    let host = at / MODES.len();
    let pairs = [
        ("__name__", "cpu_usage".to_owned()),
        ("mode", MODES[at % MODES.len()].to_owned()),
        ("hostname", format!("host_{host}")),
        ("region", format!("region-{}", host % 9)),
        ("datacenter", format!("region-{}-{}", host % 9, host % 3)),
        ("rack", format!("{}", host % 100)),
        ("os", "Ubuntu16.04LTS".to_owned()),
        ("arch", "x64".to_owned()),
        ("team", "SF".to_owned()),
        ("service", format!("{}", host % 20)),
        ("service_version", "1".to_owned()),
        ("service_environment", "production".to_owned()),
    ];
    Labels::from_pairs(pairs).expect("each name comes once")
}

/// From 50 to 99, in steps that differ from series to series.
fn value(series: usize, step: i64) -> f64 {
    let mixed = (series as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(step as u32 % 64);
    (50 + (step as u64 * (series as u64 % 7 + 1) + mixed % 5) % 50) as f64
}

fn open(dir: &std::path::Path) -> Arc<Store> {
    let options = storage::Options { sync: SyncMode::Off, ..storage::Options::new(dir) };
    Store::open(options, &prometheus::Registry::new(), END).expect("an empty directory opens")
}

/// Prints the least CPU time of these rounds for each of `count` things.
fn tell(stage: &str, count: usize, work: &mut dyn FnMut(), rounds: usize) {
    let mut once = || {
        let before = cpu_time();
        work();
        cpu_time() - before
    };
    let least: Duration = (0..rounds).map(|_| once()).min().expect("there are rounds");
    println!("{stage:<32} {:>8.1} ns", least.as_nanos() as f64 / count as f64);
}

/// Requests from their compressed bytes to the head and the log; the first of each series registers it.
fn take_in(labels: &[Labels]) {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let ingest = Ingest::new(open(dir.path()), Options::default(), &prometheus::Registry::new());
    let bodies = |step: i64| -> Vec<Vec<u8>> {
        labels.chunks(SERIES_PER_REQUEST).enumerate().map(|(at, some)| body(at, some, step)).collect()
    };
    let write = |body: &Vec<u8>| {
        let (tell, durable) = mpsc::channel();
        let done = Box::new(move |result| drop(tell.send(result)));
        let taken = ingest.remote_write(body, RemoteWriteVersion::V1, Reach::Live, END, done);
        assert_eq!(taken.expect("the store has room").samples, SERIES_PER_REQUEST as u64);
        durable.recv().expect("the store answers").expect("the write is durable");
    };
    let first = bodies(0);
    tell("request, new series", SERIES, &mut || first.iter().for_each(write), 1);
    let steps: Vec<Vec<u8>> = (1..100).flat_map(bodies).collect();
    tell("request, known series", SERIES * 99, &mut || steps.iter().for_each(write), 1);
}

fn body(at: usize, labels: &[Labels], step: i64) -> Vec<u8> {
    let series = |(number, labels): (usize, &Labels)| TimeSeries {
        labels: labels
            .iter()
            .map(|(name, value)| Label { name: name.to_owned(), value: value.to_owned() })
            .collect(),
        samples: vec![Sample {
            value: value(at * SERIES_PER_REQUEST + number, step),
            timestamp: START + (step + 1) * STEP,
        }],
        ..Default::default()
    };
    let timeseries = labels.iter().enumerate().map(series).collect();
    let request = WriteRequest { timeseries, metadata: Vec::new() };
    snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).expect("it is small")
}

fn resolve(store: &Store, labels: &[Labels]) {
    let mut resolve_all = || {
        labels.iter().for_each(|labels| {
            black_box(store.resolve(labels, END).expect("there is room"));
        })
    };
    tell("register a series", SERIES, &mut resolve_all, 1);
    let mut often = || (0..10).for_each(|_| resolve_all());
    tell("find a series by its labels", 10 * SERIES, &mut often, ROUNDS);
}

/// A quarter of an hour into the heads and the log.
fn fill(store: &Arc<Store>, labels: &[Labels], quarter: i64) {
    let series: Vec<_> =
        labels.iter().map(|labels| store.resolve(labels, END).expect("it is registered")).collect();
    let steps = quarter * STEPS / 4..(quarter + 1) * STEPS / 4;
    let mut batches = Vec::new();
    for step in steps {
        let mut batch = MetricBatch::new(store.shard_count(), store.series_epoch());
        let samples = series.iter().enumerate();
        samples.for_each(|(at, &series)| batch.sample(series, START + (step + 1) * STEP, value(at, step)));
        batches.push(batch);
    }
    let count = SERIES * batches.len();
    let mut batches = Some(batches);
    let mut fill = || batches.take().into_iter().flatten().for_each(|batch| append(store, batch));
    tell("append to head and log", count, &mut fill, 1);
}

/// All samples out of their blocks, a series at a time.
fn read(store: &Store) {
    let snapshot = store.metrics();
    let all = snapshot.select(&[], TimeRange::ALL).expect("it was written a moment ago");
    let mut samples = SampleBuffer::default();
    let mut read_all = || {
        for series in &all {
            snapshot.read(series, TimeRange::ALL, &mut samples).expect("it was written a moment ago");
            black_box(&samples);
        }
    };
    tell("decode", SERIES * STEPS as usize, &mut read_all, ROUNDS);
}

/// A function of windows over all series, and groups of what it answers, at 60 steps: with reading, which the lines
/// before tell apart.
fn evaluate(store: Arc<Store>) {
    let querier = Querier::new(store, query::Options::default(), &prometheus::Registry::new());
    let times = (START + MINUTE, END, MINUTE);
    for (stage, expr) in [
        ("samples, last of a minute", "cpu_usage < 0"),
        ("samples, max of 5 m", "max_over_time(cpu_usage[5m]) < 0"),
        ("samples, average of 5 m", "avg_over_time(cpu_usage[5m]) < 0"),
        ("samples, rate of 5 m", "rate(cpu_usage[5m]) < 0"),
    ] {
        let mut once = || drop(black_box(ask(&querier, expr, times)));
        tell(stage, SERIES * STEPS as usize, &mut once, ROUNDS);
    }
    for (stage, expr) in [
        ("points, summed up", "sum(cpu_usage)"),
        ("points, summed up by hostname", "sum by (hostname) (cpu_usage)"),
        ("points, the five highest", "topk(5, cpu_usage)"),
        ("points, quantile", "quantile(0.95, cpu_usage)"),
    ] {
        let mut once = || drop(black_box(ask(&querier, expr, times)));
        tell(stage, SERIES * 60, &mut once, ROUNDS);
    }
}
