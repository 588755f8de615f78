//! Metric expressions: rows of range aggregations below, the operators of PromQL above them.

use crate::model::{Labels, Nanos};
use crate::query::budget::{Budget, HeldBytes};
use crate::query::logql::ast::{
    Aggregate, AggregateOp, Binary, BinaryOp, Grouping, LabelReplace, MetricExpr, MetricKind,
    RangeAggregation, RangeOp, Sort,
};
use crate::query::promql::ast::PositionRange;
use crate::query::promql::eval::aggregate::Aggregation;
use crate::query::promql::eval::announced::Announced;
use crate::query::promql::eval::binary::{Operator, ScalarSide, floats, with_scalar};
use crate::query::promql::eval::choose::{ChoosePositions, choose};
use crate::query::promql::eval::grouping::Grouping as Groups;
use crate::query::promql::eval::join::Join;
use crate::query::promql::eval::math::nan_lowest;
use crate::query::promql::eval::relabel;
use crate::query::promql::eval::result::{instant_vector, matrix};
use crate::query::promql::eval::row::{Grid, OutputSeries, Row};
use crate::query::promql::eval::scalar::Scalar;
use crate::query::promql::eval::sets::Filtered;
use crate::query::promql::eval::source::{BoxedSource, EqualLabels, Mapped, Rows, unite};
use crate::query::promql::eval::union::{self, Union};
use crate::query::promql::eval::{Context, QueryShape};
use crate::query::sorting::sort_within;
use crate::query::{MatrixSeries, QueryError, QueryValue};

use super::range::range_rows;
use super::scan::Scan;
use super::windows::Windows;

/// The steps of a metric query.
#[derive(Clone, Copy, Debug)]
pub struct Steps {
    pub start: Nanos,
    /// A whole number of milliseconds; 0 for an instant query.
    pub step_ns: i64,
    pub end: Nanos,
    /// When the query runs.
    pub now: Nanos,
}

impl Steps {
    /// The steps as PromQL's operators see them. Milliseconds are what answers tell, so what is below is cut off.
    fn shape(&self) -> QueryShape {
        let millis = |time: Nanos| time.div_euclid(1_000_000);
        QueryShape {
            start: millis(self.start),
            end: millis(self.start) + (self.end - self.start).max(-1_000_000).div_euclid(1_000_000),
            step_ms: self.step_ns / 1_000_000,
            lookback_ms: 0,
            subquery_step_ms: 1,
            delayed_name_removal: false,
            use_start_timestamps: false,
            strict: false,
        }
    }
}

pub fn evaluate(scan: Scan<'_>, expr: &MetricExpr, steps: Steps) -> Result<QueryValue, QueryError> {
    let context = Context::without_samples(steps.shape(), scan.budget);
    let grid = context.query.grid();
    let _row = context.hold_row(&grid)?;
    let builder = Builder { context: &context, scan, steps, grid };
    match (expr.is_scalar(), steps.step_ns > 0) {
        (true, false) => Ok(QueryValue::Scalar(grid.start, scalar(expr))),
        (true, true) => {
            let value = scalar(expr);
            let floats = (0..grid.len).map(|step| (grid.at(step), value)).collect();
            Ok(QueryValue::Matrix(vec![MatrixSeries { floats, ..MatrixSeries::default() }]))
        }
        (false, false) => instant_vector(&context, builder.vector(expr)?, grid),
        (false, true) => matrix(&context, builder.vector(expr)?, grid),
    }
}

/// What a scalar expression is at every step.
fn scalar(expr: &MetricExpr) -> f64 {
    match &expr.kind {
        MetricKind::Number(number) => number.0,
        MetricKind::Binary(binary) => {
            let (left, right) = (scalar(&binary.lhs), scalar(&binary.rhs));
            floats(binary.op, left, divisor(binary.op, right))
        }
        _ => unreachable!("only numbers and what is computed from them are scalars"),
    }
}

/// In LogQL what is divided by zero is no number, where PromQL has it infinite.
fn divisor(op: BinaryOp, value: f64) -> f64 {
    if op == BinaryOp::Divide && value == 0.0 { f64::NAN } else { value }
}

struct Builder<'q> {
    context: &'q Context<'q>,
    scan: Scan<'q>,
    steps: Steps,
    grid: Grid,
}

impl<'q> Builder<'q> {
    fn vector(&self, expr: &MetricExpr) -> Result<BoxedSource<'q>, QueryError> {
        match &expr.kind {
            MetricKind::Range(range) => self.range(range, range.grouping.as_ref()),
            MetricKind::Aggregate(aggregate) => self.aggregate(aggregate),
            MetricKind::Sort(sort) => self.sort(sort),
            MetricKind::Binary(binary) => self.binary(binary),
            MetricKind::LabelReplace(replace) => self.label_replace(replace),
            MetricKind::Vector(number) => {
                let row = self.context.constant_row(number.0, self.grid.len)?;
                Ok(Box::new(Rows::one(OutputSeries::new(Labels::empty()), row)))
            }
            MetricKind::Number(_) => unreachable!("a number stands only where a scalar may"),
        }
    }

    fn range(
        &self,
        range: &RangeAggregation,
        grouping: Option<&Grouping>,
    ) -> Result<BoxedSource<'q>, QueryError> {
        let windows = Windows {
            first_end: self.steps.start.saturating_sub(range.log.offset),
            step: self.steps.step_ns.max(1),
            len: self.grid.len,
            range: range.log.range,
        };
        let budget: &'q Budget = self.context.budget;
        let mut held = HeldBytes::none(budget);
        let made = range_rows(self.scan, range, grouping, windows, self.steps.now, &mut held)?;
        let series = made.series.into_iter().map(OutputSeries::new).collect();
        Ok(Box::new(Leaf { rows: Rows::new(series, made.rows, None), _held: held }))
    }

    fn aggregate(&self, aggregate: &Aggregate) -> Result<BoxedSource<'q>, QueryError> {
        let by_nothing = Grouping { is_without: false, labels: Vec::new() };
        let grouping = aggregate.grouping.as_ref().unwrap_or(&by_nothing);
        if let (AggregateOp::Sum, MetricKind::Range(range)) = (aggregate.op, &aggregate.expr.kind)
            && range.grouping.is_none()
            && is_additive(range.op)
        {
            // The sum of the parts is what the whole has: no series but those of the sum are made.
            return self.range(range, Some(grouping));
        }
        let input = self.vector(&aggregate.expr)?;
        let groups = Groups::new(&grouping.labels, grouping.is_without);
        match aggregate.parameter {
            Some(count) => {
                let positions =
                    ChoosePositions { aggregate: PositionRange::default(), param: PositionRange::default() };
                let counts = vec![count as f64; self.grid.len];
                Ok(Box::new(choose(self.context, input, &groups, aggregate.op, &counts, positions)?))
            }
            None => Ok(Box::new(Aggregation::new(
                self.context,
                input,
                &groups,
                aggregate.op,
                None,
                self.grid.len,
                PositionRange::default(),
            )?)),
        }
    }

    /// An order for instant queries; a matrix has its own.
    fn sort(&self, sort: &Sort) -> Result<BoxedSource<'q>, QueryError> {
        let input = self.vector(&sort.expr)?;
        if self.grid.len != 1 {
            return Ok(input);
        }
        let (series, rows, held) = Rows::collect(self.context, input, 1)?.into_parts();
        let mut sorted: Vec<(OutputSeries, Row)> = series.into_iter().zip(rows).collect();
        sorted.retain(|(_, row)| row.has(0));
        let value = |row: &Row| row.float(0).unwrap_or(f64::NAN);
        // NaN comes last in both directions.
        let order = |(_, a): &(OutputSeries, Row), (_, b): &(OutputSeries, Row)| {
            let (a, b) = (value(a), value(b));
            let order = if sort.is_descending { nan_lowest(&b, &a) } else { nan_lowest(&a, &b) };
            a.is_nan().cmp(&b.is_nan()).then(order)
        };
        let (series, rows) = sort_within(self.context.budget, sorted, &order)?.into_iter().unzip();
        Ok(Box::new(Rows::new(series, rows, held)))
    }

    fn binary(&self, binary: &Binary) -> Result<BoxedSource<'q>, QueryError> {
        let operator =
            Operator { op: binary.op, return_bool: binary.return_bool, position: PositionRange::default() };
        if binary.op == BinaryOp::Or {
            return self.union(binary);
        }
        if binary.lhs.is_scalar() {
            let left = Scalar::constant(self.context, scalar(&binary.lhs), self.grid.len)?;
            let right = self.divisors(binary.op, self.vector(&binary.rhs)?)?;
            return self.united(with_scalar(self.context, right, operator, left, ScalarSide::Left)?);
        }
        let left = self.vector(&binary.lhs)?;
        if binary.rhs.is_scalar() {
            let right = divisor(binary.op, scalar(&binary.rhs));
            let right = Scalar::constant(self.context, right, self.grid.len)?;
            return self.united(with_scalar(self.context, left, operator, right, ScalarSide::Right)?);
        }
        let right = self.vector(&binary.rhs)?;
        let matching = binary.matching.as_ref().expect("the parser gives two vectors a matching");
        let steps = self.grid.len;
        if binary.op.is_set_operator() {
            let filtered = Filtered::new(self.context, binary.op, matching, left, right, steps)?;
            return self.united(Box::new(filtered));
        }
        let right = self.divisors(binary.op, right)?;
        self.united(Box::new(Join::new(self.context, operator, matching, left, right, steps)?))
    }

    /// An `or`, with those on its left that match alike.
    fn union<'e>(&self, last: &'e Binary) -> Result<BoxedSource<'q>, QueryError> {
        let sides = |expr: &'e MetricExpr| match &expr.kind {
            MetricKind::Binary(or) if or.op == BinaryOp::Or && or.matching == last.matching => {
                Some((&*or.lhs, &*or.rhs))
            }
            _ => None,
        };
        let operands = union::operands((&*last.lhs, &*last.rhs), sides).into_iter();
        let sources: Result<Vec<_>, QueryError> = operands.map(|operand| self.vector(operand)).collect();
        let matching = last.matching.as_ref().expect("the parser gives two vectors a matching");
        self.united(Box::new(Union::new(self.context, matching, sources?, self.grid.len)?))
    }

    fn divisors(&self, op: BinaryOp, input: BoxedSource<'q>) -> Result<BoxedSource<'q>, QueryError> {
        if op != BinaryOp::Divide {
            return Ok(input);
        }
        let series = Announced::copy(self.context, input.series())?;
        Ok(Box::new(Mapped::new(input, series, move |steps, row: &mut Row| {
            row.map_floats(steps, |_, value| divisor(op, value));
        })))
    }

    fn label_replace(&self, replace: &LabelReplace) -> Result<BoxedSource<'q>, QueryError> {
        let regex =
            self.context.patterns.anchored(&replace.pattern).ok_or_else(|| {
                QueryError::BadData(format!("invalid regular expression {}", replace.pattern))
            })?;
        let rule = relabel::LabelReplace {
            target: replace.destination.clone(),
            replacement: replace.replacement.clone(),
            source: replace.source.clone(),
            regex,
        };
        let input = self.vector(&replace.expr)?;
        let series = rule.apply(self.context, input.series())?;
        self.united(Box::new(Mapped::new(input, series, |_, _: &mut Row| ())))
    }

    /// Renaming may have made series equal: those that take turns become one.
    fn united(&self, source: BoxedSource<'q>) -> Result<BoxedSource<'q>, QueryError> {
        unite(self.context, source, self.grid.len, EqualLabels::Merge)
    }
}

/// Whether a sum of this over series is this over all their entries.
fn is_additive(op: RangeOp) -> bool {
    matches!(
        op,
        RangeOp::CountOverTime
            | RangeOp::Rate
            | RangeOp::BytesOverTime
            | RangeOp::BytesRate
            | RangeOp::SumOverTime
    )
}

/// The rows of a range aggregation, accounted for as long as this lives.
struct Leaf<'q> {
    rows: Rows<'q>,
    _held: HeldBytes<'q>,
}

impl crate::query::promql::eval::source::Source for Leaf<'_> {
    fn series(&self) -> &[OutputSeries] {
        self.rows.series()
    }

    fn next(&mut self, row: &mut Row) -> Result<(), QueryError> {
        self.rows.next(row)
    }
}
