//! The index of a segment for another one that has the same series: its bytes, checked.

use std::io::{self, Write};

use super::{DICTIONARY, Index, NAMES, POSTINGS, SERIES};
use crate::storage::segment::{SectionId, SegmentError, SegmentWriter};

/// Invariant: nothing of it is damaged.
pub struct IndexCopy<'i> {
    series_count: usize,
    sections: [(SectionId, &'i [u8]); 4],
}

const SECTIONS: [SectionId; 4] = [SERIES, DICTIONARY, POSTINGS, NAMES];

impl Index {
    /// Whether every byte is that of the other one: then an ordinal is the same series in both.
    pub fn is_same_as(&self, other: &Index) -> Result<bool, SegmentError> {
        for id in SECTIONS {
            let (section, others) = (self.segment().section(id)?, other.segment().section(id)?);
            if section.len() != others.len() || section.all()? != others.all()? {
                return Ok(false);
            }
        }
        Ok(self.series_count() == other.series_count())
    }
}

impl<'i> IndexCopy<'i> {
    /// Reads all of it, as if for the first time: what changed since would be given checksums that are right.
    pub fn of(index: &'i Index) -> Result<IndexCopy<'i>, SegmentError> {
        let mut sections = SECTIONS.map(|id| (id, &[][..]));
        for (id, bytes) in &mut sections {
            *bytes = index.segment().section(*id)?.all_checked_anew()?;
        }
        Ok(IndexCopy { series_count: index.series_count() as usize, sections })
    }

    pub fn series_count(&self) -> usize {
        self.series_count
    }

    /// Writes the sections.
    pub fn write<W: Write>(&self, to: &mut SegmentWriter<W>) -> io::Result<()> {
        self.sections.iter().try_for_each(|&(id, bytes)| to.paged(id, bytes))
    }
}
