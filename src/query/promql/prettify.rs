//! An expression over several lines, as Prometheus's `format_query` lays it out: what is longer than a line is split,
//! its parts indented by their depth.

use super::ast::{Aggregate, Binary, Call, Expr, ExprKind};

const LINE_BYTES: usize = 100;

/// The text parses back to an equal tree.
pub fn prettify(expr: &Expr) -> String {
    pretty(expr, 0)
}

/// At `level` 0 the caller did not begin a line.
fn pretty(expr: &Expr, level: usize) -> String {
    let line = expr.to_string();
    let is_split = line.len() > LINE_BYTES;
    match &expr.kind {
        ExprKind::Aggregate(aggregate) if is_split => pretty_aggregate(aggregate, level),
        ExprKind::Binary(binary) if is_split => pretty_binary(binary, level),
        ExprKind::Call(call) if is_split => pretty_call(call, level),
        ExprKind::Paren(inner) if is_split => {
            format!("{0}(\n{1}\n{0})", indent(level), pretty(inner, level + 1))
        }
        ExprKind::Subquery(subquery) if is_split => {
            format!("{}{}", pretty(&subquery.expr, level), subquery.suffix())
        }
        // Prometheus does not indent those, even where they stand on a line of their own.
        ExprKind::Subquery(_) => line,
        ExprKind::Unary(unary) => {
            format!("{}{}{}", indent(level), unary.op.text(), pretty(&unary.expr, level).trim())
        }
        _ => indent(level) + &line,
    }
}

fn pretty_aggregate(aggregate: &Aggregate, level: usize) -> String {
    let param = aggregate.param.as_ref().map(|param| pretty(param, level + 1) + ",\n").unwrap_or_default();
    let expr = pretty(&aggregate.expr, level + 1);
    format!("{0}{1}(\n{param}{expr}\n{0})", indent(level), aggregate.operator())
}

fn pretty_binary(binary: &Binary, level: usize) -> String {
    let (lhs, rhs) = (pretty(&binary.lhs, level + 1), pretty(&binary.rhs, level + 1));
    format!("{lhs}\n{}{}\n{rhs}", indent(level), binary.operator())
}

fn pretty_call(call: &Call, level: usize) -> String {
    let args: Vec<String> = call.args.iter().map(|arg| pretty(arg, level + 1)).collect();
    format!("{0}{1}(\n{2}\n{0})", indent(level), call.function.name(), args.join(",\n"))
}

fn indent(level: usize) -> String {
    "  ".repeat(level)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::promql::{ParseOptions, parse};

    fn pretty(text: &str) -> String {
        prettify(&parse(text, &ParseOptions::default()).unwrap())
    }

    #[test]
    fn what_fits_a_line_stays_on_it() {
        assert_eq!(pretty("sum( rate(a_total [5m]) )by(b)"), "sum by (b) (rate(a_total[5m]))");
    }

    // Expected texts: `/api/v1/format_query` of Prometheus 2.42.
    #[test]
    fn what_is_longer_is_split_by_its_depth() {
        let text = "sum by (instance, mode) (rate(node_cpu_seconds_total{mode!=\"idle\",job=\"node\"}[5m])) / \
                    ignoring (mode) group_left () sum by (instance) (rate(node_cpu_seconds_total[5m]))";
        let expected =
            "  sum by (instance, mode) (rate(node_cpu_seconds_total{job=\"node\",mode!=\"idle\"}[5m]))
/ ignoring (mode) group_left ()
  sum by (instance) (rate(node_cpu_seconds_total[5m]))";
        assert_eq!(pretty(text), expected);
        let text = "topk(3, -histogram_quantile(0.99, sum by (le, handler) \
                    (rate(prometheus_http_request_duration_seconds_bucket{handler=~\"/api.*\"}[5m:1m])))) > bool 1";
        let expected = "  topk(
    3,
    -histogram_quantile(
      0.99,
      sum by (le, handler) (
        rate(prometheus_http_request_duration_seconds_bucket{handler=~\"/api.*\"}[5m:1m])
      )
    )
  )
> bool
  1";
        assert_eq!(pretty(text), expected);
    }
}
