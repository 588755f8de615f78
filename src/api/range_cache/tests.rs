//! What is kept never says anything else than what would be evaluated: whatever is written, however late, deleted,
//! sealed, merged, rolled up or let go.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use axum::body::to_bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::api::room::Room;
use crate::model::histogram::Span;
use crate::model::metrics::stale_marker;
use crate::model::time::{DAY, HOUR, MINUTE, SECOND};
use crate::model::{Histogram, Labels, MatchOp, Matcher, TimeRange, Timestamp};
use crate::query::budget::Limits;
use crate::query::{self};
use crate::storage::metrics::{HistogramRow, MetricBatch};
use crate::storage::{self, Busy, Store, SyncMode, TierOptions};

/// A day in the life of a store, the first of a partition of every length.
const BEGIN: Timestamp = 20_001 * DAY - 12 * HOUR;
const CACHE_BYTES: u64 = 200_000;

struct World {
    store: Arc<Store>,
    querier: Querier,
    cache: RangeCache,
    runtime: tokio::runtime::Runtime,
    answers: Room,
    _dir: tempfile::TempDir,
}

fn tier(resolution_ms: i64, days: i64) -> TierOptions {
    TierOptions { resolution_ms, retention_ms: days * DAY, dir: None }
}

fn budget() -> Budget {
    let limits =
        Limits { samples_max: 1 << 30, series_max: 1 << 20, bytes_max: 1 << 30, log_bytes_max: 1 << 30 };
    Budget::new(Instant::now() + Duration::from_secs(600), limits)
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let options = storage::Options {
            sync: SyncMode::Off,
            tiers: vec![tier(0, 2), tier(MINUTE, 5), tier(5 * MINUTE, 400)],
            disk_reserve: 0,
            ..storage::Options::new(dir.path())
        };
        let registry = Registry::new();
        let store = Store::open(options, &registry, BEGIN).unwrap();
        let options = query::Options { experimental_functions: true, ..query::Options::default() };
        let querier = Querier::new(store.clone(), options, &registry);
        World {
            store,
            querier,
            cache: RangeCache::new(CACHE_BYTES, &registry),
            runtime: tokio::runtime::Builder::new_current_thread().build().unwrap(),
            answers: Room::new("answers", "help", 1 << 30, &registry),
            _dir: dir,
        }
    }

    /// Returns when the sender would hear "yes".
    fn append(&self, samples: &[Sample]) {
        loop {
            let mut batch = MetricBatch::new(self.store.shard_count(), self.store.series_epoch());
            for sample in samples {
                let series = self.store.resolve(&labels(sample.series), BEGIN).unwrap();
                if is_of_histograms(sample.series) {
                    let (timestamp, histogram) = (sample.at, Box::new(histogram(sample.value)));
                    let rows = &mut batch.shards[series.shard as usize].histograms;
                    rows.push(HistogramRow { id: series.id, timestamp, histogram });
                } else {
                    batch.sample(series, sample.at, sample.value);
                }
            }
            let (sender, acknowledged) = mpsc::channel();
            match self.store.append(batch, Box::new(move |result| sender.send(result).unwrap())) {
                Ok(()) => return acknowledged.recv().unwrap().unwrap(),
                Err(Busy::SeriesRetired) => {}
                Err(busy) => panic!("{busy}"),
            }
        }
    }

    fn text(&self, response: Result<Response, ApiError>) -> String {
        match response {
            Ok(response) => {
                let bytes = self.runtime.block_on(to_bytes(response.into_body(), usize::MAX)).unwrap();
                String::from_utf8(bytes.to_vec()).unwrap()
            }
            Err(error) => error.to_string(),
        }
    }

    fn json(&self) -> JsonWriter {
        JsonWriter::success(1 << 30, &self.answers)
    }

    fn cached(&self, query: &RangeQuery) -> String {
        let found = self.cache.find(&self.querier, query, &budget()).map_err(ApiError::Query);
        self.text(found.and_then(|found| found.respond(self.json(), query.limit)))
    }

    fn evaluated(&self, query: &RangeQuery) -> String {
        let answer = self.querier.range(query, &budget()).map_err(ApiError::Query);
        self.text(answer.and_then(|answer| push_answer(self.json(), answer, &StatsWish::none())))
    }
}

fn range(expr: &str, start: Timestamp, end: Timestamp, step_ms: i64) -> RangeQuery {
    RangeQuery {
        expr: expr.to_owned(),
        start,
        end,
        step_ms,
        lookback_ms: None,
        limit: 0,
        per_step_stats: false,
        strict: false,
    }
}

#[derive(Clone, Debug)]
struct Sample {
    series: u32,
    at: Timestamp,
    value: f64,
}

const SERIES: u32 = 12;

fn is_of_histograms(series: u32) -> bool {
    series >= 10
}

/// Counters and gauges of two metrics each, classic buckets, and native histograms.
fn labels(series: u32) -> Labels {
    let (name, x) = match series {
        0..3 => ("a_total", series),
        3..6 => ("b_total", series - 3),
        6..8 => ("g", series - 6),
        8..10 => ("h_bucket", series - 8),
        _ => ("n", series - 10),
    };
    let x = format!("x{x}");
    let mut pairs = vec![
        ("__name__", name),
        ("x", x.as_str()),
        ("y", if series.is_multiple_of(2) { "even" } else { "odd" }),
    ];
    if name == "h_bucket" {
        pairs.push(("le", if series == 8 { "1" } else { "+Inf" }));
    }
    Labels::from_pairs(pairs).unwrap()
}

fn histogram(value: f64) -> Histogram {
    if value.is_nan() {
        return Histogram::stale();
    }
    let buckets = vec![value.abs().floor(), 1.0, 2.0];
    Histogram {
        count: buckets.iter().sum(),
        sum: value,
        positive_spans: vec![Span { offset: 0, length: 3 }],
        positive_buckets: buckets,
        ..Histogram::default()
    }
}

#[derive(Clone, Debug)]
enum Op {
    /// Time goes on, and each of these series has a sample every so often.
    Scrape {
        series: Vec<u32>,
        rounds: u8,
        every_ms: i64,
        values: Vec<f64>,
    },
    /// Samples of the past.
    Late(Vec<(u32, i64, f64)>),
    /// Time goes on.
    Wait(i64),
    Seal,
    Tidy,
    Delete {
        series: u32,
        ago_ms: i64,
        length_ms: i64,
    },
    CleanTombstones,
    /// A panel, so many steps before the newest one; how many steps more or less, and how many series.
    Ask {
        panel: usize,
        lag: i64,
        wider: i64,
        limit: usize,
    },
}

/// Expressions of all kinds, with steps, and how many.
const PANELS: &[(&str, i64, i64)] = &[
    ("a_total", 15 * SECOND, 20),
    ("rate(a_total[1m])", 15 * SECOND, 20),
    ("sum(rate(a_total[5m]))", MINUTE, 30),
    ("sum by (x) ({__name__=~\"[ab]_total\"})", MINUTE, 30),
    ("avg without (x) (g)", 15 * SECOND, 25),
    ("stddev(rate({__name__=~\"[ab]_total\"}[2m]))", MINUTE, 20),
    ("topk(2, sum by (x) (increase(a_total[5m])))", MINUTE, 20),
    ("sum(topk(1, a_total))", 15 * SECOND, 20),
    ("a_total / on (x) b_total", 15 * SECOND, 20),
    ("avg(a_total / ignoring (y) b_total)", 15 * SECOND, 20),
    ("sum(a_total * on (x) group_left () b_total)", MINUTE, 20),
    ("g or a_total", MINUTE, 20),
    ("a_total unless on (y) g", MINUTE, 20),
    ("sum_over_time(g[3m])", 30 * SECOND, 20),
    ("max_over_time(sum(rate(a_total[1m]))[5m:30s])", 30 * SECOND, 20),
    ("histogram_quantile(0.5, sum by (le) (rate(h_bucket[5m])))", MINUTE, 20),
    ("histogram_quantile(0.9, rate(n[5m]))", MINUTE, 20),
    ("histogram_count(sum(n))", MINUTE, 20),
    ("sum(n)", MINUTE, 20),
    ("n", MINUTE, 10),
    ("rate(g[2m])", 30 * SECOND, 20),
    ("absent(g{x=\"x0\"})", MINUTE, 20),
    ("label_replace(a_total, \"z\", \"$1\", \"x\", \"(.*)\")", MINUTE, 20),
    ("a_total offset 5m", MINUTE, 20),
    ("a_total offset -5m", MINUTE, 20),
    ("a_total - a_total @ end()", MINUTE, 20),
    ("time() + scalar(g{x=\"x0\"})", MINUTE, 20),
    ("count_values(\"v\", g)", MINUTE, 20),
    ("sort_desc(a_total)", MINUTE, 20),
    ("a_total - end()", MINUTE, 20),
    ("timestamp(g)", MINUTE, 20),
    ("quantile_over_time(0.5, g[10m])", 10 * MINUTE, 30),
    ("sum(increase(a_total[1h]))", HOUR, 50),
    ("avg_over_time(g[1h])", HOUR, 60),
    ("g", HOUR, 60),
    ("max_over_time(g[2h])", 2 * HOUR, 60),
    ("g / 0", 7 * MINUTE, 1),
];

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (-50i32..50).prop_map(|n| f64::from(n) / 7.0),
        3 => (0u32..1000).prop_map(|n| f64::from(n) * 1e9 / 3.0),
        1 => Just(stale_marker()),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let all = prop::collection::vec(0..SERIES, 1..8);
    let some = prop::collection::vec((0..SERIES, 0..3 * DAY, value()), 1..4);
    let recent = prop::collection::vec((0..SERIES, 0..20 * MINUTE, value()), 1..4);
    let every = prop::sample::select(vec![5 * SECOND, 15 * SECOND, 40 * SECOND]);
    let ask = (0..PANELS.len(), 0i64..3, prop_oneof![3 => Just(0i64), 1 => -3i64..3], 0usize..3);
    prop_oneof![
        8 => (all, 1u8..30, every, prop::collection::vec(value(), 5..30))
            .prop_map(|(series, rounds, every_ms, values)| Op::Scrape { series, rounds, every_ms, values }),
        3 => recent.prop_map(Op::Late),
        1 => some.prop_map(Op::Late),
        1 => prop::sample::select(vec![MINUTE, HOUR, 9 * HOUR, DAY]).prop_map(Op::Wait),
        2 => Just(Op::Seal),
        2 => Just(Op::Tidy),
        1 => (0..SERIES, 0..DAY, 0..HOUR)
            .prop_map(|(series, ago_ms, length_ms)| Op::Delete { series, ago_ms, length_ms }),
        1 => Just(Op::CleanTombstones),
        14 => ask.prop_map(|(panel, lag, wider, limit)| Op::Ask { panel, lag, wider, limit }),
    ]
}

/// The panels that a case asks for again and again.
fn case() -> impl Strategy<Value = (Vec<usize>, Vec<Op>)> {
    (prop::collection::vec(0..PANELS.len(), 3), prop::collection::vec(op(), 10..60))
}

fn run(world: &World, panels: &[usize], ops: &[Op]) -> Result<(), TestCaseError> {
    let mut now = BEGIN;
    for op in ops {
        match op {
            Op::Scrape { series, rounds, every_ms, values } => {
                for round in 0..i64::from(*rounds) {
                    now += every_ms;
                    let sample = |(i, &series): (usize, &u32)| {
                        let value = values[(i * 7 + round as usize) % values.len()];
                        Sample { series, at: now - i as i64, value }
                    };
                    world.append(&series.iter().enumerate().map(sample).collect::<Vec<_>>());
                    if round.rem_euclid(8) == 0 {
                        for &panel in panels {
                            ask(world, panel, now, 0, 0, 0)?;
                        }
                    }
                }
            }
            Op::Late(samples) => {
                let sample =
                    |&(series, ago, value): &(u32, i64, f64)| Sample { series, at: now - ago, value };
                world.append(&samples.iter().map(sample).collect::<Vec<_>>());
            }
            Op::Wait(ms) => now += ms,
            Op::Seal => world.store.seal(now).unwrap(),
            Op::Tidy => world.store.tidy(now),
            Op::Delete { series, ago_ms, length_ms } => {
                let from = now - ago_ms;
                let name = labels(*series).metric_name().to_owned();
                let matcher = Matcher::new("__name__", MatchOp::Equal, &name).unwrap();
                let range = TimeRange::closed(from, from + length_ms);
                world.store.delete_series(vec![vec![matcher]], range, now).unwrap();
            }
            Op::CleanTombstones => world.store.clean_tombstones().unwrap(),
            Op::Ask { panel, lag, wider, limit } => {
                let panel = panels.get(panel % 7).copied().unwrap_or(*panel);
                ask(world, panel, now, *lag, *wider, *limit)?;
            }
        }
        for &panel in panels {
            ask(world, panel, now, 0, 0, 0)?;
        }
    }
    Ok(())
}

fn ask(
    world: &World,
    panel: usize,
    now: Timestamp,
    lag: i64,
    wider: i64,
    limit: usize,
) -> Result<(), TestCaseError> {
    let (expr, step_ms, len) = PANELS[panel];
    let last = (now.div_euclid(step_ms) - lag) * step_ms;
    let start = last - (len - 1 + wider).max(0) * step_ms;
    // A range may end behind its last step.
    let query = RangeQuery { limit, ..range(expr, start, last + now % 3, step_ms) };
    let (cached, evaluated) = (world.cached(&query), world.evaluated(&query));
    prop_assert_eq!(cached, evaluated, "{:?}", query);
    Ok(())
}

#[test]
fn what_is_kept_says_what_would_be_evaluated() {
    let (hits, partial_hits) = (AtomicU64::new(0), AtomicU64::new(0));
    let config = Config { cases: cases(), failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&case(), |(panels, ops)| {
            let world = World::new();
            run(&world, &panels, &ops)?;
            hits.fetch_add(world.cache.metrics.hits.get(), Ordering::Relaxed);
            partial_hits.fetch_add(world.cache.metrics.partial_hits.get(), Ordering::Relaxed);
            let bytes = world.cache.metrics.bytes.get();
            prop_assert!(bytes <= CACHE_BYTES as i64);
            Ok(())
        })
        .unwrap();
    // Else it would say nothing.
    let (hits, partial_hits) = (hits.into_inner(), partial_hits.into_inner());
    assert!(hits > u64::from(cases()) && partial_hits > u64::from(cases()), "{hits}, {partial_hits}");
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(24)
}

#[test]
fn whoever_heard_yes_sees_his_sample_in_the_next_answer() {
    const COUNT: i64 = 300;
    let world = World::new();
    let query = range("g", BEGIN, BEGIN + COUNT * SECOND, SECOND);
    let (sender, acknowledged) = mpsc::channel();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // 7 and 300 have no factor in common: each second comes once, in an order that is not theirs. Behind many
            // others in its batch, so that it takes a while until it can be seen.
            for i in 0..COUNT {
                let at = i * 7 % COUNT;
                let others =
                    (0..1_200).map(|n| Sample { series: n % 6, at: BEGIN + i * SECOND, value: f64::from(n) });
                let last = Sample { series: 6, at: BEGIN + at * SECOND, value: at as f64 };
                world.append(&others.chain([last]).collect::<Vec<_>>());
                sender.send(at).unwrap();
            }
            is_over.store(true, Ordering::Release);
        });
        let (mut known, mut is_last) = (Vec::new(), false);
        while !is_last {
            is_last = is_over.load(Ordering::Acquire);
            known.extend(acknowledged.try_iter());
            let answer = world.cached(&query);
            for &at in &known {
                let point = format!("[{},\"{at}\"]", BEGIN / SECOND + at);
                assert!(answer.contains(&point), "{point} is missing in {answer}");
            }
        }
        assert_eq!(known.len(), COUNT as usize);
    });
    assert_eq!(world.cached(&query), world.evaluated(&query));
}

#[test]
fn a_range_that_goes_on_is_evaluated_at_its_end_alone() {
    let world = World::new();
    let scrape = |second: i64| Sample { series: 6, at: BEGIN + second * SECOND, value: second as f64 };
    world.append(&(0..=600).step_by(10).map(scrape).collect::<Vec<_>>());
    let ask = |from: i64, to: i64| range("sum(g)", BEGIN + from * SECOND, BEGIN + to * SECOND, 10 * SECOND);
    let find = |query: &RangeQuery| {
        let budget = budget();
        world.cache.find(&world.querier, query, &budget).unwrap();
        budget.samples_used()
    };
    let whole = find(&ask(0, 500));
    assert!(whole > 50);
    assert_eq!(find(&ask(0, 500)), 0);
    assert_eq!(find(&ask(100, 400)), 0);
    // Three steps, and what the first of them looks back at.
    assert!(find(&ask(100, 530)) <= 33 + 1);
    assert_eq!(world.cache.metrics.partial_hits.get(), 1);
    // What came late takes with it what lies behind it, and no more.
    world.append(&[Sample { series: 7, at: BEGIN + 501 * SECOND, value: 1.0 }]);
    assert!(find(&ask(100, 530)) < whole);
    assert_eq!(world.cache.metrics.misses.get(), 1);
    assert_eq!(find(&ask(100, 500)), 0);
    world.append(&[Sample { series: 7, at: BEGIN - SECOND, value: 1.0 }]);
    find(&ask(100, 530));
    assert_eq!(world.cache.metrics.misses.get(), 2);
}

#[test]
fn a_part_of_a_range_has_remarks_of_its_own() {
    let world = World::new();
    let scrape =
        |series: u32, second: i64| Sample { series, at: BEGIN + second * SECOND, value: second as f64 };
    world.append(&(0..=600).step_by(10).map(|second| scrape(0, second)).collect::<Vec<_>>());
    world.append(&(0..=100).step_by(10).map(|second| scrape(6, second)).collect::<Vec<_>>());
    // Of a gauge it is remarked that it may be no counter, where it is seen.
    let expr = "rate(a_total[1m]) or rate(g[1m])";
    for (from, to) in [(0, 500), (300, 500), (0, 500), (300, 500), (300, 600)] {
        let query = range(expr, BEGIN + from * SECOND, BEGIN + to * SECOND, 10 * SECOND);
        let answer = world.cached(&query);
        assert_eq!(answer, world.evaluated(&query));
        assert_eq!(answer.contains("infos"), from == 0);
    }
}

#[test]
fn an_answer_too_long_for_the_cache_is_given_all_the_same() {
    let world = World::new();
    let small = RangeCache::new(4_000, &Registry::new());
    world.append(&[Sample { series: 6, at: BEGIN, value: 1.0 }]);
    let query = range("g", BEGIN, BEGIN + 100 * SECOND, SECOND);
    for _ in 0..2 {
        let found = small.find(&world.querier, &query, &budget()).unwrap();
        assert_eq!(world.text(found.respond(world.json(), 0)), world.evaluated(&query));
    }
    assert_eq!((small.metrics.misses.get(), small.metrics.bytes.get()), (2, 0));
}

/// Numbers whose sums depend on what is added up first.
fn uneven(n: i64) -> f64 {
    [1.0 / 3.0, 1e9 / 7.0, 0.1, 1e5 / 11.0, -7.7][n.rem_euclid(5) as usize] * (1.0 + n as f64 / 13.0)
}

#[test]
fn the_order_of_groups_is_that_of_their_labels_whichever_came_first() {
    let world = World::new();
    // b_total has odd ones first, and from the tenth minute on even ones first.
    let sample = |series: u32, minute: i64| {
        let value = ((minute * 7 + i64::from(series)) * 7_919 % 1_009) as f64 / 7.0;
        let at = BEGIN + minute * MINUTE;
        Sample { series, at, value }
    };
    let scrape = |minutes: std::ops::Range<i64>| {
        for minute in minutes {
            let series = (0..8).filter(|series| minute < 10 || ![0, 3, 6].contains(series));
            world.append(&series.map(|series| sample(series, minute)).collect::<Vec<_>>());
        }
    };
    let ask = |minutes: i64| {
        range("stddev(sum by (y, __name__) ({x=~\".+\"}))", BEGIN, BEGIN + minutes * MINUTE, MINUTE)
    };
    scrape(0..40);
    for minutes in 5..60 {
        let query = ask(minutes);
        assert_eq!(world.cached(&query), world.evaluated(&query));
        scrape(minutes + 35..minutes + 36);
    }
    assert!(world.cache.metrics.partial_hits.get() > 20);
}

/// A world in which a day of samples was rolled up, and the time then.
fn rolled_up() -> (World, Timestamp) {
    let world = World::new();
    let midnight = BEGIN + 12 * HOUR;
    let now = midnight + 3 * HOUR;
    let times = (BEGIN..now).step_by(20 * SECOND as usize).enumerate();
    world.append(&times.map(|(n, at)| Sample { series: 6, at, value: uneven(n as i64) }).collect::<Vec<_>>());
    world.store.seal(now).unwrap();
    // Nothing more comes for the day that is over.
    world.store.tidy(now + HOUR);
    (world, now)
}

const ROLLED: &str = "avg_over_time(g[1h])";

#[test]
fn steps_from_rollups_and_steps_from_samples_are_not_joined() {
    let (world, now) = rolled_up();
    let query = range(ROLLED, BEGIN + HOUR, now, HOUR);
    assert_eq!(world.cached(&query), world.evaluated(&query));
    let samples = (now..now + 2 * HOUR).step_by(20 * SECOND as usize);
    let sample = |at: Timestamp| Sample { series: 6, at, value: uneven(at / SECOND) };
    world.append(&samples.map(sample).collect::<Vec<_>>());
    let query = range(ROLLED, BEGIN + HOUR, now + 2 * HOUR, HOUR);
    assert!(!world.querier.range(&query, &budget()).unwrap().stats.tiers.iter().all(|tier| tier.0 == 0));
    assert_eq!(world.cached(&query), world.evaluated(&query));
    assert_eq!((world.cache.metrics.partial_hits.get(), world.cache.metrics.misses.get()), (0, 2));
    world.cached(&query);
    assert_eq!(world.cache.metrics.hits.get(), 1);
}

#[test]
fn a_late_sample_turns_its_whole_day_back_to_samples() {
    let (world, _) = rolled_up();
    let query = range(ROLLED, BEGIN + HOUR, BEGIN + 8 * HOUR, HOUR);
    let before = world.cached(&query);
    world.append(&[Sample { series: 7, at: BEGIN + 10 * HOUR, value: 1.0 }]);
    let after = world.evaluated(&query);
    assert_ne!(before, after, "the last digits differ");
    assert_eq!(world.cached(&query), after);
}
