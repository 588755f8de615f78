//! Which resolutions there are of which days, and reading them together: samples as sent, and rollups of them, as
//! buckets of one series.
//!
//! A day is read from rollups only if they say all that is known of it. What came late for a day whose samples were let
//! go is united with its finest rollup until that is made anew.

use std::collections::{BTreeMap, BTreeSet};

use super::found::Found;
use super::parts::Part;
use super::sample_buffer::SampleBuffer;
use super::snapshot::{MetricsSnapshot, Series};
use crate::model::rollup::{Columns, FloatBuckets, HistogramBuckets};
use crate::model::time::DAY;
use crate::model::{Matcher, TimeRange, Timestamp};
use crate::storage::errors::ReadError;
use crate::storage::live::LiveSegment;
use crate::storage::partition::{partition_of, partition_range};
use crate::storage::signal::Signal;

/// A span of time and what of it can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub range: TimeRange,
    /// In ms, finest first; 0 is as sent.
    pub resolutions: Vec<i64>,
}

/// A span of time that is read in one resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Of a rollup, multiples of its resolution.
    pub range: TimeRange,
    pub resolution: i64,
    /// For series that lack a wanted column in `resolution`.
    pub fallback: Option<i64>,
}

/// How a selector is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadPlan {
    /// In order of time; they do not overlap.
    pub readings: Vec<Reading>,
    pub wanted: Columns,
}

/// How many samples (resolution 0) and states of each other resolution were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TierCounts(pub BTreeMap<i64, u64>);

impl TierCounts {
    pub fn add(&mut self, resolution: i64, count: u64) {
        if count > 0 {
            *self.0.entry(resolution).or_default() += count;
        }
    }

    pub fn add_all(&mut self, other: &TierCounts) {
        other.0.iter().for_each(|(&resolution, &count)| self.add(resolution, count));
    }
}

/// The buckets of one series.
struct Buckets {
    floats: FloatBuckets,
    histograms: HistogramBuckets,
}

impl Buckets {
    fn new(has: Columns) -> Buckets {
        Buckets { floats: FloatBuckets::new(has), histograms: HistogramBuckets::new(has) }
    }

    /// Appends what a segment of rollups has of a series.
    fn read(
        &mut self,
        segment: &LiveSegment,
        ordinal: u32,
        range: TimeRange,
        wanted: Columns,
    ) -> Result<(), ReadError> {
        let segment = segment.visible()?;
        Ok(segment.read_buckets(ordinal, range, wanted, &mut self.floats, &mut self.histograms)?)
    }

    fn clear(&mut self, has: Columns) {
        self.floats.clear(has);
        self.histograms.clear(has);
    }

    /// Appends buckets that lie behind all buckets here.
    fn extend(&mut self, later: &Buckets) {
        if !later.floats.is_empty() {
            self.floats.extend(&later.floats);
        }
        if !later.histograms.is_empty() {
            self.histograms.extend(&later.histograms);
        }
    }

    fn last_end(&self) -> Timestamp {
        let last = |ends: &[Timestamp]| ends.last().copied().unwrap_or(Timestamp::MIN);
        last(&self.floats.ends).max(last(&self.histograms.ends))
    }

    fn count(&self) -> u64 {
        (self.floats.len() + self.histograms.len()) as u64
    }

    /// True if a column is missing that a finer resolution may have. Histograms have no extremes in any.
    fn lacks(&self, wanted: Columns) -> bool {
        const EXTREMES: Columns = Columns::MIN.union(Columns::MAX);
        let lacks_floats = !self.floats.is_empty() && !self.floats.has.contains(wanted);
        let wanted = wanted.difference(EXTREMES);
        lacks_floats || (!self.histograms.is_empty() && !self.histograms.has.contains(wanted))
    }
}

impl MetricsSnapshot {
    /// What can be read of each part of `range`, in order of time; together they are all of it.
    pub fn stretches(&self, range: TimeRange) -> Vec<Stretch> {
        let mut stretches: Vec<Stretch> = Vec::new();
        for (day, resolutions) in self.days(range) {
            match stretches.last_mut() {
                Some(last) if last.resolutions == resolutions => {}
                Some(last) => {
                    last.range.until = partition_range(day).after;
                    let range = TimeRange { after: last.range.until, until: range.until };
                    stretches.push(Stretch { range, resolutions });
                }
                None => stretches.push(Stretch { range, resolutions }),
            }
        }
        if stretches.is_empty() {
            stretches.push(Stretch { range, resolutions: vec![0] });
        }
        stretches
    }

    /// The days of which there is anything, and the resolutions they can be read in.
    fn days(&self, range: TimeRange) -> BTreeMap<Timestamp, Vec<i64>> {
        let mut rolled = BTreeMap::<Timestamp, BTreeSet<i64>>::new();
        for (_, segment) in self.segments_in(range).filter(|(_, segment)| segment.is_rollup()) {
            for day in days_of(segment.time_range().intersect(&range)) {
                rolled.entry(day).or_default().insert(segment.resolution_ms());
            }
        }
        if rolled.is_empty() {
            return BTreeMap::new();
        }
        let mut raw = self.raw_days(range);
        for day in rolled.keys() {
            raw.entry(*day).or_insert(true);
        }
        let floor = self.view.floor(0);
        let resolutions = |(day, is_rolled): (Timestamp, bool)| {
            let of_day = rolled.get(&day).into_iter().flatten().copied();
            let mut kept: Vec<i64> = of_day.filter(|&of| day > self.view.floor(of)).collect();
            if day > floor {
                // Of a day whose samples are all here, rollups of earlier options may be only a part.
                let configured = self.view.rollups.resolutions.iter().copied().filter(|_| is_rolled);
                kept = std::iter::once(0).chain(configured.filter(|of| kept.contains(of))).collect();
            } else if kept.is_empty() {
                kept.push(0);
            } else if !is_rolled {
                kept.truncate(1);
            }
            (day, kept)
        };
        raw.into_iter().map(resolutions).collect()
    }

    /// The days of which there are samples, and whether all of them are in rollups.
    fn raw_days(&self, range: TimeRange) -> BTreeMap<Timestamp, bool> {
        let mut days = BTreeMap::new();
        for (_, segment) in self.view.segments_of(Signal::Metrics) {
            let day = segment.entry.partition;
            if !segment.is_rollup() && partition_range(day).overlaps(&range) {
                *days.entry(day).or_insert(true) &= self.view.is_rolled(segment);
            }
        }
        for head in self.view.generations.iter().flat_map(|generation| &generation.metrics) {
            let unsealed = head.partitions().into_iter();
            days.extend(
                unsealed.filter(|day| partition_range(*day).overlaps(&range)).map(|day| (day, false)),
            );
        }
        days
    }

    /// The series that all `matchers` let through and that may have something in the readings of a plan, each once.
    pub fn select_planned(&self, matchers: &[Matcher], plan: &ReadPlan) -> Result<Vec<Series>, ReadError> {
        let (mut found, lookout) = (Found::default(), self.lookout());
        let range = TimeRange::around(plan.readings.iter().map(|reading| reading.range));
        for (index, segment) in self.segments_in(range) {
            let ranges = |serves: &dyn Fn(&Reading) -> bool| {
                plan.readings.iter().filter(|r| serves(r)).map(|r| r.range).collect::<Vec<_>>()
            };
            let counted = ranges(&|reading| self.is_part(segment, reading, reading.resolution));
            let others = ranges(&|reading| {
                reading.fallback.is_some_and(|fallback| self.is_part(segment, reading, fallback))
            });
            self.or_warn(found.add_segment(segment, index, matchers, (&counted, &others), &lookout));
        }
        let in_heads: Vec<TimeRange> = plan.readings.iter().map(|r| self.range_of_samples(r)).collect();
        found.add_heads(self, matchers, &in_heads, &lookout);
        Ok(found.series)
    }

    /// Whether a segment is read for a reading in a resolution.
    fn is_part(&self, segment: &LiveSegment, reading: &Reading, resolution: i64) -> bool {
        segment.time_range().overlaps(&reading.range)
            && (segment.resolution_ms() == resolution || self.is_stray(segment))
    }

    /// Whether it holds samples that came after those of their day had been let go: no rollup knows them yet.
    fn is_stray(&self, segment: &LiveSegment) -> bool {
        !segment.is_rollup() && segment.entry.partition <= self.view.floor(0)
    }

    /// Where samples are looked for: where rollups are read, what came too late for them.
    fn range_of_samples(&self, reading: &Reading) -> TimeRange {
        let until = if reading.resolution == 0 { Timestamp::MAX } else { self.view.floor(0) };
        TimeRange { until: reading.range.until.min(until), ..reading.range }
    }

    /// Replaces the content of both by what there is of a series, samples as buckets of one. A column that some of them
    /// lack is dropped. `samples` lends its memory.
    pub fn read_buckets(
        &self,
        series: &Series,
        plan: &ReadPlan,
        floats: &mut FloatBuckets,
        histograms: &mut HistogramBuckets,
        samples: &mut SampleBuffer,
    ) -> Result<TierCounts, ReadError> {
        let mut all = Buckets { floats: std::mem::take(floats), histograms: std::mem::take(histograms) };
        all.clear(plan.wanted);
        let mut counts = TierCounts::default();
        for reading in &plan.readings {
            let before = all.count();
            self.read_one(series, reading, reading.resolution, plan.wanted, &mut all, samples);
            counts.add(reading.resolution, all.count() - before);
        }
        // A column that one reading lacks is dropped of all of them.
        if all.lacks(plan.wanted) && plan.readings.iter().any(|reading| reading.fallback.is_some()) {
            all.clear(plan.wanted);
            counts = TierCounts::default();
            for reading in &plan.readings {
                let mut found = Buckets::new(plan.wanted);
                counts.add_all(&self.read_reading(series, reading, plan.wanted, &mut found, samples));
                all.extend(&found);
            }
        }
        (*floats, *histograms) = (all.floats, all.histograms);
        Ok(counts)
    }

    /// Replaces the content of `to` by what there is in a reading: in its finer resolution, if the other lacks a column.
    fn read_reading(
        &self,
        series: &Series,
        reading: &Reading,
        wanted: Columns,
        to: &mut Buckets,
        samples: &mut SampleBuffer,
    ) -> TierCounts {
        let mut counts = TierCounts::default();
        to.clear(wanted);
        self.read_one(series, reading, reading.resolution, wanted, to, samples);
        counts.add(reading.resolution, to.count());
        if let Some(finer) = reading.fallback.filter(|_| to.lacks(wanted)) {
            to.clear(wanted);
            self.read_one(series, reading, finer, wanted, to, samples);
            counts.add(finer, to.count());
        }
        counts
    }

    /// Appends what there is in a reading; what is there lies before it.
    fn read_one(
        &self,
        series: &Series,
        reading: &Reading,
        resolution: i64,
        wanted: Columns,
        to: &mut Buckets,
        samples: &mut SampleBuffer,
    ) {
        samples.clear();
        if resolution == 0 {
            self.read_samples(series, reading.range, |_| true, samples);
            to.floats.extend_samples(&samples.float_timestamps, &samples.floats);
            let histograms = samples.histogram_timestamps.iter().zip(&samples.histograms);
            histograms.for_each(|(&time, histogram)| to.histograms.push_sample(time, histogram));
            return;
        }
        let mut later = Buckets::new(wanted);
        for (segment, ordinal) in self.segments_of(series) {
            if segment.resolution_ms() != resolution || !segment.time_range().overlaps(&reading.range) {
                continue;
            }
            if to.last_end() < segment.entry.min_time.max(reading.range.after.saturating_add(1)) {
                self.or_warn(to.read(segment, ordinal, reading.range, wanted));
                continue;
            }
            later.clear(wanted);
            self.or_warn(later.read(segment, ordinal, reading.range, wanted));
            to.floats.replace_with(&later.floats);
            to.histograms.replace_with(&later.histograms);
        }
        let strays = self.range_of_samples(reading);
        self.read_samples(series, strays, |segment| self.is_stray(segment), samples);
        if !samples.is_empty() {
            later.clear(wanted);
            later.floats.fold(&samples.float_timestamps, &samples.floats, resolution);
            later.histograms.fold(&samples.histogram_timestamps, &samples.histograms, resolution);
            to.floats.unite_with(&later.floats);
            to.histograms.unite_with(&later.histograms);
        }
    }

    fn segments_of<'a>(&'a self, series: &'a Series) -> impl Iterator<Item = (&'a LiveSegment, u32)> {
        series.parts.iter().filter_map(|part| match *part {
            Part::Segment { index, ordinal } => Some((&*self.view.segments[index as usize], ordinal)),
            Part::Head { .. } => None,
        })
    }
}

/// The days that a range of times there are lies in.
fn days_of(range: TimeRange) -> impl Iterator<Item = Timestamp> {
    let (first, last) = (partition_of(range.after.saturating_add(1)), partition_of(range.until));
    (first..=last).step_by(DAY as usize)
}
