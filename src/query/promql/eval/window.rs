//! Windows over samples: what a range-vector function sees of one, what it may tell, and what it is.

use std::cell::RefCell;
use std::sync::Arc;

use crate::model::{Histogram, TimeRange, Timestamp};
use crate::query::QueryError;
use crate::query::budget::Budget;
use crate::query::promql::ast::PositionRange;
use crate::query::promql::histogram_functions::HistogramNote;

use super::annotations::{Annotations, Note};
use super::context::Context;
use super::row::Cell;
use super::select::DataTime;
use super::tally::Part;

/// The samples of one series that one step sees, `(after, until]`, and what functions ask about them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window<'a> {
    pub timestamps: &'a [Timestamp],
    pub floats: &'a [f64],
    pub histogram_timestamps: &'a [Timestamp],
    pub histograms: &'a [Arc<Histogram>],
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

    pub fn is_mixed(&self) -> bool {
        !self.floats.is_empty() && !self.histograms.is_empty()
    }
}

/// Where a window function leaves its annotations, and which metric they are about.
pub struct Notes<'a> {
    budget: &'a Budget,
    told: &'a RefCell<Annotations>,
    position: PositionRange,
    pub metric: &'a str,
}

impl<'a> Notes<'a> {
    pub fn new(context: &'a Context<'a>, position: PositionRange, metric: &'a str) -> Notes<'a> {
        Notes::apart(context.budget, context.annotations(), position, metric)
    }

    /// Kept until who evaluates the query takes them: a thread that reads may compute as well.
    pub fn apart(
        budget: &'a Budget,
        told: &'a RefCell<Annotations>,
        position: PositionRange,
        metric: &'a str,
    ) -> Notes<'a> {
        Notes { budget, told, position, metric }
    }

    pub fn check(&self) -> Result<(), QueryError> {
        Ok(self.budget.check()?)
    }

    pub fn add(&self, note: Note) {
        self.told.borrow_mut().add(note, self.position);
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
pub enum WindowFunction<'q> {
    Plain(PlainFunction),
    /// With other arguments, which have a value for each step.
    Bound(Box<BoundFunction<'q>>),
}

type BoundFunction<'q> = dyn FnMut(&Window<'_>, &Notes<'_>) -> Result<Option<Cell>, QueryError> + 'q;

/// Of the window alone: who reads the samples may compute it.
pub type PlainFunction = Arc<dyn Fn(&Window<'_>, &Notes<'_>) -> Option<Cell> + Send + Sync>;

impl<'q> WindowFunction<'q> {
    pub fn plain(
        function: impl Fn(&Window<'_>, &Notes<'_>) -> Option<Cell> + Send + Sync + 'static,
    ) -> WindowFunction<'q> {
        WindowFunction::Plain(Arc::new(function))
    }

    pub fn value(&mut self, window: &Window<'_>, notes: &Notes<'_>) -> Result<Option<Cell>, QueryError> {
        match self {
            WindowFunction::Plain(function) => Ok(function(window, notes)),
            WindowFunction::Bound(function) => function(window, notes),
        }
    }
}

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
    /// The window of the step at `time`.
    pub fn range(&self, time: Timestamp) -> TimeRange {
        let until = self.time.at(time);
        TimeRange { after: until.saturating_sub(self.range_ms), until }
    }

    /// All that a function may look at for it.
    pub fn looked_at(&self, time: Timestamp) -> TimeRange {
        let TimeRange { after, until } = self.range(time);
        TimeRange { after: after.saturating_sub(self.before_ms), until: until.saturating_add(self.after_ms) }
    }

    /// What a subquery with these windows is to the query around it.
    pub fn part(&self) -> Part {
        Part::Windows { offset_ms: self.time.offset_ms, range_ms: self.range_ms }
    }
}
