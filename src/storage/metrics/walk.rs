//! Walks several segments at once, series by series in order of labels.

use std::sync::Arc;

use super::segment_reader::SeriesCursor;
use super::visible::VisibleSegment;
use crate::model::Labels;
use crate::storage::segment::SegmentError;

/// Segments that have a series, each by its place and the ordinal of the series there.
pub(super) type Places = Vec<(usize, u32)>;

pub(super) struct Walk<'a> {
    cursors: Vec<SeriesCursor<'a>>,
}

impl<'a> Walk<'a> {
    pub fn new(
        segments: impl IntoIterator<Item = &'a Arc<VisibleSegment>>,
    ) -> Result<Walk<'a>, SegmentError> {
        let cursors: Result<_, _> = segments.into_iter().map(|segment| segment.segment().cursor()).collect();
        Ok(Walk { cursors: cursors? })
    }

    /// The next series, and who has it.
    pub fn next(&mut self) -> Result<Option<(Labels, Places)>, SegmentError> {
        let standing = self.cursors.iter().enumerate();
        let standing = standing.filter_map(|(place, cursor)| Some((cursor.current()?.1, place)));
        let Some((_, first)) = standing.min() else {
            return Ok(None);
        };
        let (ordinal, labels) = self.cursors[first].take()?.expect("it stands at a series");
        let mut found = vec![(first, ordinal)];
        // None before it has the series.
        for (place, cursor) in self.cursors.iter_mut().enumerate().skip(first + 1) {
            if let Some((ordinal, at)) = cursor.current()
                && *at == labels
            {
                found.push((place, ordinal));
                cursor.advance()?;
            }
        }
        Ok(Some((labels, found)))
    }
}
