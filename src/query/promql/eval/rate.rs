//! rate, increase, delta and their instant forms.

use crate::model::Timestamp;
use crate::query::promql::histogram_rate::{histogram_change, histogram_instant_change};

use super::annotations::Note;
use super::row::Cell;
use super::window::{Notes, Window};

/// Which of the three a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateKind {
    /// Decreases are resets: rate and increase.
    pub is_counter: bool,
    /// Divided by the range: rate.
    pub is_per_second: bool,
}

/// rate, increase and delta: the change between first and last sample, extrapolated to the edges.
pub fn extrapolated(kind: RateKind, window: &Window<'_>, notes: &Notes<'_>) -> Option<Cell> {
    if window.is_mixed() {
        notes.add(Note::MixedFloatsHistograms { metric: notes.metric() });
        return None;
    }
    if let [first, .., last] = window.floats {
        let change =
            window.lost.iter().filter(|_| kind.is_counter).fold(last - first, |sum, lost| sum + lost);
        let factor = extrapolation(kind, window, window.timestamps, *first, change);
        return Some(Cell::Float(change * factor));
    }
    let [first, .., _] = window.histograms else { return None };
    let (change, told) = histogram_change(window.histograms, kind.is_counter);
    notes.add_all(told);
    let mut change = change?;
    let factor = extrapolation(kind, window, window.histogram_timestamps, first.count, change.count);
    change.mul(factor);
    Some(Cell::Histogram(change.into()))
}

/// By what a change between the first and the last of `timestamps` is multiplied.
///
/// The change is carried on to an edge that is near: less than 1.1 average gaps away. A farther edge means that
/// the series began or ended inside; then half a gap is added, and for a counter never more than brings it to 0.
fn extrapolation(
    kind: RateKind,
    window: &Window<'_>,
    timestamps: &[Timestamp],
    first_value: f64,
    change: f64,
) -> f64 {
    let (first, last) = (timestamps[0], timestamps[timestamps.len() - 1]);
    let sampled = (last - first) as f64 / 1000.0;
    let gap = sampled / (timestamps.len() - 1) as f64;
    let threshold = gap * 1.1;
    let mut to_start = (first - window.after) as f64 / 1000.0;
    if to_start >= threshold {
        to_start = gap / 2.0;
    }
    if kind.is_counter && change > 0.0 && first_value >= 0.0 {
        to_start = to_start.min(sampled * (first_value / change));
    }
    let mut to_end = (window.until - last) as f64 / 1000.0;
    if to_end >= threshold {
        to_end = gap / 2.0;
    }
    let mut factor = (sampled + to_start + to_end) / sampled;
    if kind.is_per_second {
        factor /= (window.until - window.after) as f64 / 1000.0;
    }
    factor
}

/// irate and idelta: from the last two samples, whatever they are.
pub fn instant(is_rate: bool, window: &Window<'_>, notes: &Notes<'_>) -> Option<Cell> {
    let [(before, first), (after, last)] = last_two(window)?;
    if before == after {
        return None;
    }
    let seconds = (after - before) as f64 / 1000.0;
    match (first, last) {
        (Cell::Float(first), Cell::Float(last)) => {
            // After a reset, what the counter shows is what it counted.
            let change = if is_rate && last < first { last } else { last - first };
            Some(Cell::Float(if is_rate { change / seconds } else { change }))
        }
        (Cell::Histogram(first), Cell::Histogram(last)) => {
            let (change, told) = histogram_instant_change(&first, &last, is_rate);
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
fn last_two(window: &Window<'_>) -> Option<[(Timestamp, Cell); 2]> {
    let floats = window.timestamps.iter().zip(window.floats).rev().take(2);
    let histograms = window.histogram_timestamps.iter().zip(window.histograms).rev().take(2);
    let mut newest: Vec<(Timestamp, Cell)> = floats.map(|(&t, &v)| (t, Cell::Float(v))).collect();
    newest.extend(histograms.map(|(&t, h)| (t, Cell::Histogram(h.clone()))));
    newest.sort_by_key(|(t, _)| std::cmp::Reverse(*t));
    let mut newest = newest.into_iter();
    let last = newest.next()?;
    Some([newest.next()?, last])
}
