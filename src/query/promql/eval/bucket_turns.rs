//! resets and changes over windows that hold floats and histograms.
//!
//! States of the two kinds lie beside each other and know nothing of each other; so they are put in order of time, and
//! what comes between one state and the next is counted here. That is what the samples say as long as the kinds do not
//! take turns several times within one bucket: of those turns one is seen.

use crate::model::{Histogram, Timestamp};

use super::bucket_window::BucketWindow;

/// How often a window of both kinds turned; from one kind to the other is a turn.
pub fn resets_of_both(window: &BucketWindow<'_>) -> u64 {
    let between = Turns { floats: |before, after| after < before, histograms: |a, b| b.detect_reset(a) };
    turns(window, &window.floats.resets, &window.histograms.resets, between)
}

pub fn changes_of_both(window: &BucketWindow<'_>) -> u64 {
    let is_change = |before: f64, after: f64| before != after && !(before.is_nan() && after.is_nan());
    let between = Turns { floats: is_change, histograms: |a, b| !a.equals(b) };
    turns(window, &window.floats.changes, &window.histograms.changes, between)
}

/// Whether a sample is a turn from the one before it.
struct Turns {
    floats: fn(f64, f64) -> bool,
    histograms: fn(&Histogram, &Histogram) -> bool,
}

/// A row of one kind or the other.
#[derive(Clone, Copy)]
enum State {
    Float(usize),
    Histogram(usize),
}

fn turns(window: &BucketWindow<'_>, in_floats: &[u32], in_histograms: &[u32], between: Turns) -> u64 {
    let (floats, histograms) = (window.floats, window.histograms);
    let states = in_order_of_time(window);
    let inside = |state: &State| match *state {
        State::Float(row) => u64::from(in_floats[row]),
        State::Histogram(row) => u64::from(in_histograms[row]),
    };
    let is_turn = |pair: &&[State]| match (pair[0], pair[1]) {
        (State::Float(a), State::Float(b)) => (between.floats)(floats.lasts[a], floats.firsts[b]),
        (State::Histogram(a), State::Histogram(b)) => {
            (between.histograms)(&histograms.lasts[a], &histograms.firsts[b])
        }
        _ => true,
    };
    states.iter().map(inside).sum::<u64>() + states.windows(2).filter(is_turn).count() as u64
}

/// The rows that hold a sample and not only a stale marker.
fn in_order_of_time(window: &BucketWindow<'_>) -> Vec<State> {
    let (floats, histograms) = (window.floats, window.histograms);
    let of_histograms = window.histogram_rows.clone().filter(|&row| histograms.counts[row] > 0);
    let of_floats = window.rows.clone().filter(|&row| floats.counts[row] > 0);
    let of_histograms = of_histograms.map(|row| (histograms.first_times[row], State::Histogram(row)));
    let mut states: Vec<(Timestamp, State)> =
        of_histograms.chain(of_floats.map(|row| (floats.first_times[row], State::Float(row)))).collect();
    states.sort_by_key(|(time, _)| *time);
    states.into_iter().map(|(_, state)| state).collect()
}
