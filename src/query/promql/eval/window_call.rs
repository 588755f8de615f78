//! Calls of functions that take a range vector.

use std::rc::Rc;

use crate::query::QueryError;
use crate::query::promql::ast::PositionRange;
use crate::storage::metrics::SampleBuffer;

use super::annotations::Note;
use super::announced::Announced;
use super::bucket_walk::BucketWalk;
use super::bucket_window::BucketFunction;
use super::context::Context;
use super::row::{OutputSeries, Row};
use super::sample_walk::SampleWalk;
use super::select::{RangeSource, Seen};
use super::source::Source;
use super::tally::Tally;
use super::window::{Notes, Window, WindowFunction};

/// What is special about a call beside its function.
#[derive(Clone, Copy, Debug)]
pub struct CallTraits {
    /// `first_over_time` and `last_over_time` are like an offset: the name stays.
    pub keeps_name: bool,
    /// rate and increase: series that do not look like counters are remarked upon.
    pub wants_counter: bool,
    /// The form of the function that takes buckets.
    pub of_buckets: Option<BucketFunction>,
}

/// `function(range vector)`.
pub struct WindowCall<'q> {
    context: &'q Context<'q>,
    input: Box<dyn RangeSource + 'q>,
    announced: Announced<'q>,
    walk: SampleWalk,
    traits: CallTraits,
    position: PositionRange,
    function: WindowFunction<'q>,
    tally: Rc<Tally>,
    given: usize,
    samples: SampleBuffer,
}

impl<'q> WindowCall<'q> {
    /// `position` is that of the range vector, which annotations blame.
    pub fn new(
        context: &'q Context<'q>,
        input: Box<dyn RangeSource + 'q>,
        walk: SampleWalk,
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
            walk,
            traits,
            position,
            function,
            tally: context.tally(),
            given: 0,
            samples: SampleBuffer::default(),
        })
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
        let SampleWalk { shape, grid, .. } = self.walk;
        let labels = self.input.series()[self.given].labels.clone();
        self.given += 1;
        let metric = labels.metric_name();
        let notes = Notes::new(self.context, self.position, metric);
        match self.input.next(&mut self.samples)? {
            Seen::Steps(steps) => {
                *row = steps.row;
                self.tally.add(0, steps.samples);
                self.context.note_all(steps.told);
            }
            Seen::Buckets(rolled) => {
                row.reset(grid.len);
                let function = self.traits.of_buckets.expect("what needs states has a form that takes them");
                let walk = BucketWalk { shape, grid, function, tally: &self.tally };
                walk.fill(rolled, &notes, row)?;
            }
            Seen::Samples => {
                row.reset(grid.len);
                let mut tally = self.tally.of_series();
                let value = |window: &Window<'_>, notes: &Notes<'_>| self.function.value(window, notes);
                let looked_at = |step, samples| tally.add(step, samples);
                self.walk.fill(&self.samples, &notes, row, value, looked_at)?;
            }
        }
        if self.traits.wants_counter {
            self.note_missing_suffix(metric, row);
        }
        Ok(())
    }
}
