//! What a segment has of series, one after the other: what one look-up in its tables had at hand is there for the next.

use super::super::SampleBuffer;
use super::MetricsSegment;
use crate::model::{Labels, TimeRange};
use crate::storage::index::LabelsReader;
use crate::storage::segment::{CHUNK_ROWS, LastChunk, SegmentError};

use super::super::segment_layout::{BlockChunk, Column, SeriesBlocks};

pub struct LookUp<'a> {
    segment: &'a MetricsSegment,
    labels: LabelsReader<'a>,
    blocks: LastChunk<BlockChunk>,
    columns: LastChunk<Vec<Column>>,
}

impl<'a> LookUp<'a> {
    pub(super) fn new(segment: &'a MetricsSegment) -> LookUp<'a> {
        let (blocks, columns) = Default::default();
        LookUp { segment, labels: segment.index.labels_reader(), blocks, columns }
    }

    pub fn labels(&mut self, ordinal: u32) -> Result<Labels, SegmentError> {
        self.labels.labels(ordinal)
    }

    pub fn labels_with_fingerprint(&mut self, ordinal: u32) -> Result<(Labels, u128), SegmentError> {
        self.labels.labels_with_fingerprint(ordinal)
    }

    /// [`Labels::fingerprint`] of the series.
    pub fn fingerprint(&mut self, ordinal: u32) -> Result<u128, SegmentError> {
        self.labels.fingerprint(ordinal)
    }

    /// Whether the series has samples, or buckets, at any time.
    pub fn has_samples(&mut self, ordinal: u32) -> Result<bool, SegmentError> {
        let blocks = blocks_of(self.segment, &mut self.blocks, ordinal)?;
        Ok(!blocks.floats.is_empty() || !blocks.histograms.is_empty())
    }

    /// Whether any block of samples, or buckets, overlaps the range.
    pub fn has_samples_in(&mut self, ordinal: u32, range: TimeRange) -> Result<bool, SegmentError> {
        let blocks = blocks_of(self.segment, &mut self.blocks, ordinal)?;
        for block in blocks.floats.iter().chain(blocks.histograms) {
            if self.segment.column_in(&mut self.columns, block.column)?.overlaps(range) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// As [`MetricsSegment::read`].
    pub fn read(
        &mut self,
        ordinal: u32,
        range: TimeRange,
        samples: &mut SampleBuffer,
    ) -> Result<(), SegmentError> {
        let blocks = blocks_of(self.segment, &mut self.blocks, ordinal)?;
        self.segment.read_blocks(blocks, &mut self.columns, range, samples)
    }

    /// Whether the series has starts or exemplars: few have.
    pub fn has_more(&mut self, ordinal: u32) -> Result<bool, SegmentError> {
        let blocks = blocks_of(self.segment, &mut self.blocks, ordinal)?;
        Ok(blocks.starts.is_some() || !blocks.exemplars.is_empty())
    }

    /// About how many samples the series has in `range`, from the index alone: as if those of each block were spread
    /// evenly. 0 only where no block overlaps the range.
    pub fn sample_count(&mut self, ordinal: u32, range: TimeRange) -> Result<u64, SegmentError> {
        let blocks = blocks_of(self.segment, &mut self.blocks, ordinal)?;
        let mut count = 0;
        for block in blocks.floats.iter().chain(blocks.histograms) {
            count += self.segment.column_in(&mut self.columns, block.column)?.count_in(range);
        }
        Ok(count)
    }
}

fn blocks_of<'c>(
    segment: &MetricsSegment,
    last: &'c mut LastChunk<BlockChunk>,
    ordinal: u32,
) -> Result<SeriesBlocks<'c>, SegmentError> {
    if ordinal >= segment.series_count() {
        return Err(segment.no_such_series());
    }
    let number = u64::from(ordinal) / CHUNK_ROWS as u64;
    let chunk = last.get(number, || segment.blocks(number))?;
    Ok(chunk.of(ordinal as usize % CHUNK_ROWS))
}
