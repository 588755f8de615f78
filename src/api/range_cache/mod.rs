//! Answers to range queries that are asked again and again, kept as long as they hold.
//!
//! An answer is kept under its question without the range. The same range again is the same bytes; a range that goes on
//! where the kept one ends is its steps, and those beyond evaluated as any query is. Which steps still hold is asked of
//! the store each time (`Changes`): those before the earliest time of which anything changed since the answer's samples
//! were read. So what was acknowledged is seen by the next query, however late it came. What cannot be told step by step
//! serves the same range only, or nothing (`Reuse`).
//!
//! No lock is held while a query is evaluated: two that ask the same at once both evaluate it.

mod entry;
mod lru;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::response::Response;
use parking_lot::Mutex;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use self::entry::{Entry, Remarks, Serves, Steps, estimated_bytes};
use self::lru::Lru;
use super::error::ApiError;
use super::json::JsonWriter;
use super::query_stats::StatsWish;
use super::result::push_answer;
use crate::query::promql::Reuse;
use crate::query::{
    Answer, Budget, MatrixSeries, Querier, QueryError, QueryStats, QueryValue, RangeQuery, TRUNCATED,
};
use crate::storage::metrics::Mark;

/// An answer may take this share of the room that there is for all.
const ENTRY_SHARE: u64 = 4;
/// Places in the text of an entry are numbers of 32 bits, and an estimate of its length may be wrong by a few times.
const ENTRY_BYTES_MAX: u64 = 512 << 20;

pub struct RangeCache {
    kept: Mutex<Lru<Question, Arc<Entry>>>,
    entry_bytes_max: u64,
    metrics: Metrics,
}

/// What tells apart answers whose steps must not stand for one another. The text as it was sent: remarks tell places in
/// it.
#[derive(PartialEq, Eq, Hash)]
struct Question {
    expr: String,
    step_ms: i64,
    /// How far the steps lie from multiples of `step_ms`.
    phase_ms: i64,
    lookback_ms: Option<i64>,
    strict: bool,
}

impl Question {
    fn of(query: &RangeQuery) -> Question {
        Question {
            expr: query.expr.clone(),
            step_ms: query.step_ms,
            phase_ms: query.start.rem_euclid(query.step_ms),
            lookback_ms: query.lookback_ms,
            strict: query.strict,
        }
    }
}

/// The answer to a range query, and what was read to give it.
pub struct Found {
    pub stats: QueryStats,
    value: Value,
}

enum Value {
    /// Of all series, however many are to be shown.
    Kept(Arc<Entry>),
    Evaluated(Box<Answer>),
}

impl RangeCache {
    /// Keeps nothing, where `bytes_max` is 0.
    pub fn new(bytes_max: u64, registry: &Registry) -> RangeCache {
        RangeCache {
            kept: Mutex::new(Lru::new(bytes_max)),
            entry_bytes_max: (bytes_max / ENTRY_SHARE).min(ENTRY_BYTES_MAX),
            metrics: Metrics::new(registry),
        }
    }

    pub fn keeps_any(&self) -> bool {
        self.entry_bytes_max > 0
    }

    /// The answer to a query without regard to its limit: from here as far as it is here, and evaluated beyond.
    pub fn find(&self, querier: &Querier, query: &RangeQuery, budget: &Budget) -> Result<Found, QueryError> {
        let query = RangeQuery { limit: 0, ..query.clone() };
        let Some(steps) = Steps::of(&query) else {
            let answer = querier.range(&query, budget)?;
            return Ok(Found { stats: answer.stats.clone(), value: Value::Evaluated(answer.into()) });
        };
        let question = Question::of(&query);
        let held = self.kept.lock().get(&question);
        // Before any sample is read: what changes from here on, the next query evaluates again.
        let (mark, changed) = querier.changes().since(held.as_ref().map(|e| e.mark).unwrap_or_default());
        if let Some(entry) = held {
            match entry.serves(&steps, changed) {
                Serves::Whole => return Ok(self.hit(entry, budget)),
                // What is remarked on may be elsewhere.
                Serves::Steps { from, len } if len == steps.len && entry.remarks.is_empty() => {
                    let part = entry.slid(steps, from..from + len, &[], mark);
                    return Ok(self.hit(part.into(), budget));
                }
                Serves::Steps { from, len } if len < steps.len => {
                    let rest = RangeQuery { start: steps.at(len), ..query.clone() };
                    if let Some((fresh, stats)) = continued(&entry, querier.range(&rest, budget))? {
                        self.metrics.partial_hits.inc();
                        let entry = entry.slid(steps, from..from + len, &fresh, mark);
                        return Ok(Found { stats, value: Value::Kept(self.keep(question, entry)) });
                    }
                }
                Serves::Steps { .. } | Serves::Nothing => {}
            }
        }
        let answer = querier.range(&query, budget)?;
        self.metrics.misses.inc();
        let stats = answer.stats.clone();
        let value = match self.entry(&answer, steps, mark) {
            Some(entry) => Value::Kept(self.keep(question, entry)),
            None => Value::Evaluated(answer.into()),
        };
        Ok(Found { stats, value })
    }

    fn hit(&self, entry: Arc<Entry>, budget: &Budget) -> Found {
        self.metrics.hits.inc();
        Found { stats: QueryStats::of_budget(budget), value: Value::Kept(entry) }
    }

    /// What to keep of an answer, if it is worth it.
    fn entry(&self, answer: &Answer, steps: Steps, mark: Mark) -> Option<Entry> {
        let QueryValue::Matrix(matrix) = &answer.value else { return None };
        let fits = estimated_bytes(matrix) as u64 <= self.entry_bytes_max;
        let is_kept = fits && answer.reuse != Reuse::Never;
        is_kept.then(|| Entry::of(steps, answer.reuse, mark, matrix, remarks(answer)))
    }

    fn keep(&self, question: Question, entry: Entry) -> Arc<Entry> {
        let bytes = entry.bytes() + (size_of::<Question>() + question.expr.len()) as u64;
        let entry = Arc::new(entry);
        let mut kept = self.kept.lock();
        // One that turned out longer than it may be takes the place of none.
        if bytes <= self.entry_bytes_max {
            self.metrics.evictions.inc_by(kept.insert(question, entry.clone(), bytes));
            self.metrics.bytes.set(kept.bytes() as i64);
            self.metrics.entries.set(kept.len() as i64);
        }
        entry
    }
}

/// The steps behind an entry, if they may be joined to it. Where both remark on the same and nothing else, so would the
/// answer to the whole. What is refused is asked as a whole, too, for the reason that it is refused with then.
fn continued(
    entry: &Entry,
    rest: Result<Answer, QueryError>,
) -> Result<Option<(Vec<MatrixSeries>, QueryStats)>, QueryError> {
    match rest {
        Err(error @ (QueryError::Exceeded(_) | QueryError::Internal(_))) => Err(error),
        Ok(rest) if rest.reuse == Reuse::Steps && remarks(&rest) == entry.remarks => match rest.value {
            QueryValue::Matrix(fresh) => Ok(Some((fresh, rest.stats))),
            _ => Ok(None),
        },
        _ => Ok(None),
    }
}

fn remarks(answer: &Answer) -> Remarks {
    Remarks { warnings: answer.warnings.clone(), infos: answer.infos.clone() }
}

impl Found {
    /// Writes the answer with as many series as are asked for; 0 is all.
    pub fn respond(self, mut json: JsonWriter, limit: usize) -> Result<Response, ApiError> {
        let entry = match self.value {
            Value::Kept(entry) => entry,
            Value::Evaluated(answer) => return push_answer(json, answer.limited(limit), &StatsWish::none()),
        };
        let (text, is_cut) = entry.shown(limit);
        json.raw(r#"{"resultType":"matrix","result":["#);
        json.shared(&text)?;
        json.raw("]}");
        let Remarks { mut warnings, infos } = entry.remarks.clone();
        warnings.extend(is_cut.then(|| TRUNCATED.to_owned()));
        Ok(json.finish(&warnings, &infos))
    }
}

struct Metrics {
    hits: IntCounter,
    partial_hits: IntCounter,
    misses: IntCounter,
    evictions: IntCounter,
    bytes: IntGauge,
    entries: IntGauge,
}

impl Metrics {
    fn new(registry: &Registry) -> Metrics {
        const ONCE: &str = "the name is valid and registered once";
        let requests = Opts::new(
            "icecore_range_cache_requests_total",
            "Range queries that asked the cache: hit, partial (the steps at the end were evaluated) or miss.",
        );
        let requests = IntCounterVec::new(requests, &["result"]).expect(ONCE);
        let evictions = IntCounter::new(
            "icecore_range_cache_evictions_total",
            "Answers that the cache let go of to make room.",
        );
        let evictions = evictions.expect(ONCE);
        let bytes = IntGauge::new("icecore_range_cache_bytes", "Memory of kept answers.").expect(ONCE);
        let entries = IntGauge::new("icecore_range_cache_entries", "Answers that are kept.").expect(ONCE);
        registry.register(Box::new(requests.clone())).expect(ONCE);
        registry.register(Box::new(evictions.clone())).expect(ONCE);
        registry.register(Box::new(bytes.clone())).expect(ONCE);
        registry.register(Box::new(entries.clone())).expect(ONCE);
        let of = |result| requests.with_label_values(&[result]);
        let (hits, partial_hits, misses) = (of("hit"), of("partial"), of("miss"));
        Metrics { hits, partial_hits, misses, evictions, bytes, entries }
    }
}
