//! What a selector makes of one series after the other: its samples, its buckets, or at once the values of all steps.
//! Holds all it needs, so that a thread of its own can do it.

use std::mem::take;
use std::sync::Arc;

use crate::model::TimeRange;
use crate::model::rollup::Columns;
use crate::query::buckets::Buckets;
use crate::query::budget::Budget;
use crate::query::{QueryError, settled};
use crate::storage::metrics::{MetricsSnapshot, ReadPlan, SampleBuffer, Series, TierCounts};

use super::float_window::{FilledSteps, FloatWalk, NewestWalk};

pub struct SeriesReader {
    budget: Budget,
    snapshot: Arc<MetricsSnapshot>,
    series: Arc<[Series]>,
    reads: Reads,
    /// For the next series.
    samples: SampleBuffer,
    buckets: Box<Buckets>,
}

/// What is read.
#[derive(Clone)]
pub enum Reads {
    /// Samples as sent.
    Sent(TimeRange),
    /// The last sample of each bucket; if that is asked for, the newest float at each step.
    Last(ReadPlan, Option<NewestWalk>),
    /// Buckets; what floats alone are in goes through the windows, if there are some.
    Buckets(ReadPlan, Option<FloatWalk>),
}

/// What was found of one series.
pub enum Found {
    /// All samples; they count themselves.
    Sent(SampleBuffer),
    /// The last sample of each bucket.
    LastSamples(SampleBuffer),
    /// The same, since a column that was wanted is missing.
    LastSamplesOnly(SampleBuffer),
    Buckets(Box<Buckets>),
    Steps(FilledSteps),
}

/// What was found, and how many buckets were read for it.
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
        SeriesReader { budget, snapshot, series, reads, samples, buckets }
    }

    /// Takes what was found of an earlier series and is not needed any more, so that the next one allocates nothing.
    pub fn reuse(&mut self, samples: SampleBuffer) {
        self.samples = samples;
    }

    pub fn reuse_buckets(&mut self, buckets: Box<Buckets>) {
        self.buckets = buckets;
    }

    /// Reads the series with this number.
    pub fn read(&mut self, at: usize) -> Read {
        self.budget.check()?;
        let series = &self.series[at];
        let (plan, walk) = match &mut self.reads {
            Reads::Sent(range) => {
                settled(self.snapshot.read(series, *range, &mut self.samples), &self.budget)?;
                return Ok((Found::Sent(take(&mut self.samples)), TierCounts::default()));
            }
            Reads::Last(plan, newest) => {
                let counts = read_buckets(&self.snapshot, series, plan, &self.budget, &mut self.buckets)?;
                if let Some(newest) = newest.as_ref().filter(|_| self.buckets.histograms.is_empty()) {
                    return Ok((Found::Steps(newest.fill(&self.buckets.floats)), counts));
                }
                self.buckets.put_last_samples(&mut self.samples);
                return Ok((Found::LastSamples(take(&mut self.samples)), counts));
            }
            Reads::Buckets(plan, walk) => (plan, walk),
        };
        let mut counts = read_buckets(&self.snapshot, series, plan, &self.budget, &mut self.buckets)?;
        if !self.buckets.has().contains(plan.wanted) {
            let last = ReadPlan { wanted: Columns::LAST, ..plan.clone() };
            counts.add_all(&read_buckets(&self.snapshot, series, &last, &self.budget, &mut self.buckets)?);
            self.buckets.put_last_samples(&mut self.samples);
            return Ok((Found::LastSamplesOnly(take(&mut self.samples)), counts));
        }
        let found = match walk {
            Some(walk) if self.buckets.histograms.is_empty() => {
                Found::Steps(walk.fill(&self.buckets.floats, &self.budget)?)
            }
            _ => Found::Buckets(take(&mut self.buckets)),
        };
        Ok((found, counts))
    }
}

fn read_buckets(
    snapshot: &MetricsSnapshot,
    series: &Series,
    plan: &ReadPlan,
    budget: &Budget,
    to: &mut Buckets,
) -> Result<TierCounts, QueryError> {
    settled(snapshot.read_buckets(series, plan, &mut to.floats, &mut to.histograms), budget)
}
