//! A query that is over stops wherever it is: in the middle of a dictionary, of the lines of a block, of a trace's spans.
//! No clock is read: the budget trips at a certain check, and what counts is how many checks follow.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use super::budget::{Budget, Limits};
use super::logs::{
    AggregateBy, DetectedFieldsQuery, Direction, LogQuery, VolumeQuery, testing::SECOND as NANO_SECOND,
};
use super::traceql::ast::{Field, Scope};
use super::traces::fixture::{attributes, origin};
use super::traces::{SpanForm, TagScope, TagValuesQuery, TraceFilter, TraceQuery};
use super::{Options, Querier, QueryError};
use crate::model::{Exemplar, Labels, MatchOp, Matcher, NanoRange, TimeRange, TraceId};
use crate::storage::logs::{LogBatch, StreamRows};
use crate::storage::metrics::{ExemplarRow, MetricBatch};
use crate::storage::traces::SpanBatch;
use crate::storage::{self, Completion, Store, SyncMode, WriteError};

/// So many series with an exemplar each, streams with an entry each, lines of one stream, spans with an origin and an
/// attribute each.
const COUNT: usize = 2_000;

/// What is told of a span.
struct SpanText {
    trace: u64,
    number: u64,
    attribute: String,
}

struct Engine {
    store: Arc<Store>,
    querier: Querier,
    _dir: tempfile::TempDir,
}

fn told() -> (Completion, mpsc::Receiver<Result<(), WriteError>>) {
    let (sender, receiver) = mpsc::channel();
    (Box::new(move |result| sender.send(result).unwrap()), receiver)
}

impl Engine {
    /// Nothing in it.
    fn new() -> Engine {
        let dir = tempfile::tempdir().unwrap();
        let options =
            storage::Options { sync: SyncMode::Off, shards: 2, ..storage::Options::new(dir.path()) };
        let store = Store::open(options, &prometheus::Registry::new(), 0).unwrap();
        let querier = Querier::new(store.clone(), Options::default(), &prometheus::Registry::new());
        Engine { store, querier, _dir: dir }
    }

    fn open() -> Engine {
        let engine = Engine::new();
        engine.write_samples();
        engine.write_lines();
        engine.write_spans();
        engine
    }

    fn write_samples(&self) {
        let mut batch = MetricBatch::new(self.store.shard_count(), self.store.series_epoch());
        for i in 0..COUNT {
            let labels = Labels::from_sorted([("__name__", "big"), ("i", &format!("value-{i}"))]);
            let series = self.store.resolve(&labels, 0).unwrap();
            batch.sample(series, 1_000, i as f64);
            let labels = Labels::from_sorted([("trace_id", "t")]);
            let exemplar = Exemplar { labels, value: 1.0, timestamp: 1_000 };
            batch.shards[series.shard as usize].exemplars.push(ExemplarRow { id: series.id, exemplar });
        }
        let (done, result) = told();
        self.store.append(batch, done).unwrap();
        result.recv().unwrap().unwrap();
    }

    fn write_lines(&self) {
        let mut batch = LogBatch::new(self.store.shard_count());
        let mut add = |rows: StreamRows, labels: &Labels| {
            batch.shards[self.store.shard_of_stream(labels)].streams.push(rows);
        };
        let lines = Labels::from_sorted([("app", "lines")]);
        let mut rows = StreamRows::new(lines.clone());
        for i in 0..COUNT {
            let labels = Labels::from_sorted([("app", "streams"), ("i", &format!("value-{i}"))]);
            let mut one = StreamRows::new(labels.clone());
            one.push(NANO_SECOND, "a line", std::iter::empty());
            add(one, &labels);
            // No template fits all of them, so that none is decided without a look.
            let word: String = (0..30).map(|at| char::from(b'a' + (i * (at + 7) % 25) as u8)).collect();
            rows.push(NANO_SECOND + i as i64, &format!("{word}={i}"), std::iter::empty());
        }
        add(rows, &lines);
        let (done, result) = told();
        self.store.append_logs(batch, done).unwrap();
        result.recv().unwrap().unwrap();
    }

    fn write_spans(&self) {
        // The first half are one trace, the others of fifty spans each.
        self.append_spans((0..COUNT as u64).map(|i| SpanText {
            trace: if i < COUNT as u64 / 2 { 1 } else { i / 50 + 2 },
            number: i,
            attribute: format!("k-value-{i}"),
        }));
    }

    fn append_spans(&self, spans: impl Iterator<Item = SpanText>) {
        let mut batch = SpanBatch::new(self.store.shard_count());
        for SpanText { trace, number: i, attribute } in spans {
            let id = TraceId(u128::from(trace).to_be_bytes());
            let text = |text: String| Value::StringValue(text);
            let span = Span {
                trace_id: id.0.to_vec(),
                span_id: (i + 1).to_be_bytes().to_vec(),
                name: format!("span-{i}"),
                start_time_unix_nano: NANO_SECOND as u64,
                end_time_unix_nano: NANO_SECOND as u64 + i,
                attributes: attributes(&[("k", text(attribute))]),
                ..Span::default()
            };
            let of = origin(&[("service.name", text(format!("service-value-{i}")))]);
            let resource = opentelemetry_proto::tonic::trace::v1::ResourceSpans {
                resource: Some(of.resource.clone()),
                scope_spans: vec![Default::default()],
                ..Default::default()
            };
            let shard = batch.shard_of(id);
            let rows = &mut batch.shards[shard];
            rows.origins.push(resource.encode_to_vec());
            let number = rows.origins.len() as u32 - 1;
            rows.push(id, number, NANO_SECOND, NANO_SECOND + i as i64, &span.encode_to_vec());
        }
        let (done, result) = told();
        self.store.append_spans(batch, done).unwrap();
        result.recv().unwrap().unwrap();
    }
}

fn budget() -> Budget {
    let limits =
        Limits { samples_max: 1 << 30, series_max: 1 << 20, bytes_max: 1 << 30, log_bytes_max: 1 << 30 };
    Budget::new(Instant::now() + Duration::from_secs(600), limits)
}

type Question = (&'static str, fn(&Querier, &Budget) -> Result<(), QueryError>);

fn all<T>(_: T) {}

/// An expression that is compiled and has to be tried on every value; it lets all of them through.
fn selectors() -> Vec<Vec<Matcher>> {
    vec![vec![Matcher::new("i", MatchOp::Regex, ".*a.*u.*").unwrap()]]
}

const METRICS: [Question; 8] = [
    ("series", |querier, budget| querier.series(&selectors(), TimeRange::ALL, 0, budget).map(all)),
    ("label names", |querier, budget| querier.label_names(&selectors(), TimeRange::ALL, 0, budget).map(all)),
    ("values", |querier, budget| querier.label_values("i", &[], TimeRange::ALL, 0, budget).map(all)),
    ("values of some", |querier, budget| {
        querier.label_values("i", &selectors(), TimeRange::ALL, 0, budget).map(all)
    }),
    ("exemplars", |querier, budget| querier.exemplars("big{i=~'.*a.*u.*'}", TimeRange::ALL, budget).map(all)),
    ("instant", |querier, budget| {
        let request = super::InstantQuery {
            expr: "absent(big{i!~'.*a.*u.*'})".to_owned(),
            time: 2_000,
            lookback_ms: None,
            limit: 0,
            per_step_stats: false,
            strict: false,
        };
        querier.instant(&request, budget).map(all)
    }),
    ("remote read", |querier, budget| {
        let take = |_: &Labels, _: &_| std::ops::ControlFlow::<()>::Continue(());
        querier.samples(&selectors()[0], TimeRange::ALL, budget, take).map(all)
    }),
    ("federate", |querier, budget| querier.newest(&selectors(), 2_000, budget).map(all)),
];

const EVERY_STREAM: &str = "{i=~\".*a.*u.*\"}";

fn log_query(querier: &Querier, expr: &str, step_ns: i64, budget: &Budget) -> Result<(), QueryError> {
    let request = LogQuery {
        expr: expr.to_owned(),
        start: 0,
        end: 10 * NANO_SECOND,
        step_ns,
        interval_ns: 0,
        direction: Direction::Forward,
        limit: 10,
        now: 0,
    };
    querier.logs(&request, budget).map(all)
}

fn volume_query(querier: &Querier, budget: &Budget) -> Result<(), QueryError> {
    let request = VolumeQuery {
        expr: EVERY_STREAM.to_owned(),
        start: 0,
        end: 10 * NANO_SECOND,
        step_ns: 0,
        limit: 10,
        target_labels: Vec::new(),
        aggregate_by: AggregateBy::Series,
    };
    querier.log_volume(&request, budget).map(all)
}

const LOGS: [Question; 13] = [
    ("names", |querier, budget| querier.log_label_names(Some(EVERY_STREAM), NanoRange::ALL, budget).map(all)),
    ("values", |querier, budget| querier.log_label_values("i", None, NanoRange::ALL, budget).map(all)),
    ("values of some", |querier, budget| {
        querier.log_label_values("i", Some(EVERY_STREAM), NanoRange::ALL, budget).map(all)
    }),
    ("series", |querier, budget| {
        querier.log_series(&[EVERY_STREAM.to_owned()], NanoRange::ALL, budget).map(all)
    }),
    ("stats", |querier, budget| querier.log_stats(EVERY_STREAM, NanoRange::ALL, budget).map(all)),
    ("volume", |querier, budget| volume_query(querier, budget)),
    ("detected labels", |querier, budget| {
        querier.detected_labels(Some(EVERY_STREAM), NanoRange::ALL, budget).map(all)
    }),
    ("no stream", |querier, budget| {
        log_query(querier, "{app=\"streams\", i!~\".*a.*u.*\"}", NANO_SECOND, budget)
    }),
    ("lines", |querier, budget| {
        log_query(querier, "{app=\"lines\"} |~ \"[a-z][=-][0-9]+[^0-9]\"", NANO_SECOND, budget)
    }),
    ("stages", |querier, budget| {
        let expr = "{app=\"lines\"} | regexp \"(?P<word>[a-z]+)=\" | word=\"none\"";
        log_query(querier, expr, NANO_SECOND, budget)
    }),
    ("counts", |querier, budget| {
        log_query(
            querier,
            "count_over_time({app=\"lines\"} |~ \"[a-z][=-][0-9]+[^0-9]\" [5s])",
            NANO_SECOND,
            budget,
        )
    }),
    ("values in lines", |querier, budget| {
        let expr = "sum(sum_over_time({app=\"lines\"} | regexp \"=(?P<n>[0-9]+)\" | unwrap n [5s]))";
        log_query(querier, expr, NANO_SECOND, budget)
    }),
    ("fields", |querier, budget| {
        let request = DetectedFieldsQuery {
            expr: "{app=\"lines\"} |~ \"[a-z][=-][0-9]+[^0-9]\"".to_owned(),
            start: 0,
            end: 10 * NANO_SECOND,
            line_limit: 10,
            limit: 10,
        };
        querier.detected_fields(&request, budget).map(all)
    }),
];

fn trace_query(querier: &Querier, text: &str, budget: &Budget) -> Result<(), QueryError> {
    let what = TraceFilter::TraceQl(text.to_owned());
    let request = TraceQuery { what, range: NanoRange::ALL, limit: 10, spans_per_spanset: 3 };
    querier.search_traces(&request, budget).map(all)
}

fn tag_values(querier: &Querier, scope: Scope, key: &str, budget: &Budget) -> Result<(), QueryError> {
    let request = TagValuesQuery {
        field: Field::attribute(scope, key),
        filter: String::new(),
        range: NanoRange::ALL,
        limit: 10,
    };
    querier.trace_tag_values(&request, budget).map(all)
}

const TRACES: [Question; 8] = [
    ("by name", |querier, budget| trace_query(querier, "{ name =~ \".*a.*x.*\" }", budget)),
    ("by attribute", |querier, budget| trace_query(querier, "{ span.k =~ \".*a.*x.*\" }", budget)),
    ("by resource", |querier, budget| {
        trace_query(querier, "{ resource.service.name =~ \".*a.*x.*\" }", budget)
    }),
    ("of one trace", |querier, budget| {
        trace_query(querier, "{ name = \"span-1\" } >> { span.k =~ \".*a.*x.*\" }", budget)
    }),
    ("values", |querier, budget| tag_values(querier, Scope::Span, "k", budget)),
    ("dependencies", |querier, budget| querier.trace_dependencies(NanoRange::ALL, budget).map(all)),
    ("tags", |querier, budget| querier.trace_tags(TagScope::Span, NanoRange::ALL, budget).map(all)),
    ("form", |querier, budget| {
        let form = SpanForm { service: "service-value-7".to_owned(), ..SpanForm::default() };
        querier.find_traces(&form, NanoRange::ALL, 10, budget).map(all)
    }),
];

/// Looks of one question that has nothing to do but to go through so many texts; the dearest step is a line of 34 bytes.
const LOOKS_MIN: u64 = (COUNT * 16 / 4_096) as u64;

fn stops_wherever_it_is(engine: &Engine, where_it_is: &str, questions: &[Question], looks_min: u64) {
    for (name, ask) in questions {
        let whole = budget();
        ask(&engine.querier, &whole).unwrap_or_else(|error| panic!("{name} {where_it_is}: {error}"));
        assert!(whole.checks() >= looks_min, "{name} {where_it_is}: only {} checks", whole.checks());
        for trips_at in [1, (whole.checks() / 2).max(1)] {
            let budget = budget().trips_at(trips_at);
            let refused = ask(&engine.querier, &budget).map_err(|error| error.to_string());
            let late = Err("query timed out in expression evaluation".to_owned());
            assert_eq!(refused, late, "{name} {where_it_is} at check {trips_at}");
            let after = budget.checks() - trips_at;
            // Each source begins with a look, and each of two threads may have a part to read.
            assert!(after < 8, "{name} {where_it_is}: went on for {after} checks after {trips_at}");
            assert_eq!(budget.takes_since_check(), 0, "{name} {where_it_is}: went on growing");
        }
    }
}

#[test]
fn a_query_that_is_over_stops_in_the_middle_of_what_it_looks_through() {
    let engine = Engine::open();
    for where_it_is in ["in memory", "in segments"] {
        stops_wherever_it_is(&engine, where_it_is, &METRICS, LOOKS_MIN);
        stops_wherever_it_is(&engine, where_it_is, &LOGS, LOOKS_MIN);
        // Sealed spans are looked through by column and by block, which says less often what was looked at.
        let looks_min = if where_it_is == "in memory" { LOOKS_MIN } else { 1 };
        stops_wherever_it_is(&engine, where_it_is, &TRACES, looks_min);
        engine.store.seal(0).unwrap();
    }
    stops_wherever_it_is(&engine, "in segments", &TRACES[..3], LOOKS_MIN);
}

/// Large once compiled, and never done before the end of [`long_text`].
const LARGE: &str = "[ab]+[xy]{1000}[yz]{1000}";

fn long_text() -> String {
    "ab".repeat(8 << 10)
}

/// One series with a long label, one long line, one span with a long attribute.
fn write_long_texts(engine: &Engine) {
    let mut batch = MetricBatch::new(engine.store.shard_count(), engine.store.series_epoch());
    let labels = Labels::from_sorted([("__name__", "long"), ("i", &long_text())]);
    batch.sample(engine.store.resolve(&labels, 0).unwrap(), 1_000, 1.0);
    let (done, result) = told();
    engine.store.append(batch, done).unwrap();
    result.recv().unwrap().unwrap();

    let mut batch = LogBatch::new(engine.store.shard_count());
    let labels = Labels::from_sorted([("app", "long")]);
    let mut rows = StreamRows::new(labels.clone());
    rows.push(NANO_SECOND, &long_text(), std::iter::empty());
    batch.shards[engine.store.shard_of_stream(&labels)].streams.push(rows);
    let (done, result) = told();
    engine.store.append_logs(batch, done).unwrap();
    result.recv().unwrap().unwrap();

    engine.append_spans((0..1).map(|_| SpanText { trace: 9_999, number: 9_999, attribute: long_text() }));
}

const LONG_TEXTS: [Question; 6] = [
    ("a line", |querier, budget| {
        log_query(querier, &format!("{{app=\"long\"}} |~ \"{LARGE}\""), NANO_SECOND, budget)
    }),
    ("a line as it became", |querier, budget| {
        let expr = format!("{{app=\"long\"}} | line_format `{{{{__line__}}}}a` |~ \"{LARGE}\"");
        log_query(querier, &expr, NANO_SECOND, budget)
    }),
    ("groups of a line", |querier, budget| {
        let expr = format!("{{app=\"long\"}} | regexp \"(?P<all>{LARGE})\" | all=\"none\"");
        log_query(querier, &expr, NANO_SECOND, budget)
    }),
    ("a label of a line", |querier, budget| {
        let expr = format!("{{app=\"long\"}} | regexp \"(?P<all>[ab]+)\" | all=~\"{LARGE}\"");
        log_query(querier, &expr, NANO_SECOND, budget)
    }),
    ("an attribute", |querier, budget| trace_query(querier, &format!("{{ span.k =~ \"{LARGE}\" }}"), budget)),
    ("a label", |querier, budget| {
        let request = super::InstantQuery {
            expr: format!("label_replace(long, \"to\", \"$1\", \"i\", \"({LARGE})\")"),
            time: 2_000,
            lookback_ms: None,
            limit: 0,
            per_step_stats: false,
            strict: false,
        };
        querier.instant(&request, budget).map(all)
    }),
];

#[test]
fn a_query_that_is_over_stops_in_the_middle_of_one_long_text() {
    let engine = Engine::new();
    write_long_texts(&engine);
    for where_it_is in ["in memory", "in segments"] {
        stops_wherever_it_is(&engine, where_it_is, &LONG_TEXTS, long_text().len() as u64 / 64);
        engine.store.seal(0).unwrap();
    }
}

#[test]
fn a_listing_is_paid_for() {
    let engine = Engine::open();
    for (name, ask) in [METRICS[0], METRICS[2], LOGS[1], LOGS[3]] {
        let limits =
            Limits { samples_max: 0, series_max: 1 << 20, bytes_max: COUNT as u64 * 20, log_bytes_max: 0 };
        let budget = Budget::new(Instant::now() + Duration::from_secs(600), limits);
        let refused = ask(&engine.querier, &budget).unwrap_err().to_string();
        assert!(refused.ends_with("(--query.max-bytes)"), "{name}: {refused}");
    }
}
