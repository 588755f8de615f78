//! How far an answer may serve later questions, as far as the expression tells.
//!
//! What a step of a range query is may depend on more than that step: on where the range begins and ends (`@ end()`), on
//! what else is in it (series that become equal when their names go are refused if both are anywhere in the range), or,
//! to the last bit, on the order in which values are added up, where that order is not told by labels alone. Selected
//! series and groups stand in the order of their labels ([`super::eval`] sees to it); what is made of them may not.

use super::ast::{
    Aggregate, At, Binary, Call, Cardinality, Duration, Edges, Expr, ExprKind, UnaryOp, VectorMatching,
};
use super::functions_table::{Function, ValueType};
use super::operators::{AggregateOp, BinaryOp};

/// What of an answer may stand for what a later query would compute, as long as the samples are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reuse {
    Never,
    /// The whole of it, for the same range.
    Whole,
    /// Each step, in any range that has it.
    Steps,
}

/// What the expression allows. A step then sees nothing that comes after it.
pub fn reuse(expr: &Expr) -> Reuse {
    let mut sees_elsewhere = false;
    expr.walk(&mut |node| sees_elsewhere |= looks_elsewhere(node));
    match steps(expr) {
        _ if sees_elsewhere => Reuse::Never,
        None => Reuse::Whole,
        Some(_) => Reuse::Steps,
    }
}

/// Whether it looks anywhere but at the time of a step and before.
fn looks_elsewhere(expr: &Expr) -> bool {
    let is_elsewhere = |at: Option<At>, offset: &Duration| {
        at.is_some() || !matches!(offset, Duration::Milliseconds(ms) if *ms >= 0)
    };
    let is_computed = |length: &Duration| matches!(length, Duration::Expression(_));
    match &expr.kind {
        ExprKind::VectorSelector(selector) => {
            is_elsewhere(selector.at, &selector.offset) || selector.edges != Edges::Plain
        }
        ExprKind::MatrixSelector(matrix) => {
            let selector = &matrix.selector;
            is_elsewhere(selector.at, &selector.offset)
                || selector.edges != Edges::Plain
                || is_computed(&matrix.range)
        }
        ExprKind::Subquery(subquery) => {
            is_elsewhere(subquery.at, &subquery.offset)
                || is_computed(&subquery.range)
                || subquery.step.as_ref().is_some_and(is_computed)
        }
        // Both ask for more than the samples of a window.
        ExprKind::Call(call) => matches!(call.function, Function::Info | Function::StartTimestamp),
        _ => false,
    }
}

/// What is known of the series of a vector, whatever the samples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    /// Those that have a value at a step stand in an order in which no other step has a part.
    is_ordered: bool,
    /// No two differ in the name of the metric alone.
    is_distinct: bool,
}

const ONE: Known = Known { is_ordered: true, is_distinct: true };
const NOTHING: Known = Known { is_ordered: false, is_distinct: false };

impl Known {
    /// Without their names; equal ones become one, which stands where the first of them stood.
    fn unnamed(self) -> Known {
        Known { is_ordered: self.is_ordered && self.is_distinct, is_distinct: true }
    }

    fn unordered(self) -> Known {
        Known { is_ordered: false, ..self }
    }

    fn if_ordered(self) -> Option<Known> {
        Some(self).filter(|known| known.is_ordered)
    }
}

/// What is known of the series if each step is told by itself, to the bit; else `None`.
fn steps(expr: &Expr) -> Option<Known> {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => Some(ONE),
        ExprKind::VectorSelector(selector) => {
            Some(Known { is_ordered: true, is_distinct: selector.metric_name().is_some() })
        }
        ExprKind::MatrixSelector(matrix) => {
            Some(Known { is_ordered: true, is_distinct: matrix.selector.metric_name().is_some() })
        }
        ExprKind::Subquery(subquery) => steps(&subquery.expr),
        ExprKind::Paren(inner) => steps(inner),
        ExprKind::Unary(unary) => {
            let known = steps(&unary.expr)?;
            Some(if unary.op == UnaryOp::Minus { known.unnamed() } else { known })
        }
        ExprKind::Aggregate(aggregate) => of_aggregate(aggregate),
        ExprKind::Binary(binary) => of_binary(binary),
        ExprKind::Call(call) => of_call(call),
    }
}

fn of_aggregate(aggregate: &Aggregate) -> Option<Known> {
    if let Some(param) = &aggregate.param {
        steps(param)?;
    }
    let input = steps(&aggregate.expr)?;
    let is_distinct = aggregate.without || aggregate.grouping.iter().all(|label| !label.starts_with("__"));
    let groups = Known { is_ordered: true, is_distinct };
    match aggregate.op {
        AggregateOp::Count | AggregateOp::Group => Some(groups),
        AggregateOp::CountValues => Some(NOTHING),
        // The chosen ones stand as they were first chosen.
        AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk => {
            input.if_ordered().map(Known::unordered)
        }
        AggregateOp::LimitRatio => Some(input.unordered()),
        AggregateOp::Sum
        | AggregateOp::Avg
        | AggregateOp::Min
        | AggregateOp::Max
        | AggregateOp::Stddev
        | AggregateOp::Stdvar
        | AggregateOp::Quantile => input.if_ordered().map(|_| groups),
    }
}

fn of_binary(binary: &Binary) -> Option<Known> {
    let (left, right) = (steps(&binary.lhs)?, steps(&binary.rhs)?);
    let keeps_name = binary.op.is_trim() || binary.op.is_comparison() && !binary.return_bool;
    let Some(matching) = &binary.matching else {
        let vector = if binary.lhs.value_type() == ValueType::Scalar { right } else { left };
        return Some(if keeps_name { vector } else { vector.unnamed() });
    };
    match binary.op {
        BinaryOp::And | BinaryOp::Unless => Some(left),
        BinaryOp::Or => Some(NOTHING),
        _ => {
            let many = if matching.cardinality == Cardinality::OneToMany { right } else { left };
            let is_kept = keeps_series(matching) && many.is_distinct;
            Some(if is_kept { many } else { NOTHING })
        }
    }
}

/// Whether each series of the "many" side is one of the results, with labels that were its own.
fn keeps_series(matching: &VectorMatching) -> bool {
    if matching.fill_left.is_some() || matching.fill_right.is_some() {
        return false;
    }
    match matching.cardinality {
        Cardinality::OneToOne => !matching.on && matching.labels.is_empty(),
        Cardinality::ManyToOne | Cardinality::OneToMany => matching.include.is_empty(),
        Cardinality::ManyToMany => false,
    }
}

fn of_call(call: &Call) -> Option<Known> {
    let mut vector = ONE;
    let mut is_range = false;
    for arg in &call.args {
        let known = steps(arg)?;
        if matches!(arg.value_type(), ValueType::Vector | ValueType::Matrix) {
            vector = known;
            is_range = arg.value_type() == ValueType::Matrix;
        }
    }
    match call.function {
        // Of the range as a whole, and a remark if there is more than one step.
        Function::Start
        | Function::End
        | Function::Range
        | Function::Step
        | Function::Sort
        | Function::SortDesc
        | Function::SortByLabel
        | Function::SortByLabelDesc => None,
        // Of the first histogram that is read nobody knows whether it follows a reset.
        Function::HistogramCount | Function::HistogramSum | Function::HistogramAvg => None,
        Function::HistogramQuantile | Function::HistogramQuantiles | Function::HistogramFraction => {
            vector.if_ordered().map(|known| Known { is_distinct: true, ..known.unordered() })
        }
        Function::LabelReplace | Function::LabelJoin => Some(NOTHING),
        Function::Absent | Function::AbsentOverTime | Function::Scalar => Some(ONE),
        Function::FirstOverTime | Function::LastOverTime => Some(vector),
        // Equal ones are refused if both have a value anywhere.
        _ if is_range && !vector.is_distinct => None,
        _ => Some(vector.unnamed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::promql::{ParseOptions, parse};

    fn of(text: &str) -> Reuse {
        let options = ParseOptions {
            experimental_functions: true,
            extended_range_selectors: true,
            fill_modifiers: true,
            ..ParseOptions::default()
        };
        reuse(&parse(text, &options).unwrap())
    }

    #[test]
    fn steps_that_stand_for_themselves_serve_any_range() {
        for text in [
            "1",
            "time() + 2",
            "m",
            "{job=\"a\"} offset 1h",
            "-m",
            "rate(m[5m])",
            "rate({__name__=\"m\"}[5m] offset 5m)",
            "last_over_time({job=\"a\"}[5m])",
            "sum(m)",
            "sum by (job) (rate(m[5m]))",
            "topk(5, sum by (job) (rate(m[5m])))",
            "count(label_replace(m, \"a\", \"$1\", \"b\", \"(.*)\"))",
            "histogram_quantile(0.9, sum by (le) (rate(m_bucket[5m])))",
            "max_over_time(rate(m[5m])[1h:1m])",
            "100 * (1 - avg by (instance) (irate(m{mode=\"idle\"}[5m])))",
            "sum(a / b)",
            "sum(a * on (pod) group_left () b)",
            "a * on (pod) group_left (node) b",
            "a or b",
            "sum(a unless on (x) b)",
            "absent(m)",
            "absent_over_time({job=\"a\"}[5m])",
            "scalar(m) * m",
            "clamp_max(m, 5) > bool 3",
            "quantile(0.5, m)",
            "count_values(\"v\", m)",
            "hour()",
        ] {
            assert_eq!(of(text), Reuse::Steps, "{text}");
        }
    }

    #[test]
    fn what_the_rest_of_the_range_has_a_part_in_serves_the_same_range() {
        for text in [
            "rate({job=\"a\"}[5m])",
            "sum(rate({job=\"a\"}[5m]))",
            "sum(abs({job=\"a\"}))",
            "sum(label_replace(m, \"a\", \"$1\", \"b\", \"(.*)\"))",
            "sum(topk(5, m))",
            "avg(a or b)",
            "sum(a * on (pod) group_left (node) b)",
            "sum(a / on (pod) b)",
            "sum(a + fill (0) b)",
            "topk(3, topk(5, m))",
            "sort(m)",
            "sort_by_label(m, \"a\")",
            "m * step()",
            "m > start()",
            "histogram_count(m)",
            "sum(histogram_avg(rate(m[5m])))",
        ] {
            assert_eq!(of(text), Reuse::Whole, "{text}");
        }
    }

    #[test]
    fn what_looks_elsewhere_serves_nothing() {
        for text in [
            "m @ end()",
            "m @ start()",
            "m @ 1000",
            "sum(rate(m[5m] @ end()))",
            "max_over_time(m[1h:1m] @ 1000)",
            "m offset -5m",
            "rate(m[5m] offset -1s)",
            "max_over_time(m[1h:1m] offset -1s)",
            "rate(m[step()])",
            "rate(m[range() / 2])",
            "m offset step()",
            "max_over_time(m[1h:step()])",
            "rate(m[5m] smoothed)",
            "rate(m[5m] anchored)",
            "m smoothed",
            "info(m)",
            "start_timestamp(m)",
        ] {
            assert_eq!(of(text), Reuse::Never, "{text}");
        }
    }
}
