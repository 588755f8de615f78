//! Where Prometheus 3.14, and Icecore with it, answers otherwise than Prometheus 2.42, and why.
//!
//! A difference is explained only at the innermost expression that shows it, where all operands still agree, and
//! only if it has the form that the change gives it. Each has an example that must differ whenever the tests run: a
//! difference that is none is struck from the list.

use std::collections::BTreeMap;

use icecore::query::promql::ast::{AggregateOp, At, BinaryOp, Duration, Expr, ExprKind, Subquery};
use icecore::query::promql::functions_table::Function;

use super::answers::{self, Answer, Asked, Labels, When, same};
use super::side_by_side::SideBySide;

/// Of a subquery that names none, in both servers.
const SUBQUERY_STEP_MS: i64 = 60_000;

/// The innermost expression that differs, with what Prometheus and Icecore say of it.
pub struct Culprit<'a> {
    pub expr: &'a Expr,
    pub expected: &'a Asked,
    pub found: &'a Asked,
}

pub struct KnownDifference {
    pub name: &'static str,
    pub reason: &'static str,
    /// Differs for this reason over the data of `differential.rs`.
    pub example: &'static str,
    pub applies: fn(&Culprit) -> bool,
}

pub const KNOWN: [KnownDifference; 9] = [
    KnownDifference {
        name: "zero point of a counter",
        reason: "since 2.51 a window that begins before its first sample is extrapolated to half a gap at most, and \
                 then to the counter's zero point; before, a zero point within 1.1 gaps went first",
        example: "rate(node_cpu_seconds_total[5m1s])",
        applies: is_zero_point,
    },
    KnownDifference {
        name: "ties of topk",
        reason: "which of equal values stay is decided by the order of the series, which nobody promises; where they are \
                 computed at more than one step, Prometheus, 3.14 too, has them in that of a Go map",
        example: "topk(3, 0 * node_scrape_collector_success)",
        applies: is_tie,
    },
    KnownDifference {
        name: "name after atan2",
        reason: "2.42 forgot that atan2 makes another metric of a vector and a scalar; mended in 2.47",
        example: "node_load1 atan2 2",
        applies: is_name_after_atan2,
    },
    KnownDifference {
        name: "pairs that a comparison leaves out",
        reason: "since 3.0 they count as matches, so that whether a matching is refused does not depend on values",
        example: "node_network_up < on (instance) (max by (instance) (node_network_up) - 5)",
        applies: is_refused_pair,
    },
    KnownDifference {
        name: "deviation of one NaN or Inf",
        reason: "2.42 gave 0 where a group's only value is NaN or Inf; since 3.0 it is NaN",
        example: "stddev by (instance) (node_load1 / 0)",
        applies: is_deviation_of_nan,
    },
    KnownDifference {
        name: "offset beside @ in timestamp()",
        reason: "Prometheus, 3.14 too, forgets the offset when it looks for the sample but not when it reads; what it \
                 finds depends on what else the query reads",
        example: "timestamp(node_load1 offset 20m @ end())",
        applies: is_forgotten_offset,
    },
    KnownDifference {
        name: "predict_linear of a pinned window",
        reason: "Prometheus, 3.14 too, pins the window for the first step alone and moves it on with the others, \
                 while it reads only what the first one needs",
        example: "predict_linear(node_load1[10m1s] @ end(), 3600)",
        applies: is_moving_window,
    },
    KnownDifference {
        name: "last digits of a deviation",
        reason: "values are taken in the order of storage, which nobody promises; where they are large against their \
                 spread, digits are lost on the way",
        example: "stdvar(1e11 + 1000 * node_scrape_collector_duration_seconds)",
        applies: is_rounded_deviation,
    },
    KnownDifference {
        name: "label names of any text",
        reason: "since 3.0 a label may have any name that is UTF-8",
        example: "label_replace(node_load1, \"~x\", \"$1\", \"job\", \"(.*)\")",
        applies: is_new_label_name,
    },
];

/// Why the answers differ: what explains the innermost expressions that do, or one that nothing explains.
pub fn explain(
    both: &SideBySide,
    expr: &Expr,
    when: When,
    (expected, found): (Asked, Asked),
) -> Result<Vec<&'static KnownDifference>, String> {
    let mut inner = Vec::new();
    for (operand, when) in expr.children().into_iter().filter_map(|operand| evaluated(operand, when)) {
        let (expected, found) = both.ask(&operand.to_string(), when);
        if answers::disagreement(&expected, &found).is_some() {
            inner.extend(explain(both, operand, when, (expected, found))?);
        }
    }
    if !inner.is_empty() {
        return Ok(inner);
    }
    let culprit = Culprit { expr, expected: &expected, found: &found };
    let known = KNOWN.iter().find(|known| (known.applies)(&culprit));
    let difference = || answers::disagreement(&expected, &found).unwrap_or_default();
    known.map(|known| vec![known]).ok_or_else(|| format!("{expr}: {}", difference()))
}

/// What an operand evaluates, and when; nothing where it only reads samples.
fn evaluated(operand: &Expr, when: When) -> Option<(&Expr, When)> {
    match &operand.kind {
        ExprKind::Number(_) | ExprKind::String(_) | ExprKind::MatrixSelector(_) => None,
        ExprKind::Subquery(subquery) => Some((&*subquery.expr, steps_of(subquery, when)?)),
        _ => Some((operand, when)),
    }
}

/// All steps at which the query evaluates the subquery's expression.
fn steps_of(subquery: &Subquery, when: When) -> Option<When> {
    let milliseconds = |duration: &Duration| match duration {
        Duration::Milliseconds(ms) => *ms,
        Duration::Expression(_) => panic!("2.42 has no such durations"),
    };
    let (start, end) = match when {
        When::Instant(time_ms) => (time_ms, time_ms),
        When::Range { start_ms, end_ms, .. } => (start_ms, end_ms),
    };
    let (start, end) = match subquery.at {
        None => (start, end),
        Some(At::Timestamp(time_ms)) => (time_ms, time_ms),
        Some(At::Start) => (start, start),
        Some(At::End) => (end, end),
    };
    let step_ms = subquery.step.as_ref().map_or(SUBQUERY_STEP_MS, milliseconds);
    let offset_ms = milliseconds(&subquery.offset);
    let first_ms =
        (start - offset_ms - milliseconds(&subquery.range)).div_euclid(step_ms) * step_ms + step_ms;
    let end_ms = end - offset_ms;
    (first_ms <= end_ms).then_some(When::Range { start_ms: first_ms, end_ms, step_ms })
}

/// Whether both answers have the same labels and times, and values that differ do so in this way.
fn differs_only(culprit: &Culprit, how: impl Fn(f64, f64) -> bool) -> bool {
    let (Ok(expected), Ok(found)) = (culprit.expected, culprit.found) else { return false };
    let is_explained = |((time, expected), (other_time, found)): (&(i64, f64), &(i64, f64))| {
        time == other_time && (same(*expected, *found) || how(*expected, *found))
    };
    expected.keys().eq(found.keys())
        && expected.values().zip(found.values()).all(|(expected, found)| {
            expected.floats.len() == found.floats.len()
                && expected.floats.iter().zip(&found.floats).all(is_explained)
        })
}

/// With at least two samples in the window, 1.1 gaps instead of half a gap make the whole at most 2.1 / 1.5 as long.
fn is_zero_point(culprit: &Culprit) -> bool {
    let ExprKind::Call(call) = &culprit.expr.kind else { return false };
    if !matches!(call.function, Function::Rate | Function::Increase) {
        return false;
    }
    differs_only(culprit, |expected, found| {
        let ratio = expected / found;
        ratio > 1.0 && ratio < 2.1 / 1.5
    })
}

/// The chosen values are the same, only not whose they are. Asked alone, what chooses may agree: by chance.
fn is_tie(culprit: &Culprit) -> bool {
    let mut chooses = false;
    culprit.expr.walk(&mut |expr| {
        chooses |= matches!(&expr.kind, ExprKind::Aggregate(aggregate)
            if matches!(aggregate.op, AggregateOp::Topk | AggregateOp::Bottomk));
    });
    let (Ok(expected), Ok(found)) = (culprit.expected, culprit.found) else { return false };
    chooses && values_by_time(expected) == values_by_time(found)
}

/// Without the name the answers are the same.
fn is_name_after_atan2(culprit: &Culprit) -> bool {
    let ExprKind::Binary(binary) = &culprit.expr.kind else { return false };
    let (Ok(expected), Ok(found)) = (culprit.expected, culprit.found) else { return false };
    binary.op == BinaryOp::Atan2 && answers::difference(&without_names(expected), found).is_none()
}

fn without_names(answer: &Answer) -> Answer {
    let without_name = |labels: &Labels| {
        labels.iter().filter(|(name, _)| *name != "__name__").map(|(n, v)| (n.clone(), v.clone())).collect()
    };
    answer.iter().map(|(labels, points)| (without_name(labels), points.clone())).collect()
}

fn is_refused_pair(culprit: &Culprit) -> bool {
    let ExprKind::Binary(binary) = &culprit.expr.kind else { return false };
    let is_refused =
        |found: &Asked| found.as_ref().is_err_and(|text| text.starts_with("multiple matches for labels"));
    binary.op.is_comparison() && !binary.return_bool && culprit.expected.is_ok() && is_refused(culprit.found)
}

fn is_deviation_of_nan(culprit: &Culprit) -> bool {
    is_deviation(culprit.expr) && differs_only(culprit, |expected, found| expected == 0.0 && found.is_nan())
}

fn is_rounded_deviation(culprit: &Culprit) -> bool {
    let is_close = |a: f64, b: f64| (a - b).abs() < 1e-4 * a.abs().max(b.abs());
    is_deviation(culprit.expr) && differs_only(culprit, is_close)
}

fn is_deviation(expr: &Expr) -> bool {
    let ExprKind::Aggregate(aggregate) = &expr.kind else { return false };
    matches!(aggregate.op, AggregateOp::Stddev | AggregateOp::Stdvar)
}

fn is_moving_window(culprit: &Culprit) -> bool {
    let ExprKind::Call(call) = &culprit.expr.kind else { return false };
    let is_pinned = match call.args.first().map(|argument| &argument.unwrap_parens().kind) {
        Some(ExprKind::MatrixSelector(matrix)) => matrix.selector.at.is_some(),
        Some(ExprKind::Subquery(subquery)) => subquery.at.is_some(),
        _ => false,
    };
    call.function == Function::PredictLinear && is_pinned
}

fn is_forgotten_offset(culprit: &Culprit) -> bool {
    let ExprKind::Call(call) = &culprit.expr.kind else { return false };
    let Some(argument) = call.args.first() else { return false };
    let ExprKind::VectorSelector(selector) = &argument.unwrap_parens().kind else { return false };
    call.function == Function::Timestamp && selector.at.is_some() && selector.offset != Duration::ZERO
}

fn is_new_label_name(culprit: &Culprit) -> bool {
    let ExprKind::Call(call) = &culprit.expr.kind else { return false };
    let is_refused = |expected: &Asked| {
        expected.as_ref().is_err_and(|text| text.starts_with("invalid destination label name"))
    };
    matches!(call.function, Function::LabelReplace | Function::LabelJoin)
        && is_refused(culprit.expected)
        && culprit.found.is_ok()
}

fn values_by_time(answer: &Answer) -> BTreeMap<i64, Vec<u64>> {
    let mut values: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
    for (time, value) in answer.values().flat_map(|points| &points.floats) {
        values.entry(*time).or_default().push(value.to_bits());
    }
    values.values_mut().for_each(|values| values.sort_unstable());
    values
}
