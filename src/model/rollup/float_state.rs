//! What is known of floats in a span of time, and how two such states become one.

use super::{NEVER, greater, lesser};
use crate::model::metrics::is_stale;
use crate::model::{CompensatedSum, Timestamp};

/// What is known of the floats of one series in a span of time.
#[derive(Clone, Copy, Debug)]
pub struct FloatState {
    pub count: u64,
    pub sum: CompensatedSum,
    pub min: f64,
    pub max: f64,
    pub first: f64,
    pub first_time: Timestamp,
    pub last: f64,
    pub last_time: Timestamp,
    pub lost: f64,
    pub resets: u32,
    pub changes: u32,
    /// Time of a stale marker after the last sample, or [`NEVER`].
    pub stale_at: Timestamp,
}

impl FloatState {
    /// Nothing: merged with any state it is that state.
    pub const EMPTY: FloatState = FloatState {
        count: 0,
        sum: CompensatedSum { value: 0.0, compensation: 0.0 },
        min: 0.0,
        max: 0.0,
        first: 0.0,
        first_time: NEVER,
        last: 0.0,
        last_time: NEVER,
        lost: 0.0,
        resets: 0,
        changes: 0,
        stale_at: NEVER,
    };

    /// One sample, or one stale marker.
    pub fn of(time: Timestamp, value: f64) -> FloatState {
        if is_stale(value) {
            return FloatState { stale_at: time, ..FloatState::EMPTY };
        }
        FloatState {
            count: 1,
            sum: CompensatedSum::new(value),
            min: value,
            max: value,
            first: value,
            first_time: time,
            last: value,
            last_time: time,
            ..FloatState::EMPTY
        }
    }

    /// Merges the state of what comes after all of this.
    #[inline]
    pub fn append(&mut self, next: &FloatState) {
        if next.count == 0 {
            self.stale_at = self.stale_at.max(next.stale_at);
            return;
        }
        if self.count == 0 {
            *self = *next;
            return;
        }
        if next.first < self.last {
            self.lost += self.last;
            self.resets = self.resets.saturating_add(1);
        }
        let is_same = next.first == self.last || next.first.is_nan() && self.last.is_nan();
        self.changes = self.changes.saturating_add(u32::from(!is_same));
        self.count = self.count.saturating_add(next.count);
        self.sum.add_sum(next.sum);
        self.min = lesser(self.min, next.min);
        self.max = greater(self.max, next.max);
        (self.last, self.last_time) = (next.last, next.last_time);
        self.lost += next.lost;
        self.resets = self.resets.saturating_add(next.resets);
        self.changes = self.changes.saturating_add(next.changes);
        self.stale_at = next.stale_at;
    }

    /// Merges the state of other samples of the same span, wherever in it they lie. Where the two overlap, what is
    /// counted between neighbours (changes, resets and what they lost) is that of each by itself and no more.
    pub fn unite(&mut self, other: &FloatState) {
        let (mut early, late) = match other.count > 0 && other.first_time < self.first_time {
            true => (*other, *self),
            false => (*self, *other),
        };
        if early.count == 0 || late.count == 0 || early.last_time < late.first_time {
            let stale_at = early.stale_at.max(late.stale_at);
            early.append(&late);
            early.stale_at = if stale_at > early.last_time { stale_at } else { NEVER };
            *self = early;
            return;
        }
        let (last, last_time) = if late.last_time >= early.last_time {
            (late.last, late.last_time)
        } else {
            (early.last, early.last_time)
        };
        let stale_at = early.stale_at.max(late.stale_at);
        early.sum.add_sum(late.sum);
        *self = FloatState {
            count: early.count.saturating_add(late.count),
            min: lesser(early.min, late.min),
            max: greater(early.max, late.max),
            last,
            last_time,
            lost: early.lost + late.lost,
            resets: early.resets.saturating_add(late.resets),
            changes: early.changes.saturating_add(late.changes),
            stale_at: if stale_at > last_time { stale_at } else { NEVER },
            ..early
        };
    }

    /// The state of samples in order of time.
    pub fn fold(timestamps: &[Timestamp], values: &[f64]) -> FloatState {
        let mut state = FloatState::EMPTY;
        for (&time, &value) in timestamps.iter().zip(values) {
            state.append_sample(time, value);
        }
        state
    }

    /// As [`FloatState::append`] does with the state of this sample.
    #[inline]
    fn append_sample(&mut self, time: Timestamp, value: f64) {
        if self.count == 0 || is_stale(value) {
            return self.append(&FloatState::of(time, value));
        }
        if value < self.last {
            self.lost += self.last;
            self.resets = self.resets.saturating_add(1);
        }
        let is_same = value == self.last || value.is_nan() && self.last.is_nan();
        self.changes = self.changes.saturating_add(u32::from(!is_same));
        self.count = self.count.saturating_add(1);
        self.sum.add(value);
        self.min = lesser(self.min, value);
        self.max = greater(self.max, value);
        (self.last, self.last_time, self.stale_at) = (value, time, NEVER);
    }
}
