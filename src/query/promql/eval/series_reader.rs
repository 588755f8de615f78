//! What a selector makes of one series after the other: its samples, its buckets, or at once the values of all steps.
//! Holds all it needs, so that a thread of its own can do it.

use std::mem::take;
use std::sync::Arc;

use crate::model::rollup::Columns;
use crate::model::{Labels, TimeRange};
use crate::query::buckets::Buckets;
use crate::query::budget::Budget;
use crate::query::{QueryError, settled};
use crate::storage::metrics::{MetricsSnapshot, ReadPlan, SampleBuffer, Series, TierCounts};

use super::float_walk::{FilledSteps, FloatWalk};
use super::newest_walk::NewestWalk;
use super::sample_windows::SampleWindows;
use super::select::{drop_stale, tell_resets};

pub struct SeriesReader {
    source: Source,
    reads: Reads,
    /// For the next series.
    samples: SampleBuffer,
    buckets: Box<Buckets>,
}

/// Where it is read from.
struct Source {
    budget: Budget,
    snapshot: Arc<MetricsSnapshot>,
    series: Arc<[Series]>,
}

/// What is read.
#[derive(Clone)]
pub enum Reads {
    /// Samples as sent; if that is asked for, what steps make of them.
    Sent(TimeRange, Option<SampleSteps>),
    /// What one step makes of the newest sample.
    Newest(TimeRange, NewestWalk),
    /// The last sample of each bucket; if that is asked for, the newest float at each step.
    Last(ReadPlan, Option<NewestWalk>),
    /// Buckets; what floats alone are in goes through the windows, if there are some.
    Buckets(ReadPlan, Option<FloatWalk>),
}

/// What steps make of the samples of a series.
#[derive(Clone)]
pub enum SampleSteps {
    /// The newest of each step; histograms may have to tell resets, see [`Context::telling_resets`].
    ///
    /// [`Context::telling_resets`]: super::context::Context::telling_resets
    Newest(NewestWalk, bool),
    /// A function over the window of each step; the same of histograms.
    Windows(Box<SampleWindows>, bool),
}

/// What was found of one series.
pub enum Found {
    /// All samples.
    Sent(SampleBuffer),
    /// The last sample of each bucket.
    LastSamples(SampleBuffer),
    /// The same, since a column that was wanted is missing.
    LastSamplesOnly(SampleBuffer),
    Buckets(Box<Buckets>),
    Steps(FilledSteps),
}

/// What was found, and how many samples and buckets were read for it.
pub type Read = Result<(Found, TierCounts), QueryError>;

impl SeriesReader {
    pub fn new(
        budget: &Budget,
        snapshot: &Arc<MetricsSnapshot>,
        series: &Arc<[Series]>,
        reads: Reads,
    ) -> SeriesReader {
        let (samples, buckets) = Default::default();
        let (budget, snapshot, series) = (budget.clone(), snapshot.clone(), series.clone());
        SeriesReader { source: Source { budget, snapshot, series }, reads, samples, buckets }
    }

    /// Takes what was found of an earlier series and is not needed any more, so that the next one allocates nothing.
    pub fn reuse(&mut self, samples: SampleBuffer) {
        // Where steps are made of them, the samples never left.
        if samples.floats.capacity() > self.samples.floats.capacity() {
            self.samples = samples;
        }
    }

    pub fn reuse_buckets(&mut self, buckets: Box<Buckets>) {
        self.buckets = buckets;
    }

    /// Reads the series with this number.
    pub fn read(&mut self, at: usize) -> Read {
        let SeriesReader { source, reads, samples, buckets } = self;
        source.budget.check()?;
        match reads {
            Reads::Sent(range, steps) => source.read_sent(at, *range, steps.as_mut(), samples),
            Reads::Newest(range, newest) => {
                let read = source.snapshot.read_newest(&source.series[at], *range, samples);
                settled(read, &source.budget)?;
                Ok((Found::Steps(newest.fill_of_samples(samples)), counted(samples)))
            }
            Reads::Last(plan, newest) => {
                let counts = source.read_buckets(at, plan, buckets, samples)?;
                if let Some(newest) = newest.as_mut().filter(|_| buckets.histograms.is_empty()) {
                    return Ok((Found::Steps(newest.fill(&buckets.floats)), counts));
                }
                buckets.put_last_samples(samples);
                Ok((Found::LastSamples(take(samples)), counts))
            }
            Reads::Buckets(plan, walk) => source.read_states(at, plan, walk.as_mut(), buckets, samples),
        }
    }
}

impl Source {
    fn read_sent(
        &self,
        at: usize,
        range: TimeRange,
        steps: Option<&mut SampleSteps>,
        samples: &mut SampleBuffer,
    ) -> Read {
        let series = &self.series[at];
        settled(self.snapshot.read(series, range, samples), &self.budget)?;
        let counts = counted(samples);
        let found = match steps {
            None => Found::Sent(take(samples)),
            Some(steps) => Found::Steps(steps.fill(samples, &series.labels, &self.budget)?),
        };
        Ok((found, counts))
    }

    fn read_states(
        &self,
        at: usize,
        plan: &ReadPlan,
        walk: Option<&mut FloatWalk>,
        buckets: &mut Box<Buckets>,
        samples: &mut SampleBuffer,
    ) -> Read {
        let mut counts = self.read_buckets(at, plan, buckets, samples)?;
        if !buckets.has().contains(plan.wanted) {
            let last = ReadPlan { wanted: Columns::LAST, ..plan.clone() };
            counts.add_all(&self.read_buckets(at, &last, buckets, samples)?);
            buckets.put_last_samples(samples);
            return Ok((Found::LastSamplesOnly(take(samples)), counts));
        }
        let found = match walk {
            Some(walk) if buckets.histograms.is_empty() => {
                Found::Steps(walk.fill(&buckets.floats, &self.budget)?)
            }
            _ => Found::Buckets(take(buckets)),
        };
        Ok((found, counts))
    }

    fn read_buckets(
        &self,
        at: usize,
        plan: &ReadPlan,
        to: &mut Buckets,
        samples: &mut SampleBuffer,
    ) -> Result<TierCounts, QueryError> {
        let (series, snapshot) = (&self.series[at], &self.snapshot);
        settled(
            snapshot.read_buckets(series, plan, &mut to.floats, &mut to.histograms, samples),
            &self.budget,
        )
    }
}

impl SampleSteps {
    fn fill(
        &mut self,
        samples: &mut SampleBuffer,
        labels: &Labels,
        budget: &Budget,
    ) -> Result<FilledSteps, QueryError> {
        let (SampleSteps::Newest(_, tells_resets) | SampleSteps::Windows(_, tells_resets)) = *self;
        if matches!(self, SampleSteps::Windows(..)) {
            drop_stale(samples);
        }
        if tells_resets {
            tell_resets(&mut samples.histograms);
        }
        match self {
            SampleSteps::Newest(newest, _) => Ok(newest.fill_of_samples(samples)),
            SampleSteps::Windows(windows, _) => windows.fill(samples, labels.metric_name(), budget),
        }
    }
}

fn counted(samples: &SampleBuffer) -> TierCounts {
    let mut counts = TierCounts::default();
    counts.add(0, (samples.floats.len() + samples.histograms.len()) as u64);
    counts
}
