//! rate, increase and delta at all steps of a series of floats in buckets, where times tell nearly all: by what a change is
//! multiplied is found once for all series that have the same times, and what is left is a subtraction for each step.

use std::ops::Range;

use crate::model::metrics::stale_marker;
use crate::model::rollup::FloatBuckets;

use super::float_window::{FloatWindow, Rows};
use super::rate::{RateKind, Reach, Spacing, is_far_from_zero};
use super::tally::Samples;

/// Among so many changes it is looked for those that cannot be told by factors alone.
const TOLD_AT_ONCE: usize = 64;

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

    /// Appends that of the next step, which looks at so much; there is no window if it sees no sample.
    #[inline]
    pub fn push<R: Rows>(&mut self, kind: RateKind, window: Option<FloatWindow<'_, R>>, looked_at: Samples) {
        if window.is_some() {
            self.samples += looked_at;
        }
        let factor = window.and_then(|window| self.factor_of(kind, &window));
        self.of_steps.push(factor.unwrap_or(f64::NAN));
    }

    #[inline]
    fn factor_of<R: Rows>(&mut self, kind: RateKind, window: &FloatWindow<'_, R>) -> Option<f64> {
        let seen = window.between_ends()?;
        let spacing = seen.spacing();
        if let Some((_, factor)) = self.last.filter(|(last, _)| *last == spacing) {
            return Some(factor);
        }
        let factor = Reach::of(&seen).extrapolation_far_from_zero(kind)? * window.share(kind);
        self.last = Some((spacing, factor));
        Some(factor)
    }

    /// Appends the change at each of these steps, which see these rows; those `in_turn` see one bucket each, the one after that
    /// of the step before. `in_full` computes it of all that a step sees.
    pub fn changes(
        &self,
        kind: RateKind,
        floats: &FloatBuckets,
        (rows, in_turn): (&[Range<usize>], Range<usize>),
        in_full: impl Fn(usize) -> Option<f64>,
        to: &mut Vec<f64>,
    ) {
        let len = self.len();
        let in_turn = in_turn.start.min(len)..in_turn.end.min(len);
        let mut each = |steps: Range<usize>| self.changes_of_each(kind, floats, rows, steps, &in_full, to);
        if in_turn.is_empty() {
            return each(0..len);
        }
        each(0..in_turn.start);
        self.changes_in_turn(kind, floats, rows[in_turn.start].start, in_turn.clone(), &in_full, to);
        self.changes_of_each(kind, floats, rows, in_turn.end..len, &in_full, to);
    }

    fn changes_of_each(
        &self,
        kind: RateKind,
        floats: &FloatBuckets,
        rows: &[Range<usize>],
        steps: Range<usize>,
        in_full: impl Fn(usize) -> Option<f64>,
        to: &mut Vec<f64>,
    ) {
        let counter = kind.is_counter && !steps.is_empty();
        let losses = if counter { Losses::of(floats) } else { Losses::default() };
        let of_step = |step: usize| {
            let (factor, rows) = (self.of_steps[step], &rows[step]);
            if !factor.is_nan() {
                let (first, last) = (floats.firsts[rows.start], floats.lasts[rows.end - 1]);
                let change = last - first + losses.within(rows);
                if is_far_from_zero(kind, first, change) {
                    return change * factor;
                }
            }
            in_full(step).unwrap_or_else(stale_marker)
        };
        to.extend(steps.map(of_step));
    }

    /// There may be millions of these: all are computed without a branch, and those again that cannot be told so.
    fn changes_in_turn(
        &self,
        kind: RateKind,
        floats: &FloatBuckets,
        first_row: usize,
        steps: Range<usize>,
        in_full: impl Fn(usize) -> Option<f64>,
        to: &mut Vec<f64>,
    ) {
        let (start, rows) = (to.len(), first_row..first_row + steps.len());
        let factors = &self.of_steps[steps.clone()];
        let ends = floats.firsts[rows.clone()].iter().zip(&floats.lasts[rows.clone()]).zip(factors);
        let change = |change: f64, first: f64, factor: f64| {
            if is_far_from_zero(kind, first, change) { change * factor } else { f64::NAN }
        };
        if kind.is_counter {
            // A sum begins with 0, which takes the sign of a -0.
            let lost = floats.lost[rows].iter().map(|lost| 0.0 + lost);
            let changes = ends
                .zip(lost)
                .map(|(((&first, &last), &factor), lost)| change(last - first + lost, first, factor));
            to.extend(changes);
        } else {
            to.extend(ends.map(|((&first, &last), &factor)| change(last - first, first, factor)));
        }
        // Most come in runs that can be told.
        for (at, changes) in to[start..].chunks_mut(TOLD_AT_ONCE).enumerate() {
            if changes.iter().fold(false, |any, change| any | change.is_nan()) {
                let untold =
                    (steps.start + TOLD_AT_ONCE * at..).zip(changes).filter(|(_, change)| change.is_nan());
                untold.for_each(|(step, change)| *change = in_full(step).unwrap_or_else(stale_marker));
            }
        }
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
