//! Queries that would take all memory or never stop: they are refused within their budget. No clock is read; how far
/// apart checks are is told by the memory accounted between them.
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::model::{Labels, LabelsBuilder};
use crate::query::budget::{Budget, Limits};
use crate::query::{Answer, Querier, QueryError, RangeQuery};
use crate::storage::metrics::MetricBatch;
use crate::storage::{self, Store, SyncMode};

/// `big{i, m}`: 1,000 series, `m` one of two.
struct Engine {
    querier: Querier,
    _dir: tempfile::TempDir,
}

fn labels(i: usize) -> Labels {
    let mut builder = LabelsBuilder::default();
    builder.set("__name__", "big").set("i", &i.to_string()).set("m", ["a", "b"][i % 2]);
    builder.build()
}

impl Engine {
    fn open() -> Engine {
        let dir = tempfile::tempdir().unwrap();
        let options = storage::Options { sync: SyncMode::Off, ..storage::Options::new(dir.path()) };
        let store = Store::open(options, &prometheus::Registry::new(), 0).unwrap();
        let mut batch = MetricBatch::new(store.shard_count(), store.series_epoch());
        for i in 0..1_000 {
            batch.sample(store.resolve(&labels(i), 0).unwrap(), 0, i as f64);
        }
        let (sender, receiver) = mpsc::channel();
        store.append(batch, Box::new(move |result| sender.send(result).unwrap())).unwrap();
        receiver.recv().unwrap().unwrap();
        let options =
            crate::query::Options { experimental_functions: true, ..crate::query::Options::default() };
        Engine { querier: Querier::new(store, options, &prometheus::Registry::new()), _dir: dir }
    }

    fn ask(&self, expr: &str, budget: &Budget) -> Result<Answer, QueryError> {
        let expr = expr.to_owned();
        let request = RangeQuery {
            expr,
            start: 0,
            end: 60_000,
            step_ms: 1_000,
            lookback_ms: None,
            limit: 0,
            per_step_stats: false,
            strict: false,
        };
        self.querier.range(&request, budget)
    }
}

fn budget(bytes_max: u64) -> Budget {
    let limits = Limits { samples_max: 1 << 30, series_max: 1 << 20, bytes_max, log_bytes_max: 0 };
    Budget::new(Instant::now() + Duration::from_secs(600), limits)
}

/// Each kind of operator that works on labels or values.
const QUERIES: [&str; 30] = [
    "big",
    "-big",
    "abs(big)",
    "big > bool 5",
    "timestamp(big)",
    "clamp(big, 1, 2)",
    "scalar(big) + time()",
    "vector(scalar(big))",
    "absent(big)",
    "sum by (i) (big)",
    "avg without (m) (big)",
    "quantile(0.5, big)",
    "topk(700, big)",
    "limitk by (m) (300, big)",
    "limit_ratio(0.5, big)",
    "count_values('v', big)",
    "big + on(i) big",
    "big * on(m) group_left big{i=~'10|11'}",
    "big * on(m) group_left(j) label_replace(big{i=~'10|11'}, 'j', '$1', 'i', '(.*)')",
    "big and on(m) big",
    "big or -big",
    "big unless on(i) big{m='a'}",
    "label_replace(big, 'j', '$1', 'i', '(.*)')",
    "label_join(big, 'j', '-', 'i', 'm')",
    "label_replace(big, 'i', '', 'i', '.*[1-9]')",
    "histogram_quantile(0.5, label_replace(big, 'le', '$1', 'i', '(.*)'))",
    "histogram_quantiles(label_replace(big, 'le', '$1', 'i', '(.*)'), 'q', time() / 100)",
    "rate(big[5m])",
    "max_over_time(big[1m:10s])",
    "sort_by_label(big, 'i')",
];

#[test]
fn no_operator_grows_for_long_without_a_check() {
    let engine = Engine::open();
    for query in QUERIES {
        let budget = budget(1 << 30);
        let asked = engine.ask(query, &budget).map(|_| ()).map_err(|error| error.to_string());
        let is_refused = query.starts_with("label_replace(big, 'i', ''");
        assert_eq!(asked.is_err(), is_refused, "{query}: {asked:?}");
        // 1,000 series would be as many takes at least.
        assert!(budget.takes_between_checks() < 500, "{query}: {}", budget.takes_between_checks());
    }
}

#[test]
fn many_small_selectors_hold_no_more_than_a_few_of_them_at_once() {
    // Rows of one are half a megabyte; of sixty, were they all read beside each other, they would be thirty.
    let query = vec!["sum(big)"; 60].join(" + ");
    Engine::open().ask(&query, &budget(12 << 20)).unwrap();
}

#[test]
fn nothing_more_is_done_when_time_is_over() {
    let engine = Engine::open();
    for query in QUERIES {
        let whole = budget(1 << 30);
        let _ = engine.ask(query, &whole);
        for trips_at in [1, (whole.checks() / 2).max(1)] {
            let budget = budget(1 << 30).trips_at(trips_at);
            let refused = engine.ask(query, &budget).unwrap_err().to_string();
            assert_eq!(refused, "query timed out in expression evaluation", "{query} at check {trips_at}");
            // A selection asks once more of each shard.
            assert!(
                budget.checks() < trips_at + 16,
                "{query}: went on for {} checks",
                budget.checks() - trips_at
            );
            assert_eq!(budget.takes_since_check(), 0, "{query}: went on growing after check {trips_at}");
        }
    }
}

#[test]
fn a_join_with_two_of_a_kind_is_refused_before_its_pairs_are_made() {
    let engine = Engine::open();
    // Half a million pairs; their labels alone would be 30 MB.
    for query in ["big + on(m) big", "big * on(m) group_left(i) big", "big == bool on(m) group_right big"] {
        let refused = engine.ask(query, &budget(8 << 20)).unwrap_err().to_string();
        assert!(refused.starts_with("found duplicate series for the match group {m="), "{query}: {refused}");
    }
}

#[test]
fn what_grows_is_refused_by_its_bytes() {
    let engine = Engine::open();
    let nested = |times: usize, before: &str, inner: &str, after: &str| {
        before.repeat(times) + inner + &after.repeat(times)
    };
    let doubled = nested(10, "label_join(", "big", ", 'a', '', 'i', 'i', 'a', 'a')");
    let scalars = nested(40, "(time() + ", "1", ")");
    for query in [
        doubled.as_str(),
        "count_values('v', big * time())",
        "big * on(i) group_left(j) label_replace(big, 'j', '$1$1$1$1$1$1$1$1$1$1', 'm', '(.)')",
        "histogram_quantiles(big, 'q', time(), time(), time(), time(), time(), time(), time())",
        "topk(2000, big)",
        &format!("max_over_time(vector({scalars})[1h:1s])"),
    ] {
        let budget = budget(1 << 20);
        let refused = engine.ask(query, &budget).unwrap_err();
        assert!(refused.to_string().ends_with("(--query.max-bytes)"), "{query}: {refused}");
    }
}

#[test]
fn a_label_value_made_by_a_query_has_an_end() {
    let engine = Engine::open();
    let eightfold = |function: &str| {
        (0..8).fold("big".to_owned(), |inner, _| {
            format!(
                "{function}({inner}, 'i', {})",
                match function {
                    "label_join" => "'', 'i', 'i', 'i', 'i', 'i', 'i', 'i', 'i'",
                    _ => "'$1$1$1$1$1$1$1$1', 'i', '(.*)'",
                }
            )
        })
    };
    for query in [eightfold("label_join"), eightfold("label_replace")] {
        let refused = engine.ask(&query, &budget(1 << 40)).unwrap_err().to_string();
        assert_eq!(refused, "label value would be longer than 65536 bytes");
    }
}
