//! Aggregations with one result per group: series are folded in as they come, so what is held is groups × steps.

use std::ops::Range;

use crate::model::metrics::stale_marker;
use crate::query::QueryError;
use crate::query::promql::ast::{AggregateOp, PositionRange};

use super::annotations::Note;
use super::context::{Context, Held};
use super::grouping::{Grouping, Groups};
use super::histogram_fold::{HistogramFold, HistogramFoldKind};
use super::math::{STEPS_AT_ONCE, add_floats, quantile};
use super::means::Means;
use super::row::{Cell, OutputSeries, Row, is_absent};
use super::scalar::Scalar;
use super::source::{BoxedSource, Source};
use super::window::Notes;

/// `op by (…) (input)` for every operator but those that choose among series.
pub struct Aggregation<'q> {
    context: &'q Context<'q>,
    /// `None` as soon as it is folded.
    input: Option<BoxedSource<'q>>,
    groups: Groups<'q>,
    op: AggregateOp,
    /// Only `quantile` has it.
    param: Option<Scalar<'q>>,
    steps: usize,
    position: PositionRange,
    folded: std::vec::IntoIter<Box<dyn Fold>>,
    _held: Option<Held<'q>>,
}

impl<'q> Aggregation<'q> {
    /// `position` is that of the input, which annotations blame.
    pub fn new(
        context: &'q Context<'q>,
        input: BoxedSource<'q>,
        grouping: &Grouping,
        op: AggregateOp,
        param: Option<Scalar<'q>>,
        steps: usize,
        position: PositionRange,
    ) -> Result<Aggregation<'q>, QueryError> {
        let groups = grouping.groups(context, input.series())?;
        let folded = Vec::new().into_iter();
        let input = Some(input);
        Ok(Aggregation { context, input, groups, op, param, steps, position, folded, _held: None })
    }

    fn fold(&mut self, mut input: BoxedSource<'q>) -> Result<(), QueryError> {
        let group_count = self.groups.announced.len();
        let mut held = self.context.hold((group_count * self.steps * BYTES_PER_STEP) as u64)?;
        let mut folds: Vec<Box<dyn Fold>> =
            (0..group_count).map(|_| new_fold(self.op, self.param.as_deref(), self.steps)).collect();
        let mut row = Row::default();
        for (i, &group) in self.groups.of_series.iter().enumerate() {
            input.next(&mut row)?;
            if self.op == AggregateOp::Quantile {
                held.grow((self.steps * 8) as u64)?;
            }
            let name = input.series()[i].labels.clone();
            let notes = Notes::new(self.context, self.position, name.metric_name());
            for steps in self.context.pieces(self.steps) {
                folds[group].add(steps?, &row, &notes);
            }
        }
        self.folded = folds.into_iter();
        self._held = Some(held);
        Ok(())
    }
}

/// What the largest of the folds below keeps for a step, roughly.
const BYTES_PER_STEP: usize = 32;

impl Source for Aggregation<'_> {
    fn series(&self) -> &[OutputSeries] {
        &self.groups.announced
    }

    fn next(&mut self, row: &mut Row) -> Result<(), QueryError> {
        if let Some(input) = self.input.take() {
            self.fold(input)?;
        }
        let fold = self.folded.next().expect("no more groups are asked for than were announced");
        row.reset(self.steps);
        fold.finish(row, &Notes::new(self.context, self.position, ""))
    }
}

/// One group at all steps.
trait Fold {
    fn add(&mut self, steps: Range<usize>, row: &Row, notes: &Notes<'_>);
    fn finish(self: Box<Self>, row: &mut Row, notes: &Notes<'_>) -> Result<(), QueryError>;
}

fn new_fold(op: AggregateOp, param: Option<&[f64]>, steps: usize) -> Box<dyn Fold> {
    match op {
        AggregateOp::Sum => Box::new(SumFold::new(steps)),
        AggregateOp::Avg => Box::new(AvgFold::new(steps)),
        AggregateOp::Min => Box::new(FloatFold::new(op, steps, |best: &mut f64, v| {
            if *best > v || best.is_nan() {
                *best = v;
            }
        })),
        AggregateOp::Max => Box::new(FloatFold::new(op, steps, |best: &mut f64, v| {
            if *best < v || best.is_nan() {
                *best = v;
            }
        })),
        AggregateOp::Count | AggregateOp::Group => Box::new(CountFold { op, counts: vec![0; steps] }),
        AggregateOp::Stddev | AggregateOp::Stdvar => {
            Box::new(VarianceFold { op, states: vec![Variance::default(); steps] })
        }
        AggregateOp::Quantile => {
            let q = param.expect("the parser gives a quantile its parameter").to_vec();
            Box::new(QuantileFold { q, values: vec![Vec::new(); steps] })
        }
        AggregateOp::Topk
        | AggregateOp::Bottomk
        | AggregateOp::Limitk
        | AggregateOp::LimitRatio
        | AggregateOp::CountValues => unreachable!("{} has an operator of its own", op.text()),
    }
}

/// Calls `f` with every float; remarks on histograms, which `op` cannot take.
fn each_float(
    op: AggregateOp,
    steps: Range<usize>,
    row: &Row,
    notes: &Notes<'_>,
    mut f: impl FnMut(usize, f64),
) {
    let floats = steps.clone().zip(&row.floats()[steps.clone()]);
    floats.filter(|(_, value)| !is_absent(**value)).for_each(|(step, &value)| f(step, value));
    if row.histograms(steps).next().is_some() {
        notes.add(Note::HistogramIgnoredInAggregation { aggregation: op.text() });
    }
}

struct SumFold {
    /// Of the floats; absent as long as there is none.
    sums: Vec<f64>,
    compensations: Vec<f64>,
    histograms: HistogramFold,
}

impl SumFold {
    fn new(steps: usize) -> SumFold {
        let histograms = HistogramFold::new(HistogramFoldKind::Sum);
        SumFold { sums: vec![stale_marker(); steps], compensations: vec![0.0; steps], histograms }
    }
}

impl Fold for SumFold {
    fn add(&mut self, steps: Range<usize>, row: &Row, notes: &Notes<'_>) {
        let sums = self.sums[steps.clone()].chunks_mut(STEPS_AT_ONCE);
        let compensations = self.compensations[steps.clone()].chunks_mut(STEPS_AT_ONCE);
        let values = row.floats()[steps.clone()].chunks(STEPS_AT_ONCE);
        sums.zip(compensations).zip(values).for_each(|((sums, cs), values)| add_floats(sums, cs, values));
        for (step, histogram) in row.histograms(steps) {
            self.histograms.add(step, histogram, !is_absent(self.sums[step]), notes);
        }
    }

    fn finish(self: Box<Self>, row: &mut Row, notes: &Notes<'_>) -> Result<(), QueryError> {
        let SumFold { sums, compensations, histograms } = *self;
        let float = |step: usize| (!is_absent(sums[step])).then(|| sums[step] + compensations[step]);
        histograms.resolve_all(row, float, notes);
        Ok(())
    }
}

struct AvgFold {
    floats: Means,
    histograms: HistogramFold,
}

impl AvgFold {
    fn new(steps: usize) -> AvgFold {
        AvgFold { floats: Means::new(steps), histograms: HistogramFold::new(HistogramFoldKind::Average) }
    }
}

impl Fold for AvgFold {
    fn add(&mut self, steps: Range<usize>, row: &Row, notes: &Notes<'_>) {
        self.floats.add(steps.start, &row.floats()[steps.clone()]);
        for (step, histogram) in row.histograms(steps) {
            self.histograms.add(step, histogram, self.floats.has(step), notes);
        }
    }

    fn finish(self: Box<Self>, row: &mut Row, notes: &Notes<'_>) -> Result<(), QueryError> {
        let AvgFold { floats, histograms } = *self;
        histograms.resolve_all(row, |step| floats.get(step), notes);
        Ok(())
    }
}

/// Minimum and maximum: the first value, replaced by better ones.
struct FloatFold<F> {
    op: AggregateOp,
    row: Row,
    combine: F,
}

impl<F: Fn(&mut f64, f64)> FloatFold<F> {
    fn new(op: AggregateOp, steps: usize, combine: F) -> FloatFold<F> {
        FloatFold { op, row: Row::new(steps), combine }
    }
}

impl<F: Fn(&mut f64, f64)> Fold for FloatFold<F> {
    fn add(&mut self, steps: Range<usize>, row: &Row, notes: &Notes<'_>) {
        each_float(self.op, steps, row, notes, |step, value| {
            let mut best = self.row.float(step).unwrap_or(value);
            (self.combine)(&mut best, value);
            self.row.set_float(step, best);
        });
    }

    fn finish(self: Box<Self>, row: &mut Row, _notes: &Notes<'_>) -> Result<(), QueryError> {
        *row = self.row;
        Ok(())
    }
}

/// count and group take histograms too.
struct CountFold {
    op: AggregateOp,
    counts: Vec<u32>,
}

impl Fold for CountFold {
    fn add(&mut self, steps: Range<usize>, row: &Row, _notes: &Notes<'_>) {
        let counts = self.counts[steps.clone()].iter_mut();
        let floats = &row.floats()[steps.clone()];
        counts.zip(floats).for_each(|(count, float)| *count += u32::from(!is_absent(*float)));
        row.histograms(steps).for_each(|(step, _)| self.counts[step] += 1);
    }

    fn finish(self: Box<Self>, row: &mut Row, _notes: &Notes<'_>) -> Result<(), QueryError> {
        for (step, &count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            row.set_float(step, if self.op == AggregateOp::Group { 1.0 } else { f64::from(count) });
        }
        Ok(())
    }
}

/// Welford's running variance.
#[derive(Clone, Copy, Default)]
struct Variance {
    count: f64,
    mean: f64,
    squares: f64,
}

struct VarianceFold {
    op: AggregateOp,
    states: Vec<Variance>,
}

impl Fold for VarianceFold {
    fn add(&mut self, steps: Range<usize>, row: &Row, notes: &Notes<'_>) {
        each_float(self.op, steps, row, notes, |step, value| {
            let state = &mut self.states[step];
            state.count += 1.0;
            if state.count == 1.0 {
                state.mean = value;
                state.squares = if value.is_finite() { 0.0 } else { f64::NAN };
                return;
            }
            let delta = value - state.mean;
            state.mean += delta / state.count;
            state.squares += delta * (value - state.mean);
        });
    }

    fn finish(self: Box<Self>, row: &mut Row, _notes: &Notes<'_>) -> Result<(), QueryError> {
        for (step, state) in self.states.iter().enumerate().filter(|(_, s)| s.count > 0.0) {
            let variance = state.squares / state.count;
            row.set_float(step, if self.op == AggregateOp::Stddev { variance.sqrt() } else { variance });
        }
        Ok(())
    }
}

struct QuantileFold {
    q: Vec<f64>,
    values: Vec<Vec<f64>>,
}

impl Fold for QuantileFold {
    fn add(&mut self, steps: Range<usize>, row: &Row, notes: &Notes<'_>) {
        each_float(AggregateOp::Quantile, steps, row, notes, |step, value| self.values[step].push(value));
    }

    fn finish(mut self: Box<Self>, row: &mut Row, notes: &Notes<'_>) -> Result<(), QueryError> {
        for (step, values) in self.values.iter_mut().enumerate().filter(|(_, v)| !v.is_empty()) {
            // Each step sorts as many values as the group has series.
            notes.check()?;
            row.set(step, Some(Cell::Float(quantile(self.q[step], values))));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::query::promql::eval::math::kahan_add;

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            60 => (-1000i32..1000).prop_map(|v| f64::from(v) / 7.0),
            2 => prop::sample::select(vec![0.0, -0.0, 1e308, -1e308, f64::INFINITY, f64::NAN]),
            1 => Just(stale_marker()),
        ]
    }

    proptest! {
        #[test]
        fn sums_of_many_steps_are_those_of_one_at_a_time(
            rows in prop::collection::vec(prop::collection::vec(value(), 40), 1..8),
        ) {
            let (mut sums, mut cs) = (vec![stale_marker(); 40], vec![0.0; 40]);
            rows.iter().for_each(|row| add_floats(&mut sums, &mut cs, row));
            for step in 0..40 {
                let mut expected: Option<(f64, f64)> = None;
                for value in rows.iter().map(|row| row[step]).filter(|value| !is_absent(*value)) {
                    expected = Some(expected.map_or((value, 0.0), |(sum, c)| kahan_add(value, sum, c)));
                }
                let (sum, c) = expected.unwrap_or((stale_marker(), 0.0));
                prop_assert!(sums[step].to_bits() == sum.to_bits() || sums[step].is_nan() && sum.is_nan());
                prop_assert!(cs[step].to_bits() == c.to_bits() || cs[step].is_nan() && c.is_nan());
                prop_assert_eq!(is_absent(sums[step]), expected.is_none());
            }
        }
    }
}
