//! Functions that lay a line through a window: deriv, predict_linear, double_exponential_smoothing.

use crate::model::Timestamp;

use super::math::KahanSum;
use super::over_time::floats_only;
use super::row::Cell;
use super::window::{Notes, Window};

struct Line {
    /// Per second.
    slope: f64,
    intercept: f64,
}

/// Least squares; `zero` is the time at which the intercept is taken.
fn regression(timestamps: &[Timestamp], floats: &[f64], zero: Timestamp) -> Line {
    if floats.iter().all(|&v| v == floats[0]) {
        let flat = floats[0].is_finite();
        let intercept = if flat { floats[0] } else { f64::NAN };
        return Line { slope: if flat { 0.0 } else { f64::NAN }, intercept };
    }
    let (mut x_sum, mut y_sum, mut xy_sum, mut xx_sum) =
        (KahanSum::default(), KahanSum::default(), KahanSum::default(), KahanSum::default());
    for (&t, &y) in timestamps.iter().zip(floats) {
        let x = (t - zero) as f64 / 1000.0;
        x_sum.add(x);
        y_sum.add(y);
        xy_sum.add(x * y);
        xx_sum.add(x * x);
    }
    let n = floats.len() as f64;
    let [x, y, xy, xx] = [x_sum, y_sum, xy_sum, xx_sum].map(|s| s.sum + s.c);
    let slope = (xy - x * y / n) / (xx - x * x / n);
    Line { slope, intercept: y / n - slope * x / n }
}

/// The window's floats, if there are the two that a line needs.
fn two_floats<'a>(window: &Window<'a>, notes: &Notes<'_>) -> Option<&'a [f64]> {
    floats_only(window, notes).filter(|floats| floats.len() >= 2)
}

pub fn deriv(window: &Window<'_>, notes: &Notes<'_>) -> Option<Cell> {
    let floats = two_floats(window, notes)?;
    Some(Cell::Float(regression(window.timestamps, floats, window.timestamps[0]).slope))
}

pub fn predict_linear(seconds: f64, window: &Window<'_>, notes: &Notes<'_>) -> Option<Cell> {
    let floats = two_floats(window, notes)?;
    let line = regression(window.timestamps, floats, window.time);
    Some(Cell::Float(line.slope * seconds + line.intercept))
}

/// Holt's linear method; both factors lie strictly between 0 and 1.
pub fn double_exponential_smoothing(
    smoothing: f64,
    trend: f64,
    window: &Window<'_>,
    notes: &Notes<'_>,
) -> Option<Cell> {
    let floats = two_floats(window, notes)?;
    let mut previous = 0.0;
    let mut smoothed = floats[0];
    let mut slope = floats[1] - floats[0];
    for (i, &value) in floats.iter().enumerate().skip(1) {
        if i > 1 {
            slope = trend * (smoothed - previous) + (1.0 - trend) * slope;
        }
        let next = smoothing * value + (1.0 - smoothing) * (smoothed + slope);
        (previous, smoothed) = (smoothed, next);
    }
    Some(Cell::Float(smoothed))
}
