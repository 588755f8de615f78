//! Questions about traces: one by its id, those that match a TraceQL query, what can be asked for.
//!
//! Storage answers by columns with a superset ([`conditions`]); what counts is decided on whole traces ([`evaluate`]).

pub mod conditions;
mod dependencies;
pub mod evaluate;
mod fields;
#[cfg(test)]
pub(super) mod fixture;
mod forms;
mod relations;
mod search;
mod tags;
mod trace;

use std::collections::BTreeMap;

pub use dependencies::Dependency;
pub use evaluate::Spanset;
pub use fields::NO_ROOT;
pub use forms::{DurationBounds, SpanForm};
pub use tags::{TagScope, TagValue, TagValuesQuery};
pub use trace::{NestedSet, Trace, Tree, is_root, status};

use super::budget::Budget;
use super::metrics::QueryKind;
use super::traceql::ast::{Field, FieldName, Intrinsic, Pipeline, Query, SpansetExpr, Stage};
use super::traceql::{self, Value};
use super::{Querier, QueryError, settled};
use crate::model::{NanoRange, Nanos, SpanId, TraceId};
use fields::field_value;
use search::{Found, search};

/// A search as Tempo's API knows it.
#[derive(Clone, Debug)]
pub struct TraceQuery {
    pub what: TraceFilter,
    pub range: NanoRange,
    /// Traces wanted.
    pub limit: usize,
    /// Spans shown of each spanset; 0: all.
    pub spans_per_spanset: usize,
}

#[derive(Clone, Debug)]
pub enum TraceFilter {
    TraceQl(String),
    /// `tags=` in logfmt, and how long the trace takes.
    Tags {
        tags: String,
        duration: DurationBounds,
    },
}

pub struct TraceById {
    /// `None` if nothing of it is stored.
    pub trace: Option<Trace>,
    /// Why it may lack spans: damage that was met on the way.
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TraceAnswer {
    /// Newest first.
    pub traces: Vec<FoundTrace>,
    /// Traces that were put together and asked.
    pub inspected: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FoundTrace {
    pub id: TraceId,
    pub root_service: String,
    pub root_name: String,
    pub start: Nanos,
    pub duration_ns: i64,
    pub spansets: Vec<FoundSpanset>,
    /// Of the whole trace, by service.
    pub services: BTreeMap<String, ServiceStats>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceStats {
    pub spans: u64,
    pub errors: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FoundSpanset {
    /// The first of them, by start.
    pub spans: Vec<FoundSpan>,
    /// All that matched.
    pub matched: usize,
    pub attributes: Vec<(String, Value<'static>)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FoundSpan {
    pub id: SpanId,
    pub name: String,
    pub start: Nanos,
    pub duration_ns: i64,
    /// What the query asks for, where the span has it.
    pub attributes: Vec<(String, Value<'static>)>,
}

impl Querier {
    /// One trace by its id.
    pub fn trace(&self, id: TraceId, budget: &Budget) -> Result<TraceById, QueryError> {
        self.metrics.observe(QueryKind::Trace, budget, || {
            let snapshot = self.traces_until_over(budget);
            let trace = Trace::new(id, settled(snapshot.trace(id), budget)?);
            Ok(TraceById { trace, warnings: snapshot.warnings() })
        })
    }

    pub fn search_traces(&self, request: &TraceQuery, budget: &Budget) -> Result<TraceAnswer, QueryError> {
        self.metrics.observe(QueryKind::TraceSearch, budget, || {
            let pipeline = self.pipeline(&request.what)?;
            let snapshot = self.traces_until_over(budget);
            let matches = search(&snapshot, &pipeline, request.range, request.limit, budget)?;
            let asked = asked_fields(&pipeline);
            let shown = |found: &Found| answer(found, &asked, request.spans_per_spanset);
            Ok(TraceAnswer {
                traces: matches.found.iter().map(shown).collect(),
                inspected: matches.inspected,
            })
        })
    }

    /// Whole traces that have a span as the form asks, newest first.
    pub fn find_traces(
        &self,
        form: &SpanForm,
        range: NanoRange,
        limit: usize,
        budget: &Budget,
    ) -> Result<Vec<Trace>, QueryError> {
        self.metrics.observe(QueryKind::TraceSearch, budget, || {
            let pipeline = Pipeline::filter(Some(form.condition()));
            let matches = search(&self.traces_until_over(budget), &pipeline, range, limit, budget)?;
            Ok(matches.found.into_iter().map(|found| found.trace).collect())
        })
    }

    /// Why a metrics query gets no answer: what is wrong in it, or that metrics do not run yet.
    pub fn refuse_trace_metrics(&self, text: &str) -> QueryError {
        match self.pipeline(&TraceFilter::TraceQl(text.to_owned())) {
            Err(error) => error,
            Ok(_) => QueryError::BadData(
                "invalid TraceQL query: a metrics function such as rate() is missing".to_owned(),
            ),
        }
    }

    fn pipeline(&self, filter: &TraceFilter) -> Result<Pipeline, QueryError> {
        let text = match filter {
            TraceFilter::TraceQl(text) => text,
            TraceFilter::Tags { tags, duration } => {
                return Ok(Pipeline::filter(Some(forms::tempo_tags(tags, *duration)?)));
            }
        };
        let invalid = |reason: String| QueryError::BadData(format!("invalid TraceQL query: {reason}"));
        match traceql::parse(text, self.trace_parsing()).map_err(|error| invalid(error.to_string()))? {
            Query::Search(pipeline) => Ok(pipeline),
            Query::Metrics { function, .. } => {
                Err(invalid(format!("metrics functions such as {function} are not supported yet")))
            }
        }
    }

    fn trace_parsing(&self) -> traceql::ParseOptions<'_> {
        traceql::ParseOptions {
            regexes_max: self.parsing.regexes_max,
            regex_cache: self.parsing.regex_cache.as_deref(),
        }
    }
}

/// The fields that a query names, each once, in its order.
fn asked_fields(pipeline: &Pipeline) -> Vec<&Field> {
    fn of_spansets<'q>(expr: &'q SpansetExpr, asked: &mut Vec<&'q Field>) {
        match expr {
            SpansetExpr::Filter(None) => {}
            SpansetExpr::Filter(Some(condition)) => condition.fields(&mut |field| asked.push(field)),
            SpansetExpr::Pipeline(pipeline) => asked.extend(asked_fields(pipeline)),
            SpansetExpr::Binary { left, right, .. } => {
                of_spansets(left, asked);
                of_spansets(right, asked);
            }
        }
    }
    let mut asked = Vec::new();
    for stage in &pipeline.0 {
        match stage {
            Stage::Spansets(expr) => of_spansets(expr, &mut asked),
            Stage::By(key) => key.fields(&mut |field| asked.push(field)),
            Stage::Select(fields) => asked.extend(fields),
            Stage::ScalarFilter(_) | Stage::Coalesce | Stage::Scalar(_) => {}
        }
    }
    let mut known = std::collections::HashSet::new();
    asked.retain(|field| known.insert(*field));
    asked
}

/// What an answer has a place for anyway.
fn is_shown_elsewhere(field: &Field) -> bool {
    use Intrinsic::*;
    let FieldName::Intrinsic(intrinsic) = &field.name else { return false };
    let of_span = matches!(intrinsic, Name | Duration | SpanId) && !field.of_parent;
    of_span || matches!(intrinsic, TraceId | TraceDuration | RootName | RootServiceName)
}

fn answer(found: &Found, asked: &[&Field], spans_per_spanset: usize) -> FoundTrace {
    let trace = &found.trace;
    let mut services: BTreeMap<String, ServiceStats> = BTreeMap::new();
    for stored in &trace.spans {
        let service = stored.origin.service_name().unwrap_or("").to_owned();
        let stats = services.entry(service).or_default();
        stats.spans += 1;
        stats.errors += u64::from(status(&stored.span) == traceql::Status::Error);
    }
    FoundTrace {
        id: trace.id,
        root_service: trace.root_service().unwrap_or(NO_ROOT).to_owned(),
        root_name: trace.root_name().unwrap_or("").to_owned(),
        start: trace.start,
        duration_ns: trace.duration_ns(),
        spansets: found.spansets.iter().map(|set| shown(trace, set, asked, spans_per_spanset)).collect(),
        services,
    }
}

fn shown(trace: &Trace, set: &Spanset, asked: &[&Field], spans_per_spanset: usize) -> FoundSpanset {
    let shown_max = if spans_per_spanset == 0 { usize::MAX } else { spans_per_spanset };
    let span = |index: &usize| {
        let stored = &trace.spans[*index];
        let asked = asked.iter().filter(|field| !is_shown_elsewhere(field));
        let attributes = asked.map(|field| (field.key().to_owned(), field_value(field, trace, *index)));
        FoundSpan {
            id: SpanId::from_bytes(&stored.span.span_id).unwrap_or(SpanId([0; 8])),
            name: stored.span.name.clone(),
            start: stored.start(),
            duration_ns: stored.duration_ns(),
            attributes: attributes
                .filter(|(_, value)| !value.is_nil())
                .map(|(key, value)| (key, value.into_owned()))
                .collect(),
        }
    };
    FoundSpanset {
        spans: set.spans.iter().take(shown_max).map(span).collect(),
        matched: set.spans.len(),
        attributes: set.attributes.clone(),
    }
}
