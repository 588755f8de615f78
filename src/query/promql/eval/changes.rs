//! resets and changes: how often a series turned.

use std::sync::Arc;

use crate::model::{Histogram, Timestamp};

use super::row::Cell;
use super::starts::{Counted, counted, is_reset};
use super::window::{Notes, Window};

/// A sample among floats and histograms.
#[derive(Clone, Copy)]
struct Sample<'a> {
    counted: Counted,
    value: Value<'a>,
}

#[derive(Clone, Copy)]
enum Value<'a> {
    Float(f64),
    Histogram(&'a Arc<Histogram>),
}

/// Times a counter began anew; a change between float and histogram is one.
pub fn resets(window: &Window<'_>, notes: &Notes<'_>) -> Option<Cell> {
    if window.histograms.is_empty() {
        return Some(Cell::Float(window.lost.len() as f64));
    }
    resets_by_pairs(window, notes)
}

/// As [`resets`], but without what the pass over the series knows of it already.
pub fn resets_by_pairs(window: &Window<'_>, _notes: &Notes<'_>) -> Option<Cell> {
    Some(Cell::Float(count_pairs(window, |before, after| match (before.value, after.value) {
        (Value::Float(a), Value::Float(b)) => b < a || is_reset(before.counted, after.counted),
        (Value::Histogram(a), Value::Histogram(b)) => {
            is_reset(before.counted, after.counted) || b.detect_reset(a)
        }
        _ => true,
    })))
}

/// Times a value differed from the one before it; from NaN to NaN is no difference.
pub fn changes(window: &Window<'_>, _notes: &Notes<'_>) -> Option<Cell> {
    Some(Cell::Float(count_pairs(window, |before, after| match (before.value, after.value) {
        (Value::Float(a), Value::Float(b)) => a != b && !(a.is_nan() && b.is_nan()),
        (Value::Histogram(a), Value::Histogram(b)) => !a.equals(b),
        _ => true,
    })))
}

/// Counts neighbours in time, floats and histograms together.
fn count_pairs(window: &Window<'_>, turns: impl Fn(Sample<'_>, Sample<'_>) -> bool) -> f64 {
    let mut count = 0.0;
    let mut before = None;
    let (mut f, mut h) = (0, 0);
    while let Some(sample) = next_sample(window, &mut f, &mut h) {
        if before.is_some_and(|before| turns(before, sample)) {
            count += 1.0;
        }
        before = Some(sample);
    }
    count
}

fn next_sample<'a>(window: &Window<'a>, f: &mut usize, h: &mut usize) -> Option<Sample<'a>> {
    let float_at: Option<&Timestamp> = window.timestamps.get(*f);
    let is_float = match (float_at, window.histogram_timestamps.get(*h)) {
        (Some(float), Some(histogram)) => float < histogram,
        (float, _) => float.is_some(),
    };
    if is_float {
        *f += 1;
        let counted = counted(window.timestamps, window.starts, *f - 1);
        return Some(Sample { counted, value: Value::Float(window.floats[*f - 1]) });
    }
    let histogram = window.histograms.get(*h)?;
    *h += 1;
    let counted = counted(window.histogram_timestamps, window.histogram_starts, *h - 1);
    Some(Sample { counted, value: Value::Histogram(histogram) })
}
