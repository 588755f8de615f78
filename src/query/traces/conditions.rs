//! What of a query storage can decide by its columns: a superset of the traces that match.
//!
//! A trace can only match if one of its spans fulfils all conditions of one conjunction. What storage cannot decide is
//! left out of its conjunction; an empty conjunction lets every trace through.

use crate::model::TraceId;
use crate::query::traceql::ast::{
    BinaryOp, Field, FieldExpr, FieldKind, FieldName, Intrinsic, Pipeline, Scope, SpansetExpr, SpansetOp,
    Stage,
};
use crate::query::traceql::{Kind, Status, Value};
use crate::storage::traces::{AttributeScope, FieldValue, SpanCondition, SpanField, Test};

/// More alternatives than this cost more than they save.
const ALTERNATIVES_MAX: usize = 32;

/// One of these must be fulfilled.
pub type AnyOf = Vec<Vec<SpanCondition>>;

/// Of a pipeline: each stage must let something through, so the most telling one decides.
pub fn conditions(pipeline: &Pipeline) -> AnyOf {
    let stages = pipeline.0.iter().filter_map(|stage| match stage {
        Stage::Spansets(expr) => Some(of_spansets(expr)),
        _ => None,
    });
    stages.fold(everything(), more_telling)
}

fn everything() -> AnyOf {
    vec![Vec::new()]
}

fn of_spansets(expr: &SpansetExpr) -> AnyOf {
    match expr {
        SpansetExpr::Filter(None) => everything(),
        SpansetExpr::Filter(Some(condition)) => of_field(condition),
        SpansetExpr::Pipeline(pipeline) => conditions(pipeline),
        SpansetExpr::Binary { op, left, right } => match op {
            SpansetOp::Or => either(of_spansets(left), of_spansets(right)),
            SpansetOp::NotRelated(_) => of_spansets(right),
            // Both sides must find something, not necessarily in one span.
            SpansetOp::And | SpansetOp::Related(_) | SpansetOp::Union(_) => {
                more_telling(of_spansets(left), of_spansets(right))
            }
        },
    }
}

fn of_field(expr: &FieldExpr) -> AnyOf {
    match &expr.kind {
        FieldKind::All(parts) => parts.iter().fold(everything(), |all, part| both(all, of_field(part))),
        FieldKind::Any(parts) => parts.iter().fold(Vec::new(), |all, part| either(all, of_field(part))),
        FieldKind::Binary { op, left, right } => match (&left.kind, &right.kind) {
            (FieldKind::Field(field), FieldKind::Static(value)) => compared(field, *op, value),
            (FieldKind::Static(value), FieldKind::Field(field)) => compared(field, mirrored(*op), value),
            _ => everything(),
        },
        FieldKind::Matches { text, regex, is_negated } => match &text.kind {
            FieldKind::Field(field) if *is_negated => one(field, Test::NotMatches(regex.clone())),
            FieldKind::Field(field) => one(field, Test::Matches(regex.clone())),
            _ => everything(),
        },
        FieldKind::IsNil { of, is_negated: true } => match &of.kind {
            FieldKind::Field(field) => one(field, Test::Exists),
            _ => everything(),
        },
        FieldKind::Field(field) => compared(field, BinaryOp::Equal, &Value::Bool(true)),
        // The opposite of a condition may hold for want of a value, and storage finds only what is there.
        FieldKind::Not(_) | FieldKind::IsNil { .. } => everything(),
        FieldKind::Static(_) | FieldKind::Negative(_) => everything(),
    }
}

fn compared(field: &Field, op: BinaryOp, value: &Value) -> AnyOf {
    let value = match value {
        Value::Text(text) => FieldValue::Text(text.to_string()),
        Value::Int(value) | Value::Duration(value) => FieldValue::Integer(*value),
        Value::Float(value) => FieldValue::Float(*value),
        Value::Bool(value) => FieldValue::Bool(*value),
        // Codes that OTLP does not know count as the zeroth, and storage has them as they came.
        Value::Status(Status::Unset) | Value::Kind(Kind::Unspecified) => return everything(),
        Value::Status(status) => FieldValue::Integer(status.code().into()),
        Value::Kind(kind) => FieldValue::Integer(kind.code().into()),
        Value::Nil | Value::List(_) | Value::Each(_) => return everything(),
    };
    let test = match op {
        BinaryOp::Equal => Test::Equals(value),
        BinaryOp::NotEqual => Test::NotEquals(value),
        BinaryOp::Less => Test::Less(value),
        BinaryOp::LessEqual => Test::LessOrEqual(value),
        BinaryOp::Greater => Test::Greater(value),
        BinaryOp::GreaterEqual => Test::GreaterOrEqual(value),
        _ => return everything(),
    };
    one(field, test)
}

/// The operator with its sides changed.
fn mirrored(op: BinaryOp) -> BinaryOp {
    match op {
        BinaryOp::Less => BinaryOp::Greater,
        BinaryOp::LessEqual => BinaryOp::GreaterEqual,
        BinaryOp::Greater => BinaryOp::Less,
        BinaryOp::GreaterEqual => BinaryOp::LessEqual,
        other => other,
    }
}

fn one(field: &Field, test: Test) -> AnyOf {
    match span_field(field) {
        Some(field) => vec![vec![SpanCondition { field, test }]],
        None => everything(),
    }
}

/// What storage calls the field, if it has a column for it. What is asked of the parent or the root is asked of some
/// span of the trace, but not of the one that fulfils the rest of its conjunction.
pub fn span_field(field: &Field) -> Option<SpanField> {
    if field.of_parent {
        return None;
    }
    Some(match &field.name {
        FieldName::Attribute { scope, key } => {
            let scope = match scope {
                Scope::Any => AttributeScope::Any,
                Scope::Span => AttributeScope::Span,
                Scope::Resource => AttributeScope::Resource,
                Scope::Instrumentation => AttributeScope::Instrumentation,
                Scope::Event | Scope::Link => return None,
            };
            SpanField::Attribute { scope, key: key.clone() }
        }
        FieldName::Intrinsic(intrinsic) => match intrinsic {
            Intrinsic::Duration => SpanField::Duration,
            Intrinsic::Name => SpanField::Name,
            Intrinsic::Status => SpanField::Status,
            Intrinsic::StatusMessage => SpanField::StatusMessage,
            Intrinsic::Kind => SpanField::Kind,
            _ => return None,
        },
    })
}

fn either(mut a: AnyOf, b: AnyOf) -> AnyOf {
    a.extend(b);
    if a.len() > ALTERNATIVES_MAX || a.iter().any(Vec::is_empty) { everything() } else { a }
}

/// Each of the one with each of the other; where that is too many, the more telling of the two alone.
fn both(a: AnyOf, b: AnyOf) -> AnyOf {
    if a.len() * b.len() > ALTERNATIVES_MAX {
        return more_telling(a, b);
    }
    let pairs = a.iter().flat_map(|a| b.iter().map(move |b| [&a[..], b].concat()));
    pairs.collect()
}

/// The one whose weakest conjunction rules out more, to all appearances.
fn more_telling(a: AnyOf, b: AnyOf) -> AnyOf {
    let strength = |any_of: &AnyOf| any_of.iter().map(|all| all.iter().map(weight).sum::<u32>()).min();
    // No alternative at all is fulfilled by nothing.
    let of = |any_of| strength(any_of).unwrap_or(u32::MAX);
    if of(&b) > of(&a) { b } else { a }
}

fn weight(condition: &SpanCondition) -> u32 {
    match condition.test {
        Test::Equals(_) => 16,
        Test::Matches(_) => 8,
        Test::Less(_) | Test::LessOrEqual(_) | Test::Greater(_) | Test::GreaterOrEqual(_) => 4,
        Test::Exists => 2,
        Test::NotEquals(_) | Test::NotMatches(_) => 1,
    }
}

/// The one trace that can match, where the query names it.
pub fn named_trace(pipeline: &Pipeline) -> Option<TraceId> {
    pipeline.0.iter().find_map(|stage| match stage {
        Stage::Spansets(SpansetExpr::Filter(Some(condition))) => named_in(condition),
        _ => None,
    })
}

fn named_in(expr: &FieldExpr) -> Option<TraceId> {
    match &expr.kind {
        FieldKind::All(parts) => parts.iter().find_map(named_in),
        FieldKind::Binary { op: BinaryOp::Equal, left, right } => match (&left.kind, &right.kind) {
            (FieldKind::Field(field), FieldKind::Static(Value::Text(id))) => {
                let is_id = *field == Field::intrinsic(Intrinsic::TraceId);
                // Anything but the canonical form equals no trace's id, and is left to the comparison.
                id.parse().ok().filter(|parsed: &TraceId| is_id && parsed.to_string() == **id)
            }
            _ => None,
        },
        _ => None,
    }
}
