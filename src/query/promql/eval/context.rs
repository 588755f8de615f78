//! What every operator of one query shares: the snapshot it reads, the budget it asks, the annotations it leaves.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::{Labels, Matcher, RegexCache, TimeRange, Timestamp};
use crate::query::budget::Budget;
use crate::query::promql::ast::PositionRange;
use crate::query::promql::duration::QueryTimes;
use crate::query::read_ahead::SAMPLES_MIN;
use crate::query::sorting::sort_within;
use crate::query::{MatrixSeries, QueryError, Timings, settled};
use crate::storage::metrics::{MetricsSnapshot, ReadPlan, Series, Stretch};

use super::annotations::{Annotations, Note};
use super::relabel::Patterns;
use super::row::{Grid, OutputSeries, Row};
use super::scalar::Scalar;
use super::tally::{Part, Tally};

/// The query as it was asked; operators below see other grids.
#[derive(Clone, Copy, Debug)]
pub struct QueryShape {
    pub start: Timestamp,
    pub end: Timestamp,
    /// 0 for an instant query.
    pub step_ms: i64,
    pub lookback_ms: i64,
    pub subquery_step_ms: i64,
    pub delayed_name_removal: bool,
    pub use_start_timestamps: bool,
    /// What cannot be answered exactly is refused.
    pub strict: bool,
}

impl QueryShape {
    pub fn times(&self) -> QueryTimes {
        QueryTimes { step_ms: self.step_ms, range_ms: self.end.saturating_sub(self.start) }
    }

    pub fn grid(&self) -> Grid {
        if self.step_ms == 0 {
            return Grid::instant(self.start);
        }
        Grid::between(self.start, self.end, self.step_ms)
    }
}

pub struct Context<'q> {
    pub query: QueryShape,
    pub budget: &'q Budget,
    /// Without one nothing selects: LogQL's operators stand on rows of its own.
    snapshot: Option<Arc<MetricsSnapshot>>,
    annotations: RefCell<Annotations>,
    pub patterns: Patterns,
    /// The last few selections: dashboards divide a metric by itself. Few, so a list will do.
    selections: RefCell<Vec<Selection>>,
    /// What was read of each resolution.
    tiers: RefCell<BTreeMap<i64, u64>>,
    /// A selector reads rollups, and which depends on all its steps.
    plans_rollups: Cell<bool>,
    /// Selectors built now tell resets; see [`Context::telling_resets`].
    tells_resets: Cell<bool>,
    /// Where selectors built now count their samples.
    tally: RefCell<Rc<Tally>>,
    /// What the selectors are expected to read that were built so far; none before the first one.
    ahead: Cell<Option<Expected>>,
    /// When every operator was built, and how long sorting took.
    prepared_at: Cell<Option<Instant>>,
    sorting: Cell<Duration>,
    bytes_held: Cell<u64>,
    bytes_peak: Cell<u64>,
}

struct Selection {
    matchers: Vec<Matcher>,
    range: TimeRange,
    plan: Option<ReadPlan>,
    series: Arc<[Series]>,
}

/// A selector that reads before it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    First,
    /// Beside others, each of which has too little to read for threads of its own.
    Beside,
}

/// What a selector is expected to read, and to hold if all of it waits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected {
    pub samples: u64,
    pub bytes: u64,
}

/// What small selectors read and hold together before they are asked.
const BEGUN_SAMPLES_MAX: u64 = 200_000;
const BEGUN_BYTES_MAX: u64 = 4 << 20;
/// To wake a thread takes as long as to read so many.
const BEGUN_SAMPLES_MIN: u64 = 1_000;

/// Memory that is accounted for as long as this lives.
pub struct Held<'q> {
    context: &'q Context<'q>,
    bytes: u64,
}

impl<'q> Context<'q> {
    pub fn new(query: QueryShape, snapshot: Arc<MetricsSnapshot>, budget: &'q Budget) -> Context<'q> {
        Context { snapshot: Some(snapshot), ..Context::without_samples(query, budget) }
    }

    /// For operators over rows that were made elsewhere.
    pub fn without_samples(query: QueryShape, budget: &'q Budget) -> Context<'q> {
        Context {
            query,
            budget,
            snapshot: None,
            annotations: RefCell::default(),
            patterns: Patterns::default(),
            selections: RefCell::default(),
            tiers: RefCell::default(),
            plans_rollups: Cell::new(false),
            tells_resets: Cell::new(false),
            tally: RefCell::new(Rc::new(Tally::new(query.grid(), false))),
            ahead: Cell::default(),
            prepared_at: Cell::default(),
            sorting: Cell::default(),
            bytes_held: Cell::new(0),
            bytes_peak: Cell::new(0),
        }
    }

    /// Patterns are kept there from query to query.
    pub fn with_patterns_of(self, cache: Option<Arc<RegexCache>>) -> Context<'q> {
        Context { patterns: Patterns::of_cache(cache.unwrap_or_default()), ..self }
    }

    /// Samples are counted for each step as well.
    pub fn telling_steps(self) -> Context<'q> {
        self.tally.replace(Rc::new(Tally::new(self.query.grid(), true)));
        self
    }

    pub fn note(&self, note: Note, position: PositionRange) {
        self.annotations.borrow_mut().add(note, position);
    }

    /// What was noted apart.
    pub fn note_all(&self, told: Annotations) {
        self.annotations.borrow_mut().add_all(told);
    }

    pub fn annotations(&self) -> &RefCell<Annotations> {
        &self.annotations
    }

    /// Complete texts: warnings, then infos.
    pub fn annotation_texts(&self, text: &str) -> (Vec<String>, Vec<String>) {
        self.annotations.borrow().texts(text)
    }

    /// From which tiers the samples of a range can be read.
    pub fn stretches(&self, range: TimeRange) -> Vec<Stretch> {
        self.snapshot().stretches(range)
    }

    /// The series that match, to be read as planned, or else as sent; a selection made before is made only once. They
    /// come in the order of their labels, wherever they lie: the last bit of a sum of floats depends on the order.
    pub fn select(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        plan: Option<&ReadPlan>,
    ) -> Result<Arc<[Series]>, QueryError> {
        self.budget.check()?;
        let same = |s: &&Selection| s.range == range && s.matchers == matchers && s.plan.as_ref() == plan;
        if let Some(made) = self.selections.borrow().iter().find(same) {
            return Ok(made.series.clone());
        }
        let found = match plan {
            Some(plan) => {
                self.plans_rollups.set(true);
                self.snapshot().select_planned(matchers, plan)
            }
            None => self.snapshot().select(matchers, range),
        };
        let series: Arc<[Series]> = self.in_order(settled(found, self.budget)?)?.into();
        self.budget.take_series(series.len() as u64)?;
        // Kept as long as the query runs.
        let bytes = |series: &Series| size_of::<Series>() + series.labels.text_len();
        self.budget.take_bytes(series.iter().map(bytes).sum::<usize>() as u64)?;
        let (matchers, plan) = (matchers.to_vec(), plan.cloned());
        self.selections.borrow_mut().push(Selection { matchers, range, plan, series: series.clone() });
        Ok(series)
    }

    fn in_order(&self, series: Vec<Series>) -> Result<Vec<Series>, QueryError> {
        // Those of one source are.
        if series.is_sorted_by(|a, b| a.labels <= b.labels) {
            return Ok(series);
        }
        Ok(sort_within(self.budget, series, &|a, b| a.labels.cmp(&b.labels))?)
    }

    /// Whether nothing that was met makes a step depend on others: rollups, and remarks that count steps.
    pub fn tells_each_step(&self) -> bool {
        !self.plans_rollups.get() && !self.annotations.borrow().count_steps()
    }

    pub fn snapshot(&self) -> &Arc<MetricsSnapshot> {
        self.snapshot.as_ref().expect("only PromQL has selectors, and gives a snapshot")
    }

    /// Refuses a read before it begins, from what the index knows.
    pub fn expect_samples(&self, series: &[Series]) -> Result<(), QueryError> {
        let estimate = series.iter().map(|s| s.sample_count_estimate).sum();
        Ok(self.budget.expect_samples(estimate)?)
    }

    /// Whether a selector that expects so much may begin to read before it is asked. The first one may, which is asked
    /// first, and those that have little to read, as soon as those before them have enough to do until a thread is awake. Were it
    /// all of them, the query would hold at once what else it holds one after the other, and crowd the threads that all share.
    pub fn may_begin(&self, expected: Expected) -> Option<Beginning> {
        let before = self.ahead.get();
        let Expected { samples, bytes } = before.unwrap_or_default();
        let all = Expected {
            samples: samples.saturating_add(expected.samples),
            bytes: bytes.saturating_add(expected.bytes),
        };
        self.ahead.set(Some(all));
        if before.is_none() {
            return Some(Beginning::First);
        }
        let is_little = all.samples <= BEGUN_SAMPLES_MAX && all.bytes <= BEGUN_BYTES_MAX;
        let is_worth_a_thread = samples >= SAMPLES_MIN && expected.samples >= BEGUN_SAMPLES_MIN;
        (is_little && is_worth_a_thread).then_some(Beginning::Beside)
    }

    /// Counts what was read of one series in one resolution.
    pub fn take_read(&self, resolution_ms: i64, count: u64) -> Result<(), QueryError> {
        self.budget.take_samples(count)?;
        *self.tiers.borrow_mut().entry(resolution_ms).or_default() += count;
        Ok(())
    }

    /// How many samples (resolution 0) and states of each resolution were read, finest first.
    pub fn tiers_read(&self) -> Vec<(i64, u64)> {
        self.tiers.borrow().iter().map(|(resolution_ms, count)| (*resolution_ms, *count)).collect()
    }

    /// Since when a series counts, as far as told; see [`MetricsSnapshot::starts`].
    pub fn starts(&self, series: &Series) -> Vec<(Timestamp, Timestamp)> {
        self.snapshot().starts(series)
    }

    /// Builds what only the counts and sums of histograms are wanted of. Prometheus does not read the buckets
    /// then; lest resets be missed later it looks for them while reading, and its warnings follow from that.
    pub fn telling_resets<T>(&self, build: impl FnOnce() -> T) -> T {
        let before = self.tells_resets.replace(true);
        let built = build();
        self.tells_resets.set(before);
        built
    }

    pub fn tells_resets(&self) -> bool {
        self.tells_resets.get()
    }

    /// Asks the budget once in 64 rounds of a loop that takes a microsecond or so each.
    pub fn check_every(&self, round: usize) -> Result<(), QueryError> {
        if round.is_multiple_of(64) {
            self.budget.check()?;
        }
        Ok(())
    }

    /// The steps of a row in pieces, between which the budget is asked: rows of subqueries may be long.
    pub fn pieces(&self, steps: usize) -> impl Iterator<Item = Result<Range<usize>, QueryError>> {
        const PIECE_STEPS: usize = 1 << 16;
        let pieces = (0..steps).step_by(PIECE_STEPS).map(move |from| from..steps.min(from + PIECE_STEPS));
        pieces.map(|piece| self.budget.check().map(|()| piece).map_err(QueryError::from))
    }

    /// A row with this value at every step.
    pub fn constant_row(&'q self, value: f64, steps: usize) -> Result<(Row, Held<'q>), QueryError> {
        Ok(Scalar::constant(self, value, steps)?.into_row())
    }

    pub fn hold_nothing(&'q self) -> Held<'q> {
        Held { context: self, bytes: 0 }
    }

    /// Where what is built now counts its samples.
    pub fn tally(&self) -> Rc<Tally> {
        self.tally.borrow().clone()
    }

    /// Builds a part that is evaluated on a grid of its own, and counts its samples apart.
    pub fn counting_apart<T>(&self, part: Part, grid: Grid, build: impl FnOnce() -> T) -> T {
        let around = self.tally();
        self.tally.replace(around.part(part, grid));
        let built = build();
        self.tally.replace(around);
        built
    }

    /// Told when the operators are built; what follows is their evaluation.
    pub fn prepared(&self) {
        self.prepared_at.set(Some(Instant::now()));
    }

    pub fn sorted(&self, matrix: Vec<MatrixSeries>) -> Result<Vec<MatrixSeries>, QueryError> {
        let started = Instant::now();
        let sorted = sort_within(self.budget, matrix, &|a, b| a.labels.cmp(&b.labels))?;
        self.sorting.set(started.elapsed());
        Ok(sorted)
    }

    /// Where the time went of a query that began and ended then.
    pub fn timings(&self, began: Instant, ended: Instant) -> Timings {
        let prepared_at = self.prepared_at.get().unwrap_or(began);
        let sort = self.sorting.get();
        let evaluation = ended.saturating_duration_since(prepared_at).saturating_sub(sort);
        let preparation = prepared_at.saturating_duration_since(began);
        Timings { preparation, evaluation, sort, ..Timings::default() }
    }

    /// Accounts for memory until the guard drops.
    pub fn hold(&'q self, bytes: u64) -> Result<Held<'q>, QueryError> {
        let mut held = self.hold_nothing();
        held.grow(bytes)?;
        Ok(held)
    }

    /// Makes sure that a row of so many steps fits before the first is made.
    pub fn hold_row(&'q self, grid: &Grid) -> Result<Held<'q>, QueryError> {
        self.hold((grid.len as u64).saturating_mul(8))
    }

    /// Values (8 bytes each) that were held at once at most.
    pub fn values_peak(&self) -> u64 {
        self.bytes_peak.get() / 8
    }

    /// The series without its metric name: at once, or marked so that the end of the query does it.
    pub fn without_name(&self, series: &OutputSeries) -> OutputSeries {
        if self.query.delayed_name_removal {
            return OutputSeries { labels: series.labels.clone(), drop_name: true };
        }
        OutputSeries { labels: strip_name(&series.labels), drop_name: true }
    }

    /// The metric name that annotations of histogram functions tell: in immediate mode it is gone by then.
    pub fn told_metric<'a>(&self, labels: &'a Labels) -> &'a str {
        if self.query.delayed_name_removal { labels.metric_name() } else { "" }
    }
}

/// The labels without name, type and unit, which describe the metric and not what was computed from it.
pub fn strip_name(labels: &Labels) -> Labels {
    const OF_METRIC: [&str; 3] = ["__name__", "__type__", "__unit__"];
    // A clone shares the text.
    let has_any = labels.iter().any(|(name, _)| OF_METRIC.contains(&name));
    if has_any { labels.without(&OF_METRIC) } else { labels.clone() }
}

impl Held<'_> {
    pub fn grow(&mut self, bytes: u64) -> Result<(), QueryError> {
        self.context.budget.take_bytes(bytes)?;
        self.bytes += bytes;
        let held = self.context.bytes_held.get() + bytes;
        self.context.bytes_held.set(held);
        self.context.bytes_peak.set(self.context.bytes_peak.get().max(held));
        Ok(())
    }

    /// What is paid for outlives the evaluation: it is given back with the budget itself.
    pub fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.context.bytes_held.set(self.context.bytes_held.get() - self.bytes);
        self.context.budget.give_bytes(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::budget::Limits;

    /// What becomes of selectors that expect so many samples and hold so many bytes, one after the other.
    fn beginnings<const N: usize>(expected: [(u64, u64); N]) -> [Option<Beginning>; N] {
        let limits = Limits { samples_max: 0, series_max: 0, bytes_max: 0, log_bytes_max: 0 };
        let budget = Budget::new(Instant::now() + Duration::from_secs(600), limits);
        let query = QueryShape {
            start: 0,
            end: 0,
            step_ms: 0,
            lookback_ms: 0,
            subquery_step_ms: 0,
            delayed_name_removal: false,
            use_start_timestamps: false,
            strict: false,
        };
        let context = Context::without_samples(query, &budget);
        expected.map(|(samples, bytes)| context.may_begin(Expected { samples, bytes }))
    }

    #[test]
    fn small_selectors_begin_once_there_is_enough_to_do_and_large_ones_wait() {
        let (first, beside) = (Some(Beginning::First), Some(Beginning::Beside));
        assert_eq!(beginnings([(10_000, 9); 4]), [first, None, beside, beside]);
        assert_eq!(beginnings([(10, 9); 3]), [first, None, None]);
        assert_eq!(
            beginnings([(30_000, 9), (160_000, 9), (60_000, 9), (2_000, 9)]),
            [first, beside, None, None]
        );
        assert_eq!(beginnings([(2_000_000, 9), (2_000, 9)]), [first, None]);
        assert_eq!(
            beginnings([(30_000, 9), (100, 9), (2_000, 9)]),
            [first, None, beside],
            "a thread for a hundred"
        );
        assert_eq!(beginnings([(30_000, 9), (2_000, 3 << 20), (2_000, 2 << 20)]), [first, beside, None]);
    }
}
