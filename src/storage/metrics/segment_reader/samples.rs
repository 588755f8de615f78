//! Reads blocks of samples. What a block says is compared with what its table says; of one that is damaged nothing stays.

use std::ops::Range;
use std::sync::Arc;

use super::super::SampleBuffer;
use super::super::segment_layout::{Block, Column, HISTOGRAMS_CODEC};
use super::MetricsSegment;
use crate::codec::{Malformed, floats, histograms, take_u8, timestamps};
use crate::model::{Histogram, TimeRange, Timestamp};
use crate::storage::segment::SegmentError;

impl MetricsSegment {
    /// Appends what lies in `range` of one block of floats; on damage nothing of it.
    pub(super) fn read_floats(
        &self,
        block: &Block,
        column: &Column,
        range: TimeRange,
        samples: &mut SampleBuffer,
    ) -> Result<(), SegmentError> {
        if !column.overlaps(range) {
            return Ok(());
        }
        let before = samples.floats.len();
        let decoded = self.decode_floats(block, column, range, samples);
        if decoded.is_err() {
            samples.truncate_floats(before);
        }
        decoded
    }

    fn decode_floats(
        &self,
        block: &Block,
        column: &Column,
        range: TimeRange,
        samples: &mut SampleBuffer,
    ) -> Result<(), SegmentError> {
        let (count, before) = (column.sample_count, samples.floats.len());
        let bytes = self.data(column.offset, column.len)?;
        // What the table says is compared with all of them, where all are wanted.
        let range = if column.sticks_out_of(range) { range } else { TimeRange::ALL };
        let regular = timestamps::regular_in(bytes, count, range);
        let wanted = match regular.map_err(|what| self.damaged_data(column.offset, what))? {
            None => self.decode_times(column, bytes, range, &mut samples.float_timestamps)?,
            Some((times, places)) => {
                let last = times.len().checked_sub(1).map(|last| times.at(last));
                self.expect_of_column(column, &places, (last.map(|_| times.at(0)), last))?;
                samples.extend_regular(times);
                places
            }
        };
        if wanted.is_empty() {
            return Ok(());
        }
        let bytes = self.data(block.offset, block.len)?;
        samples.floats.reserve(wanted.len());
        let mut mark = self.marks.near(block.offset, wanted.start);
        let found = mark;
        let whole_max = floats::decode_from(&mut mark, bytes, count, wanted, &mut samples.floats)
            .map_err(|what| self.damaged_data(block.offset, what))?;
        if let Some(mark) = mark.filter(|_| mark != found) {
            self.marks.keep(block.offset, mark);
        }
        samples.know_whole(before, whole_max);
        Ok(())
    }

    /// The same of histograms.
    pub(super) fn read_histograms(
        &self,
        block: &Block,
        column: &Column,
        range: TimeRange,
        times: &mut Vec<Timestamp>,
        values: &mut Vec<Arc<Histogram>>,
    ) -> Result<(), SegmentError> {
        if !column.overlaps(range) {
            return Ok(());
        }
        let (times_before, values_before) = (times.len(), values.len());
        let decoded = self.decode_histograms(block, column, range, times, values);
        if decoded.is_err() {
            times.truncate(times_before);
            values.truncate(values_before);
        }
        decoded
    }

    fn decode_histograms(
        &self,
        block: &Block,
        column: &Column,
        range: TimeRange,
        times: &mut Vec<Timestamp>,
        values: &mut Vec<Arc<Histogram>>,
    ) -> Result<(), SegmentError> {
        let bytes = self.data(column.offset, column.len)?;
        let wanted = self.decode_times(column, bytes, range, times)?;
        if wanted.is_empty() {
            return Ok(());
        }
        decode_histograms(self.data(block.offset, block.len)?, column.sample_count, wanted, values)
            .map_err(|what| self.damaged_data(block.offset, what))
    }

    /// Appends the times of a column that lie in the range; answers with their places.
    pub(super) fn decode_times(
        &self,
        column: &Column,
        bytes: &[u8],
        range: TimeRange,
        times: &mut Vec<Timestamp>,
    ) -> Result<Range<usize>, SegmentError> {
        let (count, start) = (column.sample_count, times.len());
        let decoded = if column.sticks_out_of(range) {
            timestamps::decode_in(bytes, count, range, times)
        } else {
            timestamps::decode(bytes, count, times).map(|()| 0..count)
        };
        let wanted = decoded.map_err(|what| self.damaged_data(column.offset, what))?;
        let times = &times[start..];
        self.expect_of_column(column, &wanted, (times.first().copied(), times.last().copied()))?;
        Ok(wanted)
    }

    /// The first and the last time of these places are what the table says, as far as it tells.
    fn expect_of_column(
        &self,
        column: &Column,
        wanted: &Range<usize>,
        (first, last): (Option<Timestamp>, Option<Timestamp>),
    ) -> Result<(), SegmentError> {
        let is_first = wanted.start > 0 || first.is_none_or(|time| time == column.first);
        let is_last = wanted.end < column.sample_count || last.is_none_or(|time| time == column.last);
        if is_first && is_last {
            Ok(())
        } else {
            Err(self.damaged_data(column.offset, Malformed("a column is not what its table says")))
        }
    }
}

/// Appends those in these places.
fn decode_histograms(
    mut bytes: &[u8],
    count: usize,
    wanted: Range<usize>,
    out: &mut Vec<Arc<Histogram>>,
) -> Result<(), Malformed> {
    if take_u8(&mut bytes)? != HISTOGRAMS_CODEC {
        return Err(Malformed("unknown codec of histograms"));
    }
    let start = out.len();
    histograms::decode_block(bytes, count, out)?;
    out.truncate(start + wanted.end);
    out.drain(start..start + wanted.start);
    Ok(())
}
