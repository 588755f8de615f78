//! The labels of series, one after the other: what one look-up had at hand is there for the next.

use super::forward::ForwardChunk;
use super::reader::{Index, KeptValues};
use crate::codec::Malformed;
use crate::model::Labels;
use crate::model::labels::LabelsText;
use crate::storage::segment::{LastChunk, SegmentError};

pub struct LabelsReader<'a> {
    index: &'a Index,
    chunk: LastChunk<ForwardChunk>,
    text: LabelsText,
    /// By the numbers of the names that were met: their values, where these are kept.
    values: Vec<Option<Option<&'a KeptValues>>>,
}

impl<'a> LabelsReader<'a> {
    pub(super) fn new(index: &'a Index) -> LabelsReader<'a> {
        let (chunk, text, values) = Default::default();
        LabelsReader { index, chunk, text, values }
    }

    /// The labels of a series.
    pub fn labels(&mut self, ordinal: u32) -> Result<Labels, SegmentError> {
        self.labels_and(ordinal, |_| {})
    }

    /// The same, and [`Labels::fingerprint`] of them.
    pub fn labels_with_fingerprint(&mut self, ordinal: u32) -> Result<(Labels, u128), SegmentError> {
        let mut sum = 0u128;
        let labels = self.labels_and(ordinal, |hash| sum = sum.wrapping_add(hash()))?;
        Ok((labels, sum))
    }

    /// [`Labels::fingerprint`] of a series, without its text where the values are kept.
    pub fn fingerprint(&mut self, ordinal: u32) -> Result<u128, SegmentError> {
        let mut sum = 0u128;
        self.for_each(ordinal, |_, _, _, hash| {
            sum = sum.wrapping_add(hash());
            Ok(())
        })?;
        Ok(sum)
    }

    /// Hands over what tells each label's hash.
    fn labels_and(
        &mut self,
        ordinal: u32,
        mut each: impl FnMut(&dyn Fn() -> u128),
    ) -> Result<Labels, SegmentError> {
        let names = self.index.names()?;
        // After damage half a set may be left.
        self.text.clear();
        self.for_each(ordinal, |text, name, value, hash| {
            if value.is_empty() {
                return Err(Malformed("a label has an empty value"));
            }
            text.push(names.name(name), value);
            each(hash);
            Ok(())
        })?;
        Ok(self.text.take())
    }

    /// Visits the number of each label's name, its value, and what tells its hash.
    fn for_each(
        &mut self,
        ordinal: u32,
        mut visit: impl FnMut(&mut LabelsText, u32, &str, &dyn Fn() -> u128) -> Result<(), Malformed>,
    ) -> Result<(), SegmentError> {
        let LabelsReader { index, chunk, text, values } = self;
        let (chunk, row) = index.row(chunk, ordinal)?;
        for &(name, value) in chunk.labels(row) {
            let visited = match kept(index, values, name)? {
                Some(kept) => {
                    let (value, hash) = kept.get(value);
                    visit(text, name, value, &|| hash)
                }
                None => index.with_value(name, value, |value, hash| visit(text, name, value, hash))?,
            };
            visited.map_err(|what| index.damaged_series(what))?;
        }
        Ok(())
    }
}

fn kept<'a>(
    index: &'a Index,
    values: &mut Vec<Option<Option<&'a KeptValues>>>,
    name: u32,
) -> Result<Option<&'a KeptValues>, SegmentError> {
    if let Some(Some(known)) = values.get(name as usize) {
        return Ok(*known);
    }
    let kept = index.kept(name)?;
    if values.len() <= name as usize {
        values.resize(name as usize + 1, None);
    }
    values[name as usize] = Some(kept);
    Ok(kept)
}
