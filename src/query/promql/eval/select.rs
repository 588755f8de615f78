//! Selectors: from matchers to series, from samples to the values an instant vector or a window sees.

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use crate::model::histogram::ResetHint;
use crate::model::metrics::is_stale;
use crate::model::{Histogram, Matcher, TimeRange, Timestamp};
use crate::query::QueryError;
use crate::query::buckets::without_reset_hint;
use crate::query::promql::ast::PositionRange;
use crate::query::promql::functions_table::Function;
use crate::storage::metrics::{SampleBuffer, Series};

use super::announced::Announced;
use super::context::{Context, Held};
use super::elementwise::seconds;
use super::float_walk::FilledSteps;
use super::newest::Newest;
use super::row::{Cell, Grid, OutputSeries, Row};
use super::sample_windows::SampleWindows;
use super::selected::{Came, Rolled, Selected};
use super::source::{BoxedSource, Source};
use super::starts::start_at;
use super::tally::{Samples, Tally};
use super::tiers::{Look, Need};
use super::window::WindowShape;

/// From the time of a step to the time of the data it asks for: `@` pins, then `offset` shifts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataTime {
    pub pinned: Option<Timestamp>,
    pub offset_ms: i64,
}

impl DataTime {
    pub fn at(&self, step_time: Timestamp) -> Timestamp {
        self.pinned.unwrap_or(step_time).saturating_sub(self.offset_ms)
    }

    /// All the data that the steps of a grid look at, each `(before, after]` around its data time.
    pub fn covered(&self, grid: &Grid, before_ms: i64, after_ms: i64) -> TimeRange {
        let first = self.at(grid.start);
        let last = if grid.len == 0 { first.saturating_sub(before_ms) } else { self.at(grid.last()) };
        TimeRange { after: first.saturating_sub(before_ms), until: last.saturating_add(after_ms) }
    }
}

/// What an instant selector yields of the sample it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Yield {
    Value,
    /// The sample's own time in seconds, for `timestamp()`.
    Timestamp,
    /// Since when the sample counts, in seconds, for `start_timestamp()`; 0 if nobody said.
    StartTimestamp,
    /// As `Timestamp`, but only of floats; histograms come as they are.
    FloatTimestamp,
}

/// `name{…}`: at every step the newest sample of the last `lookback`, unless it is a stale marker.
pub struct InstantSelector<'q> {
    context: &'q Context<'q>,
    found: Selected<'q>,
    announced: Announced<'q>,
    time: DataTime,
    grid: Grid,
    yields: Yield,
    lookback_ms: i64,
    tells_resets: bool,
    tally: Rc<Tally>,
    given: usize,
    samples: SampleBuffer,
}

impl<'q> InstantSelector<'q> {
    pub fn new(
        context: &'q Context<'q>,
        matchers: &[Matcher],
        time: DataTime,
        grid: Grid,
        yields: Yield,
        position: PositionRange,
    ) -> Result<InstantSelector<'q>, QueryError> {
        let covered = time.covered(&grid, context.query.lookback_ms, 0);
        let mut found = match yields {
            // Only what was sent has starts; they are told once, and that may be long ago.
            Yield::StartTimestamp => Selected::as_sent(context, matchers, covered, Timestamp::MIN, position)?,
            _ => {
                let look = Look { grid, time, range_ms: 0, covered };
                Selected::new(context, matchers, Need::NEWEST, &look, position)?
            }
        };
        let announced = announced(context, found.series())?;
        let lookback_ms = context.query.lookback_ms.saturating_add(found.reach_ms());
        if yields == Yield::Value && !context.tally().tells_steps() {
            found.walk_newest(time, &grid, lookback_ms)?;
        }
        let samples = SampleBuffer::default();
        let tells_resets = context.tells_resets();
        Ok(InstantSelector {
            context,
            found,
            announced,
            time,
            grid,
            yields,
            lookback_ms,
            tells_resets,
            tally: context.tally(),
            given: 0,
            samples,
        })
    }
}

impl Source for InstantSelector<'_> {
    fn series(&self) -> &[OutputSeries] {
        &self.announced
    }

    fn next(&mut self, row: &mut Row) -> Result<(), QueryError> {
        if let Came::Steps(steps) = self.found.read_or_walk(&mut self.samples)? {
            self.given += 1;
            *row = steps.row;
            self.tally.add(0, steps.samples);
            return Ok(());
        }
        if self.yields == Yield::StartTimestamp {
            self.samples.starts = self.context.starts(&self.found.series()[self.given]);
        }
        self.given += 1;
        if self.tells_resets {
            tell_resets(&mut self.samples.histograms);
        }
        row.reset(self.grid.len);
        let mut newest = Newest::default();
        for steps in self.context.pieces(self.grid.len) {
            self.fill(steps?, &mut newest, row);
        }
        Ok(())
    }
}

impl InstantSelector<'_> {
    /// Sets these steps of the row.
    fn fill(&self, steps: Range<usize>, newest: &mut Newest, row: &mut Row) {
        let mut tally = self.tally.of_series();
        // Who asks for times alone never sees the histogram.
        let is_value = matches!(self.yields, Yield::Value | Yield::FloatTimestamp);
        for step in steps {
            let at = self.time.at(self.grid.at(step));
            let Some((t, cell)) = newest.advance(&self.samples, at, self.lookback_ms) else {
                continue;
            };
            tally.add(step, Samples::new(if is_value { cell.sample_count() } else { 1 }));
            match self.yields {
                Yield::Value => row.set(step, Some(cell)),
                Yield::FloatTimestamp if cell.float().is_none() => row.set(step, Some(cell)),
                Yield::StartTimestamp => row.set_float(step, seconds(start_at(&self.samples.starts, t))),
                Yield::Timestamp | Yield::FloatTimestamp => row.set_float(step, seconds(t)),
            }
        }
    }
}

/// Selected series as they are; the selection pays for their labels.
pub fn announced<'q>(context: &'q Context<'q>, found: &[Series]) -> Result<Announced<'q>, QueryError> {
    let mut announced = Announced::none(context);
    for series in found {
        announced.push_made_from(&series.labels, OutputSeries::new(series.labels.clone()))?;
    }
    Ok(announced)
}

/// How many of the sorted timestamps come at or before `at`; steps are usually near each other.
pub fn count_until(timestamps: &[Timestamp], at: Timestamp) -> usize {
    timestamps.iter().take(8).position(|&t| t > at).unwrap_or_else(|| {
        let near = timestamps.len().min(8);
        near + timestamps[near..].partition_point(|&t| t <= at)
    })
}

/// In what form the next series of a range vector comes.
pub enum Seen<'a> {
    /// In the buffer that was given.
    Samples,
    /// In buckets, which tell all that is needed.
    Buckets(Rolled<'a>),
    /// As the values that were to be computed of it.
    Steps(FilledSteps),
}

/// An operator whose output is a range vector: for each series the samples all windows need.
pub trait RangeSource {
    fn series(&self) -> &[OutputSeries];

    /// The next series: replaces `samples` by those of it, stale markers gone, or answers with what stands for them.
    fn next(&mut self, samples: &mut SampleBuffer) -> Result<Seen<'_>, QueryError>;

    /// From now on what a function makes of floats in buckets may come in their place. Only of selectors.
    fn walk(&mut self, _function: Function, _shape: &WindowShape, _grid: &Grid) -> Result<(), QueryError> {
        Ok(())
    }

    /// The same of samples.
    fn walk_samples(&mut self, _windows: SampleWindows, _grid: &Grid) -> Result<(), QueryError> {
        Ok(())
    }

    /// From now on samples come with their starts; those that were computed have none.
    fn tell_starts(&mut self) {}
}

/// `name{…}[range]`.
pub struct RangeSelector<'q> {
    context: &'q Context<'q>,
    found: Selected<'q>,
    announced: Announced<'q>,
    tells_resets: bool,
    tells_starts: bool,
    given: usize,
}

impl<'q> RangeSelector<'q> {
    pub fn new(context: &'q Context<'q>, found: Selected<'q>) -> Result<RangeSelector<'q>, QueryError> {
        let announced = announced(context, found.series())?;
        let tells_resets = context.tells_resets();
        Ok(RangeSelector { context, found, announced, tells_resets, tells_starts: false, given: 0 })
    }
}

impl RangeSource for RangeSelector<'_> {
    fn series(&self) -> &[OutputSeries] {
        &self.announced
    }

    fn walk(&mut self, function: Function, shape: &WindowShape, grid: &Grid) -> Result<(), QueryError> {
        self.found.walk(function, shape, grid)
    }

    fn walk_samples(&mut self, windows: SampleWindows, grid: &Grid) -> Result<(), QueryError> {
        self.found.walk_samples(windows, grid)
    }

    fn next(&mut self, samples: &mut SampleBuffer) -> Result<Seen<'_>, QueryError> {
        self.given += 1;
        match self.found.read_for_windows(samples)? {
            Came::Samples => {}
            Came::Buckets => return Ok(Seen::Buckets(self.found.rolled())),
            Came::Steps(steps) => return Ok(Seen::Steps(steps)),
        }
        if self.tells_starts {
            samples.starts = self.context.starts(&self.found.series()[self.given - 1]);
        }
        drop_stale(samples);
        if self.tells_resets {
            tell_resets(&mut samples.histograms);
        }
        Ok(Seen::Samples)
    }

    fn tell_starts(&mut self) {
        self.tells_starts = true;
    }
}

/// Stale markers end a series for instant selectors; a window just does not see them.
pub fn drop_stale(samples: &mut SampleBuffer) {
    // A look at some dozens without a branch for each is quicker than to stop at the first. Whole numbers are no markers.
    let has_stale = |floats: &[f64]| floats.iter().fold(false, |found, &v| found | is_stale(v));
    if samples.floats[samples.whole().count..].chunks(64).any(has_stale) {
        samples.forget();
        let floats = std::mem::take(&mut samples.floats);
        let timestamps = std::mem::take(&mut samples.float_timestamps);
        let live = timestamps.into_iter().zip(floats).filter(|(_, v)| !is_stale(*v));
        (samples.float_timestamps, samples.floats) = live.unzip();
    }
    if samples.histograms.iter().any(|h| is_stale(h.sum)) {
        let histograms = std::mem::take(&mut samples.histograms);
        let timestamps = std::mem::take(&mut samples.histogram_timestamps);
        let live = timestamps.into_iter().zip(histograms).filter(|(_, h)| !is_stale(h.sum));
        (samples.histogram_timestamps, samples.histograms) = live.unzip();
    }
}

/// Says of each histogram that has one before it whether a reset lies between, where its hint does not.
pub fn tell_resets(histograms: &mut [Arc<Histogram>]) {
    let mut before: Option<Arc<Histogram>> = None;
    for histogram in histograms.iter_mut().filter(|h| !h.is_stale()) {
        if let Some(before) = before.filter(|_| histogram.hint == ResetHint::Unknown) {
            let is_reset = histogram.detect_reset(&before);
            Arc::make_mut(histogram).hint = if is_reset { ResetHint::Reset } else { ResetHint::NotReset };
        }
        before = Some(histogram.clone());
    }
}

/// `expr[range:step]`: the steps of an inner evaluation as samples.
pub struct SubqueryRange<'q> {
    context: &'q Context<'q>,
    inner: BoxedSource<'q>,
    grid: Grid,
    row: Row,
    _held: Held<'q>,
}

impl<'q> SubqueryRange<'q> {
    /// `inner` was built for `grid`, see [`subquery_grid`].
    pub fn new(
        context: &'q Context<'q>,
        inner: BoxedSource<'q>,
        grid: Grid,
        held: Held<'q>,
    ) -> SubqueryRange<'q> {
        SubqueryRange { context, inner, grid, row: Row::default(), _held: held }
    }
}

/// The steps of a subquery: multiples of its step that any window of the outer grid can see.
pub fn subquery_grid(outer: &Grid, time: DataTime, range_ms: i64, step_ms: i64) -> Grid {
    let covered = time.covered(outer, range_ms, 0);
    // The smallest multiple beyond the left edge, which is out.
    let first = covered.after.div_euclid(step_ms).saturating_add(1).saturating_mul(step_ms);
    Grid::between(first, covered.until, step_ms)
}

impl RangeSource for SubqueryRange<'_> {
    fn series(&self) -> &[OutputSeries] {
        self.inner.series()
    }

    fn next(&mut self, samples: &mut SampleBuffer) -> Result<Seen<'_>, QueryError> {
        self.inner.next(&mut self.row)?;
        samples.clear();
        for step in 0..self.row.len() {
            self.context.check_every(step)?;
            match self.row.cell(step) {
                Some(Cell::Float(value)) => {
                    samples.float_timestamps.push(self.grid.at(step));
                    samples.floats.push(value);
                }
                Some(Cell::Histogram(histogram)) => {
                    samples.histogram_timestamps.push(self.grid.at(step));
                    samples.histograms.push(without_reset_hint(histogram));
                }
                None => {}
            }
        }
        Ok(Seen::Samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::metrics::stale_marker;

    fn buffer(samples: &[(i64, f64)]) -> SampleBuffer {
        let (float_timestamps, floats) = samples.iter().copied().unzip();
        SampleBuffer::of_floats(float_timestamps, floats)
    }

    fn seen(samples: &[(i64, f64)], at: i64, lookback_ms: i64) -> Option<f64> {
        Newest::default().advance(&buffer(samples), at, lookback_ms).and_then(|(_, cell)| cell.float())
    }

    #[test]
    fn the_lookback_is_open_on_the_left() {
        assert_eq!(seen(&[(0, 1.0)], 9, 10), Some(1.0));
        assert_eq!(seen(&[(0, 1.0)], 10, 10), None);
        assert_eq!(seen(&[(10, 1.0)], 10, 10), Some(1.0));
        assert_eq!(seen(&[(11, 1.0)], 10, 10), None);
    }

    #[test]
    fn a_stale_newest_sample_hides_what_came_before() {
        assert_eq!(seen(&[(0, 1.0), (5, stale_marker())], 6, 10), None);
        assert_eq!(seen(&[(0, 1.0), (5, stale_marker())], 4, 10), Some(1.0));
    }

    #[test]
    fn windows_do_not_see_stale_markers() {
        let mut samples = buffer(&[(0, 1.0), (5, stale_marker()), (6, f64::NAN)]);
        drop_stale(&mut samples);
        assert_eq!(samples.float_timestamps, [0, 6]);
    }

    #[test]
    fn a_subquery_steps_on_multiples_of_its_step_also_before_the_epoch() {
        let grid = |t, range| subquery_grid(&Grid::instant(t), DataTime::default(), range, 10);
        assert_eq!((grid(35, 20).start, grid(35, 20).len), (20, 2));
        assert_eq!((grid(30, 20).start, grid(30, 20).len), (20, 2));
        assert_eq!((grid(-5, 20).start, grid(-5, 20).len), (-20, 2));
        assert_eq!(grid(35, 4).len, 0);
    }

    #[test]
    fn pinning_comes_before_the_offset() {
        let time = DataTime { pinned: Some(100), offset_ms: 30 };
        assert_eq!((time.at(0), time.at(500)), (70, 70));
        assert_eq!(DataTime { pinned: None, offset_ms: -30 }.at(0), 30);
    }
}
