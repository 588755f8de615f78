//! Rollups: what is known of the samples of one series in a span of time, in place of the samples.
//!
//! A *bucket* is `(end - resolution, end]`, its end a multiple of the resolution. A *state* is what is known of the
//! samples in it. States of neighbours merge into the state of both, and a sample is a state, too: so a window over
//! samples, over buckets, or over some of each is one merge, and coarse buckets come from fine ones. What the
//! engine computes of a merged state is what it would have computed of the samples, bit for bit but for sums of
//! floats, which differ by what their additions round.

mod columns;
mod float_state;
mod floats;
mod histograms;
mod times;

#[cfg(test)]
mod tests;

pub use columns::BucketRuns;
pub use float_state::FloatState;
pub use floats::FloatBuckets;
pub use histograms::{HistogramBuckets, HistogramState};
pub use times::{BucketTimes, Refilled, TimesPart};

use super::Timestamp;

/// No time: of a bucket without a stale marker, or without a sample.
pub const NEVER: Timestamp = Timestamp::MIN;

/// A set of columns: which parts of states are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Columns(pub u16);

impl Columns {
    pub const NONE: Columns = Columns(0);
    /// How many samples; 0 where there is a stale marker alone.
    pub const COUNT: Columns = Columns(1);
    pub const SUM: Columns = Columns(1 << 1);
    /// As PromQL finds it: NaN only where there is nothing else.
    pub const MIN: Columns = Columns(1 << 2);
    pub const MAX: Columns = Columns(1 << 3);
    /// Value and time of the first sample.
    pub const FIRST: Columns = Columns(1 << 4);
    /// Value and time of the last sample.
    pub const LAST: Columns = Columns(1 << 5);
    /// The values just before each decrease, added up: what a counter lost in resets.
    pub const LOST: Columns = Columns(1 << 6);
    /// How often the value fell.
    pub const RESETS: Columns = Columns(1 << 7);
    /// How often the value was not the one before it.
    pub const CHANGES: Columns = Columns(1 << 8);
    pub const ALL: Columns = Columns((1 << 9) - 1);

    /// What a counter needs; its extremes are its ends, but for resets.
    pub const COUNTER: Columns = Columns(Columns::ALL.0 & !Columns::SUM.0);
    /// What a gauge needs: nothing is lost where it falls.
    pub const GAUGE: Columns = Columns(Columns::ALL.0 & !(Columns::LOST.0 | Columns::RESETS.0));

    pub const fn contains(self, other: Columns) -> bool {
        self.0 & other.0 == other.0
    }

    pub const fn union(self, other: Columns) -> Columns {
        Columns(self.0 | other.0)
    }

    pub const fn intersection(self, other: Columns) -> Columns {
        Columns(self.0 & other.0)
    }

    pub const fn difference(self, other: Columns) -> Columns {
        Columns(self.0 & !other.0)
    }

    /// Those of these columns that neighbours still have when they are merged: what happened between them is seen by
    /// the last value of one and the first of the other.
    pub const fn mergeable(self) -> Columns {
        if self.contains(Columns::FIRST.union(Columns::LAST)) {
            return self;
        }
        self.difference(Columns::LOST.union(Columns::RESETS).union(Columns::CHANGES))
    }
}

/// The end of the bucket that holds `time`.
pub fn bucket_end(time: Timestamp, resolution_ms: i64) -> Timestamp {
    let before = time.saturating_sub(1).div_euclid(resolution_ms);
    before.saturating_add(1).saturating_mul(resolution_ms)
}

/// PromQL's minimum of two: of equal ones the first, NaN only if there is nothing else.
pub fn lesser(a: f64, b: f64) -> f64 {
    if b < a || a.is_nan() { b } else { a }
}

/// PromQL's maximum of two: of equal ones the first, NaN only if there is nothing else.
pub fn greater(a: f64, b: f64) -> f64 {
    if b > a || a.is_nan() { b } else { a }
}

/// The runs of sorted times that lie in one bucket each, with its end.
fn runs(
    times: &[Timestamp],
    resolution_ms: i64,
) -> impl Iterator<Item = (Timestamp, std::ops::Range<usize>)> {
    let (mut at, mut end) = (0, None);
    std::iter::from_fn(move || {
        let time = *times.get(at)?;
        let next = end.and_then(|end: Timestamp| end.checked_add(resolution_ms));
        // Mostly the next bucket, which takes no division.
        let end =
            *end.insert(next.filter(|&next| time <= next).unwrap_or_else(|| bucket_end(time, resolution_ms)));
        let start = at;
        // The end of the last bucket there is saturates, and may lie before its samples.
        at += 1 + times[at + 1..].iter().take_while(|&&time| time <= end).count();
        Some((end, start..at))
    })
}

/// These rows of a column, which is empty where it is not there.
pub fn rows_of<'a, T>(column: &'a [T], rows: &std::ops::Range<usize>) -> &'a [T] {
    column.get(rows.clone()).unwrap_or(&[])
}
