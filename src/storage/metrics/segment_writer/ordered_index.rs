//! The index of series that come with their labels.

use std::io::{self, Write};

use crate::model::Labels;
use crate::storage::index::IndexWriter;
use crate::storage::segment::SegmentWriter;

/// Invariant: the labels of what was added strictly increase, as whoever reads a segment takes for granted.
#[derive(Default)]
pub struct OrderedIndex {
    index: IndexWriter,
    last: Option<Labels>,
}

/// A series does not come behind the one before it.
#[derive(Debug, PartialEq, Eq)]
pub struct OutOfOrder;

impl OrderedIndex {
    /// Adds a series, unless its labels are not behind those of the one before: where these come from a file, it may say anything.
    pub fn add(&mut self, labels: Labels) -> Result<(), OutOfOrder> {
        if self.last.as_ref().is_some_and(|last| *last >= labels) {
            return Err(OutOfOrder);
        }
        self.index.add(&labels);
        self.last = Some(labels);
        Ok(())
    }

    pub fn series_count(&self) -> usize {
        self.index.series_count()
    }

    /// Writes the sections.
    pub fn finish<W: Write>(&self, to: &mut SegmentWriter<W>) -> io::Result<()> {
        self.index.finish(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_comes_once_and_behind_the_one_before() {
        let mut index = OrderedIndex::default();
        let mut add = |name| index.add(Labels::from_pairs([("__name__", name)]).unwrap());
        assert_eq!(add("up"), Ok(()));
        assert_eq!(add("up"), Err(OutOfOrder));
        assert_eq!(add("down"), Err(OutOfOrder));
        assert_eq!(add("uptime"), Ok(()));
        assert_eq!(index.series_count(), 2);
    }
}
