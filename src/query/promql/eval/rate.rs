//! rate, increase, delta and their instant forms.

use crate::model::{TimeRange, Timestamp};
use crate::query::promql::histogram_rate::{histogram_change, histogram_instant_change};

use super::annotations::Note;
use super::row::Cell;
use super::starts::{Counted, begun_inside, counted, has_overlap, is_reset};
use super::window::{Notes, Window};

/// Which of the three a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateKind {
    /// Decreases are resets: rate and increase.
    pub is_counter: bool,
    /// Divided by the range: rate.
    pub is_per_second: bool,
}

/// A change but for its values: when it was seen, and over which window it is to be told.
pub struct Change {
    /// Times of the first and the last sample, and how many there are.
    pub first: Timestamp,
    pub last: Timestamp,
    pub samples: u64,
    /// The start of the first sample, if it lies inside the window: the counter was 0 there.
    pub begun: Option<Timestamp>,
    pub range: TimeRange,
}

impl Change {
    /// Of a window that is all floats or all histograms. None if there is nothing to compute a change from: two samples
    /// are needed, or one whose start is known.
    fn new(
        kind: RateKind,
        window: &Window<'_>,
        timestamps: &[Timestamp],
        starts: &[Timestamp],
        notes: &Notes<'_>,
    ) -> Option<Change> {
        if kind.is_counter && has_overlap(timestamps, starts) {
            notes.add(Note::OverlappingStart { metric: notes.metric(), count: 1 });
        }
        let begun = begun_inside(window.after, timestamps, starts).filter(|_| kind.is_counter);
        let (first, last) = (*timestamps.first()?, *timestamps.last()?);
        let range = TimeRange { after: window.after, until: window.until };
        let samples = timestamps.len() as u64;
        (samples > 1 || begun.is_some()).then_some(Change { first, last, samples, begun, range })
    }

    pub fn spacing(&self) -> Spacing {
        let Change { first, last, samples, range, .. } = *self;
        Spacing {
            to_start_ms: first - range.after,
            between_ms: last - first,
            to_end_ms: range.until - last,
            samples,
        }
    }
}

/// How samples without a known beginning lie in their window: where they lie alike, changes are carried alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spacing {
    to_start_ms: i64,
    between_ms: i64,
    to_end_ms: i64,
    samples: u64,
}

/// rate, increase and delta: the change between first and last sample, extrapolated to the edges.
pub fn extrapolated(kind: RateKind, window: &Window<'_>, notes: &Notes<'_>) -> Option<Cell> {
    if window.is_mixed() {
        notes.add(Note::MixedFloatsHistograms { metric: notes.metric() });
        return None;
    }
    if let ([first, ..], [.., last]) = (window.floats, window.floats) {
        let seen = Change::new(kind, window, window.timestamps, window.starts, notes)?;
        let mut change =
            window.lost.iter().filter(|_| kind.is_counter).fold(last - first, |sum, lost| sum + lost);
        if seen.begun.is_some() {
            change += first;
        }
        return Some(Cell::Float(change * extrapolation(kind, &seen, *first, change)));
    }
    histogram_extrapolated(kind, window, notes)
}

fn histogram_extrapolated(kind: RateKind, window: &Window<'_>, notes: &Notes<'_>) -> Option<Cell> {
    let [first, ..] = window.histograms else { return None };
    let (timestamps, starts) = (window.histogram_timestamps, window.histogram_starts);
    let seen = Change::new(kind, window, timestamps, starts, notes)?;
    let is_reset = |i: usize| is_reset(counted(timestamps, starts, i - 1), counted(timestamps, starts, i));
    let (change, told) = histogram_change(window.histograms, kind.is_counter, is_reset, seen.begun.is_some());
    notes.add_all(told);
    let mut change = change?;
    let factor = extrapolation(kind, &seen, first.count, change.count);
    change.mul(factor);
    Some(Cell::Histogram(change.into()))
}

/// By what a change between the first and the last sample is multiplied.
///
/// The change is carried on to an edge that is near: less than 1.1 average gaps away. A farther edge means that
/// the series began or ended inside; then half a gap is added, and for a counter never more than brings it to 0.
/// A counter whose beginning is known changed from there on.
pub fn extrapolation(kind: RateKind, seen: &Change, first_value: f64, change: f64) -> f64 {
    Reach::of(seen).extrapolation(kind, first_value, change)
}

/// What of an extrapolation follows from the times of samples alone, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    /// From the first sample to the last.
    between: f64,
    /// That, or from the known beginning on.
    sampled: f64,
    to_start: f64,
    to_end: f64,
    range: f64,
}

impl Reach {
    pub fn of(seen: &Change) -> Reach {
        let Change { first, last, range, .. } = *seen;
        let between = (last - first) as f64 / 1000.0;
        // A single sample has no gap, and is carried nowhere.
        let gap = if first == last { 0.0 } else { between / (seen.samples - 1) as f64 };
        let carried = |to_edge_ms: i64| {
            let to_edge = to_edge_ms as f64 / 1000.0;
            if to_edge >= gap * 1.1 { gap / 2.0 } else { to_edge }
        };
        let (sampled, to_start) = match seen.begun {
            Some(begun) => ((last - begun) as f64 / 1000.0, 0.0),
            None => (between, carried(first - range.after)),
        };
        let to_end = carried(range.until - last);
        Reach { between, sampled, to_start, to_end, range: (range.until - range.after) as f64 / 1000.0 }
    }

    /// As [`extrapolation`].
    #[inline]
    pub fn extrapolation(&self, kind: RateKind, first_value: f64, change: f64) -> f64 {
        let mut to_start = self.to_start;
        // Nothing is added before a known beginning.
        if kind.is_counter && change > 0.0 && first_value >= 0.0 && to_start > 0.0 {
            to_start = to_start.min(self.between * (first_value / change));
        }
        self.factor(kind, to_start)
    }

    /// The same of all values for which [`is_far_from_zero`]; none if they matter nevertheless.
    pub fn extrapolation_far_from_zero(&self, kind: RateKind) -> Option<f64> {
        (self.between >= self.to_start).then(|| self.factor(kind, self.to_start))
    }

    #[inline]
    fn factor(&self, kind: RateKind, to_start: f64) -> f64 {
        let factor = (self.sampled + to_start + self.to_end) / self.sampled;
        if kind.is_per_second { factor / self.range } else { factor }
    }
}

/// Whether the counter cannot have been 0 so near that less is added before the first sample: a first value of all the change
/// or more was reached in all the time between the samples or more.
#[inline]
pub fn is_far_from_zero(kind: RateKind, first_value: f64, change: f64) -> bool {
    // No branches: there may be millions of these.
    let may_have_begun = kind.is_counter & (change > 0.0) & (first_value >= 0.0);
    !may_have_begun | (first_value >= change)
}

/// irate and idelta: from the last two samples, whatever they are.
pub fn instant(is_rate: bool, window: &Window<'_>, notes: &Notes<'_>) -> Option<Cell> {
    let [(before, first), (after, last)] = last_two(window)?;
    if before.at == after.at {
        return None;
    }
    let seconds = (after.at - before.at) as f64 / 1000.0;
    let is_restarted = is_rate && is_reset(before, after);
    match (first, last) {
        (Cell::Float(first), Cell::Float(last)) => {
            // After a reset, what the counter shows is what it counted.
            let change = if is_rate && (last < first || is_restarted) { last } else { last - first };
            Some(Cell::Float(if is_rate { change / seconds } else { change }))
        }
        (Cell::Histogram(first), Cell::Histogram(last)) => {
            let (change, told) = histogram_instant_change(&first, &last, is_rate, is_restarted);
            notes.add_all(told);
            let mut change = change?;
            if is_rate {
                change.div(seconds);
            }
            Some(Cell::Histogram(change.into()))
        }
        _ => {
            notes.add(Note::MixedFloatsHistograms { metric: notes.metric() });
            None
        }
    }
}

/// The two newest samples of a window in time order.
fn last_two(window: &Window<'_>) -> Option<[(Counted, Cell); 2]> {
    let float = |i| (counted(window.timestamps, window.starts, i), Cell::Float(window.floats[i]));
    if window.histograms.is_empty() {
        let before = window.floats.len().checked_sub(2)?;
        return Some([float(before), float(before + 1)]);
    }
    let histogram = |i: usize| {
        let counted = counted(window.histogram_timestamps, window.histogram_starts, i);
        (counted, Cell::Histogram(window.histograms[i].clone()))
    };
    let newest_of = |len: usize| (len.saturating_sub(2)..len).rev();
    let mut newest: Vec<(Counted, Cell)> = newest_of(window.floats.len()).map(float).collect();
    newest.extend(newest_of(window.histograms.len()).map(histogram));
    newest.sort_by_key(|(counted, _)| std::cmp::Reverse(counted.at));
    let mut newest = newest.into_iter();
    let last = newest.next()?;
    Some([newest.next()?, last])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            (-3i32..30).prop_map(f64::from),
            (90i32..110).prop_map(f64::from),
            prop::sample::select(vec![-0.0, 0.1, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
        ]
    }

    proptest! {
        #[test]
        fn far_from_zero_all_changes_are_carried_as_far(
            (to_start, between, to_end) in (0i64..130, 1i64..110, 0i64..130),
            samples in 2u64..5,
            first_value in value(),
            change in value(),
            is_counter: bool,
            is_per_second: bool,
        ) {
            let range = TimeRange { after: -to_start, until: between + to_end };
            let reach = Reach::of(&Change { first: 0, last: between, samples, begun: None, range });
            let kind = RateKind { is_counter, is_per_second };
            if let Some(factor) = reach.extrapolation_far_from_zero(kind).filter(|_| is_far_from_zero(kind, first_value, change)) {
                prop_assert_eq!(factor.to_bits(), reach.extrapolation(kind, first_value, change).to_bits());
            }
        }
    }
}
