//! What dashboards over long times cost: `cargo bench --bench tiers [-- DIR [DAYS [SERIES [WORD]]]]`, all questions or those
//! with a word in them.
//!
//! A year of 1,000 series at a sample a minute (counters of whole numbers, gauges of few decimals) is brought in day by
//! day, merged, rolled up and let go of as a server would; 525 million samples take some minutes. In a directory that is
//! named they stay, and are only asked for the next time. Each question is asked cold once, then some times more.

mod measuring;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use icecore::model::time::{DAY, HOUR, MINUTE, SECOND};
use icecore::model::{Labels, LabelsBuilder, Timestamp};
use icecore::query::{self, Answer, Querier};
use icecore::storage::metrics::MetricBatch;
use icecore::storage::{self, Store, SyncMode, TierOptions};
use measuring::{append, cpu_time};

/// The server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The end of the day before the first.
const FIRST: Timestamp = 20_000 * DAY;
const SERIES_PER_INSTANCE: usize = 20;
/// After the end of the last day it is over, merged and rolled up.
const SETTLED: i64 = 2 * HOUR;
const ROUNDS: usize = 7;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let number = |at: usize, default: i64| args.get(at).map_or(default, |n| n.parse().expect("a number"));
    let (days, series) = (number(1, 365), number(2, 1_000) as usize);
    let temporary = tempfile::tempdir().expect("a temporary directory can be made");
    let dir = args.first().map_or(temporary.path().to_owned(), PathBuf::from);
    let last = FIRST + days * DAY;
    let store = open(&dir, last + SETTLED);
    // The last samples are up to a minute before the end.
    if store.stats().time_range.until < last - MINUTE {
        bring_in(&store, days, series);
    }
    let word = args.get(3).cloned().unwrap_or_default();
    let is_asked = |question: &&str| question.contains(&word);
    let querier = Querier::new(store, query::Options::default(), &prometheus::Registry::new());
    println!("{days} days, a step of 1 h, {series} series:");
    for question in [
        "sum(rate(requests_total[1h]))",
        "sum by (instance) (rate(requests_total[1h]))",
        "sum by (instance) (increase(requests_total[1d]))",
        "avg(avg_over_time(temperature[1h]))",
        "max by (instance) (max_over_time(temperature[1h]))",
        "min(min_over_time(temperature[1h]))",
        "sum(count_over_time(temperature[1h]))",
        "avg by (instance) (sum_over_time(temperature[1h]))",
        "max(last_over_time(temperature[1h]))",
        "sum by (instance) (temperature)",
        "sum(requests_total)",
        "sum by (instance) (increase({job='bench'}[1h]))",
        "max by (instance) (max_over_time({job='bench'}[1h]))",
        "sum by (instance) ({job='bench'})",
    ]
    .into_iter()
    .filter(is_asked)
    {
        ask(&querier, question, last - days * DAY + HOUR, last, HOUR);
    }
    println!("30 days, a step of 1 h, from rollups and from samples:");
    for question in [
        "sum by (instance) (rate(requests_total[1h]))",
        "avg(avg_over_time(temperature[1h]))",
        "max by (instance) (max_over_time(temperature[1h]))",
        "sum by (instance) (temperature)",
    ]
    .into_iter()
    .filter(is_asked)
    {
        ask(&querier, question, last - 30 * DAY, last, HOUR);
        // No bucket ends then.
        ask(&querier, question, last - 30 * DAY + SECOND, last, HOUR);
    }
}

fn open(dir: &Path, now: Timestamp) -> Arc<Store> {
    let tier = |(resolution_ms, days)| TierOptions { resolution_ms, retention_ms: days * DAY, dir: None };
    // A month as sent, so that it can be asked for both ways.
    let tiers = [(0, 31), (MINUTE, 90), (5 * MINUTE, 365), (HOUR, 365)].map(tier).to_vec();
    let options = storage::Options { tiers, sync: SyncMode::Off, ..storage::Options::new(dir) };
    Store::open(options, &prometheus::Registry::new(), now).expect("the directory opens")
}

/// Day by day, as if each was today.
fn bring_in(store: &Arc<Store>, days: i64, series: usize) {
    let started = Instant::now();
    let mut all: Vec<Generator> = (0..series).map(Generator::new).collect();
    for day in 0..days {
        let start = FIRST + day * DAY;
        let mut batch = MetricBatch::new(store.shard_count(), store.series_epoch());
        for generator in &mut all {
            let series = store.resolve(&generator.labels, 0).expect("there is room for it");
            for minute in 0..DAY / MINUTE {
                let (time, value) = generator.sample(start + minute * MINUTE);
                batch.sample(series, time, value);
            }
        }
        append(store, batch);
        let now = start + DAY + SETTLED;
        store.seal(now).expect("the disk takes it");
        store.tidy(now);
        if day % 30 == 29 || day + 1 == days {
            println!("day {}, {:.0} s, {:?}", day + 1, started.elapsed().as_secs_f64(), store.stats());
        }
    }
}

/// Samples of one series.
struct Generator {
    labels: Labels,
    is_counter: bool,
    offset_ms: i64,
    bits: u64,
    value: i64,
}

impl Generator {
    /// The first half of an instance's series are counters.
    fn new(at: usize) -> Generator {
        let (instance, of_instance) = (at / SERIES_PER_INSTANCE, at % SERIES_PER_INSTANCE);
        let is_counter = of_instance < SERIES_PER_INSTANCE / 2;
        let mut labels = LabelsBuilder::default();
        labels.set("__name__", if is_counter { "requests_total" } else { "temperature" });
        labels.set("job", "bench");
        labels.set("instance", &format!("10.0.0.{instance}:9100"));
        labels.set("of", &of_instance.to_string());
        let offset_ms = (instance as i64 * 7_919) % MINUTE + 1;
        Generator { labels: labels.build(), is_counter, offset_ms, bits: at as u64 + 1, value: 0 }
    }

    fn random(&mut self) -> i64 {
        self.bits = self.bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.bits >> 40) as i64
    }

    /// The one of the minute after `start`.
    fn sample(&mut self, start: Timestamp) -> (Timestamp, f64) {
        let random = self.random();
        // All series of an instance are scraped at once, and now and then a little late.
        let late_ms = (start / MINUTE * 31 % 101 == 0) as i64 * 3;
        let time = start + (self.offset_ms + late_ms).min(MINUTE);
        if self.is_counter {
            self.value = if random % 50_000 == 0 { 0 } else { self.value + 300 + random % 64 };
            return (time, self.value as f64);
        }
        self.value = (self.value + random % 21 - 10).clamp(-500, 1_500);
        (time, self.value as f64 / 10.0)
    }
}

fn ask(querier: &Querier, expr: &str, start: Timestamp, end: Timestamp, step_ms: i64) {
    let once = || -> (Duration, Answer) {
        let started = Instant::now();
        let answer = measuring::ask(querier, expr, (start, end, step_ms));
        (started.elapsed(), answer)
    };
    let (cold, answer) = once();
    let cpu_before = cpu_time();
    let warm = (0..ROUNDS).map(|_| once().0).min().expect("there are rounds");
    let cpu = (cpu_time() - cpu_before) / ROUNDS as u32;
    println!("{warm:>9.1?} | cold {cold:>9.1?} | CPU {cpu:>9.1?} | {expr} {:?}", answer.stats.tiers);
}
