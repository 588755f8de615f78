//! An index that a seal wrote, for those after it that have nearly the same series.

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::kept_order::Moved;
use super::segment_reader::MetricsSegment;

#[derive(Clone)]
pub(super) struct WrittenIndex {
    /// Those of the index that are registered, by place in the order of all.
    series: RoaringBitmap,
    /// The others, by ordinal.
    let_go: RoaringBitmap,
    /// It has the index.
    segment: Arc<MetricsSegment>,
}

impl WrittenIndex {
    /// Of just these series.
    pub fn new(series: RoaringBitmap, segment: Arc<MetricsSegment>) -> WrittenIndex {
        WrittenIndex { series, let_go: RoaringBitmap::new(), segment }
    }

    /// The same one in another segment.
    pub fn copied_to(self, segment: Arc<MetricsSegment>) -> WrittenIndex {
        WrittenIndex { segment, ..self }
    }

    pub fn segment(&self) -> &Arc<MetricsSegment> {
        &self.segment
    }

    /// Those that are registered, by place in the order.
    pub fn series(&self) -> &RoaringBitmap {
        &self.series
    }

    /// With those that are not.
    pub fn series_count(&self) -> u64 {
        self.series.len() + self.let_go.len()
    }

    /// The ordinals of all series but these.
    pub fn others_than(&self, series: &RoaringBitmap) -> RoaringBitmap {
        &self.let_go | self.ordinals_of(&(&self.series - series))
    }

    /// The order has changed.
    pub fn follow(&mut self, moved: &Moved) {
        self.let_go |= self.ordinals_of(&(&self.series & moved.gone()));
        self.series = moved.follow(&self.series);
    }

    fn ordinals_of(&self, series: &RoaringBitmap) -> RoaringBitmap {
        if series.is_empty() {
            return RoaringBitmap::new();
        }
        let ordinals = (0..).filter(|&ordinal| !self.let_go.contains(ordinal)).zip(&self.series);
        ordinals.filter(|(_, place)| series.contains(*place)).map(|(ordinal, _)| ordinal).collect()
    }
}
