//! Calls of functions that take no range vector: which operator each is.

use std::ops::Range;

use crate::model::Labels;
use crate::query::QueryError;
use crate::query::promql::ast::{Call, Expr, ExprKind};
use crate::query::promql::functions_table::{Function, ValueType};
use crate::query::sorting::sort_within;

use super::annotations::Note;
use super::announced::Announced;
use super::build::{Builder, label_name, string_argument, string_bytes};
use super::context::Held;
use super::elementwise::{clamp, of_calendar, of_float, round, seconds};
use super::math::nan_lowest;
use super::relabel::{LabelReplace, absent_labels, by_labels, label_join};
use super::row::{Grid, OutputSeries, Row};
use super::scalar::Scalar;
use super::select::Yield;
use super::source::{BoxedSource, Mapped, Rows};

impl<'q> Builder<'q> {
    /// A call whose result is an instant vector.
    pub fn call(&self, expr: &Expr, call: &Call, grid: Grid) -> Result<BoxedSource<'q>, QueryError> {
        if call.args.iter().any(|arg| arg.value_type() == ValueType::Matrix) {
            return self.window_call(call, grid);
        }
        match call.function {
            Function::Vector => {
                let values = self.scalar(&call.args[0], grid)?;
                Ok(Box::new(Rows::one(OutputSeries::new(Labels::empty()), values.into_row())))
            }
            Function::Timestamp => self.timestamp(call, grid),
            Function::StartTimestamp => self.start_timestamp(call, grid),
            Function::Absent => self.absent(call, grid),
            Function::Round => {
                let to = match call.args.get(1) {
                    Some(arg) => self.scalar(arg, grid)?,
                    None => Scalar::constant(self.context, 1.0, grid.len)?,
                };
                self.mapped(&call.args[0], grid, move |step, v| round(v, to[step]))
            }
            Function::Clamp | Function::ClampMin | Function::ClampMax => self.clamp(call, grid),
            Function::LabelReplace => self.label_replace(call, grid),
            Function::LabelJoin => self.label_join(call, grid),
            Function::Info => self.info(call, grid),
            Function::Sort | Function::SortDesc | Function::SortByLabel | Function::SortByLabelDesc => {
                self.sort(expr, call, grid)
            }
            function => self.elementwise(function, call, grid),
        }
    }

    /// A call whose result is a scalar.
    pub fn scalar_call(&self, call: &Call, grid: Grid) -> Result<Scalar<'q>, QueryError> {
        let query = &self.context.query;
        let constant = |value: f64| Scalar::constant(self.context, value, grid.len);
        match call.function {
            Function::Time => Scalar::of(self.context, grid.len, |step| seconds(grid.at(step))),
            Function::Pi => constant(std::f64::consts::PI),
            Function::Start => constant(seconds(query.start)),
            Function::End => constant(seconds(query.end)),
            Function::Range => constant(seconds(query.times().range_ms)),
            Function::Step => constant(seconds(if query.start == query.end { 0 } else { query.step_ms })),
            Function::MinOf | Function::MaxOf => {
                let is_max = call.function == Function::MaxOf;
                let values = self.scalar(&call.args[0], grid)?;
                let others = self.scalar(&call.args[1], grid)?;
                values.map(|step, value| extreme(value, others[step], is_max))
            }
            Function::Scalar => self.single_values(&call.args[0], grid),
            function => unreachable!("{} gives no scalar", function.name()),
        }
    }

    /// `scalar(v)`: the one float of a step, NaN if there is none or more than one.
    fn single_values(&self, arg: &Expr, grid: Grid) -> Result<Scalar<'q>, QueryError> {
        let mut input = self.vector(arg, grid)?;
        let _held = self.context.hold((grid.len * size_of::<(usize, f64)>()) as u64)?;
        let mut values: Vec<(usize, f64)> = vec![(0, f64::NAN); grid.len];
        let mut row = Row::default();
        for _ in 0..input.series().len() {
            self.context.budget.check()?;
            input.next(&mut row)?;
            for (step, value) in values.iter_mut().enumerate() {
                if let Some(float) = row.float(step) {
                    *value = (value.0 + 1, float);
                }
            }
        }
        Scalar::of(self.context, grid.len, |step| if values[step].0 == 1 { values[step].1 } else { f64::NAN })
    }

    /// Applies a function to every float; the name goes.
    fn mapped(
        &self,
        arg: &Expr,
        grid: Grid,
        f: impl Fn(usize, f64) -> f64 + 'q,
    ) -> Result<BoxedSource<'q>, QueryError> {
        let input = self.vector(arg, grid)?;
        let series = self.unnamed(&*input)?;
        let map = move |steps: Range<usize>, row: &mut Row| row.map_floats(steps, &f);
        self.united(Box::new(Mapped::new(input, series, map)), grid)
    }

    fn elementwise(
        &self,
        function: Function,
        call: &Call,
        grid: Grid,
    ) -> Result<BoxedSource<'q>, QueryError> {
        if let (Some(part), None) = (of_calendar(function), call.args.first()) {
            let values =
                Scalar::of(self.context, grid.len, |step| part((grid.at(step).div_euclid(1000)) as f64))?;
            return Ok(Box::new(Rows::one(OutputSeries::new(Labels::empty()), values.into_row())));
        }
        match of_float(function) {
            Some(f) => self.mapped(&call.args[0], grid, move |_, value| f(value)),
            None => self.histogram_call(function, call, grid),
        }
    }

    fn timestamp(&self, call: &Call, grid: Grid) -> Result<BoxedSource<'q>, QueryError> {
        let argument = call.args[0].unwrap_parens();
        let is_selector = matches!(argument.kind, ExprKind::VectorSelector(_));
        let input = match &argument.kind {
            ExprKind::VectorSelector(selector) => {
                self.selector(selector, argument.position, grid, Yield::Timestamp)?
            }
            _ => self.vector(argument, grid)?,
        };
        let series = self.unnamed(&*input)?;
        let map = move |steps: Range<usize>, row: &mut Row| {
            for step in steps.filter(|_| !is_selector) {
                if row.has(step) {
                    row.set_float(step, seconds(grid.at(step)));
                }
            }
        };
        self.united(Box::new(Mapped::new(input, series, map)), grid)
    }

    /// What was computed, and what nobody asked to use, has no start.
    fn start_timestamp(&self, call: &Call, grid: Grid) -> Result<BoxedSource<'q>, QueryError> {
        let argument = call.args[0].unwrap_parens();
        let ExprKind::VectorSelector(selector) = &argument.kind else {
            self.vector(argument, grid)?;
            return Ok(Box::new(Rows::empty()));
        };
        if !self.context.query.use_start_timestamps {
            return Ok(Box::new(Rows::empty()));
        }
        let input = self.selector(selector, argument.position, grid, Yield::StartTimestamp)?;
        let series = self.unnamed(&*input)?;
        self.relabelled(input, series, grid)
    }

    fn absent(&self, call: &Call, grid: Grid) -> Result<BoxedSource<'q>, QueryError> {
        let argument = call.args[0].unwrap_parens();
        let labels = match &argument.kind {
            ExprKind::VectorSelector(selector) => absent_labels(&selector.matchers),
            _ => Labels::empty(),
        };
        let absences = self.absences(self.vector(argument, grid)?, grid)?;
        Ok(Box::new(Rows::one(OutputSeries::new(labels), absences)))
    }

    /// 1 at every step at which no series has a value.
    pub fn absences(&self, mut input: BoxedSource<'q>, grid: Grid) -> Result<(Row, Held<'q>), QueryError> {
        let (mut absences, held) = self.context.constant_row(1.0, grid.len)?;
        let mut row = Row::default();
        for _ in 0..input.series().len() {
            self.context.budget.check()?;
            input.next(&mut row)?;
            (0..grid.len).filter(|&step| row.has(step)).for_each(|step| absences.clear(step));
        }
        Ok((absences, held))
    }

    fn clamp(&self, call: &Call, grid: Grid) -> Result<BoxedSource<'q>, QueryError> {
        let bound = |i: usize| self.scalar(&call.args[i], grid);
        let (low, high) = match call.function {
            Function::ClampMin => (bound(1)?, Scalar::constant(self.context, f64::INFINITY, grid.len)?),
            Function::ClampMax => (Scalar::constant(self.context, f64::NEG_INFINITY, grid.len)?, bound(1)?),
            _ => (bound(1)?, bound(2)?),
        };
        let input = self.vector(&call.args[0], grid)?;
        let series = self.unnamed(&*input)?;
        let map = move |steps: Range<usize>, row: &mut Row| {
            row.map_floats(steps.clone(), |step, value| clamp(value, low[step], high[step]));
            steps.filter(|&step| high[step] < low[step]).for_each(|step| row.clear(step));
        };
        self.united(Box::new(Mapped::new(input, series, map)), grid)
    }

    fn label_replace(&self, call: &Call, grid: Grid) -> Result<BoxedSource<'q>, QueryError> {
        let problem = |what: &str| format!("invalid {what} in label_replace():");
        let pattern = string_argument(&call.args[4])?;
        let invalid = || QueryError::Execution(format!("{} {pattern}", problem("regular expression")));
        let replace = LabelReplace {
            target: label_argument(&call.args[1], &problem("destination label name"))?,
            replacement: string_argument(&call.args[2])?.to_owned(),
            source: string_argument(&call.args[3])?.to_owned(),
            regex: self.context.patterns.anchored(pattern).ok_or_else(invalid)?,
        };
        let input = self.vector(&call.args[0], grid)?;
        let series = replace.apply(self.context, input.series())?;
        self.relabelled(input, series, grid)
    }

    fn label_join(&self, call: &Call, grid: Grid) -> Result<BoxedSource<'q>, QueryError> {
        let sources: Vec<String> = call.args[3..]
            .iter()
            .map(|arg| label_argument(arg, "invalid source label name in label_join():"))
            .collect::<Result<_, _>>()?;
        let target = label_argument(&call.args[1], "invalid destination label name in label_join():")?;
        let separator = string_argument(&call.args[2])?;
        let input = self.vector(&call.args[0], grid)?;
        let series = label_join(self.context, input.series(), &target, separator, &sources)?;
        self.relabelled(input, series, grid)
    }

    fn relabelled(
        &self,
        input: BoxedSource<'q>,
        series: Announced<'q>,
        grid: Grid,
    ) -> Result<BoxedSource<'q>, QueryError> {
        self.united(Box::new(Mapped::new(input, series, |_, _: &mut Row| ())), grid)
    }

    /// sort, sort_desc and sort_by_label: an order for instant queries, a warning for range queries.
    fn sort(&self, expr: &Expr, call: &Call, grid: Grid) -> Result<BoxedSource<'q>, QueryError> {
        let by_value = matches!(call.function, Function::Sort | Function::SortDesc);
        let names: Vec<String> = call.args[1..]
            .iter()
            .map(|arg| string_argument(arg).map(str::to_owned))
            .collect::<Result<_, _>>()?;
        let input = self.vector(&call.args[0], grid)?;
        if grid.len != 1 {
            self.context.note(Note::SortInRangeQuery, expr.position);
            let series = Announced::copy(self.context, input.series())?;
            let floats_only = move |steps: Range<usize>, row: &mut Row| {
                if by_value {
                    row.map_floats(steps, |_, value| value);
                }
            };
            return Ok(Box::new(Mapped::new(input, series, floats_only)));
        }
        let (series, rows, held) = Rows::collect(self.context, input, 1)?.into_parts();
        let mut sorted: Vec<(OutputSeries, Row)> = series.into_iter().zip(rows).collect();
        if by_value {
            sorted.retain(|(_, row)| row.float(0).is_some());
        }
        let value = |row: &Row| row.float(0).unwrap_or(f64::NAN);
        let order = |a: &(OutputSeries, Row), b: &(OutputSeries, Row)| match call.function {
            // NaN comes last in both directions.
            Function::Sort => {
                let (a, b) = (value(&a.1), value(&b.1));
                a.is_nan().cmp(&b.is_nan()).then_with(|| nan_lowest(&a, &b))
            }
            Function::SortDesc => nan_lowest(&value(&b.1), &value(&a.1)),
            Function::SortByLabel => by_labels(&a.0.labels, &b.0.labels, &names),
            _ => by_labels(&b.0.labels, &a.0.labels, &names),
        };
        let sorted = sort_within(self.context.budget, sorted, &order)?;
        let (series, rows) = sorted.into_iter().unzip();
        Ok(Box::new(Rows::new(series, rows, held)))
    }
}

/// As Go's `math.Max` and `math.Min`: NaN wins.
fn extreme(a: f64, b: f64, is_max: bool) -> f64 {
    if a.is_nan() || b.is_nan() {
        return f64::NAN;
    }
    if is_max { a.max(b) } else { a.min(b) }
}

/// A label name; error texts give it without quotes.
fn label_argument(expr: &Expr, problem: &str) -> Result<String, QueryError> {
    label_name(expr, problem).map_err(|_| {
        let bytes = String::from_utf8_lossy(string_bytes(expr)).into_owned();
        QueryError::Execution(format!("{problem} {bytes}"))
    })
}
