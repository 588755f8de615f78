//! What an operator makes of two values, and of a vector and a scalar.

use std::ops::Range;
use std::sync::Arc;

use crate::model::Histogram;
use crate::model::histogram::ResetHint;
use crate::model::metrics::STALE_NAN;
use crate::query::QueryError;
use crate::query::promql::ast::{BinaryOp, PositionRange};
use crate::query::promql::histogram_functions::HistogramOperation;
use crate::query::promql::histogram_trim::{Keep, trim};

use super::annotations::Note;
use super::announced::Announced;
use super::context::Context;
use super::row::{Cell, OutputSeries, Row};
use super::scalar::Scalar;
use super::source::{BoxedSource, Mapped};

/// A value, and whether a comparison keeps it.
pub struct Outcome {
    pub value: Cell,
    pub keep: bool,
}

/// Arithmetic on floats; comparisons give 1 or 0.
pub fn floats(op: BinaryOp, a: f64, b: f64) -> f64 {
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Subtract => a - b,
        BinaryOp::Multiply => a * b,
        BinaryOp::Divide => a / b,
        // Rust's remainder is C's fmod: the sign of the dividend.
        BinaryOp::Modulo => a % b,
        BinaryOp::Power => a.powf(b),
        BinaryOp::Atan2 => a.atan2(b),
        _ => f64::from(u8::from(compare(op, a, b))),
    }
}

fn compare(op: BinaryOp, a: f64, b: f64) -> bool {
    match op {
        BinaryOp::Equal => a == b,
        BinaryOp::NotEqual => a != b,
        BinaryOp::Less => a < b,
        BinaryOp::LessEqual => a <= b,
        BinaryOp::Greater => a > b,
        BinaryOp::GreaterEqual => a >= b,
        _ => unreachable!("{} does not compare", op.text()),
    }
}

/// Leaves those of the values that compare so with the scalars of their steps. The absent stay so, whatever they compare as.
fn keep_compared(op: BinaryOp, side: ScalarSide, values: &mut [f64], scalars: &[f64]) {
    // With the scalar on the left it is the other way round.
    let op = match (side, op) {
        (ScalarSide::Left, BinaryOp::Less) => BinaryOp::Greater,
        (ScalarSide::Left, BinaryOp::LessEqual) => BinaryOp::GreaterEqual,
        (ScalarSide::Left, BinaryOp::Greater) => BinaryOp::Less,
        (ScalarSide::Left, BinaryOp::GreaterEqual) => BinaryOp::LessEqual,
        _ => op,
    };
    match op {
        BinaryOp::Equal => keep_where(values, scalars, |value, scalar| value == scalar),
        BinaryOp::NotEqual => keep_where(values, scalars, |value, scalar| value != scalar),
        BinaryOp::Less => keep_where(values, scalars, |value, scalar| value < scalar),
        BinaryOp::LessEqual => keep_where(values, scalars, |value, scalar| value <= scalar),
        BinaryOp::Greater => keep_where(values, scalars, |value, scalar| value > scalar),
        BinaryOp::GreaterEqual => keep_where(values, scalars, |value, scalar| value >= scalar),
        _ => unreachable!("{} does not compare", op.text()),
    }
}

/// A loop for each operator, so that none of many million values takes a branch.
fn keep_where(values: &mut [f64], scalars: &[f64], keeps: impl Fn(f64, f64) -> bool) {
    for (value, &scalar) in values.iter_mut().zip(scalars) {
        let bits = if keeps(*value, scalar) { value.to_bits() } else { STALE_NAN };
        *value = f64::from_bits(bits);
    }
}

/// True if the result is another quantity than the input, so that the metric's name no longer fits.
pub fn changes_metric(op: BinaryOp) -> bool {
    !op.is_comparison() && !op.is_set_operator() && !op.is_trim()
}

/// The result for two values, or nothing and a remark if the operator does not take their types.
pub fn cells(op: BinaryOp, a: &Cell, b: &Cell, remark: &mut dyn FnMut(Note)) -> Option<Outcome> {
    match (a, b) {
        (Cell::Float(a), Cell::Float(b)) if !op.is_trim() => Some(two_floats(op, *a, *b)),
        (Cell::Float(factor), Cell::Histogram(h)) if op == BinaryOp::Multiply => {
            Some(scaled(h, *factor, true))
        }
        (Cell::Histogram(h), Cell::Float(factor)) if op == BinaryOp::Multiply => {
            Some(scaled(h, *factor, true))
        }
        (Cell::Histogram(h), Cell::Float(divisor)) if op == BinaryOp::Divide => {
            Some(scaled(h, *divisor, false))
        }
        (Cell::Histogram(h), Cell::Float(bound)) if op.is_trim() => Some(trimmed(op, h, *bound)),
        (Cell::Histogram(a), Cell::Histogram(b)) => two_histograms(op, a, b, remark),
        _ => incompatible(op, a, b, remark),
    }
}

fn two_floats(op: BinaryOp, a: f64, b: f64) -> Outcome {
    if op.is_comparison() {
        return Outcome { value: Cell::Float(a), keep: compare(op, a, b) };
    }
    Outcome { value: Cell::Float(floats(op, a, b)), keep: true }
}

fn scaled(histogram: &Histogram, by: f64, multiply: bool) -> Outcome {
    let mut result = histogram.clone();
    if multiply {
        result.mul(by);
    } else {
        result.div(by);
    }
    result.compact(0);
    Outcome { value: Cell::Histogram(result.into()), keep: true }
}

fn trimmed(op: BinaryOp, histogram: &Histogram, bound: f64) -> Outcome {
    let mut result = histogram.clone();
    trim(&mut result, bound, if op == BinaryOp::TrimUpper { Keep::Below } else { Keep::Above });
    Outcome { value: Cell::Histogram(result.into()), keep: true }
}

fn two_histograms(
    op: BinaryOp,
    a: &Arc<Histogram>,
    b: &Arc<Histogram>,
    remark: &mut dyn FnMut(Note),
) -> Option<Outcome> {
    let operation = match op {
        BinaryOp::Equal => return Some(Outcome { value: Cell::Histogram(a.clone()), keep: a.equals(b) }),
        BinaryOp::NotEqual => return Some(Outcome { value: Cell::Histogram(a.clone()), keep: !a.equals(b) }),
        BinaryOp::Add => HistogramOperation::Addition,
        BinaryOp::Subtract => HistogramOperation::Subtraction,
        _ => return incompatible(op, &Cell::Histogram(a.clone()), &Cell::Histogram(b.clone()), remark),
    };
    let mut result = (**a).clone();
    let done = if op == BinaryOp::Add { result.add(b) } else { result.sub(b) };
    let Ok(reconciled) = done else {
        remark(Note::IncompatibleLayout { operator: op.text() });
        return None;
    };
    if reconciled.hints_conflict {
        remark(Note::CounterResetCollision { operation });
    }
    if reconciled.bounds_intersected {
        remark(Note::BoundsReconciled { operation });
    }
    if op == BinaryOp::Subtract {
        // What is left after a subtraction may fall, whatever its terms were.
        result.hint = ResetHint::Gauge;
    }
    result.compact(0);
    Some(Outcome { value: Cell::Histogram(result.into()), keep: true })
}

fn incompatible(op: BinaryOp, a: &Cell, b: &Cell, remark: &mut dyn FnMut(Note)) -> Option<Outcome> {
    let type_of = |cell: &Cell| if cell.float().is_some() { "float" } else { "histogram" };
    remark(Note::IncompatibleTypes { left: type_of(a), operator: op.text(), right: type_of(b) });
    None
}

/// The side of an operator on which the scalar stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalarSide {
    Left,
    Right,
}

/// An operator, `bool` and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Operator {
    pub op: BinaryOp,
    pub return_bool: bool,
    pub position: PositionRange,
}

/// `vector op scalar` and `scalar op vector`. A comparison keeps the vector's value, on whichever side it is.
pub fn with_scalar<'q>(
    context: &'q Context<'q>,
    input: BoxedSource<'q>,
    operator: Operator,
    scalar: Scalar<'q>,
    side: ScalarSide,
) -> Result<BoxedSource<'q>, QueryError> {
    let Operator { op, return_bool, position } = operator;
    let renames = changes_metric(op) || return_bool;
    let rename = |s: &OutputSeries| if renames { context.without_name(s) } else { s.clone() };
    let series = Announced::of(context, input.series(), rename)?;
    let apply = move |steps: Range<usize>, row: &mut Row| {
        if op.is_comparison()
            && !return_bool
            && let Some(values) = row.floats_alone(steps.clone())
        {
            return keep_compared(op, side, values, &scalar[steps]);
        }
        for step in steps {
            let other = scalar[step];
            if changes_metric(op)
                && let Some(value) = row.float(step)
            {
                let (a, b) = if side == ScalarSide::Left { (other, value) } else { (value, other) };
                row.set_float(step, floats(op, a, b));
                continue;
            }
            let Some(value) = row.cell(step) else { continue };
            let other = Cell::Float(other);
            let (a, b) = if side == ScalarSide::Left { (&other, &value) } else { (&value, &other) };
            let outcome = cells(op, a, b, &mut |note| context.note(note, position));
            row.set(step, outcome.and_then(|o| kept(operator, o, &value)));
        }
    };
    Ok(Box::new(Mapped::new(input, series, apply)))
}

/// What becomes of an outcome between a vector's `value` and a scalar.
fn kept(operator: Operator, outcome: Outcome, value: &Cell) -> Option<Cell> {
    if operator.return_bool {
        return Some(Cell::Float(f64::from(u8::from(outcome.keep))));
    }
    if !outcome.keep {
        return None;
    }
    Some(if operator.op.is_comparison() { value.clone() } else { outcome.value })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::metrics::stale_marker;

    proptest! {
        #[test]
        fn values_that_are_compared_at_once_are_kept_as_one_alone_would_be(
            pairs in prop::collection::vec((value(), value()), 0..20),
            op in prop::sample::select(vec![
                BinaryOp::Equal, BinaryOp::NotEqual, BinaryOp::Less, BinaryOp::LessEqual, BinaryOp::Greater, BinaryOp::GreaterEqual,
            ]),
            is_left: bool,
        ) {
            let side = if is_left { ScalarSide::Left } else { ScalarSide::Right };
            let (mut values, scalars): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
            keep_compared(op, side, &mut values, &scalars);
            for (found, (value, scalar)) in values.into_iter().zip(pairs) {
                let is_kept = if is_left { compare(op, scalar, value) } else { compare(op, value, scalar) };
                let expected = if is_kept { value } else { stale_marker() };
                prop_assert_eq!(found.to_bits(), expected.to_bits());
            }
        }
    }

    fn value() -> impl Strategy<Value = f64> {
        let strange = vec![0.0, -0.0, f64::INFINITY, f64::NAN, stale_marker()];
        prop_oneof![3 => (-2i32..3).prop_map(f64::from), 1 => prop::sample::select(strange)]
    }

    #[test]
    fn division_and_remainder_are_those_of_ieee() {
        assert_eq!(floats(BinaryOp::Divide, 1.0, 0.0), f64::INFINITY);
        assert!(floats(BinaryOp::Modulo, 1.0, 0.0).is_nan());
        assert_eq!(floats(BinaryOp::Modulo, -5.5, 3.0), -2.5);
        assert_eq!(floats(BinaryOp::Power, 2.0, -1.0), 0.5);
    }

    #[test]
    fn a_comparison_keeps_the_left_value() {
        let mut remarks = Vec::new();
        let mut remark = |note| remarks.push(note);
        let outcome = cells(BinaryOp::Less, &Cell::Float(1.0), &Cell::Float(2.0), &mut remark).unwrap();
        assert!(outcome.keep && outcome.value.float() == Some(1.0));
        assert!(!cells(BinaryOp::Less, &Cell::Float(f64::NAN), &Cell::Float(2.0), &mut remark).unwrap().keep);
        assert!(remarks.is_empty());
    }

    #[test]
    fn types_an_operator_does_not_take_give_nothing_and_a_remark() {
        let mut remarks = Vec::new();
        let histogram = Cell::Histogram(Arc::default());
        let outcome = cells(BinaryOp::Less, &histogram, &Cell::Float(2.0), &mut |note| remarks.push(note));
        assert!(outcome.is_none());
        let expected = Note::IncompatibleTypes { left: "histogram", operator: "<", right: "float" };
        assert_eq!(remarks, [expected]);
    }
}
