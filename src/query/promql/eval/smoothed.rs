//! `name{…} smoothed`: at every step the value on the line between the samples around it.

use crate::model::histogram::ResetHint;
use crate::model::{Matcher, TimeRange, Timestamp};
use crate::query::QueryError;
use crate::query::promql::ast::PositionRange;
use crate::query::promql::histogram_functions::HistogramNote;
use crate::storage::metrics::SampleBuffer;

use super::annotations::Note;
use super::announced::Announced;
use super::context::Context;
use super::extended::{interpolate, interpolate_histograms};
use super::row::{Cell, Grid, OutputSeries, Row};
use super::select::{DataTime, announced, drop_stale};
use super::selected::Selected;
use super::source::Source;
use super::tiers::{Look, Need};
use super::window::Notes;

/// An instant selector that looks one lookback to both sides.
pub struct SmoothedSelector<'q> {
    context: &'q Context<'q>,
    found: Selected<'q>,
    announced: Announced<'q>,
    time: DataTime,
    grid: Grid,
    position: PositionRange,
    given: usize,
    samples: SampleBuffer,
}

impl<'q> SmoothedSelector<'q> {
    pub fn new(
        context: &'q Context<'q>,
        matchers: &[Matcher],
        time: DataTime,
        grid: Grid,
        position: PositionRange,
    ) -> Result<SmoothedSelector<'q>, QueryError> {
        let lookback_ms = context.query.lookback_ms;
        let covered = time.covered(&grid, lookback_ms, lookback_ms);
        let look = Look { grid, time, range_ms: 0, covered };
        let found = Selected::new(context, matchers, Need::Samples("smoothed"), &look, position)?;
        let announced = announced(context, found.series())?;
        let samples = SampleBuffer::default();
        Ok(SmoothedSelector { context, found, announced, time, grid, position, given: 0, samples })
    }

    fn value(&self, at: Timestamp, notes: &Notes<'_>) -> Option<Cell> {
        let lookback_ms = self.context.query.lookback_ms;
        let seen = TimeRange { after: at.saturating_sub(lookback_ms), until: at.saturating_add(lookback_ms) };
        let floats = seen.slice_of(&self.samples.float_timestamps);
        let histograms = seen.slice_of(&self.samples.histogram_timestamps);
        if !floats.is_empty() && !histograms.is_empty() {
            notes.add(Note::MixedFloatsHistograms { metric: notes.metric() });
            return None;
        }
        if histograms.is_empty() {
            let times = &self.samples.float_timestamps[floats.clone()];
            let values = &self.samples.floats[floats];
            let next = times.partition_point(|&t| t < at);
            return match (next.checked_sub(1), times.get(next)) {
                (_, Some(&t)) if t == at => Some(Cell::Float(values[next])),
                (None, _) => None,
                (Some(before), None) => Some(Cell::Float(values[before])),
                (Some(before), Some(&t)) => Some(Cell::Float(interpolate(
                    (times[before], values[before]),
                    (t, values[next]),
                    at,
                    false,
                ))),
            };
        }
        let times = &self.samples.histogram_timestamps[histograms.clone()];
        let values = &self.samples.histograms[histograms];
        let next = times.partition_point(|&t| t < at);
        match (next.checked_sub(1), times.get(next)) {
            (_, Some(&t)) if t == at => Some(Cell::Histogram(values[next].clone())),
            (None, _) => None,
            (Some(before), None) => {
                // The hint told of the sample before, not of the value.
                let mut carried = (*values[before]).clone();
                carried.hint = ResetHint::Unknown;
                Some(Cell::Histogram(carried.into()))
            }
            (Some(before), Some(&t)) => {
                let (a, b) = (&values[before], &values[next]);
                if a.has_custom_buckets() != b.has_custom_buckets() {
                    notes.add_all([HistogramNote::MixedExponentialCustom]);
                    return None;
                }
                let is_counter = a.hint != ResetHint::Gauge || b.hint != ResetHint::Gauge;
                let value = interpolate_histograms((times[before], a), (t, b), at, is_counter, notes)?;
                Some(Cell::Histogram(value.into()))
            }
        }
    }
}

impl Source for SmoothedSelector<'_> {
    fn series(&self) -> &[OutputSeries] {
        &self.announced
    }

    fn next(&mut self, row: &mut Row) -> Result<(), QueryError> {
        self.found.read(&mut self.samples)?;
        drop_stale(&mut self.samples);
        let labels = &self.found.series()[self.given].labels;
        let notes = Notes::new(self.context, self.position, labels.metric_name());
        self.given += 1;
        row.reset(self.grid.len);
        for step in 0..self.grid.len {
            self.context.check_every(step)?;
            row.set(step, self.value(self.time.at(self.grid.at(step)), &notes));
        }
        Ok(())
    }
}
