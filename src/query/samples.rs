//! Samples as they are stored, for who evaluates them elsewhere: remote read gets all of a range, federation the newest.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::buckets::Buckets;
use super::budget::HeldBytes;
use super::metrics::QueryKind;
use super::sorting::sort_within;
use super::{Budget, Querier, QueryError, SampleValue, VectorSample, settled};
use crate::model::metrics::is_stale;
use crate::model::rollup::Columns;
use crate::model::{Histogram, Labels, MatchOp, Matcher, TimeRange, Timestamp};
use crate::storage::ReadError;
use crate::storage::metrics::{MetricsSnapshot, ReadPlan, Reading, SampleBuffer, Series, Stretch};

impl Querier {
    /// Matchers that come one by one and not as text.
    pub fn matchers(
        &self,
        parts: impl IntoIterator<Item = (String, MatchOp, String)>,
    ) -> Result<Vec<Matcher>, QueryError> {
        let mut regexes_left = self.options.regexes_max;
        let mut matchers = Vec::new();
        for (name, op, value) in parts {
            if matches!(op, MatchOp::Regex | MatchOp::NotRegex) {
                let max = self.options.regexes_max;
                let refused =
                    || QueryError::BadData(format!("query has more than {max} regular expressions"));
                regexes_left = regexes_left.checked_sub(1).ok_or_else(refused)?;
            }
            let matcher = match &self.parsing.regex_cache {
                Some(cache) => Matcher::cached(name, op, value, cache),
                None => Matcher::new(name, op, value),
            };
            matchers.push(matcher.map_err(|error| QueryError::BadData(error.to_string()))?);
        }
        Ok(matchers)
    }

    /// Hands over the samples of every series that has some in the range, stale markers included, in the order of
    /// labels, until that is broken off. One series at a time is held. Where only rollups are left, the last sample of
    /// each bucket.
    pub fn samples<B>(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        budget: &Budget,
        mut take: impl FnMut(&Labels, &SampleBuffer) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, QueryError> {
        self.metrics.observe(QueryKind::RemoteRead, budget, || {
            let snapshot = self.metrics_until_over(budget);
            let plan = plan(&snapshot, range);
            let series = match &plan {
                Some(plan) => select_planned(&snapshot, matchers, plan, budget)?,
                None => select(&snapshot, matchers, range, budget)?,
            };
            budget.expect_samples(series.iter().map(|series| series.sample_count_estimate).sum())?;
            let (mut samples, mut buckets) = (SampleBuffer::default(), Buckets::default());
            for series in &series {
                let _held = match &plan {
                    Some(plan) => read_planned(&snapshot, series, plan, budget, &mut buckets, &mut samples)?,
                    None => read(&snapshot, series, range, budget, &mut samples)?,
                };
                if !samples.is_empty()
                    && let ControlFlow::Break(reason) = take(&series.labels, &samples)
                {
                    return Ok(ControlFlow::Break(reason));
                }
            }
            tell_warnings(&snapshot);
            Ok(ControlFlow::Continue(()))
        })
    }

    /// The newest sample within the lookback of every series that some selector lets through, by name and then by
    /// labels. A series that ended is left out.
    pub fn newest(
        &self,
        selectors: &[Vec<Matcher>],
        now: Timestamp,
        budget: &Budget,
    ) -> Result<Vec<VectorSample>, QueryError> {
        self.metrics.observe(QueryKind::Federate, budget, || {
            let snapshot = self.metrics_until_over(budget);
            let range = TimeRange::closed(now.saturating_sub(self.options.lookback_ms), now);
            let mut found = Vec::new();
            for matchers in selectors {
                found.extend(select(&snapshot, matchers, range, budget)?);
            }
            let by_name = |a: &Series, b: &Series| {
                let names = a.labels.metric_name().cmp(b.labels.metric_name());
                names.then_with(|| a.labels.cmp(&b.labels))
            };
            found = sort_within(budget, found, &by_name)?;
            found.dedup_by(|a, b| a.labels == b.labels);
            let mut samples = SampleBuffer::default();
            let mut newest = Vec::new();
            for series in &found {
                let _held = read(&snapshot, series, range, budget, &mut samples)?;
                if let Some(sample) = last_sample(&series.labels, &samples) {
                    // Held until the answer is written.
                    budget.take_bytes((size_of::<VectorSample>() + series.labels.text_len()) as u64)?;
                    newest.push(sample);
                }
            }
            tell_warnings(&snapshot);
            Ok(newest)
        })
    }
}

/// The finest of what is kept; `None`: all of it as sent.
fn plan(snapshot: &MetricsSnapshot, range: TimeRange) -> Option<ReadPlan> {
    let stretches = snapshot.stretches(range);
    let finest = |stretch: &Stretch| {
        Some(Reading { range: stretch.range, resolution: *stretch.resolutions.first()?, fallback: None })
    };
    let readings: Vec<Reading> = stretches.iter().filter_map(finest).collect();
    let is_rolled = readings.iter().any(|reading| reading.resolution > 0);
    is_rolled.then_some(ReadPlan { readings, wanted: Columns::LAST })
}

fn select_planned(
    snapshot: &MetricsSnapshot,
    matchers: &[Matcher],
    plan: &ReadPlan,
    budget: &Budget,
) -> Result<Vec<Series>, QueryError> {
    in_order(snapshot.select_planned(matchers, plan), budget)
}

fn select(
    snapshot: &MetricsSnapshot,
    matchers: &[Matcher],
    range: TimeRange,
    budget: &Budget,
) -> Result<Vec<Series>, QueryError> {
    in_order(snapshot.select(matchers, range), budget)
}

fn in_order(selected: Result<Vec<Series>, ReadError>, budget: &Budget) -> Result<Vec<Series>, QueryError> {
    let series = settled(selected, budget)?;
    budget.take_series(series.len() as u64)?;
    // Held until the answer is written.
    let bytes = |series: &Series| size_of::<Series>() + series.labels.text_len();
    budget.take_bytes(series.iter().map(bytes).sum::<usize>() as u64)?;
    Ok(sort_within(budget, series, &|a, b| a.labels.cmp(&b.labels))?)
}

/// The memory of what was read is held until the answer is dropped.
fn read<'b>(
    snapshot: &MetricsSnapshot,
    series: &Series,
    range: TimeRange,
    budget: &'b Budget,
    samples: &mut SampleBuffer,
) -> Result<HeldBytes<'b>, QueryError> {
    budget.check()?;
    let read = snapshot.read(series, range, samples);
    read.map_err(|error| QueryError::Internal(error.to_string()))?;
    hold(samples, budget)
}

fn read_planned<'b>(
    snapshot: &MetricsSnapshot,
    series: &Series,
    plan: &ReadPlan,
    budget: &'b Budget,
    buckets: &mut Buckets,
    samples: &mut SampleBuffer,
) -> Result<HeldBytes<'b>, QueryError> {
    budget.check()?;
    let read = snapshot.read_buckets(series, plan, &mut buckets.floats, &mut buckets.histograms, samples);
    read.map_err(|error| QueryError::Internal(error.to_string()))?;
    buckets.put_last_samples(samples);
    hold(samples, budget)
}

fn hold<'b>(samples: &SampleBuffer, budget: &'b Budget) -> Result<HeldBytes<'b>, QueryError> {
    let count = (samples.floats.len() + samples.histograms.len()) as u64;
    budget.take_samples(count)?;
    let mut held = HeldBytes::none(budget);
    let buckets = samples.histograms.iter().map(|h| h.positive_buckets.len() + h.negative_buckets.len());
    let histogram_bytes: usize = buckets.map(|count| size_of::<Histogram>() + count * size_of::<f64>()).sum();
    held.grow(count * size_of::<(Timestamp, f64)>() as u64 + histogram_bytes as u64)?;
    Ok(held)
}

fn last_sample(labels: &Labels, samples: &SampleBuffer) -> Option<VectorSample> {
    let float = samples.float_timestamps.last().zip(samples.floats.last());
    let histogram = samples.histogram_timestamps.last().zip(samples.histograms.last());
    let (timestamp, value) = match (float, histogram) {
        (Some((&time, &value)), histogram) if histogram.is_none_or(|(other, _)| *other < time) => {
            (time, (!is_stale(value)).then_some(SampleValue::Float(value)))
        }
        (_, Some((&time, histogram))) => {
            (time, (!histogram.is_stale()).then(|| SampleValue::Histogram(Arc::clone(histogram))))
        }
        (_, None) => return None,
    };
    Some(VectorSample { labels: labels.clone(), timestamp, value: value? })
}

/// Neither protocol has a place for them.
fn tell_warnings(snapshot: &MetricsSnapshot) {
    for warning in snapshot.warnings() {
        tracing::warn!("an answer lacks samples: {warning}");
    }
}
