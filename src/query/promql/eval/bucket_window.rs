//! Range-vector functions over states of buckets in place of samples. What they compute is what the functions of the same
//! names compute of the samples, but for the rounding of sums.

use std::ops::Range;

use crate::model::rollup::{FloatBuckets, HistogramBuckets, HistogramState};
use crate::model::{TimeRange, Timestamp};
use crate::query::promql::functions_table::Function;
use crate::query::promql::histogram_rate::histogram_change_of;

use super::annotations::Note;
use super::bucket_turns::{changes_of_both, resets_of_both};
use super::float_window::{FloatWindow, share_asked};
use super::histogram_fold::HistogramFoldKind;
use super::rate::{Change, RateKind, extrapolation};
use super::row::Cell;
use super::window::Notes;

/// The buckets of one series that one step sees; at least one sample lies in them.
pub struct BucketWindow<'a> {
    pub floats: &'a FloatBuckets,
    pub rows: Range<usize>,
    pub histograms: &'a HistogramBuckets,
    pub histogram_rows: Range<usize>,
    /// The time that the buckets fill.
    pub range: TimeRange,
    /// The length of the window that was asked for.
    pub asked_ms: i64,
}

pub type BucketFunction = fn(&BucketWindow<'_>, &Notes<'_>) -> Option<Cell>;

/// The form of a function that takes states; there is one where [`super::tiers::Need`] says so.
pub fn bucket_function(function: Function) -> Option<BucketFunction> {
    const COUNTER: RateKind = RateKind { is_counter: true, is_per_second: false };
    Some(match function {
        Function::CountOverTime => |w, _| Some(Cell::Float(w.count() as f64)),
        Function::PresentOverTime | Function::AbsentOverTime => |_, _| Some(Cell::Float(1.0)),
        Function::SumOverTime => |w, notes| w.fold(HistogramFoldKind::Sum, notes),
        Function::AvgOverTime => |w, notes| w.fold(HistogramFoldKind::Average, notes),
        Function::MinOverTime => |w, notes| w.extreme(w.of_floats().min(), notes),
        Function::MaxOverTime => |w, notes| w.extreme(w.of_floats().max(), notes),
        Function::FirstOverTime => |w, _| w.first(),
        Function::LastOverTime => |w, _| w.last(),
        Function::TsOfFirstOverTime => |w, _| Some(in_seconds(w.first_time()?)),
        Function::TsOfLastOverTime => |w, _| Some(in_seconds(w.last_time()?)),
        Function::Resets => |w, _| {
            if w.is_mixed() {
                return Some(Cell::Float(resets_of_both(w) as f64));
            }
            let histograms = u64::from(w.histograms.merged(w.histogram_rows.clone()).resets);
            Some(Cell::Float((w.of_floats().resets() + histograms) as f64))
        },
        Function::Changes => |w, _| {
            if w.is_mixed() {
                return Some(Cell::Float(changes_of_both(w) as f64));
            }
            let histograms = u64::from(w.histograms.merged(w.histogram_rows.clone()).changes);
            Some(Cell::Float((w.of_floats().changes() + histograms) as f64))
        },
        Function::Rate => |w, notes| w.change(RateKind { is_per_second: true, ..COUNTER }, notes),
        Function::Increase => |w, notes| w.change(COUNTER, notes),
        Function::Delta => |w, notes| w.change(RateKind { is_counter: false, ..COUNTER }, notes),
        _ => return None,
    })
}

impl BucketWindow<'_> {
    fn float_count(&self) -> u64 {
        self.floats.counts[self.rows.clone()].iter().sum()
    }

    fn of_floats(&self) -> FloatWindow<'_, Range<usize>> {
        FloatWindow {
            floats: self.floats,
            rows: self.rows.clone(),
            count: self.float_count(),
            range: self.range,
            asked_ms: self.asked_ms,
        }
    }

    fn histogram_count(&self) -> u64 {
        self.histograms.counts[self.histogram_rows.clone()].iter().sum()
    }

    /// How many samples.
    pub fn count(&self) -> u64 {
        self.float_count() + self.histogram_count()
    }

    fn is_mixed(&self) -> bool {
        !self.histogram_rows.is_empty() && self.float_count() > 0 && self.histogram_count() > 0
    }

    fn rows_of_histograms(&self) -> impl DoubleEndedIterator<Item = usize> {
        self.histogram_rows.clone().filter(|&row| self.histograms.counts[row] > 0)
    }

    fn fold(&self, kind: HistogramFoldKind, notes: &Notes<'_>) -> Option<Cell> {
        if self.is_mixed() {
            notes.add(Note::MixedFloatsHistograms { metric: notes.metric() });
            return None;
        }
        if self.histogram_count() > 0 {
            return self.fold_histograms(kind, notes);
        }
        Some(Cell::Float(match kind {
            HistogramFoldKind::Sum => self.of_floats().sum(),
            HistogramFoldKind::Average => self.of_floats().mean(),
        }))
    }

    fn fold_histograms(&self, kind: HistogramFoldKind, notes: &Notes<'_>) -> Option<Cell> {
        let state = self.histograms.merged(self.histogram_rows.clone());
        let Some(mut sum) = state.sum else {
            notes.add(Note::MixedExponentialCustom { metric: notes.metric() });
            return None;
        };
        let folded = std::sync::Arc::make_mut(&mut sum);
        if kind == HistogramFoldKind::Average {
            folded.div(state.count as f64);
        }
        folded.compact(0);
        Some(Cell::Histogram(sum))
    }

    fn extreme(&self, of_floats: Option<f64>, notes: &Notes<'_>) -> Option<Cell> {
        let best = of_floats?;
        if self.histogram_count() > 0 {
            notes.add(Note::HistogramIgnoredInRange { metric: notes.metric() });
        }
        Some(Cell::Float(best))
    }

    fn first_time(&self) -> Option<Timestamp> {
        let float = self.of_floats().first().map(|(time, _)| time);
        let histogram = self.rows_of_histograms().next().map(|row| self.histograms.first_times[row]);
        float.into_iter().chain(histogram).min()
    }

    fn last_time(&self) -> Option<Timestamp> {
        let float = self.of_floats().last().map(|(time, _)| time);
        let histogram = self.rows_of_histograms().next_back().map(|row| self.histograms.last_times[row]);
        float.max(histogram)
    }

    fn first(&self) -> Option<Cell> {
        let time = self.first_time()?;
        let histogram = self.rows_of_histograms().next();
        match histogram.filter(|&row| self.histograms.first_times[row] == time) {
            Some(row) => Some(Cell::Histogram(self.histograms.firsts[row].clone())),
            None => self.of_floats().first().map(|(_, value)| Cell::Float(value)),
        }
    }

    fn last(&self) -> Option<Cell> {
        let time = self.last_time()?;
        let histogram = self.rows_of_histograms().next_back();
        match histogram.filter(|&row| self.histograms.last_times[row] == time) {
            Some(row) => Some(Cell::Histogram(self.histograms.lasts[row].clone())),
            None => self.of_floats().last().map(|(_, value)| Cell::Float(value)),
        }
    }

    /// rate, increase and delta.
    fn change(&self, kind: RateKind, notes: &Notes<'_>) -> Option<Cell> {
        if self.is_mixed() {
            notes.add(Note::MixedFloatsHistograms { metric: notes.metric() });
            return None;
        }
        if self.histogram_count() > 0 {
            return self.histogram_change(kind, notes);
        }
        self.of_floats().change(kind).map(Cell::Float)
    }

    fn histogram_change(&self, kind: RateKind, notes: &Notes<'_>) -> Option<Cell> {
        let state: HistogramState = self.histograms.merged(self.histogram_rows.clone());
        if state.count < 2 {
            return None;
        }
        let (change, told) = histogram_change_of(&state, kind.is_counter);
        notes.add_all(told);
        let mut change = change?;
        let shape = Change {
            first: state.first_time,
            last: state.last_time,
            samples: state.count,
            begun: None,
            range: self.range,
        };
        let factor = extrapolation(kind, &shape, state.first.count, change.count)
            * share_asked(kind, self.range, self.asked_ms);
        change.mul(factor);
        Some(Cell::Histogram(change.into()))
    }
}

fn in_seconds(time: Timestamp) -> Cell {
    Cell::Float(time as f64 / 1000.0)
}
