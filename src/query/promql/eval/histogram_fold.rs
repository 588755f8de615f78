//! Sums and averages of native histograms, for groups of series and for windows alike.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::Histogram;
use crate::model::histogram::MixedSchemas;
use crate::query::promql::histogram_total::{HistogramMean, HistogramTotal};

use super::annotations::Note;
use super::row::{Cell, Row};
use super::window::{Notes, Window};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistogramFoldKind {
    Sum,
    Average,
}

/// A sum or average in the making.
enum Running {
    Sum(HistogramTotal),
    Average(HistogramMean),
}

impl Running {
    fn new(kind: HistogramFoldKind, first: &Histogram) -> Running {
        match kind {
            HistogramFoldKind::Sum => Running::Sum(HistogramTotal::new(first)),
            HistogramFoldKind::Average => Running::Average(HistogramMean::new(first)),
        }
    }

    fn add(&mut self, histogram: &Histogram) -> Result<(), MixedSchemas> {
        match self {
            Running::Sum(sum) => sum.add(histogram),
            Running::Average(mean) => mean.add(histogram),
        }
    }

    fn finish(self, notes: &Notes<'_>) -> Histogram {
        let (histogram, told) = match self {
            Running::Sum(sum) => sum.finish(),
            Running::Average(mean) => mean.finish(),
        };
        notes.add_all(told);
        histogram
    }
}

/// What is known of the histograms of a group at one step.
enum State {
    Running(Box<Running>),
    /// Floats came first: there will be no result.
    BesideFloats,
    /// Exponential and custom buckets met: there will be no result.
    Incompatible,
}

/// The histograms of one group at those steps that have any.
pub struct HistogramFold {
    kind: HistogramFoldKind,
    steps: BTreeMap<usize, State>,
}

impl HistogramFold {
    pub fn new(kind: HistogramFoldKind) -> HistogramFold {
        HistogramFold { kind, steps: BTreeMap::new() }
    }

    pub fn add(&mut self, step: usize, histogram: &Arc<Histogram>, has_float: bool, notes: &Notes<'_>) {
        let Some(state) = self.steps.get_mut(&step) else {
            let state = match has_float {
                true => State::BesideFloats,
                false => State::Running(Box::new(Running::new(self.kind, histogram))),
            };
            self.steps.insert(step, state);
            return;
        };
        if let State::Running(running) = state
            && running.add(histogram).is_err()
        {
            notes.add(Note::MixedExponentialCustom { metric: notes.metric() });
            *state = State::Incompatible;
        }
    }

    /// Sets the result of each step of an empty row, given that of its floats.
    pub fn resolve_all(mut self, row: &mut Row, float: impl Fn(usize) -> Option<f64>, notes: &Notes<'_>) {
        let has_histograms = !self.steps.is_empty();
        for step in 0..row.len() {
            let float = float(step);
            if has_histograms {
                row.set(step, self.resolve(step, float, notes));
            } else if let Some(value) = float {
                row.set_float(step, value);
            }
        }
    }

    /// The result of a step, given that of its floats: a mix of both has none.
    fn resolve(&mut self, step: usize, float: Option<f64>, notes: &Notes<'_>) -> Option<Cell> {
        match (self.steps.remove(&step), float) {
            (None, float) => float.map(Cell::Float),
            (Some(State::Incompatible), None) => None,
            (Some(_), Some(_)) | (Some(State::BesideFloats), None) => {
                notes.add(Note::MixedFloatsHistogramsInAggregation);
                None
            }
            (Some(State::Running(running)), None) => Some(Cell::Histogram(running.finish(notes).into())),
        }
    }
}

/// sum_over_time and avg_over_time, on floats or on histograms but not on both.
pub fn fold_window(
    kind: HistogramFoldKind,
    floats: impl Fn(&[f64]) -> f64,
    window: &Window<'_>,
    notes: &Notes<'_>,
) -> Option<Cell> {
    if window.is_mixed() {
        notes.add(Note::MixedFloatsHistograms { metric: notes.metric() });
        return None;
    }
    let Some((first, rest)) = window.histograms.split_first() else {
        return Some(Cell::Float(floats(window.floats)));
    };
    let mut running = Running::new(kind, first);
    for histogram in rest {
        if running.add(histogram).is_err() {
            notes.add(Note::MixedExponentialCustom { metric: notes.metric() });
            return None;
        }
    }
    Some(Cell::Histogram(running.finish(notes).into()))
}
