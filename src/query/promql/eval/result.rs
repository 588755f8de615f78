//! From rows to the answer: names dropped, duplicates refused, series sorted as the query's kind asks.

use crate::model::TimeRange;
use crate::query::promql::ast::{Edges, Expr, ExprKind};
use crate::query::promql::functions_table::ValueType;
use crate::query::{MatrixSeries, QueryError, QueryValue, SampleValue, VectorSample};
use crate::storage::metrics::SampleBuffer;

use super::announced::Announced;
use super::build::{Builder, string_bytes};
use super::context::{Context, Held, strip_name};
use super::extended::extended_floats;
use super::range_vector::edges;
use super::row::{Cell, Grid, OutputSeries, Row, is_absent};
use super::source::{BoxedSource, EqualLabels, Mapped, unite};
use super::tally::{Part, Samples, samples_of};
use super::tiers::Need;
use super::window::Window;

/// The value of a query: a matrix for range queries, else whatever the expression is.
pub fn evaluate<'q>(context: &'q Context<'q>, expr: &Expr) -> Result<QueryValue, QueryError> {
    let builder = Builder { context };
    let grid = context.query.grid();
    let time = context.query.start;
    let is_range = context.query.step_ms > 0;
    let _row = context.hold_row(&grid)?;
    let value_type = expr.value_type();
    match (value_type, is_range) {
        (ValueType::Scalar, false) => Ok(QueryValue::Scalar(time, builder.scalar(expr, grid)?[0])),
        (ValueType::Vector, false) => {
            let source = builder.vector(expr, grid)?;
            context.prepared();
            instant_vector(context, source, grid)
        }
        (ValueType::Matrix, false) => range_vector(&builder, expr, grid),
        (ValueType::String, false) => Ok(QueryValue::String(time, string_bytes(expr).to_vec())),
        (ValueType::Scalar, true) => Ok(QueryValue::Matrix(vec![MatrixSeries {
            floats: builder.scalar(expr, grid)?.iter().enumerate().map(|(i, &v)| (grid.at(i), v)).collect(),
            ..MatrixSeries::default()
        }])),
        (ValueType::Vector, true) => {
            let source = builder.vector(expr, grid)?;
            context.prepared();
            matrix(context, source, grid)
        }
        (ValueType::Matrix | ValueType::String, true) => Err(QueryError::BadData(format!(
            "invalid expression type \"{}\" for range query, must be Scalar or instant Vector",
            value_type.text()
        ))),
    }
}

/// Names that wait for the end of the query go now; without that mode each operation has seen to it.
fn without_dropped_names<'q>(
    context: &'q Context<'q>,
    input: BoxedSource<'q>,
    steps: usize,
) -> Result<BoxedSource<'q>, QueryError> {
    if !context.query.delayed_name_removal {
        return Ok(input);
    }
    let series = Announced::of(context, input.series(), final_series)?;
    let renamed = Box::new(Mapped::new(input, series, |_, _: &mut Row| ()));
    unite(context, renamed, steps, EqualLabels::Merge)
}

fn final_series(series: &OutputSeries) -> OutputSeries {
    match series.drop_name {
        true => OutputSeries::new(strip_name(&series.labels)),
        false => series.clone(),
    }
}

pub fn instant_vector<'q>(
    context: &'q Context<'q>,
    source: BoxedSource<'q>,
    grid: Grid,
) -> Result<QueryValue, QueryError> {
    let mut source = without_dropped_names(context, source, 1)?;
    let series = source.series().to_vec();
    let mut samples = Vec::new();
    let mut held = context.hold(0)?;
    let mut row = Row::default();
    for OutputSeries { labels, .. } in series {
        context.budget.check()?;
        source.next(&mut row)?;
        let value = match row.cell(0) {
            Some(Cell::Float(value)) => SampleValue::Float(value),
            Some(Cell::Histogram(histogram)) => SampleValue::Histogram(histogram),
            None => continue,
        };
        held.grow(size_of::<VectorSample>() as u64)?;
        context.budget.take_bytes(labels.text_len() as u64)?;
        samples.push(VectorSample { labels, timestamp: grid.start, value });
    }
    held.keep();
    Ok(QueryValue::Vector(samples))
}

pub fn matrix<'q>(
    context: &'q Context<'q>,
    source: BoxedSource<'q>,
    grid: Grid,
) -> Result<QueryValue, QueryError> {
    let mut source = without_dropped_names(context, source, grid.len)?;
    let announced = source.series().to_vec();
    let mut matrix: Vec<MatrixSeries> = Vec::new();
    let mut held = context.hold(0)?;
    let mut row = Row::default();
    for OutputSeries { labels, .. } in announced {
        context.budget.check()?;
        source.next(&mut row)?;
        let mut series = MatrixSeries { labels, ..MatrixSeries::default() };
        let floats = row.floats().iter().enumerate().filter(|(_, value)| !is_absent(**value));
        series.floats.reserve_exact(floats.clone().count());
        series.floats.extend(floats.map(|(step, &value)| (grid.at(step), value)));
        let histograms = row.histograms(0..grid.len);
        series.histograms.extend(histograms.map(|(step, histogram)| (grid.at(step), histogram.clone())));
        if !series.floats.is_empty() || !series.histograms.is_empty() {
            pay_for(context, &mut held, &series)?;
            matrix.push(series);
        }
    }
    held.keep();
    Ok(QueryValue::Matrix(context.sorted(matrix)?))
}

/// Labels are no values, which the peak of a query's statistics counts.
fn pay_for(context: &Context<'_>, held: &mut Held<'_>, series: &MatrixSeries) -> Result<(), QueryError> {
    context.budget.take_bytes((size_of::<MatrixSeries>() + series.labels.text_len()) as u64)?;
    held.grow((series.floats.len() * 16 + series.histograms.len() * 16) as u64)
}

/// A range vector as the result of an instant query: the samples themselves.
fn range_vector<'q>(builder: &Builder<'q>, expr: &Expr, grid: Grid) -> Result<QueryValue, QueryError> {
    let mut held = builder.context.hold_nothing();
    let mut vector = match &expr.unwrap_parens().kind {
        ExprKind::Subquery(subquery) => builder.subquery(subquery, grid, |_| Part::Answer)?,
        _ => builder.range_vector(expr, grid, Need::Samples("a range of samples"))?,
    };
    let is_subquery = matches!(expr.unwrap_parens().kind, ExprKind::Subquery(_));
    let tally = builder.context.tally();
    builder.context.prepared();
    let (until, range_ms) = (vector.shape.time.at(grid.start), vector.shape.range_ms);
    let window = TimeRange { after: until.saturating_sub(range_ms), until };
    let announced = vector.source.series().to_vec();
    let mut samples = SampleBuffer::default();
    let mut matrix: Vec<MatrixSeries> = Vec::new();
    for series in &announced {
        builder.context.budget.check()?;
        vector.source.next(&mut samples)?;
        let floats = window.slice_of(&samples.float_timestamps);
        let histograms = window.slice_of(&samples.histogram_timestamps);
        let times = |timestamps: &[i64], part: &std::ops::Range<usize>| timestamps[part.clone()].to_vec();
        if let Some(series) = extended_series(builder, expr, &samples, window, series)? {
            pay_for(builder.context, &mut held, &series)?;
            tally.add(0, Samples::new(series.floats.len() as u64));
            matrix.extend(Some(series).filter(|s| !s.floats.is_empty()));
            continue;
        }
        if !is_subquery {
            let in_histograms: u64 =
                samples.histograms[histograms.clone()].iter().map(|h| samples_of(h)).sum();
            tally.add(0, Samples::new(floats.len() as u64 + in_histograms));
        }
        let float_times = times(&samples.float_timestamps, &floats);
        let histogram_times = times(&samples.histogram_timestamps, &histograms);
        if float_times.is_empty() && histogram_times.is_empty() {
            continue;
        }
        let series = MatrixSeries {
            labels: final_series(series).labels,
            floats: float_times.into_iter().zip(samples.floats[floats].iter().copied()).collect(),
            histograms: histogram_times
                .into_iter()
                .zip(samples.histograms[histograms].iter().cloned())
                .collect(),
        };
        pay_for(builder.context, &mut held, &series)?;
        matrix.push(series);
    }
    held.keep();
    Ok(QueryValue::Matrix(builder.context.sorted(matrix)?))
}

/// A series of an `anchored` or `smoothed` range; `None` for plain ranges.
fn extended_series(
    builder: &Builder<'_>,
    expr: &Expr,
    samples: &SampleBuffer,
    range: TimeRange,
    series: &OutputSeries,
) -> Result<Option<MatrixSeries>, QueryError> {
    let edges = edges(expr);
    let (name, after_ms) = match edges {
        Edges::Plain => return Ok(None),
        Edges::Anchored => ("anchored", 0),
        Edges::Smoothed => ("smoothed", builder.context.query.lookback_ms),
    };
    let before_ms = builder.context.query.lookback_ms;
    let reach = TimeRange { after: range.after - before_ms, until: range.until + after_ms };
    if !reach.slice_of(&samples.histogram_timestamps).is_empty() {
        return Err(QueryError::Execution(format!("{name} modifier is not supported with histograms")));
    }
    let part = reach.slice_of(&samples.float_timestamps);
    let window = Window {
        timestamps: &samples.float_timestamps[part.clone()],
        floats: &samples.floats[part],
        after: range.after,
        until: range.until,
        ..Window::default()
    };
    let floats = extended_floats(&window, edges);
    Ok(Some(MatrixSeries { labels: final_series(series).labels, floats, ..MatrixSeries::default() }))
}
