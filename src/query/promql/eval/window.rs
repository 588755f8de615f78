//! Range-vector functions: one forward pass over the samples of a series serves the windows of all steps.

use std::rc::Rc;

use crate::model::{Histogram, Timestamp};
use crate::query::QueryError;
use crate::query::promql::ast::PositionRange;
use crate::query::promql::histogram_functions::HistogramNote;
use crate::storage::metrics::SampleBuffer;

use super::annotations::Note;
use super::announced::Announced;
use super::bucket_walk::BucketWalk;
use super::bucket_window::BucketFunction;
use super::context::Context;
use super::row::{Cell, Grid, OutputSeries, Row};
use super::select::Seen;
use super::select::{DataTime, RangeSource, count_until};
use super::source::Source;
use super::starts::{Starts, counted, is_reset};
use super::tally::{Part, Samples, Tally, samples_of};

/// The samples of one series that one step sees, `(after, until]`, and what functions ask about them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window<'a> {
    pub timestamps: &'a [Timestamp],
    pub floats: &'a [f64],
    pub histogram_timestamps: &'a [Timestamp],
    pub histograms: &'a [std::sync::Arc<Histogram>],
    /// The values just before each decrease inside the window: what a counter lost there.
    pub lost: &'a [f64],
    /// Since when each float and each histogram counts; empty where nobody said or asked.
    pub starts: &'a [Timestamp],
    pub histogram_starts: &'a [Timestamp],
    pub after: Timestamp,
    pub until: Timestamp,
    /// The time and the number of the step.
    pub time: Timestamp,
    pub step: usize,
}

impl Window<'_> {
    pub fn len(&self) -> usize {
        self.floats.len() + self.histograms.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many samples it holds, and how many of them after a time.
    fn sample_counts(&self, after: Timestamp) -> (u64, u64) {
        let histograms = |from: usize| self.histograms[from..].iter().map(|h| samples_of(h)).sum::<u64>();
        let new_floats = self.timestamps.iter().rev().take_while(|t| **t > after).count();
        let new_from = self.histogram_timestamps.partition_point(|t| *t <= after);
        (self.floats.len() as u64 + histograms(0), new_floats as u64 + histograms(new_from))
    }

    pub fn is_mixed(&self) -> bool {
        !self.floats.is_empty() && !self.histograms.is_empty()
    }
}

/// Where a window function leaves its annotations, and which metric they are about.
pub struct Notes<'a> {
    context: &'a Context<'a>,
    position: PositionRange,
    pub metric: &'a str,
}

impl<'a> Notes<'a> {
    pub fn new(context: &'a Context<'a>, position: PositionRange, metric: &'a str) -> Notes<'a> {
        Notes { context, position, metric }
    }

    pub fn check(&self) -> Result<(), QueryError> {
        Ok(self.context.budget.check()?)
    }

    pub fn add(&self, note: Note) {
        self.context.note(note, self.position);
    }

    /// What a histogram function had to tell.
    pub fn add_all(&self, told: impl IntoIterator<Item = HistogramNote>) {
        told.into_iter().for_each(|note| self.add(Note::of_histogram(note, self.metric)));
    }

    /// The metric's name for a note.
    pub fn metric(&self) -> String {
        self.metric.to_owned()
    }
}

/// From a window that is not empty to the value of its step.
pub type WindowFunction<'q> =
    Box<dyn FnMut(&Window<'_>, &Notes<'_>) -> Result<Option<Cell>, QueryError> + 'q>;

/// Where the windows of a call lie.
#[derive(Clone, Copy, Debug)]
pub struct WindowShape {
    pub time: DataTime,
    pub range_ms: i64,
    /// How far outside its edges a function may look, for `anchored` and `smoothed`.
    pub before_ms: i64,
    pub after_ms: i64,
}

impl WindowShape {
    /// What a subquery with these windows is to the query around it.
    pub fn part(&self) -> Part {
        Part::Windows { offset_ms: self.time.offset_ms, range_ms: self.range_ms }
    }
}

/// What is special about a call beside its function.
#[derive(Clone, Copy, Debug)]
pub struct CallTraits {
    /// `first_over_time` and `last_over_time` are like an offset: the name stays.
    pub keeps_name: bool,
    /// rate and increase: series that do not look like counters are remarked upon.
    pub wants_counter: bool,
    /// The windows are of a subquery, which counts itself what it reads.
    pub is_computed: bool,
    /// The form of the function that takes buckets.
    pub of_buckets: Option<BucketFunction>,
}

/// `function(range vector)`.
pub struct WindowCall<'q> {
    context: &'q Context<'q>,
    input: Box<dyn RangeSource + 'q>,
    announced: Announced<'q>,
    shape: WindowShape,
    grid: Grid,
    traits: CallTraits,
    position: PositionRange,
    function: WindowFunction<'q>,
    tally: Rc<Tally>,
    given: usize,
    samples: SampleBuffer,
    starts: Starts,
    decreases: Decreases,
}

impl<'q> WindowCall<'q> {
    /// `position` is that of the range vector, which annotations blame.
    pub fn new(
        context: &'q Context<'q>,
        input: Box<dyn RangeSource + 'q>,
        shape: WindowShape,
        grid: Grid,
        traits: CallTraits,
        position: PositionRange,
        function: WindowFunction<'q>,
    ) -> Result<WindowCall<'q>, QueryError> {
        let name = |s: &OutputSeries| match traits.keeps_name && !s.drop_name {
            true => s.clone(),
            false => context.without_name(s),
        };
        let announced = Announced::of(context, input.series(), name)?;
        Ok(WindowCall {
            context,
            input,
            announced,
            shape,
            grid,
            traits,
            position,
            function,
            tally: context.tally(),
            given: 0,
            samples: SampleBuffer::default(),
            starts: Starts::default(),
            decreases: Decreases::default(),
        })
    }

    /// The values of all steps, from the samples just read.
    fn fill(&mut self, notes: &Notes<'_>, row: &mut Row) -> Result<(), QueryError> {
        self.starts.find(&self.samples);
        self.decreases.find(&self.samples, &self.starts.floats);
        let mut walk = Walk::default();
        let mut tally = self.tally.of_series();
        let mut seen = 0;
        for step in 0..self.grid.len {
            // Windows far longer than the step multiply the work: time is checked by samples, too, not only by steps.
            seen += 1;
            let window = walk.at(&self.samples, &self.starts, &self.decreases, &self.shape, &self.grid, step);
            seen += window.len();
            if seen > 100_000 {
                seen = 0;
                self.context.budget.check()?;
            }
            if window.is_empty() {
                continue;
            }
            row.set(step, (self.function)(&window, notes)?);
            tally.add(step, self.looked_at(&window));
        }
        Ok(())
    }

    /// The first step reads its window, later ones what the one before had not reached.
    fn looked_at(&self, window: &Window<'_>) -> Samples {
        let reach = window.until.saturating_add(self.shape.after_ms);
        let (queryable, new) = window.sample_counts(reach.saturating_sub(self.grid.step_ms));
        let read = match window.step {
            _ if self.traits.is_computed => 0,
            0 => queryable,
            _ if self.shape.time.pinned.is_some() => 0,
            _ => new,
        };
        Samples { queryable, read }
    }

    fn note_missing_suffix(&self, metric: &str, row: &Row) {
        let is_counter = ["_total", "_sum", "_count", "_bucket"].iter().any(|s| metric.ends_with(s));
        if metric.is_empty() || is_counter || (0..row.len()).all(|step| row.float(step).is_none()) {
            return;
        }
        self.context.note(Note::PossibleNonCounter { metric: metric.to_owned() }, self.position);
    }
}

impl Source for WindowCall<'_> {
    fn series(&self) -> &[OutputSeries] {
        &self.announced
    }

    fn next(&mut self, row: &mut Row) -> Result<(), QueryError> {
        let labels = self.input.series()[self.given].labels.clone();
        self.given += 1;
        let metric = labels.metric_name();
        let notes = Notes::new(self.context, self.position, metric);
        match self.input.next(&mut self.samples)? {
            Seen::Steps(steps) => {
                *row = Row::of(steps.values);
                self.tally.add(0, steps.samples);
            }
            Seen::Buckets(rolled) => {
                row.reset(self.grid.len);
                let function = self.traits.of_buckets.expect("what needs states has a form that takes them");
                let walk = BucketWalk { shape: self.shape, grid: self.grid, function, tally: &self.tally };
                walk.fill(rolled, &notes, row)?;
            }
            Seen::Samples => {
                row.reset(self.grid.len);
                self.fill(&notes, row)?;
            }
        }
        if self.traits.wants_counter {
            self.note_missing_suffix(metric, row);
        }
        Ok(())
    }
}

/// Every place of a series where the value falls, or its start tells that it began anew.
#[derive(Default)]
struct Decreases {
    /// Index of the sample after the fall.
    at: Vec<usize>,
    /// The value of the one before it.
    lost: Vec<f64>,
}

impl Decreases {
    fn find(&mut self, samples: &SampleBuffer, starts: &[Timestamp]) {
        self.at.clear();
        self.lost.clear();
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
struct Walk {
    floats: (usize, usize),
    histograms: (usize, usize),
    decreases: (usize, usize),
}

impl Walk {
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
        let until = shape.time.at(time);
        let after = until.saturating_sub(shape.range_ms);
        let (from, to) = (after.saturating_sub(shape.before_ms), until.saturating_add(shape.after_ms));
        let floats = advance(&mut self.floats, &samples.float_timestamps, from, to);
        let histograms = advance(&mut self.histograms, &samples.histogram_timestamps, from, to);
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

pub fn advance(
    edges: &mut (usize, usize),
    timestamps: &[Timestamp],
    from: Timestamp,
    to: Timestamp,
) -> std::ops::Range<usize> {
    edges.0 += count_until(&timestamps[edges.0..], from);
    edges.1 = edges.1.max(edges.0);
    edges.1 += count_until(&timestamps[edges.1..], to);
    edges.0..edges.1
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
