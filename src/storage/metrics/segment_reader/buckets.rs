//! Reads the buckets of series from a segment of rollups (`storage-format.md` §5.9).

use std::sync::Arc;

use super::super::segment_layout::{BUCKET_TIMES_CODEC, Block, Column, STATES_CODEC};
use super::MetricsSegment;
use crate::codec::states::{self, BucketTimes};
use crate::codec::{Malformed, take_u8};
use crate::model::rollup::{Columns, FloatBuckets, HistogramBuckets, TimesPart};
use crate::model::{TimeRange, Timestamp};
use crate::storage::segment::SegmentError;

/// One block of states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatesSummary {
    pub kind: &'static str,
    pub bucket_count: usize,
    /// Ends of the first and the last bucket.
    pub ends: (i64, i64),
    /// Columns by name, and the bytes of each; 0 where it follows from others.
    pub columns: Vec<(&'static str, usize)>,
    /// Bytes of all columns; times are shared.
    pub len: u64,
}

impl MetricsSegment {
    /// The length of a bucket; 0 if this is a segment of samples.
    pub fn resolution_ms(&self) -> i64 {
        self.meta().tier_resolution_ms.into()
    }

    /// Appends the series' buckets that end in `range`, and of them the `wanted` columns; a column that some block
    /// lacks is dropped. Where a block is damaged, the others are still appended, and the first damage is the
    /// answer.
    pub fn read_buckets(
        &self,
        ordinal: u32,
        range: TimeRange,
        wanted: Columns,
        floats: &mut FloatBuckets,
        histograms: &mut HistogramBuckets,
    ) -> Result<(), SegmentError> {
        let (chunk, row) = self.row(ordinal)?;
        let blocks = chunk.of(row);
        let (mut result, mut ended) = (Ok(()), None);
        for block in blocks.floats {
            let read = self.read_states(block, &mut ended, range, |bytes, times| {
                let part = TimesPart { times: times.clone(), rows: range.slice_of(&times.ends) };
                states::decode_floats(bytes, &part, wanted, floats)
            });
            result = result.and(read);
        }
        ended = None;
        for block in blocks.histograms {
            let read = self.read_states(block, &mut ended, range, |bytes, times| {
                states::decode_histograms(bytes, times, wanted, range.slice_of(&times.ends), histograms)
            });
            result = result.and(read);
        }
        result
    }

    /// The blocks of a series; for people.
    pub fn states_summaries(&self, ordinal: u32) -> Result<Vec<StatesSummary>, SegmentError> {
        let (chunk, row) = self.row(ordinal)?;
        let blocks = chunk.of(row);
        let kinds = [("floats", blocks.floats), ("histograms", blocks.histograms)];
        let mut summaries = Vec::new();
        for (kind, block) in
            kinds.into_iter().flat_map(|(kind, blocks)| blocks.iter().map(move |b| (kind, b)))
        {
            self.read_states(block, &mut None, TimeRange::ALL, |bytes, times| {
                summaries.push(StatesSummary {
                    kind,
                    bucket_count: times.len(),
                    ends: (times.ends[0], times.ends[times.len() - 1]),
                    columns: states::columns(bytes)?,
                    len: block.len,
                });
                Ok(())
            })?;
        }
        Ok(summaries)
    }

    /// Decodes all buckets once; answers with their count.
    pub(super) fn verify_buckets(&self) -> Result<u64, SegmentError> {
        let mut row_count = 0;
        for ordinal in 0..self.series_count() {
            let (mut floats, mut histograms) =
                (FloatBuckets::new(Columns::ALL), HistogramBuckets::new(Columns::ALL));
            self.read_buckets(ordinal, TimeRange::ALL, Columns::ALL, &mut floats, &mut histograms)?;
            row_count += (floats.len() + histograms.len()) as u64;
        }
        Ok(row_count)
    }

    /// Hands over the states of a block, without their codec, and their times, if any bucket ends in `range`. The blocks of the
    /// series before it ended there.
    fn read_states(
        &self,
        block: &Block,
        ended: &mut Option<Timestamp>,
        range: TimeRange,
        read: impl FnOnce(&[u8], &Arc<BucketTimes>) -> Result<(), Malformed>,
    ) -> Result<(), SegmentError> {
        let column = self.in_order(ended, self.column(block.column)?)?;
        if !column.overlaps(range) {
            return Ok(());
        }
        let times = self.bucket_times.get(block.column, || self.times_of(&column))?;
        let bytes = with_codec(self.data(block.offset, block.len)?, STATES_CODEC);
        bytes.and_then(|bytes| read(bytes, &times)).map_err(|what| self.damaged_data(block.offset, what))
    }

    fn times_of(&self, column: &Column) -> Result<BucketTimes, SegmentError> {
        let bytes = with_codec(self.data(column.offset, column.len)?, BUCKET_TIMES_CODEC);
        let times = bytes
            .and_then(|bytes| BucketTimes::decode(bytes, column.sample_count, self.resolution_ms()))
            .map_err(|what| self.damaged_data(column.offset, what))?;
        if times.ends[0] != column.first || times.ends[times.len() - 1] != column.last {
            return Err(self.damaged_data(column.offset, Malformed("a column is not what its table says")));
        }
        Ok(times)
    }
}

fn with_codec(mut bytes: &[u8], codec: u8) -> Result<&[u8], Malformed> {
    let found = take_u8(&mut bytes)?;
    if found == codec { Ok(bytes) } else { Err(Malformed("unknown codec of states")) }
}
