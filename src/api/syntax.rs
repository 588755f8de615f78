//! `format_query` and `parse_query`: how the engine understood an expression, as text and as a tree.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use serde_json::{Value, json};

use super::Api;
use super::error::ApiError;
use super::json::push_string;
use super::prometheus::{Answer, read_form};
use crate::model::Matcher;
use crate::model::labels::METRIC_NAME;
use crate::query::promql::ast::{
    At, Cardinality, Duration, DurationExpr, DurationExprKind, Edges, Expr, ExprKind, NumberLiteral,
    Subquery, VectorMatching, VectorSelector,
};
use crate::query::promql::functions_table::{FunctionSignature, LastArgument, ValueType};
use crate::query::promql::prettify;

/// `/api/v1/format_query`: the expression laid out as Prometheus does.
pub async fn format_query(State(api): State<Arc<Api>>, uri: Uri, headers: HeaderMap, body: Body) -> Answer {
    let expr = read_expr(&api, &uri, &headers, body).await?;
    let mut json = api.json();
    push_string(json.text(), &prettify(&expr));
    Ok(json.finish(&[], &[]))
}

/// `/api/v1/parse_query`: the tree, in the shape that Prometheus's user interface draws.
pub async fn parse_query(State(api): State<Arc<Api>>, uri: Uri, headers: HeaderMap, body: Body) -> Answer {
    let expr = read_expr(&api, &uri, &headers, body).await?;
    let mut json = api.json();
    json.raw(&tree(&expr).to_string());
    Ok(json.finish(&[], &[]))
}

async fn read_expr(api: &Api, uri: &Uri, headers: &HeaderMap, body: Body) -> Result<Expr, ApiError> {
    let form = read_form(api, uri, headers, body).await?;
    api.querier.parse(form.get("query")).map_err(|error| ApiError::of_query("query", error))
}

fn tree(expr: &Expr) -> Value {
    match &expr.kind {
        ExprKind::Number(number) => json!({"type": "numberLiteral", "val": plain(*number)}),
        ExprKind::String(bytes) => json!({"type": "stringLiteral", "val": String::from_utf8_lossy(bytes)}),
        ExprKind::VectorSelector(selector) => selector_tree("vectorSelector", selector, &[]),
        ExprKind::MatrixSelector(matrix) => {
            selector_tree("matrixSelector", &matrix.selector, &[("range", &matrix.range)])
        }
        ExprKind::Subquery(subquery) => subquery_tree(subquery),
        ExprKind::Unary(unary) => {
            json!({"type": "unaryExpr", "op": unary.op.text(), "expr": tree(&unary.expr)})
        }
        ExprKind::Paren(inner) => json!({"type": "parenExpr", "expr": tree(inner)}),
        ExprKind::Binary(binary) => json!({
            "type": "binaryExpr",
            "op": binary.op.text(),
            "lhs": tree(&binary.lhs),
            "rhs": tree(&binary.rhs),
            "matching": binary.matching.as_ref().map(matching_tree),
            "bool": binary.return_bool,
        }),
        ExprKind::Aggregate(aggregate) => json!({
            "type": "aggregation",
            "op": aggregate.op.text(),
            "expr": tree(&aggregate.expr),
            "param": aggregate.param.as_deref().map(tree),
            "grouping": aggregate.grouping,
            "without": aggregate.without,
        }),
        ExprKind::Call(call) => json!({
            "type": "call",
            "func": signature_tree(call.function.signature()),
            "args": call.args.iter().map(tree).collect::<Vec<_>>(),
        }),
    }
}

fn signature_tree(signature: &FunctionSignature) -> Value {
    let repeats = match signature.last {
        LastArgument::Exactly => 0,
        LastArgument::Optional(times) => times as i64,
        LastArgument::AnyNumber => -1,
    };
    json!({
        "name": signature.name,
        "argTypes": signature.args.iter().map(|of| type_name(*of)).collect::<Vec<_>>(),
        "variadic": repeats,
        "returnType": type_name(signature.returns),
    })
}

fn type_name(value_type: ValueType) -> &'static str {
    match value_type {
        ValueType::Scalar => "scalar",
        ValueType::Vector => "vector",
        ValueType::Matrix => "matrix",
        ValueType::String => "string",
    }
}

fn matching_tree(matching: &VectorMatching) -> Value {
    let card = match matching.cardinality {
        Cardinality::OneToOne => "one-to-one",
        Cardinality::ManyToOne => "many-to-one",
        Cardinality::OneToMany => "one-to-many",
        Cardinality::ManyToMany => "many-to-many",
    };
    let fill = |value: Option<NumberLiteral>| value.map(|number| number.value);
    json!({
        "card": card,
        "labels": matching.labels,
        "on": matching.on,
        "include": matching.include,
        "fillValues": {"lhs": fill(matching.fill_left), "rhs": fill(matching.fill_right)},
    })
}

fn selector_tree(kind: &str, selector: &VectorSelector, durations: &[(&str, &Duration)]) -> Value {
    let mut tree = json!({
        "type": kind,
        "name": selector.name.as_deref().unwrap_or(""),
        "matchers": matchers_tree(selector),
        "anchored": selector.edges == Edges::Anchored,
        "smoothed": selector.edges == Edges::Smoothed,
    });
    put_at(&mut tree, selector.at);
    for (name, duration) in durations.iter().copied().chain([("offset", &selector.offset)]) {
        put_duration(&mut tree, name, Some(duration));
    }
    tree
}

/// The name's own matcher comes last.
fn matchers_tree(selector: &VectorSelector) -> Vec<Value> {
    let is_name = |m: &&Matcher| m.name == METRIC_NAME && selector.name.as_deref() == Some(m.value.as_str());
    let (name, others): (Vec<_>, Vec<_>) = selector.matchers.iter().partition(is_name);
    let matcher = |m: &Matcher| json!({"name": m.name, "value": m.value, "type": m.op.text()});
    others.into_iter().chain(name).map(matcher).collect()
}

fn subquery_tree(subquery: &Subquery) -> Value {
    let mut result = json!({"type": "subquery", "expr": tree(&subquery.expr)});
    put_at(&mut result, subquery.at);
    put_duration(&mut result, "range", Some(&subquery.range));
    put_duration(&mut result, "step", subquery.step.as_ref());
    put_duration(&mut result, "offset", Some(&subquery.offset));
    result
}

fn put_at(tree: &mut Value, at: Option<At>) {
    let (timestamp, start_or_end) = match at {
        None => (None, None),
        Some(At::Timestamp(ms)) => (Some(ms), None),
        Some(At::Start) => (None, Some("start")),
        Some(At::End) => (None, Some("end")),
    };
    tree["timestamp"] = timestamp.into();
    tree["startOrEnd"] = start_or_end.into();
}

/// Milliseconds under the name, or 0 and what computes them.
fn put_duration(tree: &mut Value, name: &str, duration: Option<&Duration>) {
    let (ms, expr) = match duration {
        None => (0, Value::Null),
        Some(Duration::Milliseconds(ms)) => (*ms, Value::Null),
        Some(Duration::Expression(expr)) => (0, duration_tree(expr)),
    };
    tree[name] = ms.into();
    tree[format!("{name}Expr")] = expr;
}

fn duration_tree(expr: &DurationExpr) -> Value {
    let node = |op: &str, lhs: Option<&DurationExpr>, rhs: Option<&DurationExpr>| {
        let (lhs, rhs) = (lhs.map(duration_tree), rhs.map(duration_tree));
        json!({"type": "durationExpr", "op": op, "lhs": lhs, "rhs": rhs, "wrapped": false})
    };
    match &expr.kind {
        DurationExprKind::Number(number) => {
            json!({"type": "numberLiteral", "val": plain(*number), "duration": number.is_duration})
        }
        DurationExprKind::Step => node("step", None, None),
        DurationExprKind::Range => node("range", None, None),
        DurationExprKind::Unary(op, inner) => node(op.text(), None, Some(inner)),
        DurationExprKind::Binary(op, lhs, rhs) => node(op.text(), Some(lhs), Some(rhs)),
        DurationExprKind::MinOf(lhs, rhs) => node("min_of", Some(lhs), Some(rhs)),
        DurationExprKind::MaxOf(lhs, rhs) => node("max_of", Some(lhs), Some(rhs)),
        DurationExprKind::Paren(inner) => {
            // A number alone becomes an expression that has only a sign.
            let mut tree = match inner.kind {
                DurationExprKind::Number(_) => node("+", None, Some(inner)),
                _ => duration_tree(inner),
            };
            tree["wrapped"] = true.into();
            tree
        }
    }
}

/// The value alone, also of a duration.
fn plain(number: NumberLiteral) -> String {
    NumberLiteral { is_duration: false, ..number }.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::promql::{ParseOptions, parse};

    #[track_caller]
    fn assert_tree(text: &str, expected: &Value) {
        assert_eq!(tree(&parse(text, &ParseOptions::all()).unwrap()), *expected, "{text}");
    }

    #[test]
    fn a_call_tells_its_signature_and_a_range_its_selector() {
        let matchers = json!([
            {"name": "job", "value": "a", "type": "=~"}, {"name": "__name__", "value": "up", "type": "="}
        ]);
        let range = json!({
            "type": "matrixSelector", "name": "up", "matchers": matchers, "range": 300_000, "rangeExpr": null,
            "offset": -60_000, "offsetExpr": null, "timestamp": null, "startOrEnd": "end",
            "anchored": false, "smoothed": false,
        });
        let function = json!({"name": "rate", "argTypes": ["matrix"], "variadic": 0, "returnType": "vector"});
        let call = json!({"type": "call", "func": function, "args": [range]});
        assert_tree(r#"rate(up{job=~"a"}[5m] @ end() offset -1m)"#, &call);
    }

    #[test]
    fn operators_tell_how_they_match() {
        let number = |val: &str| json!({"type": "numberLiteral", "val": val});
        let vector = json!({"type": "call", "args": [number("+Inf")],
            "func": {"name": "vector", "argTypes": ["scalar"], "variadic": 0, "returnType": "vector"}});
        let negative = json!({"type": "unaryExpr", "op": "-", "expr": vector});
        let plain = json!({"type": "binaryExpr", "op": "<", "lhs": number("1"), "rhs": {"type": "parenExpr", "expr": negative},
            "matching": null, "bool": true});
        assert_tree("1 < bool (-vector(Inf))", &plain);
        let expr = parse("a * on (b) group_left (c) fill_right (2) d", &ParseOptions::all()).unwrap();
        let matching = json!({"card": "many-to-one", "labels": ["b"], "on": true, "include": ["c"],
            "fillValues": {"lhs": null, "rhs": 2.0}});
        assert_eq!(tree(&expr)["matching"], matching);
    }

    #[test]
    fn lengths_that_are_computed_stand_beside_a_zero() {
        let subquery = tree(&parse("up[range():step() * 2]", &ParseOptions::all()).unwrap());
        assert_eq!(
            (&subquery["range"], &subquery["step"], &subquery["timestamp"]),
            (&0.into(), &0.into(), &Value::Null)
        );
        let step = json!({"type": "durationExpr", "op": "step", "lhs": null, "rhs": null, "wrapped": false});
        let two = json!({"type": "numberLiteral", "val": "2", "duration": false});
        let product = json!({"type": "durationExpr", "op": "*", "lhs": step, "rhs": two, "wrapped": false});
        assert_eq!(subquery["stepExpr"], product);
    }
}
