//! What a field of a span is worth, and whether a span fulfils a condition.

use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::common::v1::{AnyValue as Any, KeyValue};

use super::trace::{Trace, is_root, status};
use crate::model::{Lookout, SpanId, TraceId};
use crate::query::traceql::ast::{Field, FieldExpr, FieldKind, FieldName, Intrinsic, Scope};
use crate::query::traceql::{Kind, Value};

/// Answers for the root that has not come, as Tempo does.
pub const NO_ROOT: &str = "<root span not yet received>";

/// Whether the span fulfils the condition; what is neither true nor false is not true.
/// What is said once the lookout has given up means nothing.
pub fn holds(expr: &FieldExpr, trace: &Trace, span: usize, lookout: &Lookout<'_>) -> bool {
    match &expr.kind {
        FieldKind::Not(inner) => value(inner, trace, span, lookout) == Value::Bool(false),
        FieldKind::All(parts) => parts.iter().all(|part| holds(part, trace, span, lookout)),
        FieldKind::Any(parts) => parts.iter().any(|part| holds(part, trace, span, lookout)),
        FieldKind::Binary { op, left, right } if op.is_comparison() => {
            value(left, trace, span, lookout).compare(*op, &value(right, trace, span, lookout))
        }
        FieldKind::Matches { text, regex, is_negated } => value(text, trace, span, lookout)
            .matches(*is_negated, &|text| regex.is_match_within(text, lookout)),
        FieldKind::IsNil { of, is_negated } => value(of, trace, span, lookout).is_nil() != *is_negated,
        FieldKind::Static(_) | FieldKind::Field(_) => value(expr, trace, span, lookout).is_true(),
        FieldKind::Negative(_) | FieldKind::Binary { .. } => false,
    }
}

/// The value of an expression for a span.
pub fn value<'t>(expr: &'t FieldExpr, trace: &'t Trace, span: usize, lookout: &Lookout<'_>) -> Value<'t> {
    match &expr.kind {
        FieldKind::Static(value) => value.borrowed(),
        FieldKind::Field(field) => field_value(field, trace, span),
        FieldKind::Negative(inner) => value(inner, trace, span, lookout).negative(),
        FieldKind::Binary { op, left, right } if !op.is_comparison() => {
            value(left, trace, span, lookout).calculate(*op, &value(right, trace, span, lookout))
        }
        _ => Value::Bool(holds(expr, trace, span, lookout)),
    }
}

pub fn field_value<'t>(field: &'t Field, trace: &'t Trace, span: usize) -> Value<'t> {
    let span = if field.of_parent { trace.tree.parent(span) } else { Some(span) };
    let Some(span) = span else { return Value::Nil };
    match &field.name {
        FieldName::Attribute { scope, key } => attribute(*scope, key, trace, span),
        FieldName::Intrinsic(name) => intrinsic(*name, trace, span),
    }
}

fn attribute<'t>(scope: Scope, key: &str, trace: &'t Trace, span: usize) -> Value<'t> {
    let stored = &trace.spans[span];
    let resource = || of_key(&stored.origin.resource.attributes, key);
    match scope {
        Scope::Span => of_key(&stored.span.attributes, key),
        Scope::Resource => resource(),
        Scope::Any => match of_key(&stored.span.attributes, key) {
            Value::Nil => resource(),
            found => found,
        },
        Scope::Instrumentation => of_key(&stored.origin.scope.attributes, key),
        Scope::Event => each(stored.span.events.iter().map(|event| of_key(&event.attributes, key))),
        Scope::Link => each(stored.span.links.iter().map(|link| of_key(&link.attributes, key))),
    }
}

fn intrinsic(name: Intrinsic, trace: &Trace, index: usize) -> Value<'_> {
    let stored = &trace.spans[index];
    let span = &stored.span;
    match name {
        Intrinsic::Duration => Value::Duration(stored.duration_ns()),
        Intrinsic::Name => text(&span.name),
        Intrinsic::Status => Value::Status(status(span)),
        Intrinsic::StatusMessage => text(span.status.as_ref().map_or("", |status| &status.message)),
        Intrinsic::Kind => Value::Kind(Kind::from_code(span.kind)),
        Intrinsic::Parent if is_root(span) => Value::Nil,
        Intrinsic::Parent => span_id(&span.parent_span_id),
        Intrinsic::SpanId => span_id(&span.span_id),
        Intrinsic::ChildCount => Value::Int(trace.tree.child_count(index)),
        Intrinsic::NestedSetLeft => Value::Int(trace.tree.nested_set(index).left),
        Intrinsic::NestedSetRight => Value::Int(trace.tree.nested_set(index).right),
        Intrinsic::NestedSetParent => Value::Int(trace.tree.nested_set(index).parent),
        Intrinsic::TraceId => Value::text(trace.id.to_string()),
        Intrinsic::TraceDuration => Value::Duration(trace.duration_ns()),
        Intrinsic::RootName => text(trace.root_name().unwrap_or(NO_ROOT)),
        Intrinsic::RootServiceName => text(trace.root_service().unwrap_or(NO_ROOT)),
        Intrinsic::EventName => each(span.events.iter().map(|event| text(&event.name))),
        Intrinsic::EventTimeSinceStart => each(span.events.iter().map(|event| {
            let since = event.time_unix_nano.saturating_sub(span.start_time_unix_nano);
            Value::Duration(i64::try_from(since).unwrap_or(i64::MAX))
        })),
        Intrinsic::LinkTraceId => each(span.links.iter().map(|link| trace_id(&link.trace_id))),
        Intrinsic::LinkSpanId => each(span.links.iter().map(|link| span_id(&link.span_id))),
        Intrinsic::InstrumentationName => text(&stored.origin.scope.name),
        Intrinsic::InstrumentationVersion => text(&stored.origin.scope.version),
    }
}

fn text(text: &str) -> Value<'_> {
    Value::Text(text.into())
}

fn span_id(bytes: &[u8]) -> Value<'static> {
    SpanId::from_bytes(bytes).map_or(Value::Nil, |id| Value::text(id.to_string()))
}

fn trace_id(bytes: &[u8]) -> Value<'static> {
    TraceId::from_bytes(bytes).map_or(Value::Nil, |id| Value::text(id.to_string()))
}

fn each<'t>(values: impl Iterator<Item = Value<'t>>) -> Value<'t> {
    Value::Each(values.filter(|value| !value.is_nil()).collect())
}

fn of_key<'t>(attributes: &'t [KeyValue], key: &str) -> Value<'t> {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    found.map_or(Value::Nil, |attribute| any_value(attribute.value.as_ref()))
}

/// Of what cannot be compared, bytes and maps, only that it is there.
pub fn any_value(value: Option<&Any>) -> Value<'_> {
    match value.and_then(|value| value.value.as_ref()) {
        None => Value::Nil,
        Some(AnyValue::StringValue(value)) => text(value),
        Some(AnyValue::BoolValue(value)) => Value::Bool(*value),
        Some(AnyValue::IntValue(value)) => Value::Int(*value),
        Some(AnyValue::DoubleValue(value)) => Value::Float(*value),
        Some(AnyValue::ArrayValue(array)) => {
            // An array in an array is there, too, and not compared.
            let scalars = array.values.iter().map(|value| any_value(Some(value)));
            Value::List(scalars.filter(|value| !matches!(value, Value::List(_) | Value::Nil)).collect())
        }
        Some(AnyValue::KvlistValue(_) | AnyValue::BytesValue(_) | AnyValue::StringValueStrindex(_)) => {
            Value::List(Vec::new())
        }
    }
}
