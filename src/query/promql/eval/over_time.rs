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
    floats_only(window, notes).map(|floats| Cell::Float(greatest(floats)))
}

pub fn min(window: &Window<'_>, notes: &Notes<'_>) -> Option<Cell> {
    floats_only(window, notes).map(|floats| Cell::Float(least(floats)))
}

/// Of at least one value.
pub fn greatest(floats: &[f64]) -> f64 {
    extreme_value(floats, f64::NEG_INFINITY, |value, best| value > best)
}

/// Of at least one value.
pub fn least(floats: &[f64]) -> f64 {
    extreme_value(floats, f64::INFINITY, |value, best| value < best)
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

/// The float that [`extreme`] finds, where no other is worse than `worst`. Several places are searched side by side, which
/// takes no branches; which of equals comes first matters of zeros alone, whose signs differ.
pub fn extreme_value(floats: &[f64], worst: f64, is_better: impl Fn(f64, f64) -> bool) -> f64 {
    const LANES: usize = 8;
    let better = |value, best| if is_better(value, best) { value } else { best };
    let best_of = |values: &[f64], worst| values.iter().fold(worst, |best, &value| better(value, best));
    let (chunks, rest) = floats.as_chunks::<LANES>();
    let mut best = best_of(rest, worst);
    if let Some((first, others)) = chunks.split_first() {
        // NaN is better than nothing that could be.
        let mut lanes = first.map(|value| better(value, worst));
        for chunk in others {
            lanes.iter_mut().zip(chunk).for_each(|(lane, &value)| *lane = better(value, *lane));
        }
        best = best_of(&lanes, best);
    }
    // What is as bad as can be may be NaN.
    if best == 0.0 || best == worst { floats[extreme(floats, is_better)] } else { best }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_extreme_is_found_to_the_bit(values in prop::collection::vec(
            prop_oneof![
                Just(0.0), Just(-0.0), Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY), -2.0..2.0
            ],
            1..40,
        )) {
            let plain = values[extreme(&values, |value, best| value > best)];
            let found = extreme_value(&values, f64::NEG_INFINITY, |value, best| value > best);
            prop_assert_eq!(found.to_bits(), plain.to_bits());
            let plain = values[extreme(&values, |value, best| value < best)];
            let found = extreme_value(&values, f64::INFINITY, |value, best| value < best);
            prop_assert_eq!(found.to_bits(), plain.to_bits());
        }
    }
}
