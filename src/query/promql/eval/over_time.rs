//! The `*_over_time` family: one number (or histogram) of a window.

use super::annotations::Note;
use super::math::{KahanSum, Mean, kahan_add, quantile};
use super::row::Cell;
use super::window::{Notes, Window};

pub fn count(window: &Window<'_>, _notes: &Notes<'_>) -> Option<Cell> {
    Some(Cell::Float(window.len() as f64))
}

pub fn present(_window: &Window<'_>, _notes: &Notes<'_>) -> Option<Cell> {
    Some(Cell::Float(1.0))
}

pub fn last(window: &Window<'_>, _notes: &Notes<'_>) -> Option<Cell> {
    if window.timestamps.last() > window.histogram_timestamps.last() {
        return window.floats.last().map(|&v| Cell::Float(v));
    }
    window.histograms.last().map(|h| Cell::Histogram(h.clone()))
}

pub fn first(window: &Window<'_>, _notes: &Notes<'_>) -> Option<Cell> {
    match (window.timestamps.first(), window.histogram_timestamps.first()) {
        (Some(float), Some(histogram)) if histogram <= float => {
            Some(Cell::Histogram(window.histograms[0].clone()))
        }
        (Some(_), _) => Some(Cell::Float(window.floats[0])),
        (None, _) => window.histograms.first().map(|h| Cell::Histogram(h.clone())),
    }
}

pub fn timestamp_of_first(window: &Window<'_>, _notes: &Notes<'_>) -> Option<Cell> {
    let first = window.timestamps.first().into_iter().chain(window.histogram_timestamps.first()).min()?;
    Some(Cell::Float(*first as f64 / 1000.0))
}

pub fn timestamp_of_last(window: &Window<'_>, _notes: &Notes<'_>) -> Option<Cell> {
    let last = window.timestamps.last().max(window.histogram_timestamps.last())?;
    Some(Cell::Float(*last as f64 / 1000.0))
}

/// The floats of a window for a function that knows no histograms; tells if it leaves some out.
pub fn floats_only<'a>(window: &Window<'a>, notes: &Notes<'_>) -> Option<&'a [f64]> {
    if window.floats.is_empty() {
        return None;
    }
    if !window.histograms.is_empty() {
        notes.add(Note::HistogramIgnoredInRange { metric: notes.metric() });
    }
    Some(window.floats)
}

pub fn max(window: &Window<'_>, notes: &Notes<'_>) -> Option<Cell> {
    let floats = floats_only(window, notes)?;
    Some(Cell::Float(floats[extreme(floats, |value, best| value > best)]))
}

pub fn min(window: &Window<'_>, notes: &Notes<'_>) -> Option<Cell> {
    let floats = floats_only(window, notes)?;
    Some(Cell::Float(floats[extreme(floats, |value, best| value < best)]))
}

/// Of equal extremes the last.
pub fn timestamp_of_max(window: &Window<'_>, notes: &Notes<'_>) -> Option<Cell> {
    let at = extreme(floats_only(window, notes)?, |value, best| value >= best);
    Some(Cell::Float(window.timestamps[at] as f64 / 1000.0))
}

pub fn timestamp_of_min(window: &Window<'_>, notes: &Notes<'_>) -> Option<Cell> {
    let at = extreme(floats_only(window, notes)?, |value, best| value <= best);
    Some(Cell::Float(window.timestamps[at] as f64 / 1000.0))
}

/// NaN wins only if there is nothing else.
pub fn extreme(floats: &[f64], is_better: impl Fn(f64, f64) -> bool) -> usize {
    let mut best = 0;
    for (i, &value) in floats.iter().enumerate() {
        if is_better(value, floats[best]) || floats[best].is_nan() {
            best = i;
        }
    }
    best
}

pub fn sum_floats(floats: &[f64]) -> f64 {
    let mut sum = KahanSum::default();
    floats.iter().for_each(|&v| sum.add(v));
    sum.total()
}

/// The mean of at least one value.
pub fn average_floats(floats: &[f64]) -> f64 {
    let mut mean = Mean::of(floats[0]);
    floats[1..].iter().for_each(|&v| mean.add(v));
    mean.get()
}

pub fn variance(window: &Window<'_>, notes: &Notes<'_>) -> Option<f64> {
    floats_only(window, notes).map(variance_of)
}

/// The variance of at least one value.
pub fn variance_of(floats: &[f64]) -> f64 {
    let (mut count, mut mean, mut mean_c, mut squares, mut squares_c) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for &value in floats {
        count += 1.0;
        let delta = value - (mean + mean_c);
        (mean, mean_c) = kahan_add(delta / count, mean, mean_c);
        (squares, squares_c) = kahan_add(delta * (value - (mean + mean_c)), squares, squares_c);
    }
    (squares + squares_c) / count
}

pub fn stdvar(window: &Window<'_>, notes: &Notes<'_>) -> Option<Cell> {
    variance(window, notes).map(Cell::Float)
}

pub fn stddev(window: &Window<'_>, notes: &Notes<'_>) -> Option<Cell> {
    variance(window, notes).map(|v| Cell::Float(v.sqrt()))
}

/// Median of the absolute deviations from the median.
pub fn median_absolute_deviation(window: &Window<'_>, notes: &Notes<'_>) -> Option<Cell> {
    let floats = floats_only(window, notes)?;
    if floats.iter().any(|v| v.is_nan()) {
        return Some(Cell::Float(f64::NAN));
    }
    let mut values = floats.to_vec();
    let median = quantile(0.5, &mut values);
    values.iter_mut().for_each(|v| *v = (*v - median).abs());
    Some(Cell::Float(quantile(0.5, &mut values)))
}

pub fn quantile_over_time(q: f64, window: &Window<'_>, notes: &Notes<'_>) -> Option<Cell> {
    if window.floats.is_empty() {
        return None;
    }
    if !(0.0..=1.0).contains(&q) {
        notes.add(Note::InvalidQuantile { q });
    }
    let mut values = floats_only(window, notes)?.to_vec();
    Some(Cell::Float(quantile(q, &mut values)))
}
