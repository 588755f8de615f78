//! Calls of functions that take a range vector: where its samples come from and which window function runs.

use crate::model::Labels;
use crate::query::QueryError;
use crate::query::promql::ast::{Call, Edges, Expr, ExprKind, Subquery};
use crate::query::promql::duration::DurationUse;
use crate::query::promql::functions_table::{Function, ValueType};

use super::bucket_window::bucket_function;
use super::build::Builder;
use super::histogram_fold::{HistogramFoldKind, fold_window};
use super::over_time::{self, average_floats, sum_floats};
use super::rate::{self, RateKind};
use super::relabel::absent_labels;
use super::row::{Cell, Grid, OutputSeries};
use super::sample_walk::SampleWalk;
use super::sample_windows::{Quick, SampleWindows};
use super::select::{RangeSelector, RangeSource, SubqueryRange, subquery_grid};
use super::selected::Selected;
use super::source::{BoxedSource, EqualLabels, Rows, unite};
use super::tally::Part;
use super::tiers::{Look, Need};
use super::window::{Notes, Window, WindowFunction, WindowShape};
use super::window_call::{CallTraits, WindowCall};
use super::{changes, extended, trend};

/// A range vector on a grid: its samples and its windows.
pub struct RangeVector<'q> {
    pub source: Box<dyn RangeSource + 'q>,
    pub shape: WindowShape,
}

type FunctionOfWindow = fn(&Window<'_>, &Notes<'_>) -> Option<Cell>;

impl<'q> Builder<'q> {
    pub fn window_call(&self, call: &Call, grid: Grid) -> Result<BoxedSource<'q>, QueryError> {
        let is_matrix = |arg: &&Expr| arg.value_type() == ValueType::Matrix;
        let argument = call.args.iter().find(is_matrix).expect("that is why it is a window call");
        let argument = argument.unwrap_parens();
        let edges = edges(argument);
        let reads_starts = self.context.query.use_start_timestamps && uses_starts(call.function, edges);
        let need = Need::of(call.function, edges, reads_starts);
        let RangeVector { mut source, shape } = self.range_vector(argument, grid, need)?;
        if reads_starts {
            source.tell_starts();
        }
        let traits = CallTraits {
            keeps_name: matches!(call.function, Function::FirstOverTime | Function::LastOverTime),
            wants_counter: matches!(call.function, Function::Rate | Function::Increase),
            of_buckets: bucket_function(call.function),
        };
        let function = match edges {
            Edges::Plain => self.window_function(call, grid)?,
            edges => extended_function(call.function, edges)?,
        };
        // Annotations blame the first argument, even where that is not the range vector.
        let position = call.args[0].unwrap_parens().position;
        let is_computed = matches!(argument.kind, ExprKind::Subquery(_));
        let walk = SampleWalk::new(call.function, shape, grid, is_computed);
        if !self.context.tally().tells_steps() {
            if traits.of_buckets.is_some() {
                source.walk(call.function, &shape, &grid)?;
            }
            if let (WindowFunction::Plain(function), false) = (&function, reads_starts) {
                let quick = quick_form(call.function).filter(|_| edges == Edges::Plain);
                let windows = SampleWindows::new(walk.clone(), function.clone(), quick, position);
                source.walk_samples(windows, &grid)?;
            }
        }
        let windows = WindowCall::new(self.context, source, walk, traits, position, function)?;
        if call.function == Function::AbsentOverTime {
            return self.absent_over_time(argument, Box::new(windows), grid);
        }
        let equal = match self.context.query.delayed_name_removal {
            true => EqualLabels::Merge,
            false => EqualLabels::Refuse,
        };
        unite(self.context, Box::new(windows), grid.len, equal)
    }

    fn absent_over_time(
        &self,
        argument: &Expr,
        windows: BoxedSource<'q>,
        grid: Grid,
    ) -> Result<BoxedSource<'q>, QueryError> {
        let labels = match &argument.kind {
            ExprKind::MatrixSelector(matrix) => absent_labels(&matrix.selector.matchers),
            _ => Labels::empty(),
        };
        let absences = self.absences(windows, grid)?;
        Ok(Box::new(Rows::one(OutputSeries::new(labels), absences)))
    }

    /// The samples and windows of a range selector or subquery, for who needs this of them.
    pub fn range_vector(&self, expr: &Expr, grid: Grid, need: Need) -> Result<RangeVector<'q>, QueryError> {
        let expr = expr.unwrap_parens();
        match &expr.kind {
            ExprKind::MatrixSelector(matrix) => {
                let time = self.data_time(matrix.selector.at, &matrix.selector.offset)?;
                let range_ms = self.milliseconds(&matrix.range, DurationUse::Positive)?;
                let lookback_ms = self.context.query.lookback_ms;
                let (before_ms, after_ms) = match matrix.selector.edges {
                    Edges::Plain => (0, 0),
                    Edges::Anchored => (lookback_ms, 0),
                    Edges::Smoothed => (lookback_ms, lookback_ms),
                };
                let shape = WindowShape { time, range_ms, before_ms, after_ms };
                let covered = time.covered(&grid, range_ms + before_ms, after_ms);
                let look = Look { grid, time, range_ms, covered };
                let matchers = &matrix.selector.matchers;
                let found = Selected::new(self.context, matchers, need, &look, expr.position)?;
                let source = RangeSelector::new(self.context, found)?;
                Ok(RangeVector { source: Box::new(source), shape })
            }
            ExprKind::Subquery(subquery) => self.subquery(subquery, grid, WindowShape::part),
            _ => unreachable!("the parser lets only range vectors stand here"),
        }
    }

    /// `part` tells from the windows what the subquery is to the query around it.
    pub fn subquery(
        &self,
        subquery: &Subquery,
        grid: Grid,
        part: impl FnOnce(&WindowShape) -> Part,
    ) -> Result<RangeVector<'q>, QueryError> {
        let time = self.data_time(subquery.at, &subquery.offset)?;
        let range_ms = self.milliseconds(&subquery.range, DurationUse::Positive)?;
        let step_ms = match &subquery.step {
            Some(step) => self.milliseconds(step, DurationUse::Positive)?,
            None => self.context.query.subquery_step_ms,
        };
        if step_ms <= 0 {
            return Err(QueryError::Execution("the step of a subquery is less than a millisecond".into()));
        }
        let inner = subquery_grid(&grid, time, range_ms, step_ms);
        let shape = WindowShape { time, range_ms, before_ms: 0, after_ms: 0 };
        let part = part(&shape);
        // Its row, and times and values of its windows.
        let mut held = self.context.hold((inner.len as u64).saturating_mul(24))?;
        held.grow(self.context.tally().bytes_of_part(part, &inner))?;
        let build = || self.steps_of_subquery(&subquery.expr, inner);
        let source = self.context.counting_apart(part, inner, build)?;
        Ok(RangeVector { source: Box::new(SubqueryRange::new(self.context, source, inner, held)), shape })
    }

    fn steps_of_subquery(&self, expr: &Expr, grid: Grid) -> Result<BoxedSource<'q>, QueryError> {
        if expr.value_type() != ValueType::Scalar {
            return self.vector(expr, grid);
        }
        let values = self.scalar(expr, grid)?;
        Ok(Box::new(Rows::one(OutputSeries::new(Labels::empty()), values.into_row())))
    }

    /// The function of a call, with its other arguments bound.
    fn window_function(&self, call: &Call, grid: Grid) -> Result<WindowFunction<'q>, QueryError> {
        if let Some(plain) = plain_function(call.function) {
            return Ok(WindowFunction::plain(plain));
        }
        if let Some(kind) = rate_kind(call.function) {
            return Ok(WindowFunction::plain(move |window, notes| rate::extrapolated(kind, window, notes)));
        }
        let argument = |i: usize| self.scalar(&call.args[i], grid);
        Ok(WindowFunction::Bound(match call.function {
            Function::QuantileOverTime => {
                let q = argument(0)?;
                Box::new(move |w, notes| Ok(over_time::quantile_over_time(q[w.step], w, notes)))
            }
            Function::PredictLinear => {
                let seconds = argument(1)?;
                Box::new(move |w, notes| Ok(trend::predict_linear(seconds[w.step], w, notes)))
            }
            Function::DoubleExponentialSmoothing => {
                let (smoothing, factor) = (argument(1)?, argument(2)?);
                Box::new(move |w, notes| {
                    check_factor("smoothing", "sf", smoothing[w.step])?;
                    check_factor("trend", "tf", factor[w.step])?;
                    Ok(trend::double_exponential_smoothing(smoothing[w.step], factor[w.step], w, notes))
                })
            }
            function => unreachable!("{} takes no range vector", function.name()),
        }))
    }
}

/// How a range vector treats its edges.
pub fn edges(expr: &Expr) -> Edges {
    match &expr.unwrap_parens().kind {
        ExprKind::MatrixSelector(matrix) => matrix.selector.edges,
        _ => Edges::Plain,
    }
}

/// The few functions that take `anchored` or `smoothed` windows.
fn extended_function<'q>(function: Function, edges: Edges) -> Result<WindowFunction<'q>, QueryError> {
    let is_anchored = edges == Edges::Anchored;
    if let Some(kind) = rate_kind(function) {
        return Ok(WindowFunction::plain(move |window, notes| extended::change(kind, edges, window, notes)));
    }
    if is_anchored && matches!(function, Function::Resets | Function::Changes) {
        let is_resets = function == Function::Resets;
        return Ok(WindowFunction::plain(move |window, notes| {
            extended::anchored_turns(is_resets, window, notes)
        }));
    }
    let (modifier, takers) = match is_anchored {
        true => ("anchored", "changes, delta, increase, rate, resets"),
        false => ("smoothed", "delta, increase, rate"),
    };
    let name = function.name();
    Err(QueryError::Execution(format!(
        "{modifier} modifier can only be used with: {takers} - not with {name}"
    )))
}

/// Functions of counters; at the edges of extended windows samples are made up, and those have no start.
fn uses_starts(function: Function, edges: Edges) -> bool {
    match function {
        Function::Rate | Function::Increase | Function::Irate => edges == Edges::Plain,
        Function::Resets => true,
        _ => false,
    }
}

fn rate_kind(function: Function) -> Option<RateKind> {
    Some(match function {
        Function::Rate => RateKind { is_counter: true, is_per_second: true },
        Function::Increase => RateKind { is_counter: true, is_per_second: false },
        Function::Delta => RateKind { is_counter: false, is_per_second: false },
        _ => return None,
    })
}

fn quick_form(function: Function) -> Option<Quick> {
    match function {
        Function::SumOverTime => Some(Quick::Sum),
        Function::AvgOverTime => Some(Quick::Average),
        Function::MaxOverTime => Some(Quick::Greatest),
        Function::MinOverTime => Some(Quick::Least),
        _ => rate_kind(function).map(Quick::Change),
    }
}

fn check_factor(what: &str, short: &str, factor: f64) -> Result<(), QueryError> {
    if factor > 0.0 && factor < 1.0 || factor.is_nan() {
        return Ok(());
    }
    Err(QueryError::Execution(format!("invalid {what} factor. Expected: 0 < {short} < 1, got: {factor:.6}")))
}

/// Functions of the range vector alone.
fn plain_function(function: Function) -> Option<FunctionOfWindow> {
    Some(match function {
        Function::Irate => |w, n| rate::instant(true, w, n),
        Function::Idelta => |w, n| rate::instant(false, w, n),
        Function::Deriv => trend::deriv,
        Function::Resets => changes::resets,
        Function::Changes => changes::changes,
        Function::SumOverTime => |w, n| fold_window(HistogramFoldKind::Sum, sum_floats, w, n),
        Function::AvgOverTime => |w, n| fold_window(HistogramFoldKind::Average, average_floats, w, n),
        Function::CountOverTime => over_time::count,
        Function::MinOverTime => over_time::min,
        Function::MaxOverTime => over_time::max,
        Function::LastOverTime => over_time::last,
        Function::FirstOverTime => over_time::first,
        Function::PresentOverTime | Function::AbsentOverTime => over_time::present,
        Function::StddevOverTime => over_time::stddev,
        Function::StdvarOverTime => over_time::stdvar,
        Function::MadOverTime => over_time::median_absolute_deviation,
        Function::TsOfFirstOverTime => over_time::timestamp_of_first,
        Function::TsOfLastOverTime => over_time::timestamp_of_last,
        Function::TsOfMinOverTime => over_time::timestamp_of_min,
        Function::TsOfMaxOverTime => over_time::timestamp_of_max,
        _ => return None,
    })
}
