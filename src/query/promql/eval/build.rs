//! From an expression to the operator that evaluates it on a grid.

use std::ops::Range;

use crate::query::QueryError;
use crate::query::promql::ast::{
    Aggregate, AggregateOp, At, Binary, BinaryOp, Duration, Edges, Expr, ExprKind, PositionRange, UnaryOp,
    VectorSelector,
};
use crate::query::promql::duration::DurationUse;
use crate::query::promql::functions_table::ValueType;

use super::aggregate::Aggregation;
use super::annotations::Note;
use super::announced::Announced;
use super::binary::{Operator, ScalarSide, changes_metric, floats, with_scalar};
use super::choose::{ChoosePositions, choose, count_values};
use super::context::Context;
use super::grouping::Grouping;
use super::invariant::is_invariant;
use super::join::Join;
use super::row::{Cell, Grid, Row};
use super::scalar::Scalar;
use super::select::{DataTime, InstantSelector, Yield};
use super::sets::Filtered;
use super::smoothed::SmoothedSelector;
use super::source::{BoxedSource, EqualLabels, Mapped, Repeated, Source, unite};
use super::tally::Part;
use super::union::{self, Union};

/// Builds operators for one query; `'q` is its life.
#[derive(Clone, Copy)]
pub struct Builder<'q> {
    pub context: &'q Context<'q>,
}

impl<'q> Builder<'q> {
    /// The operator of an expression that is an instant vector.
    pub fn vector(&self, expr: &Expr, grid: Grid) -> Result<BoxedSource<'q>, QueryError> {
        if grid.len > 1 && is_invariant(expr) {
            let once = Grid::instant(grid.start);
            let input = self.context.counting_apart(Part::Invariant, once, || self.vector(expr, once))?;
            return Ok(Box::new(Repeated { context: self.context, input, steps: grid.len }));
        }
        match &expr.kind {
            ExprKind::Paren(inner) => self.vector(inner, grid),
            ExprKind::VectorSelector(selector) if selector.edges == Edges::Smoothed => {
                let time = self.data_time(selector.at, &selector.offset)?;
                let (matchers, position) = (&selector.matchers, expr.position);
                Ok(Box::new(SmoothedSelector::new(self.context, matchers, time, grid, position)?))
            }
            ExprKind::VectorSelector(selector) => self.selector(selector, expr.position, grid, Yield::Value),
            ExprKind::Call(call) => self.call(expr, call, grid),
            ExprKind::Aggregate(aggregate) => self.aggregate(expr, aggregate, grid),
            ExprKind::Binary(binary) => self.binary(expr, binary, grid),
            ExprKind::Unary(unary) => {
                let input = self.vector(&unary.expr, grid)?;
                if unary.op == UnaryOp::Plus { Ok(input) } else { self.negated(input, grid) }
            }
            ExprKind::Number(_)
            | ExprKind::String(_)
            | ExprKind::MatrixSelector(_)
            | ExprKind::Subquery(_) => unreachable!("the parser lets only vectors stand here"),
        }
    }

    /// The values of a scalar expression, one for each step.
    pub fn scalar(&self, expr: &Expr, grid: Grid) -> Result<Scalar<'q>, QueryError> {
        if grid.len > 1 && is_invariant(expr) {
            let once = Grid::instant(grid.start);
            let values = self.context.counting_apart(Part::Invariant, once, || self.scalar(expr, once))?;
            return Scalar::constant(self.context, values[0], grid.len);
        }
        match &expr.kind {
            ExprKind::Number(number) => Scalar::constant(self.context, number.value, grid.len),
            ExprKind::Paren(inner) => self.scalar(inner, grid),
            ExprKind::Unary(unary) => {
                let values = self.scalar(&unary.expr, grid)?;
                if unary.op == UnaryOp::Minus { values.map(|_, v| -v) } else { Ok(values) }
            }
            // The parser lets it pass, as Prometheus's does.
            ExprKind::Binary(binary) if binary.op.is_trim() => Err(QueryError::Execution(format!(
                "operator {:?} not allowed for Scalar operations",
                binary.op.text()
            ))),
            ExprKind::Binary(binary) => {
                let left = self.scalar(&binary.lhs, grid)?;
                let right = self.scalar(&binary.rhs, grid)?;
                left.map(|step, a| floats(binary.op, a, right[step]))
            }
            ExprKind::Call(call) => self.scalar_call(call, grid),
            ExprKind::String(_)
            | ExprKind::VectorSelector(_)
            | ExprKind::MatrixSelector(_)
            | ExprKind::Subquery(_)
            | ExprKind::Aggregate(_) => unreachable!("the parser lets only scalars stand here"),
        }
    }

    pub fn selector(
        &self,
        selector: &VectorSelector,
        position: PositionRange,
        grid: Grid,
        yields: Yield,
    ) -> Result<BoxedSource<'q>, QueryError> {
        let time = self.data_time(selector.at, &selector.offset)?;
        Ok(Box::new(InstantSelector::new(self.context, &selector.matchers, time, grid, yields, position)?))
    }

    pub fn data_time(&self, at: Option<At>, offset: &Duration) -> Result<DataTime, QueryError> {
        let pinned = at.map(|at| match at {
            At::Timestamp(time) => time,
            At::Start => self.context.query.start,
            At::End => self.context.query.end,
        });
        Ok(DataTime { pinned, offset_ms: self.milliseconds(offset, DurationUse::Signed)? })
    }

    pub fn milliseconds(&self, duration: &Duration, usage: DurationUse) -> Result<i64, QueryError> {
        duration
            .resolve(usage, self.context.query.times())
            .map_err(|error| QueryError::Execution(error.to_string()))
    }

    fn negated(&self, input: BoxedSource<'q>, grid: Grid) -> Result<BoxedSource<'q>, QueryError> {
        let series = self.unnamed(&*input)?;
        let negate = |steps: Range<usize>, row: &mut Row| {
            for step in steps {
                match row.cell(step) {
                    Some(Cell::Float(value)) => row.set_float(step, -value),
                    Some(Cell::Histogram(histogram)) => {
                        let mut negative = (*histogram).clone();
                        negative.mul(-1.0);
                        row.set_histogram(step, negative.into());
                    }
                    None => {}
                }
            }
        };
        self.united(Box::new(Mapped::new(input, series, negate)), grid)
    }

    /// The series of an operator whose result is another quantity than its input.
    pub fn unnamed(&self, input: &dyn Source) -> Result<Announced<'q>, QueryError> {
        Announced::of(self.context, input.series(), |series| self.context.without_name(series))
    }

    /// Renaming may have made series equal: those that take turns become one.
    pub fn united(&self, source: BoxedSource<'q>, grid: Grid) -> Result<BoxedSource<'q>, QueryError> {
        unite(self.context, source, grid.len, EqualLabels::Merge)
    }

    fn aggregate(
        &self,
        expr: &Expr,
        aggregate: &Aggregate,
        grid: Grid,
    ) -> Result<BoxedSource<'q>, QueryError> {
        let op = aggregate.op;
        let param = aggregate.param.as_deref().map(Expr::unwrap_parens);
        let grouping = Grouping::new(&aggregate.grouping, aggregate.without);
        let by_values = |label: &str| {
            let input = self.vector(aggregate.expr.unwrap_parens(), grid)?;
            let (names, without) = (&aggregate.grouping, aggregate.without);
            count_values(self.context, input, names, without, label, grid.len)
        };
        match (op, param) {
            (AggregateOp::CountValues, Some(label)) => {
                let label = label_name(label, "invalid label name")?;
                self.united(Box::new(by_values(&label)?), grid)
            }
            (op, Some(param)) => {
                let values = self.scalar(param, grid)?;
                let input = self.vector(aggregate.expr.unwrap_parens(), grid)?;
                if op == AggregateOp::Quantile {
                    self.note_quantiles(&values, param);
                    return self.folding(aggregate, input, &grouping, Some(values), grid);
                }
                let positions = ChoosePositions { aggregate: expr.position, param: param.position };
                Ok(Box::new(choose(self.context, input, &grouping, op, &values, positions)?))
            }
            (_, None) => {
                let input = self.vector(aggregate.expr.unwrap_parens(), grid)?;
                self.folding(aggregate, input, &grouping, None, grid)
            }
        }
    }

    fn folding(
        &self,
        aggregate: &Aggregate,
        input: BoxedSource<'q>,
        grouping: &Grouping,
        param: Option<Scalar<'q>>,
        grid: Grid,
    ) -> Result<BoxedSource<'q>, QueryError> {
        let (op, position) = (aggregate.op, aggregate.expr.unwrap_parens().position);
        let folding = Aggregation::new(self.context, input, grouping, op, param, grid.len, position)?;
        Ok(Box::new(folding))
    }

    fn note_quantiles(&self, values: &[f64], param: &Expr) {
        let note = |q| self.context.note(Note::InvalidQuantile { q }, param.position);
        if values.iter().any(|q| q.is_nan()) {
            return note(f64::NAN);
        }
        let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        [max].into_iter().filter(|q| *q > 1.0).for_each(note);
        [min].into_iter().filter(|q| *q < 0.0).for_each(note);
    }

    /// A comparison with a scalar leaves the labels as they were.
    fn renamed(
        &self,
        source: BoxedSource<'q>,
        operator: Operator,
        grid: Grid,
    ) -> Result<BoxedSource<'q>, QueryError> {
        if changes_metric(operator.op) || operator.return_bool {
            self.united(source, grid)
        } else {
            Ok(source)
        }
    }

    fn binary(&self, expr: &Expr, binary: &Binary, grid: Grid) -> Result<BoxedSource<'q>, QueryError> {
        let operator = Operator { op: binary.op, return_bool: binary.return_bool, position: expr.position };
        let is_scalar = |side: &Expr| side.value_type() == ValueType::Scalar;
        if is_scalar(&binary.lhs) {
            let scalar = self.scalar(&binary.lhs, grid)?;
            let input = self.vector(&binary.rhs, grid)?;
            return self.renamed(
                with_scalar(self.context, input, operator, scalar, ScalarSide::Left)?,
                operator,
                grid,
            );
        }
        if binary.op == BinaryOp::Or {
            return self.union(binary, grid);
        }
        let left = self.vector(&binary.lhs, grid)?;
        if is_scalar(&binary.rhs) {
            let scalar = self.scalar(&binary.rhs, grid)?;
            return self.renamed(
                with_scalar(self.context, left, operator, scalar, ScalarSide::Right)?,
                operator,
                grid,
            );
        }
        let right = self.vector(&binary.rhs, grid)?;
        let matching = binary.matching.as_ref().expect("the parser gives two vectors a matching");
        if binary.op.is_set_operator() {
            let filtered = Filtered::new(self.context, binary.op, matching, left, right, grid.len)?;
            return self.united(Box::new(filtered), grid);
        }
        self.united(Box::new(Join::new(self.context, operator, matching, left, right, grid.len)?), grid)
    }

    /// An `or`, with those on its left that match alike.
    fn union<'e>(&self, last: &'e Binary, grid: Grid) -> Result<BoxedSource<'q>, QueryError> {
        let sides = |expr: &'e Expr| match &expr.unwrap_parens().kind {
            ExprKind::Binary(or) if or.op == BinaryOp::Or && or.matching == last.matching => {
                Some((&*or.lhs, &*or.rhs))
            }
            _ => None,
        };
        let operands = union::operands((&*last.lhs, &*last.rhs), sides).into_iter();
        let sources: Result<Vec<_>, QueryError> =
            operands.map(|operand| self.vector(operand, grid)).collect();
        let matching = last.matching.as_ref().expect("the parser gives two vectors a matching");
        self.united(Box::new(Union::new(self.context, matching, sources?, grid.len)?), grid)
    }
}

/// The text of a string argument; PromQL strings are bytes, most uses want UTF-8.
pub fn string_argument(expr: &Expr) -> Result<&str, QueryError> {
    std::str::from_utf8(string_bytes(expr))
        .map_err(|_| QueryError::Execution(format!("string {} is not UTF-8", quoted(string_bytes(expr)))))
}

pub fn string_bytes(expr: &Expr) -> &[u8] {
    match &expr.unwrap_parens().kind {
        ExprKind::String(bytes) => bytes,
        _ => unreachable!("the parser lets only strings stand here"),
    }
}

/// A string argument that names a label; `problem` begins the error.
pub fn label_name(expr: &Expr, problem: &str) -> Result<String, QueryError> {
    let bytes = string_bytes(expr);
    match std::str::from_utf8(bytes) {
        Ok(name) if !name.is_empty() => Ok(name.to_owned()),
        _ => Err(QueryError::Execution(format!("{problem} {}", quoted(bytes)))),
    }
}

/// Bytes between quotes, what is not text as `\x..`.
fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        text.extend(chunk.valid().chars().flat_map(char::escape_debug));
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text + "\""
}
