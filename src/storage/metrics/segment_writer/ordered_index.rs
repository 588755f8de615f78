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

impl OrderedIndex {
    pub fn add(&mut self, labels: Labels) {
        assert!(self.last.as_ref().is_none_or(|last| *last < labels), "series out of order at {labels}");
        self.index.add(&labels);
        self.last = Some(labels);
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
    #[should_panic(expected = "series out of order")]
    fn a_series_is_added_once() {
        let (mut index, labels) =
            (OrderedIndex::default(), Labels::from_pairs([("__name__", "up")]).unwrap());
        index.add(labels.clone());
        index.add(labels);
    }

    #[test]
    #[should_panic(expected = "series out of order")]
    fn a_series_before_the_last_is_refused() {
        let mut index = OrderedIndex::default();
        ["up", "down"]
            .into_iter()
            .for_each(|name| index.add(Labels::from_pairs([("__name__", name)]).unwrap()));
    }
}
