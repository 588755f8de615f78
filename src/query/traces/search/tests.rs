//! Random traces and random queries: what the search finds is what a scan of all traces finds that knows no index, no
//! tree and no columns.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::trace::v1::Status;
use proptest::prelude::*;

use super::*;
use crate::query::budget::Limits;
use crate::query::traceql::ast::Query;
use crate::query::traceql::{ParseOptions, parse};
use crate::query::traces::fixture::{attributes, origin, span};
use crate::storage::traces::{AttributeScope, SpanCondition, SpanField, ValueRef};

/// Whether a span fulfils a condition, by definition.
type Plain = fn(&StoredSpan) -> bool;

fn attribute<'s>(stored: &'s StoredSpan, key: &str) -> Option<&'s AnyValue> {
    let found = stored.span.attributes.iter().find(|a| a.key == key);
    found.and_then(|a| a.value.as_ref()).and_then(|value| value.value.as_ref())
}

fn service(stored: &StoredSpan) -> &str {
    stored.origin.service_name().unwrap()
}

fn int(stored: &StoredSpan, key: &str) -> Option<i64> {
    match attribute(stored, key) {
        Some(AnyValue::IntValue(value)) => Some(*value),
        _ => None,
    }
}

/// Conditions in words of the language and in Rust.
const CONDITIONS: [(&str, Plain); 16] = [
    ("name = \"a\"", |s| s.span.name == "a"),
    ("name =~ \"[ab]\"", |s| s.span.name != "c"),
    ("name !~ \"a|x\"", |s| s.span.name != "a"),
    ("resource.service.name = \"x\"", |s| service(s) == "x"),
    ("resource.service.name != \"x\"", |s| service(s) != "x"),
    (".service.name = \"y\"", |s| service(s) == "y"),
    ("duration > 5", |s| s.duration_ns() > 5),
    ("3 >= duration", |s| s.duration_ns() <= 3),
    ("status = error", |s| s.span.status.as_ref().is_some_and(|status| status.code == 2)),
    ("status = unset", |s| s.span.status.as_ref().is_none_or(|status| !(1..=2).contains(&status.code))),
    ("span.k = 1", |s| int(s, "k") == Some(1) || attribute(s, "k") == Some(&AnyValue::DoubleValue(1.0))),
    (".k != 1", |s| {
        int(s, "k").is_some_and(|k| k != 1)
            || matches!(attribute(s, "k"), Some(AnyValue::DoubleValue(k)) if *k != 1.0)
    }),
    (".k = nil", |s| attribute(s, "k").is_none()),
    (".k != nil", |s| attribute(s, "k").is_some()),
    (".k + 1 > 2", |s| match attribute(s, "k") {
        Some(AnyValue::IntValue(k)) => *k > 1,
        Some(AnyValue::DoubleValue(k)) => *k > 1.0,
        _ => false,
    }),
    (".k = \"one\"", |s| attribute(s, "k") == Some(&AnyValue::StringValue("one".to_owned()))),
];

/// A condition, put together from those above.
#[derive(Clone, Debug)]
enum Condition {
    Plain(usize),
    Not(Box<Condition>),
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
}

impl Condition {
    fn text(&self) -> String {
        match self {
            Condition::Plain(i) => format!("({})", CONDITIONS[*i].0),
            Condition::Not(inner) => format!("!({})", inner.text()),
            Condition::And(a, b) => format!("({} && {})", a.text(), b.text()),
            Condition::Or(a, b) => format!("({} || {})", a.text(), b.text()),
        }
    }

    fn holds(&self, span: &StoredSpan) -> bool {
        match self {
            Condition::Plain(i) => CONDITIONS[*i].1(span),
            Condition::Not(inner) => !inner.holds(span),
            Condition::And(a, b) => a.holds(span) && b.holds(span),
            Condition::Or(a, b) => a.holds(span) || b.holds(span),
        }
    }
}

fn any_condition() -> impl Strategy<Value = Condition> {
    let plain = (0..CONDITIONS.len()).prop_map(Condition::Plain);
    plain.prop_recursive(3, 8, 2, |inner| {
        let two = || (inner.clone().prop_map(Box::new), inner.clone().prop_map(Box::new));
        prop_oneof![
            inner.clone().prop_map(|c| Condition::Not(Box::new(c))),
            two().prop_map(|(a, b)| Condition::And(a, b)),
            two().prop_map(|(a, b)| Condition::Or(a, b)),
        ]
    })
}

/// Spansets, and which spans of a trace they hold by definition.
#[derive(Clone, Debug)]
enum Spansets {
    Filter(Condition),
    Joined(Box<Spansets>, &'static str, Box<Spansets>),
}

const OPERATORS: [&str; 17] =
    ["&&", "||", ">", ">>", "<", "<<", "~", "!>", "!>>", "!<", "!<<", "!~", "&>", "&>>", "&<", "&<<", "&~"];

impl Spansets {
    fn text(&self) -> String {
        match self {
            Spansets::Filter(condition) => format!("{{ {} }}", condition.text()),
            Spansets::Joined(a, op, b) => format!("({} {op} {})", a.text(), b.text()),
        }
    }

    fn spans(&self, trace: &[StoredSpan]) -> Vec<bool> {
        match self {
            Spansets::Filter(condition) => trace.iter().map(|span| condition.holds(span)).collect(),
            Spansets::Joined(a, op, b) => {
                let (a, b) = (a.spans(trace), b.spans(trace));
                let both_there = a.contains(&true) && b.contains(&true);
                let related = |of: usize, to: usize| stands(trace, of, op.trim_start_matches(['!', '&']), to);
                let right = |i: usize| b[i] && (0..a.len()).any(|l| a[l] && related(i, l));
                let left = |i: usize| a[i] && (0..b.len()).any(|r| b[r] && related(r, i));
                let holds = |i: usize| match *op {
                    "&&" => both_there && (a[i] || b[i]),
                    "||" => a[i] || b[i],
                    _ if op.starts_with('!') => b[i] && !right(i),
                    _ if op.starts_with('&') => right(i) || left(i),
                    _ => right(i),
                };
                (0..trace.len()).map(holds).collect()
            }
        }
    }
}

/// Whether span `of` is to span `to` what the sign says.
fn stands(trace: &[StoredSpan], of: usize, sign: &str, to: usize) -> bool {
    let id = |i: usize| &trace[i].span.span_id;
    let parent = |i: usize| &trace[i].span.parent_span_id;
    let parent_index = |i: usize| (0..trace.len()).find(|p| id(*p) == parent(i));
    let is_below = |mut below: usize, above: usize| {
        while let Some(next) = parent_index(below) {
            if next == above {
                return true;
            }
            below = next;
        }
        false
    };
    match sign {
        ">" => parent_index(of) == Some(to),
        ">>" => is_below(of, to),
        "<" => parent_index(to) == Some(of),
        "<<" => is_below(to, of),
        "~" => of != to && !parent(of).is_empty() && parent(of) == parent(to),
        _ => unreachable!("{sign}"),
    }
}

fn any_spansets() -> impl Strategy<Value = Spansets> {
    let filter = any_condition().prop_map(Spansets::Filter);
    filter.prop_recursive(2, 4, 2, |inner| {
        let side = || inner.clone().prop_map(Box::new);
        let joined = (side(), prop::sample::select(OPERATORS.to_vec()), side());
        joined.prop_map(|(a, op, b)| Spansets::Joined(a, op, b))
    })
}

/// A trace's spans: each has one of those before it, or one that never came, as its parent.
fn any_trace() -> impl Strategy<Value = Vec<StoredSpan>> {
    let value = prop_oneof![
        3 => Just(None),
        3 => (0..3i64).prop_map(|k| Some(AnyValue::IntValue(k))),
        1 => Just(Some(AnyValue::DoubleValue(1.0))),
        1 => Just(Some(AnyValue::StringValue("one".to_owned()))),
    ];
    let names = prop::sample::select(vec!["a", "b", "c"]);
    let services = prop::sample::select(vec!["x", "y"]);
    let one = (names, services, value, 0..4i32, 0..8u64, any::<prop::sample::Index>());
    (0..20u64, prop::collection::vec(one, 1..7)).prop_map(|(base, spans)| {
        let built = spans.into_iter().enumerate().map(|(i, (name, service, k, code, length, parent))| {
            let parent = match parent.index(i + 2) as u64 {
                0 if i == 0 => 0,
                parent if parent > i as u64 => 99,
                parent => parent,
            };
            let start = base + i as u64;
            let mut built = span(i as u64 + 1, parent, start, start + length);
            built.span.name = name.to_owned();
            built.span.status = (code > 0).then(|| Status { code, ..Status::default() });
            built.span.attributes = k.map_or(Vec::new(), |k| attributes(&[("k", k)]));
            built.origin = origin(&[("service.name", AnyValue::StringValue(service.to_owned()))]);
            built
        });
        built.collect()
    })
}

/// Storage by definition: traces with a span that overlaps the range and fulfils a conjunction.
fn candidates(
    traces: &BTreeMap<TraceId, Vec<StoredSpan>>,
    range: NanoRange,
    any_of: &[Vec<SpanCondition>],
) -> Vec<Candidate> {
    let mut found = Vec::new();
    for (id, spans) in traces {
        let meets = |span: &&StoredSpan| {
            span.start() <= range.until
                && span.start() + span.duration_ns() > range.after
                && any_of.iter().any(|all| all.iter().all(|condition| is_met(condition, span)))
        };
        if let Some(start) = spans.iter().filter(meets).map(StoredSpan::start).min() {
            found.push(Candidate { id: *id, start });
        }
    }
    found.sort_by_key(|candidate| (std::cmp::Reverse(candidate.start), candidate.id));
    found
}

fn is_met(condition: &SpanCondition, stored: &StoredSpan) -> bool {
    let (span, test) = (&stored.span, &condition.test);
    let status = span.status.clone().unwrap_or_default();
    match &condition.field {
        SpanField::Name => test.is_met_by(ValueRef::Text(&span.name)),
        SpanField::Duration => test.is_met_by(ValueRef::Integer(stored.duration_ns())),
        SpanField::Status => test.is_met_by(ValueRef::Integer(status.code.into())),
        SpanField::StatusMessage => test.is_met_by(ValueRef::Text(&status.message)),
        SpanField::Kind => test.is_met_by(ValueRef::Integer(span.kind.into())),
        SpanField::Attribute { scope, key } => {
            let of_span = span.attributes.iter().filter(|_| *scope != AttributeScope::Resource);
            let of_resource = stored.origin.resource.attributes.iter();
            let of_resource = of_resource.filter(|_| *scope != AttributeScope::Span);
            let mut values = of_span.chain(of_resource).filter(|a| a.key == *key).filter_map(ValueRef::of);
            values.any(|value| test.is_met_by(value))
        }
    }
}

fn budget() -> Budget {
    let limits = Limits { samples_max: 0, series_max: 0, bytes_max: u64::MAX, log_bytes_max: 0 };
    Budget::new(Instant::now() + Duration::from_secs(600), limits)
}

fn pipeline(text: &str) -> Pipeline {
    match parse(text, ParseOptions { regexes_max: 99, regex_cache: None }) {
        Ok(Query::Search(pipeline)) => pipeline,
        other => panic!("{text}: {other:?}"),
    }
}

proptest! {
    #[test]
    fn the_search_finds_what_a_scan_finds_and_the_newest_first(
        traces in prop::collection::vec(any_trace(), 0..12),
        spansets in any_spansets(),
        limit in 1..6usize,
        after in 0..20i64,
        length in 0..30i64,
    ) {
        let range = NanoRange { after, until: after + length };
        let id = |i: usize| TraceId([i as u8 + 1; 16]);
        let traces: BTreeMap<TraceId, Vec<StoredSpan>> =
            traces.into_iter().enumerate().map(|(i, spans)| (id(i), spans)).collect();

        let mut expected = Vec::new();
        for (id, spans) in &traces {
            let start = spans.iter().map(StoredSpan::start).min().unwrap();
            let end = spans.iter().map(|s| s.start() + s.duration_ns()).max().unwrap();
            let marks = spansets.spans(spans);
            if start <= range.until && end > range.after && marks.contains(&true) {
                let matched: Vec<usize> = (0..marks.len()).filter(|i| marks[*i]).collect();
                expected.push((std::cmp::Reverse(start), *id, matched));
            }
        }
        expected.sort();
        expected.truncate(limit);

        let query = pipeline(&spansets.text());
        // The range is checked on whole traces; storage is asked without one here.
        let candidates = candidates(&traces, NanoRange::ALL, &conditions(&query));
        let load = |id: TraceId| Ok(traces[&id].clone());
        let mut candidates = candidates.into_iter();
        let matches = newest(|| Ok(candidates.next()), load, &query, range, limit, &budget()).unwrap();
        let found: Vec<_> = matches
            .found
            .into_iter()
            .map(|f| (std::cmp::Reverse(f.trace.start), f.trace.id, f.spansets[0].spans.clone()))
            .collect();
        prop_assert_eq!(found, expected, "{}", spansets.text());
    }
}

/// Three services: x calls y twice (1 fails), y calls x.
fn small() -> Trace {
    let mut spans = vec![span(1, 0, 0, 100), span(2, 1, 10, 30), span(3, 1, 40, 80), span(4, 3, 50, 60)];
    for (span, service) in spans.iter_mut().zip(["x", "y", "y", "x"]) {
        span.origin = origin(&[("service.name", AnyValue::StringValue(service.to_owned()))]);
    }
    spans[1].span.status = Some(Status { code: 2, ..Status::default() });
    crate::query::traces::fixture::trace(spans)
}

fn sets(text: &str) -> Vec<(Vec<usize>, String)> {
    let described = |set: Spanset| {
        let attributes = set.attributes.iter().map(|(name, value)| format!("{name}={value}"));
        (set.spans, attributes.collect::<Vec<_>>().join(" "))
    };
    evaluate(&pipeline(text), &small(), &budget()).unwrap().into_iter().map(described).collect()
}

#[test]
fn pipelines_group_count_and_filter() {
    let one = |spans: &[usize], noted: &str| (spans.to_vec(), noted.to_owned());
    for (text, expected) in [
        ("{ } | count() > 3", vec![one(&[0, 1, 2, 3], "count()=4")]),
        ("{ } | count() > 4", vec![]),
        ("count() = 4", vec![one(&[0, 1, 2, 3], "count()=4")]),
        (
            "{ } | by(resource.service.name)",
            vec![one(&[0, 3], "by(resource.service.name)=x"), one(&[1, 2], "by(resource.service.name)=y")],
        ),
        (
            "{ } | by(resource.service.name) | avg(duration) > 50ns",
            vec![one(&[0, 3], "by(resource.service.name)=x avg(duration)=55ns")],
        ),
        ("{ } | by(resource.service.name) | coalesce()", vec![one(&[0, 1, 2, 3], "")]),
        ("{ } | by(span.none)", vec![one(&[0, 1, 2, 3], "by(span.none)=nil")]),
        (
            "{ status = unset } | max(duration) - min(duration) = 90ns",
            vec![one(&[0, 2, 3], "max(duration)=100ns min(duration)=10ns")],
        ),
        ("{ } | sum(duration) = 170ns | { status = error }", vec![one(&[1], "sum(duration)=170ns")]),
        ("{ } | avg(span.none) > 0", vec![]),
        ("({ status = error } | count() = 1) && ({ childCount > 1 })", vec![one(&[0, 1], "")]),
        ("({ status = error } | count() = 2) || ({ span:childCount = 1 })", vec![one(&[2], "")]),
        ("{ nestedSetParent < 0 } &>> { parent.resource.service.name = \"y\" }", vec![one(&[0, 3], "")]),
        ("{ rootName = \"span-1\" && traceDuration = 100ns && parent = nil }", vec![one(&[0], "")]),
        (
            "{ trace:id = \"01010101010101010101010101010101\" && span:id = \"0000000000000002\" }",
            vec![one(&[1], "")],
        ),
        ("{ rootServiceName = \"y\" }", vec![]),
    ] {
        assert_eq!(sets(text), expected, "{text}");
    }
}

#[test]
fn a_trace_named_by_the_query_is_the_only_candidate() {
    let id = "0123456789abcdef0123456789abcdef";
    let named = |text: &str| named_trace(&pipeline(text)).map(|id| id.to_string());
    assert_eq!(named(&format!("{{ trace:id = \"{id}\" && .a = 1 }}")).as_deref(), Some(id));
    assert_eq!(named(&format!("{{ trace:id = \"{id}\" || .a = 1 }}")), None);
    assert_eq!(named("{ trace:id = \"1f\" }"), None, "no id is written so");
    assert_eq!(named(&format!("{{ trace:id != \"{id}\" }}")), None);
}

#[test]
fn a_query_over_a_large_trace_ends_with_its_budget() {
    let trace = small();
    let budget = budget();
    budget.cancel();
    for text in ["{ .a = 1 }", "by(name) | { .a = 1 }", "count() > 1"] {
        assert_eq!(
            evaluate(&pipeline(text), &trace, &budget),
            Err(crate::query::Exceeded::Cancelled),
            "{text}"
        );
    }
}
