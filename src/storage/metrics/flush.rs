//! Heads and segments into one new segment: sealing and merging are the same walk over series in order of their
//! labels.

use std::io::{self, Write};
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::SampleBuffer;
use super::head::Head;
use super::merge::{merge_floats, merge_histograms};
use super::merged_index::MergedIndex;
use super::registered_index::write_registered_index;
use super::registry::SharedRegistry;
use super::rollup::merge_rollups;
use super::sealed_series::{Part, SealedSeries};
use super::segment_reader::LookUp;
use super::segment_writer::{MetricsSegmentWriter, SeriesData};
use super::visible::VisibleSegment;
use super::walk::{Places, Walk};
use crate::codec::Effort;
use crate::model::{Exemplar, TimeRange, Timestamp};
use crate::storage::errors::MergeError;
use crate::storage::index::IndexCopy;
use crate::storage::segment::SegmentMeta;

/// Writes a segment of what the heads of all shards hold in `range` of the series of a part; none if that is nothing.
pub(in crate::storage) fn write_generation<W: Write>(
    heads: &[Arc<Head>],
    registries: &[SharedRegistry],
    range: TimeRange,
    (min_seq, max_seq): (u64, u64),
    (known, part): (&SealedSeries, &Part),
    to: W,
) -> io::Result<Option<(W, SegmentMeta)>> {
    let mut series = known.in_order(part);
    let (mut to, mut head) = (MetricsSegmentWriter::new(to, 0, 0)?, HeadSeries::default());
    let mut absent = RoaringBitmap::new();
    series.for_each_batch(|places| {
        Head::fetch(places.iter().map(|(_, place)| (&*heads[place.shard as usize], place.id)));
        for (position, place) in places {
            match head.read(&heads[place.shard as usize], place.id, range) {
                Some(data) => to.unlabelled_series(&data)?,
                // It has something in another range.
                None => drop(absent.insert(*position)),
            }
        }
        io::Result::Ok(())
    })?;
    if to.series_count() == 0 {
        return Ok(None);
    }
    // Where it is damaged, whoever reads it next reports that.
    let same = part.same().filter(|_| absent.is_empty());
    let index = same.and_then(|segment| IndexCopy::of(segment.index()).ok());
    if let Some(index) = index.filter(|index| index.series_count() == to.series_count()) {
        return to.finish_with_index(min_seq, max_seq, |to| index.write(to)).map(Some);
    }
    series.leave_out(&absent);
    assert_eq!(series.len(), to.series_count(), "an index of other series");
    to.finish_with_index(min_seq, max_seq, |to| write_registered_index(&series, registries, to)).map(Some)
}

/// What a head has of one series.
#[derive(Default)]
struct HeadSeries {
    samples: SampleBuffer,
    starts: Vec<(Timestamp, Timestamp)>,
    exemplars: Vec<Exemplar>,
}

impl HeadSeries {
    /// None if that is nothing in `range`.
    fn read(&mut self, head: &Head, id: u32, range: TimeRange) -> Option<SeriesData<'_>> {
        self.samples.clear();
        head.read(id, range, &mut self.samples);
        self.starts = head.starts(id);
        self.starts.retain(|(timestamp, _)| range.contains(*timestamp));
        self.exemplars = head.exemplars(id, range);
        // As they arrived they may be out of order.
        settle_starts(&mut self.starts);
        settle_exemplars(&mut self.exemplars);
        data_of(&self.samples, &self.starts, &self.exemplars)
    }
}

/// Writes a segment of what segments of one resolution hold, given in order of sequence: where two have a timestamp, the later one is right.
/// What is hidden in them is left out. `is_stopping` is asked before each series.
pub(in crate::storage) fn merge_segments<W: Write>(
    inputs: &[Arc<VisibleSegment>],
    (min_seq, max_seq): (u64, u64),
    effort: Effort,
    to: W,
    is_stopping: impl Fn() -> bool,
) -> Result<Option<(W, SegmentMeta)>, MergeError> {
    if inputs.first().is_some_and(|input| input.segment().resolution_ms() > 0) {
        return merge_rollups(inputs, (min_seq, max_seq), to, is_stopping);
    }
    let mut to = MetricsSegmentWriter::new(to, 0, 0).map_err(MergeError::Write)?.with_effort(effort);
    let (mut walk, mut found) = (Walk::new(inputs)?, Places::new());
    let (mut index, mut merged) = (MergedIndex::of(&walk), MergedSeries::default());
    let mut look_ups: Vec<LookUp> = inputs.iter().map(|input| input.segment().look_up()).collect();
    while walk.next(&mut found)? {
        if is_stopping() {
            return Err(MergeError::Stopped);
        }
        if let Some(data) = merged.read(inputs, &mut look_ups, &found)? {
            index.add(&mut walk, found[0])?;
            to.unlabelled_series(&data).map_err(MergeError::Write)?;
        }
    }
    if to.series_count() == 0 {
        return Ok(None);
    }
    let index = index.finish()?;
    assert_eq!(index.series_count(), to.series_count(), "an index of other series");
    to.finish_with_index(min_seq, max_seq, |to| index.write(to)).map(Some).map_err(MergeError::Write)
}

/// What several segments have of one series.
#[derive(Default)]
struct MergedSeries {
    samples: SampleBuffer,
    /// Those of one segment.
    run: SampleBuffer,
    starts: Vec<(Timestamp, Timestamp)>,
    exemplars: Vec<Exemplar>,
}

impl MergedSeries {
    /// `found` says where in `inputs`, which `look_ups` are for, it is. None if all of it is hidden.
    fn read(
        &mut self,
        inputs: &[Arc<VisibleSegment>],
        look_ups: &mut [LookUp<'_>],
        found: &[(usize, u32)],
    ) -> Result<Option<SeriesData<'_>>, MergeError> {
        let MergedSeries { samples, run, starts, exemplars } = self;
        samples.clear();
        starts.clear();
        exemplars.clear();
        for &(place, ordinal) in found {
            let (input, look_up) = (&inputs[place], &mut look_ups[place]);
            if samples.is_empty() {
                input.read_by(look_up, ordinal, TimeRange::ALL, samples)?;
            } else {
                run.clear();
                input.read_by(look_up, ordinal, TimeRange::ALL, run)?;
                merge_floats(samples, &run.float_timestamps, &run.floats);
                merge_histograms(samples, &run.histogram_timestamps, &run.histograms);
            }
            if look_up.has_more(ordinal)? {
                starts.extend(input.segment().starts(ordinal)?);
                exemplars.extend(input.exemplars(ordinal, TimeRange::ALL)?);
            }
        }
        settle_starts(starts);
        settle_exemplars(exemplars);
        Ok(data_of(samples, starts, exemplars))
    }
}

/// What a series has; none where that is not worth an entry.
fn data_of<'a>(
    samples: &'a SampleBuffer,
    starts: &'a [(Timestamp, Timestamp)],
    exemplars: &'a [Exemplar],
) -> Option<SeriesData<'a>> {
    let data = SeriesData { starts, exemplars, ..SeriesData::from(samples) };
    let is_empty = data.floats.is_empty() && data.histograms.is_empty() && exemplars.is_empty();
    (!is_empty).then_some(data)
}

/// By time; a start that says what the one before it said is dropped.
fn settle_starts(starts: &mut Vec<(Timestamp, Timestamp)>) {
    starts.sort_by_key(|(timestamp, _)| *timestamp);
    starts.dedup_by_key(|(_, start)| *start);
    starts.dedup_by_key(|(timestamp, _)| *timestamp);
}

fn settle_exemplars(exemplars: &mut Vec<Exemplar>) {
    exemplars.sort_by_key(|e| e.timestamp);
    exemplars.dedup();
}
