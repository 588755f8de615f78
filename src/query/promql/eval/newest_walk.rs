//! What an instant selector sees of floats alone, in buckets or as they were sent, at all steps of a series in one pass.

use std::sync::Arc;

use crate::model::Timestamp;
use crate::model::metrics::{is_stale, stale_marker};
use crate::model::rollup::{FloatBuckets, NEVER, TimesPart};
use crate::storage::metrics::{SampleBuffer, SeenTimes};

use super::float_walk::FilledSteps;
use super::select::count_until;
use super::tally::Samples;

/// The newest value at each of these times.
#[derive(Clone)]
pub struct NewestWalk {
    pub times: Arc<[Timestamp]>,
    pub lookback_ms: i64,
    /// The bucket that each step finds; [`NO_ROW`] if it finds none.
    rows: Vec<usize>,
    /// The first `known` steps look at buckets of these parts alone: the next series nearly always has the same.
    parts: Vec<TimesPart>,
    known: usize,
    /// Where the last of them ended to look.
    known_until: usize,
    /// Of samples: those that the rows are of, if there are rows.
    seen: SeenTimes,
}

const NO_ROW: usize = usize::MAX;

impl NewestWalk {
    pub fn new(times: Arc<[Timestamp]>, lookback_ms: i64) -> NewestWalk {
        let (rows, parts, seen) = Default::default();
        NewestWalk { times, lookback_ms, rows, parts, known: 0, known_until: 0, seen }
    }

    /// What so many threads hold for so many steps.
    pub fn bytes(steps: usize, threads: usize) -> u64 {
        (steps * (size_of::<Timestamp>() + threads * size_of::<usize>())) as u64
    }

    /// As if each bucket was its last sample, and the stale marker after it.
    pub fn fill(&mut self, floats: &FloatBuckets) -> FilledSteps {
        self.look_at(floats);
        self.filled(&floats.lasts)
    }

    /// The same of samples.
    pub fn fill_of_floats(&mut self, samples: &SampleBuffer) -> FilledSteps {
        if self.rows.len() != self.times.len() || !self.seen.are_those_of(samples) {
            self.look_at_samples(samples);
        }
        self.filled(&samples.floats)
    }

    /// Steps that find these values in their rows.
    fn filled(&self, values: &[f64]) -> FilledSteps {
        let value = |&row: &usize| values.get(row).copied().unwrap_or_else(stale_marker);
        let values: Vec<f64> = self.rows.iter().map(value).collect();
        let seen = values.iter().map(|value| u64::from(!is_stale(*value))).sum();
        FilledSteps::of_floats(values, Samples::new(seen))
    }

    fn look_at_samples(&mut self, samples: &SampleBuffer) {
        self.seen.remember(samples);
        self.rows.clear();
        let (timestamps, mut next) = (&samples.float_timestamps, 0);
        let is_near = |row: &usize, at: Timestamp| timestamps[*row] > at.saturating_sub(self.lookback_ms);
        self.rows.extend(self.times.iter().map(|&at| {
            next += count_until(&timestamps[next..], at);
            next.checked_sub(1).filter(|row| is_near(row, at)).unwrap_or(NO_ROW)
        }));
    }

    fn look_at(&mut self, floats: &FloatBuckets) {
        let (parts, shared_len) = floats.ends.shared();
        if self.parts != parts {
            (self.parts, self.known, self.known_until) = (parts.to_vec(), 0, 0);
        }
        self.rows.truncate(self.known);
        let mut next = self.known_until;
        for &at in &self.times[self.known..] {
            next += floats.ends[next..].iter().take_while(|end| **end <= at).count();
            if next < shared_len {
                (self.known, self.known_until) = (self.known + 1, next);
            }
            // A bucket that has not ended may have its last sample behind it already.
            let newest = newest_until(floats, next, at)
                .or_else(|| next.checked_sub(1).and_then(|before| newest_until(floats, before, at)));
            let is_near = |time: Timestamp| time > at.saturating_sub(self.lookback_ms);
            self.rows.push(newest.filter(|(time, _)| is_near(*time)).map_or(NO_ROW, |(_, row)| row));
        }
    }
}

/// When the newest of the last sample of a bucket and the stale marker after it was, and the bucket if it is the sample.
#[inline]
fn newest_until(floats: &FloatBuckets, row: usize, at: Timestamp) -> Option<(Timestamp, usize)> {
    let stale_at = *floats.stale_at.get(row)?;
    if stale_at != NEVER && stale_at <= at {
        return Some((stale_at, NO_ROW));
    }
    let is_there = floats.counts[row] > 0 && floats.last_times[row] <= at;
    is_there.then(|| (floats.last_times[row], row))
}
