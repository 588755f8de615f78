//! Any expression over a small store is answered or refused within its limits, and a range query gives at each of
//! its steps what an instant query gives there.
#![no_main]

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use icecore::model::Labels;
use icecore::query::budget::Limits;
use icecore::query::promql::ast::{At, Expr, ExprKind};
use icecore::query::promql::functions_table::Function;
use icecore::query::promql::series_description::{SequenceValue, SeriesLine, parse_series};
use icecore::query::promql::{ParseOptions, parse};
use icecore::query::{
    Answer, Budget, InstantQuery, Options, Querier, QueryError, QueryValue, RangeQuery, SampleValue,
};
use icecore::storage::metrics::{HistogramRow, MetricBatch};
use icecore::storage::{self, Store, SyncMode};
use libfuzzer_sys::fuzz_target;

const SAMPLES_APART_MS: i64 = 15_000;

/// 20 minutes: counters with a reset, gauges with a gap, classic buckets, native histograms, an info metric.
const SERIES: [&str; 18] = [
    r#"up{job="api", instance="a"} 1x80"#,
    r#"up{job="api", instance="b"} 1x30 0x10 _x20 1x20"#,
    r#"up{job="node", instance="c"} 1x50 stale _x10 1x20"#,
    r#"requests_total{job="api", instance="a", code="200"} 0+10x40 3+7x40"#,
    r#"requests_total{job="api", instance="a", code="500"} 0+1x80"#,
    r#"requests_total{job="api", instance="b", code="200"} 1000+9x30 _x20 5+9x30"#,
    r#"gauge{job="api", instance="a"} -5+0.5x80"#,
    r#"gauge{job="api", instance="b"} NaN Inf -Inf 0 1e308 -1e308 1e-308x70"#,
    r#"gauge{job="node", instance="c"} 7x80"#,
    r#"latency_bucket{job="api", instance="a", le="0.1"} 0+1x80"#,
    r#"latency_bucket{job="api", instance="a", le="1"} 0+3x80"#,
    r#"latency_bucket{job="api", instance="a", le="+Inf"} 0+4x80"#,
    r#"size{job="api", instance="a"} {{schema:0 count:10 sum:20 z_bucket:1 buckets:[2 3 4]}}+{{schema:0 count:3 sum:5 buckets:[1 1 1]}}x80"#,
    r#"size{job="api", instance="b"} {{schema:3 count:5 sum:-2 n_buckets:[2 1] buckets:[2]}}x40 1x20 {{schema:1 count:1 buckets:[1]}}x20"#,
    r#"size{job="node", instance="c"} {{schema:-53 count:6 sum:9 custom_values:[1 5 10] buckets:[1 2 2 1]}}x80"#,
    r#"target_info{job="api", instance="a", version="1"} 1x80"#,
    r#"target_info{job="api", instance="b", version="2"} 1x80"#,
    r#"build_info{job="api", instance="a", version="2"} 1x80"#,
];

/// Small, so that a hostile expression meets them before the fuzzer's own limits.
const LIMITS: Limits =
    Limits { samples_max: 200_000, series_max: 1_000, bytes_max: 64 << 20, log_bytes_max: 0 };
const TIME_MAX: Duration = Duration::from_secs(1);

struct Engine {
    querier: Querier,
    _dir: tempfile::TempDir,
}

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("there is room for a folder");
    let options = storage::Options { shards: 1, sync: SyncMode::Off, ..storage::Options::new(dir.path()) };
    let registry = prometheus::Registry::new();
    let store = Store::open(options, &registry, 0).expect("an empty folder opens");
    load(&store);
    let options = Options {
        experimental_functions: true,
        extended_range_selectors: true,
        fill_modifiers: true,
        ..Options::default()
    };
    Engine { querier: Querier::new(store, options, &registry), _dir: dir }
});

fn load(store: &Arc<Store>) {
    let mut batch = MetricBatch::new(store.shard_count(), store.series_epoch());
    for line in SERIES {
        let SeriesLine::Samples { labels, values } = parse_series(line).expect("SERIES is well formed")
        else {
            panic!("{line}: not of samples")
        };
        let series = store.resolve(&labels, 0).expect("few series");
        for (timestamp, value) in (0..).step_by(SAMPLES_APART_MS as usize).zip(values) {
            match value {
                SequenceValue::Omitted => {}
                SequenceValue::Float(value) => batch.sample(series, timestamp, value),
                SequenceValue::Histogram { histogram, .. } => batch.shards[0].histograms.push(HistogramRow {
                    id: series.id,
                    timestamp,
                    histogram: Box::new((*histogram).clone()),
                }),
            }
        }
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    let is_queued = store.append(batch, Box::new(move |result| drop(sender.send(result))));
    assert!(is_queued.is_ok() && receiver.recv().expect("the shard answers").is_ok());
}

fuzz_target!(|expr: &str| {
    let Ok(tree) = parse(expr, &ParseOptions::all()) else { return };
    let (start, step_ms, steps) = times(expr);
    let range = ENGINE.querier.range(
        &RangeQuery {
            expr: expr.to_owned(),
            start,
            end: start + steps * step_ms,
            step_ms,
            lookback_ms: None,
            limit: 0,
            per_step_stats: false, strict: false,
        },
        &Budget::new(Instant::now() + TIME_MAX, LIMITS),
    );
    let instants: Vec<_> = (0..=steps).map(|step| instant(expr, start + step * step_ms)).collect();
    if asks_for_the_query(&tree) || is_limited(&range) || instants.iter().any(is_limited) {
        return;
    }
    let failure = instants.iter().find_map(|answer| answer.as_ref().err());
    match (range, failure) {
        (Ok(range), None) => {
            let stepwise = instants.iter().flatten().flat_map(points).collect();
            assert_eq!(points(&range), stepwise, "{expr}: as a range, and step by step");
        }
        (Err(_), Some(_)) => {}
        // A range vector or a string is an answer at an instant alone.
        (Err(QueryError::BadData(_)), None) => {}
        (Ok(_), Some(error)) => panic!("{expr}: {error} at an instant, not as a range"),
        (Err(error), None) => panic!("{expr}: {error} as a range, not at an instant"),
    }
});

fn instant(expr: &str, time: i64) -> Result<Answer, QueryError> {
    let request =
        InstantQuery { expr: expr.to_owned(), time, lookback_ms: None, limit: 0, per_step_stats: false, strict: false };
    ENGINE.querier.instant(&request, &Budget::new(Instant::now() + TIME_MAX, LIMITS))
}

/// When to ask: start, step and number of steps after the first, from the text itself so that a finding can be repeated
/// from it alone.
fn times(expr: &str) -> (i64, i64, i64) {
    let mut hasher = DefaultHasher::new();
    expr.hash(&mut hasher);
    let hash = hasher.finish();
    let (start, step, steps) = (hash % 251, hash >> 16 & 15, hash >> 32 & 3);
    (start as i64 * 5_000, 1_000 + step as i64 * 7_500, steps as i64)
}

fn is_limited(answer: &Result<Answer, QueryError>) -> bool {
    matches!(answer, Err(QueryError::Exceeded(_)))
}

/// Whether the answer depends on more than the time of its step.
fn asks_for_the_query(tree: &Expr) -> bool {
    let mut found = tree.to_string().contains("step()") || tree.to_string().contains("range()");
    tree.walk(&mut |node| {
        let at = match &node.kind {
            ExprKind::VectorSelector(selector) => selector.at,
            ExprKind::MatrixSelector(matrix) => matrix.selector.at,
            ExprKind::Subquery(subquery) => subquery.at,
            ExprKind::Call(call) => {
                found |= matches!(call.function, Function::Start | Function::End);
                None
            }
            _ => None,
        };
        found |= matches!(at, Some(At::Start | At::End));
    });
    found
}

/// Values by labels and time; floats by their bits, all NaN alike.
fn points(answer: &Answer) -> BTreeMap<(Labels, i64), String> {
    let float = |value: f64| if value.is_nan() { "NaN".to_owned() } else { format!("{value:?}") };
    match &answer.value {
        QueryValue::Scalar(time, value) => BTreeMap::from([((Labels::empty(), *time), float(*value))]),
        QueryValue::String(..) => BTreeMap::new(),
        QueryValue::Vector(samples) => samples
            .iter()
            .map(|sample| match &sample.value {
                SampleValue::Float(value) => ((sample.labels.clone(), sample.timestamp), float(*value)),
                SampleValue::Histogram(h) => ((sample.labels.clone(), sample.timestamp), format!("{h:?}")),
            })
            .collect(),
        QueryValue::Matrix(matrix) => matrix
            .iter()
            .flat_map(|series| {
                let floats = series.floats.iter().map(|(time, value)| (*time, float(*value)));
                let histograms = series.histograms.iter().map(|(time, h)| (*time, format!("{h:?}")));
                floats.chain(histograms).map(|(time, value)| ((series.labels.clone(), time), value))
            })
            .collect(),
    }
}
