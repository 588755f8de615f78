//! Walks the series of a segment in order of their labels.

use super::{LookUp, MetricsSegment};
use crate::model::Labels;
use crate::storage::segment::SegmentError;

pub struct SeriesCursor<'a> {
    segment: &'a MetricsSegment,
    look_up: LookUp<'a>,
    next: u32,
    current: Option<(u32, Labels)>,
}

impl<'a> SeriesCursor<'a> {
    /// Stands at the first series.
    pub(super) fn new(segment: &'a MetricsSegment) -> Result<SeriesCursor<'a>, SegmentError> {
        let mut cursor = SeriesCursor { segment, look_up: segment.look_up(), next: 0, current: None };
        cursor.advance()?;
        Ok(cursor)
    }

    /// The series the cursor stands at; `None` behind the last.
    pub fn current(&self) -> Option<(u32, &Labels)> {
        self.current.as_ref().map(|(ordinal, labels)| (*ordinal, labels))
    }

    /// The series the cursor stood at; it goes on to the next.
    pub fn take(&mut self) -> Result<Option<(u32, Labels)>, SegmentError> {
        let current = self.current.take();
        self.advance()?;
        Ok(current)
    }

    pub fn advance(&mut self) -> Result<(), SegmentError> {
        self.current = None;
        if self.next < self.segment.series_count() {
            self.current = Some((self.next, self.look_up.labels(self.next)?));
            self.next += 1;
        }
        Ok(())
    }
}
