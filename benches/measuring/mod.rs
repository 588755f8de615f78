//! What several benchmarks measure with.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use icecore::query::budget::Limits;
use icecore::query::{Answer, Budget, Querier, RangeQuery};
use icecore::storage::Store;
use icecore::storage::metrics::MetricBatch;

/// That of all threads of this process so far, to the clock's 10 ms.
pub fn cpu_time() -> Duration {
    // utime and stime are the 14th and 15th field; the name of the process, the second, has no blank.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = stat.split_ascii_whitespace().skip(13).take(2).filter_map(|field| field.parse::<u64>().ok());
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

/// Waits until the batch is durable.
pub fn append(store: &Arc<Store>, batch: MetricBatch) {
    let (tell, durable) = mpsc::channel();
    store.append(batch, Box::new(move |result| drop(tell.send(result)))).expect("the store has room");
    durable.recv().expect("the store answers").expect("the write is durable");
}

/// Asks once, with room for any answer; `times` are start, end and step.
pub fn ask(querier: &Querier, expr: &str, (start, end, step_ms): (i64, i64, i64)) -> Answer {
    let limits = Limits { samples_max: 1 << 30, series_max: 1 << 20, bytes_max: 4 << 30, log_bytes_max: 0 };
    let request = RangeQuery {
        expr: expr.to_owned(),
        start,
        end,
        step_ms,
        lookback_ms: None,
        limit: 0,
        per_step_stats: false,
        strict: false,
    };
    let budget = Budget::new(Instant::now() + Duration::from_secs(600), limits);
    querier.range(&request, &budget).expect("the question is right")
}
