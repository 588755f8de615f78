//! What whoever reads an index takes for granted, though a file may say anything.

use super::reader::Index;
use crate::codec::Malformed;
use crate::storage::segment::{LastChunk, SegmentError};

impl Index {
    /// Decodes every part of the index once.
    pub fn verify(&self) -> Result<(), SegmentError> {
        for name in 0..self.names()?.count() {
            let mut holders = Vec::new();
            self.dictionary(name)?.scan_all(|who| holders.push(who))?;
            holders.into_iter().try_for_each(|who| self.ordinals(who).map(drop))?;
        }
        self.verify_order_of_series()
    }

    /// Whether values and series are in order: as nobody writes another index, one that is not may have the labels of others.
    pub fn verify_order(&self) -> Result<(), SegmentError> {
        for name in 0..self.names()?.count() {
            self.dictionary(name)?.scan_all(|_| {})?;
        }
        self.verify_order_of_series()
    }

    /// By the numbers of names and values, which are in order as these are.
    fn verify_order_of_series(&self) -> Result<(), SegmentError> {
        let (mut chunk, mut last) = (LastChunk::default(), None::<Vec<_>>);
        for ordinal in 0..self.series_count() {
            let (chunk, row) = self.row(&mut chunk, ordinal)?;
            let labels = chunk.labels(row);
            match &mut last {
                Some(last) if **last >= *labels => {
                    return Err(self.damaged_series(Malformed("series are not in order of their labels")));
                }
                Some(last) => {
                    last.clear();
                    last.extend_from_slice(labels);
                }
                None => last = Some(labels.to_vec()),
            }
        }
        Ok(())
    }
}
