//! What a selector found: its series, and how their samples are read.

use std::sync::Arc;

use crate::model::{Matcher, TimeRange, Timestamp, thread_count};
use crate::query::QueryError;
use crate::query::buckets::Buckets;
use crate::query::promql::ast::PositionRange;
use crate::query::promql::functions_table::Function;
use crate::query::read_ahead::{ReadAhead, SAMPLES_MIN, in_flight_max};
use crate::storage::metrics::{SampleBuffer, Series};

use super::annotations::Note;
use super::context::{Beginning, Context, Expected, Held};
use super::float_walk::{FilledSteps, FloatWalk};
use super::newest_walk::NewestWalk;
use super::row::Grid;
use super::sample_windows::SampleWindows;
use super::select::DataTime;
use super::series_reader::{Found, Read, Reads, SampleSteps, SeriesReader};
use super::tiers::{self, Look, Need, Shortfall, Tiers};
use super::window::WindowShape;

/// Series, and from which tiers they are read, one after the other.
pub struct Selected<'q> {
    context: &'q Context<'q>,
    series: Arc<[Series]>,
    /// How many samples all of them are expected to have, and the one that has most.
    samples_expected: u64,
    largest_expected: u64,
    range: TimeRange,
    position: PositionRange,
    need: Need,
    tiers: Option<Tiers>,
    /// What steps see of buckets of floats, if they are all that is asked for.
    walk: Option<FloatWalk>,
    newest: Option<NewestWalk>,
    windows: Option<Box<SampleWindows>>,
    tells_resets: bool,
    /// Of the values that walking makes of a series.
    row_bytes: u64,
    reading: Reading,
    given: usize,
    buckets: Box<Buckets>,
    held: Vec<Held<'q>>,
}

/// Who reads.
enum Reading {
    NotBegun,
    Here(Box<SeriesReader>),
    Ahead(ReadAhead<Read>),
}

/// A series in buckets, and where the windows over them lie.
#[derive(Clone, Copy)]
pub struct Rolled<'a> {
    pub buckets: &'a Buckets,
    pub tiers: &'a Tiers,
}

/// In what form a series came.
pub enum Came {
    Samples,
    /// Those that [`Selected::rolled`] shows.
    Buckets,
    Steps(FilledSteps),
}

impl<'q> Selected<'q> {
    /// `position` is blamed for what the answer falls short in.
    pub fn new(
        context: &'q Context<'q>,
        matchers: &[Matcher],
        need: Need,
        look: &Look,
        position: PositionRange,
    ) -> Result<Selected<'q>, QueryError> {
        let mut range = look.covered;
        let mut tiers = tiers::plan(&context.stretches(range), need, look);
        if let Some(reach_ms) = tiers.as_ref().map(|tiers| tiers.reach_ms).filter(|reach_ms| *reach_ms > 0) {
            range.after = range.after.saturating_sub(reach_ms);
            tiers = tiers::plan(&context.stretches(range), need, look);
        }
        let series = context.select(matchers, range, tiers.as_ref().map(|tiers| &tiers.plan))?;
        context.expect_samples(&series)?;
        let shortfall = tiers.as_ref().and_then(|tiers| tiers.shortfall);
        if let Some(shortfall) = shortfall.filter(|_| !series.is_empty()) {
            context.fall_short(shortfall, position)?;
        }
        Ok(Selected { need, tiers, ..Selected::unread(context, series, range, position) })
    }

    /// As they were sent, whatever else there is: the samples of a range, of series that have any from a time on.
    pub fn as_sent(
        context: &'q Context<'q>,
        matchers: &[Matcher],
        range: TimeRange,
        since: Timestamp,
        position: PositionRange,
    ) -> Result<Selected<'q>, QueryError> {
        let series = context.select(matchers, TimeRange { after: since, ..range }, None)?;
        Ok(Selected::unread(context, series, range, position))
    }

    fn unread(
        context: &'q Context<'q>,
        series: Arc<[Series]>,
        range: TimeRange,
        position: PositionRange,
    ) -> Selected<'q> {
        let estimates = || series.iter().map(|series| series.sample_count_estimate);
        Selected {
            context,
            samples_expected: estimates().sum(),
            largest_expected: estimates().max().unwrap_or(0),
            series,
            range,
            position,
            need: Need::NEWEST,
            tiers: None,
            walk: None,
            newest: None,
            windows: None,
            tells_resets: context.tells_resets(),
            row_bytes: 0,
            reading: Reading::NotBegun,
            given: 0,
            buckets: Box::default(),
            held: Vec::new(),
        }
    }

    pub fn series(&self) -> &[Series] {
        &self.series
    }

    /// How much farther back a selector has to look than it was told to.
    pub fn reach_ms(&self) -> i64 {
        self.tiers.as_ref().map_or(0, |tiers| tiers.reach_ms)
    }

    /// What the steps of a function see of buckets of floats is computed where they are read, and comes as
    /// [`Came::Steps`]. For the first selector of a query, and for small ones, threads begin with that at once, while the
    /// other operators are built.
    pub fn walk(&mut self, function: Function, shape: &WindowShape, grid: &Grid) -> Result<(), QueryError> {
        let Some(tiers) = self.tiers.as_ref().filter(|_| matches!(self.need, Need::States(..))) else {
            return Ok(());
        };
        self.held.push(self.context.hold(FloatWalk::bytes(grid.len, thread_count()))?);
        let window = |step| tiers.window(shape.time.at(grid.at(step)), shape.range_ms);
        let windows: Arc<[TimeRange]> = (0..grid.len).map(window).collect();
        self.row_bytes = 8 * grid.len as u64;
        self.walk = Some(FloatWalk::new(function, windows, shape.range_ms));
        self.begin_early(true);
        Ok(())
    }

    /// The same of samples.
    pub fn walk_samples(&mut self, windows: SampleWindows, grid: &Grid) -> Result<(), QueryError> {
        if self.tiers.is_none() {
            self.held.push(self.context.hold(SampleWindows::bytes(grid.len, thread_count()))?);
            self.row_bytes = 8 * grid.len as u64;
            self.windows = Some(windows.into());
            self.begin_early(false);
        }
        Ok(())
    }

    /// The same for what an instant selector sees of either.
    pub fn walk_newest(&mut self, time: DataTime, grid: &Grid, lookback_ms: i64) -> Result<(), QueryError> {
        self.held.push(self.context.hold(NewestWalk::bytes(grid.len, thread_count()))?);
        let times: Arc<[Timestamp]> = (0..grid.len).map(|step| time.at(grid.at(step))).collect();
        self.row_bytes = 8 * grid.len as u64;
        self.newest = Some(NewestWalk::new(times, lookback_ms));
        self.begin_early(false);
        Ok(())
    }

    /// The samples of the next series, stale markers included; the last sample of a bucket stands for all. Or the values
    /// of all steps, where these were asked for.
    pub fn read_or_walk(&mut self, samples: &mut SampleBuffer) -> Result<Came, QueryError> {
        if let Reading::Here(reader) = &mut self.reading {
            reader.reuse(std::mem::take(samples));
        }
        match self.next(false)? {
            Found::Sent(found) | Found::LastSamples(found) => *samples = found,
            Found::Steps(steps) => return Ok(Came::Steps(steps)),
            _ => unreachable!("nobody asked for buckets"),
        }
        Ok(Came::Samples)
    }

    /// The samples, where no steps were asked for.
    pub fn read(&mut self, samples: &mut SampleBuffer) -> Result<(), QueryError> {
        self.read_or_walk(samples).map(|_| ())
    }

    /// The same for windows, but where buckets tell all that is needed, these.
    pub fn read_for_windows(&mut self, samples: &mut SampleBuffer) -> Result<Came, QueryError> {
        let (Some(tiers), Need::States(function, _)) = (&self.tiers, self.need) else {
            return self.read_or_walk(samples);
        };
        let coarsest = tiers.plan.readings.iter().map(|reading| reading.resolution).max();
        if let Reading::Here(reader) = &mut self.reading {
            reader.reuse(std::mem::take(samples));
            reader.reuse_buckets(std::mem::take(&mut self.buckets));
        }
        match self.next(true)? {
            Found::Sent(found) | Found::LastSamples(found) => *samples = found,
            Found::LastSamplesOnly(found) => {
                let resolution_ms = coarsest.expect("a plan reads something");
                self.context.fall_short(Shortfall::Approximate { function, resolution_ms }, self.position)?;
                *samples = found;
            }
            Found::Buckets(buckets) => {
                self.buckets = buckets;
                return Ok(Came::Buckets);
            }
            Found::Steps(steps) => return Ok(Came::Steps(steps)),
        }
        Ok(Came::Samples)
    }

    /// The series that came last, in buckets.
    pub fn rolled(&self) -> Rolled<'_> {
        let tiers = self.tiers.as_ref().expect("without tiers nothing comes in buckets");
        Rolled { buckets: &self.buckets, tiers }
    }

    /// What there is of the next series. All are read in the way that was begun with.
    fn next(&mut self, is_for_windows: bool) -> Result<Found, QueryError> {
        if matches!(self.reading, Reading::NotBegun) {
            let batch = self.batch_worth_threads();
            self.reading = self.begin(is_for_windows, batch);
        }
        let read = match &mut self.reading {
            Reading::Here(reader) => reader.read(self.given),
            Reading::Ahead(ahead) => ahead.next().unwrap_or_else(|| Err(ended_early())),
            Reading::NotBegun => unreachable!("it has begun"),
        };
        self.given += 1;
        let (found, counts) = read?;
        for (&resolution_ms, &count) in &counts.0 {
            self.context.take_read(resolution_ms, count)?;
        }
        Ok(found)
    }

    fn begin_early(&mut self, is_for_windows: bool) {
        let (samples, bytes) = (self.samples_expected, self.bytes_at_once(self.series.len() as u64));
        let batch = match self.context.may_begin(Expected { samples, bytes }) {
            None => return,
            Some(Beginning::First) => self.batch_worth_threads(),
            Some(Beginning::Beside) => match self.batch_beside_others() {
                None => return,
                batch => batch,
            },
        };
        self.reading = self.begin(is_for_windows, batch);
    }

    /// With threads that read batches of so many series, if any.
    fn begin(&mut self, is_for_windows: bool, batch: Option<usize>) -> Reading {
        let reads = match &self.tiers {
            None => self.reads_of_samples(),
            Some(tiers) if is_for_windows => Reads::Buckets(tiers.plan.clone(), self.walk.take()),
            Some(tiers) => Reads::Last(tiers.plan.clone(), self.newest.take()),
        };
        let (budget, snapshot) = (self.context.budget.clone(), self.context.snapshot().clone());
        let series = self.series.clone();
        let reader = move || SeriesReader::new(&budget, &snapshot, &series, reads.clone());
        let Some(batch) = batch else { return Reading::Here(Box::new(reader())) };
        let ahead = ReadAhead::start(self.series.len(), batch, {
            let reader = reader.clone();
            move || {
                let mut reader = reader();
                Box::new(move |at| reader.read(at))
            }
        });
        ahead.map_or_else(|| Reading::Here(Box::new(reader())), Reading::Ahead)
    }

    fn reads_of_samples(&mut self) -> Reads {
        // Whether there was a reset tells the sample before.
        match self.newest.take_if(|newest| newest.times.len() == 1 && !self.tells_resets) {
            Some(newest) => Reads::Newest(self.range, newest),
            None => Reads::Sent(self.range, self.steps_of_samples()),
        }
    }

    fn steps_of_samples(&mut self) -> Option<SampleSteps> {
        let tells_resets = self.tells_resets;
        let newest = self.newest.take().map(|newest| SampleSteps::Newest(newest, tells_resets));
        newest.or_else(|| Some(SampleSteps::Windows(self.windows.take()?, tells_resets)))
    }

    /// Of how many series the batches are that threads read: None if there is little to read, or what threads may hold at
    /// once cannot be paid for.
    fn batch_worth_threads(&mut self) -> Option<usize> {
        let (count, samples) = (self.series.len() as u64, self.samples_expected);
        if thread_count() == 1 || samples < SAMPLES_MIN || count < 2 * thread_count() as u64 {
            return None;
        }
        if !self.context.budget.may_use_threads() {
            return None;
        }
        let batch = (BATCH_SAMPLES * count / samples).clamp(1, count.div_ceil(2 * thread_count() as u64));
        self.pay_for(batch)
    }

    /// The same where threads read this selector while others read other ones.
    fn batch_beside_others(&mut self) -> Option<usize> {
        let (count, samples) = (self.series.len() as u64, self.samples_expected);
        if thread_count() == 1 || samples == 0 || !self.context.budget.may_use_threads() {
            return None;
        }
        self.pay_for((BATCH_SAMPLES * count / samples).clamp(1, count))
    }

    /// Pays for what threads hold at once of such batches.
    fn pay_for(&mut self, batch: u64) -> Option<usize> {
        let waiting = (self.series.len() as u64).min(batch * in_flight_max() as u64);
        self.held.push(self.context.hold(self.bytes_at_once(waiting)).ok()?);
        Some(batch as usize)
    }

    /// What threads hold at once if so many series wait.
    fn bytes_at_once(&self, waiting: u64) -> u64 {
        let largest = self.largest_expected.saturating_mul(BYTES_PER_SAMPLE);
        // Rows wait, or what they would be made of.
        let waits = if self.row_bytes > 0 { self.row_bytes } else { largest };
        waits.saturating_mul(waiting).saturating_add(largest.saturating_mul(thread_count() as u64))
    }
}

/// What is read at a time.
const BATCH_SAMPLES: u64 = 50_000;

/// Time and value, or what is known of a bucket.
const BYTES_PER_SAMPLE: u64 = 48;

fn ended_early() -> QueryError {
    QueryError::Internal("a thread that reads series ended early".into())
}

impl Context<'_> {
    /// Tells in what an answer falls short, or refuses to give it.
    fn fall_short(&self, shortfall: Shortfall, position: PositionRange) -> Result<(), QueryError> {
        if self.query.strict {
            return Err(QueryError::Execution(format!(
                "not exact, as strict=1 asks: {}",
                shortfall.message()
            )));
        }
        self.note(Note::FallsShort(shortfall), position);
        Ok(())
    }
}
