//! Walks several segments at once, series by series in order of labels.

use std::sync::Arc;

use super::segment_reader::LookUp;
use super::visible::VisibleSegment;
use crate::model::Labels;
use crate::storage::segment::SegmentError;

/// Segments that have a series, each by its place and the ordinal of the series there.
pub(super) type Places = Vec<(usize, u32)>;

/// Where the walk stands in each segment: its next ordinal, and the labels there.
pub(super) struct Walk<'a> {
    heads: Vec<(LookUp<'a>, u32, Option<Labels>)>,
}

impl<'a> Walk<'a> {
    pub fn new(
        segments: impl IntoIterator<Item = &'a Arc<VisibleSegment>>,
    ) -> Result<Walk<'a>, SegmentError> {
        let mut heads = Vec::new();
        for segment in segments {
            let mut look_up = segment.segment().look_up();
            let labels = labels_at(&mut look_up, 0)?;
            heads.push((look_up, 0, labels));
        }
        Ok(Walk { heads })
    }

    /// The next series, and who has it.
    pub fn next(&mut self) -> Result<Option<(Labels, Places)>, SegmentError> {
        let Some(labels) = self.heads.iter().filter_map(|head| head.2.as_ref()).min().cloned() else {
            return Ok(None);
        };
        let mut found = Vec::new();
        for (place, (look_up, ordinal, at)) in self.heads.iter_mut().enumerate() {
            if at.as_ref() == Some(&labels) {
                found.push((place, *ordinal));
                *ordinal += 1;
                *at = labels_at(look_up, *ordinal)?;
            }
        }
        Ok(Some((labels, found)))
    }
}

fn labels_at(look_up: &mut LookUp<'_>, ordinal: u32) -> Result<Option<Labels>, SegmentError> {
    if ordinal < look_up.series_count() { Ok(Some(look_up.labels(ordinal)?)) } else { Ok(None) }
}
