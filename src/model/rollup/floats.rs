//! States of floats, a column of each part of many.

use std::ops::Range;

use super::{Columns, FloatState, NEVER, Refilled, TimesPart, rows_of};
use crate::model::metrics::is_stale;
use crate::model::{CompensatedSum, Timestamp};

/// Buckets of one series in order of their ends, which strictly increase. A column that is not in `has` is empty;
/// ends, counts and stale markers are always there. Of a bucket whose count is 0 the rest means nothing.
#[derive(Clone, Debug, Default)]
pub struct FloatBuckets {
    pub has: Columns,
    pub ends: Refilled<Timestamp>,
    pub counts: Refilled<u64>,
    pub sums: Vec<f64>,
    pub mins: Vec<f64>,
    pub maxs: Vec<f64>,
    pub firsts: Vec<f64>,
    pub first_times: Refilled<Timestamp>,
    pub lasts: Vec<f64>,
    pub last_times: Refilled<Timestamp>,
    pub lost: Vec<f64>,
    pub resets: Vec<u32>,
    pub changes: Vec<u32>,
    /// Of a stale marker after the last sample, or [`NEVER`].
    pub stale_at: Refilled<Timestamp>,
}

/// A list of whatever, to make room in or to clear.
trait List {
    fn reserve(&mut self, more: usize);
    fn clear(&mut self);
}

impl<T> List for Vec<T> {
    fn reserve(&mut self, more: usize) {
        Vec::reserve(self, more);
    }

    fn clear(&mut self) {
        Vec::clear(self);
    }
}

impl<T: Copy> List for Refilled<T> {
    fn reserve(&mut self, more: usize) {
        Refilled::reserve(self, more);
    }

    fn clear(&mut self) {
        Refilled::clear(self);
    }
}

impl FloatBuckets {
    /// No buckets, and these columns for what comes.
    pub fn new(has: Columns) -> FloatBuckets {
        FloatBuckets { has: has.union(Columns::COUNT), ..FloatBuckets::default() }
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Forgets all buckets; these are the columns of what comes.
    pub fn clear(&mut self, has: Columns) {
        self.narrow(Columns::NONE);
        self.ends.clear();
        self.counts.clear();
        self.stale_at.clear();
        self.has = has.union(Columns::COUNT);
    }

    /// The state of bucket `at`. Parts of columns that are not there mean nothing.
    #[inline]
    pub fn state(&self, at: usize) -> FloatState {
        let float = |column: &[f64]| column.get(at).copied().unwrap_or(0.0);
        let time = |column: &[Timestamp]| column.get(at).copied().unwrap_or(NEVER);
        let number = |column: &[u32]| column.get(at).copied().unwrap_or(0);
        FloatState {
            count: self.counts[at],
            sum: CompensatedSum::new(float(&self.sums)),
            min: float(&self.mins),
            max: float(&self.maxs),
            first: float(&self.firsts),
            first_time: time(&self.first_times),
            last: float(&self.lasts),
            last_time: time(&self.last_times),
            lost: float(&self.lost),
            resets: number(&self.resets),
            changes: number(&self.changes),
            stale_at: self.stale_at[at],
        }
    }

    /// The state of neighbours together.
    pub fn merged(&self, rows: impl IntoIterator<Item = usize>) -> FloatState {
        let mut state = FloatState::EMPTY;
        rows.into_iter().for_each(|row| state.append(&self.state(row)));
        state
    }

    /// Makes room for so many more.
    pub(super) fn reserve(&mut self, more: usize) {
        let has = self.has;
        self.ends.reserve(more);
        self.counts.reserve(more);
        self.stale_at.reserve(more);
        self.columns_mut().into_iter().filter(|(c, _)| has.contains(*c)).for_each(|(_, to)| to.reserve(more));
    }

    /// Those that may be missing.
    fn columns_mut(&mut self) -> [(Columns, &mut dyn List); 10] {
        [
            (Columns::SUM, &mut self.sums),
            (Columns::MIN, &mut self.mins),
            (Columns::MAX, &mut self.maxs),
            (Columns::FIRST, &mut self.firsts),
            (Columns::FIRST, &mut self.first_times),
            (Columns::LAST, &mut self.lasts),
            (Columns::LAST, &mut self.last_times),
            (Columns::LOST, &mut self.lost),
            (Columns::RESETS, &mut self.resets),
            (Columns::CHANGES, &mut self.changes),
        ]
    }

    /// Appends a bucket behind the others.
    pub fn push(&mut self, end: Timestamp, state: &FloatState) {
        let has = self.has;
        self.ends.push(end);
        self.counts.push(state.count);
        self.stale_at.push(state.stale_at);
        if has.contains(Columns::SUM) {
            self.sums.push(state.sum.total());
        }
        if has.contains(Columns::MIN) {
            self.mins.push(state.min);
        }
        if has.contains(Columns::MAX) {
            self.maxs.push(state.max);
        }
        if has.contains(Columns::FIRST) {
            self.firsts.push(state.first);
            self.first_times.push(state.first_time);
        }
        if has.contains(Columns::LAST) {
            self.lasts.push(state.last);
            self.last_times.push(state.last_time);
        }
        if has.contains(Columns::LOST) {
            self.lost.push(state.lost);
        }
        if has.contains(Columns::RESETS) {
            self.resets.push(state.resets);
        }
        if has.contains(Columns::CHANGES) {
            self.changes.push(state.changes);
        }
    }

    /// Appends the times of buckets, whose columns are to follow. Where they are those that were here before the last
    /// [`FloatBuckets::clear`], nothing is copied.
    pub fn extend_times(&mut self, part: &TimesPart) {
        self.ends.extend_shared(part, |times| &times.ends);
        self.counts.extend_shared(part, |times| &times.counts);
        self.stale_at.extend_shared(part, |times| &times.stale_at);
        if self.has.contains(Columns::FIRST) {
            self.first_times.extend_shared(part, |times| &times.firsts);
        }
        if self.has.contains(Columns::LAST) {
            self.last_times.extend_shared(part, |times| &times.lasts);
        }
    }

    /// Appends samples and stale markers, in order of time, as buckets of their own that end with them.
    pub fn extend_samples(&mut self, timestamps: &[Timestamp], values: &[f64]) {
        let has = self.has;
        self.ends.extend_from_slice(timestamps);
        self.counts.extend(values.iter().map(|value| u64::from(!is_stale(*value))));
        let stale_at = |(&time, &value): (&Timestamp, &f64)| if is_stale(value) { time } else { NEVER };
        self.stale_at.extend(timestamps.iter().zip(values).map(stale_at));
        let count = self.len();
        let floats = [
            (Columns::SUM, &mut self.sums),
            (Columns::MIN, &mut self.mins),
            (Columns::MAX, &mut self.maxs),
            (Columns::FIRST, &mut self.firsts),
            (Columns::LAST, &mut self.lasts),
        ];
        floats.into_iter().filter(|(c, _)| has.contains(*c)).for_each(|(_, to)| to.extend_from_slice(values));
        let times = [(Columns::FIRST, &mut self.first_times), (Columns::LAST, &mut self.last_times)];
        times
            .into_iter()
            .filter(|(c, _)| has.contains(*c))
            .for_each(|(_, to)| to.extend_from_slice(timestamps));
        if has.contains(Columns::LOST) {
            self.lost.resize(count, 0.0);
        }
        let numbers = [(Columns::RESETS, &mut self.resets), (Columns::CHANGES, &mut self.changes)];
        numbers.into_iter().filter(|(c, _)| has.contains(*c)).for_each(|(_, to)| to.resize(count, 0));
    }

    /// Puts these buckets among the others; of two with one end the later stays. Only columns of both are left.
    pub fn replace_with(&mut self, later: &FloatBuckets) {
        self.combine(later, |_, later| *later);
    }

    /// Puts these buckets among the others; of two with one end, each of other samples, the state is that of both.
    pub fn unite_with(&mut self, other: &FloatBuckets) {
        self.combine(other, |state, other| {
            let mut both = *state;
            both.unite(other);
            both
        });
    }

    fn combine(&mut self, other: &FloatBuckets, both: impl Fn(&FloatState, &FloatState) -> FloatState) {
        if other.is_empty() {
            return;
        }
        if self.ends.last() < other.ends.first() {
            return self.extend(other);
        }
        self.narrow(other.has);
        let mut combined = FloatBuckets::new(self.has);
        let (mut i, mut k) = (0, 0);
        while i < self.len() || k < other.len() {
            match (self.ends.get(i), other.ends.get(k)) {
                (Some(&mine), Some(&end)) if mine == end => {
                    combined.push(end, &both(&self.state(i), &other.state(k)));
                    (i, k) = (i + 1, k + 1);
                }
                (Some(&mine), end) if end.is_none_or(|&end| mine < end) => {
                    combined.push(mine, &self.state(i));
                    i += 1;
                }
                _ => {
                    combined.push(other.ends[k], &other.state(k));
                    k += 1;
                }
            }
        }
        *self = combined;
    }

    /// Drops all columns but these.
    pub fn narrow(&mut self, columns: Columns) {
        self.has = self.has.intersection(columns).union(Columns::COUNT);
        let has = self.has;
        self.columns_mut()
            .into_iter()
            .filter(|(c, _)| !has.contains(*c))
            .for_each(|(_, column)| column.clear());
    }

    /// A copy of these buckets alone.
    pub fn part(&self, rows: Range<usize>) -> FloatBuckets {
        FloatBuckets {
            has: self.has,
            ends: rows_of(&self.ends, &rows).to_vec().into(),
            counts: rows_of(&self.counts, &rows).to_vec().into(),
            sums: rows_of(&self.sums, &rows).to_vec(),
            mins: rows_of(&self.mins, &rows).to_vec(),
            maxs: rows_of(&self.maxs, &rows).to_vec(),
            firsts: rows_of(&self.firsts, &rows).to_vec(),
            first_times: rows_of(&self.first_times, &rows).to_vec().into(),
            lasts: rows_of(&self.lasts, &rows).to_vec(),
            last_times: rows_of(&self.last_times, &rows).to_vec().into(),
            lost: rows_of(&self.lost, &rows).to_vec(),
            resets: rows_of(&self.resets, &rows).to_vec(),
            changes: rows_of(&self.changes, &rows).to_vec(),
            stale_at: rows_of(&self.stale_at, &rows).to_vec().into(),
        }
    }

    /// Appends buckets that lie behind all buckets here. Only columns of both are left.
    pub fn extend(&mut self, later: &FloatBuckets) {
        self.narrow(later.has);
        self.ends.extend_from_slice(&later.ends);
        self.counts.extend_from_slice(&later.counts);
        self.stale_at.extend_from_slice(&later.stale_at);
        let has = self.has;
        let put = |column: Columns, to: &mut Vec<f64>, from: &[f64]| {
            if has.contains(column) {
                to.extend_from_slice(from);
            }
        };
        put(Columns::SUM, &mut self.sums, &later.sums);
        put(Columns::MIN, &mut self.mins, &later.mins);
        put(Columns::MAX, &mut self.maxs, &later.maxs);
        put(Columns::FIRST, &mut self.firsts, &later.firsts);
        put(Columns::LAST, &mut self.lasts, &later.lasts);
        put(Columns::LOST, &mut self.lost, &later.lost);
        if has.contains(Columns::FIRST) {
            self.first_times.extend_from_slice(&later.first_times);
        }
        if has.contains(Columns::LAST) {
            self.last_times.extend_from_slice(&later.last_times);
        }
        if has.contains(Columns::RESETS) {
            self.resets.extend_from_slice(&later.resets);
        }
        if has.contains(Columns::CHANGES) {
            self.changes.extend_from_slice(&later.changes);
        }
    }
}
