//! `anchored` and `smoothed` windows: values at the edges are found among samples outside, not extrapolated.
//!
//! The window handed in here reaches one lookback beyond its edges, `(after - lookback, until (+ lookback)]`.

use std::sync::Arc;

use crate::model::{Histogram, Timestamp};
use crate::query::promql::ast::Edges;
use crate::query::promql::histogram_functions::{HistogramNote, HistogramOperation};

use super::annotations::Note;
use super::changes;
use super::rate::RateKind;
use super::row::Cell;
use super::window::{Notes, Window};

/// The samples that matter: from the one that gives the value at the left edge to the one for the right edge.
struct Span {
    first: usize,
    last: usize,
}

fn span(timestamps: &[Timestamp], window: &Window<'_>, edges: Edges) -> Option<Span> {
    let mut last = timestamps.len().checked_sub(1)?;
    let first = timestamps[..last].partition_point(|&t| t <= window.after).saturating_sub(1);
    if edges == Edges::Smoothed {
        last = timestamps[..last].partition_point(|&t| t < window.until);
        if timestamps[first] > window.until {
            return None;
        }
    }
    (timestamps[last] > window.after).then_some(Span { first, last })
}

/// rate, increase and delta.
pub fn change(kind: RateKind, edges: Edges, window: &Window<'_>, notes: &Notes<'_>) -> Option<Cell> {
    if window.is_mixed() {
        notes.add(Note::MixedFloatsHistograms { metric: notes.metric() });
        return None;
    }
    let seconds = (window.until - window.after) as f64 / 1000.0;
    if window.histograms.is_empty() {
        let change = float_change(kind, edges, window)?;
        return Some(Cell::Float(if kind.is_per_second { change / seconds } else { change }));
    }
    let mut change = histogram_change(kind, edges, window, notes)?;
    if kind.is_per_second {
        change.div(seconds);
    }
    change.hint = crate::model::histogram::ResetHint::Gauge;
    change.compact(0);
    Some(Cell::Histogram(change.into()))
}

fn float_change(kind: RateKind, edges: Edges, window: &Window<'_>) -> Option<f64> {
    let (times, values) = (window.timestamps, window.floats);
    let Span { first, last } = span(times, window, edges)?;
    let is_smoothed = edges == Edges::Smoothed;
    let between =
        |a: usize, at| interpolate((times[a], values[a]), (times[a + 1], values[a + 1]), at, kind.is_counter);
    let left =
        if is_smoothed && times[first] < window.after { between(first, window.after) } else { values[first] };
    let right = match is_smoothed && last > 0 && times[last] > window.until {
        true => between(last - 1, window.until),
        false => values[last],
    };
    let mut change = right - left;
    if kind.is_counter {
        let inner_from = first + usize::from(times[first] <= window.after);
        let inner_to = last + usize::from(times[last] < window.until);
        let inner = values.get(inner_from..inner_to).unwrap_or_default();
        let mut previous = left;
        let mut lost = 0.0;
        for &value in inner.iter().chain([&right]) {
            if value < previous {
                lost += previous;
            }
            previous = value;
        }
        change += lost;
    }
    Some(change)
}

/// The value at `at` on the line between two samples; a counter that fell began anew at 0.
pub fn interpolate(a: (Timestamp, f64), b: (Timestamp, f64), at: Timestamp, is_counter: bool) -> f64 {
    let from = if is_counter && b.1 < a.1 { 0.0 } else { a.1 };
    from + (b.1 - from) * (at - a.0) as f64 / (b.0 - a.0) as f64
}

/// As [`interpolate`]; `None` if exponential and custom buckets meet.
pub fn interpolate_histograms(
    a: (Timestamp, &Histogram),
    b: (Timestamp, &Histogram),
    at: Timestamp,
    is_counter: bool,
    notes: &Notes<'_>,
) -> Option<Histogram> {
    if at == a.0 {
        return Some(a.1.clone());
    }
    let mut result = b.1.clone();
    if at == b.0 {
        return Some(result);
    }
    let fraction = (at - a.0) as f64 / (b.0 - a.0) as f64;
    if is_counter && b.1.detect_reset(a.1) {
        result.mul(fraction);
        return Some(result);
    }
    subtract(&mut result, a.1, notes)?;
    result.mul(fraction);
    add(&mut result, a.1, notes)?;
    Some(result)
}

fn histogram_change(
    kind: RateKind,
    edges: Edges,
    window: &Window<'_>,
    notes: &Notes<'_>,
) -> Option<Histogram> {
    let (times, values) = (window.histogram_timestamps, window.histograms);
    let Span { first, last } = span(times, window, edges)?;
    if !are_alike(&values[first..=last], kind.is_counter, notes) {
        return None;
    }
    let is_smoothed = edges == Edges::Smoothed;
    let between = |a: usize, at| {
        interpolate_histograms(
            (times[a], &values[a]),
            (times[a + 1], &values[a + 1]),
            at,
            kind.is_counter,
            notes,
        )
    };
    let left = match is_smoothed && times[first] < window.after {
        true => between(first, window.after)?,
        false => (*values[first]).clone(),
    };
    let right = match is_smoothed && last > 0 && times[last] > window.until {
        true => between(last - 1, window.until)?,
        false => (*values[last]).clone(),
    };
    let is_gauge = |h: &Histogram| h.hint == crate::model::histogram::ResetHint::Gauge;
    if !(kind.is_counter || is_gauge(&left) && is_gauge(&right)) {
        notes.add_all([HistogramNote::NotGauge]);
    }
    let mut change = right.clone();
    subtract(&mut change, &left, notes)?;
    if kind.is_counter {
        // A reset that the left edge was interpolated across is in its value already.
        let is_spanned =
            is_smoothed && times[first] < window.after && values[first + 1].detect_reset(&values[first]);
        let (before, from) = match is_spanned {
            true => ((*values[first + 1]).clone(), first + 2),
            false => (left, first + 1),
        };
        if from <= last {
            add_lost(&mut change, before, &values[from..last], &right, notes)?;
        }
    }
    Some(change)
}

/// Adds what was lost in each reset from `before` over `inner` to `right`.
fn add_lost(
    change: &mut Histogram,
    before: Histogram,
    inner: &[Arc<Histogram>],
    right: &Histogram,
    notes: &Notes<'_>,
) -> Option<()> {
    let mut previous = &before;
    for histogram in inner.iter().map(|h| &**h).chain([right]) {
        if histogram.detect_reset(previous) {
            add(change, previous, notes)?;
        }
        previous = histogram;
    }
    Some(())
}

/// Only exponential or only custom buckets; gauges under a counter function are remarked upon.
fn are_alike(histograms: &[Arc<Histogram>], is_counter: bool, notes: &Notes<'_>) -> bool {
    let custom = histograms[0].has_custom_buckets();
    for histogram in histograms {
        if histogram.has_custom_buckets() != custom {
            notes.add_all([HistogramNote::MixedExponentialCustom]);
            return false;
        }
        if is_counter && histogram.hint == crate::model::histogram::ResetHint::Gauge {
            notes.add_all([HistogramNote::NotCounter]);
        }
    }
    true
}

fn add(sum: &mut Histogram, term: &Histogram, notes: &Notes<'_>) -> Option<()> {
    combined(sum.add(term), HistogramOperation::Addition, notes)
}

fn subtract(sum: &mut Histogram, term: &Histogram, notes: &Notes<'_>) -> Option<()> {
    combined(sum.sub(term), HistogramOperation::Subtraction, notes)
}

fn combined(
    result: Result<crate::model::histogram::Reconciled, crate::model::histogram::MixedSchemas>,
    operation: HistogramOperation,
    notes: &Notes<'_>,
) -> Option<()> {
    match result {
        Ok(reconciled) if reconciled.bounds_intersected => {
            notes.add_all([HistogramNote::BoundsReconciled(operation)]);
        }
        Ok(_) => {}
        Err(_) => {
            notes.add_all([HistogramNote::MixedExponentialCustom]);
            return None;
        }
    }
    Some(())
}

/// resets and changes over an anchored window: from the newest sample at or before the left edge on.
pub fn anchored_turns(is_resets: bool, window: &Window<'_>, notes: &Notes<'_>) -> Option<Cell> {
    let floats_before = window.timestamps.partition_point(|&t| t <= window.after);
    let histograms_before = window.histogram_timestamps.partition_point(|&t| t <= window.after);
    if floats_before == window.floats.len() && histograms_before == window.histograms.len() {
        return None;
    }
    let newest_float = floats_before.checked_sub(1).map(|i| window.timestamps[i]);
    let newest_histogram = histograms_before.checked_sub(1).map(|i| window.histogram_timestamps[i]);
    let from_float = floats_before - usize::from(newest_float.is_some() && newest_float >= newest_histogram);
    let from_histogram = histograms_before - usize::from(newest_histogram > newest_float);
    let inside = Window {
        timestamps: &window.timestamps[from_float..],
        floats: &window.floats[from_float..],
        histogram_timestamps: &window.histogram_timestamps[from_histogram..],
        histograms: &window.histograms[from_histogram..],
        starts: window.starts.get(from_float..).unwrap_or(&[]),
        histogram_starts: window.histogram_starts.get(from_histogram..).unwrap_or(&[]),
        ..*window
    };
    if is_resets { changes::resets_by_pairs(&inside, notes) } else { changes::changes(&inside, notes) }
}

/// The floats of a range as they are shown: those inside, and the values found for the edges.
pub fn extended_floats(window: &Window<'_>, edges: Edges) -> Vec<(Timestamp, f64)> {
    let (times, values) = (window.timestamps, window.floats);
    let Some(Span { first, last }) = span(times, window, edges) else { return Vec::new() };
    let is_smoothed = edges == Edges::Smoothed;
    let between = |a: usize, at| interpolate((times[a], values[a]), (times[a + 1], values[a + 1]), at, false);
    let left =
        if is_smoothed && times[first] < window.after { between(first, window.after) } else { values[first] };
    let right = match is_smoothed && last > 0 && times[last] > window.until {
        true => between(last - 1, window.until),
        false => values[last],
    };
    let from = first + usize::from(times[first] <= window.after);
    let to = (last + usize::from(times[last] < window.until)).max(from);
    let inner = times[from..to].iter().copied().zip(values[from..to].iter().copied());
    [(window.after, left)].into_iter().chain(inner).chain([(window.until, right)]).collect()
}
