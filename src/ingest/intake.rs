//! One request on its way in: what it resolved, what it writes, what of it was refused.

use crate::model::{Exemplar, Histogram, Labels, MetricMetadata, Timestamp};
use crate::storage::metrics::{
    DeltaHistogramRow, DeltaRow, ExemplarRow, HistogramRow, MetricBatch, MetricRows, SeriesRef, StartRow,
};
use crate::storage::{Busy, Completion, Store};

use super::admission::{Reason, Rejection, Window, admit_histogram};
use super::refusals::Refusals;
use super::series_cache::{Lookup, Place, Verdict};
use super::{Options, Outcome, Reach};

// An empty histogram is ten bytes on the wire and more than two hundred here; honest ones grow up to eightfold.
const HISTOGRAM_GROWTH_MAX: usize = 16;

/// A series that may be written to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admitted {
    series: SeriesRef,
    place: Place,
}

pub(super) struct Intake<'a> {
    pub options: &'a Options,
    store: &'a Store,
    now: Timestamp,
    window: Window,
    /// By the hash of a series' spelling.
    pub series: Lookup<'a>,
    /// By the hash of all that is told of a metric family.
    pub families: Lookup<'a>,
    last_family: Option<u128>,
    batch: MetricBatch,
    /// What the histograms of this request may still take.
    histogram_bytes_left: usize,
    pub outcome: Outcome,
    pub refusals: Refusals,
}

impl<'a> Intake<'a> {
    pub fn new(
        options: &'a Options,
        store: &'a Store,
        series: Lookup<'a>,
        families: Lookup<'a>,
        reach: Reach,
        now: Timestamp,
    ) -> Intake<'a> {
        let behind_max_ms = match reach {
            Reach::Live => options.behind_max_ms.metrics,
            Reach::Backfill => options.backfill_age_ms,
        };
        Intake {
            options,
            store,
            now,
            window: Window::new(now, behind_max_ms, options.ahead_max_ms),
            batch: MetricBatch::new(store.shard_count(), series.epoch()),
            histogram_bytes_left: options.decoded_bytes_max.saturating_mul(HISTOGRAM_GROWTH_MAX),
            series,
            families,
            last_family: None,
            outcome: Outcome::default(),
            refusals: Refusals::default(),
        }
    }

    /// The series with this spelling; `labels` is called only if the spelling is new, or was refused and the
    /// sender is still to be told why.
    #[inline]
    pub fn resolve(
        &mut self,
        spelling: u128,
        labels: impl FnOnce(&Options) -> Result<Labels, Rejection>,
    ) -> Result<Admitted, Rejection> {
        match self.series.get(spelling) {
            Some((place, Verdict::Series(series))) => Ok(Admitted { series, place }),
            Some((_, Verdict::Refused(reason))) => Err(self.refused_again(reason, labels)),
            None => self.resolve_new(spelling, labels),
        }
    }

    fn refused_again(
        &self,
        reason: Reason,
        labels: impl FnOnce(&Options) -> Result<Labels, Rejection>,
    ) -> Rejection {
        match self.refusals.are_to_be_told().then(|| labels(self.options)) {
            Some(Err(rejection)) => rejection,
            _ => Rejection::new(reason, String::new()),
        }
    }

    fn resolve_new(
        &mut self,
        spelling: u128,
        labels: impl FnOnce(&Options) -> Result<Labels, Rejection>,
    ) -> Result<Admitted, Rejection> {
        let resolved = labels(self.options)
            .and_then(|labels| self.store.resolve(&labels, self.now).map_err(Rejection::from));
        match resolved {
            Ok(series) => {
                Ok(Admitted { series, place: self.series.missed(spelling, Verdict::Series(series)) })
            }
            Err(rejection) => {
                if !rejection.reason.passes_by_waiting() {
                    self.series.missed(spelling, Verdict::Refused(rejection.reason));
                }
                Err(rejection)
            }
        }
    }

    #[inline]
    pub fn sample(&mut self, to: Admitted, timestamp: Timestamp, value: f64) -> Result<(), Rejection> {
        self.window.admit(timestamp)?;
        self.batch.sample(to.series, timestamp, value);
        self.outcome.samples += 1;
        Ok(())
    }

    pub fn histogram(
        &mut self,
        to: Admitted,
        timestamp: Timestamp,
        histogram: Box<Histogram>,
    ) -> Result<(), Rejection> {
        self.admit_histogram(timestamp, &histogram)?;
        let id = to.series.id;
        self.rows(to).histograms.push(HistogramRow { id, timestamp, histogram });
        self.outcome.histograms += 1;
        Ok(())
    }

    /// What a series grew by over `(start, timestamp]`.
    pub fn delta(
        &mut self,
        to: Admitted,
        start: Timestamp,
        timestamp: Timestamp,
        delta: f64,
    ) -> Result<(), Rejection> {
        self.window.admit(timestamp)?;
        let id = to.series.id;
        self.rows(to).deltas.push(DeltaRow { id, start, timestamp, delta });
        self.outcome.samples += 1;
        Ok(())
    }

    pub fn delta_histogram(
        &mut self,
        to: Admitted,
        start: Timestamp,
        timestamp: Timestamp,
        delta: Box<Histogram>,
    ) -> Result<(), Rejection> {
        self.admit_histogram(timestamp, &delta)?;
        let id = to.series.id;
        self.rows(to).delta_histograms.push(DeltaHistogramRow { id, start, timestamp, delta });
        self.outcome.histograms += 1;
        Ok(())
    }

    fn admit_histogram(&mut self, timestamp: Timestamp, histogram: &Histogram) -> Result<(), Rejection> {
        self.window.admit(timestamp)?;
        admit_histogram(histogram, self.options)?;
        let spans = histogram.positive_spans.len() + histogram.negative_spans.len();
        let floats = histogram.positive_buckets.len()
            + histogram.negative_buckets.len()
            + histogram.custom_bounds.len();
        let bytes = size_of::<HistogramRow>() + size_of::<Histogram>() + 8 * (spans + floats);
        self.histogram_bytes_left = self.histogram_bytes_left.checked_sub(bytes).ok_or_else(|| {
            let message = "the request's histograms take too much memory (--limits.max-decoded-bytes)";
            Rejection::new(Reason::DecodedSize, message)
        })?;
        Ok(())
    }

    /// From `timestamp` on the series counts since `start`; told to the store once.
    #[inline]
    pub fn start(&mut self, of: Admitted, timestamp: Timestamp, start: Timestamp) {
        if start > 0 && start <= timestamp && self.series.is_new_start(of.place, start) {
            let id = of.series.id;
            self.rows(of).starts.push(StartRow { id, timestamp, start });
        }
    }

    pub fn exemplar(&mut self, to: Admitted, exemplar: Exemplar) -> Result<(), Rejection> {
        self.window.admit(exemplar.timestamp)?;
        let id = to.series.id;
        self.rows(to).exemplars.push(ExemplarRow { id, exemplar });
        self.outcome.exemplars += 1;
        Ok(())
    }

    /// Tells the store of a metric family, unless it was told the same lately; `identity` is the hash of it all.
    pub fn metadata(&mut self, identity: u128, told: impl FnOnce() -> Option<(String, MetricMetadata)>) {
        // A family's series come side by side, each telling the same.
        if self.last_family == Some(identity) {
            return;
        }
        self.last_family = Some(identity);
        if self.families.get(identity).is_some() {
            return;
        }
        // Any shard may hold it, but one family should have one.
        let shard = (identity % self.batch.shards.len() as u128) as u32;
        self.families.missed(identity, Verdict::Series(SeriesRef { shard, id: 0 }));
        self.batch.shards[shard as usize].metadata.extend(told());
    }

    /// Counts `count` samples (or the like) as refused.
    pub fn refuse(&mut self, rejection: Rejection, count: u64) {
        self.refusals.refuse(rejection, count);
    }

    /// As [`Intake::refuse`] for what is only told by the way: it does not count as rejected.
    pub fn note(&mut self, rejection: Rejection, count: u64) {
        self.refusals.note(rejection, count);
    }

    /// Queues what was admitted. On `Ok`, `done` is called once.
    pub fn append(&mut self, done: Completion) -> Result<(), Busy> {
        self.refusals.tell(&mut self.outcome);
        let batch = std::mem::replace(&mut self.batch, MetricBatch { series_epoch: 0, shards: Vec::new() });
        let appended = match batch.is_empty() {
            true => {
                done(Ok(()));
                Ok(())
            }
            false => self.store.append(batch, done),
        };
        match appended {
            Ok(()) => {
                self.series.commit();
                self.families.commit();
            }
            Err(_) => self.series.commit_verdicts(),
        }
        appended
    }

    fn rows(&mut self, of: Admitted) -> &mut MetricRows {
        &mut self.batch.shards[of.series.shard as usize]
    }
}
