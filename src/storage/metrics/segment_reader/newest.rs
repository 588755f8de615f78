//! Reads the newest sample of a series alone. Whoever wants that of one series wants it of many, and soon again.

use super::super::SampleBuffer;
use super::super::segment_layout::{Block, BlockChunk};
use super::MetricsSegment;
use crate::codec::floats;
use crate::model::{TimeRange, Timestamp};
use crate::storage::segment::SegmentError;

impl MetricsSegment {
    /// As [`MetricsSegment::read`], but appends the newest float in `range` and the newest histogram only.
    pub fn read_newest(
        &self,
        ordinal: u32,
        range: TimeRange,
        samples: &mut SampleBuffer,
    ) -> Result<(), SegmentError> {
        let (chunk, row) = self.row(ordinal)?;
        let blocks = chunk.of(row);
        let mut result = Ok(());
        for (number, block) in blocks.floats.iter().enumerate().rev() {
            match self.newest_float(&chunk, (row, number), block, range) {
                Ok(None) => {}
                Ok(Some((time, value))) => {
                    samples.float_timestamps.push(time);
                    samples.floats.push(value);
                    break;
                }
                Err(damage) => result = result.and(Err(damage)),
            }
        }
        let (mut times, mut histograms) = (Vec::new(), Vec::new());
        for block in blocks.histograms.iter().rev() {
            let read = self
                .column(block.column)
                .and_then(|column| self.read_histograms(block, &column, range, &mut times, &mut histograms));
            result = result.and(read);
            if let (Some(time), Some(histogram)) = (times.pop(), histograms.pop()) {
                samples.histogram_timestamps.push(time);
                samples.histograms.push(histogram);
                break;
            }
        }
        result
    }

    /// Of one block, which has this place in its chunk.
    fn newest_float(
        &self,
        chunk: &BlockChunk,
        (row, number): (usize, usize),
        block: &Block,
        range: TimeRange,
    ) -> Result<Option<(Timestamp, f64)>, SegmentError> {
        let column = self.column(block.column)?;
        if !column.overlaps(range) {
            return Ok(None);
        }
        let is_last = column.last <= range.until;
        if let Some(value) = is_last.then(|| chunk.last_float(row, number)).flatten() {
            return Ok(Some((column.last, value)));
        }
        let mut times = Vec::new();
        let column_bytes = self.data(column.offset, column.len)?;
        let wanted = self.decode_times(&column, column_bytes, range, &mut times)?;
        let Some(&time) = times.last() else { return Ok(None) };
        let mut floats = Vec::with_capacity(1);
        let bytes = self.data(block.offset, block.len)?;
        floats::decode_in(bytes, column.sample_count, wanted.end - 1..wanted.end, &mut floats)
            .map_err(|what| self.damaged_data(block.offset, what))?;
        let value = floats[0];
        if is_last && wanted.end == column.sample_count {
            chunk.know_last_float(row, number, value);
        }
        Ok(Some((time, value)))
    }
}
