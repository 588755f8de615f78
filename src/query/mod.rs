//! Text to syntax tree to evaluation over a snapshot; synchronous, knows no HTTP and no clock.

mod buckets;
pub mod budget;
pub mod lexical;
mod listing;
pub mod logql;
pub mod logs;
pub mod memory_pool;
mod metrics;
pub mod promql;
mod read_ahead;
mod right_of_way;
mod running;
mod samples;
pub mod sorting;
mod stats;
#[cfg(test)]
mod stopping_tests;
pub mod traceql;
pub mod traces;

use std::sync::Arc;
use std::time::Instant;

use crate::model::RegexCache;
use crate::model::time::MINUTE;
use crate::model::{Histogram, Labels, Matcher, MetricMetadata, TimeRange, Timestamp};
use crate::storage::logs::LogsSnapshot;
use crate::storage::metrics::{Changes, MetricsSnapshot, SeriesExemplars};
use crate::storage::traces::TracesSnapshot;
use crate::storage::{ReadError, Store};
pub use budget::{Budget, Exceeded};
pub use listing::Listing;
use metrics::{QueryKind, QueryMetrics};
use promql::ast::{Expr, ExprKind};
pub use promql::eval::Samples;
use promql::eval::{self, Context, QueryShape};
use promql::reuse::reuse;
use promql::{ParseOptions, Reuse, parse, parse_selector};
pub use read_ahead::ReadAhead;
pub use right_of_way::LIGHT_MAX;
pub use running::{Listed, RunningQueries, RunningQuery};
pub use stats::{QueryStats, Timings};

/// The engine's settings; the server fills them from the configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// How far back an instant selector looks, 5 m.
    pub lookback_ms: i64,
    /// The step of a subquery that names none, 1 m.
    pub subquery_step_ms: i64,
    pub regexes_max: usize,
    /// Functions and aggregators that Prometheus marks as experimental.
    pub experimental_functions: bool,
    /// `anchored` and `smoothed`.
    pub extended_range_selectors: bool,
    /// `fill`, `fill_left` and `fill_right`.
    pub fill_modifiers: bool,
    /// Metric names are dropped once at the end of a query instead of at each operation.
    pub delayed_name_removal: bool,
    /// Samples are also counted step by step for whoever asks.
    pub per_step_stats: bool,
    /// Start timestamps tell resets and where counters began.
    pub use_start_timestamps: bool,
    /// Entries one log query may ask for, 5000.
    pub log_entries_max: usize,
}

/// Those of a Prometheus 3.14 server without feature flags.
impl Default for Options {
    fn default() -> Options {
        Options {
            lookback_ms: 5 * MINUTE,
            subquery_step_ms: MINUTE,
            regexes_max: 64,
            experimental_functions: false,
            extended_range_selectors: false,
            fill_modifiers: false,
            delayed_name_removal: false,
            per_step_stats: false,
            use_start_timestamps: false,
            log_entries_max: 5_000,
        }
    }
}

#[derive(Clone, Debug)]
pub struct InstantQuery {
    pub expr: String,
    pub time: Timestamp,
    /// In place of the option.
    pub lookback_ms: Option<i64>,
    /// 0: all.
    pub limit: usize,
    /// Count samples for each step, if the option allows it.
    pub per_step_stats: bool,
    /// Refuse what only rollups are left of, where they do not tell it exactly.
    pub strict: bool,
}

#[derive(Clone, Debug)]
pub struct RangeQuery {
    pub expr: String,
    pub start: Timestamp,
    pub end: Timestamp,
    pub step_ms: i64,
    pub lookback_ms: Option<i64>,
    pub limit: usize,
    pub per_step_stats: bool,
    pub strict: bool,
}

#[derive(Clone, Debug)]
pub enum SampleValue {
    Float(f64),
    Histogram(Arc<Histogram>),
}

#[derive(Clone, Debug)]
pub struct VectorSample {
    pub labels: Labels,
    pub timestamp: Timestamp,
    pub value: SampleValue,
}

/// One series of a matrix; floats and histograms each in time order.
#[derive(Clone, Debug, Default)]
pub struct MatrixSeries {
    pub labels: Labels,
    pub floats: Vec<(Timestamp, f64)>,
    pub histograms: Vec<(Timestamp, Arc<Histogram>)>,
}

#[derive(Clone, Debug)]
pub enum QueryValue {
    Scalar(Timestamp, f64),
    /// PromQL strings are bytes.
    String(Timestamp, Vec<u8>),
    Vector(Vec<VectorSample>),
    Matrix(Vec<MatrixSeries>),
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub value: QueryValue,
    /// Complete texts, `PromQL warning: … (1:5)`, each once.
    pub warnings: Vec<String>,
    pub infos: Vec<String>,
    pub stats: QueryStats,
    /// For later queries, as long as the samples are the same.
    pub reuse: Reuse,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum QueryError {
    /// Prometheus's `bad_data`, 400; for parse errors the text is `1:6: parse error: …`.
    #[error("{0}")]
    BadData(String),
    /// Prometheus's `execution`, 422.
    #[error("{0}")]
    Execution(String),
    /// Deadline, size limits and cancellation.
    #[error(transparent)]
    Exceeded(#[from] Exceeded),
    /// Prometheus's `internal`, 500.
    #[error("{0}")]
    Internal(String),
}

/// Answers queries over a store. One for all threads: each query takes its own snapshot.
pub struct Querier {
    store: Arc<Store>,
    options: Options,
    parsing: ParseOptions,
    log_parsing: logql::ParseOptions,
    metrics: QueryMetrics,
}

impl Querier {
    pub fn new(store: Arc<Store>, options: Options, registry: &prometheus::Registry) -> Querier {
        let regex_cache = Some(Arc::new(RegexCache::default()));
        let log_parsing =
            logql::ParseOptions { regexes_max: options.regexes_max, regex_cache: regex_cache.clone() };
        let parsing = ParseOptions {
            experimental_functions: options.experimental_functions,
            extended_range_selectors: options.extended_range_selectors,
            fill_modifiers: options.fill_modifiers,
            regexes_max: options.regexes_max,
            regex_cache,
        };
        Querier { store, options, parsing, log_parsing, metrics: QueryMetrics::new(registry) }
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    pub fn instant(&self, request: &InstantQuery, budget: &Budget) -> Result<Answer, QueryError> {
        let times = Times { start: request.time, end: request.time, step_ms: 0 };
        let (per_step_stats, strict) = (request.per_step_stats, request.strict);
        let ask =
            Ask { times, lookback_ms: request.lookback_ms, limit: request.limit, per_step_stats, strict };
        self.metrics.observe(QueryKind::Instant, budget, || self.evaluate(&request.expr, ask, budget))
    }

    /// The number of steps is the caller's to limit; the memory they need is the budget's.
    pub fn range(&self, request: &RangeQuery, budget: &Budget) -> Result<Answer, QueryError> {
        if request.step_ms <= 0 {
            return Err(QueryError::BadData(
                "zero or negative query resolution step widths are not accepted. Try a positive integer"
                    .into(),
            ));
        }
        let times = Times { start: request.start, end: request.end, step_ms: request.step_ms };
        let (per_step_stats, strict) = (request.per_step_stats, request.strict);
        let ask =
            Ask { times, lookback_ms: request.lookback_ms, limit: request.limit, per_step_stats, strict };
        self.metrics.observe(QueryKind::Range, budget, || self.evaluate(&request.expr, ask, budget))
    }

    /// The expression as it would be run.
    pub fn parse(&self, text: &str) -> Result<Expr, QueryError> {
        parse(text, &self.parsing).map_err(|error| QueryError::BadData(error.to_string()))
    }

    fn evaluate(&self, text: &str, ask: Ask, budget: &Budget) -> Result<Answer, QueryError> {
        let expr = self.parse(text)?;
        let shape = QueryShape {
            start: ask.times.start,
            end: ask.times.end,
            step_ms: ask.times.step_ms,
            lookback_ms: ask.lookback_ms.unwrap_or(self.options.lookback_ms),
            subquery_step_ms: self.options.subquery_step_ms,
            delayed_name_removal: self.options.delayed_name_removal,
            use_start_timestamps: self.options.use_start_timestamps,
            strict: ask.strict,
        };
        let began = Instant::now();
        let snapshot = Arc::new(self.metrics_until_over(budget));
        let context = Context::new(shape, snapshot.clone(), budget);
        let mut context = context.with_patterns_of(self.parsing.regex_cache.clone());
        if ask.per_step_stats && self.options.per_step_stats {
            context = context.telling_steps();
        }
        let value = eval::evaluate(&context, &expr)?;
        let queue = budget.queue_time().unwrap_or_default();
        let timings = Timings { queue, ..context.timings(began, Instant::now()) };
        let (mut warnings, infos) = context.annotation_texts(text);
        let damage = snapshot.warnings();
        let reuse = self.reuse(&context, &expr, damage.is_empty());
        warnings.extend(damage);
        let (samples, steps) = context.tally().settled();
        let steps = steps.into_iter().enumerate().map(|(step, samples)| (shape.grid().at(step), samples));
        let stats = QueryStats {
            timings,
            samples,
            samples_peak: context.values_peak(),
            steps: steps.collect(),
            tiers: context.tiers_read(),
        };
        Ok(Answer { value, warnings, infos, stats, reuse }.limited(ask.limit))
    }

    /// How far an answer may serve that was evaluated in this context.
    fn reuse(&self, context: &Context<'_>, expr: &Expr, is_whole: bool) -> Reuse {
        if !is_whole || context.query.step_ms == 0 || self.options.use_start_timestamps {
            return Reuse::Never;
        }
        let tells_steps = context.tells_each_step() && !self.options.delayed_name_removal;
        reuse(expr).min(if tells_steps { Reuse::Steps } else { Reuse::Whole })
    }

    /// What changes in the samples that queries read.
    pub fn changes(&self) -> &Changes {
        self.store.changes()
    }

    /// Parses selectors: `1:6: parse error: …` or the matchers of each. One may select everything.
    pub fn all_selectors(&self, texts: &[String]) -> Result<Vec<Vec<Matcher>>, QueryError> {
        let parsed = texts.iter().map(|text| parse_selector(text, &self.parsing));
        parsed.collect::<Result<_, _>>().map_err(|error| QueryError::BadData(error.to_string()))
    }

    /// The same for `match[]` parameters of the query API, of which each must select something.
    pub fn selectors(&self, texts: &[String]) -> Result<Vec<Vec<Matcher>>, QueryError> {
        let parsed = self.all_selectors(texts)?;
        if parsed.iter().any(|matchers| matchers.iter().all(Matcher::matches_empty)) {
            return Err(QueryError::BadData("match[] must contain at least one non-empty matcher".into()));
        }
        Ok(parsed)
    }

    /// Exemplars of every selector in the expression; `None` if it has none.
    pub fn exemplars(
        &self,
        expr: &str,
        range: TimeRange,
        budget: &Budget,
    ) -> Result<Option<Vec<SeriesExemplars>>, QueryError> {
        self.metrics.observe(QueryKind::Exemplars, budget, || {
            let expr = self.parse(expr)?;
            let mut selectors: Vec<&[Matcher]> = Vec::new();
            expr.walk(&mut |node| match &node.kind {
                ExprKind::VectorSelector(selector) => selectors.push(&selector.matchers),
                ExprKind::MatrixSelector(matrix) => selectors.push(&matrix.selector.matchers),
                _ => {}
            });
            if selectors.is_empty() {
                return Ok(None);
            }
            let snapshot = self.metrics_until_over(budget);
            let mut found: Vec<SeriesExemplars> = Vec::new();
            for matchers in selectors {
                budget.check()?;
                found.extend(settled(snapshot.exemplars(matchers, range), budget)?);
                budget.take_series(found.len() as u64)?;
            }
            found.retain(|series| !series.exemplars.is_empty());
            found.sort_by(|a, b| a.labels.cmp(&b.labels));
            // Two selectors may find the same series, and then found the same exemplars.
            found.dedup_by(|a, b| a.labels == b.labels);
            Ok(Some(found))
        })
    }

    pub fn metadata(&self, metric: Option<&str>) -> Vec<(String, Vec<MetricMetadata>)> {
        let mut families = self.store.metrics().metadata();
        families.retain(|(name, _)| metric.is_none_or(|wanted| wanted == name));
        families
    }

    /// Samples as they are now, read until the query is over.
    fn metrics_until_over(&self, budget: &Budget) -> MetricsSnapshot {
        self.store.metrics().until(budget.stop_sign())
    }

    fn logs_until_over(&self, budget: &Budget) -> LogsSnapshot {
        self.store.logs().until(budget.stop_sign())
    }

    fn traces_until_over(&self, budget: &Budget) -> TracesSnapshot {
        self.store.traces().until(budget.stop_sign())
    }
}

/// What storage found, if it came to an end with it before the query was over.
fn settled<T>(found: Result<T, ReadError>, budget: &Budget) -> Result<T, QueryError> {
    budget.check()?;
    found.map_err(|error| QueryError::Internal(error.to_string()))
}

#[derive(Clone, Copy)]
struct Times {
    start: Timestamp,
    end: Timestamp,
    /// 0: an instant.
    step_ms: i64,
}

#[derive(Clone, Copy)]
struct Ask {
    times: Times,
    lookback_ms: Option<i64>,
    limit: usize,
    per_step_stats: bool,
    strict: bool,
}

impl Answer {
    /// With the first `limit` series; 0 is all.
    pub fn limited(mut self, limit: usize) -> Answer {
        if limit > 0 && self.value.truncate(limit) {
            self.warnings.push(TRUNCATED.to_owned());
        }
        self
    }
}

/// The warning of an answer that was cut.
pub const TRUNCATED: &str = "results truncated due to limit";

impl QueryValue {
    /// Leaves the first `limit` series; true if there were more.
    fn truncate(&mut self, limit: usize) -> bool {
        let (len, truncate): (usize, &mut dyn FnMut()) = match self {
            QueryValue::Vector(samples) => (samples.len(), &mut || samples.truncate(limit)),
            QueryValue::Matrix(series) => (series.len(), &mut || series.truncate(limit)),
            QueryValue::Scalar(..) | QueryValue::String(..) => return false,
        };
        truncate();
        len > limit
    }
}
