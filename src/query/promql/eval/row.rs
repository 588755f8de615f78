//! The unit that flows between operators: one series, all its steps.

use std::ops::Range;
use std::sync::Arc;

use crate::model::metrics::{STALE_NAN, stale_marker};
use crate::model::{Histogram, Labels, Timestamp};

use super::tally::samples_of;

/// The steps of an evaluation: `start`, `start + step_ms`, …; an instant query has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    pub start: Timestamp,
    pub step_ms: i64,
    pub len: usize,
}

impl Grid {
    pub fn instant(time: Timestamp) -> Grid {
        Grid { start: time, step_ms: 1, len: 1 }
    }

    /// The steps from `start` to at most `end`; none if the end comes first.
    pub fn between(start: Timestamp, end: Timestamp, step_ms: i64) -> Grid {
        assert!(step_ms > 0, "a step is checked before evaluation begins");
        let len = if end < start { 0 } else { (end as i128 - start as i128) / step_ms as i128 + 1 };
        Grid { start, step_ms, len: usize::try_from(len).unwrap_or(usize::MAX) }
    }

    pub fn at(&self, step: usize) -> Timestamp {
        self.start.saturating_add(self.step_ms.saturating_mul(step as i64))
    }

    pub fn last(&self) -> Timestamp {
        self.at(self.len.saturating_sub(1))
    }
}

/// What a series is at one step.
#[derive(Clone, Debug)]
pub enum Cell {
    Float(f64),
    Histogram(Arc<Histogram>),
}

impl Cell {
    pub fn float(&self) -> Option<f64> {
        match self {
            Cell::Float(v) => Some(*v),
            Cell::Histogram(_) => None,
        }
    }

    pub fn sample_count(&self) -> u64 {
        match self {
            Cell::Float(_) => 1,
            Cell::Histogram(histogram) => samples_of(histogram),
        }
    }
}

/// A series as an operator announces it, before any of its values are computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputSeries {
    pub labels: Labels,
    /// The metric's name is to go at the end of the query (delayed name removal).
    pub drop_name: bool,
}

impl OutputSeries {
    pub fn new(labels: Labels) -> OutputSeries {
        OutputSeries { labels, drop_name: false }
    }
}

/// The values of one series over the steps of a grid.
///
/// A step without a value holds the stale marker. No computation can yield it: selectors take it for absence,
/// and it is a signalling NaN, which every arithmetic operation quiets. `histograms` is empty as long as the
/// series has none, else as long as `floats`; a step holds a float, a histogram or neither, never both.
#[derive(Clone, Debug, Default)]
pub struct Row {
    floats: Vec<f64>,
    histograms: Vec<Option<Arc<Histogram>>>,
}

#[inline]
pub fn is_absent(value: f64) -> bool {
    value.to_bits() == STALE_NAN
}

impl Row {
    pub fn new(len: usize) -> Row {
        Row { floats: vec![stale_marker(); len], histograms: Vec::new() }
    }

    pub fn constant(value: f64, len: usize) -> Row {
        Row::of(vec![value; len])
    }

    /// A value at every step.
    pub fn of(floats: Vec<f64>) -> Row {
        Row { floats, histograms: Vec::new() }
    }

    /// Makes all steps absent.
    pub fn reset(&mut self, len: usize) {
        self.floats.clear();
        self.floats.resize(len, stale_marker());
        self.histograms.clear();
    }

    pub fn len(&self) -> usize {
        self.floats.len()
    }

    pub fn has(&self, step: usize) -> bool {
        !is_absent(self.floats[step]) || self.histogram(step).is_some()
    }

    /// The float of each step, absent where there is none.
    pub fn floats(&self) -> &[f64] {
        &self.floats
    }

    /// The same of these steps, to be changed, if no step of the row has a histogram.
    pub fn floats_alone(&mut self, steps: Range<usize>) -> Option<&mut [f64]> {
        self.histograms.is_empty().then(|| &mut self.floats[steps])
    }

    /// Those of these steps that have a histogram.
    pub fn histograms(&self, steps: Range<usize>) -> impl Iterator<Item = (usize, &Arc<Histogram>)> {
        let of_steps = self.histograms.get(steps.clone()).unwrap_or_default();
        steps.zip(of_steps).filter_map(|(step, histogram)| Some((step, histogram.as_ref()?)))
    }

    /// True if no step has a value.
    pub fn is_empty(&self) -> bool {
        (0..self.len()).all(|step| !self.has(step))
    }

    pub fn float(&self, step: usize) -> Option<f64> {
        let value = self.floats[step];
        (!is_absent(value)).then_some(value)
    }

    pub fn histogram(&self, step: usize) -> Option<&Arc<Histogram>> {
        self.histograms.get(step)?.as_ref()
    }

    pub fn cell(&self, step: usize) -> Option<Cell> {
        match self.float(step) {
            Some(value) => Some(Cell::Float(value)),
            None => self.histogram(step).map(|h| Cell::Histogram(h.clone())),
        }
    }

    pub fn set_float(&mut self, step: usize, value: f64) {
        self.floats[step] = value;
        if let Some(slot) = self.histograms.get_mut(step) {
            *slot = None;
        }
    }

    pub fn set_histogram(&mut self, step: usize, histogram: Arc<Histogram>) {
        self.floats[step] = stale_marker();
        if self.histograms.is_empty() {
            self.histograms.resize(self.floats.len(), None);
        }
        self.histograms[step] = Some(histogram);
    }

    pub fn set(&mut self, step: usize, cell: Option<Cell>) {
        match cell {
            Some(Cell::Float(value)) => self.set_float(step, value),
            Some(Cell::Histogram(histogram)) => self.set_histogram(step, histogram),
            None => self.clear(step),
        }
    }

    pub fn clear(&mut self, step: usize) {
        self.floats[step] = stale_marker();
        if let Some(slot) = self.histograms.get_mut(step) {
            *slot = None;
        }
    }

    /// Replaces every float of these steps by `f` of it and drops all histograms: what most functions do.
    pub fn map_floats(&mut self, steps: Range<usize>, mut f: impl FnMut(usize, f64) -> f64) {
        self.histograms.clear();
        for step in steps {
            let value = &mut self.floats[step];
            if !is_absent(*value) {
                *value = f(step, *value);
            }
        }
    }

    /// Memory held, for accounting; a histogram is counted as 512 bytes, about 40 buckets.
    pub fn bytes(&self) -> u64 {
        let histograms = self.histograms.iter().flatten().count();
        (size_of::<Row>() + self.floats.len() * 8 + self.histograms.len() * 8 + histograms * 512) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_ends_at_or_before_its_end() {
        let grid = Grid::between(0, 25, 10);
        assert_eq!((grid.len, grid.last()), (3, 20));
        assert_eq!(Grid::between(10, 0, 10).len, 0);
        assert_eq!(Grid::between(-20, 0, 10).len, 3);
    }

    #[test]
    fn ordinary_nan_is_a_value_and_absence_is_not() {
        let mut row = Row::new(3);
        row.set_float(1, f64::NAN);
        assert_eq!([0, 1, 2].map(|s| row.has(s)), [false, true, false]);
        row.map_floats(0..3, |_, v| v + 1.0);
        assert_eq!([0, 1, 2].map(|s| row.has(s)), [false, true, false]);
    }

    #[test]
    fn a_step_is_a_float_or_a_histogram_never_both() {
        let mut row = Row::constant(1.0, 2);
        row.set_histogram(0, Arc::default());
        assert!(row.float(0).is_none() && row.histogram(0).is_some());
        row.set_float(0, 2.0);
        assert!(row.float(0) == Some(2.0) && row.histogram(0).is_none());
    }
}
