//! Where Prometheus 3.14, and Icecore with it, answers otherwise than Prometheus 2.42, and why.
//!
//! A difference is explained only at the innermost expression that shows it, where all operands still agree, and
//! only if it has the form that the change gives it. Each has an example that must differ whenever the tests run: a
//! difference that is none is struck from the list.

use std::collections::BTreeMap;

use icecore::query::promql::ast::{AggregateOp, BinaryOp, Duration, Expr, ExprKind};
use icecore::query::promql::functions_table::Function;

use super::answers::{self, Answer, Asked, Labels, same};

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

pub const KNOWN: [KnownDifference; 6] = [
    KnownDifference {
        name: "zero point of a counter",
        reason: "since 2.51 a window that begins before its first sample is extrapolated to half a gap at most, and \
                 then to the counter's zero point; before, a zero point within 1.1 gaps went first",
        example: "rate(node_cpu_seconds_total[5m1s])",
        applies: is_zero_point,
    },
    KnownDifference {
        name: "ties of topk",
        reason: "which of equal values stay is decided by the order of storage, which nobody promises",
        example: "topk(3, node_scrape_collector_success)",
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
];

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

/// The chosen values are the same, only not whose they are.
fn is_tie(culprit: &Culprit) -> bool {
    let ExprKind::Aggregate(aggregate) = &culprit.expr.kind else { return false };
    if !matches!(aggregate.op, AggregateOp::Topk | AggregateOp::Bottomk) {
        return false;
    }
    let (Ok(expected), Ok(found)) = (culprit.expected, culprit.found) else { return false };
    values_by_time(expected) == values_by_time(found)
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
    let ExprKind::Aggregate(aggregate) = &culprit.expr.kind else { return false };
    let is_deviation = matches!(aggregate.op, AggregateOp::Stddev | AggregateOp::Stdvar);
    is_deviation && differs_only(culprit, |expected, found| expected == 0.0 && found.is_nan())
}

fn is_forgotten_offset(culprit: &Culprit) -> bool {
    let ExprKind::Call(call) = &culprit.expr.kind else { return false };
    let ExprKind::VectorSelector(selector) = &call.args[0].unwrap_parens().kind else { return false };
    call.function == Function::Timestamp && selector.at.is_some() && selector.offset != Duration::ZERO
}

fn values_by_time(answer: &Answer) -> BTreeMap<i64, Vec<u64>> {
    let mut values: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
    for (time, value) in answer.values().flat_map(|points| &points.floats) {
        values.entry(*time).or_default().push(value.to_bits());
    }
    values.values_mut().for_each(|values| values.sort_unstable());
    values
}
