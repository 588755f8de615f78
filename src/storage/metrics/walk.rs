//! Walks several segments at once, series by series in order of labels.

use std::sync::Arc;

use super::segment_reader::{LookUp, MetricsSegment, SeriesCursor};
use super::visible::VisibleSegment;
use crate::model::Labels;
use crate::storage::segment::SegmentError;

/// Segments that have a series, each by its place and the ordinal of the series there.
pub(super) type Places = Vec<(usize, u32)>;

pub(super) struct Walk<'a> {
    segments: Vec<&'a MetricsSegment>,
    way: Way<'a>,
    /// Of the series it stands at, once somebody wanted them.
    labels: Option<Labels>,
}

enum Way<'a> {
    /// All have the index of the first one, so an ordinal is one series in each, and nobody's labels are compared: as one segment
    /// alone, and several between which no series came or went.
    Abreast {
        look_up: LookUp<'a>,
        next: u32,
        /// Of some series nothing is left.
        lacks_some: bool,
    },
    Apart(Vec<SeriesCursor<'a>>),
}

impl<'a> Walk<'a> {
    /// Stands before the first series.
    pub fn new(
        segments: impl IntoIterator<Item = &'a Arc<VisibleSegment>>,
    ) -> Result<Walk<'a>, SegmentError> {
        let visible: Vec<&VisibleSegment> = segments.into_iter().map(|visible| &**visible).collect();
        let segments: Vec<&MetricsSegment> = visible.iter().map(|visible| &**visible.segment()).collect();
        let way = match segments.split_first() {
            Some((first, others)) if others.iter().all(|other| have_same_series(first, other)) => {
                Way::Abreast { look_up: first.look_up(), next: 0, lacks_some: lack_some(&visible) }
            }
            _ => Way::Apart(segments.iter().map(|segment| segment.cursor()).collect::<Result<_, _>>()?),
        };
        Ok(Walk { segments, way, labels: None })
    }

    /// Goes to the next series, unless there is none. `found` is who has it then.
    pub fn next(&mut self, found: &mut Places) -> Result<bool, SegmentError> {
        found.clear();
        match &mut self.way {
            Way::Abreast { next, .. } => {
                self.labels = None;
                if *next < self.segments[0].series_count() {
                    found.extend((0..self.segments.len()).map(|place| (place, *next)));
                    *next += 1;
                }
            }
            Way::Apart(cursors) => self.labels = next_apart(cursors, found)?,
        }
        Ok(!found.is_empty())
    }

    /// Of the series it stands at.
    pub fn labels(&mut self) -> Result<&Labels, SegmentError> {
        if let (None, Way::Abreast { look_up, next, .. }) = (&self.labels, &mut self.way) {
            self.labels = Some(look_up.labels(next.checked_sub(1).expect("it stands at a series"))?);
        }
        Ok(self.labels.as_ref().expect("it stands at a series"))
    }

    pub fn segments(&self) -> &[&'a MetricsSegment] {
        &self.segments
    }

    /// The segment whose series are those of the walk, each at its ordinal; not where it is clear that some will be left out.
    pub fn same_series(&self) -> Option<&'a MetricsSegment> {
        match self.way {
            Way::Abreast { lacks_some: false, .. } => Some(self.segments[0]),
            _ => None,
        }
    }
}

/// Not where an index is damaged: then they are walked apart, which reads labels, and nothing else, and reports what they cannot be read
/// from.
fn have_same_series(one: &MetricsSegment, other: &MetricsSegment) -> bool {
    one.index().is_same_as(other.index()).unwrap_or(false)
}

/// Whether of some series, which all of these segments have, nothing is left in any of them.
fn lack_some(visible: &[&VisibleSegment]) -> bool {
    let (first, others) = visible.split_first().expect("somebody walks");
    let mut gone = first.gone().clone();
    others.iter().for_each(|other| gone &= other.gone());
    !gone.is_empty()
}

fn next_apart(cursors: &mut [SeriesCursor<'_>], found: &mut Places) -> Result<Option<Labels>, SegmentError> {
    let mut least: Option<(usize, &Labels)> = None;
    for (place, cursor) in cursors.iter().enumerate() {
        let Some((_, labels)) = cursor.current() else { continue };
        // Most stand at the same series, and to see that takes less than to compare label by label.
        if least.is_none_or(|(_, least)| labels != least && labels < least) {
            least = Some((place, labels));
        }
    }
    let Some((first, _)) = least else {
        return Ok(None);
    };
    let (ordinal, labels) = cursors[first].take()?.expect("it stands at a series");
    found.push((first, ordinal));
    // None before it has the series.
    for (place, cursor) in cursors.iter_mut().enumerate().skip(first + 1) {
        if let Some((ordinal, at)) = cursor.current()
            && *at == labels
        {
            found.push((place, ordinal));
            cursor.advance()?;
        }
    }
    Ok(Some(labels))
}
