//! The labels of series, one after the other: what one look-up had at hand is there for the next.

use super::forward::ForwardChunk;
use super::reader::Index;
use crate::codec::Malformed;
use crate::model::Labels;
use crate::model::labels::LabelsText;
use crate::storage::segment::{LastChunk, SegmentError};

pub struct LabelsReader<'a> {
    index: &'a Index,
    chunk: LastChunk<ForwardChunk>,
    text: LabelsText,
}

impl<'a> LabelsReader<'a> {
    pub(super) fn new(index: &'a Index) -> LabelsReader<'a> {
        LabelsReader { index, chunk: LastChunk::default(), text: LabelsText::default() }
    }

    /// The labels of a series.
    pub fn labels(&mut self, ordinal: u32) -> Result<Labels, SegmentError> {
        let (index, text) = (self.index, &mut self.text);
        let (names, (chunk, row)) = (index.names()?, index.row(&mut self.chunk, ordinal)?);
        // After damage half a set may be left.
        text.clear();
        for &(name, value) in chunk.labels(row) {
            let is_empty = index.with_value(name, value, |value, _| {
                if !value.is_empty() {
                    text.push(names.name(name), value);
                }
                value.is_empty()
            })?;
            if is_empty {
                return Err(index.damaged_series(Malformed("a label has an empty value")));
            }
        }
        Ok(text.take())
    }

    /// [`Labels::fingerprint`] of a series, without its text where the values are kept.
    pub fn fingerprint(&mut self, ordinal: u32) -> Result<u128, SegmentError> {
        let (chunk, row) = self.index.row(&mut self.chunk, ordinal)?;
        let mut sum = 0u128;
        for &(name, value) in chunk.labels(row) {
            sum = sum.wrapping_add(self.index.with_value(name, value, |_, hash| hash())?);
        }
        Ok(sum)
    }
}
