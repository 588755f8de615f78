//! rate, increase and delta at all steps of a series of floats in buckets, where times tell nearly all: by what a change is
//! multiplied is found once for all series that have the same times, and what is left is a subtraction for each step.

use std::ops::Range;

use crate::model::metrics::stale_marker;
use crate::model::rollup::FloatBuckets;

use super::float_window::FloatWindow;
use super::rate::{RateKind, Reach, Spacing, is_far_from_zero};
use super::tally::Samples;

/// By what the change of each step is multiplied.
#[derive(Clone, Default)]
pub struct Factors {
    /// NaN where times alone do not tell.
    of_steps: Vec<f64>,
    /// The last one, and how the samples lie that it is of: those of the next step nearly always lie as these do.
    last: Option<(Spacing, f64)>,
    /// What the steps look at.
    pub samples: Samples,
}

impl Factors {
    pub fn clear(&mut self) {
        self.of_steps.clear();
        self.last = None;
        self.samples = Samples::default();
    }

    pub fn len(&self) -> usize {
        self.of_steps.len()
    }

    /// Appends that of the next step, which sees `new` buckets that the one before did not; there is no window if it sees
    /// no sample.
    pub fn push(&mut self, kind: RateKind, window: Option<FloatWindow<'_, Range<usize>>>, new: u64) {
        if let Some(window) = &window {
            self.samples += Samples { queryable: window.rows.len() as u64, read: new };
        }
        let factor = window.and_then(|window| self.factor_of(kind, &window));
        self.of_steps.push(factor.unwrap_or(f64::NAN));
    }

    fn factor_of(&mut self, kind: RateKind, window: &FloatWindow<'_, Range<usize>>) -> Option<f64> {
        let seen = window.between_ends()?;
        let spacing = seen.spacing();
        if let Some((_, factor)) = self.last.filter(|(last, _)| *last == spacing) {
            return Some(factor);
        }
        let factor = Reach::of(&seen).extrapolation_far_from_zero(kind)? * window.share(kind);
        self.last = Some((spacing, factor));
        Some(factor)
    }

    /// Appends the change at each of these steps, which see these rows. `in_full` computes it of all that a step sees.
    pub fn changes(
        &self,
        kind: RateKind,
        floats: &FloatBuckets,
        rows: &[Range<usize>],
        in_full: impl Fn(usize) -> Option<f64>,
        to: &mut Vec<f64>,
    ) {
        if !kind.is_counter {
            return self.changes_but_for(kind, |_| 0.0, floats, rows, in_full, to);
        }
        if rows[..self.len()].iter().all(|rows| rows.len() <= 1) {
            // A sum begins with 0, which takes the sign of a -0.
            let lost = |rows: &Range<usize>| 0.0 + floats.lost[rows.start];
            return self.changes_but_for(kind, lost, floats, rows, in_full, to);
        }
        let losses = Losses::of(floats);
        self.changes_but_for(kind, |rows| losses.within(rows), floats, rows, in_full, to);
    }

    fn changes_but_for(
        &self,
        kind: RateKind,
        lost: impl Fn(&Range<usize>) -> f64,
        floats: &FloatBuckets,
        rows: &[Range<usize>],
        in_full: impl Fn(usize) -> Option<f64>,
        to: &mut Vec<f64>,
    ) {
        let of_step = |(step, (&factor, rows)): (usize, (&f64, &Range<usize>))| {
            if !factor.is_nan() {
                let (first, last) = (floats.firsts[rows.start], floats.lasts[rows.end - 1]);
                let change = last - first + lost(rows);
                if is_far_from_zero(kind, first, change) {
                    return change * factor;
                }
            }
            in_full(step).unwrap_or_else(stale_marker)
        };
        to.extend(self.of_steps.iter().zip(rows).enumerate().map(of_step));
    }
}

/// Where a counter lost something, in order: most never do.
#[derive(Default)]
struct Losses {
    /// The bucket in which it was lost, or whose first value was less than the one before; what is lost there comes first.
    rows: Vec<(usize, Place)>,
    lost: Vec<f64>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Before,
    Inside,
}

impl Losses {
    fn of(floats: &FloatBuckets) -> Losses {
        let mut losses = Losses::default();
        let mut before: Option<f64> = None;
        for row in (0..floats.len()).filter(|&row| floats.counts[row] > 0) {
            if let Some(before) = before.filter(|before| floats.firsts[row] < *before) {
                losses.push((row, Place::Before), before);
            }
            if floats.lost[row] != 0.0 {
                losses.push((row, Place::Inside), floats.lost[row]);
            }
            before = Some(floats.lasts[row]);
        }
        losses
    }

    fn push(&mut self, place: (usize, Place), lost: f64) {
        self.rows.push(place);
        self.lost.push(lost);
    }

    /// What was lost inside these buckets and between them; the first of them has a sample.
    fn within(&self, rows: &Range<usize>) -> f64 {
        let [from, to] = [(rows.start, Place::Inside), (rows.end, Place::Before)]
            .map(|edge| self.rows.partition_point(|place| *place < edge));
        self.lost[from..to].iter().fold(0.0, |sum, lost| sum + lost)
    }
}
