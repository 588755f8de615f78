//! Walks several segments at once, series by series in order of labels.

use std::sync::Arc;

use super::segment_reader::MetricsSegment;
use super::visible::VisibleSegment;
use crate::storage::index::{LabelRanks, RankedLabels};
use crate::storage::segment::SegmentError;

/// Segments that have a series, each by its place and the ordinal of the series there.
pub(super) type Places = Vec<(usize, u32)>;

pub(super) struct Walk<'a> {
    segments: Vec<&'a MetricsSegment>,
    groups: Vec<Group<'a>>,
    /// Of the labels of all groups; of one alone as soon as somebody wants them.
    ranks: Option<LabelRanks>,
    /// Of the series it stands at, by rank; of one group alone empty until somebody wants them.
    labels: Vec<u32>,
    /// Of some series of the only group there is nothing to be seen.
    lacks_some: bool,
}

/// Segments of one index, in which an ordinal is the same series: those between which no series came or went.
struct Group<'a> {
    /// Of the segments, in order.
    places: Vec<usize>,
    /// The first of them.
    segment: &'a MetricsSegment,
    next: u32,
    series: Option<RankedLabels<'a>>,
    /// Of the next series, if there is one.
    labels: Vec<u32>,
}

impl<'a> Walk<'a> {
    /// Stands before the first series.
    pub fn new(
        segments: impl IntoIterator<Item = &'a Arc<VisibleSegment>>,
    ) -> Result<Walk<'a>, SegmentError> {
        let visible: Vec<&VisibleSegment> = segments.into_iter().map(|visible| &**visible).collect();
        let segments: Vec<&MetricsSegment> = visible.iter().map(|visible| &**visible.segment()).collect();
        let mut groups: Vec<Group<'a>> = Vec::new();
        for (place, &segment) in segments.iter().enumerate() {
            match groups.iter_mut().find(|group| have_same_series(group.segment, segment)) {
                Some(group) => group.places.push(place),
                None => groups.push(Group::new(place, segment)),
            }
        }
        let lacks_some = groups.len() == 1 && lack_some(&visible);
        let mut walk = Walk { segments, groups, ranks: None, labels: Vec::new(), lacks_some };
        if walk.groups.len() > 1 {
            walk.rank_labels()?;
            walk.groups.iter_mut().try_for_each(|group| group.read_labels())?;
        }
        Ok(walk)
    }

    fn rank_labels(&mut self) -> Result<(), SegmentError> {
        let indexes: Vec<_> = self.groups.iter().map(|group| group.segment.index()).collect();
        let (ranks, series) = LabelRanks::of(&indexes)?;
        self.groups.iter_mut().zip(series).for_each(|(group, series)| group.series = Some(series));
        self.ranks = Some(ranks);
        Ok(())
    }

    /// Goes to the next series, unless there is none. `found` is who has it then.
    pub fn next(&mut self, found: &mut Places) -> Result<bool, SegmentError> {
        found.clear();
        match &mut self.groups[..] {
            [group] => {
                self.labels.clear();
                if group.has_next() {
                    group.go_on(found);
                }
            }
            groups => next_of(groups, &mut self.labels, found)?,
        }
        Ok(!found.is_empty())
    }

    /// The labels of the series it stands at, by their ranks.
    pub fn labels(&mut self) -> Result<&[u32], SegmentError> {
        if let ([group], true) = (&self.groups[..], self.labels.is_empty()) {
            let ordinal = group.next.checked_sub(1).expect("it stands at a series");
            let mut labels = std::mem::take(&mut self.labels);
            self.read_labels(ordinal, &mut labels)?;
            self.labels = labels;
        }
        Ok(&self.labels)
    }

    /// Where all segments have the same series: the labels of one.
    pub fn read_labels(&mut self, ordinal: u32, labels: &mut Vec<u32>) -> Result<(), SegmentError> {
        if self.ranks.is_none() {
            self.rank_labels()?;
        }
        let [Group { series: Some(series), .. }] = &mut self.groups[..] else {
            unreachable!("one group, ranked")
        };
        series.read(ordinal, labels)
    }

    /// Of the series it stands at; empty if it has none.
    pub fn metric_name(&mut self) -> Result<&str, SegmentError> {
        self.labels()?;
        Ok(self.ranks.as_ref().map_or("", |ranks| ranks.value_of("__name__", &self.labels)))
    }

    pub fn segments(&self) -> &[&'a MetricsSegment] {
        &self.segments
    }

    /// The segment whose series are those of the walk, each at its ordinal; not where it is clear that some will be left out.
    pub fn same_series(&self) -> Option<&'a MetricsSegment> {
        match &self.groups[..] {
            [group] if !self.lacks_some => Some(group.segment),
            _ => None,
        }
    }

    /// What the ranks of labels stand for.
    pub fn into_ranks(self) -> LabelRanks {
        self.ranks.unwrap_or_default()
    }
}

impl<'a> Group<'a> {
    fn new(place: usize, segment: &'a MetricsSegment) -> Group<'a> {
        Group { places: vec![place], segment, next: 0, series: None, labels: Vec::new() }
    }

    fn has_next(&self) -> bool {
        self.next < self.segment.series_count()
    }

    /// Makes `labels` those of the next series.
    fn read_labels(&mut self) -> Result<(), SegmentError> {
        match &mut self.series {
            Some(series) if self.next < self.segment.series_count() => {
                series.read(self.next, &mut self.labels)
            }
            _ => Ok(()),
        }
    }

    fn go_on(&mut self, found: &mut Places) {
        found.extend(self.places.iter().map(|&place| (place, self.next)));
        self.next += 1;
    }
}

/// Not where an index is damaged: then its labels are ranked, which reads them, and nothing else, and reports what they cannot be read
/// from.
fn have_same_series(one: &MetricsSegment, other: &MetricsSegment) -> bool {
    one.index().is_same_as(other.index()).unwrap_or(false)
}

/// Whether of some series, which all of these segments name, there is nothing in any of them.
fn lack_some(visible: &[&VisibleSegment]) -> bool {
    let (first, others) = visible.split_first().expect("somebody walks");
    let mut left_out = first.left_out().into_owned();
    others.iter().for_each(|other| left_out &= &*other.left_out());
    !left_out.is_empty()
}

/// Makes `labels` those of the series that comes next in any of them, if there is one, and leaves it behind.
fn next_of(groups: &mut [Group<'_>], labels: &mut Vec<u32>, found: &mut Places) -> Result<(), SegmentError> {
    let mut least: Option<&Group<'_>> = None;
    for group in groups.iter().filter(|group| group.has_next()) {
        if least.is_none_or(|least| group.labels < least.labels) {
            least = Some(group);
        }
    }
    let Some(least) = least else { return Ok(()) };
    labels.clone_from(&least.labels);
    for group in groups.iter_mut().filter(|group| group.has_next() && group.labels == *labels) {
        group.go_on(found);
        group.read_labels()?;
    }
    // In the order of the segments: the later one is right.
    found.sort_unstable_by_key(|(place, _)| *place);
    Ok(())
}
