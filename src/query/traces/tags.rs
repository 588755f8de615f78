//! What can be asked for: names of attributes, their values, services and operations.

use std::collections::BTreeSet;

use super::conditions::span_field;
use super::fields::field_value;
use super::search::search;
use crate::model::NanoRange;
use crate::query::budget::Budget;
use crate::query::metrics::QueryKind;
use crate::query::traceql::ast::{Field, FieldName, Intrinsic, Pipeline, SpansetExpr, Stage};
use crate::query::traceql::{self, Kind, Status, Value};
use crate::query::{Querier, QueryError, settled};
use crate::storage::traces::{AttributeScope, FieldValue, SpanField};

/// Traces whose values are told where a filter narrows the question; the newest.
const FILTERED_TRACES_MAX: usize = 1_000;

/// Where attributes are, in the order in which they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagScope {
    Resource,
    Span,
    Instrumentation,
}

impl TagScope {
    pub const ALL: [TagScope; 3] = [TagScope::Resource, TagScope::Span, TagScope::Instrumentation];

    pub fn name(self) -> &'static str {
        match self {
            TagScope::Resource => "resource",
            TagScope::Span => "span",
            TagScope::Instrumentation => "instrumentation",
        }
    }
}

#[derive(Clone, Debug)]
pub struct TagValuesQuery {
    pub field: Field,
    /// TraceQL, perhaps not finished: only values beside spans that pass it.
    pub filter: String,
    pub range: NanoRange,
    pub limit: usize,
}

/// A value and what kind it is, as Tempo tells it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TagValue {
    pub kind: &'static str,
    pub text: String,
}

impl Querier {
    /// Sorted names of attributes.
    pub fn trace_tags(
        &self,
        scope: TagScope,
        range: NanoRange,
        budget: &Budget,
    ) -> Result<Vec<String>, QueryError> {
        let scope = match scope {
            TagScope::Resource => AttributeScope::Resource,
            TagScope::Span => AttributeScope::Span,
            TagScope::Instrumentation => AttributeScope::Instrumentation,
        };
        self.metrics.observe(QueryKind::TraceTags, budget, || {
            let found = self.traces_until_over(budget).attribute_keys(range, scope);
            let mut keys = settled(found, budget)?;
            keys.retain(|key| !key.is_empty());
            Ok(keys)
        })
    }

    /// Values of a field, sorted; at most `limit` of them.
    pub fn trace_tag_values(
        &self,
        request: &TagValuesQuery,
        budget: &Budget,
    ) -> Result<Vec<TagValue>, QueryError> {
        self.metrics.observe(QueryKind::TraceTags, budget, || {
            if let Some(values) = constants(&request.field) {
                return Ok(values.into_iter().take(request.limit).collect());
            }
            let filter = traceql::matchers(&request.filter, self.trace_parsing());
            let is_filtered = !matches!(filter.0[..], [Stage::Spansets(SpansetExpr::Filter(None))]);
            let values = match span_field(&request.field) {
                Some(field) if !is_filtered => self.all_values(&field, request, budget)?,
                _ => self.values_beside(&filter, request, budget)?,
            };
            Ok(values.into_iter().take(request.limit).collect())
        })
    }

    fn all_values(
        &self,
        field: &SpanField,
        request: &TagValuesQuery,
        budget: &Budget,
    ) -> Result<BTreeSet<TagValue>, QueryError> {
        let found = self.traces_until_over(budget).values(field, request.range, request.limit);
        Ok(settled(found, budget)?.into_iter().map(told).collect())
    }

    /// Values of spans that pass the filter, in its newest traces.
    fn values_beside(
        &self,
        filter: &Pipeline,
        request: &TagValuesQuery,
        budget: &Budget,
    ) -> Result<BTreeSet<TagValue>, QueryError> {
        let snapshot = self.traces_until_over(budget);
        let matches = search(&snapshot, filter, request.range, FILTERED_TRACES_MAX, budget)?;
        let mut values = BTreeSet::new();
        for found in &matches.found {
            for span in found.spansets.iter().flat_map(|set| &set.spans) {
                told_value(&field_value(&request.field, &found.trace, *span), &mut values);
            }
        }
        Ok(values)
    }

    /// Sorted names of services.
    pub fn trace_services(&self, range: NanoRange, budget: &Budget) -> Result<Vec<String>, QueryError> {
        self.metrics.observe(QueryKind::TraceTags, budget, || {
            settled(self.traces_until_over(budget).services(range), budget)
        })
    }

    /// Sorted names of a service's spans.
    pub fn trace_operations(
        &self,
        service: &str,
        range: NanoRange,
        budget: &Budget,
    ) -> Result<Vec<String>, QueryError> {
        self.metrics.observe(QueryKind::TraceTags, budget, || {
            settled(self.traces_until_over(budget).operations(service, range), budget)
        })
    }
}

/// The words of a field that has a fixed list of them.
fn constants(field: &Field) -> Option<Vec<TagValue>> {
    let keyword = |name: &'static str| TagValue { kind: "keyword", text: name.to_owned() };
    match field.name {
        FieldName::Intrinsic(Intrinsic::Status) => {
            Some(Status::ALL.iter().map(|status| keyword(status.name())).collect())
        }
        FieldName::Intrinsic(Intrinsic::Kind) => {
            Some(Kind::ALL.iter().map(|kind| keyword(kind.name())).collect())
        }
        // Numbers that are all different help nobody.
        FieldName::Intrinsic(
            Intrinsic::Duration
            | Intrinsic::TraceDuration
            | Intrinsic::TraceId
            | Intrinsic::SpanId
            | Intrinsic::Parent
            | Intrinsic::LinkTraceId
            | Intrinsic::LinkSpanId
            | Intrinsic::NestedSetLeft
            | Intrinsic::NestedSetRight
            | Intrinsic::NestedSetParent
            | Intrinsic::EventTimeSinceStart,
        ) => Some(Vec::new()),
        _ => None,
    }
}

fn told(value: FieldValue) -> TagValue {
    let (kind, text) = match value {
        FieldValue::Text(text) => ("string", text),
        FieldValue::Integer(value) => ("int", value.to_string()),
        FieldValue::Float(value) => ("float", value.to_string()),
        FieldValue::Bool(value) => ("bool", value.to_string()),
    };
    TagValue { kind, text }
}

fn told_value(value: &Value, values: &mut BTreeSet<TagValue>) {
    let kind = match value {
        Value::Nil => return,
        Value::List(inner) | Value::Each(inner) => return inner.iter().for_each(|v| told_value(v, values)),
        Value::Text(_) => "string",
        Value::Int(_) => "int",
        Value::Float(_) => "float",
        Value::Bool(_) => "bool",
        Value::Duration(_) => "duration",
        Value::Status(_) | Value::Kind(_) => "keyword",
    };
    values.insert(TagValue { kind, text: value.to_string() });
}
