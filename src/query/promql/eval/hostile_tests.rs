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
        };
        self.querier.range(&request, budget)
    }
}

fn budget(bytes_max: u64) -> Budget {
    let limits = Limits { samples_max: 1 << 30, series_max: 1 << 20, bytes_max, log_bytes_max: 0 };
    Budget::new(Instant::now() + Duration::from_secs(600), limits)
}

#[test]
fn a_join_with_two_of_a_kind_is_refused_before_its_pairs_are_made() {
    let engine = Engine::open();
    // Half a million pairs; their labels alone would be 30 MB.
    for query in ["big + on(m) big", "big * on(m) group_left(i) big", "big == bool on(m) group_right big"] {
        let refused = engine.ask(query, &budget(4 << 20)).unwrap_err().to_string();
        assert!(refused.starts_with("found duplicate series for the match group {m="), "{query}: {refused}");
    }
}
