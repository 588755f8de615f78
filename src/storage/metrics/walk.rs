//! Walks several segments at once, series by series in order of labels.

use std::sync::Arc;

use super::segment_reader::MetricsSegment;
use super::visible::VisibleSegment;
use crate::model::Labels;
use crate::storage::segment::SegmentError;

/// Segments that have a series, each by its place and the ordinal of the series there.
pub(super) type Places = Vec<(usize, u32)>;

/// Where the walk stands in each segment: its next ordinal, and the labels there.
pub(super) struct Walk<'a> {
    heads: Vec<(&'a MetricsSegment, u32, Option<Labels>)>,
}

impl<'a> Walk<'a> {
    pub fn new(
        segments: impl IntoIterator<Item = &'a Arc<VisibleSegment>>,
    ) -> Result<Walk<'a>, SegmentError> {
        let mut heads = Vec::new();
        for segment in segments {
            let segment = segment.segment();
            heads.push((segment.as_ref(), 0, labels_at(segment, 0)?));
        }
        Ok(Walk { heads })
    }

    /// The next series, and who has it.
    pub fn next(&mut self) -> Result<Option<(Labels, Places)>, SegmentError> {
        let Some(labels) = self.heads.iter().filter_map(|head| head.2.as_ref()).min().cloned() else {
            return Ok(None);
        };
        let mut found = Vec::new();
        for (place, (segment, ordinal, at)) in self.heads.iter_mut().enumerate() {
            if at.as_ref() == Some(&labels) {
                found.push((place, *ordinal));
                *ordinal += 1;
                *at = labels_at(segment, *ordinal)?;
            }
        }
        Ok(Some((labels, found)))
    }
}

fn labels_at(segment: &MetricsSegment, ordinal: u32) -> Result<Option<Labels>, SegmentError> {
    if ordinal < segment.series_count() { Ok(Some(segment.labels(ordinal)?)) } else { Ok(None) }
}
