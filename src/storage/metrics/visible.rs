//! What is to be seen of a segment: all its rows but those that deletions hide, or rules of retention let go of.
//!
//! Which series these concern is looked up once, when the segment is first read under them; where none concerns a
//! segment, reading it is reading it.

use std::borrow::Cow;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::SampleBuffer;
use super::segment_reader::{LookUp, MetricsSegment};
use crate::model::rollup::{Columns, FloatBuckets, HistogramBuckets};
use crate::model::{Exemplar, Lookout, Matcher, StopSign, TimeRange};
use crate::storage::expiry::Expiry;
use crate::storage::segment::SegmentError;
use crate::storage::tombstone::Tombstone;

/// A segment and what of it is hidden.
pub struct VisibleSegment {
    segment: Arc<MetricsSegment>,
    /// Those that hide something.
    hidden: Vec<Hidden>,
    /// Series of which nothing is left.
    gone: RoaringBitmap,
}

/// Why rows are hidden: a tombstone by its sequence number, or a rule by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    Deletion(u64),
    Expiry(usize),
}

/// What one of them hides.
struct Hidden {
    cause: Cause,
    series: RoaringBitmap,
    /// Times of rows, or ends of buckets; they do not overlap.
    times: Vec<TimeRange>,
}

impl VisibleSegment {
    /// All of it.
    pub fn whole(segment: Arc<MetricsSegment>) -> VisibleSegment {
        VisibleSegment { segment, hidden: Vec::new(), gone: RoaringBitmap::new() }
    }

    /// What is left of a segment by tombstones that came after it was written, and by rules.
    pub fn under(
        segment: Arc<MetricsSegment>,
        tombstones: &[Arc<Tombstone>],
        expiries: &[Arc<Expiry>],
    ) -> Result<VisibleSegment, SegmentError> {
        let mut visible = VisibleSegment::whole(segment);
        for tombstone in tombstones {
            let times = tombstone.hidden_ends(visible.segment.resolution_ms());
            let series = union(&visible.segment, &tombstone.selectors)?;
            visible.hide(Cause::Deletion(tombstone.seq), series, times)?;
        }
        for expiry in expiries {
            let times = vec![TimeRange { until: expiry.until, ..TimeRange::ALL }];
            let selected = union(&visible.segment, std::slice::from_ref(&expiry.matchers))?;
            let series = selected - union(&visible.segment, &expiry.except)?;
            visible.hide(Cause::Expiry(expiry.rule), series, times)?;
        }
        Ok(visible)
    }

    fn hide(
        &mut self,
        cause: Cause,
        selected: RoaringBitmap,
        times: Vec<TimeRange>,
    ) -> Result<(), SegmentError> {
        let series = concerned(&self.segment, selected, &times)?;
        if series.is_empty() {
            return Ok(());
        }
        let meta = self.segment.meta();
        let all = TimeRange::closed(meta.min_time, meta.max_time);
        if times.iter().any(|range| range.intersect(&all) == all) {
            self.gone |= &series;
        }
        self.hidden.push(Hidden { cause, series, times });
        Ok(())
    }

    /// Everything that is in the file.
    pub fn segment(&self) -> &Arc<MetricsSegment> {
        &self.segment
    }

    /// Whether anything is hidden.
    pub fn hides(&self) -> bool {
        !self.hidden.is_empty()
    }

    /// Whether this hides anything.
    pub fn is_under(&self, cause: Cause) -> bool {
        self.hidden.iter().any(|hidden| hidden.cause == cause)
    }

    /// The tombstones that do, by number.
    pub fn deletions(&self) -> impl Iterator<Item = u64> {
        self.hidden.iter().filter_map(|hidden| match hidden.cause {
            Cause::Deletion(seq) => Some(seq),
            Cause::Expiry(_) => None,
        })
    }

    /// The series that all matchers let through and of which something may be left.
    pub fn select(&self, matchers: &[Matcher], lookout: &Lookout<'_>) -> Result<RoaringBitmap, SegmentError> {
        let (found, left_out) = (self.segment.select(matchers, lookout)?, self.left_out());
        Ok(if left_out.is_empty() { found } else { found - &*left_out })
    }

    pub fn label_names(
        &self,
        matchers: &[Matcher],
        lookout: &Lookout<'_>,
    ) -> Result<Vec<String>, SegmentError> {
        let index = self.segment.index();
        match matchers {
            [] => index.label_names_without(&self.left_out(), lookout),
            _ => index.label_names_of(&self.select(matchers, lookout)?, lookout),
        }
    }

    pub fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        lookout: &Lookout<'_>,
    ) -> Result<Vec<String>, SegmentError> {
        let index = self.segment.index();
        match matchers {
            [] => index.label_values_without(name, &self.left_out(), lookout),
            _ => index.label_values_of(name, &self.select(matchers, lookout)?, lookout),
        }
    }

    /// Series that the index names, of which nothing was written or nothing is left. Who is absent is told by their blocks, too:
    /// where the list is damaged, their labels are listed and no sample is found, and the others are not touched.
    pub(super) fn left_out(&self) -> Cow<'_, RoaringBitmap> {
        match self.segment.absent() {
            Ok(absent) if self.gone.is_empty() => Cow::Borrowed(absent),
            Ok(absent) if !absent.is_empty() => Cow::Owned(absent | &self.gone),
            _ => Cow::Borrowed(&self.gone),
        }
    }

    /// As [`LookUp::sample_count`], of what is visible.
    pub fn sample_count(
        &self,
        look_up: &mut LookUp<'_>,
        ordinal: u32,
        range: TimeRange,
    ) -> Result<u64, SegmentError> {
        if !self.hides() {
            return look_up.sample_count(ordinal, range);
        }
        let parts = self.parts(ordinal, range).into_iter();
        parts.map(|part| look_up.sample_count(ordinal, part)).sum()
    }

    /// Whether any of its samples, or buckets, may lie in the range.
    pub fn has_samples_in(
        &self,
        look_up: &mut LookUp<'_>,
        ordinal: u32,
        range: TimeRange,
    ) -> Result<bool, SegmentError> {
        if !self.hides() {
            return look_up.has_samples_in(ordinal, range);
        }
        Ok(self.sample_count(look_up, ordinal, range)? > 0)
    }

    /// Whether nothing is hidden, and all there is lies in the range.
    pub fn lies_in(&self, range: TimeRange) -> bool {
        let meta = self.segment.meta();
        let all = TimeRange::closed(meta.min_time, meta.max_time);
        !self.hides() && range.intersect(&all) == all
    }

    /// As [`MetricsSegment::read`].
    pub fn read(
        &self,
        ordinal: u32,
        range: TimeRange,
        samples: &mut SampleBuffer,
    ) -> Result<(), SegmentError> {
        self.in_parts(ordinal, range, |part| self.segment.read(ordinal, part, samples))
    }

    /// The same by what looks up series of the segment.
    pub fn read_by(
        &self,
        look_up: &mut LookUp<'_>,
        ordinal: u32,
        range: TimeRange,
        samples: &mut SampleBuffer,
    ) -> Result<(), SegmentError> {
        self.in_parts(ordinal, range, |part| look_up.read(ordinal, part, samples))
    }

    /// As [`MetricsSegment::read_newest`].
    pub fn read_newest(
        &self,
        ordinal: u32,
        range: TimeRange,
        samples: &mut SampleBuffer,
    ) -> Result<(), SegmentError> {
        self.in_parts(ordinal, range, |part| self.segment.read_newest(ordinal, part, samples))
    }

    /// As [`MetricsSegment::read_buckets`].
    pub fn read_buckets(
        &self,
        ordinal: u32,
        range: TimeRange,
        wanted: Columns,
        floats: &mut FloatBuckets,
        histograms: &mut HistogramBuckets,
    ) -> Result<(), SegmentError> {
        self.in_parts(ordinal, range, |part| {
            self.segment.read_buckets(ordinal, part, wanted, floats, histograms)
        })
    }

    /// As [`MetricsSegment::exemplars`].
    pub fn exemplars(&self, ordinal: u32, range: TimeRange) -> Result<Vec<Exemplar>, SegmentError> {
        let mut exemplars = self.segment.exemplars(ordinal, range)?;
        if self.hides() && !exemplars.is_empty() {
            let parts = self.parts(ordinal, range);
            exemplars.retain(|exemplar| parts.iter().any(|part| part.contains(exemplar.timestamp)));
        }
        Ok(exemplars)
    }

    /// Reads what of `range` is to be seen of a series, in order of time. What is damaged costs no other part, and the first damage
    /// is the answer.
    fn in_parts(
        &self,
        ordinal: u32,
        range: TimeRange,
        mut read: impl FnMut(TimeRange) -> Result<(), SegmentError>,
    ) -> Result<(), SegmentError> {
        if !self.hides() {
            return read(range);
        }
        let mut result = Ok(());
        for part in self.parts(ordinal, range) {
            result = result.and(read(part));
        }
        result
    }

    /// What of `range` is to be seen of a series, in order of time.
    fn parts(&self, ordinal: u32, range: TimeRange) -> Vec<TimeRange> {
        let mut parts = vec![range];
        for hidden in self.hidden.iter().filter(|hidden| hidden.series.contains(ordinal)) {
            for gap in &hidden.times {
                parts = parts.into_iter().flat_map(|part| without(part, gap)).collect();
            }
        }
        parts
    }
}

/// The series that one of the selectors lets through.
fn union(segment: &MetricsSegment, selectors: &[Vec<Matcher>]) -> Result<RoaringBitmap, SegmentError> {
    let mut selected = RoaringBitmap::new();
    for matchers in selectors {
        selected |= segment.select(matchers, &Lookout::new(&StopSign::never()))?;
    }
    Ok(selected)
}

/// Those of the series that may have something at these times.
fn concerned(
    segment: &MetricsSegment,
    selected: RoaringBitmap,
    times: &[TimeRange],
) -> Result<RoaringBitmap, SegmentError> {
    let (mut concerned, mut look_up) = (RoaringBitmap::new(), segment.look_up());
    for ordinal in selected {
        for &range in times {
            if look_up.sample_count(ordinal, range)? > 0 || !segment.exemplars(ordinal, range)?.is_empty() {
                concerned.insert(ordinal);
                break;
            }
        }
    }
    Ok(concerned)
}

/// What lies before the gap and after it.
fn without(range: TimeRange, gap: &TimeRange) -> impl Iterator<Item = TimeRange> + use<> {
    let before = TimeRange { until: range.until.min(gap.after), ..range };
    let after = TimeRange { after: range.after.max(gap.until), ..range };
    [before, after].into_iter().filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_gap_takes_what_it_holds_and_nothing_else(range in (0..20i64, 0..20i64), gap in (0..20i64, 0..20i64)) {
            let of = |(after, until): (i64, i64)| TimeRange { after: after.min(until), until: after.max(until) };
            let (range, gap) = (of(range), of(gap));
            let parts: Vec<_> = without(range, &gap).collect();
            for t in -1..21 {
                let is_in = parts.iter().filter(|part| part.contains(t)).count();
                prop_assert_eq!(is_in, usize::from(range.contains(t) && !gap.contains(t)));
            }
        }
    }
}
