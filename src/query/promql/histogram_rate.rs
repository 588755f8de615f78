//! How much a native histogram changed over a window.

use std::sync::Arc;

use super::histogram_functions::{HistogramNote, HistogramOperation};
use crate::model::Histogram;
use crate::model::histogram::{MixedSchemas, ResetHint};
use crate::model::rollup::HistogramState;

/// A change, if the histograms let one be computed, and what is to be told about it.
pub type NotedChange = (Option<Histogram>, Vec<HistogramNote>);

/// The change from the first of the samples to the last, not extrapolated: `rate`, `increase`, and with `is_counter`
/// false `delta`. What a counter lost in resets is added again; `is_restarted` says of a sample whether its start
/// timestamp tells one. With `from_zero` the counter began inside the window, at 0. The result is a gauge.
pub fn histogram_change(
    samples: &[Arc<Histogram>],
    is_counter: bool,
    is_restarted: impl Fn(usize) -> bool,
    from_zero: bool,
) -> NotedChange {
    let [first, middle @ .., last] = samples else {
        let mut only = samples.first().filter(|_| from_zero).map(|only| Histogram::clone(only));
        only.iter_mut().for_each(|only| only.hint = ResetHint::Gauge);
        return (only, Vec::new());
    };
    let mut notes = Vec::new();
    let is_gauge = |histogram: &Histogram| histogram.hint == ResetHint::Gauge;
    if is_counter && samples.iter().any(|sample| is_gauge(sample)) {
        notes.push(HistogramNote::NotCounter);
    }
    if !(is_counter || is_gauge(first) && is_gauge(last)) {
        notes.push(HistogramNote::NotGauge);
    }
    let second = &samples[1];
    let is_lost = is_counter && (is_restarted(1) || second.detect_reset(first));
    // What was before the first reset counts for nothing, its layout included.
    let start = if is_lost { zero_like(second) } else { Histogram::clone(first) };
    let between = if is_counter { middle } else { &[] };
    let mut change = change_from(&start, between, last, is_counter, &is_restarted, &mut notes);
    if from_zero {
        change = change.and_then(|change| sum(change, first, &mut notes));
    }
    if change.is_err() {
        notes = vec![HistogramNote::MixedExponentialCustom];
    }
    (change.ok(), notes)
}

/// The same of what is known of the samples, of which there are two at least.
pub fn histogram_change_of(state: &HistogramState, is_counter: bool) -> NotedChange {
    let mut notes = Vec::new();
    let gauges = [&state.first, &state.last].iter().filter(|ends| ends.hint == ResetHint::Gauge).count();
    if is_counter && gauges > 0 {
        notes.push(HistogramNote::NotCounter);
    }
    if !is_counter && gauges < 2 {
        notes.push(HistogramNote::NotGauge);
    }
    let lost = state.lost.as_deref().filter(|_| is_counter);
    match change_of_ends(&state.first, &state.last, lost, &mut notes) {
        Ok(change) => (Some(change), notes),
        Err(MixedSchemas) => (None, vec![HistogramNote::MixedExponentialCustom]),
    }
}

fn change_of_ends(
    first: &Histogram,
    last: &Histogram,
    lost: Option<&Histogram>,
    notes: &mut Vec<HistogramNote>,
) -> Result<Histogram, MixedSchemas> {
    let mut change = last.clone();
    if first.has_custom_buckets() != last.has_custom_buckets() {
        return Err(MixedSchemas);
    }
    change.reduce_resolution(lost.map_or(first.schema, |lost| lost.schema.min(first.schema)));
    if change.sub(first)?.bounds_intersected {
        add_note(notes, HistogramNote::BoundsReconciled(HistogramOperation::Subtraction));
    }
    if let Some(lost) = lost
        && change.add(lost)?.bounds_intersected
    {
        add_note(notes, HistogramNote::BoundsReconciled(HistogramOperation::Addition));
    }
    change.hint = ResetHint::Gauge;
    change.compact(0);
    Ok(change)
}

fn sum(
    mut change: Histogram,
    first: &Histogram,
    notes: &mut Vec<HistogramNote>,
) -> Result<Histogram, MixedSchemas> {
    if change.add(first)?.bounds_intersected {
        add_note(notes, HistogramNote::BoundsReconciled(HistogramOperation::Addition));
    }
    Ok(change)
}

fn zero_like(histogram: &Histogram) -> Histogram {
    let custom_bounds = histogram.custom_bounds.clone();
    Histogram { schema: histogram.schema, custom_bounds, ..Histogram::default() }
}

fn change_from(
    start: &Histogram,
    between: &[Arc<Histogram>],
    last: &Arc<Histogram>,
    is_counter: bool,
    is_restarted: &impl Fn(usize) -> bool,
    notes: &mut Vec<HistogramNote>,
) -> Result<Histogram, MixedSchemas> {
    let is_custom = last.has_custom_buckets();
    let mut all = between.iter().map(|sample| sample.as_ref()).chain([start]);
    if all.any(|sample| sample.has_custom_buckets() != is_custom) {
        return Err(MixedSchemas);
    }
    let mut change = Histogram::clone(last);
    if let Some(schema) = between.iter().map(|sample| sample.schema).chain([start.schema]).min() {
        change.reduce_resolution(schema);
    }
    // Hints may contradict each other here: resets are dealt with below.
    if change.sub(start)?.bounds_intersected {
        add_note(notes, HistogramNote::BoundsReconciled(HistogramOperation::Subtraction));
    }
    if is_counter {
        let mut before = start;
        for (i, sample) in between.iter().chain([last]).enumerate() {
            let is_reset = is_restarted(i + 1) || sample.detect_reset(before);
            if is_reset && change.add(before)?.bounds_intersected {
                add_note(notes, HistogramNote::BoundsReconciled(HistogramOperation::Addition));
            }
            before = sample;
        }
    }
    change.hint = ResetHint::Gauge;
    change.compact(0);
    Ok(change)
}

/// The change from one sample to the next: `irate` if `is_rate`, else `idelta`. After a reset, which the start timestamp
/// may have told (`is_restarted`), it is the whole of the later one. The result is a gauge.
pub fn histogram_instant_change(
    before: &Histogram,
    last: &Histogram,
    is_rate: bool,
    is_restarted: bool,
) -> NotedChange {
    let mut notes = Vec::new();
    let gauges = [before, last].iter().filter(|sample| sample.hint == ResetHint::Gauge).count();
    if is_rate && gauges > 0 {
        notes.push(HistogramNote::NotCounter);
    }
    if !is_rate && gauges < 2 {
        notes.push(HistogramNote::NotGauge);
    }
    let mut change = last.clone();
    if !is_rate || !is_restarted && !last.detect_reset(before) {
        match change.sub(before) {
            Ok(reconciled) if reconciled.bounds_intersected => {
                notes.push(HistogramNote::BoundsReconciled(HistogramOperation::Subtraction));
            }
            Ok(_) => {}
            Err(MixedSchemas) => {
                notes.push(HistogramNote::MixedExponentialCustom);
                return (None, notes);
            }
        }
    }
    change.hint = ResetHint::Gauge;
    change.compact(0);
    (Some(change), notes)
}

fn add_note(notes: &mut Vec<HistogramNote>, note: HistogramNote) {
    if !notes.contains(&note) {
        notes.push(note);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::histogram::{CUSTOM_BUCKETS_SCHEMA, Span};

    fn counter(counts: &[f64]) -> Histogram {
        Histogram {
            count: counts.iter().sum(),
            sum: 2.0 * counts.iter().sum::<f64>(),
            positive_spans: vec![Span { offset: 1, length: counts.len() as u32 }],
            positive_buckets: counts.to_vec(),
            ..Histogram::default()
        }
    }

    fn custom(bounds: &[f64], counts: &[f64]) -> Histogram {
        let positive_spans = vec![Span { offset: 0, length: counts.len() as u32 }];
        let custom_bounds = bounds.to_vec();
        Histogram { schema: CUSTOM_BUCKETS_SCHEMA, custom_bounds, positive_spans, ..counter(counts) }
    }

    fn gauge(histogram: Histogram) -> Histogram {
        Histogram { hint: ResetHint::Gauge, ..histogram }
    }

    fn change(samples: Vec<Histogram>, is_counter: bool) -> NotedChange {
        histogram_change(&samples.into_iter().map(Arc::new).collect::<Vec<_>>(), is_counter, |_| false, false)
    }

    #[track_caller]
    fn assert_change(found: NotedChange, expected: Histogram, notes: &[HistogramNote]) {
        let histogram = found.0.expect("a change");
        assert!(histogram.equals(&expected), "{histogram:?}");
        assert_eq!(histogram.hint, ResetHint::Gauge);
        assert_eq!(found.1, notes);
    }

    #[test]
    fn an_increase_is_the_last_less_the_first() {
        assert_change(
            change(vec![counter(&[1.0]), counter(&[2.0]), counter(&[5.0])], true),
            counter(&[4.0]),
            &[],
        );
    }

    #[test]
    fn what_a_reset_took_is_added_again() {
        let samples = vec![counter(&[1.0]), counter(&[4.0]), counter(&[2.0]), counter(&[3.0])];
        assert_change(change(samples, true), counter(&[6.0]), &[]);
    }

    #[test]
    fn the_first_sample_is_ignored_if_the_second_begins_anew() {
        let samples = vec![custom(&[1.0], &[9.0]), counter(&[2.0]), counter(&[3.0])];
        assert_change(change(samples, true), counter(&[3.0]), &[]);
    }

    #[test]
    fn a_delta_sees_the_ends_only_and_wants_gauges() {
        let samples = vec![gauge(counter(&[5.0])), counter(&[9.0]), gauge(counter(&[1.0]))];
        assert_change(change(samples, false), counter(&[-4.0]), &[]);
        let samples = vec![counter(&[5.0]), gauge(counter(&[6.0]))];
        assert_change(change(samples, false), counter(&[1.0]), &[HistogramNote::NotGauge]);
    }

    #[test]
    fn the_coarsest_schema_of_a_window_wins() {
        let fine = |n| Histogram { schema: 1, ..counter(&[n, n]) };
        let (found, notes) = change(vec![fine(1.0), counter(&[3.0]), fine(4.0)], true);
        let found = found.expect("a change");
        assert_eq!((found.schema, found.positive_buckets, notes), (0, vec![9.0], vec![]));
    }

    #[test]
    fn exponential_and_custom_buckets_give_nothing() {
        let mixed = vec![counter(&[1.0]), counter(&[2.0]), custom(&[1.0], &[3.0])];
        let (found, notes) = change(mixed, true);
        assert!(found.is_none());
        assert_eq!(notes, [HistogramNote::MixedExponentialCustom]);
    }

    #[test]
    fn a_gauge_is_told_when_it_is_taken_for_a_counter() {
        let samples = vec![counter(&[1.0]), gauge(counter(&[2.0])), counter(&[3.0])];
        assert_change(change(samples, true), counter(&[2.0]), &[HistogramNote::NotCounter]);
    }

    #[test]
    fn an_instant_rate_after_a_reset_is_the_last_sample() {
        let (before, last) = (counter(&[5.0]), counter(&[3.0]));
        assert_change(histogram_instant_change(&before, &last, true, false), last.clone(), &[]);
        let delta = histogram_instant_change(&before, &last, false, false);
        assert_change(delta, counter(&[-2.0]), &[HistogramNote::NotGauge]);
        let none = histogram_instant_change(&before, &custom(&[1.0], &[9.0]), false, false);
        assert!(none.0.is_none());
        assert_eq!(none.1, [HistogramNote::NotGauge, HistogramNote::MixedExponentialCustom]);
    }
}
