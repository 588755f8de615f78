//! Runs the commands of a script: loads go through the store's door, evals through the querier.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::series::SequenceValue;
use icecore::model::histogram::{CUSTOM_BUCKETS_SCHEMA, ResetHint, Span};
use icecore::model::{Histogram, Labels, LabelsBuilder};
use icecore::query::budget::Limits;
use icecore::query::promql::ast::{At, Expr, ExprKind};
use icecore::query::promql::functions_table::Function;
use icecore::query::promql::{ParseOptions, parse};
use icecore::query::{
    Answer, Budget, InstantQuery, Options, Querier, QueryError, QueryValue, RangeQuery, VectorSample,
};
use icecore::storage::metrics::{HistogramRow, MetricBatch, SeriesRef, StartRow};
use icecore::storage::{self, Store, SyncMode};

use crate::Report;
use crate::compare::{check, show, value_at};
use crate::script::{Command, CommandKind, Eval, Load, When, commands};

/// When metric names are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// At the end of the query: the mode the scripts were written for.
    Delayed,
    /// At each operation: the default of Prometheus's server and ours.
    Immediate,
}

/// A store of its own and a querier with the options of Prometheus's test engine.
pub struct Engine {
    store: Arc<Store>,
    querier: Querier,
    _dir: tempfile::TempDir,
}

impl Engine {
    pub fn open(names: Names) -> Engine {
        let dir = tempfile::tempdir().unwrap();
        // One shard: ties are settled in the order of the load.
        let options =
            storage::Options { shards: 1, sync: SyncMode::Off, ..storage::Options::new(dir.path()) };
        let store = Store::open(options, &prometheus::Registry::new(), 0).unwrap();
        let options = Options {
            experimental_functions: true,
            extended_range_selectors: true,
            fill_modifiers: true,
            delayed_name_removal: names == Names::Delayed,
            use_start_timestamps: true,
            ..Options::default()
        };
        let querier = Querier::new(store.clone(), options, &prometheus::Registry::new());
        Engine { store, querier, _dir: dir }
    }

    pub fn load(&self, load: &Load) {
        let mut batch = MetricBatch::new(self.store.shard_count(), self.store.series_epoch());
        for (labels, values) in &load.series {
            self.add(&mut batch, labels, load.step_ms, values);
        }
        for (labels, offsets) in &load.starts {
            self.add_starts(&mut batch, labels, load.step_ms, offsets);
        }
        if load.with_nhcb {
            for (labels, values) in custom_bucket_histograms(&load.series) {
                self.add(&mut batch, &labels, load.step_ms, &values);
            }
        }
        let (sender, receiver) = std::sync::mpsc::channel();
        self.store.append(batch, Box::new(move |result| sender.send(result).unwrap())).unwrap();
        receiver.recv().unwrap().unwrap();
    }

    fn add(&self, batch: &mut MetricBatch, labels: &Labels, step_ms: i64, values: &[Option<SequenceValue>]) {
        let series = self.store.resolve(labels, 0).unwrap();
        let mut previous: Option<Histogram> = None;
        for (i, value) in values.iter().enumerate() {
            let timestamp = i as i64 * step_ms;
            match value {
                None => {}
                Some(SequenceValue::Float(value)) => {
                    batch.sample(series, timestamp, *value);
                    previous = None;
                }
                Some(SequenceValue::Histogram { histogram, .. }) => {
                    // Prometheus's store tells hints anew from what it stores; ours keeps what it is given.
                    let mut stored = (**histogram).clone();
                    stored.hint = ResetHint::after(previous.as_ref(), histogram);
                    previous = Some((**histogram).clone());
                    batch.shards[series.shard as usize].histograms.push(HistogramRow {
                        id: series.id,
                        timestamp,
                        histogram: Box::new(stored),
                    });
                }
            }
        }
    }

    /// Starts are told with the sample that has them, and where one has none that is told too.
    fn add_starts(&self, batch: &mut MetricBatch, labels: &Labels, step_ms: i64, offsets: &[Option<i64>]) {
        let SeriesRef { shard, id } = self.store.resolve(labels, 0).unwrap();
        for (i, offset) in offsets.iter().enumerate() {
            let timestamp = i as i64 * step_ms;
            let start = offset.map_or(0, |offset| timestamp + offset);
            batch.shards[shard as usize].starts.push(StartRow { id, timestamp, start });
        }
    }

    pub fn ask(&self, query: &str, when: When) -> Result<Answer, QueryError> {
        let limits =
            Limits { samples_max: 50_000_000, series_max: 100_000, bytes_max: 1 << 30, log_bytes_max: 0 };
        let budget = Budget::new(Instant::now() + Duration::from_secs(100), limits);
        let expr = query.to_owned();
        match when {
            When::Instant(time) => {
                let request = InstantQuery {
                    expr,
                    time,
                    lookback_ms: None,
                    limit: 0,
                    per_step_stats: false,
                    strict: false,
                };
                self.querier.instant(&request, &budget)
            }
            When::Range { start, end, step_ms } => {
                let request = RangeQuery {
                    expr,
                    start,
                    end,
                    step_ms,
                    lookback_ms: None,
                    limit: 0,
                    per_step_stats: false,
                    strict: false,
                };
                self.querier.range(&request, &budget)
            }
        }
    }

    /// An eval passes if it does as written and in every variant that must give the same.
    fn eval(&self, eval: &Eval) -> Result<(), String> {
        let expect = &eval.expect;
        let when = eval.asked_at();
        let When::Instant(time) = when else {
            return check(expect, when, &self.ask(&eval.query, when));
        };
        let no_range = expect.fails || expect.range_vector.is_some() || expect.string.is_some();
        for (query, at) in variants(&eval.query, time) {
            let when = When::Instant(at);
            check(expect, when, &self.ask(&query, when)).map_err(|e| format!("as {query} at {at}: {e}"))?;
            if !no_range && !asks_for_the_query_range(&query) {
                self.as_range(eval, &query, at)
                    .map_err(|e| format!("as {query} in a range around {at}: {e}"))?;
            }
        }
        Ok(())
    }

    /// Which eval failed, what was expected of it as the script has it, and what came out.
    fn failure(&self, line: usize, eval: &Eval, what: &str) -> String {
        let got = show(&self.ask(&eval.query, eval.asked_at()));
        let expected = eval.expected_lines.join("\n    ");
        format!("line {line}: {}\n    {what}\n  expected:\n    {expected}\n  got:\n    {got}", eval.query)
    }

    /// The middle step of a range query gives what the instant query gives.
    fn as_range(&self, eval: &Eval, query: &str, time: i64) -> Result<(), String> {
        let when = When::Range { start: time - 60_000, end: time + 60_000, step_ms: 60_000 };
        let answer = self.ask(query, when).map_err(|e| e.to_string())?;
        let QueryValue::Matrix(matrix) = &answer.value else { return Err("no matrix".into()) };
        if !matrix.is_sorted_by_key(|series| &series.labels) {
            return Err("the series of a range are not in order of their labels".into());
        }
        if eval.expect.ordered {
            return Ok(());
        }
        let middle: Vec<VectorSample> = matrix
            .iter()
            .filter_map(|series| {
                let value = value_at(series, time)?;
                Some(VectorSample { labels: series.labels.clone(), timestamp: time, value })
            })
            .collect();
        let value = match (eval.expect.scalar, &middle[..]) {
            (Some(_), [only]) => match only.value {
                icecore::query::SampleValue::Float(value) => QueryValue::Scalar(time, value),
                _ => return Err("a histogram for a scalar".into()),
            },
            _ => QueryValue::Vector(middle),
        };
        // Other steps may leave annotations of their own.
        let expect = crate::script::Expect {
            scalar: eval.expect.scalar,
            series: eval.expect.series.clone(),
            ..Default::default()
        };
        let middle = Answer { value, warnings: Vec::new(), infos: Vec::new(), ..answer };
        check(&expect, When::Instant(time), &Ok(middle))
    }
}

fn asks_for_the_query_range(query: &str) -> bool {
    ["start()", "end()", "range()", "step()"].iter().any(|call| query.contains(call))
}

/// The query as written, then with its time pinned and asked for at other times.
fn variants(query: &str, time: i64) -> Vec<(String, i64)> {
    let mut variants = vec![(query.to_owned(), time)];
    if let Some(pinned) = pinned_query(query, time) {
        let times =
            if time == 0 { vec![-1000, 0, 1000] } else { vec![-10 * time, 0, time / 5, time, 10 * time] };
        variants.extend(times.into_iter().map(|at| (pinned.clone(), at)));
    }
    variants
}

/// The query with `@ time` on every selector that has none, as text; `None` where that would change its meaning.
fn pinned_query(query: &str, time: i64) -> Option<String> {
    let mut expr = parse(query, &ParseOptions::all()).ok()?;
    let mut is_unsafe = false;
    expr.walk(&mut |node| {
        use Function::*;
        if let ExprKind::Call(call) = &node.kind {
            is_unsafe |= matches!(
                call.function,
                DaysInMonth
                    | DayOfMonth
                    | DayOfWeek
                    | DayOfYear
                    | Hour
                    | Minute
                    | Month
                    | Year
                    | PredictLinear
                    | Time
                    | Timestamp
                    | Start
                    | End
                    | Range
                    | Step
            );
        }
    });
    if is_unsafe {
        return None;
    }
    pin(&mut expr, time);
    Some(expr.to_string())
}

fn pin(expr: &mut Expr, time: i64) {
    let at = Some(At::Timestamp(time));
    match &mut expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => {}
        ExprKind::VectorSelector(selector) => selector.at = selector.at.or(at),
        ExprKind::MatrixSelector(matrix) => matrix.selector.at = matrix.selector.at.or(at),
        // Inside a subquery, the steps differ; what is pinned is the subquery itself.
        ExprKind::Subquery(subquery) => subquery.at = subquery.at.or(at),
        ExprKind::Unary(unary) => pin(&mut unary.expr, time),
        ExprKind::Paren(inner) => pin(inner, time),
        ExprKind::Binary(binary) => {
            pin(&mut binary.lhs, time);
            pin(&mut binary.rhs, time);
        }
        ExprKind::Aggregate(aggregate) => {
            aggregate.param.iter_mut().for_each(|param| pin(param, time));
            pin(&mut aggregate.expr, time);
        }
        ExprKind::Call(call) => call.args.iter_mut().for_each(|arg| pin(arg, time)),
    }
}

pub fn run_file(text: &str, names: Names) -> Report {
    let mut report = Report::default();
    let mut engine = Engine::open(names);
    for Command { line, kind } in commands(text) {
        match kind {
            CommandKind::Clear => engine = Engine::open(names),
            CommandKind::Load(load) => engine.load(&load),
            CommandKind::Eval(eval) => match engine.eval(&eval) {
                Ok(()) => report.passed += 1,
                Err(what) => report.failures.push(engine.failure(line, &eval, &what)),
            },
            CommandKind::Unsupported(what) => report.failures.push(format!("line {line}: {what}")),
        }
    }
    report
}

/// Classic histograms as native ones with custom buckets, one for each base name, label set and step.
fn custom_bucket_histograms(
    series: &[(Labels, Vec<Option<SequenceValue>>)],
) -> Vec<(Labels, Vec<Option<SequenceValue>>)> {
    #[derive(Default, Clone)]
    struct Parts {
        buckets: Vec<(f64, f64)>,
        count: Option<f64>,
        sum: Option<f64>,
    }
    let mut found: Vec<(Labels, Vec<Parts>)> = Vec::new();
    for (labels, values) in series {
        let name = labels.metric_name();
        let Some((base, suffix)) = name.rsplit_once('_') else { continue };
        let bound = labels.get("le").parse::<f64>().ok().filter(|b| !b.is_nan());
        if !matches!(suffix, "bucket" | "count" | "sum") || suffix == "bucket" && bound.is_none() {
            continue;
        }
        let key = LabelsBuilder::from_labels(labels).remove("le").set("__name__", base).build();
        let place = found.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
            found.push((key, Vec::new()));
            found.len() - 1
        });
        let steps = &mut found[place].1;
        steps.resize(steps.len().max(values.len()), Parts::default());
        for (step, value) in values.iter().enumerate() {
            let Some(SequenceValue::Float(value)) = value else { continue };
            match (suffix, bound) {
                ("bucket", Some(bound)) => steps[step].buckets.push((bound, *value)),
                ("count", _) => steps[step].count = Some(*value),
                _ => steps[step].sum = Some(*value),
            }
        }
    }
    let histogram = |parts: &Parts| {
        if parts.buckets.is_empty() && parts.count.is_none() && parts.sum.is_none() {
            return None;
        }
        let mut buckets = parts.buckets.clone();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let last = buckets.last().copied();
        let count = parts.count.or(last.map(|(_, count)| count)).unwrap_or(0.0);
        if last.is_none_or(|(bound, _)| bound != f64::INFINITY) {
            buckets.push((f64::INFINITY, count));
        }
        let counts: Vec<f64> = buckets
            .iter()
            .scan(0.0, |below, (_, count)| Some(count - std::mem::replace(below, *count)))
            .collect();
        let mut made = Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count,
            sum: parts.sum.unwrap_or(0.0),
            positive_spans: vec![Span { offset: 0, length: counts.len() as u32 }],
            positive_buckets: counts,
            custom_bounds: buckets.iter().map(|(b, _)| *b).filter(|b| *b != f64::INFINITY).collect(),
            ..Histogram::default()
        };
        made.compact(0);
        Some(SequenceValue::Histogram { histogram: Box::new(made), is_hint_given: false })
    };
    found.into_iter().map(|(labels, steps)| (labels, steps.iter().map(histogram).collect())).collect()
}
