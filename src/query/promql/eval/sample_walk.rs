//! One forward pass over the samples of a series serves the windows of all steps.

use std::ops::Range;

use crate::model::{TimeRange, Timestamp};
use crate::query::QueryError;
use crate::query::promql::functions_table::Function;
use crate::storage::metrics::SampleBuffer;

use super::row::{Cell, Grid, Row};
use super::select::count_until;
use super::starts::{Starts, counted, is_reset};
use super::tally::{Samples, samples_of};
use super::window::{Notes, Window, WindowShape};

/// Windows far longer than the step multiply the work: time is checked by samples, too, not only by steps.
pub const SAMPLES_UNCHECKED_MAX: usize = 100_000;

/// The windows of a call, over one series after the other.
#[derive(Clone)]
pub struct SampleWalk {
    pub shape: WindowShape,
    pub grid: Grid,
    /// The windows are of a subquery, which counts itself what it reads.
    is_computed: bool,
    /// What a counter lost is found once for all windows, and only for those who ask.
    wants_lost: bool,
    starts: Starts,
    decreases: Decreases,
}

impl SampleWalk {
    pub fn new(function: Function, shape: WindowShape, grid: Grid, is_computed: bool) -> SampleWalk {
        let wants_lost = matches!(function, Function::Rate | Function::Increase | Function::Resets);
        let (starts, decreases) = Default::default();
        SampleWalk { shape, grid, is_computed, wants_lost, starts, decreases }
    }

    /// Sets the value of every step that sees a sample, and tells how many each looked at.
    pub fn fill(
        &mut self,
        samples: &SampleBuffer,
        notes: &Notes<'_>,
        row: &mut Row,
        mut value: impl FnMut(&Window<'_>, &Notes<'_>) -> Result<Option<Cell>, QueryError>,
        mut looked_at: impl FnMut(usize, Samples),
    ) -> Result<(), QueryError> {
        self.begin(samples);
        let mut edges = WindowEdges::default();
        let mut unchecked = 0;
        for step in 0..self.grid.len {
            let before = (edges.floats.1, edges.histograms.1);
            let window = edges.at(samples, &self.starts, &self.decreases, &self.shape, &self.grid, step);
            unchecked += 1 + window.len();
            if unchecked > SAMPLES_UNCHECKED_MAX {
                unchecked = 0;
                notes.check()?;
            }
            if window.is_empty() {
                continue;
            }
            row.set(step, value(&window, notes)?);
            let new_floats = edges.floats.1 - before.0.max(edges.floats.0);
            let new_histograms = before.1.max(edges.histograms.0)..edges.histograms.1;
            let histograms =
                |range: Range<usize>| samples.histograms[range].iter().map(|h| samples_of(h)).sum::<u64>();
            let queryable = window.floats.len() as u64 + histograms(edges.histograms.0..edges.histograms.1);
            looked_at(step, self.samples(step, queryable, new_floats as u64 + histograms(new_histograms)));
        }
        Ok(())
    }

    /// What a step looked at, and of it what the one before did not.
    pub fn samples(&self, step: usize, queryable: u64, new: u64) -> Samples {
        let read = match step {
            _ if self.is_computed => 0,
            // The first step reads its window, later ones what the one before had not reached.
            1.. if self.shape.time.pinned.is_some() => 0,
            _ => new,
        };
        Samples { queryable, read }
    }

    /// Finds what is found once for all windows of a series.
    pub fn begin(&mut self, samples: &SampleBuffer) {
        self.starts.find(samples);
        self.decreases.clear();
        if self.wants_lost {
            self.decreases.find(samples, &self.starts.floats);
        }
    }

    /// From the first to the last of these floats, whatever was lost in between; none if there is only one.
    #[inline]
    pub fn change(&self, samples: &SampleBuffer, seen: &Range<usize>) -> Option<f64> {
        let [first, .., last] = samples.floats[seen.clone()] else { return None };
        Some(self.decreases.lost_in(seen).iter().fold(last - first, |sum, lost| sum + lost))
    }

    /// The window of a step that sees these floats of a series that has nothing else.
    pub fn window_of_floats<'a>(
        &'a self,
        samples: &'a SampleBuffer,
        seen: Range<usize>,
        step: usize,
    ) -> Window<'a> {
        let time = self.grid.at(step);
        let TimeRange { after, until } = self.shape.range(time);
        Window {
            timestamps: &samples.float_timestamps[seen.clone()],
            lost: self.decreases.lost_in(&seen),
            floats: &samples.floats[seen],
            after,
            until,
            time,
            step,
            ..Window::default()
        }
    }
}

/// Every place of a series where the value falls, or its start tells that it began anew.
#[derive(Clone, Default)]
struct Decreases {
    /// Index of the sample after the fall.
    at: Vec<usize>,
    /// The value of the one before it.
    lost: Vec<f64>,
}

impl Decreases {
    fn clear(&mut self) {
        self.at.clear();
        self.lost.clear();
    }

    /// What was lost between two of these samples.
    #[inline]
    fn lost_in(&self, seen: &Range<usize>) -> &[f64] {
        if self.at.is_empty() {
            return &[];
        }
        let [from, to] = [seen.start + 1, seen.end].map(|edge| self.at.partition_point(|&at| at < edge));
        &self.lost[from..to.max(from)]
    }

    fn find(&mut self, samples: &SampleBuffer, starts: &[Timestamp]) {
        let counted = |i| counted(&samples.float_timestamps, starts, i);
        for (i, pair) in samples.floats.windows(2).enumerate() {
            if pair[1] < pair[0] || !starts.is_empty() && is_reset(counted(i), counted(i + 1)) {
                self.at.push(i + 1);
                self.lost.push(pair[0]);
            }
        }
    }
}

/// The two indices of the forward pass, for floats, histograms and decreases.
#[derive(Default)]
struct WindowEdges {
    floats: (usize, usize),
    histograms: (usize, usize),
    decreases: (usize, usize),
}

impl WindowEdges {
    /// The window of `step`; steps must come in order.
    fn at<'a>(
        &mut self,
        samples: &'a SampleBuffer,
        starts: &'a Starts,
        decreases: &'a Decreases,
        shape: &WindowShape,
        grid: &Grid,
        step: usize,
    ) -> Window<'a> {
        let time = grid.at(step);
        let TimeRange { after, until } = shape.range(time);
        let floats = advance(&mut self.floats, &samples.float_timestamps, shape.looked_at(time));
        let histograms = advance(&mut self.histograms, &samples.histogram_timestamps, shape.looked_at(time));
        // A decrease belongs to a window if both its samples do.
        let first = floats.start + 1;
        self.decreases.0 += decreases.at[self.decreases.0..].iter().take_while(|&&i| i < first).count();
        self.decreases.1 = self.decreases.1.max(self.decreases.0);
        self.decreases.1 += decreases.at[self.decreases.1..].iter().take_while(|&&i| i < floats.end).count();
        Window {
            starts: starts.floats.get(floats.clone()).unwrap_or(&[]),
            histogram_starts: starts.histograms.get(histograms.clone()).unwrap_or(&[]),
            timestamps: &samples.float_timestamps[floats.clone()],
            floats: &samples.floats[floats],
            histogram_timestamps: &samples.histogram_timestamps[histograms.clone()],
            histograms: &samples.histograms[histograms],
            lost: &decreases.lost[self.decreases.0..self.decreases.1],
            after,
            until,
            time,
            step,
        }
    }
}

/// Moves the edges on to what lies in the range; neither end of it may come before that of the range before.
pub fn advance(edges: &mut (usize, usize), timestamps: &[Timestamp], range: TimeRange) -> Range<usize> {
    edges.0 += count_until(&timestamps[edges.0..], range.after);
    edges.1 = edges.1.max(edges.0);
    edges.1 += count_until(&timestamps[edges.1..], range.until);
    edges.0..edges.1
}

#[cfg(test)]
#[path = "sample_walk_tests.rs"]
mod tests;
